"Metrics, and the bar and table that show them"
import re, subprocess, sys, textwrap
import pytest, torch, torch.nn.functional as F
from miniai.learner import Accuracy, Callback, MetricsCB, ProgressCB
from tests.conftest import ROOT
from tests.small import Quiet, batches, make


def test_metrics_of_an_unknown_kind():
    with pytest.raises(TypeError, match='the metric m is a int'): MetricsCB(m=3)
    with pytest.raises(TypeError, match=r'write Accuracy\(\)'): MetricsCB(m=Accuracy)


def test_metrics_equal_those_of_the_whole_set_at_once():
    valid = batches(5, 16, short=3, seed=3)
    learn = make([Quiet(Accuracy(), half=lambda p,t: (p.argmax(1) == t).float().mean())], valid=valid)
    learn.fit(2)
    x,y = (torch.cat(o) for o in zip(*valid))
    preds = learn(x)
    row = learn.history[-1]
    assert row['loss'] == pytest.approx(F.cross_entropy(preds, y).item(), rel=1e-5)
    assert row['Accuracy'] == row['half'] == pytest.approx((preds.argmax(1) == y).float().mean().item(), rel=1e-6)
    assert list(row) == ['Accuracy', 'half', 'loss', 'epoch', 'train', 'time', 'fit']


def test_metrics_agree_with_torchmetrics():
    tm = pytest.importorskip('torchmetrics')
    learn = make([Quiet(ours=Accuracy(), theirs=tm.Accuracy('multiclass', num_classes=3), f1=tm.F1Score('multiclass', num_classes=3, average='macro'))],
                 valid=batches(7, 16, short=5, seed=4))
    learn.fit(2)
    for row in learn.history: assert row['ours'] == pytest.approx(row['theirs'], rel=1e-6)
    preds,targ = learn.get_preds()
    want = tm.functional.f1_score(preds, targ, 'multiclass', num_classes=3, average='macro')
    assert learn.history[-1]['f1'] == pytest.approx(want.item(), rel=1e-6)


def test_an_epoch_without_batches_is_an_error_that_says_which():
    with pytest.raises(ValueError, match='the training loader gave no batch'): make([Quiet(Accuracy())], train=[], valid=None).fit(1)
    with pytest.raises(ValueError, match='the validation loader gave no batch'): make([Quiet()], valid=[]).fit(1)
    learn = make([Quiet()], train=iter(batches()), valid=None)
    with pytest.raises(ValueError, match='used up'): learn.fit(2)
    assert [r['epoch'] for r in learn.history] == [0]


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
    make([Watch(), Quiet(Accuracy()), ProgressCB()], batches(200)).fit(1)
    assert reads.found == []
    with reads: torch.ones(()).item()
    assert reads.found == ['item']


def script(code): return subprocess.run([sys.executable, '-c', textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_log_file_gets_a_plain_table():
    res = script('''
        import torch.nn.functional as F
        from tests.small import make
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
