"Hooks that leave no trace, and statistics that never wait for the device"
import copy, gc, pickle, random
from types import SimpleNamespace
import matplotlib.pyplot as plt, numpy as np, pytest, torch, torch.nn.functional as F
from torch import nn
from miniai.activations import *
from miniai.layers import Linear, ReLU, Sequential
from miniai.learner import (CancelBatchException, CancelEpochException, CancelFitException, Callback, Learner)

KINDS = dict(ours=(Sequential, Linear, ReLU), theirs=(nn.Sequential, nn.Linear, nn.ReLU))
both = pytest.mark.parametrize('kind', KINDS)


def net(kind='theirs', seed=0):
    box,linear,relu = KINDS[kind]
    torch.manual_seed(seed)
    return box(linear(6, 10), relu(), box(linear(10, 8), relu()), linear(8, 3))


def data(n=5, bs=8):
    g = torch.Generator().manual_seed(0)
    return [(xb, xb[:, :3].argmax(1)) for xb in torch.randn(n*bs, 6, generator=g).split(bs)]


def learner(kind='theirs', cbs=None, model=None):
    dls = SimpleNamespace(train=data(), valid=data(3))
    return Learner(model or net(kind), dls, F.cross_entropy, 0.1, cbs)


def n_hooks(model):
    return sum(len(m._forward_hooks if isinstance(m, nn.Module) else m._hooks) for m in model.modules())


def is_relu(m): return isinstance(m, (nn.ReLU, ReLU))
def is_linear(m): return isinstance(m, (nn.Linear, Linear))


@pytest.fixture(autouse=True)
def no_figures():
    yield
    plt.close('all')


# ---- seeds

def draws(): return torch.rand(3).tolist(), random.random(), np.random.rand(), random.randint(0, 9)


@pytest.mark.parametrize('seed', [0, 42, 2**40, -1])
def test_set_seed_seeds_all_three(seed):
    set_seed(seed)
    first,state = draws(),torch.get_rng_state()
    assert draws() != first
    set_seed(seed)
    assert draws() == first and torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(seed)
    assert torch.rand(3).tolist() == first[0]


def test_set_seed_sets_the_flag_either_way():
    try:
        set_seed(1, deterministic=True)
        assert torch.are_deterministic_algorithms_enabled()
        set_seed(1)
        assert not torch.are_deterministic_algorithms_enabled()
    finally: torch.use_deterministic_algorithms(False)


# ---- hooks

@both
def test_a_hook_is_called_with_itself_module_inputs_and_output(kind):
    model,x,calls = net(kind),torch.randn(4, 6),[]
    hook = Hook(model[0], lambda *args: calls.append(args))
    out = model[0](x)
    (h,m,inputs,o), = calls
    assert h is hook and m is model[0] and inputs[0] is x and o is out and n_hooks(model) == 1
    hook.remove()
    hook.remove()  # twice is no mistake
    model[0](x)
    assert len(calls) == 1 and n_hooks(model) == 0


@both
def test_a_hook_goes_when_nobody_holds_it(kind):
    model,calls = net(kind),[]
    hook = Hook(model[0], lambda *args: calls.append(args))
    assert n_hooks(model) == 1
    del hook
    gc.collect()
    model(torch.randn(4, 6))
    assert n_hooks(model) == 0 and calls == []


@both
def test_a_hook_may_change_the_output(kind):
    model = net(kind)
    hook = Hook(model[0], lambda hook,m,i,o: o*0)
    assert not model[0](torch.randn(4, 6)).any()
    hook.remove()


@both
def test_a_hook_may_remove_itself_or_others(kind):
    model,calls = net(kind),[]
    def once(hook, *args):
        calls.append(1)
        for h in hooks: h.remove()
    hooks = [Hook(model[0], once), Hook(model[0], once)]
    model[0](torch.randn(4, 6))
    model[0](torch.randn(4, 6))
    assert calls == [1] and n_hooks(model) == 0


@both
def test_hooks_over_any_iterable_and_out_of_the_with_block(kind):
    model,x = net(kind),torch.randn(4, 6)
    with Hooks(model, append_stats) as hooks:  # a Sequential is one
        model(x)
        assert isinstance(hooks, list) and len(hooks) == 4 and n_hooks(model) == 4
    assert n_hooks(model) == 0 and len(hooks[0].stats[0]) == 1
    for ms in ([model[0]], (m for m in model.modules() if is_relu(m)), model.modules(), ()):
        with Hooks(ms, append_stats): assert n_hooks(model) or ms == ()
        assert n_hooks(model) == 0
    with pytest.raises(KeyboardInterrupt), Hooks(model, append_stats): raise KeyboardInterrupt
    assert n_hooks(model) == 0


@both
def test_del_removes_that_hook(kind):
    model = net(kind)
    hooks = Hooks(model, append_stats)
    del hooks[0]
    assert n_hooks(model) == 3 and len(hooks) == 3
    del hooks[-2:]
    assert n_hooks(model) == 1 and len(hooks) == 1
    del hooks
    gc.collect()
    assert n_hooks(model) == 0


def test_what_is_no_module_is_refused_and_leaves_nothing():
    model = net()
    with pytest.raises(TypeError, match='a hook is for a module, got function'):
        Hooks([model[0], F.relu], append_stats)
    gc.collect()
    assert n_hooks(model) == 0


@both
def test_a_copy_of_a_hooked_model_is_free_of_hooks_and_works(kind):
    model,x = net(kind),torch.randn(4, 6)
    hooks = Hooks(model, append_stats)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(x), model(x))
    assert len(hooks[0].stats[0]) == 2  # the model's two calls, not those of the copies


# ---- statistics

@pytest.mark.parametrize('scale', [0.1, 1., 30.])
def test_stats_are_those_of_the_output(scale):
    hook,out = SimpleNamespace(),torch.randn(7, 5, 3)*scale
    for _ in range(2): append_stats(hook, None, None, out)
    means,stds,hists = hook.stats
    torch.testing.assert_close(torch.stack(means), out.mean().expand(2))
    torch.testing.assert_close(torch.stack(stds), out.std().expand(2))
    torch.testing.assert_close(hists[0], out.abs().histc(40, 0, 10))
    assert get_hist(hook).shape == (40, 2) and get_min(hook).shape == (2,)
    torch.testing.assert_close(get_hist(hook)[:, 0], hists[0].log1p())
    torch.testing.assert_close(get_min(hook)[1], hists[0][0]/hists[0].sum())


def test_stats_of_other_outputs():
    "Half precision, whole numbers, tuples as an LSTM gives; where all is beyond 10 there is no share"
    for out in (torch.ones(4, 3, dtype=torch.float16), torch.ones(4, 3, dtype=torch.int64),
                torch.ones(4, 3, dtype=torch.bfloat16), (torch.ones(4, 3), torch.zeros(2)),
                dict(logits=torch.ones(4, 3, requires_grad=True))):
        hook = SimpleNamespace()
        append_stats(hook, None, None, out)
        assert float(hook.stats[0][0]) == 1 and not hook.stats[1][0].requires_grad
        assert hook.stats[2][0].sum() == 12 and hook.stats[2][0][4] == 12
    hook = SimpleNamespace()
    append_stats(hook, None, None, torch.full((4,), 11.))
    assert get_min(hook).isnan().all()


# ---- the callback

@both
def test_the_callback_hooks_what_the_filter_lets_pass(kind):
    for mod_filter,n in ((is_relu, 2), (is_linear, 3)):
        cb = ActivationStats(mod_filter)
        learn = learner(kind, cb)
        learn.fit(2)
        assert len(cb) == len(list(cb)) == n and n_hooks(learn.model) == 0
        assert all(len(s) == 10 for h in cb for s in h.stats)  # the training batches of two epochs
    cb = ActivationStats()
    learner(kind, cb).fit(1)
    assert len(cb) == 7  # containers and the model itself too


@pytest.mark.parametrize('on_train,on_valid,n', [(True, False, 5), (False, True, 3), (True, True, 8),
                                                 (False, False, 0)])
def test_the_function_is_called_in_the_wanted_phases(on_train, on_valid, n):
    calls = []
    def count(hook, mod, inp, outp): calls.append(mod)
    cb = HooksCallback(count, is_relu, on_train=on_train, on_valid=on_valid)
    learner(cbs=[cb]).fit(1)
    assert len(calls) == 2*n


@both
def test_given_modules_are_taken_instead(kind):
    learn = learner(kind)
    cb = HooksCallback(append_stats, mods=(m for m in [learn.model[0], learn.model[2]]))
    for _ in range(2): learn.fit(1, cbs=cb)
    assert len(cb) == 2 and [len(h.stats[0]) for h in cb] == [5, 5]


def test_one_instance_for_several_fits_and_learners():
    cb = ActivationStats(is_relu)
    first,second = learner('ours', cb),learner('theirs', cb)
    for learn in (first, first, second, first):
        learn.fit(1)
        assert [len(h.stats[0]) for h in cb] == [5, 5]
        assert n_hooks(first.model) == n_hooks(second.model) == 0
        cb.plot_stats()


class Raise(Callback):
    "Raise `error` at an event"
    def __init__(self, event, error):
        def f(learn): raise error
        setattr(self, event, f)


ERRORS = CancelFitException, CancelEpochException, CancelBatchException, KeyboardInterrupt, ValueError
EVENTS = '''before_fit before_epoch before_batch after_predict after_loss after_backward after_step
    after_batch cleanup_batch after_epoch cleanup_epoch after_fit cleanup_fit'''.split()


@pytest.mark.parametrize('event', EVENTS)
@pytest.mark.parametrize('error', ERRORS)
@both
def test_no_hook_is_left_however_a_fit_ends(kind, error, event):
    for order in (-5, 5):  # before the statistics, and after them
        cb,bad = ActivationStats(is_relu),Raise(event, error)
        bad.order = order
        learn = learner(kind, [cb, bad])
        try: learn.fit(1)
        except ERRORS: pass
        assert n_hooks(learn.model) == 0


@both
def test_no_hook_is_left_by_errors_of_model_and_loss(kind):
    learn = learner(kind, ActivationStats())
    learn.dls.train[2] = (torch.randn(8, 7), learn.dls.train[2][1])
    with pytest.raises((RuntimeError, ValueError)): learn.fit(1)
    assert n_hooks(learn.model) == 0
    learn = learner(kind, ActivationStats())
    learn.loss_func = lambda *args: 1/0
    with pytest.raises(ZeroDivisionError): learn.fit(1)
    assert n_hooks(learn.model) == 0
    learn = learner(kind, HooksCallback(lambda *args: 1/0))
    with pytest.raises(ZeroDivisionError): learn.fit(1)
    assert n_hooks(learn.model) == 0


def test_a_learner_is_not_kept_alive_by_old_statistics():
    cb = ActivationStats(is_relu)
    learn = learner(cbs=None)
    learn.fit(1, cbs=cb)
    assert not any(learn in gc.get_referents(o) for h in cb for o in gc.get_referents(vars(h)))


def test_looking_takes_no_statistics():
    learn = learner(cbs=ActivationStats(is_relu))
    learn.fit(1)
    before = list(learn.cbs[0])
    learn.lr_find(max_epochs=1)
    learn.validate()
    assert list(learn.cbs[0]) == before and len(before[0].stats[0]) == 5


def test_looking_in_the_middle_of_a_fit_ends_no_statistics():
    class Look(Callback):
        def after_batch(self, learn):
            if learn.training and learn.iter == 2: learn.validate()
    cb = ActivationStats(is_relu)
    learner(cbs=[cb, Look()]).fit(2)
    assert [len(h.stats[0]) for h in cb] == [10, 10]


# ---- pictures

@pytest.mark.parametrize('picture,n', [('color_dim', 3), ('dead_chart', 3), ('plot_stats', 2)])
def test_pictures(picture, n):
    cb = ActivationStats(is_linear)
    learner(cbs=cb).fit(1)
    assert getattr(cb, picture)() is None
    figure, = map(plt.figure, plt.get_fignums())
    axes = [ax for ax in figure.axes if ax.has_data()]
    assert len(axes) == n
    if picture == 'plot_stats':
        assert [ax.get_title() for ax in axes] == ['Means', 'Stdevs']
        assert [t.get_text() for t in axes[0].get_legend().get_texts()] == ['0', '1', '2']
    if picture == 'dead_chart': assert all(ax.get_ylim() == (0, 1) for ax in axes)
    getattr(cb, picture)(figsize=(3, 2))
    assert plt.gcf().get_size_inches().tolist() == [3, 2]


def test_a_module_that_never_runs_is_left_out():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.spare,self.used = nn.Linear(6, 3),nn.Linear(6, 3)
        def forward(self, x): return self.used(x)
    cb = ActivationStats(is_linear)
    learner(cbs=cb, model=Spare()).fit(1)
    cb.plot_stats()
    assert [t.get_text() for t in plt.gca().figure.axes[0].get_legend().get_texts()] == ['1']
    with pytest.raises(RuntimeError, match='this Linear has not run'): get_hist(cb.hooks[0])


# ---- bad input

def test_statistics_before_a_fit():
    cb = ActivationStats(is_relu)
    for f in (cb.color_dim, cb.dead_chart, cb.plot_stats):
        with pytest.raises(RuntimeError, match='no statistics yet.*learn.fit'): f()
    learner(cbs=cb).fit(1, train=False)
    with pytest.raises(RuntimeError, match='while a fit trains'): cb.plot_stats()
    assert plt.get_fignums() == []


def test_a_filter_that_nothing_passes():
    learn = learner(cbs=ActivationStats(lambda m: isinstance(m, nn.Conv2d)))
    with pytest.raises(ValueError, match='no module of the model passes.*there are Linear, ReLU, Sequential'):
        learn.fit(1)
    cb = HooksCallback(append_stats, mods=[])
    with pytest.raises(ValueError, match='no module'): learner(cbs=cb).fit(1)


def test_a_class_is_not_a_filter():
    "Called, it would make a module, and a module is true: all would pass"
    with pytest.raises(TypeError, match='isinstance'): ActivationStats(nn.ReLU)
    with pytest.raises(TypeError, match='isinstance'): ActivationStats(nn.ReLU())
    with pytest.raises(TypeError, match='got 3'): ActivationStats(3)


def test_a_model_without_modules():
    learn = learner(cbs=ActivationStats())
    learn.model = SimpleNamespace(training=True)
    with pytest.raises(TypeError, match='has no modules'): learn.cbs[0].before_fit(learn)


def test_a_compiled_model_is_refused_and_its_original_is_not():
    model = net()
    compiled = torch.compile(model, backend='eager')
    x = torch.randn(4, 6)
    compiled(x)
    with Hooks(model, append_stats) as hooks: compiled(x)
    assert not any(hasattr(h, 'stats') for h in hooks), 'what is refused below would work by now'
    cb = ActivationStats(is_relu)
    learn = learner(cbs=cb, model=compiled)
    with pytest.raises(TypeError, match='compiled code never calls hooks that were added later.*_orig_mod'):
        learn.fit(1)
    learn.model = learn.model._orig_mod
    learn.fit(1)
    assert len(cb.hooks[0].stats[0]) == 5
    with pytest.raises(TypeError, match='compiled'):  # a part of the model, too
        learner(cbs=cb, model=nn.Sequential(compiled)).fit(1)


# ---- speed

READS = {'aten::' + n for n in ('_local_scalar_dense', 'nonzero', 'is_nonzero', 'equal', 'masked_select')}


def test_no_batch_waits_for_the_device():
    from torch.utils._python_dispatch import TorchDispatchMode
    found = []
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            moved = func.name() == 'aten::_to_copy' and 'cpu' in str(kwargs)
            if moved or func.name() in READS:
                found.append(func.name())
            return func(*args, **(kwargs or {}))
    cb = ActivationStats()
    learn = learner(cbs=cb)
    with Watch():
        learn.fit(1)
        assert found == []
        cb.plot_stats()
    with Watch(): float(torch.ones(()))
    assert 'aten::_local_scalar_dense' in found, 'the watch sees what it looks for'


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_no_batch_waits_for_a_gpu():
    from miniai.learner import DeviceCB
    cb = ActivationStats()
    learn = learner(cbs=[DeviceCB('cuda'), cb])
    learn.fit(1)
    torch.cuda.set_sync_debug_mode('error')
    try: learn.fit(1)
    finally: torch.cuda.set_sync_debug_mode('default')
    assert cb.hooks[0].stats[0][0].is_cuda
    cb.color_dim()
    cb.dead_chart()
    cb.plot_stats()
