"Checks of lesson 32_leaving"
import torch
from ..metrics import MetricsCB
from ..sched import ParamScheduler, sched_lin
from ..script import Learner
from .kit import Case, check, require, same

class _Silent(MetricsCB):
    def _log(self, d): pass

def _batches():
    g = torch.Generator().manual_seed(0)
    return [(torch.randn(n, 3, generator=g), torch.randn(n, 1, generator=g)) for n in (4, 4, 2)]

def _losses(cb):
    "The losses of a Learner with `cb`, and those of its script"
    torch.manual_seed(0)
    first,second = (torch.nn.Linear(3, 1) for _ in range(2))
    second.load_state_dict(first.state_dict())
    cbs = [_Silent(), ParamScheduler('lr', sched_lin(0.1, 0.)), cb]
    learn = Learner(first, (_batches(), _batches()), torch.nn.functional.mse_loss, 0.1, cbs, torch.optim.SGD)
    learn.fit(2)
    text,place = learn.as_script(),{'print': lambda row: None}
    try:
        exec(text, place)
        rows = place['train'](second, _batches(), _batches())
    except Exception as e:
        hint = 'Each line must run where `self` is not known: write the number into it.'
        require(False, f'the script fails: {type(e).__name__}: {e}', text, hint=hint)
    return [r['loss'] for r in learn.history],[r['loss'] for r in rows]

@check('a callback that can leave')
def check_leaving(cls):  # A callback class that is made with the amount
    "Check that the script of a Learner with the callback gives the Learner's losses"
    def case(amount):
        def run(cls):
            lines = cls(amount).script(None)
            is_table = isinstance(lines, dict) and all(isinstance(v, list) for v in lines.values())
            require(is_table, 'a dictionary of lists is needed', amount, lines,
                    hint='A place, and a list of lines: dict(before_batch=[…]).')
            ours,theirs = _losses(cls(amount))
            same(torch.tensor(theirs[::2]), torch.tensor(ours[::2]), 'training losses')
            same(torch.tensor(theirs[1::2]), torch.tensor(ours[1::2]), 'validation losses')
        hint = 'Both parts of an epoch run the line: ask `training`, and write the amount as a number.'
        return Case(f'Shift({amount})', run, hint)
    return [case(0.5), case(-2.)]

@check('the place where two runs part')
def check_parting(f):  # A function of two lists of numbers and `rel` to an index or None
    "Check the first place at which two lists of losses differ"
    def case(name, ours, theirs, want, hint, **kwargs):
        def run(f):
            got = f(list(ours), list(theirs), **kwargs)
            require(got == want and type(got) is type(want), f'{got!r} came', (ours, theirs), got, want, hint)
        return Case(name, run, hint)
    return [case('equal', [2., 1.], [2., 1.], None, 'Nothing differs: None.'),
            case('the first', [2., 1., .5], [2., 1.1, .9], 1, 'The first place, not the largest difference.'),
            case('rounding', [2., 1.], [2., 1 + 1e-8], None, 'A difference below rel does not count.'),
            case('large numbers', [2e6, 1e6], [2e6 + 1, 1e6], None, 'Measure it by the size of ours.'),
            case('downwards', [2., 1.], [2., .5], 1, 'A smaller loss is a difference too: take abs.'),
            case('negative', [-2., -1.], [-2., -1.], None, 'The size of a negative loss is its abs.'),
            case('shorter', [2., 1.], [2.], 1, 'One list ends: there they part.'),
            case('rel', [2., 1.], [2., 1.05], None, 'Use rel as it is given.', rel=0.1)]
