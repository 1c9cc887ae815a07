"Checks of lesson 08_optim"
from functools import partial
import torch
from .kit import Case, Mismatch, brief, check, require, rng, same
from .matmul import refused

def _sgd(p, g, s, o, wrong):
    "One step of SGD with momentum, with a mistake"
    momentum,lr = o.get('momentum', 0),o['lr']
    if not momentum or wrong == 'no momentum': return p - lr*g
    if wrong == 'lr in the sum': g,lr = lr*g,1
    s['b'] = momentum*s.get('b', 0) + g*(1-momentum if wrong == 'averaged' else 1)
    return p - lr*(g + momentum*s['b'] if o.get('nesterov') and wrong != 'no nesterov' else s['b'])

_SGD = {
    'no momentum': 'There is no momentum in this: is the sum kept from step to step, for each parameter?',
    'lr in the sum': 'lr has gone into the sum: sum the bare gradients, and multiply by lr in the step.',
    'averaged': 'It is a sum that fades, momentum*b + gradient: do not multiply the gradient by 1-momentum.',
    'no nesterov': 'nesterov has no effect: the step goes along gradient + momentum*b, with the new b. '
                   '(With the old one that is plain momentum.)'}

def _adagrad(p, g, s, o, wrong):
    "One step of Adagrad, with a mistake"
    eps,old = o.get('eps', 1e-10),0 if wrong == 'forgets' else s.get('v', 0)
    new = g if wrong == 'no square' else (g*g).sum() if wrong == 'one for all' else g*g
    if wrong == 'first twice' and not s: new = 2*new
    s['v'] = 0.99*old + 0.01*new if wrong == 'averaged' else old + new
    seen = 0*g + old if wrong == 'one step late' else s['v']
    root = (seen + eps).sqrt() if wrong == 'eps inside' else seen if wrong == 'no root' else seen.sqrt()
    if wrong == 'eps outside': return p - o['lr']*g/root - eps
    return p - o['lr']*g/(root + eps*(wrong not in ('eps inside', 'no eps')))

_ADAGRAD = {
    'eps inside': 'eps stands inside the root; it is added to the root.',
    'no eps': 'eps has no effect: it is added to the root.',
    'eps outside': 'eps is added to the whole step: parentheses around the root and eps.',
    'no root': 'The gradient is divided by the sum of squares; divide by its root.',
    'no square': 'The sum is of the gradients; it is of their squares.',
    'one for all': 'Each number of the parameter has a sum of its own: do not add up over the tensor.',
    'forgets': 'The sum is lost between the steps: keep it in `state`.',
    'first twice': 'The first gradient counts twice: start the sum from zeros.',
    'averaged': 'That is a running average, as in RMSprop; Adagrad keeps the plain sum.',
    'one step late': 'The sum holds this gradient, too: add its square before you divide.'}

_BOTH = {'up': 'Each step goes up the slope: it is `p -= …`.', 'no lr': 'lr has no effect: multiply by it.'}
_RULES = dict(SGD=(_sgd, {**_SGD, **_BOTH}), Adagrad=(_adagrad, {**_ADAGRAD, **_BOTH}))
_ADAM = [dict(betas=(0.5, 0.7)), dict(eps=0.1), dict(weight_decay=0.3)]
_OPTIONS = dict(SGD=[dict(momentum=0.8), dict(momentum=0.8, dampening=0.4), dict(momentum=0.8, nesterov=True),
                     dict(weight_decay=0.3), dict(momentum=0.8, weight_decay=0.3)],
                RMSprop=[dict(alpha=0.7), dict(eps=0.1), dict(momentum=0.8), dict(weight_decay=0.3)],
                Adagrad=[dict(eps=0.5)], Adam=_ADAM, AdamW=_ADAM)

def _start(): return torch.tensor([[0.5, -1., 2.], [0.1, -0.3, 1.5]], requires_grad=True)

def _some_grads(n, seed=0):
    "Gradients of sizes that differ from step to step"
    g = rng(seed)
    return [torch.randn(2, 3, generator=g) * (0.2 if t % 3 else 2.) for t in range(n)]

def _path(like, options, lrs, grads, wrong):
    "Where a rule with a mistake goes"
    p,state,path = _start().detach(),{},[]
    for lr,g in zip(lrs, grads):
        g,options = -g if wrong == 'up' else g,{**options, 'lr': 1 if wrong == 'no lr' else lr}
        p = _RULES[like][0](p, g, state, options, wrong)
        path.append(p)
    return torch.stack(path)

def _move(opt, params, grads):
    "One step with these gradients, which it must leave alone"
    quiet = 'Change parameters in place and under `torch.no_grad()`, so that autograd does not record it.'
    empty = "Something remembered? `state` is an empty dictionary at first: make there what is not there yet."
    for p,g in zip(params, grads): p.grad = None if g is None else g.clone()
    try: opt.step()
    except KeyError as e: raise Mismatch(f'KeyError: {brief(str(e))}', hint=empty) from e
    except RuntimeError as e:
        if 'in-place' not in str(e): raise
        raise Mismatch(f'RuntimeError: {e}', hint=quiet) from e
    for p,g in zip(params, grads):
        require(p.is_leaf and p.requires_grad, 'after the step the parameter has a history', hint=quiet)
        kept = g is None or p.grad is not None and p.grad.equal(g)
        require(kept, '`step` changed the gradient', g, p.grad, g, 'Use `grad = grad + …`, not `grad += …`.')

def _follow(name, like, options, hint='', lrs=(0.1,)*8, relay=('yours',), make=None, present=({0},)*8):
    """Follow PyTorch's: with an lr for each step, and gradients for the parameters that are `present` in it.
    A second class in `relay` goes on from the state dict; `make` gives an optimizer and a schedule or None"""
    known = _RULES[like][1] if like in _RULES and options.keys() <= {'momentum', 'nesterov', 'eps'} else {}
    stays = '`p = p - …` makes a new tensor and leaves the parameter alone: change it in place, `p -= …`.'
    grads = [_some_grads(len(lrs), seed) for seed in range(1 + max(map(max, present)))]
    def run(cls):
        ref,paths = getattr(torch.optim, like),[]
        for first,*second in [cls if who == 'yours' else ref for who in relay],[ref]:
            params,path = [_start() for _ in grads],[]
            opt,sched = make(first, params) if make else (first(params, lr=lrs[0], **options), None)
            for t,(lr,now) in enumerate(zip(lrs, present)):
                if lr != lrs[0]: opt.param_groups[0]['lr'] = lr
                if second and t == 4:
                    saved,opt = opt.state_dict(),second[0](params, lr=0.7)
                    opt.load_state_dict(saved)
                _move(opt, params, [g[t] if i in now else None for i,g in enumerate(grads)])
                if sched: sched.step()
                path.append(torch.stack([p.detach() for p in params]))
            require(not params[0].equal(_start()), 'the parameter does not move', hint=stays)
            paths.append(torch.stack(path).squeeze(1))
        mistakes = {text: partial(_path, like, options, lrs, grads[0], bad) for bad,text in known.items()}
        given = f'positions after each step, {options or "no options"}, lr={lrs[len(path)-1]}'
        same(*paths, f'{len(params)} parameters: {given}' if params[1:] else given, hint, mistakes)
    return Case(name, run, hint)

def _groups(cls, params):
    "Three groups: one with an lr of its own, one of the defaults, and one that is added later"
    opt = cls([dict(params=[params[0]], lr=0.5), dict(params=[params[1]])], lr=0.1)
    opt.add_param_group(dict(params=[params[2]], lr=0.02))
    return opt,None

def _generator(cls, params): return cls((p for p in params), lr=0.1),None
def _schedule(cls, params):
    opt = cls(params, lr=0.1)
    return opt,torch.optim.lr_scheduler.ExponentialLR(opt, 0.5)

def _zero(cls):
    p = _start()
    opt,p.grad = cls([p], lr=0.1),torch.ones(2, 3)
    opt.zero_grad()
    require(p.grad is None, 'after `zero_grad()` there is a gradient', hint='Set it to None.')

def _after(alone, case):
    "`case`, tried only if one parameter alone goes right: its hint is about what comes on top of that"
    def run(cls):
        try: alone.run(cls)
        except NotImplementedError: raise
        except Exception: raise Mismatch('not tried: a parameter alone goes wrong already') from None
        case.run(cls)
    return Case(case.name, run, case.hint)

def _refuses(what, params, hint, **options):
    return Case(f'an error for {what}', lambda cls: refused(Exception, partial(cls, **options), params), hint)

def _own(cls):
    if cls.__module__.startswith('torch.'): return
    names = 'step', 'zero_grad', 'add_param_group', 'state_dict', 'load_state_dict'
    theirs = ', '.join(n for n in names if getattr(cls, n, None) is getattr(torch.optim.Optimizer, n))
    require(not theirs, f"PyTorch's: {theirs}", hint=f'Write yourself, without its `super()`: {theirs}.')

def _optimizer_cases(like, names):
    "All that a complete optimizer has to pass"
    options = [o for o in _OPTIONS.get(like, []) if names is None or set(o) <= set(names)]
    memory,three = options[0] if options else {},dict(present=[{0, 1, 2}]*5)
    once = '`params` may be a generator, which can be run through only once: keep `list(params)`.'
    skip = 'Skip a parameter whose gradient is None: no step, no weight decay, and its memory stays.'
    group = 'Take the options from the group, `group["lr"]`; go through all groups (dicts), also later ones.'
    rule = '' if like != 'Adagrad' else 'Each number: s += g**2; p -= lr*g/(s.sqrt() + eps), lr in `options`.'
    sched = 'Schedules ask for a subclass of torch.optim.Optimizer, and set `param_groups[0]["lr"]`.'
    keep = "It holds all that is remembered and each group's options, as print(torch_opt.state_dict()) shows."
    pairs = [('torch', 'yours'), ('yours', 'torch')] if names is None else []  # torch's has all options
    later = [_follow('three parameters', like, memory, 'Each parameter has a memory of its own.', **three),
             _follow('gradients that are None', like, memory, skip, present=[{0}, {0, 1}, {1}, {0, 1, 2}]),
             _follow('parameters from a generator', like, {}, once, make=_generator, **three),
             Case('zero_grad', _zero),
             _follow('groups have their own options', like, {}, group, make=_groups, **three),
             _follow('a new lr on the way', like, memory, sched, (0.1,)*3 + (0.02,)*5),
             _follow("a schedule of PyTorch's drives it", like, {}, sched, make=_schedule, **three),
             *[_follow(f'state_dict: from {pair[0]} to {pair[1]}', like, memory, keep, relay=pair)
               for pair in [('yours', 'yours'), *pairs]]]
    alone,twice = _follow('', like, memory),[dict(params=[_start()])]*2
    return [_follow('one step', like, {}, rule, lrs=(0.3,)), _follow('eight steps', like, {}, rule),
            *[_follow(f"with {' and '.join(o)}", like, o, rule) for o in options],
            *[_after(alone, case) for case in later], Case('all of it is your own', _own),
            _refuses('no parameters', [], 'Raise if the list is empty.'),
            _refuses('lr=-0.1', [_start()], 'A rate below 0 is a mistake: raise.', lr=-0.1),
            _refuses('a parameter in two groups', twice, 'It would take two steps: raise.')]

@check('optimizer')
def check_optimizer(
    opt_class,   # Your optimizer, a class that is called with parameters and options
    like=None,   # The class in `torch.optim` that it should follow, by name; by default the name of yours
    options=None # Names of the options to try; by default all
):
    "Check an optimizer against PyTorch's of the same name"
    return _optimizer_cases(like or opt_class.__name__, options)

@check('Adagrad')
def check_adagrad(cls):  # Your Adagrad, a class with `update`
    "Check steps divided by the root of the sum of all squared gradients"
    return _optimizer_cases('Adagrad', ('lr', 'eps'))

def _groups_case(name, make_model, decayed, others):
    by_dim = 'Sort each by its own `p.dim()`. (`p in a_list` compares the numbers of tensors.)'
    def run(f):
        model = make_model()
        got,names = f(model, 0.3),{id(p): n for n,p in model.named_parameters()}
        form = 'Return [dict(params=…, weight_decay=…), dict(params=…, weight_decay=0)].'
        good = type(got) in (list, tuple) and [{'params', 'weight_decay'} <= {*g} for g in got] == [True]*2
        require(good, 'it is not two groups with params and weight_decay', got=got, hint=form)
        groups = [sorted(names.get(id(p), 'not of the model') for p in g['params']) for g in got]
        mistakes = {'The groups have changed places.': [others, decayed]}
        hint = 'By the number of axes: those with `p.dim() >= 2` decay, all others do not.'
        if 'not of the model' in str(groups): hint = '`params` is a list of parameters alone, without names.'
        if 'frozen' in str(groups): hint = 'A frozen parameter (`requires_grad` False) is in neither group.'
        same(groups, [decayed, others], hint=hint, mistakes=mistakes)
        both = 'The first group has the given weight_decay, the second has 0; both must say so.'
        same([g['weight_decay'] for g in got], [0.3, 0], hint=both)
    return Case(name, run, by_dim)

def _model(frozen=False, scalar=False):
    nn = torch.nn
    model = nn.ModuleDict(dict(conv=nn.Conv2d(1, 2, 3), norm=nn.BatchNorm2d(2)))
    if frozen: model['frozen'] = nn.Linear(2, 2).requires_grad_(False)
    if scalar: model.register_parameter('scale', nn.Parameter(torch.ones(())))
    return model

@check('groups for weight decay')
def check_decay_groups(f):  # Takes a model and a weight decay, and returns a list of two groups
    "Check a function that keeps weight decay away from biases and scales"
    decayed,rest = ['conv.weight'],['conv.bias', 'norm.bias', 'norm.weight']
    return [_groups_case('a linear layer', lambda: torch.nn.Linear(2, 3), ['weight'], ['bias']),
            _groups_case('with a normalization layer', _model, decayed, rest),
            _groups_case('frozen parameters stay out', partial(_model, frozen=True), decayed, rest),
            _groups_case('one without any axis', partial(_model, scalar=True), decayed, [*rest, 'scale'])]
