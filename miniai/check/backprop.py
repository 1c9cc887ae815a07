"Checks of lesson 03_backprop: layers that go backward"
import inspect
import torch
from .kit import Case, Mismatch, check, difference, require, rng, same

def draw_inputs(specs, sizes, seed=0, dtype=torch.float32, zeros=False):
    "Tensors of round numbers, none of them 0 unless `zeros`; in a spec such as 'n k' each letter is a size"
    letters = dict.fromkeys(o for spec in specs for o in spec.split() if not o.isdigit())
    size,g,tensors = dict(zip(letters, sizes)),rng(seed),[]
    for spec in specs:
        shape = [size[o] if o in size else int(o) for o in spec.split()]
        t = (torch.randn(shape, generator=g, dtype=torch.float64)*10).round()/10
        if zeros: t = torch.where(torch.rand(shape, generator=g) < 0.5, 0., t)
        else: t = torch.where(t == 0, 0.5, t)
        tensors.append(t.to(dtype))
    return tensors

def draw_like(out): return draw_inputs([' '.join(map(str, out.shape))], (), 7, out.dtype)[0]

def arg_names(reference, n):
    "What the reference calls its arguments"
    try: names = list(inspect.signature(reference).parameters)
    except (TypeError, ValueError): names = []
    return names[:n] if len(names) >= n else ['x', 'y', 'z', *(f'argument {i}' for i in range(4, n+1))][:n]

def by_autograd(reference, tensors, grad=None):
    "What `reference` gives, and its gradients, started from `grad` (all ones if None)"
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    out = reference(*leaves)
    grad = torch.ones_like(out) if grad is None else grad
    return out.detach(),torch.autograd.grad(out, leaves, grad, allow_unused=True, materialize_grads=True)

def agree(what, got, want, given, hint='', mistakes=None):
    "As `same`, but the problem begins with `what` was compared"
    try: same(got, want, given, hint, mistakes)
    except Mismatch as e:
        e.problem = f'{what}: {e.problem}'
        raise

_CORNER = 'Wrong only where the slope is 0. At a corner, input or difference exactly 0, PyTorch takes 0.'

def _look(got, want):
    "What the shape of a wrong gradient tells, and where it is wrong"
    if not isinstance(got, torch.Tensor): return ''
    if got.shape == want.shape:
        if got.dtype != want.dtype or not want.any(): return ''
        return '' if difference(torch.where(want == 0, want, got), want) else _CORNER
    if got.dim() == 2 and not difference(got.t(), want): return 'This is the right gradient, transposed.'
    if got.dim() == want.dim()+1 and not difference(got.sum(0), want):
        return 'There is still a row for each item of the batch. The ways add: sum over the batch, .sum(0).'
    return 'A gradient has the shape of what it belongs to.'

def gradient_mistakes(reference, tensors, place, grad, want, before=None):
    "From a hint to the gradient of `tensors[place]` that the mistake gives"
    x,n = tensors[0],len(tensors[0]) if tensors[0].dim() else 1
    known = {} if grad.dim() == 0 else {
        'This is `grad` as it came in: multiply it by the slope of this step itself.': grad,
        'This looks at the sign of `grad`. What counts is the sign of the input.': grad*(grad > 0)}
    known |= {'This is the slope alone. The chain rule multiplies it by `grad`, what comes from above.':
                  by_autograd(reference, tensors)[1][place],
              'The sign is wrong: is a difference the wrong way round?': -want}
    if before is not None:
        known['This is the gradient for the first input: does forward keep the newest input?'] = before
        known['This is the sum over two calls: is something left over from the first?'] = before + want
    if grad.dim() == 0:  # a loss, the mean of something
        known['A mean over n numbers divides by n, so its gradient does too.'] = want*x.numel()
        known['Divide by how many numbers there are, not by how many rows: use numel().'] = want*x.numel()/n
        twice = [2*t for t in tensors]
        if not difference(reference(*twice), 4*reference(*tensors)):  # of squares
            known['A square brings a factor 2 down: 2/n in all, for a mean of n numbers.'] = want/2
            known['The factor 2/n is missing: 2 from the square, 1/n from the mean.'] = want*x.numel()/2
    else: known['This is the mean over the batch. Each row of the batch adds its part: sum.'] = want/n
    return known

def _forward_hint(got, want):
    if not isinstance(got, torch.Tensor) or got.shape == want.shape or got.numel() != want.numel():
        return 'First make forward right; the gradients come after.'
    return 'Only the shape is wrong. Does a `squeeze`, a sum or an `@` drop a dimension? Is a mean missing?'

def _backward(layer, grad, params, given):
    "Call `backward`, and say what is wrong when it can't be called or PyTorch refuses a `.grad`"
    name = type(layer).__name__
    require(hasattr(layer, 'backward'), f'{name} has no backward', hint=f'class {name}(Layer): gives it one.')
    try: return layer.backward(grad) if grad.dim() else layer.backward()
    except RuntimeError as e:
        if not ('grad' in str(e) and 'size' in str(e)): raise
    hint = 'A .grad has the shape of its parameter. Sum over the batch, and over nothing else: .sum(0).'
    if any(p.dim() == 2 for p in params): hint += ' For a weight: are the factors of x.t() @ grad swapped?'
    raise Mismatch('a .grad has another shape than its tensor', given, hint=hint)

def _trip(layer, reference, inputs, params, before=None):
    "One forward and backward of `layer`, compared with autograd; returns the gradients"
    tensors = [t.clone() for t in (*inputs, *params)]
    names,out = arg_names(reference, len(tensors)),reference(*tensors)
    grad = draw_like(out) if out.dim() else torch.ones_like(out)
    want_out,want = by_autograd(reference, tensors, grad)
    given,grad0 = (*tensors, *([grad] if out.dim() else [])),grad.clone()
    out = layer(*inputs) if callable(layer) else layer.forward(*inputs)
    agree('what forward returns', out, want_out, given, _forward_hint)
    x_grad = _backward(layer, grad, params, given)
    got = {0: x_grad} | {i: p.grad for i,p in enumerate(params, len(inputs))}
    for i,g in got.items():
        require(i == 0 or g is not None, f'{names[i]}.grad is None after backward', given,
                hint=f'Store it with the parameter: self.{names[i]}.grad = …, of that tensor, not a copy.')
        mistakes = gradient_mistakes(reference, tensors, i, grad0, want[i], before and before[i])
        agree(f'the gradient of {names[i]}', g, want[i], given, _look, mistakes)
    for name,now,then in zip((*names, 'grad'), (*inputs, *params, grad), (*tensors, grad0)):
        require(now.equal(then), f'{name} was changed', given, now, then,
                'Make a new tensor: no `-=` or `*=`, no method whose name ends in _.')
    return want

@check('backward')
def check_backward(
    make,            # The class of the layer, called with the parameters; or a layer without parameters
    reference,       # Function of inputs and parameters that autograd can differentiate, such as `torch.relu`
    inputs=('n k',), # Shape of each input, as letters for sizes; the first is the batch
    params=()        # Shape of each parameter
):
    "Check `forward` and `backward` of a layer against autograd, the `.grad` of its parameters included"
    inputs,params = ((o,) if isinstance(o, str) else tuple(o) for o in (inputs, params))
    is_layer = hasattr(make, 'backward') and not isinstance(make, type)
    def draw(*args, **kwargs):
        tensors = draw_inputs((*inputs, *params), *args, **kwargs)
        return tensors[:len(inputs)],tensors[len(inputs):]
    def once(make, *args, **kwargs):
        xs,ps = draw(*args, **kwargs)
        layer = make if is_layer else make(*ps)
        return layer,ps,_trip(layer, reference, xs, ps)
    def case(name, hint, *args, **kwargs): return Case(name, lambda make: once(make, *args, **kwargs), hint)
    def twice(make):
        layer,ps,before = once(make, (2, 3, 4), 1)
        for p in ps: p.grad = None
        _trip(layer, reference, draw((2, 3, 4), 3)[0], ps, before)
    slope = 'How does the output change with one number, by every way (the ways add)? Times `grad`.'
    row = 'One number is right, a row of several is not: which numbers does each slope depend on?'
    shapes = 'Write the shapes beside each line: a gradient has the shape of what it belongs to.'
    dtype = 'Take the dtype of the input: .float(), and 1. and -1. in torch.where, make float32.'
    yield case('one number', slope, (1, 1, 1))
    yield case('a batch of one', row, (1, 3, 2))
    yield case('more rows than columns', shapes, (5, 2, 3))
    zeros = by_autograd(reference, sum(draw((2, 3, 4), 4, zeros=True), []))[1]
    if all(g.isfinite().all() for g in zeros): yield case('some exactly 0', _CORNER, (2, 3, 4), 4, zeros=True)
    yield Case('a second batch', twice, 'Nothing may be left over in the layer from the first batch.')
    yield case('float64', dtype, (3, 2, 4), dtype=torch.float64)
    yield case('a larger batch', shapes, (64, 20, 10), 5)
