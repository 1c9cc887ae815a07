"Checks of 09_dataloader: a sampler, padding, and loaders without workers"
import inspect, time, traceback
from collections import Counter
import torch, torch.utils.data as _torch_data
from miniai.tools.chance import seed_all
from .kit import Case, check, require, rng, same

AGAIN = 'A second loop must begin anew: make the iterator in __iter__, not in __init__.'

def outcome(f, *args):
    "What `f` returned, or the class of the exception it raised"
    try: return f(*args)
    except Exception as e:
        traceback.clear_frames(e.__traceback__)  # they hold PyTorch's iterator, and it holds workers
        return type(e)

@check('balanced sampler')
def check_balanced(make):  # Your sampler: `make(labels)`
    "Check a sampler that gives as many samples of each class as the smallest one has"
    labels = torch.tensor([7, 1, 7, 7]*12 + [0, 7, 7, 0, 7, 7, 0])
    def as_many(make):
        for _ in range(20):
            got = [int(i) for i in make(labels)]
            require(sorted(got) != [0]*3 + [1]*3 + [7]*3, 'labels came', got=got, hint='Give the places.')
            same({c: sum(int(labels[i] == c) for i in got) for c in (0, 1, 7)}, {0: 3, 1: 3, 7: 3}, mistakes={
                'The smallest class decides for all. (In a set all tensors differ.)': {0: 3, 1: 12, 7: 40},
                'Of each as many as of the smallest, not of the largest.': {0: 40, 1: 40, 7: 40},
                'Nothing came: labels.unique() lists the classes that there are.': {0: 0, 1: 0, 7: 0}})
            require(len(set(got)) == 9, 'some came twice', got=got, hint='randperm gives each place once.')
        same(len(make(labels)), 9, hint='The length is how many an epoch gives: here 3*3.')
    def drawn_anew(make):
        s,orders,drawn = make(torch.tensor([5, 3, 5, 3, 5, 5, 5, 5])),Counter(),Counter()
        for _ in range(600):
            drawn.update(epoch := [int(i) for i in s])
            orders[''.join('53535555'[i] for i in epoch)] += 1
        def need(truth, hint): require(truth, 'some come too often', got=dict(orders), hint=hint)
        need(not orders[''], AGAIN)
        need(min(drawn[i] for i in range(8)) > 140, 'Draw the places anew: in __iter__, and seed nothing.')
        need(len(orders) == 6 and min(orders.values()) > 55, 'Each place once, all shuffled at the end.')
    return [Case('as many of each class', as_many, 'Draw as many places of each; give iter(…), or yield.'),
            Case('drawn anew, in random order', drawn_anew)]

def filled(samples):
    out = samples[0].new_zeros(len(samples), *map(max, zip(*(t.shape for t in samples))))
    for o,t in zip(out, samples): o[tuple(map(slice, t.shape))] = t
    return out

@check('padding')
def check_pad(f):  # Your collate function: takes a list of tensors
    "Check a collate function that fills tensors up with zeros to one size"
    def case(hint, *shapes):
        samples = [torch.ones(s, dtype=torch.long) for s in shapes]
        def run(f): same(f(samples), filled(samples), given=[tuple(s) for s in shapes])
        return Case(' and '.join(map(str, shapes)), run, hint)
    return [case('A row a sample, as long as the longest, zeros behind, of its dtype.', (2,), (5,), (1,)),
            case('Here only the last dimension differs: the others stay as they are.', (1, 3, 4), (1, 3, 6)),
            case('For each dimension, which sample is the longest?', (2, 5), (4, 3))]

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

def order_case(n, name, hint='Each comes once: batch i begins at i*batch_size.', slow=False, **kwargs):
    "The batches that PyTorch's loader gives, in that order; and the arguments that it takes to try"
    reference = [tuple(b) for b in _torch_data.DataLoader(Known(n), **kwargs | dict(num_workers=0))]
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
        same(len(dl), len(want), given=given, hint='The number of batches: rounded up; down with drop_last.')
        same(ids(loaded(dl)), want, given='the second epoch', hint=AGAIN)
    return Case(name, run),set(kwargs)

def _shuffled(make):
    dl = make(Known(60), batch_size=4, shuffle=True)
    first,second = loaded(dl),loaded(dl)
    for x,y in first: same(y, x[:,0].long()*10, hint='x and y must be taken at the same indices.')
    a,b = ids(first),ids(second)
    same(sorted(sum(a, [])), list(range(60)), given='60 samples, shuffle=True',
         hint='In a shuffled epoch too each sample comes once.')
    together = sum(sorted(x) in map(sorted, b) for x in a)
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
    same(got, ZeroDivisionError, given='a sample that raises an error',
         hint='Catch nothing, and fetch each sample: who swallows an error loses one.')

def takes(make, names):
    "Does `make` take arguments of these `names`?"
    try: params = inspect.signature(make).parameters
    except (TypeError, ValueError): return True
    return any(p.kind is p.VAR_KEYWORD for p in params.values()) or set(names) <= set(params)

def loader_cases(make):
    "What every loader must do, as far as the arguments of `make` go"
    def summed(make):
        same(list(make(Known(5), batch_size=2, collate_fn=lambda s: sum(y for _,y in s))), [10, 50, 40])
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

class Ragged(Known):
    "Sample i is i+1, up to 100 times over; `most` counts how many were fetched and not yet given"
    asked = given = most = 0
    def row(self, i): return torch.full((1 + 37*i % 100,), i+1)
    def __getitem__(self, i):
        i,self.asked = super().__getitem__(i)[1]//10,self.asked + 1
        self.most = max(self.most, self.asked - self.given)
        return self.row(i)
    def epoch(self, dl):
        self.given = self.asked
        for x,lengths in dl:
            want = [self.row(i) for i in (x.max(1).values - 1).tolist()]
            same(x, filled(want), hint='A row a sample, zeros behind, up to the longest.')
            same(lengths, torch.tensor(list(map(len, want))), dtype=False, hint='A tensor: how long each is.')
            self.given += len(x)
            yield [int(t[0]) - 1 for t in want]

@check('ragged loader')
def check_ragged(make):  # Your loader: `make(dataset, batch_size, pool)`
    "Check a loader that puts samples of like length together"
    def whole(make):
        got = list((ds := Ragged(507)).epoch(dl := make(ds, 8, 60)))
        same(sorted(sum(got, [])), list(range(507)), hint='Each once: what is left at the end is a batch.')
        require(ds.asked == 507, f'{ds.asked} were fetched', hint='Fetch each once, when its turn comes.')
        require(ds.most <= 60, f'{ds.most} waited', hint='At most `pool` may wait, with those left over.')
        same([len(b) for b in got], [8]*63 + [3], hint='What a pool leaves over goes into the next one.')
        same(len(dl), 64, hint='The number of batches, rounded up.')
    def mixed(make):
        dl = make(ds := Ragged(512), 8, 64)
        got,again = [[sorted(b) for b in ds.epoch(dl)] for _ in range(2)]
        sizes = [[len(ds.row(i)) for i in b] for b in got]
        longest,zeros = [max(s) for s in sizes],sum(8*max(s) - sum(s) for s in sizes)
        rises = sum(a < b for a,b in zip(longest, longest[1:]))
        def need(truth, problem, hint): require(truth, problem, got=longest[:16], hint=hint)
        need(zeros < 10_000, f'{zeros} zeros were filled in', 'Sort what waits by length, then cut.')
        need(12 < rises < 51, 'they come by length', 'Mix the batches of a pool.')
        need(sum(sum(got[:32], [])) > 200*256, 'they come in order', 'Draw the samples at random.')
        need(again, 'a second epoch is empty', AGAIN)
        need(sum(b in again for b in got) < 32, 'the same meet', 'Shuffle in __iter__, and seed nothing.')
    return [Case('an epoch', whole, 'A batch is a pair: one tensor with a row a sample, and the lengths.'),
            Case('at random, with little padding', mixed)]
