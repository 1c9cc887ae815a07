"Checks of lesson 05, losses"
import contextlib, math
from collections.abc import Mapping
import torch
from .kit import Case, Mismatch, Report, brief, difference, rng, run_cases, same


import collections, torch.nn.functional as F

_LOSS_NAMES = dict(softmax='softmax', logsumexp='logsumexp', log_softmax='log_softmax', nll_loss='nll_loss', cross_entropy='cross_entropy',
                   bce_with_logits='binary_cross_entropy_with_logits', mse='mse_loss', accuracy='accuracy')  # ours and PyTorch's

def _share_right(out, yb): return (out.argmax(1) == yb).float().mean()

_LOSS_REFERENCES = {ours: getattr(F, theirs, getattr(torch, theirs, _share_right)) for ours,theirs in _LOSS_NAMES.items()}

def _columns(logp, t): return -logp[:,t].mean()

_LOSS_MISTAKES = dict(
    softmax={'This is the softmax down the columns: sum along the last dimension, `dim=-1`.': lambda x: x.softmax(0),
             'Here all numbers together sum to 1; each row should.': lambda x: x.flatten().softmax(0).view(x.shape),
             'This is the logarithm of the softmax.': lambda x: x.log_softmax(-1),
             'This is the sigmoid of each score: nothing is shared.': lambda x: x.sigmoid(),
             'These are shares of the scores: `exp` is missing.': lambda x: x/x.sum(-1, keepdim=True),
             'This is `exp` of the scores, not yet divided by their sum.': lambda x: x.exp()},
    logsumexp={'The largest was subtracted and never added back.': lambda x: x.logsumexp(-1) - x.amax(-1),
               'This is the sum of the exps: the logarithm is missing.': lambda x: x.exp().sum(-1),
               'This is the largest number; the others add something.': lambda x: x.amax(-1),
               'Is there a dimension left? `keepdim` keeps one for the shift; the result has none.': lambda x: x.logsumexp(-1, keepdim=True)},
    log_softmax={'This is the softmax: the logarithm is missing.': lambda x: x.softmax(-1),
                 'This is the log softmax down the columns: sum along the last dimension, `dim=-1`.': lambda x: x.log_softmax(0),
                 'Is the sign turned? Log probabilities are negative.': lambda x: -x.log_softmax(-1)})

_LOSS_MISTAKES['nll_loss'] = {
    'Is the minus missing?': lambda x,t: -F.nll_loss(x, t),
    'This is the sum over the items, not their mean.': lambda x,t: F.nll_loss(x, t, reduction='sum'),
    'What comes in are log probabilities already: no logarithm here.': lambda x,t: F.nll_loss(x.abs().log(), t),
    '`input[:,target]` picks these columns from every row: pick pairs of row and column.': _columns}

_LOSS_MISTAKES['cross_entropy'] = {
    'Is the minus missing?': lambda x,t: -F.cross_entropy(x, t),
    'This is the sum over the items, not their mean.': lambda x,t: F.cross_entropy(x, t, reduction='sum'),
    'This is a softmax of a softmax: the log softmax takes the raw scores.': lambda x,t: F.cross_entropy(x.softmax(1), t),
    'The scores themselves are picked: take the log softmax first.': lambda x,t: F.nll_loss(x, t),
    'The logarithm is missing: this is minus the probability.': lambda x,t: F.nll_loss(x.softmax(1), t),
    'This is 1 minus the probability, the loss of lesson 01: take minus its logarithm.': lambda x,t: 1+F.nll_loss(x.softmax(1), t),
    'The softmax runs down the columns; each row of scores has its own.': lambda x,t: F.nll_loss(x.log_softmax(0), t),
    'This is a logarithm to base 2: `log` is the natural one.': lambda x,t: F.cross_entropy(x, t)/math.log(2),
    'This is a logarithm to base 10: `log` is the natural one.': lambda x,t: F.cross_entropy(x, t)/math.log(10),
    '`logp[:,target]` picks these columns from every row: pick pairs of row and column.': lambda x,t: _columns(x.log_softmax(1), t)}

_bce = F.binary_cross_entropy_with_logits

_LOSS_MISTAKES |= dict(
    bce_with_logits={
        'Is the minus missing?': lambda x,t: -_bce(x, t),
        'This is the sum over the scores, not their mean.': lambda x,t: _bce(x, t, reduction='sum'),
        'This is a sigmoid of a sigmoid: the loss takes raw scores.': lambda x,t: _bce(x.sigmoid(), t),
        'Only a yes counts here: the part for a no, (1-t), is missing.': lambda x,t: -(t*F.logsigmoid(x)).mean(),
        'Only a no counts here: the part for a yes, t, is missing.': lambda x,t: -((1-t)*F.logsigmoid(-x)).mean(),
        'Are yes and no swapped?': lambda x,t: _bce(x, 1-t),
        'These are yes-or-no questions, each with its own sigmoid: no softmax.': lambda x,t: -(t*x.log_softmax(-1)).mean()},
    mse={'This is the sum, not the mean.': lambda x,t: F.mse_loss(x, t, reduction='sum'),
         'This is the mean absolute difference: square it.': lambda x,t: (x-t).abs().mean(),
         'The differences are not squared, so they cancel.': lambda x,t: (x-t).mean(),
         'The differences are not squared, so they cancel, and the sign is turned.': lambda x,t: (t-x).mean(),
         'This is the root of the mean squared error.': lambda x,t: F.mse_loss(x, t).sqrt(),
         'This is half of it.': lambda x,t: F.mse_loss(x, t)/2},
    accuracy={'This is the number of right ones, not their share.': lambda x,t: (x.argmax(1) == t).float().sum(),
              'The largest of each column was looked for: `argmax(dim=1)` looks along a row.': lambda x,t: (x.argmax(0)[:len(t)] == t[:x.shape[1]]).float().mean(),
              'This is the share of wrong ones.': lambda x,t: (x.argmax(1) != t).float().mean()})

def _loss_hint(name, args):
    "A function that names the usual mistake behind what came"
    def hint(got, want):
        if not isinstance(got, torch.Tensor): return ''
        for text,f in _LOSS_MISTAKES.get(name, {}).items():
            with contextlib.suppress(RuntimeError, IndexError):
                if not difference(got, f(*args), dtype=False): return text
        return ''
    return hint

def _gradient(out, x):
    "The gradient of `out`, each of its numbers times another one, for `x`"
    if not out.requires_grad: return None
    factors = torch.linspace(1, 2, out.numel(), dtype=torch.float64).to(out.dtype)
    return torch.autograd.grad((out*factors.view(out.shape)).sum(), x, allow_unused=True)[0]

def _try_loss(f, name, args, kwargs, tolerance, slope_hint):
    "Compare a loss with its reference: values, gradients, and that the input is left alone"
    ref,copies = _LOSS_REFERENCES[name],[a.clone() for a in args]
    has_slope = name != 'accuracy'
    x,want_x = args[0].clone().requires_grad_(has_slope),args[0].clone().requires_grad_(has_slope)
    want = ref(want_x, *args[1:], **kwargs)
    got = f(x, *copies[1:], **kwargs)
    given = tuple(args) if not kwargs else f"{'; '.join(brief(a, 40) for a in args)}; " + ', '.join(f'{k}={brief(v)}' for k,v in kwargs.items())
    same(got, want, given, hint=_loss_hint(name, args) if kwargs in ({}, dict(dim=-1)) else '', **tolerance)
    if any(not torch.equal(a, b) and not a.isnan().any() for a,b in zip((x.detach(), *copies[1:]), args)):
        raise Mismatch('it changed its input', given, hint='An operation whose name ends in `_` works in place: use the one without.')
    if not has_slope: return
    slope = _gradient(got, x)
    if want.numel() and slope is None:
        raise Mismatch('the result has no gradient', given, hint='Do not take numbers out of the tensors: no `.item()`, no `.detach()` of the result.')
    if want.numel(): same(slope, _gradient(want, want_x), given, hint=f'The values are right, the gradient is not. {slope_hint}', **tolerance)

_Trial = collections.namedtuple('_Trial', 'name title simple run hint')

def _trial(name, title, *args, hint='', simple=False, tolerance=None, **kwargs):
    "A comparison with the reference"
    return _Trial(name, title, simple, lambda f: _try_loss(f, name, args, kwargs, tolerance or {}, hint), hint)

def _refusal(name, title, *args, hint='', simple=False, **kwargs):
    "A call that must raise"
    def run(f):
        try: got = f(*args, **kwargs)
        except Exception: return
        raise Mismatch('it was accepted', args, got)
    return _Trial(name, title, simple, run, hint)

_HALF = (('float16', torch.float16, dict(rtol=1e-2, atol=1e-2)), ('bfloat16', torch.bfloat16, dict(rtol=4e-2, atol=4e-2)),
         ('float64', torch.float64, dict(rtol=1e-10, atol=1e-10)))

def _score_trials(name):
    "Cases for softmax, logsumexp and log_softmax"
    def randn(*shape): return torch.randn(shape, generator=rng(sum(shape)))
    def rows(title, x, hint='', simple=True, **kwargs): return _trial(name, title, x, dim=-1, hint=hint, simple=simple, **kwargs)
    shift = 'Subtract the largest score of each row first: the result is the same, and `exp` has nothing above 0.'
    yield rows('three scores', torch.tensor([[1., 2., 3.]]))
    yield rows('rows, each for itself', randn(3, 4), 'Each row has its own sum: sum along the last dimension with keepdim=True.')
    yield rows('large scores', torch.tensor([[1000., 0.], [99., 100.]]), shift)
    yield rows('very negative scores', torch.tensor([[-300., -301.], [-200., 0.]]), shift)
    yield rows('large scores that lie close together', torch.tensor([[1e4, 1e4+1, 1e4+3]]), 'Subtract the largest first, and (in a softmax) never add it back.')
    yield rows('a score of minus infinity', torch.tensor([[0., 1., -math.inf]]), 'exp(-inf) is 0, so this takes no special care once the largest is subtracted.')
    yield _trial(name, 'down the columns', randn(3, 4), dim=0)
    yield _trial(name, 'the middle dimension', randn(2, 3, 4), dim=1)
    yield _trial(name, 'a single row without a batch', randn(5), dim=0)
    yield rows('no rows at all', randn(0, 4), 'The largest of no rows is no error when taken along the other dimension.', simple=False)
    for text,dtype,tolerance in _HALF: yield rows(text, randn(4, 6).to(dtype), simple=False, tolerance=tolerance)
    yield rows('float16 beyond the range of its exp', torch.tensor([[30., 29.]]).half(), simple=False, tolerance=_HALF[0][2])

def _label_inputs(name, *shape, dtype=torch.float32):
    "Scores (or log probabilities) with 5 classes, and labels, for a batch of `shape`"
    g = rng(len(shape)*10 + sum(shape))
    x = torch.randn(*shape[:1], 5, *shape[1:], generator=g)*2
    if name == 'nll_loss': x = x.log_softmax(1 if shape else 0)
    return x.to(dtype),torch.randint(5, shape, generator=g)

def _label_trials(name):
    "Cases for nll_loss and cross_entropy"
    def data(*shape, **kwargs): return _label_inputs(name, *shape, **kwargs)
    x,t = data(4)
    index = 'A label of -1 would quietly mean the last class: `gather` refuses it, an index in brackets does not.'
    yield _trial(name, 'one item', *data(1), simple=True)
    yield _trial(name, 'four items: their mean', x, t, simple=True, hint='Pick from each row the number at its label, and average them.')
    yield _refusal(name, 'a label of -1 is refused', x, torch.tensor([0, -1, 2, 3]), simple=True, hint=index)
    yield _refusal(name, 'a label above the last class is refused', x, torch.tensor([0, 1, 2, 5]), simple=True)
    yield _trial(name, 'a single item without a batch', *data(), hint='Scores (classes,), label (): the classes are dimension 0 there.')
    for shape in ((4, 3), (2, 3, 2)):
        yield _trial(name, f'scores ({shape[0]}, 5, …), labels {shape}', *data(*shape), hint='The classes are dimension 1, wherever the rest is.')
    yield from _option_trials(name, data)
    for text,dtype,tolerance in _HALF: yield _trial(name, text, *data(6, dtype=dtype), tolerance=tolerance)
    for reduction in ('mean', 'sum', 'none'):
        yield _trial(name, f'an empty batch, {reduction}', *data(0), reduction=reduction, hint='The mean of nothing is nan, its sum 0.')
    yield _refusal(name, 'a column of labels is refused', x, t.unsqueeze(1), hint='Compare the shapes first: an index that broadcasts picks a table.')
    yield _refusal(name, 'labels as floats are refused', x, t.float())
    yield _refusal(name, 'too few labels are refused', x, t[:3])
    yield _refusal(name, 'an unknown reduction is refused', x, t, reduction='avg')
    yield _refusal(name, 'a weight for too few classes is refused', x, t, weight=torch.ones(4))

def _option_trials(name, data):
    "Cases for reduction, weight, ignore_index and their combinations"
    weight = torch.tensor([1., 0.5, 3., 2., 0.1])
    for reduction in ('sum', 'none'): yield _trial(name, f'reduction={reduction!r}', *data(4), reduction=reduction)
    yield _trial(name, 'weight', *data(6), weight=weight, hint='The mean is divided by the sum of the weights of the labels, not by their number.')
    skip = 'Ignored items are 0 in the sum and are not counted in the mean.'
    for shape in ((6,), (4, 3)):
        x,t = data(*shape)
        t = t.clone()
        t.view(-1)[1::2] = -100
        yield _trial(name, f'labels of -100 do not count, labels {shape}', x, t, ignore_index=-100, hint=skip)
        for reduction in ('mean', 'sum', 'none'):
            yield _trial(name, f'ignore_index=2, weight, {reduction}, labels {shape}', *data(*shape), ignore_index=2, weight=weight, reduction=reduction, hint=skip)
    yield _trial(name, 'all labels ignored', data(3)[0], torch.full((3,), -100), ignore_index=-100, hint='The mean of nothing is nan.')

def _soft_trials(name, data):
    "Cases for label smoothing and for probabilities as targets"
    weight = torch.tensor([1., 0.5, 3., 2., 0.1])
    for shape in ((), (6,), (4, 3)):
        x,t = data(*shape)
        p = (x*0.5+1).flip(0).softmax(1 if shape else 0)
        for kwargs in ({}, dict(weight=weight), dict(reduction='sum')):
            what = ''.join(f', {k}' for k in kwargs)
            yield _trial(name, f'label_smoothing{what}, labels {shape}', x, t, label_smoothing=0.2, **kwargs,
                         hint='1-ε of the loss of the label, and ε/classes of that of each class, weighted by the class.')
            yield _trial(name, f'probabilities{what}, shape {tuple(p.shape)}', x, p, **kwargs, hint='Minus the sum of probability times log softmax, for each item.')
            yield _trial(name, f'probabilities and label_smoothing{what}, shape {tuple(p.shape)}', x, p, label_smoothing=0.2, **kwargs)
    x,t = data(6)
    yield _trial(name, 'label_smoothing and ignored labels', x, t, label_smoothing=0.2, ignore_index=int(t[0]), weight=weight)
    yield _refusal(name, 'integers in place of probabilities are refused', x, F.one_hot(t, 5))
    yield _refusal(name, 'label_smoothing above 1 is refused', x, t, label_smoothing=1.5)

def _cross_entropy_trials(name):
    "Cases for cross_entropy: those of nll_loss, extreme scores, and soft targets"
    shift = 'Subtract the largest score of each row first; and never take the logarithm of a probability that may be 0.'
    first,*rest = _label_trials(name)
    yield first
    yield _trial(name, 'scores of zero: log of the number of classes', torch.zeros(2, 5), torch.tensor([0, 4]), simple=True)
    yield _trial(name, 'large scores', torch.tensor([[1000., 0.], [500., 600.]]), torch.tensor([0, 0]), simple=True, hint=shift)
    yield _trial(name, 'sure and wrong', torch.tensor([[0., 200.], [-300., 0.]]), torch.tensor([0, 0]), simple=True, hint=shift)
    yield from rest
    yield from _soft_trials(name, lambda *shape: _label_inputs(name, *shape))

def _pair_inputs(name, *shape):
    "Predictions, and targets of the same shape"
    g = rng(sum(shape))
    x,t = (torch.randn(shape, generator=g)*2 for _ in range(2))
    return x,(t > 0).float() if name == 'bce_with_logits' else t

def _pair_trials(name):
    "Cases for bce_with_logits and mse"
    yield _trial(name, 'three numbers', *_pair_inputs(name, 3), simple=True)
    yield _trial(name, 'a table: the mean of all', *_pair_inputs(name, 4, 3), simple=True)
    if name == 'bce_with_logits': yield from _bce_trials(name)
    for reduction in ('sum', 'none'): yield _trial(name, f'reduction={reduction!r}', *_pair_inputs(name, 4, 3), reduction=reduction)
    yield _trial(name, 'a single number', *_pair_inputs(name))
    for reduction in ('mean', 'sum', 'none'):
        yield _trial(name, f'an empty batch, {reduction}', *_pair_inputs(name, 0, 3), reduction=reduction, hint='The mean of nothing is nan, its sum 0.')
    for text,dtype,tolerance in _HALF: yield _trial(name, text, *(a.to(dtype) for a in _pair_inputs(name, 4, 3)), tolerance=tolerance)
    yield _refusal(name, 'an unknown reduction is refused', *_pair_inputs(name, 3), reduction='avg')

def _bce_trials(name):
    "What only binary cross entropy has to survive"
    grow = 'Write it as (1-t)*x + log(1+exp(-x)), and see to it that `exp` only gets negative numbers.'
    big,t = torch.tensor([-1000., -200., 200., 1000.]),torch.tensor([1., 0., 1., 0.])
    yield _trial(name, 'large scores', big, t, simple=True, hint=grow)
    yield _trial(name, 'large scores that are right', big, 1-t, simple=True, hint=grow)
    yield _trial(name, 'scores of exactly 0', torch.zeros(2), torch.tensor([0., 1.]), simple=True,
                 hint='The slope at 0 is sigmoid(0)-t. An abs and a clamp have a corner there: choose the side by one `where`, for both parts.')
    x,t = _pair_inputs(name, 4, 3)
    yield _trial(name, 'targets between 0 and 1', x, torch.rand(4, 3, generator=rng()), simple=True)
    pos = torch.tensor([1., 5., 0.2])
    for reduction in ('mean', 'sum', 'none'):
        yield _trial(name, f'pos_weight, {reduction}', x, t, pos_weight=pos, reduction=reduction,
                     hint='Only the part of a yes is multiplied; the mean is divided by the number of scores.')
        yield _trial(name, f'weight, {reduction}', x, t, weight=torch.rand(4, 1, generator=rng()), reduction=reduction)
    yield _refusal(name, 'another shape is refused', x, t[0], hint='Compare the shapes before anything broadcasts.')

def _accuracy_trials(name):
    "Cases for accuracy"
    for n in (1, 4, 7): yield _trial(name, f'{n} rows', *_label_inputs(name, n), simple=True)
    yield _trial(name, 'all right', torch.eye(5), torch.arange(5), simple=True)
    yield _trial(name, 'scores (4, 5, 3), labels (4, 3)', *_label_inputs(name, 4, 3), hint='The classes are dimension 1.')
    yield _trial(name, 'no rows', *_label_inputs(name, 0))

_LOSS_TRIALS = dict(softmax=_score_trials, logsumexp=_score_trials, log_softmax=_score_trials, nll_loss=_label_trials, cross_entropy=_cross_entropy_trials,
                    bce_with_logits=_pair_trials, mse=_pair_trials, accuracy=_accuracy_trials)

def _loss_functions(impl, name):
    "The functions to check, by our names for them"
    theirs = {v:k for k,v in _LOSS_NAMES.items()}
    wanted = [name] if isinstance(name, str) else list(name or _LOSS_NAMES)
    wanted = [theirs.get(n, n) for n in wanted]
    if unknown := [n for n in wanted if n not in _LOSS_NAMES]: raise ValueError(f"name must be among {', '.join(_LOSS_NAMES)}; got {unknown[0]!r}")
    if callable(impl):
        own = theirs.get(getattr(impl, '__name__', ''), getattr(impl, '__name__', ''))
        if not name and own not in _LOSS_NAMES: raise ValueError(f"which loss is it? name must be one of {', '.join(_LOSS_NAMES)}")
        if name and len(wanted) > 1: raise ValueError(f'one function, but {len(wanted)} names; pass a dictionary of functions')
        return {wanted[0] if name else own: impl}
    held = impl if isinstance(impl, Mapping) else {n: getattr(impl, n) for n in dir(impl) if n in _LOSS_NAMES or n in theirs}
    found = {n: held.get(n, held.get(_LOSS_NAMES[n])) for n in wanted if n in held or _LOSS_NAMES[n] in held}
    if not found or name and len(found) < len(wanted):
        raise ValueError(f"impl must be a function or hold {', '.join(wanted)}; it holds {', '.join(found) or 'none of them'}")
    return found

def check_losses(
    impl,              # Your function; or a module, dictionary or object that holds several
    name=None,         # Which loss it is, as 'cross_entropy'; or which ones of `impl`; by default by their names
    simple:bool=False, # Only rows of scores and no options?
    limit:float=10.    # Seconds that one case may take
)->Report:             # ✓ or ✗ for each case
    "Check losses against PyTorch's: values, gradients, options, extreme and bad input"
    functions = _loss_functions(impl, name)
    def case(trial):
        title = trial.title if len(functions) == 1 else f'{trial.name}: {trial.title}'
        return Case(title, lambda fs: trial.run(fs[trial.name]), trial.hint)
    cases = [case(t) for n in functions for t in _LOSS_TRIALS[n](n) if t.simple or not simple]
    return run_cases(functions, cases, ', '.join(functions), limit)

def _topk_case(title, n, classes, k, hint=''):
    def run(f):
        g = rng(n)
        x,t = torch.randn(n, classes, generator=g),torch.randint(classes, (n,), generator=g)
        place = (x > x.gather(1, t.unsqueeze(1))).sum(1)  # how many classes come before the label
        got = f(x.clone(), t.clone()) if k is None else f(x.clone(), t.clone(), k)
        want = (place < (k or 3)).float().mean()
        same(got, want, (x, t) if k is None else f'{brief(x, 40)}; {brief(t, 40)}; k={k}', hint=_topk_hint(x, t, k or 3, place))
    return Case(title, run, hint)

def _topk_hint(x, t, k, place):
    "Name the usual mistake"
    n = len(t)
    mistakes = {'This is the number of rows, not their share.': (place < k).float().sum(),
                'Divided by k as well: is it the mean over all comparisons? A row is right if any of its k is.': (place < k).float().mean()/k,
                'This counts only the k-th place: any of the first k will do.': (place == k-1).float().mean(),
                'Are these the smallest ones?': (place >= x.shape[1]-k).float().mean(),
                'This is the plain accuracy, with k=1.': (place == 0).float().mean()}
    return lambda got,want: next((text for text,m in mistakes.items() if n and not difference(got, m)), '')

def check_topk(
    f,              # Your function: takes `out` of shape (n,classes), `yb` of shape (n,) and `k`
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a top-k accuracy"
    cases = [_topk_case('k=1 is accuracy', 20, 10, 1), _topk_case('k=2', 30, 10, 2, 'A row is right if any of its two largest is at the label.'),
             _topk_case('without k it is 3', 40, 10, None), _topk_case('k=5 of 8 classes', 33, 8, 5),
             _topk_case('k of all classes: always right', 6, 4, 4), _topk_case('one row', 1, 10, 3)]
    return run_cases(f, cases, 'top-k accuracy', limit)
