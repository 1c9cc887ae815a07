"Checks of lesson the drawn data"
import math
import torch
from .kit import Case, Mismatch, Report, difference, require, rng, run_cases, same


def _segment_distances(px, py, ax, ay, bx, by):
    "The distance of a point to a segment, and its usual mistakes as pairs of number and hint"
    dx,dy,length2 = bx-ax,by-ay,(bx-ax)**2+(by-ay)**2
    t = ((px-ax)*dx+(py-ay)*dy)/length2 if length2 else 0.
    def to(t): return math.hypot(px-ax-t*dx, py-ay-t*dy)
    held = min(max(t, 0.), 1.)
    return to(held),[(to(t), 'This is the distance to the endless line: hold `t` between 0 and 1.'),
                     (min(to(0.), to(1.)), 'This is the distance to the nearer end: the closest place can lie between the ends.'),
                     (to(held)**2, 'This is the square of the distance: take the root.')]

def _segment_case(name, *numbers, hint=''):
    want,mistakes = _segment_distances(*numbers)
    def named(got, want): return next((h for number,h in mistakes if not difference(got, number)), hint)
    def run(f): same(f(*numbers), want, given='p=({:g},{:g}) a=({:g},{:g}) b=({:g},{:g})'.format(*numbers), hint=named)
    return Case(name, run, hint)

def check_segment_distance(
    f,              # Your function of px, py, ax, ay, bx, by
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check the distance of a point to a segment"
    g = rng(1)
    cases = [_segment_case('a point on the segment', 5, 0, 0, 0, 10, 0),
             _segment_case('beside a level segment', 5, 3, 0, 0, 10, 0),
             _segment_case('beside an upright one', 1, 5, 4, 0, 4, 10),
             _segment_case('before its start', -3, 4, 0, 0, 10, 0, hint='Where is the closest place when `t` comes out below 0?'),
             _segment_case('beyond its end', 13, 4, 0, 0, 10, 0, hint='Where is the closest place when `t` comes out above 1?'),
             _segment_case('a slanted one', 10, 8, 8, 22, 22, 8),
             _segment_case('a dot, with no length', 3, 4, 0, 0, 0, 0, hint='Both ends are one point: `t` would be 0/0. Any `t` will do.'),
             *(_segment_case(f'numbers by chance, {i+1}', *(torch.rand(6, generator=g)*28).tolist()) for i in range(5))]
    return run_cases(f, cases, 'distance to a segment', limit)

def _climb_case(name, x, y, amount, hint=''):
    def run(f):
        x0,y0 = x.clone(),y.clone()
        got = f(x, y, amount)
        require(x.equal(x0) and y.equal(y0), 'it changed its input', hint='Make new tensors: `y - …` and not `y -= …`.')
        mistakes = {'The hill goes down: up is a smaller `y`.': (x0,y0+amount*(x0-14)),
                    'This moves points sideways, as `_slant` does: `y` should change, by the place in `x`.': (x0-amount*(y0-14),y0),
                    'This climbs from the left edge: only what is right of the middle, 14, goes up.': (x0,y0-amount*x0),
                    'The new `x` and `y` have changed places.': (y0-amount*(x0-14),x0)}
        def named(got, want): return next((h for h,wrong in mistakes.items() if not difference(got, wrong)), hint)
        same(got, (x0,y0-amount*(x0-14)), given=(x0, y0, amount), hint=named)
    return Case(name, run, hint)

def check_climb(
    f,              # Your function of x, y, amount
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a function that lets points climb to the right"
    def point(x, y): return torch.full((1,1,2), float(x)),torch.full((1,1,2), float(y))
    def amount(*numbers): return torch.tensor(numbers).view(-1, 1, 1)
    g = rng(2)
    x,y = torch.rand(5, 7, 2, generator=g)*28,torch.rand(5, 7, 2, generator=g)*28
    cases = [_climb_case('an amount of 0 changes nothing', *point(20, 6), amount(0.), 'Return both: `return x,y`.'),
             _climb_case('the middle stays', *point(14, 6), amount(0.5)),
             _climb_case('a point on the right goes up', *point(20, 10), amount(0.5)),
             _climb_case('a point on the left goes down', *point(4, 10), amount(0.5)),
             _climb_case('many images, an amount for each', x, y, amount(-1., -0.5, 0., 0.5, 1.), 'Let `amount` (n,1,1) broadcast over (n,s,2).')]
    return run_cases(f, cases, 'climb', limit)

def _drawn_styles(styles):
    "The ink of each style with a thick pen, (n,784), moved to a mean of 0 and a length of 1"
    from miniai.tools import drawn
    ink = torch.cat([drawn.inked(x[None], y[None], 2.) for x,y,_ in map(drawn.segments, styles)]).flatten(1)
    ink = ink-ink.mean(1, keepdim=True)
    return ink/ink.norm(dim=1, keepdim=True)

def _styles_readable(styles):
    from miniai.tools import drawn
    for style in styles:
        try: x,y,_ = drawn.segments(style)
        except Exception as e: raise Mismatch(f"it can't be read ({type(e).__name__})", given=style) from e
        low,high = min(x.min(), y.min()).item(),max(x.max(), y.max()).item()
        require(0 <= low and high <= 28, f'it leaves the paper: its numbers go from {low:g} to {high:g}', given=style, hint='Keep all points within 0 and 28.')

def _styles_inked(styles):
    from miniai.tools import drawn
    for style in styles:
        x,y,_ = drawn.segments(style)
        share = drawn.inked(x[None], y[None], 1.2).mean().item()
        require(0.03 < share < 0.35, f'{share:.0%} of the paper is ink', given=style, hint='The digits have from 6% to 20%: make it longer or shorter.')

def _styles_new(styles):
    from miniai.tools import drawn
    names,known = zip(*((name, style) for name,ways in drawn.DIGITS.items() for style in ways))
    alike,which = (_drawn_styles(styles)@_drawn_styles(known).T).max(1)
    for style,a,i in zip(styles, alike.tolist(), which.tolist()):
        require(a < 0.8, f'it is a {names[i]}: {a:.0%} of the ink goes together', given=style, hint='A class must be told from the others: change its shape.')

def _styles_differ(styles):
    alike = _drawn_styles(styles)@_drawn_styles(styles).T
    alike.fill_diagonal_(0)
    require(alike.max() < 0.98, 'two of its styles are the same', given=' | '.join(styles), hint='Other people write it another way: how?')

def check_styles(
    styles,         # Your list of texts, as in `DIGITS`
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check the styles of a class of your own"
    def several(styles):
        texts = isinstance(styles, (list, tuple)) and all(isinstance(o, str) for o in styles)
        require(texts and len(styles) > 1, 'it is no list of two texts or more', got=styles, hint="Like this: ['14,6 14,22 + 8,14 20,14', '…'].")
    cases = [Case('a list of styles', several),
             Case('each can be read, and lies on the paper', _styles_readable, "Pairs such as 9,5 with blanks between; rounded ones in brackets; ' + ' lifts the pen."),
             Case('neither too little ink nor too much', _styles_inked), Case('none is a digit', _styles_new), Case('they differ', _styles_differ)]
    report = run_cases(styles, cases[:2], 'styles', limit)
    return run_cases(styles, cases, 'styles', limit) if report.ok else report
