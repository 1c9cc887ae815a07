"Exercises of lesson 21_initializing: the gain of an activation, RMSNorm, one convolution for two layers"
import copy, math
from functools import partial
import torch
from torch import nn
from miniai import layers
from miniai.check.init import check_fold, check_gain, check_rms_norm


# -- 1. the gain of an activation

def size(x): return x.pow(2).mean().sqrt()
def gain(f, n=200_000): return 1/size(f(torch.randn(n))).item()
def as_tensor(f): return f(torch.randn(1000, 500)).pow(2).mean()**-0.5


def by_deviation_and_mean(f):
    y = f(torch.randn(500, 500))
    return 1/math.sqrt(y.var() + y.mean()**2)


def by_loop(f): return sum(gain(f, 50_000) for _ in range(20))/20
def upside_down(f): return 1/gain(f)
def no_root(f): return gain(f)**2
def deviation(f): return 1/f(torch.randn(200_000)).std().item()
def absolute(f): return 1/f(torch.randn(200_000)).abs().mean().item()
def even(f): return 1/size(f(torch.rand(200_000)*2 - 1)).item()
def hundred(f): return gain(f, 6)
def no_return(f): gain(f)
def through_weights(f): return 1/size(f(torch.randn(2000, 100) @ torch.randn(100, 100)))
def always_relu(f): return nn.init.calculate_gain('relu')


# -- 2. RMSNorm

class RMSNorm(layers.Module):
    "The solution"
    def __init__(self, n, eps=1e-5):
        super().__init__()
        self.weight,self.eps = layers.Parameter(torch.ones(n)),eps

    def forward(self, x): return x/self.size(x)*self.weight
    def size(self, x): return (x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt()


class ByRsqrt(nn.Module):
    def __init__(self, n, eps=1e-5):
        super().__init__()
        self.weight,self.eps = nn.Parameter(torch.ones(n)),eps

    def forward(self, x): return self.weight*(x*torch.rsqrt((x*x).mean(-1)[...,None] + self.eps))


class ByNorm(RMSNorm):
    def size(self, x): return ((x.norm(dim=-1, keepdim=True)**2)/x.shape[-1] + self.eps)**0.5


class Centred(RMSNorm):
    def forward(self, x): return super().forward(x - x.mean(-1, keepdim=True))


class Deviation(RMSNorm):
    def size(self, x): return (x.var(-1, keepdim=True, correction=0) + self.eps).sqrt()


class Outside(RMSNorm):
    def size(self, x): return x.pow(2).mean(-1, keepdim=True).sqrt() + self.eps


class NoEps(RMSNorm):
    def size(self, x): return x.pow(2).mean(-1, keepdim=True).sqrt()


class NoRoot(RMSNorm):
    def size(self, x): return x.pow(2).mean(-1, keepdim=True) + self.eps


class Summed(RMSNorm):
    def size(self, x): return (x.pow(2).sum(-1, keepdim=True) + self.eps).sqrt()


class OverAll(RMSNorm):
    def size(self, x): return (x.pow(2).mean() + self.eps).sqrt()


class OverBatch(RMSNorm):
    def size(self, x): return (x.pow(2).mean(0, keepdim=True) + self.eps).sqrt()


class NoWeight(RMSNorm):
    def forward(self, x): return x/self.size(x)


class Detached(RMSNorm):
    def size(self, x): return super().size(x).detach()


class PlainTensor(RMSNorm):
    def __init__(self, n, eps=1e-5):
        layers.Module.__init__(self)
        self.weight,self.eps = torch.ones(n),eps


class WithBias(RMSNorm):
    def __init__(self, n, eps=1e-5):
        super().__init__(n, eps)
        self.bias = layers.Parameter(torch.zeros(n))


class StartsRandom(RMSNorm):
    def __init__(self, n, eps=1e-5):
        super().__init__(n, eps)
        self.weight = layers.Parameter(torch.randn(n))


class NoKeepdim(RMSNorm):
    def size(self, x): return (x.pow(2).mean(-1) + self.eps).sqrt()


# -- 3. one convolution for two layers

def fold(conv, bn, eps=True, root=0.5, mean=1, old=1, new=1, axis=0, scaled=True, weight=True):
    sizes = conv.in_channels,conv.out_channels,conv.kernel_size
    out = nn.Conv2d(*sizes, conv.stride, conv.padding, conv.dilation)
    with torch.no_grad():
        scale = (bn.weight if weight else 1)/(bn.running_var + (bn.eps if eps else 0))**root
        out.weight.copy_(conv.weight*scale.view(*[1]*axis, -1, *[1]*(3-axis)))
        bias = 0 if conv.bias is None else conv.bias*old
        shift = (bias - bn.running_mean*mean)*scale if scaled else bias - bn.running_mean*mean*scale
        out.bias.copy_(shift + bn.bias*new)
    return out


def by_copy(conv, bn):
    out = copy.deepcopy(conv)
    scale = bn.weight.detach()*torch.rsqrt(bn.running_var + bn.eps)
    out.weight = nn.Parameter(torch.einsum('oihw,o->oihw', conv.weight.detach(), scale))
    old = torch.zeros(len(scale)) if conv.bias is None else conv.bias.detach()
    out.bias = nn.Parameter(bn.bias.detach() + scale*(old - bn.running_mean))
    return out


def by_asking(conv, bn):
    "Finds scale and shift by sending 0 and 1 through the norm"
    norm = copy.deepcopy(bn).eval()
    zero = norm(torch.zeros(1, bn.num_features, 1, 1)).flatten().detach()
    scale = norm(torch.ones(1, bn.num_features, 1, 1)).flatten().detach() - zero
    out = copy.deepcopy(conv)
    out.bias = nn.Parameter(zero + (0 if conv.bias is None else conv.bias.detach()*scale))
    out.weight.data = conv.weight.data*scale[:,None,None,None]
    return out


def in_place(conv, bn):
    out = fold(conv, bn)
    conv.weight.data,conv.bias = out.weight.data,out.bias
    return conv


def writes(conv, bn):
    out = fold(conv, bn)
    conv.weight.data.mul_(2)
    return out


def both(conv, bn): return nn.Sequential(conv, bn).eval()


def plain(conv, bn):
    "Forgets the stride"
    out = fold(conv, bn)
    out.stride = 1,1
    return out


EXERCISES = [
    (check_gain, [gain, as_tensor, by_deviation_and_mean, by_loop],
     [(upside_down, 'the gain is one over it'), (no_root, 'take its root first'),
      (deviation, "doesn't subtract the mean"), (absolute, 'square, mean, root'), (even, 'take `randn`'),
      (hundred, 'So much is chance'), (no_return, 'return'), (through_weights, '100,000'),
      (always_relu, 'of what f makes of them')]),
    (check_rms_norm, [RMSNorm, ByRsqrt, ByNorm, nn.RMSNorm],
     [(Centred, 'That is layer norm'), (Deviation, 'divides by the deviation'), (Outside, 'outside the root'),
      (NoEps, 'eps has no effect'), (NoRoot, 'take its root'), (Summed, 'take their mean'),
      (OverAll, 'whole batch'), (OverBatch, 'mean is over the batch'), (NoWeight, 'weight has no effect'),
      (Detached, 'no `detach`'), (PlainTensor, 'self.weight = Parameter'), (WithBias, 'no bias'),
      (StartsRandom, 'torch.ones(n)'), (NoKeepdim, 'over the last dimension')]),
    (check_fold, [fold, by_copy, by_asking],
     [(partial(fold, eps=False), 'eps is missing'), (partial(fold, root=1), 'take the root'),
      (partial(fold, mean=0), 'running mean is not subtracted'), (partial(fold, old=0), 'own bias is lost'),
      (partial(fold, new=0), "shift is missing"), (partial(fold, axis=1), 'axis of the inputs'),
      (partial(fold, scaled=False), 'multiply it by the scale'),
      (partial(fold, weight=False), 'own scale is missing'),
      (in_place, 'Work on a new one'), (writes, 'stays as it was'), (both, 'no new nn.Conv2d'),
      (plain, 'Stride, padding')]),
]
