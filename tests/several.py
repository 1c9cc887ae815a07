"Fits that tests/test_distributed.py runs in one process and in two: python -m tests.several WHAT FOLDER"
import sys
from functools import partial
from pathlib import Path
import torch, torch.nn.functional as F, torchmetrics
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from miniai.accel import AccelerateCB
from miniai.data import DataLoader, Dataset
from miniai.keep import EMACB, EarlyStoppingCB, LimitCB, SaveBestCB
from miniai.learner import Callback, Learner, MetricsCB, ProgressCB, TrainLearner
from miniai.metrics import Accuracy
from miniai.module import Module
from miniai.optim import SGD, Adam
from miniai.replay import NaNStopCB
from miniai.resume import CheckpointCB
from miniai.sched import BatchSchedCB
from miniai.steps import AccumulateCB, ClipGradCB
from miniai.track import HistogramsCB, LocalTracker, TrackerCB
from tests.small import Dls, net

G = torch.Generator().manual_seed(5)
X = torch.randn(101, 6, generator=G)
Y = (X[:,:3] + 0.3*torch.randn(101, 3, generator=G)).argmax(1)


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self): return iter(zip(X, Y))

class Spoken(Callback):
    "A user's own callback: in every process"
    def after_epoch(self, learn): self.epochs = getattr(self, 'epochs', 0) + 1

class Notes(Callback):
    "A user's own that writes: in the first process alone"
    main_only,on_look = True,False
    def __init__(self, path): self.path = path
    def after_epoch(self, learn):
        with open(self.path, 'a') as f: f.write('an epoch\n')

class Fails(Callback):
    def __init__(self, rank): self.rank = rank
    def after_batch(self, learn):
        if learn.iter == 3 and self.rank: raise ArithmeticError('the second process has had enough')

class Count(torchmetrics.Metric):
    "How many samples: a sum, which shows what is counted twice"
    def __init__(self):
        super().__init__()
        self.add_state('n', torch.tensor(0.), dist_reduce_fx='sum')
    def update(self, preds, targ): self.n += len(targ)
    def compute(self): return self.n

class Odd:
    def update(self, preds, targ): pass
    def reset(self): pass
    def compute(self): return 1.

class Ours(Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(6, 3)
    def forward(self, x): return self.l(x)

def error_rate(preds, targ): return (preds.argmax(1) != targ).float().mean()
def loaders(kind=DataLoader, bs=20, **kwargs):  # the last batch has 1 sample
    return Dls(kind(Dataset(X, Y), bs, shuffle=True, **kwargs), kind(Dataset(X, Y), bs))

def make(cbs=(), dls=None, model=None, opt_func=SGD, cls=Learner, metrics=(Accuracy(),), lr=0.2):
    dls,model = dls or loaders(),model or net()
    torch.manual_seed(3)
    return cls(model, dls, F.cross_entropy, lr, [MetricsCB(*metrics), *cbs], opt_func)

def fits(acc, folder):
    "Name -> a learner that was fitted"
    yield 'plain',make([acc]),2
    yield 'adam',make([acc], opt_func=Adam, lr=0.01),2
    yield "torch's",make([acc], loaders(torch.utils.data.DataLoader), opt_func=torch.optim.AdamW, lr=0.01),2
    yield 'workers',make([acc], loaders(num_workers=1, worker_type='thread')),1
    yield 'generator',make([acc], loaders(generator=torch.Generator().manual_seed(8))),2
    yield 'accumulate',make([acc, AccumulateCB(4), ClipGradCB(0.1)]),2
    yield 'schedule',make([acc, BatchSchedCB(partial(CosineAnnealingLR, T_max=12)), EMACB()]),2
    def accuracy(): return torchmetrics.Accuracy('multiclass', num_classes=3)
    yield 'metrics',make([acc], metrics=(Accuracy(), error_rate, accuracy(), Count())),2
    stop = [EarlyStoppingCB(patience=1, min_delta=10), SaveBestCB(folder/'best.pt', restore=True)]
    yield 'stop',make([acc, *stop]),4
    track = TrackerCB(LocalTracker(folder/'runs', 'one'))
    yield 'track',make([acc, ProgressCB(), track, HistogramsCB(2), Spoken(), Notes(folder/'notes.pt')]),1

def main_fits(acc, folder):
    found = {}
    for name,learn,n in fits(acc, folder):
        dls = learn.dls.train,learn.dls.valid
        print(f'-- {name}\n', end='', flush=True)  # in one piece
        learn.fit(n)
        if name == 'adam': learn.fit(1, keep_opt=True)
        if name == 'metrics' and not acc.acc.process_index: learn.validate()  # the others need not
        assert (learn.dls.train, learn.dls.valid) == dls
        if name == 'track': assert learn.spoken.epochs == 2
        assert not {'forward', '_original_forward'} & set(vars(learn.model))
        assert type(learn.opt).__module__ != 'accelerate.optimizer' and 'values' not in vars(learn.metrics)
        rows = [{k: v for k,v in row.items() if k not in ('time', 'train')} for row in learn.history]
        found[name] = dict(model=learn.model.state_dict(), rows=rows, valid=learn.validate())
    torch.save(found, folder/f'fits{acc.acc.process_index}.pt')

def main_refused(acc, folder):
    rank = acc.acc.process_index
    cases = dict(
        seconds=dict(cbs=[acc, LimitCB(seconds=100)]), nan=dict(cbs=[acc, NaNStopCB()]),
        checkpoint=dict(cbs=[acc, CheckpointCB(folder/'within', every_batches=2)]),
        metric=dict(cbs=[acc], metrics=(Odd(),)), listed=dict(cbs=[acc], dls=Dls([(X, Y)])),
        stream=dict(cbs=[acc], dls=Dls(DataLoader(Stream(), 10))), small=dict(cbs=[acc], dls=loaders(bs=1)),
        module=dict(cbs=[acc], model=Ours()), methods=dict(cbs=[acc], cls=TrainLearner),
        order=dict(cbs=[acc], dls=loaders(generator=torch.Generator().manual_seed(rank))))
    for name,case in cases.items():
        learn = make(**case)
        try: learn.fit(1)
        except (TypeError, ValueError) as e: print(f'{rank} {name}: {e}', flush=True)
        else: print(f'{rank} {name}: not refused', flush=True)

def main_fails(acc, folder): make([acc, Fails(acc.acc.process_index)]).fit(2)

if __name__ == '__main__':
    torch.set_num_threads(1)
    together = AccelerateCB(mixed_precision='no')
    globals()[f'main_{sys.argv[1]}'](together, Path(sys.argv[2]))
    together.acc.end_training()
