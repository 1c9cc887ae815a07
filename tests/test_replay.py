"The bad step, again"
from functools import partial
import pytest, torch
from torch import nn
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
