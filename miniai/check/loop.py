"Checks of lesson 15_learner: the three levels of a loop, and a callback that adds noise"
from types import SimpleNamespace
import torch
from miniai.loop import CancelBatchException, CancelEpochException, CancelFitException
from .kit import Case, check, require, same

def _reference(n_epochs, batches, callback):
    def level(name, cancel, body):
        try:
            callback(f'before_{name}')
            body()
            callback(f'after_{name}')
        except cancel: pass
        finally:
            try: callback(f'cleanup_{name}')
            except cancel: pass
    def epoch():
        for _ in batches: level('batch', CancelBatchException, lambda: None)
    def fit():
        for _ in range(n_epochs): level('epoch', CancelEpochException, epoch)
    level('fit', CancelFitException, fit)

def _events(loop, n_epochs, n_batches, cancel_at, error):
    "The events that a loop tells, up to the exception that leaves it"
    events = []
    def callback(name):
        events.append(name)
        if name == cancel_at and events.count(name) == 1: raise error()
    try: loop(n_epochs, range(n_batches), callback)
    except Exception as e:
        if not isinstance(e, error or ()): raise
        events.append(f'{type(e).__name__} came out')
    return events

_ALWAYS = 'cleanup must come whatever happens: put it into a `finally`.'

@check('loop')
def check_learner(loop):  # Called with n_epochs, batches, and `callback`, which takes an event's name
    "Check the order of a loop's events, and what each cancel exception does to it"
    def case(name, hint, n_epochs=1, n_batches=2, at=None, error=None):
        def run(loop):
            got,want = (_events(f, n_epochs, n_batches, at, error) for f in (loop, _reference))
            if got == want: return
            first = next(i for i,(g,w) in enumerate(zip([*got, None], [*want, None])) if g != w)
            given = f'{n_epochs} epochs of {n_batches} batches'
            if error: given += f', {error.__name__} at {at}'
            here = slice(max(0, first-2), max(0, first-2) + 5)
            require(False, f'event {first} is wrong', given, ' '.join(got[here]), ' '.join(want[here]))
        return Case(name, run, hint)
    yield case('no epochs', 'before_fit, after_fit and cleanup_fit come even then.', 0)
    yield case('one epoch of one batch',
               'before, then what is inside, then after, then cleanup; on each level.', 1, 1)
    yield case('two epochs of two batches', 'The batch events come for each batch of each epoch.', 2, 2)
    yield case('the fit cancelled before it began',
               'before_fit belongs inside the `try`, and of what is cancelled its after is skipped.',
               1, 1, 'before_fit', CancelFitException)
    yield case('any other error',
               'Catch the cancel exceptions only: another error travels on, after the cleanup, which '
               'belongs into a `finally`; and before_batch inside the `try`.', 1, 1, 'before_batch', KeyError)
    yield case('a batch cancelled',
               'Catch CancelBatchException around each batch: its after is skipped, the next '
               'batch follows.', 2, 2, 'before_batch', CancelBatchException)
    yield case('an epoch cancelled from a batch',
               "It is not the batch's exception: let it through to the epoch. "
               + _ALWAYS, 2, 2, 'after_batch', CancelEpochException)
    yield case('the fit cancelled from a batch',
               'It leaves all levels, and each of them cleans up. ' + _ALWAYS,
               2, 2, 'after_batch', CancelFitException)
    yield case('a cancel from a cleanup',
               'A cancel may come from the cleanup too: what it cancels is over already, '
               'so catch it there.', 2, 2, 'cleanup_batch', CancelBatchException)

def _noise(make, do_step, std):
    "What a callback adds to a gradient of ones"
    p,unused = torch.nn.Parameter(torch.ones(1000)),torch.nn.Parameter(torch.ones(1))
    p.grad = torch.ones(1000)
    model = SimpleNamespace(parameters=lambda: iter([p, unused]), training=True)
    cb = make(std)
    action = next((n for n in ('predict', 'get_loss', 'backward', 'step', 'zero_grad') if hasattr(cb, n)),
                  None)
    require(action is None, f'it has a method {action}',
            hint='That is an action: it takes the place of the loop\'s own. '
            'Name the method like an event between backward and step.')
    require(hasattr(cb, 'after_backward'),
            'it has no after_backward: nothing happens when the gradient is complete',
            hint='The gradient is complete after backward, and used by step: between them is '
                 '`after_backward`.')
    cb.after_backward(SimpleNamespace(model=model, do_step=do_step, training=True))
    return p.grad - 1

@check('gradient noise')
def check_grad_noise(make):  # Called with `std`, gives a callback
    "Check a callback that adds noise to complete gradients"
    def quiet(make): same(_noise(make, True, 0.).abs().max(), torch.tensor(0.), given='std 0')
    yield Case('no noise for std 0', quiet,
               'p.grad += std*torch.randn_like(p.grad); leave out parameters without a gradient.')
    def noisy(make):
        std = _noise(make, True, 0.5).std()
        require(abs(std - 0.5) < 0.1, 'the noise has another deviation than std', 'std 0.5', std, 0.5)
    yield Case('noise of the right size', noisy, 'Multiply by std, and change p.grad in place.')
    def waits(make): same(_noise(make, False, 0.5).abs().max(), torch.tensor(0.),
                          given='learn.do_step is False')
    yield Case('none while gradients accumulate', waits,
               'Look at learn.do_step: some batches end without a step.')
