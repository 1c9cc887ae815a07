"What several tests need: a small learner and its data"
import torch, torch.nn.functional as F
from torch import nn
from miniai.loop import Learner
from miniai.metrics import MetricsCB


def batches(n=4, size=8, d=6, classes=3, short=3, seed=0):
    "A plain list of batches, the last one short"
    g = torch.Generator().manual_seed(seed)
    sizes = [size]*(n-1) + [short]
    return [(torch.randn(s, d, generator=g), torch.randint(0, classes, (s,), generator=g)) for s in sizes]


class Dls:
    def __init__(self, train, valid=None): self.train,self.valid = train,valid


def net(d=6, classes=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(d, 8), nn.ReLU(), nn.Linear(8, classes))


class Quiet(MetricsCB):
    def _log(self, d): pass


def make(cbs=(), train=None, valid=True, model=None, lr=0.1, loss_func=F.cross_entropy, cls=Learner,
         **kwargs):
    train = batches() if train is None else train
    return cls(model or net(), Dls(train, batches(3, seed=1) if valid is True else valid), loss_func, lr,
               cbs=list(cbs), **kwargs)


def weights(learn): return torch.cat([p.detach().flatten() for p in learn.model.parameters()])


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(6, 3)
    def forward(self, a, b): return self.l(a + b)
