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
