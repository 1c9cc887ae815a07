"Lesson 13: a Hugging Face data set through our loader and PyTorch's; decoded once; no network"
import os, socket, statistics, subprocess, sys, time, warnings
from contextlib import closing
import numpy as np, torch, torch.utils.data as torch_data
from miniai.data import DataLoader, Dataset
from miniai.datasets import collate_dict, get_data, inplace
from tests.conftest import ROOT


@inplace
def to_tensors(rows): rows['image'] = [torch.from_numpy(np.array(o))[None]/255 for o in rows['image']]


def seconds(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def epoch(dl):
    for batch in dl: pass


def interleaved(ours, peer, rounds):
    "Median seconds of both, and the median of the ratio round by round"
    epoch(ours), epoch(peer)
    times = [(seconds(lambda: epoch(ours)), seconds(lambda: epoch(peer))) if i % 2 else
             tuple(reversed((seconds(lambda: epoch(peer)), seconds(lambda: epoch(ours)))))
             for i in range(rounds)]
    return *(statistics.median(t) for t in zip(*times)),statistics.median(p/o for o,p in times)


def loader_rows(train):
    ds = train.select(range(6000)).with_transform(to_tensors)
    for n in (0, 2):
        def loader(cls): return cls(ds, 64, shuffle=True, num_workers=n, collate_fn=collate_dict(ds))
        ours,peer,ratio = interleaved(loader(DataLoader), loader(torch_data.DataLoader), 9)
        yield dict(row='hf', what=f'transformed pictures, batches of 64, {n} workers', ours=len(ds)/ours,
                   peer=len(ds)/peer,
                   peer_name='torch DataLoader', ratio=ratio, bar=1., unit='images/s')


def ready_rows(train):
    "The whole set as one large batch, kept as two tensors"
    some = train.select(range(3000))
    ready = DataLoader(Dataset(*collate_dict(some)(list(some))), 64, shuffle=True)
    decoding = torch_data.DataLoader(some.with_transform(to_tensors), 64, shuffle=True,
                                     collate_fn=collate_dict(some))
    ours,peer,ratio = interleaved(ready, decoding, 5)
    yield dict(row='hf', what='pictures decoded once, batches of 64', ours=len(some)/ours,
               peer=len(some)/peer,
               peer_name='decoding each time', ratio=ratio, bar=50., unit='images/s')


def answer_row():
    "get_data where the network swallows everything, importing the library and drawing included"
    with closing(socket.socket()) as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        code = ("import time, warnings, miniai.datasets as d; warnings.simplefilter('ignore');"
                "start = time.perf_counter();"
                "d.get_data('fashion_mnist'); print(time.perf_counter()-start)")
        env = {k: v for k,v in os.environ.items() if k not in ('MINIAI_DATA', 'HF_HUB_OFFLINE')}
        env |= dict(HF_ENDPOINT=f'http://127.0.0.1:{s.getsockname()[1]}', HF_HOME=os.devnull + '/none')
        took = [float(subprocess.run([sys.executable, '-c', code], cwd=ROOT, env=env, capture_output=True,
                                     text=True, check=True).stdout) for _ in range(3)]
    yield dict(row='hf', what='get_data with no network and no folder', ours=statistics.median(took), peer=5.,
               peer_name='the limit',
               ratio=5/statistics.median(took), bar=1., unit='s')


def rows():
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        train = get_data('fashion_mnist')['train']
    yield from loader_rows(train)
    yield from ready_rows(train)
    yield from answer_row()
