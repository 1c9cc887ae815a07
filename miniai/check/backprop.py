"Checks of lesson 03, backward"
import math
import torch
from .kit import Case, Mismatch, Report, _where, difference, require, rng, run_cases


import inspect

def _shapes(specs, sizes):
    "Shapes for texts such as 'n k': letters take their sizes in order of appearance, numbers stand for themselves"
    letters = dict.fromkeys(o for spec in specs for o in spec.split() if not o.isdigit())
    size = dict(zip(letters, sizes))
    return [tuple(int(o) if o.isdigit() else size[o] for o in spec.split()) for spec in specs]

def _draw_inputs(specs, sizes, seed, dtype=torch.float32, zeros=False):
    "Random tensors of the shapes that `specs` describe: round numbers, none of them 0 unless `zeros`"
    g,tensors = rng(seed),[]
    for shape in _shapes(specs, sizes):
        t = (torch.randn(shape, generator=g, dtype=torch.float64)*10).round()/10
        if zeros: t = torch.where(torch.rand(shape, generator=g) < 0.5, 0., t)
        else: t = torch.where(t == 0, 0.5, t)
        tensors.append(t.to(dtype))
    return tensors

def _arg_names(reference, n):
    "What the reference calls its arguments"
    try: names = list(inspect.signature(reference).parameters)
    except (TypeError, ValueError): names = []
    return names[:n] if len(names) >= n else ['x', 'y', 'z', *(f'argument {i}' for i in range(4, n+1))][:n]

def _by_autograd(reference, tensors, grad=None):
    "What `reference` gives, and its gradients, started from `grad` (all ones if None)"
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    out = reference(*leaves)
    grads = torch.autograd.grad(out, leaves, torch.ones_like(out) if grad is None else grad, allow_unused=True)
    return out.detach(),[torch.zeros_like(t) if g is None else g for g,t in zip(grads, tensors)]

def _agree(what, got, want, given, hint=''):
    "As `same`, but the problem begins with `what` was compared"
    problem = difference(got, want)
    if problem: raise Mismatch(f'{what}: {problem}', given, got, want, hint(got, want) if callable(hint) else hint)

def _factor(got, want):
    "The number that `want` must be multiplied by to give `got`; None if there is none"
    big = want.abs() > 1e-6
    if not big.any(): return None
    f = (got[big]/want[big]).median().item()
    return f if not difference(got, want*f) else None

def _factor_hint(f, n, numel, of_loss):
    "What a constant factor between a gradient and the right one tells: `n` rows, `numel` numbers in the input"
    def is_(x): return math.isclose(f, x, rel_tol=1e-3)
    if is_(-1): return 'The sign is wrong: is a difference the wrong way round?'
    if of_loss:
        if is_(0.5): return 'This is half of it: a square brings a factor 2 down (2/n in all, for a mean of n numbers).'
        if is_(numel/2): return 'The factor 2/n is missing: 2 from the square, 1/n from the mean over all n numbers.'
        if is_(numel): return 'A mean over n numbers divides by n, so its gradient does too.'
        if is_(numel/n): return 'A mean over all numbers divides by how many numbers there are, not by how many rows: use numel().'
    if is_(1/n): return 'This is the mean over the batch. Each row of the batch adds its part: sum.'
    if is_(n): return 'It is too large by the number of rows in the batch.'
    return f'It is {f:.4g} times the right gradient: a factor is missing or too much.' if numel > 1 else ''

def _shape_hint(got, want):
    "What a gradient of a wrong shape tells"
    if got.dim() == 2 and got.t().shape == want.shape and not difference(got.t(), want):
        return 'This is the right gradient, transposed. In x.t() @ grad the factors are the other way round.'
    if got.dim() == want.dim()+1 and not difference(got.sum(0), want):
        return 'There is still a row for each item of the batch. The ways add: sum over the batch, .sum(0).'
    if got.dim() == 0: return 'Everything is summed to one number: sum over the batch alone, .sum(0).'
    if got.numel() == want.numel() and not difference(got.reshape(want.shape), want):
        return 'The numbers are right, the shape is not: a gradient has the shape of what it belongs to.'
    return 'A gradient has the shape of what it belongs to.'

def _gradient_hint(reference, tensors, place, grad, out, before=None):
    "A function that names the usual mistake behind a wrong gradient of `tensors[place]`"
    x,n = tensors[place],len(tensors[0]) if tensors[0].dim() else 1
    def hint(got, want):
        if got is None and place: return ''
        if not isinstance(got, torch.Tensor): return ''
        if got.shape != want.shape: return _shape_hint(got, want)
        if got.dtype != want.dtype: return ''
        def is_(other): return other.shape == got.shape and not difference(got, other)
        if before is not None and is_(before): return 'This is the gradient for the first input: does forward keep the newest input?'
        if before is not None and is_(before + want): return 'This is the sum over two calls: is something left over from the first?'
        if is_(grad): return 'This is `grad` as it came in: multiply it by the slope of the layer itself.'
        if is_(_by_autograd(reference, tensors)[1][place]) or grad.shape == got.shape and not difference(got*grad, want):
            return 'This is the slope of the layer alone. The chain rule multiplies it by `grad`, what comes from above.'
        if grad.numel() > 1 and is_(grad * (grad > 0)): return 'This looks at the sign of `grad`. What counts is the sign of the input.'
        if not difference(torch.where(x == 0, want, got), want): return 'It is wrong only where the input is exactly 0: is it `>=` where `>` is meant?'
        f = _factor(got, want)
        return '' if f is None else _factor_hint(f, n, tensors[0].numel(), out.dim() == 0)
    return hint

def _forward_hint(got, want):
    if isinstance(got, torch.Tensor) and got.shape != want.shape and got.numel() == want.numel():
        return 'Only the shape is wrong. Is there a `squeeze`? It drops the axis of the batch too when that is 1.'
    return 'First make forward right; the gradients come after.'

def _forward(layer, *inputs): return layer(*inputs) if callable(layer) else layer.forward(*inputs)

_ASSIGNED = 'For a weight: are the factors of x.t() @ grad swapped? For a bias: is the sum over the batch, .sum(0), missing?'

def _trip(layer, reference, inputs, params, n_grads, before=None):
    "One forward and backward of `layer`, compared with autograd; returns the gradients"
    names,tensors = _arg_names(reference, len(inputs)+len(params)),[t.clone() for t in (*inputs, *params)]
    shape = reference(*tensors).shape
    grad = ((torch.randn(shape, generator=rng(7), dtype=torch.float64)*10).round()/10).to(inputs[0].dtype) if shape else inputs[0].new_ones(())
    want_out,want = _by_autograd(reference, tensors, grad)
    given,grad0 = (*tensors, *([grad] if shape else [])),grad.clone()
    _agree('what forward returns', _forward(layer, *inputs), want_out, given, _forward_hint)
    try: got = layer.backward(grad) if shape else layer.backward()
    except RuntimeError as e:
        if not ('grad' in str(e) and 'size' in str(e)): raise
        raise Mismatch(f'PyTorch refuses a .grad of another shape than its tensor{_where(e)}', given, hint=_ASSIGNED) from None
    if n_grads == 1: got = (got,)
    require(isinstance(got, tuple) and len(got) == n_grads, f'backward must return a tuple of {n_grads} gradients', given, got)
    got = [*got, *[None]*(len(inputs)-n_grads), *(p.grad for p in params)]
    for i,(g,w,name) in enumerate(zip(got, want, names)):
        if n_grads <= i < len(inputs): continue
        if i >= len(inputs):
            require(g is not None, f'{name}.grad is None after backward', given,
                    hint=f'Store it where the parameter is: self.{name}.grad = …, for the very tensor that the layer was given, not a copy.')
        _agree(f'the gradient of {name}', g, w, given, _gradient_hint(reference, tensors, i, grad0, want_out, before and before[i]))
    for name,now,then in zip((*names, 'grad'), (*inputs, *params, grad), (*tensors, grad0)):
        require(now.equal(then), f'{name} was changed', given, now, then, 'Make a new tensor, and leave what was handed over alone (no -=, no clamp_).')
    return want

def _layer_case(name, hint, reference, inputs, params, sizes, n_grads, seed=0, **kwargs):
    def run(make):
        tensors = _draw_inputs((*inputs, *params), sizes, seed, **kwargs)
        xs,ps = tensors[:len(inputs)],tensors[len(inputs):]
        _trip(make(*ps), reference, xs, ps, n_grads)
    return Case(name, run, hint)

def _second_call_case(reference, inputs, params, n_grads):
    def run(make):
        tensors = _draw_inputs((*inputs, *params), (2, 3, 4), 1)
        xs,ps = tensors[:len(inputs)],tensors[len(inputs):]
        layer = make(*ps)
        before = _trip(layer, reference, xs, ps, n_grads)
        for p in ps: p.grad = None
        _trip(layer, reference, _draw_inputs(inputs, (2, 3, 4), 3), ps, n_grads, before)
    return Case('a second batch through the same layer', run, 'Nothing may be left over from the first batch.')

def _zeros_case(reference, inputs, params, n_grads):
    case = _layer_case('inputs that are exactly 0', 'Look at what happens at 0.', reference, inputs, params, (2, 3, 4), n_grads, seed=4, zeros=True)
    def run(make):
        tensors = _draw_inputs((*inputs, *params), (2, 3, 4), 4, zeros=True)
        if all(g.isfinite().all() for g in _by_autograd(reference, tensors)[1]): case.run(make)
    return Case(case.name, run, case.hint)

def check_backward(
    make,             # Gives a fresh layer when called with the parameters: most often its class. A layer without parameters may come itself
    reference,        # Function of inputs and parameters that autograd can differentiate, such as `torch.relu`
    inputs=('n k',),  # Shape of each input, as letters for sizes; the first is the batch
    params=(),        # Shape of each parameter
    n_grads:int=1,    # For how many of the inputs `backward` returns a gradient: the first few
    limit:float=10.   # Seconds that one case may take
)->Report:            # ✓ or ✗ for each case
    "Check the `forward` and `backward` of a layer against autograd, gradients of parameters (in their `.grad`) included"
    inputs,params = ((o,) if isinstance(o, str) else tuple(o) for o in (inputs, params))
    if not callable(reference): raise TypeError(f'reference must be a function of tensors, got a {type(reference).__name__}')
    if hasattr(make, 'backward') and not isinstance(make, type):
        if params: raise TypeError(f'make must be a class or function that takes the {len(params)} parameters, got a finished {type(make).__name__}')
        layer,make = make,lambda: layer
    chain = 'Take one number: what does the output do when it moves a little? Multiply that by `grad`.'
    shapes = 'Write the shapes beside each line: a gradient has the shape of what it belongs to. Is a factor not transposed, or the wrong one?'
    args = reference,inputs,params
    cases = [_layer_case('one number', chain, *args, (1, 1, 1), n_grads),
             _layer_case('a batch of one', 'Nothing may depend on there being several rows.', *args, (1, 3, 2), n_grads),
             _layer_case('a batch of two', shapes, *args, (2, 3, 4), n_grads),
             _layer_case('more rows than columns', shapes, *args, (5, 2, 3), n_grads),
             _zeros_case(*args, n_grads),
             _second_call_case(*args, n_grads),
             _layer_case('float64 stays float64', 'New tensors take their dtype from the input: x.new_zeros(…), no .float().',
                         *args, (3, 2, 4), n_grads, dtype=torch.float64),
             _layer_case('a larger batch', shapes, *args, (64, 20, 10), n_grads, seed=5)]
    return run_cases(make, cases, f"backward of {getattr(make, '__name__', 'the layer').replace('<lambda>', 'the layer')}", limit)
