"Checks of lesson 30_preflight"
import torch
from torch import nn
from .kit import Case, check, require, same

@check('labels')
def check_labels_fit(f):  # A function of labels and the number of outputs
    "Check whether labels out of range are noticed"
    def case(name, labels, n, want, hint):
        def run(f):
            got = f(torch.tensor(labels, dtype=torch.long), n)
            require(got is not None, 'it is None: is there a `return`?', (labels, n), hint=hint)
            same(bool(got), want, (labels, n))
        return Case(name, run, hint)
    return [case('0 to n-1', [0, 1, 2], 3, True, 'All are from 0 to n_outputs - 1: True.'),
            case('n itself', [0, 3], 3, False, 'With 3 outputs the largest label is 2: < n_outputs, not <=.'),
            case('from 1', [1, 2, 3], 3, False, 'Labels are counted from 0.'),
            case('negative', [0, -1], 3, False, 'A label below 0 does not fit.'),
            case('left out', [0, -100, 2], 3, True, '-100 means "leave this one out": it fits.'),
            case('left out, and one wrong', [-100, 7], 3, False,
                 'Leave out the -100 only, and look at the others.'),
            case('all left out', [-100, -100], 3, True,
                 'Nothing is left to be wrong. (min() of no numbers is an error.)')]

class _Two(nn.Module):
    def __init__(self, cut=False, skip=False):
        super().__init__()
        torch.manual_seed(0)
        self.a,self.b = nn.Linear(3, 4),nn.Linear(4, 2)
        self.cut,self.skip = cut,skip
    def forward(self, x):
        h = self.a(x)
        if self.skip: return h
        return self.b(h.detach() if self.cut else h)

@check('unreached')
def check_unreached(f):  # A function of a model and a batch that gives names
    "Check that parameters without a gradient are found"
    xb = torch.ones(5, 3)
    def case(name, make, want, hint):
        def run(f):
            model = make()
            frozen = [n for n,p in model.named_parameters() if not p.requires_grad]
            got = f(model, xb)
            others = sorted({n for n,_ in model.named_parameters()} - set(want) - set(frozen))
            mistakes = {'Frozen parameters (requires_grad is False) do not count.': sorted(want + frozen),
                        'Those *without* a gradient, after backward().': others}
            same(sorted(got) if got is not None else got, sorted(want), name, mistakes=mistakes)
            left = [n for n,p in model.named_parameters() if p.grad is not None]
            require(not left, f'gradients are left behind: {left}', name,
                    hint='Set p.grad to None when you have looked.')
        return Case(name, run, hint)
    def frozen():
        model = _Two()
        model.a.requires_grad_(False)
        return model
    return [case('all reached', _Two, [], 'model(xb).sum().backward(), then look at each p.grad.'),
            case('cut off', lambda: _Two(cut=True), ['a.weight', 'a.bias'],
                 'p.grad is None where no gradient came.'),
            case('never used', lambda: _Two(skip=True), ['b.weight', 'b.bias'],
                 'p.grad is None where no gradient came.'),
            case('frozen', frozen, [], 'Frozen parameters do not count.')]
