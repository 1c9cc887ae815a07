"Accumulating and clipping"
from functools import partial
import pytest, torch
from miniai.learner import AccumulateCB, Callback, CancelBatchException, CancelEpochException, ClipGradCB
from tests.small import Quiet, batches, make, weights


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
