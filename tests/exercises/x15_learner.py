"15_learner: right answers, and what people write instead"
from contextlib import contextmanager
import torch
from miniai.check.loop import check_grad_noise, check_learner
from miniai.loop import Callback, CancelBatchException, CancelEpochException, CancelFitException, with_cbs


def run_loop(n_epochs, batches, callback):
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


def run_by_decorator(n_epochs, batches, callback):
    class Loop:
        def callback(self, name): callback(name)
        @with_cbs('batch')
        def batch(self): pass
        @with_cbs('epoch')
        def epoch(self):
            for _ in batches: self.batch()
        @with_cbs('fit')
        def fit(self):
            for _ in range(n_epochs): self.epoch()
    Loop().fit()


@contextmanager
def both_caught(name, cancel, callback):
    try:
        try: yield
        finally: callback(f'cleanup_{name}')
    except cancel: pass


def run_nested(n_epochs, batches, callback):
    with both_caught('fit', CancelFitException, callback):
        callback('before_fit')
        for _ in range(n_epochs):
            with both_caught('epoch', CancelEpochException, callback):
                callback('before_epoch')
                for _ in batches:
                    with both_caught('batch', CancelBatchException, callback):
                        callback('before_batch')
                        callback('after_batch')
                callback('after_epoch')
        callback('after_fit')


def cleanup_not_caught(n_epochs, batches, callback):
    def level(name, cancel, body):
        try:
            callback(f'before_{name}')
            body()
            callback(f'after_{name}')
        except cancel: pass
        finally: callback(f'cleanup_{name}')
    def epoch():
        for _ in batches: level('batch', CancelBatchException, lambda: None)
    level('fit', CancelFitException, lambda: [level('epoch', CancelEpochException,
                                                    epoch) for _ in range(n_epochs)])


def no_finally(n_epochs, batches, callback):
    try:
        callback('before_fit')
        for _ in range(n_epochs):
            callback('before_epoch')
            for _ in batches:
                callback('before_batch'); callback('after_batch'); callback('cleanup_batch')
            callback('after_epoch'); callback('cleanup_epoch')
        callback('after_fit')
    except CancelFitException: pass
    callback('cleanup_fit')


def catches_everything(n_epochs, batches, callback):
    def level(name, body):
        try:
            callback(f'before_{name}')
            body()
            callback(f'after_{name}')
        except Exception: pass
        finally: callback(f'cleanup_{name}')
    def epoch(): return [level('batch', lambda: None) for _ in batches]
    level('fit', lambda: [level('epoch', epoch) for _ in range(n_epochs)])


def before_is_outside(n_epochs, batches, callback):
    def level(name, cancel, body):
        callback(f'before_{name}')
        try:
            body()
            callback(f'after_{name}')
        except cancel: pass
        finally: callback(f'cleanup_{name}')
    def epoch():
        for _ in batches: level('batch', CancelBatchException, lambda: None)
    level('fit', CancelFitException, lambda: [level('epoch', CancelEpochException,
                                                    epoch) for _ in range(n_epochs)])


def always_after(n_epochs, batches, callback):
    def level(name, cancel, body):
        try:
            callback(f'before_{name}')
            body()
        except cancel: pass
        finally:
            callback(f'after_{name}')
            callback(f'cleanup_{name}')
    def epoch():
        for _ in batches: level('batch', CancelBatchException, lambda: None)
    level('fit', CancelFitException, lambda: [level('epoch', CancelEpochException,
                                                    epoch) for _ in range(n_epochs)])


class GradNoiseCB(Callback):
    def __init__(self, std): self.std = std
    def after_backward(self, learn):
        if not learn.do_step: return
        for p in learn.model.parameters():
            if p.grad is not None: p.grad += self.std*torch.randn_like(p.grad)


class EveryBatch(GradNoiseCB):
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


class TooLate(Callback):
    def __init__(self, std): pass
    def after_step(self, learn): pass


class AsAction(Callback):
    def __init__(self, std): self.std = std
    def step(self, learn):
        for p in learn.model.parameters(): p.grad += self.std*torch.randn_like(p.grad)


class ByFoldingIn(GradNoiseCB):
    def after_backward(self, learn):
        if learn.do_step:
            with torch.no_grad():
                for p in learn.model.parameters():
                    if p.grad is not None: p.grad.add_(torch.randn_like(p.grad), alpha=self.std)


class ByNormal(Callback):
    def __init__(self, std): self.std = std
    def after_backward(self, learn):
        if not learn.do_step: return
        grads = [p.grad for p in learn.model.parameters() if p.grad is not None]
        for g in grads: g.copy_(g + torch.zeros_like(g).normal_()*self.std)


EXERCISES = [
    (check_learner, [run_loop, run_by_decorator, run_nested],
     [(cleanup_not_caught, 'catch it there'), (no_finally, '`finally`'),
      (catches_everything, 'Catch the cancel exceptions only'), (before_is_outside, 'inside the `try`'),
                                 (always_after, 'its after is skipped')]),
    (check_grad_noise, [GradNoiseCB, ByFoldingIn, ByNormal],
     [(EveryBatch, 'learn.do_step'), (NotInPlace, 'in place'), (ForgetsNone, 'without a gradient'),
      (TooLate, 'after backward'), (AsAction, 'takes the place of the loop')]),
]
