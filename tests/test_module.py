"Our Module against PyTorch's, on random trees; the check refuses broken ones; errors, copies, hooks"
import copy, io, pickle, warnings
from collections import OrderedDict
from unittest import mock
import pytest, torch
from hypothesis import given, settings, strategies as st
from torch import nn
from miniai import module as ours
from miniai.check.module import check_module
from miniai.layers import Dropout, Flatten, Lambda, Linear, ModuleList, ReLU, Sequential
from miniai.module import Module, Parameter

OURS = dict(Module=Module, Sequential=Sequential, ModuleList=ModuleList, Linear=Linear, ReLU=ReLU,
            Flatten=Flatten, Dropout=Dropout,
            Parameter=Parameter, BatchNorm1d=nn.BatchNorm1d, LSTM=nn.LSTM)
THEIRS = {name: getattr(nn, name) for name in OURS}
few = settings(deadline=None, max_examples=60)


# Random trees: a spec is plain data, and `build` makes a model of it from either set of classes -------------

NAMES = st.sampled_from(['a', 'b', 'fc', 'layers', 'weight', 'x1', '_under'])
SIZES = st.integers(1, 4)
LEAVES = st.one_of(
    st.tuples(st.just('Linear'), SIZES, SIZES, st.booleans()), st.tuples(st.just('ReLU'), st.booleans()),
    st.tuples(st.just('Flatten'), st.integers(0, 2)),
    st.tuples(st.just('Dropout'), st.sampled_from([0.1, 0.5])), st.tuples(st.just('BatchNorm1d'), SIZES),
    st.tuples(st.just('LSTM'), SIZES, SIZES),
    st.tuples(st.just('again'), st.integers(0, 5)), st.tuples(st.just('none')),
    st.tuples(st.just('torch'), SIZES))
PARTS = st.one_of(st.tuples(st.just('param'), SIZES), st.tuples(st.just('same param'), st.integers(0, 5)),
                  st.tuples(st.just('buffer'), SIZES, st.booleans()),
                  st.tuples(st.just('number')))
TREES = st.recursive(LEAVES, lambda inner: st.one_of(
    st.tuples(st.just('Sequential'), st.lists(inner, max_size=4)),
    st.tuples(st.just('ModuleList'), st.lists(inner, max_size=4)),
    st.tuples(st.just('named'), st.dictionaries(NAMES, inner, max_size=3)),
    st.tuples(st.just('Net'), st.dictionaries(NAMES, st.one_of(inner, PARTS), max_size=4),
              st.sampled_from(['', 'n=3', 'one\ntwo']))), max_leaves=8)
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
        if kind == 'param' or kind == 'same param' and params:
            setattr(net, name, params[args[0] % len(params)] if kind == 'same param' else params[-1])
        elif kind == 'buffer': net.register_buffer(name, torch.randn(args[0]), persistent=args[1])
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
        elif kind == 'named':
            m = lib['Sequential'](OrderedDict((n, m) for n,s in args[0].items()
                                              if (m := make(s)) is not None))
        elif kind == 'Net':
            m = net_class(lib['Module'], args[1])()
            for name,part in args[0].items(): fill(m, name, part)
        else: m = lib[kind](*args)
        made.append(m)
        return m
    return make(spec)


def names(pairs):
    return [(n, tuple(x.shape) if isinstance(x, torch.Tensor) else type(x).__name__) for n,x in pairs]


@few
@given(ROOTS)
def test_random_trees_look_alike(spec):
    a,b = build(spec, OURS),build(spec, THEIRS)
    assert repr(a) == repr(b)
    for walk in ('named_parameters', 'named_buffers', 'named_modules', 'named_children'):
        assert names(getattr(a, walk)()) == names(getattr(b, walk)()), walk
    for walk in ('named_parameters', 'named_buffers', 'named_modules'):
        assert names(getattr(a, walk)(prefix='p')) == names(getattr(b, walk)(prefix='p')), walk
    assert names(a.named_parameters(recurse=False)) == names(b.named_parameters(recurse=False))
    assert len(list(a.modules())) == len(list(b.modules()))
    assert len(list(a.buffers())) == len(list(b.buffers()))
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
    held = dict(a.named_parameters())
    values = {k: torch.randn_like(t) if t.is_floating_point() else t+1 for k,t in sb.items()}
    # shared ones have one value
    values = {k: values[next(o for o in sb if sb[o].data_ptr() == sb[k].data_ptr() or o == k)] for k in sb}
    b.load_state_dict(values)
    assert a.load_state_dict(b.state_dict()) == ([], [])
    for k,t in a.state_dict().items():
        assert torch.equal(t, values[k]) and t.data_ptr() != b.state_dict()[k].data_ptr()
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


OPS = st.lists(st.tuples(st.sampled_from(['param', 'module', 'torch module', 'buffer', 'unsaved', 'tensor',
                                          'none', 'number', 'del', 'add none']),
                         st.sampled_from('abc')), max_size=12)


@few
@given(OPS)
def test_random_assignments_end_alike(ops):
    "The same things set, replaced and deleted on both: the same names, or an error on both sides"
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
        elif op == 'add none': m.add_module(name, None)
    def attempt(*args):
        try: do(*args)
        except (AttributeError, TypeError, KeyError, ValueError): return 'refused'
    a,b = Module(),nn.Module()
    for op,name in ops:
        assert attempt(a, OURS, op, name) == attempt(b, THEIRS, op, name), (op, name, ops)
        for n in 'abc':
            assert hasattr(a, n) == hasattr(b, n)
            assert type(getattr(a, n, 0)).__name__.replace('Parameter', 'Tensor') == \
            type(getattr(b, n, 0)).__name__.replace('Parameter', 'Tensor')
        assert names(a.named_parameters()) == names(b.named_parameters())
        assert names(a.named_buffers()) == names(b.named_buffers())
        assert names(a.named_children()) == names(b.named_children())
        assert list(a.state_dict()) == list(b.state_dict())
        assert repr(a) == repr(b)


# Parameter --------------------------------------------------------------------------------------------------

def test_parameters_pass_for_each_other():
    p,q = Parameter(torch.ones(2)),nn.Parameter(torch.ones(2))
    assert all(isinstance(t, cls) for t in (p, q) for cls in (Parameter, nn.Parameter))
    assert not isinstance(torch.ones(2, requires_grad=True), Parameter)
    theirs = nn.Module()
    theirs.p = p
    mine = Module()
    mine.q = q
    assert [n for n,_ in theirs.named_parameters()] == ['p']
    assert [n for n,_ in mine.named_parameters()] == ['q']
    data = torch.zeros(3)
    assert Parameter(data).data_ptr() == data.data_ptr() and not hasattr(data, '_is_param')
    assert not data.requires_grad
    assert not Parameter(torch.ones(1, dtype=torch.int64), requires_grad=False).requires_grad
    with pytest.raises(TypeError, match='got float'): Parameter(1.)


@pytest.mark.parametrize('again',
                         [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p)), lambda p: saved(p)],
                         ids=['deepcopy', 'pickle', 'torch.save'])
def test_a_parameter_stays_one(again):
    p = Parameter(torch.arange(3.), requires_grad=False)
    q = again(p)
    assert isinstance(q, Parameter) and torch.equal(p, q) and q.data_ptr() != p.data_ptr()
    assert not q.requires_grad


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


# What hangs on a module -------------------------------------------------------------------------------------

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


@pytest.mark.parametrize('again',
                         [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)),
                          lambda m: saved(m, weights_only=False)],
                         ids=['deepcopy', 'pickle', 'torch.save'])
def test_copies_of_a_whole_model(again):
    m = Net().eval()
    m.body[0].weight.requires_grad_(False)
    twin = again(m)
    x = torch.randn(5, 3)
    assert torch.equal(m(x), twin(x)) and twin.heads[0].weight is twin.heads[1].weight
    assert not twin.body[0].weight.requires_grad
    assert list(twin.state_dict()) == list(m.state_dict()) and 'cache' not in twin.state_dict()
    assert not twin.training
    assert all(isinstance(p, Parameter) for p in twin.parameters())
    twin.extra = Parameter(torch.ones(1))
    assert 'extra' not in m.state_dict() and 'extra' in twin.state_dict()
    with torch.no_grad(): twin.heads[0].weight.add_(1)
    assert not torch.equal(m(x), twin(x))


def test_state_dict_through_a_file_with_weights_only():
    m,twin = Net(),Net()
    loaded = twin.load_state_dict(saved(m.state_dict(), weights_only=True))
    assert str(loaded) == 'LoadResult(missing_keys=[], unexpected_keys=[])'
    for a,b in zip(m.state_dict().values(), twin.state_dict().values()): assert torch.equal(a, b)


def test_to_keeps_parameters_and_whole_numbers():
    m = Net()
    held = list(m.parameters())
    m(torch.randn(4, 3)).sum().backward()
    assert m.to(torch.float64) is m and all(p is h for p,h in zip(m.parameters(), held))
    assert {p.dtype for p in held} == {torch.float64} == {p.grad.dtype for p in held if p.grad is not None}
    assert m.count.dtype == torch.int64 and m.cache.dtype == torch.float64
    assert m.body[2].running_mean.dtype == torch.float64
    m.to(torch.ones(1, dtype=torch.bfloat16))
    assert m.cache.dtype == torch.bfloat16
    m.to('cpu', torch.float32, non_blocking=True).float().cpu()
    assert m(torch.randn(4, 3)).dtype == torch.float32
    with pytest.raises(TypeError, match='int64'): m.to(torch.int64)
    with pytest.raises((RuntimeError, TypeError)): m.to('no such device')
    if not torch.cuda.is_available():
        with pytest.raises((AssertionError, RuntimeError)): m.cuda()
    assert m.cache.dtype == torch.float32  # a refused move changes nothing


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_cuda_and_back():
    m = Net()
    held = list(m.parameters())
    m.cuda()
    assert all(p is h and p.is_cuda for p,h in zip(m.parameters(), held)) and m.count.is_cuda
    assert m.body[2].running_mean.is_cuda
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


# Hooks ------------------------------------------------------------------------------------------------------

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
    m.register_forward_hook(note('first'))
    m.register_forward_hook(note('second', lambda m,a,out: out*10))
    m.register_forward_hook(note('third'))
    m.register_forward_pre_hook(note('one value', lambda m,a: a[0]+1))
    m.register_forward_pre_hook(note('a tuple', lambda m,a: (a[0]*2,)))
    assert m(1, plus=2) == 60
    assert log == [('one value', (1,)), ('a tuple', (2,)), ('first', (4,), 6), ('second', (4,), 6),
                   ('third', (4,), 60)]


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
    m(0)
    assert ''.join(log) == 'abbcbb' + 'bonce' + 'b'


def test_the_same_hook_twice_is_two_hooks():
    m,log = ReLU(),[]
    def hook(*args): log.append(1)
    handles = [m.register_forward_hook(hook) for _ in range(2)]
    m(torch.ones(1))
    handles[0].remove()
    m(torch.ones(1))
    assert len(log) == 3


def test_a_copy_has_hooks_of_its_own():
    m,log = ReLU(),[]
    handle = m.register_forward_hook(append_to(log))
    twin = copy.deepcopy(m)
    handle.remove()
    m(torch.ones(1))
    assert log == []
    twin(torch.ones(1))


def append_to(log):
    def hook(*args): log.append(1)
    return hook


# Errors -----------------------------------------------------------------------------------------------------

class Forgot(Module):
    def __init__(self, what):
        if what == 'module': self.l1 = Linear(1, 1)
        elif what == 'parameter': self.w = Parameter(torch.ones(1))
        elif what == 'buffer': self.register_buffer('b', torch.ones(1))
        elif what == 'add': self.add_module('l1', Linear(1, 1))
        else: self.n = 3
    def forward(self, x): return x


@pytest.mark.parametrize('what',
                         ['module', 'parameter', 'buffer', 'add', 'call', 'parameters', 'state_dict', 'repr',
                          'train'])
def test_forgotten_super_init(what):
    acts = dict(call=lambda m: m(1), parameters=lambda m: list(m.parameters()),
                state_dict=lambda m: m.state_dict(), repr=repr, train=lambda m: m.train())
    with pytest.raises(AttributeError, match=r'Forgot.*super\(\).__init__\(\)'):
        acts.get(what, lambda m: m)(Forgot(what))


def test_plain_attributes_before_super_init_are_fine():
    class Early(Module):
        def __init__(self):
            self.n,self.sizes = 3,[3, 4]
            super().__init__()
    assert Early().n == 3 and Early().sizes == [3, 4]


def test_an_unknown_attribute_is_one():
    m = Net()
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'"): m.body[0].wieght
    assert not hasattr(m, 'wieght') and getattr(m, 'nothing', 5) == 5
    with pytest.raises(AttributeError): del m.nothing


def test_a_failing_property_says_why():
    class Computed(Module):
        @property
        def total(self): return self.weihgt.sum()
    with pytest.raises(AttributeError, match='weihgt'): Computed().total


@pytest.mark.parametrize('act,error,text', [
    (lambda m: setattr(m.body[0], 'weight', torch.ones(4, 3)), TypeError,
     'Linear.weight takes a Parameter or None, got Tensor; wrap'),
    (lambda m: setattr(m, 'body', 3), TypeError, 'a Module or None, got int'),
    (lambda m: setattr(m, 'count', 'x'), TypeError, 'a tensor or None, got str'),
    (lambda m: m.add_module('a.b', ReLU()), ValueError, "got 'a.b'"),
    (lambda m: m.add_module('', ReLU()), ValueError, "got ''"),
    (lambda m: m.add_module(3, ReLU()), ValueError, 'got 3'),
    (lambda m: m.add_module('forward', ReLU()), ValueError, 'forward'),
    (lambda m: m.add_module('x', ReLU), TypeError, 'call the class'),
    (lambda m: m.add_module('x', torch.relu), TypeError, 'Lambda'),
    (lambda m: m.register_buffer('x', 3), TypeError, 'got int'),
    (lambda m: m.register_buffer('body', torch.ones(1)), ValueError, "already has an attribute 'body'"),
    (lambda m: m.train('no'), ValueError, "mode.*'no'"),
    (lambda m: m.heads(1), NotImplementedError, 'ModuleList has no `forward`')])
def test_bad_input_is_named(act, error, text):
    with pytest.raises(error, match=text): act(Net())


def test_a_forward_that_returns_nothing_is_named():
    class NoReturn(Module):
        def forward(self, x): x*2
    with pytest.raises(TypeError, match='NoReturn.forward gave None.*return'):
        Sequential(NoReturn(), ReLU())(torch.ones(1))
    seen = NoReturn()
    seen.register_forward_hook(lambda m,args,out: args[0])   # what a hook gives is a result, too
    assert seen(3) == 3


@pytest.mark.parametrize('name', ['foward', 'Forward', 'forwad', 'forwrad', 'for_ward'])
def test_a_misspelt_forward_is_named(name):
    cls = type('Net', (Module,), {name: lambda self, x: x})
    with pytest.raises(NotImplementedError, match=f"Net has no `forward`.*'{name}'"): cls()(1)


def test_no_forward_suggests_nothing():
    with pytest.raises(NotImplementedError, match='write what a call should compute'): Module()(1)


def test_loading_says_everything_and_changes_nothing():
    m = Net()
    before = {k: t.clone() for k,t in m.state_dict().items()}
    state = {k: t+1 for k,t in m.state_dict().items()}
    state['body.0.weight'] = torch.zeros(5, 3)
    state['heads.0.bias'] = 'no tensor'
    state['extra'] = state.pop('count')
    with pytest.raises(RuntimeError) as e: m.load_state_dict(state)
    for text in ("fit Net", "'body.0.weight' has shape (5, 3) there and (4, 3) here",
                 "'heads.0.bias' is a str", "missing there: 'count'",
                 "unknown here: 'extra'"): assert text in str(e.value)
    for k,t in m.state_dict().items(): assert torch.equal(t, before[k])
    # a wrong shape is never right
    with pytest.raises(RuntimeError, match='shape'): m.load_state_dict(state, strict=False)
    with pytest.raises(TypeError, match='got list'): m.load_state_dict([1])
    res = m.load_state_dict({'count': torch.tensor(9), 'odd': 1}, strict=False)
    assert m.count == 9 and 'extra' not in res.missing_keys and res.unexpected_keys == ['odd']
    assert len(res.missing_keys) == len(before)-1


def test_a_scalar_does_not_broadcast_over_a_weight():
    with pytest.raises(RuntimeError, match='shape'):
        Linear(2, 2).load_state_dict({'weight': torch.tensor(1.), 'bias': torch.zeros(2)})


def test_long_lists_of_names_are_cut():
    m = Linear(2, 2)
    with pytest.raises(RuntimeError, match='and 92 more'):
        m.load_state_dict({**m.state_dict(), **{f'x{i}': 1 for i in range(100)}})


# Out of sight -----------------------------------------------------------------------------------------------

class Lost(Module):
    "A model with a head that is found, and attributes that hide something"
    def __init__(self, **attrs):
        super().__init__()
        self.head = Linear(1, 1)
        for k,v in attrs.items(): setattr(self, k, v)


def told(f):
    "What warnings say while `f` runs, none left out"
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter('always')
        f()
    return [str(w.message) for w in found]


@pytest.mark.parametrize('attrs,text', [
    (dict(layers=[Linear(1, 1), ReLU()]), 'Lost.layers is a plain list'),
    (dict(layers=(nn.Linear(1, 1),)), 'Lost.layers is a plain tuple'),
    (dict(d={'a': Linear(1, 1)}), 'Lost.d is a plain dict'),
    (dict(d={'a': [Linear(1, 1)]}), 'Lost.d is a plain dict'),
    (dict(s={Linear(1, 1)}), 'Lost.s is a plain set'),
    (dict(ws=[Parameter(torch.ones(1))]), 'Lost.ws is a plain list')])
def test_hidden_layers_are_told_once_beside_a_head(attrs, text):
    "The head alone has parameters: 0.1 said nothing"
    m = Lost(**attrs)
    once = told(lambda: torch.optim.SGD(m.parameters(), lr=0.1))
    assert len(once) == 1 and once[0].startswith(text) and 'ModuleList' in once[0]
    assert told(lambda: [list(m.parameters()) for _ in range(3)]) == []
    assert told(lambda: copy.deepcopy(m).parameters()) == []
    inner = Lost(**attrs)
    outer = Sequential(ReLU(), inner)
    assert [t.startswith(text.replace('Lost.', 'Sequential.1.')) for t in told(outer.parameters)] == [True]


def test_a_plain_tensor_that_could_be_trained_is_told():
    m = Lost(w=torch.ones(2, requires_grad=True))
    assert ['Lost.w is a plain Tensor' in t and 'Parameter' in t for t in told(m.parameters)] == [True]


def test_what_hides_nothing_is_not_told():
    class Listed(Module):
        def __init__(self):
            super().__init__()
            self.layers = [Linear(1, 1), Linear(1, 1)]   # a list beside the registration
            for i,m in enumerate(self.layers): self.add_module(str(i), m)
    loop = [ReLU(), 3]
    loop.append(loop)
    teacher = Linear(1, 1).requires_grad_(False)         # hidden, frozen: on purpose
    quiet = Lost(layers=[ReLU(), 3], x=torch.ones(2), h=torch.ones(1, requires_grad=True)*2, d={'a': 1},
                 teacher=[teacher],
                 long=list(range(10**6)), loop=loop, text='abc', inner=Linear(1, 1), opt=None)
    for m in (Listed(), quiet, Module(), Sequential(ReLU(), nn.ReLU())):
        assert told(lambda m=m: list(m.parameters())) == []
    m = Lost(layers=[Linear(1, 1)])
    assert told(lambda: (list(m.named_parameters()), list(m.parameters(recurse=False)))) == []


def test_the_warning_points_at_the_caller():
    with pytest.warns(UserWarning) as found: Lost(layers=[Linear(1, 1)]).parameters()
    assert found[0].filename == __file__


def test_torch_refuses_ours():
    with pytest.raises(TypeError, match='Linear is not a Module subclass'): nn.Sequential(Linear(1, 1))


# Pure, and in company ---------------------------------------------------------------------------------------

def test_nothing_of_torch_module_is_called():
    names = ['__call__', '__setattr__', '__init__', 'state_dict', 'load_state_dict', 'parameters',
             'named_parameters', 'train', '_apply', '__repr__']
    def refuse(*args, **kwargs): raise AssertionError('PyTorch was asked')
    with mock.patch.multiple(nn.Module, **{n: refuse for n in names}):
        m = Sequential(Flatten(), Linear(6, 4), ReLU(), Dropout(0.1), Lambda(torch.tanh),
                       ModuleList([Linear(4, 2)])[0])
        m.train()(torch.randn(5, 2, 3)).sum().backward()
        m.load_state_dict(m.eval().to(torch.float64).float().state_dict())
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
    assert {n for n,_ in inner.named_parameters()} == {n[2:] for n,_ in m.named_parameters()
                                                       if n.startswith('1.')}
    m.eval().to(torch.float64)
    assert not inner.dropout.training and m(torch.randn(2, 3, 5).double()).dtype == torch.float64
    m.load_state_dict(copy.deepcopy(m).state_dict())


def test_a_torch_batch_norm_travels_both_ways():
    "Buffers and a counter of whole numbers, through both kinds of container"
    a,b = Sequential(Linear(2, 3), nn.BatchNorm1d(3)),nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    for _ in range(3): b(torch.randn(8, 2))
    a.load_state_dict(b.state_dict())
    x = torch.randn(4, 2)
    assert torch.equal(a.eval()(x), b.eval()(x)) and a[1].num_batches_tracked == 3
    b.load_state_dict(a.state_dict())


# The check refuses broken ones, by name ---------------------------------------------------------------------

MUTANTS = []


def mutant(hint):
    "Notes what the report on a broken class must say"
    def note(cls):
        MUTANTS.append(pytest.param(cls, hint, id=cls.__name__))
        return cls
    return note


@mutant('yield from child.parameters()')
class NestedMissed(Module):
    def named_parameters(self, prefix='', recurse=True): return super().named_parameters(prefix, False)


@mutant('step twice')
class SharedTwice(Module):
    def parameters(self): return [p for m in self.modules() for _,p in m._own('parameter')]


@mutant("under the name ''")
class ChildrenAreAll(Module):
    def named_children(self): return [pair for pair in self.named_modules() if pair[0]]


@mutant('First your own, in order')
class ChildrenFirst(Module):
    def parameters(self): return sorted(super().parameters(), key=lambda p: -p.sum().item())


@mutant("note a Parameter's name")
class EveryTensor(Module):
    def __setattr__(self, name, value):
        super().__setattr__(name,
                            Parameter(value) if isinstance(value, torch.Tensor)
                            and value.is_floating_point() else value)


@mutant('call `child.train(mode)`')
class TrainNotRecursive(Module):
    def train(self, mode=True):
        self.training = mode
        return self


@mutant('and `return self`')
class EvalReturnsNothing(Module):
    def eval(self): self.train(False)


@mutant("prefix + name + '.'")
class KeysWithoutPrefix(Module):
    def state_dict(self, *, destination=None, prefix='', keep_vars=False):
        return super().state_dict(destination=destination, prefix='', keep_vars=keep_vars)


@mutant('Parameters, then buffers')
class AllBuffersSaved(Module):
    def register_buffer(self, name, tensor, persistent=True): super().register_buffer(name, tensor)


@mutant('`p.detach()` shares memory')
class StateIsACopy(Module):
    def state_dict(self, **kwargs):
        found = super().state_dict(**kwargs)
        return found if kwargs.get('keep_vars') else {name: t.clone() for name,t in found.items()}


@mutant('`p.detach()`')
class StateWithHistory(Module):
    def state_dict(self, *, destination=None, prefix='', keep_vars=False):
        return super().state_dict(destination=destination, prefix=prefix, keep_vars=True)


@mutant('an optimizer holds them')
class LoadReplaces(Module):
    def load_state_dict(self, state_dict, strict=True):
        super().load_state_dict(state_dict, strict)
        self.last.gain = Parameter(state_dict['last.gain'].clone())


@mutant('an optimizer holds them')
class LoadBorrows(Module):
    def load_state_dict(self, state_dict, strict=True):
        super().load_state_dict(state_dict, strict)
        self.last.gain.data = state_dict['last.gain']


@mutant('an optimizer holds them')
class LoadsParametersOnly(Module):
    def load_state_dict(self, state_dict, strict=True):
        for name,p in self.named_parameters(): p.data.copy_(state_dict[name])


@mutant('Compare the names on both sides')
class LoadNeverStrict(Module):
    def load_state_dict(self, state_dict, strict=True): return super().load_state_dict(state_dict, False)


@mutant("the child's own repr")
class TextNotNested(Module):
    def _child_reprs(self): return []


@mutant('two spaces to the right')
class TextNotIndented(Module):
    def __repr__(self): return super().__repr__().replace('\n    ', '\n  ')


@mutant('takes it out')
class HandleDoesNothing(Module):
    def register_forward_hook(self, hook):
        super().register_forward_hook(hook)
        return mock.Mock()


@mutant('what it returns takes the place')
class HookCantChange(Module):
    def register_forward_hook(self, hook):
        return super().register_forward_hook(lambda *args: [hook(*args)] and None)


@mutant('forget the name there, too')
class DeleteLeavesTheName(Module):
    def __delattr__(self, name): self.__dict__.pop(name)


@mutant('forget the name there, too')
class DeleteDoesNothing(Module):
    def __delattr__(self, name): pass


@mutant('takes the place of the old')
class ReplacedGoesToTheEnd(Module):
    def _register(self, kind, name, value):
        old = self._kinds.pop(name, None) and self.__dict__[name]
        super()._register(kind, name, value)
        if old is not None: super()._register(kind, name+'_old', old)


@mutant('that shares tensors')
class CopySharesParameters(Module):
    def __deepcopy__(self, memo):
        twin = copy.copy(self)
        twin.__dict__ = {k: copy.deepcopy(v, memo) if isinstance(v, (Module, dict, set)) else v
                         for k,v in self.__dict__.items()}
        return twin


@mutant('never return None')
class UnknownIsNone(Module):
    def __getattr__(self, name): return None if name == 'gian' else super().__getattr__(name)


@mutant('Refuse it with a TypeError')
class PlainTensorAccepted(Module):
    def __setattr__(self, name, value):
        if type(value) is torch.Tensor and not isinstance(value, Parameter): self._kinds.pop(name, None)
        super().__setattr__(name, value)


@mutant('keeps the object')
class ToReplaces(Module):
    def to(self, *args, **kwargs):
        super().to(*args, **kwargs)
        for m in self.modules():
            for name,p in m._own('parameter'): setattr(m, name, Parameter(p.data))
        return self


@mutant('a counter stays one')
class ToForgetsBuffers(Module):
    def to(self, *args, **kwargs):
        for p in self.parameters(): p.data = p.data.to(*args, **kwargs)
        return self


@mutant('a counter stays one')
class ToCastsEverything(Module):
    def to(self, *args, **kwargs):
        super().to(*args, **kwargs)
        for m in self.modules():
            for name,b in m._own('buffer'): setattr(m, name, b.to(*args, **kwargs))
        return self


@mutant('a gradient becomes None')
class ZeroGradNotRecursive(Module):
    def zero_grad(self):
        for _,p in self._own('parameter'): p.grad = None


@mutant('`apply` calls the children first')
class ApplyRootFirst(Module):
    def apply(self, fn):
        fn(self)
        for m in self.children(): m.apply(fn)
        return self


@mutant('hands both on to `self.forward`')
class CallDropsKeywords(Module):
    def __call__(self, *args, **kwargs): return super().__call__(*args)


@mutant('not a parameter')
class BuffersAreParameters(Module):
    def register_buffer(self, name, tensor, persistent=True): setattr(self, name, Parameter(tensor))


@mutant('Your dictionaries do not exist yet')
class InitNotNeeded(Module):
    def _register(self, kind, name, value):
        if '_kinds' not in self.__dict__: Module.__init__(self)
        super()._register(kind, name, value)


@pytest.mark.parametrize('cls,hint', MUTANTS)
def test_the_check_names_what_is_broken(cls, hint):
    report = check_module(cls)
    assert not report.ok and hint in str(report), report


@pytest.mark.parametrize('cls', [Module, nn.Module])
def test_the_check_accepts(cls): check_module(cls).raise_if_failed()


def test_exports(): assert set(ours.__all__) == {'Parameter', 'Module'}


def test_hidden_layers_are_named_in_the_same_order_in_every_run():
    m = Module()
    for name in 'gdhbfcae': setattr(m, name, [nn.Linear(1, 1)])
    with pytest.warns(UserWarning) as said: m.parameters()
    assert [str(w.message).split()[0] for w in said] == [f'Module.{name}' for name in 'abcdefgh']
