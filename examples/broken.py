"""A training that comes to nothing looks like any other: the bar moves, the loss is a number. Here are a
healthy one and some broken ones. What does miniai say before they begin, and what comes of them when nobody
listens?"""
import argparse
import torch, torch.nn.functional as F
from torch import nn
from miniai.learner import Callback, Learner, TrainCB
from miniai.optim import SGD
from miniai.tools.drawn import load_digits
from miniai.training import Dataset, get_dls

class Net(nn.Module):
    def __init__(self, cut=False, always=False, softmax=False):
        super().__init__()
        self.one,self.two = nn.Linear(784, 50),nn.Linear(50, 10)
        self.cut,self.always,self.softmax = cut,always,softmax
    def forward(self, x):
        x = self.one(x.flatten(1)).relu()
        if self.always: x = F.dropout(x, 0.5)
        x = self.two(x.detach() if self.cut else x)
        return x.softmax(1) if self.softmax else x

class Forgets(TrainCB):
    def zero_grad(self, learn): pass

class Misspelt(Callback):
    def after_epochs(self, learn): print('one more')

def second_layer(params, lr): return SGD(list(params)[2:], lr)

def make_learner(data, scale=1/255, first=0, lr=0.2, cbs=None, opt_func=SGD, loss=F.cross_entropy, **kwargs):
    "A healthy learner, but for what is passed"
    torch.manual_seed(0)
    x,y,xv,yv = data
    dls = get_dls(Dataset(x*scale, y + first), Dataset(xv*scale, yv + first), 64)
    return Learner(Net(**kwargs), dls, loss, lr, cbs, opt_func)

TRAININGS = {'healthy': {}, 'pixels up to 255': dict(scale=1.), 'labels from 1': dict(first=1),
             'softmax and cross entropy': dict(softmax=True), 'a detach in the model': dict(cut=True),
             'dropout in eval mode too': dict(always=True), 'no zero_grad': dict(cbs=Forgets()),
             'half an optimizer': dict(opt_func=second_layer), 'a rate too low': dict(lr=1e-7),
             'the default loss': dict(loss=F.mse_loss), 'a misspelt event': dict(cbs=Misspelt())}

def main(quick=False):
    torch.set_num_threads(1)  # a small model: more threads would wait for each other
    data = load_digits(*((500, 200) if quick else (4000, 1000)))
    for name,changes in TRAININGS.items():
        print(name)
        try:
            learn = make_learner(data, **changes)
            print('    preflight:', *learn.preflight().problems or ['ready'])
            learn.fit(1 if quick else 3)
            preds,targets = learn.get_preds()
            print(f'    begun all the same: {(preds.argmax(1) == targets).float().mean():.1%} right')
        except Exception as e: print(f'    refused: {e}')

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='few steps, to see that it runs')
    main(**vars(parser.parse_args()))
