"miniai.batches against torch.utils.data"
import warnings
from collections import OrderedDict, defaultdict
import numpy as np, pytest, torch
import torch.utils.data as torch_data
from hypothesis import given, settings, strategies as st
from miniai.batches import (SUBSETS, BatchSampler, Dataset, IterableDataset, Sampler, Subset, collate,
                            columns, convert, is_lookup, random_split, whole_batches)
from tests.loading import KINDS, Box, Custom, make_dataset, same

fast = settings(deadline=None, max_examples=60)


@fast
@given(st.integers(1, 40), st.booleans(), st.integers(0, 2**32), st.booleans())
def test_sampler(n, shuffle, seed, own):
    def orders(make):
        torch.manual_seed(seed)
        s = make(torch.Generator().manual_seed(seed) if own else None)
        return list(s),list(s),len(s),torch.get_rng_state().tolist()
    def theirs(g):
        if not shuffle: return torch_data.SequentialSampler(range(n))
        return torch_data.RandomSampler(range(n), generator=g)
    assert orders(lambda g: Sampler(range(n), shuffle, g)) == orders(theirs)


@fast
@given(st.lists(st.integers()), st.integers(1, 8), st.booleans())
def test_batch_sampler(indices, bs, drop):
    ours,theirs = BatchSampler(indices, bs, drop),torch_data.BatchSampler(indices, bs, drop)
    assert list(ours) == list(theirs) == list(ours) and len(ours) == len(theirs)


@fast
@given(st.integers(0, 30), st.integers(1, 8), st.booleans(), st.booleans(), st.integers(0, 2**32))
def test_batches_as_tensors(n, bs, drop, shuffle, seed):
    def run(ask):
        generator = torch.Generator().manual_seed(seed)
        batches = BatchSampler(Sampler(range(n), shuffle, generator), bs, drop)
        return [[[int(i) for i in b] for b in ask(batches)] for _ in range(2)],generator.get_state().tolist()
    assert run(BatchSampler.tensors) == run(iter)


LEAVES = [lambda i: i, lambda i: float(i), lambda i: i % 2 == 0, lambda i: f'{i}', lambda i: bytes([i]),
          lambda i: np.float32(i), lambda i: np.float64(i), lambda i: np.int16(i),
          lambda i: np.full((2, 1), i), lambda i: torch.full((3,), i), lambda i: torch.tensor(float(i)),
          lambda i: np.bool_(i),
          lambda i: torch.zeros(0, 2)]


def containers(f):
    "Functions that make a container, of functions that make what is in it"
    def of(fs):
        return st.sampled_from([lambda i: [g(i) for g in fs], lambda i: tuple(g(i) for g in fs),
                                lambda i: {f'k{j}': g(i) for j,g in enumerate(fs)},
                                lambda i: OrderedDict((j, g(i)) for j,g in enumerate(fs))])
    boxes = st.tuples(f, f).map(lambda fs: lambda i: Box(fs[0](i), fs[1](i)))
    return st.one_of(st.lists(f, min_size=1, max_size=3).flatmap(of), boxes)


@fast
@given(st.recursive(st.sampled_from(LEAVES), containers, max_leaves=6), st.integers(1, 4))
def test_collate_and_convert(make, n):
    samples = [make(i) for i in range(n)]
    assert same(collate(samples), torch_data.default_collate(samples))
    assert same(convert(samples[0]), torch_data.default_convert(samples[0]))


def test_unusual_containers():
    class Labels(list): pass
    def counted(i): return defaultdict(list, a=i)
    assert type(collate([Labels([1, 2]), Labels([3, 4])])) is Labels
    assert collate([counted(1), counted(2)])['a'].tolist() == [1, 2]
    assert [t.tolist() for t in collate([range(2), range(2)])] == [[0, 0], [1, 1]]


@pytest.mark.parametrize('samples,error,text', [
    ([], ValueError, 'nothing to collate'), ([None], TypeError, 'a sample is None'),
    ([{'a': (1, None)}], TypeError, r"field \['a'\]\[1\] is None"),
    ([object()], TypeError, 'a sample is of type object'),
    ([(torch.zeros(1, 28, 28), 1), (torch.zeros(1, 28, 30), 2)], ValueError,
     r'field \[0\]: tensors of different shapes.*\(1, 28, 28\), sample 1 has \(1, 28, 30\)'),
    ([Box(1, np.zeros(2)), Box(1, np.zeros(3))], ValueError, r"field \['top'\]: .*sample 1 has \(3,\)"),
    ([1, 'a'], TypeError, 'sample 0 is of type int and sample 1 of type str'),
    ([torch.ones(1), 3], TypeError, 'sample 0 is of type Tensor and sample 1 of type int'),
    ([{'a': 1}, {'b': 2}], KeyError, "sample 1 lacks the key 'a'"),
    ([(1, 2), (1, 2, 3)], ValueError, '2 pieces, sample 1 has 3'),
    ([(1, 2), 3], TypeError, 'type tuple and sample 1 of type int'),
    ([np.array(['a'])], TypeError, 'an array of <U1'),
    ([{'a': 1}, 3], TypeError, 'of type dict and sample 1 of type int'),
    ([{'a': 1}, [1]], TypeError, 'of type dict and sample 1 of type list')])
def test_collate_says_what_is_wrong(samples, error, text):
    with pytest.raises(error, match=text): collate(samples)


@fast
@given(st.integers(2, 50), st.lists(st.integers(1, 10), min_size=1, max_size=4), st.booleans(),
       st.integers(0, 2**32))
def test_random_split(n, parts, shares, seed):
    lengths = [p/sum(parts) for p in parts] if shares else [*parts, n if sum(parts) > n else n - sum(parts)]
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


@pytest.mark.parametrize('kind', KINDS)
def test_whole_batches(kind):
    ds = make_dataset(kind, 12)
    take = whole_batches(ds)
    assert (take is not None) == (kind in ('ours', 'tensors', 'our subset', 'their subset'))
    assert is_lookup(ds) == (kind not in ('custom', 'concat'))
    if take is None: return
    for idx in ([3, 0, 3], torch.tensor([11, 2]), []):
        want = collate([ds[int(i)] for i in idx]) if len(idx) else None
        if want: assert same(take(idx), want)
    for bad in ([-1], [12]):
        with pytest.raises((IndexError, RuntimeError)): take(torch.tensor(bad))


def test_who_is_more_than_tensors():
    class Double(Dataset):
        def __getitem__(self, i): return self.x[i]*2,self.y[i]
    class Many(Dataset):
        def __getitems__(self, idxs): return [self[i] for i in idxs]
    class Named(Dataset): name = 'a subclass that changes nothing'
    x = torch.arange(6.)
    for ds in (Double(x, x), Many(x, x), Custom(3), Subset(Double(x, x), [1])):
        assert whole_batches(ds) is None and not is_lookup(ds) and columns(ds) == ()
    assert same(whole_batches(Named(x, x))([1, 2]), [x[1:3], x[1:3]])
    assert whole_batches(Dataset(x, x.tolist())) is None and is_lookup(Dataset(x, x.tolist()))


def test_subsets():
    class DoubleSubset(Subset):
        def __getitem__(self, i): return super().__getitem__(i)[0]*2,0
    x = torch.arange(6.)
    part = Subset(Dataset(x, x), [5, 4, 3])
    assert isinstance(part, SUBSETS) and not isinstance(part.dataset, SUBSETS)
    assert len(part) == 3 and part[1] == (4, 4) and part[[0, 2]][0].tolist() == [5, 3]
    assert part.__getitems__([0, 1]) == [(5, 5), (4, 4)]
    assert DoubleSubset(Dataset(x, x), [1, 2]).__getitems__([0, 1]) == [(2, 0), (4, 0)]
    loader = torch_data.DataLoader(DoubleSubset(Dataset(x, x), [1, 2]), 2)  # PyTorch's asks __getitems__
    assert next(iter(loader))[0].tolist() == [2, 4]


def test_bad_input():
    with pytest.raises(ValueError, match='same length, got 3 and 2'): Dataset([1, 2, 3], [1, 2])
    for bs in (0, 2., True):
        with pytest.raises(ValueError, match=f'batch_size must be a whole number, 1 or more, got {bs}'):
            BatchSampler(range(3), bs)
    with pytest.raises(ValueError, match='drop_last.*got 3'): BatchSampler(range(3), 2, 3)
    with pytest.raises(ValueError, match='negative'): random_split(range(3), [4, -1])
    with pytest.raises(NotImplementedError, match='needs an __iter__'): iter(IterableDataset())
