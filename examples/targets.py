"""One network, two questions: which digit is it, and by how much is it turned? A batch holds pictures and
two targets, the model gives two answers, and loss, metrics and `get_preds` have them as they are."""
import argparse
import torch, torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset
from miniai.learner import DeviceCB, Learner, MetricsCB, ProgressCB
from miniai.optim import AdamW
from miniai.sched import OneCycle
from miniai.tools.drawn import load_digits
from miniai.training import get_dls

def turned(x, y, seed):
    "Pictures, digits, and by how many degrees each picture is turned, up to 45 either way"
    angles = torch.rand(len(x), generator=torch.Generator().manual_seed(seed))*90 - 45
    sin,cos,zero = angles.deg2rad().sin(),angles.deg2rad().cos(),torch.zeros(len(x))
    matrix = torch.stack([cos, -sin, zero, sin, cos, zero], 1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, (len(x), 1, 28, 28), align_corners=False)
    return TensorDataset(F.grid_sample(x[:,None]/255, grid, align_corners=False), y, angles)

class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        def conv(ni, nf): return nn.Conv2d(ni, nf, 3, 2, 1, bias=False),nn.BatchNorm2d(nf),nn.ReLU()
        self.body = nn.Sequential(*conv(1, 16), *conv(16, 32), *conv(32, 64), nn.Flatten())
        self.digit,self.angle = nn.Linear(64*4*4, 10),nn.Linear(64*4*4, 1)
    def forward(self, x):
        x = self.body(x)
        return self.digit(x),45*self.angle(x)[:,0]

def both(preds, digit, angle): return F.cross_entropy(preds[0], digit) + F.mse_loss(preds[1]/20, angle/20)
def digits(preds, targets): return (preds[0].argmax(1) == targets[0]).float().mean()
def degrees(preds, targets): return (preds[1] - targets[1]).abs().mean()

def make_learner(quick=False):
    x,y,xv,yv = load_digits(*((640, 200) if quick else (6400, 2000)))
    torch.manual_seed(0)
    cbs = [DeviceCB(), MetricsCB(digits, degrees), ProgressCB(), OneCycle()]
    return Learner(TwoHeads(), get_dls(turned(x, y, 1), turned(xv, yv, 2), 64), both, 0.01, cbs, AdamW)

def main(quick=False):
    torch.set_num_threads(1)  # a small model: more threads would wait for each other
    learn = make_learner(quick)
    learn.fit(1 if quick else 6)
    (scores,angles),(digit,angle) = learn.get_preds()
    right = (scores.argmax(1) == digit).float().mean()
    print(f'{right:.1%} of the turned digits are recognised; the angle is wrong by '
          f'{(angles - angle).abs().mean():.1f} degrees, a guess of 0 by {angle.abs().mean():.1f}')

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='few steps, to see that it runs')
    main(**vars(parser.parse_args()))
