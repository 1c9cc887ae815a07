"Checks of lesson 20_activations: functions that look into a model and leave no trace"
import contextlib
import torch
from torch import nn
from miniai.layers import Linear, ReLU, Sequential
from .kit import Case, check, require, same

def _net(ours=False):
    box,linear,relu = (Sequential, Linear, ReLU) if ours else (nn.Sequential, nn.Linear, nn.ReLU)
    return box(linear(6, 5), relu(), box(linear(5, 4), relu()), linear(4, 3))

class _Swapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.last,self.first = nn.Linear(4, 2),nn.Linear(6, 4)
    def forward(self, x): return self.last(self.first(x).relu())

def _left(model, hint='Remove them, or use `with Hooks(…)`.'):
    n = sum(len(vars(m).get(kind, ())) for m in model.modules() for kind in ('_forward_hooks', '_hooks'))
    require(n == 0, f'{n} hooks are left on the model', hint=hint)

@check('out_shapes')
def check_out_shapes(f):  # Called with a model and a batch
    "Check the shapes of what each child gives"
    x = torch.randn(7, 6)
    def case(name, model, want, hint):
        def run(f):
            got = f(model, x)
            require(isinstance(got, (list, tuple)), 'the shapes must be a list', got=got,
                    hint='Is there a `return`?' if got is None else 'Give a list of tuples.')
            same([tuple(s) for s in got], want, given=f'x of shape {tuple(x.shape)}', mistakes={
                'No hook was called: a Hook goes when nobody holds it, so keep them in a list.': [],
                'These are all modules; children() gives only the outermost.': [*below, (7, 3)],
                'These are all modules below it; children() gives only the outermost.': below,
                'This is what goes in; what comes out is the last that a hook gets.': [(7, 6), *want[:3]],
                'In the order of the calls, please: append when a hook is called.': want[::-1]})
            _left(model)
        return Case(name, run, hint)
    want,below = [(7, 5), (7, 5), (7, 4), (7, 3)],[(7, 5), (7, 5), *[(7, 4)]*3, (7, 3)]
    yield case("a model of PyTorch's", _net(), want, 'One tuple for each child. (The function '
               'of a Hook gets the hook first, then module, inputs, output.)')
    yield case('a model of ours', _net(True), want, 'Ours takes hooks by the same method.')
    yield case('children in another order', _Swapped(), [(7, 4), (7, 2)],
               'Use hooks: a loop that calls the children one after the other is not what this model does.')
    def fails(f):
        model = _net()
        with contextlib.suppress(RuntimeError, ValueError): f(model, torch.randn(7, 5))  # it doesn't fit
        _left(model, 'The line that removes them was skipped: put it in `finally`, or use `with Hooks`.')
    yield Case('no hook left after an error', fails, 'Remove them in `finally`, or use `with Hooks(…)`.')

class _OnDevice(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        name = func.__name__
        require(name not in ('item', 'tolist', '__float__', '__int__', '__bool__', 'cpu', 'numpy'),
                f'{name} waits for the device', hint='.item() and float() wait: leave it a tensor.')
        return super().__torch_function__(func, types, args, kwargs or {})

def _fed(f, batches):
    hook = type('Hook', (), {})()
    for b in batches:
        require(f(hook, nn.ReLU(), (b,), b) is None, 'it returned something',
                hint="What a hook returns takes the place of the layer's output: return nothing.")
    require(hasattr(hook, 'mean'), 'the hook has no attribute `mean`', hint='Set `hook.mean`.')
    return vars(hook)

@check('running_mean')
def check_running_mean(f):  # A function for hooks
    "Check a mean over all numbers of all batches"
    g = torch.Generator().manual_seed(0)
    batches = [torch.randn(n, 4, generator=g) + n for n in (8, 8, 2)]
    def case(name, bs, hint):
        def run(f):
            total,means = sum(b.sum() for b in bs),torch.stack([b.mean() for b in bs])
            same(torch.as_tensor(_fed(f, bs)['mean']).float(), torch.cat([b.flatten() for b in bs]).mean(),
                 given=f'batches of shape {[tuple(b.shape) for b in bs]}', mistakes={
                     "A mean of the batches' means: a small one counts as much as a large one.": means.mean(),
                     'This is the mean of the last batch alone.': means[-1], 'This is a sum.': total,
                     'A sum of numbers over a number of rows: `output.numel()`.': total/sum(map(len, bs))})
        return Case(name, run, hint)
    yield case('one batch', batches[:1], 'For one batch it is `output.mean()`.')
    yield case('batches of one size', batches[:2], 'All numbers count the same, early or late: keep a sum.')
    yield case('a smaller last batch', batches, 'Keep a sum and a number.')
    yield case('other rows', [batches[0].view(-1, 2), *batches[1:]], '`output.numel()` counts them.')
    def no_graph(f):
        kept = _fed(f, [b.clone().requires_grad_() for b in batches]).items()
        kept = [n for n,v in kept if isinstance(v, torch.Tensor) and v.requires_grad]
        require(not kept, f'hook.{"".join(kept[:1])} holds the graph of its batches')
    yield Case('no graph kept', no_graph, 'Use `output.detach()`: else all batches stay in memory.')
    yield Case('no batch waits', lambda f: _fed(f, [b.as_subclass(_OnDevice) for b in batches]),
               '.item() and float() wait: leave it a tensor.')
    def grows(f):
        kept = [n for n,v in _fed(f, batches*9).items() if isinstance(v, (list, tuple)) and len(v) > 9]
        require(not kept, f'hook.{"".join(kept[:1])} grows with every batch')
    yield Case('nothing grows', grows, 'Keep a sum and a number instead of a list.')

@check('features')
def check_features(f):  # Called with a model, a layer of it, and a list of batches
    "Check the outputs of a layer, collected"
    xs = list(torch.randn(10, 6, generator=torch.Generator().manual_seed(1)).split(4))
    def made(): return nn.Sequential(nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Dropout(0.5)), *_net())
    def case(name, model, i, hint):
        def run(f):
            alone = type(model)(*[*model][:i+1])
            with torch.no_grad(): want,final = ([m.eval()(x) for x in xs] for m in (alone, model))
            got = f(model.train(), model[i], xs)
            require(isinstance(got, torch.Tensor), 'it must be one tensor', hint='Return torch.cat(…).')
            same(got, torch.cat(want), mistakes={
                'That is what the whole model gives; the layer is asked for.': torch.cat(final),
                'Only the last batch is there.': want[-1]})
            require(not got.requires_grad, 'it carries a graph', hint='Work under `torch.no_grad()`.')
        return Case(name, run, hint)
    yield case("a model of PyTorch's", _net(), 2, "The layer's outputs, after what comes before it. "
               'Hooks takes a list of modules: [layer].')
    yield case('a model of ours', _net(True), 2, 'Ours takes hooks by the same method.')
    yield case('with dropout', made(), 0, 'Dropout was at work: call `model.eval()` first.')
    def as_before(f):
        for mode in True, False:
            model = made().train(mode)
            model[0].eval()  # frozen, whatever the mode of the others
            before = [m.training for m in model.modules()]
            f(model, model[1], xs)
            _left(model)
            same([m.training for m in model.modules()], before, given='the modes of its modules')
    yield Case('the model as before', as_before, "Note each module's `training`, and put it back at the end.")
