"Lesson 06: momentum from an empty class, Adagrad as one method, and groups for weight decay"
from functools import partial, wraps
import torch
from miniai.check.optim import check_decay_groups, check_optimizer
from miniai.optim import Optimizer


@wraps(check_optimizer)
def check_momentum(cls): return check_optimizer(cls, like='SGD', options=('lr', 'momentum'), basic=True)
@wraps(check_optimizer)
def check_adagrad(cls): return check_optimizer(cls, like='Adagrad', options=('lr', 'eps'))


class Momentum:
    "The solution"
    def __init__(self, params, lr, momentum=0.): self.params,self.lr,self.momentum,self.buffers = list(params),lr,momentum,{}

    def step(self):
        with torch.no_grad():
            for p in self.params:
                if p.grad is not None: self.update(p)

    def update(self, p):
        self.buffers[p] = self.momentum*self.buffers[p] + p.grad if p in self.buffers else p.grad.clone()
        p -= self.lr*self.buffers[p]

    def zero_grad(self):
        for p in self.params: p.grad = None


class KeepsGenerator(Momentum):
    def __init__(self, params, lr, momentum=0.):
        super().__init__([], lr, momentum)
        self.params = params


class TakesNone(Momentum):
    def step(self):
        with torch.no_grad():
            for p in self.params: self.update(p)


class NoBuffer(Momentum):
    def update(self, p): p -= self.lr*p.grad


class Averages(Momentum):
    def update(self, p):
        self.buffers[p] = self.momentum*self.buffers.get(p, 0) + (1-self.momentum)*p.grad
        p -= self.lr*self.buffers[p]


class Climbs(Momentum):
    def update(self, p):
        super().update(p)
        p += 2*self.lr*self.buffers[p]


class KeepsTheGradientItself(Momentum):
    def update(self, p):
        if p not in self.buffers: self.buffers[p] = p.grad
        else: self.buffers[p].mul_(self.momentum).add_(p.grad)
        p -= self.lr*self.buffers[p]
        p.grad.mul_(0.5)


class Forgets(Momentum):
    def zero_grad(self): pass


class Recorded(Momentum):
    def step(self):
        for p in self.params:
            if p.grad is not None: self.update(p)


class OneBuffer(Momentum):
    def update(self, p):
        self.buffers = {p: self.momentum*next(iter(self.buffers.values()), 0) + p.grad}
        p -= self.lr*self.buffers[p]


class Adagrad(Optimizer):
    "The solution"
    def __init__(self, params, lr=1e-2, eps=1e-10): super().__init__(params, dict(lr=lr, eps=eps))
    def update(self, p, grad, state, options):
        if 'sum' not in state: state['sum'] = torch.zeros_like(p)
        state['sum'] += grad**2
        p -= options['lr']*grad/(state['sum'].sqrt() + options['eps'])


class NoSum(Adagrad):
    def update(self, p, grad, state, options): p -= options['lr']*grad/(grad.abs() + options['eps'])


class OnSelf(Adagrad):
    "Keeps the sum on the optimizer, where the state dict does not look"
    def update(self, p, grad, state, options):
        self.sums = getattr(self, 'sums', {})
        super().update(p, grad, self.sums.setdefault(p, {}), options)


class Defaults(Adagrad):
    def update(self, p, grad, state, options): super().update(p, grad, state, self.defaults)


def split(model, weight_decay, decays=lambda p: p.dim() >= 2, wanted=lambda p: p.requires_grad, rest=0):
    params = [p for p in model.parameters() if wanted(p)]
    return [dict(params=[p for p in params if decays(p)], weight_decay=weight_decay), dict(params=[p for p in params if not decays(p)], weight_decay=rest)]


def swapped(model, weight_decay): return split(model, weight_decay)[::-1]
def by_name(model, weight_decay):
    biases = [p for n,p in model.named_parameters() if 'bias' in n]
    return split(model, weight_decay, decays=lambda p: all(p is not b for b in biases))
def one_group(model, weight_decay): return [dict(params=list(model.parameters()), weight_decay=weight_decay)]


EXERCISES = [
    (check_momentum, [Momentum],
     [(KeepsGenerator, 'a generator'), (TakesNone, 'gradient is None'), (NoBuffer, 'no momentum'), (Averages, 'no average'), (Climbs, 'up the slope'),
      (KeepsTheGradientItself, 'changed the gradient'), (Forgets, 'still a gradient'), (Recorded, 'no_grad'), (OneBuffer, 'memory of its own')]),
    (check_adagrad, [Adagrad], [(NoSum, 'differ'), (OnSelf, 'state dict must hold'), (Defaults, 'Take the options from the group')]),
    (check_decay_groups, [split, partial(split, rest=0.)],
     [(swapped, 'changed places'), (by_name, 'number of axes'), (partial(split, wanted=lambda p: True), 'in neither group'), (partial(split, rest=0.3), 'must say so'), (one_group, 'two groups')]),
]
