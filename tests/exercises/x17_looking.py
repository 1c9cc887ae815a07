"17_looking: right answers, and what people write instead"
import copy
from contextlib import contextmanager
import torch
from torch.nn.utils import get_total_norm
from miniai.check.looking import check_eval_mode, check_gradient_norm, check_loss_along


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


def stays_in_eval_mode(model, loss_func, xb, yb): return gradient_norm(model.eval(), loss_func, xb, yb)


def sum_of_norms(model, loss_func, xb, yb):
    return sum(g.norm() for g in torch.autograd.grad(loss_func(model(xb), yb), list(model.parameters())))


def no_root(model, loss_func, xb, yb): return gradient_norm(model, loss_func, xb, yb)**2
def no_return(model, loss_func, xb, yb): gradient_norm(model, loss_func, xb, yb)


def loss_along(model, loss_func, xb, yb, rates):
    "A copy for each rate"
    losses = []
    for rate in rates:
        trial = copy.deepcopy(model)
        trial.zero_grad()
        loss_func(trial(xb), yb).backward()
        torch.optim.SGD(trial.parameters(), rate).step()
        losses.append(loss_func(trial(xb), yb).item())
    return losses


def by_state_dict(model, loss_func, xb, yb, rates):
    state = {k: v.clone() for k,v in model.state_dict().items()}
    params = list(model.parameters())
    grads,losses = torch.autograd.grad(loss_func(model(xb), yb), params),[]
    for rate in rates:
        model.load_state_dict(state)
        with torch.no_grad():
            for p,g in zip(params, grads): p -= rate*g
            losses.append(loss_func(model(xb), yb))
    model.load_state_dict(state)
    return losses


def by_functional(model, loss_func, xb, yb, rates):
    params = dict(model.named_parameters())
    def f(params):
        buffers = {n: b.clone() for n,b in model.named_buffers()}
        return loss_func(torch.func.functional_call(model, {**params, **buffers}, (xb,)), yb)
    grads = torch.autograd.grad(f(params), list(params.values()))
    return [f({n: p - r*g for (n,p),g in zip(params.items(), grads)}).item() for r in rates]


def _steps(model, loss_func, xb, yb, rates, back):
    params,losses = list(model.parameters()),[]
    buffers = [(b, b.clone()) for b in model.buffers()]
    grads = torch.autograd.grad(loss_func(model(xb), yb), params)
    for rate in rates:
        with torch.no_grad():
            for p,g in zip(params, grads): p -= rate*g
            losses.append(loss_func(model(xb), yb).item())
            if back:
                for p,g in zip(params, grads): p += rate*g
    for b,value in buffers: b.copy_(value)
    return losses


def steps_on(model, loss_func, xb, yb, rates):
    losses = []
    for rate in rates:
        model.zero_grad()
        loss_func(model(xb), yb).backward()
        torch.optim.SGD(model.parameters(), rate).step()
        losses.append(loss_func(model(xb), yb).item())
    return losses


def adds_back(*args): return _steps(*args, back=True)
def never_goes_back(*args): return _steps(*args, back=False)


def uphill(model, loss_func, xb, yb, rates):
    trial,losses = copy.deepcopy(model),[]
    grads = torch.autograd.grad(loss_func(trial(xb), yb), list(trial.parameters()))
    for rate in rates:
        for p,q,g in zip(model.parameters(), trial.parameters(), grads): q.data = p.data + rate*g
        losses.append(loss_func(trial(xb), yb).item())
    return losses


def in_eval_mode(model, loss_func, xb, yb, rates):
    return loss_along(copy.deepcopy(model).eval(), loss_func, xb, yb, rates)


def moves_buffers(model, loss_func, xb, yb, rates):
    losses = loss_along(model, loss_func, xb, yb, rates)
    model(xb)
    return losses


def clears_gradients(model, loss_func, xb, yb, rates):
    losses = loss_along(model, loss_func, xb, yb, rates)
    model.zero_grad()
    return losses


def leaves_its_gradient(model, loss_func, xb, yb, rates):
    state = copy.deepcopy(model.state_dict())
    loss_func(model(xb), yb).backward()
    model.load_state_dict(state)
    return loss_along(model, loss_func, xb, yb, rates)


def adds_to_old_gradients(model, loss_func, xb, yb, rates):
    before,state = [p.grad for p in model.parameters()],copy.deepcopy(model.state_dict())
    for p in model.parameters(): p.grad = None if p.grad is None else p.grad.clone()
    loss_func(model(xb), yb).backward()
    losses = []
    for rate in rates:
        model.load_state_dict(state)
        torch.optim.SGD(model.parameters(), rate).step()
        losses.append(loss_func(model(xb), yb).item())
    model.load_state_dict(state)
    for p,g in zip(model.parameters(), before): p.grad = g
    return losses


def no_losses(*args): loss_along(*args)


EXERCISES = [
    (check_eval_mode, [eval_mode, EvalMode, by_name],
     [(all_to_train, 'keep the mode of each'), (the_outer_mode, 'keep the mode of each'),
      (no_finally, 'in a `finally`'), (outer_only, 'reaches all modules'),
      (never_back, 'put it back one by one'), (Swallows, 'Let it go')]),
    (check_gradient_norm, [gradient_norm, by_backward, by_torch],
     [(leaves_gradients, 'Keep each p.grad'), (adds_up, 'adds to gradients'), (zeroes, 'Keep each p.grad'),
      (stays_in_eval_mode, 'put each back'),
      (sum_of_norms, 'The root comes last'), (no_root, 'take the root'),
      (no_return, 'Is there a `return`?')]),
    (check_loss_along, [loss_along, by_state_dict, by_functional],
     [(never_goes_back, 'Each step begins where the last one ended'), (steps_on, 'from the same weights'),
      (uphill, 'Uphill'),
      (adds_back, 'off by rounding'), (in_eval_mode, 'in the mode that the model is in'),
      (moves_buffers, 'keep the buffers too'),
      (clears_gradients, 'Keep each p.grad'), (leaves_its_gradient, 'Keep each p.grad'),
      (adds_to_old_gradients, 'adds to what is in p.grad'), (no_losses, 'Is there a `return`?')]),
]
