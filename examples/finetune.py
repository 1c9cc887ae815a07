"""Ten pictures of each new digit are few to learn from; a network that knows other digits needs no more.
First its new head learns while the body is frozen, then all of it, the body at a tenth of the rate."""
import argparse, tempfile
import torch, torch.nn.functional as F
from torch import nn
from miniai.learner import Accuracy, DeviceCB, Learner, MetricsCB, ProgressCB
from miniai.optim import AdamW
from miniai.sched import OneCycle
from miniai.steps import freeze, param_groups, unfreeze
from miniai.tools.drawn import load_digits
from miniai.training import Dataset, get_dls

def make_dls(data, digits, n=None):
    "Loaders for some of the digits; with `n`, the same few pictures of each ten times in an epoch"
    def some(x, y, n=None):
        idxs = torch.cat([(y == digit).nonzero()[:n,0] for digit in digits]).repeat(10 if n else 1)
        return Dataset(x[idxs,None]/255, y[idxs] - digits[0])
    return get_dls(some(*data[:2], n), some(*data[2:]), 16 if n else 64)

def make_model(classes):
    def conv(ni, nf): return nn.Conv2d(ni, nf, 3, 2, 1, bias=False),nn.BatchNorm2d(nf),nn.ReLU()
    body = nn.Sequential(*conv(1, 16), *conv(16, 32), *conv(32, 64), nn.Flatten())
    return nn.Sequential(body, nn.Linear(64*4*4, classes))

def make_learner(model, dls, opt_func=AdamW):
    cbs = [DeviceCB(), MetricsCB(accuracy=Accuracy()), ProgressCB(), OneCycle()]
    return Learner(model, dls, F.cross_entropy, 0.01, cbs, opt_func)

def finetune(path, dls, epochs):
    model = make_model(3)
    body = model[0]
    def two_rates(params, lr): return AdamW(param_groups(model, {body: lr/10}), lr)
    learn = make_learner(model, dls, two_rates)
    learn.load(path, strict=False)  # all but the head, and it says so
    freeze(body)  # batch norm's averages stand still, too
    learn.fit(epochs, lr=0.01)
    unfreeze(body)
    learn.fit(epochs, lr=0.003)
    return learn

def main(quick=False):
    torch.set_num_threads(1)  # a small model: more threads would wait for each other
    data,epochs = load_digits(*((1000, 500) if quick else (8000, 2000))),1 if quick else 2
    known,few = make_dls(data, range(7)),make_dls(data, range(7, 10), 10)
    torch.manual_seed(0)
    knows,scratch = make_learner(make_model(7), known),make_learner(make_model(3), few)
    knows.fit(2*epochs)
    scratch.fit(6*epochs)
    with tempfile.TemporaryDirectory() as folder:
        knows.save(f'{folder}/knows.pt')
        tuned = finetune(f'{folder}/knows.pt', few, epochs)
    found = [learn.history[-1]['accuracy'] for learn in (tuned, scratch)]
    print(f'7, 8 or 9, after ten pictures of each: {found[0]:.1%} right; from nothing {found[1]:.1%}')

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='few steps, to see that it runs')
    main(**vars(parser.parse_args()))
