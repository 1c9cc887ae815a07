"Checks of lesson 04_autograd: a tape, and slopes of slopes"
import torch
from .backprop import agree, arg_names, by_autograd, draw_inputs, draw_like, gradient_mistakes
from .kit import Case, check, require, same

_RECORD = 'Wrap the result, and name its sources: Tape(result, (a, lambda g: …)).'
_BACK = 'Beside a source stands what turns gradient into gradient: lambda g: g*slope, not the slope.'

def _trip(operation, reference, tape, tensors, names, constant=None, calls=1):
    "Forward and backward of `operation`, `calls` times, compared with autograd"
    grad = draw_like(reference(*tensors))
    want_out,want = by_autograd(reference, tensors, grad)
    leaves = [t.clone() if i == constant else tape(t.clone()) for i,t in enumerate(tensors)]
    got,given = operation(*leaves),(*tensors, grad)
    kind = type(leaves[0 if constant != 0 else 1])
    require(got is not None, 'it is None: is there a `return`?', given, hint='Return a new Tape.')
    require(not any(got is leaf for leaf in leaves), 'the source itself came back', given,
            hint='Leave the source as it is, its .data too, and return a new Tape.')
    require(isinstance(got, kind), f'a {type(got).__name__} came, not a {kind.__name__}', given, hint=_RECORD)
    backs = [back for _,back in getattr(got, 'sources', ())]
    require(all(map(callable, backs)), 'a source without a function', given, hint=_BACK)
    agree('the result', got.data, want_out, given, 'First make the result right; the gradients come after.')
    got.backward(grad)
    for _ in range(calls-1): operation(*leaves).backward(grad)
    for i,(leaf,w,name) in enumerate(zip(leaves, want, names)):
        if i == constant: continue
        require(leaf.grad is not None, f'{name}.grad is None after backward', given, want=w,
                hint=f'The result must know its sources: Tape(result, ({name}, lambda g: …)).')
        mistakes = gradient_mistakes(reference, tensors, i, grad, w*calls)
        agree(f'the gradient of {name}', leaf.grad, w*calls, given, mistakes=mistakes)

@check('gradients of the operation')
def check_tape(
    f,              # Your operation or formula: takes Tapes, returns a Tape
    reference,      # The same for tensors
    tape,           # Makes a Tape of a tensor: the class
    inputs=('n k',) # Shape of each input, as letters for sizes
):
    "Check an operation of a tape against autograd: result, gradients, broadcasting, use inside of a formula"
    inputs = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    names = arg_names(f, len(inputs))
    def case(name, hint, sizes, op=lambda f: f, seed=0, dtype=torch.float32, **kwargs):
        def run(f):
            tensors = draw_inputs(inputs, sizes, seed, dtype)
            _trip(op(f), op(reference), tape, tensors, names, **kwargs)
        return Case(name, run, hint)
    def amid(f): return lambda *xs: f(*(2*x for x in xs))*3
    def again(f): return lambda *xs: f(*xs)*f(*xs)
    slope = ('How does the result, made of `a.data`, change with one number, by every way (the ways add)? '
             'Multiply that by the gradient that comes in: Tape(result, (a, lambda g: …)).')
    yield case('one number', slope, (1, 1, 1, 1))
    yield case('a small array', slope, (2, 3, 4, 5))
    for i in range(len(inputs) if len(inputs) > 1 else 0):
        yield case(f'input {i+1} a constant', 'A tensor gets no gradient.', (2, 3, 4, 5), constant=i)
    yield case('amid a formula', 'What comes in is the gradient of the result: not 1.', (3, 2, 4, 5), amid, 1)
    yield case('used twice in a formula', 'Gradients of the same array add up.', (2, 3, 5, 4), again, 2)
    yield case('two calls', 'Gradients add up over calls of backward.', (2, 3, 4, 5), seed=3, calls=2)
    yield case('float64', 'Take the dtype from the input.', (3, 2, 4, 5), seed=4, dtype=torch.float64)
    yield case('a larger array', slope, (30, 20, 10, 5), seed=5)

def _slope_case(name, formula, deep, times, hint):
    "Slopes of `formula` in its first number, `times` deep"
    again = ('The first slope is right. Is something left over from it, such as a .grad? '
             'Or was a part of it passed on twice?')
    def run(slope):
        for numbers in ((3., 2.), (-1., 0.5)):
            ours,theirs = [deep(n) for n in numbers],[torch.tensor(n, requires_grad=True) for n in numbers]
            got,want = formula(*ours),formula(*theirs)
            for i in range(times):
                got = slope(got, ours[0])
                want, = torch.autograd.grad(want, theirs[0], create_graph=True, materialize_grads=True)
                if not want.requires_grad: want = want + 0*theirs[0]
                require(got is not None, 'it is None: is there a `return`?', numbers, want=deep.__name__)
                require(isinstance(got, deep), f'a {type(got).__name__} came', numbers, got, deep.__name__,
                        hint='Return a number that remembers, made of `+` and `*`.')
            same(float(got.data), want.item(), numbers, hint if got.data == 0 or times == 1 else again)
    return Case(name, run, hint)

@check('slopes of slopes')
def check_slopes(
    slope, # Your function: takes a result and a source, returns the slope
    deep   # Your class: `+`, `*` and `.data`
):
    "Check slopes of formulas of `+` and `*`, and their slopes, against autograd"
    def doubled(x, y):
        for _ in range(12): y = y + x
        return y*x
    constant = 'Are the slopes of a product plain numbers? Keep the sources themselves: they remember.'
    ways = 'The ways add: a number that is used twice gets both.'
    tries = [('a sum', lambda x,y: x + y, 1, 'The slope of a sum is 1 for either side.'),
             ('a product', lambda x,y: x*y, 1, 'The slope of a·b in a is b, not a.'),
             ('used twice', lambda x,y: x*y + x, 1, ways), ('a square', lambda x,y: x*x, 1, ways),
             ('not made from it', lambda x,y: y + y, 1, 'Then the slope is Deep(0.).'),
             ('many steps', doubled, 1, ways), ('slope of a slope', lambda x,y: x*x*x + y*x*x, 2, constant),
             ('the third', lambda x,y: x*x*x*x + y*x, 3, constant),
             ('of a line: 0', lambda x,y: x*y + y, 2, 'The slope is y, and x has no part in y.')]
    for name,formula,times,hint in tries: yield _slope_case(name, formula, deep, times, hint)
