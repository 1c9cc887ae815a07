"Accumulating and clipping"
from functools import partial
import pytest, torch
from miniai.learner import AccumulateCB, ClipGradCB
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
