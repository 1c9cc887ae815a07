"The Learner: order of events, cancelling, state, metrics, looking, saving, and errors a beginner can act on"
import copy, pickle, re, subprocess, sys, textwrap, traceback
from functools import partial
from types import SimpleNamespace
import pytest, torch, torch.nn.functional as F
from torch import nn
from miniai import learner as ml
from miniai.check.kit import difference
from miniai.learner import *
from miniai.optim import SGD
from tests.conftest import ROOT


def batches(n=4, size=8, d=6, classes=3, short=3, seed=0):
    "A plain list of batches, the last one short"
    g = torch.Generator().manual_seed(seed)
    sizes = [size]*(n-1) + [short]
    return [(torch.randn(s, d, generator=g), torch.randint(0, classes, (s,), generator=g)) for s in sizes]


class Dls:
    def __init__(self, train, valid=None): self.train,self.valid = train,valid


def net(d=6, classes=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(d, 8), nn.ReLU(), nn.Linear(8, classes))


class Quiet(MetricsCB):
    def _log(self, d): pass


def make(cbs=(), train=None, valid=True, model=None, lr=0.1, loss_func=F.cross_entropy, cls=Learner, **kwargs):
    train = batches() if train is None else train
    return cls(model or net(), Dls(train, batches(3, seed=1) if valid is True else valid), loss_func, lr, cbs=list(cbs), **kwargs)


def weights(learn): return torch.cat([p.detach().flatten() for p in learn.model.parameters()])


class Recorder(Callback):
    "Writes down every event, and raises `error` at the `nth` time of event `at`"
    def __init__(self, at=None, error=None, nth=1): self.events,self.at,self.error,self.nth = [],at,error,nth
    def __getattribute__(self, name):
        if name not in EVENTS: return object.__getattribute__(self, name)
        def told(learn):
            self.events.append(name)
            if name in ACTIONS: ml._DEFAULTS[name](learn)
            if name == self.at and self.events.count(name) == self.nth and self.error: raise self.error('raised by the test')
        return told


TRAIN = 'before_batch predict after_predict get_loss after_loss backward after_backward step after_step zero_grad after_batch cleanup_batch'.split()
VALID = 'before_batch predict after_predict get_loss after_loss after_batch cleanup_batch'.split()


def part(batch, n): return ['before_epoch', *batch*n, 'after_epoch', 'cleanup_epoch']


class Rec(Recorder):
    "A recorder whose methods are found by hasattr"
for _e in EVENTS: setattr(Rec, _e, None)


@pytest.mark.parametrize('epochs,n,v', [(0, 2, 2), (1, 1, 1), (2, 3, 2), (1, 2, 0)])
def test_order_of_events(epochs, n, v):
    rec = Rec()
    make([rec], batches(n), batches(v) if v else None).fit(epochs)
    assert rec.events == ['before_fit', *(part(TRAIN, n) + (part(VALID, v) if v else []))*epochs, 'after_fit', 'cleanup_fit']


def expected(at, error, nth=1, epochs=2, n=2, v=2):
    "The events of a fit in which `error` is raised at the `nth` time of event `at`: the protocol, written down a second time"
    events = []
    def tell(name):
        events.append(name)
        if name == at and events.count(name) == nth and error: raise error()
    def level(name, cancel, body):
        try:
            try:
                tell(f'before_{name}'); body(); tell(f'after_{name}')
            except cancel: pass
            finally: tell(f'cleanup_{name}')
        except cancel: pass
    def batch(names):
        for name in names: tell(name)
    def epoch(names, k):
        for _ in range(k): level('batch', CancelBatchException, lambda: batch(names))
    def fit():
        for _ in range(epochs):
            for names,k in ((TRAIN[1:-2], n), (VALID[1:-2], v)): level('epoch', CancelEpochException, lambda: epoch(names, k))
    try: level('fit', CancelFitException, fit)
    except error or (): return events,error
    return events,None


@pytest.mark.parametrize('at', EVENTS)
@pytest.mark.parametrize('error', [CancelBatchException, CancelEpochException, CancelFitException, KeyError, KeyboardInterrupt])
@pytest.mark.parametrize('nth', [1, 3])
def test_every_cancel_from_every_event(at, error, nth):
    rec,guest = Rec(at, error, nth),Callback()
    learn = make([rec], batches(2), batches(2))
    want,escaped = expected(at, error, nth)
    if escaped:
        with pytest.raises(error): learn.fit(2, cbs=guest)
    else: learn.fit(2, cbs=guest)
    assert rec.events == want
    assert list(learn.cbs) == [rec] and learn._calls is None  # the guest is gone, whatever happened
    rec.error = None
    learn.fit(1)  # and the next fit works


def test_callbacks_behind_the_one_that_cancels_do_not_hear_of_it():
    heard = []
    class First(Callback):
        def after_batch(self, learn): raise CancelBatchException()
    class Later(Callback):
        order = 1
        def after_batch(self, learn): heard.append('after')
        def cleanup_batch(self, learn): heard.append('cleanup')
    make([Later(), First()], batches(1), None).fit(1)
    assert heard == ['cleanup']


def test_each_cleanup_is_told_even_if_one_fails():
    heard = []
    class Fails(Callback):
        def cleanup_fit(self, learn): raise ValueError('first')
    class Later(Callback):
        order = 1
        def cleanup_fit(self, learn): heard.append(1)
    with pytest.raises(ValueError, match='first'): make([Fails(), Later()]).fit(1)
    assert heard == [1]


def test_order_is_by_number_and_stable():
    names = []
    def cb(name, number): return type(name, (Callback,), dict(order=number, before_fit=lambda self, learn: names.append(name)))()
    make([cb('c', 2), cb('a', 0), cb('d', 2), cb('b', 0)]).fit(0)
    assert names == ['a', 'b', 'c', 'd']


def test_the_training_equals_a_loop_by_hand():
    ref,data = net(),batches()
    opt = torch.optim.SGD(ref.parameters(), 0.1, momentum=0.9)
    for _ in range(2):
        for xb,yb in data:
            F.cross_entropy(ref(xb), yb).backward()
            opt.step(); opt.zero_grad()
    for cls,cbs in ((Learner, [TrainCB()]), (Learner, []), (TrainLearner, [])):
        learn = make(cbs, data, cls=cls, opt_func=partial(torch.optim.SGD, momentum=0.9))
        learn.fit(2)
        assert all(torch.equal(p, q) for p,q in zip(ref.parameters(), learn.model.parameters()))


def test_momentum_learner_keeps_a_share_of_the_gradient():
    ref,data = net(),batches()
    for xb,yb in data:
        F.cross_entropy(ref(xb), yb).backward()
        with torch.no_grad():
            for p in ref.parameters():
                p -= 0.1*p.grad
                p.grad *= 0.85
    learn = make(train=data, cls=MomentumLearner, opt_func=torch.optim.SGD)
    learn.fit(1)
    torch.testing.assert_close(weights(learn), torch.cat([p.detach().flatten() for p in ref.parameters()]))


# -- state

def test_state_during_and_after_a_fit():
    learn = make([Quiet()])
    learn.fit(3)
    assert (learn.n_epochs, learn.epoch, learn.iter, list(learn.epochs)) == (3, 2, 2, [0, 1, 2])
    assert learn.preds.shape == (3, 3) and learn.loss.dim() == 0 and len(learn.batch) == 2 and isinstance(learn.opt, SGD)
    assert not learn.training and len(learn.history) == 6
    assert list(learn.history[0]) == ['loss', 'epoch', 'train', 'time']


def test_a_new_optimizer_each_fit_unless_kept():
    learn = make()
    learn.fit(1); first = learn.opt
    learn.fit(1); second = learn.opt
    learn.fit(1, keep_opt=True)
    assert first is not second and learn.opt is second
    learn.fit(1, train=False)
    assert learn.opt is second
    learn.fit(1, lr=0.7)
    assert learn.opt.param_groups[0]['lr'] == 0.7


def test_opt_func_may_have_just_step_and_zero_grad():
    class Plain:
        def __init__(self, params, lr): self.params,self.lr = list(params),lr
        def step(self):
            with torch.no_grad():
                for p in self.params: p -= self.lr*p.grad
        def zero_grad(self):
            for p in self.params: p.grad = None
    learn = make(opt_func=Plain)
    before = weights(learn)
    learn.fit(1)
    assert not torch.equal(before, weights(learn))
    with pytest.raises(TypeError, match='Plain has none'): learn.lr_find()


def test_callbacks_by_name():
    class EarlyBirdCB(Callback): pass
    bird = EarlyBirdCB()
    learn = make([bird, DeviceCB('cpu')])
    assert learn.early_bird is bird and learn.cb('device') is learn.cbs[1]
    with pytest.raises(AttributeError, match='nothing'): learn.nothing
    with pytest.raises(AttributeError, match='no callbacks are named nothing.*early_bird, device'): learn.cb('nothing')
    learn.cbs.append(EarlyBirdCB())
    with pytest.raises(AttributeError, match='2 callbacks are named early_bird'): learn.early_bird
    learn.early_bird = 'real attributes win'
    assert learn.early_bird == 'real attributes win'


def test_a_learner_can_be_copied_and_pickled():
    learn = make([Quiet()])
    learn.fit(1)
    for other in (copy.deepcopy(learn), pickle.loads(pickle.dumps(learn))):
        assert torch.equal(weights(other), weights(learn)) and other.history == learn.history
        other.fit(1)


def test_callbacks_may_assign_what_the_loop_uses():
    class Half(Callback):
        def before_batch(self, learn): learn.batch = tuple(t[:2] for t in learn.batch)
        def after_predict(self, learn): learn.preds = learn.preds*2
        def after_loss(self, learn): learn.loss = learn.loss + 1
    learn = make([Half()])
    learn.fit(1)
    assert len(learn.batch[0]) == 2 and learn.loss > 1


# -- batches of all shapes

class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(6, 3)
    def forward(self, a, b): return self.l(a + b)


def test_several_inputs_and_targets():
    data = [(x, x, y, y) for x,y in batches()]
    def loss(preds, a, b): return F.cross_entropy(preds, a) + F.cross_entropy(preds, b)
    learn = make([TrainCB(n_inp=2), Quiet(accuracy=Accuracy())], data, data, TwoInputs(), loss_func=loss)
    learn.fit(1)
    preds = learn.get_preds()
    assert preds[0].shape == (27, 3) and 0 <= learn.history[-1]['accuracy'] <= 1


def test_dictionary_batches():
    one = [dict(image=x, label=y) for x,y in batches()]
    several = [dict(a=x, b=x, labels=y) for x,y in batches()]
    for data,model in ((one, net()), (several, TwoInputs())):
        learn = make([Quiet(accuracy=Accuracy()), DeviceCB('cpu')], data, data, model)
        learn.fit(1)
        assert learn.history[-1]['accuracy'] == pytest.approx(learn.validate()['accuracy'])


def test_a_model_that_returns_its_own_loss():
    class HF(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.Linear(6, 3)
        def forward(self, x, labels): return SimpleNamespace(loss=F.cross_entropy(self.l(x), labels))
    learn = make([], [dict(x=x, labels=y) for x,y in batches()], None, HF(), loss_func='model')
    before = weights(learn)
    learn.fit(1)
    assert not torch.equal(before, weights(learn))


def test_inputs_alone():
    learn = make([], [x for x,_ in batches()], None, nn.Linear(6, 6), loss_func=lambda preds: preds.pow(2).mean())
    learn.fit(1)
    learn = make([], [(x,) for x,_ in batches()], None, nn.Linear(6, 6), loss_func=lambda preds: preds.pow(2).mean())
    learn.fit(1)


def test_no_validation_set():
    learn = make([Quiet()], valid=None)
    learn.fit(2)
    assert [r['train'] for r in learn.history] == ['train', 'train']


# -- the loss

def test_a_loss_is_picked_and_said(capsys):
    learn = make(loss_func=None)
    learn.fit(1)
    assert learn.loss_func is F.cross_entropy and capsys.readouterr().out.count('loss_func: cross_entropy') == 1
    data = [(x, x) for x,_ in batches()]
    learn = make([], data, data, nn.Linear(6, 6), loss_func=None)
    learn.fit(1)
    assert learn.loss_func is F.mse_loss
    with pytest.raises(ValueError, match=r"can't pick a loss for predictions \(8, 5\) float32 and targets \(8, 6\) float32"):
        make([], data, data, nn.Linear(6, 5), loss_func=None).fit(1)


@pytest.mark.parametrize('change,words', [
    (dict(loss_func=F.mse_loss), 'pass loss_func=F.cross_entropy'),
    (dict(model=nn.Linear(6, 2), loss_func=F.cross_entropy), r'cross_entropy failed on predictions \(8, 2\) float32 and targets \(8,\) int64, in batch 0'),
    (dict(loss_func=nn.L1Loss(reduction='oops')), 'L1Loss failed'), (dict(cbs=[MetricsCB]), r'write MetricsCB\(\)'),
    (dict(cbs=[MetricsCB]), 'callbacks are objects')])
def test_errors_say_what_to_do(change, words):
    with pytest.raises((TypeError, ValueError), match=words): make(**change).fit(1)


def test_misspelt_events_are_refused():
    class Wrong(Callback):
        def after_bacth(self, learn): pass
    for f in (lambda: make([Wrong()]), lambda: make().fit(1, cbs=Wrong())):
        with pytest.raises(ValueError, match='did you mean after_batch'): f()
    class Fine(Callback):
        after_all = 'no method'
    make([Fine()]).fit(1)


def test_metrics_of_an_unknown_kind():
    with pytest.raises(TypeError, match='the metric m is a int'): MetricsCB(m=3)
    with pytest.raises(TypeError, match=r'write Accuracy\(\)'): MetricsCB(m=Accuracy)


@pytest.mark.parametrize('n', [-1, 1.5, '2', True])
def test_n_epochs_is_a_whole_number(n):
    with pytest.raises(ValueError, match='n_epochs'): make().fit(n)


# -- metrics

def test_metrics_equal_those_of_the_whole_set_at_once():
    valid = batches(5, 16, short=3, seed=3)
    learn = make([Quiet(Accuracy(), half=lambda p,t: (p.argmax(1) == t).float().mean())], valid=valid)
    learn.fit(2)
    x,y = (torch.cat(o) for o in zip(*valid))
    preds = learn(x)
    row = learn.history[-1]
    assert row['loss'] == pytest.approx(F.cross_entropy(preds, y).item(), rel=1e-5)
    assert row['Accuracy'] == row['half'] == pytest.approx((preds.argmax(1) == y).float().mean().item(), rel=1e-6)
    assert list(row) == ['Accuracy', 'half', 'loss', 'epoch', 'train', 'time']


def test_metrics_agree_with_torchmetrics():
    tm = pytest.importorskip('torchmetrics')
    learn = make([Quiet(ours=Accuracy(), theirs=tm.Accuracy('multiclass', num_classes=3), f1=tm.F1Score('multiclass', num_classes=3, average='macro'))],
                 valid=batches(7, 16, short=5, seed=4))
    learn.fit(2)
    for row in learn.history: assert row['ours'] == pytest.approx(row['theirs'], rel=1e-6)
    preds,targ = learn.get_preds()
    want = tm.functional.f1_score(preds, targ, 'multiclass', num_classes=3, average='macro')
    assert learn.history[-1]['f1'] == pytest.approx(want.item(), rel=1e-6)


def test_an_epoch_without_batches_gives_nan_not_an_error():
    learn = make([Quiet(Accuracy())], train=[], valid=None)
    learn.fit(1)
    assert learn.history[0]['loss'] != learn.history[0]['loss']


class Reads(torch.overrides.TorchFunctionMode):
    "Counts what reads a value back to the host"
    NAMES = {'item', 'cpu', 'tolist', '__float__', '__bool__', '__int__', '__index__'}
    def __init__(self):
        super().__init__()
        self.found = []
    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, '__name__', '')
        if name in self.NAMES or (name == 'to' and any(str(a) == 'cpu' for a in [*args[1:], *(kwargs or {}).values()])): self.found.append(name)
        return func(*args, **(kwargs or {}))


def test_nothing_is_read_back_in_the_batch_loop():
    reads = Reads()
    class Watch(Callback):
        order = -1000
        def before_batch(self, learn): reads.__enter__()
        def step(self, learn):
            reads.__exit__(None, None, None)
            learn.opt.step()
            reads.__enter__()
        def cleanup_batch(self, learn): reads.__exit__(None, None, None)
    make([Watch(), Quiet(Accuracy()), ProgressCB(), TrainCB.__new__(type('T', (Callback,), {}))], batches(200)).fit(1)
    assert reads.found == []
    with reads: torch.ones(()).item()
    assert reads.found == ['item']


# -- progress

def script(code): return subprocess.run([sys.executable, '-c', textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_log_file_gets_a_plain_table():
    res = script('''
        import torch.nn.functional as F
        from tests.test_learner import make
        from miniai.learner import *
        make([MetricsCB(accuracy=Accuracy()), ProgressCB(plot=True)]).fit(2)''')
    assert res.returncode == 0, res.stderr
    lines = res.stdout.splitlines()
    assert lines[0].split() == ['accuracy', 'loss', 'epoch', 'train', 'time'] and len(lines) == 5 and res.stderr == ''
    assert not re.search(r'[\x00-\x09\x0b-\x1f]', res.stdout)


def test_progress_gives_the_log_back_and_closes_its_bars():
    metrics,progress = Quiet(),ProgressCB()
    class Boom(Callback):
        def after_batch(self, learn): raise RuntimeError('boom')
    learn = make([metrics, progress])
    with pytest.raises(RuntimeError): learn.fit(1, cbs=Boom())
    assert '_log' not in vars(metrics) and progress.mbar.disable or progress.mbar.pos
    assert ProgressCB.order == MetricsCB.order + 1 and {'mbar', 'first', 'losses', 'val_losses'} <= set(vars(progress))
    make([ProgressCB()]).fit(1)  # works without metrics


# -- looking

def everything(learn):
    "Whatever looking must leave alone"
    return (weights(learn), [b.clone() for b in learn.model.buffers()], [m.training for m in learn.model.modules()],
            [None if p.grad is None else p.grad.clone() for p in learn.model.parameters()],
            copy.deepcopy(learn.opt.state_dict()) if learn.opt else None, ml.rng_state(), len(learn.history), set(vars(learn)))


class Watches(Callback):
    on_look = False
    def __init__(self): self.heard = 0
    def before_fit(self, learn): self.heard += 1


@pytest.mark.parametrize('look', [lambda l: l.lr_find(), lambda l: l.preflight(), lambda l: l.validate(), lambda l: l.get_preds(), lambda l: l(batches()[0][0]),
                                  lambda l: l.show_loop(), repr], ids=['lr_find', 'preflight', 'validate', 'get_preds', 'call', 'show_loop', 'repr'])
@pytest.mark.parametrize('trained', [False, True])
def test_looking_changes_nothing(look, trained, capsys):
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    watch = Watches()
    learn = make([watch, Quiet(accuracy=Accuracy()), ml.CheckpointCB('/nowhere/never')], model=model, opt_func=partial(torch.optim.SGD, momentum=0.9))
    if trained:
        learn.cbs.pop()
        learn.fit(1)
        learn.model.train()
    heard,before = watch.heard,everything(learn)
    look(learn)
    after = everything(learn)
    assert difference(after, before, rtol=0, atol=0) == ''
    assert watch.heard == heard


def test_lr_find_suggests_a_rate_that_trains(capsys):
    learn = make(train=[(x, x[:,:3].argmax(1)) for x,_ in batches(60, 64, short=64)])
    learn.lr_find()
    rate = float(re.search('suggested learning rate: (.*)', capsys.readouterr().out)[1])
    assert 1e-4 < rate < 10


# -- saving

def test_save_and_load(tmp_path):
    learn = make(opt_func=partial(SGD, momentum=0.9))
    learn.fit(1)
    learn.save(tmp_path/'deep'/'er'/'m.pt', with_opt=True)
    other = make(opt_func=partial(SGD, momentum=0.9), model=net(seed=5))
    other.load(tmp_path/'deep'/'er'/'m.pt', with_opt=True)
    learn.fit(1, keep_opt=True); other.fit(1, keep_opt=True)
    assert torch.equal(weights(learn), weights(other))
    assert [p.name for p in (tmp_path/'deep'/'er').iterdir()] == ['m.pt']
    learn.save(tmp_path/'w.pt')
    with pytest.raises(ValueError, match='no optimizer state'): other.load(tmp_path/'w.pt', with_opt=True)


class Evil:
    def __reduce__(self): return (eval, ("open('/tmp/miniai_evil', 'w')",))


def test_loading_runs_no_code(tmp_path):
    torch.save(dict(model=Evil()), tmp_path/'evil.pt')
    with pytest.raises(Exception, match='(?i)weights'): make().load(tmp_path/'evil.pt')


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path/'a.pt'
    path.write_text('old')
    def write(f):
        f.write(b'half')
        raise OSError('disk full')
    with pytest.raises(OSError): ml._write_safely(path, write)
    assert path.read_text() == 'old' and len(list(tmp_path.iterdir())) == 1


# -- callbacks that change the training

@pytest.mark.parametrize('n', [1, 2, 3, 5, 100])
@pytest.mark.parametrize('clip', [None, 0.01])
def test_accumulating_equals_one_large_batch(n, clip):
    data = batches(7, 8, short=3)
    large = [tuple(torch.cat(o) for o in zip(*data[i:i+n])) for i in range(0, len(data), n)]
    clips = [] if clip is None else [ClipGradCB(clip)]
    opt = partial(torch.optim.SGD, momentum=0.9)
    small = make([*clips, AccumulateCB(n), Quiet()], data, opt_func=opt)
    whole = make([*clips, Quiet()], large, opt_func=opt)
    small.fit(2); whole.fit(2)
    torch.testing.assert_close(weights(small), weights(whole), rtol=1e-4, atol=1e-6)
    if n == 1: assert small.history[0]['loss'] == whole.history[0]['loss']
    assert small.do_step


def test_early_stopping_and_saving_the_best(tmp_path, capsys):
    values = iter([1., 0.5, 0.7, 0.6, 0.55, 0.1])
    class Told(Callback):
        order = 1
        def after_epoch(self, learn):
            if not learn.training: learn.history[-1]['loss'] = next(values)
    stop = EarlyStoppingCB(patience=3)
    learn = make([Quiet(), Told(), stop, SaveBestCB(tmp_path/'best.pt')])
    saved = []
    learn.save = lambda path: saved.append(learn.epoch)
    learn.fit(20)
    assert learn.epoch == 4 and saved == [0, 1] and stop.best == 0.5 and 'stopped after epoch 4' in capsys.readouterr().out
    with pytest.raises(ValueError, match='no MetricsCB'): make([EarlyStoppingCB()]).fit(1)
    with pytest.raises(ValueError, match='no validation set'): make([Quiet(), EarlyStoppingCB()], valid=None).fit(1)
    with pytest.raises(ValueError, match="watches 'f1'; the table has loss"): make([Quiet(), EarlyStoppingCB('f1')]).fit(1)


def test_nan_stops_the_fit(capsys):
    data = batches(20)
    data[3][0][0,0] = float('nan')
    learn = make([NaNStopCB(every=5)], data)
    learn.fit(5)
    assert (learn.epoch, learn.iter) == (0, 5) and 'the loss is nan' in capsys.readouterr().out


def test_replay_runs_the_bad_step_again(capsys):
    data = batches(130)
    data[97][0][2,1] = float('inf')
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.3), nn.Linear(8, 3))
    learn = make([ReplayCB(every=20), NaNStopCB(every=10), ClipGradCB(1.)], data, model=model, opt_func=partial(torch.optim.SGD, momentum=0.9))
    learn.fit(1)
    with pytest.raises(RuntimeError, match='nan'): learn.replay()
    assert learn.iter == 97 and 'batch 97 of epoch 0' in capsys.readouterr().out
    class Boom(Callback):
        def after_loss(self, learn):
            if learn.iter == 33: raise ZeroDivisionError('in batch 33')
    learn = make([ReplayCB(every=20), Boom()], batches(50))
    with pytest.raises(ZeroDivisionError): learn.fit(1)
    with pytest.raises(ZeroDivisionError, match='in batch 33'): learn.replay()


# -- helpers

def test_few_frames_of_ours_stand_between_call_and_failing_line():
    class Boom(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.Linear(6, 3)
        def forward(self, x): raise RuntimeError('here')
    for cbs in ([TrainCB(), ProgressCB(), Quiet()], []):
        try: make(cbs, model=Boom()).fit(1)
        except RuntimeError as e: frames = traceback.extract_tb(e.__traceback__)
        assert sum('miniai' in f.filename and 'tests' not in f.filename for f in frames) <= 12


def test_show_loop_lists_events_in_order_with_times(capsys):
    learn = make([ClipGradCB(1.), Quiet(), TrainCB()])
    learn.show_loop()
    assert 'after_backward        ClipGradCB (training)' in capsys.readouterr().out
    learn.fit(1)
    learn.show_loop()
    out = capsys.readouterr().out
    names = [line.split()[0] for line in out.splitlines()]
    assert [n for n in EVENTS if n in names] == [n for n in names if n in EVENTS] and re.search(r'predict +TrainCB [\d.e-]+ ms', out)


def plant(**kwargs): return lambda: make(**{**dict(train=batches(8, 16, short=16), lr=0.5), **kwargs})


class Frozen(nn.Module):
    def __init__(self, p=0., cut=False, always=False, deaf=False):
        super().__init__()
        self.a,self.b,self.c,self.drop = nn.Linear(6, 8),nn.Linear(8, 3),nn.Linear(3, 3),nn.Dropout(p)
        self.cut,self.always,self.deaf = cut,always,deaf
    def forward(self, x):
        x = self.drop(self.a(x).relu())
        if self.always: x = F.dropout(x, 0.3)
        return self.b(x.detach() if self.cut else x) if self.cut else self.c(self.b(x))
    def train(self, mode=True): return self if self.deaf else super().train(mode)


FAULTS = {
    'softmax': (plant(model=nn.Sequential(net(), nn.Softmax(1))), 'probabilities already'),
    'too few outputs': (plant(model=net(classes=2)), 'labels must be 0 to 1'),
    'labels from 1': (plant(train=[(x, y+1) for x,y in batches()]), 'labels must be 0 to 2'),
    'pixels': (plant(train=[(x*100+128, y) for x,y in batches()]), 'not normalised'),
    'nan inputs': (plant(train=[(x/0*0, y) for x,y in batches()]), 'no numbers'),
    'constant inputs': (plant(train=[(x*0, y) for x,y in batches()]), 'carries no information'),
    'bytes': (plant(train=[(x.to(torch.uint8), y) for x,y in batches()]), 'uint8'),
    'cut off': (plant(model=Frozen(cut=True)), 'no gradient reaches a.weight'),
    'rate too low': (plant(lr=1e-7), 'can not be learnt'),
    'rate too high': (plant(lr=1e6), 'single batch'),
    'always random': (plant(model=Frozen(always=True)), 'still draws random numbers'),
    'train has no effect': (plant(model=Frozen(p=0.5, deaf=True)), 'eval() does not reach'),
    'start too large': (plant(model=nn.Sequential(net(), nn.Linear(3, 3), type('Big', (nn.Module,), dict(forward=lambda self, x: x*100))())), 'last layer starts too large'),
    'no batch': (plant(train=[]), 'loader is empty'),
    'optimizer of another model': (plant(opt_func=lambda params, lr: torch.optim.SGD(list(params)[:1], lr)), 'optimizer does not know'),
    'shapes': (plant(model=nn.Linear(5, 3)), 'the first batch fails'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_preflight_finds_each_planted_fault(fault):
    build,words = FAULTS[fault]
    found = build().preflight()
    assert not found.ok and words in str(found), found


@pytest.mark.parametrize('model', [net, lambda: Frozen(p=0.3), lambda: nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))])
def test_preflight_is_quiet_on_a_healthy_learner(model):
    torch.manual_seed(0)
    found = make([Quiet(Accuracy())], batches(8, 16, short=16), model=model(), lr=0.5).preflight()
    assert found.ok and 'ready' in str(found), found


SCRIPTED = dict(plain='', clipped='ClipGradCB(0.1)', accumulated='AccumulateCB(3)', both='AccumulateCB(2), ClipGradCB(0.05)',
                more='DeviceCB("cpu"), ProgressCB(), TrainCB()')


def test_as_script_gives_the_same_numbers_in_a_fresh_process(tmp_path):
    ours = script(f'''
        import json
        from miniai.losses import accuracy
        from tests.test_learner import *
        losses = {{}}
        for name,cbs in SCRIPTED.items():
            learn = make([Quiet(accuracy=Accuracy(), share=accuracy), *eval(f'[{{cbs}}]')], batches(7), opt_func=partial(SGD, momentum=0.9))
            open(f'{tmp_path}/train_{{name}}.py', 'w').write(learn.as_script(2))
            learn.fit(2)
            losses[name] = [[r[k] for k in ('loss', 'accuracy', 'share')] for r in learn.history]
        print(json.dumps(losses))''')
    assert ours.returncode == 0, ours.stderr
    theirs = script(f'''
        import importlib, json, sys; sys.path.insert(0, {str(tmp_path)!r})
        from tests.test_learner import SCRIPTED, batches, net
        losses = {{}}
        for name in SCRIPTED:
            history = importlib.import_module(f'train_{{name}}').train(net(), batches(7), batches(3, seed=1))
            losses[name] = [[r[k] for k in ('loss', 'accuracy', 'share')] for r in history]
        print(json.dumps(losses))''')
    assert theirs.returncode == 0, theirs.stderr
    assert ours.stdout.splitlines()[-1] == theirs.stdout.splitlines()[-1]


def test_as_script_refuses_by_name():
    class StrangeCB(Callback): pass
    with pytest.raises(ValueError, match='StrangeCB'): make([StrangeCB()]).as_script()
    with pytest.raises(ValueError, match='lambda'): make(loss_func=lambda p,t: 0).as_script()
    with pytest.raises(ValueError, match='MomentumLearner'): make(cls=MomentumLearner).as_script()


def test_log_can_be_read_and_drawn(tmp_path):
    path = tmp_path/'logs'/'run.jsonl'
    make([Quiet(accuracy=Accuracy()), LogCB(path, every=2)]).fit(2)
    rows = read_log(path)
    assert [r['kind'] for r in rows] == ['fit', 'batch', 'batch', 'epoch', 'epoch', 'batch', 'batch', 'epoch', 'epoch']
    assert rows[3]['accuracy'] <= 1
    with open(path, 'a') as f: f.write('{"kind": "epo')  # cut off by a crash
    assert read_log(path) == rows
    assert plot_log(path).get_title() == 'run.jsonl'


def test_importing_the_learner_is_light():
    res = script("import sys, miniai.learner; print(*{'datasets', 'matplotlib', 'IPython', 'pandas', 'tqdm.notebook'} & set(sys.modules))")
    assert res.stdout.split() == [], res.stdout + res.stderr
