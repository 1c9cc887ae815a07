"The same training as a script, run where miniai can't be imported"
import importlib, io, json, re, runpy, subprocess, sys
from contextlib import redirect_stdout
from copy import deepcopy
from functools import partial
import pytest, torch, torch.nn.functional as F
from torch import nn
from torch.optim import lr_scheduler as lrs
from miniai import losses, optim
from miniai.learner import (
    Accuracy, AccumulateCB, Callback, CheckpointCB, ClipGradCB, DeviceCB, HistogramsCB, Learner, LogCB,
    MetricsCB, MomentumLearner, NaNStopCB, ProgressCB, ReplayCB, SaveBestCB, SingleBatchCB, TrackerCB,
    TrainCB, TrainLearner)
from miniai.sched import (
    BatchSchedCB, EpochSchedCB, OneCycle, ParamScheduler, RecorderCB, annealer, combine_scheds, sched_cos,
    sched_exp, sched_lin, sched_no)
from miniai.tools.chance import rng_state, set_rng_state
from miniai.tools.drawn import drawn_dd
from tests.conftest import LESSONS, ROOT, code_cells, default_exp
from tests.small import Dls, Quiet, batches, make

RUN = '''
import importlib, json, sys
sys.modules['miniai'] = None  # whoever imports it gets an error
import torch
class Replay:
    "Gives the batches of an epoch, and at the next call those of the next epoch"
    def __init__(self, epochs): self.epochs,self.given = epochs,0
    def __len__(self): return len(self.epochs[0])
    def __iter__(self):
        self.given += 1
        return iter(self.epochs[self.given - 1])
found = {}
for name,(model,train,valid) in torch.load('start.pt', weights_only=False).items():
    torch.manual_seed(42)
    found[name] = importlib.import_module(name).train(model, Replay(train), Replay(valid))
assert not [n for n in sys.modules if n.startswith('miniai.')]
print(json.dumps(found))
'''


class Kept(Callback):
    "Keeps each batch, before anyone changes it"
    order = -10
    def script(self, learn): return {}
    def before_fit(self, learn): self.parts = {True: [], False: []}
    def before_epoch(self, learn): self.parts[learn.training].append([])
    def before_batch(self, learn): self.parts[learn.training][-1].append(list(learn.batch))


def run_alone(folder, learners, n_epochs=3):
    "Train each, and each one's script in a process without miniai: rows of both"
    start,ours,before = {},{},{}
    for name,learn in learners.items():
        model,kept = deepcopy(learn.model),Kept()
        before[name] = learn.as_script(n_epochs)
        torch.manual_seed(42)
        learn.fit(n_epochs, cbs=kept)
        after = learn.as_script()
        assert after == before[name] or 'OneCycleLR' in after  # which sets the optimizer's own rate anew
        (folder/f'{name}.py').write_text(after, encoding='utf-8')
        (folder/f'{name}_before.py').write_text(before[name], encoding='utf-8')
        for found in (name, f'{name}_before')[:1 + (after != before[name])]:
            start[found],ours[found] = (deepcopy(model), kept.parts[True], kept.parts[False]),learn.history
    torch.save(start, folder/'start.pt')
    (folder/'run.py').write_text(RUN, encoding='utf-8')
    res = subprocess.run([sys.executable, 'run.py'], cwd=folder, capture_output=True, text=True, timeout=120)
    assert res.returncode == 0, res.stderr
    return ours,json.loads(res.stdout.splitlines()[-1])


def numbers(rows): return [{k: v for k,v in r.items() if k not in ('time', 'fit')} for r in rows]


def loss(rows): return [r['loss'] for r in rows]


def half(pos): return 0.1 if pos < 0.5 else 0.05
@annealer
def sched_poly(start, end, pos): return start + (end-start)*pos**2


nested = combine_scheds([0.5, 0.5], [sched_lin(0.1, 0.2), sched_exp(0.2, 0.01)])
CBS = dict(
    plain=lambda: [], clipped=lambda: [ClipGradCB(0.1)], accumulated=lambda: [AccumulateCB(3)],
    both=lambda: [AccumulateCB(2), ClipGradCB(0.05)],
    more=lambda: [DeviceCB('cpu'), TrainCB(), RecorderCB(), NaNStopCB(2), ReplayCB(3)],
    line=lambda: [ParamScheduler('lr', sched_lin(0.1, 0.))],
    cosine=lambda: [ParamScheduler('lr', [sched_cos(0.1, 0.)])],
    factor=lambda: [ParamScheduler('lr', sched_exp(0.1, 0.001))],
    flat=lambda: [ParamScheduler('weight_decay', sched_no(0.1, 0.))],
    own=lambda: [ParamScheduler('lr', sched_poly(0.1, 0.))],
    own_function=lambda: [ParamScheduler('lr', half), ParamScheduler('momentum', sched_lin(0.5, 0.9))],
    combined=lambda: [ParamScheduler('lr', combine_scheds(
        [0.3, 0, 0.5, 0.2], [sched_lin(0.01, 0.1), half, nested, sched_cos(0.05, 0)]))],
    cycle=lambda: [OneCycle()], cycle_rate=lambda: [OneCycle(0.3, pct_start=0.4, moms=None)],
    cycle_accumulated=lambda: [OneCycle(), AccumulateCB(3), ClipGradCB(0.1)],
    torch_cosine=lambda: [BatchSchedCB(partial(lrs.CosineAnnealingLR, T_max=21))],
    torch_cycle=lambda: [BatchSchedCB(partial(lrs.OneCycleLR, max_lr=0.2, total_steps=21))],
    torch_accumulated=lambda: [BatchSchedCB(partial(lrs.ExponentialLR, gamma=0.5)), AccumulateCB(2)],
    torch_step=lambda: [EpochSchedCB(partial(lrs.StepLR, step_size=1, gamma=0.1))],
    torch_plateau=lambda: [EpochSchedCB(partial(lrs.ReduceLROnPlateau, patience=0, threshold=1.))])
OPTS = dict(SGD=dict(momentum=0.9, weight_decay=0.01), RMSprop={}, Adam=dict(betas=(0.8, 0.99)), AdamW={})


def test_with_torchs_optimizers_all_numbers_are_equal_to_the_last_bit(tmp_path):
    usual = partial(torch.optim.SGD, momentum=0.9)
    def made(cbs, opt_func=usual, **kwargs):
        measured = Quiet(a=Accuracy(), b=losses.accuracy, c=F.cross_entropy)
        return make([measured, *cbs], batches(7), opt_func=opt_func, **kwargs)
    learners = {name: made(f()) for name,f in CBS.items()}
    learners['adam_cycle'] = made([OneCycle()], opt_func=torch.optim.Adam, lr=0.01)
    learners['smooth'] = made([], loss_func=partial(F.cross_entropy, label_smoothing=0.1))
    learners['object'] = made([], loss_func=nn.CrossEntropyLoss(), cls=TrainLearner)
    two = [(torch.randn(8, 6), torch.randn(8, 6), torch.randint(3, (8,))) for _ in range(3)]
    learners['two_inputs'] = Learner(nn.Bilinear(6, 6, 3), Dls(two, two), F.cross_entropy, n_inp=2,
                                     cbs=[Quiet(a=Accuracy())], opt_func=torch.optim.SGD)
    ours,theirs = run_alone(tmp_path, learners)
    for name in ours: assert numbers(ours[name]) == theirs[name], name


def test_with_our_optimizers_losses_are_equal_to_rounding(tmp_path):
    def made(name, cbs):
        opt_func = partial(getattr(optim, name), **OPTS[name])
        return make([Quiet(), *cbs], batches(7), lr=0.01, loss_func=losses.cross_entropy, opt_func=opt_func)
    learners = {f'{name}_{sched}': made(name, CBS[sched]()) for name in OPTS for sched in ('plain', 'cycle')}
    for learn in learners.values():
        text = learn.as_script(2)
        assert 'import miniai' not in text and 'from miniai' not in text
        assert f'from torch.optim import {learn.opt_func.func.__name__}\n' in text
    ours,theirs = run_alone(tmp_path, learners)
    for name in ours: assert loss(theirs[name]) == pytest.approx(loss(ours[name]), rel=1e-6), name


@pytest.mark.parametrize('opt_func', [None, torch.optim.AdamW])
def test_the_training_of_examples_train(opt_func, tmp_path, monkeypatch):
    from miniai import datasets
    small = drawn_dd('digits', 320, 100)
    def not_yet(learn, n_epochs): raise KeyboardInterrupt(learn)
    monkeypatch.setattr(datasets, 'get_data', lambda name: small)
    monkeypatch.setattr(sys, 'argv', ['train.py'])
    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt) as stopped:
        m.setattr(Learner, 'fit', not_yet)
        runpy.run_path(str(ROOT/'examples/train.py'))
    learn = stopped.value.args[0]
    if opt_func: learn.opt_func = opt_func
    learn.dls = Dls(list(learn.dls.train), list(learn.dls.valid))  # no shuffle between the masks of Dropout
    ours,theirs = run_alone(tmp_path, dict(train=learn), 2)
    ours,theirs = numbers(ours['train']),theirs['train']
    if opt_func: assert ours == theirs
    else: assert loss(theirs) == pytest.approx(loss(ours), rel=1e-6)


def test_the_rate_is_that_of_the_last_fit():
    learn = make(opt_func=torch.optim.SGD, lr=0.2)
    assert 'model.parameters(), 0.2)' in learn.as_script()
    learn.fit(1, lr=0.02)
    assert 'model.parameters(), 0.02)' in learn.as_script()


def test_batches_that_are_dictionaries_are_refused():
    data = [dict(x=x, y=y) for x,y in batches()]
    learn = make(train=data, valid=data)
    with pytest.raises(ValueError, match='dict'): learn.as_script()
    learn.fit(1)
    with pytest.raises(ValueError, match='dict'): learn.as_script()


def test_every_callback_says_its_lines_in_this_module():
    for cls in (MetricsCB, ProgressCB, DeviceCB, ClipGradCB, AccumulateCB, LogCB, TrackerCB, HistogramsCB,
                CheckpointCB, ParamScheduler, OneCycle, BatchSchedCB, EpochSchedCB, RecorderCB):
        assert cls.script.__module__ == 'miniai.script'


class StrangeCB(Callback):
    def before_fit(self, learn): pass
class Elsewhere(DeviceCB):
    def before_batch(self, learn): learn.batch = [t*2 for t in learn.batch]
def two_groups(params, lr): return torch.optim.SGD([dict(params=[p]) for p in params], lr)
factor = 2
def uses(pos): return factor*pos
def steps(opt): return lrs.StepLR(opt, 1)


REFUSED = dict(
    stranger=('StrangeCB has no method', dict(cbs=[StrangeCB()])),
    subclass=('Elsewhere has no method', dict(cbs=[Elsewhere()])),
    one_batch=('SingleBatchCB', dict(cbs=[SingleBatchCB()])),
    loss=('lambda', dict(loss_func=lambda p,t: 0)),
    no_loss=('loss_func is None', dict(loss_func=None)),
    arguments=('CrossEntropyLoss.*partial', dict(loss_func=nn.CrossEntropyLoss(label_smoothing=0.1))),
    tensor=(r'not tensor\(', dict(loss_func=partial(F.cross_entropy, weight=torch.ones(3)))),
    learner=('MomentumLearner', dict(cls=MomentumLearner)),
    groups=('has 4 groups', dict(opt_func=two_groups)),
    targets=('one target; here .* Tensor, Tensor, Tensor', dict(train=[(x, y, y) for x,y in batches()])),
    parts=('here is a tuple of Tensor, list', dict(train=[(x, [y]) for x,y in batches()])),
    metric=('metric top 1', dict(cbs=[Quiet(**{'top 1': Accuracy()})])),
    schedule=('lambda.*def', dict(cbs=[ParamScheduler('lr', lambda pos: 0.1)])),
    uses=('uses: it uses factor', dict(cbs=[ParamScheduler('lr', uses)])),
    object=('schedule functools.partial', dict(cbs=[ParamScheduler('lr', partial(max, 1))])),
    twice=('two things that are named lr_at', dict(cbs=[OneCycle(), OneCycle(1.)])),
    torch_lambda=('lambda.*partial', dict(cbs=[BatchSchedCB(lambda opt: lrs.StepLR(opt, 1))])),
    torch_function=(r'not <function', dict(cbs=[BatchSchedCB(partial(lrs.LambdaLR, lr_lambda=half))])),
    torch_two=("one of torch's schedulers", dict(cbs=[BatchSchedCB(steps), EpochSchedCB(steps)])))


@pytest.mark.parametrize('name', REFUSED)
def test_what_it_can_not_write_is_refused_by_name(name):
    match,kwargs = REFUSED[name]
    with pytest.raises(ValueError, match=match): make(**kwargs).as_script()


def test_a_model_of_the_best_epoch_is_refused(tmp_path):
    with pytest.raises(ValueError, match='SaveBestCB'): make([SaveBestCB(tmp_path/'best.pt')]).as_script()


def rows_of(text, model, learn, seed=42):
    "The rows of a script, run here on `model` with the learner's data"
    place = {'print': lambda row: None}
    exec(text, place)
    torch.manual_seed(seed)
    return place['train'](model, learn.dls.train, learn.dls.valid)


def test_callbacks_that_were_passed_to_the_last_fit_are_in_the_script():
    learn = make([Quiet()], opt_func=torch.optim.SGD)
    start = deepcopy(learn.model)
    learn.fit(2, cbs=[ClipGradCB(0.01), OneCycle()])
    text = learn.as_script()
    assert 'clip_grad_norm_' in text and 'lr_at(pos)' in text
    assert numbers(learn.history) == rows_of(text, start, learn)
    learn.fit(1, cbs=StrangeCB())
    with pytest.raises(ValueError, match='StrangeCB'): learn.as_script()
    learn.fit(1)
    assert 'clip_grad_norm_' not in learn.as_script()


def test_a_fit_that_went_before_is_said_and_the_last_one_written():
    learn = make([Quiet()], opt_func=torch.optim.SGD)
    assert 'had been trained before' not in learn.as_script()
    learn.fit(1, lr=0.3)
    assert 'had been trained before' not in learn.as_script()
    start = deepcopy(learn.model)
    learn.fit(3)
    text = learn.as_script()
    assert 'It was fit 2: the model had been trained before' in text
    assert numbers(learn.history[2:]) == rows_of(text, start, learn)


def test_the_script_says_what_it_needs_for_the_same_numbers():
    learn = make(opt_func=torch.optim.SGD)
    for said in 'weights of `model`', 'both loaders', 'torch.manual_seed', 'train(model, train_dl, valid_dl,':
        assert said in learn.as_script()
    learn.fit(1, valid=False)
    assert 'None for `valid_dl`' in learn.as_script()


def test_what_is_frozen_is_frozen_in_the_script():
    learn = make([Quiet(), AccumulateCB(2), ClipGradCB(0.1)], opt_func=partial(torch.optim.SGD, momentum=0.9))
    start = deepcopy(learn.model)  # as a colleague makes it: nothing is frozen there
    learn.model[0].requires_grad_(False)
    learn.fit(2)
    text = learn.as_script()
    assert numbers(learn.history) == rows_of(text, start, learn)
    assert [p.requires_grad for p in start.parameters()] == [False, False, True, True]


class Says(Callback):
    def __init__(self, lines): self.lines = lines
    def before_fit(self, learn): pass
    def script(self, learn): return self.lines


WRONG = dict(
    place=(dict(before_bach=['x = 1']), 'before_bach.*the places are before_fit'),
    event=(dict(after_batch=['x = 1']), 'after_batch.*the places are before_fit'),
    nothing=(None, 'not None'), text=('x = 1', "not 'x = 1'"), lines=([], r'not \[\]'),
    one_text=(dict(before_batch='batch = list(batch)'), "{'before_batch': 'batch = list"),
    numbers=(dict(before_batch=[1]), 'before_batch.*1'), names=(dict(names=['import math']), 'names'),
    indent=(dict(before_batch=['if training:', 'batch = batch']), 'lines of a callback.*indented block'),
    default=(dict(names=dict(f='def f(k=K): return k')), "lines of a callback.*'K' is not defined"),
    twice=(dict(names=dict(SGD='from math import sqrt as SGD')), 'two things that are named SGD'))


@pytest.mark.parametrize('name', WRONG)
def test_lines_that_can_not_be_are_refused_at_the_door(name):
    lines,match = WRONG[name]
    learn = make([Says(lines)], opt_func=torch.optim.SGD)
    with pytest.raises(ValueError, match=match) as e: learn.as_script()
    assert name in ('indent', 'default', 'twice') or str(e.value).startswith('Says.script must return a dict')


def test_lines_may_be_a_tuple_and_bring_names():
    lines = dict(names=dict(twice='def twice(x): return 2*x'),
                 before_batch=('batch = twice(batch[0]), batch[1]',))
    learn = make([Says(lines)], opt_func=torch.optim.SGD)
    start = deepcopy(learn.model)
    learn.dls.train = [(2*x, y) for x,y in batches()]
    rows = rows_of(learn.as_script(1), start, make())
    learn.cbs += [Quiet()]
    learn.fit(1)
    assert rows[0]['loss'] == learn.history[0]['loss']


def own_annealers():
    @annealer
    def sched_own(start, end, pos): return start + (end-start)*pos
    first = sched_own
    @annealer
    def sched_own(start, end, pos): return start + (end-start)*pos**3
    return first,sched_own


def test_two_schedules_of_one_name_are_refused():
    first,second = own_annealers()
    both = combine_scheds([0.5, 0.5], [first(0.1, 0.2), second(0.2, 0.)])
    one = combine_scheds([0.5, 0.5], [first(0.1, 0.2), first(0.2, 0.)])
    assert make([ParamScheduler('lr', one)]).as_script().count('def sched_own') == 1
    apart = [ParamScheduler('lr', first(0.1, 0.)), ParamScheduler('momentum', second(0., 1.))]
    for cbs in [ParamScheduler('lr', both)],apart:
        learn = make(cbs, opt_func=partial(torch.optim.SGD, momentum=0.9))
        with pytest.raises(ValueError, match='two things that are named sched_own'): learn.as_script()


def test_an_optimizer_that_went_on_is_refused():
    learn = make([], batches(5), opt_func=partial(torch.optim.SGD, momentum=0.9))
    learn.fit(1)
    learn.fit(1, keep_opt=True)
    with pytest.raises(ValueError, match='went on with the one before'): learn.as_script()
    learn.fit(1)
    learn.as_script()


# ---- what the lessons of part 3 train ----------------------------------------------------------------------

def fits_of(path, monkeypatch):
    "For each fit of a lesson, by torch's SGD: its rows, and those of its script or why there is none"
    found,fit = [],Learner.fit
    def recorded(self, *args, **kwargs):
        if self.looking: return fit(self, *args, **kwargs)
        model,before,seen = deepcopy(self.model),rng_state(),len(self.history)
        fit(self, *args, **kwargs)
        after,place = rng_state(),{}
        try: exec(self.as_script(), place)
        except (TypeError, ValueError) as e: return found.append((self.history[seen:], str(e)))
        set_rng_state(before)
        valid = self.dls.valid if self.validating else None
        with redirect_stdout(io.StringIO()): rows = place['train'](model, self.dls.train, valid)
        set_rng_state(after)
        found.append((self.history[seen:], rows))
    monkeypatch.setattr(Learner, 'fit', recorded)
    module,names = importlib.import_module(f'miniai.{default_exp(path)}'),{}
    for source in code_cells(path):
        if '#| eval: false' in source or '#| default_exp' in source: continue
        if '#| export' in source: names.update(vars(module))
        else: exec(source.replace('from miniai.optim import SGD', 'from torch.optim import SGD'), names)
    return found


@pytest.mark.long
@pytest.mark.parametrize('lesson,n,stories', [
    ('16', 10, 'FirstMetricsCB|OnesAndEights'), ('17', 20, 'KeepLoss|MoveCB'),
    ('18', 90, 'KeepLoss|went on with|First|one group')])
def test_each_fit_of_a_lesson_is_written_out_or_refused_by_name(lesson, n, stories, monkeypatch):
    path = next(p for p in LESSONS if p.stem.startswith(lesson))
    found = [(rows, script) for rows,script in fits_of(path, monkeypatch) if rows]
    refused = [script for _,script in found if isinstance(script, str)]
    written = [(loss(rows), loss(script)) for rows,script in found if not isinstance(script, str)]
    assert len(written) >= n
    assert [pair for pair in written if pair[0] != pytest.approx(pair[1], rel=0, abs=0, nan_ok=True)] == []
    assert [r for r in refused if not re.search(stories, r)] == []
