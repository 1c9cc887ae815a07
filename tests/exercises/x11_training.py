"The exercises of lesson 11_training: solutions, and what people write first"
import copy, math
from itertools import islice
import torch
from miniai.check.training import check_accumulate, check_best, check_by_label


# -- 1. right answers by label

def by_label(model, dl, n):
    model.eval()
    right,total = torch.zeros(n),torch.zeros(n)
    with torch.no_grad():
        for xb,yb in dl:
            hits = model(xb).argmax(1) == yb
            for i in range(n):
                right[i] += hits[yb == i].sum()
                total[i] += (yb == i).sum()
    return (right/total).tolist()


def with_dicts(model, dl, n):
    model.train(False)
    counts = {i: [0, 0] for i in range(n)}
    with torch.no_grad():
        pairs = [(p, y) for xb,yb in dl for p,y in zip(model(xb).argmax(dim=1).tolist(), yb.tolist())]
    for p,y in pairs:
        counts[y][0] += p == y
        counts[y][1] += 1
    return [r/t if t else math.nan for r,t in counts.values()]


@torch.no_grad()
def with_bincount(model, dl, n):
    model.eval()
    guesses,labels = (torch.cat(o) for o in zip(*((model(xb).argmax(1), yb) for xb,yb in dl)))
    return (torch.bincount(labels[guesses == labels], minlength=n)/torch.bincount(labels,
                                                                                  minlength=n)).tolist()


def forgets_eval(model, dl, n):
    model.eval = lambda: model
    return by_label(model, dl, n)


def with_gradients(model, dl, n):
    model.eval()
    pairs = [(model(xb).argmax(1), yb) for xb,yb in dl]
    guesses,labels = (torch.cat(o) for o in zip(*pairs))
    return [(guesses[labels == i] == i).float().mean().item() for i in range(n)]


def averages(model, dl, n):
    rows = torch.tensor([by_label(model, [batch], n) for batch in dl])
    return rows.nanmean(0).tolist()


def as_tensor(model, dl, n): return torch.tensor(by_label(model, dl, n))
def last_batch(model, dl, n): return by_label(model, list(dl)[-1:], n)
def zero_for_none(model, dl, n): return [0. if o != o else o for o in by_label(model, dl, n)]
def no_return(model, dl, n): by_label(model, dl, n)
def a_list_each(model, dl, n): return [share for batch in dl for share in by_label(model, [batch], n)]
def walks_for_each(model, dl, n): return [by_label(model, dl, n)[i] for i in range(n)]


def of_all(model, dl, n):
    batches = list(dl)
    total = sum(len(y) for _,y in batches)
    y = torch.cat([y for _,y in batches])
    return [o*(y == i).sum().item()/total if o == o else 0. for i,o in enumerate(by_label(model, batches, n))]


def with_len(model, dl, n):
    assert len(dl)
    return by_label(model, dl, n)


def eval_too_late(model, dl, n):
    batches = list(dl)
    with torch.no_grad(): model(batches[0][0])
    return by_label(model, batches, n)


def of_guesses(model, dl, n):
    model.eval()
    with torch.no_grad(): pairs = [(model(xb).argmax(1), yb) for xb,yb in dl]
    guesses,labels = (torch.cat(o) for o in zip(*pairs))
    return [(labels[guesses == i] == i).float().mean().item() for i in range(n)]


# -- 2. accumulation without looking ahead

def epoch(model, loss_func, opt, dl, accumulate=1):
    "Sums of losses, divided in the gradients"
    model.train()
    n = count = 0
    def step():
        for group in opt.param_groups:
            for p in group['params']: p.grad /= n
        opt.step()
        opt.zero_grad()
    for xb,yb in dl:
        (loss_func(model(xb), yb)*len(xb)).backward()
        n,count = n+len(xb),count+1
        if count == accumulate:
            step()
            n = count = 0
    if count: step()


def by_model(model, loss_func, opt, dl, accumulate=1):
    "The same with a flag for the end"
    model.train()
    batches,done = iter(dl),False
    while not done:
        seen = 0
        for _ in range(accumulate):
            batch = next(batches, None)
            if batch is None:
                done = True
                break
            loss = loss_func(model(batch[0]), batch[1])
            (len(batch[0])*loss).backward()
            seen += len(batch[0])
        if seen:
            with torch.no_grad():
                for p in model.parameters(): p.grad.mul_(1/seen)
            opt.step()
            opt.zero_grad()


def running_mean(model, loss_func, opt, dl, accumulate=1):
    "Keeps the gradient the mean of what came so far"
    model.train()
    n = k = 0
    for xb,yb in dl:
        m = n+len(xb)
        for p in model.parameters():
            if p.grad is not None: p.grad *= n/m
        (loss_func(model(xb), yb)*(len(xb)/m)).backward()
        n,k = m,k+1
        if k == accumulate:
            opt.step()
            opt.zero_grad()
            n = k = 0
    if k:
        opt.step()
        opt.zero_grad()


def looks_ahead(model, loss_func, opt, dl, accumulate=1):
    model.train()
    batches = iter(dl)
    while group := list(islice(batches, accumulate)):
        n = sum(len(xb) for xb,_ in group)
        for xb,yb in group: (loss_func(model(xb), yb)*len(xb)/n).backward()
        opt.step()
        opt.zero_grad()


def one_backward(model, loss_func, opt, dl, accumulate=1):
    "Keeps the graphs of all batches of a group, for one backward pass at its end"
    model.train()
    total,n,k = 0.,0,0
    def step():
        (total/n).backward()
        opt.step()
        opt.zero_grad()
    for xb,yb in dl:
        total,n,k = total + loss_func(model(xb), yb)*len(xb),n + len(xb),k + 1
        if k == accumulate:
            step()
            total,n,k = 0.,0,0
    if k: step()


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
never_divides = counting(lambda k, *_: k, last=True)


def step_each(model, loss_func, opt, dl, accumulate=1): return epoch(model, loss_func, opt, dl, 1)


def by_number(model, loss_func, opt, dl, accumulate=1):
    model.train()
    batches = iter(dl)
    while group := list(islice(batches, accumulate)):
        for xb,yb in group: (loss_func(model(xb), yb)/len(group)).backward()
        opt.step()
        opt.zero_grad()


def never_counts_again(model, loss_func, opt, dl, accumulate=1):
    model.train()
    n = i = 0
    def step():
        for p in model.parameters(): p.grad /= n
        opt.step()
        opt.zero_grad()
    for i,(xb,yb) in enumerate(dl, 1):
        (loss_func(model(xb), yb)*len(xb)).backward()
        n += len(xb)
        if i % accumulate == 0: step()
    if i % accumulate: step()


def never_zeroes(model, loss_func, opt, dl, accumulate=1):
    opt.zero_grad = lambda: None
    epoch(model, loss_func, opt, dl, accumulate)


def steps_at_the_end(model, loss_func, opt, dl, accumulate=1):
    epoch(model, loss_func, opt, dl, accumulate)
    opt.step()


def asks_len(model, loss_func, opt, dl, accumulate=1):
    for i in range(len(dl)): pass


def left_in_eval(model, loss_func, opt, dl, accumulate=1):
    model.train = lambda mode=True: model
    epoch(model, loss_func, opt, dl, accumulate)


def zero_before(model, loss_func, opt, dl, accumulate=1):
    zero,opt.zero_grad = opt.zero_grad,lambda: None
    def step():
        torch.optim.SGD.step(opt)
        step.due = True
    step.due,opt.step = False,step
    def fresh():
        for batch in dl:
            if step.due: zero()
            step.due = False
            yield batch
    epoch(model, loss_func, opt, fresh(), accumulate)


# -- 3. keep the best

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


class Rebinds(Best):
    def restore(self): self.model = self.kept


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


class FromOne(Best):
    "The best so far starts at 1., and a loss may well be larger"
    def __init__(self, model): self.model,self.lowest = model,1.


class Minimum(BestByClone):
    "Right: a list of losses"
    def __init__(self, model): self.model,self.losses = model,[]

    def better(self, loss, acc):
        self.losses.append(loss)
        return loss == min(self.losses)

    def __call__(self, epoch, loss, acc):
        if self.better(loss, acc): self.kept = self.state()

    def restore(self):
        for k,v in self.model.state_dict().items(): v.copy_(self.kept[k])


EXERCISES = [
    (check_by_label, [by_label, with_dicts, with_bincount],
     [(forgets_eval, 'model.eval()'), (with_gradients, 'torch.no_grad()'), (averages, 'Batches count alike'),
      (as_tensor, '.tolist()'), (last_batch, 'the last batch alone'), (zero_for_none, 'nan'),
      (no_return, 'is there a `return`'), (of_all, 'Divided by all'), (with_len, 'all it takes'),
      (of_guesses, 'how often it occurs'), (eval_too_late, 'before the first batch'),
      (a_list_each, 'lists for each batch'), (walks_for_each, 'only once')]),
    (check_accumulate, [epoch, by_model, running_mean],
     [(looks_ahead, 'before you take the next'), (one_backward, 'before you take the next'),
      (forgets_last, 'it must step'), (divides, 'Divided by `accumulate`'), (adds_up, 'add up'),
      (zeroes_each, 'zeroed before each batch'), (step_each, 'a step after each batch'),
      (by_number, 'Divided by the number of batches'), (never_divides, 'never divided'),
      (left_in_eval, 'model.train()'), (zero_before, 'left over'), (leaves_last, 'add up'),
      (never_counts_again, 'from 0 again'), (never_zeroes, 'opt.zero_grad()'),
      (steps_at_the_end, 'left over'), (asks_len, 'all it takes')]),
    (check_best, [Best, BestByClone, Minimum],
     [(NoCopy, 'Were the tensors copied'), (ShallowCopy, 'Were the tensors copied'), (Rebinds, 'put back'),
      (OnlyParameters, 'The buffers are not'), (Highest, 'the largest loss'), (ByAccuracy, 'go by the loss'),
      (Always, 'the last epoch'), (AboveZero, 'below'), (FromOne, 'math.inf')]),
]
