"Our optimizers against PyTorch's: numbers, state dicts, schedules, what happens to parameters, bad input"
import copy, io, itertools, pickle, warnings
from collections import Counter
from functools import partial
import pytest, torch
from hypothesis import given, settings, strategies as st
from torch.optim import lr_scheduler as sched
from miniai import optim
from miniai.check.optim import check_optimizer
from miniai.optim import SGD, Adam, AdamW, Optimizer, RMSprop

NAMES = ['SGD', 'RMSprop', 'Adam', 'AdamW']
TOLERANCE = {torch.float32: dict(rtol=1e-5, atol=1e-6), torch.float64: dict(rtol=1e-12, atol=1e-12)}
SHAPES = [(3,4), (5,), (), (2,3,1,2), (600,), (7,), (7,)]
KERNELS = '_fused_sgd_', '_fused_adam_', '_fused_adamw_'


def ours(name): return getattr(optim, name)
def theirs(name): return getattr(torch.optim, name)


def every(name):
    "Every combination of the options of an algorithm"
    adam = dict(weight_decay=(0, 0.1), betas=((0.9, 0.999), (0.5, 0.8)), eps=(1e-8, 1e-3))
    options = dict(SGD=dict(momentum=(0, 0.9), dampening=(0, 0.4), weight_decay=(0, 0.1),
                            nesterov=(False, True)),
                   RMSprop=dict(momentum=(0, 0.9), weight_decay=(0, 0.1), alpha=(0.99, 0.8),
                                eps=(1e-8, 1e-3)),
                   Adam=adam, AdamW=adam)[name]
    for values in itertools.product(*options.values()):
        o = dict(zip(options, values))
        if not (o.get('nesterov') and (o['momentum'] == 0 or o['dampening'])): yield o


def start(shapes=SHAPES, dtype=torch.float32, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(s, dtype=dtype, generator=g).requires_grad_() for s in shapes]


def grads_like(ps, g): return [torch.randn(p.shape, dtype=p.dtype, generator=g) + 0.1*p.detach() for p in ps]


def follow(opts, params, steps, dtype, seed=1, present=lambda t,i: True):
    "Step two optimizers on equal gradients, and compare their parameters after each step"
    g = torch.Generator().manual_seed(seed)
    for t in range(steps):
        for i,(p,q,grad) in enumerate(zip(*params, grads_like(params[1], g))):
            p.grad,q.grad = (grad.clone(),grad.clone()) if present(t, i) else (None,None)
        for o in opts: o.step()
        if t % 10 == 9 or t == steps-1: assert_same(params, dtype)


def assert_same(params, dtype):
    for i,(p,q) in enumerate(zip(*params)): torch.testing.assert_close(p, q, **TOLERANCE[dtype],
                                                                       msg=lambda m: f'parameter {i}: {m}')


@pytest.fixture
def fused(monkeypatch):
    "How many parameters the fused functions have moved; the trials, of forty numbers, don't count"
    moved = Counter()
    def spied(kernel):
        def f(params, *args, **kwargs):
            moved.update(p.numel() for p in params if p.numel() != 40)
            return kernel(params, *args, **kwargs)
        return f
    for name in KERNELS: monkeypatch.setattr(torch, name, spied(getattr(torch, name)))
    return moved


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize('fast', [True, False])
@pytest.mark.parametrize('name', NAMES)
def test_every_combination_follows_torch(name, fast, dtype, fused):
    for options in every(name):
        params = start(dtype=dtype),start(dtype=dtype)
        opts = ours(name)(params[0], lr=0.01, **options),theirs(name)(params[1], lr=0.01, **options)
        opts[0].fast = fast
        fused.clear()
        follow(opts, params, 100, dtype)
        steps = 100 if name == 'SGD' and not options['momentum'] else 99  # the first one makes the state
        if name == 'RMSprop' or not fast: steps = 0
        assert sum(fused.values()) == steps*len(SHAPES)


@st.composite
def runs(draw):
    name = draw(st.sampled_from(NAMES))
    number = partial(st.floats, allow_nan=False)
    options = dict(lr=draw(number(0, 0.05)), weight_decay=draw(st.sampled_from([0, 0.01, 0.5])))
    if name == 'SGD':
        options.update(momentum=draw(st.sampled_from([0, 0.5, 0.9])),
                       dampening=draw(st.sampled_from([0, 0.3, 1])))
        if options['momentum'] and not options['dampening']: options['nesterov'] = draw(st.booleans())
    elif name == 'RMSprop': options.update(alpha=draw(number(0.5, 0.99)),
                                           momentum=draw(st.sampled_from([0, 0.8])), eps=1e-5)
    else: options.update(betas=(draw(number(0, 0.95)), draw(number(0.5, 0.999))),
                         eps=draw(st.sampled_from([1e-8, 1e-3])))
    shapes = draw(st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), min_size=1, max_size=4))
    return dict(name=name, options=options, shapes=shapes,
                dtype=draw(st.sampled_from([torch.float32, torch.float64])),
                cut=draw(st.integers(1, len(shapes))), swap=draw(st.integers(1, 60)),
                gaps=draw(st.sampled_from(['never', 'some', 'block'])), seed=draw(st.integers(0, 99)))


@settings(max_examples=60, deadline=None)
@given(runs())
def test_random_runs_follow_torch(r):
    "Groups, gradients that are sometimes None, and in the middle each goes on from the other's state dict"
    name,dtype,options = r['name'],r['dtype'],r['options']
    present = dict(never=lambda t,i: True, some=lambda t,i: (t*7 + i*5) % 11 > 2, block=lambda t,
                   i: not (10 < t < 60 and i % 3 == 0))[r['gaps']]
    params = start(r['shapes'], dtype, r['seed']),start(r['shapes'], dtype, r['seed'])
    def make(cls, ps):
        groups = [dict(params=ps[:r['cut']]), dict(params=ps[r['cut']:], lr=0.02, weight_decay=0.05)]
        return cls([g for g in groups if g['params']], **options)
    opts = [make(f(name), ps) for f,ps in zip((ours, theirs), params)]
    follow(opts, params, r['swap'], dtype, present=present)
    states = [copy.deepcopy(o.state_dict()) for o in opts]
    opts = [make(f(name), ps) for f,ps in zip((ours, theirs), params)]
    opts[0].load_state_dict(states[1])
    opts[1].load_state_dict(states[0])
    follow(opts, params, 100-r['swap'], dtype, seed=2, present=present)
    same_state(opts, dtype)


def same_state(opts, dtype):
    a,b = [o.state_dict() for o in opts]
    assert set(a['state']) == set(b['state'])
    for i in a['state']:
        assert set(a['state'][i]) == set(b['state'][i])
        for k,v in a['state'][i].items():
            assert v.dtype == b['state'][i][k].dtype and v.shape == b['state'][i][k].shape
            torch.testing.assert_close(v, b['state'][i][k], **TOLERANCE[dtype])
    for g,h in zip(a['param_groups'], b['param_groups']):
        assert set(g) <= set(h)
        assert all(g[k] == h[k] for k in opts[0].defaults if k in h)


@pytest.mark.parametrize('name', NAMES)
def test_layout_of_the_state_dict_is_torchs(name):
    for options in every(name):
        params = start(),start()
        opts = ours(name)(params[0], **options),theirs(name)(params[1], **options)
        follow(opts, params, 4, torch.float32)
        same_state(opts, torch.float32)


# -- what happens to parameters, gradients and state

@pytest.mark.parametrize('name', NAMES)
def test_replaced_storage_is_noticed(name):
    "Whatever is done to the parameters between two steps, ours goes on as torch's does"
    def data(ps):
        for p in ps: p.data = p.data*2
    def half_of_them(ps):
        for p in ps[::2]: p.data = p.data.clone()
    def in_place(ps):
        with torch.no_grad():
            for p in ps: p.mul_(0.5)
    def to_and_fro(ps):
        for p in ps: p.data = p.data.double()  # and back: half would round equal numbers apart
        for p in ps: p.data = p.data.float()
    def columns_first(ps):
        for p in ps:
            if p.dim() == 2: p.data = p.data.t().contiguous().t()
    params = start(),start()
    opts = ours(name)(params[0], lr=0.01),theirs(name)(params[1], lr=0.01)
    for change in (data, half_of_them, in_place, to_and_fro, columns_first):
        follow(opts, params, 5, torch.float32)
        for ps in params: change(ps)
        follow(opts, params, 1, torch.float32)
    follow(opts, params, 5, torch.float32)


@pytest.mark.parametrize('name', NAMES)
def test_a_model_is_loaded_cast_and_copied(name):
    models = [torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    saved = copy.deepcopy(models[0].state_dict())
    opts = [f(name)(m.parameters(), lr=0.01) for f,m in zip((ours, theirs), models)]
    def train(dtype, n=4):
        x = torch.linspace(-1, 1, 20, dtype=dtype).view(5, 4)
        for _ in range(n):
            for m,o in zip(models, opts):
                o.zero_grad()
                m(x).square().sum().backward()
                o.step()
        for p,q in zip(*[m.parameters() for m in models]): torch.testing.assert_close(p, q)
    train(torch.float32)
    for m in models: m.load_state_dict(saved)
    train(torch.float32)
    models,opts = copy.deepcopy((models, opts))
    train(torch.float32)
    for m,o in zip(models, opts):
        sd = o.state_dict()
        m.double()
        o.load_state_dict(sd)  # torch's cannot go on with the old state either
    models[1].load_state_dict(models[0].state_dict())  # float32 has rounded them apart
    train(torch.float64)


def test_a_change_of_dtype_alone_is_an_error_or_right(fused):
    "State made for float32, parameters now float64: the fused functions are not called with such a mixture"
    p = torch.ones(50, requires_grad=True)
    opt = SGD([p], lr=0.1, momentum=0.5)
    for _ in range(3):
        p.grad = torch.ones_like(p)
        opt.step()
    p.data,before = p.data.double(),p.detach().double()
    p.grad = torch.ones_like(p)
    fused.clear()
    opt.step()
    assert not fused
    torch.testing.assert_close(p.detach(), before - 0.1*(1 + 0.5*1.75))


def test_mixed_dtypes_in_one_group():
    for name in NAMES:
        def mixed(): return [p for dtype in (torch.float32, torch.float64, torch.bfloat16,
                                             torch.float16) for p in start(SHAPES[:3], dtype)]
        a,b = mixed(),mixed()
        opts = ours(name)(a, lr=0.01),theirs(name)(b, lr=0.01)
        for t in range(20):
            for p,q in zip(a, b): p.grad = q.grad = torch.full_like(q, 0.3) + 0.1*q.detach()
            for o in opts: o.step()
        for p,q in zip(a, b): torch.testing.assert_close(p, q,
                                                         **({} if p.dtype in TOLERANCE else dict(rtol=0.05,
                                                                                                 atol=0.05)))


@pytest.mark.parametrize('name', NAMES)
def test_odd_layouts(name):
    "Channels last, transposed, strided, expanded gradients: the same numbers"
    def make():
        x = torch.linspace(-1, 1, 48)
        return [x.view(2, 3, 2, 4).clone(memory_format=torch.channels_last).requires_grad_(),
                x.view(8, 6).t().clone().t().requires_grad_(),
                x[::2].requires_grad_(), x.view(8, 6)[:,1:4].requires_grad_(), x.clone().requires_grad_(),
                torch.zeros(0).requires_grad_(), torch.zeros(1, 5, requires_grad=True)]
    params = make(),make()
    opts = ours(name)(params[0], lr=0.01),theirs(name)(params[1], lr=0.01)
    for t in range(12):
        for ps in params:
            for i,p in enumerate(ps):
                p.grad = (p.detach()*0.3 + i).contiguous() if t % 3 else torch.full((), 0.1*i).expand(p.shape)
        for o in opts: o.step()
    for p,q in zip(*params): torch.testing.assert_close(p, q)


def test_subset_changes_every_step():
    "A different set of parameters each time: never stale, and the memory is kept"
    for name in NAMES:
        params = start(),start()
        opts = ours(name)(params[0], lr=0.01),theirs(name)(params[1], lr=0.01)
        follow(opts, params, 40, torch.float32, present=lambda t,i: (t+i) % 3 > 0)


@pytest.mark.parametrize('name', ['Adam', 'AdamW', 'RMSprop'])
def test_state_changed_by_others(name):
    "State that is replaced, zeroed, deleted, or whose count is set, is what the next step uses"
    def replaced(o):
        for s in o.state.values(): s.update({k: v.clone()*2 for k,v in s.items() if k != 'step'})
    def zeroed(o):
        for s in o.state.values():
            for k,v in s.items():
                if k != 'step': v.zero_()
    def count_set(o):
        for s in list(o.state.values())[::2]: s['step'].fill_(1)
    def deleted(o): del o.state[o.param_groups[0]['params'][1]]
    def cleared(o): o.state.clear()
    params = start(),start()
    opts = ours(name)(params[0], lr=0.01),theirs(name)(params[1], lr=0.01)
    for change in (replaced, zeroed, count_set, deleted, cleared):
        follow(opts, params, 5, torch.float32)
        for o in opts: change(o)
        follow(opts, params, 2, torch.float32)


def test_options_changed_on_the_way():
    for name,changes in dict(SGD=[dict(momentum=0.9), dict(momentum=0.5, weight_decay=0.1),
                                  dict(nesterov=True), dict(momentum=0, nesterov=False)],
                             AdamW=[dict(betas=(0.5, 0.9)), dict(weight_decay=0), dict(lr=0.1)]).items():
        params = start(),start()
        opts = ours(name)(params[0], lr=0.01),theirs(name)(params[1], lr=0.01)
        for change in changes:
            follow(opts, params, 5, torch.float32)
            for o in opts: o.param_groups[0].update(change)
        follow(opts, params, 5, torch.float32)


def test_sparse_gradients():
    def table():
        torch.manual_seed(3)
        return torch.nn.Embedding(6, 4, sparse=True)
    for options in (dict(), dict(momentum=0.9), dict(momentum=0.9, nesterov=True)):
        models = table(),table()
        opts = [cls(m.parameters(), lr=0.1, **options) for cls,m in zip((SGD, torch.optim.SGD), models)]
        for t in range(6):
            for m,o in zip(models, opts):
                m(torch.tensor([t % 6, 2])).square().sum().backward()
                o.step()
                o.zero_grad()
            torch.testing.assert_close(models[0].weight, models[1].weight)
    for cls in (Adam, AdamW):  # torch's refuse them
        (p,),(q,) = start([(4, 3)]),start([(4, 3)])
        opts = cls([p], lr=0.1),cls([q], lr=0.1)
        for t in range(6):
            q.grad = torch.eye(4, 3) * (1 - 0.4*t)
            p.grad = q.grad.to_sparse()
            for o in opts: o.step()
            torch.testing.assert_close(p, q)
    with pytest.raises(RuntimeError, match='Sparse'):
        p.grad = torch.eye(4, 3).to_sparse()
        RMSprop([p]).step()


def test_a_gradient_that_turns_sparse():
    p,q = [torch.ones(4, 3, requires_grad=True) for _ in range(2)]
    opts = SGD([p], lr=0.1, momentum=0.5),torch.optim.SGD([q], lr=0.1, momentum=0.5)
    for t in range(8):
        grad = torch.eye(4, 3)
        for w in (p, q): w.grad = grad.to_sparse() if t == 4 else grad.clone()
        for o in opts: o.step()
        torch.testing.assert_close(p, q)


def test_autograd_knows_of_the_change():
    "A step between forward and backward is an error, not a wrong gradient, with fused functions too"
    for cls in (SGD, RMSprop, Adam, AdamW):
        ps = [torch.ones(40, requires_grad=True) for _ in range(20)]
        opt = cls(ps)
        for _ in range(3):
            sum(p.square().sum() for p in ps).backward()
            opt.step()
        out = sum((p**3).sum() for p in ps)
        opt.step()
        with pytest.raises(RuntimeError, match='modified by an inplace operation'): out.backward()


def test_a_broken_kernel_is_not_used(monkeypatch):
    "Neither one that is gone, nor one that moves elsewhere or remembers something else"
    calls = []
    def no_such(*args, **kwargs): raise TypeError('new signature')
    def elsewhere(params, *args, **kwargs):
        calls.append(len(params))
        torch._foreach_add_(params, 1.)
    def forgetful(kernel):
        def f(params, grads, *lists, **kwargs):
            calls.append(len(params))
            kernel(params, grads, *[[t.clone() for t in l] for l in lists], **kwargs)
        return f
    kernels = {name: getattr(torch, name) for name in KERNELS}
    def broken(how):
        for name,kernel in kernels.items():
            if how is None: monkeypatch.delattr(torch, name)
            else: monkeypatch.setattr(torch, name, how(kernel))
        for name in ('SGD', 'Adam', 'AdamW'):
            options = dict(momentum=0.9) if name == 'SGD' else {}
            params = start(),start()
            follow((ours(name)(params[0], **options), theirs(name)(params[1], foreach=False, **options)),
                   params, 5, torch.float32)
        assert all(n == 1 for n in calls), 'nothing but trials'
    for how in (lambda kernel: no_such, lambda kernel: elsewhere, forgetful, None): broken(how)


def test_torchs_broken_bfloat16(fused):
    "In torch 2.13 the fused SGD with momentum leaves most 16-bit parameters where they are"
    for dtype in (torch.bfloat16, torch.float16):
        p = torch.zeros(33, dtype=dtype, requires_grad=True)
        opt = SGD([p], lr=0.25, momentum=0.5)
        for _ in range(3):
            p.grad = torch.ones_like(p)
            opt.step()
        torch.testing.assert_close(p.detach(), torch.full_like(p, -0.25*(1 + 1.5 + 1.75)))


@pytest.mark.parametrize('name', ['SGD', 'Adam', 'AdamW'])
def test_channels_last_goes_together(name, fused):
    "Weights that lie channels last, beside biases: two calls, and the numbers of the plain formula"
    def last(p): return torch.channels_last if p.dim() == 4 else torch.contiguous_format
    params = [[p.detach().clone(memory_format=last(p)).requires_grad_()
               for p in start([(4,3,3,3), (4,), (5,4,3,3)])] for _ in range(2)]
    opts = ours(name)(params[0], lr=0.01),theirs(name)(params[1], lr=0.01, foreach=False)
    for t in range(10):
        for p,q in zip(*params): p.grad = q.grad = q.detach()*0.3 + 0.1*t
        for o in opts: o.step()
    assert_same(params, torch.float32)
    assert sum(fused.values()) == 3*(10 if name == 'SGD' else 9)


def test_a_finer_default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        params = start(dtype=torch.float64),start(dtype=torch.float64)
        opts = AdamW(params[0]),torch.optim.AdamW(params[1])
        follow(opts, params, 20, torch.float64)
        opts[0].load_state_dict(opts[1].state_dict())
        follow(opts, params, 20, torch.float64)
    finally: torch.set_default_dtype(torch.float32)


def test_subclasses():
    class Clipped(SGD):
        "A new `update`, of which no fused function knows"
        def update(self, p, grad, state, options): super().update(p, grad.clamp(-0.1, 0.1), state, options)
    class Lion(Optimizer):
        def __init__(self, params, lr=1e-3): super().__init__(params, dict(lr=lr))
        def update(self, p, grad, state, options):
            avg = state.setdefault('avg', torch.zeros_like(p))
            p -= options['lr']*avg.lerp(grad, 0.1).sign()
            avg.lerp_(grad, 0.01)
    p = torch.zeros(4, requires_grad=True)
    for opt,moved in ((Clipped([p], lr=1.), -0.1), (Lion([p], lr=0.5), -0.5)):
        for _ in range(4):
            before = p.detach().clone()
            p.grad = torch.full_like(p, 7.)
            opt.step()
            torch.testing.assert_close(p.detach(), before + moved)
    assert list(opt.state_dict()['state'][0]) == ['avg']
    with pytest.raises(NotImplementedError, match='update'):
        opt = Optimizer([p], dict(lr=1.))
        opt.step()


# -- the rest of the interface

@pytest.mark.parametrize('name', NAMES)
def test_schedules(name):
    "torch's schedules drive ours, without a warning"
    makers = [lambda o: sched.LambdaLR(o, lambda t: 0.9**t), lambda o: sched.CosineAnnealingLR(o, T_max=20),
              lambda o: sched.ExponentialLR(o, 0.9),
              lambda o: sched.OneCycleLR(o, max_lr=0.1, total_steps=40, cycle_momentum=True),
              lambda o: sched.ReduceLROnPlateau(o, patience=2),
              lambda o: sched.SequentialLR(o, [sched.ConstantLR(o, 0.1), sched.StepLR(o, 3)], [5]),
              lambda o: sched.CyclicLR(o, 0.001, 0.1, 5, cycle_momentum=name != 'AdamW')]
    options = dict(momentum=0.9) if name in ('SGD', 'RMSprop') else {}
    for make in makers:
        params = start(),start()
        opts = ours(name)(params[0], lr=0.01, **options),theirs(name)(params[1], lr=0.01, **options)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            warnings.filterwarnings('ignore',
                                    'The epoch parameter')  # torch 2.6 says so to its own SequentialLR
            scheds = [make(o) for o in opts]
            g = torch.Generator().manual_seed(5)
            for t in range(30):
                for p,q,grad in zip(*params, grads_like(params[1], g)): p.grad = q.grad = grad
                for o,s in zip(opts, scheds):
                    o.step()
                    s.step(*([1.] if isinstance(s, sched.ReduceLROnPlateau) else []))
                assert opts[0].param_groups[0]['lr'] == opts[1].param_groups[0]['lr']
            copy.deepcopy(opts[0]).step()
            opts[0].load_state_dict(opts[1].state_dict())
        assert_same(params, torch.float32)


def test_nothing_of_torchs_is_called(monkeypatch):
    def forbidden(*args, **kwargs): raise AssertionError("torch's own method was called")
    kept = '__class__', '__init_subclass__', '__subclasshook__', '__repr__'
    for name,f in list(vars(torch.optim.Optimizer).items()):
        if (callable(f) or isinstance(f, staticmethod)) and name not in kept and not name.endswith('Hook'):
            monkeypatch.setattr(torch.optim.Optimizer, name, forbidden)
    for cls in (SGD, RMSprop, Adam, AdamW):
        p = torch.ones(3, requires_grad=True)
        opt = cls([p], lr=0.1)
        assert isinstance(opt, torch.optim.Optimizer)
        for _ in range(4):
            p.sum().backward()
            opt.step()
            opt.zero_grad(set_to_none=False)
        opt.load_state_dict(copy.deepcopy(opt).state_dict())
        opt.add_param_group(dict(params=[torch.ones(1, requires_grad=True)]))
        repr(pickle.loads(pickle.dumps(opt)))


def test_closure():
    for name in NAMES:
        params = start([(3,)]),start([(3,)])
        for f,(p,) in zip((ours, theirs), params):
            opt = f(name)([p], lr=0.1)
            def closure():
                opt.zero_grad()
                loss = (p**2).sum()
                loss.backward()
                return loss
            losses = [opt.step(closure) for _ in range(5)]
            assert losses[-1] < losses[0] and losses[0].requires_grad
        assert_same(params, torch.float32)
    with torch.no_grad(): opt.step(closure)
    assert opt.step() is None


def test_zero_grad():
    p,q = [torch.ones(2, requires_grad=True) for _ in range(2)]
    opt = SGD([p, q])
    p.grad = grad = torch.autograd.grad((p**2).sum(), p, create_graph=True)[0]
    opt.zero_grad(set_to_none=False)
    assert p.grad is grad and not grad.any() and not grad.requires_grad and grad.grad_fn is None
    assert q.grad is None
    opt.zero_grad()
    assert p.grad is None


def test_groups_are_the_callers():
    p,q = [torch.ones(2, requires_grad=True) for _ in range(2)]
    group = dict(params=p)
    a,b = SGD([group], lr=1.),SGD([group], lr=2.)
    assert list(group) == ['params'] and (a.param_groups[0]['lr'], b.param_groups[0]['lr']) == (1., 2.)
    a.add_param_group(dict(params=(o for o in [q]), lr=0.5))
    assert [g['lr'] for g in a.param_groups] == [1., 0.5] and a.param_groups[1]['params'] == [q]


def test_positional_arguments_are_torchs():
    p = [torch.ones(2, requires_grad=True)]
    values = dict(SGD=(0.1, 0.9, 0., 0.3, True), RMSprop=(0.1, 0.9, 1e-3, 0.2, 0.3),
                  Adam=(0.1, (0.5, 0.6), 1e-3, 0.2), AdamW=(0.1, (0.5, 0.6), 1e-3, 0.2))
    for name in NAMES:
        for args in (values[name], ()):
            mine,others = ours(name)(p, *args).defaults,theirs(name)(p, *args).defaults
            assert {k: others[k] for k in mine} == mine


def test_repr():
    text = repr(SGD([dict(params=[torch.ones(2, requires_grad=True)], lr=0.5)], lr=0.1))
    assert text.startswith('SGD (') and 'Parameter Group 0' in text and 'lr: 0.5' in text


def test_copies_and_pickles():
    for name in NAMES:
        params = start(),start()
        opts = ours(name)(params[0], lr=0.01),theirs(name)(params[1], lr=0.01)
        follow(opts, params, 6, torch.float32)
        for clone in (copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))):
            params,opts = clone((params, opts))
            follow(opts, params, 6, torch.float32)
        assert len(pickle.dumps(opts[0])) < 1.5*len(pickle.dumps(opts[1]))


def test_state_dicts_do_not_share_memory():
    params = start()
    opt = SGD(params, lr=0.1, momentum=0.9)
    for p in params: p.grad = torch.ones_like(p)
    opt.step()
    other = SGD(params, lr=0.1, momentum=0.9)
    other.load_state_dict(opt.state_dict())
    opt.state[params[0]]['momentum_buffer'].zero_()
    assert other.state[params[0]]['momentum_buffer'].all()


def test_state_dict_through_a_file_with_weights_only():
    params = start(),start()
    opts = AdamW(params[0]),torch.optim.AdamW(params[1])
    follow(opts, params, 5, torch.float32)
    file = io.BytesIO()
    torch.save(opts[0].state_dict(), file)
    file.seek(0)
    opts[0].load_state_dict(torch.load(file, weights_only=True))
    follow(opts, params, 5, torch.float32)


def test_old_checkpoints():
    "Counts of steps were plain numbers once, and options have been added since"
    p = torch.ones(2, requires_grad=True)
    group = dict(lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, params=[0])
    old = dict(state={0: dict(step=3, exp_avg=torch.ones(2), exp_avg_sq=torch.ones(2))}, param_groups=[group])
    for cls in (Adam, AdamW):
        opt = cls([p])
        opt.load_state_dict(old)
        p.grad = torch.ones(2)
        opt.step()
        assert opt.state[p]['step'] == 4 and isinstance(opt.state[p]['step'], torch.Tensor)
    sgd = SGD([p], momentum=0.9)
    group = dict(lr=0.1, momentum=0.9, dampening=0, weight_decay=0, nesterov=False, params=[0])
    sgd.load_state_dict(dict(state={0: dict(momentum_buffer=None)}, param_groups=[group]))
    sgd.step()


def test_a_state_dict_that_does_not_fit():
    p,q = torch.ones(2, 3, requires_grad=True),torch.ones(5, requires_grad=True)
    def trained(params, cls=SGD, **options):
        opt = cls(params, lr=0.1, **options)
        for group in opt.param_groups:
            for w in group['params']: w.grad = torch.ones_like(w)
        opt.step()
        return opt.state_dict()
    with pytest.raises(ValueError, match=r'groups of \[1, 1\] parameters, not of \[1\]'):
        SGD([p]).load_state_dict(trained([dict(params=[p]), dict(params=[q])]))
    with pytest.raises(ValueError, match=r'groups of \[2\] parameters, not of \[1\]'):
        SGD([p]).load_state_dict(trained([p, q]))
    with pytest.raises(ValueError, match=r'momentum_buffer of parameter 0 has shape \(5,\).*\(2, 3\)'):
        SGD([p], momentum=0.9).load_state_dict(trained([q], momentum=0.9))
    for no_optimizers in ('adam.pt', torch.nn.Linear(2, 2).state_dict(), {}):
        with pytest.raises(ValueError, match="not an optimizer's state dict: no param_groups"):
            SGD([p]).load_state_dict(no_optimizers)
    for cls,lacks in ((Adam, 'betas, eps'), (RMSprop, 'alpha, eps')):
        with pytest.raises(ValueError, match=f'not from {cls.__name__}: it has no {lacks}'):
            cls([p]).load_state_dict(trained([p]))


UNKNOWN = [('SGD', 'maximize'), ('RMSprop', 'centered'), ('Adam', 'amsgrad'), ('AdamW', 'amsgrad'),
           ('AdamW', 'maximize')]

@pytest.mark.parametrize('name,option', UNKNOWN)
def test_options_that_ours_does_not_have_are_refused_by_name(name, option):
    "0.1 had them; going on without would be a different training. How to compute it is no obstacle"
    params = start(),start()
    mine,other = ours(name)(params[0], lr=0.3),theirs(name)(params[1], lr=0.1, **{option: True})
    follow([other], (params[1], params[1]), 2, torch.float32)
    before = copy.deepcopy(mine.state_dict())
    with pytest.raises(ValueError, match=f'{option}=True, which our {name} does not know'):
        mine.load_state_dict(other.state_dict())
    assert mine.state_dict() == before, 'a refused state dict changes nothing'
    for how in (dict(foreach=True), dict(fused=True), {}) if name != 'RMSprop' else (dict(foreach=True), {}):
        mine.load_state_dict(theirs(name)(params[1], lr=0.1, **how).state_dict())
    assert mine.param_groups[0]['lr'] == 0.1
    with pytest.raises(TypeError, match=option): ours(name)(params[0], **{option: True})


def test_decoupled_decay_goes_into_adamw_alone():
    p = torch.ones(2, requires_grad=True)
    saved = torch.optim.Adam([p]).state_dict()
    AdamW([p]).load_state_dict(torch.optim.AdamW([p]).state_dict())
    Adam([p]).load_state_dict(saved)
    saved['param_groups'][0]['decoupled_weight_decay'] = True
    AdamW([p]).load_state_dict(saved)
    with pytest.raises(ValueError, match='decoupled_weight_decay'): Adam([p]).load_state_dict(saved)


def test_a_state_dict_that_fails_leaves_all_as_it_was():
    p,q = torch.ones(2, requires_grad=True),torch.ones(3, requires_grad=True)
    def trained(params):
        opt = SGD(params, lr=0.1, momentum=0.9)
        for w in params: w.grad = torch.ones_like(w)
        opt.step()
        return opt
    opt = trained([p, q])
    kept = copy.deepcopy(opt.state_dict())
    wrong = copy.deepcopy(trained([p, torch.ones(4, requires_grad=True)]).state_dict())
    with pytest.raises(ValueError, match='parameter 1'): opt.load_state_dict(wrong)
    for i in range(2): assert torch.equal(opt.state_dict()['state'][i]['momentum_buffer'],
                                          kept['state'][i]['momentum_buffer'])


def test_grad_scaler():
    params = start([(4,)]),start([(4,)])
    for f,(p,) in zip((ours, theirs), params):
        opt,scaler = f('AdamW')([p], lr=0.1),torch.amp.GradScaler('cpu', init_scale=8., growth_interval=3)
        for t in range(8):
            opt.zero_grad()
            scaler.scale((p**2).sum() * (float('inf') if t == 4 else 1.)).backward()
            scaler.step(opt)
            scaler.update()
    assert_same(params, torch.float32)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('name', NAMES)
def test_cuda_follows_torch_and_never_waits(name):
    params = [[p.detach().cuda().requires_grad_() for p in start()] for _ in range(2)]
    opts = ours(name)(params[0], lr=0.01),theirs(name)(params[1], lr=0.01)
    grads = [[torch.randn_like(p) for p in params[0]] for _ in range(20)]
    for t,gs in enumerate(grads):
        for p,q,g in zip(*params, gs): p.grad = q.grad = g
        torch.cuda.set_sync_debug_mode('error')
        try: opts[0].step()
        finally: torch.cuda.set_sync_debug_mode('default')
        opts[1].step()
    assert_same(params, torch.float32)
    opts[0].load_state_dict(opts[1].state_dict())
    opts[1].load_state_dict(opts[0].state_dict())


# -- bad input

P = torch.ones(2, requires_grad=True)
BAD = [
    (ValueError, 'empty', lambda: SGD([])), (ValueError, 'used up', lambda: SGD(used_up())),
    (TypeError, r'put it in a list, \[p\]', lambda: SGD(P)), (TypeError, 'set', lambda: SGD({P})),
    (TypeError, 'dict', lambda: SGD(dict(params=[P]))),
       (TypeError, r'model.parameters\(\)', lambda: SGD(torch.nn.Linear(2, 2))),
    (TypeError, r'model.parameters\(\)', lambda: SGD(torch.nn.Sequential(torch.nn.ReLU()))),
    (TypeError, r'parameter 1 is a Linear, not a tensor: give model.param',
     lambda: SGD([P, torch.nn.Linear(2, 2)])),
    (TypeError, r'parameter 0 is a tuple, not a tensor: give model.param',
     lambda: SGD(torch.nn.Linear(2, 2).named_parameters())),
    (TypeError, 'got 3', lambda: SGD(3)), (TypeError, 'parameter 0 is a str, not a tensor',
                                           lambda: SGD(['w'])),
    (ValueError, 'not a leaf', lambda: SGD([P*2])),
       (TypeError, 'complex', lambda: Adam([torch.ones(2, dtype=torch.cfloat, requires_grad=True)])),
    (ValueError, 'parameter 1 is in group 0 already', lambda: SGD([P, P])),
    (ValueError, 'parameter 0 is in group 0 already', lambda: SGD([dict(params=[P]), dict(params=[P])])),
    (TypeError, 'must be a dict with params', lambda: SGD([dict(lr=1)])),
       (TypeError, 'a group must be a dict', lambda: SGD([dict(params=[P]), P])),
    (ValueError, 'lr must be a number, 0 or more; got -0.1', lambda: SGD([P], -0.1)),
       (ValueError, 'lr must', lambda: AdamW([P], float('nan'))),
    (ValueError, 'lr must', lambda: SGD([P], torch.tensor(0.1))),
       (ValueError, "lr must .* got '1'", lambda: SGD([P], '1')),
    (ValueError, 'lr must .* got None', lambda: SGD([P], None)),
       (ValueError, 'momentum', lambda: SGD([P], momentum=-1)),
    (ValueError, 'nesterov', lambda: SGD([P], nesterov=True)),
       (ValueError, 'nesterov', lambda: SGD([P], momentum=0.9, dampening=0.1, nesterov=True)),
    (ValueError, 'weight_decay', lambda: AdamW([P], weight_decay=-1)),
       (ValueError, r'betas\[1\] .* less than 1; got 1.0', lambda: Adam([P], betas=(0.9, 1.0))),
    (ValueError, 'betas must be two numbers.*got 0.9', lambda: Adam([P], betas=0.9)),
    (ValueError, r'two numbers.*got \(0.9,\)', lambda: Adam([P], betas=(0.9,))),
    (ValueError, 'eps', lambda: Adam([P], eps=-1)), (ValueError, 'alpha', lambda: RMSprop([P], alpha=-1)),
    (ValueError, 'lr must', lambda: SGD([dict(params=[P], lr=-1)], lr=0.1)),
]


def used_up():
    params = torch.nn.Linear(2, 2).parameters()
    list(params)
    return params


@pytest.mark.parametrize('error,message,f', BAD, ids=[m for _,m,_ in BAD])
def test_bad_input(error, message, f):
    with pytest.raises(error, match=message): f()


# -- the check: right for torch's and ours, and it names what is wrong in each of these

@pytest.mark.parametrize('name', NAMES)
def test_check_accepts(name):
    for cls in (theirs(name), ours(name)): check_optimizer(cls).raise_if_failed()


class Dampened(SGD):
    def update(self, p, grad, state, options):
        if options['momentum'] and not state: state['momentum_buffer'] = torch.zeros_like(p)
        super().update(p, grad, state, options)


class LateDecay(SGD):
    def update(self, p, grad, state, options):
        super().update(p, grad, state, {**options, 'weight_decay': 0})
        p -= options['lr']*options['weight_decay']*p


class SecondOnly(Adam):
    def update(self, p, grad, state, options):
        before,beta = p.clone(),options['betas'][0]
        super().update(p, grad, state, options)
        p.copy_(before + (p-before)*(1-beta**state['step'].item()))


class Stuck(Adam):
    def update(self, p, grad, state, options):
        if state: state['step'].zero_()
        super().update(p, grad, state, options)


class OtherDecay(AdamW): update = Adam.update
class NoRoot(RMSprop):
    def update(self, p, grad, state, options):
        before = p.clone()
        super().update(p, grad, state, options)
        p.copy_(before + (p-before)/(state['square_avg'].sqrt() + options['eps']))


class FirstGroup(SGD):
    def step(self, closure=None):
        for p in self.param_groups[0]['params']:
            if p.grad is not None:
                with torch.no_grad(): self.update(p, p.grad, self.state[p], self.param_groups[0])


class TakesAnything(SGD):
    def add_param_group(self, group):
        self.param_groups.append({**self.defaults, **group, 'params': list(group['params'])})


class ForgetsOptions(AdamW):
    def state_dict(self):
        full = super().state_dict()
        return {**full, 'param_groups': [{**g, 'lr': 0.3} for g in full['param_groups']]}


WRONG = {Dampened: 'with momentum and dampening', LateDecay: 'with momentum and weight_decay',
         SecondOnly: 'one step',
         Stuck: 'eight steps', OtherDecay: 'one step', NoRoot: 'one step',
         FirstGroup: 'go through all groups', 
         TakesAnything: 'an error for lr=-0.1: it was accepted', ForgetsOptions: "each group's options"}

@pytest.mark.parametrize('cls', WRONG)
def test_check_refuses(cls):
    report = check_optimizer(cls, like=cls.__mro__[1].__name__)
    failed = '\n'.join(line for line in str(report).split('\n') if '✓' not in line)
    assert not report.ok and WRONG[cls] in failed, report
