"Checks of lesson 07_layers"
from functools import reduce
import torch
from torch import nn
from miniai.module import Module
from .kit import Case, check, require, same
from .matmul import refused

def _linear(w, b):
    "A linear layer of one number: w*x + b"
    layer = nn.Linear(1, 1)
    torch.nn.utils.vector_to_parameters(torch.tensor([w, b]), layer.parameters())
    return layer

@check('Residual')
def check_residual(cls):  # Your `Residual(*layers)`
    "Check a module that adds to its input what its layers make of it"
    x = torch.tensor([[1.], [-2.]])
    def layers(): return _linear(3., 1.),nn.ReLU(),_linear(2., -1.)
    def unchanged(m, want, title, mistakes=None):
        given = x.clone()
        same(m(given), want, title, mistakes=mistakes)
        same(given, x, 'the input afterwards', 'Do not write into it: `x + …` instead of `x += …`.')
    def gives(cls):
        a,act,b = layers()
        unchanged(cls(a, act, b), x + b(act(a(x))), 'Linear, ReLU, Linear', {
            'That is what the layers give: add the input.': lambda: b(act(a(x))),
            'Each layer got the input: hand each the result of the last.': lambda: x + a(x) + act(x) + b(x),
            'The loop has overwritten x: keep the input under another name.': lambda: 2*b(act(a(x))),
            'The input is added after every layer: add it once, at the end.':
                lambda: reduce(lambda y,layer: y + layer(y), (a, act, b), x),
            'Only one of the layers was called.': lambda: x + a(x)})
    def none(cls): unchanged(cls(), x*2, 'no layers')
    def finds(cls):
        m = cls(*layers())
        same(len(list(m.parameters())), 4, 'the number of parameters of Linear, ReLU, Linear')
        m.eval()
        require(not any(o.training for o in m.modules()), 'eval() does not reach the layers')
    def twice(cls):
        a = _linear(3., 1.)
        once = '`children()` gives what is shared once.'
        same(cls(a, a)(x.clone()), x + a(a(x)), 'the same layer twice', mistakes={once: lambda: x + a(x)})
    return [Case('x + layers(x)', gives, 'Loop over the layers, starting from x; return x + what comes out.'),
            Case('no layers', none, 'A loop over nothing leaves x as it is: it is x + x.'),
            Case('the layers are registered', finds, 'A plain list hides them; a ModuleList does not.'),
            Case('one layer in two places', twice, 'Go over a list of all places.')]

class _Net(Module):
    "Layers as attributes and in lists, on three levels; ours around PyTorch's"
    def __init__(self):
        super().__init__()
        self.body,self.act = nn.Sequential(_block(), nn.ReLU(), _block()),nn.ReLU()
        self.layers = nn.ModuleList([nn.ReLU(), nn.Linear(1, 1)])

def _block(): return nn.Sequential(nn.Linear(2, 2), nn.ReLU())

@check('replace_layers')
def check_replace_layers(f):  # Your `replace_layers(model, old, make)`
    "Check a function that replaces all layers of one class in a model"
    def kinds(model):
        found = [(name, type(m).__name__) for name,m in model.named_modules() if name]
        require(len(dict(found)) == len(found), 'a layer hangs beside the old one', found,
                hint="`setattr(model, '0.1', …)` does not go into '0': set it in the module that holds it.")
        return dict(found)
    def replaced(name, make, hint):
        def run(f):
            model = make()
            before,modules = kinds(model),dict(model.named_modules())
            got = f(model, nn.ReLU, lambda old: nn.Tanh())
            require(got is model, 'it does not return the model that it got', got=got,
                    hint='Change the model itself, not a copy, and `return model` at the end.')
            want = {name: kind.replace('ReLU', 'Tanh') for name,kind in before.items()}
            same(kinds(model), want, before)
            stay = [m is modules[name] for name,m in model.named_modules() if not isinstance(m, nn.Tanh)]
            require(all(stay), 'a layer that should stay was replaced', before)
        return Case(name, run, hint)
    def sees(f):
        model,seen = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 4))),[]
        layers = [model[0], model[1][0]]
        f(model, nn.Linear, lambda old: seen.append(old) or nn.Identity())
        same([any(o is m for m in layers) for o in seen], [True]*2, 'two Linear layers')
    below = 'For each child: is it an `old`? Then set the new one. If not, do the same below it.'
    return [replaced('one level', _block, 'For each of `named_children()`: `setattr(model, name, …)`.'),
            replaced('two levels', lambda: nn.Sequential(_block(), _block()), below),
            replaced('three levels', _Net, below),
            replaced('nothing to replace', lambda: nn.Sequential(nn.Sigmoid()), 'Only `isinstance(m, old)`.'),
            Case('make is given each old layer', sees, '`make(module)` may need its sizes.')]

@check('ModuleDict')
def check_module_dict(cls):  # Your `ModuleDict`
    "Check a dictionary of modules"
    def reads(D):
        a,b = nn.Linear(2, 3),nn.ReLU()
        d = D({'a': a, 'b': b})
        require(d['a'] is a and d['b'] is b, "d['a'] is not what was put in", hint='`__getitem__(self, key)`')
        same((len(d), list(d), 'a' in d, 'c' in d), (2, ['a', 'b'], True, False), "{'a': …, 'b': …}",
             '`__len__`, `__iter__` over the names, `__contains__`.')
        same((list(d.keys()), list(d.values()) == [a, b], dict(d.items()) == {'a': a, 'b': b}),
             (['a', 'b'], True, True), "{'a': …, 'b': …}", '`keys()`, `values()`, `items()`, in order.')
        same(len(D()), 0, 'no argument')
        require('train' not in D(), "'train' in d is True", hint='The names that were put in, not `hasattr`.')
    def finds(D):
        d = D({'a': nn.Linear(2, 3), 'b': nn.Sequential(nn.Linear(3, 1))})
        same(list(d.state_dict()), ['a.weight', 'a.bias', 'b.0.weight', 'b.0.bias'], "{'a': …, 'b': …}")
        require(not d.eval()['b'][0].training, 'eval() does not reach the modules')
    def changes(D):
        d,other = D({'a': nn.Linear(2, 3), 'b': nn.ReLU()}),nn.Linear(6, 6)
        d['c'],d['a'] = nn.Linear(5, 5),other
        require(d['a'] is other and list(d) == ['a', 'b', 'c'], "d['a'] = m leaves the old one, or its place")
        same(list(d.state_dict()), ['a.weight', 'a.bias', 'c.weight', 'c.bias'], "d['c'] = …",
             '`__setitem__` registers, too.')
        del d['a']
        same((list(d), 'a' in d, len(list(d.parameters()))), (['b', 'c'], False, 2), "del d['a']")
    def unknown(D): refused(KeyError, D({'a': nn.ReLU()}).__getitem__, 'zebra')
    return [Case('a dictionary', reads, 'What a dictionary can do; without an argument it is empty.'),
            Case('its modules are registered', finds, 'Register each with `add_module`.'),
            Case('changing it', changes, '`add_module` for `d[k] = m`, `delattr` for `del d[k]`.'),
            Case('an unknown name', unknown, 'A dictionary raises KeyError.')]
