"Checks of lesson 04, a tape"
import torch
from .backprop import _agree, _arg_names, _by_autograd, _draw_inputs, _gradient_hint
from .kit import Case, Report, require, rng, run_cases


def _tape_trip(f, reference, tape, tensors, constant=None, calls=1):
    "Forward and backward of the operation `f`, `calls` times, compared with autograd"
    names = _arg_names(reference, len(tensors))
    out = reference(*tensors)
    grad = ((torch.randn(out.shape, generator=rng(7), dtype=torch.float64)*10).round()/10).to(out.dtype)
    want_out,want = _by_autograd(reference, tensors, grad)
    leaves = [t.clone() if i == constant else tape(t.clone()) for i,t in enumerate(tensors)]
    got,given = f(*leaves),(*tensors, grad)
    want_type = type(leaves[0 if constant != 0 else 1])
    require(got is not None, 'it is None: is there a `return`?', given, hint='The result is a new Tape; return it.')
    require(isinstance(got, want_type), f'a {type(got).__name__} came, not a {want_type.__name__}', given,
            hint='Wrap the result, and name its sources: Tape(result, (a, lambda g: …)).')
    _agree('the result', got.data, want_out, given, 'First make the result right; the gradients come after.')
    got.backward(grad)
    for _ in range(calls-1): f(*leaves).backward(grad)
    for i,(leaf,w,name) in enumerate(zip(leaves, want, names)):
        if i == constant: continue
        require(leaf.grad is not None, f'{name}.grad is None after backward', given, want=w,
                hint=f'The result must know its sources: Tape(result, ({name}, lambda g: …)).')
        _agree(f'the gradient of {name}', leaf.grad, w*calls, given, _gradient_hint(reference, tensors, i, grad, want_out))

def check_tape(
    f,               # Your operation or formula: takes Tapes, returns a Tape
    reference,       # The same for tensors
    tape,            # Makes a Tape of a tensor: the class
    inputs=('n k',), # Shape of each input, as letters for sizes
    limit:float=10.  # Seconds that one case may take
)->Report:           # ✓ or ✗ for each case
    "Check an operation of a tape against autograd: result, gradients, broadcasting, use inside of a formula"
    inputs = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    for name,arg in (('f', f), ('reference', reference), ('tape', tape)):
        if not callable(arg): raise TypeError(f'{name} must be something to call, got a {type(arg).__name__}')
    def case(name, hint, sizes, op=lambda f: f, seed=0, dtype=torch.float32, **kwargs):
        def run(f): _tape_trip(op(f), op(reference), tape, _draw_inputs(inputs, sizes, seed, dtype), **kwargs)
        return Case(name, run, hint)
    def amid(f): return lambda *xs: f(*(2*x for x in xs))*3
    def again(f): return lambda *xs: f(*xs)*f(*xs)
    slope = 'What does the result do when one number moves a little? Multiply that by the gradient that comes in.'
    cases = [case('one number', slope, (1, 1, 1, 1)), case('a small array', slope, (2, 3, 4, 5)),
             *(case(f'input {i+1} is a constant', 'A plain tensor is a constant, and gets no gradient.', (2, 3, 4, 5), constant=i)
               for i in range(len(inputs)) if len(inputs) > 1),
             case('in the middle of a formula', 'What comes in is the gradient of the result: it is not 1 here.', (3, 2, 4, 5), amid, 1),
             case('used twice in a formula', 'Gradients of the same array add up.', (2, 3, 5, 4), again, 2),
             case('the same arrays twice', 'Gradients add up over calls of backward.', (2, 3, 4, 5), seed=3, calls=2),
             case('float64 stays float64', 'Take the dtype from the input.', (3, 2, 4, 5), seed=4, dtype=torch.float64),
             case('a larger array', slope, (30, 20, 10, 5), seed=5)]
    return run_cases(f, cases, f"gradients of {getattr(f, '__name__', 'the operation').replace('<lambda>', 'the operation')}", limit)
