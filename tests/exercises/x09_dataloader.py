"Lesson 07: a sampler, a batch sampler, a collate function and a loader of one's own."
import random
from itertools import islice
import torch
from miniai.check.data import check_batch_sampler, check_collate, check_dataloader, check_sampler


class MySampler:
    def __init__(self, ds, shuffle=False): self.n,self.shuffle = len(ds),shuffle
    def __len__(self): return self.n
    def __iter__(self): return iter(torch.randperm(self.n).tolist() if self.shuffle else range(self.n))


class ByRandom(MySampler):
    def __iter__(self):
        indices = list(range(self.n))
        if self.shuffle: random.shuffle(indices)
        yield from indices


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
    def __iter__(self): return iter(torch.randint(0, self.n, (self.n,)).tolist() if self.shuffle else range(self.n))


class LosesOne(MySampler):
    def __iter__(self): return iter(range(self.n - 1))


class MyBatchSampler:
    def __init__(self, sampler, batch_size, drop_last=False): self.sampler,self.bs,self.drop = sampler,batch_size,drop_last
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


class ForgetsTheRest(MyBatchSampler):
    def __iter__(self):
        batch = []
        for i in self.sampler:
            batch.append(i)
            if len(batch) == self.bs:
                yield batch
                batch = []


class NeverDrops(MyBatchSampler):
    def __init__(self, sampler, batch_size, drop_last=False): super().__init__(sampler, batch_size)


class RoundsDown(MyBatchSampler):
    def __len__(self): return len(self.sampler)//self.bs


def my_collate(samples):
    first = samples[0]
    if isinstance(first, torch.Tensor): return torch.stack(samples)
    if isinstance(first, dict): return {k: my_collate([s[k] for s in samples]) for k in first}
    if hasattr(first, '_fields'): return type(first)(*(my_collate(list(f)) for f in zip(*samples)))
    if isinstance(first, (tuple, list)):
        assert len({tuple(s[0].shape) for s in samples if isinstance(s[0], torch.Tensor)}) < 2
        return [my_collate(list(f)) for f in zip(*samples)]
    if isinstance(first, str): return samples
    if isinstance(first, float): return torch.tensor(samples, dtype=torch.float64)
    if isinstance(first, int): return torch.tensor(samples)
    return torch.stack([torch.as_tensor(s) for s in samples])


def only_turns(samples): return list(zip(*samples)) if isinstance(samples[0], tuple) else samples
def single_floats(samples): return torch.tensor(samples) if isinstance(samples[0], float) else my_collate(samples)
def joins(samples): return torch.cat(samples) if isinstance(samples[0], torch.Tensor) else my_collate(samples)


class MyLoader:
    def __init__(self, dataset, batch_size=1, shuffle=False, drop_last=False):
        self.dataset,self.batches = dataset,MyBatchSampler(MySampler(dataset, shuffle), batch_size, drop_last)
    def __len__(self): return len(self.batches)
    def __iter__(self):
        for idx in self.batches: yield my_collate([self.dataset[i] for i in idx])


class WithMore(MyLoader):
    def __init__(self, dataset, batch_size=1, shuffle=False, drop_last=False, sampler=None, collate_fn=my_collate):
        self.dataset,self.collate = dataset,collate_fn
        self.batches = MyBatchSampler(sampler or MySampler(dataset, shuffle), batch_size, drop_last)
    def __iter__(self):
        for idx in self.batches: yield self.collate([self.dataset[i] for i in idx])


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
        for a,b in zip(self.batches, self.batches): yield [my_collate([self.dataset[i][0] for i in a]), my_collate([self.dataset[i][1] for i in b])]


class Unfinished:
    def __init__(self, *args, **kwargs): raise NotImplementedError


EXERCISES = [
    (check_sampler, [MySampler, ByRandom], [(ShufflesOnce, 'not in __init__'), (UsedUp, 'begin anew'), (DrawsWithReplacement, 'Some came twice'),
                                            (LosesOne, 'One index is missing'), (Unfinished, 'This is the stub')]),
    (check_batch_sampler, [MyBatchSampler, Collects], [(ForgetsTheRest, 'The short batch at the end is missing'), (NeverDrops, 'drop_last=True leaves out'),
                                                       (RoundsDown, 'rounded up without')]),
    (check_collate, [my_collate], [(only_turns, 'still a list'), (single_floats, 'float64'), (joins, 'torch.cat')]),
    (check_dataloader, [MyLoader, WithMore], [(Rounds, 'The number of batches'), (Lists, 'A batch holds all the x'), (Generator, 'in __iter__, not in __init__'),
                                              (Separately, 'same indices')])]
