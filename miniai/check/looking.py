"Checks of lesson 17_looking: eval mode for a while, and a gradient measured without a trace"
import torch, torch.nn.functional as F
from torch import nn
from .kit import Case, check, require, rng, same

def _model():
    g = rng(3)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Sequential(nn.ReLU(), nn.Linear(5, 3)))
    with torch.no_grad():
        for p in model.parameters(): p.copy_(torch.randn(p.shape, generator=g))
    model[1].eval()  # frozen on purpose
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
    def after(eval_mode):
        model = _model()
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
    def in_eval(eval_mode):
        model = _model().eval()
        with eval_mode(model): pass
        same(_modes(model), [False]*len(_modes(model)), given='a model that was in eval mode before')
    yield Case('a model in eval mode', in_eval, 'It stays in eval mode: what was before comes back.')

@check('gradient norm')
def check_gradient_norm(norm):  # `gradient_norm(model, loss_func, xb, yb)`
    "Check the length of a gradient, and that the model is as it was"
    xb,yb = torch.randn(6, 4, generator=rng(1)),torch.tensor([0, 1, 2, 0, 1, 2])
    def grads_of(model):
        return torch.autograd.grad(F.cross_entropy(model(xb), yb), list(model.parameters()))
    def value(norm):
        grads = grads_of(_model())
        want = sum(g.pow(2).sum() for g in grads).sqrt().item()
        got = norm(_model(), F.cross_entropy, xb, yb)
        require(got is not None, 'it gave None', hint='Is there a `return`?')
        same(float(got), want, mistakes={'The root comes last: of the sum over all parameters.':
                                         sum(g.norm().item() for g in grads),
                                         'That is the square of it: take the root.': want**2})
    yield Case('its value', value, 'Square all gradients of all parameters, add them up, take the root.')
    def again(norm):
        model = _model()
        first,second = (float(norm(model, F.cross_entropy, xb, yb)) for _ in range(2))
        same(second, first, given='asked twice')
    yield Case('asked twice', again,
               'backward() adds to gradients that are there: torch.autograd.grad gives them apart, '
                                     'or set p.grad to None first and put it back.')
    def kept(norm):
        model = _model()
        for p in model.parameters(): p.grad = torch.ones_like(p)
        norm(model, F.cross_entropy, xb, yb)
        require(all(p.grad is not None for p in model.parameters()), 'gradients that were there are gone')
        same([p.grad for p in model.parameters()], [torch.ones_like(p) for p in model.parameters()],
             given='p.grad of each parameter, which was 1 before')
    yield Case('gradients that were there', kept,
               'Keep each p.grad and put it back, or use torch.autograd.grad.')
    def none(norm):
        model = _model()
        norm(model, F.cross_entropy, xb, yb)
        require(all(p.grad is None for p in model.parameters()),
                'the parameters have gradients now, and had none')
    yield Case('no gradients before', none, 'Set p.grad back to None where it was None.')
