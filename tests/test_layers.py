"Our layers and lists of layers against PyTorch's: the same numbers and the same text; bad input is named"
import pickle
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from torch import nn
from miniai import layers as ours
from miniai.layers import Dropout, Flatten, Lambda, Linear, Module, ModuleList, Parameter, ReLU, Sequential
from miniai.losses import cross_entropy
from miniai.tools.drawn import load_digits

few = settings(deadline=None, max_examples=60)
OURS,THEIRS = dict(ModuleList=ModuleList, Sequential=Sequential, Linear=Linear),vars(nn)


# Lists ------------------------------------------------------------------------------------------------------

LIST_OPS = st.lists(st.tuples(st.sampled_from(['append', 'del', 'set', 'extend', 'slice']),
                              st.integers(-5, 5), st.integers(1, 3)), max_size=8)


@few
@given(st.sampled_from(['ModuleList', 'Sequential']), LIST_OPS)
def test_lists_of_layers_behave_alike(kind, ops):
    def do(m, lib, op, i, n):
        layer = lib['Linear'](n, n)
        if op == 'append': assert m.append(layer) is m
        elif op == 'del': del m[i]
        elif op == 'set': m[i] = layer
        elif op == 'extend': m.extend([layer]*n)
        elif op == 'slice': del m[i:i+n]
    def attempt(*args):
        try: do(*args)
        except (IndexError, TypeError): return 'refused'
    a,b = OURS[kind](),THEIRS[kind]()
    for op,i,n in ops:
        assert attempt(a, OURS, op, i, n) == attempt(b, THEIRS, op, i, n), (op, i, n)
        assert repr(a) == repr(b) and len(a) == len(b)
        assert [type(m).__name__ for m in a] == [type(m).__name__ for m in b]
        assert [n for n,_ in a.named_modules()] == [n for n,_ in b.named_modules()]
        for s in (slice(1, None), slice(None, None, 2), slice(-2, None)):
            assert repr(a[s]) == repr(b[s]) and list(a[s].state_dict()) == list(b[s].state_dict())


def test_a_sequential_of_nothing_hands_on_and_a_slice_never_overwrites():
    x = torch.ones(2)
    assert Sequential()(x) is x
    part = Sequential(ReLU(), Linear(1, 1), ReLU())[1:]  # its names are '1' and '2'
    part.append(Dropout())
    assert [type(m).__name__ for m in part] == ['Linear', 'ReLU', 'Dropout']
    class Fixed(Sequential):
        def __init__(self): super().__init__(ReLU(), Linear(2, 2))
    assert type(Fixed()[:1]) is Sequential


def test_one_layer_in_several_places_is_called_in_each():
    class Double(Module):
        def forward(self, x): return 2*x
    double = Double()
    m = Sequential(double, double, nn.Identity(), double)
    assert m(1) == 8 and len(m) == 4 and len(list(m.children())) == 2


def test_names_by_a_dictionary():
    m = Sequential(dict(body=Linear(2, 3), head=Linear(3, 1)))
    assert list(m.state_dict()) == ['body.weight', 'body.bias', 'head.weight', 'head.bias']
    assert m[-1] is m.head
    assert list(m[1:].state_dict()) == ['head.weight', 'head.bias']


# Layers -----------------------------------------------------------------------------------------------------

@few
@given(st.integers(1, 3000), st.integers(1, 5), st.booleans(), st.integers(0, 2**31))
def test_linear_starts_from_the_same_numbers(n_in, n_out, bias, seed):
    made = []
    for cls in (Linear, nn.Linear):
        torch.manual_seed(seed)
        made.append(cls(n_in, n_out, bias))
    a,b = made
    for p,q in zip(a.parameters(), b.parameters(), strict=True): assert torch.equal(p, q)
    x = torch.randn(2, 3, n_in)
    assert torch.equal(a(x), b(x)) and repr(a) == repr(b)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert torch.equal(a.to(dtype)(x.to(dtype)), b.to(dtype)(x.to(dtype)))


def test_linear_without_inputs_or_outputs():
    assert Linear(0, 3)(torch.ones(2, 0)).shape == (2, 3) and Linear(3, 0)(torch.ones(2, 3)).shape == (2, 0)


def test_linear_without_a_bias_can_get_one():
    m = Linear(2, 3, bias=False)
    assert m.bias is None and list(m.state_dict()) == ['weight']
    m.bias = Parameter(torch.ones(3))
    assert list(m.state_dict()) == ['weight', 'bias'] and torch.equal(m(torch.zeros(1, 2)), torch.ones(1, 3))


@few
@given(st.sampled_from([0., 0.1, 0.5, 0.99, 1, 1.]), st.integers(0, 2**31), st.booleans(), st.booleans())
def test_dropout_draws_the_same_mask(p, seed, training, inplace):
    outs = []
    for cls in (Dropout, nn.Dropout):
        torch.manual_seed(seed)
        x = torch.ones(5, 7, requires_grad=True)
        out = cls(p, inplace).train(training)(x*1)
        out.sum().backward()
        outs.append((out, x.grad))
    for a,b in zip(*outs): assert torch.equal(a, b)


def test_the_other_layers():
    x = torch.randn(2, 3, 4)
    assert torch.equal(Flatten()(x), nn.Flatten()(x)) and torch.equal(Flatten(0, 1)(x), nn.Flatten(0, 1)(x))
    assert torch.equal(ReLU()(x), nn.ReLU()(x))
    y = x.clone()
    assert ReLU(inplace=True)(y) is y and y.min() >= 0
    for a,b in ((ReLU(True), nn.ReLU(True)), (Flatten(0, 1), nn.Flatten(0, 1)),
                (Dropout(0.3), nn.Dropout(0.3))): assert repr(a) == repr(b)
    assert torch.equal(Lambda(torch.tanh)(x), x.tanh()) and repr(Lambda(torch.tanh)) == 'Lambda(tanh)'
    assert repr(Lambda(Linear(1,
                              1))) == 'Lambda(\n  (func): Linear(in_features=1, out_features=1, bias=True)\n)'
    assert pickle.loads(pickle.dumps(Lambda(torch.tanh))).func is torch.tanh


# Errors -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('act,error,text', [
    (lambda: Sequential([ReLU()]), TypeError, 'star'),
    (lambda: Sequential(nn.ReLU), TypeError, r'call the class: ReLU\('),
    (lambda: Sequential(torch.relu), TypeError, 'Lambda'),
    (lambda: ModuleList([3]), TypeError, 'a Module or None, got int'),
    (lambda: ModuleList([ReLU()])[1], IndexError, 'range'),
    (lambda: ModuleList([ReLU()])['0'], TypeError, 'integer'),
    (lambda: ModuleList([ReLU()]).__setitem__(0, 3), TypeError, 'got int'),
    (lambda: ModuleList([ReLU()])(1), NotImplementedError, 'ModuleList has no `forward`'),
    (lambda: Linear(784/2, 1), TypeError, 'in_features.*392.0'),
    (lambda: Linear(2, '3'), TypeError, "out_features.*'3'"),
    (lambda: Linear(3, 4)(torch.ones(2, 5)), ValueError, r'in_features=3.*shape \(2, 5\).*must be 3'),
    (lambda: Linear(3, 4)(torch.ones(2, 3).double()), ValueError, 'torch.float64.*make it torch.float32'),
    (lambda: Dropout(1.5), ValueError, 'got 1.5'), (lambda: Lambda(3), TypeError, 'got int')])
def test_bad_input_is_named(act, error, text):
    with pytest.raises(error, match=text): act()


def test_bytes_are_named_with_the_cure():
    "What `load_digits` gives, straight into a layer"
    x = load_digits(20, 10)[0]
    with pytest.raises(ValueError, match=r'torch.uint8.*x.float\(\)/255'):
        Sequential(Flatten(), Linear(784, 10))(x)


def test_other_errors_of_a_linear_layer_stay():
    with pytest.raises(TypeError, match='NoneType'): Linear(3, 4)(None)
    m = Linear(3, 4)
    m.bias = Parameter(torch.ones(5))
    with pytest.raises(RuntimeError, match='size'): m(torch.ones(2, 3))


def test_numpy_and_other_whole_numbers_are_sizes():
    m = Linear(np.int64(2), np.int32(3))
    assert m(torch.ones(1, 2)).shape == (1, 3) and repr(m) == repr(nn.Linear(2, 3))


# In company -------------------------------------------------------------------------------------------------

def test_training_gives_the_losses_of_torch():
    "Dropout included, from the same seed"
    def losses(linear, relu, dropout, sequential):
        torch.manual_seed(3)
        model = sequential(linear(20, 16), relu(), dropout(0.2), linear(16, 4))
        x,y,seen = torch.randn(64, 20),torch.randint(4, (64,)),[]
        for _ in range(20):
            loss = cross_entropy(model(x), y)
            loss.backward()
            with torch.no_grad():
                for p in model.parameters(): p -= 0.1*p.grad
            model.zero_grad()
            seen.append(loss.item())
        return torch.tensor(seen)
    torch.testing.assert_close(losses(Linear, ReLU, Dropout, Sequential),
                               losses(nn.Linear, nn.ReLU, nn.Dropout, nn.Sequential))


def test_exports():
    mine = {'ModuleList', 'Sequential', 'Linear', 'ReLU', 'Lambda', 'Flatten', 'Dropout'}
    assert set(ours.__all__) == mine | {'Parameter', 'Module'}
