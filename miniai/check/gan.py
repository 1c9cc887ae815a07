"Checks of lesson 34_gan: how many kinds a generator draws, what lies between, how steep a critic is"
import math
import torch
from torch import nn
from .kit import Case, check, require, rng, same

def _number(got):
    try: return float(got.detach() if isinstance(got, torch.Tensor) else got)
    except (TypeError, ValueError, RuntimeError): pass
    require(False, f'a {type(got).__name__} came, not a number', got=got,
            hint='Is there a `return`?' if got is None else 'One number is asked for: is a sum missing?')

@check('variety')
def check_variety(f):  # Called with a tensor of counts
    "Check an effective number of kinds"
    def case(name, counts, hint):
        p = torch.tensor(counts, dtype=torch.float64)/sum(counts)
        h = -torch.special.xlogy(p, p).sum().item()
        def run(f):
            given = torch.tensor(counts)
            got = _number(f(given))
            require(given.equal(torch.tensor(counts)), 'it changed the counts', hint='Work on a new tensor.')
            same(got, math.exp(h), given=f'counts {counts}', rtol=1e-4, atol=1e-6, mistakes={
                '0·log 0 is nan for a computer: leave the zeros out, or use torch.special.xlogy.': math.nan,
                'This is H itself: e to its power is asked for.': h, 'The sign of H is wrong.': math.exp(-h),
                'This is a power of 2: with a natural logarithm, e belongs to it.': 2**h,
                'With a logarithm to base 2, 2 is raised to H, and not e.': math.exp(h/math.log(2)),
                'With a logarithm to base 10, 10 is raised to H.': math.exp(h/math.log(10)),
                'This is how many kinds there are at all; how often each is drawn must count.': len(p[p > 0]),
                'This is the mean over the kinds; H is a sum.': math.exp(h/len(p)),
                'H is made of shares, not of counts: divide by their sum.':
                    lambda: math.exp(-sum(c*math.log(c) for c in counts if c))})
        return Case(name, run, hint)
    yield case('evenly', [100]*10, 'Ten kinds, equally often: 10. Make shares of the counts first.')
    yield case('three of ten', [50, 0, 0, 50, 0, 0, 0, 100, 0, 0], 'Kinds that are not drawn add nothing.')
    yield case('one is drawn most of the time', [910, *[10]*9], 'The rare ones add little.')

def _generator():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 12),
                         nn.Tanh(), nn.Unflatten(1, (1, 3, 4)))

@check('walk')
def check_walk(f):  # Called with a generator, two noises and a number
    "Check pictures on the way from one noise to another"
    def case(name, n, hint):
        def run(f):
            net,ends = _generator(),torch.randn(2, 6, generator=rng(n))
            start,end = ends.clone()
            got = f(net, start, end, n)
            require(isinstance(got, torch.Tensor), 'it must be one tensor', got=got,
                    hint='Is there a `return`?' if got is None else 'One tensor: torch.stack or torch.cat.')
            share = torch.linspace(0, 1, n)[:,None]
            def at(share):
                with torch.no_grad(): return _generator().eval()(start + share*(end - start))
            first,last = at(torch.tensor([[0.], [1.]]))
            same(got, at(share), given=f'n={n}', rtol=1e-4, atol=1e-5, mistakes={
                'It goes from the end to the start.': lambda: at(1 - share),
                'The last picture is not that of `end`: n pictures have n-1 steps between them.':
                    lambda: at(torch.arange(n)[:,None]/n),
                'The first picture is not that of `start`.': lambda: at(torch.arange(1, n+1)[:,None]/n),
                'Go through the noises: these are mixtures of two pictures.':
                    first + share[:,:,None,None]*(last - first),
                'There is an axis too many: torch.cat joins batches of one.': lambda: at(share)[:,None]})
            require(not got.requires_grad, 'it carries a graph', hint='Work under `torch.no_grad()`.')
            require(torch.stack([start, end]).equal(ends), 'it changed the noise', hint='No `start += …`.')
        return Case(name, run, hint)
    yield case('two pictures', 2, 'The generator takes a batch of rows: the shares as a column, '
               '`linspace(0, 1, n)[:,None]`. And is `generator.eval()` called first?')
    yield case('eleven', 11, 'torch.linspace(0, 1, n) are the shares of the way, with both ends.')
    def as_before(f):
        for mode in True, False:
            net = _generator().train(mode)
            net[1].eval()  # frozen, whatever the mode of the others
            before = [m.training for m in net.modules()]
            f(net, torch.zeros(6), torch.ones(6), 3)
            same([m.training for m in net.modules()], before, given='the modes of its modules')
    yield Case('the generator as before', as_before,
               'Note the `training` of each of its modules, and put it back at the end.')

@check('steepness')
def check_steepness(f):  # Called with a critic and pictures
    "Check the mean squared length of a critic's gradient at pictures"
    def critic(seed, linear=False):
        torch.manual_seed(seed)
        if linear: return nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 1))
    def slopes(net, x):
        x = x.detach().clone().requires_grad_()
        return torch.autograd.grad(net(x).sum(), x, create_graph=True)[0].flatten(1)
    def case(name, n, linear, hint):
        def run(f):
            net,x = critic(n, linear),torch.randn(n, 1, 3, 4, generator=rng(n))
            given,got,g = x.clone(),f(net, x),slopes(net, x)
            lengths = (g**2).sum(1)
            same(torch.tensor(_number(got)), lengths.mean(), rtol=1e-4, atol=1e-6, mistakes={
                'The mean of the scores has n times smaller gradients: take their sum.': lengths.mean()/n**2,
                'This is the length; its square is asked for: leave the root out.': lengths.sqrt().mean(),
                'The mean over pixels: add up the pixels of a picture, then the mean.': (g**2).mean(),
                'This is a sum over the pictures: take the mean.': lengths.sum(),
                'Squares first, then the sum: (g**2).sum(…).': (g.sum(1)**2).mean()})
            require(net.training, "the critic's mode is not as it was", hint='Leave its mode alone.')
            require(x.equal(given) and not x.requires_grad, '`real` is not as it was',
                    hint='Work on `real.detach().clone().requires_grad_()`.')
            require(net[1].weight.grad is None, 'the critic has gradients now',
                    hint='backward() leaves them in the weights; torch.autograd.grad does not.')
        return Case(name, run, hint)
    yield case('a straight line', 1, True, 'A copy of `real` needs requires_grad_() before the critic sees '
               'it, and `grad` gives a tuple. Here the answer is the sum of the squared weights.')
    yield case('several pictures', 5, True, 'The gradient of the sum of all scores holds that of each.')
    yield case('a critic with a bend', 6, False, 'Now the gradient differs from picture to picture.')
    def trains(f):
        net,other,x = critic(7),critic(7),torch.randn(4, 1, 3, 4, generator=rng())
        got = f(net, x)
        require(getattr(got, 'requires_grad', 0), 'no backward', hint='create_graph=True; keep it a tensor.')
        got.backward()
        (slopes(other, x)**2).sum(1).mean().backward()
        same(net[1].weight.grad, other[1].weight.grad, given="the critic's weights", rtol=1e-3)
    yield Case('backward reaches the critic', trains, 'Pass create_graph=True.')
