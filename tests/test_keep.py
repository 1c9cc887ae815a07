"Keeping: save and load, the best epoch, stopping early"
from functools import partial
import pytest, torch
from miniai.learner import Callback, EarlyStoppingCB, SaveBestCB
from miniai.optim import SGD
from tests.small import Quiet, make, net, weights


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
