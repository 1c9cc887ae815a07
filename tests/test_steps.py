"Accumulating, clipping, limits and averages"
from functools import partial
from types import SimpleNamespace
import pytest, torch, torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from miniai import steps
from miniai.learner import (AccumulateCB, Callback, CancelBatchException, CancelEpochException, CheckpointCB,
                            ClipGradCB, EMACB, LimitCB, SaveBestCB)
from tests.small import Quiet, batches, make, net, weights


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


class TimeFirst(torch.nn.Module):
    "Its inputs are (time, sample, number), as recurrent layers take them"
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.gru,self.head = torch.nn.GRU(6, 4),torch.nn.Linear(4, 3)
    def forward(self, x): return self.head(self.gru(x)[0][-1])

def test_samples_are_counted_by_their_targets():
    "0.1 took the length of the first tensor, which is the time here"
    data = [(torch.stack([x]*5), y) for x,y in batches(7, 8, short=3)]
    def joined(some): return torch.cat([x for x,_ in some], 1),torch.cat([y for _,y in some])
    for some in data,[data[0], data[6]]:  # the last one is short
        small = make([AccumulateCB(3)], some, model=TimeFirst(), valid=None)
        whole = make([], [joined(some[i:i+3]) for i in range(0, len(some), 3)], model=TimeFirst(), valid=None)
        small.fit(2); whole.fit(2)
        torch.testing.assert_close(weights(small), weights(whole), rtol=1e-4, atol=1e-6)


class Stream:
    "Batches without a length"
    def __init__(self, batches): self.batches = batches
    def __iter__(self): return iter(self.batches)


@pytest.mark.parametrize('n', [1, 2, 3, 7, 8])
def test_accumulating_over_a_stream(n):
    data = batches(7, 8, short=3)
    known,stream = make([AccumulateCB(n)], data),make([AccumulateCB(n)], Stream(data))
    known.fit(2); stream.fit(2)
    assert torch.equal(weights(known), weights(stream)) and not stream.looks_ahead


class Steps(Callback):
    "Counts batches between steps"
    def __init__(self): self.n,self.counts = 0,[]
    def after_backward(self, learn): self.n += 1
    def after_step(self, learn):
        self.counts.append(self.n)
        self.n = 0


class Skip(Callback):
    def after_loss(self, learn):
        if learn.training and learn.iter == 2: raise CancelBatchException()


def test_a_batch_that_is_cancelled_does_not_count():
    data,steps = batches(7, 8, short=8),Steps()
    skipping = make([AccumulateCB(3), Skip(), steps], data)
    skipping.fit(1)
    large = [tuple(torch.cat(o) for o in zip(*part)) for part in (data[:2] + data[3:4], data[4:])]
    whole = make([], large)
    whole.fit(1)
    assert steps.counts == [3, 3]
    torch.testing.assert_close(weights(skipping), weights(whole), rtol=1e-4, atol=1e-6)


class Leave(Callback):
    def after_batch(self, learn):
        if learn.training and (learn.epoch, learn.iter) == (0, 3): raise CancelEpochException()


def test_half_a_group_of_an_epoch_left_early_is_forgotten():
    data = batches(6, 8, short=8)
    learn = make([AccumulateCB(3), Leave()], data)
    learn.fit(2)
    large = [tuple(torch.cat(o) for o in zip(*part)) for part in (data[:3], data[:3], data[3:])]
    whole = make([], large)
    whole.fit(1)
    torch.testing.assert_close(weights(learn), weights(whole), rtol=1e-4, atol=1e-6)
    assert learn.do_step


def test_a_learner_without_do_step_is_told():
    with pytest.raises(TypeError, match="miniai's Learner"): AccumulateCB(2).before_fit(object())
    with pytest.raises(ValueError, match='whole number'): AccumulateCB(1.5)


# -- a limit

class Counts(Callback):
    "What others hear of a fit: batches trained, rows, cleanups"
    order = 99
    def __init__(self): self.batches,self.cleanups = [],0
    def after_batch(self, learn): self.batches += [(learn.epoch, learn.iter)]*learn.training
    def cleanup_fit(self, learn): self.cleanups += 1


@pytest.mark.parametrize('n,n_batches,rows', [(1, 1, 0), (4, 4, 1), (6, 6, 1), (8, 8, 2), (100, 12, 3)])
def test_a_limit_of_steps_ends_the_fit_when_another_batch_would_begin(n, n_batches, rows):
    "4 batches in an epoch; an epoch that is complete is validated"
    counts = Counts()
    limited = make([LimitCB(n), Quiet(), counts])
    limited.fit(3)
    assert counts.batches == [(i//4, i%4) for i in range(n_batches)] and counts.cleanups == 1
    assert [row['train'] for row in limited.history].count('eval') == rows
    assert limited.epoch == (n_batches - 1)//4 and limited.limit.done == n_batches
    other = make()
    other.fit(1, valid=False)
    if n == 4: assert torch.equal(weights(limited), weights(other))


@pytest.mark.parametrize('n,iters', [(1, 2), (2, 3), (3, 2), (4, 3)])
def test_a_limit_leaves_groups_of_batches_whole(n, iters):
    "Epochs of 4 batches in groups of 3 are 2 steps"
    counts = Counts()
    learn = make([AccumulateCB(3), LimitCB(n), Quiet(), counts])
    learn.fit(9)
    assert counts.batches[-1] == ((n - 1)//2, iters) and learn.do_step
    assert all(p.grad is None for p in learn.model.parameters())


def test_a_limit_of_seconds(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(steps, 'time', SimpleNamespace(perf_counter=lambda: next(clock)))
    learn = make([LimitCB(seconds=5, steps=50)])
    learn.fit(9)  # the clock goes on by 1 with each step
    assert (learn.limit.done, learn.epoch) == (5, 1)


def test_a_limit_counts_on_when_a_run_goes_on(tmp_path):
    def learner(n, *cbs):
        opt = partial(torch.optim.SGD, momentum=0.9)
        return make([*cbs, LimitCB(n), EMACB(0.9), AccumulateCB(2), Quiet(),
                     CheckpointCB(tmp_path/'a', every_batches=4, keep=99)], batches(7), opt_func=opt)
    def kept(learn): return [weights(learn), *learn.ema.average]
    whole = make([LimitCB(11), EMACB(0.9), AccumulateCB(2), Quiet()], batches(7),
                 opt_func=partial(torch.optim.SGD, momentum=0.9))
    whole.fit(9)  # 4 steps an epoch
    with pytest.raises(Boom): learner(11).fit(9, cbs=Fails(1, 5))
    for n in 7,11,11:  # to a lower limit, on to the whole one, and once more
        resumed = learner(n)
        resumed.fit(9, resume=True)
        assert resumed.limit.done == n
    for a,b in zip(kept(resumed), kept(whole), strict=True): assert torch.equal(a, b)
    assert (resumed.epoch, whole.epoch) == (2, 2)


class Boom(Exception): pass

class Fails(Callback):
    def __init__(self, epoch, iter, training=True): self.at = epoch,iter,training
    def before_batch(self, learn):
        if (learn.epoch, learn.iter, learn.training) == self.at: raise Boom()


def test_limits_that_are_none():
    for wrong in {}, dict(steps=0), dict(steps=1.5), dict(seconds=0), dict(seconds=float('nan')):
        with pytest.raises(ValueError, match='steps|seconds'): LimitCB(**wrong)


# -- averaged weights

class Theirs(Callback):
    "torch's average of a torch model"
    def __init__(self, decay): self.decay = decay
    def before_fit(self, learn):
        self.model = AveragedModel(learn.model, multi_avg_fn=get_ema_multi_avg_fn(self.decay))
    def after_step(self, learn): self.model.update_parameters(learn.model)


def normed():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize('decay', [0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize('accumulate', [1, 3])
def test_the_average_is_torchs_and_training_is_as_without_it(decay, accumulate):
    "Weights, buffers and what is validated; a frozen layer too"
    theirs,ema = Theirs(decay),EMACB(decay)
    averaged,plain = (make([*cbs, AccumulateCB(accumulate), Quiet()], model=normed())
                      for cbs in ([theirs, ema], []))
    for learn in averaged,plain:
        learn.model[0].weight.requires_grad_(False)
        learn.fit(3)
    for k,v in plain.model.state_dict().items(): assert torch.equal(v, averaged.model.state_dict()[k]), k
    theirs.model.eval()
    losses = [(F.cross_entropy(theirs.model(x), y).item(), len(y)) for x,y in averaged.dls.valid]
    mean = sum(loss*n for loss,n in losses)/sum(n for _,n in losses)
    assert averaged.history[-1]['loss'] == pytest.approx(mean, rel=1e-6)
    ema.use()
    for k,v in theirs.model.module.state_dict().items():
        assert torch.equal(v, averaged.model.state_dict()[k]), k


@pytest.mark.parametrize('at', ['before_epoch', 'before_batch', 'after_loss', 'after_epoch', 'cleanup_epoch'])
def test_after_an_error_in_validation_the_weights_are_the_models_own(at):
    def fails(self, learn):
        if not learn.training and learn.epoch == 1: raise Boom()
    class Last(Callback): order = 99
    class First(Callback): order = -9
    plain = make([Quiet()])
    plain.fit(2)
    for place in Last,First:
        learn = make([EMACB(0.9), Quiet(), type('Fails', (place,), {at: fails})()])
        with pytest.raises(Boom): learn.fit(5)
        assert torch.equal(weights(learn), weights(plain)) and not learn.ema.inside


def test_the_best_average_is_saved_and_checkpoints_hold_the_models_own_weights(tmp_path):
    theirs,best = Theirs(0.8),SaveBestCB(tmp_path/'best.pt', restore=True)
    learn = make([best, theirs, CheckpointCB(tmp_path/'c'), EMACB(0.8), Quiet()])
    learn.fit(2)
    assert best.best == learn.history[-1]['loss']  # it falls
    for k,v in theirs.model.module.state_dict().items():
        assert torch.equal(v, learn.model.state_dict()[k]), k
        assert torch.equal(v, torch.load(tmp_path/'best.pt')['model'][k])
    plain = make()
    plain.fit(2)
    checkpoint = torch.load(sorted((tmp_path/'c').glob('*.pt'))[-1])
    for k,v in plain.model.state_dict().items(): assert torch.equal(v, checkpoint['model'][k]), k


def test_averages_begin_anew_with_each_fit_and_need_a_step():
    ema = EMACB(0.9)
    learn = make([ema, Quiet()])
    with pytest.raises(RuntimeError, match='no step was made'): ema.use()
    learn.fit(1, train=False)
    assert ema.average is None
    learn.fit(1)
    row = learn.history[-1]
    learn.fit(1, train=False)  # validates the average again
    assert learn.history[-1]['loss'] == row['loss'] != learn.validate()['loss']
    other = make([EMACB(0.9)], model=net())
    other.model.load_state_dict(learn.model.state_dict())
    learn.fit(1); other.fit(1)
    for a,b in zip(ema.average, other.ema.average, strict=True): assert torch.equal(a, b)
    for wrong in 1, 1., -0.1, float('nan'):
        with pytest.raises(ValueError, match='below 1'): EMACB(wrong)
