"Checks of 09_dataloader: samplers, collating, and a loader without workers"
import inspect, time, traceback
from collections import Counter, namedtuple
import numpy as np, torch, torch.utils.data as _torch_data
from miniai.tools.chance import seed_all
from .kit import Case, check, require, rng, same

AGAIN = 'A second loop must begin anew: make the iterator in __iter__, not in __init__.'

def outcome(f, *args):
    "What `f` returned, or the class of the exception it raised"
    try: return f(*args)
    except Exception as e:
        traceback.clear_frames(e.__traceback__)  # they hold PyTorch's iterator, and it holds workers
        return type(e)

@check('sampler')
def check_sampler(make):  # Your sampler: `make(ds, shuffle)`
    "Check a sampler: the indices of a data set, in order or shuffled"
    def in_order(n):
        def run(make):
            got = [i if i == 'x' else int(i) for i in make(['x']*n, False)]
            same(got, list(range(n)), given=f'{n} samples, shuffle=False', mistakes={
                'A sampler gives indices, not samples: 0, 1, 2 … up to len(ds)-1.': ['x']*n,
                'One index is missing: range(n) goes from 0 to n-1 already.': list(range(n-1)),
                'Indices begin with 0.': list(range(1, n+1))})
        return Case(f'{n} in order', run, 'iter(range(len(ds))) gives the indices in order.')
    def all_once(make):
        got,hint = sorted(map(int, make(range(60), True))),'Some came twice: shuffle the list of indices.'
        same(got, list(range(60)), given='60 samples, shuffle=True', hint=hint*(len(got) == 60))
    def new_orders(make):
        s = make(range(60), True)
        a,b = list(s),list(s)
        require(a != list(range(60)), 'it is not shuffled', got=a, hint='With shuffle it must be random.')
        require(len(b) == 60, 'the second time there was nothing left', got=b, hint=AGAIN)
        require(a != b, 'two epochs have one order', got=a, hint='Shuffle in __iter__, not in __init__. '
                'And seed nothing.')
    def spread(make):
        s = make(range(3), True)
        counts = Counter(tuple(map(int, s)) for _ in range(600))
        require(len(counts) == 6 and min(counts.values()) > 50, 'some orders come too often',
                got=dict(counts), want='each order of three about 100 times')
    return [in_order(10), in_order(0),
            Case('a length', lambda make: same([len(make(range(7), s)) for s in (False, True)], [7, 7]),
                 '__len__ gives the number of indices.'),
            Case('shuffled, each index comes once', all_once,
                 'The same indices, in another order. (random.shuffle changes its list and returns None.)'),
            Case('a new order in each epoch', new_orders),
            Case('all orders are possible', spread,
                 'Make each as likely as any other, as torch.randperm does.')]

_Point = namedtuple('_Point', 'x y')

@check('collate')
def check_collate(f):  # Your collate function: takes a list of samples
    "Check a collate function against PyTorch's"
    def case(samples, name, hint=''):
        want = _torch_data.default_collate(samples)
        def run(f):
            got = f(list(samples))
            if isinstance(want, list) and type(got) is tuple: got = list(got)
            same(got, want, given=samples, mistakes={
                'This is still a list: torch.stack makes one tensor of tensors of one shape.': list(samples),
                'This is the list of samples turned round: now make one tensor of each field.':
                    lambda: list(zip(*samples)),
                'torch.stack puts a new dimension in front; torch.cat joins along one that is there.':
                    lambda: torch.cat(samples)})
        return Case(name, run, hint)
    def refuses(f):
        samples = [(torch.ones(2), 1), (torch.ones(3), 2)]
        got = outcome(f, samples)
        require(isinstance(got, type), 'different shapes gave a batch', samples, got, 'an exception')
    t,for_keys = torch.arange(6.),'For each key collate the values: {k: f([s[k] for s in samples]) …}.'
    return [case([t[:2], t[2:4], t[4:]], 'tensors', 'If samples[0] is a tensor: torch.stack(samples).'),
            case([3, 1, 4], 'whole numbers', 'torch.tensor(samples).'),
            case([3., 1., 4.], 'floats become float64', "Python's floats are float64: dtype=torch.float64."),
            case([True, False], 'truth values', 'torch.tensor(samples) keeps their type.'),
            case(['a', 'b'], 'text stays', 'Text is left as it is, a list of strings.'),
            case([(t[:2], 7), (t[2:4], 8)], 'pairs', 'zip(*samples) gives the fields; collate each of them.'),
            case([(t[:2], 7)], 'a single pair', 'One sample makes a batch of one.'),
            case([np.ones(2), np.zeros(2)], 'arrays', 'torch.as_tensor makes a tensor of an array.'),
            case([dict(x=t[:2], y=1), dict(x=t[2:4], y=2)], 'dictionaries', for_keys),
            case([dict(a=(t[:1], [1, 2.])), dict(a=(t[1:2], [3, 4.]))], 'containers in containers',
                 'Let the function call itself for each field; tuples become lists.'),
            case([_Point(t[:2], 1), _Point(t[2:4], 2)], 'named tuples', 'type(sample)(*fields) makes one.'),
            Case('different shapes are refused', refuses, 'torch.stack refuses them by itself.')]

class Known(_torch_data.Dataset):
    "Pairs of a vector that begins with `i`, and `10*i`; sample 0 can be made slow, and another one broken"
    def __init__(self, n, slow=False, broken=-1): self.n,self.slow,self.broken = n,slow,broken
    def __len__(self): return self.n
    def __getitem__(self, i):
        if isinstance(i, (list, slice)): raise TypeError('this data set gives one sample at a time: ds[i]')
        if not 0 <= i < self.n: raise IndexError(i)
        if i == self.broken: raise ZeroDivisionError(f'sample {i} is broken')
        if self.slow and i == 0: time.sleep(0.1)
        return torch.tensor([i, 0.5]),10*int(i)

def loaded(dl):
    "The batches of a loader as (x, y), which must be tensors"
    got = [tuple(b) if isinstance(b, (tuple, list)) else b for b in dl]
    for b in got:
        good = isinstance(b, tuple) and len(b) == 2 and all(isinstance(o, torch.Tensor) for o in b)
        require(good, 'a batch must be a pair of tensors', got=b,
                hint='A batch holds all the x and all the y: the samples must be collated.')
    return got

def ids(batches): return [[int(i) for i in x[:,0]] for x,_ in batches]
ONCE = 'Each sample must come once: batch i begins at i*batch_size.'

def order_case(n, name, hint=ONCE, slow=False, **kwargs):
    "The batches that PyTorch's loader gives, in that order; and the arguments that it takes to try"
    plain = {k: v for k,v in kwargs.items() if k != 'num_workers'}
    reference = [tuple(b) for b in _torch_data.DataLoader(Known(n), **plain)]
    given,want = f'{n} samples, ' + ', '.join(f'{k}={v}' for k,v in kwargs.items()),ids(reference)
    def run(make):
        dl = make(Known(n, slow), **kwargs)
        got = loaded(dl)
        same(ids(got), want, given=given, hint=hint, mistakes={
            'The last batch is missing: a short one counts too, unless drop_last=True.': want[:-1],
            'drop_last=True leaves out a last batch that is shorter.': [[0, 1, 2], [3, 4, 5], [6]],
            'The order comes from the sampler.': [[0, 1], [2, 3], [4]],
            'Samples are missing: is a batch one too short, or does the next one begin one too late?':
                lambda: [b if i == 0 else b[1:] for i,b in enumerate(want)]})
        same(got, reference, given=given, hint='Fetch the samples of each batch, and collate them.')
        require(len(dl) == len(want), 'len(loader) is wrong', given, len(dl), len(want),
                'The number of batches: rounded up, or down with drop_last=True.')
        same(ids(loaded(dl)), want, given='the second epoch', hint=AGAIN)
    return Case(name, run),set(kwargs)

def _shuffled(make):
    dl = make(Known(60), batch_size=4, shuffle=True)
    first,second = loaded(dl),loaded(dl)
    for x,y in first:
        require(torch.equal(x[:,0].long()*10, y), 'x and y do not belong together', got=(x[:,0], y),
                hint='x and y must be taken at the same indices.')
    a,b = ids(first),ids(second)
    same(sorted(sum(a, [])), list(range(60)), given='60 samples, shuffle=True',
         hint='In a shuffled epoch too each sample comes once.')
    groups = [sorted(x) for x in b]
    together = sum(sorted(x) in groups for x in a)
    def never(wrong, problem, hint): require(not wrong, problem, got=a[:3], hint=hint)
    never(sum(a, []) == list(range(60)), 'it is not shuffled', 'shuffle=True: draw a random order each time.')
    never(not b, 'a second epoch is empty', AGAIN)
    never(a == b, 'two epochs have the same order', 'Shuffle in __iter__: each epoch needs its own order.')
    never(together > len(a)/2, 'the same samples always meet',
          'Shuffle all the samples, then cut: not the batches, and not only the inside of each.')

def _seeded(make):
    def run():
        seed_all(5)
        return ids(loaded(make(Known(60), batch_size=4, shuffle=True))),torch.rand(3)
    (a,after),(b,_) = run(),run()
    same(a, b, hint='The same seed must give the same order: draw it by torch, random or numpy.')
    list(make(Known(60), batch_size=4, shuffle=True))
    require(not torch.equal(torch.rand(3), after), 'the loader seeds the global random numbers',
            hint='Never call torch.manual_seed in a loader: the model draws too.')

def _generator(make):
    def order(): return ids(loaded(make(Known(60), batch_size=4, shuffle=True, generator=rng(3))))
    before = torch.get_rng_state()
    same(order(), order(), hint='It must be drawn from the generator: torch.randperm(n, generator=…).')
    require(torch.equal(before, torch.get_rng_state()), 'the global random numbers were used or seeded',
            hint="With a generator leave torch's own alone.")

def raises(make, **kwargs):
    got = outcome(lambda: list(make(Known(8, broken=5), batch_size=2, **kwargs)))
    require(got is ZeroDivisionError, 'an error in a sample must come out of the loop as it is', got=got,
            want=ZeroDivisionError,
            hint='Catch nothing, and fetch each sample: who swallows an error loses one.')

def takes(make, names):
    "Does `make` take arguments of these `names`?"
    try: params = inspect.signature(make).parameters
    except (TypeError, ValueError): return True
    return any(p.kind is p.VAR_KEYWORD for p in params.values()) or set(names) <= set(params)

def loader_cases(make):
    "What every loader must do, as far as the arguments of `make` go"
    def summed(make):
        got = list(make(Known(5), batch_size=2, collate_fn=lambda samples: sum(y for _,y in samples)))
        same(got, [10, 50, 40])
    cases = [order_case(6, 'two batches', batch_size=3),
             order_case(7, 'a short batch at the end', batch_size=3),
             order_case(7, 'drop_last', batch_size=3, drop_last=True),
             (Case('shuffle', _shuffled), {'shuffle'}),
             (Case('a seed repeats the order', _seeded), {'shuffle'}),
             (Case('an error in a sample', raises), set()),
             (Case('collate_fn', summed, 'What collate_fn returns is the batch.'), {'collate_fn'}),
             (Case('generator', _generator), {'generator', 'shuffle'}),
             order_case(5, 'sampler', batch_size=2, sampler=[3, 1, 2, 0, 4]),
             order_case(5, 'batch_sampler', 'Each batch comes from the batch sampler.',
                        batch_sampler=[[0, 4], [1], [2, 3]])]
    return [case for case,names in cases if takes(make, names)]

@check('loader')
def check_loader(make):  # Your loader: `make(dataset, batch_size=…, shuffle=…, …)`
    "Check a loader without workers against PyTorch's, as far as its arguments go"
    return loader_cases(make)
