"Lesson 04: solutions, and the mistakes that the checks must name"
from functools import wraps
import torch
from miniai.autograd import Tape, _each
from miniai.check.autograd import check_slopes, check_tape


def exercise(check, f=None, *args):
    "The check as the exercise calls it, with what `f` makes of the solution"
    @wraps(check)
    def run(solution): return check(f(solution) if f else solution, *args)
    return run


def tanh(a):
    result = a.data.tanh()
    return Tape(result, (a, lambda g: g*(1-result**2)))

def tanh_of_exp(a): return 1 - 2/((2*a).exp() + 1)
def tanh_from_input(a): return Tape(torch.tanh(a.data), (a, lambda g: g/a.data.cosh()**2))
def tanh_by_steps(a):
    e = (-2*a).exp()
    return (1-e)/(1+e)
def tanh_by_each(a): return _each(torch.tanh, a, lambda x,y: 1-y**2)
def tanh_tensor(a): return a.data.tanh()
def tanh_swapped(a): return Tape(a.data.tanh(), (lambda g: g*(1-a.data.tanh()**2), a))
def tanh_no_source(a): return Tape(a.data.tanh())
def tanh_slope_alone(a): return Tape(a.data.tanh(), (a, lambda g: 1-a.data.tanh()**2))
def tanh_slope(a): return Tape(a.data.tanh(), (a, 1-a.data.tanh()**2))
def tanh_of_input(a): return Tape(a.data.tanh(), (a, lambda g: g*(1-a.data**2)))
def tanh_no_return(a): Tape(a.data.tanh(), (a, lambda g: g))
def tanh_hands_on(a): return Tape(a.data.tanh(), (a, lambda g: g))
def tanh_of_tape(a): return torch.tanh(a)
def tanh_in_place(a):
    a.data = a.data.tanh()
    return a
def tanh_stub(a): raise NotImplementedError


def rows(a, idxs):
    def back(g):
        grad = torch.zeros_like(a.data)
        for i,row in zip(idxs, g): grad[i] += row
        return grad
    return Tape(a.data[idxs], (a, back))

def rows_by_product(a, idxs):
    "A product with rows of the identity matrix, by the operations that there are"
    return torch.eye(a.shape[0], dtype=a.data.dtype)[idxs]@a

def rows_by_index(a, idxs):
    at = torch.tensor(idxs) % len(a.data)
    return Tape(a.data[at], (a, lambda g: torch.zeros_like(a.data).index_add(0, at, g)))

def rows_by_put(a, idxs):
    at = torch.tensor(idxs)
    return Tape(a.data[at], (a, lambda g: torch.zeros_like(a.data).index_put((at,), g, accumulate=True)))

def rows_assigned(a, idxs):
    def back(g):
        grad = torch.zeros_like(a.data)
        grad[idxs] = g
        return grad
    return Tape(a.data[idxs], (a, back))

def rows_added(a, idxs):
    def back(g):
        grad = torch.zeros_like(a.data)
        grad[idxs] += g  # adds once, also where a row is named twice
        return grad
    return Tape(a.data[idxs], (a, back))

def rows_hand_on(a, idxs): return Tape(a.data[idxs], (a, lambda g: g))
def rows_unrecorded(a, idxs): return Tape(a.data[idxs])
def rows_all_ones(a, idxs):
    at = torch.tensor(idxs) % len(a.data)
    return Tape(a.data[at], (a, lambda g: torch.zeros_like(a.data).index_add(0, at, torch.ones_like(g))))
def rows_pairs(a, idxs): return Tape(a.data[idxs], a, lambda g: g)


class Deep:
    "Keeps the slopes as numbers that remember"
    def __init__(self, data, *sources): self.data,self.sources = data,sources
    def __add__(self, o): return Deep(self.data + o.data, (self, Deep(1.)), (o, Deep(1.)))
    def __mul__(self, o): return Deep(self.data * o.data, (self, o), (o, self))

def newest_first(result):
    seen,order = set(),[]
    def visit(v):
        if v in seen: return
        seen.add(v)
        for s,_ in v.sources: visit(s)
        order.append(v)
    visit(result)
    return order[::-1]

def slope(result, source):
    grads = {result: type(result)(1.)}
    for v in newest_first(result):
        if v not in grads: continue
        for s,k in v.sources: grads[s] = grads[s] + grads[v]*k if s in grads else grads[v]*k
    return grads.get(source, type(result)(0.))

def slope_by_ways(result, source):
    "Every way on its own"
    total = Deep(1. if result is source else 0.)
    for s,k in result.sources: total = total + slope_by_ways(s, source)*k
    return total


class Formula:
    "Remembers the formula itself"
    def __init__(self, data, kind='given', left=None, right=None):
        self.data,self.kind,self.left,self.right = data,kind,left,right

    def __add__(self, o): return Formula(self.data + o.data, 'sum', self, o)
    def __mul__(self, o): return Formula(self.data * o.data, 'product', self, o)

def slope_of_formula(f, x):
    if f is x: return Formula(1.)
    if f.kind == 'given': return Formula(0.)
    left,right = slope_of_formula(f.left, x),slope_of_formula(f.right, x)
    return left + right if f.kind == 'sum' else left*f.right + f.left*right


def changed(add=lambda a,b: (Deep(1.), Deep(1.)), mul=lambda a,b: (b, a), slope=slope):
    "A solution with other slopes of sum and product"
    class Deep:
        def __init__(self, data, *sources): self.data,self.sources = data,sources
        def __add__(self, o): return type(self)(self.data + o.data, *zip((self, o), add(self, o)))
        def __mul__(self, o): return type(self)(self.data * o.data, *zip((self, o), mul(self, o)))
    return slope,Deep

def overwrites(result, source):
    grads = {result: type(result)(1.)}
    for v in newest_first(result):
        for s,k in v.sources: grads[s] = grads[v]*k
    return grads.get(source, type(result)(0.))

def left_over(result, source):
    "Kept in an attribute that is never cleared"
    result.grad = type(result)(1.)
    for v in newest_first(result):
        for s,k in v.sources:
            part = v.grad*k
            s.grad = s.grad + part if hasattr(s, 'grad') else part
    return getattr(source, 'grad', type(result)(0.))

def no_return(result, source): slope(result, source)
def a_number(result, source): return slope(result, source).data
def none_for_others(result, source):
    grads = {result: type(result)(1.)}
    for v in newest_first(result):
        for s,k in v.sources: grads[s] = grads[s] + grads[v]*k if s in grads else grads[v]*k
    return grads.get(source)
def from_zero(result, source):
    grads = {result: type(result)(0.)}
    for v in newest_first(result):
        for s,k in v.sources: grads[s] = grads[s] + grads[v]*k if s in grads else grads[v]*k
    return grads.get(source, type(result)(0.))
def slopes_stub(result, source): raise NotImplementedError


def check_both(solution): return check_slopes(*solution)
check_both.__name__ = 'check_slopes'

EXERCISES = [
    (exercise(check_tape, None, torch.tanh, Tape),
     [tanh, tanh_from_input, tanh_of_exp, tanh_by_steps, tanh_by_each], [
        (tanh_stub, 'This is the stub'), (None, 'NoneType'),
        (tanh_of_tape, 'made of `a.data`'), (tanh_in_place, 'the source itself came back'),
        (tanh_swapped, 'Tape(result, (a, lambda g: …))'),
        (tanh_tensor, 'Tape(result, (a, lambda g: …))'),
        (tanh_no_source, 'The result must know its sources'),
        (tanh_slope_alone, 'The chain rule multiplies it by `grad`'),
        (tanh_slope, 'lambda g: g*slope, not the slope'),
        (tanh_of_input, 'Multiply that by the gradient that comes in'),
        (tanh_hands_on, 'multiply it by the slope'),
        (tanh_no_return, 'is there a `return`?')]),
    (exercise(check_tape, lambda f: lambda a: f(a, [0, -1, 0]), lambda a: a[[0, -1, 0]], Tape),
     [rows, rows_by_product, rows_by_index, rows_by_put], [
        (rows_assigned, 'the ways add'), (rows_added, 'the ways add'), (rows_hand_on, 'shape'),
        (rows_unrecorded, 'The result must know its sources'), (rows_all_ones, 'multiplies it by `grad`'),
        (rows_pairs, 'Tape(result, (a, lambda g: …))')]),
    (check_both, [(slope, Deep), (slope_by_ways, Deep), (slope_of_formula, Formula)], [
        ((slopes_stub, Deep), 'This is the stub'),
        (changed(mul=lambda a,b: (a, b)), 'The slope of a·b in a is b'),
        (changed(mul=lambda a,b: (type(a)(b.data), type(a)(a.data))), 'Keep the sources themselves'),
        (changed(add=lambda a,b: (b, a)), 'The slope of a sum is 1'),
        ((left_over, Deep), 'Is something left over from it'), ((no_return, Deep), 'is there a `return`?'),
        ((overwrites, Deep), 'The ways add'), ((a_number, Deep), 'made of `+` and `*`'),
        ((none_for_others, Deep), 'Deep(0.)'), ((from_zero, Deep), 'The slope of a sum is 1')]),
]
