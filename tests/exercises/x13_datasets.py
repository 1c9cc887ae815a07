import functools
from operator import itemgetter
import torch
from torch.utils.data import default_collate
from miniai.check.datasets import check_collate_dict, check_inplace, check_pixel_stats
from miniai.datasets import collate_dict


def by_hand(ds):
    names = list(ds.features)
    def collate(samples): return tuple(default_collate([o[k] for o in samples]) for k in names)
    return collate


def bare_item(ds):
    get = itemgetter(*ds.features)
    return lambda samples: get(default_collate(samples))


def stays_dict(ds): return default_collate
def as_list(ds): return lambda samples: [default_collate(samples)[k] for k in ds.features]
def sample_order(ds): return lambda samples: tuple(default_collate(samples).values())
def calls_it(ds): return tuple(ds.features)
def pops(ds): return lambda samples: tuple(default_collate([o.pop(k) for o in samples]) for k in ds.features)
def not_collated(ds): return lambda samples: tuple([o[k] for o in samples] for k in ds.features)


columns = []
def by_global(ds):
    columns[:] = list(ds.features)
    return lambda samples: tuple(default_collate(samples)[k] for k in columns)


def first_argument(f):
    @functools.wraps(f)
    def new(*args, **kwargs):
        f(*args, **kwargs)
        return args[0] if args else next(iter(kwargs.values()))
    return new


def without_wraps(f):
    def new(*args, **kwargs):
        f(*args, **kwargs)
        return args[0] if args else next(iter(kwargs.values()))
    return new


def one_argument(f):
    @functools.wraps(f)
    def new(x):
        f(x)
        return x
    return new


def no_return(f):
    @functools.wraps(f)
    def new(*args, **kwargs): f(*args, **kwargs)
    return new


def returns_result(f):
    @functools.wraps(f)
    def new(*args, **kwargs): return f(*args, **kwargs)
    return new


def only_places(f):
    @functools.wraps(f)
    def new(*args, **kwargs):
        f(*args, **kwargs)
        return args[0]
    return new


def works_on_a_copy(f):
    @functools.wraps(f)
    def new(x, *args, **kwargs):
        x = list(x)
        f(x, *args, **kwargs)
        return x
    return new


def calls_twice(f):
    @functools.wraps(f)
    def new(*args, **kwargs):
        f(*args, **kwargs)
        if f(*args, **kwargs) is None: pass
        return args[0] if args else next(iter(kwargs.values()))
    return new


def by_counts(x):
    share = x.flatten().bincount(minlength=256).double()/x.numel()
    values = torch.arange(256).double()/255
    mean = (share*values).sum()
    return mean,(share*(values-mean)**2).sum().sqrt()


def by_floats(x): return (x.double()/255).mean().item(),(x.double()/255).std(correction=0).item()
def to_255(x): return x.double().mean(),x.double().std(correction=0)
def variance(x): return (x.double()/255).mean(),(x.double()/255).var(correction=0)
def n_minus_one(x): return (x.double()/255).mean(),(x.double()/255).std()
def only_mean(x): return (x.double()/255).mean()


def no_minlength(x):
    share = x.flatten().bincount().double()/x.numel()
    values = torch.arange(256).double()/255
    mean = (share*values).sum()
    return mean,(share*(values-mean)**2).sum().sqrt()


def overflows(x):
    mean = x.double().mean()
    return mean/255,((x*x).double().mean() - mean**2).clamp(min=0).sqrt()/255


EXERCISES = [
    (check_collate_dict, [collate_dict, by_hand],
     [(bare_item, 'is always a tuple'), (stays_dict, 'Take the columns out'), (as_list, 'It is a list'), (sample_order, 'order is that of ds.features'),
      (calls_it, 'It must return a function'), (pops, 'it changed the samples'), (not_collated, 'Collate first'), (by_global, 'global variable')]),
    (check_inplace, [first_argument],
     [(without_wraps, 'functools.wraps'), (one_argument, '*args and **kwargs'), (no_return, 'a `return` of its own'), (returns_result, 'a `return` of its own'),
      (only_places, 'first value of kwargs'), (works_on_a_copy, 'very object'), (calls_twice, 'Call f once')]),
    (check_pixel_stats, [by_counts, by_floats],
     [(to_255, 'divide by 255'), (variance, 'take the root'), (n_minus_one, 'n-1'), (only_mean, 'Return two numbers'), (no_minlength, 'minlength=256'),
      (overflows, 'uint8 overflows')]),
]
