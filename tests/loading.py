"What the tests of batches, workers and loaders share: data sets, comparisons, processes"
import os, random, re, signal, sys, time
from collections import namedtuple
import numpy as np, psutil, torch
import torch.utils.data as torch_data
from miniai.data import Dataset, IterableDataset, Subset, worker_rng

Box = namedtuple('Box', 'left top')
KINDS = ['ours', 'tensors', 'arrays', 'list', 'tensor', 'custom', 'our subset', 'their subset', 'concat']


def same(a, b):
    "Are two nested batches of the same types, dtypes and values?"
    if type(a) is not type(b): return False
    if isinstance(b, torch.Tensor): return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(b, np.ndarray): return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(b, dict): return list(a) == list(b) and all(same(a[k], b[k]) for k in b)
    if isinstance(b, (list, tuple)): return len(a) == len(b) and all(map(same, a, b))
    return a == b


def children():
    "The processes of this one that are workers"
    def helps(p): return {'resource_tracker', 'forkserver'} & set(re.findall(r'\w+', ' '.join(p.cmdline())))
    return [p for p in psutil.Process().children() if not helps(p)]


def wait_until(f, seconds=20):
    end = time.monotonic() + seconds
    while not f():
        if time.monotonic() > end: return False
        time.sleep(0.01)
    return True


class Custom(torch_data.Dataset):
    def __init__(self, n): self.n = n
    def __len__(self): return self.n
    def __getitem__(self, i): return {'x': torch.full((2, 3), float(i)), 'y': i, 'name': f'no {i}'}


class Draws(Custom):
    "Random numbers from all sources"
    def __getitem__(self, i):
        return i,torch.rand(2),random.random(),np.random.rand(),np.random.randn(),random.gauss(0, 1)


class DrawsOwn(Custom):
    def __getitem__(self, i):
        own = torch.rand(2, generator=worker_rng())
        return i,own,worker_rng('numpy').random(),worker_rng('random').random()


class Stream(IterableDataset):
    def __init__(self, n, share=True, draws=False): self.n,self.share,self.draws = n,share,draws
    def __iter__(self):
        info = torch_data.get_worker_info() if self.share else None
        for i in range(info.id if info else 0, self.n, info.num_workers if info else 1):
            yield (i, random.random()) if self.draws else i


class Calls(Custom):
    "Does what it is told for sample 7"
    def __init__(self, f, n=40): self.f,self.n = f,n
    def __getitem__(self, i): return self.f() if i == 7 else i


def make_dataset(kind, n):
    x,y = torch.arange(n*2.).view(n, 2),torch.arange(n)
    if kind == 'ours': return Dataset(x, y)
    if kind == 'tensors': return torch_data.TensorDataset(x, y, -y)
    if kind == 'arrays': return Dataset(x.numpy(), y.numpy())
    if kind == 'list': return [(float(i), i) for i in range(n)]
    if kind == 'tensor': return x
    if kind == 'custom': return Custom(n)
    if kind == 'our subset': return Subset(Dataset(x, y), list(range(n))[::-1])
    if kind == 'their subset':
        return torch_data.Subset(Subset(torch_data.TensorDataset(x), torch.arange(n)), range(n))
    if kind == 'concat': return torch_data.ConcatDataset([Dataset(x, y), Dataset(x, y)])
    raise ValueError(kind)


class Demanding(Exception):
    "An exception that pickle can't bring back"
    def __init__(self, path, *, line):
        super().__init__(f'{path}:{line}')
        self.line = line


def raise_demanding(): raise Demanding('a.csv', line=3)
def raise_stop(): raise StopIteration
def kill_me(): os.kill(os.getpid(), signal.SIGKILL)
def exit_me(): sys.exit(3)
def sleep_long(): time.sleep(3600)
def unpicklable(): return lambda: 0
