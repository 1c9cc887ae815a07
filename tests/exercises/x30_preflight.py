"Solutions of lesson 30's exercises, and the answers that people give instead"
import torch
from miniai.check.preflight import check_leaked, check_unreached


def by_loops(train, valid): return sum(any(torch.equal(t, v) for t in train) for v in valid)
def by_broadcasting(train, valid):
    return (valid.flatten(1)[:,None] == train.flatten(1)).all(2).any(1).sum()
def by_set(train, valid):
    known = {str(t.tolist()) for t in train}
    return sum(str(v.tolist()) in known for v in valid)
def by_tuples(train, valid):
    known = {tuple(t.flatten().tolist()) for t in train}
    return sum(tuple(v.flatten().tolist()) in known for v in valid)
def by_distance(train, valid): return (torch.cdist(valid.flatten(1), train.flatten(1)).min(1)[0] == 0).sum()
def not_summed(train, valid): return (valid.flatten(1)[:,None] == train.flatten(1)).all(2).any(1)
def set_of_tensors(train, valid):
    known = set(train)
    return sum(v in known for v in valid)
def pairs(train, valid): return (valid.flatten(1)[:,None] == train.flatten(1)).all(2).sum()
def any_number(train, valid): return torch.isin(valid, train).flatten(1).all(1).sum()
def by_index(train, valid): return sum(torch.equal(t, v) for t,v in zip(train, valid))
def once_each(train, valid): return len({str(t.tolist()) for t in train} & {str(v.tolist()) for v in valid})
def rows_only(train, valid): return (valid[:,None] == train).all(2).any(1).sum()
def is_leaked(train, valid): return any(torch.equal(t, v) for t in train for v in valid)
def nothing(train, valid): by_loops(train, valid)


def by_names(model, xb):
    model(xb).sum().backward()
    found = [n for n,p in model.named_parameters() if p.requires_grad and p.grad is None]
    for p in model.parameters(): p.grad = None
    return found
def by_autograd(model, xb):
    named = {n: p for n,p in model.named_parameters() if p.requires_grad}
    grads = torch.autograd.grad(model(xb).sum(), list(named.values()), allow_unused=True)
    return [n for n,g in zip(named, grads) if g is None]
def by_hooks(model, xb):
    came,named = set(),[(n, p) for n,p in model.named_parameters() if p.requires_grad]
    hooks = [p.register_hook(lambda g, n=n: came.add(n)) for n,p in named]
    model(xb).sum().backward()
    for hook in hooks: hook.remove()
    for _,p in named: p.grad = None
    return [n for n,_ in named if n not in came]
def parameters(model, xb):
    model(xb).sum().backward()
    found = [p for p in model.parameters() if p.requires_grad and p.grad is None]
    model.zero_grad()
    return found
def zeros_too(model, xb):
    model(xb).sum().backward()
    named = [(n, p) for n,p in model.named_parameters() if p.requires_grad]
    found = [n for n,p in named if p.grad is None or not p.grad.any()]
    model.zero_grad()
    return found
def thaws(model, xb):
    found = by_names(model, xb)
    model.requires_grad_(True)
    return found
def no_names(model, xb): by_names(model, xb)


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
    (check_leaked, [by_loops, by_broadcasting, by_set, by_tuples, by_distance],
     [(pairs, 'not pairs'), (any_number, 'in order'), (by_index, 'anywhere in train'),
      (once_each, 'equal ones count too'), (rows_only, 'flatten(1)'),
      (is_leaked, 'not which ones or whether'),
      (not_summed, 'is there a sum?'), (set_of_tensors, 'the same object'),
      (nothing, 'return')]),
    (check_unreached, [by_names, by_autograd, by_hooks],
     [(frozen_too, 'do not count'), (the_reached, '*without*'), (leaves_gradients, 'Set p.grad to None'),
      (zeroes_only, 'Set p.grad to None'), (no_backward, 'backward()'),
      (parameters, 'Names as text'), (zeros_too, 'only None'), (thaws, 'stays so'), (no_names, 'return')]),
]
