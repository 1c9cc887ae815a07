"Solutions of lesson 22's exercises, and the answers that people give instead"
import copy
import torch.nn.functional as F
from torch import nn
from miniai.check.resnet import check_block_costs, check_bottleneck, check_without
from miniai.init import conv
from miniai.resnet import ResBlock


class ByConv(nn.Module):
    def __init__(self, c):
        super().__init__()
        n = c//4
        sizes = (c, n, 1, nn.ReLU),(n, n, 3, nn.ReLU),(n, c, 1, None)
        self.convs = nn.Sequential(*[conv(a, b, ks, stride=1, act=act, norm=nn.BatchNorm2d)
                                     for a,b,ks,act in sizes])
    def forward(self, x): return F.relu(x + self.convs(x))

class ByHand(nn.Module):
    last,bias = 1,False
    def __init__(self, c):
        super().__init__()
        self.a,self.b = nn.Conv2d(c, c//4, 1, bias=self.bias),nn.Conv2d(c//4, c//4, 3, padding=1, bias=False)
        self.c = nn.Conv2d(c//4, c, 1, bias=False)
        self.na,self.nb,self.nc = nn.BatchNorm2d(c//4),nn.BatchNorm2d(c//4),nn.BatchNorm2d(c)
    def inner(self, x):
        x = self.na(self.a(x)).relu()
        x = self.nb(self.b(x)).relu()
        return self.nc(self.c(x))
    def forward(self, x): return (self.inner(x) + x).relu()

class NoShortcut(ByHand):
    def forward(self, x): return self.inner(x).relu()

class NoRelu(ByHand):
    def forward(self, x): return self.inner(x) + x

class ReluBefore(ByHand):
    def forward(self, x): return self.inner(x).relu() + x

class ReluTwice(ByHand):
    def forward(self, x): return (self.inner(x).relu() + x).relu()

class NoPadding(ByConv):
    def __init__(self, c):
        super().__init__(c)
        self.convs[1][0] = nn.Conv2d(c//4, c//4, 3)

class AllThree(ByConv):
    def __init__(self, c):
        super().__init__(c)
        sizes = (c, c//4, nn.ReLU),(c//4, c//4, nn.ReLU),(c//4, c, None)
        self.convs = nn.Sequential(*[conv(a, b, 3, stride=1, act=act, norm=nn.BatchNorm2d)
                                     for a,b,act in sizes])

class DefaultStride(ByConv):
    def __init__(self, c):
        super().__init__(c)
        for layers in self.convs: layers[0].stride = 2,2

class InAList(ByHand):
    def __init__(self, c):
        super().__init__(c)
        self.hidden = [self.a, self.b, self.c]
        del self.a, self.b, self.c
    def forward(self, x): return x

class NoReturn(ByConv):
    def forward(self, x): super().forward(x)

class NoNorm(ByConv):
    def __init__(self, c):
        super().__init__(c)
        self.convs[2][1] = nn.Identity()


def by_formula(ni, nf, stride, h, w):
    small,extra = (h//stride)*(w//stride),int(ni != nf)
    params = ni*nf*9 + nf + nf*nf*9 + nf + extra*(ni*nf + nf)
    return params,ni*nf*9*h*w + nf*nf*9*small + extra*ni*nf*small
def in_steps(ni, nf, stride, h, w):
    def one(ni, nf, ks, h, w): return ni*nf*ks*ks + nf,ni*nf*ks*ks*h*w
    parts = [one(ni, nf, 3, h, w), one(nf, nf, 3, h//stride, w//stride)]
    if ni != nf: parts.append(one(ni, nf, 1, h//stride, w//stride))
    return [sum(p) for p in zip(*parts)]
def by_the_block(ni, nf, stride, h, w):
    return sum(p.numel() for p in ResBlock(ni, nf, stride).parameters()),by_formula(ni, nf, stride, h, w)[1]
def _cost(ni, nf, stride, h, w, bias=1, first=1, extra=None):
    small,extra = (h//stride)*(w//stride),int(ni != nf) if extra is None else extra
    params = 9*ni*nf + 9*nf*nf + 2*nf*bias + extra*(ni*nf + nf*bias)
    return params,9*ni*nf*(h*w if first else small) + 9*nf*nf*small + extra*ni*nf*small
def no_bias(*args): return _cost(*args, bias=0)
def bare_shortcut(ni, nf, *args):
    params,work = _cost(ni, nf, *args)
    return params - nf*(ni != nf),work
def stride_first(*args): return _cost(*args, first=0)
def no_idconv(*args): return _cost(*args, extra=0)
def always_idconv(*args): return _cost(*args, extra=1)
def turned(*args): return _cost(*args)[::-1]
def no_stride(ni, nf, stride, h, w): return _cost(ni, nf, 1, h, w)


def by_slices(model, i): return nn.Sequential(*model[:i], *model[i+1:])
def by_a_loop(model, i): return nn.Sequential(*[m for n,m in enumerate(model) if n != i])
def by_list(model, i):
    layers = list(model)
    layers.pop(i)
    return nn.Sequential(*layers)
def deletes(model, i):
    del model[i]
    return model
def copies(model, i):
    model = copy.deepcopy(model)
    del model[i]
    return model
def a_list(model, i): return [m for n,m in enumerate(model) if n != i]
def cut_off(model, i): return model[:i]
def from_one(model, i): return by_slices(model, i-1) if i else by_slices(model, 0)
def nested(model, i): return nn.Sequential(model[:i], model[i+1:])
def stands_in(model, i): return nn.Sequential(*model[:i], nn.Identity(), *model[i+1:])
def says_nothing(model, i): by_slices(model, i)


EXERCISES = [
    (check_bottleneck, [ByConv, ByHand, type('WithBias', (ByHand,), dict(bias=True))],
     [(NoShortcut, 'Add x'), (NoRelu, 'behind the sum'), (ReluBefore, 'first the sum'),
      (ReluTwice, 'One ReLU too many'), (NoPadding, 'padding of 1'), (AllThree, 'Only the one in the middle'),
      (NoNorm, 'behind each convolution'), (DefaultStride, 'stride is 2 unless told'),
      (InAList, 'A plain list hides layers'), (NoReturn, 'return')]),
    (check_block_costs, [by_formula, in_steps, by_the_block],
     [(no_bias, 'Each convolution has a bias'), (stride_first, 'works on the whole picture'),
      (no_idconv, 'where ni is not nf'), (always_idconv, 'the shortcut has no convolution'),
      (bare_shortcut, 'has a bias, too'), (turned, 'Parameters first'),
      (no_stride, 'over a quarter of the places')]),
    (check_without, [by_slices, by_a_loop, by_list],
     [(deletes, 'keeps all of its layers'), (copies, 'not copies'), (a_list, 'one by one'),
      (cut_off, 'All layers but'), (from_one, 'All layers but'), (says_nothing, 'return'),
      (nested, 'Unpack'), (stands_in, 'not a stand-in')]),
]
