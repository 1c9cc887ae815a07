"Checks of lesson 30_preflight"
import torch
from torch import nn
from .kit import Case, check, require, same

@check('leaked')
def check_leaked(f):  # A function of training and validation inputs that gives a number
    "Check whether validation samples are found in the training set"
    def case(name, train, valid, want, hint):
        def run(f):
            given = torch.tensor(train, dtype=torch.float),torch.tensor(valid, dtype=torch.float)
            got = f(*given)
            require(got is not None, 'it is None: is there a `return`?', given)
            one = torch.as_tensor(got)
            require(one.numel() == 1 and one.dtype != torch.bool, 'it is not one number', given, got, want,
                    'How many samples of valid, not which ones or whether: is there a sum?')
            objects = 'In a set, tensors are equal only if they are the same object: make tuples, or use ==.'
            known = {'Rows may be anywhere in train.': 1, objects: 0} if name == 'anywhere' else {}
            same(int(one), want, given, mistakes=known)
        return Case(name, run, hint)
    return [case('none', [[1, 2], [3, 4]], [[5, 6]], 0, 'No row is in both: 0.'),
            case('anywhere', [[1, 2], [3, 4], [5, 6]], [[5, 6], [3, 4], [1, 2]], 3, 'Each row counts.'),
            case('parts', [[1, 2], [3, 4]], [[1, 4], [2, 1]], 0, 'A whole row must be equal, in order.'),
            case('twice in train', [[1, 2], [1, 2]], [[1, 2]], 1, 'Count samples of valid, not pairs.'),
            case('twice in valid', [[1, 2]], [[1, 2], [1, 2]], 2, 'In valid, equal ones count too.'),
            case('pictures', [[[1, 2], [3, 4]]], [[[1, 2], [3, 4]], [[1, 2], [3, 5]]], 1,
                 'A row may have several dimensions: flatten(1) first.')]

class _Two(nn.Module):
    def __init__(self, use):
        super().__init__()
        self.a,self.b,self.use = nn.Linear(3, 4),nn.Linear(4, 2),use
    def forward(self, x): return self.use(self.a, self.b, x)

@check('unreached')
def check_unreached(f):  # A function of a model and a batch that gives names
    "Check that parameters without a gradient are found"
    def case(name, use, want, hint, frozen=()):
        def run(f):
            model = _Two(use)
            for n in frozen: model.get_parameter(n).requires_grad_(False)
            got = f(model, torch.ones(5, 3))
            require(got is not None, 'it is None: is there a `return`?', name)
            require(all(isinstance(n, str) for n in got), 'these are not names', name,
                    hint='Names as text: named_parameters() gives (name, parameter).')
            others = sorted({n for n,_ in model.named_parameters()} - {*want, *frozen})
            mistakes = {'Frozen parameters (requires_grad is False) do not count.': sorted([*want, *frozen]),
                        'Those *without* a gradient, after backward().': others}
            same(sorted(got), want, name, mistakes=mistakes)
            left = [n for n,p in model.named_parameters() if p.grad is not None]
            require(not left, f'gradients are left behind: {left}', name,
                    hint='Set p.grad to None when you have looked.')
            thawed = [n for n,p in model.named_parameters() if p.requires_grad == (n in frozen)]
            require(not thawed, f'requires_grad changed: {thawed}', name, hint='What is frozen stays so.')
        return Case(name, run, hint)
    def as_usual(a, b, x): return b(a(x))
    first,none = ['a.bias', 'a.weight'],'p.grad is None where no gradient came.'
    return [case('all reached', as_usual, [], 'model(xb).sum().backward(), then each p.grad.'),
            case('cut off', lambda a, b, x: b(a(x).detach()), first, none),
            case('never used', lambda a, b, x: a(x), ['b.bias', 'b.weight'], none),
            case('zeros', lambda a, b, x: b(0*a(x)), [], 'Zeros have come too: only None is no gradient.'),
            case('frozen', as_usual, [], 'Frozen parameters do not count.', first)]
