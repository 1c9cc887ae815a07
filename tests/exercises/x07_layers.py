"Lesson 07: a detour, replacing layers, a dictionary of modules"
import copy
from functools import reduce
from torch import nn
from miniai.check.layers import check_module_dict, check_replace_layers, check_residual
from miniai.layers import Module, ModuleList, Sequential


class Residual(Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = Sequential(*layers)
    def forward(self, x): return x + self.layers(x)


class ResidualOfAList(Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = ModuleList(layers)
    def forward(self, x): return x + reduce(lambda value,layer: layer(value), self.layers, x)


class ResidualSequential(nn.Sequential):
    def forward(self, x): return super().forward(x) + x


class ResidualByName(Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = layers
        for i,layer in enumerate(layers): self.add_module(f'layer{i}', layer)
    def forward(self, x):
        out = x
        for layer in self.layers: out = layer(out)
        return out+x


class HidesLayers(ResidualByName):
    def __init__(self, *layers):
        Module.__init__(self)
        self.layers = layers


class ForgetsTheInput(Residual):
    def forward(self, x): return self.layers(x)


class EachGetsTheInput(ResidualOfAList):
    def forward(self, x): return x + sum(layer(x) for layer in self.layers)


class AddsEachTime(ResidualOfAList):
    def forward(self, x):
        for layer in self.layers: x = x + layer(x)
        return x


class OverwritesX(ResidualOfAList):
    def forward(self, x):
        for layer in self.layers: x = layer(x)
        return x + x


class InPlaceAtTheEnd(ResidualOfAList):
    def forward(self, x):
        inp = x
        for layer in self.layers: x = layer(x)
        x += inp
        return x


class OnlyTheFirst(ResidualOfAList):
    def forward(self, x):
        for layer in self.layers: return x + layer(x)
        return x+x


class InPlace(Residual):
    def forward(self, x):
        x += self.layers(x)
        return x


class ByChildren(ResidualByName):
    def forward(self, x):
        out = x
        for layer in self.children(): out = layer(out)
        return out+x


def replace(model, old, make):
    for name,m in model.named_children():
        if isinstance(m, old): setattr(model, name, make(m))
        else: replace(m, old, make)
    return model


def replace_by_path(model, old, make):
    found = dict(model.named_modules())
    for path,m in found.items():
        if path and isinstance(m, old):
            parent,_,name = path.rpartition('.')
            found[parent].add_module(name, make(m))
    return model


def replace_on_each(model, old, make):
    def look(parent):
        for name,m in list(parent.named_children()):
            if isinstance(m, old): setattr(parent, name, make(m))
    return model.apply(look)


def replaces_one_level(model, old, make):
    for name,m in model.named_children():
        if isinstance(m, old): setattr(model, name, make(m))
    return model


def replaces_everything(model, old, make):
    for name,m in model.named_children(): setattr(model, name, make(m))
    return model


def by_dotted_name(model, old, make):
    for name,m in list(model.named_modules()):
        if isinstance(m, old): setattr(model, name, make(m))
    return model


def changes_a_copy(model, old, make): return replace(copy.deepcopy(model), old, make)
def returns_nothing(model, old, make): replace(model, old, make)
def passes_the_class(model, old, make): return replace(model, old, lambda m: make(type(m)))


def only_a_variable(model, old, make):
    for m in model.modules():
        if isinstance(m, old): m = make(m)
    return model


class ModuleDict(Module):
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


class DictBeside(Module):
    "Keeps a dictionary of its own beside the registered ones"
    def __init__(self, modules=None):
        super().__init__()
        self.held = {}
        for name,m in dict(modules or {}).items(): self[name] = m
    def __setitem__(self, name, m):
        self.held[name] = m
        setattr(self, name, m)
    def __getitem__(self, name): return self.held[name]
    def __delitem__(self, name):
        del self.held[name]
        delattr(self, name)
    def __len__(self): return len(self.held)
    def __iter__(self): return iter(self.held)
    def __contains__(self, name): return name in self.held
    def keys(self): return self.held.keys()
    def values(self): return self.held.values()
    def items(self): return self.held.items()


class Hides(DictBeside):
    "Keeps its modules in a plain dictionary"
    def __setitem__(self, name, m): self.held[name] = m
    def __delitem__(self, name): del self.held[name]


class Attribute(ModuleDict):
    "An unknown name is an AttributeError"
    def __getitem__(self, name): return getattr(self, name)


class AsksForAttributes(ModuleDict):
    "Whatever the class has seems to be in it"
    def __contains__(self, name): return hasattr(self, name)


class WantsOne(ModuleDict):
    "Cannot be empty"
    def __init__(self, modules=None): super().__init__(dict(modules))


class StaysThere(DictBeside):
    "Deleting leaves the module registered"
    def __delitem__(self, name): del self.held[name]


class SetsPlain(DictBeside):
    "What comes later is not registered"
    def __init__(self, modules=None):
        super().__init__(modules)
        self.later = True
    def __setitem__(self, name, m):
        self.held[name] = m
        if not hasattr(self, 'later'): setattr(self, name, m)
    def __delitem__(self, name): del self.held[name]


class Unordered(ModuleDict):
    "Iteration gives the modules"
    def __iter__(self): return iter(self.values())


EXERCISES = [
    (check_residual, [Residual, ResidualOfAList, ResidualSequential, ResidualByName],
     [(HidesLayers, 'A plain list hides them'), (ForgetsTheInput, 'add the input'),
      (EachGetsTheInput, 'hand each the result'),
      (AddsEachTime, 'once, at the end'), (OverwritesX, 'has overwritten x'),
      (InPlaceAtTheEnd, '`x + …`'), (OnlyTheFirst, 'Only one of the layers'), (InPlace, '`x + …`'),
      (ByChildren, 'gives what is shared once')]),
    (check_replace_layers, [replace, replace_by_path, replace_on_each],
     [(replaces_one_level, 'do the same below it'), (replaces_everything, 'named_children()'),
      (returns_nothing, '`return model`'),
      (by_dotted_name, 'does not go into'), (changes_a_copy, 'not a copy'),
      (passes_the_class, 'may need its sizes'), (only_a_variable, 'setattr')]),
    (check_module_dict, [ModuleDict, DictBeside, nn.ModuleDict],
     [(AsksForAttributes, 'not `hasattr`'), (WantsOne, 'without an argument'),
      (Hides, 'Register each with'), (Attribute, 'KeyError'), (StaysThere, '`delattr`'),
      (SetsPlain, '`__setitem__` registers'),
      (Unordered, '`__iter__` over the names')]),
]
