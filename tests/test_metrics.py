"Metrics, and the bar and table that show them"
import re, subprocess, sys, textwrap
from functools import partial
from itertools import count
from types import SimpleNamespace
import pytest, torch, torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn
from miniai.learner import Accuracy, Callback, Learner, MetricsCB, ProgressCB
from miniai.metrics import FuncMetric, Mean, n_samples, results_of
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
    assert row['Accuracy'] == row['half'] == pytest.approx((preds.argmax(1) == y).float().mean().item(),
                                                           rel=1e-6)
    assert list(row) == ['Accuracy', 'half', 'loss', 'epoch', 'train', 'time', 'fit']


def test_metrics_agree_with_torchmetrics():
    tm = pytest.importorskip('torchmetrics')
    learn = make([Quiet(ours=Accuracy(), theirs=tm.Accuracy('multiclass', num_classes=3),
                        f1=tm.F1Score('multiclass', num_classes=3, average='macro'))],
                 valid=batches(7, 16, short=5, seed=4))
    learn.fit(2)
    for row in learn.history: assert row['ours'] == pytest.approx(row['theirs'], rel=1e-6)
    preds,targ = learn.get_preds()
    want = tm.functional.f1_score(preds, targ, 'multiclass', num_classes=3, average='macro')
    assert learn.history[-1]['f1'] == pytest.approx(want.item(), rel=1e-6)


def test_an_epoch_without_batches_is_an_error_that_says_which():
    with pytest.raises(ValueError, match='the training loader gave no batch'):
        make([Quiet(Accuracy())], train=[], valid=None).fit(1)
    with pytest.raises(ValueError, match='the validation loader gave no batch'):
        make([Quiet()], valid=[]).fit(1)
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
        given = [*args[1:], *(kwargs or {}).values()]
        if name in self.NAMES or name == 'to' and any(str(a) == 'cpu' for a in given): self.found.append(name)
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


def script(code): return subprocess.run([sys.executable, '-c', textwrap.dedent(code)], cwd=ROOT,
                                        capture_output=True, text=True, timeout=120)


def test_a_log_file_gets_a_plain_table():
    res = script('''
        import torch.nn.functional as F
        from tests.small import make
        from miniai.learner import *
        make([MetricsCB(accuracy=Accuracy()), ProgressCB(plot=True)]).fit(2)''')
    assert res.returncode == 0, res.stderr
    lines = res.stdout.splitlines()
    assert lines[0].split() == ['accuracy', 'loss', 'epoch', 'train', 'time']
    assert len(lines) == 5
    assert res.stderr == ''
    assert not re.search(r'[\x00-\x09\x0b-\x1f]', res.stdout)


def test_progress_gives_the_log_back_and_closes_its_bars():
    metrics,progress = Quiet(),ProgressCB()
    class Boom(Callback):
        def after_batch(self, learn): raise RuntimeError('boom')
    learn = make([metrics, progress])
    with pytest.raises(RuntimeError): learn.fit(1, cbs=Boom())
    assert '_log' not in vars(metrics) and progress.mbar.disable or progress.mbar.pos
    assert ProgressCB.order == MetricsCB.order + 1
    assert {'mbar', 'first', 'losses', 'val_losses'} <= set(vars(progress))
    make([ProgressCB()]).fit(1)  # works without metrics


# ---- found by using it: numbers that were wrong without a word

class Posted(Callback):
    "What the bar of each part said, after each of its batches"
    order = ProgressCB.order + 1
    def __init__(self, progress): self.progress,self.texts,self.losses = progress,{True: [], False: []},[]
    def after_batch(self, learn):
        self.texts[learn.training].append(getattr(self.progress.dlbar, 'postfix', None))
        self.losses.append(f'loss {learn.loss.item():.3f}')


def test_the_bar_shows_no_loss_that_is_none_of_its_part(monkeypatch):
    clock = count()  # a second passes at each look
    monkeypatch.setattr('miniai.metrics.time', SimpleNamespace(perf_counter=lambda: next(clock)))
    posted = Posted(ProgressCB())
    make([posted.progress, posted], batches(3), valid=batches(2, seed=3)).fit(1)
    first,second,_,val_first,_ = posted.losses
    assert posted.texts == {True: [None, first, second], False: [None, val_first]}


SHAPES = [((8, 3), (8, 1)), ((8, 1), (8,)), ((8, 1), (8, 1)), ((8,), (8,)), ((8, 3), (7,)), ((8, 3, 5), (8,))]

@pytest.mark.parametrize('preds,targ', SHAPES)
def test_accuracy_refuses_what_it_would_broadcast(preds, targ):
    with pytest.raises(ValueError, match='Accuracy needs a row of scores for each label'):
        Accuracy().update(torch.zeros(preds), torch.zeros(targ).long())


def test_outputs_that_a_metric_cannot_take_are_named():
    with pytest.raises(ValueError, match=r'Accuracy needs a row of .* got predictions tuple and targets'):
        make([Quiet(Accuracy())], model=Outputs(tuple_out), loss_func=WHOLE['tuple outputs'][-1]).fit(1)
    def f(preds, y, z): return 0.
    data = [(x, y, y) for x,y in batches()]
    with pytest.raises(TypeError, match='missing 1 required positional') as e:
        make([Quiet(f)], data, loss_func=lambda out,y,z: F.cross_entropy(out, y)).fit(1)
    assert 'several targets come as one tuple' in e.value.__notes__[0]


def no_mean(preds, targ): return preds.argmax(1) == targ
def no_return(preds, targ): (preds.argmax(1) == targ).float().mean()

@pytest.mark.parametrize('f,came', [(no_mean, r'\(8,\) bool'), (no_return, 'NoneType')])
def test_a_function_that_gives_no_number_is_named_at_once(f, came):
    with pytest.raises(TypeError, match=f'gave {came} for a batch'): make([Quiet(f)]).fit(1)


class TimeFirst(nn.Module):
    "Inputs are (time, batch, features)"
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(6, 3)
    def forward(self, x): return self.l(x.mean(0))


def test_the_loss_is_weighted_by_targets_where_inputs_have_another_axis_first():
    data = [(torch.stack([x, x + 1]), y) for x,y in batches(4, 16, short=3)]
    learn = make([Quiet(Accuracy())], data, data, TimeFirst())
    learn.fit(1)
    preds,targ = learn.get_preds()
    assert learn.history[-1]['loss'] == pytest.approx(F.cross_entropy(preds, targ).item(), rel=1e-5)


def test_accuracy_of_each_pixel():
    acc,preds,targ = Accuracy(),torch.randn(4, 3, 5, 6),torch.randint(0, 3, (4, 5, 6))
    acc.update(preds, targ)
    assert acc.compute() == (preds.argmax(1) == targ).float().mean()


@pytest.mark.parametrize('ms,named', [
    ((Accuracy(), Accuracy()), {}), ((Accuracy(),), dict(Accuracy=Accuracy())),
    ((F.mse_loss, F.mse_loss), {}),
    *(((), {name: Accuracy()}) for name in ('loss', 'epoch', 'train', 'time', 'fit'))])
def test_no_two_columns_have_one_name(ms, named):
    with pytest.raises(ValueError, match='is taken'): MetricsCB(*ms, **named)


@pytest.mark.parametrize('m', [lambda preds,targ: 0, partial(F.mse_loss, reduction='sum')],
                         ids=['lambda', 'partial'])
def test_what_has_no_name_asks_for_one(m):
    with pytest.raises(ValueError, match='has no name: write MetricsCB'): MetricsCB(m)
    assert list(MetricsCB(mine=m).metrics) == ['mine'] and list(MetricsCB(F.l1_loss).metrics) == ['l1_loss']


def test_a_value_that_is_not_one_number_names_the_metric():
    tm = pytest.importorskip('torchmetrics')
    learn = make([Quiet(each=tm.Accuracy('multiclass', num_classes=3, average='none'))])
    with pytest.raises(TypeError, match=r'the metric each gave \(3,\) float32'): learn.fit(1)


def test_a_compute_without_a_return_is_asked_for_one():
    metric = SimpleNamespace(reset=lambda: None, update=lambda *_: None, compute=lambda: None)
    with pytest.raises(TypeError, match='the metric m gave NoneType.*`return` missing'):
        make([Quiet(m=metric)]).fit(1)


def test_a_collection_adds_its_items():
    tm = pytest.importorskip('torchmetrics')
    make_accuracy = partial(tm.Accuracy, 'multiclass', num_classes=3, average='micro')
    learn = make([Quiet(tm.MetricCollection(dict(acc=make_accuracy(), top2=make_accuracy(top_k=2))),
                        mine=Accuracy())])
    learn.fit(1)
    row = learn.history[-1]
    assert list(row)[:4] == ['acc', 'top2', 'mine', 'loss'] and row['acc'] == pytest.approx(row['mine'])
    with pytest.raises(ValueError, match='two metrics are named acc'):
        make([Quiet(tm.MetricCollection(dict(acc=make_accuracy())), acc=Accuracy())]).fit(1)


class Outputs(nn.Module):
    "A model that gives its scores in some wrapping"
    def __init__(self, wrap):
        super().__init__()
        self.l,self.wrap = nn.Linear(6, 3),wrap
    def forward(self, x, labels=None):
        out = self.l(x)
        return self.wrap(out, None if labels is None else F.cross_entropy(out, labels))


def test_a_models_own_loss_and_its_logits():
    for wrap in (lambda out,loss: SimpleNamespace(loss=loss, logits=out),
                 lambda out,loss: dict(loss=loss, logits=out)):
        data = [dict(x=x, labels=y) for x,y in batches()]
        learn = make([Quiet(Accuracy())], data, data, Outputs(wrap), loss_func='model')
        learn.fit(1)
        preds,targ = learn.get_preds()
        assert preds.shape == (27, 3)
        assert learn.history[-1]['Accuracy'] == pytest.approx((preds.argmax(1) == targ).float().mean().item())


def test_outputs_in_tuples_and_dictionaries():
    def tuple_loss(out, targ): return F.cross_entropy(out[0], targ) + out[1].mean()
    def dict_loss(out, targ): return F.cross_entropy(out['a'], targ)
    def share(out, targ):
        scores = out[0] if isinstance(out, tuple) else out['a']
        return (scores.argmax(1) == targ).float().mean()
    for wrap,loss in ((lambda out,_: (out, out.pow(2)), tuple_loss),
                      (lambda out,_: dict(a=out, b=out*2), dict_loss)):
        learn = make([Quiet(share)], model=Outputs(wrap), loss_func=loss)
        learn.fit(1)
        preds,targ = learn.get_preds()
        assert type(preds) in (tuple, dict)
        assert learn.history[-1]['share'] == pytest.approx(share(preds, targ).item())


def tuple_out(out, _): return out,out.pow(2)
def dict_out(out, _): return dict(a=out, b=out*2)
def logits_out(out, _): return SimpleNamespace(logits=out, hidden=out*3)
def share(out, targ): return (out.argmax(1) == targ).float().mean()

WHOLE = {  # batch of x, y, z; the model's output; a metric of all predictions and targets; a loss
    'pairs': (lambda x,y,z: (x, y), lambda out,_: out, share, F.cross_entropy),
    'a dictionary': (lambda x,y,z: dict(x=x, label=y), lambda out,_: out, share, F.cross_entropy),
    'several targets': (lambda x,y,z: (x, y, z), lambda out,_: out,
                        lambda out,t: share(out, t[0]) + (out[:,0] - t[1]).abs().mean(),
                        lambda out,y,z: F.cross_entropy(out, y) + F.mse_loss(out[:,0], z)),
    'tuple outputs': (lambda x,y,z: (x, y), tuple_out, lambda out,t: share(out[0], t) + out[1].mean(),
                      lambda out,t: F.cross_entropy(out[0], t)),
    'dictionary outputs': (lambda x,y,z: dict(x=x, y=y), dict_out, lambda out,t: share(out['b'], t),
                           lambda out,t: F.cross_entropy(out['a'], t)),
    'logits': (lambda x,y,z: (x, y), logits_out, share, lambda out,t: F.cross_entropy(out.logits, t))}

@pytest.mark.parametrize('kind', WHOLE)
@settings(deadline=None, max_examples=15)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_averages_equal_those_over_the_whole_set_at_once(kind, sizes):
    as_batch,wrap,metric,loss = WHOLE[kind]
    g,n = torch.Generator().manual_seed(sum(sizes)),sum(sizes)
    data = torch.randn(n, 6, generator=g),torch.randint(0, 3, (n,), generator=g),torch.randn(n, generator=g)
    valid = [as_batch(*parts) for parts in zip(*(t.split(sizes) for t in data))]
    learn = make([Quiet(m=metric)], train=valid[:1], valid=valid, model=Outputs(wrap), loss_func=loss)
    learn.fit(1)
    _,y,z = data
    with torch.no_grad(): out = learn.model.eval()(data[0])
    targets = (y, z) if kind == 'several targets' else (y,)
    seen = out.logits if kind == 'logits' else out
    want = dict(m=metric(seen, targets if len(targets) > 1 else y).item(), loss=loss(out, *targets).item())
    assert {k: learn.history[-1][k] for k in want} == pytest.approx(want, rel=1e-4)
    assert learn.validate() == pytest.approx(want, rel=1e-4)


@settings(deadline=None, max_examples=10)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_a_collection_of_torchmetrics_equals_the_whole_set_at_once(sizes):
    tm = pytest.importorskip('torchmetrics')
    kinds = dict(task='multiclass', num_classes=3, average='macro')
    both = tm.MetricCollection(dict(f1=tm.F1Score(**kinds), recall=tm.Recall(**kinds)))
    (x,y), = batches(1, short=sum(sizes))
    learn = make([Quiet(both)], valid=list(zip(x.split(sizes), y.split(sizes))))
    learn.fit(1)
    preds,targ = learn.get_preds()
    for name,f in dict(f1=tm.functional.f1_score, recall=tm.functional.recall).items():
        assert learn.history[-1][name] == pytest.approx(f(preds, targ, **kinds).item(), rel=1e-5)


def test_metrics_without_targets():
    def size(preds): return preds.pow(2).mean()
    data = [(x,) for x,_ in batches()]
    learn = make([Quiet(size)], data, data, loss_func=lambda preds: preds.pow(2).mean())
    learn.fit(1)
    preds,targ = learn.get_preds()
    assert targ is None and learn.history[-1]['size'] == pytest.approx(preds.pow(2).mean().item(), rel=1e-5)


def test_rows_of_several_fits_can_be_told_apart():
    learn = make([Quiet()])
    learn.fit(2)
    learn.fit(1)
    learn.validate()
    assert [(r['fit'], r['epoch'], r['train']) for r in learn.history] == [
        (1, 0, 'train'), (1, 0, 'eval'), (1, 1, 'train'), (1, 1, 'eval'), (2, 0, 'train'), (2, 0, 'eval')]
    assert '3 epochs done' in repr(learn)


def test_metrics_of_half_precision_do_not_overflow():
    mean = Mean()
    for _ in range(100): mean.update(torch.tensor(1000., dtype=torch.float16), 64)
    assert mean.compute() == 1000
    metric = FuncMetric(F.mse_loss)
    metric.update(torch.ones(4), torch.zeros(4))
    metric.update(torch.ones(1), torch.ones(1))
    assert metric.compute() == pytest.approx(0.8)


def test_what_metrics_get():
    learn = SimpleNamespace(preds=torch.ones(2, requires_grad=True), batch=(1, 2, 3))
    preds,targets = results_of(learn)
    assert not preds.requires_grad and targets == ((2, 3),)
    assert results_of(SimpleNamespace(preds=torch.ones(1), batch=(1,)))[1] == ()


def test_samples_are_counted_by_the_targets():
    "With time first, or with tokens in one row, the inputs have another length"
    for batch,n in [((torch.ones(7, 4, 2), torch.ones(4)), 4), ((torch.ones(5, 2), torch.tensor(1.)), 5),
                    (dict(tokens=torch.ones(9), label=torch.ones(3)), 3), (torch.ones(6, 2), 6)]:
        learn = Learner(nn.Linear(2, 1), [batch])
        learn.batch = batch
        assert n_samples(learn) == n
