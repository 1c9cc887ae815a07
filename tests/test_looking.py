"Looking changes nothing: the range test, predictions, validation, the loop as it will run"
import copy, re, subprocess, sys, textwrap, time
from functools import partial
import pytest, torch, torch.nn.functional as F
from torch import nn
from miniai.check.kit import difference
from miniai.learner import Accuracy, Callback, CheckpointCB, ClipGradCB, TrainCB, TrainLearner
from miniai.loop import EVENTS
from miniai.looking import no_trace
from miniai.tools.chance import rng_state
from tests.conftest import ROOT
from tests.small import Quiet, batches, make, weights


def everything(learn):
    "Whatever looking must leave alone"
    return (weights(learn), [b.clone() for b in learn.model.buffers()],
            [m.training for m in learn.model.modules()],
            [None if p.grad is None else p.grad.clone() for p in learn.model.parameters()],
            copy.deepcopy(learn.opt.state_dict()) if learn.opt else None, rng_state(), len(learn.history),
            set(vars(learn)) - {'lr_found'})


class Watches(Callback):
    on_look = False
    def __init__(self): self.heard = 0
    def before_fit(self, learn): self.heard += 1


LOOKS = dict(lr_find=lambda l: l.lr_find(), preflight=lambda l: l.preflight(),
             validate=lambda l: l.validate(), get_preds=lambda l: l.get_preds(),
             call=lambda l: l(batches()[0][0]),
             show_loop=lambda l: l.show_loop(), repr=repr)

@pytest.mark.parametrize('look', LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize('trained', [False, True])
def test_looking_changes_nothing(look, trained, capsys):
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    watch = Watches()
    learn = make([watch, Quiet(accuracy=Accuracy()), CheckpointCB('/nowhere/never')], model=model,
                 opt_func=partial(torch.optim.SGD, momentum=0.9))
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


def test_show_loop_lists_events_in_order_with_times(capsys):
    class Records(Callback):
        on_look = False
        def after_backward(self, learn): raise AssertionError('the probe must not call this one')
    learn = make([ClipGradCB(1.), Records(), Quiet()])
    learn.show_loop()
    out = capsys.readouterr().out
    names = [line.split()[0] for line in out.splitlines()]
    assert [n for n in EVENTS if n in names] == [n for n in names if n in EVENTS]
    assert re.search(r'predict +TrainCB [\d.e-]+ ms', out)
    assert re.search(r'after_backward +Records, ClipGradCB [\d.e-]+ ms \(training\)', out)
    learn.cbs.append(TrainCB())  # it shows the loop as it will run now, not as it ran
    learn.show_loop()
    make(cls=TrainLearner).show_loop()
    assert re.search(r'predict +TrainLearner.predict [\d.e-]+ ms', capsys.readouterr().out)
    make(train=[]).show_loop()
    assert 'no times: the first batch ends with ValueError' in capsys.readouterr().out


def test_show_loop_forgets_the_first_batch(capsys):
    class SlowAtFirst(Callback):
        def before_fit(self, learn): self.seen = 0
        def after_batch(self, learn):
            self.seen += 1
            if self.seen == 1: time.sleep(0.2)
    def took(train):
        make([SlowAtFirst()], train=train).show_loop()
        return float(re.search(r'after_batch +SlowAtFirst ([\d.e+-]+) ms', capsys.readouterr().out)[1])
    assert took(batches(4)) < 100 < took(batches(1))  # where there is but one batch, it is the one


def script(code): return subprocess.run([sys.executable, '-c', textwrap.dedent(code)], cwd=ROOT,
                                        capture_output=True, text=True, timeout=120)


def test_importing_the_learner_is_light():
    res = script("import sys, miniai.learner; print(*{'datasets', 'matplotlib', 'IPython', 'pandas', "
                 "'tqdm.notebook'} & set(sys.modules))")
    assert res.stdout.split() == [], res.stdout + res.stderr


# ---- found by using it

class Shift(Callback):
    "Prepares each batch, in a way that matters"
    def before_batch(self, learn): learn.batch = (learn.batch[0]*3 - 1, learn.batch[1])


def test_predictions_and_validation_agree_when_a_callback_prepares_batches():
    learn = make([Shift(), Quiet(Accuracy())])
    learn.fit(1)
    preds,targ = learn.get_preds()
    assert learn.validate()['Accuracy'] == pytest.approx((preds.argmax(1) == targ).float().mean().item())
    assert torch.equal(preds[:8], learn(learn.dls.valid[0][0]*3 - 1))


class Scale(Callback):
    "Changes what the model gave"
    def after_predict(self, learn): learn.preds = learn.preds*torch.tensor([1., 3., -1.])


@pytest.mark.parametrize('cbs', [[Shift], [Scale], [Shift, Scale]], ids=str)
def test_predictions_are_those_that_the_table_measures(cbs):
    learn = make([*(cb() for cb in cbs), Quiet(Accuracy())])
    learn.fit(2)
    preds,targ = learn.get_preds()
    want = dict(Accuracy=(preds.argmax(1) == targ).float().mean().item(),
                loss=F.cross_entropy(preds, targ).item())
    assert {k: learn.history[-1][k] for k in want} == pytest.approx(want) == learn.validate()


def test_predictions_need_no_labels_and_no_fit():
    data = [(x,) for x,_ in batches()]
    learn = make(valid=None)
    preds,targ = learn.get_preds(data)
    assert preds.shape == (27, 3) and targ is None
    with pytest.raises(ValueError, match='no validation loader'): learn.get_preds()
    with pytest.raises(ValueError, match='gave no batch'): learn.get_preds([])


class Counts(Callback):
    def __init__(self): self.seen,self.losses,self.by_epoch = 0,[],{}
    def after_batch(self, learn):
        self.seen += 1
        self.losses.append(float(learn.loss.detach()))
        self.by_epoch[learn.epoch] = self.seen


def test_looking_puts_the_callbacks_back():
    cb = Counts()
    learn = make([cb])
    learn.fit(1)
    seen,losses,by_epoch = cb.seen,list(cb.losses),dict(cb.by_epoch)
    for look in (learn.lr_find, learn.validate, learn.preflight, learn.show_loop):
        look()
        assert (cb.seen, cb.losses, cb.by_epoch) == (seen, losses, by_epoch)


def test_lr_find_scales_all_groups_alike(capsys):
    rates = []
    class Sees(Callback):
        def after_batch(self, learn): rates.append([g['lr'] for g in learn.opt.param_groups])
    def opt_func(params, lr):
        params = list(params)
        return torch.optim.SGD([dict(params=params[:2], lr=0.01), dict(params=params[2:], lr=0.1)], lr=lr)
    learn = make([Sees()], batches(40, short=8), opt_func=opt_func)
    learn.lr_find(start_lr=1e-4)
    assert rates[0] == pytest.approx([1e-5, 1e-4]) and all(b == pytest.approx(10*a) for a,b in rates)
    assert f'{learn.lr_found:.2g}' in capsys.readouterr().out and 1e-6 < learn.lr_found < 100


def test_lr_find_says_when_the_data_ended_too_early(capsys):
    make(train=batches(3)).lr_find(max_epochs=2)
    assert 'had not run away at 3.7e-05, the highest rate tried' in capsys.readouterr().out
    make(train=batches(60)).lr_find()
    assert 'run away' not in capsys.readouterr().out


class Items:
    def __len__(self): return 3
    def __getitem__(self, i): return torch.randn(6),torch.tensor(0)


@pytest.mark.parametrize('dl,words', [(torch.randn(4, 6), 'a tensor is not a loader: .* learn'),
                                      (Items(), 'a loader gives one batch after the other, and Items')])
def test_what_is_no_loader_is_named(dl, words):
    for look in make().get_preds, make().validate:
        with pytest.raises(TypeError, match=words): look(dl)


def test_no_trace_without_training_leaves_weights_uncopied():
    learn = make()
    with no_trace(learn, training=False) as same:
        assert same is learn and learn.looking
        learn.fits = 17
    assert learn.fits == 0 and not learn.looking
