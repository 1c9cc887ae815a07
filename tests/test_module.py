"Lesson 05: our Module against PyTorch's, on random trees; the check refuses broken ones; errors, copies, hooks"
import copy, io, pickle, warnings
from collections import OrderedDict
from unittest import mock
import pytest, torch
from hypothesis import given, settings, strategies as st
from torch import nn
from miniai import module as ours
from miniai.check.module import check_module
from miniai.module import Dropout, Flatten, Lambda, Linear, Module, ModuleList, Parameter, ReLU, Sequential, UnknownAttribute

OURS = dict(Module=Module, Sequential=Sequential, ModuleList=ModuleList, Linear=Linear, ReLU=ReLU, Flatten=Flatten, Dropout=Dropout,
            Parameter=Parameter, BatchNorm1d=nn.BatchNorm1d, LSTM=nn.LSTM)
THEIRS = {name: getattr(nn, name) for name in OURS}
few = settings(deadline=None, max_examples=60)


# Random trees: a spec is plain data, and `build` makes a model of it from either set of classes ------------------------

NAMES = st.sampled_from(['a', 'b', 'fc', 'layers', 'weight', 'x1', '_under'])
SIZES = st.integers(1, 4)
LEAVES = st.one_of(
    st.tuples(st.just('Linear'), SIZES, SIZES, st.booleans()), st.tuples(st.just('ReLU'), st.booleans()), st.tuples(st.just('Flatten'), st.integers(0, 2)),
    st.tuples(st.just('Dropout'), st.sampled_from([0.1, 0.5])), st.tuples(st.just('BatchNorm1d'), SIZES), st.tuples(st.just('LSTM'), SIZES, SIZES),
    st.tuples(st.just('again'), st.integers(0, 5)), st.tuples(st.just('none')), st.tuples(st.just('torch'), SIZES))
PARTS = st.one_of(st.tuples(st.just('param'), SIZES), st.tuples(st.just('same param'), st.integers(0, 5)), st.tuples(st.just('buffer'), SIZES, st.booleans()),
                  st.tuples(st.just('no param')), st.tuples(st.just('number')))
TREES = st.recursive(LEAVES, lambda inner: st.one_of(
    st.tuples(st.just('Sequential'), st.lists(inner, max_size=4)), st.tuples(st.just('ModuleList'), st.lists(inner, max_size=4)),
    st.tuples(st.just('named'), st.dictionaries(NAMES, inner, max_size=3)),
    st.tuples(st.just('Net'), st.dictionaries(NAMES, st.one_of(inner, PARTS), max_size=4), st.sampled_from(['', 'n=3', 'one\ntwo']))), max_leaves=8)
ROOTS = st.tuples(st.just('Net'), st.dictionaries(NAMES, st.one_of(TREES, PARTS), max_size=4), st.just(''))


def net_class(base, extra):
    def extra_repr(self): return extra
    return type('Net', (base,), dict(extra_repr=extra_repr))


def build(spec, lib):
    "The model that `spec` describes; `made` and `params` hold what can be used a second time"
    made,params = [],[]
    def fill(net, name, part):
        kind,*args = part
        if kind == 'param': params.append(lib['Parameter'](torch.randn(args[0])))
        if kind == 'param' or kind == 'same param' and params: setattr(net, name, params[args[0] % len(params)] if kind == 'same param' else params[-1])
        elif kind == 'buffer': net.register_buffer(name, torch.randn(args[0]), persistent=args[1])
        elif kind == 'no param': net.register_parameter(name, None)
        elif kind == 'number': setattr(net, name, 3)
        elif kind != 'same param': net.add_module(name, make(part))
    def make(spec):
        kind,*args = spec
        if kind == 'again': return made[args[0] % len(made)] if made else None
        if kind == 'none': return None
        if kind == 'torch': m = nn.Sequential(nn.Linear(args[0], 2), nn.BatchNorm1d(2))
        elif kind in ('Sequential', 'ModuleList'):
            inner = [m for m in map(make, args[0]) if m is not None]
            m = lib[kind](*inner) if kind == 'Sequential' else lib[kind](inner)
        elif kind == 'named': m = lib['Sequential'](OrderedDict((n, m) for n,s in args[0].items() if (m := make(s)) is not None))
        elif kind == 'Net':
            m = net_class(lib['Module'], args[1])()
            for name,part in args[0].items(): fill(m, name, part)
        else: m = lib[kind](*args)
        made.append(m)
        return m
    return make(spec)


def names(pairs): return [(n, tuple(x.shape) if isinstance(x, torch.Tensor) else type(x).__name__) for n,x in pairs]


@few
@given(ROOTS)
def test_random_trees_look_alike(spec):
    a,b = build(spec, OURS),build(spec, THEIRS)
    assert repr(a) == repr(b)
    for walk in ('named_parameters', 'named_buffers', 'named_modules', 'named_children'):
        assert names(getattr(a, walk)()) == names(getattr(b, walk)()), walk
    for walk in ('named_parameters', 'named_buffers', 'named_modules'):
        kwargs = dict(remove_duplicate=False, prefix='p')
        assert names(getattr(a, walk)(**kwargs)) == names(getattr(b, walk)(**kwargs)), walk
    assert names(a.named_parameters(recurse=False)) == names(b.named_parameters(recurse=False))
    assert len(list(a.modules())) == len(list(b.modules())) and len(list(a.buffers())) == len(list(b.buffers()))
    assert [p.shape for p in a.parameters()] == [p.shape for p in b.parameters()]
    seen = [],[]
    for m,s in zip((a, b), seen): m.apply(lambda x: s.append(type(x).__name__))
    assert seen[0] == seen[1]
    for m in (a, b): m.eval()
    assert [m.training for m in a.modules()] == [m.training for m in b.modules()]


@few
@given(ROOTS)
def test_state_dicts_move_both_ways(spec):
    a,b = build(spec, OURS),build(spec, THEIRS)
    sa,sb = a.state_dict(),b.state_dict()
    assert list(sa) == list(sb) and not any(t.requires_grad for t in sa.values())
    assert all(sb._metadata[k] == v for k,v in sa._metadata.items())
    held = dict(a.named_parameters())
    values = {k: torch.randn_like(t) if t.is_floating_point() else t+1 for k,t in sb.items()}
    values = {k: values[next(o for o in sb if sb[o].data_ptr() == sb[k].data_ptr() or o == k)] for k in sb}  # shared ones have one value
    b.load_state_dict(values)
    assert a.load_state_dict(b.state_dict()) == ([], [])
    for k,t in a.state_dict().items(): assert torch.equal(t, values[k]) and t.data_ptr() != b.state_dict()[k].data_ptr()
    assert all(p is held[n] for n,p in a.named_parameters())
    fresh = build(spec, THEIRS)
    fresh.load_state_dict(a.state_dict())
    for k,t in fresh.state_dict().items(): assert torch.equal(t, values[k])


@few
@given(ROOTS)
def test_copies_are_alike_and_share_nothing(spec):
    a = build(spec, OURS)
    twin = copy.deepcopy(a)
    assert repr(twin) == repr(a) and names(twin.named_parameters()) == names(a.named_parameters())
    before = {k: t.clone() for k,t in a.state_dict().items()}
    with torch.no_grad():
        for t in [*twin.parameters(), *twin.buffers()]: t.add_(1)
    for k,t in a.state_dict().items(): assert torch.equal(t, before[k])


OPS = st.lists(st.tuples(st.sampled_from(['param', 'module', 'torch module', 'buffer', 'unsaved', 'tensor', 'none', 'number', 'del', 'reg none', 'add none']),
                         st.sampled_from('abc')), max_size=12)


@few
@given(OPS)
def test_random_assignments_end_alike(ops):
    "The same things set, replaced and deleted on both, in the same order: the same names, or an error on both sides"
    def do(m, lib, op, name):
        if op == 'param': setattr(m, name, lib['Parameter'](torch.ones(2)))
        elif op == 'module': setattr(m, name, lib['ReLU']())
        elif op == 'torch module': setattr(m, name, nn.Linear(1, 1))
        elif op == 'buffer': m.register_buffer(name, torch.zeros(1))
        elif op == 'unsaved': m.register_buffer(name, torch.zeros(1), persistent=False)
        elif op == 'tensor': setattr(m, name, torch.ones(3))
        elif op == 'none': setattr(m, name, None)
        elif op == 'number': setattr(m, name, 7)
        elif op == 'del': delattr(m, name)
        elif op == 'reg none': m.register_parameter(name, None)
        elif op == 'add none': m.add_module(name, None)
    def attempt(*args):
        try: do(*args)
        except (AttributeError, TypeError, KeyError, ValueError): return 'refused'
    a,b = Module(),nn.Module()
    for op,name in ops:
        assert attempt(a, OURS, op, name) == attempt(b, THEIRS, op, name), (op, name, ops)
        for n in 'abc': assert hasattr(a, n) == hasattr(b, n) and type(getattr(a, n, 0)).__name__.replace('Parameter', 'Tensor') == \
            type(getattr(b, n, 0)).__name__.replace('Parameter', 'Tensor')
        assert names(a.named_parameters()) == names(b.named_parameters()) and names(a.named_buffers()) == names(b.named_buffers())
        assert names(a.named_children()) == names(b.named_children()) and list(a.state_dict()) == list(b.state_dict())
        assert repr(a) == repr(b)


LIST_OPS = st.lists(st.one_of(
    st.tuples(st.sampled_from(['append', 'del', 'pop', 'insert', 'set', 'extend', 'slice', 'add']), st.integers(-5, 5), st.integers(1, 3))), max_size=8)


@few
@given(st.sampled_from(['ModuleList', 'Sequential']), LIST_OPS)
def test_lists_of_layers_behave_alike(kind, ops):
    def do(m, lib, op, i, n):
        layer = lib['Linear'](n, n)
        if op == 'append': m.append(layer)
        elif op == 'del': del m[i]
        elif op == 'pop': assert m.pop(i) is not None
        elif op == 'insert': m.insert(i, layer)
        elif op == 'set': m[i] = layer
        elif op == 'extend': m.extend([layer]*n)
        elif op == 'slice': del m[i:i+n]
        elif op == 'add': m += lib[kind](layer) if kind == 'Sequential' else [layer]
        return m
    def attempt(m, *args):
        try: return do(m, *args),''
        except (IndexError, TypeError): return m,'refused'
    a,b = OURS[kind](),THEIRS[kind]()
    for op,i,n in ops:
        if op == 'insert' and not 0 <= i <= len(b): continue  # PyTorch's ModuleList takes places outside and misplaces; ours does as Python's list
        (a,wrong_a),(b,wrong_b) = attempt(a, OURS, op, i, n),attempt(b, THEIRS, op, i, n)
        assert wrong_a == wrong_b and repr(a) == repr(b) and len(a) == len(b), (op, i, n)
        assert [n for n,_ in a.named_modules()] == [n for n,_ in b.named_modules()]
        for s in (slice(1, None), slice(None, None, 2), slice(-2, None)): assert repr(a[s]) == repr(b[s])


# Layers -----------------------------------------------------------------------------------------------------------------

@few
@given(st.integers(1, 3000), st.integers(1, 5), st.booleans(), st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
def test_linear_starts_from_the_same_numbers(n_in, n_out, bias, seed, dtype):
    made = []
    for cls in (Linear, nn.Linear):
        torch.manual_seed(seed)
        made.append(cls(n_in, n_out, bias, dtype=dtype))
    a,b = made
    for p,q in zip(a.parameters(), b.parameters(), strict=True): assert p.dtype == q.dtype and torch.equal(p, q)
    x = torch.randn(2, 3, n_in, dtype=dtype)
    assert torch.equal(a(x), b(x)) and repr(a) == repr(b)


def test_linear_in_float64_starts_within_rounding():
    made = []
    for cls in (Linear, nn.Linear):
        torch.manual_seed(1)
        made.append(cls(37, 5, dtype=torch.float64))
    torch.testing.assert_close(made[0].weight, made[1].weight, rtol=1e-14, atol=0)


def test_linear_without_inputs_or_outputs():
    assert Linear(0, 3)(torch.ones(2, 0)).shape == (2, 3) and Linear(3, 0)(torch.ones(2, 3)).shape == (2, 0)


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
    assert torch.equal(Flatten()(x), nn.Flatten()(x)) and torch.equal(Flatten(0, 1)(x), nn.Flatten(0, 1)(x)) and torch.equal(ReLU()(x), nn.ReLU()(x))
    y = x.clone()
    assert ReLU(inplace=True)(y) is y and y.min() >= 0
    assert torch.equal(Lambda(torch.tanh)(x), x.tanh()) and repr(Lambda(torch.tanh)) == 'Lambda(tanh)'
    assert repr(Lambda(Linear(1, 1))) == 'Lambda(\n  (func): Linear(in_features=1, out_features=1, bias=True)\n)'
    assert pickle.loads(pickle.dumps(Lambda(torch.tanh))).func is torch.tanh


def test_a_sequential_of_nothing_hands_on_and_a_slice_never_overwrites():
    x = torch.ones(2)
    assert Sequential()(x) is x
    part = Sequential(ReLU(), Linear(1, 1), ReLU())[1:]  # its names are '1' and '2'
    part.append(Dropout())
    assert [type(m).__name__ for m in part] == ['Linear', 'ReLU', 'Dropout']
    class Fixed(Sequential):
        def __init__(self): super().__init__(ReLU(), Linear(2, 2))
    assert type(Fixed()[:1]) is Sequential


# Parameter -----------------------------------------------------------------------------------------------------------------

def test_parameters_pass_for_each_other():
    p,q = Parameter(torch.ones(2)),nn.Parameter(torch.ones(2))
    assert all(isinstance(t, cls) for t in (p, q) for cls in (Parameter, nn.Parameter)) and not isinstance(torch.ones(2, requires_grad=True), Parameter)
    theirs = nn.Module()
    theirs.p = p
    mine = Module()
    mine.q = q
    assert [n for n,_ in theirs.named_parameters()] == ['p'] and [n for n,_ in mine.named_parameters()] == ['q']
    data = torch.zeros(3)
    assert Parameter(data).data_ptr() == data.data_ptr() and not hasattr(data, '_is_param') and not data.requires_grad
    assert not Parameter(torch.ones(1, dtype=torch.int64), requires_grad=False).requires_grad
    with pytest.raises(TypeError, match='got float'): Parameter(1.)


@pytest.mark.parametrize('again', [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p)), lambda p: saved(p)], ids=['deepcopy', 'pickle', 'torch.save'])
def test_a_parameter_stays_one(again):
    p = Parameter(torch.arange(3.), requires_grad=False)
    q = again(p)
    assert isinstance(q, Parameter) and torch.equal(p, q) and q.data_ptr() != p.data_ptr() and not q.requires_grad


def saved(x, **kwargs):
    "`x` after a round through a file"
    file = io.BytesIO()
    torch.save(x, file)
    file.seek(0)
    return torch.load(file, **kwargs)


def test_torch_optimizers_and_schedulers_take_ours():
    m = Sequential(Linear(2, 3), ReLU(), nn.Linear(3, 1))
    opt = torch.optim.AdamW(m.parameters(), lr=0.1)
    sched = torch.optim.lr_scheduler.StepLR(opt, 1)
    before = [p.detach().clone() for p in m.parameters()]
    m(torch.randn(8, 2)).square().mean().backward()
    opt.step(); sched.step()
    assert all(not torch.equal(p, b) for p,b in zip(m.parameters(), before))


# What hangs on a module -----------------------------------------------------------------------------------------------------

class Net(Module):
    "At the top of the file, so that it can be pickled"
    def __init__(self):
        super().__init__()
        self.body = Sequential(Linear(3, 4), ReLU(), nn.BatchNorm1d(4), Dropout(0.1))
        self.heads = ModuleList([Linear(4, 2), Linear(4, 2)])
        self.heads[1].weight = self.heads[0].weight
        self.register_buffer('count', torch.tensor(2))
        self.register_buffer('cache', torch.zeros(2), persistent=False)
    def forward(self, x, which=0): return self.heads[which](self.body(x))


@pytest.mark.parametrize('again', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: saved(m, weights_only=False)],
                         ids=['deepcopy', 'pickle', 'torch.save'])
def test_copies_of_a_whole_model(again):
    m = Net().eval()
    m.body[0].weight.requires_grad_(False)
    twin = again(m)
    x = torch.randn(5, 3)
    assert torch.equal(m(x), twin(x)) and twin.heads[0].weight is twin.heads[1].weight and not twin.body[0].weight.requires_grad
    assert list(twin.state_dict()) == list(m.state_dict()) and 'cache' not in twin.state_dict() and not twin.training
    assert all(isinstance(p, Parameter) for p in twin.parameters())
    twin.extra = Parameter(torch.ones(1))
    assert 'extra' not in m.state_dict() and 'extra' in twin.state_dict()
    with torch.no_grad(): twin.heads[0].weight.add_(1)
    assert not torch.equal(m(x), twin(x))


def test_state_dict_through_a_file_with_weights_only():
    m,twin = Net(),Net()
    assert str(twin.load_state_dict(saved(m.state_dict(), weights_only=True))) == 'LoadResult(missing_keys=[], unexpected_keys=[])'
    for a,b in zip(m.state_dict().values(), twin.state_dict().values()): assert torch.equal(a, b)


def test_to_keeps_parameters_and_whole_numbers():
    m = Net()
    held = list(m.parameters())
    m(torch.randn(4, 3)).sum().backward()
    assert m.double() is m and all(p is h for p,h in zip(m.parameters(), held))
    assert {p.dtype for p in held} == {torch.float64} == {p.grad.dtype for p in held if p.grad is not None}
    assert m.count.dtype == torch.int64 and m.cache.dtype == torch.float64 and m.body[2].running_mean.dtype == torch.float64
    m.to(torch.ones(1, dtype=torch.bfloat16))
    assert m.cache.dtype == torch.bfloat16
    m.to('cpu', torch.float32, non_blocking=True).float().cpu()
    assert m(torch.randn(4, 3)).dtype == torch.float32
    with pytest.raises(TypeError, match='int64'): m.to(torch.int64)
    with pytest.raises((RuntimeError, TypeError)): m.to('no such device')
    if not torch.cuda.is_available():
        with pytest.raises((AssertionError, RuntimeError)): m.cuda()
    assert m.cache.dtype == torch.float32  # a refused move changes nothing


def test_to_memory_format_and_meta():
    m = Sequential(nn.Conv2d(3, 4, 3), Lambda(torch.relu))
    m.kernel = Parameter(torch.randn(2, 3, 4, 5))
    m.to(memory_format=torch.channels_last)
    assert m.kernel.is_contiguous(memory_format=torch.channels_last) and m[0].weight.is_contiguous(memory_format=torch.channels_last)
    net = Net().to('meta')
    assert {t.device.type for t in [*net.parameters(), *net.buffers()]} == {'meta'} and all(isinstance(p, Parameter) for p in net.parameters())
    assert net(torch.empty(6, 3, device='meta')).shape == (6, 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_cuda_and_back():
    m = Net()
    held = list(m.parameters())
    m.cuda()
    assert all(p is h and p.is_cuda for p,h in zip(m.parameters(), held)) and m.count.is_cuda and m.body[2].running_mean.is_cuda
    m(torch.randn(4, 3, device='cuda')).sum().backward()
    m.cpu()
    assert not any(p.is_cuda or p.grad is not None and p.grad.is_cuda for p in held) and not m.count.is_cuda


def test_zero_grad_and_requires_grad():
    m = Net()
    m(torch.randn(4, 3)).sum().backward()
    grads = {n: p.grad for n,p in m.named_parameters() if p.grad is not None}
    m.zero_grad(set_to_none=False)
    assert all(p.grad is grads[n] and not p.grad.any() for n,p in m.named_parameters() if n in grads)
    m.zero_grad()
    assert all(p.grad is None for p in m.parameters())
    assert m.requires_grad_(False) is m and not any(p.requires_grad for p in m.parameters())
    with pytest.raises(ValueError, match='mode'): m.train(1)


def test_extra_state_of_a_torch_module_travels():
    class Odd(nn.Module):
        def __init__(self, note): super().__init__(); self.note = note
        def get_extra_state(self): return self.note
        def set_extra_state(self, state): self.note = state
    a,b = Sequential(Odd('kept')),Sequential(Odd('lost'))
    b.load_state_dict(a.state_dict())
    assert b[0].note == 'kept'


def test_get_by_name():
    m = Net()
    assert m.get_submodule('') is m and m.get_submodule('body.2') is m.body[2] and m.get_parameter('heads.1.bias') is m.heads[1].bias
    assert m.get_buffer('count') is m.count and m.get_buffer('body.2.running_var') is m.body[2].running_var
    for wrong in (lambda: m.get_submodule('body.9'), lambda: m.get_submodule('count'), lambda: m.get_parameter('body.1.weight'),
                  lambda: m.get_parameter('count'), lambda: m.get_buffer('heads.0.weight')):
        with pytest.raises(AttributeError): wrong()


# Hooks -----------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('base', [Module, nn.Module])
def test_hooks_do_the_same_on_both(base):
    class Add(base):
        def forward(self, x, plus=0): return x + plus
    m,log = Add(),[]
    def note(name, result=None):
        def hook(*args):
            log.append((name, *args[1:]))
            return result(*args) if result else None
        return hook
    m.register_forward_hook(note('second'))
    m.register_forward_hook(note('first'), prepend=True)
    m.register_forward_hook(note('kw', lambda m,a,k,out: out*10), with_kwargs=True)
    m.register_forward_pre_hook(note('pre', lambda m,a: a[0]+1))
    m.register_forward_pre_hook(note('pre kw', lambda m,a,k: (a, {**k, 'plus': 5})), with_kwargs=True)
    assert m(1, plus=2) == 70
    assert log == [('pre', (1,)), ('pre kw', (2,), {'plus': 2}), ('first', (2,), 7), ('second', (2,), 7), ('kw', (2,), {'plus': 5}, 7)]


@pytest.mark.parametrize('base', [Module, nn.Module])
def test_handles_remove(base):
    class Same(base):
        def forward(self, x): return x
    m,log = Same(),[]
    first,second = (m.register_forward_hook(lambda m,i,o,n=n: log.append(n)) for n in 'ab')
    m(0)
    first.remove(); first.remove()
    m(0)
    with pytest.raises(ZeroDivisionError), m.register_forward_pre_hook(lambda m,i: log.append('c')):
        m(0)
        1/0
    m(0)
    assert ''.join(log) == 'ab'+'b'+'cb'+'b'
    once = m.register_forward_hook(lambda m,i,o: (log.append('once'), once.remove())[1])
    m(0); m(0)
    assert log.count('once') == 1
    second.remove()
    assert not m._forward_hooks and not m._forward_pre_hooks


def test_a_wrong_pre_hook_is_named():
    m = ReLU()
    m.register_forward_pre_hook(lambda m,a,k: a, with_kwargs=True)
    with pytest.raises(TypeError, match=r'\(args, kwargs\)'): m(torch.ones(1))


# Errors ------------------------------------------------------------------------------------------------------------------------

class Forgot(Module):
    def __init__(self, what):
        if what == 'module': self.l1 = Linear(1, 1)
        elif what == 'parameter': self.w = Parameter(torch.ones(1))
        elif what == 'buffer': self.register_buffer('b', torch.ones(1))
        elif what == 'add': self.add_module('l1', Linear(1, 1))
        else: self.n = 3
    def forward(self, x): return x


@pytest.mark.parametrize('what', ['module', 'parameter', 'buffer', 'add', 'call', 'parameters', 'state_dict', 'repr', 'train'])
def test_forgotten_super_init(what):
    acts = dict(call=lambda m: m(1), parameters=lambda m: list(m.parameters()), state_dict=lambda m: m.state_dict(), repr=repr, train=lambda m: m.train())
    with pytest.raises(AttributeError, match=r'Forgot.*super\(\).__init__\(\)'): acts.get(what, lambda m: m)(Forgot(what))


def test_plain_attributes_before_super_init_are_fine():
    class Early(Module):
        def __init__(self):
            self.n = 3
            super().__init__()
    assert Early().n == 3


def test_unknown_attribute_names_the_nearest():
    m = Net()
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'; did you mean 'weight'") as e: m.body[0].wieght
    with pytest.raises(AttributeError, match="did you mean 'parameters'"): m.paramters
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'zzzz'$"): m.zzzz
    assert isinstance(e.value, UnknownAttribute) and 'weight' in str(pickle.loads(pickle.dumps(e.value)))
    assert not hasattr(m, 'wieght') and getattr(m, 'nothing', 5) == 5
    with pytest.raises(AttributeError): del m.nothing


def test_a_failing_property_says_why():
    class Computed(Module):
        @property
        def total(self): return self.weihgt.sum()
    with pytest.raises(AttributeError, match='weihgt'): Computed().total


@pytest.mark.parametrize('act,error,text', [
    (lambda m: setattr(m.body[0], 'weight', torch.ones(4, 3)), TypeError, 'Linear.weight is a parameter: it takes a Parameter or None, got Tensor'),
    (lambda m: setattr(m, 'body', 3), TypeError, 'a module'), (lambda m: setattr(m, 'count', 'x'), TypeError, 'a tensor or None, got str'),
    (lambda m: m.add_module('a.b', ReLU()), ValueError, "got 'a.b'"), (lambda m: m.add_module('', ReLU()), ValueError, "got ''"),
    (lambda m: m.add_module(3, ReLU()), TypeError, 'got int'), (lambda m: m.add_module('forward', ReLU()), ValueError, 'forward'),
    (lambda m: m.add_module('x', ReLU), TypeError, 'call it'), (lambda m: m.add_module('x', torch.relu), TypeError, 'Lambda'),
    (lambda m: m.register_parameter('x', torch.ones(1)), TypeError, 'wrap it in Parameter'), (lambda m: m.register_buffer('x', 3), TypeError, 'got int'),
    (lambda m: m.register_buffer('body', torch.ones(1)), ValueError, "already has an attribute 'body'"),
    (lambda m: Sequential([ReLU()]), TypeError, 'star'), (lambda m: ModuleList([3]), TypeError, 'got int'),
    (lambda m: m.heads[2], IndexError, '2 modules, there is none at 2'), (lambda m: m.heads['0'], TypeError, 'integer'),
    (lambda m: m.heads.__setitem__(0, 3), TypeError, 'got int'), (lambda m: m.heads(1), NotImplementedError, 'ModuleList has no `forward`'),
    (lambda m: Linear(2.5, 1), ValueError, 'in_features.*2.5'), (lambda m: Linear(2, -1), ValueError, 'out_features.*-1'),
    (lambda m: Linear(3, 4)(torch.ones(2, 5)), ValueError, r'in_features=3.*shape \(2, 5\).*must be 3'), (lambda m: Dropout(1.5), ValueError, 'got 1.5'),
    (lambda m: Linear(3, 4)(torch.ones(2, 3).double()), RuntimeError, 'dtype'), (lambda m: Lambda(3), TypeError, 'got int')])
def test_bad_input_is_named(act, error, text):
    with pytest.raises(error, match=text): act(Net())


def test_numpy_and_other_whole_numbers_are_sizes():
    import numpy as np
    m = Linear(np.int64(2), torch.tensor(3))
    assert m(torch.ones(1, 2)).shape == (1, 3) and repr(m) == repr(nn.Linear(2, 3))


def test_loading_says_everything_and_changes_nothing():
    m = Net()
    before = {k: t.clone() for k,t in m.state_dict().items()}
    state = {k: t+1 for k,t in m.state_dict().items()}
    state['body.0.weight'] = torch.zeros(5, 3)
    state['heads.0.bias'] = 'no tensor'
    state['extra'] = state.pop('count')
    with pytest.raises(RuntimeError) as e: m.load_state_dict(state)
    for text in ("does not fit Net", "'body.0.weight' has shape (5, 3) there and (4, 3) here", "'heads.0.bias' is a str", "missing there: 'count'",
                 "unknown here: 'extra'"): assert text in str(e.value)
    for k,t in m.state_dict().items(): assert torch.equal(t, before[k])
    with pytest.raises(RuntimeError, match='shape'): m.load_state_dict(state, strict=False)  # a wrong shape is never right
    with pytest.raises(TypeError, match='got list'): m.load_state_dict([1])
    res = m.load_state_dict({'count': torch.tensor(9), 'odd': 1}, strict=False)
    assert m.count == 9 and 'extra' not in res.missing_keys and res.unexpected_keys == ['odd'] and len(res.missing_keys) == len(before)-1


def test_a_scalar_does_not_broadcast_over_a_weight():
    with pytest.raises(RuntimeError, match='shape'): Linear(2, 2).load_state_dict({'weight': torch.tensor(1.), 'bias': torch.zeros(2)})


def test_prefixes_are_noticed():
    m = Linear(2, 2)
    with pytest.raises(RuntimeError, match="start with 'module.'"): m.load_state_dict({f'module.{k}': t for k,t in m.state_dict().items()})
    with pytest.raises(RuntimeError, match="names here start with '0.'"): Sequential(m).load_state_dict(m.state_dict())
    with pytest.raises(RuntimeError, match='and 92 more'): m.load_state_dict({**m.state_dict(), **{f'x{i}': 1 for i in range(100)}})


class Lost(Module):
    def __init__(self, **attrs):
        super().__init__()
        for k,v in attrs.items(): setattr(self, k, v)


@pytest.mark.parametrize('attrs,text', [
    (dict(layers=[Linear(1, 1), ReLU()]), 'Lost.layers is a plain list.*ModuleList'), (dict(layers=(nn.Linear(1, 1),)), 'Lost.layers is a plain tuple'),
    (dict(d={'a': [Linear(1, 1)]}), 'Lost.d is a plain dict.*add_module'), (dict(w=torch.ones(2, requires_grad=True)), 'Lost.w is a plain tensor: make it a Parameter'),
    (dict(ws=[Parameter(torch.ones(1))]), 'Lost.ws is a plain list')])
@pytest.mark.parametrize('opt', [torch.optim.SGD, torch.optim.Adam])
def test_lost_layers_are_named(attrs, text, opt):
    with pytest.raises(ValueError, match=text): opt(Lost(**attrs).parameters(), lr=0.1)
    outer = Sequential(ReLU(), Lost(**attrs))
    with pytest.raises(ValueError, match=text.replace('Lost.', 'Sequential.1.')): opt(outer.parameters(), lr=0.1)


def test_nothing_hidden_is_no_error():
    for m in (Module(), Sequential(ReLU(), nn.ReLU()), Lost(layers=[ReLU(), 3], x=torch.ones(2), d={'a': 1})): assert list(m.parameters()) == []
    m = Lost(layers=[Linear(1, 1)])
    assert list(m.named_parameters()) == [] and list(m.parameters(recurse=False)) == []
    m.one = Linear(1, 1)
    assert len(list(m.parameters())) == 2


def test_torch_refuses_ours():
    with pytest.raises(TypeError, match='not a Module subclass'): nn.Sequential(Linear(1, 1))


# Pure, and in company ------------------------------------------------------------------------------------------------------------

def test_nothing_of_torch_module_is_called():
    names = ['__call__', '__setattr__', '__init__', 'state_dict', 'load_state_dict', 'parameters', 'named_parameters', 'train', '_apply', '__repr__']
    def refuse(*args, **kwargs): raise AssertionError('PyTorch was asked')
    with mock.patch.multiple(nn.Module, **{n: refuse for n in names}):
        m = Sequential(Flatten(), Linear(6, 4), ReLU(), Dropout(0.1), Lambda(torch.tanh), ModuleList([Linear(4, 2)])[0])
        m.train()(torch.randn(5, 2, 3)).sum().backward()
        m.load_state_dict(m.eval().double().float().state_dict())
        assert len(list(m.parameters())) == 4 and 'Linear' in repr(m)


def test_compile_takes_ours_whole():
    m = Sequential(Linear(3, 4), ReLU(), nn.BatchNorm1d(4), Dropout(0.5)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        fast = torch.compile(m, backend='eager', fullgraph=True)
        x = torch.randn(5, 3)
        assert torch.equal(fast(x), m(x))
        m.train()
        assert (fast(torch.ones(100, 3)) == 0).any()  # it notices the mode


def test_a_whole_torch_network_inside():
    inner = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    m = Sequential(Linear(5, 8), inner, Linear(8, 2))
    assert {n for n,_ in inner.named_parameters()} == {n[2:] for n,_ in m.named_parameters() if n.startswith('1.')}
    m.eval().double()
    assert not inner.dropout.training and m(torch.randn(2, 3, 5).double()).dtype == torch.float64
    m.load_state_dict(copy.deepcopy(m).state_dict())


# The check refuses broken ones, by name --------------------------------------------------------------------------------------------

def mutant(hint):
    "Notes what the report on a broken class must say"
    def note(cls):
        MUTANTS.append(pytest.param(cls, hint, id=cls.__name__))
        return cls
    return note


MUTANTS = []


@mutant('yield from child.parameters()')
class NestedMissed(Module):
    def named_parameters(self, prefix='', recurse=True, remove_duplicate=True): return super().named_parameters(prefix, False, remove_duplicate)


@mutant('step twice')
class SharedTwice(Module):
    def named_parameters(self, prefix='', recurse=True, remove_duplicate=True): return super().named_parameters(prefix, recurse, False)


@mutant('a set of the modules it has seen')
class ModulesTwice(Module):
    def named_modules(self, memo=None, prefix='', remove_duplicate=True): return super().named_modules(None, prefix, False)


@mutant('those of each child, in that order')
class ChildrenFirst(Module):
    def _members(self, kind, prefix, recurse, remove_duplicate): return iter(sorted(super()._members(kind, prefix, recurse, remove_duplicate), key=lambda p: -p[0].count('.')))


@mutant('only an `nn.Parameter` is a parameter')
class EveryTensor(Module):
    def __setattr__(self, name, value):
        super().__setattr__(name, Parameter(value) if isinstance(value, torch.Tensor) and value.is_floating_point() else value)


@mutant('child.train(mode)')
class TrainNotRecursive(Module):
    def train(self, mode=True):
        self.training = mode
        return self


@mutant('`return self`, so that calls can be chained')
class EvalReturnsNothing(Module):
    def eval(self): self.train(False)


@mutant("prefix + name + '.'")
class KeysWithoutPrefix(Module):
    def state_dict(self, *, destination=None, prefix='', keep_vars=False): return super().state_dict(destination=destination, prefix='', keep_vars=keep_vars)


@mutant('the state dict holds parameters and persistent buffers')
class BuffersNotSaved(Module):
    def state_dict(self, **kwargs):
        buffers = {n for n,_ in self.named_buffers(kwargs.get('prefix', '').rstrip('.'))}
        found = super().state_dict(**kwargs)
        for name in buffers & set(found): del found[name]
        return found


@mutant('persistent=False means')
class AllBuffersSaved(Module):
    def register_buffer(self, name, tensor, persistent=True): super().register_buffer(name, tensor)


@mutant('Detached tensors share memory')
class StateIsACopy(Module):
    def state_dict(self, **kwargs):
        found = super().state_dict(**kwargs)
        if not kwargs.get('keep_vars'):
            for name in found: found[name] = found[name].clone()
        return found


@mutant('`p.detach()`')
class StateWithHistory(Module):
    def state_dict(self, *, destination=None, prefix='', keep_vars=False): return super().state_dict(destination=destination, prefix=prefix, keep_vars=True)


@mutant('an optimizer holds them')
class LoadReplaces(Module):
    def load_state_dict(self, state_dict, strict=True):
        res = super().load_state_dict(state_dict, strict)
        for path,_ in list(self.named_parameters()):
            owner,_,name = path.rpartition('.')
            setattr(self.get_submodule(owner), name, Parameter(state_dict[path].clone()))
        return res


@mutant('only borrows them')
class LoadBorrows(Module):
    def load_state_dict(self, state_dict, strict=True):
        res = super().load_state_dict(state_dict, strict)
        for name,p in self.named_parameters():
            if name in state_dict: p.data = state_dict[name]
        return res


@mutant("has not got the value from the state dict")
class LoadsParametersOnly(Module):
    def load_state_dict(self, state_dict, strict=True):
        for name,p in self.named_parameters(): p.data.copy_(state_dict[name])


@mutant('Compare the names on both sides')
class LoadNeverStrict(Module):
    def load_state_dict(self, state_dict, strict=True): return super().load_state_dict(state_dict, False)


@mutant('missing_keys')
class LoadReturnsNothing(Module):
    def load_state_dict(self, state_dict, strict=True): super().load_state_dict(state_dict, strict)


@mutant("the child's own repr")
class ReprNotNested(Module):
    def _child_reprs(self): return []


@mutant('two spaces to the right')
class ReprNotIndented(Module):
    def __repr__(self): return super().__repr__().replace('\n    ', '\n  ')


@mutant('takes itself out')
class HandleDoesNothing(Module):
    def register_forward_hook(self, hook, **kwargs):
        super().register_forward_hook(hook, **kwargs)
        return mock.Mock()


@mutant('takes the place of the output')
class HookCantChange(Module):
    def register_forward_hook(self, hook, **kwargs): return super().register_forward_hook(lambda *args: [hook(*args)] and None, **kwargs)


@mutant('hook(self, args, output)')
class HookGetsOneInput(Module):
    def register_forward_hook(self, hook, **kwargs): return super().register_forward_hook(lambda m,args,out: hook(m, args[0], out), **kwargs)


@mutant('forget the name there, too')
class DeleteLeavesTheName(Module):
    def __delattr__(self, name):
        self.__dict__.setdefault('_ghosts', {})[name] = self.__dict__[name]
        super().__delattr__(name)
    def named_parameters(self, prefix='', recurse=True, remove_duplicate=True):
        yield from super().named_parameters(prefix, recurse, remove_duplicate)
        for name,p in self.__dict__.get('_ghosts', {}).items():
            if isinstance(p, Parameter): yield name,p


@mutant('it has to remove the value')
class DeleteDoesNothing(Module):
    def __delattr__(self, name): pass


@mutant('takes the place of the old under the same name')
class ReplacedStays(Module):
    def _register(self, kind, name, value):
        if name in self.__dict__ and kind == 'parameter': self.__dict__.setdefault('_all', []).append((name, self.__dict__[name]))
        super()._register(kind, name, value)
    def named_parameters(self, prefix='', recurse=True, remove_duplicate=True):
        yield from self.__dict__.get('_all', ())
        yield from super().named_parameters(prefix, recurse, remove_duplicate)


@mutant('must copy the tensors as well')
class CopySharesParameters(Module):
    def __deepcopy__(self, memo):
        twin = copy.copy(self)
        twin.__dict__ = {k: copy.deepcopy(v, memo) if isinstance(v, (Module, dict, set)) else v for k,v in self.__dict__.items()}
        return twin


@mutant('never return None')
class UnknownIsNone(Module):
    def __getattr__(self, name):
        if name.startswith('__'): raise AttributeError(name)


@mutant('Refuse it with a TypeError')
class PlainTensorAccepted(Module):
    def _replace(self, name, value):
        if value is not None and self._kinds[name] == 'parameter': del self._kinds[name]
        self.__dict__[name] = value


@mutant('so that the object stays')
class ToReplaces(Module):
    def to(self, *args, **kwargs):
        super().to(*args, **kwargs)
        for m in self.modules():
            for name,p in m._own('parameter'): setattr(m, name, Parameter(p.data))
        return self


@mutant('to() does not reach the buffers')
class ToForgetsBuffers(Module):
    def to(self, *args, **kwargs):
        for p in self.parameters(): p.data = p.data.to(*args, **kwargs)
        return self


@mutant('a counter stays a counter')
class ToCastsEverything(Module):
    def to(self, *args, **kwargs):
        super().to(*args, **kwargs)
        for m in self.modules():
            for name,b in m._own('buffer'): setattr(m, name, b.to(*args, **kwargs))
        return self


@mutant('Others may hold on to them')
class ZeroGradReplaces(Module):
    def zero_grad(self, set_to_none=True):
        for p in self.parameters(): p.grad = None if set_to_none else torch.zeros_like(p)


@mutant('reach the parameters of all submodules')
class ZeroGradNotRecursive(Module):
    def zero_grad(self, set_to_none=True):
        for _,p in self._own('parameter'):
            if set_to_none: p.grad = None
            else: p.grad.zero_()


@mutant('First `child.apply(f)` for each child')
class ApplyRootFirst(Module):
    def apply(self, fn):
        fn(self)
        for m in self.children(): m.apply(fn)
        return self


@mutant('hands both on to `self.forward`')
class CallDropsKeywords(Module):
    def __call__(self, *args, **kwargs): return super().__call__(*args)


@mutant('keep it apart from the parameters')
class BuffersAreParameters(Module):
    def register_buffer(self, name, tensor, persistent=True):
        if tensor.is_floating_point() and persistent: setattr(self, name, Parameter(tensor))
        else: super().register_buffer(name, tensor, persistent)


@mutant('dictionaries do not exist yet')
class InitNotNeeded(Module):
    def _register(self, kind, name, value):
        if '_kinds' not in self.__dict__: Module.__init__(self)
        super()._register(kind, name, value)


@pytest.mark.parametrize('cls,hint', MUTANTS)
def test_the_check_names_what_is_broken(cls, hint):
    report = check_module(cls)
    assert not report.ok and hint in str(report), report
    assert all(r.hint for r in report.failed), report


@pytest.mark.parametrize('cls', [Module, nn.Module])
def test_the_check_accepts(cls): check_module(cls).raise_if_failed()


def test_exports():
    assert set(ours.__all__) == {'Parameter', 'Module', 'ModuleList', 'Sequential', 'Linear', 'ReLU', 'Lambda', 'Flatten', 'Dropout'}
