"What scripts and notebooks written for the course's package rely on: names, signatures, behaviour"
import importlib.util, inspect, os, pickle, re, subprocess, sys, textwrap
from functools import partial
from types import SimpleNamespace
import fastcore.all as fc, pytest, torch, torch.nn.functional as F
from operator import attrgetter
from torch import nn, optim
from torch.optim import lr_scheduler
from miniai import learner as ml
from miniai.learner import *
from miniai.loop import EVENTS, ACTIONS
from miniai.metrics import Mean
from miniai.track import LocalTracker, TrackerCB
from tests.conftest import ROOT
from tests.exercises.x15_learner import OwnLearner
from tests.small import MultDL, Stranger, Unet

FORBIDDEN = {'DataLoader', 'Subset', 'Sampler', 'x', 'init', 'nn', 'F', 'plt', 'T', 'download', 'torch', 'np'}
NAMES = dict(
    training='accuracy report Dataset fit get_dls',
    datasets='inplace collate_dict show_image subplots get_grid show_images DataLoaders',
    conv='def_device conv to_device collate_device',
    learner='CancelFitException CancelBatchException CancelEpochException Callback run_cbs SingleBatchCB '
            'to_cpu MetricsCB DeviceCB '
            'TrainCB ProgressCB with_cbs Learner TrainLearner MomentumLearner LRFinderCB lr_find',
    activations='set_seed Hook Hooks HooksCallback append_stats get_hist get_min ActivationStats',
    init='clean_ipython_hist clean_tb clean_mem BatchTransformCB GeneralRelu plot_func init_weights '
         'lsuv_init conv get_model',
    resnet='act_gr ResBlock',
    sgd='BaseSchedCB BatchSchedCB HasLearnCB RecorderCB EpochSchedCB',
    augment='summary show_image_batch CapturePreds capture_preds rand_erase RandErase rand_copy RandCopy',
    accel='MixedPrecision AccelerateCB')


@pytest.mark.parametrize('module', NAMES)
def test_all(module):
    m,listed = importlib.import_module(f'miniai.{module}'),set(NAMES[module].split())
    assert len(set(m.__all__)) == len(m.__all__)
    assert listed <= set(m.__all__)
    assert not FORBIDDEN & set(m.__all__)
    if module == 'sgd': assert listed == set(m.__all__)
    assert all(hasattr(m, n) for n in m.__all__)
    given = {}
    exec(f'from miniai.{module} import *', given)
    assert set(given) - {'__builtins__'} == set(m.__all__)


def test_learner_gives_what_the_notebooks_take_and_accuracy():
    assert set(ml.__all__) == {*NAMES['learner'].split(), 'Accuracy'}


THEIRS = dict(
    torch='torch', random='random', math='math', np='numpy', mpl='matplotlib', plt='matplotlib.pyplot',
    fc='fastcore.all', F='torch.nn.functional', nn='torch.nn', tensor='torch.tensor', init='torch.nn.init',
    optim='torch.optim', lr_scheduler='torch.optim.lr_scheduler', DataLoader='torch.utils.data.DataLoader',
    default_collate='torch.utils.data.default_collate', Path='pathlib.Path', L='fastcore.foundation.L',
    load_dataset='datasets.load_dataset', datasets='datasets', itemgetter='operator.itemgetter',
    attrgetter='operator.attrgetter', partial='functools.partial', wraps='functools.wraps')
VISION = 'T TF read_image ImageReadMode'.split()


def meant(path):
    "What `path` is: a module, or a name in one"
    try: return importlib.import_module(path)
    except ImportError:
        module,_,name = path.rpartition('.')
        return getattr(importlib.import_module(module), name)


def test_imports_hands_on_everything():
    "Each name is the object that COMPAT section 11 says"
    given = {}
    exec('from miniai.imports import *', given)
    for name,path in THEIRS.items(): assert given[name] is meant(path), name
    for module,names in NAMES.items():
        for name in names.split():
            if (module, name) != ('conv', 'conv'):  # the later one wins
                assert given[name] is getattr(importlib.import_module(f'miniai.{module}'), name), name
    assert not hasattr(importlib.import_module('miniai.imports'), '__all__')


def imports_again(monkeypatch, **modules):
    "The module `imports`, run anew beside these modules of torchvision; an error in place of one is raised"
    class Broken(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name == 'torchvision': raise modules['error']
    for name in [n for n in sys.modules if n.partition('.')[0] == 'torchvision']:
        monkeypatch.delitem(sys.modules, name)
    if 'error' in modules: monkeypatch.setattr(sys, 'meta_path', [Broken(), *sys.meta_path])
    for name,module in modules.items():
        if name != 'error': monkeypatch.setitem(sys.modules, name.replace('_', '.'), module)
    spec = importlib.util.spec_from_file_location('miniai.imports_again', ROOT/'miniai/imports.py')
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    return vars(again)


def test_imports_hands_on_torchvision_where_it_is(monkeypatch):
    functional,io = SimpleNamespace(hflip=1),SimpleNamespace(read_image=2, ImageReadMode=3)
    transforms = SimpleNamespace(functional=functional, __path__=[])
    top = SimpleNamespace(transforms=transforms, io=io, __path__=[])
    given = imports_again(monkeypatch, torchvision=top, torchvision_transforms=transforms,
                          torchvision_transforms_functional=functional, torchvision_io=io)
    assert [given[n] for n in VISION] == [transforms, functional, 2, 3]


FAILURES = (ModuleNotFoundError('No module named torchvision'), OSError('undefined symbol'),
            RuntimeError('operator torchvision::nms does not exist'))


@pytest.mark.parametrize('error', FAILURES, ids=lambda e: type(e).__name__)
def test_imports_does_without_torchvision(monkeypatch, error):
    "Where it is not installed, or was made for another torch: then its own import fails in many ways"
    given = imports_again(monkeypatch, error=error)
    assert not set(VISION) & set(given) and given['Learner'] is Learner


def test_the_package_itself_gives_nothing():
    res = subprocess.run([sys.executable, '-c',
                          'from miniai import *; print(*[n for n in globals() if n[0] != "_"])'], cwd=ROOT,
                          capture_output=True, text=True)
    assert res.stdout.strip() == '' and not res.returncode


def test_modules_in_the_order_of_the_notebooks():
    "No name of a later module overwrites another one's"
    seen = {}
    for name in 'datasets conv learner activations init sgd resnet augment accel training'.split():
        m = importlib.import_module(f'miniai.{name}')
        if name == 'init': del seen['conv']  # the one name with two meanings: the second wins
        for n in m.__all__: assert seen.setdefault(n, getattr(m, n)) is getattr(m, n), n


def test_the_bare_names_are_none_and_the_methods_there():
    assert ml.lr_find is None and callable(Learner.lr_find)
    for name in 'summary', 'show_image_batch', 'capture_preds':
        assert getattr(importlib.import_module('miniai.augment'), name) is None
        assert callable(getattr(Learner, name)) and callable(getattr(TrainLearner, name))


SIGNATURES = {
    'training.accuracy': '(out, yb)', 'training.report': '(loss, preds, yb)',
    'training.fit': '(epochs, model, loss_func, opt, train_dl, valid_dl)',
    'training.get_dls': '(train_ds, valid_ds, bs, **kwargs)', 'training.Dataset': '(x, y)',
    'datasets.inplace': '(f)', 'datasets.collate_dict': '(ds)',
    'datasets.show_image': '(im, ax=None, figsize=None, title=None, noframe=True)',
    'datasets.subplots': '(nrows=1, ncols=1, figsize=None, imsize=3, suptitle=None)',
    'datasets.get_grid': "(n, nrows=None, ncols=None, title=None, weight='bold', size=14)",
    'datasets.show_images': '(ims, nrows=None, ncols=None, titles=None)', 'datasets.DataLoaders': '(*dls)',
    'datasets.DataLoaders.from_dd': '(dd, batch_size, as_tuple=True, **kwargs)',
    'conv.conv': '(ni, nf, ks=3, stride=2, act=True)', 'conv.collate_device': '(b)',
    'conv.to_device': f'(x, device={ml.def_device!r})',
    'init.BatchTransformCB': '(tfm, on_train=True, on_val=True)', 'init.init_weights': '(m, leaky=0.0)',
    'init.GeneralRelu': '(leak=None, sub=None, maxv=None)', 'init.lsuv_init': '(model, m, m_in, xb)',
    'init.conv': '(ni, nf, ks=3, stride=2, act=ReLU, norm=None, bias=None)',
    'init.get_model': '(act=ReLU, nfs=None, norm=None)', 'init.clean_mem': '()',
    'init.plot_func': '(f, start=-5.0, end=5.0, steps=100)',
    'learner.Learner': '(model, dls=(0,), loss_func=mse_loss, lr=0.1, cbs=None, opt_func=SGD)',
    'learner.Learner.fit': '(self, n_epochs=1, train=True, valid=True, cbs=None, lr=None)',
    'learner.Learner.one_epoch': '(self, training)',
    'learner.Learner.callback': '(self, method_nm)',
    'learner.Learner.lr_find': '(self, gamma=1.3, max_mult=3, start_lr=1e-05, max_epochs=10)',
    'learner.run_cbs': '(cbs, method_nm, learn=None)', 'learner.with_cbs': '(nm)', 'learner.to_cpu': '(x)',
    'learner.SingleBatchCB': '()',
    'learner.MetricsCB': '(*ms, **metrics)', 'learner.TrainCB': '(n_inp=1)',
    'learner.ProgressCB': '(plot=False)',
    'learner.TrainLearner': '(model, dls=(0,), loss_func=mse_loss, lr=0.1, cbs=None, opt_func=SGD)',
    'learner.MomentumLearner': '(model, dls, loss_func, lr=None, cbs=None, opt_func=SGD, mom=0.85)',
    'learner.LRFinderCB': '(gamma=1.3, max_mult=3)',
    'resnet.Learner.summary': '(self)',
    'augment.Learner.show_image_batch': '(self, max_n=9, cbs=None, **kwargs)',
    'augment.Learner.capture_preds': '(self, cbs=None, inps=False)', 'augment.CapturePreds': '()',
    'augment.rand_erase': '(x, pct=0.2, max_num=4)', 'augment.rand_copy': '(x, pct=0.2, max_num=4)',
    'accel.MixedPrecision': '(n_inp=1)', 'accel.AccelerateCB': "(n_inp=1, mixed_precision='fp16')",
    'augment.RandErase': '(pct=0.2, max_num=4)', 'augment.RandCopy': '(pct=0.2, max_num=4)',
    'sgd.BaseSchedCB': '(sched)', 'sgd.BatchSchedCB': '(sched)', 'sgd.EpochSchedCB': '(sched)',
    'activations.set_seed': '(seed, deterministic=False)', 'activations.Hook': '(m, f)',
    'activations.Hooks': '(ms, f)', 'activations.append_stats': '(hook, mod, inp, outp)',
    'activations.HooksCallback': '(hookfunc, mod_filter=noop, on_train=True, on_valid=False, mods=None)',
    'activations.get_hist': '(h)', 'activations.get_min': '(h)',
    'activations.ActivationStats': '(mod_filter=noop)',
    'activations.ActivationStats.color_dim': '(self, figsize=(11, 5))',
    'activations.ActivationStats.dead_chart': '(self, figsize=(11, 5))',
    'activations.ActivationStats.plot_stats': '(self, figsize=(10, 4))',
    'sgd.HasLearnCB': '()', 'sgd.RecorderCB': '(**d)'}


def told(p):
    default = '' if p.default is p.empty else f'={getattr(p.default, "__name__", None) or repr(p.default)}'
    return {p.VAR_POSITIONAL: '*', p.VAR_KEYWORD: '**'}.get(p.kind, '') + p.name + default


@pytest.mark.parametrize('path', SIGNATURES)
def test_signatures(path):
    module,_,name = path.partition('.')
    try: signature = inspect.signature(attrgetter(name)(importlib.import_module(f'miniai.{module}')))
    except ValueError: pytest.fail(f'{path} has no signature')
    want,got = SIGNATURES[path][1:-1],[told(p) for p in signature.parameters.values()]
    want = re.split(r', (?=[a-z*])', want) if want else []  # not within (11, 5)
    stars = [w for w in want if w.startswith('**')]
    plain = [w for w in want if w not in stars]
    assert [g.partition('=')[0] for g in got[:len(plain)]] == [w.partition('=')[0] for w in plain], got
    assert got[:len(plain)] == plain, got
    more = list(zip(got, signature.parameters.values()))[len(plain):]
    for g,p in more:  # of ours, as long as no caller must give it
        assert p.default is not p.empty or g in stars or p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL), got


def test_device_cb_has_the_default_device():
    assert inspect.signature(DeviceCB).parameters['device'].default == ml.def_device


def test_the_plotting_functions_tell_matplotlibs_arguments():
    ds = importlib.import_module('miniai.datasets')
    assert 'cmap' in inspect.signature(ds.show_image).parameters
    assert {'imsize', 'suptitle'} <= set(inspect.signature(ds.get_grid).parameters)
    assert {'imsize', 'figsize'} <= set(inspect.signature(ds.show_images).parameters)
    assert 'sharex' in inspect.signature(ds.subplots).parameters


# -- what such a notebook brings along

def data(n=5, bs=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n*bs - 3, 6, generator=g)
    return [(xb, xb[:,:3].argmax(1)) for xb in x.split(bs)]

def dls(): return SimpleNamespace(train=data(), valid=data(3, seed=1))

def get_model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 3))

def values(learn): return torch.cat([p.detach().flatten() for p in learn.model.parameters()])


class OwnSGD:
    def __init__(self, params, lr, wd=0.):
        params = list(params)
        fc.store_attr()
        self.i = 0
    def step(self):
        with torch.no_grad():
            for p in self.params:
                self.reg_step(p)
                self.opt_step(p)
        self.i += 1
    def opt_step(self, p): p -= p.grad * self.lr
    def reg_step(self, p):
        if self.wd != 0: p *= 1 - self.lr*self.wd
    def zero_grad(self):
        for p in self.params: p.grad.data.zero_()

class OwnMomentum(OwnSGD):
    def __init__(self, params, lr, wd=0., mom=0.9):
        super().__init__(params, lr=lr, wd=wd)
        self.mom = mom
    def opt_step(self, p):
        if not hasattr(p, 'grad_avg'): p.grad_avg = torch.zeros_like(p.grad)
        p.grad_avg = p.grad_avg*self.mom + p.grad*(1-self.mom)
        p -= self.lr*p.grad_avg


class OwnRMSProp(OwnSGD):
    def __init__(self, params, lr, wd=0., sqr_mom=0.99, eps=1e-5):
        super().__init__(params, lr=lr, wd=wd)
        self.sqr_mom,self.eps = sqr_mom,eps
    def opt_step(self, p):
        if not hasattr(p, 'sqr_avg'): p.sqr_avg = p.grad**2
        p.sqr_avg = p.sqr_avg*self.sqr_mom + p.grad**2*(1-self.sqr_mom)
        p -= self.lr*p.grad/(p.sqr_avg.sqrt() + self.eps)

class OwnAdam(OwnSGD):
    def __init__(self, params, lr, wd=0., beta1=0.9, beta2=0.99, eps=1e-5):
        super().__init__(params, lr=lr, wd=wd)
        self.beta1,self.beta2,self.eps = beta1,beta2,eps
    def opt_step(self, p):
        if not hasattr(p, 'avg'): p.avg,p.sqr_avg = torch.zeros_like(p.grad),torch.zeros_like(p.grad)
        p.avg = self.beta1*p.avg + (1-self.beta1)*p.grad
        p.sqr_avg = self.beta2*p.sqr_avg + (1-self.beta2)*p.grad**2
        avg,sqr_avg = p.avg/(1 - self.beta1**(self.i+1)),p.sqr_avg/(1 - self.beta2**(self.i+1))
        p -= self.lr*avg/(sqr_avg + self.eps).sqrt()


class Multiclass:
    "With the interface of torcheval's metrics"
    def __init__(self, device=None): self.reset()
    def reset(self):
        self.num_correct,self.num_total = torch.tensor(0.),torch.tensor(0.)
        return self
    @torch.inference_mode()
    def update(self, input, target):
        self.num_correct += (input.argmax(1) == target).sum()
        self.num_total += len(target)
        return self
    def compute(self): return self.num_correct/self.num_total
    def to(self, device): return self


def test_the_learner_of_the_notebooks(capsys):
    metrics = MetricsCB(accuracy=Multiclass())
    cbs = fc.L(TrainCB(), DeviceCB('cpu'), metrics, ProgressCB(plot=True))
    learn = Learner(get_model(), dls(), F.cross_entropy, lr=0.2, cbs=cbs)
    assert isinstance(learn.cbs, fc.L) and learn.cbs is not cbs
    assert learn.fit(2) is None
    assert learn.metrics is metrics
    assert learn.n_epochs == 2
    assert learn.epoch == 1
    assert learn.iter == 2
    assert len(learn.batch) == 2
    assert learn.preds.shape == (5, 3)
    assert learn.loss.ndim == 0
    assert isinstance(learn.opt, optim.Optimizer)
    assert len(learn.dl) == 3
    head,*rows = capsys.readouterr().out.splitlines()
    assert head.split() == ['accuracy', 'loss', 'epoch', 'train', 'time'] and len(rows) == 4
    assert [r.split()[3] for r in rows] == ['train', 'eval']*2
    assert all(len(r.split()[0].split('.')[1]) == 3 for r in rows)
    assert list(metrics.metrics) == ['accuracy']
    assert list(metrics.all_metrics) == ['accuracy', 'loss']
    assert metrics.all_metrics['loss'] is metrics.loss


def test_metrics_are_named_by_class_and_logged_as_texts():
    rows = []
    metrics = MetricsCB(Multiclass(), other=Multiclass())
    metrics._log = rows.append
    Learner(get_model(), dls(), F.cross_entropy, 0.2, cbs=[metrics]).fit(1)
    assert [list(r) for r in rows] == [['Multiclass', 'other', 'loss', 'epoch', 'train']]*2
    assert rows[1]['epoch'] == 0
    assert rows[1]['train'] == 'eval'
    assert isinstance(rows[1]['loss'], str)
    assert len(rows[1]['loss'].split('.')[1]) == 3


def test_metrics_print_without_a_progress_bar(capsys):
    Learner(get_model(), dls(), F.cross_entropy, 0.2, cbs=MetricsCB()).fit(1)
    assert capsys.readouterr().out.startswith("{'loss': '")


@pytest.mark.parametrize('opt_func', [OwnSGD, OwnMomentum, partial(OwnMomentum, mom=0.5),
                                      OwnRMSProp, partial(OwnAdam, beta1=0.95), optim.SGD,
                                      partial(optim.AdamW, betas=(0.9, 0.95), eps=1e-5)])
@pytest.mark.parametrize('cls', [Learner, TrainLearner])
def test_optimizers_of_the_notebooks(opt_func, cls):
    learn = cls(get_model(), dls(), F.cross_entropy, lr=0.1, opt_func=opt_func)
    before = values(learn)
    learn.fit(2)
    assert not torch.equal(before, values(learn))
    first = learn.opt
    learn.fit(1)
    assert learn.opt is not first


def test_the_rate_comes_second_and_by_position():
    def opt_func(*args):
        assert len(args) == 2 and args[1] in (0.1, 0.7)
        return OwnSGD(*args)
    learn = Learner(get_model(), dls(), F.cross_entropy, opt_func=opt_func)
    learn.fit(1); learn.fit(1, lr=0.7)
    assert learn.lr == 0.1 and learn.opt.lr == 0.7


def test_a_false_opt_func_keeps_the_optimizer_there_is():
    learn = Learner(get_model(), dls(), F.cross_entropy, opt_func=None)
    learn.opt = mine = OwnSGD(learn.model.parameters(), 0.1)
    learn.fit(1)
    assert learn.opt is mine and mine.i == 5


def test_callbacks_as_one_a_list_or_an_l():
    class Count(Callback):
        def before_fit(self, learn): self.n = 0
        def after_batch(self, learn): self.n += 1
    own,guest,mine = Count(),Count(),[]
    for cbs in (own, [own], (own,), fc.L(own), fc.L(own) + fc.L(None), [own] + fc.L()):
        learn = Learner(get_model(), dls(), F.cross_entropy, cbs=cbs)
        assert list(learn.cbs) == [own]
        for extra in (guest, [guest], fc.L(guest)):
            learn.fit(1, cbs=extra)
            assert list(learn.cbs) == [own] and own.n == guest.n == 8
    learn = Learner(get_model(), dls(), F.cross_entropy, cbs=mine)
    learn.fit(1, cbs=SingleBatchCB())
    assert mine == [] and len(learn.cbs) == 0 and list(Learner(get_model()).cbs) == []
    learn.fit(1, train=False, cbs=[SingleBatchCB(), own])
    assert own.n <= 1 and not learn.training


def test_one_instance_serves_several_learners(capsys):
    cbs = [MetricsCB(accuracy=Multiclass()), ProgressCB()]
    for i in range(3): Learner(get_model(), dls(), F.cross_entropy,
                               cbs=cbs + [SingleBatchCB()]*(i == 1)).fit(1)
    assert len(capsys.readouterr().out.splitlines()) == 2*3


def test_a_callback_after_the_device():
    class Seen(Callback):
        order = DeviceCB.order + 1
        def before_batch(self, learn): seen.append(learn.batch[0].shape)
    seen = []
    assert (Callback.order, SingleBatchCB.order, ProgressCB.order, MetricsCB.order, TrainCB.order,
            DeviceCB.order) == (0, 60, 1, 0, 0, 0)
    class Half(Callback):
        def before_batch(self, learn): learn.batch = tuple(t[:3] for t in learn.batch)
    Learner(get_model(), dls(), F.cross_entropy, cbs=[Seen(), DeviceCB('cpu'), Half()]).fit(1)
    assert set(seen) == {(3, 6)}


def test_run_cbs_without_a_learner():
    class Counts(Callback):
        def before_fit(self, learn=None): self.count = 0
        def after_batch(self, learn=None): self.count += 1
        def after_fit(self, learn=None): assert learn is None
    cb = Counts()
    run_cbs([cb], 'before_fit')
    run_cbs([cb, cb], 'after_batch')
    run_cbs([cb], 'no_such_event')
    run_cbs(fc.L(cb), method_nm='after_fit')
    assert cb.count == 2


def test_with_cbs_on_any_object():
    class Thing:
        def __init__(self): self.names = []
        def callback(self, name): self.names.append(name)
        @with_cbs('epoch')
        def work(self, cancel):
            if cancel: raise CancelEpochException()
            return 1
    thing = Thing()
    assert thing.work(False) is None and thing.work(True) is None
    assert thing.names == ['before_epoch', 'after_epoch', 'cleanup_epoch', 'before_epoch', 'cleanup_epoch']


def test_actions_are_events_of_the_plain_learner():
    class OwnTrain(Callback):
        def __init__(self, n_inp=1): self.n_inp = n_inp
        def predict(self, learn): learn.preds = learn.model(*learn.batch[:self.n_inp])
        def get_loss(self, learn): learn.loss = learn.loss_func(learn.preds, *learn.batch[self.n_inp:])
        def backward(self, learn): learn.loss.backward()
        def step(self, learn): learn.opt.step()
        def zero_grad(self, learn): learn.opt.zero_grad()
    theirs,ours = (Learner(get_model(), dls(), F.cross_entropy, cbs=cb) for cb in (OwnTrain(), TrainCB()))
    theirs.fit(1); ours.fit(1)
    assert torch.equal(values(theirs), values(ours))
    class Skips(OwnTrain):
        def predict(self, learn): learn.preds = learn.model(learn.batch[0])*0
    learn = Learner(get_model(), dls(), F.cross_entropy, cbs=Skips())
    learn.fit(1)
    assert (learn.preds == 0).all()
    learn.predict()  # by hand, outside of a fit
    with pytest.raises(AttributeError, match='Learner has no attribute nonsense'): learn.nonsense


def test_a_subclass_with_methods():
    class Own(Learner):
        def predict(self): self.preds = self.model(self.batch[0])
        def get_loss(self): self.loss = self.loss_func(self.preds, self.batch[1])
        def backward(self): self.loss.backward()
        def step(self): self.opt.step()
        def zero_grad(self): self.opt.zero_grad()
    learns = [cls(get_model(), dls(), F.cross_entropy) for cls in (Own, TrainLearner, Learner)]
    for learn in learns: learn.fit(1)
    assert torch.equal(values(learns[0]), values(learns[1]))
    assert torch.equal(values(learns[0]), values(learns[2]))


def test_what_callbacks_assign_takes_effect():
    class Swap(Callback):
        def before_fit(self, learn):
            learn.epochs = range(1)
            learn.model,learn.opt = other,optim.SGD(other.parameters(), 0.)
            learn.dls.train = learn.dls.train[:2]
        def before_epoch(self, learn): learn.dl = learn.dl[:1]
        def after_predict(self, learn): learn.preds = learn.preds.detach().requires_grad_()
        def after_loss(self, learn): learn.loss = learn.loss*0
        def after_batch(self, learn): self.n = getattr(self, 'n', 0) + 1
    other,swap = get_model(),Swap()
    learn = Learner(get_model(), dls(), F.cross_entropy, cbs=swap)
    learn.fit(5)
    assert swap.n == 2 and learn.model is other and learn.loss == 0 and len(learn.dls.train) == 2


def test_cancelling_goes_where_it_should():
    log = []
    class Log(Callback):
        order = 10
    for name in EVENTS:
        if name not in ACTIONS: setattr(Log, name, lambda self, learn,
                                        name=name: log.append((name, learn.training)))
    class Cancel(Callback):
        def after_batch(self, learn): raise self.error()
    cancel = Cancel()
    def names(error, **kwargs):
        log.clear()
        cancel.error = error
        Learner(get_model(), SimpleNamespace(train=data(2), valid=data(1)), F.cross_entropy,
                cbs=[Log(), cancel]).fit(1, **kwargs)
        return [n for n,_ in log]
    fit = names(CancelFitException)
    assert fit[-3:] == ['cleanup_batch', 'cleanup_epoch', 'cleanup_fit']
    assert not {'after_batch', 'after_epoch', 'after_fit'} & set(fit)
    assert fit.count('before_batch') == 1
    epoch = names(CancelEpochException)
    assert epoch.count('before_epoch') == 2
    assert epoch.count('before_batch') == 2
    assert 'after_epoch' not in epoch
    assert epoch[-2:] == ['after_fit', 'cleanup_fit']
    batch = names(CancelBatchException)
    assert batch.count('before_batch') == 3 and batch.count('after_epoch') == 2 and 'after_batch' not in batch


def test_patching_the_learner(monkeypatch):
    importlib.import_module('miniai.resnet')  # its `summary` is patched over
    for name in 'summary','lr_find': monkeypatch.setattr(Learner, name, getattr(Learner, name))  # as it was
    @fc.patch
    def summary(self:Learner): return f'{len(list(self.model.parameters()))} parameters'
    @fc.patch
    def lr_find(self:Learner, gamma=1.3): return gamma
    assert Learner(get_model()).summary() == TrainLearner(get_model()).summary() == '4 parameters'
    assert Learner(get_model()).lr_find() == 1.3


def test_lr_find_of_the_notebooks(capsys):
    import matplotlib.pyplot as plt
    usual = [TrainCB(), DeviceCB('cpu'), MetricsCB(accuracy=Multiclass()), ProgressCB(plot=True)]
    for cls,cbs in ((TrainLearner, [DeviceCB('cpu')]), (Learner, usual), (MomentumLearner, [])):
        learn = cls(get_model(), dls(), F.cross_entropy, cbs=cbs)
        assert learn.lr_find(start_lr=1e-3, gamma=1.5, max_mult=4, max_epochs=5) is None
        assert len(learn.cbs) == len(cbs)
        assert plt.gcf().axes[0].get_xscale() == 'log'
        plt.close('all')
    finder = LRFinderCB()
    Learner(get_model(), dls(), F.cross_entropy, lr=1e-4, cbs=[TrainCB()]).fit(3, cbs=finder)
    assert len(finder.lrs) == len(finder.losses)
    assert finder.min == min(finder.losses)
    assert finder.sched.get_last_lr()[0] > 1e-4
    plt.close('all')


def test_momentum_learner_without_a_rate_or_with_a_frozen_parameter():
    model = get_model()
    model[0].weight.requires_grad_(False)
    learn = MomentumLearner(model, dls(), F.cross_entropy)
    learn.fit(1)
    assert learn.mom == 0.85
    assert MomentumLearner(get_model(), dls(), F.cross_entropy, 0.1, None, optim.SGD, 0.5).mom == 0.5


def test_progress_keeps_what_readers_of_it_use():
    progress = ProgressCB(plot=True)
    learn = Learner(get_model(), dls(), F.cross_entropy, cbs=[MetricsCB(), progress])
    learn.fit(2)
    assert hasattr(progress, 'mbar') and progress.first in (True, False)
    assert len(progress.losses) == 10
    assert len(progress.val_losses) == 2
    assert all(float(v) > 0 for v in (*progress.losses, *progress.val_losses))


def test_progress_with_a_metrics_callback_of_the_notebooks_own(capsys):
    class OwnMetrics(Callback):
        def __init__(self, **metrics): self.metrics,self.all_metrics,self.loss = metrics,dict(metrics),Mean()
        def _log(self, d): print(d)
        def before_fit(self, learn): learn.metrics = self
        def before_epoch(self, learn): [m.reset() for m in (*self.metrics.values(), self.loss)]
        def after_batch(self, learn):
            x,y,*_ = to_cpu(learn.batch)
            for m in self.metrics.values(): m.update(to_cpu(learn.preds), y)
            self.loss.update(to_cpu(learn.loss), len(x))
        def after_epoch(self, learn):
            log = {k: f'{v.compute():.3f}' for k,v in (*self.metrics.items(), ('loss', self.loss))}
            log['epoch'],log['train'] = learn.epoch,'train' if learn.model.training else 'eval'
            self._log(log)
    Learner(get_model(), dls(), F.cross_entropy,
            cbs=[OwnMetrics(accuracy=Multiclass()), ProgressCB(plot=True)]).fit(2)
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_nested_batches_and_many_loaders():
    batches = [((x, torch.rand(len(x), 1)), x) for x,_ in data()]
    learn = Learner(Unet(), SimpleNamespace(train=MultDL(batches), valid=batches), F.mse_loss, 0.1,
                    cbs=[DeviceCB('cpu'), MetricsCB(), ProgressCB()])
    learn.fit(1)
    assert learn.iter == 4 and learn.history[0]['loss'] > 0


def test_to_cpu_and_device():
    x = dict(a=torch.ones(2, requires_grad=True),
             b=[torch.ones(1, dtype=torch.float16), (torch.ones(1, dtype=torch.bfloat16),)])
    y = to_cpu(x)
    assert not y['a'].requires_grad
    assert y['b'][0].dtype == torch.float32
    assert y['b'][1][0].dtype == torch.bfloat16
    assert isinstance(y['b'], list)


def test_schedulers_and_recorder_of_the_notebooks():
    from miniai.sgd import BaseSchedCB, BatchSchedCB, EpochSchedCB, HasLearnCB, RecorderCB
    import matplotlib.pyplot as plt
    rec = RecorderCB(lr=lambda cb: cb.pg['lr'], mom=lambda cb: cb.pg['betas'][0])
    for _ in range(2):  # used again: each fit builds a new scheduler
        sched = BatchSchedCB(partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=2*5))
        learn = TrainLearner(get_model(), dls(), F.cross_entropy, lr=0.1, cbs=[DeviceCB('cpu'), sched, rec],
                             opt_func=optim.AdamW)
        learn.fit(2)
        first = sched.schedo
        learn.fit(2)
        assert sched.schedo is not first
        assert len(rec.recs['lr']) == 10
        assert issubclass(BatchSchedCB, BaseSchedCB)
        assert issubclass(RecorderCB, Callback)
    rec.plot()
    assert len(plt.get_fignums()) == 2
    plt.close('all')
    class Seen(HasLearnCB):
        def after_fit(self, learn): assert self.learn is learn
    seen = Seen()
    decay = EpochSchedCB(partial(lr_scheduler.ExponentialLR, gamma=0.9))
    Learner(get_model(), dls(), F.cross_entropy).fit(1, cbs=[seen, decay])
    assert seen.learn is None


# -- training and datasets

def test_training_functions(capsys):
    from miniai.training import accuracy, report, Dataset, fit, get_dls
    out,yb = torch.eye(3)[[0, 1, 2, 2]],torch.tensor([0, 1, 2, 0])
    acc = accuracy(out, yb)
    assert acc.shape == () and acc.dtype == torch.float32 and acc == 0.75
    report(torch.tensor(0.5), out, yb)
    assert capsys.readouterr().out == '0.50, 0.75\n'
    x,y = (torch.cat(o) for o in zip(*data()))
    ds = Dataset(x, y)
    assert len(ds) == 37
    assert isinstance(ds[0], tuple)
    assert ds[0][1] == y[0]
    assert torch.equal(ds[[1, 2]][0], x[1:3])
    assert torch.equal(ds[2:5][1], y[2:5])
    assert ds.x is x
    assert ds.y is y
    train,valid = get_dls(ds, ds, 4, num_workers=0)
    assert next(iter(train))[0].shape == (4, 6)
    assert next(iter(valid))[0].shape == (8, 6)
    assert torch.equal(next(iter(valid))[0], x[:8])
    model = get_model()
    loss,acc = fit(2, model, F.cross_entropy, optim.SGD(model.parameters(), 0.1), train, valid)
    lines = capsys.readouterr().out.splitlines()
    assert isinstance(loss, float)
    assert isinstance(acc, float)
    assert [line.split()[0] for line in lines] == ['0', '1']
    assert all(len(line.split()) == 3 for line in lines)


def test_datasets_functions():
    from miniai.datasets import DataLoaders, collate_dict, get_grid, inplace
    from miniai.datasets import show_image, show_images, subplots
    import matplotlib.pyplot as plt, datasets
    @inplace
    def add(b): b['y'] = b['x']*2
    b = dict(x=1)
    assert add(b) is b and b['y'] == 2 and inplace(lambda o: o.append(1))([0]) == [0, 1]
    features = datasets.Features(image=datasets.Sequence(datasets.Value('float32')),
                                 label=datasets.Value('int64'))
    rows = datasets.Dataset.from_dict(dict(image=[[0., 1.]]*10, label=list(range(10))),
                                      features=features).with_format('torch')
    xb,yb = collate_dict(rows)([rows[i] for i in range(4)])
    assert xb.shape == (4, 2) and yb.tolist() == [0, 1, 2, 3]
    dls = DataLoaders.from_dd(datasets.DatasetDict(train=rows, test=rows), 4, num_workers=0)
    xb,yb = next(iter(dls.valid))
    assert xb.shape == (8, 2) and len(dls.train) == 3
    dls.train = [1]
    assert dls.train == [1]
    ims = torch.rand(5, 1, 4, 4)
    fig,ax = plt.subplots()
    assert show_image(ims[0], ax, title='a', cmap='gray') is ax and show_image(ims[0]) is not None
    fig,axs = subplots(2, 3, imsize=2)
    assert axs.shape == (2, 3) and tuple(fig.get_size_inches()) == (6, 4) and subplots()[1].shape == (1,)
    fig,axs = get_grid(5, ncols=3)
    assert show_images(ims, titles='abcde') is None and show_images(list(ims), nrows=1, imsize=1) is None
    plt.close('all')


def test_a_notebooks_script_from_star_imports(tmp_path):
    code = '''
        import torch, torch.nn.functional as F, fastcore.all as fc
        from torch import nn, optim, tensor
        from functools import partial
        from miniai.datasets import *
        from miniai.learner import *
        from miniai.sgd import *
        from miniai.training import *
        torch.manual_seed(42)
        x = torch.randn(300, 6); y = x[:,:3].argmax(1)
        dls = DataLoaders(*get_dls(Dataset(x[:250], y[:250]), Dataset(x[250:], y[250:]), 16))
        model = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 3))
        class NBatchCB(Callback):
            def __init__(self, nb): self.nb,self.count = nb,0
            def after_batch(self, learn):
                self.count += 1
                if self.count == self.nb: raise CancelFitException()
        class LRFind(Callback):
            def before_fit(self, learn):
                self.lrs,self.losses,self.min = [],[],float('inf')
            def after_batch(self, learn):
                if not learn.training: raise CancelEpochException()
                self.lrs.append(learn.opt.param_groups[0]['lr'])
                loss = to_cpu(learn.loss)
                self.losses.append(loss)
                if loss < self.min: self.min = loss
                if loss > self.min*3: raise CancelFitException()
                for g in learn.opt.param_groups: g['lr'] *= 1.3
        learn = Learner(model, dls, F.cross_entropy, lr=1e-4, cbs=[TrainCB(), DeviceCB(), LRFind()])
        learn.fit(5)
        cbs = [DeviceCB(), MetricsCB(), ProgressCB(plot=True)]
        one_cycle = partial(optim.lr_scheduler.OneCycleLR, max_lr=0.05, total_steps=3*len(dls.train))
        xtra = [BatchSchedCB(one_cycle)]
        learn = TrainLearner(model, dls, F.cross_entropy, lr=0.05, cbs=cbs+xtra, opt_func=optim.AdamW)
        learn.fit(3)
        learn.fit(1, cbs=NBatchCB(2)); assert learn.iter == 1
        torch.save(learn.model, 'm.pkl')
        assert torch.load('m.pkl', weights_only=False)(x[:2]).shape == (2, 3)
        assert (learn.model(x).argmax(1) == y).float().mean() > 0.8
    '''
    res = subprocess.run([sys.executable, '-c', textwrap.dedent(code)], cwd=tmp_path,
                         env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True)
    assert res.returncode == 0, res.stderr


def test_a_whole_learner_model_pickles():
    learn = Learner(get_model(), dls(), F.cross_entropy, cbs=[MetricsCB(accuracy=Accuracy())])
    assert pickle.loads(pickle.dumps(learn.model))(torch.ones(1, 6)).shape == (1, 3)


# -- our callbacks with a learner of a notebook's own

LEARNER_MODULES = '''loop metrics looking sched activations init augment keep resume track steps replay
                     accel'''.split()
OURS_ONLY = {'AccumulateCB', 'CheckpointCB', 'ReplayCB', 'ProfileCB'}  # they say so


def public_callbacks():
    "All callbacks that the package hands out, by name"
    modules = [importlib.import_module(f'miniai.{name}') for name in LEARNER_MODULES]
    found = {name: getattr(m, name) for m in modules for name in m.__all__}
    return {name: cls for name,cls in found.items()
            if isinstance(cls, type) and issubclass(cls, Callback) and any(hasattr(cls, e) for e in EVENTS)}


def made(name, cls, folder):
    "A callback of each class as one would use it, with those that it needs"
    from miniai.sched import sched_lin
    with_arguments = dict(
        HooksCallback=lambda: cls(lambda *args: None),
        ParamScheduler=lambda: cls('lr', sched_lin(0.1, 0)),
        RecorderCB=lambda: cls(lr=lambda cb: cb.pg['lr']),
        BaseSchedCB=lambda: cls(partial(lr_scheduler.StepLR, step_size=1)),
        BatchSchedCB=lambda: cls(partial(lr_scheduler.StepLR, step_size=1)),
        EpochSchedCB=lambda: cls(partial(lr_scheduler.ReduceLROnPlateau, patience=0)),
        SaveBestCB=lambda: cls(folder/'best.pt'), CheckpointCB=lambda: cls(folder/'checkpoints'),
        LogCB=lambda: cls(folder/'log.jsonl', every=1),
        TrackerCB=lambda: cls(LocalTracker(folder, 'run'), every=1), HistogramsCB=lambda: cls(2),
        AccumulateCB=lambda: cls(2), ClipGradCB=lambda: cls(0.1), LimitCB=lambda: cls(steps=8),
        BatchTransformCB=lambda: cls(lambda b: (b[0]*2, b[1])),
        CompileCB=lambda: cls('eager'),
        MetricsCB=lambda: cls(Accuracy()), ProgressCB=lambda: cls(plot=True), DeviceCB=lambda: cls('cpu'))
    return with_arguments.get(name, cls)()


@pytest.mark.parametrize('name', public_callbacks())
def test_each_of_our_callbacks_works_with_any_learner(name, tmp_path, capsys):
    "With one that has what COMPAT section 4 promises and no more, as with ours; or it says what it needs"
    import matplotlib.pyplot as plt
    cls,results = public_callbacks()[name],[]
    trains = issubclass(cls, TrainCB)
    for learner in Learner, Stranger, OwnLearner:
        folder = tmp_path/learner.__name__
        folder.mkdir()
        cbs = [TrainCB()]*(not trains) + [MetricsCB(), made(name, cls, folder)]
        if name == 'HistogramsCB': cbs.append(TrackerCB(LocalTracker(folder, 'run')))
        learn = learner(get_model(), dls(), F.cross_entropy, 0.2, cbs)
        if learner is not Learner and name in OURS_ONLY:
            with pytest.raises(TypeError, match=f"{name} needs miniai's Learner"): learn.fit(3)
            continue
        learn.fit(3)
        rows = [line.split()[:3] for line in capsys.readouterr().out.splitlines()]  # without times
        results.append((values(learn), rows, sorted(p.name for p in folder.iterdir())))
    for theirs,*their_texts in results:
        torch.testing.assert_close(theirs, results[0][0])
        assert their_texts == list(results[0][1:])
    plt.close('all')


@pytest.mark.parametrize('learner', [Stranger, OwnLearner])
def test_many_of_our_callbacks_with_a_learner_of_a_notebooks_own(learner, capsys):
    "One that was written for it, and the one that lesson 15_learner ends with"
    from miniai.sched import OneCycle, RecorderCB
    import matplotlib.pyplot as plt
    recorder = RecorderCB(lr=lambda cb: cb.pg['lr'])
    many = [TrainCB(), DeviceCB('cpu'), MetricsCB(Accuracy()), ProgressCB(plot=True), recorder, OneCycle(0.3)]
    ours,theirs = (cls(get_model(), dls(), F.cross_entropy, 0.1, many) for cls in (Learner, learner))
    ours.fit(2)
    rates = recorder.recs['lr']
    theirs.fit(2)
    torch.testing.assert_close(values(ours), values(theirs))
    assert recorder.recs['lr'] == rates and len(set(rates)) > 5
    lines = [line.split()[:4] for line in capsys.readouterr().out.splitlines()]
    assert lines[:5] == lines[5:] and len(lines) == 10
    plt.close('all')
