"Lesson 09: a sampler with as many of each class, padding in all dimensions, batches of like length."
import random
from collections import Counter, defaultdict
from itertools import islice
import numpy as np, torch, torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import WeightedRandomSampler
from miniai.batches import Sampler
from miniai.check.batches import check_balanced, check_pad, check_ragged


class MyBalanced:
    def __init__(self, labels):
        self.places = [(labels == c).nonzero().flatten() for c in labels.unique()]
        self.n = min(map(len, self.places))
    def __len__(self): return self.n*len(self.places)
    def draw(self, places): return places[torch.randperm(len(places))[:self.n]]
    def mix(self, idx): return idx[torch.randperm(len(idx))]
    def __iter__(self): return iter(self.mix(torch.cat([self.draw(p) for p in self.places])).tolist())


class ByRandom:
    "Plain Python, and a generator"
    def __init__(self, labels):
        self.by_class = defaultdict(list)
        for i,label in enumerate(labels.tolist()): self.by_class[label].append(i)
        self.n = min(len(places) for places in self.by_class.values())
    def __len__(self): return self.n*len(self.by_class)
    def __iter__(self):
        epoch = [i for places in self.by_class.values() for i in random.sample(places, self.n)]
        random.shuffle(epoch)
        yield from epoch


class OneWalk:
    "A random order of everything, from which what is too much is left out: the large class comes early"
    def __init__(self, labels):
        self.labels,counts = labels.tolist(),Counter(labels.tolist())
        self.n,self.size = min(counts.values()),min(counts.values())*len(counts)
    def __len__(self): return self.size
    def __iter__(self):
        seen = Counter()
        for i in np.random.default_rng().permutation(len(self.labels)):
            seen[self.labels[i]] += 1
            if seen[self.labels[i]] <= self.n: yield i


class Reshuffled(OneWalk):
    def __iter__(self):
        epoch = list(super().__iter__())
        np.random.shuffle(epoch)
        return iter(epoch)


class Tensors(MyBalanced):
    "Indices as numbers in tensors; the order by sorting random numbers"
    def mix(self, idx): return idx[torch.rand(len(idx)).argsort()]
    def __iter__(self): return iter(self.mix(torch.cat([self.draw(p) for p in self.places])))


class Largest(MyBalanced):
    def __init__(self, labels):
        super().__init__(labels)
        self.n = max(map(len, self.places))
    def draw(self, places): return places[torch.arange(self.n) % len(places)]


class Everything(MyBalanced):
    def draw(self, places): return places


class FromSet(OneWalk):
    "Counts tensors, each of which is another key"
    def __init__(self, labels):
        super().__init__(labels)
        self.n = min(Counter(labels).values())
        self.places = [(labels == c).nonzero().flatten().tolist() for c in set(labels)]
    def __iter__(self): return iter([random.choice(p) for p in self.places])


class FromZero(MyBalanced):
    "Takes it that the classes are 0, 1, 2 …"
    def __init__(self, labels):
        self.places = [(labels == c).nonzero().flatten() for c in range(int(labels.max())+1)]
        self.n = min(map(len, self.places))


class Weighted(MyBalanced):
    "As the lesson's sampler for rare classes: as many of each on average"
    def __init__(self, labels):
        super().__init__(labels)
        self.weights = 1/torch.bincount(labels)[labels]
    def __iter__(self): return iter(WeightedRandomSampler(self.weights, len(self), replacement=False))


class Replaced(MyBalanced):
    def draw(self, places): return places[torch.randint(len(places), (self.n,))]


class Labels(MyBalanced):
    def __init__(self, labels):
        super().__init__(labels)
        self.labels = labels
    def __iter__(self): return (self.labels[i].item() for i in super().__iter__())


class WholeLength(MyBalanced):
    def __len__(self): return sum(map(len, self.places))


class ChosenOnce(MyBalanced):
    def __init__(self, labels):
        super().__init__(labels)
        self.places = [self.draw(p) for p in self.places]


class Once(MyBalanced):
    def __init__(self, labels):
        super().__init__(labels)
        self.epoch = list(super().__iter__())
    def __iter__(self): return iter(self.epoch)


class UsedUp(Once):
    def __init__(self, labels):
        super().__init__(labels)
        self.iterator = iter(self.epoch)
    def __iter__(self): return self.iterator


class Seeded(MyBalanced):
    def __iter__(self):
        torch.manual_seed(0)
        return super().__iter__()


class InBlocks(MyBalanced):
    def mix(self, idx): return idx


class InTurn(MyBalanced):
    "One of each class, then again"
    def mix(self, idx): return idx.view(len(self.places), -1).t().flatten()


class Stub:
    def __init__(self, *args): raise NotImplementedError


def my_pad(samples):
    longest = [max(sizes) for sizes in zip(*(t.shape for t in samples))]
    out = samples[0].new_zeros(len(samples), *longest)
    for row,t in zip(out, samples): row[tuple(slice(n) for n in t.shape)] = t
    return out


def by_functional(samples):
    longest = torch.tensor([t.shape for t in samples]).max(0).values
    def fill(t):
        more = (longest - torch.tensor(t.shape)).tolist()
        return F.pad(t, [n for m in reversed(more) for n in (0, m)])
    return torch.stack([fill(t) for t in samples])


def by_recursion(samples, shape=None):
    "Fills a dimension, then each of what is in it"
    shape = shape or [max(sizes) for sizes in zip(*(t.shape for t in samples))]
    def fill(t, shape):
        if not shape: return t
        pieces = [fill(o, shape[1:]) for o in t]
        pieces += [torch.zeros(shape[1:], dtype=t.dtype)]*(shape[0] - len(t))
        return torch.stack(pieces)
    return torch.stack([fill(t, shape) for t in samples])


def by_cat(samples):
    "Dimension after dimension, zeros joined on"
    for d in range(samples[0].dim()):
        n = max(t.shape[d] for t in samples)
        def zeros(t): return t.new_zeros(*t.shape[:d], n - t.shape[d], *t.shape[d+1:])
        samples = [torch.cat([t, zeros(t)], d) for t in samples]
    return torch.stack(samples)


def only_stacks(samples): return torch.stack(samples)
def sequences(samples): return pad_sequence(samples, batch_first=True)
def square(samples):
    n = max(max(t.shape) for t in samples)
    return torch.stack([F.pad(t, [k for size in reversed(t.shape) for k in (0, n-size)]) for t in samples])


def as_floats(samples): return my_pad(samples).float()


def upright(samples): return pad_sequence(samples) if samples[0].dim() == 1 else my_pad(samples)


def in_front(samples):
    out = my_pad(samples)*0
    for row,t in zip(out, samples): row[tuple(slice(-n, None) for n in t.shape)] = t
    return out


def last_only(samples):
    n = max(t.shape[-1] for t in samples)
    return torch.stack([F.pad(t, (0, n - t.shape[-1])) for t in samples])


def like_the_largest(samples):
    "Takes the shape of the sample that has the most numbers"
    out = torch.zeros(len(samples), *max(samples, key=torch.Tensor.numel).shape, dtype=samples[0].dtype)
    for row,t in zip(out, samples): row[tuple(slice(n) for n in t.shape)] = t
    return out


class MyRagged:
    def __init__(self, dataset, batch_size, pool): self.dataset,self.bs,self.pool = dataset,batch_size,pool
    def __len__(self): return -(-len(self.dataset)//self.bs)
    def order(self): return iter(Sampler(self.dataset, shuffle=True))
    def fetch(self, i): return self.dataset[i]
    def mix(self, batches): random.shuffle(batches)
    def sort(self, waiting): waiting.sort(key=len)
    def batch(self, samples): return pad_sequence(samples, True),torch.tensor([len(t) for t in samples])
    def __iter__(self):
        indices,left = self.order(),[]
        while new := [self.fetch(i) for i in islice(indices, self.pool - len(left))]:
            waiting = left + new
            self.sort(waiting)
            full = len(waiting)//self.bs*self.bs
            batches = [waiting[i:i+self.bs] for i in range(0, full, self.bs)]
            left = waiting[full:]
            del waiting, new
            self.mix(batches)
            yield from map(self.batch, batches)
        if left: yield self.batch(left)


class Neighbours(MyRagged):
    "Keeps the pool full, and takes a piece of it from a random place"
    def __iter__(self):
        waiting = []
        for i in self.order():
            waiting.append(self.fetch(i))
            if len(waiting) == self.pool: yield self.take(waiting)
        while waiting: yield self.take(waiting)
    def take(self, waiting):
        waiting.sort(key=len)
        start = random.randrange(max(len(waiting) - self.bs, 0) + 1)
        samples = waiting[start:start+self.bs]
        del waiting[start:start+self.bs]
        return self.batch(samples)


class ByTensors(MyRagged):
    "Sorts places by argsort, mixes by randperm, and gives lists"
    def __iter__(self):
        order,waiting = torch.randperm(len(self.dataset)).tolist(),[]
        while order or waiting:
            n = self.pool - len(waiting)
            waiting += [self.dataset[i] for i in order[:n]]
            order = order[n:]
            places = torch.tensor([len(t) for t in waiting]).argsort(descending=True)
            cut = len(waiting) % self.bs if order or len(waiting) > self.bs else 0
            for idx in [places[cut:].split(self.bs)[i] for i in torch.randperm((len(places)-cut)//self.bs)]:
                yield list(self.batch([waiting[i] for i in idx]))
            if cut == 0 and len(waiting) < self.bs:
                yield list(self.batch(waiting))
                return
            waiting = [waiting[i] for i in places[:cut]]


class OnePoolAtATime(MyRagged):
    "A short batch at the end of each pool"
    def __iter__(self):
        indices = self.order()
        while waiting := [self.fetch(i) for i in islice(indices, self.pool)]:
            self.sort(waiting)
            batches = [waiting[i:i+self.bs] for i in range(0, len(waiting), self.bs)]
            self.mix(batches)
            yield from map(self.batch, batches)


class LosesTheRest(MyRagged):
    def __iter__(self): return (b for b in super().__iter__() if len(b[0]) == self.bs)


class TooMany(MyRagged):
    "Fetches a whole pool on top of what was left"
    def __init__(self, dataset, batch_size, pool): super().__init__(dataset, batch_size, pool + batch_size)


class AllAtOnce(MyRagged):
    def __init__(self, dataset, batch_size, pool): super().__init__(dataset, batch_size, len(dataset))


class FetchesTwice(MyRagged):
    "Asks for a sample to see how long it is, and again for the batch"
    def fetch(self, i): return self.dataset[i] if len(self.dataset[i]) else None


class LooksAhead(MyRagged):
    "All lengths at the start"
    def __init__(self, dataset, batch_size, pool):
        super().__init__(dataset, batch_size, pool)
        self.lengths = [len(dataset[i]) for i in range(len(dataset))]


class Unsorted(MyRagged):
    def sort(self, waiting): pass


class ShortFirst(MyRagged):
    def mix(self, batches): pass


class InOrder(MyRagged):
    def order(self): return iter(range(len(self.dataset)))


class SeedsAll(MyRagged):
    def __iter__(self):
        torch.manual_seed(0)
        random.seed(0)
        return super().__iter__()


class UsedUpLoader(MyRagged):
    def __init__(self, *args):
        super().__init__(*args)
        self.batches = super().__iter__()
    def __iter__(self): return self.batches


class WrongLength(MyRagged):
    def __len__(self): return len(self.dataset)//self.bs


class FullWidth(MyRagged):
    "As wide as the longest of all"
    def batch(self, samples):
        x,lengths = super().batch(samples)
        return F.pad(x, (0, 100 - x.shape[1])),lengths


class PaddedLengths(MyRagged):
    def batch(self, samples):
        x = pad_sequence(samples, True)
        return x,torch.tensor([len(row) for row in x])


class Upright(MyRagged):
    def batch(self, samples): return pad_sequence(samples),torch.tensor([len(t) for t in samples])


class Oldest(MyRagged):
    "Around the sample that has waited longest, those that are nearest to it in length"
    def __iter__(self):
        waiting,indices = [],self.order()
        while waiting := waiting + [self.fetch(i) for i in islice(indices, self.pool - len(waiting))]:
            size = len(waiting[0])
            near = sorted(range(len(waiting)), key=lambda k: abs(len(waiting[k]) - size))[:self.bs]
            samples,waiting = [waiting[k] for k in near],[t for k,t in enumerate(waiting) if k not in near]
            yield self.batch(samples)


class SortsAll(LooksAhead):
    "All of it by length, from lengths that were looked up at the start"
    def __iter__(self):
        order = sorted(range(len(self.dataset)), key=self.lengths.__getitem__)
        batches = [order[i:i+self.bs] for i in range(0, len(order), self.bs)]
        self.mix(batches)
        return (self.batch([self.dataset[i] for i in b]) for b in batches)


class OnlyX(MyRagged):
    def batch(self, samples): return pad_sequence(samples, True)


EXERCISES = [
    (check_balanced, [MyBalanced, ByRandom, Reshuffled, Tensors],
     [(Largest, 'not of the largest'), (Everything, 'The smallest class decides'),
      (FromSet, 'all tensors differ'), (FromZero, 'lists the classes that there are'),
      (Replaced, 'gives each place once'), (Weighted, 'as many places of each'),
      (Labels, 'Give the places'), (WholeLength, 'how many an epoch gives'),
      (ChosenOnce, 'in __iter__'), (Once, 'in __iter__'), (UsedUp, 'begin anew'), (Seeded, 'seed nothing'),
      (InBlocks, 'all shuffled at the end'), (InTurn, 'all shuffled at the end'),
      (OneWalk, 'all shuffled at the end'), (Stub, 'This is the stub')]),
    (check_pad, [my_pad, by_functional, by_recursion, by_cat],
     [(only_stacks, 'as long as the longest'), (sequences, 'only the last dimension differs'),
      (square, 'the others stay as they are'), (as_floats, 'of its dtype'), (upright, 'A row a sample'),
      (in_front, 'zeros behind'), (last_only, 'For each dimension'),
      (like_the_largest, 'For each dimension')]),
    (check_ragged, [MyRagged, Neighbours, ByTensors, Oldest],
     [(OnePoolAtATime, 'goes into the next one'), (LosesTheRest, 'what is left at the end'),
      (TooMany, 'At most `pool` may wait'), (AllAtOnce, 'At most `pool` may wait'),
      (FetchesTwice, 'Fetch each once'), (LooksAhead, 'Fetch each once'), (SortsAll, 'Fetch each once'),
      (Unsorted, 'Sort what waits'),
      (ShortFirst, 'Mix the batches'), (InOrder, 'Draw the samples at random'), (SeedsAll, 'seed nothing'),
      (UsedUpLoader, 'begin anew'), (WrongLength, 'rounded up'), (FullWidth, 'up to the longest'),
      (Upright, 'A row a sample'),
      (PaddedLengths, 'how long each is'), (OnlyX, 'A batch is a pair'), (Stub, 'This is the stub')])]
