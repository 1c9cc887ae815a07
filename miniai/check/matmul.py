"Checks of lesson 02_matmul"
import math, torch
from torch.overrides import TorchFunctionMode
from .kit import Case, Mismatch, check, require, rng, same

_KIN = {'matmul', 'rmatmul', 'mm', 'bmm', 'baddbmm', 'mv', 'dot', 'vdot', 'inner', 'einsum', 'tensordot',
        'addmm', 'addmv', 'linear', 'multi_dot'}
_ONE_LOOP = 'One loop, over k, that adds whole tables: no `@`, no `einsum`, no single numbers.'
_NO_LOOP = 'Without a loop: `a[:,None]` gives each row of `a` an axis for the rows of `b`.'

class _Watched(TorchFunctionMode):
    "Refuses calls of the names in `banned`, and more than `most` calls in all"
    def __init__(self, rule, banned=(), most=math.inf):
        super().__init__()
        self.rule,self.banned,self.left = rule,banned,most
    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, '__name__', '').strip('_')
        require(name not in self.banned, f'it calls {name}', hint=self.rule)
        require(self.left > 0, 'it calls PyTorch too often', hint=self.rule)
        self.left -= 1
        return func(*args, **(kwargs or {}))

def _by_hand(most=math.inf): return _Watched(_ONE_LOOP, _KIN | {'item', 'tolist', 'numpy'}, most)

def _matrices(*shapes, dtype=torch.float32):
    "Small matrices of whole numbers, large ones of any numbers"
    g,small = rng(sum(map(sum, shapes))),max(map(max, shapes)) < 9
    def draw(s): return torch.randint(-4, 5, s, generator=g) if small else torch.randn(s, generator=g)
    return [draw(s).to(dtype) for s in shapes]

def _call(f, *args):
    "What `f` gives, which must leave its input alone"
    copies = [a.clone() for a in args]
    got = f(*copies)
    require(all(map(torch.equal, copies, args)), 'it changed its input', args, hint='Make a new tensor.')
    return got

def _product(n, k, m, name, hint='', dtype=torch.float32, most=math.inf):
    def run(f):
        a,b = _matrices((n,k), (k,m), dtype=dtype)
        with _by_hand(most): got = _call(f, a, b)
        same(got, a@b, (a, b), mistakes={
            'This is `a*b`, number by number; a product sums along a row and a column.': lambda: a*b,
            'This is the product of the transposes: is the wrong axis of a factor used?': lambda: a.t()@b.t(),
            'This is the transpose of the product.': lambda: (a@b).t(),
            'This is the last term of each sum: is it `=` where `+=` is meant?': lambda: a[:,-1:]*b[-1:],
            'This is the first term of each sum: does the loop stop too early?': lambda: a[:,:1]*b[:1]})
    return Case(name, run, hint)

def refused(error, f, *args):
    "Raise `Mismatch` unless `f(*args)` raises `error`"
    try: got = f(*args)
    except (NotImplementedError, Mismatch): raise  # the stub refuses everything
    except error: return
    except Exception as e: raise Mismatch(f'a {type(e).__name__} came, not a {error.__name__}', args) from e
    raise Mismatch('it was accepted', args, got)

@check('matrix product')
def check_matmul(f):  # Your matrix product: takes `a` of shape (n,k) and `b` of shape (k,m)
    "Check a matrix product of two matrices against `@`, which it may not use"
    def refuses(f):
        with _by_hand(): refused(ValueError, f, torch.ones(2, 3), torch.ones(2, 3))
    sums = 'A table for each k: column k of `a`, a[:,k,None], times row k of `b`, b[k]. Add all k of them up.'
    refuse = 'Compare a.shape[1] with b.shape[0] first, and `raise ValueError(…)`.'
    return [_product(1, 1, 1, 'one number by one number', sums),
            _product(1, 3, 1, 'a row by a column: one number', sums),
            _product(3, 1, 2, 'a column by a row: a table', sums),
            _product(2, 2, 2, 'two by two', sums), _product(5, 28, 10, 'a larger one', sums),
            _product(40, 3, 40, 'a loop of three turns', sums, most=100),
            _product(3, 4, 2, 'float64', 'Make the result with `dtype=a.dtype`.', torch.float64),
            _product(0, 3, 2, 'no rows at all', 'torch.zeros(0,2) is a matrix too.'),
            Case('shapes that do not fit are refused', refuses, refuse)]

def _distances(n, m, k, name, most=math.inf):
    def run(f):
        a,b = _matrices((n,k), (m,k))
        each = (a[:,None]-b)**2
        want = each.sum(-1)
        with _Watched(_NO_LOOP, most=most): got = _call(f, a, b)
        same(got, want, (a, b), mistakes={
            'These are the distances; the squared ones are wanted: no root.': lambda: want.sqrt(),
            'This is the mean over the numbers of a row, not their sum.': lambda: want/k,
            'These are squares of sums: subtract.': lambda: ((a[:,None]+b)**2).sum(-1),
            'Plus and minus cancel: square before you sum.': lambda: (a[:,None]-b).sum(-1),
            'Summed and then squared: square each difference first.': lambda: (a[:,None]-b).sum(-1)**2,
            'These are absolute differences: square them.': lambda: (a[:,None]-b).abs().sum(-1),
            'Rows of `b` along axis 0 here: a row of the result belongs to a row of `a`.': lambda: want.t(),
            'This is row by row, pairs only: `a[:,None]` gives each row of `a` an axis for the rows of `b`.':
                lambda: ((a-b)**2).sum(-1),
            'All differences are still there: sum over the last axis.': lambda: each,
            'Summed over the wrong axis: the last one holds the numbers of a row.': lambda: each.sum(1)})
    return Case(name, run, 'Shapes: (n,1,k) minus (m,k) is (n,m,k); its sum over the last axis is (n,m).')

@check('squared distances')
def check_pairwise(f):  # Your function: takes `a` of shape (n,k) and `b` of shape (m,k)
    "Check the squared distance of each row of `a` from each row of `b`"
    return [_distances(1, 1, 3, 'one row and one row'), _distances(2, 3, 2, 'two rows and three'),
            _distances(3, 3, 2, 'three and three, where a mistake makes no error'),
            _distances(4, 2, 5, 'all sizes different'), _distances(0, 2, 3, 'no rows at all'),
            _distances(30, 20, 50, 'a larger one, in a few calls', most=40)]

def _shape(a, b, name):
    "A case of `check_broadcast_shape`; `a` and `b` may not fit"
    left = 'Line shapes up at the *last* axis; the shorter one gets ones in *front*.'*(len(a) != len(b))
    def fits(f):
        want = tuple(torch.broadcast_shapes(a, b))
        try: got = f(a, b)
        except ValueError: raise Mismatch('a pair that fits was refused', (a, b), None, want, left) from None
        same(tuple(got) if isinstance(got, (list, torch.Size)) else got, want, (a, b), left, {
            'Right numbers in the wrong order: what is built from the back must be turned round.': want[::-1],
            'Is there a `return`?': None})
    try: torch.broadcast_shapes(a, b)
    except RuntimeError:
        hint = 'Two lengths fit if they are equal or if one of them is 1; anything else is a ValueError.'
        return Case(name, lambda f: refused(ValueError, f, a, b), hint)
    return Case(name, fits, 'Equal lengths fit, or a 1; what counts is the one that is not the 1, be it 0.')

@check('shape after broadcasting')
def check_broadcast_shape(f):  # Takes two shapes, tuples of ints; returns a tuple or raises ValueError
    "Check the shape that two shapes broadcast to against `torch.broadcast_shapes`"
    pairs = [((3,), (3,), 'equal'), ((3,), (1,), 'three and one'), ((3,), (), 'three and a single number'),
             ((2,3), (3,), 'a table and a row'), ((3,1), (1,4), 'a column and a row'),
             ((5,), (3,1), 'the shorter one first'), ((64,3,28,28), (3,1,1), 'a stack of colour pictures'),
             ((3,), (4,), 'three and four'), ((3,4), (3,), 'a table and a row that is too short'),
             ((0,3), (1,3), 'no rows at all'), ((0,), (1,), 'none and one')]
    return [_shape(*pair) for pair in pairs]
