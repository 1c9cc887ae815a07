"Checks of lesson 18_schedules"
import math
from .kit import Case, Report, require, run_cases, same


def _positions_case(make, reference, poss, args, name, hint=''):
    def run(f):
        sched = make(f)(*args)
        require(callable(sched), f'{args} gave no function of the position', args, sched, hint='Return a function: the position comes later.')
        for pos in poss: same(float(sched(pos)), reference(*args, pos), given=f'start and end {args}, position {pos}', hint=hint)
    return Case(name, run)

def check_annealer(
    f,              # Called with start and end, gives a function of the position
    reference=None, # A function of start, end and position; by default a quarter of a cosine wave
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check an annealer against a formula, at the ends and between"
    reference = reference or (lambda start, end, pos: end + (start-end)*math.cos(math.pi/2*pos))
    def case(name, poss, args, hint): return _positions_case(lambda f: f, reference, poss, args, name, hint)
    return run_cases(f, [case('it begins at start', [0.], (1., 0.), 'At position 0 it must give `start`.'),
                         case('it finishes at end', [1.], (1., 0.), 'At position 1 it must give `end`.'),
                         case('between', [0.25, 0.5, 0.75], (1., 0.), 'Right at the ends, wrong between: is the angle from 0 to a quarter turn (pi/2), and not to a half (pi)?'),
                         case('upwards too', [0., 0.5, 1.], (0.1, 0.9), 'Scale by `start-end` and add `end`; neither is 0 here.'),
                         case('any start and end', [0.1, 0.9], (-2., 3.), 'Neither start nor end is special.')], 'annealer', limit)

def check_trapezoid(f, limit:float=10.)->Report:
    "Check a schedule that goes up for a tenth, stays, and comes down in the second half"
    def reference(low, high, pos): return low + (high-low)*min(1., pos/0.1, (1-pos)/0.5)
    def case(name, poss, args, hint): return _positions_case(lambda f: f, reference, poss, args, name, hint)
    return run_cases(f, [case('the ends', [0., 1.], (0., 1.), 'It begins and ends at `low`.'),
                         case('level at the top', [0.1, 0.3, 0.5], (0., 1.), 'From a tenth to the half it is at `high`: the phases are 0.1, 0.4 and 0.5 long.'),
                         case('on the way', [0.05, 0.6, 0.75], (0., 1.), 'Along straight lines, so use sched_lin; and the phases are 0.1, 0.4 and 0.5 long.'),
                         case('other values', [0., 0.05, 0.3, 0.9], (0.01, 0.4), 'It goes from `low` to `high`, not from 0 to 1.')], 'trapezoid', limit)
