"Checks of lesson 11, training"
import torch
import torch.nn.functional as F
from .kit import Case, Report, difference, require, rng, run_cases, same


import copy

class _Watched(torch.nn.Module):
    "A linear model that gives other scores in training mode, and notes how it is used"
    def __init__(self, n_in=3, n_out=4, seed=0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(n_out, n_in, generator=rng(seed)))
        self.modes,self.grads = [],[]

    def forward(self, x):
        self.modes.append(self.training)
        self.grads.append(torch.is_grad_enabled())
        return x@self.weight.t() * (-0.7 if self.training else 1.)

def _batches_of(sizes, seed=1):
    "Batches of the given sizes: rows of three numbers, and labels from 0 to 3"
    g = rng(seed)
    return [(torch.randn(n, 3, generator=g), torch.randint(4, (n,), generator=g)) for n in sizes]

def _measured(model, batches, training=False):
    "Loss and accuracy of a `_Watched` model on batches, for each batch"
    sign = -0.7 if training else 1.
    scores = [(x@model.weight.detach().t()*sign, y) for x,y in batches]
    return [(F.cross_entropy(s, y).item(), (s.argmax(1) == y).float().mean().item()) for s,y in scores]

def _validate_hint(model, batches):
    "A function that names the usual mistake in a validation"
    whole = [tuple(torch.cat(o) for o in zip(*batches))]
    (loss,acc),each,n = _measured(model, whole)[0],_measured(model, batches),sum(len(x) for x,_ in batches)
    mistakes = {'Batches of different sizes count alike here: weight each by its number of items.': [sum(o)/len(each) for o in zip(*each)],
                'This is the last batch alone.': each[-1], 'This is the first batch alone.': each[0],
                'The model was in training mode: call `model.eval()` first.': _measured(model, whole, True)[0],
                'First the loss, then the accuracy.': (acc, loss),
                'These are sums over the batches, not means.': [sum(o) for o in zip(*each)],
                'These are sums over the items, not means.': (loss*n, acc*n)}
    def hint(got, want):
        if not isinstance(got, (tuple, list)) or len(got) != 2: return 'Return the loss and the accuracy: `return loss, acc`.'
        return next((text for text,m in mistakes.items() if not difference(tuple(got), tuple(m))), '')
    return hint

def _validate_case(title, sizes, hint='', wrap=list):
    def run(f):
        model,batches = _Watched().train(),_batches_of(sizes)
        before = model.weight.detach().clone()
        got = f(model, F.cross_entropy, wrap(batches))
        want = _measured(model, [tuple(torch.cat(o) for o in zip(*batches))])[0]
        given = f'batches of {sizes}'
        tensors = isinstance(got, (tuple, list)) and any(isinstance(o, torch.Tensor) for o in got)
        require(not tensors, 'tensors came, not floats', given, got, want, hint='`.item()` makes a Python number of a tensor.')
        same(tuple(got) if isinstance(got, list) else got, want, given, hint=_validate_hint(model, batches))
        require(not any(model.modes), 'the model was used in training mode', given, hint='Call `model.eval()` before the first batch.')
        require(not any(model.grads), 'gradients were recorded', given, hint='Nobody will call backward: put the loop under `with torch.no_grad():`.')
        require(torch.equal(model.weight, before), 'the weights have changed', given, hint='Validation only looks.')
    return Case(title, run, hint)

def check_validate(
    f,              # Your validation: takes `model`, `loss_func` and `dl`
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a validation: mean loss and accuracy over all batches of a loader, as two floats"
    cases = [_validate_case('one batch', [6]), _validate_case('two batches of one size', [5, 5]),
             _validate_case('a short last batch', [8, 8, 1], 'The average of averages is not the average.'),
             _validate_case('all sizes differ', [3, 9, 2, 5]),
             _validate_case('a loader that can only be walked through', [4, 2], 'Not each loader has a length or an index: a `for` loop is all it takes.', iter)]
    return run_cases(f, cases, 'validation', limit)

class _CountedSGD(torch.optim.SGD):
    "SGD that counts"
    steps = zeroed = 0
    def step(self, closure=None):
        self.steps += 1
        return super().step(closure)
    def zero_grad(self, set_to_none=True):
        self.zeroed += 1
        super().zero_grad(set_to_none)

def _grouped_weights(batches, groups, share):
    "The weights after a step for each group of batches, each batch's loss times `share(its size, sizes in the group)`"
    model = _Watched().train()
    opt = torch.optim.SGD(model.parameters(), lr=0.5)
    for group in groups:
        sizes = [len(batches[i][0]) for i in group]
        for i in group: (F.cross_entropy(model(batches[i][0]), batches[i][1])*share(len(batches[i][0]), sizes)).backward()
        opt.step()
        opt.zero_grad()
    return model.weight.detach()

def _accumulate_hint(batches, accumulate):
    "A function that names the usual mistake in an accumulation"
    n = len(batches)
    groups,singles = [range(n)[i:i+accumulate] for i in range(0, n, accumulate)],[[i] for i in range(n)]
    by_share,full = lambda k,sizes: k/sum(sizes),[g for g in groups if len(g) == accumulate]
    mistakes = {'This is what a step after each batch gives.': (singles, by_share),
                'The gradients of a group add up: each loss must be multiplied by its share of the group.': (groups, lambda k,sizes: 1),
                'Divided by `accumulate`, also where batches are short or few: weight each by its share of the items in its group.':
                    (groups, lambda k,sizes: 1/accumulate),
                'Divided by the number of batches in the group: a short batch counts too much.': (groups, lambda k,sizes: 1/len(sizes)),
                'The last group is short, but it must step too.': (full, by_share),
                'The last group is short, but it must step too; and weight each batch by its share of the items.': (full, lambda k,sizes: 1/accumulate),
                'Only the last batch of each group had an effect: are the gradients zeroed before each batch?': ([[g[-1]] for g in groups], by_share),
                'Only the last batch of each group had an effect: are the gradients zeroed before each batch? (And its loss was divided.)':
                    ([[g[-1]] for g in groups], lambda k,sizes: 1/accumulate)}
    return lambda got,want: next((text for text,(gs,share) in mistakes.items() if not difference(got, _grouped_weights(batches, gs, share))), '')

def _accumulate_case(title, sizes, accumulate, hint=''):
    def run(f):
        model,batches = _Watched(),_batches_of(sizes)
        groups = [range(len(sizes))[i:i+accumulate] for i in range(0, len(sizes), accumulate)]
        opt = _CountedSGD(model.eval().parameters(), lr=0.5)
        f(model, F.cross_entropy, opt, iter(batches), accumulate)
        given = f'batches of {sizes}, accumulate={accumulate}'
        require(model.modes and all(model.modes), 'the model was used in eval mode', given, hint='Call `model.train()` before the first batch.')
        want = _grouped_weights(batches, groups, lambda k,sizes: k/sum(sizes))
        same(model.weight.detach(), want, given, hint=_accumulate_hint(batches, accumulate))
        require(opt.steps == len(groups), f'{opt.steps} steps were taken, not {len(groups)}', given)
        left = model.weight.grad is not None and model.weight.grad.abs().sum() > 0
        require(not left, 'a gradient is left over at the end', given, hint='Call `opt.zero_grad()` after each step: what is left would go into the next epoch.')
    return Case(title, run, hint)

def check_accumulate(
    f,              # Your epoch: takes `model`, `loss_func`, `opt`, `dl` and `accumulate`
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check an epoch of training with gradient accumulation: a step for each group of batches, as if they were one"
    cases = [_accumulate_case('a step for each batch', [4, 4, 4], 1), _accumulate_case('two batches to a step', [4, 4, 4, 4], 2),
             _accumulate_case('a short last group', [4]*7, 3, 'Seven batches by threes: 3, 3 and 1.'),
             _accumulate_case('a short last batch', [4, 4, 4, 1], 2), _accumulate_case('all sizes differ', [5, 1, 8, 2, 3], 3),
             _accumulate_case('fewer batches than `accumulate`', [4, 2], 8)]
    return run_cases(f, cases, 'accumulation', limit)

def _best_case(title, losses, accs=None, hint=''):
    accs = accs or [0.5]*len(losses)
    def run(cls):
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
        keeper,states = cls(model),[]
        for epoch,(loss,acc) in enumerate(zip(losses, accs)):
            with torch.no_grad():
                for t in (*model.parameters(), *model.buffers()): t.fill_(epoch+1)
            states.append(copy.deepcopy(model.state_dict()))
            keeper(epoch, loss, acc)
        with torch.no_grad():
            for t in model.state_dict().values(): t.fill_(99)
        keeper.restore()
        best = min(range(len(losses)), key=losses.__getitem__)
        same(dict(model.state_dict()), dict(states[best]), f'losses {losses}', hint=_best_hint(losses, accs))
        with torch.no_grad():
            for t in model.state_dict().values(): t.fill_(98)
        keeper.restore()
        same(dict(model.state_dict()), dict(states[best]), f'losses {losses}, restored a second time',
             hint='What was kept has changed: `load_state_dict` copies, so keep the kept tensors out of the model.')
    return Case(title, run, hint)

def _best_hint(losses, accs):
    def hint(got, want):
        weight,buffer = (int(got[name].flatten()[0]) for name in ('0.weight', '1.running_mean'))
        best = min(range(len(losses)), key=losses.__getitem__)
        if weight == 99: return 'It put back what the model had last: `state_dict()` gives the tensors themselves, so copy them (`copy.deepcopy`).'
        if weight == best+1 != buffer: return 'The parameters are right, but not the buffers: take all of `state_dict()`.'
        if len(losses) > 1 and weight == 1+max(range(len(losses)), key=losses.__getitem__): return 'This is the epoch with the largest loss.'
        if len(set(accs)) > 1 and weight == 1+max(range(len(accs)), key=accs.__getitem__): return 'This is the epoch with the best accuracy: go by the loss.'
        return f'These are the weights of epoch {weight-1}, and the best one was {best}.'
    return hint

def check_best(
    cls,            # Your class: made with a model, called with epoch, loss and accuracy, and with a method `restore`
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check an object that remembers the weights of the epoch with the lowest loss and puts them back"
    cases = [_best_case('a single epoch', [0.5]), _best_case('the last epoch is the best', [0.9, 0.5, 0.3]),
             _best_case('the first epoch is the best', [0.2, 0.5, 0.3]), _best_case('the best is in the middle', [0.9, 0.4, 0.6, 0.5]),
             _best_case('loss and accuracy disagree', [0.9, 0.4, 0.6], [0.5, 0.7, 0.8]), _best_case('losses below zero', [0.5, 2., -1., -0.5])]
    return run_cases(cls, cases, 'keeping the best', limit)
