"Schedules: their numbers, their place in a fit, PyTorch's schedulers, and errors"
import warnings
from functools import partial
import pytest, torch
from hypothesis import given, settings, strategies as st
from torch.optim import lr_scheduler as lrs
from miniai import sched as ms, sgd
from miniai.learner import AccumulateCB, Callback, CheckpointCB
from miniai.optim import SGD, AdamW
from miniai.sched import *
from tests.small import Quiet, batches, make, weights

pos = st.floats(0, 1)
values = st.floats(-10, 10)


@settings(deadline=None)
@given(values, values, pos)
def test_annealers_stay_between_their_ends(start, end, p):
    for f in (sched_lin, sched_cos):
        v = f(start, end)(p)
        assert f(start, end)(0) == start and f(start, end)(1) == pytest.approx(end, abs=1e-9)
        assert min(start, end)-1e-9 <= v <= max(start, end)+1e-9
    assert sched_no(start, end)(p) == start


@settings(deadline=None)
@given(st.floats(1e-6, 10), st.floats(1e-6, 10), pos)
def test_exp_is_linear_in_the_logarithm(start, end, p):
    assert sched_exp(start, end)(p) == pytest.approx(start**(1-p) * end**p, rel=1e-6)


@pytest.mark.parametrize('n', [2, 7, 50])
def test_annealers_give_torchs_numbers(n):
    def torch_rates(make_sched):
        opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        sched,rates = make_sched(opt),[]
        for _ in range(n):
            rates.append(opt.param_groups[0]['lr'])
            opt.step()
            sched.step()
        return rates
    for ours,theirs in ((sched_cos(0.5, 0.1), lambda o: lrs.CosineAnnealingLR(o, n, 0.1)),
                        (sched_lin(0.5, 0.05), lambda o: lrs.LinearLR(o, 1., 0.1, n)),
                        (sched_exp(0.5, 0.05), lambda o: lrs.ExponentialLR(o, 0.1**(1/n)))):
        assert [ours(i/n) for i in range(n)] == pytest.approx(torch_rates(theirs))


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any), pos)
def test_combined_phases_each_take_their_share(parts, p):
    pcts = [k/sum(parts) for k in parts]
    f = combine_scheds(pcts, [lambda q, i=i: (i, q) for i in range(len(parts))])
    i,q = f(p)
    assert pcts[i] > 0 and 0 <= q <= 1 and p == pytest.approx(sum(pcts[:i]) + q*pcts[i], abs=1e-6)


@pytest.mark.parametrize('pcts,scheds,words',
                         [([0.5, 0.4], 2, 'add up to 0.9'), ([0.5], 2, '1 shares for 2'),
                          ([1.5, -0.5], 2, 'must add up'), ([], 0, 'add up to 0')])
def test_phases_that_do_not_fit(pcts, scheds, words):
    with pytest.raises(ValueError, match=words): combine_scheds(pcts, [sched_no(1, 1)]*scheds)


class Values(Callback):
    "Keeps a setting as it is at each real step"
    order = 5
    def __init__(self, name='lr'): self.name,self.seen = name,[]
    def after_step(self, learn): self.seen.append([g[self.name] for g in learn.opt.param_groups])


@pytest.mark.parametrize('n', [1, 3])
def test_a_value_for_each_real_step(n):
    seen = Values()
    make([ParamScheduler('lr', sched_lin(1e-3, 0.)), AccumulateCB(n), seen], batches(7)).fit(2)
    starts = [e*7 + i for e in range(2) for i in range(0, 7, n)]  # the batch at which each group begins
    assert [v for v, in seen.seen] == pytest.approx([1e-3*(1 - s/14) for s in starts])


def test_one_schedule_for_each_group():
    def two_groups(params, lr):
        params = list(params)
        return SGD([dict(params=params[:1]), dict(params=params[1:])], lr)
    seen = Values()
    make([ParamScheduler('lr', [sched_lin(0.1, 0.), sched_no(0.2, 0.2)]), seen], batches(5),
         opt_func=two_groups).fit(1)
    assert [v[0] for v in seen.seen] == pytest.approx([0.1*(1-i/5) for i in range(5)])
    assert {v[1] for v in seen.seen} == {0.2}
    with pytest.raises(ValueError, match='3 schedules for lr, and 2 parameter groups'):
        make([ParamScheduler('lr', [sched_no(1, 1)]*3)], opt_func=two_groups).fit(1)


@pytest.mark.parametrize('opt_func,name', [(partial(SGD, momentum=0.9), 'momentum'), (AdamW, 'betas'),
                                           (torch.optim.Adam, 'betas')])
def test_one_cycle_moves_rate_and_momentum(opt_func, name):
    lr,mom = Values(),Values(name)
    make([OneCycle(0.4), lr, mom], batches(40), opt_func=opt_func).fit(1)
    rates,moms = [v for v, in lr.seen],[v[0] if name == 'betas' else v for v, in mom.seen]
    assert rates[0] == pytest.approx(0.4/25)
    assert max(rates) == rates[10] == pytest.approx(0.4)
    assert rates[-1] < 0.01
    assert moms[0] == pytest.approx(0.95) and min(moms) == moms[10] == pytest.approx(0.85) and moms[-1] > 0.94


def test_one_cycle_without_momentum_and_with_the_fits_rate():
    class Plain(torch.optim.Optimizer):
        def __init__(self, params, lr): super().__init__(params, dict(lr=lr))
        def step(self): pass
    seen = Values()
    make([OneCycle(), seen], batches(40), lr=0.3, opt_func=Plain).fit(1)
    assert max(v for v, in seen.seen) == pytest.approx(0.3)
    with pytest.raises(ValueError, match='pct_start'): OneCycle(pct_start=1.5)


@pytest.mark.parametrize('opt_func', [partial(SGD, momentum=0.9), AdamW,
                                      partial(torch.optim.SGD, momentum=0.9)])
def test_torch_schedulers_by_batch_and_by_epoch(opt_func):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        seen = Values()
        make([BatchSchedCB(partial(lrs.CosineAnnealingLR, T_max=10)), seen], batches(5),
             opt_func=opt_func).fit(2)
        assert [v for v, in seen.seen] == pytest.approx([sched_cos(0.1, 0.)(i/10) for i in range(10)])
        seen = Values()
        make([EpochSchedCB(partial(lrs.StepLR, step_size=1, gamma=0.5)), seen], batches(2),
             opt_func=opt_func).fit(3)
        assert [v for v, in seen.seen] == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])
        seen = Values()
        make([BatchSchedCB(partial(lrs.OneCycleLR, max_lr=0.2, total_steps=5)), seen], batches(5),
             opt_func=opt_func).fit(1)
        assert max(v for v, in seen.seen) == pytest.approx(0.2, rel=0.05)


def test_batch_schedulers_step_once_per_real_step():
    cb = BatchSchedCB(partial(lrs.StepLR, step_size=1, gamma=0.5))
    make([cb, AccumulateCB(3)], batches(7)).fit(2)
    assert cb.schedo.last_epoch == 6


def test_plateau_watches_the_validation_loss():
    cb = EpochSchedCB(partial(lrs.ReduceLROnPlateau, patience=0, threshold=10.))
    learn = make([Quiet(), cb])
    learn.fit(3)
    assert learn.opt.param_groups[0]['lr'] < 0.1


def test_recorder():
    rec = RecorderCB(lr=lambda cb: cb.pg['lr'], it=lambda cb: cb.learn.iter)
    learn = make([rec, BatchSchedCB(partial(lrs.StepLR, step_size=1, gamma=0.5))], batches(3))
    learn.fit(1)
    assert rec.recs == dict(lr=[0.1, 0.05, 0.025], it=[0, 1, 2]) and rec.learn is None
    learn.fit(1)
    assert len(rec.recs['it']) == 3
    import matplotlib.pyplot as plt
    before = len(plt.get_fignums())
    rec.plot()
    assert len(plt.get_fignums()) == before + 2
    plt.close('all')
    default = RecorderCB()
    make([default], opt_func=partial(SGD, momentum=0.9)).fit(1)
    assert set(default.recs) == {'lr', 'momentum', 'loss'} and default.recs['momentum'] == [0.9]*4


class NoGroups:
    def __init__(self, params, lr): pass
    def step(self): pass
    def zero_grad(self): pass


@pytest.mark.parametrize('cb', [ParamScheduler('lr', sched_no(1, 1)), OneCycle(0.1),
                                BatchSchedCB(lrs.ConstantLR), EpochSchedCB(lrs.ConstantLR), RecorderCB()])
def test_schedules_say_that_they_need_groups(cb):
    with pytest.raises(TypeError, match='NoGroups has none'): make([cb], opt_func=NoGroups).fit(1)


def test_a_scheduler_where_its_maker_belongs():
    made = lrs.StepLR(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1), 1)
    with pytest.raises(TypeError, match=r'got a StepLR: write EpochSchedCB\(lambda opt: StepLR\(opt, …'):
        EpochSchedCB(made)
    with pytest.raises(TypeError, match='ReduceLROnPlateau watches a value of the epoch: use EpochSchedCB'):
        make([Quiet(), BatchSchedCB(lrs.ReduceLROnPlateau)]).fit(1)


@pytest.mark.parametrize('make_it', [lambda: ParamScheduler('lr', 0.1),
                                     lambda: ParamScheduler('lr', [0.1, 0.2]),
                                     lambda: ParamScheduler(sched_no(1, 1), 'lr'),
                                     lambda: combine_scheds([0.5, 0.5], [0.1, 0.2])])
def test_a_number_where_a_schedule_belongs(make_it):
    with pytest.raises(TypeError, match='a schedule is a function of the position'): make_it()


@pytest.mark.parametrize('start,end', [(0.1, 0.), (0., 0.1), (-0.1, 0.1)])
def test_there_is_no_factor_to_or_from_nought(start, end):
    with pytest.raises(ValueError, match='there is none'): sched_exp(start, end)(0.5)


def test_other_errors():
    speed,lr = (ParamScheduler(name, sched_no(1, 1)) for name in ('speed', 'lr'))
    with pytest.raises(ValueError, match="has no 'speed'; it has .*lr"): make([speed]).fit(1)
    with pytest.raises(TypeError, match='length of the training loader'): make([lr], iter(batches())).fit(1)


def test_lr_find_is_not_disturbed_by_a_schedule(capsys):
    learn = make([OneCycle(0.1)], batches(40))
    learn.lr_find()
    assert 'suggested' in capsys.readouterr().out


@pytest.mark.parametrize('cbs', [
    lambda: [OneCycle(0.2)], lambda: [BatchSchedCB(partial(lrs.OneCycleLR, max_lr=0.2, total_steps=21))],
    lambda: [EpochSchedCB(partial(lrs.StepLR, step_size=1, gamma=0.5))],
    lambda: [ParamScheduler('lr', sched_cos(0.2, 0.)), AccumulateCB(2)]],
    ids=['one-cycle', "torch's, by batch", "torch's, by epoch", 'accumulated'])
def test_a_resumed_run_goes_on_in_the_middle_of_a_schedule(cbs, tmp_path):
    opt = partial(SGD, momentum=0.9)
    def build(): return make([*cbs(), CheckpointCB(tmp_path, every_batches=2)], batches(7), opt_func=opt)
    whole = make(cbs(), batches(7), opt_func=opt)
    whole.fit(3)
    class Cut(Callback):
        def before_batch(self, learn):
            if (learn.epoch, learn.iter) == (1, 5): raise OSError('power cut')
    with pytest.raises(OSError): build().fit(3, cbs=Cut())
    resumed = build()
    resumed.fit(3, resume=True)
    assert torch.equal(weights(whole), weights(resumed))


def test_sgd_hands_on_exactly_five_names():
    assert sgd.__all__ == ['BaseSchedCB', 'BatchSchedCB', 'HasLearnCB', 'RecorderCB', 'EpochSchedCB']
    assert all(getattr(sgd, n) is getattr(ms, n) for n in sgd.__all__)


# ---- found by using it

def test_a_schedule_starts_from_the_rate_of_the_fit_and_not_from_what_another_left():
    cosine = BatchSchedCB(partial(lrs.CosineAnnealingLR, T_max=8))
    for cb,top in ((OneCycle(), 0.1), (cosine, 0.1), (ParamScheduler('lr', sched_cos(0.1, 0.)), 0.1)):
        rec = RecorderCB(lr=lambda cb: cb.pg['lr'])
        learn = make([rec, cb], batches(8))
        learn.fit(1)
        assert learn.opt.param_groups[0]['lr'] < 0.01
        learn.fit(1, keep_opt=True)
        assert max(rec.recs['lr']) == pytest.approx(top, rel=0.05)
        if isinstance(cb, ParamScheduler): continue
        learn.fit(1, keep_opt=True, lr=0.3)
        assert max(rec.recs['lr']) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize('first', [True, False])
def test_a_recorder_sees_the_rate_that_the_step_used(first):
    rec,sched = RecorderCB(lr=lambda cb: cb.pg['lr']),BatchSchedCB(partial(lrs.ExponentialLR, gamma=0.5))
    make([rec, sched] if first else [sched, rec]).fit(1)
    assert rec.recs['lr'] == pytest.approx([0.1, 0.05, 0.025, 0.0125])


def test_a_scheduler_that_watches_a_value_gets_the_validation_loss_in_any_order():
    seen = []
    class Plateau(lrs.ReduceLROnPlateau):
        def step(self, value): seen.append(value)
    for flip in (False, True):
        seen.clear()
        cbs = [EpochSchedCB(Plateau), Quiet()]
        learn = make(cbs[::-1] if flip else cbs)
        learn.fit(2)
        assert seen == [r['loss'] for r in learn.history if r['train'] == 'eval']
    with pytest.raises(ValueError, match='Plateau watches the validation loss, and there is no MetricsCB'):
        make([EpochSchedCB(Plateau)]).fit(1)
    learn = make([EpochSchedCB(Plateau)])
    learn.metrics = Quiet()  # of an earlier fit, say
    with pytest.raises(ValueError, match='no MetricsCB'): learn.fit(1)
    with pytest.raises(ValueError, match='no validation set'):
        make([EpochSchedCB(Plateau), Quiet()], valid=None).fit(1)
