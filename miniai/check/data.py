"Checks of 10_workers: loaders with workers, a shared stream, an ordered map, a loader that goes on"
import io, random, threading, time
import numpy as np, torch, torch.utils.data as _torch_data
from miniai.data import DataLoader
from .batches import AGAIN, Known, loader_cases, order_case, outcome, raises, takes
from .kit import Case, check, require, same
from .matmul import refused

class _Noise(Known):
    def __getitem__(self, i): return torch.rand(2),random.random(),np.random.rand()

class _Stream(_torch_data.IterableDataset):
    def __iter__(self): return iter(range(7))

def _noise(make):
    batches = [torch.cat([x.flatten().double(), *o]) for x,*o in make(_Noise(8), batch_size=1, num_workers=2)]
    for k in range(4):
        drawn = [round(x[k].item(), 9) for x in batches]
        require(len(set(drawn)) == 8, 'random numbers repeat', got=drawn, hint='Forked workers have copies '
                'of the same random state: seed each differently, torch, random and numpy.')

def _stream(make): same([b.tolist() for b in make(_Stream(), batch_size=3)], [[0, 1, 2], [3, 4, 5], [6]])

def _single(make):
    got = [tuple(b) for b in make(Known(3), batch_size=None)]
    same(got, [Known(3)[i] for i in range(3)])

@check('data loader')
def check_dataloader(make):  # Your loader: `make(dataset, batch_size=…, shuffle=…, num_workers=…, …)`
    "Check a data loader against PyTorch's, as far as its arguments go"
    late = 'Workers finish in any order, but batches must come in theirs: ask the workers in turn.'
    slow,_ = order_case(9, 'two workers, the first one slow', late, slow=True, batch_size=2, num_workers=2)
    cases = [Case('batch_size=None', _single, 'batch_size=None gives the samples themselves.'),
             Case('an iterable data set', _stream, 'No indices: take the next samples that come.'), slow,
             Case('workers draw different random numbers', _noise),
             Case('an error in a worker', lambda make: raises(make, num_workers=2))]
    return loader_cases(make) + cases*takes(make, {'num_workers'})

def _with_worker(x):
    "A sample, and the number of the worker that gave it"
    info = _torch_data.get_worker_info()
    return int(x),info and info.id

@check('shared stream')
def check_share(make):  # Your stream: `make(n)` gives 0 to n-1, shared among the workers
    "Check a stream that several workers share"
    def case(n, workers):
        def run(make):
            stream = make(n)
            require(isinstance(stream, _torch_data.IterableDataset), 'it is not a stream', got=type(stream),
                    hint='Let the class inherit from IterableDataset, so that a loader knows what it is.')
            for epoch in (1, 2):
                pairs = list(DataLoader(stream, None, num_workers=workers, collate_fn=_with_worker))
                got,busy = [i for i,_ in pairs],{w for _,w in pairs}
                same(sorted(got), list(range(n)), given=f'n={n}, num_workers={workers}, epoch {epoch}',
                     mistakes={
                         AGAIN*(epoch == 2): [],
                         'Each worker gives all of them: which of how many it is, get_worker_info() tells in '
                         '__iter__, not before.': sorted(list(range(n))*workers),
                         "Some are missing: is what is left over by n//num_workers nobody's share?":
                             list(range(n//max(workers, 1)*workers))})
                require(len(busy) >= min(n, workers), 'not every worker gives something', got=pairs)
        hint = 'Worker `info.id` of `info.num_workers` may give id, id+num_workers, id+2*num_workers …'
        if not workers: hint = 'Without workers get_worker_info() is None: give an iterator of everything.'
        return Case(f'n={n}, num_workers={workers}', run, hint)
    return [case(6, 0), case(6, 1), case(6, 2), case(7, 2), case(8, 3), case(1, 2)]

@check('ordered map')
def check_ordered(f):  # Your map: `f(g, tasks, n)` gives `g` of each task, in order, by n threads
    "Check a map whose results are made ahead by threads, in order"
    def in_order(f):
        same(list(f(lambda x: x*x, range(7), 2)), [x*x for x in range(7)], given='squares of range(7)')
    def late(f):
        def slow_first(x):
            time.sleep(0.2 if x == 0 else 0.01)
            return x
        got = list(f(slow_first, range(6), 2))
        hint = 'The results come as they are ready: a queue for each thread, asked in turn, keeps the order.'
        same(got, list(range(6)), given='task 0 is slow', hint=hint if sorted(got) == list(range(6)) else '')
    def together(f):
        meeting = threading.Barrier(2)
        list(f(lambda x: meeting.wait(2), range(4), 2))
    def ahead(f):
        taken,made = [],[]
        def tasks():
            for x in range(1000):
                taken.append(x)
                yield x
        results = iter(f(lambda x: made.append(x) or x, tasks(), 2))
        next(results)
        time.sleep(0.1)
        require(len(taken) <= 6, 'it runs too far ahead', 'the first of 1000 results, 2 threads',
                f'{len(taken)} tasks taken', 'at most 2*n ahead')
    def error(f): refused(ZeroDivisionError, lambda: list(f(lambda x: 1/(x-2), range(5), 2)))
    return [Case('squares', in_order, 'Yield the result of each task, none left out.'),
            Case('a slow first task', late, 'Yield the results in the order of the tasks.'),
            Case('two at the same time', together, 'Threads work side by side: start both before you wait.'),
            Case('not too far ahead', ahead, 'Hand out 2*n tasks at the start, then one for each result.'),
            Case('an error', error, 'Catch it in the thread, hand it over, raise it where results come.')]

@check('loader that goes on')
def check_resume(make):  # Your loader: `make(dataset, batch_size)`
    "Check a shuffling loader with state_dict and load_state_dict"
    def listed(b): return [int(i) for i in b]
    def begun(make, k):
        dl = make(range(10), 3)
        it = iter(dl)
        given = [listed(next(it)) for _ in range(k)]
        state = dl.state_dict()
        before,rest = str(state),[listed(b) for b in it]
        require(str(state) == before, 'a state that was handed out changes as the loop goes on', got=state,
                hint='Hand out a copy: dict(…), list(…), tensor.clone().')
        return dl,state,given,rest
    def epochs(make):
        dl = make(range(10), 3)
        a,b = ([listed(x) for x in dl] for _ in range(2))
        same([len(x) for x in a], [3, 3, 3, 1], given='10 samples, batch_size=3')
        same(sorted(sum(a, [])), list(range(10)), '10 samples', 'Each sample comes once in an epoch.')
        require(a != b, 'two epochs have the same order', got=a, hint='Draw a new order in __iter__.')
    def going_on(k):
        def run(make):
            _,state,given,rest = begun(make, k)
            torch.rand(3)
            other = make(range(10), 3)
            other.load_state_dict(state)
            got = [listed(b) for b in other]
            same(got, rest, given=f'stopped after {k} of 4 batches', mistakes={
                'The epoch begins anew: leave out the batches that were given.': given + rest,
                'One batch too many is left out.': rest[1:],
                'The last batch comes again. Is it counted after its yield?': given[-1:] + rest})
            again = [listed(b) for b in other]
            same(sorted(sum(again, [])), list(range(10)), given='the epoch after that',
                 hint='Only the first loop goes on: the next one is a whole epoch.')
        hint = 'Save the order, or the random state it was drawn from, and how many batches were given.'
        return Case(f'stopped after batch {k}', run, hint)
    def plain(make):
        _,state,_,_ = begun(make, 2)
        torch.save(state, file := io.BytesIO())
        file.seek(0)
        got = outcome(lambda: torch.load(file, weights_only=True))
        require(not isinstance(got, type), 'torch.load(…, weights_only=True) refuses it', got=got)
    safe = 'Keep tensors, numbers, lists and dictionaries in it, not your own objects.'
    return [Case('epochs', epochs), going_on(2), going_on(1), going_on(3), Case('a plain state', plain, safe)]
