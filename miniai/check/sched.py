"Checks of lesson 18_schedules: schedules as functions of the position"
import math
from functools import partial
from .kit import Case, check, require, same

def _case(name, reference, poss, args, hint, mistakes={}):
    def run(f):
        try: sched = f(*args)
        except TypeError as e:
            require(not str(e).startswith(getattr(f, '__qualname__', '?')), str(e), args, hint='It is made '
                    'without the position, which comes later. Is @annealer above the definition?')
            raise
        require(callable(sched), f'{args} gave no function of the position', args, sched,
                hint='Return a function: the position comes later.')
        for pos in poss:
            got = sched(pos)
            require(got is not None, f'it gave None at position {pos}', hint='Is there a `return`?')
            same(float(got), reference(*args, pos), given=f'made with {args}, position {pos}',
                 mistakes={h: partial(wrong, *args, pos) for h,wrong in mistakes.items()})
    return Case(name, run, hint)

def _quarter(start, end, pos): return end + (start-end)*math.cos(math.pi/2*pos)
def _half(start, end, pos): return end + (start-end)*(1 + math.cos(math.pi*pos))/2

@check('annealer')
def check_annealer(
    f,             # Called with start and end, gives a function of the position
    reference=None # A function of start, end and position; by default a quarter of a cosine wave
):
    "Check an annealer against a formula, at the ends and between"
    want = reference or _quarter
    known = {} if reference else {'Right at the ends, wrong between: the angle goes from 0 to a quarter turn '
                                  '(pi/2), not to a half (pi).': _half}
    yield _case('it begins at start', want, [0.], (1., 0.), 'At position 0 it must give `start`.')
    yield _case('it finishes at end', want, [1.], (1., 0.), 'At position 1 it must give `end`.')
    yield _case('between', want, [0.25, 0.5, 0.75], (1., 0.), 'Right at the ends, wrong between.', known)
    yield _case('upwards too', want, [0., 0.5, 1.], (0.1, 0.9),
                'Scale by `start-end` and add `end`; neither is 0 here.')
    yield _case('any start and end', want, [0.1, 0.9], (-2., 3.), 'Neither start nor end is special.')

def _trapezoid(low, high, pos): return low + (high-low)*min(1., pos/0.1, (1-pos)/0.5)

@check('trapezoid')
def check_trapezoid(f):  # Called with a low and a high value, gives a function of the position
    "Check a schedule that goes up for a tenth, stays, and comes down in the second half"
    def case(name, poss, args, hint): return _case(name, _trapezoid, poss, args, hint)
    long = 'the phases are 0.1, 0.4 and 0.5 long.'
    yield case('the ends', [0., 1.], (0., 1.), f'It begins and ends at `low`; {long}')
    yield case('level at the top', [0.1, 0.3, 0.5], (0., 1.), f'At `high` from a tenth to the half: {long}')
    yield case('on the way', [0.05, 0.6, 0.75], (0., 1.), f'Along lines, so use sched_lin; and {long}')
    yield case('other values', [0., 0.05, 0.3, 0.9], (0.01, 0.4),
               'It goes from `low` to `high`, not from 0 to 1.')

def _growing(start, end, n, grow, pos):
    ends = [sum(grow**j for j in range(i)) for i in range(n+1)]
    i = max(i for i in range(n) if ends[i] <= pos*ends[n])
    return _half(start, end, (pos*ends[n] - ends[i])/grow**i)

@check('growing restarts')
def check_restarts(f):  # `f(start, end, n, grow)` gives a function of the position
    "Check cosine descents, each `grow` times as long as the one before"
    def case(name, poss, args, hint): return _case(name, _growing, poss, args, hint, {
        'Each descent is to be `grow` times as long as the one before, not as short.':
        lambda start,end,n,grow,pos: _growing(start, end, n, 1/grow, pos),
        'The descents are not all of one length: each is `grow` times as long as the one before.':
        lambda start,end,n,grow,pos: _growing(start, end, n, 1, pos)})
    yield case('one descent', [0., 0.3, 0.5], (1., 0., 1, 2), 'With n=1 it is sched_cos.')
    yield case('two of one length', [0., 0.3, 0.49, 0.6, 0.9], (1., 0., 2, 1), 'With grow=1 both are of one '
               'length, each from `start` to `end`.')
    yield case('each longer', [0.1, 0.2, 0.4, 0.5, 0.9], (1., 0., 3, 2), 'With n=3 and grow=2 the lengths '
               'are as 1, 2 and 4, each from `start` to `end`.')
    yield case('the end', [1.], (1., 0.2, 3, 2), 'At 1 it is at the end of the last, not at a new start.')
    yield case('other values', [0., 0.1, 0.35, 0.8], (0.4, 0.01, 4, 1.5), 'Neither end nor n is special.')
