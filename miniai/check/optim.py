"Checks of lesson 08, optimizers"
import math
import torch
from .kit import Case, Mismatch, Report, difference, require, run_cases, same


def _sgd_rule(p, g, s, o, wrong):
    "One step of SGD, with a mistake"
    momentum,decay,part = o.get('momentum', 0),o.get('weight_decay', 0),1-o.get('dampening', 0)
    if o.get('maximize') and wrong != 'maximize': g = -g
    if wrong == 'decoupled': p = p*(1-o['lr']*decay)
    elif wrong != 'no decay': g = g + decay*p
    if not momentum or wrong == 'no momentum': return p - o['lr']*g
    if wrong == 'lr in buffer': g = o['lr']*g
    first = 'b' not in s
    if wrong == 'averaged': part = 1-momentum
    if wrong == 'no dampening': part = 1
    s['b'] = g if first and wrong not in ('dampened first', 'averaged') else momentum*s.get('b', 0) + part*g
    move = g + momentum*s['b'] if o.get('nesterov') and wrong != 'no nesterov' else s['b']
    return p - (1 if wrong == 'lr in buffer' else o['lr'])*move

_SGD_MISTAKES = {
    'no momentum': 'There is no momentum in this: is the buffer kept from one step to the next, for each parameter?',
    'lr in buffer': 'The learning rate has gone into the buffer. Keep the bare gradients there, and multiply by lr in the step, so that a new lr counts at once.',
    'dampened first': 'The first gradient goes into the buffer whole; dampening starts with the second step.',
    'averaged': 'The buffer is a sum that fades, momentum*buffer + gradient, and no average: the gradient is not multiplied by 1-momentum.',
    'no dampening': 'Dampening has no effect: the gradient goes into the buffer multiplied by 1-dampening.',
    'no nesterov': 'nesterov has no effect: the step goes along gradient + momentum*buffer, with the new buffer. (With the old one that is plain momentum.)',
    'no decay': 'weight_decay has no effect: it adds weight_decay*p to the gradient.',
    'decoupled': 'Weight decay shrinks the weight here, past all buffers and averages; in this algorithm it is added to the gradient first.',
    'maximize': 'maximize has no effect: it turns the sign of the gradient round.'}

def _rmsprop_rule(p, g, s, o, wrong):
    "One step of RMSprop, with a mistake"
    alpha,eps,momentum = o.get('alpha', 0.99),o.get('eps', 1e-8),o.get('momentum', 0)
    if wrong == 'alpha': alpha = 1-alpha
    if o.get('maximize') and wrong != 'maximize': g = -g
    if wrong == 'decoupled': p = p*(1-o['lr']*o.get('weight_decay', 0))
    elif wrong != 'no decay': g = g + o.get('weight_decay', 0)*p
    s['v'] = alpha*s.get('v', 0) + (1-alpha)*g*g
    s['m'],s['t'] = alpha*s.get('m', 0) + (1-alpha)*g,s.get('t', 0) + 1
    v = s['v'] - s['m']**2 if o.get('centered') and wrong != 'centered' else s['v']
    if wrong == 'corrected': v = v/(1-alpha**s['t'])
    size = v if wrong == 'no root' else (v + eps).sqrt() if wrong == 'eps inside' else v.sqrt() + eps
    if not momentum or wrong == 'no momentum': return p - o['lr']*g/size
    s['b'] = momentum*s.get('b', 0) + (g if wrong == 'raw buffer' else o['lr']*g/size if wrong == 'lr in buffer' else g/size)
    return p - (1 if wrong == 'lr in buffer' else o['lr'])*s['b']/(size if wrong == 'raw buffer' else 1)

_RMSPROP_MISTAKES = {
    'no root': 'The gradient is divided by the average of the squares; divide by its root.',
    'eps inside': 'eps stands inside the root; it is added to the root.',
    'alpha': 'alpha and 1-alpha have changed places: alpha is how much of the old average stays.',
    'corrected': 'The average is corrected for its start from zero; Adam does that, RMSprop does not.',
    'centered': 'centered has no effect: it subtracts the square of the average gradient from the average square.',
    'no momentum': 'momentum has no effect, or its buffer is lost between the steps.',
    'raw buffer': 'The momentum buffer sums the gradients after they are divided by their size, not before.',
    'lr in buffer': _SGD_MISTAKES['lr in buffer'], 'no decay': _SGD_MISTAKES['no decay'],
    'decoupled': _SGD_MISTAKES['decoupled'], 'maximize': _SGD_MISTAKES['maximize']}

def _adam_rule(p, g, s, o, wrong, decoupled=False):
    "One step of Adam or AdamW, with a mistake"
    (beta1,beta2),eps,decay = o.get('betas', (0.9, 0.999)),o.get('eps', 1e-8),o.get('weight_decay', 0.01 if decoupled else 0)
    if wrong == 'betas': beta1,beta2 = beta2,beta1
    if o.get('maximize') and wrong != 'maximize': g = -g
    if wrong == 'no decay': decay = 0
    if decoupled != (wrong == 'other decay'): p = p*(1 - (1 if wrong == 'decay without lr' else o['lr'])*decay)
    else: g = g + decay*p
    s['t'] = 1 if wrong == 'stuck' else s.get('t', 0) + 1
    s['m'] = beta1*s.get('m', 0) + (1-beta1)*g
    s['v'] = beta2*s.get('v', 0) + (1-beta2)*(s['m'] if wrong == 'square of average' else g)**2
    s['top'] = torch.maximum(s.get('top', s['v']), s['v'])
    v = s['top'] if o.get('amsgrad') and wrong != 'amsgrad' else s['v']
    scale1,scale2 = [1-beta**(s['t']-(wrong == 'late count')) for beta in (beta1, beta2)]
    if wrong in ('no correction', 'second only'): scale1 = 1
    if wrong in ('no correction', 'first only'): scale2 = 1
    if wrong == 'late count' and s['t'] == 1: scale1 = scale2 = math.nan
    if wrong == 'eps inside': size = (v/scale2 + eps).sqrt()
    elif wrong == 'eps too early': size = (v.sqrt() + eps)/scale2**0.5
    else: size = (v/scale2).sqrt() + eps
    return p - o['lr']*s['m']/scale1/size

_ADAM_MISTAKES = {
    'no correction': 'The averages are not corrected for their start from zero: divide them by 1-beta**step.',
    'first only': 'Only the first average is corrected for its start from zero; the average of squares needs it too, with the second beta.',
    'second only': 'Only the average of squares is corrected for its start from zero; the first average needs it too, with the first beta.',
    'stuck': 'The step is not counted: in the correction 1-beta**step it stays 1.',
    'late count': 'The step is counted too late: it must be 1 in the first correction.',
    'eps inside': 'eps stands inside the root; it is added to the root.',
    'eps too early': 'eps is added before the correction; correct the average of squares first.',
    'betas': 'The two betas have changed places: the first is for the gradient, the second for its square.',
    'square of average': 'The second average is of the squared gradients, not of the squared first average.',
    'amsgrad': 'amsgrad has no effect: it divides by the largest average of squares so far.',
    'no decay': 'weight_decay has no effect.',
    'decay without lr': 'The weight shrinks by lr*weight_decay in a step, not by weight_decay.',
    'maximize': _SGD_MISTAKES['maximize']}

def _optim_rules(like):
    "The plain formula of an algorithm, and the hints for its mistakes"
    if like == 'SGD': return _sgd_rule,_SGD_MISTAKES
    if like == 'RMSprop': return _rmsprop_rule,_RMSPROP_MISTAKES
    if like == 'Adam': return _adam_rule,{**_ADAM_MISTAKES, 'other decay': _SGD_MISTAKES['decoupled']}
    if like == 'AdamW':
        coupled = 'Weight decay goes through the gradient here, as in Adam; AdamW shrinks the weight itself and leaves the gradient alone.'
        return (lambda *args: _adam_rule(*args, decoupled=True)),{**_ADAM_MISTAKES, 'other decay': coupled}
    return None,{}

def _opt_param(): return torch.tensor([[0.5, -1., 2.], [0.1, -0.3, 1.5]], requires_grad=True)

def _some_grads(n, seed=0):
    "Gradients of sizes that differ from step to step"
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, generator=g) * (0.2 if t % 3 else 2.) for t in range(n)]

def _optim_mistake(like, options, lrs, grads, path):
    "The hint for the mistake that explains a path, if one does"
    rule,mistakes = _optim_rules(like)
    for wrong,text in [*mistakes.items(), ('up', 'Each step goes up the slope: it is `p -= lr*grad`.')]:
        p,state = _opt_param().detach(),{}
        for lr,g,got in zip(lrs, grads, path):
            if rule is None: break
            p = rule(p, -g if wrong == 'up' else g, state, {**options, 'lr': lr}, wrong)
            if difference(got, p): break
        else: return text
    return ''

def _move(opt, params, grads):
    "One step with these gradients, which it must leave alone"
    quiet = 'Change parameters in place and under `torch.no_grad()`, so that autograd does not record it.'
    for p,g in zip(params, grads): p.grad = None if g is None else g.clone()
    try: opt.step()
    except RuntimeError as e:
        if 'in-place' in str(e): raise Mismatch(f'RuntimeError: {e}', hint=quiet) from e
        raise
    for p,g in zip(params, grads):
        require(p.is_leaf and p.requires_grad, 'after the step the parameter has a history', hint=quiet)
        if g is not None: require(p.grad is not None and p.grad.equal(g), '`step` changed the gradient', g, p.grad, g, 'Compute with a copy: `grad = grad + …`, not `grad += …`.')

def _optim_case(name, like, options, lrs=(0.1,)*8, hint=''):
    "Follow PyTorch's class over some steps, with a learning rate for each"
    def run(cls):
        mine,ref,grads,path,right = _opt_param(),_opt_param(),_some_grads(len(lrs)),[],[]
        opts = cls([mine], lr=lrs[0], **options),getattr(torch.optim, like)([ref], lr=lrs[0], **options)
        for lr,g in zip(lrs, grads):
            if lr != lrs[0]:
                for o in opts: o.param_groups[0]['lr'] = lr
            _move(opts[0], [mine], [g])
            _move(opts[1], [ref], [g])
            path.append(mine.detach().clone())
            right.append(ref.detach().clone())
        for t,(got,want) in enumerate(zip(path, right)):
            given = f'step {t+1} of {len(lrs)}' + ''.join(f', {k}={v}' for k,v in options.items())
            same(got, want, given, lambda got,want: _optim_mistake(like, options, lrs, grads, path))
    return Case(name, run, hint)

def _with_options(like):
    "Cases for single options, as (what it does, options)"
    decay = ('weight_decay', dict(weight_decay=0.3)),('maximize', dict(maximize=True))
    return dict(
        SGD=[('momentum', dict(momentum=0.9)), ('dampening', dict(momentum=0.8, dampening=0.5)), ('nesterov', dict(momentum=0.8, nesterov=True)), *decay,
             ('weight decay with momentum', dict(momentum=0.8, weight_decay=0.3))],
        RMSprop=[('alpha', dict(alpha=0.7)), ('eps', dict(eps=0.5)), ('momentum', dict(momentum=0.8)), ('centered', dict(centered=True)), *decay],
        Adam=[('betas', dict(betas=(0.5, 0.8))), ('eps', dict(eps=0.5)), ('amsgrad', dict(amsgrad=True, betas=(0.5, 0.8))), *decay])['Adam' if like == 'AdamW' else like]

def _optim_none(like, options):
    def run(cls):
        params = _opt_param(),_opt_param()
        mine,ref = cls(list(params), lr=0.1, **options),getattr(torch.optim, like)([theirs := _opt_param()], lr=0.1, **options)
        for t,g in enumerate(_some_grads(6)):
            _move(mine, params, [g if t > 2 else None, None])
            if t > 2: _move(ref, [theirs], [g])
            same(params[1].detach(), _opt_param().detach(), 'a parameter whose gradient is None', 'Skip a parameter whose gradient is None: no step and no weight decay for it.')
            same(params[0].detach(), theirs.detach(), 'a parameter whose first gradient came with step 4',
                 'Each parameter has a memory of its own, also for the count of steps, that begins with its first gradient.')
    return Case('a parameter without a gradient stays where it is', run, 'Skip a parameter whose gradient is None.')

def _optim_two(like, options):
    def run(cls):
        mine,theirs = [_opt_param(), _opt_param()],[_opt_param(), _opt_param()]
        opts = cls(mine, lr=0.1, **options),getattr(torch.optim, like)(theirs, lr=0.1, **options)
        for grads in zip(_some_grads(5), _some_grads(5, seed=1)):
            for o,params in zip(opts, (mine, theirs)): _move(o, params, grads)
            for i in range(2):
                require(not mine[i].equal(_opt_param()), f'parameter {i} of 2 does not move', hint='`step` goes through all parameters.')
                same(mine[i].detach(), theirs[i].detach(), f'parameter {i} of 2', 'Each parameter has a memory of its own: keep it by parameter.')
    return Case('two parameters', run)

def _optim_generator(cls):
    p = _opt_param()
    opt = cls((o for o in [p]), lr=0.1)
    _move(opt, [p], [torch.ones(2, 3)])
    before = p.detach().clone()
    _move(opt, [p], [torch.ones(2, 3)])
    require(not p.equal(before), 'the second step does nothing', hint='`params` may be a generator, which can be run through only once: keep `list(params)`.')

def _optim_zero(cls):
    p = _opt_param()
    opt = cls([p], lr=0.1)
    for _ in range(2):
        p.grad = torch.ones(2, 3)
        opt.zero_grad()
        require(p.grad is None or not p.grad.any(), 'after `zero_grad` there is still a gradient', got=p.grad, hint='Set it to None.')

def _optim_zero_in_place(cls):
    p,q = _opt_param(),_opt_param()
    opt = cls([p, q], lr=0.1)
    p.grad = grad = torch.ones(2, 3)
    opt.zero_grad(set_to_none=False)
    require(p.grad is not None, 'zero_grad(set_to_none=False) dropped the gradient', hint='Keep the tensor and fill it: `p.grad.zero_()`.')
    require(not p.grad.any(), 'after zero_grad(set_to_none=False) the gradient is not zero', got=p.grad)
    require(p.grad is grad, 'zero_grad(set_to_none=False) put another tensor in place of the gradient', hint='Fill the same tensor with zeros, as others may hold it: `p.grad.zero_()`.')
    require(q.grad is None, 'zero_grad made a gradient where there was none', hint='A gradient of None stays None.')
    opt.zero_grad()
    require(p.grad is None, '`zero_grad()` keeps the gradient', hint='By default gradients are dropped: `p.grad = None`.')

def _optim_groups(like):
    def run(cls):
        mine,theirs = [_opt_param() for _ in range(3)],[_opt_param() for _ in range(3)]
        opts = []
        for make,params in ((cls, mine), (getattr(torch.optim, like), theirs)):
            opts.append(make([dict(params=[params[0]]), dict(params=[params[1]], lr=0.5)], lr=0.1))
            opts[-1].add_param_group(dict(params=[params[2]], lr=0.02))
        for g in _some_grads(4):
            for o,params in zip(opts, (mine, theirs)): _move(o, params, [g]*3)
        for i,(p,q) in enumerate(zip(mine, theirs)):
            require(not p.equal(_opt_param()), f'the parameter of group {i} does not move', hint='`step` goes through all groups, also those added later.')
            lr = (0.1, 0.5, 0.02)[i]
            same(p.detach(), q.detach(), f'group {i} of 3, with lr={lr}', 'Take the options from the group: `group["lr"]`. The class has only the defaults.')
    return Case('groups have their own options', run, 'The arguments are groups: dictionaries with `params` and options of their own.')

def _optim_schedule(like):
    def run(cls):
        mine,theirs = _opt_param(),_opt_param()
        opts = cls([mine], lr=0.1),getattr(torch.optim, like)([theirs], lr=0.1)
        scheds = [torch.optim.lr_scheduler.ExponentialLR(o, 0.5) for o in opts]
        for g in _some_grads(4):
            for o,p,s in zip(opts, (mine, theirs), scheds):
                _move(o, [p], [g])
                s.step()
        same(mine.detach(), theirs.detach(), 'ExponentialLR with gamma 0.5', 'Read `lr` from the group at each step: a schedule changes it there.')
    return Case("a schedule of PyTorch's drives it", run, 'Schedules ask for a subclass of torch.optim.Optimizer with `param_groups`.')

def _optim_closure(cls):
    p = _opt_param()
    opt = cls([p], lr=0.01)
    def closure():
        p.grad = None
        (loss := (p**2).sum()).backward()
        return loss
    got = opt.step(closure)
    require(got is not None, '`step(closure)` returned nothing', hint='Call the closure first, with gradients enabled, and return what it returns.')
    same(got.detach(), (_opt_param()**2).sum().detach(), 'step(closure)', 'The closure is called once, before the update, and its loss is returned.')
    require(not p.equal(_opt_param()), '`step(closure)` did not move the parameter', hint='After the closure there are gradients: make the step.')

def _optim_resume(like, options, first, second, name, hint):
    "Steps with one class, its state dict into another, and steps with that, against PyTorch's uninterrupted"
    def run(cls):
        names = dict(mine=cls, torch=getattr(torch.optim, like))
        mine,ref,grads = _opt_param(),_opt_param(),_some_grads(8)
        opt,whole = names[first]([mine], lr=0.1, **options),names['torch']([ref], lr=0.1, **options)
        for t,g in enumerate(grads):
            if t == 4:
                saved = opt.state_dict()
                opt = names[second]([mine], lr=0.7)
                opt.load_state_dict(saved)
            _move(opt, [mine], [g])
            _move(whole, [ref], [g])
            same(mine.detach(), ref.detach(), f'step {t+1}, saved and loaded after step 4', hint)
    return Case(name, run, hint)

def _optim_refuses(make, what, hint):
    def run(cls):
        try: make(cls)
        except NotImplementedError: raise
        except Exception: return
        raise Mismatch(f'no error for {what}')
    return Case(f'an error for {what}', run, hint)

def _used_up():
    params = (p for p in [_opt_param()])
    list(params)
    return params

def _optim_rest(like, known):
    "The cases beyond the formula that a complete optimizer has to pass"
    shared = _opt_param()
    options = dict(SGD=dict(momentum=0.8), RMSprop=dict(momentum=0.8)).get(like, {})
    cases = [Case('zero_grad(set_to_none=False) fills the same tensor', _optim_zero_in_place), _optim_groups(like), _optim_schedule(like),
             Case('step(closure)', _optim_closure, 'Call the closure first, and return its loss.'),
             _optim_resume(like, options, 'mine', 'mine', 'a training goes on from its state dict',
                           'The state dict must hold all that is remembered, and the options of the groups; loading must put both back.')]
    if known:
        layout = "PyTorch's layout is dict(state={0: {'name': …}}, param_groups=[{'lr': …, 'params': [0]}]); print the state_dict of PyTorch's class."
        cases += [_optim_resume(like, options, 'torch', 'mine', "it goes on from PyTorch's state dict", layout),
                  _optim_resume(like, options, 'mine', 'torch', "PyTorch's goes on from its state dict", layout)]
    return cases + [_optim_refuses(lambda cls: cls([]), 'no parameters', 'Raise if the list is empty.'),
                    _optim_refuses(lambda cls: cls(_used_up()), 'a generator that is used up', 'Make a list first, and raise if it is empty.'),
                    _optim_refuses(lambda cls: cls([_opt_param()], lr=-0.1), 'lr=-0.1', 'A learning rate below 0 is a mistake: raise.'),
                    _optim_refuses(lambda cls: cls([dict(params=[shared]), dict(params=[shared])]), 'a parameter in two groups', 'It would take two steps: raise.'),
                    _optim_refuses(lambda cls: cls(['w']), 'a parameter that is no tensor', 'Look at the type of each parameter.')]

def check_optimizer(
    opt_class,       # Your optimizer, a class that is called with parameters and options
    like=None,       # The class in `torch.optim` that it should follow, by name; by default the name of yours
    options=None,    # Names of the options to try; by default all
    basic=False,     # Only `step` and `zero_grad`, for one list of parameters?
    limit:float=10.  # Seconds that one case may take
)->Report:           # ✓ or ✗ for each case
    "Check an optimizer against PyTorch's of the same name"
    like = like or opt_class.__name__
    if not hasattr(torch.optim, like): raise ValueError(f'like must be the name of a class in torch.optim; got {like!r}')
    known,takes = _optim_rules(like)[0] is not None,lambda o: options is None or set(o) <= set(options)
    fading = {k: v for k,v in dict(momentum=0.8, weight_decay=0.3).items() if known and takes([k]) and (k == 'weight_decay' or 'Adam' not in like)}
    singles = [(n, o) for n,o in (_with_options(like) if known else []) if takes(o)]
    cases = [_optim_case('one step', like, {}, (0.1,), 'Each step is `p -= lr*grad`, or what the formula makes of it.'), _optim_case('eight steps', like, {}),
             *[_optim_case(n if ' ' in n else f'with {n}', like, o) for n,o in singles]]
    if not basic: cases += [_optim_case(f'a new lr on the way, with {n}', like, o, (0.1,)*3 + (0.02,)*5) for n,o in [('no options', {}), *singles[:1]]]
    cases += [_optim_two(like, fading), _optim_none(like, fading), Case('parameters from a generator', _optim_generator), Case('zero_grad', _optim_zero)]
    if not basic: cases += _optim_rest(like, known)
    return run_cases(opt_class, cases, f'optimizer like {like}', limit)

def _decay_groups_case(name, make_model, decayed, others):
    def run(f):
        model = make_model()
        got,names = f(model, 0.3),{id(p): n for n,p in model.named_parameters()}
        require(isinstance(got, list) and len(got) == 2 and all(isinstance(g, dict) and 'params' in g for g in got), 'no list of two groups came', got=got,
                hint='Return [dict(params=[…], weight_decay=…), dict(params=[…], weight_decay=0)].')
        groups = [sorted(names.get(id(p), 'a tensor that is no parameter') for p in g['params']) for g in got]
        hint = 'By the number of axes: those with `p.dim() >= 2` decay, all others do not.'
        if groups == [others, decayed]: hint = 'The groups have changed places: those with weight decay come first.'
        if any('frozen' in n for g in groups for n in g): hint = 'A parameter with `requires_grad` False belongs in neither group.'
        same(groups, [decayed, others], hint=hint)
        same([g.get('weight_decay') for g in got], [0.3, 0], hint='The first group has the given weight_decay, the second has 0; both must say so.')
    return Case(name, run)

def _partly_frozen():
    model = torch.nn.ModuleDict(dict(frozen=torch.nn.Linear(2, 2), head=torch.nn.Linear(2, 3)))
    model['frozen'].requires_grad_(False)
    return model

def check_decay_groups(
    f,              # Takes a model and a weight decay, and returns a list of two groups
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a function that keeps weight decay away from biases and scales"
    nn = torch.nn
    cases = [_decay_groups_case('a linear layer', lambda: nn.Linear(2, 3), ['weight'], ['bias']),
             _decay_groups_case('with a normalization layer', lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), ['0.weight'], ['0.bias', '1.bias', '1.weight']),
             _decay_groups_case('frozen parameters stay out', _partly_frozen, ['head.weight'], ['head.bias'])]
    return run_cases(f, cases, 'groups for weight decay', limit)
