"""Most data at work is a table: columns of numbers, columns of categories, often two things to predict.
Here: what heating and cooling take, in made-up houses. The best epoch is kept; the run ends when nothing
more is gained."""
import argparse, tempfile
import torch, torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset
from miniai.data import DataLoader
from miniai.learner import DeviceCB, EarlyStoppingCB, Learner, MetricsCB, ProgressCB, SaveBestCB
from miniai.optim import AdamW
from miniai.training import get_dls

def houses(n, seed):
    "Area, walls, glass and wind, standardised; facing (one of four) and roof (flat or steep); kWh"
    g = torch.Generator().manual_seed(seed)
    x,kinds = torch.randn(n, 4, generator=g),torch.randint(8, (n,), generator=g)
    kinds = torch.stack([kinds//2, kinds%2], 1)
    (area,walls,glass,wind),(facing,steep) = x.T,kinds.T
    sun = torch.tensor([0.2, 0.6, 1., 0.6])[facing]*F.softplus(glass)
    heating = 80 + 15*area - 12*walls + 8*wind*(1 - walls.tanh()) + 6*steep - 15*sun
    cooling = 30 + 5*area + 30*sun*(1 + 0.3*steep) - 4*wind
    return TensorDataset(x, kinds, torch.stack([heating, cooling], 1) + 2*torch.randn(n, 2, generator=g))

class Net(nn.Module):
    "Each category becomes a few numbers; `start` and `scale` bring the outputs to kWh"
    def __init__(self, y):
        super().__init__()
        self.facing,self.roof = nn.Embedding(4, 3),nn.Embedding(2, 1)
        def lin(ni, nf): return nn.Linear(ni, nf),nn.ReLU()
        self.layers = nn.Sequential(*lin(8, 64), *lin(64, 64), nn.Linear(64, 2))
        self.register_buffer('start', y.mean(0))
        self.register_buffer('scale', y.std(0))
    def forward(self, x, kinds):
        x = torch.cat([x, self.facing(kinds[:,0]), self.roof(kinds[:,1])], 1)
        return self.start + self.scale*self.layers(x)

def heating(preds, y): return (preds - y)[:,0].abs().mean()
def cooling(preds, y): return (preds - y)[:,1].abs().mean()

def make_learner(path, quick=False):
    torch.manual_seed(0)
    train,valid = houses(500 if quick else 4000, seed=1),houses(1000, seed=2)
    cbs = [DeviceCB(), MetricsCB(heating, cooling), ProgressCB(), SaveBestCB(path), EarlyStoppingCB()]
    return Learner(Net(train.tensors[2]), get_dls(train, valid, 64), F.mse_loss, 0.003, cbs, AdamW, n_inp=2)

def main(quick=False):
    torch.set_num_threads(1)  # a small model: more threads would wait for each other
    with tempfile.TemporaryDirectory() as folder:
        learn = make_learner(f'{folder}/best.pt', quick)
        learn.fit(3 if quick else 60)
        learn.load(f'{folder}/best.pt')
    found = learn.validate(DataLoader(houses(1000, seed=3), 100))
    print(f"in new houses heating is wrong by {found['heating']:.1f} kWh, cooling by {found['cooling']:.1f}; "
          'chance alone makes 1.6')

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='few steps, to see that it runs')
    main(**vars(parser.parse_args()))
