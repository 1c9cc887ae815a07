"Checks of lesson 05_losses"
import math
import torch, torch.nn.functional as F
from .kit import Case, brief, check, require, rng, same
from .matmul import refused

# What people write first: from a hint to what that mistake computes
_LABELS = {
    'Is the minus missing?': lambda x,t: -F.cross_entropy(x, t),
    'This is the sum over the items, not their mean.': lambda x,t: F.cross_entropy(x, t, reduction='sum'),
    'This is a softmax of a softmax: it takes the raw scores.': lambda x,t: F.cross_entropy(x.softmax(1), t),
    'The scores themselves are picked: take the log softmax first.': lambda x,t: F.nll_loss(x, t),
    'The logarithm is missing: this is minus the probability.': lambda x,t: F.nll_loss(x.softmax(1), t),
    'This is 1 minus the probability: take minus its logarithm.': lambda x,t: 1+F.nll_loss(x.softmax(1), t),
    'The softmax runs down the columns; each row has its own.': lambda x,t: F.nll_loss(x.log_softmax(0), t),
    'This is a logarithm to base 2: `log` is the natural one.': lambda x,t: F.cross_entropy(x, t)/math.log(2),
    '`logp[:,target]` picks columns from every row: pick pairs.': lambda x,t: -x.log_softmax(1)[:,t].mean()}

def _soft(x, t): return -(t*x.log_softmax(1)).sum(1).mean()
_ROWS = {
    'Is the minus missing?': lambda x,t: -_soft(x, t),
    'This is the sum over the rows, not their mean.': lambda x,t: _soft(x, t)*len(x),
    'This is the mean over all numbers: sum over the classes, average over the rows.':
        lambda x,t: _soft(x, t)/x.shape[1],
    'The logarithm is missing.': lambda x,t: -(t*x.softmax(1)).sum(1).mean(),
    'One number, please: the mean over the rows.': lambda x,t: -(t*x.log_softmax(1)).sum(1),
    'This is the logarithm of the sum: the logarithms come first.':
        lambda x,t: -(t*x.softmax(1)).sum(1).log().mean(),
    'Swapped: the logarithm is that of the softmax.': lambda x,t: -(x.softmax(1)*t.log()).sum(1).mean(),
    'This is a logarithm to base 2: `log` is the natural one.': lambda x,t: _soft(x, t)/math.log(2),
    'The scores themselves are used: take the log softmax first.': lambda x,t: -(t*x).sum(1).mean(),
    'The softmax runs down the columns, not the rows.': lambda x,t: -(t*x.log_softmax(0)).sum(1).mean(),
    'Only the likeliest class counts: all should, by share.': lambda x,t: F.cross_entropy(x, t.argmax(1)),
    'The targets are probabilities already: no softmax of them.': lambda x,t: _soft(x, t.softmax(1))}

def _bent(is_near, near, far): return torch.where(is_near, near, far).mean()
def _by_hand(f): return lambda x,t: f(x-t, (x-t).abs())
_NUMBERS = {
    'This is the sum, not the mean.': lambda x,t: F.huber_loss(x, t, reduction='sum'),
    'One number, please: the mean.': lambda x,t: F.huber_loss(x, t, reduction='none'),
    '`len` counts the rows only: divide by how many numbers there are.':
        lambda x,t: F.huber_loss(x, t, reduction='sum')/len(x),
    'This is twice the loss: d²/2 and |d| - 1/2.': lambda x,t: 2*F.huber_loss(x, t),
    'This is the squared error: beyond 1 it goes on as a straight line.': lambda x,t: F.mse_loss(x, t),
    'This is half the squared error: beyond 1 it goes on as a straight line.': lambda x,t: F.mse_loss(x, t)/2,
    'This is the absolute difference: within 1 it is a parabola.': lambda x,t: F.l1_loss(x, t),
    'Within 1 it is d²/2, not d².': _by_hand(lambda d,a: _bent(a <= 1, d**2, a-0.5)),
    'The parts do not meet: the straight one is |d| - 1/2.': _by_hand(lambda d,a: _bent(a <= 1, d**2/2, a)),
    'The straight part is |d| - 1/2: -5 counts as 4.5.': _by_hand(lambda d,a: _bent(a <= 1, d**2/2, d-0.5)),
    'The two parts are swapped.': _by_hand(lambda d,a: _bent(a > 1, d**2/2, a-0.5)),
    '-5 is a large difference too: compare |d| with 1.': _by_hand(lambda d,a: _bent(d <= 1, d**2/2, a-0.5))}

def _shares(x, t, weight=None, ignore_index=-100):
    "For each item its loss, its weight, and 1 if it counts"
    labels = t.clamp(0, x.shape[1]-1)
    share = torch.ones(len(t)) if weight is None else weight[labels]
    return F.cross_entropy(x, labels, reduction='none'),share,(t != ignore_index).float()

def _over(below):
    "The mistake that divides the sum by something else"
    def mistake(*args, **kwargs):
        loss,share,counts = _shares(*args, **kwargs)
        return (loss*share*counts).sum() / below(share, counts)
    return mistake

_WEIGHTED = {
    'The mean is divided by the sum of the weights, not by the number of items.': _over(lambda s,c: c.sum()),
    'Ignored items are still in what the sum is divided by.': _over(lambda s,c: s.sum()),
    'The sum is divided by the number of all items, ignored ones too.': _over(lambda s,c: len(s))}
_MISTAKES = dict(cross_entropy=_LABELS, huber=_NUMBERS, soft_cross_entropy=_ROWS,
                 weighted_cross_entropy=_LABELS | _WEIGHTED)

def _reference(name): return F.huber_loss if name == 'huber' else F.cross_entropy

def _gradient(out, x):
    "The gradient of `out`, each of its numbers times another one, for `x`"
    factors = torch.linspace(1, 2, out.numel()).to(out.dtype).view(out.shape)
    return torch.autograd.grad(out, x, factors, allow_unused=True)[0] if out.requires_grad else None

def _compare(f, name, args, kwargs, hint):
    "Values, gradients, and that the input is left alone"
    copies,(x,want_x) = [a.clone() for a in args],[args[0].clone().requires_grad_() for _ in range(2)]
    want,got = _reference(name)(want_x, *args[1:], **kwargs),f(x, *copies[1:], **kwargs)
    options = ', '.join(f'{k}={brief(v)}' for k,v in kwargs.items())
    given = f"{'; '.join(brief(a, 40) for a in args)}; {options}" if options else args
    require(isinstance(got, torch.Tensor), f'a {type(got).__name__} came, not a tensor', given, got, want,
            'Is there a `return`? And take no numbers out of the tensors: no `.item()`.')
    known = {} if 'reduction' in kwargs or not got.isfinite().all() else _MISTAKES[name]
    same(got, want, given, mistakes={text: lambda m=m: m(*args, **kwargs) for text,m in known.items()})
    unchanged = all(map(torch.equal, (x.detach(), *copies[1:]), args))
    require(unchanged, 'it changed its input', given, hint='A name that ends in `_` works in place.')
    slope = _gradient(got, x)
    require(slope is not None, 'the result has no gradient', given,
            hint='Do not take the numbers out of their record: no `.detach()`, no `.item()`.')
    same(slope, _gradient(want, want_x), given, f'The values are right, the gradient is not. {hint}')

_NO_LOG = 'Subtract the largest score first, and never take the logarithm of a probability that may be 0.'
_MINUS_1 = '-1 is not a class. As an index it would quietly mean the last one; `gather` refuses it.'

def _randn(*shape, seed=0): return torch.randn(shape, generator=rng(seed + sum(shape)))*2
def _labels(n): return torch.randint(5, (n,), generator=rng(n))

def _pairs(name):
    x,t = _randn(4, 3),_randn(4, 3, seed=1)
    yield 'three numbers',(x[0],t[0]),{},'`torch.where(near, a, b)` chooses number by number.'
    yield 'a table: the mean of all',(x,t),{},''

def _probabilities(name):
    yield 'one row',(_randn(1, 3),torch.tensor([[0.6, 0.4, 0.]])),{},''
    yield 'four rows: their mean',(_randn(4, 5),_randn(4, 5, seed=1).softmax(1)),{},''
    x,t = torch.tensor([[1000., 0.], [0., 200.]]),torch.tensor([[0.5, 0.5], [1., 0.]])
    yield 'large scores',(x,t),{},_NO_LOG

def _items(name):
    x = _randn(4, 5)
    for n,title in ((1, 'one row'), (4, 'four rows: their mean')): yield title,(x[:n],_labels(n)),{},''
    yield 'large scores',(torch.tensor([[1000., 0.], [500., 600.]]),torch.tensor([0, 0])),{},_NO_LOG
    yield 'sure and wrong',(torch.tensor([[0., 200.], [-300., 0.]]),torch.tensor([0, 0])),{},_NO_LOG
    if name == 'weighted_cross_entropy': yield from _weights()
    yield 'a label of -1 is refused',(x,torch.tensor([0, -1, 2, 3])),None,_MINUS_1
    yield 'a label above the last class is refused',(x,torch.tensor([0, 1, 2, 5])),None,'They go from 0 to 4.'

def _weights():
    x,t,weight = _randn(6, 5),torch.tensor([0, 3, 1, 4, 3, 2]),torch.tensor([1., 0.5, 3., 2., 0.1])
    missing = torch.tensor([0, -100, 1, 4, -100, 2])
    yield 'a weight for each class',(x,t),dict(weight=weight),'An item weighs what its class weighs.'
    yield 'labels of -100',(x,missing),{},'-100 is not a column: put another label there before you pick.'
    yield 'ignore_index=3',(x,t),dict(ignore_index=3),'Ignored items are 0 in the sum, and are not counted.'
    both = dict(weight=weight, ignore_index=3)
    yield 'both at once',(x,t),both,'First the weights, then leave the ignored ones out.'
    for r,what in (('sum', 'The sum'), ('none', 'A row')):
        hint = f'{what} of the weighted losses; ignored items are 0.'
        yield f'both, {r}',(x,t),both | dict(reduction=r),hint

_TRIALS = dict(cross_entropy=_items, weighted_cross_entropy=_items, soft_cross_entropy=_probabilities,
               huber=_pairs)

@check('loss')
def check_losses(
    f,        # Your function: takes what PyTorch's takes
    name=None # Which loss it is, as 'cross_entropy'; None: its own name says it
):
    "Check a loss against PyTorch's: values, gradients, extreme and bad input"
    require(callable(f), f'a {type(f).__name__} came, not a function', hint='Hand over its name, without ().')
    name = name or getattr(f, '__name__', None)
    if name not in _TRIALS: raise ValueError(f"name must be one of {', '.join(_TRIALS)}; got {name!r}")
    def case(title, args, kwargs, hint):
        "`args` must be refused if `kwargs` is None, else compared"
        if kwargs is None: return Case(title, lambda f: refused(Exception, f, *args), hint)
        return Case(title, lambda f: _compare(f, name, args, kwargs, hint), hint)
    for trial in _TRIALS[name](name): yield case(*trial)

def _topk(n, classes, k, title):
    def run(f):
        x,t = _randn(n, classes),torch.randint(classes, (n,), generator=rng(n))
        place,k_ = (x > x.gather(1, t[:,None])).sum(1),k or 3  # how many classes come before the label
        got = f(x.clone(), t.clone(), *([k] if k else []))
        given = f'{brief(x, 40)}; {brief(t, 40)}; k={k}' if k else (x, t)
        right = (place < k_).float()
        same(got, right.mean(), given, mistakes={
            'This is the number of rows, not their share.': right.sum(),
            'Divided by k as well: a row is right if any of its k is.': right.mean()/k_,
            'This counts only the k-th place: any of the first k will do.': (place == k_-1).float().mean(),
            'Are these the smallest ones?': (place >= classes-k_).float().mean(),
            'This is the plain accuracy, with k=1.': (place == 0).float().mean(),
            'This is the share that is wrong.': 1-right.mean(),
            'Always the first 3? It should be the first k.': (place < 3).float().mean(),
            '`any()` of the whole table is one answer: one for each row is `any(1)`.': right.max(),
            'No row is right: are places compared (`.indices`, not `.values`), and is it `any`, not `all`?':
                torch.tensor(0.),
            'This compares a row of labels with a table of places: make it a column, yb[:,None].':
                lambda: (x.topk(k_).indices == t).any(1).float().mean()})
    return Case(title, run, 'Shapes do not fit? yb[:,None]. No mean? `.float()`. A number? torch.tensor.')

@check('top-k accuracy')
def check_topk(f):  # Your function: takes `out` of shape (n,classes), `yb` of shape (n,) and `k`
    "Check a top-k accuracy"
    return [_topk(18, 12, 1, 'k=1, accuracy'), _topk(24, 10, 2, 'k=2'), _topk(32, 10, None, 'no k: it is 3'),
            _topk(4, 28, 4, 'k rows'), _topk(6, 4, 4, 'k is all classes'), _topk(1, 10, 3, 'one row')]
