"Checks of lesson 02_matmul"
import torch
from .kit import Case, Mismatch, Report, require, rng, run_cases, same, _explained


def _matmul_hint(a, b):
    "Names the usual mistake behind a wrong matrix product"
    return _explained({'This is `a*b`, number by number; a product sums along a row and a column.': lambda: a*b,
                       'This is the product of the transposes: are the indices of one factor swapped?': lambda: a.t()@b.t(),
                       'This is the transpose of the product: are `i` and `j` swapped in the result?': lambda: (a@b).t(),
                       'This is the last term of each sum: is it `=` where `+=` is meant?': lambda: a[:,-1:]*b[-1:],
                       'This is the first term of each sum: does the inner loop return or stop too early?': lambda: a[:,:1]*b[:1]})

def _matmul_case(n, k, m, name, hint='', dtype=torch.float32):
    def run(f):
        g = rng(n*100 + k*10 + m)
        a,b = (torch.randint(-4, 5, s, generator=g).to(dtype) if max(n, k, m) < 4 else torch.randn(s, generator=g, dtype=dtype)
               for s in ((n,k), (k,m)))
        a0,b0 = a.clone(),b.clone()
        got = f(a, b)
        require(a.equal(a0) and b.equal(b0), 'it changed its input', (a0, b0), hint='Fill a new tensor and leave `a` and `b` alone.')
        same(got, a0@b0, given=(a0, b0), hint=_matmul_hint(a0, b0))
    return Case(name, run, hint)

def _refuses(f):
    a,b = torch.ones(2,3),torch.ones(2,3)
    try: got = f(a, b)
    except NotImplementedError: raise  # the stub refuses everything
    except Exception: return
    raise Mismatch('shapes that do not fit gave a result', (a, b), got)

def check_matmul(
    f,              # Your matrix product: takes `a` of shape (n,k) and `b` of shape (k,m)
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a matrix product of two matrices against `@`"
    sums = 'Entry [i,j] is the sum over k of a[i,k]*b[k,j].'
    cases = [_matmul_case(1, 1, 1, 'one number by one number', sums),
             _matmul_case(1, 3, 1, 'a row by a column gives one number', sums),
             _matmul_case(3, 1, 2, 'a column by a row gives a table', 'The result has as many rows as `a` and as many columns as `b`.'),
             _matmul_case(2, 2, 2, 'two by two', sums),
             _matmul_case(2, 3, 4, 'rows, columns and the middle all differ', sums),
             _matmul_case(5, 28, 10, 'a larger one', sums),
             _matmul_case(3, 4, 2, 'float64 stays float64', 'Make the result with `dtype=a.dtype`.', torch.float64),
             _matmul_case(0, 3, 2, 'no rows at all', 'torch.zeros(0,2) is a matrix too: loops over it just do nothing.'),
             Case('shapes that do not fit are refused', _refuses, 'Compare a.shape[1] with b.shape[0] first, and raise.')]
    return run_cases(f, cases, 'matrix product', limit)

def _row_shares(n, m, name, hint=''):
    "A case of `check_row_shares`: a table of `n` rows and `m` columns"
    def run(f):
        t = torch.randint(1, 9, (n,m), generator=rng(n*10+m)).float()
        t0,row,col = t.clone(),t.sum(1),t.sum(0)
        mistakes = {'Each column was divided by the sum of a *row*: sum(1) has shape (n,), which lines up with the columns. Keep the axis: '
                    'sum(1, keepdim=True).': lambda: t0/row,
                    'The columns add up to 1, not the rows: sum along axis 1.': lambda: t0/col,
                    'Divided by the sum of everything: sum along axis 1 only.': lambda: t0/t0.sum(),
                    'Divided by the mean of each row, not by its sum.': lambda: t0/t0.mean(1, keepdim=True),
                    'These are the sums: divide the table by them.': lambda: t0.sum(1, keepdim=True)}
        got = f(t)
        require(t.equal(t0), 'it changed its input', t0, hint='`t / …` makes a new tensor, `t /= …` changes the old one.')
        same(got, t0/t0.sum(1, keepdim=True), given=t0, hint=_explained(mistakes))
    return Case(name, run, hint or 'A column of sums, shape (n,1), divides the rows: sum(1, keepdim=True).')

def check_row_shares(
    f,              # Your function: takes a table of shape (n,m)
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check that each row of a table is divided by its own sum"
    return run_cases(f, [_row_shares(1, 2, 'a single row'), _row_shares(2, 2, 'two by two, where a mistake makes no error'),
                         _row_shares(3, 2, 'more rows than columns'), _row_shares(2, 5, 'more columns than rows'),
                         _row_shares(0, 3, 'no rows at all')], 'shares of each row', limit)

def _shape_case(a, b, name, hint=''):
    "A case of `check_broadcast_shape`; `a` and `b` may not fit"
    left = 'Line shapes up at the *last* axis; the shorter one gets ones in *front*.' if len(a) != len(b) else ''
    def run(f):
        try: want = tuple(torch.broadcast_shapes(a, b))
        except RuntimeError: want = None
        try: got = f(a, b)
        except ValueError as e:
            require(want is None, f'a pair that fits was refused: {e}', (a, b), want=want, hint=left)
            return
        require(want is not None, 'a pair that does not fit gave a shape', (a, b), got, 'a ValueError',
                hint='Two lengths fit if they are equal or if one of them is 1; anything else is a ValueError.')
        require(got is not None, 'it is None: is there a `return`?', (a, b), want=want)
        got = tuple(got) if isinstance(got, (list, torch.Size)) else got
        backwards = isinstance(got, tuple) and got[::-1] == want
        require(got == want, 'another shape', (a, b), got, want,
                hint='Right numbers in the wrong order: a shape that was built from the back must be turned round.' if backwards else left)
    return Case(name, run, hint or 'Line up at the last axis; a missing axis counts as 1; equal lengths or a 1 fit, and the larger one is the result.')

def check_broadcast_shape(
    f,              # Your function: takes two shapes, tuples of ints; returns a tuple or raises ValueError
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check the shape that two shapes broadcast to against `torch.broadcast_shapes`"
    pairs = [((3,), (3,), 'equal'), ((3,), (1,), 'three and one'), ((3,), (), 'three and a single number'), ((2,3), (3,), 'a table and a row'),
             ((3,1), (1,4), 'a column and a row'), ((5,), (3,1), 'the shorter one first'), ((64,3,28,28), (3,1,1), 'a stack of colour pictures'),
             ((3,), (4,), 'three and four'), ((3,4), (3,), 'a table and a row that is too short'), ((0,3), (1,3), 'no rows at all'),
             ((0,), (1,), 'none and one')]
    return run_cases(f, [_shape_case(a, b, name) for a,b,name in pairs], 'shape after broadcasting', limit)

def _batch_matmul_case(s, n, k, m, name):
    "A case of `check_batch_matmul`: `s` pairs of matrices"
    def run(f):
        g = rng(s+n+k+m)
        a,b = (torch.randint(-4, 5, shape, generator=g).float() for shape in ((s,n,k), (s,k,m)))
        mistakes = {'All products were added together: the letter of the stack is missing on the right of the arrow.': lambda: (a@b).sum(0),
                    'Each matrix was multiplied with every other one: use the same letter for the stack in both.':
                        lambda: torch.einsum('sik,tkj->stij', a, b),
                    'Each product is transposed: the last two letters on the right are swapped.': lambda: (a@b).transpose(1, 2),
                    'This is number by number: the letter that is summed is missing on the right, and the others all differ.': lambda: a*b}
        same(f(a, b), torch.bmm(a, b), given=(a, b), hint=_explained(mistakes))
    return Case(name, run, 'Four letters: the stack s in all three places; i from a, j from b; k in both and gone on the right.')

def check_batch_matmul(
    f,              # Your function: takes stacks of shape (s,n,k) and (s,k,m)
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check the products of two stacks of matrices, pair by pair, against `torch.bmm`"
    return run_cases(f, [_batch_matmul_case(1, 1, 2, 1, 'a single pair'), _batch_matmul_case(2, 2, 2, 2, 'two pairs of two by two'),
                         _batch_matmul_case(3, 2, 4, 5, 'three pairs, all sizes different')], 'stacks of products', limit)
