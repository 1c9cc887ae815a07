"""miniai.data against torch.utils.data, and what only real processes and real signals can show."""
import os, pickle, random, signal, subprocess, sys, threading, time, traceback, warnings
import nbformat, numpy as np, psutil, pytest, torch
import torch.utils.data as torch_data
from hypothesis import given, settings, strategies as st
from miniai import data
from miniai.data import BatchSampler, DataLoader, Dataset, Sampler, Subset, collate, worker_rng
from tests.conftest import ROOT
from tests.loading import (KINDS, Calls, Custom, Demanding, Draws, DrawsOwn, Stream, children, exit_me,
                           kill_me, make_dataset, raise_demanding, raise_stop, same, sleep_long, unpicklable,
                           wait_until)

fast = settings(deadline=None, max_examples=60)
slow = settings(deadline=None, max_examples=10)


def epochs(cls, dataset, seed, n_epochs=2, own_generator=False, **kwargs):
    torch.manual_seed(seed)
    if own_generator: kwargs['generator'] = torch.Generator().manual_seed(seed)
    dl = cls(dataset, **kwargs)
    return [list(dl) for _ in range(n_epochs)],torch.get_rng_state(),len(dl)


def theirs_too(dataset, seed, **kwargs):
    "Our epochs, which must be PyTorch's, with its random state and length"
    ours,theirs = (epochs(cls, dataset, seed, **kwargs) for cls in (DataLoader, torch_data.DataLoader))
    assert same(ours, theirs)
    return ours[0]


def seeded(seed): return torch.Generator().manual_seed(seed)


# ---- against PyTorch's -----------------------------------------------------------------------------------


@fast
@given(st.sampled_from(KINDS), st.integers(1, 20), st.integers(1, 7), st.booleans(), st.booleans(),
       st.booleans(), st.integers(0, 2**32))
def test_loader(kind, n, bs, shuffle, drop, own, seed):
    theirs_too(make_dataset(kind, n), seed, own_generator=own, batch_size=bs, shuffle=shuffle, drop_last=drop)


@slow
@given(st.sampled_from(KINDS), st.integers(1, 20), st.integers(1, 7), st.booleans(), st.booleans(),
       st.integers(0, 2**32), st.integers(1, 2), st.integers(1, 3), st.booleans(),
       st.sampled_from(['process', 'thread']))
def test_loader_with_workers(kind, n, bs, drop, own, seed, workers, prefetch, persistent, worker_type):
    kwargs = dict(own_generator=own, batch_size=bs, shuffle=True, drop_last=drop, num_workers=workers,
                  prefetch_factor=prefetch, persistent_workers=persistent)
    ours = epochs(DataLoader, make_dataset(kind, n), seed, worker_type=worker_type, **kwargs)
    assert same(ours, epochs(torch_data.DataLoader, make_dataset(kind, n), seed, **kwargs))
    assert not children()


def with_sampler(kind, ds, bs):
    n = len(ds)
    weighted = torch_data.WeightedRandomSampler(torch.arange(1., n+1), n)
    if kind == 'weighted': return dict(batch_size=bs, sampler=weighted)
    if kind == 'subset': return dict(batch_size=bs, sampler=torch_data.SubsetRandomSampler(range(0, n, 2)))
    if kind == 'replacement': return dict(batch_size=bs, sampler=torch_data.RandomSampler(ds, True, 2*n))
    if kind == 'list': return dict(batch_size=bs, sampler=list(range(n))[::-1] + [0, 0])
    if kind == 'ours': return dict(batch_size=bs, sampler=Sampler(ds, shuffle=True))
    if kind == 'batches': return dict(batch_sampler=torch_data.BatchSampler(Sampler(ds), bs, True))
    if kind == 'our batches': return dict(batch_sampler=BatchSampler(torch_data.RandomSampler(ds), bs, False))
    return dict(batch_size=None, shuffle=True)


@fast
@given(st.integers(1, 20), st.integers(1, 5), st.integers(0, 2**32),
       st.sampled_from(['weighted', 'subset', 'replacement', 'list', 'ours', 'batches', 'our batches', '']))
def test_samplers_are_interchangeable(n, bs, seed, kind):
    ds = make_dataset('ours', n)
    ours,theirs = (epochs(cls, ds, seed, **with_sampler(kind, ds, bs))
                   for cls in (DataLoader, torch_data.DataLoader))
    assert same(ours, theirs)


@slow
@given(st.integers(0, 20), st.integers(1, 5) | st.none(), st.booleans(), st.integers(0, 3), st.booleans())
def test_streams(n, bs, drop, workers, share):
    kwargs = dict(batch_size=bs, drop_last=drop and bs is not None, num_workers=workers)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # PyTorch's: more workers than processors
        theirs = list(torch_data.DataLoader(Stream(n, share), **kwargs))
    dl = DataLoader(Stream(n, share), **kwargs)
    assert same([list(dl), list(dl)], [theirs, theirs])


def test_ours_in_theirs():
    ds = Dataset(torch.arange(10.), torch.arange(10))
    for kwargs in (dict(sampler=Sampler(ds)), dict(batch_sampler=BatchSampler(Sampler(ds), 3)),
                   dict(batch_size=4, collate_fn=collate, num_workers=1)):
        assert same(list(torch_data.DataLoader(ds, **kwargs)), list(DataLoader(ds, **kwargs)))
    assert [b.tolist() for b in torch_data.DataLoader(Stream(5), batch_size=2)] == [[0, 1], [2, 3], [4]]
    for ours,theirs in ((ds, torch_data.Dataset), (Stream(3), torch_data.IterableDataset),
                        (Subset(ds, [1]), torch_data.Subset), (Sampler(ds), torch_data.Sampler),
                        (BatchSampler(range(3), 2), torch_data.BatchSampler),
                        (DataLoader(ds), torch_data.DataLoader)):
        assert isinstance(ours, theirs)
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
    for name in ('batch_size', 'dataset', 'sampler'):
        with pytest.raises(ValueError, match=name): setattr(ours, name, 3)
    ours.collate_fn = list


def test_hugging_face():
    datasets = pytest.importorskip('datasets')
    ds = datasets.Dataset.from_dict({'x': [[i, i+1] for i in range(10)], 'label': list(range(10))})
    doubled = ds.with_transform(lambda b: {'double': [2*v for v in b['label']]})
    for d in (ds, ds.with_format('torch'), doubled, Subset(ds, [3, 4, 5])):
        theirs_too(d, 5, batch_size=4, shuffle=True)
    stream = ds.to_iterable_dataset()
    assert same(list(DataLoader(stream, 4)), list(torch_data.DataLoader(stream, 4)))
    assert same(list(DataLoader(ds, 4, num_workers=2)), list(torch_data.DataLoader(ds, 4)))


def test_getitems_is_asked_once_a_batch():
    class Many(Custom):
        def __getitems__(self, idxs):
            asked.append(idxs)
            return [self[i] for i in idxs]
    asked = []
    assert same(list(DataLoader(Many(7), 3)), list(torch_data.DataLoader(Custom(7), 3)))
    assert asked == [[0, 1, 2], [3, 4, 5], [6]]
    list(DataLoader(Subset(Subset(Many(7), [0, 6, 5, 4]), [1, 2, 3]), 3))
    assert asked[-1] == [6, 5, 4]


def test_subclasses_are_asked_sample_by_sample():
    class Double(Dataset):
        def __getitem__(self, i): return self.x[i]*2,self.y[i]
    class DoubleSubset(Subset):
        def __getitem__(self, i): return super().__getitem__(i)[0]*2,0
    x = torch.arange(6.)
    assert [b[0].tolist() for b in DataLoader(Double(x, x), 3)] == [[0, 2, 4], [6, 8, 10]]
    assert [b[0].tolist() for b in DataLoader(DoubleSubset(Dataset(x, x), [1, 2]), 2)] == [[2, 4]]


def test_a_data_set_may_change_between_epochs():
    ds = Dataset(torch.arange(4.), torch.arange(4))
    dl = DataLoader(ds, 4)
    list(dl)
    ds.x = ds.x + 1
    assert next(iter(dl))[0].tolist() == [1, 2, 3, 4]


def test_negative_and_bad_indices():
    ds = Dataset(torch.arange(5.), torch.arange(5))
    for d in (ds, Subset(ds, range(5))):
        assert next(iter(DataLoader(d, 2, sampler=[-1, 0])))[1].tolist() == [4, 0]
        with pytest.raises(IndexError) as e: list(DataLoader(d, 2, sampler=[0, 1, 2, 9]))
        assert 'while fetching sample 9' in e.value.__notes__


# ---- randomness ------------------------------------------------------------------------------------------


def all_states(): return str((torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()))


@pytest.mark.parametrize('n_normals', [0, 1])
def test_randomness_does_not_depend_on_the_workers(n_normals):
    random.seed(1)
    np.random.seed(1)
    np.random.randn(n_normals)
    before,torch_state = all_states(),torch.get_rng_state()
    def run(workers, **kwargs):
        return epochs(DataLoader, Draws(24), 3, n_epochs=3, own_generator=True, batch_size=5, shuffle=True,
                      num_workers=workers, **kwargs)[0]
    runs = [run(w) for w in (0, 1, 2, 4)]
    assert all(same(r, runs[0]) for r in runs[1:])
    torch.set_rng_state(torch_state)
    assert all_states() == before
    batches = [b for epoch in runs[0] for b in epoch]
    for k in range(1, 6): assert len({b[k].flatten()[0].item() for b in batches}) == len(batches)
    drawn = [set(field.flatten().tolist()) for field in batches[0]]
    assert not drawn[1] & drawn[3] and not drawn[2] & drawn[3]
    kept = run(2, persistent_workers=True)
    assert same(kept[0], runs[0][0])
    assert len({b[2][0].item() for epoch in kept for b in epoch}) == len(batches)


def test_worker_rng_is_the_same_in_threads():
    def run(**kwargs):
        return epochs(DataLoader, DrawsOwn(24), 3, own_generator=True, batch_size=5, **kwargs)[0]
    threads = dict(worker_type='thread')
    runs = [run(), run(num_workers=2), run(num_workers=1, **threads), run(num_workers=3, **threads)]
    assert all(same(r, runs[0]) for r in runs[1:])
    before = all_states()
    list(DataLoader(DrawsOwn(24), 5, generator=seeded(3), num_workers=2, worker_type='thread'))
    assert all_states() == before


def test_a_transform_may_iterate_another_loader():
    class Outer(Custom):
        def __getitem__(self, i):
            inner = [b[1] for b in DataLoader(DrawsOwn(3), 1, generator=seeded(i))]
            return torch.stack(inner),torch.rand(1, generator=worker_rng())
    a,b = (list(DataLoader(Outer(4), 2, num_workers=w, generator=seeded(1))) for w in (0, 2))
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
    def never(*_, **__): raise AssertionError('reseeded')
    monkeypatch.setattr(data, 'seeded', never)
    for kind in set(KINDS) - {'custom', 'concat'}: list(DataLoader(make_dataset(kind, 6), 2, shuffle=True))
    with pytest.raises(AssertionError, match='reseeded'): list(DataLoader(Custom(6), 2))


# ---- going on in the middle ------------------------------------------------------------------------------


class Shuffles(Sampler):
    "Draws its order from numpy and random"
    def __iter__(self):
        order = list(range(len(self)))
        random.shuffle(order)
        return iter([order[i] for i in np.random.permutation(len(order))])


def resumable(kind, seed, workers, most):
    ds,gen = Draws(24),seeded(seed)
    if kind == 'stream': return DataLoader(Stream(24, draws=True), 4, num_workers=most)
    kwargs = {'global': dict(shuffle=True), 'own': dict(shuffle=True, generator=gen),
              'python': dict(sampler=Shuffles(ds)),
              'sampler': dict(sampler=torch_data.RandomSampler(ds, generator=gen)),
              'replacement': dict(sampler=torch_data.RandomSampler(ds, True)),
              'tensors': dict(shuffle=True, generator=gen)}[kind]
    if kind == 'tensors': ds = make_dataset('our subset', 24)
    return DataLoader(ds, 4, num_workers=workers, **kwargs)


@settings(deadline=None, max_examples=14)
@given(st.integers(0, 6), st.sampled_from([0, 2]), st.sampled_from([0, 2]), st.integers(0, 2**32),
       st.sampled_from(['global', 'own', 'sampler', 'python', 'stream', 'replacement', 'tensors']))
def test_resume(k, before, after, seed, kind):
    torch.manual_seed(seed)
    first = resumable(kind, seed, before, max(before, after))
    batches = iter(first)
    for _ in range(k): next(batches)
    state = pickle.loads(pickle.dumps(first.state_dict()))
    rest,following = list(batches),list(first)
    torch.manual_seed(seed+1)
    random.random()
    second = resumable(kind, seed, after, max(before, after))
    second.load_state_dict(state)
    assert same(second.state_dict()['start'], state['start'])
    states = all_states()
    assert same(list(second), rest)
    if kind not in ('own', 'sampler', 'tensors'): assert states == all_states()
    if kind in ('own', 'tensors'): assert same(list(second), following)


@pytest.mark.parametrize('workers', [0, 2])
def test_resume_between_epochs_and_after_break(workers, tmp_path):
    path = tmp_path/'state.pt'
    def make():
        return DataLoader(Draws(12), 4, shuffle=True, generator=seeded(3), num_workers=workers,
                          persistent_workers=workers > 0)
    def hand_over(dl, other):
        torch.save(dl.state_dict(), path)
        other.load_state_dict(torch.load(path, weights_only=True))
    dl,other = make(),make()
    list(dl)
    hand_over(dl, other)
    assert same([list(other), list(other)], [list(dl), list(dl)])
    for b in dl: break
    hand_over(dl, other)
    whole = [b, *other]
    assert len(whole) == 3 and sorted(torch.cat([b[0] for b in whole]).tolist()) == list(range(12))
    assert len(list(other)) == 3


def test_resume_in_a_later_epoch_of_kept_workers():
    def make(**kwargs): return DataLoader(Draws(12), 4, shuffle=True, generator=seeded(3), **kwargs)
    first = make(num_workers=2, persistent_workers=True)
    list(first)
    batches = iter(first)
    next(batches)
    state = first.state_dict()
    assert state['epoch'] == 1
    second = make()  # without workers that are kept
    second.load_state_dict(state)
    assert same(list(second), list(batches))


def test_resume_refuses_what_does_not_fit():
    state = DataLoader(Custom(8), 4).state_dict()
    with pytest.raises(ValueError, match=r'\(4, 0\) in the state, \(2, 0\) here'):
        DataLoader(Custom(8), 2).load_state_dict(state)
    with pytest.raises(ValueError, match='not a state of a DataLoader'):
        DataLoader(Custom(8), 2).load_state_dict({'epoch': 3})
    with pytest.raises(ValueError, match=r'\(4, 0\) in the state, \(4, 1\) here'):
        DataLoader(Custom(8), 4, generator=torch.Generator()).load_state_dict(state)


# ---- workers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize('workers,worker_type', [(0, 'process'), (2, 'process'), (2, 'thread')])
def test_an_error_arrives_whole(workers, worker_type):
    dl = DataLoader(Calls(raise_demanding), 4, num_workers=workers, worker_type=worker_type)
    with pytest.raises(Demanding) as e: list(dl)
    text = ''.join(traceback.format_exception(e.value))
    assert str(e.value) == 'a.csv:3' and e.value.line == 3
    pieces = 'while fetching sample 7','in raise_demanding','return self.f() if i == 7'
    assert all(piece in text for piece in pieces)
    if worker_type == 'process' and workers: assert 'in worker 1' in text
    assert not children()


def test_errors_that_would_be_silent():
    for kwargs in (dict(), dict(num_workers=1), dict(num_workers=1, worker_type='thread')):
        with pytest.raises(RuntimeError, match='StopIteration while fetching sample 7'):
            list(DataLoader(Calls(raise_stop), 4, **kwargs))
    with pytest.raises((AttributeError, pickle.PicklingError)) as e:
        list(DataLoader(Calls(unpicklable), 4, num_workers=1, collate_fn=list))
    assert any('sending the result' in n for n in e.value.__notes__)
    def init(worker): raise OSError(f'worker {worker} has no disk')
    for worker_type in ('process', 'thread'):
        with pytest.raises(OSError, match='has no disk'):
            list(DataLoader(Custom(8), 4, num_workers=2, worker_init_fn=init, worker_type=worker_type))


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_a_killed_worker_is_an_error_soon():
    for f,what in ((kill_me, 'killed by SIGKILL'), (exit_me, 'exit code 3')):
        start = time.monotonic()
        with pytest.raises(RuntimeError, match=f'exited unexpectedly: {what}'):
            list(DataLoader(Calls(f), 4, num_workers=2))
        assert time.monotonic() - start < 5
    dl = DataLoader(Custom(400), 4, num_workers=2, persistent_workers=True)
    start,batches = time.monotonic(),iter(dl)  # now from outside, in the middle of an epoch
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
    with pytest.raises(RuntimeError, match='worker thread 1 exited'):
        list(DataLoader(Calls(exit_me), 4, num_workers=2, worker_type='thread'))


@pytest.mark.parametrize('worker_type', ['process', 'thread'])
def test_a_stopped_worker_and_timeout(worker_type):
    start = time.monotonic()
    with pytest.raises(RuntimeError, match='timed out after 0.3 seconds: no result from worker 1'):
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


class Leaves(Custom):
    "Leaves a file for each sample that was fetched; batch 0 may wait until another sample was"
    def __init__(self, n, folder, after=None): self.n,self.folder,self.after = n,folder,after
    def __getitem__(self, i):
        if i == 0 and self.after: assert wait_until((self.folder/str(self.after)).exists)
        (self.folder/str(i)).touch()
        return i


@pytest.mark.parametrize('worker_type', ['process', 'thread'])
def test_prefetch_is_bounded(tmp_path, worker_type):
    def fetched(): return len(list(tmp_path.iterdir()))
    batches = iter(DataLoader(Leaves(1000, tmp_path), 5, num_workers=2, prefetch_factor=3,
                              worker_type=worker_type))
    next(batches)
    bound = (3*2 + 1)*5
    assert wait_until(lambda: fetched() == bound)
    time.sleep(0.2)
    assert fetched() == bound


def test_more_than_a_line_holds():
    def long(samples): return ['a'*3000]*10
    dl = DataLoader(Custom(4000), 1, num_workers=1, prefetch_factor=2000, collate_fn=long)
    assert len(list(dl)) == 4000


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


def test_loaders_that_overlap_end_at_once():
    "0.1 waited a second for each set of workers, and killed them"
    def make(): return DataLoader(Custom(40), 4, num_workers=2)
    start = time.monotonic()
    pairs = list(zip(make(), make()))
    assert len(pairs) == 10 and time.monotonic() - start < 0.9
    dl = make()
    it = iter(dl)
    next(it)
    again = iter(dl)
    start = time.monotonic()
    it = again
    assert time.monotonic() - start < 0.9 and len(list(it)) == 10 and not children()


@pytest.mark.parametrize('worker_type', ['process', 'thread'])
def test_a_kept_loader_in_two_threads_is_refused(worker_type):
    dl = DataLoader(list(range(400)), 4, num_workers=2, persistent_workers=True, worker_type=worker_type)
    batches,got = iter(dl),[]
    next(batches)
    def other():
        try: got.append(sum(b.sum().item() for b in dl))
        except RuntimeError as e: got.append(str(e))
    thread = threading.Thread(target=other)
    thread.start()
    thread.join(20)
    assert 'another thread is in the middle' in got[0]
    assert 6 + sum(b.sum().item() for b in batches) == sum(range(400))


def test_order_is_kept(tmp_path):
    dl = DataLoader(Leaves(40, tmp_path, after=12), 4, num_workers=2)  # batch 0 comes after batch 3
    got = [b.tolist() for b in dl]
    assert got == [list(range(i, i+4)) for i in range(0, 40, 4)]


@pytest.mark.parametrize('method', ['forkserver', 'spawn'])
def test_other_ways_to_start_a_process(method):
    kwargs = dict(num_workers=2, multiprocessing_context=method, persistent_workers=True)
    ours = DataLoader(Draws(12), 4, generator=seeded(3), **kwargs)
    assert same(list(ours), list(DataLoader(Draws(12), 4, generator=seeded(3))))
    assert len(list(ours)) == 3
    fields = Dataset(torch.zeros(8, 2), torch.arange(8))
    assert same(list(DataLoader(fields, 4, **kwargs)), list(DataLoader(fields, 4)))


def test_memory_does_not_grow():
    process,dl = psutil.Process(),DataLoader(Custom(640), 64, num_workers=2)
    def memory():
        for b in dl: pass
        return process.memory_info().rss
    for _ in range(3): start = memory()
    for _ in range(17): end = memory()
    assert end - start < 20*2**20


class Info(Custom):
    def __getitem__(self, i):
        info = torch_data.get_worker_info()
        return dict(id=info.id, n=info.num_workers, seed=info.seed, same=int(info.dataset is self),
                    threads=torch.get_num_threads(), extra=self.extra)


def test_worker_info_and_init():
    def init(worker): torch_data.get_worker_info().dataset.extra = worker*10
    b = list(DataLoader(Info(8), 2, num_workers=2, worker_init_fn=init))
    wants = dict(id=[0, 1]*2, extra=[0, 10]*2, n=[2]*4, same=[1]*4, threads=[1]*4)
    for name,want in wants.items():
        assert [x[name].tolist() for x in b] == [[value]*2 for value in want], name
    assert b[1]['seed'][0] == b[0]['seed'][0] + 1
    assert torch_data.get_worker_info() is None


def test_a_loader_in_a_thread():
    got = []
    thread = threading.Thread(target=lambda: got.extend(DataLoader(Custom(8), 2, num_workers=2)))
    thread.start()
    thread.join(20)
    assert len(got) == 4 and not children()


def test_streams_in_threads_and_broken_streams():
    threads = DataLoader(Stream(7), 3, num_workers=4, worker_type='thread')
    assert [b.tolist() for b in threads] == [[0, 1, 2], [3, 4, 5], [6]]
    class Fails(Stream):
        def __iter__(self):
            yield from range(5)
            raise OSError('the line is down')
    for workers in (0, 1):
        with pytest.raises(OSError) as e: list(DataLoader(Fails(9), 2, num_workers=workers))
        assert 'while reading sample 5 of the stream' in e.value.__notes__
    class NoStart(Stream):
        def __iter__(self): raise OSError('no line')
    with pytest.raises(OSError, match='no line') as e: list(DataLoader(NoStart(9), 2))
    assert 'while reading sample 0 of the stream' in e.value.__notes__
    kept = DataLoader(Stream(8), 2, num_workers=2, persistent_workers=True)
    for b in kept: break
    want = list(DataLoader(Stream(8), 2, num_workers=2))
    assert same([list(kept), list(kept)], [want, want])  # each epoch begins anew


# ---- signals, in a program of its own --------------------------------------------------------------------


PROGRAM = """
import os, signal, sys, time, torch
from miniai.data import DataLoader, Dataset
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started this may ignore it (nohup)
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
            if sys.argv[1] == 'copies' and not k and not os.fork():
                time.sleep(30)  # it holds a copy of each line
            print('batch', flush=True)
            if sys.argv[1] in ('body', 'copies'): time.sleep(100)
    except KeyboardInterrupt:
        import multiprocessing
        print('interrupted', len(multiprocessing.active_children()), flush=True)
        del dl
        print('left', len(multiprocessing.active_children()), flush=True)
        raise
"""


def start(tmp_path, *args):
    (tmp_path/'program.py').write_text(PROGRAM)
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    return subprocess.Popen([sys.executable, 'program.py', *map(str, args)], cwd=tmp_path, text=True, env=env,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def gone(pids):
    def lives(pid): return psutil.pid_exists(pid) and psutil.Process(pid).status() != 'zombie'
    return wait_until(lambda: not any(map(lives, pids)), 5)


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


@pytest.mark.parametrize('how', ['body', 'copies'])
def test_workers_go_when_the_program_is_killed(tmp_path, how):
    "Also when another process holds copies of their lines: in 0.1 they stayed"
    p = start(tmp_path, how, 0.3)
    p.stdout.readline()
    workers = [c.pid for c in psutil.Process(p.pid).children()]
    assert len(workers) == 2 + (how == 'copies')
    p.kill()
    p.wait()
    assert gone(workers[:2])
    if how == 'copies': os.kill(workers[2], signal.SIGKILL)


def test_a_program_ends_quietly_with_loops_open(tmp_path):
    p = start(tmp_path, 'exit', 0.01)
    out,err = p.communicate(timeout=30)
    assert (p.returncode, out, err) == (0, 'bye\n', '')


KERNEL = """
import sys, nbformat
from nbclient import NotebookClient
nb = nbformat.read(sys.argv[1], 4)
last = max(i for i,c in enumerate(nb.cells) if 'queue_map(' in c.source)
nb.cells = nb.cells[:last+1]
setup = f'import sys; sys.path.insert(0, {sys.argv[2]!r})'
NotebookClient(nb, timeout=100, extra_arguments=[f'--IPKernelApp.exec_lines={setup}'],
               resources={'metadata': {'path': sys.argv[2] + '/nbs'}}).execute()
"""


def test_the_queue_by_hand_does_not_hang_with_torchs_threads():
    "Lesson 07 of 0.1 hung at Run All: a forked process waited for threads that it does not have"
    env = {k: v for k,v in os.environ.items() if k != 'OMP_NUM_THREADS'}
    lesson = ROOT/'nbs/10_workers.ipynb'
    assert 'queue_map(' in str(nbformat.read(lesson, 4))
    command = [sys.executable, '-c', KERNEL, lesson, ROOT]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


# ---- at the door -----------------------------------------------------------------------------------------


class Lengthless(torch_data.Dataset):
    def __getitem__(self, i): return i


BAD = [  # what a beginner gets wrong: ours
    (torch.zeros(4, 2), dict(batch_size=torch.arange(4)), TypeError, r'Dataset\(x, y\)'),
    (Custom, {}, TypeError, 'is a class: write Custom'),
    (DataLoader(range(4)), {}, TypeError, 'not a loader'),
    ({'train': [1], 'test': [2]}, {}, TypeError, 'this dict has keys'),
    ('some/folder', {}, TypeError, "'some/folder' is text"),
    (Lengthless(), {}, TypeError, 'Lengthless has no __len__'),
    ((i for i in range(3)), {}, TypeError, 'generator has none: a stream is a class that'),
    (None, {}, TypeError, 'needs __getitem__, and NoneType has none'),
    ([], dict(shuffle=True), ValueError, 'the data set is empty'),
    (range(4), dict(batch_size=0), ValueError, 'batch_size must be a whole number, 1 or more, or .*got 0'),
    (range(4), dict(batch_size='4'), ValueError, "batch_size must be a whole number.*got '4'"),
    (range(4), dict(batch_size=2.), ValueError, 'batch_size.*got 2.0'),
    (range(4), dict(batch_size=True), ValueError, 'batch_size.*got True'),
    (range(4), dict(shuffle='yes'), ValueError, "shuffle.*got 'yes'"),
    (range(4), dict(num_workers=-1), ValueError, 'num_workers.*got -1'),
    (range(4), dict(num_workers=1.5), ValueError, 'num_workers.*got 1.5'),
    (range(4), dict(prefetch_factor=0, num_workers=1), ValueError, 'prefetch_factor.*got 0'),
    (range(4), dict(collate_fn=3), ValueError, 'collate_fn must be a function, got 3'),
    (range(4), dict(worker_init_fn=3), ValueError, 'worker_init_fn must be a function, got 3'),
    (range(4), dict(generator=3), ValueError, 'generator must be a torch.Generator, got 3'),
    (range(4), dict(worker_type='async'), ValueError, "worker_type must be 'process' or .* got 'async'"),
    (range(4), dict(drop_last='no'), ValueError, "drop_last must be True or False, got 'no'"),
    # what contradicts itself: PyTorch's class says it
    (range(4), dict(shuffle=True, sampler=[1]), ValueError, 'sampler option is mutually exclusive'),
    (range(4), dict(batch_sampler=[[1]], drop_last=True), ValueError, 'batch_sampler option is mutually'),
    (range(4), dict(batch_sampler=[[1]], batch_size=3), ValueError, 'batch_sampler option is mutually'),
    (range(4), dict(batch_size=None, drop_last=True), ValueError, 'batch_size=None option disables'),
    (range(4), dict(timeout=-1, num_workers=1), ValueError, 'timeout option should be non-negative'),
    (range(4), dict(prefetch_factor=2), ValueError, 'prefetch_factor option could only be'),
    (range(4), dict(persistent_workers=True), ValueError, 'persistent_workers option needs num_workers'),
    (range(4), dict(multiprocessing_context='fork'), ValueError, 'multiprocessing_context can only be used'),
    (range(4), dict(multiprocessing_context='thread', num_workers=1), ValueError, 'valid start method'),
    (Stream(3), dict(shuffle=True), ValueError, 'IterableDataset: expected unspecified shuffle'),
    (Stream(3), dict(sampler=[1]), ValueError, 'IterableDataset: expected unspecified sampler')]


@pytest.mark.parametrize('dataset,kwargs,error,text', BAD)
def test_bad_arguments(dataset, kwargs, error, text):
    with pytest.raises(error, match=text): DataLoader(dataset, **kwargs)


def test_what_has_no_length_or_nothing_in_it():
    with pytest.raises(TypeError, match='no len'): len(DataLoader(Stream(3)))
    assert len(DataLoader(Lengthless(), sampler=[3, 4])) == 2
    assert list(DataLoader([], 3)) == []


class Ragged(Custom):
    def __getitem__(self, i): return {'image': torch.zeros(3, 8, 8 + i//3)}


@pytest.mark.parametrize('workers', [0, 1])
def test_images_of_different_shapes(workers):
    text = r"\['image'\].*\(3, 8, 8\), sample 1 has \(3, 8, 9\)"
    with pytest.raises(ValueError, match=text) as e: list(DataLoader(Ragged(8), 2, num_workers=workers))
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
    (dict(batch_size=4), 'DataLoader(batches of 4 from Custom)'),
    (dict(batch_size=4, shuffle=True, num_workers=2),
     'DataLoader(batches of 4 from Custom, shuffled, 2 process workers)'),
    (dict(batch_sampler=[[1], [2]]), 'DataLoader(Custom)'),
    (dict(batch_size=None, num_workers=2, worker_type='thread'), 'DataLoader(Custom, 2 thread workers)')])
def test_repr(kwargs, text): assert repr(DataLoader(Custom(10), **kwargs)) == text


# ---- the kit names what is wrong with loaders that were broken on purpose --------------------------------


def changed(**methods):
    "A class of loaders that is ours but for some methods"
    return type('Broken', (DataLoader,), methods)


def batches_of(self): return list(DataLoader.__iter__(self))
def rounded_down(self): return len(self.dataset)//(self.batch_size or 1)
def drops_last_batch(self):
    return iter([b for b in batches_of(self) if not self.batch_size or len(b[0]) == self.batch_size])
def without(name):
    return lambda *args, **kwargs: DataLoader(*args, **{k: v for k,v in kwargs.items() if k != name})
def as_ready(*args, **kwargs):
    "Gives batches in the order in which workers finish"
    return torch_data.DataLoader(*args, **kwargs, **dict(in_order=False) if kwargs.get('num_workers') else {})


class Fixed(DataLoader):
    "Decides on the order once"
    def __init__(self, ds, *args, shuffle=False, **kwargs):
        if shuffle: kwargs['sampler'] = torch.randperm(len(ds)).tolist()
        super().__init__(ds, *args, **kwargs)


class Once(DataLoader):
    "Can be used for one epoch"
    def __iter__(self):
        if not hasattr(self, 'once'): self.once = DataLoader.__iter__(self)
        return self.once


class OffByOne(DataLoader):
    "Skips the first sample of each batch but the first"
    def __iter__(self):
        for k,b in enumerate(DataLoader.__iter__(self)): yield b if k == 0 else [o[1:] for o in b]


class LabelsStay(DataLoader):
    "Shuffles the inputs and not the targets"
    def __iter__(self):
        if not getattr(self.sampler, 'shuffle', False): return DataLoader.__iter__(self)
        return iter([[x, y.sort()[0]] for x,y in DataLoader.__iter__(self)])


class WithReplacement(DataLoader):
    def __init__(self, ds, *args, shuffle=False, **kwargs):
        if shuffle: kwargs['sampler'] = torch_data.RandomSampler(ds, True)
        super().__init__(ds, *args, **kwargs)


class Mixes(DataLoader):
    "Knows whether to shuffle, and does not"
    def __init__(self, *args, shuffle=False, generator=None, **kwargs):
        self.mix = shuffle
        super().__init__(*args, **kwargs)


class InsideBatches(Mixes):
    "Shuffles only within each batch"
    def __iter__(self):
        for b in DataLoader.__iter__(self):
            order = torch.randperm(len(b[0])) if self.mix else None
            yield [o[order] for o in b] if self.mix else b


class ShuffledBatches(Mixes):
    "Shuffles the batches and not the samples"
    def __iter__(self):
        batches = batches_of(self)
        return iter(random.sample(batches, len(batches)) if self.mix else batches)


class NotSeeded(Mixes):
    "Shuffles with random numbers from the system"
    def __iter__(self):
        if not self.mix: return DataLoader.__iter__(self)
        order = random.SystemRandom().sample(range(len(self.dataset)), len(self.dataset))
        return iter(DataLoader(self.dataset, self.batch_size, sampler=order))


class Seeds(DataLoader):
    "Seeds the global random numbers"
    def __iter__(self):
        torch.manual_seed(0)
        return DataLoader.__iter__(self)


class Swallows(DataLoader):
    "Ends in silence when a batch fails"
    def __iter__(self):
        try: yield from DataLoader.__iter__(self)
        except Exception: return


class SameDice(torch_data.DataLoader):
    "Forgets to seed numpy's and Python's random numbers in workers"
    def __init__(self, *args, **kwargs):
        def forget(worker):
            random.seed(0)
            np.random.seed(0)
        super().__init__(*args, **kwargs, worker_init_fn=forget if kwargs.get('num_workers') else None)


class WrapsErrors(DataLoader):
    def __iter__(self):
        try: yield from DataLoader.__iter__(self)
        except ZeroDivisionError as e: raise RuntimeError(str(e))


class NoStacking(DataLoader):
    def __init__(self, *args, collate_fn=None, **kwargs):
        super().__init__(*args, **kwargs, collate_fn=collate_fn or (lambda samples: list(zip(*samples))))


class Float64(DataLoader):
    def __iter__(self):
        for b in DataLoader.__iter__(self):
            yield [b[0].double(), b[1]] if isinstance(b, list) and isinstance(b[0], torch.Tensor) else b


MUTANTS = [
    (changed(__iter__=drops_last_batch), 'The last batch is missing: a short one counts too'),
    (without('drop_last'), 'drop_last=True leaves out'), (as_ready, 'ask the workers in turn'),
    (Fixed, 'each epoch needs its own order'), (Once, 'make the iterator in __iter__'),
    (OffByOne, 'Samples are missing'), (changed(__len__=rounded_down), 'The number of batches: rounded up'),
    (without('sampler'), 'The order comes from the sampler'), (without('shuffle'), 'draw a random order'),
    (LabelsStay, 'x and y must be taken at the same indices'),
    (without('batch_sampler'), 'Each batch comes from the batch sampler'),
    (WithReplacement, 'each sample comes once'), (InsideBatches, 'not only the inside of each'),
    (ShuffledBatches, 'not the batches'), (Seeds, 'each epoch needs its own order'),
    (Swallows, 'Catch nothing'), (SameDice, 'seed each differently'), (WrapsErrors, 'Catch nothing'),
    (without('collate_fn'), 'What collate_fn returns'), (NoStacking, 'must be collated'), (Float64, 'dtype'),
    (NotSeeded, 'must give the same order'), (without('generator'), 'drawn from the generator')]


@pytest.mark.parametrize('mutant,hint', MUTANTS, ids=lambda m: m.__name__ if callable(m) else '')
def test_the_kit_refuses_broken_loaders(mutant, hint):
    from miniai.check.data import check_dataloader
    report = check_dataloader(mutant)
    assert not report.ok and hint in str(report), report
