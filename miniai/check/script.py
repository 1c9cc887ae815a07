"Checks of lesson 32_leaving"
from copy import deepcopy
import torch
from ..loop import Callback
from ..metrics import MetricsCB
from ..script import Learner
from .kit import Case, check, require, rng, same

class _Silent(MetricsCB):
    def _log(self, d): pass

class _Shift(Callback):
    def __init__(self, amount, both=False): self.amount,self.both = amount,both
    def before_batch(self, learn):
        if learn.training or self.both: learn.batch = [learn.batch[0] + self.amount, learn.batch[1]]

def _made(cb):
    g,model,loss = rng(),torch.nn.Linear(3, 1),torch.nn.functional.mse_loss
    for p in model.parameters(): p.data = torch.randn(p.shape, generator=g)
    data = [(torch.randn(n, 3, generator=g), torch.randn(n, 1, generator=g)) for n in (4, 4, 2)]
    return Learner(model, (data, deepcopy(data)), loss, 0.1, [_Silent(), cb], torch.optim.SGD)
def _losses(*args):
    learn = _made(_Shift(*args))
    learn.fit(2)
    return [r['loss'] for r in learn.history]

@check('a callback that can leave')
def check_leaving(cls):  # A callback class that is made with the amount
    "Check that the script of a Learner with the callback gives the losses that the callback should give"
    def run(cls, amount):
        learn,place = _made(cls(amount)),{'print': lambda row: None}
        exec(learn.as_script(2), place)
        try: rows = place['train'](learn.model, learn.dls.train, learn.dls.valid)
        except Exception as e:
            hint = 'A line can use what the table of places names: no `self`, no `learn`. Make a new batch.'
            require(False, f'the script fails: {type(e).__name__}: {e}', hint=hint)
        same(learn.dls.train, learn.dls.valid, hint='The data were changed in place: make a new tensor.')
        same([r['loss'] for r in rows], _losses(amount), mistakes={
            'The inputs reach the model unchanged: the lines belong to `before_batch`.': _losses(0.),
            'Both parts of an epoch run the line: ask `training`.': _losses(amount, True),
            'Write the amount that this callback was made with, as a number.': _losses(0.5)})
    hint = 'A place, and a list of lines: dict(before_batch=[…, …]).'
    return [Case(f'Shift({n})', lambda cls, n=n: run(cls, n), hint) for n in (0.5, -2.)]

@check('the place where two runs part')
def check_parting(f):  # A function of two lists of numbers and `rel` to an index or None
    "Check the first place at which two lists of losses differ"
    def case(name, ours, theirs, want, hint, **kwargs):
        def run(f):
            got = f(list(ours), list(theirs), **kwargs)
            require(got is None or type(got) is int, f'{got!r} came', hint='An int is wanted, or None.')
            require(got == want, f'{got!r} came', (ours, theirs), got, want, hint)
        return Case(name, run, hint)
    return [case('rounding', [2., 1.], [2., 1 + 1e-8], None, 'A difference below rel does not count.'),
            *(case('one', [2., 1.], [2., b], 1, 'It may be larger or smaller: take abs.') for b in (1.5, .5)),
            case('the first', [2., 1., .5], [2., 1.1, .9], 1, 'The first place, not the largest difference.'),
            case('large numbers', [2e6, 1e6], [2e6 + 1, 1e6], None, 'Measure it by the size of ours.'),
            case('negative or 0', [-2., 0.], [-2., 0.], None, 'Nothing differs by more than rel*abs(ours).'),
            case('rel', [2., 1.], [2., 1.05], None, 'Use rel as it is given.', rel=0.1),
            case('size', [1.], [1.105], 0, 'Take the size of ours, not theirs or the larger.', rel=0.1),
            case('nan', [2., 1.], [2., float('nan')], 1, 'Nothing is <= nan: ask `not … <= …`.'),
            *(case('longer', [2.]*n, [2.]*(3-n), 1, 'One list ends: there they part.') for n in (2, 1)),
            case('both', [2., 1.], [9.], 0, 'They differ before one ends: look there first.')]
