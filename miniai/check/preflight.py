"Checks of lesson 30_preflight"
import torch
from torch import nn
from .kit import Case, check, require, same

@check('leaked')
def check_leaked(f):  # A function of training and validation inputs that gives a number
    "Check whether validation samples are found in the training set"
    def case(name, train, valid, want, hint):
        def run(f):
            train_,valid_ = torch.tensor(train),torch.tensor(valid)
            got = f(train_, valid_)
            require(got is not None, 'it is None: is there a `return`?', (train_, valid_), hint=hint)
            same(int(got), want, (train_, valid_))
        return Case(name, run, hint)
    return [case('none', [[1, 2], [3, 4]], [[5, 6]], 0, 'No row is in both: 0.'),
            case('two', [[1, 2], [3, 4], [5, 6]], [[5, 6], [7, 8], [1, 2]], 2,
                 'Rows may be anywhere in train.'),
            case('parts', [[1, 2], [3, 4]], [[1, 4], [2, 1]], 0, 'A whole row must be equal, in order.'),
            case('twice in train', [[1, 2], [1, 2]], [[1, 2]], 1, 'Count samples of valid, not pairs.'),
            case('twice in valid', [[1, 2]], [[1, 2], [1, 2]], 2, 'In valid, equal ones count too.'),
            case('pictures', [[[1, 2], [3, 4]]], [[[1, 2], [3, 4]], [[1, 2], [3, 5]]], 1,
                 'A row may have several dimensions: flatten(1) first.')]

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
