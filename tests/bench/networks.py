"Inside a network: what lessons 19 to 23 build, against the same by hand or PyTorch's: a function a row"
import torch, torch.nn.functional as F
from torch import nn
from miniai.accel import MixedPrecision
from miniai.activations import ActivationStats
from miniai.augment import AffineBatch
from miniai.conv import Conv2d, conv
from miniai.init import BatchNorm
from miniai.learner import Learner
from miniai.resnet import get_resnet
from tests.bench.learner import Dls, by_hand, cpu_times, ours

def row(number, what, peer_name, mine, peer, unit='ms CPU', scale=1e3, **more):
    "One row of the table; `mine` and `peer` are functions of nothing, timed in turns"
    took,theirs = (t*scale for t in cpu_times([mine, peer]))
    return dict(row=number, what=what, ours=took, peer=theirs, peer_name=peer_name,
                ratio=theirs/took, unit=unit, **more)


def convolution():
    x = torch.randn(64, 16, 14, 14, generator=torch.Generator().manual_seed(0))
    def step(layer): return lambda: layer(x).square().mean().backward()
    return row('19', 'Conv2d 16 to 32, 64 maps of 14 by 14, and backward', 'nn.Conv2d',
               step(Conv2d(16, 32, 3, 1, 1)), step(nn.Conv2d(16, 32, 3, 1, 1)))


def normalization():
    "Ours is plain tensor operations, to be read; PyTorch's is one kernel"
    x = torch.randn(64, 16, 14, 14, generator=torch.Generator().manual_seed(0), requires_grad=True)
    def step(layer): return lambda: layer(x).square().mean().backward()
    return row('21', 'BatchNorm, 64 maps of 14 by 14, and backward', 'nn.BatchNorm2d', step(BatchNorm(16)),
               step(nn.BatchNorm2d(16)))


def residual():
    "An epoch of eight batches"
    g = torch.Generator().manual_seed(0)
    batches = [(torch.randn(64, 1, 28, 28, generator=g),
                torch.randint(0, 10, (64,), generator=g)) for _ in range(8)]
    def model():
        torch.manual_seed(0)
        return get_resnet((8, 16, 32, 64))
    def hand(): return by_hand(batches, model)
    def learner(): return ours(batches, model)
    assert learner() == hand(), 'both must compute the same'
    return row('22', 'Learner, get_resnet: a step of 64 pictures', 'a loop by hand', learner, hand,
               scale=1e3/len(batches))


def statistics_of_layers():
    "The net of lesson 20_activations with statistics of its four ReLUs, and without"
    g = torch.Generator().manual_seed(0)
    batches = [(torch.randn(64, 1, 28, 28, generator=g),
                torch.randint(0, 10, (64,), generator=g)) for _ in range(8)]
    def run(*cbs):
        torch.manual_seed(0)
        model = nn.Sequential(conv(1, 8, 5), conv(8, 16), conv(16, 32), conv(32, 64),
                              conv(64, 10, act=False), nn.Flatten())
        learn = Learner(model, Dls(batches), F.cross_entropy, 0.01, cbs, torch.optim.SGD)
        learn.fit(4)
        return learn.loss
    def watched(): return run(ActivationStats(lambda m: isinstance(m, nn.ReLU)))
    assert watched() == run(), 'who looks changes nothing'
    return row('20', 'ActivationStats of four ReLUs: a step of 64 pictures', 'without', watched, run,
               scale=1e3/4/len(batches))


def affine():
    "The same maps: each picture's own, from a generator that is set back"
    x,g = torch.randn(64, 3, 28, 28, generator=torch.Generator().manual_seed(0)),torch.Generator()
    tfm = AffineBatch(0.5, 10, (0.9, 1.1), 0.1, generator=g)
    def batch():
        g.manual_seed(1)
        return tfm(x)
    def one_by_one():
        g.manual_seed(1)
        return torch.cat([tfm(im) for im in x.split(1)])
    torch.testing.assert_close(batch(), one_by_one())
    return row('23', 'AffineBatch, 64 pictures of 28 by 28', 'one picture at a time', batch, one_by_one)


def bfloat16():
    "An epoch of 40 batches: what the callback costs beside autocast by hand"
    g = torch.Generator().manual_seed(0)
    xs,ys = torch.randn(40, 64, 784, generator=g),torch.randint(0, 10, (40, 64), generator=g)
    batches = list(zip(xs, ys))
    def model(): return nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
    plain,cb = model(),MixedPrecision(dtype=torch.bfloat16)
    learn = Learner(model(), batches, F.cross_entropy, 0.1, cb)
    opt = torch.optim.SGD(plain.parameters(), 0.1)
    def peer():
        for x,y in batches:
            with torch.autocast('cpu', torch.bfloat16): loss = F.cross_entropy(plain(x), y)
            loss.backward()
            opt.step()
            opt.zero_grad()
    return row('33', 'bfloat16, 40 batches', 'autocast by hand', lambda: learn.fit(1), peer)


ROWS = [convolution, statistics_of_layers, normalization, residual, affine, bfloat16]


def rows():
    torch.set_num_threads(1)
    for make in ROWS: yield make()
