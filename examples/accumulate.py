"""A batch of 256 does not fit into memory, so four of 64 make a step. Through 40 words of a row the
gradient can get long: it is clipped. The schedule is PyTorch's, a warm-up and a cosine, counted in steps
and not in batches."""
import argparse
import torch, torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.utils.data import TensorDataset
from miniai.learner import AccumulateCB, Callback, ClipGradCB, DeviceCB, Learner, MetricsCB, Order, ProgressCB
from miniai.optim import Adam
from miniai.sched import BatchSchedCB
from miniai.training import get_dls

LENGTH,GROUP,LONGEST = 40,4,0.5

def sums(n, seed):
    "Rows of numbers, two of which are marked, one in each half; the target is the sum of these two"
    g = torch.Generator().manual_seed(seed)
    x,marks = torch.rand(n, LENGTH, generator=g),torch.zeros(n, LENGTH)
    for half in 0, LENGTH//2: marks[range(n), half + torch.randint(LENGTH//2, (n,), generator=g)] = 1
    return TensorDataset(torch.stack([x, marks], 2), (x*marks).sum(1))

class Adder(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru,self.head = nn.GRU(2, 32, batch_first=True),nn.Linear(32, 1)
    def forward(self, x): return self.head(self.gru(x)[0][:,-1])[:,0]

class LengthCB(Callback):
    "The length of the gradient in each step, just before it is clipped"
    order = Order.clip - 1
    def before_fit(self, learn): self.lengths = []
    def after_backward(self, learn):
        grads = [p.grad for p in learn.model.parameters()]
        if learn.do_step: self.lengths.append(torch.nn.utils.get_total_norm(grads))

def make_learner(epochs, quick=False):
    torch.manual_seed(0)
    dls = get_dls(sums(1000 if quick else 8000, 1), sums(1000, 2), 64)
    steps = epochs*-(-len(dls[0])//GROUP)  # rounded up: the last group of an epoch may be smaller
    def schedule(opt):
        parts = [LinearLR(opt, 0.1, total_iters=steps//10), CosineAnnealingLR(opt, steps - steps//10)]
        return SequentialLR(opt, parts, [steps//10])
    cbs = [DeviceCB(), MetricsCB(), ProgressCB(), AccumulateCB(GROUP), LengthCB(), ClipGradCB(LONGEST)]
    return Learner(Adder(), dls, F.mse_loss, 0.02, [*cbs, BatchSchedCB(schedule)], Adam)

def main(quick=False):
    torch.set_num_threads(1)  # a small model: more threads would wait for each other
    learn = make_learner(1, quick) if quick else make_learner(8)
    learn.fit(1 if quick else 8)
    long = sum(length > LONGEST for length in learn.length.lengths)
    print(f'{long} of {len(learn.length.lengths)} steps were clipped')
    print(f"mean squared error {learn.history[-1]['loss']:.4f}; always guessing 1 gives {1/6:.4f}")

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='few steps, to see that it runs')
    main(**vars(parser.parse_args()))
