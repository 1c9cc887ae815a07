"miniai.tools.nested: tensors found and mapped, however deep they lie"
from collections import OrderedDict, UserDict, namedtuple
import pytest, torch
from hypothesis import given, settings, strategies as st
from miniai.tools.nested import first_tensor, map_tensors

Box = namedtuple('Box', 'left top')
leaves = st.one_of(st.integers(0, 9).map(torch.tensor), st.integers(), st.text(max_size=3), st.none())


def containers(f):
    lists = st.lists(f, max_size=3)
    return st.one_of(lists, lists.map(tuple), st.dictionaries(st.text(max_size=2), f, max_size=3))


nests = st.recursive(leaves, containers, max_leaves=8)


def tensors_of(x):
    "An independent reference: the tensors in `x` in the order of its text"
    if isinstance(x, dict): x = list(x.values())
    if isinstance(x, (list, tuple)): return [t for o in x for t in tensors_of(o)]
    return [x] if isinstance(x, torch.Tensor) else []


@settings(deadline=None)
@given(nests)
def test_each_tensor_once_and_the_rest_untouched(x):
    seen = []
    y = map_tensors(lambda t: seen.append(t) or t.item(), x)
    assert [id(t) for t in seen] == [id(t) for t in tensors_of(x)]
    assert repr(map_tensors(lambda t: t, x)) == repr(x) and not tensors_of(y)
    assert first_tensor(x) is (seen[0] if seen else None)


@pytest.mark.parametrize('x,kind', [
    (Box(torch.ones(1), 2), Box), (OrderedDict(a=torch.ones(1)), dict), (UserDict(a=torch.ones(1)), dict),
    (type('Labels', (list,), {})([torch.ones(1)]), None), ((torch.ones(1),), tuple), ('text', str),
    (b'bytes', bytes)])
def test_containers(x, kind): assert type(map_tensors(torch.neg, x)) is (kind or type(x))
