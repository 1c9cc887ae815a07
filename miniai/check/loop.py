"Checks of lesson 15_learner: a callback that adds noise, and a whole learner that our callbacks work with"
from types import SimpleNamespace
import torch, torch.nn.functional as F
from miniai.loop import ACTIONS, EVENTS, CancelBatchException, CancelEpochException, CancelFitException
from miniai.loop import Learner, TrainCB
from .kit import Case, check, require, same

def _noise(make, std):
    "What a callback adds to a gradient of ones"
    p,unused = torch.nn.Parameter(torch.ones(1000)),torch.nn.Parameter(torch.ones(1))
    learn = Learner(torch.nn.ParameterList([p, unused]))
    p.grad,learn.opt = torch.ones(1000),learn._new_opt()
    cb = make(std)
    action = next((n for n in ACTIONS if hasattr(cb, n)), None)
    require(action is None, f'it has a method {action}', hint='That is an action: it takes the place of the '
            "loop's own. Name the method like an event between backward and step.")
    cb.after_backward(learn)
    return p.grad - 1

@check('gradient noise')
def check_grad_noise(make):  # Called with `std`, gives a callback
    "Check a callback that adds noise to complete gradients"
    def quiet(make): same(_noise(make, 0.).abs().max(), torch.tensor(0.), given='std 0')
    yield Case('no noise for std 0', quiet, 'The gradient is complete `after_backward`, and used by step. '
               'p.grad += std*torch.randn_like(p.grad), and leave out parameters without a gradient.')
    def noisy(make):
        std = _noise(make, 0.5).std()
        require(abs(std - 0.5) < 0.1, 'the noise has another deviation than std', 'std 0.5', std, 0.5)
    yield Case('noise of the right size', noisy, 'Multiply by std, draw by randn_like, change it in place.')

class _Diary(TrainCB):
    "Writes down the events, and does at some of them what `does` says"
    def __init__(self, does):
        super().__init__()
        self.events,self.does = [],does
        for name in EVENTS: setattr(self, name, lambda learn, name=name: self.told(learn, name))
    def told(self, learn, name):
        self.events.append(name)
        if name in ACTIONS: getattr(TrainCB, name)(self, learn)
        if name in self.does: self.events.append(self.does[name](learn) or '…')

class _Fails(Exception): "An error in a callback that cancels nothing"

def _throws(error):
    def throw(learn): raise error('from a callback')
    return throw

def _rate(learn): return f"rate {learn.opt.param_groups[0]['lr']:.3f}"
def _state(learn): return f'epoch {learn.epoch}.{learn.iter} {_rate(learn)} grad {torch.is_grad_enabled()}'
def _slower(learn):  # as a schedule does
    n,groups = len(learn.dls.train),learn.opt.param_groups
    if learn.training: groups[0]['lr'] *= 1 - (learn.epoch*n + learn.iter)/(learn.n_epochs*n)
def _fewer_epochs(learn): learn.epochs = list(learn.epochs)[1:]  # as a bar takes the place of them
def _fewer_batches(learn):
    learn.dl = list(learn.dl)[1:]
    return f'training {learn.training}, model {learn.model.training}'

def _trained(make, n_epochs, n_batches, fits, does):
    "What a learner of that kind tells of, and the weights it ends with"
    torch.manual_seed(0)
    parts = [[(torch.randn(4, 2), torch.randn(4, 1)) for _ in range(n_batches)] for _ in range(2)]
    model,diary,dls = torch.nn.Linear(2, 1),_Diary(does),SimpleNamespace(train=parts[0], valid=parts[1])
    last = SimpleNamespace(order=1, before_fit=lambda learn: diary.events.append('(the one of order 1)'))
    learn = make(model, dls, F.mse_loss, 0.1, [last, diary])
    try:
        for _ in range(fits): learn.fit(n_epochs)
    except _Fails: diary.events.append('the error came out')
    return diary.events,[p.detach() for p in model.parameters()]

@check('a learner')
def check_learner(make):  # Called with model, dls, loss_func, lr, cbs; its objects have `fit(n_epochs)`
    "Check the order of a learner's events, what a cancel does to it, and what callbacks find and may change"
    def case(name, hint, n_epochs=2, n_batches=2, fits=1, **does):
        def run(make):
            (got,ws),(want,theirs) = (_trained(f, n_epochs, n_batches, fits, does) for f in (make, Learner))
            if got == want: return same(ws, theirs, given='the weights at the end')
            first = next(i for i,(g,w) in enumerate(zip([*got, None], [*want, None])) if g != w)
            here,given = slice(max(0, first-2), first+2),f'{n_epochs} epochs of {n_batches} batches'
            require(False, f'event {first} is wrong', given, ' '.join(got[here]), ' '.join(want[here]))
        return Case(name, run, hint)
    yield case('no epochs', 'All three events of a fit come even then. The lower `order` is told first.', 0)
    yield case('one epoch of one batch', 'The actions are events too, and only that: '
               "self.callback('predict'). From backward to zero_grad all is for training only. "
               'Each part has its own epoch events.', 1, 1)
    yield case('two of two', 'The batch events come for each batch of each part of each epoch.')
    yield case('the fit cancelled at once', 'before_fit belongs inside the `try`. No after_fit then.',
               before_fit=_throws(CancelFitException))
    yield case('a batch cancelled', 'Its after is left out, its cleanup is not, and the next batch follows.',
               before_batch=_throws(CancelBatchException))
    yield case('any other error', 'Catch the cancel exceptions only. Others travel on after the cleanup, '
               'which is in a `finally`.', before_batch=_throws(_Fails))
    yield case('an epoch cancelled', 'One part of it ends. The batch lets the exception through, and '
               'cleans up on the way: `finally`.', after_batch=_throws(CancelEpochException))
    yield case('the fit cancelled', 'It leaves all levels, and each of them cleans up, in a `finally`.',
               after_loss=_throws(CancelFitException))
    yield case('a cancel from a cleanup', 'What it cancels is over already: catch it there too.',
               cleanup_batch=_throws(CancelBatchException))
    yield case('a schedule', 'It looks for opt at before_fit, then for epoch, n_epochs, iter, dls, training. '
               'Validation has no gradients.', before_fit=_rate, before_batch=_slower, after_batch=_state)
    yield case('a bar', 'Go through self.epochs and self.dl. They, and the mode (model.train), are there at '
               'before_fit and before_epoch.', before_fit=_fewer_epochs, before_epoch=_fewer_batches)
    yield case('a second fit', 'Each fit makes its optimizer anew, with the rate that the learner was given.',
               fits=2, before_batch=_slower, after_batch=_state)
