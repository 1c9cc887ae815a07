"Checks of lesson 31_replay"
import math
import torch
from .kit import Case, check, require, same

@check('the first that is bad')
def check_first_bad(f):  # A function from (name, tensor) pairs to a name
    "Check that the first number that is none is found"
    def case(name, want, hint, **values):
        pairs = [(k, torch.tensor(v)) for k,v in values.items()]
        bad = [k for k,t in pairs if not t.isfinite().all()]
        nans = [k for k,t in pairs if t.isnan().any()]
        wholly = [k for k,t in pairs if not t.isfinite().any()]
        mistakes = {'The first one, not the last.': bad[-1:],
                    'inf is not a finite number either: torch.isfinite.': nans,
                    'One bad number is enough: any, not all.': wholly}
        mistakes = {hint: names[0] for hint,names in mistakes.items() if names}
        return Case(name, lambda f: same(f(pairs), want, values, mistakes=mistakes), hint)
    nan,inf = math.nan,math.inf
    go_on = 'torch.isfinite(t).all() is False where something is bad; go on where it is True.'
    return [case('all fine', None, 'Nothing bad: None.', x=[1., 2.], y=[0.]),
            case('nan', 'y', go_on, x=[1., 2.], y=[nan, 0.], z=[nan, nan], last=[nan, 0.]),
            case('inf', 'x', 'inf is not a finite number either.', x=[1., -inf], y=[nan, 0.]),
            case('one of many', 'z', go_on, x=[1., 2.], z=[1., 1., nan, 1.], whole=[nan], last=[nan, 0.]),
            case('large numbers', 'y', 'Look at each: a sum can be inf.', x=[3e38, 3e38], y=[nan, 0.]),
            case('whole numbers', 'loss', go_on, labels=[1, 2], loss=[inf])]

@check('rewind')
def check_rewind(make):  # Makes an object from `step` and `every`
    "Check that any state is found again from few copies"
    def step(state): return (3*state + 1) % 1009
    def seen(make, every, n, step=step):
        states = [7]
        for _ in range(n-1): states.append((3*states[-1] + 1) % 1009)
        rewind = make(step, every)
        for state in states: rewind.see(state)
        return rewind,states
    def case(every, n):
        def run(make):
            rewind,states = seen(make, every, n)
            for i in (0, n-1, n//2, every-1, min(every, n-1)):
                same(rewind.state_at(i), states[i], f'{n} states, every={every}, state_at({i})')
        return Case(f'{n} states, every {every}', run,
                    'Take the last copy at or before i, and make the missing steps from it.')
    def few(make):
        calls = []
        rewind,states = seen(make, 10, 100, lambda s: calls.append(s) or step(s))
        require(not calls, 'see() makes steps', hint='see() gets the states; only state_at must make steps.')
        def held(x):
            x = x.values() if isinstance(x, dict) else x
            return sum(map(held, x)) if hasattr(x, '__iter__') and hasattr(x, '__len__') else 1
        n = sum(held(v) for v in vars(rewind).values())
        require(n <= 30, f'{n} values are kept for 100 states', 'every=10',
                hint='Keep every 10th state, not each.')
        rewind.state_at(99)
        require(len(calls) <= 9, f'state_at(99) made {len(calls)} steps', 'every=10', len(calls), 9,
                'Begin at the copy before i, not at the first one.')
    return [case(1, 5), case(3, 10), case(4, 4),
            Case('few copies, few steps', few, 'Keep the states 0, every, 2*every, …')]
