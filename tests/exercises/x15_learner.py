"Solutions of lesson 15's exercises, and the answers that people give instead"
import torch
from miniai.check.loop import check_grad_noise, check_learner
from miniai.loop import Callback, CancelBatchException, CancelEpochException, CancelFitException


def run_loop(n_epochs, batches, callback):
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
    level('fit', lambda: [level('epoch', lambda: [level('batch', lambda: None) for _ in batches]) for _ in range(n_epochs)])


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
    level('fit', CancelFitException, lambda: [level('epoch', CancelEpochException, epoch) for _ in range(n_epochs)])


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
    level('fit', CancelFitException, lambda: [level('epoch', CancelEpochException, epoch) for _ in range(n_epochs)])


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


EXERCISES = [
    (check_learner, [run_loop], [(no_finally, '`finally`'), (catches_everything, 'Catch the cancel exceptions only'), (before_is_outside, 'inside the `try`'),
                                 (always_after, 'its after is skipped')]),
    (check_grad_noise, [GradNoiseCB], [(EveryBatch, 'learn.do_step'), (NotInPlace, 'in place'), (ForgetsNone, 'without a gradient'), (TooLate, 'after backward')]),
]
