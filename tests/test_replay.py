"The bad step, again"
import math
from functools import partial
import pytest, torch, torch.nn.functional as F
from torch import nn
from miniai import layers
from miniai.learner import Callback, ClipGradCB, NaNStopCB, ReplayCB
from tests.small import batches, make


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
    learn = make([ReplayCB(every=20), NaNStopCB(every=10), ClipGradCB(1.)], data, model=model,
                 opt_func=partial(torch.optim.SGD, momentum=0.9))
    learn.fit(1)
    with pytest.raises(RuntimeError, match='nan'): learn.replay()
    assert learn.iter == 97 and 'batch 97 of epoch 0' in capsys.readouterr().out
    class Boom(Callback):
        def after_loss(self, learn):
            if learn.iter == 33: raise ZeroDivisionError('in batch 33')
    learn = make([ReplayCB(every=20), Boom()], batches(50))
    with pytest.raises(ZeroDivisionError): learn.fit(1)
    with pytest.raises(ZeroDivisionError, match='in batch 33'): learn.replay()


class Root(nn.Module):
    "Its gradient is no number where all inputs are 0, its output is one"
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first,self.last = nn.Linear(6, 4, bias=False),nn.Linear(4, 3)
    def forward(self, x): return self.last(self.first(x).abs().sqrt())


@pytest.mark.parametrize('every', [2, 50])
def test_a_nan_born_in_the_backward_is_found_where_it_was_born(every, capsys):
    data = batches(20)
    data[7][0].zero_()
    learn = make([ReplayCB(every=every), NaNStopCB(every=1)], data, model=Root())
    learn.fit(1)
    with pytest.raises(RuntimeError, match='AbsBackward0') as caught: learn.replay()
    out = capsys.readouterr().out
    assert learn.iter == 7 and 'batch 7 of epoch 0 again: the gradient of first.weight' in out
    assert learn.model.first.weight.isfinite().all()
    assert any('batch 7' in note for note in caught.value.__notes__)
    assert not torch.is_anomaly_enabled() and not learn.looking and learn.dls.train is data


def test_a_step_that_spoils_the_weights_is_found(capsys):
    class Huge(Callback):
        order = 500
        def after_backward(self, learn):
            if learn.iter == 5: learn.model[2].bias.grad.fill_(1e38)
    learn = make([ReplayCB(every=3), Huge()], batches(12), lr=100.)
    learn.fit(1)
    learn.replay()
    assert learn.iter == 5 and 'batch 5 of epoch 0 again: after the step, 2.bias' in capsys.readouterr().out


def test_nothing_bad_is_said(capsys):
    learn = make([ReplayCB(every=5)], batches(12))
    learn.fit(1)
    assert learn.replay() is None and 'nothing bad in the last 2 steps' in capsys.readouterr().out
    with pytest.raises(ValueError, match='train first'): make([ReplayCB()]).replay()


def test_a_guest_of_one_fit_is_not_the_learners():
    learn = make()
    learn.fit(1, cbs=[ReplayCB()])
    with pytest.raises(ValueError, match=r'give the learner \(not fit\) a ReplayCB'): learn.replay()


@pytest.mark.parametrize('every', [0, -1, 2.5, 'x', None])
def test_every_is_a_number_of_batches(every):
    for cb in NaNStopCB, ReplayCB:
        with pytest.raises(ValueError, match='every must be a whole number from 1 on'): cb(every)


@pytest.mark.parametrize('accumulate', [1, 3])
def test_the_steps_are_the_same_again(accumulate):
    class Noise(Callback):
        def before_batch(self, learn):
            x,y = learn.batch
            learn.batch = x + torch.randn_like(x),y
        def after_loss(self, learn):
            if learn.training and learn.iter == 30 and not learn.looking: seen.append(learn.loss.item())
    from miniai.learner import AccumulateCB
    seen,data = [],batches(40)
    class Boom(Callback):
        order = 100
        def after_loss(self, learn):
            if learn.iter == 30:
                found.append(learn.loss.item())
                raise ZeroDivisionError()
    found = []
    learn = make([ReplayCB(every=20), Noise(), AccumulateCB(accumulate), Boom()], data,
                 opt_func=partial(torch.optim.Adam))
    with pytest.raises(ZeroDivisionError): learn.fit(1)
    with pytest.raises(ZeroDivisionError): learn.replay()
    assert len(found) == 3 and found[0] == found[1] == found[2]


# -- what is named: the batch, and where the first such number was

class Log(nn.Module):
    def forward(self, x): return x.log()

def theirs(*middle): return nn.Sequential(nn.Linear(6, 8), *middle, nn.ReLU(), nn.Linear(8, 3))
def ours(*middle):
    return layers.Sequential(layers.Linear(6, 8), *middle, layers.ReLU(), layers.Linear(8, 3))

def replayed(capsys, data, model, lr=0.1, **kwargs):
    "What `replay` prints, and the error it ends with"
    learn = make([ReplayCB(every=5), NaNStopCB(every=5)], data, model=model, lr=lr, **kwargs)
    learn.fit(1)
    capsys.readouterr()
    error = ''
    try: learn.replay()
    except RuntimeError as e: error = str(e)
    for m in learn.model.modules(): assert not (getattr(m, '_forward_hooks', 0) or getattr(m, '_hooks', 0))
    return capsys.readouterr().out.strip(),error


@pytest.mark.parametrize('build', [ours, theirs])
@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_a_bad_number_in_the_batch(build, value, capsys):
    data = batches(20)
    data[7][0][1,2] = value
    out,_ = replayed(capsys, data, build())
    assert out == 'running batch 7 of epoch 0 again: the loss is no number, first seen in the batch itself'


@pytest.mark.parametrize('build', [ours, theirs])
def test_the_module_whose_output_is_the_first_bad_one(build, capsys):
    out,error = replayed(capsys, batches(20), build(Log()))
    assert out.endswith('the loss is no number, first seen in what 1 (Log) gives') and 'returned nan' in error
    def root(preds, y): return (F.cross_entropy(preds, y) - 9).sqrt()
    out,error = replayed(capsys, batches(20), build(), loss_func=root)
    assert out.endswith('first seen in what the loss function gives') and 'SqrtBackward0' in error


@pytest.mark.parametrize('build', [ours, theirs])
def test_weights_that_a_high_rate_or_somebody_spoils(build, capsys):
    out,_ = replayed(capsys, batches(20), build(), lr=1e30)
    assert 'batch 1 of epoch 0' in out and 'first seen in what 3 (Linear) gives' not in out
    out,_ = replayed(capsys, batches(20), build(), lr=1e39)
    assert out == 'running batch 0 of epoch 0 again: after the step, 0.weight is no number'
    model = build()
    with torch.no_grad(): next(iter(model.parameters()))[0,0] = math.nan
    out,_ = replayed(capsys, batches(20), model)
    assert out == 'running batch 0 of epoch 0 again: before any of these steps, 0.weight is no number'


class Power(nn.Module):
    "The slope of a root at 0 is infinite, which is not nan"
    def __init__(self):
        super().__init__()
        self.linear,self.scale = nn.Linear(6, 3),nn.Parameter(torch.zeros(3))
    def forward(self, x): return self.linear(x) + self.scale.pow(0.5)

def test_an_infinite_gradient_has_its_operation_named(capsys):
    out,_ = replayed(capsys, batches(20), Power())
    assert out.splitlines() == ['running batch 0 of epoch 0 again: the gradient of scale is no number',
                                'the first gradient that is none comes from PowBackward0']


@pytest.mark.parametrize('every', [3, 50])
def test_a_buffer_is_found_though_loss_gradients_and_weights_are_fine(every, capsys):
    data = batches(20)
    data[7][0][1,2] = 1e25  # its square is beyond what a float can hold
    model = theirs(nn.BatchNorm1d(8))
    learn = make([ReplayCB(every=every)], data, model=model)
    learn.fit(1)
    assert all(p.isfinite().all() for p in model.parameters())
    learn.replay()
    assert learn.iter == 7 and 'after the forward pass, 1.running_var is no number' in capsys.readouterr().out


class Masked(nn.Module):
    "A buffer and an output that are meant to be infinite"
    def __init__(self):
        super().__init__()
        self.linear,self.same = nn.Linear(6, 3),nn.Identity()
        self.register_buffer('mask', torch.full((6, 6), -math.inf).triu(1))
    def forward(self, x): return self.linear(x + self.same(self.mask).softmax(1).mean(0))

def test_a_mask_is_meant(capsys):
    assert replayed(capsys, batches(20), Masked())[0].startswith('nothing bad in the last')
    data = batches(20)
    data[18][1].fill_(-100)  # no label at all: the mean of nothing
    out,_ = replayed(capsys, data, Masked())
    assert 'batch 18 of' in out and out.endswith('no number, first seen in what the loss function gives')
