"Lesson 06: counting parameters, listening in, and Module itself"
import torch
from torch import nn
from miniai import module
from miniai.check.module import check_count_params, check_module, check_peek


def count(model, trainable=False):
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def count_by_hand(model, trainable=False):
    seen = {}
    for m in model.modules():
        for p in m.parameters(recurse=False):
            seen[id(p)] = p.numel() if p.requires_grad or not trainable else 0
    return sum(seen.values())


def count_with_shapes(model, trainable=False):
    total = 0
    for _,p in model.named_parameters():
        if trainable and not p.requires_grad: continue
        total += torch.Size(p.shape).numel()
    return total


def counts_tensors(model, trainable=False): return len(list(model.parameters()))
def counts_buffers(model, trainable=False):
    return count(model, trainable) + sum(b.numel() for b in model.buffers())
def counts_one_level(model, trainable=False):
    return sum(p.numel() for m in model.children() for p in m.parameters(recurse=False))
def ignores_trainable(model, trainable=False): return count(model)
def always_trainable(model, trainable=False): return count(model, True)


def only_the_frozen(model, trainable=False):
    return sum(p.numel() for p in model.parameters() if p.requires_grad == trainable)
def counts_only_if_trainable(model, trainable=False):
    return sum(p.numel() for p in model.parameters() if trainable and p.requires_grad)
def the_frozen_when_trainable(model, trainable=False):
    return sum(p.numel() for p in model.parameters() if p.requires_grad is not trainable)
def those_with_a_gradient(model, trainable=False):
    return sum(p.numel() for p in model.parameters() if p.grad is not None or not trainable)
def counts_the_state_dict(model, trainable=False): return sum(t.numel() for t in model.state_dict().values())


def counts_shared_twice(model, trainable=False):
    return sum(p.numel() for m in model.modules() for p in m.parameters(recurse=False) if p.requires_grad
               or not trainable)


def peek(model, name, *inputs):
    found,seen = dict(model.named_modules()).get(name),[]
    if found is None: raise ValueError(name)
    with found.register_forward_hook(lambda m,args,out: seen.append(out)): model(*inputs)
    return seen[-1]


def peek_with_finally(model, name, *inputs):
    for path,m in model.named_modules():
        if path == name: break
    else: raise ValueError(f'no module {name!r}')
    kept = {}
    def keep(module, args, out): kept['out'] = out
    handle = m.register_forward_hook(keep)
    try: model(*inputs)
    finally: handle.remove()
    return kept['out']


def peek_by_submodule(model, name, *inputs):
    try: m = model.get_submodule(name)
    except AttributeError as e: raise ValueError(str(e)) from None
    result = None
    def keep(module, args, out):
        nonlocal result
        result = out
    with m.register_forward_hook(keep): model(*inputs)
    return result


def peeks_at_the_model(model, name, *inputs): return model(*inputs)


def forgets_what_it_heard(model, name, *inputs):
    for path,m in model.named_modules():
        if path == name: break
    else: raise ValueError(name)
    with m.register_forward_hook(lambda m,args,out: out): return model(*inputs)


def looks_one_level_down(model, name, *inputs):
    found,seen = dict(model.named_children()),[]
    if name not in found: raise ValueError(name)
    with found[name].register_forward_hook(lambda m,args,out: seen.append(out)): model(*inputs)
    return seen[-1]


def own_name_in_the_hook(model, name, *inputs):
    found,kept = dict(model.named_modules()),None
    if name not in found: raise ValueError(name)
    def hook(m, args, out): kept = out  # noqa: F841
    with found[name].register_forward_hook(hook): model(*inputs)
    return kept


def first_call(model, name, *inputs):
    found,seen = dict(model.named_modules()),[]
    if name not in found: raise ValueError(name)
    with found[name].register_forward_hook(lambda m,args,out: seen.append(out)): model(*inputs)
    return seen[0]


def takes_the_input(model, name, *inputs):
    found,seen = dict(model.named_modules()),[]
    if name not in found: raise ValueError(name)
    with found[name].register_forward_hook(lambda m,args,out: seen.append(args[0])): model(*inputs)
    return seen[-1]


def leaves_the_hook(model, name, *inputs):
    found,seen = dict(model.named_modules()),[]
    if name not in found: raise ValueError(name)
    found[name].register_forward_hook(lambda m,args,out: seen.append(out))
    model(*inputs)
    return seen[-1]


def removes_if_all_goes_well(model, name, *inputs):
    found,seen = dict(model.named_modules()),[]
    if name not in found: raise ValueError(name)
    handle = found[name].register_forward_hook(lambda m,args,out: seen.append(out))
    model(*inputs)
    handle.remove()
    return seen[-1]


def no_such_name(model, name, *inputs):
    seen = []
    found = dict(model.named_modules())[name]
    with found.register_forward_hook(lambda m,args,out: seen.append(out)): model(*inputs)
    return seen[-1]


def calls_it_by_hand(model, name, *inputs):
    found = dict(model.named_modules())
    if name not in found: raise ValueError(name)
    return found[name](*inputs)


def evaluates(model, name, *inputs): return peek(model.eval(), name, *inputs)
def trains(model, name, *inputs): return peek(model.train(), name, *inputs)


class InOneClass:
    "Somebody's own, in one class: parameters and modules in one dictionary, buffers in another"
    def __init__(self):
        self.__dict__.update(training=True, _found={}, _buffers={}, _saved=[], _hooks={}, _pre_hooks={})

    def __setattr__(self, name, value):
        if '_found' not in self.__dict__: raise AttributeError('call super().__init__() first')
        if name in self._buffers: self._buffers[name] = value
        elif isinstance(value, (nn.Parameter, InOneClass)): self._found[name] = value
        elif name in self._found: raise TypeError(f'{name} is no parameter')
        else: super().__setattr__(name, value)

    def __getattr__(self, name):
        for found in (self.__dict__.get('_found', {}), self.__dict__.get('_buffers', {})):
            if name in found: return found[name]
        raise AttributeError(name)

    def __delattr__(self, name):
        if self._found.pop(name, None) is None: super().__delattr__(name)

    def __call__(self, *args, **kwargs):
        for hook in list(self._pre_hooks.values()): args = (hook(self, args),)
        out = self.forward(*args, **kwargs)
        for hook in list(self._hooks.values()):
            new = hook(self, args, out)
            out = out if new is None else new
        return out

    def __repr__(self):
        lines = [f'({n}): {m!r}' for n,m in self.named_children()]
        extra = [self.extra_repr()] if hasattr(type(self), 'extra_repr') else []
        if not lines: return f"{type(self).__name__}({''.join(extra)})"
        return '\n  '.join([f'{type(self).__name__}(', *'\n'.join(extra+lines).splitlines()]) + '\n)'

    def named_children(self): return [(n, m) for n,m in self._found.items() if isinstance(m, InOneClass)]
    def children(self): return [m for _,m in self.named_children()]

    def named_modules(self, prefix='', seen=None):
        seen = set() if seen is None else seen
        if self in seen: return []
        seen.add(self)
        below = [pair for n,m in self.named_children() for pair in m.named_modules(f'{prefix}{n}.', seen)]
        return [(prefix[:-1], self), *below]

    def modules(self): return [m for _,m in self.named_modules()]

    def _all(self, get):
        found = {}
        for path,m in self.named_modules():
            for name,x in get(m):
                if not any(x is o for o in found.values()): found[f'{path}.{name}' if path else name] = x
        return list(found.items())

    def named_parameters(self):
        return self._all(lambda m: [(n, p) for n,p in m._found.items() if isinstance(p, nn.Parameter)])
    def named_buffers(self): return self._all(lambda m: m._buffers.items())
    def parameters(self): return [p for _,p in self.named_parameters()]
    def buffers(self): return [b for _,b in self.named_buffers()]

    def register_buffer(self, name, tensor, persistent=True):
        self._buffers[name] = tensor
        if persistent: self._saved.append(name)

    def apply(self, f):
        for m in self.children(): m.apply(f)
        f(self)
        return self

    def train(self, mode=True): return self.apply(lambda m: m.__dict__.update(training=mode))
    def eval(self): return self.train(False)

    def zero_grad(self):
        for p in self.parameters(): p.grad = None

    def requires_grad_(self, on=True):
        for p in self.parameters(): p.requires_grad_(on)

    def _state(self, prefix=''):
        own = {n: p for n,p in self._found.items() if isinstance(p, nn.Parameter)}
        own.update({n: self._buffers[n] for n in self._saved})
        state = {prefix+n: t for n,t in own.items()}
        for n,m in self.named_children(): state.update(m._state(f'{prefix}{n}.'))
        return state

    def state_dict(self): return {n: t.detach() for n,t in self._state().items()}

    def load_state_dict(self, state, strict=True):
        mine = self._state()
        if mine.keys() != state.keys() or any(t.shape != state[n].shape for n,t in mine.items()):
            raise RuntimeError('no')
        with torch.no_grad():
            for n,t in mine.items(): t.copy_(state[n])

    def to(self, dtype):
        for p in self.parameters(): p.data = p.data.to(dtype)
        for m in self.modules():
            m._buffers.update({n: b.to(dtype) for n,b in m._buffers.items() if b.is_floating_point()})
        return self

    def _hang(self, hooks, f):
        handle = Handle()
        handle.remove = lambda: hooks.pop(handle)
        hooks[handle] = f
        return handle
    def register_forward_hook(self, f): return self._hang(self._hooks, f)
    def register_forward_pre_hook(self, f): return self._hang(self._pre_hooks, f)


class Handle: pass


class ForgetsNested(module.Module):
    def named_parameters(self, prefix='', recurse=True): return super().named_parameters(prefix, False)
class ForgetsToReturn(module.Module):
    def train(self, mode=True): super().train(mode)
class EveryTensor(module.Module):
    def __setattr__(self, name, value):
        super().__setattr__(name,
                            nn.Parameter(value) if isinstance(value, torch.Tensor)
                            and value.is_floating_point() else value)
class CallsWithoutKeywords(module.Module):
    def __call__(self, *args, **kwargs): return super().__call__(*args)
class SetsItselfForEver(module.Module):
    def __setattr__(self, name, value): setattr(self, name, value)
class ForgetsTheBook:
    def __init__(self): self.found = {}
    def __setattr__(self, name, value): self.found[name] = value
class LoadsNothing(InOneClass):
    load_state_dict = None
class Unprefixed(module.Module):
    def state_dict(self, *, destination=None, prefix='', keep_vars=False):
        return super().state_dict(destination=destination, prefix='', keep_vars=keep_vars)


EXERCISES = [
    (check_count_params, [count, count_by_hand, count_with_shapes],
     [(counts_tensors, '`numel()` numbers'), (counts_shared_twice, 'have it twice'),
      (counts_buffers, 'do not count'),
      (counts_one_level, 'goes into submodules by itself'), (ignores_trainable, '`requires_grad` False'),
      (only_the_frozen, 'None counts'), (counts_only_if_trainable, 'None counts'),
      (the_frozen_when_trainable, 'alone: leave them out'), (only_the_frozen, 'alone: without `trainable`'),
      (those_with_a_gradient, '`requires_grad` is True'),
      (counts_the_state_dict, 'do not count'),
      (always_trainable, 'frozen parameters count')]),
    (check_peek, [peek, peek_with_finally, peek_by_submodule],
     [(peeks_at_the_model, 'what the whole model gives'),
      (forgets_what_it_heard, 'return what a hook is given'),
      (looks_one_level_down, 'Its name has a dot'), (own_name_in_the_hook, 'append that to a list'),
      (first_call, 'keep the last'),
      (takes_the_input, 'what goes in'),
      (leaves_the_hook, '`handle.remove()`'), (removes_if_all_goes_well, '`finally`'),
      (no_such_name, 'Raise a ValueError'),
      (calls_it_by_hand, 'with the inputs of the model'), (evaluates, 'change nothing'),
      (trains, 'change nothing')]),
    (check_module, [module.Module, nn.Module, InOneClass],
     [(ForgetsNested, 'yield from child.parameters()'), (ForgetsToReturn, '`return self`'),
      (EveryTensor, "note a Parameter's name"),
      (SetsItselfForEver, 'super().__setattr__'), (ForgetsTheBook, 'in your `__init__`'),
      (LoadsNothing, 'Copy into the tensors'),
      (CallsWithoutKeywords, 'hands both on'), (Unprefixed, "prefix + name + '.'")]),
]
