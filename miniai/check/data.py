"Checks of lesson 09 and 10, loading"
import contextlib, traceback
from collections.abc import Mapping
import numpy as np, torch
from .kit import Case, Report, difference, require, run_cases, same


import inspect, random, time
from collections import namedtuple
import torch.utils.data as _torch_data

def _outcome(f, *args):
    "What `f` returned, or the class of the exception it raised"
    try: return f(*args)
    except Exception as e:
        traceback.clear_frames(e.__traceback__)  # they hold PyTorch's iterator, which must not wait for the garbage collector
        return type(e)

def _as_tuple(pair): return tuple(pair) if isinstance(pair, (tuple, list)) else pair

def _dataset_case(name, run, hint): return Case(name, lambda make: run(make(torch.arange(12.).view(6, 2), torch.arange(6)*10)), hint)

def _pairs(idx, name, hint):
    def run(ds):
        want = torch.arange(12.).view(6, 2)[idx],(torch.arange(6)*10)[idx]
        same(_as_tuple(ds[idx]), want, given=idx)
    return _dataset_case(name, run, hint)

def check_dataset(
    make,           # Your data set: `make(x, y)` from two tensors of the same length
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a data set of pairs (x[i], y[i])"
    def twice(ds): same([_as_tuple(ds[i]) for i in range(6)], [_as_tuple(ds[i]) for i in range(6)])
    def past_end(ds):
        got = _outcome(lambda: ds[6])
        require(got is IndexError, 'asking for sample 6 of 6 must raise IndexError', 6, got, IndexError)
    cases = [_dataset_case('it has a length', lambda ds: same(len(ds), 6), 'len(ds) calls __len__: return the number of samples, len(x).'),
             _pairs(0, 'the first pair', 'ds[0] calls __getitem__(0): return x[0],y[0].'),
             _pairs(4, 'x and y belong together', 'x[i] and y[i] must have the same i.'),
             _pairs(-1, 'the last pair by -1', 'Hand the index on to x and y: tensors know what -1 means.'),
             _pairs(slice(1, 4), 'a slice gives several', 'Hand the index on to x and y: tensors can be sliced.'),
             _pairs([3, 1, 3], 'a list of indices gives several', 'Hand the index on to x and y: tensors take lists.'),
             _dataset_case('the same sample each time', twice, 'A data set does not shuffle: that is for the sampler.'),
             _dataset_case('an index past the end is refused', past_end, 'A `for` loop over a data set ends when __getitem__ raises IndexError; tensors do so.')]
    return run_cases(make, cases, 'data set', limit)

def _in_order(make, n):
    got = list(make(['x']*n, False))
    same([i if i == 'x' else int(i) for i in got], list(range(n)), given=f'{n} samples, shuffle=False', hint=_order_hint(got, n))

def _order_hint(got, n):
    if any(i == 'x' for i in got): return 'A sampler gives indices, not samples: 0, 1, 2 … up to len(ds)-1.'
    if len(got) == n-1: return 'One index is missing: range(n) goes from 0 to n-1 already.'
    return 'range(len(ds)) gives the indices in order.'

def _all_once(make):
    got = [int(i) for i in make(range(60), True)]
    hint = 'Some came twice and others not at all: shuffle the list of indices, do not draw them one by one.' if len(got) == 60 else ''
    same(sorted(got), list(range(60)), given='60 samples, shuffle=True', hint=hint)

def _new_orders(make):
    s = make(range(60), True)
    a,b = list(s),list(s)
    require(a != list(range(60)), 'the order is not shuffled', got=a, hint='With shuffle=True the order must be random.')
    require(len(b) == 60, 'the second time there was nothing left', got=b,
            hint='__iter__ must begin anew each time it is called: shuffle and make the iterator there, not in __init__.')
    require(a != b, 'two epochs have the same order', got=a, hint='Shuffle in __iter__, not in __init__, or each epoch has the same order.')

def _repeatable(make):
    def seeded():
        random.seed(3)
        np.random.seed(3)
        torch.manual_seed(3)
        return [int(i) for i in make(range(60), True)]
    same(seeded(), seeded(), hint='Take the random numbers from torch (or random), so that a seed repeats a run.')

def _spread(make):
    s,firsts = make(range(5), True),[0]*5
    for _ in range(400): firsts[int(next(iter(s)))] += 1
    require(min(firsts) > 30 and max(firsts) < 150, 'not every index can come first', got=firsts, want='about 80 times each',
            hint='Each order must be as likely as any other: torch.randperm and random.shuffle see to that.')

def check_sampler(
    make,           # Your sampler: `make(ds, shuffle)`
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a sampler: the indices of a data set, in order or shuffled"
    again = 'A `for` loop over a sampler calls __iter__, which must begin anew each time.'
    def twice(make):
        s = make(range(5), False)
        same([list(s), list(s)], [list(range(5))]*2, hint=again)
    cases = [Case('one sample', lambda make: _in_order(make, 1)), Case('ten in order', lambda make: _in_order(make, 10)),
             Case('none', lambda make: _in_order(make, 0), 'No samples, no indices.'),
             Case('a length', lambda make: same([len(make(range(7), s)) for s in (False, True)], [7, 7]), '__len__ gives the number of indices.'),
             Case('it can be used twice', twice, again),
             Case('shuffled, each index comes once', _all_once, 'A shuffled order has the same indices in it.'),
             Case('a new order in each epoch', _new_orders), Case('a seed repeats the order', _repeatable),
             Case('all orders are possible', _spread)]
    return run_cases(make, cases, 'sampler', limit)

def _batch_hint(n, bs, drop):
    whole = [list(range(i, min(i+bs, n))) for i in range(0, n, bs)]
    full = [b for b in whole if len(b) == bs]
    def hint(got, want):
        if got == full: return 'The short batch at the end is missing: with drop_last=False it must come.'
        if got == whole: return 'drop_last=True leaves out a last batch that is shorter.'
        if [i for b in got for i in b] != [i for b in want for i in b]: return 'Each index must come in the order of the sampler, none left out, none twice.'
        return f'Each batch is a list of {bs} indices.'
    return hint

def _batch_case(n, bs, drop, name):
    def run(make):
        b = make(range(n), bs, drop)
        given = f'{n} indices, batch_size={bs}, drop_last={drop}'
        want = list(_torch_data.BatchSampler(range(n), bs, drop))
        same([list(x) for x in list(b)], want, given=given, hint=_batch_hint(n, bs, drop))
        require(len(b) == len(want), 'the length is wrong', given, len(b), len(want),
                hint='The number of batches: rounded down with drop_last=True, rounded up without.')
    return Case(name, run)

def check_batch_sampler(
    make,           # Your batch sampler: `make(sampler, batch_size, drop_last)`
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a batch sampler against PyTorch's"
    def own_order(make): same([list(b) for b in make([5, 3, 8, 1], 2, False)], [[5, 3], [8, 1]], given=[5, 3, 8, 1],
                              hint='Take the indices from the sampler: they need not be 0, 1, 2 …')
    def twice(make):
        b = make(range(4), 2, False)
        same([list(map(list, b)), list(map(list, b))], [[[0, 1], [2, 3]]]*2, hint='Call iter(sampler) in __iter__, so that each epoch begins anew.')
    cases = [_batch_case(4, 2, False, 'two batches of two'), _batch_case(5, 2, False, 'a short batch at the end'),
             _batch_case(5, 2, True, 'a short batch is dropped'), _batch_case(6, 3, True, 'nothing to drop'),
             _batch_case(2, 3, False, 'fewer than a batch'), _batch_case(2, 3, True, 'fewer than a batch, dropped'), _batch_case(0, 3, False, 'none'),
             Case('the order of the sampler', own_order), Case('it can be used twice', twice)]
    return run_cases(make, cases, 'batch sampler', limit)

_Point = namedtuple('_Point', 'x y')

def _collate_case(samples, name, hint=''):
    def run(f):
        mistakes = {'This is still a list: torch.stack makes one tensor of tensors of the same shape.': lambda: samples,
                    'This is the list of samples turned round: now make one tensor of each field.': lambda: list(zip(*samples))}
        def guess(got, want):
            if isinstance(want, torch.Tensor) and isinstance(got, torch.Tensor) and got.shape != want.shape and got.numel() == want.numel():
                return 'torch.stack puts a new dimension in front; torch.cat joins along one that is there.'
            for text,f in mistakes.items():
                with contextlib.suppress(Exception):
                    if not difference(got, f()): return text
            return ''
        want,got = _torch_data.default_collate(samples),f(list(samples))
        if isinstance(want, list) and isinstance(got, tuple) and not hasattr(got, '_fields'): got = list(got)
        same(got, want, given=samples, hint=guess)
    return Case(name, run, hint)

def check_collate(
    f,              # Your collate function: takes a list of samples
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a collate function against PyTorch's"
    def refuses(f):
        samples = [(torch.ones(2), 1), (torch.ones(3), 2)]
        got = _outcome(f, samples)
        require(isinstance(got, type) and issubclass(got, Exception), 'tensors of different shapes gave a batch', samples, got, 'an exception',
                hint='torch.stack refuses them by itself.')
    t = torch.arange(6.)
    cases = [_collate_case([t[:2], t[2:4], t[4:]], 'tensors', 'torch.stack.'), _collate_case([3, 1, 4], 'whole numbers', 'torch.tensor.'),
             _collate_case([3., 1., 4.], 'floats become float64', 'Python\'s floats are float64: torch.tensor(batch, dtype=torch.float64).'),
             _collate_case([True, False], 'truth values', 'torch.tensor.'),
             _collate_case(['a', 'b'], 'text stays', 'Text is left as it is, a list of strings.'),
             _collate_case([(t[:2], 7), (t[2:4], 8)], 'pairs', 'zip(*samples) gives the fields; collate each of them.'),
             _collate_case([(t[:2], 7)], 'a single pair', 'One sample makes a batch of one.'),
             _collate_case([np.ones(2), np.zeros(2)], 'arrays', 'torch.as_tensor makes a tensor of an array.'),
             _collate_case([dict(x=t[:2], y=1), dict(x=t[2:4], y=2)], 'dictionaries', 'For each key collate the values: {k: collate([s[k] for s in samples]) …}.'),
             _collate_case([dict(a=(t[:1], [1, 2.])), dict(a=(t[1:2], [3, 4.]))], 'containers in containers', 'Let the function call itself for each field.'),
             _collate_case([_Point(t[:2], 1), _Point(t[2:4], 2)], 'named tuples', 'type(sample)(*fields) makes a named tuple again.'),
             Case('different shapes are refused', refuses)]
    return run_cases(f, cases, 'collate', limit)

class _Known(_torch_data.Dataset):
    "Pairs of a vector that begins with `i`, and `10*i`; sample 0 can be made slow"
    def __init__(self, n, slow=False): self.n,self.slow = n,slow
    def __len__(self): return self.n
    def __getitem__(self, i):
        if not 0 <= i < self.n: raise IndexError(i)
        if self.slow and i == 0: time.sleep(0.1)
        return torch.tensor([i, 0.5]),10*int(i)

class _Broken(_Known):
    def __getitem__(self, i):
        if i == 5: raise ZeroDivisionError('sample 5 is broken')
        return super().__getitem__(i)

class _Dicts(_Known):
    def __getitem__(self, i): return dict(zip('xy', super().__getitem__(i)), name=f'no {i}')

class _Noise(_Known):
    def __getitem__(self, i): return torch.rand(2),random.random(),np.random.rand()

class _Stream(_torch_data.IterableDataset):
    def __iter__(self): return iter(range(7))

def _loaded(dl):
    "The batches of a loader as (x, y), which must be tensors"
    got = []
    for b in dl:
        require(isinstance(b, (tuple, list)) and len(b) == 2, 'a batch must be a pair of tensors', got=b, hint='A batch holds all the x and all the y: zip(*samples).')
        for o in b: require(isinstance(o, torch.Tensor), 'a batch must be a pair of tensors', got=b,
                            hint='The samples must be collated: torch.stack the x, make a tensor of the y.')
        got.append(tuple(b))
    return got

def _ids(batches): return [[int(i) for i in x[:,0]] for x,_ in batches]

def _reference(ds, **kwargs): return [tuple(b) for b in _torch_data.DataLoader(ds, **kwargs)]

def _ids_hint(want):
    full = [i for b in want for i in b]
    def hint(got, _):
        flat = [i for b in got for i in b]
        if got == want[:-1]: return 'The last batch is missing: a short one counts too, unless drop_last=True.'
        if got[:-1] == want: return 'drop_last=True leaves out a last batch that is shorter.'
        if flat == full: return 'The samples are right, but not the sizes of the batches.'
        if sorted(flat) == sorted(full): return 'All samples are there, but not in their order.'
        if set(flat) < set(full): return 'Samples are missing: is a batch one too short, or does the next one begin one too late?'
        return 'Each sample must come once: batch i begins at i*batch_size.'
    return hint

def _order_case(n, name, hint='', slow=False, **kwargs):
    "The batches that PyTorch's loader gives, in that order"
    def run(make):
        dl,reference = make(_Known(n, slow), **kwargs),_reference(_Known(n), **{k: v for k,v in kwargs.items() if k != 'num_workers'})
        got,ids = _loaded(dl),_ids(reference)
        given = f'{n} samples, ' + ', '.join(f'{k}={v}' for k,v in kwargs.items())
        same(_ids(got), ids, given=given, hint=hint or _ids_hint(ids))
        same(got, reference, given=given)
        require(len(dl) == len(ids), 'len(loader) is wrong', given, len(dl), len(ids), 'The number of batches: rounded up, or down with drop_last=True.')
        same(_ids(_loaded(dl)), ids, given='the second epoch', hint='A second loop must begin anew: make the iterator in __iter__, not in __init__.')
    return Case(name, run, 'Fetch the samples of each batch in order, and collate them.'),set(kwargs)

def _shuffled(make):
    ds = _Known(60)
    dl = make(ds, batch_size=4, shuffle=True)
    first,second = _loaded(dl),_loaded(dl)
    for x,y in first: require(torch.equal(x[:,0].long()*10, y), 'x and y do not belong together', got=(x[:,0], y), hint='x and y must be taken at the same indices.')
    a,b = _ids(first),_ids(second)
    same(sorted(sum(a, [])), list(range(60)), given='60 samples, shuffle=True', hint='In a shuffled epoch too each sample comes once.')
    require(sum(a, []) != list(range(60)), 'the order is not shuffled', got=a[:3], hint='shuffle=True: draw a random order at the start of each epoch.')
    require(sum(b, []), 'a second epoch is empty', hint='A second loop must begin anew: make the iterator in __iter__, not in __init__.')
    require(a != b, 'two epochs have the same order', got=a[:3], hint='Shuffle anew in __iter__: each epoch needs its own order.')
    sets_a,sets_b = ([sorted(x) for x in o] for o in (a, b))
    require(sets_a != sets_b, 'only the inside of the batches is shuffled', got=a[:3], hint='Shuffle all indices first, then cut them into batches.')
    whole = sum(x in sets_b for x in sets_a)
    require(whole < len(a)/2, 'the same samples always meet', got=a[:3], hint='Shuffle the samples, not the batches.')

def _generator(make):
    def order():
        g = torch.Generator().manual_seed(3)
        return _ids(_loaded(make(_Known(60), batch_size=4, shuffle=True, generator=g)))
    before = torch.get_rng_state()
    same(order(), order(), hint='The order must be drawn from the generator: torch.randperm(n, generator=generator).')
    require(torch.equal(before, torch.get_rng_state()), 'the global random numbers were used or seeded', hint='With a generator leave torch\'s own alone.')

def _seeded(make):
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append((_ids(_loaded(make(_Known(60), batch_size=4, shuffle=True))), torch.rand(3)))
    same(states[0], states[1], hint='The same torch.manual_seed must give the same order.')
    list(make(_Known(60), batch_size=4, shuffle=True))
    require(not torch.equal(torch.rand(3), states[0][1]), 'the loader seeds the global random numbers', hint='Never call torch.manual_seed in a loader: the model draws too.')

def _collate_fn(make):
    def summed(samples): return sum(y for _,y in samples)
    same(list(make(_Known(5), batch_size=2, collate_fn=summed)), [10, 50, 40])

def _dictionaries(make):
    got = next(iter(make(_Dicts(4), batch_size=2)))
    same(dict(got) if isinstance(got, Mapping) else got, dict(x=torch.tensor([[0, .5], [1, .5]]), y=torch.tensor([0, 10]), name=['no 0', 'no 1']),
         hint='Samples can be dictionaries: collate each key.')

def _raises(workers):
    def run(make):
        got = _outcome(lambda: list(make(_Broken(8), batch_size=2, **({'num_workers': workers} if workers else {}))))
        require(got is ZeroDivisionError, 'an error in a sample must come out of the loop, with its own type', got=got, want=ZeroDivisionError,
                hint='Catch nothing: an error that is swallowed is a sample that nobody misses.')
    return run

def _noise(make):
    b = [torch.cat([x.flatten().double(), *o]) for x,*o in make(_Noise(8), batch_size=1, num_workers=2)]
    for k in range(4): require(len({round(x[k].item(), 9) for x in b}) == 8, 'random numbers repeat', got=[x[k].item() for x in b],
                               hint='Forked workers have copies of the same random state: seed each differently, torch, random and numpy.')

def _stream(make):
    same([b.tolist() for b in make(_Stream(), batch_size=3)], [[0, 1, 2], [3, 4, 5], [6]], hint='An IterableDataset has no indices: take the next samples that come.')

def _single(make):
    got = list(make(_Known(3), batch_size=None))
    same([_as_tuple(b) for b in got], [_Known(3)[i] for i in range(3)], hint='batch_size=None gives the samples themselves.')

def _takes(make, names):
    try: params = inspect.signature(make).parameters
    except (TypeError, ValueError): return True
    return any(p.kind is p.VAR_KEYWORD for p in params.values()) or set(names) <= set(params)

def check_dataloader(
    make,           # Your loader: `make(dataset, batch_size=…, shuffle=…, …)`
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a data loader against PyTorch's, as far as its arguments go"
    late = 'Workers finish in any order, but batches must come in theirs: ask the workers in turn.'
    order = [3, 1, 2, 0, 4]
    cases = [_order_case(6, 'two batches', batch_size=3), _order_case(7, 'a short batch at the end', batch_size=3),
             _order_case(2, 'fewer samples than a batch', batch_size=3), _order_case(7, 'drop_last', batch_size=3, drop_last=True),
             _order_case(6, 'drop_last, and nothing to drop', batch_size=3, drop_last=True),
             (Case('shuffle', _shuffled), {'shuffle'}), (Case('a seed repeats the order', _seeded), {'shuffle'}),
             (Case('samples that are dictionaries', _dictionaries), set()), (Case('an error in a sample', _raises(0)), set()),
             (Case('collate_fn', _collate_fn, 'What collate_fn returns is the batch.'), {'collate_fn'}), (Case('generator', _generator), {'generator', 'shuffle'}),
             _order_case(5, 'sampler', 'The order comes from the sampler.', batch_size=2, sampler=order),
             _order_case(5, 'batch_sampler', 'Each batch comes from the batch sampler.', batch_sampler=[[0, 4], [1], [2, 3]]),
             (Case('batch_size=None', _single), {'num_workers'}), (Case('an iterable data set', _stream), {'num_workers'}),
             _order_case(9, 'two workers, the first one slow', late, slow=True, batch_size=2, num_workers=2),
             (Case('workers draw different random numbers', _noise), {'num_workers'}),
             (Case('an error in a worker', _raises(2)), {'num_workers'})]
    tried = [case for case,names in cases if _takes(make, names)]
    missing = sorted({n for _,names in cases for n in names if not _takes(make, {n})})
    return run_cases(make, tried, 'data loader' + (f' (without {", ".join(missing)})' if missing else ''), limit)
