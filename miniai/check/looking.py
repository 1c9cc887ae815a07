"Checks of lesson 17_looking: eval mode for a while, and two looks at a gradient without a trace"
from functools import partial
from itertools import accumulate
import torch, torch.nn.functional as F
from torch import nn
from .kit import Case, check, require, rng, same

def _model(frozen=True, grad=None):
    g = rng(3)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Sequential(nn.ReLU(), nn.Linear(5, 3)))
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=g)
        p.grad = None if grad is None else torch.full_like(p, grad)
    model[1].train(not frozen)  # frozen on purpose
    return model

def _modes(model): return [m.training for m in model.modules()]

@check('eval mode')
def check_eval_mode(eval_mode):  # `eval_mode(model)`: a context manager
    "Check that all modules are in eval mode inside, and as they were afterwards"
    def inside(eval_mode):
        model = _model()
        with eval_mode(model): got = _modes(model)
        same(got, [False]*len(got), given='m.training for each module, inside the block')
    yield Case('inside', inside, 'model.eval() reaches all modules; then `yield`.')
    def after(eval_mode, in_eval=False):
        model = _model().eval() if in_eval else _model()
        want = _modes(model)
        with eval_mode(model): pass
        same(_modes(model), want, given='m.training for each module, after the block', mistakes={
             'model.train() puts all of them into training mode, the frozen one too: keep the mode of each.':
             [True]*len(want)})
    yield Case('afterwards', after, 'Keep m.training of each of model.modules(), and put it back one by one.')
    def error(eval_mode):
        model = _model()
        want = _modes(model)
        try:
            with eval_mode(model): raise KeyError('in the block')
        except KeyError: pass
        else: require(False, 'the exception of the block was swallowed',
                      hint='Let it go: `finally`, not `except`.')
        same(_modes(model), want, given='after an error in the block')
    yield Case('after an error', error,
               'What comes after the yield is skipped by an error, unless it is in a `finally`.')
    yield Case('a model in eval mode', partial(after, in_eval=True), 'What was before comes back.')

_XB,_YB = torch.randn(6, 4, generator=rng(1)),torch.tensor([0, 1, 2, 0, 1, 2])

def _grads(model): return torch.autograd.grad(F.cross_entropy(model(_XB), _YB), list(model.parameters()))

def _no_trace(look, frozen=True):
    "Cases: what a look at a model with and without gradients leaves as it was"
    def kept(f, grad):
        model,was = (_model(frozen, grad) for _ in range(2))
        look(f, model)
        same([p.grad for p in model.parameters()], [p.grad for p in was.parameters()], given='p.grad of each',
             hint='Keep each p.grad and put it back, None where it was None, or use torch.autograd.grad.')
        same(dict(model.named_parameters()), dict(was.named_parameters()), given='weights', rtol=0, atol=0,
             hint='Adding what was subtracted is off by rounding: keep clones and copy them back.')
        same(dict(model.named_buffers()), dict(was.named_buffers()), given='buffers',
             hint='Batch norm moves its running means in each forward pass: keep the buffers too.')
        same(_modes(model), _modes(was), given='m.training of each',
             hint='Leave the modes alone, or put each back: `eval_mode` of exercise 1 does.')
    yield Case('a model without gradients', partial(kept, grad=None))
    yield Case('gradients that were there', partial(kept, grad=1.))

@check('gradient norm')
def check_gradient_norm(norm):  # `gradient_norm(model, loss_func, xb, yb)`
    "Check the length of a gradient, and that the model is as it was"
    def look(norm, model): return norm(model, F.cross_entropy, _XB, _YB)
    def value(norm):
        grads,got = _grads(_model()),look(norm, _model())
        want = sum(g.pow(2).sum() for g in grads).sqrt().item()
        require(got is not None, 'it gave None', hint='Is there a `return`?')
        same(float(got), want, mistakes={'The root comes last: of the sum over all parameters.':
                                         sum(g.norm().item() for g in grads),
                                         'That is the square of it: take the root.': want**2})
    yield Case('its value', value, 'Square all gradients of all parameters, add them up, take the root.')
    def again(norm):
        model = _model()
        first = float(look(norm, model))
        same(float(look(norm, model)), first, given='asked twice')
    yield Case('asked twice', again, 'backward() adds to gradients that are there: torch.autograd.grad gives '
               'them apart, or set p.grad to None first and put it back.')
    yield from _no_trace(look)

def _after(rate):
    "The loss after a step at the rate"
    model = _model(False)
    for p,g in zip(model.parameters(), _grads(model)): p.data -= rate*g
    return F.cross_entropy(model(_XB), _YB).item()
def _along(rates): return [_after(rate) for rate in rates]

@check('loss along the gradient')
def check_loss_along(along):  # `loss_along(model, loss_func, xb, yb, rates)`
    "Check the losses after one step at several rates, and that the model is as it was"
    rates = [0., 0.1, 0.5, 2.]
    def look(along, model): return along(model, F.cross_entropy, _XB, _YB, rates)
    def value(along, rates, grad=None):
        got = along(_model(False, grad), F.cross_entropy, _XB, _YB, rates)
        require(got is not None, 'it gave None', hint='Is there a `return`?')
        same([float(l) for l in got], _along(rates), given=f'rates {rates}', mistakes={
            'Each step begins where the last one ended: go back to the first weights.':
            _along(list(accumulate(rates))),
            'Uphill: the gradient is subtracted.': _along([-r for r in rates])})
    yield Case('one rate', partial(value, rates=[0.1]), 'Gradient and loss in the mode that the model is in.')
    yield Case('several rates', partial(value, rates=rates), 'For each a step from the same weights.')
    yield Case('old gradients', partial(value, rates=rates, grad=1.), 'backward() adds to what is in p.grad.')
    yield from _no_trace(look, frozen=False)
