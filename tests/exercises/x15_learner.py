"15_learner: right answers, and what people write instead"
import torch
from contextlib import contextmanager
from miniai.check.loop import check_grad_noise, check_learner
from miniai.loop import Callback, CancelBatchException, CancelEpochException, CancelFitException
from miniai.loop import run_cbs, with_cbs
from miniai.optim import SGD
from tests.small import Stranger


class GradNoiseCB(Callback):
    def __init__(self, std): self.std = std
    def after_backward(self, learn):
        for p in learn.model.parameters():
            if p.grad is not None: p.grad += self.std*torch.randn_like(p.grad)


class NotInPlace(GradNoiseCB):
    def after_backward(self, learn):
        for p in learn.model.parameters():
            if p.grad is not None: p.grad + self.std*torch.randn_like(p.grad)


class ForgetsNone(GradNoiseCB):
    def after_backward(self, learn):
        for p in learn.model.parameters(): p.grad += self.std*torch.randn_like(p.grad)


class Squared(GradNoiseCB):
    def after_backward(self, learn):
        for p in learn.model.parameters():
            if p.grad is not None: p.grad += self.std**2*torch.randn_like(p.grad)


class TooLate(Callback):
    def __init__(self, std): self.std = std
    def after_step(self, learn): GradNoiseCB(self.std).after_backward(learn)


class AsAction(Callback):
    def __init__(self, std): self.std = std
    def step(self, learn):
        for p in learn.model.parameters(): p.grad += self.std*torch.randn_like(p.grad)


class ByFoldingIn(GradNoiseCB):
    "Only where a step follows: what lesson 29_steps makes of it"
    def after_backward(self, learn):
        if learn.do_step:
            with torch.no_grad():
                for p in learn.model.parameters():
                    if p.grad is not None: p.grad.add_(torch.randn_like(p.grad), alpha=self.std)


class ByNormal(Callback):
    def __init__(self, std): self.std = std
    def after_backward(self, learn):
        grads = [p.grad for p in learn.model.parameters() if p.grad is not None]
        for g in grads: g.copy_(g + torch.zeros_like(g).normal_()*self.std)


class ByTheOptimizersGroups(GradNoiseCB):
    def after_backward(self, learn):
        for g in learn.opt.param_groups:
            for p in g['params']:
                if p.grad is not None: p.grad = p.grad + self.std*torch.randn_like(p.grad)


class ByName(GradNoiseCB):
    def after_backward(self, learn):
        for name,p in learn.model.named_parameters():
            if p.grad is not None: p.grad += torch.randn(p.shape)*self.std


class OneNumberForAll(GradNoiseCB):
    def after_backward(self, learn):
        for p in learn.model.parameters():
            if p.grad is not None: p.grad += self.std*torch.randn(1)


class OwnLearner:
    "The one that the lesson leads to"
    def __init__(self, model, dls, loss_func, lr, cbs):
        self.model,self.dls,self.loss_func,self.lr,self.cbs = model,dls,loss_func,lr,cbs
    def callback(self, name): run_cbs(self.cbs, name, self)
    @property
    def training(self): return self.model.training

    @with_cbs('batch')
    def one_batch(self):
        for event in 'predict', 'after_predict', 'get_loss', 'after_loss': self.callback(event)
        if not self.training: return
        for event in 'backward', 'after_backward', 'step', 'after_step', 'zero_grad': self.callback(event)

    @with_cbs('epoch')
    def one_epoch(self):
        for self.iter,self.batch in enumerate(self.dl): self.one_batch()

    @with_cbs('fit')
    def all_epochs(self):
        for self.epoch in self.epochs:
            for training in (True, False):
                self.model.train(training)
                self.dl = self.dls.train if training else self.dls.valid
                with torch.set_grad_enabled(training): self.one_epoch()

    def fit(self, n_epochs):
        self.n_epochs,self.epochs = n_epochs,range(n_epochs)
        self.opt = SGD(self.model.parameters(), self.lr)
        self.all_epochs()


class ByHand:
    "Without the decorator, with torch's optimizer and the callbacks in order from the start"
    def __init__(self, model, dls, loss_func, lr, cbs):
        self.model,self.dls,self.loss_func,self.lr = model,dls,loss_func,lr
        self.cbs = sorted(cbs, key=lambda cb: getattr(cb, 'order', 0))

    @property
    def training(self): return self.model.training

    def tell(self, *events):
        for event in events:
            for cb in self.cbs: getattr(cb, event, lambda learn: None)(self)

    @contextmanager
    def cleaned(self, level, cancel):
        try:
            try: yield self.tell(f'before_{level}')
            finally: self.tell(f'cleanup_{level}')
        except cancel: pass

    def fit(self, n_epochs):
        self.n_epochs,self.epochs = n_epochs,range(n_epochs)
        self.opt = torch.optim.SGD(self.model.parameters(), lr=self.lr)
        try:
            try:
                self.tell('before_fit')
                for self.epoch in self.epochs:
                    self.part(True)
                    with torch.no_grad(): self.part(False)
                self.tell('after_fit')
            finally: self.tell('cleanup_fit')
        except CancelFitException: pass

    def part(self, training):
        self.model.train(training)
        self.dl = self.dls.train if training else self.dls.valid
        try:
            try:
                self.tell('before_epoch')
                for self.iter,self.batch in enumerate(self.dl): self.batch_of(training)
                self.tell('after_epoch')
            finally: self.tell('cleanup_epoch')
        except CancelEpochException: pass

    def batch_of(self, training):
        try:
            try:
                self.tell('before_batch', 'predict', 'after_predict', 'get_loss', 'after_loss')
                if training: self.tell('backward', 'after_backward', 'step', 'after_step', 'zero_grad')
                self.tell('after_batch')
            finally: self.tell('cleanup_batch')
        except CancelBatchException: pass


class TellsNoActions(OwnLearner):
    "The lesson's SecondLearner: it does the five actions itself"
    @with_cbs('batch')
    def one_batch(self):
        self.preds = self.model(self.batch[0])
        self.loss = self.loss_func(self.preds, self.batch[1])
        if self.training:
            self.loss.backward()
            self.opt.step()
            self.opt.zero_grad()


class OneEpochForBoth(OwnLearner):
    @with_cbs('epoch')
    def one_epoch(self):
        for training in (True, False):
            self.model.train(training)
            self.dl = self.dls.train if training else self.dls.valid
            with torch.set_grad_enabled(training):
                for self.iter,self.batch in enumerate(self.dl): self.one_batch()
    @with_cbs('fit')
    def all_epochs(self):
        for self.epoch in self.epochs: self.one_epoch()


class BackwardInValidation(OwnLearner):
    @with_cbs('batch')
    def one_batch(self):
        for event in 'predict', 'after_predict', 'get_loss', 'after_loss': self.callback(event)
        for event in 'backward', 'after_backward': self.callback(event)
        if not self.training: return
        for event in 'step', 'after_step', 'zero_grad': self.callback(event)


class OptTooLate(OwnLearner):
    "The optimizer is made within the fit, after before_fit"
    @with_cbs('fit')
    def all_epochs(self):
        self.opt = SGD(self.model.parameters(), self.lr)
        for self.epoch in self.epochs:
            for training in (True, False):
                self.model.train(training)
                self.dl = self.dls.train if training else self.dls.valid
                with torch.set_grad_enabled(training): self.one_epoch()
    def fit(self, n_epochs):
        self.n_epochs,self.epochs = n_epochs,range(n_epochs)
        self.all_epochs()


class NoIter(OwnLearner):
    @with_cbs('epoch')
    def one_epoch(self):
        for self.batch in self.dl: self.one_batch()


class GradientsInValidation(OwnLearner):
    @with_cbs('fit')
    def all_epochs(self):
        for self.epoch in self.epochs:
            for training in (True, False):
                self.model.train(training)
                self.dl = self.dls.train if training else self.dls.valid
                self.one_epoch()


class AroundTheBar(OwnLearner):
    "Goes through the loader itself, and not through what `dl` holds by now"
    @with_cbs('epoch')
    def one_epoch(self):
        dl = self.dls.train if self.training else self.dls.valid
        for self.iter,self.batch in enumerate(dl): self.one_batch()


class OneOptimizerForAll(OwnLearner):
    def __init__(self, model, dls, loss_func, lr, cbs):
        super().__init__(model, dls, loss_func, lr, cbs)
        self.opt = SGD(model.parameters(), lr)
    def fit(self, n_epochs):
        self.n_epochs,self.epochs = n_epochs,range(n_epochs)
        self.all_epochs()


class Unsorted(OwnLearner):
    def callback(self, name):
        for cb in self.cbs:
            if hasattr(cb, name): getattr(cb, name)(self)


class NoFinally(ByHand):
    def part(self, training):
        self.model.train(training)
        self.dl = self.dls.train if training else self.dls.valid
        try:
            self.tell('before_epoch')
            for self.iter,self.batch in enumerate(self.dl): self.batch_of(training)
            self.tell('after_epoch', 'cleanup_epoch')
        except CancelEpochException: pass


class CatchesAll(ByHand):
    def batch_of(self, training):
        try: super().batch_of(training)
        except Exception: pass


class CleanupNotCaught(ByHand):
    def batch_of(self, training):
        try:
            self.tell('before_batch', 'predict', 'after_predict', 'get_loss', 'after_loss')
            if training: self.tell('backward', 'after_backward', 'step', 'after_step', 'zero_grad')
            self.tell('after_batch')
        except CancelBatchException: pass
        finally: self.tell('cleanup_batch')


class BeforeOutside(ByHand):
    def fit(self, n_epochs):
        self.n_epochs,self.epochs = n_epochs,range(n_epochs)
        self.opt = torch.optim.SGD(self.model.parameters(), lr=self.lr)
        self.tell('before_fit')
        try:
            for self.epoch in self.epochs:
                self.part(True)
                with torch.no_grad(): self.part(False)
            self.tell('after_fit')
        except CancelFitException: pass
        finally: self.tell('cleanup_fit')


class AlwaysAfter(ByHand):
    def batch_of(self, training):
        try:
            self.tell('before_batch', 'predict', 'after_predict', 'get_loss', 'after_loss')
            if training: self.tell('backward', 'after_backward', 'step', 'after_step', 'zero_grad')
        except CancelBatchException: pass
        finally: self.tell('after_batch', 'cleanup_batch')


class ModelNotTold(OwnLearner):
    "It never says `model.train(…)`: dropout would go on in validation"
    training = True
    @with_cbs('fit')
    def all_epochs(self):
        for self.epoch in self.epochs:
            for self.training in (True, False):
                self.dl = self.dls.train if self.training else self.dls.valid
                with torch.set_grad_enabled(self.training): self.one_epoch()


class ModeTooLate(OwnLearner):
    "At before_epoch the model is still in the mode of the last part"
    @with_cbs('fit')
    def all_epochs(self):
        for self.epoch in self.epochs:
            for training in (True, False):
                self.dl = self.dls.train if training else self.dls.valid
                with torch.set_grad_enabled(training): self.one_epoch(training)
    @with_cbs('epoch')
    def one_epoch(self, training):
        self.model.train(training)
        for self.iter,self.batch in enumerate(self.dl): self.one_batch()


class DoesAndTells(OwnLearner):
    @with_cbs('batch')
    def one_batch(self):
        self.callback('predict')
        self.preds = self.model(self.batch[0])
        for event in 'after_predict', 'get_loss': self.callback(event)
        self.loss = self.loss_func(self.preds, self.batch[1])
        self.callback('after_loss')
        if not self.training: return
        self.callback('backward')
        self.loss.backward()
        for event in 'after_backward', 'step': self.callback(event)
        self.opt.step()
        for event in 'after_step', 'zero_grad': self.callback(event)
        self.opt.zero_grad()


class NoProperty(ByHand):
    training = False  # and it stays so


EXERCISES = [
    (check_grad_noise, [GradNoiseCB, ByFoldingIn, ByNormal, ByTheOptimizersGroups, ByName],
     [(NotInPlace, 'in place'), (ForgetsNone, 'without a gradient'), (Squared, 'Multiply by std'),
      (TooLate, '`after_backward`'), (OneNumberForAll, 'draw by randn_like'),
      (AsAction, 'takes the place of the loop')]),
    (check_learner, [OwnLearner, ByHand, Stranger],
     [(TellsNoActions, 'The actions are events too'), (OneEpochForBoth, 'its own epoch events'),
      (BackwardInValidation, 'for training only'), (OptTooLate, 'opt at before_fit'), (NoIter, 'iter'),
      (GradientsInValidation, 'Validation has no gradients'),
      (AroundTheBar, 'Go through self.epochs and self.dl'),
      (OneOptimizerForAll, 'Each fit makes its optimizer anew'),
      (Unsorted, 'The lower `order` is told first'),
      (NoFinally, 'finally'), (CatchesAll, 'Catch the cancel exceptions only'),
      (CleanupNotCaught, 'catch it there too'), (BeforeOutside, 'inside the `try`'),
      (AlwaysAfter, 'Its after is left out'), (NoProperty, 'iter, dls, training'),
      (ModelNotTold, 'and the mode'), (ModeTooLate, 'and the mode'),
      (DoesAndTells, 'and only that')]),
]
