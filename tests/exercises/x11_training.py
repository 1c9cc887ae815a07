"The exercises of lesson 08: solutions, and what people write first"
import copy, math
from itertools import islice
import torch
from miniai.check.training import check_accumulate, check_best, check_validate
from miniai.training import _step, _validate


def validate(model, loss_func, dl):
    model.eval()
    loss,right,n = 0.,0,0
    with torch.no_grad():
        for xb,yb in dl:
            preds = model(xb)
            loss += loss_func(preds, yb).item()*len(xb)
            right += (preds.argmax(1) == yb).sum().item()
            n += len(xb)
    return loss/n,right/n


def averages(model, loss_func, dl):
    model.eval()
    with torch.no_grad():
        pairs = [(loss_func(p, y).item(), (p.argmax(1) == y).float().mean().item()) for p,y in ((model(x), y) for x,y in dl)]
    return tuple(sum(o)/len(o) for o in zip(*pairs))


def no_eval(model, loss_func, dl):
    model.eval()
    model.eval = lambda: model
    model.train()
    return validate(model, loss_func, dl)


def with_gradients(model, loss_func, dl):
    model.eval()
    scores,labels = (torch.cat(o) for o in zip(*((model(x), y) for x,y in dl)))
    return loss_func(scores, labels).item(),(scores.argmax(1) == labels).float().mean().item()


def as_tensors(model, loss_func, dl): return tuple(torch.tensor(o) for o in validate(model, loss_func, dl))
def swapped(model, loss_func, dl): return validate(model, loss_func, dl)[::-1]
def only_loss(model, loss_func, dl): return validate(model, loss_func, dl)[0]
def last_batch(model, loss_func, dl): return validate(model, loss_func, list(dl)[-1:])
def full_batches(model, loss_func, dl): return validate(model, loss_func, list(dl)[:1])


def with_len(model, loss_func, dl):
    assert len(dl)
    return validate(model, loss_func, dl)


def eval_too_late(model, loss_func, dl):
    model.train()
    xb,yb = next(iter(dl))
    model(xb)
    return validate(model, loss_func, [(xb, yb)])


def epoch(model, loss_func, opt, dl, accumulate=1):
    model.train()
    batches = iter(dl)
    while group := list(islice(batches, accumulate)):
        n = sum(len(xb) for xb,_ in group)
        for xb,yb in group: (loss_func(model(xb), yb)*len(xb)/n).backward()
        opt.step()
        opt.zero_grad()


def ours(model, loss_func, opt, dl, accumulate=1):
    model.train()
    batches = iter(dl)
    while group := list(islice(batches, accumulate)): _step(model, loss_func, opt, group)


def counting(share=lambda k, n, accumulate: 1/accumulate, last=False, zero_each=False):
    def my_epoch(model, loss_func, opt, dl, accumulate=1):
        model.train()
        i = 0
        for i,(xb,yb) in enumerate(dl, 1):
            if zero_each: opt.zero_grad()
            (loss_func(model(xb), yb)*share(len(xb), i, accumulate)).backward()
            if i % accumulate == 0:
                opt.step()
                opt.zero_grad()
        if last and i % accumulate:
            opt.step()
            opt.zero_grad()
    return my_epoch


forgets_last,divides,adds_up = counting(),counting(last=True),counting(lambda *_: 1, last=True)
zeroes_each,leaves_last = counting(zero_each=True, last=True),counting(lambda *_: 1)


def step_each(model, loss_func, opt, dl, accumulate=1): return epoch(model, loss_func, opt, dl, 1)


def by_number(model, loss_func, opt, dl, accumulate=1):
    model.train()
    batches = iter(dl)
    while group := list(islice(batches, accumulate)):
        for xb,yb in group: (loss_func(model(xb), yb)/len(group)).backward()
        opt.step()
        opt.zero_grad()


def left_in_eval(model, loss_func, opt, dl, accumulate=1):
    model.train = lambda mode=True: model
    epoch(model, loss_func, opt, dl, accumulate)


def zero_before(model, loss_func, opt, dl, accumulate=1):
    model.train()
    batches = iter(dl)
    while group := list(islice(batches, accumulate)):
        opt.zero_grad()
        n = sum(len(xb) for xb,_ in group)
        for xb,yb in group: (loss_func(model(xb), yb)*len(xb)/n).backward()
        opt.step()


class Best:
    def __init__(self, model): self.model,self.lowest = model,math.inf
    def better(self, loss, acc): return loss < self.lowest
    def state(self): return copy.deepcopy(self.model.state_dict())

    def __call__(self, epoch, loss, acc):
        if self.better(loss, acc): self.lowest,self.kept = loss,self.state()

    def restore(self): return self.model.load_state_dict(self.kept, strict=False)


class BestByClone(Best):
    def state(self): return {k: v.clone() for k,v in self.model.state_dict().items()}


class NoCopy(Best):
    def state(self): return self.model.state_dict()


class ShallowCopy(Best):
    def state(self): return copy.copy(self.model.state_dict())


class OnlyParameters(Best):
    def state(self): return {k: v.detach().clone() for k,v in self.model.named_parameters()}


class Highest(Best):
    def __init__(self, model): self.model,self.lowest = model,-math.inf
    def better(self, loss, acc): return loss > self.lowest


class ByAccuracy(Best):
    def __init__(self, model): self.model,self.lowest,self.top = model,None,-math.inf

    def better(self, loss, acc):
        better,self.top = acc > self.top,max(acc, self.top)
        return better


class Always(Best):
    def better(self, loss, acc): return True


class AboveZero(Best):
    def better(self, loss, acc): return 0 < loss < self.lowest


EXERCISES = [
    (check_validate, [validate, _validate], [
        (averages, 'count alike'), (no_eval, 'eval'), (with_gradients, 'torch.no_grad()'), (as_tensors, '`.item()`'), (swapped, 'First the loss'),
        (only_loss, 'Return the loss and the accuracy'), (last_batch, 'the last batch alone'), (full_batches, 'the first batch alone'),
        (with_len, 'all it takes'), (eval_too_late, 'Call `model.eval()` before the first batch')]),
    (check_accumulate, [epoch, ours], [
        (forgets_last, 'it must step too'), (divides, 'Divided by `accumulate`'), (adds_up, 'add up'), (zeroes_each, 'zeroed before each batch'),
        (step_each, 'a step after each batch'), (by_number, 'Divided by the number of batches'), (left_in_eval, 'eval mode'),
        (zero_before, 'left over'), (leaves_last, 'add up')]),
    (check_best, [Best, BestByClone], [
        (NoCopy, 'the tensors themselves'), (ShallowCopy, 'the tensors themselves'), (OnlyParameters, 'not the buffers'), (Highest, 'the largest loss'),
        (ByAccuracy, 'go by the loss'), (Always, 'the best one was'), (AboveZero, 'the best one was')]),
]
