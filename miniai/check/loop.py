"Checks of lesson 15_learner"
import types
import torch
from .kit import Case, Report, require, run_cases, same


def _loop_reference(n_epochs, batches, callback):
    from miniai.loop import CancelBatchException, CancelEpochException, CancelFitException
    def level(name, cancel, body):
        try:
            callback(f'before_{name}')
            body()
            callback(f'after_{name}')
        except cancel: pass
        finally: callback(f'cleanup_{name}')
    def epoch():
        for _ in batches: level('batch', CancelBatchException, lambda: None)
    def fit():
        for _ in range(n_epochs): level('epoch', CancelEpochException, epoch)
    level('fit', CancelFitException, fit)

def _events(loop, n_epochs, n_batches, cancel_at=None, error=None):
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

def check_learner(
    loop,           # Called with the number of epochs, the batches and `callback`, which takes the name of an event
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check the order of a loop's events, and what each cancel exception does to it"
    from miniai.loop import CancelBatchException, CancelEpochException, CancelFitException
    def case(name, hint, n_epochs=1, n_batches=2, at=None, error=None):
        def run(loop):
            got,want = _events(loop, n_epochs, n_batches, at, error),_events(_loop_reference, n_epochs, n_batches, at, error)
            first = next((i for i,(g,w) in enumerate(zip([*got, None], [*want, None])) if g != w), None)
            given = f'{n_epochs} epochs of {n_batches} batches' + (f', {error.__name__} at {at}' if error else '')
            require(first is None, f'event {first} is wrong' if first is not None else '', given, ' '.join(got[max(0, (first or 0)-2):][:5]), ' '.join(want[max(0, (first or 0)-2):][:5]), hint)
        return Case(name, run, hint)
    always = 'cleanup must come whatever happens: put it into a `finally`.'
    return run_cases(loop, [
        case('no epochs', 'before_fit, after_fit and cleanup_fit come even then.', 0),
        case('one epoch of one batch', 'before, then what is inside, then after, then cleanup; on each of the three levels.', 1, 1),
        case('two epochs of two batches', 'The batch events come for each batch of each epoch.', 2, 2),
        case('a batch cancelled', 'Catch CancelBatchException around each batch: its after is skipped, the next batch follows.', 2, 2, 'before_batch', CancelBatchException),
        case('an epoch cancelled from a batch', 'It is not the batch\'s exception: let it through to the epoch. ' + always, 2, 2, 'after_batch', CancelEpochException),
        case('the fit cancelled from a batch', 'It leaves all levels, and each of them cleans up. ' + always, 2, 2, 'after_batch', CancelFitException),
        case('the fit cancelled before it began', 'before_fit belongs inside the `try` as well.', 1, 1, 'before_fit', CancelFitException),
        case('any other error', 'Catch the cancel exceptions only: another error must travel on, after the cleanup.', 1, 1, 'before_batch', KeyError)], 'loop', limit)

def check_grad_noise(make, limit:float=10.)->Report:
    "Check a callback that adds noise to complete gradients"
    def tried(do_step, std):
        p = torch.nn.Parameter(torch.ones(1000))
        unused = torch.nn.Parameter(torch.ones(1))
        p.grad = torch.ones(1000)
        model = types.SimpleNamespace(parameters=lambda: iter([p, unused]), training=True)
        cb = make(std)
        require(hasattr(cb, 'after_backward'), 'it has no after_backward', hint='The gradient is complete after backward, and used by step.')
        cb.after_backward(types.SimpleNamespace(model=model, do_step=do_step, training=True))
        return p.grad - 1
    def quiet(make): same(tried(True, 0.).abs().max(), torch.tensor(0.), given='std 0')
    def noisy(make): require(abs(tried(True, 0.5).std().item() - 0.5) < 0.1, 'the noise has another deviation than std', 'std 0.5', tried(True, 0.5).std(), 0.5)
    def waits(make): same(tried(False, 0.5).abs().max(), torch.tensor(0.), given='learn.do_step is False')
    return run_cases(make, [Case('no noise for std 0', quiet, 'p.grad += std*torch.randn_like(p.grad); leave out parameters without a gradient.'),
                            Case('noise of the right size', noisy, 'Multiply by std, and change p.grad in place.'),
                            Case('none while gradients accumulate', waits, 'Look at learn.do_step: with AccumulateCB most batches end without a step.')], 'gradient noise', limit)
