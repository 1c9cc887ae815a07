"Checks of the tools drawn and clothes"
import math
import torch
from ..tools import drawn
from .kit import Case, Mismatch, check, require, rng, same

def _segment_case(name, *numbers, hint=''):
    px,py,ax,ay,bx,by = numbers
    dx,dy,length2 = bx-ax,by-ay,(bx-ax)**2+(by-ay)**2
    t = ((px-ax)*dx+(py-ay)*dy)/length2 if length2 else 0.
    def to(t): return math.hypot(px-ax-t*dx, py-ay-t*dy)
    want = to(min(max(t, 0.), 1.))
    mistakes = {'This is the distance to the endless line: hold `t` between 0 and 1.': to(t),
                'This is how far the nearer end is: a place between can be closer.': min(to(0.), to(1.)),
                'This is `t`, a share of the way: go there, and measure.': min(max(t, 0.), 1.),
                'This is the square of the distance: take the root.': want**2}
    given = 'p=({:g},{:g}) a=({:g},{:g}) b=({:g},{:g})'.format(*numbers)
    return Case(name, lambda f: same(f(*numbers), want, given, mistakes=mistakes), hint)

@check('distance to a segment')
def check_segment_distance(f):  # Your function of px, py, ax, ay, bx, by
    "Check the distance of a point to a segment"
    yield _segment_case('a point on the segment', 5, 0, 0, 0, 10, 0)
    yield _segment_case('beside a level segment', 5, 3, 0, 0, 10, 0)
    yield _segment_case('beside an upright one', 1, 5, 4, 0, 4, 10)
    yield _segment_case('before its start', -3, 4, 0, 0, 10, 0, hint='What is closest when `t` is below 0?')
    yield _segment_case('beyond its end', 13, 4, 0, 0, 10, 0, hint='What is closest when `t` is above 1?')
    yield _segment_case('a slanted one', 10, 8, 8, 22, 22, 8)
    yield _segment_case('a dot', 3, 4, 0, 0, 0, 0, hint='Both ends are one point, `t` is 0/0: any will do.')
    for i,numbers in enumerate((torch.rand(5, 6, generator=rng(1))*28).tolist(), 1):
        yield _segment_case(f'numbers by chance, {i}', *numbers)

def _climb_case(name, x, y, amount, hint=''):
    def run(f):
        x0,y0 = x.clone(),y.clone()
        got = f(x, y, amount)
        require(x.equal(x0) and y.equal(y0), 'it changed its input', hint='`y - …` and not `y -= …`.')
        mistakes = {'The hill goes down: up is a smaller `y`.': (x0, y0+amount*(x0-14)),
                    'This moves points sideways, as `slant` does: `y` should change, by the place in `x`.':
                        (x0-amount*(y0-14), y0),
                    'This climbs from the left edge: only what is right of the middle, 14, goes up.':
                        (x0, y0-amount*x0),
                    'The new `x` and `y` have changed places.': (y0-amount*(x0-14), x0)}
        same(got, (x0, y0-amount*(x0-14)), (x0, y0, amount), hint, mistakes)
    return Case(name, run, hint)

@check('climb')
def check_climb(f):  # Your function of x, y, amount
    "Check a function that lets points climb to the right"
    def point(x, y): return torch.full((1,1,2), float(x)),torch.full((1,1,2), float(y))
    def amount(*numbers): return torch.tensor(numbers).view(-1, 1, 1)
    g = rng(2)
    x,y = torch.rand(5, 7, 2, generator=g)*28,torch.rand(5, 7, 2, generator=g)*28
    yield _climb_case('an amount of 0 changes nothing', *point(20, 6), amount(0.),
                      'Return both: `return x,y`.')
    yield _climb_case('the middle stays', *point(14, 6), amount(0.5))
    yield _climb_case('a point on the right goes up', *point(20, 10), amount(0.5))
    yield _climb_case('a point on the left goes down', *point(4, 10), amount(0.5))
    yield _climb_case('many images, an amount for each', x, y, amount(-1., -0.5, 0., 0.5, 1.),
                      'Let `amount` (n,1,1) broadcast over (n,s,2).')

def _alike(styles, others):
    "How much of the ink of each style goes together with each of the others, from -1 to 1"
    def ink(texts):
        strokes = [drawn.segments(text)[:2] for text in texts]
        drawings = torch.cat([drawn.inked(x[None], y[None], 2.) for x,y in strokes]).flatten(1)
        return torch.nn.functional.normalize(drawings-drawings.mean(1, keepdim=True))
    return ink(styles)@ink(others).T

@check('styles')
def check_styles(styles):  # Your list of texts, as in `DIGITS`
    "Check the styles of a class of your own"
    def several(styles):
        texts = isinstance(styles, (list, tuple)) and all(isinstance(o, str) for o in styles)
        require(texts and len(styles) > 1, 'it is not a list of two texts or more', got=styles,
                hint="Like this: ['14,6 14,22 + 8,14 20,14', '…'].")
    def readable(styles):
        for style in styles:
            try: x,y,_ = drawn.segments(style)
            except Exception as e:
                raise Mismatch(f"it can't be read ({type(e).__name__})", given=style) from e
            low,high = min(x.min(), y.min()).item(),max(x.max(), y.max()).item()
            require(0 <= low and high <= 28, f'it leaves the paper: it goes from {low:g} to {high:g}', style,
                    hint='Keep all points within 0 and 28.')
            share = drawn.inked(x[None], y[None], 1.2).mean().item()
            require(0.03 < share < 0.35, f'{share:.0%} of the paper is ink', style,
                    hint='The digits have from 6% to 20%: make it longer or shorter.')
    def new(styles):
        readable(styles)
        names,known = zip(*((name, style) for name,ways in drawn.DIGITS.items() for style in ways))
        for style,alike in zip(styles, _alike(styles, known)):
            require(alike.max() < 0.8,
                    f'it is a {names[alike.argmax()]}: {alike.max():.0%} of the ink goes together', style,
                    hint='A class must be told from the others: change its shape.')
        alike = _alike(styles, styles).fill_diagonal_(0)
        require(alike.max() < 0.98, 'two of its styles are the same', ' | '.join(styles),
                hint='Other people write it another way: how?')
    yield Case('a list of styles', several)
    yield Case('each can be read, lies on the paper, has neither too little ink nor too much', readable,
               "Pairs such as 9,5 with blanks between; rounded ones in brackets; ' + ' lifts the pen.")
    yield Case('none is a digit, and they differ', new)
