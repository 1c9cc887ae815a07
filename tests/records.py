"""The headline numbers of lessons and README: `make records`, `python -m tests.records [name …]`.

An entry is a network and how it is trained, once for each seed. What counts is the accuracy on the test
split after the last epoch. Results go into records.json, beside this file; README's table is made from that.
"""
import argparse, datetime, json, statistics, subprocess, sys, time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
import torch, torch.nn.functional as F
from torch import nn
from miniai.augment import rand_flip
from miniai.datasets import DataLoaders, collate_dict, get_data
from miniai.init import BatchTransformCB, conv
from miniai.learner import Accuracy, DeviceCB, Learner, MetricsCB, ProgressCB
from miniai.loop import TrainCB, def_device
from miniai.optim import AdamW
from miniai.resnet import ResBlock, get_resnet
from miniai.sched import OneCycle
from miniai.tools.files import local_folder, write_safely
from miniai.training import Dataset, get_dls
from tests import readme
from tests.bench.__main__ import machine


# ---- networks, and what goes with them ---------------------------------------------------------------------

def mlp(): return nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))

def cnn():
    "The network of examples/train.py"
    convs = [conv(ni, nf, norm=nn.BatchNorm2d, bias=False) for ni,nf in ((1, 16), (16, 32), (32, 64))]
    return nn.Sequential(*convs, nn.Flatten(), nn.Dropout(0.2), nn.Linear(64*4*4, 10))

def resnet(nfs):
    "The network of 22_resnet, whose blocks begin as their shortcuts alone: the last norm gives zeros"
    model = get_resnet(nfs)
    for block in model:
        if isinstance(block, ResBlock): nn.init.zeros_(block.convs[-1][1].weight)
    return model

def flip(batch): return rand_flip(batch[0]),batch[1]

class Bfloat16CB(TrainCB):
    "Predict in bfloat16, for which newer CPUs have instructions; weights, loss and steps stay whole"
    def predict(self, learn):
        with torch.autocast(def_device, torch.bfloat16): super().predict(learn)
        learn.preds = learn.preds.float()

def one_cycle(): return [OneCycle()]

def resnet_cbs():
    return [BatchTransformCB(flip, on_val=False), Bfloat16CB(), OneCycle(div=10, div_final=1e4)]


# ---- the entries -------------------------------------------------------------------------------------------

@dataclass
class Entry:
    network:str              # In README's words
    data:str                 # 'digits' or 'clothes', which are drawn, or the name of real data in MINIAI_DATA
    model:Callable           # Makes the network
    bar:float                # Accuracy that the mean of all seeds must reach
    epochs:int = 5
    lr:float = 0.01
    bs:int = 64
    cbs:Callable = one_cycle # Makes the callbacks that not every entry has
    opt_func:Callable = AdamW
    loss_func:Callable = F.cross_entropy
    seeds:int = 3            # How many
    limit:float = None       # CPU-seconds that each seed may take

MLP,CNN = '784-256-10','that of `make train`'
RESNET = dict(lr=0.008, bs=128, cbs=resnet_cbs, limit=1500,
              opt_func=partial(AdamW, betas=(0.9, 0.99), weight_decay=0.1),
              loss_func=partial(F.cross_entropy, label_smoothing=0.1))
RECORDS = dict(
    digits_mlp=Entry(MLP, 'digits', mlp, 0.97, lr=0.003),
    digits_cnn=Entry(CNN, 'digits', cnn, 0.99),
    clothes_mlp=Entry(MLP, 'clothes', mlp, 0.97, lr=0.003),
    clothes_cnn=Entry(CNN, 'clothes', cnn, 0.99),
    mnist_mlp=Entry(MLP, 'mnist', mlp, 0.978, lr=0.003),
    mnist_cnn=Entry(CNN, 'mnist', cnn, 0.99),
    fashion_cnn=Entry(CNN, 'fashion_mnist', cnn, 0.91),
    fashion_resnet=Entry('`get_resnet((28, 56, 112, 224))`', 'fashion_mnist',
                         partial(resnet, (28, 56, 112, 224)), 0.934, **RESNET))
DRAWN = 'digits', 'clothes'


# ---- one training ------------------------------------------------------------------------------------------

def missing(data):
    "Why a data set can't be had, '' if it can"
    if data in DRAWN: return ''
    if not local_folder(data): return f'{data} is real data, and MINIAI_DATA is not set'
    return '' if local_folder(data).is_dir() else f'there is no folder {local_folder(data)}'

@lru_cache(1)  # neighbours in RECORDS share their data
def load(data):
    "Pictures to train and to test with, decoded once; those to train with get mean 0 and deviation 1"
    dd = get_data(data, source='drawn' if data in DRAWN else 'local')
    train,test = (Dataset(*collate_dict(dd[part])(list(dd[part]))) for part in ('train', 'test'))
    mean,std = train.x.mean(),train.x.std()
    for ds in train,test: ds.x.sub_(mean).div_(std)
    return train,test

def trained(entry, seed):
    "A Learner after its fit; in the last row of its history is what counts"
    torch.manual_seed(seed)
    dls = DataLoaders(*get_dls(*load(entry.data), entry.bs))
    cbs = [DeviceCB(), MetricsCB(accuracy=Accuracy()), ProgressCB(), *entry.cbs()]
    model = entry.model().to(memory_format=torch.channels_last)  # in which convolutions are faster on a CPU
    learn = Learner(model, dls, entry.loss_func, entry.lr, cbs, entry.opt_func)
    learn.fit(entry.epochs)
    return learn


# ---- records -----------------------------------------------------------------------------------------------

def measure(name, entry, seeds):
    "What comes of seeds 0, 1, …, as it goes into the file"
    load(entry.data)  # before the clocks start
    runs = []
    for seed in range(seeds):
        print(f'{name}, seed {seed}', flush=True)
        start,cpu = time.perf_counter(),time.process_time()
        accuracy = trained(entry, seed).history[-1]['accuracy']
        seconds,cpu = time.perf_counter() - start,time.process_time() - cpu
        runs.append(dict(accuracy=round(accuracy, 5), seconds=round(seconds, 1), cpu=round(cpu, 1)))
    wanted = {key: getattr(entry, key) for key in ('network', 'data', 'epochs', 'bar', 'limit')}
    means = {key: round(statistics.mean(run[key] for run in runs), 5) for key in runs[0]}
    found,cpu = ([run[key] for run in runs] for key in ('accuracy', 'cpu'))
    missed = means['accuracy'] < entry.bar or entry.limit is not None and max(cpu) > entry.limit
    return dict(**wanted, **means, spread=round(max(found) - min(found), 5), missed=missed, runs=runs)

def commit():
    "What is measured: the commit, and a plus where files have changed since"
    def git(*args): return subprocess.run(['git', *args], cwd=readme.ROOT, capture_output=True, text=True)
    changed = git('diff', '--quiet', 'HEAD', '--', 'miniai', 'tests/records.py').returncode != 0
    return (git('rev-parse', '--short', 'HEAD').stdout.strip() or 'unknown') + '+'*changed

def keep(name, record):
    "Put a record into the file, where the others stay, and all of them into README's table"
    records = readme.kept_records() | {name: record}
    records = {name: records[name] for name in RECORDS if name in records}  # in this order
    write_safely(readme.RECORDS, lambda f: f.write((json.dumps(records, indent=1) + '\n').encode()))
    readme.write()

def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', help=f"by default all: {', '.join(RECORDS)}")
    parser.add_argument('--seeds', type=int, help='with fewer than an entry wants nothing is written')
    args = parser.parse_args(argv)
    if unknown := [name for name in args.names if name not in RECORDS]:
        parser.error(f"no entry {', '.join(unknown)}; there are {', '.join(RECORDS)}")
    if args.seeds is not None and args.seeds < 1: parser.error(f'seeds must be 1 or more, got {args.seeds}')
    torch.set_num_threads(1)
    where,missed = dict(date=f'{datetime.date.today()}', commit=commit(), machine=machine()),[]
    entries = {name: RECORDS[name] for name in args.names or RECORDS}
    for name,entry in entries.items():
        if why := missing(entry.data): print(f'{name}: skipped, {why}')
    for name,entry in entries.items():
        if missing(entry.data): continue
        seeds = args.seeds or entry.seeds
        record = measure(name, entry, seeds) | where
        print('{}: mean {accuracy:.2%}, spread {spread:.2%}, bar {bar:.2%}; a seed takes {seconds:.0f} s and '
              '{cpu:.0f} CPU-seconds'.format(name, **record), flush=True)
        if record['missed']: missed.append(name)
        if seeds >= entry.seeds: keep(name, record)
        else: print(f'{name}: not written, {seeds} of {entry.seeds} seeds')
    if missed: print(f"missed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == '__main__': sys.exit(main())
