"How well the library learns: each bound is met by each of five seeds, on drawn and on real pictures"
import os
from functools import cache
import pytest, torch, torch.nn.functional as F
from torch import nn
from miniai.tools.clothes import draw_clothes
from miniai.tools.drawn import draw_digits, local_digits
from miniai.tools.files import local_folder
from miniai.data import DataLoader, Dataset
from miniai.learner import Accuracy, Learner, MetricsCB
from miniai.optim import AdamW
from miniai.sched import OneCycle

real = pytest.mark.skipif('MINIAI_DATA' not in os.environ, reason='needs MINIAI_DATA')
SEEDS = pytest.mark.parametrize('seed', range(5))


class Dls:
    def __init__(self, train, valid): self.train,self.valid = train,valid


def prepared(x, y): return Dataset((x.float()/255 - 0.29).div_(0.35)[:,None], y)


@cache  # read once
def loaded(name):
    "Train and validation data sets"
    if name == 'drawn': x,y,xv,yv = *draw_digits(10_000),*draw_digits(2_000, seed=4711)
    elif name == 'clothes': x,y,xv,yv = *draw_clothes(10_000),*draw_clothes(2_000, seed=4711)
    else:
        x,y,xv,yv = local_digits(local_folder(name),
                                 *dict(mnist=(50_000, 10_000), fashion_mnist=(60_000, 10_000))[name])
    return prepared(x, y),prepared(xv, yv)


def mlp(): return nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))

def cnn():
    def conv(ni, nf, ks):
        return nn.Sequential(nn.Conv2d(ni, nf, ks, 2, ks//2, bias=False), nn.BatchNorm2d(nf), nn.ReLU())
    return nn.Sequential(conv(1, 16, 5), conv(16, 32, 3), conv(32, 64, 3), nn.Flatten(),
                         nn.Linear(64*4*4, 10))


def accuracy(name, model, epochs, lr, opt_func, seed, bs=128):
    "On the validation set, after a one-cycle training"
    torch.manual_seed(seed)
    train,valid = loaded(name)
    metrics = MetricsCB(accuracy=Accuracy())
    metrics._log = lambda row: None
    dls = Dls(DataLoader(train, batch_size=bs, shuffle=True), DataLoader(valid, batch_size=1000))
    learn = Learner(model(), dls, F.cross_entropy, lr, [metrics, OneCycle()], opt_func)
    learn.fit(epochs)
    return learn.history[-1]['accuracy']


def mnist_mlp(seed): return accuracy('mnist', mlp, 5, 3e-3, AdamW, seed, bs=64)
def mnist_cnn(seed): return accuracy('mnist', cnn, 3, 1e-2, AdamW, seed)
def fashion_cnn(seed): return accuracy('fashion_mnist', cnn, 5, 1e-2, AdamW, seed)
def drawn_cnn(seed): return accuracy('drawn', cnn, 4, 1e-2, AdamW, seed, bs=64)
def clothes_cnn(seed): return accuracy('clothes', cnn, 4, 1e-2, AdamW, seed, bs=64)

BOUNDS = [pytest.param(mnist_mlp, 0.975, marks=real), pytest.param(mnist_cnn, 0.985, marks=real),
          pytest.param(fashion_cnn, 0.88, marks=real),
          (drawn_cnn, 0.97), (clothes_cnn, 0.97)]


@pytest.mark.parametrize('train,bound', [BOUNDS[0], BOUNDS[3]])
def test_learns_well(train, bound): assert train(torch.seed() % 2**31) > bound


@pytest.mark.long
@SEEDS
@pytest.mark.parametrize('train,bound', BOUNDS)
def test_learns_well_from_each_seed(train, bound, seed): assert train(seed) > bound
