import torch
from miniai.check.matmul import check_batch_matmul, check_broadcast_shape, check_matmul, check_row_shares


def fits(a, b):
    if a.shape[1] != b.shape[0]: raise ValueError(f'{a.shape[1]} columns and {b.shape[0]} rows do not fit')

def matmul(a, b):
    fits(a, b)
    c = torch.zeros(a.shape[0], b.shape[1], dtype=a.dtype)
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            for k in range(a.shape[1]): c[i,j] += a[i,k]*b[k,j]
    return c

def matmul_at_once(a, b):
    fits(a, b)
    return (a[:,:,None]*b).sum(1)

def matmul_outer(a, b):
    fits(a, b)
    return sum((a[:,k,None]*b[k] for k in range(a.shape[1])), torch.zeros(a.shape[0], b.shape[1], dtype=a.dtype))

def assigns(a, b):
    fits(a, b)
    c = torch.zeros(a.shape[0], b.shape[1], dtype=a.dtype)
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            for k in range(a.shape[1]): c[i,j] = a[i,k]*b[k,j]
    return c

def elementwise(a, b): return a*b
def transposed(a, b): return (a@b).t()
def wrong_factor(a, b): return a.t()@b.t()
def always_float(a, b): return a.float()@b.float()
def wrong_shape(a, b): return torch.zeros(a.shape[1], b.shape[1])
def shortest(a, b):
    n = min(a.shape[1], b.shape[0])
    return a[:,:n]@b[:n]


def row_shares(t): return t/t.sum(1, keepdim=True)
def row_shares_none(t): return t/t.sum(-1)[:,None]
def row_shares_turned(t): return (t.t()/t.sum(1)).t()
def no_keepdim(t): return t/t.sum(1)
def columns(t): return t/t.sum(0)
def everything(t): return t/t.sum()
def mean_of_row(t): return t/t.mean(1, keepdim=True)
def in_place(t):
    t /= t.sum(1, keepdim=True)
    return t


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

def from_the_front(a, b):
    n = max(len(a), len(b))
    return broadcast_shape(tuple(a) + (1,)*(n-len(a)), tuple(b) + (1,)*(n-len(b)))
def from_the_back_unturned(a, b): return tuple(broadcast_shape(a, b))[::-1]
def larger(a, b):
    n = max(len(a), len(b))
    return tuple(map(max, (1,)*(n-len(a)) + tuple(a), (1,)*(n-len(b)) + tuple(b)))


def batch_matmul(a, b): return torch.einsum('sik,skj->sij', a, b)
def batch_matmul_broadcast(a, b): return (a[:,:,:,None]*b[:,None]).sum(2)
def adds_the_stack(a, b): return torch.einsum('sik,skj->ij', a, b)
def every_pair(a, b): return torch.einsum('sik,tkj->stij', a, b)
def transposes(a, b): return torch.einsum('sik,skj->sji', a, b)


EXERCISES = [
    (check_matmul, [matmul, matmul_at_once, matmul_outer],
     [(assigns, '+='), (elementwise, '`a*b`'), (transposed, 'transpose of the product'), (wrong_factor, 'indices of one factor'),
      (always_float, 'dtype=a.dtype'), (wrong_shape, 'as many rows as `a`'), (shortest, 'a.shape[1] with b.shape[0]')]),
    (check_row_shares, [row_shares, row_shares_none, row_shares_turned],
     [(no_keepdim, 'keepdim=True'), (columns, 'axis 1'), (everything, 'sum of everything'), (mean_of_row, 'mean of each row'),
      (in_place, 'changed its input')]),
    (check_broadcast_shape, [broadcast_shape, broadcast_shape_from_back],
     [(from_the_front, '*last* axis'), (from_the_back_unturned, 'wrong order'), (larger, 'anything else is a ValueError')]),
    (check_batch_matmul, [batch_matmul, batch_matmul_broadcast],
     [(adds_the_stack, 'added together'), (every_pair, 'every other one'), (transposes, 'transposed')]),
]
