"A check on one batch"
import pytest, torch, torch.nn.functional as F
from torch import nn
from miniai.learner import Accuracy
from tests.small import Quiet, batches, make, net


def plant(**kwargs): return lambda: make(**{**dict(train=batches(8, 16, short=16), lr=0.5), **kwargs})


class Frozen(nn.Module):
    def __init__(self, p=0., cut=False, always=False, deaf=False):
        super().__init__()
        self.a,self.b,self.c,self.drop = nn.Linear(6, 8),nn.Linear(8, 3),nn.Linear(3, 3),nn.Dropout(p)
        self.cut,self.always,self.deaf = cut,always,deaf
    def forward(self, x):
        x = self.drop(self.a(x).relu())
        if self.always: x = F.dropout(x, 0.3)
        return self.b(x.detach() if self.cut else x) if self.cut else self.c(self.b(x))
    def train(self, mode=True): return self if self.deaf else super().train(mode)


FAULTS = {
    'softmax': (plant(model=nn.Sequential(net(), nn.Softmax(1))), 'probabilities already'),
    'too few outputs': (plant(model=net(classes=2)), 'labels must be 0 to 1'),
    'labels from 1': (plant(train=[(x, y+1) for x,y in batches()]), 'labels must be 0 to 2'),
    'pixels': (plant(train=[(x*100+128, y) for x,y in batches()]), 'not normalised'),
    'nan inputs': (plant(train=[(x/0*0, y) for x,y in batches()]), 'no numbers'),
    'constant inputs': (plant(train=[(x*0, y) for x,y in batches()]), 'carries no information'),
    'bytes': (plant(train=[(x.to(torch.uint8), y) for x,y in batches()]), 'uint8'),
    'cut off': (plant(model=Frozen(cut=True)), 'no gradient reaches a.weight'),
    'rate too low': (plant(lr=1e-7), 'can not be learnt'),
    'rate too high': (plant(lr=1e6), 'single batch'),
    'always random': (plant(model=Frozen(always=True)), 'still draws random numbers'),
    'train has no effect': (plant(model=Frozen(p=0.5, deaf=True)), 'eval() does not reach'),
    'start too large': (plant(model=nn.Sequential(net(), nn.Linear(3, 3), type('Big', (nn.Module,), dict(forward=lambda self, x: x*100))())), 'last layer starts too large'),
    'no batch': (plant(train=[]), 'loader is empty'),
    'optimizer of another model': (plant(opt_func=lambda params, lr: torch.optim.SGD(list(params)[:1], lr)), 'optimizer does not know'),
    'shapes': (plant(model=nn.Linear(5, 3)), 'the first batch fails'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_preflight_finds_each_planted_fault(fault):
    build,words = FAULTS[fault]
    found = build().preflight()
    assert not found.ok and words in str(found), found


@pytest.mark.parametrize('model', [net, lambda: Frozen(p=0.3), lambda: nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))])
def test_preflight_is_quiet_on_a_healthy_learner(model):
    torch.manual_seed(0)
    found = make([Quiet(Accuracy())], batches(8, 16, short=16), model=model(), lr=0.5).preflight()
    assert found.ok and 'ready' in str(found), found
