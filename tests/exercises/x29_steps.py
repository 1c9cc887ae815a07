"Solutions of lesson 29's exercises, and the answers that people give instead"
import torch
from miniai.check.steps import check_clip_value, check_clipped_to, check_combined
from miniai.loop import Callback


def weighted(grads, sizes): return sum(g*n for g,n in zip(grads, sizes))/sum(sizes)
def stacked(grads, sizes):
    w = torch.tensor(sizes, dtype=torch.float32)
    return (torch.stack(grads)*w[:,None]).sum(0)/w.sum()
def shares(grads, sizes): return sum(g*(n/sum(sizes)) for g,n in zip(grads, sizes))
def mean_of_means(grads, sizes): return sum(grads)/len(grads)
def added(grads, sizes): return sum(grads)
def not_divided(grads, sizes): return sum(g*n for g,n in zip(grads, sizes))
def by_batches(grads, sizes): return not_divided(grads, sizes)/len(sizes)
def in_place(grads, sizes):
    for g,n in zip(grads, sizes): g *= n
    return sum(grads)/sum(sizes)


def _norm(grads): return torch.cat([g.flatten() for g in grads]).norm()
def by_factor(grads, max_norm): return [g*min(1., max_norm/max(_norm(grads).item(), 1e-12)) for g in grads]
def by_if(grads, max_norm):
    norm = sum((g**2).sum() for g in grads)**0.5
    return [g/norm*max_norm for g in grads] if norm > max_norm else [g.clone() for g in grads]
def by_torch(grads, max_norm):
    params = [torch.nn.Parameter(torch.zeros_like(g)) for g in grads]
    for p,g in zip(params, grads): p.grad = g.clone()
    torch.nn.utils.clip_grad_norm_(params, max_norm)
    return [p.grad for p in params]
def lengthens(grads, max_norm): return [g*(max_norm/_norm(grads)) for g in grads]
def each_alone(grads, max_norm): return [g*min(1., max_norm/max(g.norm().item(), 1e-12)) for g in grads]
def by_value(grads, max_norm): return [g.clamp(-max_norm, max_norm) for g in grads]
def divides_by_zero(grads, max_norm):
    return [g*torch.clamp(max_norm/_norm(grads), max=1)*(_norm(grads)/_norm(grads)) for g in grads]
def changes_them(grads, max_norm):
    factor = min(1., max_norm/max(_norm(grads).item(), 1e-12))
    for g in grads: g *= factor
    return grads


class ClipValueCB(Callback):
    def __init__(self, most): self.most = most
    def after_backward(self, learn):
        if not learn.do_step: return
        for p in learn.model.parameters():
            if p.grad is not None: p.grad.clamp_(-self.most, self.most)

class ByTorch(Callback):
    def __init__(self, most): self.most = most
    def after_backward(self, learn):
        if learn.do_step: torch.nn.utils.clip_grad_value_(learn.model.parameters(), self.most)

class EveryBatch(ClipValueCB):
    def after_backward(self, learn): torch.nn.utils.clip_grad_value_(learn.model.parameters(), self.most)

class TooLate(Callback):
    def __init__(self, most): self.most = most
    def after_step(self, learn): torch.nn.utils.clip_grad_value_(learn.model.parameters(), self.most)

class AlwaysOne(Callback):
    def __init__(self, most): pass
    def after_backward(self, learn):
        if learn.do_step: torch.nn.utils.clip_grad_value_(learn.model.parameters(), 1.)

class FromAbove(Callback):
    def __init__(self, most): self.most = most
    def after_backward(self, learn):
        for p in learn.model.parameters():
            if p.grad is not None and learn.do_step: p.grad.clamp_(max=self.most)

class NoneForgotten(Callback):
    def __init__(self, most): self.most = most
    def after_backward(self, learn):
        if learn.do_step:
            for p in learn.model.parameters(): p.grad.clamp_(-self.most, self.most)


EXERCISES = [
    (check_combined, [weighted, stacked, shares],
     [(mean_of_means, 'weigh each by its size'), (added, 'A sum is not a mean'),
      (not_divided, 'Divide by the number of samples'),
      (by_batches, 'not of batches'), (in_place, 'must stay as they are')]),
    (check_clipped_to, [by_factor, by_if, by_torch],
     [(lengthens, 'stays as it is'), (each_alone, 'one factor'), (by_value, 'not their largest'),
      (divides_by_zero, 'divided by'),
      (changes_them, 'leave those that came in alone')]),
    (check_clip_value, [ClipValueCB, ByTorch],
     [(EveryBatch, 'Look at learn.do_step'), (TooLate, 'complete after backward'),
      (AlwaysOne, 'both sides of 0'),
      (FromAbove, 'clamp_(-most, most)'), (NoneForgotten, 'where there is a gradient')]),
]
