"Checks of lesson 23_augment: mixup, a map about another place, another light for each picture"
from functools import partial
import torch
from .kit import Case, check, require, rng, same

def _pictures(n=6): return torch.randn(n, 2, 5, 7, generator=rng(n))
def _is_tensor(got): require(isinstance(got, torch.Tensor), f'{got!r:.30} came', hint='`return` one tensor.')
def _untouched(x, was): same(x, was, 'what came in, afterwards', 'It was written on: make new tensors.')

def _mixed(y, lam, other, x=_pictures(), add=True):
    "The answer, or, if 1-lam is not added, what a second write makes of one label"
    share,rows,targets = lam[:, None, None, None],torch.arange(len(y)),torch.zeros(len(y), 10)
    targets[rows, y] = lam
    targets[rows, y[other]] = 1-lam + add*targets[rows, y[other]]
    return share*x[:len(y)] + (1-share)*x[other],targets

@check('mixup')
def check_mixup(mixup):  # `mixup(x, y, lam, other)`
    "Check blended pictures, and their targets"
    lams,labels = torch.tensor([0.9, 0.6, 0.25, 1., 0., 0.5]),torch.tensor([7, 3, 3, 0, 9, 7])
    def run(mixup, which, other):
        n,other = len(other),torch.tensor(other)
        x,y,lam = _pictures()[:n],labels[:n].clone(),lams[:n].clone()
        got = mixup(x, y, lam, other.clone())
        is_pair = isinstance(got, (tuple, list)) and len(got) == 2
        require(is_pair, 'two things are expected: pictures and targets', hint='return pictures, targets')
        _untouched([x, y, lam], [_pictures()[:n], labels[:n], lams[:n]])
        again,one,shifted = _mixed(y, lam, other, add=False),lam[:1].expand(n),torch.arange(n).roll(1)
        wrong = [('The shares are the wrong way round: `lam` is mine.', _mixed(y, 1-lam, other)),
                 ('Both labels may be the same: *add* 1-lam to what is there.', again),
                 ('One `lam` for all: each picture has its own, (n, 1, 1, 1).', _mixed(y, one, other)),
                 ('`x[other]` and `y[other]` are the ones meant.', _mixed(y, lam, shifted))]
        given,mistakes = f'lam {lam.tolist()}, other {other.tolist()}',{hint: w[which] for hint,w in wrong}
        same(got[which], _mixed(y, lam, other)[which], given, mistakes=mistakes)
    for name,other in {'': [1, 2, 0], ', some with one label': [1, 0, 1, 5, 2, 3]}.items():
        yield Case(f'pictures{name}', partial(run, which=0, other=other),
                   'lam[:, None, None, None] fits x, and lam[:, None] the targets.')
        yield Case(f'targets{name}', partial(run, which=1, other=other),
                   'Floats of the shape (n, 10), zero but at y and at y[other].')

def _move(right, down): return torch.tensor([[1., 0, right], [0, 1, down], [0, 0, 1]])

@check('about another place')
def check_about(about):  # `about(m, right, down)`
    "Check matrices that turn and zoom about a place"
    def run(about, m, right, down):
        was,there,back = m.clone(),_move(right, down),_move(-right, -down)
        got = about(m, right, down)
        _is_tensor(got)
        _untouched(m, was)
        mistakes = {'The two moves have changed places, or both their signs: a matrix that moves the '
                    '*picture* by (right, down) has a minus before both.': back @ m @ there,
                    'right is the first coordinate, down the second.':
                    _move(down, right) @ m @ _move(-down, -right),
                    'It goes to the middle, and never back: a move on either side of `m`.': m @ back,
                    'One move alone: it takes two, to the middle and back.': there @ m,
                    'One move alone, and of the wrong sign: it takes two.': back @ m,
                    'Both moves go the same way.': there @ m @ there}
        same(got, there @ m @ back, f'the place {right, down}', mistakes=mistakes, atol=1e-5)
    def stays(about):
        got = about(double.clone(), 0.5, -0.2)
        _is_tensor(got)
        place = torch.tensor([0.5, -0.2, 1.])
        same(got @ place, place, 'where to look for (0.5, -0.2), when all is twice as large', atol=1e-5)
    double,maps = torch.eye(3)*torch.tensor([0.5, 0.5, 1]),torch.eye(3).repeat(4, 1, 1)
    quarter = torch.tensor([[0.25, 0, 0.1], [0, 0.25, 0.3], [0, 0, 1]])
    maps[:, :2] = torch.randn(4, 2, 3, generator=rng(1))
    hint = 'Three changes of the picture: to the middle, m, back. The last one stands at the right.'
    middle = partial(run, m=maps[0], right=0., down=0.)
    yield Case('about the middle', middle, 'There it is `m`, with the moves of its own.')
    yield Case('four times as large, and moved', partial(run, m=quarter, right=0.5, down=-0.2), hint)
    yield Case('the place stays where it is', stays, hint)
    yield Case('any map', partial(run, m=maps[1], right=-0.3, down=0.7), hint)
    yield Case('a batch of maps', partial(run, m=maps, right=0.1, down=0.4), '`@` takes a batch, too.')

@check('another light')
def check_rand_light(rand_light):  # `rand_light(x, contrast, brightness, generator=None)`
    "Check two draws for each picture: a factor, and a number that is added"
    def fitted(rand_light):
        "Factor and addend of each picture, from what comes out"
        x,was = _pictures(1600) + 0.5,_pictures(1600) + 0.5
        got = rand_light(x, 0.3, 0.2, rng(0))
        _is_tensor(got)
        _untouched(x, was)
        same(got.shape, x.shape, f'x of the shape {tuple(x.shape)}', 'Draws of the shape (n, 1, 1, 1).')
        flat,out = x.flatten(1),got.flatten(1)
        centred = flat - flat.mean(1, keepdim=True)
        factor = (centred*out).sum(1)/centred.pow(2).sum(1)
        added = out.mean(1) - factor*flat.mean(1)
        same(out, factor[:, None]*flat + added[:, None], '1600 pictures', atol=1e-4,
             hint='No clamp; all pixels and channels of a picture get the same two numbers: (n, 1, 1, 1).')
        return dict(factor=factor, addend=added)
    def own(rand_light):
        for what,got in fitted(rand_light).items():
            differ = len(got.mul(1e4).round().unique()) > 100
            require(differ, f'pictures share their {what}', hint='torch.rand(len(x), 1, 1, 1, …)')
    def bounds(rand_light):
        for (what,got),(low,high) in zip(fitted(rand_light).items(), ((0.7, 1.3), (-0.2, 0.2))):
            seen,evenly = got.quantile(torch.linspace(0, 1, 5)),torch.linspace(low, high, 5)
            same(seen, evenly, f'least, quartiles and largest {what} of 1600', rtol=0, atol=(high-low)*0.06,
                 hint=f'x*factor + addend, no more, in this order; each {what} evenly from {low} to {high}: '
                      'low + (high-low)*torch.rand(…)')
        both = torch.corrcoef(torch.stack([*fitted(rand_light).values()]))[0, 1].abs().item()
        require(both < 0.3, 'factor and addend go up and down together', hint='Two draws, one for each.')
    def nothing(rand_light): same(rand_light(_pictures(), 0., 0., rng(1)), _pictures(), 'both bounds 0')
    def repeats(rand_light):
        state = torch.get_rng_state()
        first,second = (rand_light(_pictures(), 0.3, 0.2, rng(5)) for _ in range(2))
        hint = 'Both draws come from `generator`: torch.rand(…, generator=generator). None is fine, too.'
        same(second, first, 'twice, with generators of one seed', hint)
        same(torch.get_rng_state(), state, "the state of PyTorch's own generator", hint)
        first,second = (rand_light(_pictures(), 0.3, 0.2) for _ in range(2))
        require(not torch.equal(first, second), 'twice the same light', hint='For None no seed of yours.')
    yield Case('one light for a picture', fitted, 'x*factor + addend, both of the shape (n, 1, 1, 1).')
    yield Case('each picture its own', own)
    yield Case('bounds', bounds)
    yield Case('no change', nothing, 'A factor of 1 and an addend of 0.')
    yield Case('from the generator', repeats)
