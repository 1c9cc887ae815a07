"Solutions of lesson 30's exercises, and the answers that people give instead"
from miniai.check.preflight import check_labels_fit, check_unreached


def by_mask(labels, n_outputs):
    real = labels[labels != -100]
    return bool(((real >= 0) & (real < n_outputs)).all())
def by_set(labels, n_outputs): return set(labels.tolist()) <= {-100, *range(n_outputs)}
def by_min_max(labels, n_outputs):
    real = labels[labels != -100]
    return not len(real) or (real.min() >= 0 and real.max() < n_outputs)
def one_too_many(labels, n_outputs): return all(y == -100 or 0 <= y <= n_outputs for y in labels.tolist())
def no_negative(labels, n_outputs): return bool((labels < n_outputs).all())
def never_left_out(labels, n_outputs): return bool(((labels >= 0) & (labels < n_outputs)).all())
def min_of_none(labels, n_outputs):
    real = labels[labels != -100]
    return bool(real.min() >= 0 and real.max() < n_outputs)
def nothing(labels, n_outputs): (labels < n_outputs).all()


def by_names(model, xb):
    model(xb).sum().backward()
    found = [n for n,p in model.named_parameters() if p.requires_grad and p.grad is None]
    for p in model.parameters(): p.grad = None
    return found
def by_autograd(model, xb):
    import torch
    named = {n: p for n,p in model.named_parameters() if p.requires_grad}
    grads = torch.autograd.grad(model(xb).sum(), list(named.values()), allow_unused=True)
    return [n for n,g in zip(named, grads) if g is None]
def frozen_too(model, xb):
    model(xb).sum().backward()
    found = [n for n,p in model.named_parameters() if p.grad is None]
    model.zero_grad()
    return found
def the_reached(model, xb):
    model(xb).sum().backward()
    found = [n for n,p in model.named_parameters() if p.grad is not None]
    model.zero_grad()
    return found
def leaves_gradients(model, xb):
    model(xb).sum().backward()
    return [n for n,p in model.named_parameters() if p.requires_grad and p.grad is None]
def zeroes_only(model, xb):
    found = leaves_gradients(model, xb)
    model.zero_grad(set_to_none=False)
    return found
def no_backward(model, xb):
    model(xb).sum()
    return [n for n,p in model.named_parameters() if p.requires_grad and p.grad is None]


EXERCISES = [
    (check_labels_fit, [by_mask, by_set, by_min_max],
     [(one_too_many, 'not <='), (no_negative, 'below 0'), (never_left_out, 'leave this one out'),
      (min_of_none, 'min() of no numbers'),
      (nothing, 'return')]),
    (check_unreached, [by_names, by_autograd],
     [(frozen_too, 'do not count'), (the_reached, '*without*'), (leaves_gradients, 'Set p.grad to None'),
      (zeroes_only, 'Set p.grad to None'), (no_backward, 'backward()')]),
]
