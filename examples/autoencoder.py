"""A picture is 784 numbers, and most say what their neighbours say. How much comes back from 16 numbers of
a network, and how much from 16 principal components? Batches are bare pictures, each its own target."""
import argparse
import torch, torch.nn.functional as F
from torch import nn
from miniai.data import DataLoader
from miniai.learner import DeviceCB, Learner, MetricsCB, ProgressCB
from miniai.optim import AdamW
from miniai.sched import OneCycle
from miniai.tools.clothes import draw_clothes

CODE = 16  # numbers for a picture

def make_model():
    def conv(ni, nf): return nn.Conv2d(ni, nf, 3, stride=2, padding=1),nn.ReLU()
    def lin(ni, nf): return nn.Linear(ni, nf),nn.ReLU()
    encoder = *conv(1, 16),*conv(16, 32),nn.Flatten(),*lin(32*7*7, 128),nn.Linear(128, CODE)
    decoder = *lin(CODE, 256),nn.Linear(256, 784),nn.Unflatten(1, (1, 28, 28))
    return nn.Sequential(*encoder, *decoder)

def make_learner(quick=False):
    x,xv = (draw_clothes(n, seed)[0][:,None]/255 for n,seed in ((500 if quick else 6000, 1), (1000, 2)))
    dls = DataLoader(x, 64, shuffle=True),DataLoader(xv, 250)
    torch.manual_seed(0)
    cbs = [DeviceCB(), MetricsCB(), ProgressCB(), OneCycle()]
    return Learner(make_model(), dls, F.mse_loss, 0.003, cbs, AdamW)

def by_components(x, xv):
    "The mean squared error that the principal components of `x` leave in `xv`"
    x,centred = x.flatten(1),xv.flatten(1) - x.flatten(1).mean(0)
    components = torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:CODE]
    return F.mse_loss(centred@components.T@components, centred).item()

def main(quick=False):
    torch.set_num_threads(1)  # a small model: more threads would wait for each other
    learn = make_learner(quick)
    learn.fit(1 if quick else 8)
    x,xv = learn.dls.train.dataset,learn.dls.valid.dataset
    net,linear,all_of_it = learn.validate()['loss'],by_components(x, xv),xv.var(0).mean().item()
    print(f'of what makes clothes differ, {CODE} numbers of the network keep {1 - net/all_of_it:.1%}, '
          f'as many principal components {1 - linear/all_of_it:.1%}')

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='few steps, to see that it runs')
    main(**vars(parser.parse_args()))
