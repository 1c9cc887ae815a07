"Our optimizers against PyTorch's: numbers, state dicts, schedules, everything that happens to parameters, and bad input"
import copy, io, itertools, pickle, types, warnings
from functools import partial
from pathlib import Path
from unittest import mock
import pytest, torch
from hypothesis import given, settings, strategies as st
from torch.optim import lr_scheduler as sched
from miniai import optim
from miniai.check.optim import check_optimizer
from miniai.optim import SGD, Adam, AdamW, Optimizer, RMSprop

NAMES = ['SGD', 'RMSprop', 'Adam', 'AdamW']
TOLERANCE = {torch.float32: dict(rtol=1e-5, atol=1e-6), torch.float64: dict(rtol=1e-12, atol=1e-12)}
SHAPES = [(3,4), (5,), (), (2,3,1,2), (600,), *[(7,)]*16]  # the last ones are many enough, and small enough, to be put in one flat tensor


def ours(name): return getattr(optim, name)
def theirs(name): return getattr(torch.optim, name)


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch): monkeypatch.setattr(optim._Plan, 'many', 16)  # fewer tensors to make, for a faster test


def threads(n):
    "Let the optimizer believe in `n` threads: with several it puts small tensors into flat ones"
    return mock.patch.object(torch, 'get_num_threads', lambda: n)


def every(name):
    "Every combination of the options of an algorithm"
    options = dict(SGD=dict(momentum=(0, 0.9), dampening=(0, 0.4), weight_decay=(0, 0.1), nesterov=(False, True)),
                   RMSprop=dict(momentum=(0, 0.9), weight_decay=(0, 0.1), centered=(False, True)),
                   Adam=dict(weight_decay=(0, 0.1), amsgrad=(False, True)), AdamW=dict(weight_decay=(0, 0.1), amsgrad=(False, True)))[name]
    for values in itertools.product(*options.values(), (False, True)):
        o = dict(zip([*options, 'maximize'], values))
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
    for i,(p,q) in enumerate(zip(*params)): torch.testing.assert_close(p, q, **TOLERANCE[dtype], msg=lambda m: f'parameter {i}: {m}')


def together(opt): return sum(len(b.params) for plan in opt._plans.values() for b in plan.batches)
def flat(opt): return sum(len(b.params) for plan in opt._plans.values() for b in plan.batches if isinstance(b, optim._FlatBatch))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize('name', NAMES)
def test_every_combination_follows_torch(name, dtype):
    for options,n in itertools.product(every(name), (1, 2)):
        with threads(n):
            params = start(dtype=dtype),start(dtype=dtype)
            opts = ours(name)(params[0], lr=0.01, **options),theirs(name)(params[1], lr=0.01, **options)
            follow(opts, params, 100, dtype)
            assert flat(opts[0]) == (17 if n > 1 or name == 'RMSprop' else 0)  # those with one axis and few numbers
            assert together(opts[0]) == (17 if name == 'RMSprop' else len(SHAPES))  # that has no fused function for the others


@st.composite
def runs(draw):
    name = draw(st.sampled_from(NAMES))
    number = partial(st.floats, allow_nan=False)
    options = dict(lr=draw(number(0, 0.05)), weight_decay=draw(st.sampled_from([0, 0.01, 0.5])), maximize=draw(st.booleans()))
    if name == 'SGD':
        options.update(momentum=draw(st.sampled_from([0, 0.5, 0.9])), dampening=draw(st.sampled_from([0, 0.3, 1])))
        if options['momentum'] and not options['dampening']: options['nesterov'] = draw(st.booleans())
    elif name == 'RMSprop': options.update(alpha=draw(number(0.5, 0.99)), momentum=draw(st.sampled_from([0, 0.8])), centered=draw(st.booleans()), eps=1e-5)
    else: options.update(betas=(draw(number(0, 0.95)), draw(number(0.5, 0.999))), amsgrad=draw(st.booleans()), eps=draw(st.sampled_from([1e-8, 1e-3])))
    if draw(st.booleans()) and name != 'RMSprop': options['lr'] = torch.tensor(options['lr'], dtype=torch.float64)
    shapes = draw(st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), min_size=1, max_size=4)) + [(3,)]*draw(st.sampled_from([0, 20]))
    return dict(name=name, options=options, shapes=shapes, dtype=draw(st.sampled_from([torch.float32, torch.float64])), threads=draw(st.sampled_from([1, 2])),
                cut=draw(st.integers(1, len(shapes))), swap=draw(st.integers(1, 60)), gaps=draw(st.sampled_from(['never', 'some', 'block'])), seed=draw(st.integers(0, 99)))


@settings(max_examples=60, deadline=None)
@given(runs())
def test_random_runs_follow_torch(r):
    "Groups, parameters that sometimes have no gradient, and in the middle each goes on from the other's state dict"
    name,dtype,options = r['name'],r['dtype'],r['options']
    present = dict(never=lambda t,i: True, some=lambda t,i: (t*7 + i*5) % 11 > 2, block=lambda t,i: not (10 < t < 60 and i % 3 == 0))[r['gaps']]
    with threads(r['threads']):
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
        assert set(g) - {'decoupled_weight_decay'} <= set(h)  # that key is newer than torch 2.6
        assert all(g[k] == h[k] for k in opts[0].defaults if k in h)


@pytest.mark.parametrize('name', NAMES)
def test_layout_of_the_state_dict_is_torchs(name):
    for options in every(name):
        params = start(),start()
        opts = ours(name)(params[0], **options),theirs(name)(params[1], **options)
        follow(opts, params, 4, torch.float32)
        same_state(opts, torch.float32)


@pytest.mark.parametrize('name', NAMES)
def test_the_plain_formula_on_request(name):
    params = start(),start()
    opts = ours(name)(params[0]),theirs(name)(params[1])
    opts[0].fast = False
    follow(opts, params, 20, torch.float32)
    assert together(opts[0]) == 0
    opts[0].fast = True
    follow(opts, params, 20, torch.float32)
    assert together(opts[0])


# -- what happens to parameters, gradients and state

@pytest.mark.parametrize('n_threads', [1, 2])
@pytest.mark.parametrize('name', NAMES)
def test_replaced_storage_is_noticed(name, n_threads):
    "Whatever is done to the parameters between two steps, ours goes on as torch's does"
    def data(ps):
        for p in ps: p.data = p.data*2
    def half_of_them(ps):
        for p in ps[::2]: p.data = p.data.clone()
    def in_place(ps):
        with torch.no_grad():
            for p in ps: p.mul_(0.5)
    def to_and_fro(ps):
        for p in ps: p.data = p.data.half()
        for p in ps: p.data = p.data.float()
    def columns_first(ps):
        for p in ps:
            if p.dim() == 2: p.data = p.data.t().contiguous().t()
    with threads(n_threads):
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
    train(torch.float64)


def test_a_change_of_dtype_alone_is_an_error_or_right():
    "State made for float32, parameters now float64: the fused functions are not called with such a mixture"
    p = torch.ones(40, requires_grad=True)
    opt = SGD([p], lr=0.1, momentum=0.5)
    for _ in range(3):
        p.grad = torch.ones_like(p)
        opt.step()
    p.data,before = p.data.double(),p.detach().double()
    p.grad = torch.ones_like(p)
    opt.step()
    assert together(opt) == 0
    torch.testing.assert_close(p.detach(), before - 0.1*(1 + 0.5*1.75))


def test_mixed_dtypes_in_one_group():
    for name in NAMES:
        def mixed(): return [p for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16) for p in start(SHAPES[:3], dtype)]
        a,b = mixed(),mixed()
        opts = ours(name)(a, lr=0.01),theirs(name)(b, lr=0.01)
        for t in range(20):
            for p,q in zip(a, b): p.grad = q.grad = torch.full_like(q, 0.3) + 0.1*q.detach()
            for o in opts: o.step()
        for p,q in zip(a, b): torch.testing.assert_close(p, q, **({} if p.dtype in TOLERANCE else dict(rtol=0.05, atol=0.05)))


@pytest.mark.parametrize('name', NAMES)
def test_odd_layouts(name):
    "Channels last, transposed, strided, expanded gradients: the same numbers"
    def make():
        x = torch.linspace(-1, 1, 48)
        return [x.view(2, 3, 2, 4).clone(memory_format=torch.channels_last).requires_grad_(), x.view(8, 6).t().clone().t().requires_grad_(),
                x[::2].requires_grad_(), x.view(8, 6)[:,1:4].requires_grad_(), x.clone().requires_grad_(), torch.zeros(0).requires_grad_(), torch.zeros(1, 5, requires_grad=True)]
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
@pytest.mark.parametrize('n_threads', [1, 2])
def test_state_changed_by_others(name, n_threads):
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
    with threads(n_threads):
        params = start(),start()
        opts = ours(name)(params[0], lr=0.01),theirs(name)(params[1], lr=0.01)
        for change in (replaced, zeroed, count_set, deleted, cleared):
            follow(opts, params, 5, torch.float32)
            for o in opts: change(o)
            follow(opts, params, 2, torch.float32)


def test_options_changed_on_the_way():
    for name,changes in dict(SGD=[dict(momentum=0.9), dict(momentum=0.5, weight_decay=0.1), dict(nesterov=True), dict(momentum=0, nesterov=False)],
                             AdamW=[dict(betas=(0.5, 0.9)), dict(weight_decay=0), dict(maximize=True), dict(lr=0.1)]).items():
        params = start(),start()
        opts = ours(name)(params[0], lr=0.01),theirs(name)(params[1], lr=0.01)
        for change in changes:
            follow(opts, params, 5, torch.float32)
            for o in opts: o.param_groups[0].update(change)
        follow(opts, params, 5, torch.float32)


def test_amsgrad_switched_on_late():
    p = torch.ones(3, requires_grad=True)
    opt = Adam([p])
    for amsgrad in (False, False, False, True, True, True):
        opt.param_groups[0]['amsgrad'] = amsgrad
        p.grad = torch.ones(3)
        opt.step()
    assert 'max_exp_avg_sq' in opt.state[p]


def test_sparse_gradients():
    def table():
        torch.manual_seed(3)
        return torch.nn.Embedding(6, 4, sparse=True)
    for options in (dict(), dict(momentum=0.9), dict(momentum=0.9, nesterov=True), dict(maximize=True)):
        models = table(),table()
        opts = [cls(m.parameters(), lr=0.1, **options) for cls,m in zip((SGD, torch.optim.SGD), models)]
        for t in range(6):
            for m,o in zip(models, opts):
                m(torch.tensor([t % 6, 2])).square().sum().backward()
                o.step()
                o.zero_grad()
            torch.testing.assert_close(models[0].weight, models[1].weight)
    for cls in (RMSprop, Adam, AdamW):
        model = table()
        opt = cls(model.parameters())
        model(torch.tensor([1])).sum().backward()
        with pytest.raises(RuntimeError, match='sparse'): opt.step()


def test_a_gradient_that_turns_sparse():
    p,q = [torch.ones(4, 3, requires_grad=True) for _ in range(2)]
    opts = SGD([p], lr=0.1, momentum=0.5),torch.optim.SGD([q], lr=0.1, momentum=0.5)
    for t in range(8):
        grad = torch.eye(4, 3)
        for w in (p, q): w.grad = grad.to_sparse() if t == 4 else grad.clone()
        for o in opts: o.step()
        torch.testing.assert_close(p, q)


def test_autograd_knows_of_the_change():
    "A step between forward and backward is an error, not a wrong gradient, also where the fused functions work"
    for cls,n in itertools.product((SGD, RMSprop, Adam, AdamW), (1, 2)):
        with threads(n):
            ps = [torch.ones(40, requires_grad=True) for _ in range(20)]
            opt = cls(ps)
            for _ in range(3):
                sum(p.square().sum() for p in ps).backward()
                opt.step()
            out = sum((p**3).sum() for p in ps)
            opt.step()
            with pytest.raises(RuntimeError, match='modified by an inplace operation'): out.backward()


def test_a_broken_kernel_is_not_used(monkeypatch):
    def no_such(*args, **kwargs): raise TypeError('new signature')
    def wrong(params, *args, **kwargs): torch._foreach_add_(params, 1.)
    for kernel in (no_such, wrong):
        for name in ('_fused_sgd_', '_fused_adam_', '_fused_adamw_'): monkeypatch.setattr(torch, name, kernel)
        for name in ('SGD', 'Adam', 'AdamW'):
            params = start(),start()
            opts = ours(name)(params[0]),theirs(name)(params[1])
            follow(opts, params, 5, torch.float32)
            assert together(opts[0]) == 0
    for name in ('_fused_sgd_', '_fused_adam_', '_fused_adamw_'): monkeypatch.delattr(torch, name)
    params = start(),start()
    follow((AdamW(params[0]),torch.optim.AdamW(params[1])), params, 5, torch.float32)


def test_subclasses():
    class Clipped(SGD):
        "A new `update`, with no thought of `update_many`"
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
    makers = [lambda o: sched.LambdaLR(o, lambda t: 0.9**t), lambda o: sched.CosineAnnealingLR(o, T_max=20), lambda o: sched.ExponentialLR(o, 0.9),
              lambda o: sched.OneCycleLR(o, max_lr=0.1, total_steps=40, cycle_momentum=True), lambda o: sched.ReduceLROnPlateau(o, patience=2),
              lambda o: sched.SequentialLR(o, [sched.ConstantLR(o, 0.1), sched.StepLR(o, 3)], [5]), lambda o: sched.CyclicLR(o, 0.001, 0.1, 5, cycle_momentum=name != 'AdamW')]
    options = dict(momentum=0.9) if name in ('SGD', 'RMSprop') else {}
    for make in makers:
        params = start(),start()
        opts = ours(name)(params[0], lr=0.01, **options),theirs(name)(params[1], lr=0.01, **options)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            warnings.filterwarnings('ignore', 'The epoch parameter')  # torch 2.6 says so to its own SequentialLR
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


def test_lr_as_a_tensor():
    for name,lr in itertools.product(('SGD', 'Adam', 'AdamW'), (torch.tensor(0.05), torch.tensor([0.05]))):
        params = start(),start()
        opts = ours(name)(params[0], lr=lr.clone()),theirs(name)(params[1], lr=0.05)
        follow(opts, params, 5, torch.float32)
        opts[0].param_groups[0]['lr'].fill_(0.01)
        opts[1].param_groups[0]['lr'] = 0.01
        follow(opts, params, 5, torch.float32)
    s = sched.ExponentialLR(AdamW(start(), lr=torch.tensor(0.1)), 0.5)
    s.optimizer.step()
    s.step()
    assert s.optimizer.param_groups[0]['lr'] == 0.05


def test_nothing_of_torchs_is_called(monkeypatch):
    def forbidden(*args, **kwargs): raise AssertionError("torch's own method was called")
    for name,f in list(vars(torch.optim.Optimizer).items()):
        if callable(f) or isinstance(f, staticmethod):
            if name not in ('__class__', '__init_subclass__', '__subclasshook__') and not name.endswith('Hook'): monkeypatch.setattr(torch.optim.Optimizer, name, forbidden)
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
        for kind in ('step_pre', 'step_post', 'state_dict_pre', 'state_dict_post', 'load_state_dict_pre', 'load_state_dict_post'):
            getattr(opt, f'register_{kind}_hook')(print).remove()
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
    assert p.grad is grad and not grad.any() and not grad.requires_grad and grad.grad_fn is None and q.grad is None
    opt.zero_grad()
    assert p.grad is None


def test_named_parameters():
    model = torch.nn.Linear(3, 2)
    a,b = SGD(model.named_parameters(), 0.1),torch.optim.SGD(model.named_parameters(), 0.1)
    assert a.state_dict()['param_groups'][0]['param_names'] == b.state_dict()['param_groups'][0]['param_names'] == ['weight', 'bias']
    unnamed = SGD(model.parameters(), 0.1).state_dict()
    a.load_state_dict(unnamed)
    assert a.param_groups[0]['param_names'] == ['weight', 'bias']
    with pytest.raises(ValueError, match='named'): a.add_param_group(dict(params=[torch.ones(1, requires_grad=True)]))
    with pytest.raises(ValueError, match='name all or none'): SGD([('a', torch.ones(1, requires_grad=True)), torch.ones(1, requires_grad=True)])


def test_groups_are_the_callers():
    p,q = [torch.ones(2, requires_grad=True) for _ in range(2)]
    group = dict(params=p)
    a,b = SGD([group], lr=1.),SGD([group], lr=2.)
    assert list(group) == ['params'] and (a.param_groups[0]['lr'], b.param_groups[0]['lr']) == (1., 2.)
    a.add_param_group(dict(params=(o for o in [q]), lr=0.5))
    assert [g['lr'] for g in a.param_groups] == [1., 0.5] and a.param_groups[1]['params'] == [q]


def test_positional_arguments():
    p = [torch.ones(2, requires_grad=True)]
    assert SGD(p, 0.1, 0.9, 0.2, 0.3).param_groups[0] == dict(params=p, lr=0.1, momentum=0.9, dampening=0.2, weight_decay=0.3, nesterov=False, maximize=False)
    assert RMSprop(p, 0.1, 0.9, 1e-3, 0.2, 0.3, True).defaults == dict(lr=0.1, alpha=0.9, eps=1e-3, weight_decay=0.2, momentum=0.3, centered=True, maximize=False)
    for cls in (Adam, AdamW):
        d = cls(p, 0.1, (0.5, 0.6), 1e-3, 0.2, True).defaults
        assert [d[k] for k in ('lr', 'betas', 'eps', 'weight_decay', 'amsgrad')] == [0.1, (0.5, 0.6), 1e-3, 0.2, True]
    for name in NAMES:
        mine,others = ours(name)(p).defaults,theirs(name)(p).defaults
        assert {k: others[k] for k in mine if k in others} == mine or name in ('Adam', 'AdamW')  # one key is newer than torch 2.6


def test_repr_is_torchs():
    p = [torch.ones(2, requires_grad=True)]
    for name in NAMES:
        a,b = repr(ours(name)(p, lr=0.1)),repr(theirs(name)(p, lr=0.1))
        assert [line for line in b.split('\n') if line in a.split('\n')] == [line for line in a.split('\n') if 'decoupled' not in line or line in b]


def test_copies_and_pickles():
    for name,n in itertools.product(NAMES, (1, 2)):
        with threads(n):
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
        assert opt.state[p]['step'] == 4 and opt.param_groups[0]['decoupled_weight_decay'] == (cls is AdamW)


def test_a_state_dict_that_does_not_fit():
    p,q = torch.ones(2, 3, requires_grad=True),torch.ones(5, requires_grad=True)
    def trained(params, cls=SGD, **options):
        opt = cls(params, lr=0.1, **options)
        for group in opt.param_groups:
            for w in group['params']: w.grad = torch.ones_like(w)
        opt.step()
        return opt.state_dict()
    with pytest.raises(ValueError, match='2 parameter groups, this optimizer has 1'): SGD([p]).load_state_dict(trained([dict(params=[p]), dict(params=[q])]))
    with pytest.raises(ValueError, match='2 parameters in the state dict and 1'): SGD([p]).load_state_dict(trained([p, q]))
    with pytest.raises(ValueError, match=r'momentum_buffer of parameter 0.*\(5,\).*\(2, 3\)'): SGD([p], momentum=0.9).load_state_dict(trained([q], momentum=0.9))


def test_hooks():
    p = torch.ones(2, requires_grad=True)
    opt,seen = SGD([p], lr=0.1, momentum=0.9),[]
    p.grad = torch.ones(2)
    handles = [opt.register_step_pre_hook(lambda o,a,k: seen.append('pre')), opt.register_step_post_hook(lambda o,a,k: seen.append('post')),
               opt.register_state_dict_pre_hook(lambda o: seen.append('save')), opt.register_state_dict_post_hook(lambda o,sd: {**sd, 'extra': 1}),
               opt.register_load_state_dict_pre_hook(lambda o,sd: sd.pop('extra') and None), opt.register_load_state_dict_post_hook(lambda o: seen.append('load')),
               opt.register_state_dict_pre_hook(lambda o: seen.append('first'), prepend=True)]
    opt.step()
    sd = opt.state_dict()
    opt.load_state_dict(sd)
    assert seen == ['pre', 'post', 'first', 'save', 'load'] and sd['extra'] == 1
    for h in handles: h.remove()
    opt.step()
    opt.load_state_dict(opt.state_dict())
    assert len(seen) == 5
    opt.register_step_pre_hook(lambda o,a,k: ((o, lambda: 'from the hook'), k))
    assert opt.step() == 'from the hook'


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


def test_profiler_sees_the_step():
    p = torch.ones(2, requires_grad=True)
    opt = SGD([p])
    p.grad = torch.ones(2)
    with torch.profiler.profile() as prof: opt.step()
    assert any('Optimizer.step#SGD.step' in e.key for e in prof.key_averages())


def test_memory_of_parameters_stays_their_own():
    "The fast way never moves a parameter into a shared piece of memory"
    with threads(2):
        params = start()
        opt = Adam(params)
        where = [p.data_ptr() for p in params]
        for _ in range(4):
            for p in params: p.grad = torch.ones_like(p)
            opt.step()
        assert flat(opt) and where == [p.data_ptr() for p in params]
        assert all(p.untyped_storage().nbytes() == p.nbytes for p in params)


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
    assert together(opts[0]) == len(SHAPES)
    opts[0].load_state_dict(opts[1].state_dict())
    opts[1].load_state_dict(opts[0].state_dict())


# -- bad input

P = torch.ones(2, requires_grad=True)
BAD = [
    (ValueError, 'empty', lambda: SGD([])), (ValueError, 'used up', lambda: SGD(used_up())), (TypeError, r'put it in a list, \[p\]', lambda: SGD(P)),
    (TypeError, 'set', lambda: SGD({P})), (TypeError, 'dict', lambda: SGD(dict(params=[P]))), (TypeError, r'model.parameters\(\)', lambda: SGD(torch.nn.Linear(2, 2))),
    (TypeError, r'parameter 1 .* Linear: give its parameters', lambda: SGD([P, torch.nn.Linear(2, 2)])), (TypeError, 'got a int', lambda: SGD(3)),
    (TypeError, 'parameter 0 must be a tensor, got a str', lambda: SGD(['w'])), (ValueError, 'no leaf', lambda: SGD([P*2])),
    (TypeError, 'complex', lambda: Adam([torch.ones(2, dtype=torch.cfloat, requires_grad=True)])), (ValueError, 'parameters 0 and 1 are the same', lambda: SGD([P, P])),
    (ValueError, 'parameter 0 of group 1 is in group 0', lambda: SGD([dict(params=[P]), dict(params=[P])])), (ValueError, "no 'params'", lambda: SGD([dict(lr=1)])),
    (TypeError, 'group 1 must be a dict', lambda: SGD([dict(params=[P]), P])), (ValueError, 'lr must be a number, 0 or more; got -0.1', lambda: SGD([P], -0.1)),
    (ValueError, 'lr must', lambda: AdamW([P], float('nan'))), (ValueError, 'lr must', lambda: SGD([P], torch.ones(2))), (TypeError, "lr must .* got '1'", lambda: SGD([P], '1')),
    (TypeError, 'lr must .* got None', lambda: SGD([P], None)), (ValueError, 'momentum', lambda: SGD([P], momentum=-1)), (ValueError, 'nesterov', lambda: SGD([P], nesterov=True)),
    (ValueError, 'nesterov', lambda: SGD([P], momentum=0.9, dampening=0.1, nesterov=True)), (ValueError, 'weight_decay', lambda: AdamW([P], weight_decay=-1)),
    (ValueError, r'betas\[1\] .* got 1.0', lambda: Adam([P], betas=(0.9, 1.0))), (ValueError, 'pair', lambda: Adam([P], betas=0.9)), (ValueError, 'eps', lambda: Adam([P], eps=-1)),
    (ValueError, 'alpha', lambda: RMSprop([P], alpha=-1)), (ValueError, 'lr must', lambda: SGD([dict(params=[P], lr=-1)], lr=0.1)),
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


SGD_BUFFER = "            else: buf.mul_(momentum).add_(grad, alpha=1-options['dampening'])"
FIRST = "buf = state['momentum_buffer'] = grad.clone()"
MUTANTS = {
    'momentum applied after the learning rate': ('SGD', [(FIRST, FIRST.replace('grad.clone()', "grad*options['lr']")), (SGD_BUFFER, SGD_BUFFER.replace('(grad,', "(grad*options['lr'],")),
                                                        ("p.add_(grad, alpha=-options['lr'])", "p.add_(grad, alpha=-1 if momentum else -options['lr'])")], 'has gone into the buffer'),
    'dampening on the first step': ('SGD', [(FIRST, FIRST.replace('grad.clone()', "grad*(1-options['dampening'])"))], 'The first gradient goes into the buffer whole'),
    'no dampening': ('SGD', [(SGD_BUFFER, SGD_BUFFER.replace("1-options['dampening']", '1'))], 'Dampening has no effect'),
    'an average for a buffer': ('SGD', [(FIRST, FIRST.replace('grad.clone()', 'grad*(1-momentum)')), (SGD_BUFFER, SGD_BUFFER.replace("1-options['dampening']", '1-momentum'))], 'no average'),
    'the buffer is lost': ('SGD', [(FIRST, 'buf = grad.clone()')], 'There is no momentum in this'),
    'nesterov without effect': ('SGD', [("grad.add(buf, alpha=momentum) if options['nesterov'] else buf", 'buf')], 'nesterov has no effect'),
    'nesterov with the old buffer': ('SGD', [("            buf = state.get('momentum_buffer')", "            buf = state.get('momentum_buffer')\n            old = torch.zeros_like(p) if buf is None else buf.clone()"),
                                             ('grad.add(buf, alpha=momentum)', 'grad.add(old, alpha=momentum)')], 'with the new buffer'),
    'weight decay after momentum': ('SGD', [("        if options['weight_decay']: grad = grad.add(p, alpha=options['weight_decay'])\n        if momentum:", '        decay = p.detach().clone()\n        if momentum:'),
                                            ("p.add_(grad, alpha=-options['lr'])", "p.add_(grad + options['weight_decay']*decay, alpha=-options['lr'])")], 'past all buffers'),
    'uphill': ('SGD', [("p.add_(grad, alpha=-options['lr'])", "p.add_(grad, alpha=options['lr'])")], 'up the slope'),
    'maximize without effect': ('SGD', [("        if options['maximize']: grad = -grad\n        if options['weight_decay']", "        if options['weight_decay']")], 'maximize has no effect'),
    'the gradient is changed': ('SGD', [("        if options['weight_decay']: grad = grad.add(", "        if options['weight_decay']: grad = grad.add_(")], '`step` changed the gradient'),
    'divided by the average square': ('RMSprop', [('else: size = square_avg.sqrt().add_', 'else: size = square_avg.clone().add_')], 'divide by its root'),
    'eps inside the root, RMSprop': ('RMSprop', [("else: size = square_avg.sqrt().add_(options['eps'])", "else: size = square_avg.add(options['eps']).sqrt()")], 'eps stands inside the root'),
    'alpha the wrong way round': ('RMSprop', [("alpha,square_avg = options['alpha'],", "alpha,square_avg = 1-options['alpha'],")], 'changed places'),
    'centered without effect': ('RMSprop', [('size = square_avg.addcmul(grad_avg, grad_avg, value=-1).sqrt_()', 'size = square_avg.sqrt()')], 'centered has no effect'),
    'no bias correction': ('Adam', [('value=-lr/(1-beta1**t)', 'value=-lr'), ('(square_avg.sqrt() / (1-beta2**t)**0.5)', 'square_avg.sqrt()')], 'not corrected for their start'),
    'half a bias correction': ('Adam', [('(square_avg.sqrt() / (1-beta2**t)**0.5)', 'square_avg.sqrt()')], 'Only the first average is corrected'),
    'the step is not counted': ('Adam', [("t = state['step'].item()", 't = 1')], 'The step is not counted'),
    'eps inside the root': ('Adam', [("(square_avg.sqrt() / (1-beta2**t)**0.5).add_(options['eps'])", "(square_avg / (1-beta2**t) + options['eps']).sqrt()")], 'eps stands inside the root'),
    'eps before the correction': ('Adam', [("(square_avg.sqrt() / (1-beta2**t)**0.5).add_(options['eps'])", "(square_avg.sqrt() + options['eps']) / (1-beta2**t)**0.5")], 'eps is added before the correction'),
    'the betas have changed places': ('Adam', [("lr,(beta1,beta2),decay", "lr,(beta2,beta1),decay")], 'betas have changed places'),
    'amsgrad without effect': ('Adam', [("    if options['amsgrad']: square_avg = torch.maximum", "    if options['amsgrad']: torch.maximum")], 'amsgrad has no effect'),
    'decay coupled in AdamW': ('AdamW', [("if decay and options['decoupled_weight_decay']", "if decay and False")], 'goes through the gradient here'),
    'decay decoupled in Adam': ('Adam', [("if decay and options['decoupled_weight_decay']", 'if decay')], 'shrinks the weight here'),
    'decay without the learning rate': ('AdamW', [('p.mul_(1 - lr*decay)', 'p.mul_(1 - decay)')], 'shrinks by lr*weight_decay'),
    'zero_grad replaces': ('SGD', [('p.grad.zero_()', 'p.grad = torch.zeros_like(p.grad)')], 'another tensor in place of the gradient'),
    'zero_grad always drops': ('SGD', [('if set_to_none: p.grad = None', 'if True: p.grad = None')], 'dropped the gradient'),
    'a missing gradient crashes': ('SGD', [('    grads = [g for p in group[\'params\'] if (g := p.grad) is not None]\n', "    grads = [p.grad.clone() for p in group['params']]\n")], 'gradient is None'),
    'a missing gradient counts as zero': ('SGD', [('    grads = [g for p in group[\'params\'] if (g := p.grad) is not None]\n',
        "    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in group['params']]\n")], 'no step and no weight decay for it'),
    'the second group ignored': ('SGD', [('for i,group in enumerate(self.param_groups): self._step_group', 'for i,group in enumerate(self.param_groups[:1]): self._step_group')], 'goes through all groups'),
    'options of the defaults': ('SGD', [('self.update(p, grad, state, options)\n    if state', 'self.update(p, grad, state, self.defaults)\n    if state'), ('    fast = True ', '    fast = False ')], 'Take the options from the group'),
    'state lost in state_dict': ('SGD', [('result = dict(state={number.get(id(p), p): s for p,s in self.state.items()}', 'result = dict(state={}')], 'must hold all that is remembered'),
    'options lost in state_dict': ('Adam', [("groups.append({**{k: v for k,v in group.items() if k != 'params'}, ", "groups.append({**self.defaults, 'lr': 0.3, ")], 'the options of the groups'),
    'names of its own in state_dict': ('Adam', [("*['max_exp_avg_sq']*bool", "'own', *['max_exp_avg_sq']*bool"), ("avg = state['exp_avg'].lerp_", "avg = state['own'].lerp_")], "PyTorch's layout is"),
    'the loss of the closure is dropped': ('SGD', [('        with torch.enable_grad(): loss = closure()', '        with torch.enable_grad(): closure()')], 'returned nothing'),
    'no door for an empty list': ('SGD', [("    if not params: raise ValueError('params is empty", "    if False: raise ValueError('params is empty"), ('isinstance(groups[0], dict)', 'groups and isinstance(groups[0], dict)')], 'no error for no parameters'),
    'lr below zero': ('SGD', [("        for name in [k for k in ('lr', ", "        for name in [k for k in (")], 'no error for lr=-0.1'),
    'two groups share a parameter': ('SGD', [('        if twice: raise', '        if False: raise')], 'no error for a parameter in two groups'),
}


def broken(name, changes):
    "The class `name` of our module, with changes in the source"
    source = Path(optim.__file__).read_text()
    for old,new in changes:
        assert source.count(old) == 1, f'{source.count(old)} times in the source: {old}'
        source = source.replace(old, new)
    module = types.ModuleType('broken')
    exec(compile(source, 'broken', 'exec'), module.__dict__)
    return getattr(module, name)


@pytest.mark.parametrize('what', MUTANTS)
def test_check_names_what_is_wrong(what):
    name,changes,message = MUTANTS[what]
    report = check_optimizer(broken(name, changes))
    assert not report.ok
    assert message in str(report), report
