"Lesson 13: data sets"
import functools, inspect, itertools, math, random
import numpy as np, torch
from miniai.check.datasets import check_inplace, check_pixel_stats, check_shuffle


# 1. in place

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


def no_keywords(f):
    @functools.wraps(f)
    def new(x, *args):
        f(x, *args)
        return x
    return new


def by_pop_of_names(f):
    @functools.wraps(f)
    def new(*args, **kwargs):
        first = [*args, *kwargs.values()][0]
        f(*args, **kwargs)
        return first
    return new


def by_signature(f):
    @functools.wraps(f)
    def new(*args, **kwargs):
        f(*args, **kwargs)
        return inspect.signature(f).bind(*args, **kwargs).args[0]
    return new


def names_the_first(f):
    @functools.wraps(f)
    def new(x, *args, **kwargs):
        f(x, *args, **kwargs)
        return x
    return new


def wraps_without_f(f):
    @functools.wraps
    def new(*args, **kwargs):
        f(*args, **kwargs)
        return args[0]
    return new


class ByObject:
    def __init__(self, f): functools.update_wrapper(self, f)

    def __call__(self, *args, **kwargs):
        self.__wrapped__(*args, **kwargs)
        return (args + tuple(kwargs.values()))[0]


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
    return mean.item(),(share*(values-mean)**2).sum().sqrt().item()


def by_floats(x): return (x.double()/255).mean().item(),(x.double()/255).std(correction=0).item()
def by_unique(x):
    values,counts = x.unique(return_counts=True)
    n,total = x.numel(),int((values.long()*counts).sum())
    mean = total/n
    square = sum((v-mean)**2*c for v,c in zip(values.tolist(), counts.tolist()))/n
    return mean/255,math.sqrt(square)/255


def by_numpy(x):
    counts = np.bincount(x.numpy().ravel(), minlength=256)
    values = np.arange(256)/255
    mean = float((counts*values).sum()/counts.sum())
    return mean,float(np.sqrt((counts*(values-mean)**2).sum()/counts.sum()))


def as_tensors(x): return tuple(torch.tensor(o) for o in by_counts(x))
def to_255(x): return tuple(255*o for o in by_counts(x))
def variance(x): return by_counts(x)[0],by_counts(x)[1]**2
def n_minus_one(x): return by_counts(x)[0],(x.double()/255).std().item()
def by_256(x): return tuple(o*255/256 for o in by_counts(x))


def mean_distance(x):
    values = x.double()/255
    return values.mean().item(),(values-values.mean()).abs().mean().item()


def not_flattened(x):
    share = x.bincount(minlength=256).double()/x.numel()
    values = torch.arange(256).double()/255
    mean = (share*values).sum()
    return mean.item(),(share*(values-mean)**2).sum().sqrt().item()


def only_mean(x): return by_counts(x)[0]


def no_minlength(x):
    share = x.flatten().bincount().double()/x.numel()
    values = torch.arange(256).double()/255
    mean = (share*values).sum()
    return mean.item(),(share*(values-mean)**2).sum().sqrt().item()


def overflows(x):
    mean = x.double().mean()
    return (mean/255).item(),(((x*x).double().mean() - mean**2).clamp(min=0).sqrt()/255).item()


def stub(*args): raise NotImplementedError


# 3. a shuffle buffer

def by_swapping(items, size):
    buffer = []
    for item in items:
        if len(buffer) < size: buffer.append(item)
        else:
            i = random.randrange(size)
            yield buffer[i]
            buffer[i] = item
    random.shuffle(buffer)
    yield from buffer


def by_popping(items, size):
    items,buffer = iter(items),[]
    buffer += itertools.islice(items, size)
    while buffer:
        yield buffer.pop(int(torch.randint(len(buffer), (1,))))
        buffer += itertools.islice(items, 1)


class ByAClass:
    def __init__(self, items, size): self.items,self.buffer,self.size = iter(items),[],size
    def __iter__(self): return self

    def __next__(self):
        for item in self.items:
            self.buffer.append(item)
            if len(self.buffer) >= self.size: break
        if not self.buffer: raise StopIteration
        i = np.random.randint(len(self.buffer))
        self.buffer[i],self.buffer[-1] = self.buffer[-1],self.buffer[i]
        return self.buffer.pop()


def all_at_once(items, size):
    items = list(items)
    random.shuffle(items)
    yield from items


def loses_the_rest(items, size):
    buffer = []
    for item in items:
        buffer.append(item)
        if len(buffer) == size: yield buffer.pop(random.randrange(size))


def piece_by_piece(items, size):
    items = iter(items)
    while piece := list(itertools.islice(items, size)):
        random.shuffle(piece)
        yield from piece


def unchanged(items, size): yield from items


def one_too_many(items, size):
    if size == 1: yield from items
    else: yield from by_popping(items, size+1)


def one_too_many_always(items, size): yield from by_popping(items, size+1)


def draws_twice(items, size):
    "What goes out stays, and another place is filled"
    buffer = []
    for item in items:
        if len(buffer) < size: buffer.append(item)
        else:
            yield random.choice(buffer)
            buffer[random.randrange(size)] = item
    random.shuffle(buffer)
    yield from buffer


def not_filled(items, size):
    buffer = []
    for item in items:
        buffer.append(item)
        if len(buffer) > size//2: yield buffer.pop(random.randrange(len(buffer)))
    random.shuffle(buffer)
    yield from buffer


def by_next(items, size):
    items,buffer = iter(items),[]
    for _ in range(size): buffer.append(next(items))
    while buffer:
        yield buffer.pop(random.randrange(len(buffer)))
        buffer.append(next(items))


def loses_every_other(items, size):
    buffer = []
    for item in items:
        if len(buffer) < size: buffer.append(item)
        else: yield buffer.pop(random.randrange(size))
    random.shuffle(buffer)
    yield from buffer


def rest_in_order(items, size):
    buffer = []
    for item in items:
        if len(buffer) < size: buffer.append(item)
        else:
            i = random.randrange(size)
            yield buffer[i]
            buffer[i] = item
    yield from buffer


def same_each_time(items, size):
    random.seed(0)
    yield from by_swapping(items, size)


def reads_ahead(items, size):
    items = iter(items)
    ahead = list(itertools.islice(items, 3*size))
    yield from by_popping(itertools.chain(ahead, items), size)


EXERCISES = [
    (check_inplace, [first_argument, by_pop_of_names, by_signature, ByObject],
     [(without_wraps, 'functools.wraps'), (one_argument, '*args and **kwargs'),
      (no_return, 'a `return` of its own'),
      (returns_result, 'a `return` of its own'), (no_keywords, '*args and **kwargs'),
      (only_places, 'first value of kwargs'), (names_the_first, 'first value of kwargs'),
      (wraps_without_f, 'with its (f)'),
      (works_on_a_copy, 'very object'), (calls_twice, 'Call f once'), (stub, 'This is the stub')]),
    (check_pixel_stats, [by_counts, by_unique, by_numpy],
     [(by_floats, 'Count the values'), (as_tensors, 'by .item()'), (to_255, 'divide by 255'),
      (variance, 'take the root'), (by_256, 'not by 256'), (mean_distance, 'square the distances'),
      (not_flattened, 'one row of numbers'),
      (n_minus_one, 'n-1'), (only_mean, 'Return two numbers'), (no_minlength, 'minlength=256'),
      (overflows, 'uint8 overflows'),
      (stub, 'This is the stub')]),
    (check_shuffle, [by_swapping, by_popping, ByAClass],
     [(all_at_once, 'Read until the buffer is full'), (loses_the_rest, 'they come out as well'),
      (piece_by_piece, 'Is it shuffled piece by piece'), (unchanged, 'is drawn by chance'),
      (one_too_many, 'the buffer holds 5 items'), (one_too_many_always, 'One comes in and goes out'),
      (draws_twice, 'What goes out leaves the buffer'), (not_filled, 'Fill the buffer before'),
      (by_next, 'a StopIteration'), (loses_every_other, 'takes its place'),
      (rest_in_order, 'those that are left'), (same_each_time, 'without a seed'),
      (reads_ahead, 'give one away with `yield`, read one'), (stub, 'This is the stub')]),
]
