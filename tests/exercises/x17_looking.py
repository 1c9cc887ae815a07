"17_looking: right answers, and what people write instead"
from contextlib import contextmanager
import torch
from torch.nn.utils import get_total_norm
from miniai.check.looking import check_eval_mode, check_gradient_norm


@contextmanager
def eval_mode(model):
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try: yield
    finally:
        for m,mode in modes: m.training = mode


class EvalMode:
    def __init__(self, model): self.model = model
    def __enter__(self):
        self.training = {m for m in self.model.modules() if m.training}
        self.model.eval()
    def __exit__(self, *_):
        for m in self.model.modules(): m.training = m in self.training


@contextmanager
def by_name(model):
    modes = {n: m.training for n,m in model.named_modules()}
    try: yield model.eval()
    finally:
        for n,mode in modes.items(): model.get_submodule(n).training = mode


@contextmanager
def all_to_train(model):
    model.eval()
    try: yield
    finally: model.train()


@contextmanager
def the_outer_mode(model):
    mode = model.training
    model.eval()
    try: yield
    finally: model.train(mode)


@contextmanager
def no_finally(model):
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    yield
    for m,mode in modes: m.training = mode


@contextmanager
def outer_only(model):
    model.training = False
    try: yield
    finally: model.training = True


@contextmanager
def never_back(model):
    model.eval()
    yield


class Swallows(EvalMode):
    def __exit__(self, *exc):
        super().__exit__()
        return True


def gradient_norm(model, loss_func, xb, yb):
    grads = torch.autograd.grad(loss_func(model(xb), yb), list(model.parameters()))
    return sum(g.pow(2).sum() for g in grads).sqrt().item()


def by_backward(model, loss_func, xb, yb):
    before = [p.grad for p in model.parameters()]
    for p in model.parameters(): p.grad = None
    loss_func(model(xb), yb).backward()
    norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    for p,g in zip(model.parameters(), before): p.grad = g
    return norm


def by_torch(model, loss_func, xb, yb):
    return get_total_norm(torch.autograd.grad(loss_func(model(xb), yb), tuple(model.parameters())))


def leaves_gradients(model, loss_func, xb, yb):
    for p in model.parameters(): p.grad = None
    loss_func(model(xb), yb).backward()
    return sum(p.grad.pow(2).sum() for p in model.parameters()).sqrt()


def adds_up(model, loss_func, xb, yb):
    loss_func(model(xb), yb).backward()
    return sum(p.grad.pow(2).sum() for p in model.parameters()).sqrt()


def zeroes(model, loss_func, xb, yb):
    norm = leaves_gradients(model, loss_func, xb, yb)
    for p in model.parameters(): p.grad = None
    return norm


def sum_of_norms(model, loss_func, xb, yb):
    return sum(g.norm() for g in torch.autograd.grad(loss_func(model(xb), yb), list(model.parameters())))


def no_root(model, loss_func, xb, yb): return gradient_norm(model, loss_func, xb, yb)**2
def no_return(model, loss_func, xb, yb): gradient_norm(model, loss_func, xb, yb)


EXERCISES = [
    (check_eval_mode, [eval_mode, EvalMode, by_name],
     [(all_to_train, 'keep the mode of each'), (the_outer_mode, 'keep the mode of each'),
      (no_finally, 'in a `finally`'),
      (outer_only, 'reaches all modules'), (never_back, 'put it back one by one'), (Swallows, 'Let it go')]),
    (check_gradient_norm, [gradient_norm, by_backward, by_torch],
     [(leaves_gradients, 'Keep each p.grad'), (adds_up, 'adds to gradients'), (zeroes, 'Keep each p.grad'),
      (sum_of_norms, 'The root comes last'), (no_root, 'take the root'),
      (no_return, 'Is there a `return`?')]),
]
