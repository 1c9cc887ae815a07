"The course's notebooks, walked: their imports as published, and the habits that COMPAT section 12 lists"
import importlib, io
from functools import partial
import fastcore.all as fc, pytest, torch, torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, default_collate
from miniai.accel import AccelerateCB, MixedPrecision
from miniai.activations import ActivationStats, Hooks
from miniai.augment import RandCopy, RandErase
from miniai.data import DataLoader as OurLoader
from miniai.datasets import DataLoaders
from miniai.init import BatchTransformCB, GeneralRelu, conv, init_weights, lsuv_init
from miniai.learner import *
from miniai.resnet import ResBlock, act_gr
from miniai.sgd import BatchSchedCB, RecorderCB
from tests.small import Dls, MultDL, Unet, batches, make, net, weights

# ---- imports

TAKEN = {  # what each notebook takes, by module
    '05': dict(training='get_dls'),
    '07': dict(datasets='show_image show_images', training='Dataset fit get_dls'),
    '08': dict(datasets='inplace collate_dict show_image show_images', conv='conv def_device to_device',
               training='fit'),
    '09': dict(datasets='inplace DataLoaders', conv='def_device to_device'),
    '10': dict(datasets='DataLoaders get_grid inplace show_image',
               learner='Callback DeviceCB Learner MetricsCB ProgressCB TrainCB to_cpu'),
    '11': dict(datasets='DataLoaders inplace', conv='conv def_device',
               activations='ActivationStats Hook set_seed',
               learner='Callback DeviceCB MetricsCB MomentumLearner ProgressCB to_cpu lr_find'),
    '12': dict(learner='Callback DeviceCB LRFinderCB MetricsCB ProgressCB SingleBatchCB TrainLearner',
               activations='ActivationStats set_seed', init='GeneralRelu get_model init_weights'),
    '13': dict(conv='def_device', activations='ActivationStats Hooks set_seed',
               init='GeneralRelu conv init_weights',
               learner='DeviceCB Learner MetricsCB MomentumLearner ProgressCB SingleBatchCB TrainLearner '
                       'lr_find',
               sgd='BatchSchedCB'),
    '14': dict(datasets='show_images', conv='def_device', activations='ActivationStats Hooks set_seed',
               learner='Callback to_cpu DeviceCB Learner MetricsCB MomentumLearner ProgressCB SingleBatchCB '
                       'TrainLearner lr_find',
               init='GeneralRelu conv init_weights BatchTransformCB', sgd='BatchSchedCB', resnet='ResBlock'),
    '17': dict(datasets='DataLoaders inplace show_images', sgd='BatchSchedCB',
               accel='MixedPrecision AccelerateCB',
               learner='Callback DeviceCB Learner MetricsCB ProgressCB SingleBatchCB TrainCB TrainLearner')}
MODULES = 'datasets conv learner activations init sgd resnet augment accel training'.split()  # in their order
BEFORE = '''
import pickle, gzip, math, os, time, shutil, random, logging, torch, datasets, matplotlib as mpl
import numpy as np, matplotlib.pyplot as plt, fastcore.all as fc, torch.nn.functional as F
from collections.abc import Mapping
from pathlib import Path
from operator import attrgetter, itemgetter
from functools import partial, wraps
from copy import copy
from contextlib import contextmanager
from warnings import warn
from torch import nn, tensor, optim
from torch.nn import init
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, default_collate
from datasets import load_dataset, load_dataset_builder
from fastcore.foundation import L
'''


def executed(*lines):
    space = {}
    for line in lines: exec(line, space)
    del space['__builtins__']
    return space


@pytest.mark.parametrize('nb', TAKEN)
def test_the_imports_of_a_notebook(nb):
    "By name and by star, in a fresh namespace: all it takes is there, and nothing of its own is written over"
    taken,own = TAKEN[nb],executed(BEFORE)
    stars = [f'from miniai.{m} import *' for m in MODULES if m in taken]
    lines = [f'from miniai.{m} import {", ".join(names.split())}' for m,names in taken.items()]
    for given in executed(BEFORE, *stars),executed(BEFORE, *stars, *stars),executed(BEFORE, *lines):
        for module,names in taken.items():
            if module == 'conv' and 'init' in taken: names = names.replace('conv ', '')  # the later one wins
            ours = importlib.import_module(f'miniai.{module}')
            for name in names.split(): assert given[name] is getattr(ours, name), name
        assert [name for name in own if given[name] is not own[name]] == []
    assert hasattr(Learner, 'lr_find') or 'learner' not in taken


def test_the_imports_of_later_notebooks():
    "From 24 on they begin with all at once, and then take what they like"
    given = executed('from miniai.imports import *', BEFORE, *(f'from miniai.{m} import *' for m in MODULES))
    assert given['conv'] is conv and given['init'] is nn.init and given['DataLoader'] is DataLoader


# ---- data: anything with train and valid, nested batches, transforms

def noisy(b):
    "As the diffusion notebook's collate: ((xt, t), eps) from a batch of pictures"
    x0 = default_collate(b)['image']
    t,eps = torch.rand(len(x0), 1),torch.randn(x0.shape)
    return (x0*(1-t) + eps*t, t),eps


@pytest.mark.parametrize('loader', [DataLoader, OurLoader])
def test_nested_batches_from_a_collate_and_a_loader_put_in_place_later(loader, capsys):
    rows = [dict(image=torch.randn(6)) for _ in range(20)]
    dls = DataLoaders(*(loader(rows, batch_size=8, collate_fn=noisy) for _ in range(2)))
    dls.train = MultDL(dls.train)
    sched = BatchSchedCB(partial(optim.lr_scheduler.OneCycleLR, max_lr=0.01, total_steps=2*len(dls.train)))
    with pytest.warns(UserWarning, match='on the CPU'):
        learn = Learner(Unet(), dls, nn.MSELoss(), lr=0.01, opt_func=partial(optim.Adam, eps=1e-5),
                        cbs=[DeviceCB('cpu'), MixedPrecision(), ProgressCB(plot=True), MetricsCB(), sched])
        learn.fit(2)
    (xt,t),eps = learn.batch
    assert xt.shape == eps.shape == (4, 6) and t.shape == (4, 1) and learn.iter == 2
    assert [row.split()[2] for row in capsys.readouterr().out.splitlines()[1:]] == ['train', 'eval']*2


def tfm_batch(b, tfm_x=fc.noop, tfm_y=fc.noop): return tfm_x(b[0]),tfm_y(b[1])


def pictures(): return [(torch.rand(8, 1, 8, 8), torch.arange(8) % 3) for _ in range(2)]
def small():
    block = ResBlock(4, 8, norm=nn.BatchNorm2d)
    return nn.Sequential(conv(1, 4), block, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_batch_transform_of_a_partial():
    class Turn(nn.Module):
        def forward(self, x): return x.flip(-1)
    tfms = nn.Sequential(Turn(), RandErase(), RandCopy(pct=0.3))
    seen = []
    def keep(b):
        seen.append(b)
        return b
    augment = BatchTransformCB(partial(tfm_batch, tfm_x=tfms), on_val=False)
    cbs = [DeviceCB('cpu'), BatchTransformCB(keep), augment]
    batches = pictures()
    learn = TrainLearner(small(), Dls(batches, batches), F.cross_entropy, 0.01, cbs=cbs + [SingleBatchCB()])
    learn.fit(1)
    xb,yb = learn.batch
    assert yb is seen[0][1] and xb.shape == seen[0][0].shape and not torch.equal(xb, seen[0][0])
    assert torch.equal(seen[0][0], batches[0][0]), 'the data itself stays as it is'
    learn.fit(1, train=False)
    assert torch.equal(learn.batch[0], batches[0][0])
    turn = partial(tfm_batch, tfm_x=lambda x: x.flip(-1), tfm_y=lambda y: y + 1)
    turned = BatchTransformCB(turn, on_val=True)
    plain = TrainLearner(learn.model, Dls(batches, batches), F.cross_entropy, 0.01)
    (one,targs),(two,others) = plain.capture_preds(),plain.capture_preds(cbs=[turned])
    mean = torch.stack([one, two]).mean(0).argmax(1)
    assert mean.shape == targs.shape and torch.equal(others, targs + 1)


# ---- accel

def test_mixed_precision_stands_where_a_train_cb_would():
    assert issubclass(MixedPrecision, TrainCB) and MixedPrecision.order == DeviceCB.order + 10
    with pytest.warns(UserWarning, match='on the CPU'):
        learn = make([DeviceCB('cpu'), MixedPrecision()])
        learn.fit(2)
    usual = make([DeviceCB('cpu'), TrainCB()])
    usual.fit(2)
    assert torch.equal(weights(learn), weights(usual)) and hasattr(learn.mixed_precision, 'scaler')


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_autocast_is_on_for_the_model_and_the_loss_and_off_for_the_rest(dtype):
    seen = {}
    class Look(Callback):
        order = MixedPrecision.order + 1
    for event in 'before_batch after_predict after_loss after_backward after_step cleanup_batch'.split():
        def look(self, learn, event=event):
            seen.setdefault(event, set()).add(torch.is_autocast_enabled('cpu'))
        setattr(Look, event, look)
    learn = make([Look(), MixedPrecision(dtype=dtype)])
    learn.fit(1)
    on,off = {True},{False}
    assert seen == dict(before_batch=on, after_predict=on, after_loss=off, after_backward=off, after_step=off,
                        cleanup_batch=off)
    assert learn.preds.dtype == dtype and learn.model[0].weight.dtype == torch.float32
    learn.fit(1, cbs=SingleBatchCB())
    assert not torch.is_autocast_enabled('cpu')


@pytest.mark.parametrize('cls', [Learner, TrainLearner, MomentumLearner])
def test_accelerate_cb_as_the_notebook_has_it(cls):
    "On a CPU, in one process: fp16, the default, is warned about, and the weights are those of a TrainCB"
    accelerate = pytest.importorskip('accelerate')
    with pytest.warns(UserWarning, match="'fp16' needs a GPU"): cb = AccelerateCB()
    assert isinstance(cb, TrainCB) and cb.order == DeviceCB.order + 10
    assert isinstance(cb.acc, accelerate.Accelerator)
    learn,usual = (make([DeviceCB('cpu'), MetricsCB(), o], cls=cls) for o in (cb, DeviceCB('cpu')))
    learn.fit(2); usual.fit(2)
    torch.testing.assert_close(weights(learn), weights(usual))
    learn.fit(1)
    assert [r['loss'] for r in learn.history[:4]] == pytest.approx([r['loss'] for r in usual.history])


# ---- models: pickled by name, hooked, started layer by layer

def test_whole_models_are_pickled_by_module_and_name():
    model = nn.Sequential(ResBlock(1, 4, stride=2), ResBlock(4, 4, act=act_gr, norm=nn.BatchNorm2d),
                          GeneralRelu(leak=0.1, sub=0.4, maxv=6), RandErase(), conv(4, 3, act=nn.ReLU))
    learn = make(model=model.eval(), train=pictures(), valid=pictures())
    file = io.BytesIO()
    torch.save(learn.model, file)
    named = file.getvalue()
    for name in (b'miniai.init\nGeneralRelu', b'miniai.resnet\nResBlock', b'miniai.augment\nRandErase'):
        assert name in named, name
    file.seek(0)
    again = torch.load(file, weights_only=False).eval()
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(again[:3](x), model[:3](x)) and str(again) == str(model)
    assert isinstance(again[0].act, GeneralRelu) and again[1].idconv is model[1].idconv is fc.noop


def test_hooks_in_a_with_block_around_a_fit(capsys):
    def told(hook, mod, inp, outp): print(type(mod).__name__, tuple(inp[0].shape), tuple(outp.shape))
    learn = TrainLearner(small(), Dls(pictures(), pictures()), F.cross_entropy,
                         cbs=[DeviceCB('cpu'), SingleBatchCB()])
    before = weights(learn)
    with Hooks(learn.model, told) as hooks: learn.fit(1, train=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(hooks) == 4 and lines[0] == 'Sequential (8, 1, 8, 8) (8, 4, 4, 4)'
    assert lines[1].startswith('ResBlock') and torch.equal(before, weights(learn))
    learn.fit(1, train=False)
    assert capsys.readouterr().out == '', 'and none is left'


def test_the_lsuv_loop():
    torch.manual_seed(1)
    act = partial(GeneralRelu, leak=0.1, sub=0.4)
    model = nn.Sequential(conv(1, 4, act=act), conv(4, 8, act=act), nn.Flatten())
    model.apply(partial(init_weights, leaky=0.1))
    relus = [o for o in model.modules() if isinstance(o, GeneralRelu)]
    convs = [o for o in model.modules() if isinstance(o, nn.Conv2d)]
    xb = torch.rand(16, 1, 8, 8)
    for ms in zip(relus, convs): lsuv_init(model, *ms, xb)
    out = model(xb)
    assert abs(out.mean()) < 2e-3 and abs(out.std() - 1) < 2e-3


def test_one_instance_of_each_for_many_learners(capsys):
    "As cbs = [DeviceCB(), metrics, ProgressCB(), astats], written once at the top of a notebook"
    metrics,astats = MetricsCB(accuracy=Accuracy()),ActivationStats(fc.risinstance(nn.Linear))
    rec = RecorderCB(lr=lambda cb: cb.pg['lr'])
    cbs = fc.L(DeviceCB('cpu'), metrics, ProgressCB(plot=True), astats)
    for n,cls in enumerate((TrainLearner, MomentumLearner, Learner), 1):
        learn = cls(net(), Dls(batches(), batches(2)), F.cross_entropy, lr=0.1*n, cbs=cbs + fc.L(rec))
        learn.fit(n, cbs=[SingleBatchCB()] if n == 2 else None)
        learn.fit(n)
        assert learn.metrics is metrics and len(learn.cbs) == 5 and len(cbs) == 4
        assert len(rec.recs['lr']) == len(astats[0].stats[0]) == 4*n and set(rec.recs['lr']) == {0.1*n}
        assert not learn.model[0]._forward_hooks
    assert [s for s in capsys.readouterr().out.splitlines() if '{' in s] == []


# ---- COMPAT section 14. The bullets that other files test: __all__ and FORBIDDEN, ProgressCB's attributes,
# events without an argument and methods as bare names in test_compat; the errors of a default loss and
# loss_func=None, keep_opt and optimizers of one's own in test_loop; drawing for each picture in test_augment.

def test_get_dls_and_from_dd_give_our_loaders():
    import datasets
    from miniai.training import Dataset, get_dls
    ds = Dataset(torch.zeros(10, 2), torch.zeros(10))
    rows = datasets.Dataset.from_dict(dict(image=[[0.]]*4, label=[0]*4)).with_format('torch')
    dls = DataLoaders.from_dd(datasets.DatasetDict(train=rows, test=rows), 2)
    for dl in (*get_dls(ds, ds, 4), dls.train, dls.valid): assert type(dl) is OurLoader


@pytest.mark.parametrize('look', 'capture_preds summary show_image_batch lr_find get_preds validate'.split())
def test_who_only_looks_leaves_the_optimizer_alone(look, capsys):
    import matplotlib.pyplot as plt
    learn = make([MetricsCB()], train=pictures()*3, valid=pictures(), model=small(),
                 opt_func=partial(optim.SGD, momentum=0.9))
    learn.fit(1)
    opt,state,before = learn.opt,learn.opt.state_dict(),weights(learn)
    kept = {k: v['momentum_buffer'].clone() for k,v in state['state'].items()}
    learn.fit(1, train=False)
    getattr(learn, look)()
    assert learn.opt is opt and torch.equal(weights(learn), before)
    after = opt.state_dict()
    assert after['param_groups'] == state['param_groups']
    assert all(torch.equal(after['state'][k]['momentum_buffer'], v) for k,v in kept.items())
    plt.close('all')


def test_the_two_convs_keep_their_shapes():
    from miniai import conv as first, init as second
    assert type(first.conv(1, 2, act=False)) is nn.Conv2d and first.conv(1, 2)[0].stride == (2, 2)
    assert [type(m) for m in first.conv(1, 2)] == [nn.Conv2d, nn.ReLU]
    for act in (None, False): assert [type(m) for m in second.conv(1, 2, act=act)] == [nn.Conv2d]
    parts = second.conv(1, 2, 3, 1, act_gr, nn.BatchNorm2d)
    assert [type(m) for m in parts] == [nn.Conv2d, nn.BatchNorm2d, GeneralRelu]


class Bare:
    "An optimizer with step and zero_grad alone"
    def __init__(self, params, lr): self.params,self.lr = list(params),lr
    def step(self):
        with torch.no_grad():
            for p in self.params: p -= self.lr*p.grad
    def zero_grad(self):
        for p in self.params: p.grad = None


def test_who_needs_the_groups_of_an_optimizer_says_so():
    precision = MixedPrecision(dtype=torch.bfloat16)
    cbs = [DeviceCB('cpu'), MetricsCB(Accuracy()), ProgressCB(), ActivationStats(), precision]
    learn = make(cbs, opt_func=Bare)
    learn.fit(2)
    assert learn.history[-2]['loss'] < learn.history[0]['loss']
    step = BatchSchedCB(partial(optim.lr_scheduler.StepLR, step_size=1))
    for needs in lambda: learn.fit(1, cbs=step),learn.lr_find:
        with pytest.raises((TypeError, ValueError, AttributeError), match='param_groups'): needs()
