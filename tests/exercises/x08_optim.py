"Exercises of lesson 08_optim: groups for weight decay, Adagrad as one method, a whole optimizer"
from collections import defaultdict
from functools import partial, wraps
import torch
from miniai.check.optim import check_adagrad, check_decay_groups, check_optimizer
from miniai.optim import SGD, Optimizer


@wraps(check_optimizer)
def check_mysgd(cls): return check_optimizer(cls, like='SGD', options=('lr', 'momentum', 'nesterov'))
check_mysgd.__name__ = 'check_optimizer'


# -- 1. groups for weight decay

def split(model, weight_decay, decays=lambda p: p.dim() >= 2, wanted=lambda p: p.requires_grad, rest=0):
    params = [p for p in model.parameters() if wanted(p)]
    return [dict(params=[p for p in params if decays(p)], weight_decay=weight_decay),
            dict(params=[p for p in params if not decays(p)], weight_decay=rest)]


def by_loop(model, weight_decay):
    groups = dict(params=[], weight_decay=weight_decay),dict(params=[], weight_decay=0.)
    for _,p in model.named_parameters():
        if p.requires_grad: groups[len(p.shape) < 2]['params'].append(p)
    return groups


def by_shape(model, weight_decay):
    wanted = filter(lambda p: p.requires_grad, model.parameters())
    halves = {True: [], False: []}
    for p in wanted: halves[p.ndim > 1].append(p)
    return [{'weight_decay': weight_decay, 'params': iter(halves[True])},
            {'params': halves[False], 'weight_decay': 0}]


def swapped(model, weight_decay): return split(model, weight_decay)[::-1]


def by_name(model, weight_decay):
    biases = [p for n,p in model.named_parameters() if 'bias' in n]
    return split(model, weight_decay, decays=lambda p: all(p is not b for b in biases))


def by_absence(model, weight_decay):
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    return [dict(params=decayed, weight_decay=weight_decay),
            dict(params=[p for p in model.parameters() if p not in decayed], weight_decay=0)]


def with_names(model, weight_decay):
    pairs = [(n, p) for n,p in model.named_parameters() if p.requires_grad]
    return [dict(params=[pair for pair in pairs if pair[1].dim() >= 2], weight_decay=weight_decay),
            dict(params=[pair for pair in pairs if pair[1].dim() < 2], weight_decay=0)]


def says_nothing_of_the_rest(model, weight_decay):
    return [dict(g) if i == 0 else dict(params=g['params']) for i,g in enumerate(split(model, weight_decay))]


def one_group(model, weight_decay): return [dict(params=list(model.parameters()), weight_decay=weight_decay)]
def bare_lists(model, weight_decay): return [g['params'] for g in split(model, weight_decay)]


# -- 2. Adagrad

class Adagrad(Optimizer):
    "The solution"
    def __init__(self, params, lr=1e-2, eps=1e-10): super().__init__(params, dict(lr=lr, eps=eps))

    def update(self, p, grad, state, options):
        if 'sum' not in state: state['sum'] = torch.zeros_like(p)
        state['sum'] += grad**2
        p -= options['lr']*grad/(state['sum'].sqrt() + options['eps'])


class OutOfPlace(Adagrad):
    def update(self, p, grad, state, options):
        state['sum'] = state.get('sum', 0) + grad*grad
        p.sub_(grad.div(state['sum']**0.5 + options['eps']), alpha=options['lr'])


class ByAddcdiv(Adagrad):
    def update(self, p, grad, state, options):
        total = state.setdefault('sum', torch.zeros_like(p)).addcmul_(grad, grad)
        p.addcdiv_(grad, total.sqrt().add_(options['eps']), value=-options['lr'])


class NoSum(Adagrad):
    def update(self, p, grad, state, options): p -= options['lr']*grad/(grad.abs() + options['eps'])


class OnSelf(Adagrad):
    "Keeps the sum on the optimizer, where the state dict does not look"
    def update(self, p, grad, state, options):
        self.sums = getattr(self, 'sums', {})
        super().update(p, grad, self.sums.setdefault(p, {}), options)


class Defaults(Adagrad):
    def update(self, p, grad, state, options): super().update(p, grad, state, self.defaults)


class NoStart(Adagrad):
    def update(self, p, grad, state, options):
        state['sum'] += grad**2
        p -= options['lr']*grad/(state['sum'].sqrt() + options['eps'])


class EpsInside(Adagrad):
    def update(self, p, grad, state, options):
        state['sum'] = state.get('sum', 0) + grad**2
        p -= options['lr']*grad/(state['sum'] + options['eps']).sqrt()


class EpsOutside(Adagrad):
    def update(self, p, grad, state, options):
        state['sum'] = state.get('sum', 0) + grad**2
        p -= options['lr']*grad/state['sum'].sqrt() + options['eps']


class MeanOfSquares(Adagrad):
    def update(self, p, grad, state, options):
        state['sum'] = state.get('sum', 0) + (grad**2).mean()
        p -= options['lr']*grad/(state['sum'].sqrt() + options['eps'])


class SumOfSizes(Adagrad):
    def update(self, p, grad, state, options):
        state['sum'] = state.get('sum', 0) + grad.abs()
        p -= options['lr']*grad/(state['sum'] + options['eps'])


class RateOfSelf(Adagrad):
    def update(self, p, grad, state, options):
        state['sum'] = state.get('sum', 0) + grad**2
        p -= self.lr*grad/(state['sum'].sqrt() + self.eps)


class NoRoot(Adagrad):
    def update(self, p, grad, state, options):
        state['sum'] = state.get('sum', 0) + grad**2
        p -= options['lr']*grad/(state['sum'] + options['eps'])


class NoEps(Adagrad):
    def update(self, p, grad, state, options): super().update(p, grad, state, {**options, 'eps': 0})


class NoRate(Adagrad):
    def update(self, p, grad, state, options): super().update(p, grad, state, {**options, 'lr': 1})


class NoSquare(Adagrad):
    def update(self, p, grad, state, options):
        state['sum'] = state.get('sum', 0) + grad
        p -= options['lr']*grad/(state['sum'].sqrt() + options['eps'])


class OneForAll(Adagrad):
    def update(self, p, grad, state, options):
        state['sum'] = state.get('sum', 0) + (grad**2).sum()
        p -= options['lr']*grad/(state['sum'].sqrt() + options['eps'])


class FirstTwice(Adagrad):
    def update(self, p, grad, state, options):
        if not state: state['sum'] = grad**2
        super().update(p, grad, state, options)


class LikeRMSprop(Adagrad):
    def update(self, p, grad, state, options):
        state['sum'] = 0.99*state.get('sum', 0) + 0.01*grad**2
        p -= options['lr']*grad/(state['sum'].sqrt() + options['eps'])


class NewTensor(Adagrad):
    def update(self, p, grad, state, options):
        state['sum'] = state.get('sum', 0) + grad**2
        p = p - options['lr']*grad/(state['sum'].sqrt() + options['eps'])


class Uphill(Adagrad):
    def update(self, p, grad, state, options):
        state['sum'] = state.get('sum', 0) + grad**2
        p += options['lr']*grad/(state['sum'].sqrt() + options['eps'])


# -- 3. a whole optimizer

class MySGD(torch.optim.Optimizer):
    "The solution"
    def __init__(self, params, lr=0.1, momentum=0., nesterov=False):
        self.defaults = dict(lr=lr, momentum=momentum, nesterov=nesterov)
        self.param_groups,self.state = [],defaultdict(dict)
        params = list(params)
        if not params: raise ValueError('no parameters')
        for group in params if isinstance(params[0],
                                          dict) else [dict(params=params)]: self.add_param_group(group)

    def add_param_group(self, param_group):
        group = {**self.defaults, **param_group, 'params': list(param_group['params'])}
        if group['lr'] < 0: raise ValueError('lr below 0')
        known = [p for g in self.param_groups for p in g['params']]
        for p in group['params']:
            if not isinstance(p, torch.Tensor): raise TypeError('not a tensor')
            if any(p is q for q in known): raise ValueError('twice')
        self.param_groups.append(group)

    def move(self, p, state, o):
        if not o['momentum']: return o['lr']*p.grad
        state['momentum_buffer'] = o['momentum']*state.get('momentum_buffer', 0) + p.grad
        b = state['momentum_buffer']
        return o['lr']*(p.grad + o['momentum']*b if o['nesterov'] else b)

    def step(self, closure=None):
        loss = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                for p in group['params']:
                    if p.grad is not None: p -= self.move(p, self.state[p], group)
        return loss

    def zero_grad(self, set_to_none=True):
        for group in self.param_groups:
            for p in group['params']:
                if set_to_none: p.grad = None
                elif p.grad is not None: p.grad.zero_()

    def state_dict(self):
        params = [p for g in self.param_groups for p in g['params']]
        number = {p: i for i,p in enumerate(params)}
        groups = [{**g, 'params': [number[p] for p in g['params']]} for g in self.param_groups]
        return dict(state={number[p]: dict(s) for p,s in self.state.items()}, param_groups=groups)

    def load_state_dict(self, state_dict):
        params = [p for g in self.param_groups for p in g['params']]
        self.state = defaultdict(dict, {params[i]: dict(s) for i,s in state_dict['state'].items()})
        for mine,theirs in zip(self.param_groups, state_dict['param_groups']):
            mine.update({k: v for k,v in theirs.items() if k != 'params'})


class OnOurBase(Optimizer):
    "Another way: `update` alone"
    def __init__(self, params, lr=0.1, momentum=0., nesterov=False):
        super().__init__(params, dict(lr=lr, momentum=momentum, nesterov=nesterov))

    def update(self, p, grad, state, options):
        b = state['momentum_buffer'] = grad + options['momentum']*state.get('momentum_buffer', 0)
        p.sub_(grad + options['momentum']*b if options['nesterov'] else b, alpha=options['lr'])


class OnTheirBase(torch.optim.Optimizer):
    "Lets PyTorch's do what was to be written"
    def __init__(self, params, lr=0.1, momentum=0., nesterov=False):
        if lr < 0: raise ValueError('lr below 0')
        super().__init__(params, dict(lr=lr, momentum=momentum, nesterov=nesterov))

    move,step = MySGD.move,MySGD.step


class KeepsGenerator(MySGD):
    def __init__(self, params, lr=0.1, momentum=0., nesterov=False):
        self.defaults,self.state = dict(lr=lr, momentum=momentum, nesterov=nesterov),defaultdict(dict)
        self.param_groups = [{**self.defaults, 'params': params}]


class TakesNone(MySGD):
    def step(self, closure=None):
        loss = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                for p in group['params']: p -= self.move(p, self.state[p], group)
        return loss


class NoMomentum(MySGD):
    def move(self, p, state, o): return o['lr']*p.grad


class Averages(MySGD):
    def move(self, p, state, o):
        state['b'] = o['momentum']*state.get('b', 0) + (1-o['momentum'])*p.grad
        return o['lr']*state['b']


class RateInTheSum(MySGD):
    def move(self, p, state, o):
        state['b'] = o['momentum']*state.get('b', 0) + o['lr']*p.grad
        return o['lr']*p.grad + o['momentum']*state['b'] if o['nesterov'] else state['b']


class NoNesterov(MySGD):
    def move(self, p, state, o): return super().move(p, state, {**o, 'nesterov': False})


class OldSum(MySGD):
    def move(self, p, state, o):
        old = state.get('momentum_buffer', torch.zeros_like(p))
        move = super().move(p, state, {**o, 'nesterov': False})
        return o['lr']*(p.grad + o['momentum']*old) if o['nesterov'] else move


class Climbs(MySGD):
    def move(self, p, state, o): return -super().move(p, state, o)


class ChangesTheGradient(MySGD):
    def move(self, p, state, o):
        move = super().move(p, state, o)
        p.grad *= 0.5
        return move


class Recorded(MySGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group['params']:
                if p.grad is not None: p -= self.move(p, self.state[p], group)


class NewTensors(MySGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group['params']:
                if p.grad is not None: p = p - self.move(p, self.state[p], group)


class OneSum(MySGD):
    def move(self, p, state, o): return super().move(p, self.state['all'], o)


class Forgets(MySGD):
    def zero_grad(self, set_to_none=True): pass


class FirstGroupOnly(MySGD):
    def step(self, closure=None):
        groups,self.param_groups = self.param_groups,self.param_groups[:1]
        try: return super().step(closure)
        finally: self.param_groups = groups


class OptionsOfTheClass(MySGD):
    def move(self, p, state, o): return super().move(p, state, self.defaults)


class NoState(MySGD):
    def state_dict(self): return {**super().state_dict(), 'state': {}}


class NotAnOptimizer:
    __init__,add_param_group,move,step = MySGD.__init__,MySGD.add_param_group,MySGD.move,MySGD.step
    zero_grad,state_dict,load_state_dict = MySGD.zero_grad,MySGD.state_dict,MySGD.load_state_dict


EXERCISES = [
    (check_decay_groups, [split, by_loop, by_shape],
     [(swapped, 'changed places'), (by_name, 'number of axes'), (one_group, 'Return [dict(params'),
      (bare_lists, 'Return [dict('), (by_absence, 'compares the numbers'),
      (partial(split, wanted=lambda p: True), 'is in neither group'),
      (partial(split, rest=0.3), 'must say so'),
      (with_names, 'without names'), (says_nothing_of_the_rest, 'weight_decay=0)]'),
      (partial(split, decays=lambda p: p.dim() != 1), 'number of axes')]),
    (check_adagrad, [Adagrad, OutOfPlace, ByAddcdiv],
     [(NoSum, 'lost between the steps'), (OnSelf, 'all that is remembered'),
      (Defaults, 'Take the options from the group'),
      (NoStart, 'empty dictionary'), (EpsInside, 'eps stands inside'), (NoRoot, 'divide by its root'),
      (NoEps, 'eps has no effect'), (NoRate, 'lr has no effect'), (NoSquare, 'of their squares'),
      (OneForAll, 'add up over the tensor'), (FirstTwice, 'counts twice'),
      (LikeRMSprop, 'a running average'), (NewTensor, 'change it in place'), (Uphill, 'up the slope'),
      (EpsOutside, 'parentheses around'), (MeanOfSquares, 's += g**2'), (SumOfSizes, 's += g**2'),
      (RateOfSelf, 'lr in `options`')]),
    (check_mysgd, [MySGD, OnOurBase, SGD, torch.optim.SGD],
     [(KeepsGenerator, 'a generator'), (TakesNone, 'gradient is None'), (NoMomentum, 'no momentum'),
      (Averages, 'a sum that fades'), (RateInTheSum, 'gone into the sum'), (NoNesterov, 'no effect'),
      (OldSum, 'With the old one'), (Climbs, 'up the slope'), (ChangesTheGradient, 'changed the gradient'),
      (Recorded, 'no_grad'), (NewTensors, 'change it in place'), (OneSum, 'memory of its own'),
      (Forgets, 'Set it to None'), (FirstGroupOnly, 'go through all groups'),
      (OptionsOfTheClass, 'from the group'),
      (NoState, 'all that is remembered'),
      (NotAnOptimizer, 'subclass of torch'), (OnTheirBase, '`super()`: zero_grad, add_param_group')]),
]
