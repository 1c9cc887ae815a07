"Checks of lesson 06 and 07, modules"
import torch
from .kit import Case, Mismatch, Report, require, run_cases, same


from types import SimpleNamespace
import copy

def _param(*values): return torch.nn.Parameter(torch.tensor(values, dtype=torch.float32))

def _layers_on(M):
    "Layers on top of the base class `M`: one that multiplies, and one with buffers"
    class Scale(M):
        def __init__(self, *values):
            super().__init__()
            self.gain = _param(*values or (1., 2.))
        def forward(self, x, plus=0.): return x*self.gain + plus
        def extra_repr(self): return f'n={len(self.gain)}'
    class Counted(M):
        def __init__(self):
            super().__init__()
            self.gain = _param(1., 2.)
            self.register_buffer('calls', torch.tensor(3))
            self.register_buffer('mean', torch.tensor([0.5, 1.5]))
            self.register_buffer('cache', torch.zeros(2), persistent=False)
    return Scale,Counted

def _parts(M):
    "Small models on top of the base class `M`"
    Scale,Counted = _layers_on(M)
    class Pair(M):
        def __init__(self):
            super().__init__()
            self.first,self.second,self.shift = Scale(1., 2.),Scale(3., 4.),_param(5., 6.)
        def forward(self, x): return self.second(self.first(x)) + self.shift
    class Deep(M):
        def __init__(self):
            super().__init__()
            self.pair,self.last = Pair(),Scale(7., 8.)
        def forward(self, x): return self.last(self.pair(x))
    class Holder(M):
        def __init__(self):
            super().__init__()
            self.inner,self.shift = Counted(),_param(5., 6.)
    return SimpleNamespace(M=M, Scale=Scale, Pair=Pair, Deep=Deep, Counted=Counted, Holder=Holder)

def _places(got, want):
    "For each thing that came, which of `want` (by name) it is"
    return [next((name for name,o in want.items() if o is x), '?') for x in got]

_DEEP = ['pair.shift', 'pair.first.gain', 'pair.second.gain', 'last.gain']

def _deep(k):
    "A model of three levels, and its parameters by name"
    m = k.Deep()
    return m,dict(zip(_DEEP, (m.pair.shift, m.pair.first.gain, m.pair.second.gain, m.last.gain)))

def _finds_own(k):
    m = k.Scale()
    got = list(m.parameters())
    require(len(got) == 1 and got[0] is m.gain, 'a module with one Parameter does not give just that one', 'self.gain = Parameter(…)', got, [m.gain],
            hint='Python calls `__setattr__(self, name, value)` for `self.gain = …`: note the name there if the value is a Parameter, and store the value.')

def _ignores_others(k):
    m = k.Scale()
    m.n,m.table,m.text = 3,torch.ones(2),'a'
    require((m.n, m.text) == (3, 'a') and m.table.equal(torch.ones(2)), 'plain attributes got lost',
            hint='Does `__setattr__` store what it does not register? `super().__setattr__(name, value)` does.')
    require(len(list(m.parameters())) == 1, 'a plain tensor or number is given as a parameter', 'm.n = 3; m.table = torch.ones(2)', list(m.parameters()),
            hint='Look at what is set: only an `nn.Parameter` is a parameter. A tensor may be a table of constants.')

def _finds_nested(k):
    m,want = _deep(k)
    got = _places(m.parameters(), want)
    require(len(got) >= 4, 'parameters of modules inside modules are missing', 'a model of three levels', got, _DEEP,
            hint='After your own parameters, go through the children: `yield from child.parameters()`. Each child does the same.')
    require(sorted(got) == sorted(_DEEP), 'not the right parameters', 'a model of three levels', got, _DEEP)
    require(got == _DEEP, 'the parameters come in another order', 'a model of three levels', got, _DEEP,
            hint='First the own ones, in the order in which they were set; then those of each child, in that order.')

def _shared_once(k):
    m,_ = _deep(k)
    m.last.gain = m.pair.first.gain
    got = list(m.parameters())
    require(len(got) == 3, 'a parameter that two modules share is given more than once', 'm.last.gain = m.pair.first.gain', f'{len(got)} parameters', '3',
            hint='Keep a set of the parameters that were given, and leave out those in it: an optimizer would step twice with them.')
    m.again = m.pair
    got = [name for name,_ in m.named_modules()]
    require(len(got) == 5, 'a module that sits in two places is given twice', 'm.again = m.pair', got, ['', 'pair', 'pair.first', 'pair.second', 'last'],
            hint='The walk through the tree needs a set of the modules it has seen.')

def _replaced(k):
    m,new = k.Pair(),_param(9., 9.)
    old = m.shift
    m.shift = new
    got = list(m.parameters())
    require(not any(p is old for p in got), 'a parameter that was replaced is still given', 'm.shift = another Parameter',
            hint='The new value takes the place of the old under the same name.')
    require(got and got[0] is new, 'the new parameter is missing or has lost its place', 'm.shift = another Parameter', [tuple(p.shape) for p in got])
    m.shift = None
    require(m.shift is None and len(list(m.parameters())) == 2, 'setting a parameter to None does not take it out', 'm.shift = None',
            hint='None under a registered name means: none at the moment. Leave it out where you give parameters.')

def _deleted(k):
    m = k.Pair()
    del m.shift, m.first
    require(not hasattr(m, 'shift') and not hasattr(m, 'first'), 'a deleted attribute is still there', 'del m.shift, m.first',
            hint='`del m.shift` calls `__delattr__(self, name)`: it has to remove the value.')
    got = [name for name,_ in m.named_parameters()]
    require(got == ['second.gain'], 'what was deleted is still given', 'del m.shift, m.first', got, ['second.gain'],
            hint='`del m.shift` calls `__delattr__(self, name)`: forget the name there, too, or it will be trained and saved for ever.')

def _plain_tensor_refused(k):
    m = k.Scale()
    try: m.gain = torch.zeros(2)
    except (TypeError, ValueError): return
    raise Mismatch('a plain tensor took the place of a parameter, which is thereby lost to training', 'm.gain = torch.zeros(2)',
                   hint='Refuse it with a TypeError: whoever writes that forgot to wrap it, or meant `m.gain.data`.')

def _errors(k):
    class Forgetful(k.M):
        def __init__(self): self.inner = k.Scale()
    try: Forgetful()
    except AttributeError as e: require('__init__' in str(e), 'the error for a forgotten super().__init__() does not mention it', got=str(e),
                                        hint='Say what to do: "call super().__init__() first".')
    else: raise Mismatch('a module set before super().__init__() gave no error', 'def __init__(self): self.inner = …',
                         hint='Without `super().__init__()` your dictionaries do not exist yet. Raise an AttributeError that says so.')
    try: k.Scale().gian
    except AttributeError: return
    raise Mismatch('a misspelt attribute gave no error', 'm.gian', hint='`__getattr__` must raise AttributeError for what it does not know, never return None.')

def _names(k):
    m,want = _deep(k)
    got = [name for name,_ in m.named_parameters()]
    same(got, _DEEP, 'a model of three levels', 'The name of a nested parameter is the path to it with dots: put the name of the child and a dot before what the child gives.')
    require(_places([p for _,p in m.named_parameters()], want) == _DEEP, 'the names do not belong to the parameters they come with', got=got)
    same([name for name,_ in m.named_parameters('model')], [f'model.{name}' for name in _DEEP], "named_parameters('model')",
         'A prefix is put before each name, with a dot.')
    same([name for name,_ in m.named_parameters(recurse=False)], [], 'named_parameters(recurse=False) of a module without own parameters',
         'recurse=False: only the own parameters.')

def _walks(k):
    m,_ = _deep(k)
    tree = {'': m, 'pair': m.pair, 'pair.first': m.pair.first, 'pair.second': m.pair.second, 'last': m.last}
    same([name for name,_ in m.named_children()], ['pair', 'last'], hint='Children are the modules that are attributes, and only they.')
    require(_places(m.children(), tree) == ['pair', 'last'], 'children() does not give the two submodules', got=list(m.children()))
    same([name for name,_ in m.named_modules()], list(tree), 'a model of three levels',
         'This module first, under the empty name; then for each child all that the child gives, with the longer prefix.')
    require(_places(m.modules(), tree) == list(tree), 'modules() gives other modules than named_modules()', got=[type(o).__name__ for o in m.modules()])

def _by_name(k):
    m,_ = _deep(k)
    m.add_module('0', k.Scale(9.))
    require(_places([getattr(m, '0')], dict(m.named_modules())) == ['0'], 'what add_module added is not found', "m.add_module('0', …)",
            hint='`add_module(name, module)` does what `setattr` does, with a name that need not be a Python name.')
    require(m.get_submodule('pair.second') is m.pair.second and m.get_parameter('pair.first.gain') is m.pair.first.gain,
            'get_submodule or get_parameter gives something else', "m.get_submodule('pair.second')", hint='Walk along the dotted name with `getattr`.')

def _calls(k):
    x = torch.tensor([1., 2.])
    same(k.Scale(2., 3.)(x, plus=1.), torch.tensor([3., 7.]), 'm(x, plus=1.)', '`__call__(self, *args, **kwargs)` hands both on to `self.forward`.')
    same(k.Deep()(x), torch.tensor([56., 176.]), x, 'Each level calls the one below.')
    m = k.Deep()
    m(x).sum().backward()
    require(all(p.grad is not None for p in m.parameters()), 'a parameter got no gradient', hint='What `forward` uses must be what `parameters` gives.')

def _modes(k):
    m = k.Deep()
    require(m.training is True and m.pair.first.training is True, 'a new module is not in training mode', hint='`training = True` in `__init__`.')
    got = m.eval()
    flags = [o.training for o in m.modules()]
    require(flags == [False]*5, 'eval() does not reach every module', 'a model of three levels', flags, [False]*5,
            hint='Set your own flag, then call `child.train(mode)` for each child.')
    require(got is m, 'eval() does not return the module', got=got, hint='`return self`, so that calls can be chained.')
    require([o.training for o in m.train().modules()] == [True]*5, 'train() after eval() does not reach every module')

def _repr_text(k):
    want = repr(_parts(torch.nn.Module).Deep())
    got = repr(k.Deep())
    same(repr(k.Scale()), 'Scale(n=2)', hint='A module without children is its class name and `extra_repr()` in parentheses.')
    require('first' in got and 'second' in got, 'the repr does not show the modules inside modules', 'a model of three levels', got, want,
            hint="Each child's line is its name in parentheses, a colon, and the child's own repr.")
    if got == want: return
    line = next((pair for pair in zip(got.splitlines(), want.splitlines()) if pair[0] != pair[1]), (got.splitlines()[-1], want.splitlines()[-1]))
    raise Mismatch(f'the text differs, first in the line {line[0]!r}', 'a model of three levels', got, want,
                   hint=f"PyTorch writes {line[1]!r}. Move every line of a child's repr two spaces to the right.")

def _for_all(k):
    m,seen = k.Deep(),[]
    got = m.apply(seen.append)
    require(_places(seen, dict(m.named_modules())) == ['pair.first', 'pair.second', 'pair', 'last', ''] and got is m,
            'apply(f) does not call f with every module from the leaves up, or does not return the module', got=[type(o).__name__ for o in seen],
            hint='First `child.apply(f)` for each child, then `f(self)`; `return self`.')
    m.pair.requires_grad_(False)
    same([p.requires_grad for p in m.parameters()], [False]*3+[True], 'm.pair.requires_grad_(False)', 'It reaches all parameters below, and no others.')

def _zero_grad(k):
    m = k.Pair()
    m(torch.ones(2)).sum().backward()
    grads = [p.grad for p in m.parameters()]
    m.zero_grad(set_to_none=False)
    require(all(p.grad is g for p,g in zip(m.parameters(), grads)), 'zero_grad(set_to_none=False) replaced the gradient tensors',
            hint='Fill the tensors that are there with zeros: `p.grad.zero_()`. Others may hold on to them.')
    require(not any(g.any() for g in grads), 'zero_grad(set_to_none=False) left a gradient that is not zero', got=grads,
            hint='It has to reach the parameters of all submodules.')
    m.zero_grad()
    require(all(p.grad is None for p in m.parameters()), 'zero_grad() leaves gradients', hint='By default gradients become None, in all submodules.')

_STATE = ['shift', 'inner.gain', 'inner.calls', 'inner.mean']

def _buffers(k):
    m = k.Holder()
    require(len(list(m.parameters())) == 2, 'a buffer is given as a parameter', got=[name for name,_ in m.named_parameters()],
            hint='A buffer belongs to the model and is not trained: keep it apart from the parameters.')
    same([name for name,_ in m.named_buffers()], ['inner.calls', 'inner.mean', 'inner.cache'], hint='Buffers are found as parameters are, at any depth.')
    m.inner.mean = torch.tensor([7., 8.])
    same(dict(m.named_buffers())['inner.mean'], torch.tensor([7., 8.]), 'm.inner.mean = another tensor',
         'A tensor set under the name of a buffer becomes the buffer.')

def _state(k):
    m = k.Holder()
    sd = m.state_dict()
    require('gain' not in sd, 'the names in the state dict lack the path', got=list(sd), want=_STATE,
            hint="Ask each child for its state dict with the prefix `prefix + name + '.'`, or two layers overwrite each other's weights.")
    require('inner.mean' in sd, 'buffers are missing from the state dict', got=list(sd), want=_STATE,
            hint='A mean of the training data is part of the model: the state dict holds parameters and persistent buffers.')
    require('inner.cache' not in sd, 'a buffer with persistent=False is in the state dict', got=list(sd), want=_STATE, hint='persistent=False means: do not save it.')
    same(list(sd), _STATE, hint='For each module its parameters, then its buffers, then the children in order.')
    require(not any(t.requires_grad for t in sd.values()), 'the tensors in the state dict still require gradients', hint='`p.detach()`.')
    sd['inner.gain'][0] = 9.
    require(m.inner.gain[0] == 9, 'the state dict is a copy', hint='Detached tensors share memory with the parameters; nothing need be copied.')

def _loads(k):
    m,new = k.Holder(),{'shift': [1.5, 2.5], 'inner.gain': [3.5, 4.5], 'inner.calls': 8, 'inner.mean': [5.5, 6.5]}
    new = {name: torch.tensor(v) for name,v in new.items()}
    before = dict(m.named_parameters())
    m.load_state_dict(new)
    for name,t in m.state_dict().items(): same(t, new[name], name, f'`{name}` has not got the value from the state dict: parameters and buffers, at any depth.')
    require(all(p is before[name] for name,p in m.named_parameters()), 'loading replaced the parameters', hint=
            'Copy into the tensors that are there, `p.copy_(value)` under `torch.no_grad()`: an optimizer holds them.')
    new['shift'][0] = 99.
    require(m.shift[0] != 99, 'the model shares memory with what was loaded', hint='Copy the numbers with `copy_`; `p.data = value` only borrows them.')
    twin = _parts(torch.nn.Module).Holder()
    twin.load_state_dict(m.state_dict())
    m.load_state_dict(twin.state_dict())

def _refuses_state(k):
    good = {name: t.clone() for name,t in _parts(torch.nn.Module).Holder().state_dict().items()}
    wrong = {'a name is missing': {name: t for name,t in good.items() if name != 'inner.mean'},
             'a name is unknown': {**good, 'inner.extra': torch.ones(1)},
             'a shape differs': {**good, 'inner.gain': torch.ones(3)}}
    word = {'a name is missing': 'inner.mean', 'a name is unknown': 'inner.extra', 'a shape differs': 'inner.gain'}
    for what,sd in wrong.items():
        try: k.Holder().load_state_dict(sd)
        except (RuntimeError, ValueError, KeyError, TypeError) as e:
            require(word[what] in str(e), f'the error does not name the entry when {what}', got=str(e), hint=f'Say which one: {word[what]!r}.')
        else: raise Mismatch(f'load_state_dict takes a state dict in which {what}', list(sd),
                             hint='Compare the names on both sides, and the shapes, and raise an error that lists what does not fit. Beware: `copy_` broadcasts.')
    res = k.Holder().load_state_dict({**wrong['a name is missing'], 'inner.extra': torch.ones(1)}, strict=False)
    same((list(res.missing_keys), list(res.unexpected_keys)), (['inner.mean'], ['inner.extra']), 'strict=False',
         'Return an object with `missing_keys` and `unexpected_keys`.')

def _moves(k):
    m = k.Holder()
    gain,inner = m.inner.gain,m.inner
    require(m.to(torch.float64) is m, 'to() does not return the module', hint='`return self`')
    same([p.dtype for p in m.parameters()], [torch.float64]*2, 'm.to(torch.float64)', 'All parameters, also those of submodules.')
    require(m.inner.gain is gain, 'to() replaced a parameter', hint='Set `p.data`, so that the object stays: an optimizer holds it.')
    require(inner.mean.dtype == torch.float64, 'to() does not reach the buffers', 'm.to(torch.float64)', inner.mean.dtype,
            hint='A buffer is moved with the parameters; put the result back under its name.')
    require(inner.calls.dtype == torch.int64, 'to(dtype) changed a buffer of whole numbers', got=inner.calls.dtype,
            hint='A dtype is for what holds floats; a counter stays a counter.')
    require(m.float().inner.gain.dtype == torch.float32 and m.half().shift.dtype == torch.float16, 'float() or half() gives another dtype')

def _hooks(k):
    m,x,seen = k.Scale(2., 3.),torch.ones(2),[]
    handle = m.register_forward_hook(lambda *a: seen.append(a))
    out = m(x)
    require(len(seen) == 1, 'a forward hook was not called once per call', got=f'{len(seen)} times', hint='After `forward`, call each hook that is registered.')
    mod,inp,got = seen[0]
    require(mod is m and isinstance(inp, tuple) and inp[0] is x and got is out, 'a forward hook got other arguments than (module, inputs, output)', got=seen[0],
            hint='`hook(self, args, output)`, where `args` is the tuple of inputs.')
    handle.remove()
    m(x)
    require(len(seen) == 1, 'the hook is still called after handle.remove()', hint='The handle needs the dictionary of hooks and its own key, and takes itself out.')
    handle = m.register_forward_hook(lambda m,inp,out: out*10)
    same(m(x), torch.tensor([20., 30.]), x, 'What a forward hook returns, if not None, takes the place of the output.')
    handle.remove()
    m.register_forward_pre_hook(lambda m,inp: inp[0]+1)
    same(m(x), torch.tensor([4., 6.]), x, 'What a pre-hook returns takes the place of the inputs; a single value stands for a tuple of one.')

def _hook_kwargs(k):
    m,x = k.Scale(2., 3.),torch.ones(2)
    m.register_forward_pre_hook(lambda m,args,kwargs: (args, {'plus': kwargs['plus']+1}), with_kwargs=True)
    m.register_forward_hook(lambda m,args,kwargs,out: out*kwargs['plus'], with_kwargs=True)
    same(m(x, plus=1.), torch.tensor([8., 10.]), 'm(x, plus=1.)', 'with_kwargs=True: the hook gets the keyword arguments as a dictionary after the inputs.')

def _copies(k):
    m = k.Deep()
    m.last.gain = m.pair.first.gain
    twin = copy.deepcopy(m)
    require([name for name,_ in twin.named_parameters()] == [name for name,_ in m.named_parameters()], 'the copy has other parameters',
            got=[name for name,_ in twin.named_parameters()], hint='All that a module keeps must be ordinary attributes, or `__deepcopy__` must copy it.')
    with torch.no_grad():
        for p in twin.parameters(): p.add_(100)
    require(all(p.max() < 100 for p in m.parameters()), 'the copy shares parameters with the original', 'copy.deepcopy(m)',
            hint='A deep copy must copy the tensors as well: is there a class attribute, or a `__deepcopy__`, that shares them?')
    require(twin.last.gain is twin.pair.first.gain, 'a shared parameter is no longer shared in the copy',
            hint='`copy.deepcopy` keeps a memo for that; copy the whole `__dict__` in one go.')

_MODULE_CASES = [
    ('finds a parameter set as an attribute', _finds_own, '`__setattr__` notes what is set, `parameters` yields it.'),
    ('other attributes are just attributes', _ignores_others, '`__setattr__` looks at the value first.'),
    ('finds parameters in modules inside modules, in order', _finds_nested, '`parameters` asks each child for its own: `yield from`.'),
    ('calls go to forward, at every level', _calls, '`__call__` calls `self.forward`.'),
    ('names are paths with dots', _names, '`named_parameters(prefix, recurse)` yields pairs of a name and a parameter.'),
    ('children and modules', _walks, '`named_children`, `children`, `named_modules` and `modules` are generators; the second and fourth leave out the names.'),
    ('what is shared is given once', _shared_once, 'A set of what was given.'),
    ('a replaced parameter is gone', _replaced, 'One name, one value.'),
    ('a deleted attribute is gone', _deleted, '`__delattr__(self, name)` is called for `del m.name`.'),
    ('train and eval reach every module', _modes, '`training` is a flag on each module; `train(mode=True)` sets it in the whole tree, `eval()` is `train(False)`.'),
    ('prints itself as PyTorch does', _repr_text, '`__repr__` returns the text; a subclass may write `extra_repr`.'),
    ('apply and requires_grad_', _for_all, 'Both are walks over the tree, and return the module.'),
    ('zero_grad', _zero_grad, '`zero_grad(set_to_none=True)` is a walk over the parameters.'),
    ('add_module, and getting by name', _by_name, '`add_module(name, module)`, `get_submodule(path)`, `get_parameter(path)`.')]

_MODULE_CASES += [
    ('buffers', _buffers, '`register_buffer(name, tensor, persistent=True)`, `named_buffers()`: a third kind of thing to note.'),
    ('the state dict', _state, '`state_dict()` returns a dictionary from names to detached tensors.'),
    ('loading a state dict', _loads, '`load_state_dict(sd)` copies each tensor into the parameter or buffer of that name.'),
    ('a state dict that does not fit', _refuses_state, 'Compare the names and the shapes before you copy.'),
    ('to another dtype', _moves, '`to(dtype)` sets `p.data = p.data.to(dtype)` for each parameter, and replaces the buffers.'),
    ('hooks and their handles', _hooks, '`register_forward_hook(f)` and `register_forward_pre_hook(f)` keep `f` for `__call__`, and return a handle with `remove()`.'),
    ('hooks with keyword arguments', _hook_kwargs, 'Registered with `with_kwargs=True`, a hook takes the keyword arguments, too.'),
    ('a deep copy shares nothing', _copies, '`copy.deepcopy` copies the attributes of an ordinary object by itself.'),
    ('a plain tensor does not replace a parameter', _plain_tensor_refused, '`__setattr__` knows which names are parameters.'),
    ('errors that help', _errors, 'An AttributeError that says what to do.')]

def check_module(
    cls,            # Your base class, to be used as `torch.nn.Module` is
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a base class for models against `torch.nn.Module`"
    return run_cases(cls, [Case(name, lambda M,f=f: f(_parts(M)), hint) for name,f,hint in _MODULE_CASES], 'Module', limit)

def _count_case(name, make, hint, **kwargs):
    def run(f):
        model,want = make()
        same(f(model, **kwargs), want, model, hint)
    return Case(name, run, hint)

def _tied():
    m = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4))
    m[2].weight = m[0].weight
    return m,24

def _frozen():
    m = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    m[0].requires_grad_(False)
    return m,18

def _frozen_all():
    m,_ = _frozen()
    return m,34

def check_count_params(
    f,              # Your `count_params(model, trainable=False)`
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a function that counts the numbers in a model's parameters"
    nn = torch.nn
    each = 'A tensor holds `numel()` numbers; add them up over `model.parameters()`.'
    cases = [_count_case('one layer', lambda: (nn.Linear(3, 4), 16), each),
             _count_case('layers without parameters', lambda: (nn.Sequential(nn.ReLU(), nn.Flatten()), 0), 'The sum over nothing is 0.'),
             _count_case('layers inside layers', lambda: (nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), nn.Linear(4, 2)), 26), each),
             _count_case('frozen ones and buffers', _frozen_all, 'Without `trainable`, frozen parameters count; buffers (a mean, a counter) never do.'),
             _count_case('shared ones once', _tied, '`parameters()` gives a shared parameter once; a walk over the layers or the state dict meets it twice.'),
             _count_case('only those that are trained', _frozen, 'A frozen parameter has `requires_grad` False.', trainable=True)]
    return run_cases(f, cases, 'count_params', limit)

def _kinds_in(model): return [f'{name}: {type(m).__name__}' for name,m in model.named_modules() if name]

def _replace_case(name, make, hint):
    def run(f):
        nn,model = torch.nn,make()
        kept = {n: m for n,m in model.named_modules() if n and not isinstance(m, nn.ReLU)}
        want = [line.replace(': ReLU', ': Tanh') for line in _kinds_in(model)]
        got = f(model, nn.ReLU, lambda old: nn.Tanh())
        require(got is model, 'it does not return the model', got=got, hint='`return model`, at the end.')
        same(_kinds_in(model), want, want, hint)
        require(all(dict(model.named_modules())[n] is m for n,m in kept.items()), 'a layer that should stay was replaced', hint='Only `isinstance(m, old)`.')
    return Case(name, run, hint)

def _replace_sees(f):
    nn = torch.nn
    model,seen = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 4))),[]
    def make(old):
        seen.append(old)
        return nn.Linear(getattr(old, 'in_features', 1), 1)
    layers = [model[0], model[1][0]]
    f(model, nn.Linear, make)
    require(len(seen) == 2 and all(any(a is b for b in layers) for a in seen), '`make` was not called once with each old layer', got=seen, want=layers,
            hint='`make(module)` gets the layer that it replaces: it may need its sizes.')
    same([m.in_features for m in model.modules() if isinstance(m, nn.Linear)], [2, 3], 'Linear(2,3), Linear(3,4)')

def check_replace_layers(
    f,              # Your `replace_layers(model, old, make)`
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a function that replaces all layers of one class in a model"
    nn = torch.nn
    def block(): return nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body,self.act,self.layers = nn.Sequential(block(), nn.ReLU(), block()),nn.ReLU(),nn.ModuleList([nn.ReLU(), nn.Linear(1, 1)])
    below = 'For each child: is it an `old`? Then set the new one under its name. If not, do the same below it: the function calls itself.'
    cases = [_replace_case('one level', block, 'Walk over `named_children()` and use `setattr(model, name, make(child))`.'),
             _replace_case('two levels', lambda: nn.Sequential(block(), block()), below),
             _replace_case('attributes and lists, three levels', Net, below),
             _replace_case('nothing to replace', lambda: nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()), 'Then nothing changes.'),
             Case('make is given the old layer', _replace_sees, below)]
    return run_cases(f, cases, 'replace_layers', limit)

def _dict_basics(D):
    a,b = torch.nn.Linear(2, 3),torch.nn.ReLU()
    d = D({'a': a, 'b': b})
    require(d['a'] is a and d['b'] is b, "d['a'] is not what was put in", hint='`__getitem__(self, key)`')
    same((len(d), list(d), 'a' in d, 'c' in d), (2, ['a', 'b'], True, False), hint='`__len__`, `__iter__` over the names, `__contains__`.')
    same(list(d.keys()), ['a', 'b'], hint='`keys()` gives the names in order.')
    require(list(d.values()) == [a, b] and [(n, m) for n,m in d.items()] == [('a', a), ('b', b)], 'values() or items() gives something else', got=list(d.items()))
    same(len(D()), 0, 'no argument', 'With nothing given it starts empty.')

def _dict_registers(D):
    d = D({'a': torch.nn.Linear(2, 3), 'b': torch.nn.Sequential(torch.nn.Linear(3, 1))})
    same([name for name,_ in d.named_parameters()], ['a.weight', 'a.bias', 'b.0.weight', 'b.0.bias'],
         hint='A plain dictionary hides its modules as a list does: register each with `add_module(name, module)`.')
    same(list(d.state_dict()), ['a.weight', 'a.bias', 'b.0.weight', 'b.0.bias'], hint='Each module is registered under its own name, and only there.')
    d.eval()
    require(not d['b'][0].training, 'eval() does not reach the modules')

def _dict_changes(D):
    d,new = D({'a': torch.nn.Linear(2, 3), 'b': torch.nn.ReLU()}),torch.nn.Linear(5, 5)
    d['c'] = new
    require(list(d) == ['a', 'b', 'c'] and len(list(d.parameters())) == 4, "d['c'] = m does not register m", got=[n for n,_ in d.named_parameters()],
            hint='`__setitem__` calls `add_module` as well.')
    d['a'] = other = torch.nn.Linear(6, 6)
    require(d['a'] is other and list(d) == ['a', 'b', 'c'], "d['a'] = m does not take the place of the old one", got=list(d))
    del d['a']
    require(list(d) == ['b', 'c'] and 'a' not in d, "del d['a'] leaves it there", got=list(d), hint='`__delitem__` calls `delattr(self, name)`.')
    try: d['zebra']
    except KeyError: return
    except AttributeError as e: raise Mismatch('an unknown name gives an AttributeError', got=str(e), hint='A dictionary raises KeyError.') from None
    raise Mismatch('an unknown name gives no error', "d['zebra']", hint='A dictionary raises KeyError.')

def check_module_dict(
    cls,            # Your `ModuleDict`
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a dictionary of modules"
    return run_cases(cls, [Case('a dictionary', _dict_basics), Case('its modules are registered', _dict_registers, 'Register each with `add_module`.'),
                           Case('changing it', _dict_changes)], 'ModuleDict', limit)
