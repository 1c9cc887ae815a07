"""Row 3 of DESIGN section 8: backward + step + zero_grad, ours against each of torch's three modes, in turns.

The loss is the cheapest that gives every tensor a gradient of its own, so that the optimizer's part of the
time is as large as it can be.
"""
import time
from functools import partial
from statistics import median
import torch
from torch.nn import functional as F
from miniai import optim

MODES = {'loop': {}, 'foreach': dict(foreach=True),
         'fused': dict(fused=True)}  # the loop is torch's default on a CPU
ALGORITHMS = {'SGD, momentum': ('SGD', dict(lr=1e-3, momentum=0.9)),
              'SGD, momentum and decay': ('SGD', dict(lr=1e-3, momentum=0.9, weight_decay=5e-4)),
              'Adam': ('Adam', {}), 'AdamW': ('AdamW', {})}


def resnet18():
    "Shapes of the 62 parameters of a ResNet-18, 11.7 million numbers"
    shapes,before = [(64,3,7,7), (64,), (64,)],64
    for width in (64, 128, 256, 512):
        for block in range(2):
            shapes += [(width,before,3,3), (width,), (width,), (width,width,3,3), (width,), (width,)]
            if block == 0 and width != 64: shapes += [(width,before,1,1), (width,), (width,)]
            before = width
    return shapes + [(1000,512), (1000,)]


def weighted_sum(params):
    "A loss with a gradient for each parameter, from a single backward operation"
    weights = torch.randn(sum(p.numel() for p in params))
    return lambda: (torch.cat([p if p.dim() == 1 else p.view(-1) for p in params]) * weights).sum()


def sum_of_products(params):
    "The same from an operation for each: one gradient for all is new memory each time, and drowns the rest"
    weights = [torch.randn_like(p) for p in params]
    return lambda: torch.stack([(p*w).sum() for p,w in zip(params, weights)]).sum()


def mlp_loss(params):
    "The loss of an MLP 784-50-10 on a batch of 64"
    x,y = torch.rand(64, 784),torch.randint(0, 10, (64,))
    w1,b1,w2,b2 = params
    return lambda: F.cross_entropy(F.linear(F.linear(x, w1, b1).relu(), w2, b2), y)


MODELS = {'ResNet-18': (resnet18(), sum_of_products, 25),
          '500 small': ([(20 + i%41,) for i in range(500)], weighted_sum, 60),
          'MLP': ([(50,784), (50,), (10,50), (10,)], mlp_loss, 200)}


def contestant(make, shapes, loss):
    "A function that trains for one step and returns the microseconds of the whole, and of `step` alone"
    params = [torch.randn(s).mul_(0.05).requires_grad_() for s in shapes]
    opt,loss = make(params),loss(params)
    def run():
        out,clock = loss(),time.perf_counter
        t0 = clock()
        out.backward()
        t1 = clock()
        opt.step()
        t2 = clock()
        opt.zero_grad()
        return (clock()-t0)*1e6,(t2-t1)*1e6
    return run


def measure(model, algorithm):
    "Medians of whole and step, for ours and each of torch's modes, after runs in turns"
    shapes,loss,n = MODELS[model]
    name,options = ALGORITHMS[algorithm]
    makers = {'ours': partial(getattr(optim, name), **options),
              **{m: partial(getattr(torch.optim, name), **options, **o) for m,o in MODES.items()}}
    runs = {k: contestant(make, shapes, loss) for k,make in makers.items()}
    times = {k: [] for k in runs}
    for f in list(runs.values())*3: f()
    for _ in range(n):
        for k,f in runs.items(): times[k].append(f())
    return {k: [median(t) for t in zip(*ts)] for k,ts in times.items()}


def row(model, algorithm, times, i, peer, bar=None):
    "One comparison, of the whole (i=0) or of the step alone (i=1), as a row"
    (ours,step),theirs = times['ours'],times[peer][i]
    what = f"{model}, {algorithm}: {('whole', 'step alone')[i]}"
    note = f'if our step took no time: {theirs/(ours-step):.1f}' if bar == 3 else ''
    return dict(row=3, what=what, ours=times['ours'][i], peer=theirs, peer_name=f'torch, {peer}',
                ratio=theirs/times['ours'][i], bar=bar, unit='µs', note=note)


def rows():
    "Row 3: backward + step + zero_grad, and `step` alone; 500 small tensors against torch's default, too"
    for model in MODELS:
        for algorithm in ALGORITHMS:
            times = measure(model, algorithm)
            for i in range(2):
                yield row(model, algorithm, times, i, min(MODES, key=lambda m: times[m][i]),
                          None if i else 0.95)
                if model == '500 small': yield row(model, algorithm, times, i, 'loop', None if i else 3)
