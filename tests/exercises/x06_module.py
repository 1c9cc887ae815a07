"Lesson 05: counting parameters, replacing layers, a dictionary of modules, and Module itself"
from torch import nn
from miniai import module
from miniai.check.module import check_count_params, check_module, check_module_dict, check_replace_layers


def count(model, trainable=False): return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def count_by_hand(model, trainable=False):
    seen = {}
    for m in model.modules():
        for p in m.parameters(recurse=False): seen[id(p)] = p.numel() if p.requires_grad or not trainable else 0
    return sum(seen.values())


def counts_tensors(model, trainable=False): return len(list(model.parameters()))
def counts_shared_twice(model, trainable=False): return sum(p.numel() for _,p in model.named_parameters(remove_duplicate=False) if p.requires_grad or not trainable)
def counts_buffers(model, trainable=False): return count(model, trainable) + sum(b.numel() for b in model.buffers())
def counts_one_level(model, trainable=False): return sum(p.numel() for m in model.children() for p in m.parameters(recurse=False))
def ignores_trainable(model, trainable=False): return count(model)
def always_trainable(model, trainable=False): return count(model, True)


def replace(model, old, make):
    for name,m in model.named_children():
        if isinstance(m, old): setattr(model, name, make(m))
        else: replace(m, old, make)
    return model


def replace_by_path(model, old, make):
    for path,m in list(model.named_modules()):
        if path and isinstance(m, old):
            parent,_,name = path.rpartition('.')
            setattr(model.get_submodule(parent), name, make(m))
    return model


def replaces_one_level(model, old, make):
    for name,m in model.named_children():
        if isinstance(m, old): setattr(model, name, make(m))
    return model


def replaces_everything(model, old, make):
    for name,m in model.named_children(): setattr(model, name, make(m))
    return model


def returns_nothing(model, old, make): replace(model, old, make)
def passes_the_class(model, old, make): return replace(model, old, lambda m: make(type(m)))


def only_a_variable(model, old, make):
    for m in model.modules():
        if isinstance(m, old): m = make(m)
    return model


class ModuleDict(module.Module):
    def __init__(self, modules=None):
        super().__init__()
        for name,m in (modules or {}).items(): self[name] = m
    def __setitem__(self, name, m): self.add_module(name, m)
    def __getitem__(self, name): return dict(self.named_children())[name]
    def __delitem__(self, name): delattr(self, name)
    def __len__(self): return len(self.keys())
    def __iter__(self): return iter(self.keys())
    def __contains__(self, name): return name in self.keys()
    def keys(self): return [name for name,_ in self.named_children()]
    def values(self): return [m for _,m in self.named_children()]
    def items(self): return list(self.named_children())


class Hides(ModuleDict):
    "Keeps its modules in a plain dictionary"
    def __init__(self, modules=None):
        module.Module.__init__(self)
        self.held = dict(modules or {})
    def __setitem__(self, name, m): self.held[name] = m
    def __getitem__(self, name): return self.held[name]
    def __delitem__(self, name): del self.held[name]
    def keys(self): return list(self.held)
    def values(self): return list(self.held.values())
    def items(self): return list(self.held.items())


class Attribute(ModuleDict):
    "An unknown name is an AttributeError"
    def __getitem__(self, name): return getattr(self, name)


class StaysThere(Hides):
    "Registers, but deleting or replacing leaves the module registered"
    def __init__(self, modules=None):
        super().__init__(modules)
        for name,m in self.held.items(): self.add_module(name, m)


class Unordered(ModuleDict):
    "Iteration gives the modules"
    def __iter__(self): return iter(self.values())


class ForgetsNested(module.Module):
    def named_parameters(self, prefix='', recurse=True, remove_duplicate=True): return super().named_parameters(prefix, False, remove_duplicate)


class ForgetsToReturn(module.Module):
    def train(self, mode=True): super().train(mode)


EXERCISES = [
    (check_count_params, [count, count_by_hand],
     [(counts_tensors, 'numel()'), (counts_shared_twice, 'meets it twice'), (counts_buffers, 'never do'), (counts_one_level, 'numel()'),
      (ignores_trainable, '`requires_grad` False'), (always_trainable, 'frozen parameters count')]),
    (check_replace_layers, [replace, replace_by_path],
     [(replaces_one_level, 'calls itself'), (replaces_everything, 'named_children()'), (returns_nothing, '`return model`'),
      (passes_the_class, 'it may need its sizes'), (only_a_variable, 'setattr')]),
    (check_module_dict, [ModuleDict, nn.ModuleDict],
     [(Hides, 'register each with'), (Attribute, 'KeyError'), (StaysThere, 'add_module'), (Unordered, '`__iter__` over the names')]),
    (check_module, [module.Module, nn.Module], [(ForgetsNested, 'yield from child.parameters()'), (ForgetsToReturn, '`return self`')]),
]
