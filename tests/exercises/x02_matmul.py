"The exercises of lesson 02_matmul: solutions, and what people write first"
import torch
from miniai.check.matmul import check_broadcast_shape, check_matmul, check_pairwise


def fits(a, b):
    if a.shape[1] != b.shape[0]: raise ValueError(f'{a.shape[1]} columns and {b.shape[0]} rows do not fit')

def zeros(a, b): return torch.zeros(a.shape[0], b.shape[1], dtype=a.dtype)

def outer_sum(a, b):
    fits(a, b)
    c = zeros(a, b)
    for k in range(a.shape[1]): c += a[:,k,None]*b[k]
    return c

def outer_sum_at_once(a, b):
    fits(a, b)
    return sum((a[:,k].unsqueeze(1)*b[k].unsqueeze(0) for k in range(a.shape[1])), zeros(a, b))

def by_torch_outer(a, b):
    fits(a, b)
    return torch.stack([torch.outer(a[:,k], b[k]) for k in range(len(b))]).sum(0)

def all_at_once(a, b):
    fits(a, b)
    return (a.t()[:,:,None]*b[:,None]).sum(0)

def by_loops(a, b):
    fits(a, b)
    c = zeros(a, b)
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            for k in range(a.shape[1]): c[i,j] += a[i,k]*b[k,j]
    return c

def the_sign(a, b):
    fits(a, b)
    return a@b

def by_einsum(a, b):
    fits(a, b)
    return torch.einsum('ik,kj->ij', a, b)

def by_rows(a, b):
    fits(a, b)
    c = zeros(a, b)
    for i in range(a.shape[0]): c[i] = (a[i,:,None]*b).sum(0)
    return c

def by_dots(a, b):
    fits(a, b)
    return torch.stack([torch.stack([torch.dot(x, y) for y in b.t()]) for x in a])

def over_lists(a, b):
    fits(a, b)
    x,y = a.tolist(),b.t().tolist()
    return torch.tensor([[sum(p*q for p,q in zip(r, c)) for c in y] for r in x], dtype=a.dtype)

def loops_over_rows(a, b):
    c = zeros(a, b)
    for k in range(a.shape[0]): c += a[:,k,None]*b[k]
    return c

def assigns(a, b):
    fits(a, b)
    c = zeros(a, b)
    for k in range(a.shape[1]): c = a[:,k,None]*b[k]
    return c

def stops_early(a, b):
    fits(a, b)
    for k in range(a.shape[1]): return a[:,k,None]*b[k]

def elementwise(a, b): return a*b
def turned(a, b): return outer_sum(a, b).t()
def wrong_axes(a, b):
    c = torch.zeros(a.shape[1], b.shape[0], dtype=a.dtype)
    for k in range(a.shape[0]): c += a[k,:,None]*b[:,k]
    return c
def always_float(a, b): return outer_sum(a.float(), b.float())
def shortest(a, b):
    n = min(a.shape[1], b.shape[0])
    return outer_sum(a[:,:n], b[:n])
def asserts(a, b):
    assert a.shape[1] == b.shape[0]
    return outer_sum(a, b)
def leaves_it_to_torch(a, b): return (a[:,:,None]*b).sum(1)
def in_place(a, b):
    c = outer_sum(a, b)
    a *= 0
    return c


def pairwise(a, b): return ((a[:,None]-b)**2).sum(-1)
def pairwise_expanded(a, b): return (a**2).sum(1, keepdim=True) + (b**2).sum(1) - 2*a@b.t()
def pairwise_rows(a, b):
    out = torch.zeros(len(a), len(b))
    for i,row in enumerate(a): out[i] = ((row-b)**2).sum(1)
    return out
def pairwise_einsum(a, b):
    d = a.unsqueeze(1)-b.unsqueeze(0)
    return torch.einsum('ijk,ijk->ij', d, d)
def pairs_only(a, b): return ((a-b)**2).sum(-1)
def rooted(a, b): return pairwise(a, b).sqrt()
def averaged(a, b): return ((a[:,None]-b)**2).mean(-1)
def cancelled(a, b): return (a[:,None]-b).sum(-1)
def squared_late(a, b): return (a[:,None]-b).sum(-1)**2
def absolute(a, b): return (a[:,None]-b).abs().sum(-1)
def other_way(a, b): return ((b[:,None]-a)**2).sum(-1)
def not_summed(a, b): return (a[:,None]-b)**2
def added(a, b): return ((a[:,None]+b)**2).sum(-1)
def wrong_sum(a, b): return ((a[:,None]-b)**2).sum(1)


def broadcast_shape(a, b):
    n = max(len(a), len(b))
    a,b = (1,)*(n-len(a)) + tuple(a),(1,)*(n-len(b)) + tuple(b)
    if any(i != j and 1 not in (i, j) for i,j in zip(a, b)): raise ValueError(f'{a} and {b} do not fit')
    return tuple(j if i == 1 else i for i,j in zip(a, b))

def broadcast_shape_from_back(a, b):
    a,b,out = list(a),list(b),[]
    while a or b:
        i,j = a.pop() if a else 1,b.pop() if b else 1
        if i != j and 1 not in (i, j): raise ValueError(f'{i} and {j}')
        out.insert(0, j if i == 1 else i)
    return out

def broadcast_shape_recursive(a, b):
    if not a or not b: return tuple(a or b)
    *front_a,i = a
    *front_b,j = b
    if i == j or j == 1: last = i
    elif i == 1: last = j
    else: raise ValueError(f'{i} against {j}')
    return (*broadcast_shape_recursive(front_a, front_b), last)

def from_the_front(a, b):
    n = max(len(a), len(b))
    return broadcast_shape(tuple(a) + (1,)*(n-len(a)), tuple(b) + (1,)*(n-len(b)))
def from_the_back_unturned(a, b): return tuple(broadcast_shape(a, b))[::-1]
def larger(a, b):
    n = max(len(a), len(b))
    return tuple(map(max, (1,)*(n-len(a)) + tuple(a), (1,)*(n-len(b)) + tuple(b)))
def larger_of_fitting(a, b):
    broadcast_shape(a, b)
    return larger(a, b)
def shorter_refused(a, b):
    if len(a) != len(b): raise ValueError('not the same number of axes')
    return broadcast_shape(a, b)
def asserts_fit(a, b):
    n = max(len(a), len(b))
    pairs = list(zip((1,)*(n-len(a)) + tuple(a), (1,)*(n-len(b)) + tuple(b)))
    assert all(i == j or 1 in (i, j) for i,j in pairs)
    return tuple(j if i == 1 else i for i,j in pairs)
def equal_only(a, b):
    if a != b: raise ValueError('not equal')
    return a


EXERCISES = [
    (check_matmul, [outer_sum, outer_sum_at_once, by_torch_outer, all_at_once],
     [(the_sign, 'no `@`'), (by_einsum, 'no `einsum`'), (by_loops, 'One loop, over k'),
      (by_rows, 'One loop, over k'), (by_dots, 'it calls dot'), (over_lists, 'no single numbers'),
      (loops_over_rows, 'A table for each k'), (assigns, '+='), (stops_early, 'stop too early'),
      (elementwise, '`a*b`'), (turned, 'transpose of the product'), (wrong_axes, 'wrong axis of a factor'),
      (always_float, 'dtype=a.dtype'), (shortest, 'a.shape[1] with b.shape[0]'),
      (asserts, 'a AssertionError came, not a ValueError'),
      (leaves_it_to_torch, 'a RuntimeError came, not a ValueError'),
      (in_place, 'changed its input')]),
    (check_pairwise, [pairwise, pairwise_expanded, pairwise_einsum],
     [(pairs_only, 'pairs only'), (rooted, 'no root'), (averaged, 'not their sum'),
      (cancelled, 'square before you sum'),
      (squared_late, 'square each difference first'), (absolute, 'absolute differences'),
      (other_way, 'belongs to a row of `a`'), (not_summed, 'sum over the last axis'),
      (wrong_sum, 'the last'), (added, 'squares of sums: subtract'), (pairwise_rows, 'Without a loop')]),
    (check_broadcast_shape, [broadcast_shape, broadcast_shape_from_back, broadcast_shape_recursive],
     [(from_the_front, '*last* axis'), (from_the_back_unturned, 'wrong order'),
      (larger, 'anything else is a ValueError'), (larger_of_fitting, 'be it 0'),
      (shorter_refused, '*last* axis'),
      (asserts_fit, 'a AssertionError came, not a ValueError'),
      (equal_only, 'a pair that fits was refused')]),
]
