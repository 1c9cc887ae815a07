"Lesson 09: a sampler, a batch sampler, a collate function and a loader of one's own."
import random
from itertools import islice
import numpy as np, torch
from miniai.check.batches import check_collate, check_loader, check_sampler


class MySampler:
    def __init__(self, ds, shuffle=False): self.n,self.shuffle = len(ds),shuffle
    def __len__(self): return self.n
    def __iter__(self): return iter(torch.randperm(self.n).tolist() if self.shuffle else range(self.n))


class ByRandom(MySampler):
    def __iter__(self):
        indices = list(range(self.n))
        if self.shuffle: random.shuffle(indices)
        yield from indices


class ByNumpy(MySampler):
    def __iter__(self):
        for i in np.random.permutation(self.n) if self.shuffle else range(self.n): yield int(i)


class BySample(MySampler):
    def __iter__(self):
        return iter(random.sample(range(self.n), self.n) if self.shuffle else range(self.n))


class Seeded(MySampler):
    def __iter__(self):
        order = torch.randperm(self.n, generator=torch.Generator().manual_seed(42))
        return iter(order.tolist() if self.shuffle else range(self.n))


class NeverShuffles(MySampler):
    def __iter__(self): return iter(range(self.n))


class Samples(MySampler):
    def __init__(self, ds, shuffle=False): self.ds,self.n,self.shuffle = ds,len(ds),shuffle
    def __iter__(self): return iter(random.sample(list(self.ds), self.n) if self.shuffle else self.ds)


class ShufflesOnce(MySampler):
    def __init__(self, ds, shuffle=False):
        self.indices = torch.randperm(len(ds)).tolist() if shuffle else list(range(len(ds)))
    def __len__(self): return len(self.indices)
    def __iter__(self): return iter(self.indices)


class UsedUp(MySampler):
    def __init__(self, ds, shuffle=False):
        super().__init__(ds, shuffle)
        self.indices = MySampler.__iter__(self)
    def __iter__(self): return self.indices


class DrawsWithReplacement(MySampler):
    def __iter__(self):
        return iter(torch.randint(0, self.n, (self.n,)).tolist() if self.shuffle else range(self.n))


class LosesOne(MySampler):
    def __iter__(self): return iter(range(self.n - 1))


class Rotates(MySampler):
    "Begins at another index in each epoch, and goes on in order"
    first = 0
    def __iter__(self):
        if self.shuffle: self.first += 7
        return iter([(self.first + i) % self.n for i in range(self.n)])


class TakesNone(MySampler):
    "random.shuffle returns None"
    def __iter__(self):
        indices = list(range(self.n))
        return iter(random.shuffle(indices) if self.shuffle else indices)


class MyBatchSampler:
    def __init__(self, sampler, batch_size, drop_last=False):
        self.sampler,self.bs,self.drop = sampler,batch_size,drop_last
    def __len__(self): return len(self.sampler)//self.bs if self.drop else -(-len(self.sampler)//self.bs)
    def __iter__(self):
        indices = iter(self.sampler)
        while batch := list(islice(indices, self.bs)):
            if len(batch) == self.bs or not self.drop: yield batch


class Collects(MyBatchSampler):
    def __iter__(self):
        batch = []
        for i in self.sampler:
            batch.append(i)
            if len(batch) == self.bs:
                yield batch
                batch = []
        if batch and not self.drop: yield batch


def my_collate(samples):
    first = samples[0]
    if isinstance(first, torch.Tensor): return torch.stack(samples)
    if isinstance(first, dict): return {k: my_collate([s[k] for s in samples]) for k in first}
    if hasattr(first, '_fields'): return type(first)(*(my_collate(list(f)) for f in zip(*samples)))
    if isinstance(first, (tuple, list)): return [my_collate(list(f)) for f in zip(*samples)]
    if isinstance(first, str): return samples
    if isinstance(first, float): return torch.tensor(samples, dtype=torch.float64)
    if isinstance(first, int): return torch.tensor(samples)
    return torch.stack([torch.as_tensor(s) for s in samples])


def by_kind(samples):
    "A dictionary of ways to collate"
    x = samples[0]
    if isinstance(x, dict): return type(x)((k, by_kind([s[k] for s in samples])) for k in x)
    if hasattr(x, '_fields'): return x._make(map(by_kind, zip(*samples)))
    if isinstance(x, (list, tuple)): return [by_kind(f) for f in zip(*samples)]
    ways = {str: list, float: np.asarray, int: torch.tensor, bool: torch.tensor, np.ndarray: np.stack,
            torch.Tensor: torch.stack}
    got = ways[type(x)](samples)
    return torch.from_numpy(got) if isinstance(got, np.ndarray) else got


def by_index(samples):
    "Fields by their number, and numpy for all that is no tensor"
    samples,x = list(samples),samples[0]
    if isinstance(x, str): return samples
    if hasattr(x, 'keys'): return {k: by_index([s[k] for s in samples]) for k in x.keys()}
    if isinstance(x, (list, tuple)):
        fields = [by_index([s[i] for s in samples]) for i in range(len(x))]
        return fields if type(x) in (list, tuple) else type(x)(*fields)
    if not isinstance(x, torch.Tensor): samples = [torch.from_numpy(np.asarray(s)) for s in samples]
    return torch.stack(samples)


def only_turns(samples): return list(zip(*samples)) if isinstance(samples[0], tuple) else samples
def single_floats(samples):
    return torch.tensor(samples) if isinstance(samples[0], float) else my_collate(samples)
def joins(samples): return torch.cat(samples) if isinstance(samples[0], torch.Tensor) else my_collate(samples)
def no_dicts(samples): return samples if isinstance(samples[0], dict) else my_collate(samples)


def flat(samples):
    "Does not call itself"
    x = samples[0]
    if not isinstance(x, dict): return my_collate(samples)
    return {k: torch.stack([torch.as_tensor(s[k]) for s in samples]) for k in x}


def keeps_tuples(samples):
    "Right at the top, where a tuple does, but not inside"
    x = samples[0]
    if isinstance(x, dict): return {k: keeps_tuples([s[k] for s in samples]) for k in x}
    return tuple(map(keeps_tuples, zip(*samples))) if type(x) is tuple else my_collate(list(samples))


def cuts(samples):
    "Cuts tensors to the shortest"
    x = samples[0]
    if type(x) is not tuple or not isinstance(x[0], torch.Tensor): return my_collate(samples)
    n = min(len(s[0]) for s in samples)
    return [torch.stack([s[0][:n] for s in samples]), torch.tensor([s[1] for s in samples])]


class MyLoader:
    def __init__(self, dataset, batch_size=1, shuffle=False, drop_last=False):
        self.dataset,self.batches = dataset,MyBatchSampler(MySampler(dataset, shuffle), batch_size, drop_last)
    def __len__(self): return len(self.batches)
    def __iter__(self):
        for idx in self.batches: yield my_collate([self.dataset[i] for i in idx])


class WithMore(MyLoader):
    def __init__(self, dataset, batch_size=1, shuffle=False, drop_last=False, sampler=None,
                 collate_fn=my_collate):
        self.dataset,self.collate = dataset,collate_fn
        self.batches = MyBatchSampler(sampler or MySampler(dataset, shuffle), batch_size, drop_last)
    def __iter__(self):
        for idx in self.batches: yield self.collate([self.dataset[i] for i in idx])


class AllInOne:
    "No class of its own inside, and a generator"
    def __init__(self, dataset, batch_size=1, shuffle=False, drop_last=False, generator=None):
        self.dataset,self.bs,self.shuffle,self.drop = dataset,batch_size,shuffle,drop_last
        self.generator = generator
    def cut(self, order):
        for i in range(0, len(order), self.bs):
            if i + self.bs <= len(order) or not self.drop: yield order[i:i+self.bs]
    def __len__(self): return len(list(self.cut(range(len(self.dataset)))))
    def __iter__(self):
        n = len(self.dataset)
        order = torch.randperm(n, generator=self.generator).tolist() if self.shuffle else list(range(n))
        return (my_collate([self.dataset[i] for i in idx]) for idx in self.cut(order))


class WithRandom(MyLoader):
    "Shuffles by `random.shuffle`, as the first exercise allows"
    def __init__(self, dataset, batch_size=1, shuffle=False, drop_last=False):
        self.dataset,self.batches = dataset,Collects(ByRandom(dataset, shuffle), batch_size, drop_last)


class Rounds(MyLoader):
    def __len__(self): return len(self.dataset)//self.batches.bs


class Lists(MyLoader):
    def __iter__(self):
        for idx in self.batches: yield [self.dataset[i] for i in idx]


class Generator(MyLoader):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.generator = MyLoader.__iter__(self)
    def __iter__(self): return self.generator


class Separately(MyLoader):
    "Draws one order for x and another one for y"
    def __iter__(self):
        for a,b in zip(self.batches, self.batches):
            yield [my_collate([self.dataset[i][0] for i in a]), my_collate([self.dataset[i][1] for i in b])]


class AsksForAll(MyLoader):
    "Asks the data set for a list of samples"
    def __iter__(self):
        for idx in self.batches: yield my_collate(self.dataset[idx])


class Swallows(MyLoader):
    def __iter__(self):
        for idx in self.batches:
            try: yield my_collate([self.dataset[i] for i in idx])
            except Exception: continue


class SeedsAll(MyLoader):
    def __iter__(self):
        torch.manual_seed(0)
        return MyLoader.__iter__(self)


class Unfinished:
    def __init__(self, *args, **kwargs): raise NotImplementedError


EXERCISES = [
    (check_sampler, [MySampler, ByRandom, ByNumpy, BySample],
     [(ShufflesOnce, 'not in __init__'), (UsedUp, 'begin anew'), (DrawsWithReplacement, 'Some came twice'),
      (LosesOne, 'One index is missing'), (Seeded, 'seed nothing'), (NeverShuffles, 'must be random'),
      (Samples, 'indices, not samples'), (Rotates, 'as likely as any other'), (TakesNone, 'returns None'),
      (Unfinished, 'This is the stub')]),
    (check_collate, [my_collate, by_kind, by_index],
     [(only_turns, 'still a list'), (single_floats, 'float64'), (joins, 'torch.cat'),
      (no_dicts, 'still a list'), (flat, 'call itself'), (cuts, 'refuses them by itself'),
      (keeps_tuples, 'tuples become lists')]),
    (check_loader, [MyLoader, WithMore, AllInOne, WithRandom],
     [(Rounds, 'The number of batches'), (Lists, 'A batch holds all the x'),
      (Generator, 'in __iter__, not in __init__'), (Separately, 'same indices'), (Swallows, 'Catch nothing'),
      (AsksForAll, 'one sample at a time'),
      (SeedsAll, 'each epoch needs its own order')])]
