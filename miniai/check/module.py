"Checks of lesson 06_module"
import copy
from types import SimpleNamespace
import torch
from torch import nn
from .kit import Case, check, require, same
from .matmul import refused

def _param(*values): return nn.Parameter(torch.tensor(values, dtype=torch.float32))

def _models(M):
    "Small models on top of the base class `M`"
    class Scale(M):
        def __init__(self, *values):
            super().__init__()
            self.gain = _param(*values or (1., 2.))
        def forward(self, x, plus=0.): return x*self.gain + plus
        def extra_repr(self): return f'n={len(self.gain)}'
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
    def buffered():
        m = Deep()
        m.register_buffer('mean', torch.tensor([0.5, 1.5]))
        return m
    return SimpleNamespace(M=M, Scale=Scale, Pair=Pair, Deep=Deep, buffered=buffered)

def _refused(act):
    "Does it end in an error?"
    try: act()
    except (AttributeError, TypeError, RuntimeError, KeyError, ValueError): return True
    return False

def _names(pairs): return [name for name,_ in pairs]
STATE = _models(nn.Module).buffered().state_dict()

def _finds_its_parameters(k):
    '''`self.gain = …` calls `__setattr__(self, name, value)`, and so does `self.x = …` in your `__init__`:
    note a Parameter's name, not a plain tensor's; always store the value (`super().__setattr__`).'''
    m = k.Scale()
    m.n,m.table = 3,torch.ones(2)
    return m.n,[p is m.gain for p in m.parameters()]

def _parameters_inside_modules(k):
    'First your own, in order; then those of each child: `yield from child.parameters()`.'
    return [p.tolist() for p in k.Deep().parameters()]

def _a_call_goes_to_forward(k):
    '`__call__(self, *args, **kwargs)` hands both on to `self.forward`.'
    return k.Deep()(torch.ones(2)),k.Scale()(torch.ones(2), plus=1.)

def _names_are_paths_with_dots(k):
    'Put the name of the child and a dot before what the child gives.'
    return _names(k.Deep().named_parameters())

def _children_and_all_modules(k):
    "All modules are: this one, under the name ''; then what each child gives."
    return _names(k.Deep().named_children()),_names(k.Deep().named_modules())

def _a_replaced_parameter_is_gone(k):
    'The new value takes the place of the old under the same name.'
    m,new = k.Pair(),_param(9., 9.)
    m.shift = new
    return [p is new for p in m.parameters()]

def _a_deleted_attribute_is_gone(k):
    '`del m.shift` calls `__delattr__(self, name)`: forget the name there, too.'
    m = k.Pair()
    del m.shift, m.first
    return hasattr(m, 'shift'),_names(m.named_parameters())

def _what_is_shared_is_given_once(k):
    'Keep a set of what was given: an optimizer would step twice with it.'
    m = k.Deep()
    m.last.gain,m.again = m.pair.first.gain,m.pair
    return len(list(m.parameters())),len(list(m.modules()))

def _no_plain_tensor_for_a_parameter(k):
    'Refuse it with a TypeError: somebody forgot to wrap it, and it would never be trained again.'
    m = k.Scale()
    return _refused(lambda: setattr(m, 'gain', torch.ones(2)))

def _train_and_eval(k):
    'Set your own flag, call `child.train(mode)` for each child, and `return self`.'
    m = k.Deep()
    before,chained = m.training,m.eval() is m
    return before,chained,[o.training for o in m.modules()],[o.training for o in m.train().modules()]

def _over_the_whole_tree(k):
    'Walks over the whole tree: `apply` calls the children first; a gradient becomes None; `return self`.'
    m,seen = k.Deep(),[]
    m(torch.ones(2)).sum().backward()
    m.apply(lambda o: seen.append(type(o).__name__)).zero_grad()
    m.pair.requires_grad_(False)
    return seen,[p.requires_grad for p in m.parameters()],[p.grad for p in m.parameters()]

def _its_text(k):
    "`(name): ` and the child's own repr, all its lines two spaces to the right."
    return repr(k.Deep())

def _buffers(k):
    '`register_buffer(name, tensor, persistent=True)`: a third kind to note, not a parameter.'
    m = k.buffered()
    m.mean = torch.tensor([7., 8.])
    return _names(m.named_buffers()),list(m.buffers())[0],_names(m.named_parameters())

def _the_state_dict(k):
    "Parameters, then buffers, then each child's with the prefix `prefix + name + '.'`."
    m = k.buffered()
    m.register_buffer('cache', torch.zeros(1), persistent=False)
    state = m.state_dict()
    same({name: t.tolist() for name,t in state.items()}, {name: t.tolist() for name,t in STATE.items()})
    require(not any(t.requires_grad for t in state.values()), 'it has a history', hint='`p.detach()`')
    state['last.gain'].zero_()
    require(m.last.gain.sum() == 0, 'it does not share memory', hint='`p.detach()` shares memory with `p`.')

def _loading(k):
    'Copy into the tensors that are there, `t.copy_(value)`: an optimizer holds them.'
    m,state = k.buffered(),{name: t+1 for name,t in STATE.items()}
    before = m.last.gain
    m.load_state_dict(state)
    state['last.gain'].zero_()
    return m.last.gain is before,[t.tolist() for t in m.state_dict().values()]

def _a_state_dict_that_does_not_fit(k):
    'Compare the names on both sides, and the shapes, and raise an error.'
    k.buffered().load_state_dict(STATE)
    wrong = [{'mean': STATE['mean']}, {**STATE, 'x': STATE['mean']}, {**STATE, 'mean': torch.ones(1)}]
    return [_refused(lambda state=state: k.buffered().load_state_dict(state)) for state in wrong]

def _to_another_dtype(k):
    '`p.data = p.data.to(dtype)` keeps the object; a counter stays one; `return self`.'
    m = k.buffered()
    m.register_buffer('calls', torch.tensor(3))
    before = m.last.gain
    return m.to(torch.float64) is m,m.last.gain is before,[t.dtype for t in [*m.parameters(), *m.buffers()]]

def _hooks(k):
    '`hook(self, args, output)`; what it returns takes the place; `remove()` takes it out.'
    m,x,log = k.Scale(2., 3.),torch.ones(2),[]
    handle = m.register_forward_hook(lambda o,args,out: log.append((o is m, args[0] is x, out.tolist())))
    m(x)
    handle.remove()
    m(x)
    m.register_forward_hook(lambda o,args,out: out*10)
    m.register_forward_pre_hook(lambda o,args: args[0]+1)
    return log,m(x)

def _a_deep_copy_shares_nothing(k):
    'Is there a `__deepcopy__`, or something on the class, that shares tensors?'
    m = k.Deep()
    m.last.gain = m.pair.first.gain
    twin = copy.deepcopy(m)
    with torch.no_grad(): twin.last.gain.zero_()
    return twin.last.gain is twin.pair.first.gain,m.last.gain,_names(twin.named_parameters())

def _a_forgotten_super_init(k):
    'Your dictionaries do not exist yet: raise an AttributeError.'
    class Forgetful(k.M):
        def __init__(self): self.inner = k.Scale()
    return _refused(Forgetful)

def _a_misspelt_attribute(k):
    '`__getattr__` must raise, never return None.'
    return hasattr(k.Scale(), 'gian')

PROBES = [_finds_its_parameters, _parameters_inside_modules, _a_call_goes_to_forward,
          _names_are_paths_with_dots, _children_and_all_modules, _a_replaced_parameter_is_gone,
          _a_deleted_attribute_is_gone, _what_is_shared_is_given_once, _no_plain_tensor_for_a_parameter,
          _train_and_eval, _over_the_whole_tree, _its_text, _buffers, _the_state_dict, _loading,
          _a_state_dict_that_does_not_fit, _to_another_dtype, _hooks, _a_deep_copy_shares_nothing,
          _a_forgotten_super_init, _a_misspelt_attribute]

@check('Module')
def check_module(cls):  # Your base class, to be used as `torch.nn.Module` is
    "Check a base class for models: what one on top of PyTorch's gives, one on top of yours must give, too"
    def case(probe):
        name,hint = probe.__name__[1:].replace('_', ' '),' '.join(probe.__doc__.split())
        return Case(name, lambda M: same(probe(_models(M)), probe(_models(nn.Module))), hint)
    return list(map(case, PROBES))

@check('count_params')
def check_count_params(f):  # Your `count_params(model, trainable=False)`
    "Check a function that counts the numbers in a model's parameters"
    frozen = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    tied = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    frozen[0].requires_grad_(False)
    tied[2].weight = tied[0].weight
    def case(name, model, want, hint, **kwargs):
        twice = sum(p.numel() for _,p in model.named_parameters(remove_duplicate=False))
        frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
        what,none = ('leave them out', -1) if kwargs else ('without `trainable`, all count', 0)
        mistakes = {f'Those are the frozen ones alone: {what}.': frozen or -1,
                    'None counts: take all (`parameters()` goes into submodules by itself).': none,
                    'A frozen one has `requires_grad` False.': sum(map(torch.numel, model.parameters())),
                    'That many tensors: a tensor holds `numel()` numbers.': len(list(model.parameters())),
                    '`parameters()` gives what is shared once; layers and state dict have it twice.': twice,
                    'Buffers (a mean, a counter) do not count.': want+sum(b.numel() for b in model.buffers())}
        return Case(name, lambda f: same(f(model, **kwargs), want, str(model), mistakes=mistakes), hint)
    each = 'Add up `numel()` over `model.parameters()`, which goes into submodules by itself.'
    return [case('one layer', nn.Linear(3, 4), 16, each), case('no parameters', nn.ReLU(), 0, each),
            case('deeper', nn.Sequential(nn.Sequential(nn.Linear(3, 4)), nn.Linear(4, 2)), 26, each),
            case('frozen ones', frozen, 34, 'Without `trainable`, frozen parameters count.'),
            case('shared ones', tied, 24, each),
            case('the trained ones', frozen, 18, 'Those whose `requires_grad` is True.', trainable=True)]

@check('peek')
def check_peek(f):  # Your `peek(model, name, *inputs)`
    "Check a function that returns what a submodule gives when the model is called"
    x,twice = torch.tensor([[0.5, -1.]]),nn.Linear(2, 2)
    nn.utils.vector_to_parameters(torch.tensor([0.3, -0.7, 0.3, -0.7, 0.6, -1.4]), twice.parameters())
    def model(): return nn.Sequential(twice, nn.Tanh(), twice, nn.Sequential(nn.Sigmoid()))
    def gives(f, name, want):
        same(f(model(), name, x), want, f'name {name!r}, a model of Linear, Tanh, the same Linear, Sigmoid',
             mistakes={
            'That is what the whole model gives: return what a hook is given.': lambda: model()(x),
            'That is the first of two calls, with the inputs of the model: keep the last.': lambda: twice(x),
            'That is the layer called by hand: call the model, and let a hook listen.': lambda: x.sigmoid(),
            'That is what goes in. A forward hook gets `(module, inputs, output)`.': lambda: twice(x).tanh()})
    def looks_on(f, x):
        m = model()
        m[1].eval()
        modes = [o.training for o in m.modules()]
        _refused(lambda: f(m, '3.0', x))
        hooks = [o for o in m.modules() if o._forward_hooks or o._forward_pre_hooks]
        require(not hooks, 'the hook is still there', x)
        same([o.training for o in m.modules()], modes, 'training, of each module', 'Look on, change nothing.')
    hook = 'A forward hook on it gets `(module, inputs, output)`: append that to a list, and return the last.'
    deep = 'Its name has a dot: `dict(model.named_modules())` knows it, whatever it is in.'
    return [Case('a layer inside', lambda f: gives(f, '0', twice(twice(x).tanh())), hook),
            Case('a layer in a layer', lambda f: gives(f, '3.0', model()(x)), deep),
            Case('the hook is gone', lambda f: looks_on(f, x), '`handle.remove()`, or `with`.'),
            Case('gone after an error', lambda f: looks_on(f, x[0, :1]), '`with` or `finally` always does.'),
            Case('unknown name', lambda f: refused(ValueError, f, model(), '3.1', x), 'Raise a ValueError.')]
