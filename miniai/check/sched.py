"Checks of lesson 18_schedules: schedules as functions of the position"
import math
from .kit import Case, check, require, same

def _case(name, reference, poss, args, hint, mistakes=None):
    def run(f):
        try: sched = f(*args)
        except TypeError as e:
            require('argument' not in str(e), str(e), args,
                    hint='It is made with start and end alone; the position comes '
                    'later. Is @annealer above the definition?')
            raise
        require(callable(sched), f'{args} gave no function of the position', args, sched,
                hint='Return a function: the position comes later.')
        for pos in poss:
            known = {h: wrong(*args, pos) for h,wrong in (mistakes or {}).items()}
            same(float(sched(pos)), reference(*args, pos), given=f'start and end {args}, position {pos}',
                 mistakes=known)
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
                                  '(pi/2), not '
                                  'to a half (pi).': _half}
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
    yield case('the ends', [0., 1.], (0., 1.), 'It begins and ends at `low`.')
    yield case('level at the top', [0.1, 0.3, 0.5], (0., 1.),
               'From a tenth to the half it is at `high`: the phases are 0.1, 0.4 and 0.5 long.')
    yield case('on the way', [0.05, 0.6, 0.75], (0., 1.),
               'Along straight lines, so use sched_lin; and the phases are 0.1, 0.4 and 0.5 long.')
    yield case('other values', [0., 0.05, 0.3, 0.9], (0.01, 0.4),
               'It goes from `low` to `high`, not from 0 to 1.')
