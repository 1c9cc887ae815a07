"""miniai.data against torch.utils.data, and what only real processes and real signals can show."""
import os, pickle, random, signal, subprocess, sys, threading, time, traceback, warnings
from collections import OrderedDict, namedtuple
from pathlib import Path
import numpy as np, psutil, pytest, torch
import torch.utils.data as torch_data
from hypothesis import given, settings, strategies as st
from miniai import data
from miniai.data import BatchSampler, DataLoader, Dataset, IterableDataset, Sampler, Subset, collate, random_split, worker_rng

ROOT = Path(__file__).parents[1]
Box = namedtuple('Box', 'left top')
fast = settings(deadline=None, max_examples=60)
slow = settings(deadline=None, max_examples=10)


def same(a, b):
    "Are two nested batches of the same types, dtypes and values?"
    if isinstance(b, torch.Tensor): return type(a) is type(b) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(b, np.ndarray): return type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(b, dict): return type(a) is type(b) and list(a) == list(b) and all(same(a[k], b[k]) for k in b)
    if isinstance(b, (list, tuple)): return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def children(): return [p for p in psutil.Process().children() if not {'resource_tracker', 'forkserver'} & set(' '.join(p.cmdline()).replace('.', ' ').split())]


class Custom(torch_data.Dataset):
    def __init__(self, n): self.n = n
    def __len__(self): return self.n
    def __getitem__(self, i): return {'x': torch.full((2, 3), float(i)), 'y': i, 'name': f'no {i}'}


class Draws(Custom):
    "Random numbers from all sources"
    def __getitem__(self, i): return i,torch.rand(2),random.random(),np.random.rand(),np.random.randn(),random.gauss(0, 1)


class DrawsOwn(Custom):
    def __getitem__(self, i): return i,torch.rand(2, generator=worker_rng()),worker_rng('numpy').random(),worker_rng('random').random()


class Stream(IterableDataset):
    def __init__(self, n, share=True, draws=False): self.n,self.share,self.draws = n,share,draws
    def __iter__(self):
        info = torch_data.get_worker_info() if self.share else None
        for i in range(info.id if info else 0, self.n, info.num_workers if info else 1): yield (i, random.random()) if self.draws else i


class Calls(Custom):
    "Does what it is told for sample 7"
    def __init__(self, f, n=40): self.f,self.n = f,n
    def __getitem__(self, i): return self.f() if i == 7 else i


def make_dataset(kind, n):
    x,y = torch.arange(n*2.).view(n, 2),torch.arange(n)
    if kind == 'ours': return Dataset(x, y)
    if kind == 'tensors': return torch_data.TensorDataset(x, y, -y)
    if kind == 'arrays': return Dataset(x.numpy(), y.numpy())
    if kind == 'list': return [(float(i), i) for i in range(n)]
    if kind == 'tensor': return x
    if kind == 'custom': return Custom(n)
    if kind == 'our subset': return Subset(Dataset(x, y), list(range(n))[::-1])
    if kind == 'their subset': return torch_data.Subset(Subset(torch_data.TensorDataset(x), torch.arange(n)), range(n))
    if kind == 'concat': return torch_data.ConcatDataset([Dataset(x, y), Dataset(x, y)])
    raise ValueError(kind)


KINDS = ['ours', 'tensors', 'arrays', 'list', 'tensor', 'custom', 'our subset', 'their subset', 'concat']


def epochs(cls, dataset, seed, n_epochs=2, own_generator=False, **kwargs):
    torch.manual_seed(seed)
    if own_generator: kwargs['generator'] = torch.Generator().manual_seed(seed)
    dl = cls(dataset, **kwargs)
    return [list(dl) for _ in range(n_epochs)],torch.get_rng_state(),len(dl)


# ---- against PyTorch's ------------------------------------------------------------------------------------------------------


@fast
@given(st.integers(1, 40), st.booleans(), st.integers(0, 2**32), st.booleans())
def test_sampler(n, shuffle, seed, own):
    def orders(make):
        torch.manual_seed(seed)
        s = make(torch.Generator().manual_seed(seed) if own else None)
        return list(s),list(s),len(s),torch.get_rng_state().tolist()
    def theirs(g): return torch_data.RandomSampler(range(n), generator=g) if shuffle else torch_data.SequentialSampler(range(n))
    assert orders(lambda g: Sampler(range(n), shuffle, g)) == orders(theirs)


@fast
@given(st.lists(st.integers()), st.integers(1, 8), st.booleans())
def test_batch_sampler(indices, bs, drop):
    ours,theirs = BatchSampler(indices, bs, drop),torch_data.BatchSampler(indices, bs, drop)
    assert list(ours) == list(theirs) == list(ours) and len(ours) == len(theirs)


leaves = st.sampled_from([lambda i: i, lambda i: float(i), lambda i: i % 2 == 0, lambda i: f'{i}', lambda i: bytes([i]), lambda i: np.float32(i),
                          lambda i: np.float64(i), lambda i: np.int16(i), lambda i: np.full((2, 1), i), lambda i: torch.full((3,), i),
                          lambda i: torch.tensor(float(i)), lambda i: np.bool_(i), lambda i: torch.zeros(0, 2)])
def containers(f):
    return st.one_of(st.lists(f, min_size=1, max_size=3).flatmap(lambda fs: st.sampled_from([
        lambda i: [g(i) for g in fs], lambda i: tuple(g(i) for g in fs), lambda i: {f'k{j}': g(i) for j,g in enumerate(fs)},
        lambda i: OrderedDict((j, g(i)) for j,g in enumerate(fs))])), st.tuples(f, f).map(lambda fs: lambda i: Box(fs[0](i), fs[1](i))))


@fast
@given(st.recursive(leaves, containers, max_leaves=6), st.integers(1, 4))
def test_collate(make, n):
    samples = [make(i) for i in range(n)]
    assert same(collate(samples), torch_data.default_collate(samples))


@fast
@given(st.sampled_from(KINDS), st.integers(1, 20), st.integers(1, 7), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 2**32))
def test_loader(kind, n, bs, shuffle, drop, own, seed):
    ours,theirs = (epochs(cls, make_dataset(kind, n), seed, own_generator=own, batch_size=bs, shuffle=shuffle, drop_last=drop)
                   for cls in (DataLoader, torch_data.DataLoader))
    assert same(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1]) and ours[2] == theirs[2]


@slow
@given(st.sampled_from(KINDS), st.integers(1, 20), st.integers(1, 7), st.booleans(), st.booleans(), st.integers(0, 2**32),
       st.integers(1, 2), st.integers(1, 3), st.booleans(), st.sampled_from(['process', 'thread']))
def test_loader_with_workers(kind, n, bs, drop, own, seed, workers, prefetch, persistent, worker_type):
    kwargs = dict(own_generator=own, batch_size=bs, shuffle=True, drop_last=drop, num_workers=workers, prefetch_factor=prefetch, persistent_workers=persistent)
    ours = epochs(DataLoader, make_dataset(kind, n), seed, worker_type=worker_type, **kwargs)
    theirs = epochs(torch_data.DataLoader, make_dataset(kind, n), seed, **kwargs)
    assert same(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
    assert not children()


@fast
@given(st.integers(1, 20), st.integers(1, 5), st.sampled_from(['weighted', 'subset', 'replacement', 'list', 'ours', 'batches', 'our batches', 'none']),
       st.integers(0, 2**32))
def test_samplers_are_interchangeable(n, bs, kind, seed):
    def run(cls):
        ds = make_dataset('ours', n)
        kwargs = dict(weighted=lambda: dict(sampler=torch_data.WeightedRandomSampler(torch.arange(1., n+1), n)),
                      subset=lambda: dict(sampler=torch_data.SubsetRandomSampler(range(0, n, 2))),
                      replacement=lambda: dict(sampler=torch_data.RandomSampler(ds, replacement=True, num_samples=2*n)),
                      list=lambda: dict(sampler=list(range(n))[::-1] + [0, 0]), ours=lambda: dict(sampler=Sampler(ds, shuffle=True)),
                      batches=lambda: dict(batch_sampler=torch_data.BatchSampler(Sampler(ds), bs, True)),
                      none=lambda: dict(batch_size=None, shuffle=True))
        kwargs['our batches'] = lambda: dict(batch_sampler=BatchSampler(torch_data.RandomSampler(ds), bs, False))
        kwargs = kwargs[kind]()
        return epochs(cls, ds, seed, **({} if 'batch_sampler' in kwargs or 'batch_size' in kwargs else dict(batch_size=bs)), **kwargs)
    ours,theirs = run(DataLoader),run(torch_data.DataLoader)
    assert same(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1]) and ours[2] == theirs[2]


@slow
@given(st.integers(0, 20), st.integers(1, 5) | st.none(), st.booleans(), st.integers(0, 3), st.booleans())
def test_iterable(n, bs, drop, workers, share):
    kwargs = dict(batch_size=bs, drop_last=drop and bs is not None, num_workers=workers)
    assert same(list(DataLoader(Stream(n, share), **kwargs)), list(torch_data.DataLoader(Stream(n, share), **kwargs)))


@fast
@given(st.integers(2, 50), st.lists(st.integers(1, 10), min_size=1, max_size=4), st.booleans(), st.integers(0, 2**32))
def test_random_split(n, parts, shares, seed):
    lengths = [p/sum(parts) for p in parts] if shares else [*parts, n] if sum(parts) > n else [*parts, n - sum(parts)]
    g = torch.Generator().manual_seed
    if not shares and sum(lengths) != n:
        with pytest.raises(ValueError, match='add up'): random_split(range(n), lengths, g(seed))
        return
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        theirs = torch_data.random_split(range(n), lengths, g(seed))
    ours = random_split(range(n), lengths, g(seed))
    assert [list(s.indices) for s in ours] == [list(s.indices) for s in theirs]
    assert [list(s) for s in ours] == [list(s) for s in theirs]


def test_ours_in_theirs():
    ds = Dataset(torch.arange(10.), torch.arange(10))
    for kwargs in (dict(sampler=Sampler(ds)), dict(batch_sampler=BatchSampler(Sampler(ds), 3)), dict(batch_size=4, collate_fn=collate, num_workers=1)):
        assert same(list(torch_data.DataLoader(ds, **kwargs)), list(DataLoader(ds, **kwargs)))
    assert [b.tolist() for b in torch_data.DataLoader(Stream(5), batch_size=2)] == [[0, 1], [2, 3], [4]]
    for ours,theirs in ((ds, torch_data.Dataset), (Stream(3), torch_data.IterableDataset), (Subset(ds, [1]), torch_data.Subset), (Sampler(ds), torch_data.Sampler),
                        (BatchSampler(range(3), 2), torch_data.BatchSampler), (DataLoader(ds), torch_data.DataLoader)): assert isinstance(ours, theirs)
    assert len(ds + ds) == 20 and same((ds + ds)[13], ds[3])


def test_same_attributes_as_theirs():
    ds = Custom(10)
    for kwargs in (dict(), dict(batch_size=4, num_workers=2), dict(batch_sampler=[[1]])):
        ours,theirs = DataLoader(ds, **kwargs),torch_data.DataLoader(ds, **kwargs)
        for name,value in vars(theirs).items():
            if name.startswith('_'): continue
            if isinstance(value, (int, str, type(None))): assert getattr(ours, name) == value, name
            else: assert hasattr(ours, name), name
    assert ours.multiprocessing_context is None
    with pytest.raises(ValueError, match='batch_size'): ours.batch_size = 3
    ours.collate_fn = list


def test_hugging_face():
    datasets = pytest.importorskip('datasets')
    ds = datasets.Dataset.from_dict({'x': [[i, i+1] for i in range(10)], 'label': list(range(10))})
    for d in (ds, ds.with_format('torch'), ds.with_transform(lambda b: {'double': [2*v for v in b['label']]}), Subset(ds, [3, 4, 5]), ds.to_iterable_dataset()):
        shuffle = None if isinstance(d, torch_data.IterableDataset) else True
        ours,theirs = (epochs(cls, d, 5, batch_size=4, shuffle=shuffle)[0] if shuffle else [list(cls(d, batch_size=4))] for cls in (DataLoader, torch_data.DataLoader))
        assert same(ours, theirs)
    assert same(list(DataLoader(ds, 4, num_workers=2)), list(torch_data.DataLoader(ds, 4)))


def test_getitems_is_asked_once_a_batch():
    class Many(Custom):
        def __getitems__(self, idxs):
            asked.append(idxs)
            return [self[i] for i in idxs]
    asked = []
    assert same(list(DataLoader(Many(7), 3)), list(torch_data.DataLoader(Custom(7), 3)))
    assert asked == [[0, 1, 2], [3, 4, 5], [6]]
    list(DataLoader(Subset(Many(7), [6, 5, 4]), 3))
    assert asked[-1] == [6, 5, 4]


def test_subclasses_are_asked_sample_by_sample():
    class Double(Dataset):
        def __getitem__(self, i): return self.x[i]*2,self.y[i]
    class DoubleSubset(Subset):
        def __getitem__(self, i): return super().__getitem__(i)[0]*2,0
    x = torch.arange(6.)
    assert [b[0].tolist() for b in DataLoader(Double(x, x), 3)] == [[0, 2, 4], [6, 8, 10]]
    assert [b[0].tolist() for b in DataLoader(DoubleSubset(Dataset(x, x), [1, 2]), 3)] == [[2, 4]]


def test_negative_and_bad_indices():
    ds = Dataset(torch.arange(5.), torch.arange(5))
    assert next(iter(DataLoader(ds, 2, sampler=[-1, 0])))[1].tolist() == [4, 0]
    with pytest.raises(IndexError) as e: list(DataLoader(ds, 2, sampler=[0, 1, 2, 9]))
    assert 'while fetching sample 9' in e.value.__notes__


# ---- randomness -------------------------------------------------------------------------------------------------------------


def all_states(): return str((torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()))


@pytest.mark.parametrize('n_normals', [0, 1])
def test_randomness_does_not_depend_on_the_workers(n_normals):
    random.seed(1)
    np.random.seed(1)
    np.random.randn(n_normals)
    before = all_states()
    def run(workers, **kwargs):
        return epochs(DataLoader, Draws(24), 3, n_epochs=3, own_generator=True, batch_size=5, shuffle=True, num_workers=workers, **kwargs)[0]
    torch_state = torch.get_rng_state()
    runs = [run(w) for w in (0, 1, 2, 4)]
    assert all(same(r, runs[0]) for r in runs[1:])
    torch.set_rng_state(torch_state)
    assert all_states() == before
    batches = [b for epoch in runs[0] for b in epoch]
    for k in range(1, 6): assert len({b[k].flatten()[0].item() for b in batches}) == len(batches)
    for a,b in ((1, 3), (2, 3)): assert not set(batches[0][a].flatten().tolist()) & set(batches[0][b].flatten().tolist())
    kept = run(2, persistent_workers=True)
    assert same(kept[0], runs[0][0]) and len({b[2][0].item() for epoch in kept for b in epoch}) == len(batches)


def test_worker_rng_is_the_same_in_threads():
    def run(**kwargs): return epochs(DataLoader, DrawsOwn(24), 3, own_generator=True, batch_size=5, **kwargs)[0]
    runs = [run(), run(num_workers=2), run(num_workers=1, worker_type='thread'), run(num_workers=3, worker_type='thread')]
    assert all(same(r, runs[0]) for r in runs[1:])
    shared = [epochs(DataLoader, Draws(240), 3, own_generator=True, batch_size=5, num_workers=4, worker_type='thread')[0] for _ in range(2)]
    assert not same(*shared)  # the global generators belong to all threads: no promise there


def test_worker_rng_outside_of_a_loader():
    torch.manual_seed(5)
    a = torch.rand(3, generator=worker_rng()),worker_rng('numpy').random(),worker_rng('random').random()
    torch.manual_seed(5)
    assert same(a, (torch.rand(3, generator=worker_rng()), worker_rng('numpy').random(), worker_rng('random').random()))
    with pytest.raises(ValueError, match='kind'): worker_rng('dice')


def test_a_transform_may_iterate_another_loader():
    class Outer(Custom):
        def __getitem__(self, i):
            inner = [b[1] for b in DataLoader(DrawsOwn(3), 1, generator=torch.Generator().manual_seed(i))]
            return torch.stack(inner),torch.rand(1, generator=worker_rng())
    a,b = (list(DataLoader(Outer(4), 2, num_workers=w, generator=torch.Generator().manual_seed(1))) for w in (0, 2))
    assert same(a, b)


def test_seeded_collate_and_numpy_generators():
    def noisy(samples): return torch.stack([s['x'] for s in samples]) + torch.rand(1)
    a,b = (epochs(DataLoader, Custom(8), 1, batch_size=2, collate_fn=noisy, num_workers=w)[0] for w in (0, 2))
    assert same(a, b)
    bits = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(3))  # not of the usual kind: left alone
        assert len(list(DataLoader(Draws(8), 2))) == 4
    finally: np.random.set_bit_generator(bits)


def test_an_inert_data_set_is_not_reseeded(monkeypatch):
    def never(*_): raise AssertionError('reseeded')
    monkeypatch.setattr(data, '_seed_all', never)
    for kind in ('ours', 'tensors', 'arrays', 'list', 'tensor', 'our subset', 'their subset'): list(DataLoader(make_dataset(kind, 6), 2, shuffle=True))
    with pytest.raises(AssertionError, match='reseeded'): list(DataLoader(Custom(6), 2))


# ---- going on in the middle -------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 6), st.sampled_from([0, 2]), st.sampled_from([0, 2]), st.sampled_from(['global', 'own', 'sampler', 'python', 'stream', 'replacement']),
       st.integers(0, 2**32))
def test_resume(k, before, after, kind, seed):
    class Shuffles(Sampler):
        def __iter__(self):
            order = list(range(len(self)))
            random.shuffle(order)
            return iter([order[i] for i in np.random.permutation(len(order))])
    def make(workers):
        ds,gen = Draws(24),torch.Generator().manual_seed(seed)
        kwargs = dict(**{'global': dict(shuffle=True), 'own': dict(shuffle=True, generator=gen), 'python': dict(sampler=Shuffles(ds)), 'stream': {},
                         'sampler': dict(sampler=torch_data.RandomSampler(ds, generator=gen)), 'replacement': dict(sampler=torch_data.RandomSampler(ds, True))}[kind])
        if kind == 'stream': ds = Stream(24, draws=True)
        return DataLoader(ds, 4, num_workers=max(before, after) if kind == 'stream' else workers, **kwargs)
    torch.manual_seed(seed)
    first = make(before)
    batches = iter(first)
    for _ in range(k): next(batches)
    state = pickle.loads(pickle.dumps(first.state_dict()))
    rest,following = list(batches),list(first)
    torch.manual_seed(seed+1)
    random.random()
    second = make(after)
    second.load_state_dict(state)
    assert same(second.state_dict()['start'], state['start'])
    states = all_states()
    batches = iter(second)
    assert same(list(batches), rest)
    if kind not in ('own', 'sampler'): assert states == all_states()
    if kind == 'own': assert same(list(second), following)


@pytest.mark.parametrize('workers', [0, 2])
def test_resume_between_epochs_and_after_break(workers, tmp_path):
    def make(): return DataLoader(Draws(12), 4, shuffle=True, generator=torch.Generator().manual_seed(3), num_workers=workers, persistent_workers=workers > 0)
    dl = make()
    list(dl)
    torch.save(dl.state_dict(), tmp_path/'state.pt')
    other = make()
    other.load_state_dict(torch.load(tmp_path/'state.pt', weights_only=True))
    assert same([list(other), list(other)], [list(dl), list(dl)])
    for b in dl: break
    torch.save(dl.state_dict(), tmp_path/'state.pt')
    other.load_state_dict(torch.load(tmp_path/'state.pt', weights_only=True))
    whole = [b, *other]
    assert len(whole) == 3 and sorted(torch.cat([b[0] for b in whole]).tolist()) == list(range(12))
    assert len(list(other)) == 3


def test_resume_refuses_what_does_not_fit():
    state = DataLoader(Custom(8), 4).state_dict()
    with pytest.raises(ValueError, match='batch_size 4, this one has 2'): DataLoader(Custom(8), 2).load_state_dict(state)
    with pytest.raises(ValueError, match='no state of a DataLoader'): DataLoader(Custom(8), 2).load_state_dict({'epoch': 3})
    with pytest.raises(ValueError, match='0 generators, this one has 1'): DataLoader(Custom(8), 4, generator=torch.Generator()).load_state_dict(state)


# ---- workers ----------------------------------------------------------------------------------------------------------------


class Demanding(Exception):
    def __init__(self, path, *, line): super().__init__(f'{path}:{line}'); self.line = line


def raise_demanding(): raise Demanding('a.csv', line=3)
def raise_stop(): raise StopIteration
def kill_me(): os.kill(os.getpid(), signal.SIGKILL)
def exit_me(): sys.exit(3)
def sleep_long(): time.sleep(3600)
def unpicklable(): return lambda: 0


@pytest.mark.parametrize('workers,worker_type', [(0, 'process'), (2, 'process'), (2, 'thread')])
def test_an_error_arrives_whole(workers, worker_type):
    dl = DataLoader(Calls(raise_demanding), 4, num_workers=workers, worker_type=worker_type)
    with pytest.raises(Demanding) as e: list(dl)
    text = ''.join(traceback.format_exception(e.value))
    assert str(e.value) == 'a.csv:3' and e.value.line == 3
    assert 'while fetching sample 7' in text and 'in raise_demanding' in text and 'return self.f() if i == 7' in text
    if worker_type == 'process' and workers: assert 'in worker 1' in text
    assert not children()


def test_a_loop_goes_on_after_a_bad_batch():
    for kwargs in (dict(), dict(num_workers=2), dict(num_workers=2, worker_type='thread')):
        batches,got = iter(DataLoader(Calls(raise_demanding), 4, **kwargs)),[]
        while True:
            try: got.append(next(batches)[0].item())
            except Demanding: continue
            except StopIteration: break
        assert got == [0, 8, 12, 16, 20, 24, 28, 32, 36]


def test_errors_that_would_be_silent():
    for kwargs in (dict(), dict(num_workers=1), dict(num_workers=1, worker_type='thread')):
        with pytest.raises(RuntimeError, match='StopIteration for sample 7'): list(DataLoader(Calls(raise_stop), 4, **kwargs))
    with pytest.raises((AttributeError, pickle.PicklingError)) as e: list(DataLoader(Calls(unpicklable), 4, num_workers=1, collate_fn=list))
    assert any('sending the batch' in n for n in e.value.__notes__)
    def init(worker): raise OSError(f'worker {worker} has no disk')
    for worker_type in ('process', 'thread'):
        with pytest.raises(OSError, match='has no disk'): list(DataLoader(Custom(8), 4, num_workers=2, worker_init_fn=init, worker_type=worker_type))


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_a_killed_worker_is_an_error_soon():
    for f,what in ((kill_me, 'killed by SIGKILL'), (exit_me, 'exit code 3')):
        start = time.monotonic()
        with pytest.raises(RuntimeError, match=f'exited unexpectedly: {what}'): list(DataLoader(Calls(f), 4, num_workers=2))
        assert time.monotonic() - start < 5
    dl = DataLoader(Custom(400), 4, num_workers=2, persistent_workers=True)  # from outside, in the middle of an epoch
    start,batches = time.monotonic(),iter(dl)
    next(batches)
    os.kill(children()[1].pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match='SIGKILL'):
        for b in batches: time.sleep(0.01)
    assert time.monotonic() - start < 5
    assert len(list(dl)) == 100  # the next epoch has new workers
    os.kill(children()[0].pid, signal.SIGKILL)  # between epochs
    time.sleep(0.1)
    assert len(list(dl)) == 100
    del dl,batches
    assert not children()
    with pytest.raises(RuntimeError, match='thread 1 exited'): list(DataLoader(Calls(exit_me), 4, num_workers=2, worker_type='thread'))


def test_a_stopped_worker_and_timeout():
    for worker_type in ('process', 'thread'):
        start = time.monotonic()
        with pytest.raises(RuntimeError, match='timed out after 0.3 seconds: no batch from worker 1'):
            list(DataLoader(Calls(sleep_long), 4, num_workers=2, timeout=0.3, worker_type=worker_type))
        assert time.monotonic() - start < 5
    assert not children()


@pytest.mark.parametrize('kwargs', [dict(), dict(worker_type='thread')])
def test_leaving_a_hundred_times_leaves_nothing(kwargs):
    def leave(k):
        for b in DataLoader(Custom(100), 4, num_workers=2, **kwargs):
            if k % 2: raise KeyError
            break
    leave(0)
    fds,threads = psutil.Process().num_fds(),threading.active_count()
    for k in range(100):
        try: leave(k)
        except KeyError: pass
    assert not children() and psutil.Process().num_fds() == fds and threading.active_count() == threads


def test_an_error_kept_by_the_user_keeps_no_workers():
    try: list(DataLoader(Calls(raise_demanding), 4, num_workers=2))
    except Demanding as e: kept = e
    assert kept.__traceback__ and not children()


def wait_until(f, seconds=20):
    end = time.monotonic() + seconds
    while not f():
        if time.monotonic() > end: return False
        time.sleep(0.01)
    return True


class Leaves(Custom):
    "Leaves a file for each sample that was fetched; batch 0 may wait until another sample was"
    def __init__(self, n, folder, after=None): self.n,self.folder,self.after = n,folder,after
    def __getitem__(self, i):
        if i == 0 and self.after: assert wait_until((self.folder/str(self.after)).exists)
        (self.folder/str(i)).touch()
        return i


def test_prefetch_is_bounded(tmp_path):
    for kwargs in (dict(), dict(worker_type='thread')):
        for f in tmp_path.iterdir(): f.unlink()
        batches = iter(DataLoader(Leaves(1000, tmp_path), 5, num_workers=2, prefetch_factor=3, **kwargs))
        next(batches)
        bound = (3*2 + 1)*5
        assert wait_until(lambda: len(list(tmp_path.iterdir())) == bound)
        time.sleep(0.2)
        assert len(list(tmp_path.iterdir())) == bound
        del batches
    batches = iter(DataLoader(Custom(4000), 1, num_workers=1, prefetch_factor=2000, collate_fn=lambda s: ['a'*3000]*10))  # more than a line holds
    assert len(list(batches)) == 4000


def test_workers_are_kept():
    seen = []
    dl = DataLoader(Custom(20), 4, num_workers=2, persistent_workers=True)
    for _ in range(3):
        list(dl)
        seen.append([p.pid for p in children()])
    assert seen[0] == seen[1] == seen[2] and len(seen[0]) == 2
    for b in dl: break
    assert len(list(dl)) == 5
    old,new = iter(dl),iter(dl)
    with pytest.raises(RuntimeError, match='newer loop'): next(old)
    assert len(list(new)) == 5
    clone = pickle.loads(pickle.dumps(dl))
    assert same(list(clone), list(dl))
    del dl,clone,old,new
    assert not children()


@pytest.mark.parametrize('worker_type', ['process', 'thread'])
def test_order_is_kept_or_not(worker_type, tmp_path):
    want = [list(range(i, i+4)) for i in range(0, 40, 4)]
    def run(after, **kwargs):
        for f in tmp_path.iterdir(): f.unlink()
        return [b.tolist() for b in DataLoader(Leaves(40, tmp_path, after), 4, num_workers=2, worker_type=worker_type, **kwargs)]
    assert run(12 if worker_type == 'process' else None) == want  # batch 0 comes after batch 3
    got = run(12, in_order=False)
    assert sorted(got) == want and got[0] != want[0]


@pytest.mark.parametrize('method', ['forkserver', 'spawn'])
def test_other_ways_to_start_a_process(method):
    ours = DataLoader(Draws(12), 4, num_workers=2, multiprocessing_context=method, generator=torch.Generator().manual_seed(3), persistent_workers=True)
    want = list(DataLoader(Draws(12), 4, generator=torch.Generator().manual_seed(3)))
    assert same(list(ours), want)
    assert len(list(ours)) == 3


def test_what_cannot_be_pickled_is_named():
    ds = Custom(4)
    ds.transforms = {'train': [abs, lambda x: x]}
    for method in ('spawn', 'forkserver'):
        with pytest.raises(TypeError, match=r"dataset.transforms\['train'\]\[1\] can't be sent.*" + method): DataLoader(ds, num_workers=1, multiprocessing_context=method)
        with pytest.raises(TypeError, match="collate_fn can't be sent"): DataLoader(Custom(4), num_workers=1, multiprocessing_context=method, collate_fn=lambda x: x)
        locked = Custom(4)
        locked.lock = threading.Lock()
        with pytest.raises(TypeError, match="dataset.lock can't be sent"): DataLoader(locked, num_workers=1, multiprocessing_context=method)
    ds = Dataset(torch.zeros(1000, 1000), np.zeros((1000, 1000)))
    ds.generator = torch.Generator()
    DataLoader(Dataset(ds.x, ds.y), num_workers=1, multiprocessing_context='spawn')
    DataLoader(ds, num_workers=1)  # fork sends nothing


def test_memory_does_not_grow():
    ds,process = Custom(640),psutil.Process()
    dl = DataLoader(ds, 64, num_workers=2)
    def memory():
        for b in dl: pass
        return process.memory_info().rss
    for _ in range(3): start = memory()
    for _ in range(17): end = memory()
    assert end - start < 20*2**20


def test_worker_info_and_init():
    class Info(Custom):
        def __getitem__(self, i):
            info = torch_data.get_worker_info()
            return info.id,info.num_workers,info.seed,int(info.dataset is self),torch.get_num_threads(),self.extra
    def init(worker): torch_data.get_worker_info().dataset.extra = worker*10
    torch.manual_seed(0)
    b = list(DataLoader(Info(8), 2, num_workers=2, worker_init_fn=init))
    assert [x[0].tolist() for x in b] == [[0, 0], [1, 1]]*2 and b[0][1].tolist() == [2, 2] and b[0][3].tolist() == [1, 1] and b[0][4].tolist() == [1, 1]
    assert [x[5][0].item() for x in b] == [0, 10, 0, 10] and b[1][2][0] == b[0][2][0] + 1
    assert torch_data.get_worker_info() is None


def test_a_loader_in_a_thread():
    got = []
    thread = threading.Thread(target=lambda: got.extend(DataLoader(Custom(8), 2, num_workers=2)))
    thread.start()
    thread.join(20)
    assert len(got) == 4 and not children()


def test_streams_with_threads_and_too_long_streams():
    assert [b.tolist() for b in DataLoader(Stream(7), 3, num_workers=4, worker_type='thread')] == [[0, 1, 2], [3, 4, 5], [6]]
    class Sized(Stream):
        def __len__(self): return self.n
    dl = DataLoader(Sized(8, share=False), 4, num_workers=2)
    assert len(dl) == 2
    with pytest.warns(UserWarning, match='more than the 2 batches'): assert len(list(dl)) == 4
    class Fails(Stream):
        def __iter__(self):
            yield from range(5)
            raise OSError('the line is down')
    for workers in (0, 1):
        with pytest.raises(OSError) as e: list(DataLoader(Fails(9), 2, num_workers=workers))
        assert 'while reading sample 5 of the stream' in e.value.__notes__


# ---- the line between processes ---------------------------------------------------------------------------------------------


dtypes = st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64])
shapes = st.lists(st.integers(0, 12), max_size=4)


@fast
@given(st.lists(st.tuples(dtypes, shapes, st.sampled_from(['plain', 'transposed', 'strided', 'expanded', 'part', 'channels'])), max_size=5), st.integers(0, 3000))
def test_anything_goes_through_the_line(tensors, size):
    def make(dtype, shape, how):
        t = torch.randn(shape).to(dtype)
        if how == 'transposed': return t.t() if t.dim() == 2 else t.permute(list(reversed(range(t.dim()))))
        if how == 'strided' and t.dim(): return t[::2]
        if how == 'part' and t.dim(): return t[1:]
        if how == 'expanded': return t[None].expand(3, *shape)
        if how == 'channels' and t.dim() == 4: return t.contiguous(memory_format=torch.channels_last)
        return t
    sent = [make(*t) for t in tensors] + [np.arange(size), {'text': 'x'*size*30, 'rest': (None, 1.5, torch.rand(3))}]
    import multiprocessing
    a,b = map(data._Line, multiprocessing.Pipe())
    a.send(sent)  # all that is large goes through memory, so that this does not block
    got = b.receive()
    assert same(got, sent)
    for g,s in zip(got, sent):
        if isinstance(s, torch.Tensor) and s.numel() > 1 and s.is_contiguous(memory_format=torch.channels_last if s.dim() == 4 else torch.contiguous_format):
            assert g.stride() == s.stride()
    for g in got[:-1]:
        if len(g.shape) and g.size: g += g  # what arrives can be written to
    del a,b


def test_rare_tensors_travel_too():
    class Rare(Custom):
        def __getitem__(self, i): return torch.nn.Parameter(torch.ones(2)),torch.eye(2).to_sparse(),torch.ones(2, dtype=torch.complex64).conj()
    got = next(iter(DataLoader(Rare(1), 1, num_workers=1, collate_fn=lambda s: s[0])))
    assert got[0].requires_grad and got[1].is_sparse and torch.equal(got[1].to_dense(), torch.eye(2)) and got[2].is_complex()


def test_batches_outlive_their_workers():
    x = torch.randn(2000, 100)
    got = list(DataLoader(Calls(lambda: 7, 2000), 100, num_workers=2, collate_fn=lambda s: x[torch.as_tensor(s)]))
    assert torch.equal(torch.cat(got), x)


# ---- signals, in a program of its own ---------------------------------------------------------------------------------------


PROGRAM = """
import sys, time, torch
from miniai.data import DataLoader, Dataset
class Slow(Dataset):
    def __init__(self): pass
    def __len__(self): return 1000
    def __getitem__(self, i):
        time.sleep(float(sys.argv[2]))
        return i
if __name__ == '__main__':
    dl = DataLoader(Slow(), 2, num_workers=2, persistent_workers=True)
    if sys.argv[1] == 'exit':
        kept = iter(dl)
        for other in (DataLoader(Slow(), 2, num_workers=2, worker_type='thread'), dl):
            for b in other: break
        print('bye', flush=True)
        sys.exit(0)
    try:
        for k,b in enumerate(dl):
            print('batch', flush=True)
            if sys.argv[1] == 'body': time.sleep(100)
    except KeyboardInterrupt:
        import multiprocessing, gc
        alive = len(multiprocessing.active_children())
        print('interrupted', alive, flush=True)
        del dl
        print('left', len(multiprocessing.active_children()), flush=True)
        raise
"""


def start(tmp_path, *args):
    (tmp_path/'program.py').write_text(PROGRAM)
    return subprocess.Popen([sys.executable, 'program.py', *map(str, args)], cwd=tmp_path, env=dict(os.environ, PYTHONPATH=str(ROOT)),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def gone(pids):
    end = time.monotonic() + 5
    while any(psutil.pid_exists(p) and psutil.Process(p).status() != 'zombie' for p in pids):
        if time.monotonic() > end: return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize('where,seconds', [('body', 0), ('wait', 2)])
def test_ctrl_c(tmp_path, where, seconds):
    p = start(tmp_path, where, seconds)
    if where == 'body': assert p.stdout.readline() == 'batch\n'
    else:
        while len(psutil.Process(p.pid).children()) < 2: time.sleep(0.05)
        time.sleep(0.5)
    workers = [c.pid for c in psutil.Process(p.pid).children()]
    os.killpg(p.pid, signal.SIGINT)  # as a terminal does: to all of them
    out,err = p.communicate(timeout=20)
    assert p.returncode == -signal.SIGINT and 'left 0' in out, (out, err)
    assert err.count('KeyboardInterrupt') == 1, err  # no traceback of a worker
    assert gone(workers)


def test_workers_go_when_the_program_is_killed(tmp_path):
    p = start(tmp_path, 'body', 0.3)
    p.stdout.readline()
    workers = [c.pid for c in psutil.Process(p.pid).children()]
    assert len(workers) == 2
    p.kill()
    p.wait()
    assert gone(workers)


def test_a_program_ends_quietly_with_loops_open(tmp_path):
    p = start(tmp_path, 'exit', 0.01)
    out,err = p.communicate(timeout=30)
    assert (p.returncode, out, err) == (0, 'bye\n', '')


# ---- at the door ------------------------------------------------------------------------------------------------------------


class Lengthless(torch_data.Dataset):
    def __getitem__(self, i): return i


@pytest.mark.parametrize('dataset,kwargs,error,text', [
    (range(4), dict(batch_size=0), ValueError, 'batch_size must be a whole number, 1 or more, or None, got 0'),
    (range(4), dict(batch_size=2.), ValueError, 'batch_size.*got 2.0'), (range(4), dict(batch_size=True), ValueError, 'batch_size.*got True'),
    (range(4), dict(shuffle=True, sampler=[1]), ValueError, 'shuffle and sampler'), (range(4), dict(shuffle='yes'), ValueError, "shuffle.*got 'yes'"),
    (range(4), dict(batch_sampler=[[1]], drop_last=True, shuffle=True), ValueError, 'leave out shuffle and drop_last'),
    (range(4), dict(batch_sampler=[[1]], batch_size=3, sampler=[1]), ValueError, 'leave out batch_size and sampler'),
    (range(4), dict(batch_size=None, drop_last=True), ValueError, 'drop_last=True needs batches'), (range(4), dict(sampler=3), TypeError, 'sampler must yield indices, got 3'),
    (range(4), dict(num_workers=-1), ValueError, 'num_workers.*got -1'), (range(4), dict(num_workers=1.5), ValueError, 'num_workers.*got 1.5'),
    (range(4), dict(timeout=-1, num_workers=1), ValueError, 'timeout.*got -1'), (range(4), dict(timeout=1), ValueError, 'timeout is about workers'),
    (range(4), dict(prefetch_factor=2), ValueError, 'prefetch_factor is about workers'), (range(4), dict(prefetch_factor=0, num_workers=1), ValueError, 'prefetch_factor.*got 0'),
    (range(4), dict(persistent_workers=True), ValueError, 'persistent_workers is about workers'),
    (range(4), dict(multiprocessing_context='fork'), ValueError, 'multiprocessing_context is about workers'),
    (range(4), dict(multiprocessing_context='thread', num_workers=1), ValueError, "one of .*'spawn'.*got 'thread'"),
    (range(4), dict(multiprocessing_context=3, num_workers=1), TypeError, 'multiprocessing_context.*got 3'),
    (range(4), dict(multiprocessing_context='fork', num_workers=1, worker_type='thread'), ValueError, 'about processes'),
    (range(4), dict(collate_fn=3), TypeError, 'collate_fn must be a function, got 3'), (range(4), dict(generator=3), TypeError, 'generator must be a torch.Generator, got 3'),
    (range(4), dict(worker_type='async'), ValueError, "worker_type must be 'process' or 'thread', got 'async'"), (range(4), dict(drop_last=1), ValueError, 'drop_last.*got 1'),
    (Stream(3), dict(shuffle=True), ValueError, 'IterableDataset decides its own order: leave out shuffle'), (Stream(3), dict(sampler=[1]), ValueError, 'leave out sampler'),
    ([], dict(shuffle=True), ValueError, 'empty'), (Lengthless(), dict(), TypeError, 'Lengthless has no __len__'),
    ((i for i in range(3)), dict(), TypeError, 'needs __getitem__, and generator has none: let it inherit from IterableDataset'), (None, dict(), TypeError, 'needs __getitem__')])
def test_bad_arguments(dataset, kwargs, error, text):
    with pytest.raises(error, match=text): DataLoader(dataset, **kwargs)


def test_other_bad_input():
    with pytest.raises(ValueError, match='same length, got 3 and 2'): Dataset([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match='batch_size.*got 0'): BatchSampler(range(3), 0)
    with pytest.raises(ValueError, match='drop_last.*got 3'): BatchSampler(range(3), 2, 3)
    with pytest.raises(ValueError, match='negative'): random_split(range(3), [4, -1])
    with pytest.raises(NotImplementedError, match='needs an __iter__'): iter(IterableDataset())
    with pytest.raises(TypeError, match='no __len__'): len(DataLoader(Stream(3)))
    assert len(DataLoader(Lengthless(), sampler=[3, 4])) == 2
    assert list(DataLoader([], 3)) == []


@pytest.mark.parametrize('samples,error,text', [
    ([], ValueError, 'nothing to collate'), ([None], TypeError, 'a sample is None'), ([{'a': (1, None)}], TypeError, r"field \['a'\]\[1\] is None"),
    ([(torch.zeros(1, 28, 28), 1), (torch.zeros(1, 28, 30), 2)], ValueError, r'field \[0\]: tensors of different shapes.*\(1, 28, 28\), sample 1 has \(1, 28, 30\)'),
    ([Box(1, np.zeros(2)), Box(1, np.zeros(3))], ValueError, r"field \['top'\]: .*\(2,\), sample 1 has \(3,\)"),
    ([1, 'a'], TypeError, 'sample 0 is of type int and sample 1 of type str'), ([torch.ones(1), 3], TypeError, 'sample 0 is of type Tensor and sample 1 of type int'),
    ([{'a': 1}, {'b': 2}], KeyError, "sample 1 lacks the key 'a'"), ([(1, 2), (1, 2, 3)], ValueError, '2 pieces, sample 1 has 3'), ([(1, 2), 3], TypeError, 'type tuple and sample 1 of type int'),
    ([np.array(['a'])], TypeError, 'an array of <U1'), ([object()], TypeError, 'a sample is of type object'), ([{'a': 1}, 3], TypeError, 'of type dict and sample 1 of type int')])
def test_collate_says_what_is_wrong(samples, error, text):
    with pytest.raises(error, match=text): collate(samples)


def test_images_of_different_shapes_in_a_worker():
    class Ragged(Custom):
        def __getitem__(self, i): return {'image': torch.zeros(3, 8, 8 + i//3)}
    for workers in (0, 1):
        with pytest.raises(ValueError, match=r"\['image'\].*\(3, 8, 8\), sample 1 has \(3, 8, 9\)") as e: list(DataLoader(Ragged(8), 2, num_workers=workers))
        assert 'while collating samples [2, 3]' in e.value.__notes__


def test_pin_memory(monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert len(list(DataLoader(Custom(4), 2, pin_memory=True))) == 2
    pinned = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.Tensor, 'pin_memory', lambda self: pinned.append(self) or self)
    got = next(iter(DataLoader(Custom(4), 2, pin_memory=True)))
    assert len(pinned) == 2 and list(got) == ['x', 'y', 'name'] and got['name'] == ['no 0', 'no 1']


@pytest.mark.parametrize('kwargs,text', [
    (dict(batch_size=4), 'DataLoader(3 batches of 4 from Custom, in order, no workers)'),
    (dict(batch_size=4, shuffle=True, drop_last=True, num_workers=2), 'DataLoader(2 batches of 4 from Custom, shuffled, a short last batch dropped, 2 worker processes)'),
    (dict(sampler=torch_data.RandomSampler(range(10)), num_workers=1, persistent_workers=True), 'DataLoader(10 batches of 1 from Custom, shuffled, 1 worker process, kept)'),
    (dict(batch_sampler=[[1], [2]]), 'DataLoader(2 batches from Custom, ordered by list, no workers)'),
    (dict(batch_size=None, num_workers=2, worker_type='thread'), 'DataLoader(10 samples one by one from Custom, in order, 2 worker threads)')])
def test_repr(kwargs, text): assert repr(DataLoader(Custom(10), **kwargs)) == text


# ---- the kit: it accepts PyTorch's and ours, and names what is wrong with loaders that were broken on purpose ------------------


def torch_sampler(ds, shuffle): return torch_data.RandomSampler(ds) if shuffle else torch_data.SequentialSampler(ds)


@pytest.mark.parametrize('check,subjects', [
    ('check_dataset', (torch_data.TensorDataset, Dataset)), ('check_sampler', (torch_sampler, Sampler)), ('check_collate', (torch_data.default_collate, collate)),
    ('check_batch_sampler', (torch_data.BatchSampler, BatchSampler)), ('check_dataloader', (torch_data.DataLoader, DataLoader))])
def test_the_kit_accepts(check, subjects):
    from miniai import check as kit
    for subject in subjects: getattr(kit, check)(subject).raise_if_failed()


def changed(**methods):
    "A class of loaders that is ours but for some methods"
    return type('Broken', (DataLoader,), methods)


def batches_of(self): return list(DataLoader.__iter__(self))
def drops_last_batch(self): return iter([b for b in batches_of(self) if len(b[0]) == self.batch_size or self.batch_size is None])
def without(name): return lambda *args, **kwargs: DataLoader(*args, **{k: v for k,v in kwargs.items() if k != name})


class Fixed(DataLoader):
    "Decides on the order once"
    def __init__(self, *args, shuffle=False, **kwargs):
        super().__init__(*args, **(kwargs | (dict(sampler=torch.randperm(len(args[0])).tolist()) if shuffle else {})))


class Once(DataLoader):
    "Can be used for one epoch"
    def __iter__(self):
        if not hasattr(self, 'once'): self.once = DataLoader.__iter__(self)
        return self.once


class AsReady(DataLoader):
    "Gives batches in the order in which workers finish"
    def __init__(self, *args, **kwargs): super().__init__(*args, **kwargs, in_order=False)


class OffByOne(DataLoader):
    "Skips the first sample of each batch but the first"
    def __iter__(self): return iter([b if k == 0 else [o[1:] for o in b] for k,b in enumerate(DataLoader.__iter__(self))])


class LabelsStay(DataLoader):
    "Shuffles the inputs and not the targets"
    def __iter__(self):
        if getattr(self.sampler, 'shuffle', False): return iter([[x, y.sort()[0]] for x,y in DataLoader.__iter__(self)])
        return DataLoader.__iter__(self)


class WithReplacement(DataLoader):
    def __init__(self, ds, *args, shuffle=False, **kwargs):
        super().__init__(ds, *args, **(kwargs | (dict(sampler=torch_data.RandomSampler(ds, True)) if shuffle else {})))


class InsideBatches(DataLoader):
    "Shuffles only within each batch"
    def __init__(self, *args, shuffle=False, **kwargs): self.mix = shuffle; super().__init__(*args, **kwargs)
    def __iter__(self):
        for b in DataLoader.__iter__(self):
            order = torch.randperm(len(b[0])) if self.mix else None
            yield [o[order] for o in b] if self.mix else b


class ShuffledBatches(DataLoader):
    "Shuffles the batches and not the samples"
    def __init__(self, *args, shuffle=False, **kwargs): self.mix = shuffle; super().__init__(*args, **kwargs)
    def __iter__(self): return iter(random.sample(batches_of(self), len(self)) if self.mix else batches_of(self))


class Seeds(DataLoader):
    "Seeds the global random numbers"
    def __iter__(self):
        torch.manual_seed(0)
        return DataLoader.__iter__(self)


class Swallows(DataLoader):
    "Leaves out batches that fail"
    def __iter__(self):
        batches = DataLoader.__iter__(self)
        while True:
            try: yield next(batches)
            except StopIteration: return
            except Exception: continue


class SameDice(torch_data.DataLoader):
    "Forgets to seed numpy's and Python's random numbers in workers"
    def __init__(self, *args, **kwargs): super().__init__(*args, **kwargs, **(dict(worker_init_fn=lambda w: (random.seed(0), np.random.seed(0))) if kwargs.get('num_workers') else {}))


class WrapsErrors(DataLoader):
    def __iter__(self):
        try: yield from DataLoader.__iter__(self)
        except ZeroDivisionError as e: raise RuntimeError(str(e))


class NoStacking(DataLoader):
    def __init__(self, *args, collate_fn=None, **kwargs): super().__init__(*args, **kwargs, collate_fn=collate_fn or (lambda samples: list(zip(*samples))))


class Float64(DataLoader):
    def __iter__(self): return iter([[b[0].double(), b[1]] if isinstance(b, list) and isinstance(b[0], torch.Tensor) else b for b in DataLoader.__iter__(self)])


class NotSeeded(DataLoader):
    "Shuffles with random numbers from the system"
    def __init__(self, *args, shuffle=False, generator=None, **kwargs):
        self.mix = shuffle
        super().__init__(*args, **kwargs)
    def __iter__(self):
        if not self.mix: return DataLoader.__iter__(self)
        order = random.SystemRandom().sample(range(len(self.dataset)), len(self.dataset))
        return iter(DataLoader(self.dataset, self.batch_size, sampler=order))


MUTANTS = [
    (changed(__iter__=drops_last_batch), 'The last batch is missing: a short one counts too'), (without('drop_last'), 'drop_last=True leaves out'),
    (AsReady, 'ask the workers in turn'), (Fixed, 'each epoch needs its own order'), (Once, 'make the iterator in __iter__'), (OffByOne, 'Samples are missing'),
    (changed(__len__=lambda self: len(self.dataset)//(self.batch_size or 1)), 'The number of batches: rounded up'), (without('sampler'), 'The order comes from the sampler'),
    (without('batch_sampler'), 'Each batch comes from the batch sampler'), (LabelsStay, 'x and y must be taken at the same indices'), (without('shuffle'), 'draw a random order'),
    (WithReplacement, 'each sample comes once'), (InsideBatches, 'Shuffle all indices first'), (ShuffledBatches, 'Shuffle the samples, not the batches'),
    (Seeds, 'torch.manual_seed'), (Swallows, 'Catch nothing'), (SameDice, 'seed each differently'), (WrapsErrors, 'Catch nothing'),
    (without('collate_fn'), 'What collate_fn returns'), (NoStacking, 'must be collated'), (Float64, 'dtype'), (NotSeeded, 'must give the same order'),
    (without('generator'), 'drawn from the generator')]


@pytest.mark.parametrize('mutant,hint', MUTANTS, ids=lambda m: m.__name__ if callable(m) else '')
def test_the_kit_refuses_broken_loaders(mutant, hint):
    from miniai.check.data import check_dataloader
    report = check_dataloader(mutant)
    assert not report.ok and hint in str(report), report


class Chars:
    "Samples instead of indices"
    def __init__(self, ds, shuffle): self.ds,self.shuffle = list(ds),shuffle
    def __len__(self): return len(self.ds)
    def __iter__(self): return iter(random.sample(self.ds, len(self.ds)) if self.shuffle else self.ds)


def half_shuffled(ds, shuffle):
    class S(Sampler):
        def __iter__(self):
            n = len(self)//2
            return iter(torch.randperm(n).tolist() + (torch.randperm(len(self)-n)+n).tolist() if self.shuffle else range(len(self)))
    return S(ds, shuffle)


@pytest.mark.parametrize('check,mutant,hint', [
    ('check_sampler', Chars, 'indices, not samples'), ('check_sampler', half_shuffled, 'as likely as any other'),
    ('check_sampler', lambda ds, shuffle: iter(range(len(ds))), '__len__'), ('check_sampler', lambda ds, shuffle: Sampler(ds), 'must be random'),
    ('check_sampler', lambda ds, shuffle: Sampler(range(len(ds)-1), shuffle), 'range(n) goes from 0 to n-1'),
    ('check_batch_sampler', lambda s, bs, drop: BatchSampler(s, bs), 'drop_last=True leaves out'), ('check_batch_sampler', lambda s, bs, drop: BatchSampler(s, bs, True), 'must come'),
    ('check_batch_sampler', lambda s, bs, drop: BatchSampler(range(len(s)), bs, drop), 'need not be 0, 1, 2'),
    ('check_collate', lambda s: s, 'still a list'), ('check_collate', lambda s: torch.cat(s) if isinstance(s[0], torch.Tensor) else collate(s), 'torch.cat joins'),
    ('check_collate', lambda s: torch.tensor(s) if isinstance(s[0], float) else collate(s), 'float64'),
    ('check_dataset', lambda x, y: Dataset(x, y.flip(0)), 'the same i'), ('check_dataset', lambda x, y: list(zip(x, y)), 'take lists')])
def test_the_kit_refuses_other_mistakes(check, mutant, hint):
    from miniai import check as kit
    report = getattr(kit, check)(mutant)
    assert not report.ok and hint in str(report), report
