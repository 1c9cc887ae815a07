"Initializers and normalization layers against PyTorch's; LSUV; lesson 21_initializing"
import copy, gc, math, os, pickle, subprocess, sys, weakref
from types import SimpleNamespace
import pytest, torch, torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn
from miniai import init, layers
from miniai.conv import Conv2d
from miniai.init import BatchNorm, BatchTransformCB, GeneralRelu, LayerNorm, clean_ipython_hist, clean_mem
from miniai.init import clean_tb, conv, get_model, init_weights, kaiming_normal, kaiming_uniform, lsuv_init
from miniai.loop import DeviceCB, Learner
from tests.conftest import ROOT

quick = settings(max_examples=40, deadline=None)
shapes = st.lists(st.integers(1, 6), min_size=2, max_size=5)
slopes = st.sampled_from([0., 0.1, math.sqrt(5)])
modes = st.sampled_from(['fan_in', 'fan_out'])
kinds = st.sampled_from(['linear', 'sigmoid', 'tanh', 'relu', 'leaky_relu', 'selu'])


# -- initializers

@pytest.mark.parametrize('ours,theirs', [(kaiming_normal, nn.init.kaiming_normal_),
                                         (kaiming_uniform, nn.init.kaiming_uniform_)])
@quick
@given(shape=shapes, a=slopes, mode=modes, kind=kinds, seed=st.integers(0, 99))
def test_the_same_numbers_from_the_same_generator(ours, theirs, shape, a, mode, kind, seed):
    w = torch.empty(shape, requires_grad=True)
    def run(f):
        torch.manual_seed(seed)
        return f(w, a, mode, kind).detach().clone()
    torch.testing.assert_close(run(ours), run(theirs))
    g = [torch.Generator().manual_seed(seed) for _ in range(2)]
    ours_g,theirs_g = (f(torch.empty(shape), a, generator=g) for f,g in zip((ours, theirs), g))
    torch.testing.assert_close(ours_g, theirs_g)
    assert ours(w) is w and w.requires_grad and w.grad_fn is None


@pytest.mark.parametrize('shape', [(300, 200), (40, 20, 3, 3), (30, 20, 9)])
def test_mean_deviation_and_bounds(shape):
    fan = math.prod(shape[1:])
    want = math.sqrt(2/(1+0.1**2)/fan)
    torch.manual_seed(0)  # the mean of 5,400 numbers is off by more on every thirtieth seed
    normal,even = kaiming_normal(torch.empty(shape), a=0.1),kaiming_uniform(torch.empty(shape), a=0.1)
    for w in (normal, even):
        assert abs(w.mean()) < 0.03*want and abs(w.std()/want - 1) < 0.03
    assert even.abs().max() <= math.sqrt(3)*want < normal.abs().max()


def test_init_weights_takes_convolutions_of_any_kind_and_nothing_else():
    convs = Conv2d(1, 4, 3), nn.Conv1d(4, 4, 3), nn.Conv3d(4, 4, 3)
    model = layers.Sequential(*convs, nn.Linear(4, 4), nn.BatchNorm2d(4))
    before = copy.deepcopy(model.state_dict())
    model.apply(init_weights)
    changed = [k for k,v in model.state_dict().items() if not v.equal(before[k])]
    assert changed == ['0.weight', '1.weight', '2.weight']
    torch.manual_seed(1); init_weights(model[1], leaky=0.2)
    torch.manual_seed(1)
    assert model[1].weight.equal(nn.init.kaiming_normal_(torch.empty(4, 4, 3), a=0.2))


@pytest.mark.parametrize('call,says', [
    (lambda: kaiming_normal(torch.zeros(5)), 'two dimensions'),
    (lambda: kaiming_normal(nn.Linear(5, 5)), 'w must be a tensor, as layer.weight is'),
    (lambda: BatchNorm(5, momentum=None), 'momentum must be a number .* got None .None: only'),
    (lambda: lsuv_init(nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), 1), 'no weight: lsuv_init.model, activation'),
    (lambda: kaiming_normal(torch.zeros(5, 5), mode='in'), 'fan_in or fan_out'),
    (lambda: kaiming_uniform(torch.zeros(5, 5), nonlinearity='swish'), 'nonlinearity must be one of'),
    (lambda: conv(1, 8, act=nn.ReLU()), "act must be a class or function .* as nn.ReLU, got ReLU"),
    (lambda: conv(1, 8, act=True), 'act must be a class or function'),
    (lambda: conv(1, 8, norm=BatchNorm), "norm must make a layer of PyTorch's, as nn.BatchNorm2d does"),
    (lambda: BatchTransformCB(3), 'tfm must be a function of a batch')])
def test_bad_arguments(call, says):
    with pytest.raises((TypeError, ValueError), match=says): call()


# -- normalization

@st.composite
def batches(draw):
    dims,c = draw(st.integers(2, 5)),draw(st.integers(1, 5))
    shape = [draw(st.integers(2, 6)), c, *[draw(st.integers(1, 4)) for _ in range(dims-2)]]
    return [3*torch.randn(shape) + 2 for _ in range(3)]


TORCH = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def start(layer):
    "Any scale and shift"
    with torch.no_grad():
        for i,p in enumerate(layer.parameters()): p.copy_(torch.linspace(0.5+i, 2, p.numel()).view(p.shape))
    return layer


def outputs(layer, xs, double=False):
    "What a layer gives for each batch, the gradients, and what it remembers"
    got = []
    for x in xs:
        x = (x.double() if double else x).clone().requires_grad_()
        out = layer(x)
        grads = torch.autograd.grad((out**3).sum(), [x, *layer.parameters()])
        got += [out.detach(), *grads]
    return got


@quick
@given(xs=batches(), affine=st.booleans(), eps=st.sampled_from([1e-5, 0.1]),
       momentum=st.sampled_from([0.1, 0.7]))
def test_batch_norm_is_pytorchs(xs, affine, eps, momentum):
    dims,c = xs[0].dim(),xs[0].shape[1]
    args = dict(eps=eps, momentum=momentum, affine=affine)
    ours,theirs = start(BatchNorm(c, **args)),start(TORCH[dims](c, **args).double())
    close = dict(rtol=1e-3, atol=1e-3, check_dtype=False)  # float32 against float64
    ours.to(torch.float64)
    torch.testing.assert_close(outputs(ours, xs, True), outputs(theirs, xs, True))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))
    ours.eval(); theirs.eval()
    torch.testing.assert_close(outputs(ours, xs, True), outputs(theirs, xs, True))
    single = BatchNorm(c, **args)
    single.load_state_dict(theirs.state_dict())
    back = TORCH[dims](c, **args).eval()
    back.load_state_dict(ours.state_dict())
    torch.testing.assert_close(single.eval()(xs[0]), back(xs[0]), **close)
    assert ours.num_batches_tracked.dtype == torch.int64 and ours.num_batches_tracked == 3


@quick
@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4), last=st.integers(1, 3),
       affine=st.booleans(), bias=st.booleans())
def test_layer_norm_is_pytorchs(shape, last, affine, bias):
    last = min(last, len(shape))
    xs,normed = [3*torch.randn(4, *shape) + 2 for _ in range(2)],shape[-last:]
    normed = normed[0] if last == 1 else normed
    args = dict(elementwise_affine=affine, bias=bias)
    ours,theirs = start(LayerNorm(normed, **args)),start(nn.LayerNorm(normed, **args).double())
    ours.to(torch.float64)
    torch.testing.assert_close(outputs(ours, xs, True), outputs(theirs, xs, True))
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))
    theirs.load_state_dict(ours.state_dict())


def test_norms_say_what_does_not_fit():
    with pytest.raises(ValueError, match='second size must be 3'): BatchNorm(3)(torch.zeros(2, 4))
    with pytest.raises(ValueError, match='train on larger batches'): BatchNorm(3)(torch.zeros(1, 3))
    assert BatchNorm(3).eval()(torch.zeros(1, 3)).shape == (1, 3)
    with pytest.raises(ValueError, match=r'must end with \(3, 4\)'): LayerNorm((3, 4))(torch.zeros(4, 3))


def test_norms_copy_pickle_and_print():
    bn = BatchNorm(3)
    bn(torch.randn(8, 3, 4, 4))
    for twin in (copy.deepcopy(bn), pickle.loads(pickle.dumps(bn))):
        assert all(a.equal(b) for a,b in zip(twin.state_dict().values(), bn.state_dict().values()))
    assert repr(bn) == 'BatchNorm(3, eps=1e-05, momentum=0.1, affine=True)'
    assert repr(LayerNorm(5)) == 'LayerNorm((5,), eps=1e-05, elementwise_affine=True)'


# -- LSUV

def deep(act=lambda: GeneralRelu(leak=0.1, sub=0.4), bias=None):
    torch.manual_seed(1)
    return nn.Sequential(*[conv(a, b, act=act, bias=bias) for a,b in ((1, 8), (8, 16), (16, 16))])


@pytest.mark.parametrize('bias', [True, False])
def test_lsuv_gives_each_layer_mean_0_and_deviation_1(bias):
    model,xb = deep(bias=bias),torch.randn(64, 1, 28, 28)
    for block in model: lsuv_init(model, block[1], block[0], xb)
    for block in model:
        xb = block(xb)
        assert abs(xb.std() - 1) < 1e-2 and (not bias or abs(xb.mean()) < 1e-2)
    assert not any(m._forward_hooks for m in model.modules())


def test_lsuv_works_on_our_layers():
    model = layers.Sequential(Conv2d(1, 8, 3), GeneralRelu(leak=0.1, sub=0.4))
    xb = torch.randn(64, 1, 28, 28)
    lsuv_init(model, model[1], model[0], xb)
    out = model(xb)
    assert abs(out.std() - 1) < 2e-3 and abs(out.mean()) < 2e-3


@pytest.mark.parametrize('spoil,says', [
    (lambda m: m[1][0].weight.data.zero_(), r'layer 1\.0, left as it was.*mean .* deviation 0\.0.*dead'),
    (lambda m: m[1][0].weight.data.fill_(math.nan), r'layer 1\.0, .*deviation nan.* dead'),
    (lambda m: m.__setitem__(1, conv(8, 16, act=nn.ReLU)), r'layer 1\.0, .*go below 0, as GeneralRelu')])
def test_lsuv_names_the_layer_that_it_cannot_mend_and_stops(spoil, says):
    model,xb = deep(),torch.randn(16, 1, 28, 28)
    spoil(model)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=says): lsuv_init(model, model[1][1], model[1][0], xb)
    for k,v in model.state_dict().items(): torch.testing.assert_close(v, before[k], equal_nan=True)
    assert not any(m._forward_hooks for m in model.modules())


def test_lsuv_on_a_layer_that_is_not_used():
    model = deep()
    with pytest.raises(ValueError, match='mean nan.*Is `m` used'):
        lsuv_init(model, nn.ReLU(), model[0][0], torch.randn(4, 1, 28, 28))


# -- activations, blocks, models

@pytest.mark.parametrize('args', [{}, dict(leak=0.1), dict(leak=0.), dict(sub=0.4), dict(maxv=1.),
                                  dict(leak=0.1, sub=0.4, maxv=2.)])
def test_general_relu(args):
    x = torch.linspace(-5, 5, 21, requires_grad=True)
    act = GeneralRelu(**args)
    want = F.leaky_relu(x, args.get('leak', 0.)) - args.get('sub', 0.)
    want = want.clamp(max=args.get('maxv', math.inf))
    torch.testing.assert_close(act(x), want)
    act(x).sum().backward()  # nothing was written over
    assert pickle.loads(pickle.dumps(act)).leak == args.get('leak')


def test_conv_has_a_bias_even_before_a_batch_norm():
    "Parameter counts of the course's notebooks"
    block = conv(8, 16, norm=nn.BatchNorm2d)
    assert [type(m) for m in block] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] and block[0].bias is not None
    assert conv(8, 16, bias=False)[0].bias is None
    assert [type(m) for m in conv(8, 16, act=None)] == [nn.Conv2d]
    assert conv(8, 16)(torch.zeros(2, 8, 28, 28)).shape == (2, 16, 14, 14)
    counts = [sum(p.numel() for p in m.parameters()) for m in (get_model(), get_model(norm=nn.BatchNorm2d))]
    assert counts == [80 + 1168 + 4640 + 18496 + 5770, 30394]


def test_get_model():
    model = get_model(lambda: GeneralRelu(leak=0.1), [1, 4, 4, 4, 4], norm=nn.BatchNorm2d)
    assert model(torch.zeros(3, 1, 28, 28, device=init.def_device)).shape == (3, 10)
    assert len(model[-2]) == 1 and isinstance(model[-1], nn.Flatten)
    plain = pickle.loads(pickle.dumps(get_model(GeneralRelu)))
    assert plain(torch.zeros(2, 1, 28, 28, device=init.def_device)).shape == (2, 10)


# -- callbacks

def test_batch_transform_in_the_wanted_phases_and_behind_the_device():
    def seen(**phases):
        calls = []
        def tfm(b):
            calls.append(len(b[0]))
            return b[0]/2,b[1]
        train,valid = ([(torch.ones(n, 2), torch.ones(n, 2))] for n in (3, 5))
        dls = SimpleNamespace(train=train, valid=valid)
        learn = Learner(nn.Linear(2, 2), dls, cbs=[BatchTransformCB(tfm, **phases), DeviceCB('cpu')])
        learn.fit(1)
        return calls
    assert seen() == [3, 5] and seen(on_train=False) == [5] and seen(on_val=False) == [3]
    assert BatchTransformCB.order > DeviceCB.order
    batch = torch.ones(2),torch.ones(2)
    for tfm,says in ((lambda b: None, 'gave a NoneType'), (lambda b: b[0], 'gave a Tensor: return a whole')):
        with pytest.raises(TypeError, match=says):
            BatchTransformCB(tfm).before_batch(SimpleNamespace(training=True, batch=batch))


# -- memory

class Big: "Something to be freed"


def fails():
    big = Big()
    raise ValueError(big)


def test_clean_tb_frees_what_the_last_error_holds():
    try: fails()
    except ValueError as e:
        ref = weakref.ref(e.__traceback__.tb_next.tb_frame.f_locals['big'])
        e.args = ()
        sys.last_exc = sys.last_value = e
        sys.last_type,sys.last_traceback = type(e),e.__traceback__
    gc.collect()
    assert ref() is not None
    clean_tb()
    gc.collect()
    assert ref() is None and not any(hasattr(sys, f'last_{n}') for n in ('exc', 'type', 'value', 'traceback'))
    clean_tb()


def test_cleaning_outside_ipython_does_nothing():
    clean_ipython_hist(); clean_mem()
    code = "import sys, miniai.init as i; i.clean_mem(); assert 'IPython' not in sys.modules"
    assert not subprocess.run([sys.executable, '-c', code], cwd=ROOT).returncode


IN_IPYTHON = '''
from IPython.core.interactiveshell import InteractiveShell
import gc, weakref
shell = InteractiveShell.instance()
def run(text): return shell.run_cell(text, store_history=True)
run("class Big: pass")
run("Big()")
ref = weakref.ref(shell.user_ns['_'])
run("1/0")
run("from miniai.init import clean_mem")
assert shell.user_ns['_i1'] and ref() is not None
run("clean_mem()")
gc.collect()
assert ref() is None, gc.get_referrers(ref())
assert '_i1' not in shell.user_ns and not any(shell.history_manager.input_hist_raw[:5])
import sys
assert not hasattr(sys, 'last_value') and not hasattr(sys, 'last_exc')
assert run("1 + 1").result == 2 and shell.user_ns['_'] == 2
'''


def test_cleaning_in_ipython(tmp_path):
    res = subprocess.run([sys.executable, '-c', IN_IPYTHON], cwd=ROOT, capture_output=True, text=True,
                         env=os.environ | {'IPYTHONDIR': str(tmp_path), 'TERM': 'dumb'})
    assert not res.returncode, res.stdout + res.stderr


# -- as course notebooks use it

SCRIPT = """
import matplotlib
matplotlib.use('Agg')
import torch, torch.nn.functional as F, fastcore.all as fc
from functools import partial
from torch import nn, optim
from miniai.datasets import *
from miniai.conv import *
from miniai.learner import *
from miniai.activations import *
from miniai.init import *
set_seed(42)
x,y = torch.rand(300, 1, 28, 28),torch.arange(300) % 10
x += y[:,None,None,None]
batches = list(zip(x.split(50), y.split(50)))
dls = DataLoaders(batches, batches[:2])
xm,xs = x.mean(),x.std()
def _norm(b): return (b[0]-xm)/xs,b[1]
norm = BatchTransformCB(_norm)
astats = ActivationStats(fc.risinstance(GeneralRelu))
cbs = [DeviceCB(), astats]
act_gr = partial(GeneralRelu, leak=0.1, sub=0.4)
iw = partial(init_weights, leaky=0.1)
model = get_model(act_gr).apply(iw)
learn = MomentumLearner(model, dls, F.cross_entropy, lr=0.05, cbs=cbs+[norm])
learn.fit(2)
astats.color_dim(); astats.dead_chart(); astats.plot_stats()
model = get_model(act_gr)
relus = [o for o in model.modules() if isinstance(o, GeneralRelu)]
convs = [o for o in model.modules() if isinstance(o, nn.Conv2d)]
xb = _norm(batches[0])[0].to(def_device)
for ms in zip(relus, convs): lsuv_init(model, *ms, xb)
learn = TrainLearner(model, dls, F.cross_entropy, lr=0.05, cbs=cbs+[norm])
learn.fit(2)
def small():
    layers = [conv(1, 8, ks=5, act=act_gr, norm=nn.BatchNorm2d), conv(8, 10, act=None, norm=False, bias=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).to(def_device)
learn = TrainLearner(small().apply(iw), dls, F.cross_entropy, lr=0.2, cbs=cbs, opt_func=optim.SGD)
learn.fit(1)
clean_mem()
torch.save(learn.model, 'm.pkl')
torch.load('m.pkl', weights_only=False)
print(len(convs), len(relus), len(astats))
"""


def test_a_notebooks_script_on_initializing(tmp_path):
    res = subprocess.run([sys.executable, '-c', SCRIPT], cwd=tmp_path, capture_output=True, text=True,
                         env=os.environ | {'PYTHONPATH': str(ROOT)})
    assert res.stdout.split() == ['5', '4', '1'], res.stderr
