"Training runs to be killed: what `test_resume` and `test_killed` run, and what it leaves behind"
import io, os, random, signal, sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
import numpy as np, torch, torch.nn.functional as F
from torch import nn
from miniai import data
from miniai.learner import *
from miniai.learner import (AccumulateCB, CheckpointCB, ClipGradCB, EMACB, EarlyStoppingCB, LimitCB, LogCB,
                            SaveBestCB)
from miniai.data import DataLoader
from miniai.loop import ACTIONS, EVENTS
from miniai.optim import SGD, Adam
from miniai.sched import OneCycle
from miniai.track import read_log

EPOCHS,BATCHES,EVERY = 3,11,2
torch.optim.Adam([nn.Parameter(torch.zeros(1))])  # PyTorch's first optimizer imports for seconds
OPTS = dict(momentum=(partial(SGD, momentum=0.9), 0.05), adam=(Adam, 0.01),
            torch_adam=(torch.optim.Adam, 0.01))
LOADERS = dict(ours=data.DataLoader, torch=torch.utils.data.DataLoader)


class Noisy(data.Dataset):
    "Samples to which each reading adds noise, from all three sources of random numbers"
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.x = torch.randn(n, 6, generator=g)
        self.y = self.x[:,:3].argmax(1)
    def __len__(self): return len(self.x)
    def __getitem__(self, i):
        return self.x[i] + 0.1*torch.randn(6) + 0.1*random.random() + 0.1*float(np.random.rand()),self.y[i]


class Dls:
    def __init__(self, train, valid): self.train,self.valid = train,valid


class Silent(MetricsCB):
    def _log(self, d): pass


def build(folder, opt='momentum', workers=0, loader='ours', keep_workers=False, generator=False, fresh=False,
          cbs=()):
    "The learner of a run, as a script would build it"
    torch.manual_seed(0); random.seed(0); np.random.seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 3))
    make = partial(LOADERS[loader], num_workers=workers, multiprocessing_context='fork' if workers else None,
                   persistent_workers=keep_workers,
                   generator=torch.Generator().manual_seed(7) if generator else None)
    dls = Dls(make(Noisy(8*BATCHES-3, 1), batch_size=8, shuffle=True), make(Noisy(29, 2), batch_size=8))
    opt_func,lr = OPTS[opt]
    cbs = [Silent(accuracy=Accuracy(), own=Collects()), OneCycle(lr), AccumulateCB(2), ClipGradCB(1.),
           LogCB(Path(folder)/'log.jsonl', every=3), EarlyStoppingCB(patience=2),
           CheckpointCB(Path(folder)/'checkpoints', every_batches=EVERY, fresh=fresh), *cbs]
    return Learner(model, dls, F.cross_entropy, lr, cbs=cbs, opt_func=opt_func)


class Collects:
    "A home-made metric that keeps a list"
    def reset(self): self.parts = []
    def update(self, preds, targ): self.parts.append((preds.argmax(1) == targ).float().mean())
    def compute(self): return torch.stack(self.parts).mean()


def outcome(learn, folder):
    "All that must be the same: weights, buffers, optimizer, random numbers to come, the table without times"
    def timeless(row): return {k: v for k,v in row.items() if k not in ('time', 'started', 'run')}
    log = [timeless(r) for r in read_log(Path(folder)/'log.jsonl')]
    last = max(i for i,r in enumerate(log) if r['kind'] == 'fit')
    return dict(model=learn.model.state_dict(), opt=learn.opt.state_dict(),
                history=[timeless(r) for r in learn.history], log=log[last:],
                next=[torch.rand(1).item(), random.random(), float(np.random.rand())])


def die(*args): os.kill(os.getpid(), signal.SIGKILL)


class DieAt(Callback):
    "Killed at the `nth` time of an event, in the training or the validation part"
    def __init__(self, event, training, nth):
        self.left = nth
        def told(learn):
            self.left -= learn.training == training
            if self.left == 0 and learn.training == training: die()
        setattr(self, event, told)


def die_writing(stage, nth, share):
    "From now on, the `nth` checkpoint is not written to the end"
    left,save,replace = [nth],torch.save,os.replace
    def now(): left[0] -= 1; return not left[0]
    def half(state, f):
        if not now(): return save(state, f)
        whole = io.BytesIO()
        save(state, whole)
        f.write(whole.getvalue()[:int(share*len(whole.getvalue()))])
        f.flush()
        die()
    def renamed(old, new):
        replace(old, new)
        if now(): die()
    if stage == 'half': torch.save = half
    elif stage == 'sync': os.fsync = lambda fd: now() and die()
    else: os.replace = renamed


def run(folder, config, moment=None, resume=True):
    "Train, be killed at `moment`, or leave the outcome in the folder"
    torch.set_num_threads(1)
    cbs = []
    if moment and moment[0] == 'write': die_writing(*moment[1:])
    elif moment: cbs = [DieAt(*moment)]
    os.makedirs(folder, exist_ok=True)
    with open(Path(folder)/'out.txt', 'a') as out:
        os.dup2(out.fileno(), 1); os.dup2(out.fileno(), 2)
        learn = build(folder, **config)
        learn.fit(EPOCHS, resume=resume, cbs=cbs)
        torch.save(outcome(learn, folder), Path(folder)/'outcome.pt')


# -- early stopping, averaging, accumulation and a limit together

class Counts(Callback):
    "Counts the events of a run, all of those that a callback hears; at number `kill` it kills the process"
    on_look = False
    def __init__(self, order=200, kill=None):
        self.order,self.kill,self.n = order,kill,0
        for event in set(EVENTS) - set(ACTIONS): setattr(self, event, self.told)
    def told(self, learn):
        self.n += 1
        if self.n == self.kill: die()


class Stream:
    "A loader that does not know its length"
    def __init__(self, dl): self.dl = dl
    def __iter__(self): return iter(self.dl)


def clock_of_steps(cb):
    "A clock that goes on by a second with each step that is made in this process: seconds that repeat"
    made = [0]
    def step(learn): made[0] += 1
    module = sys.modules[type(cb).__module__]
    module.time = SimpleNamespace(perf_counter=lambda: made[0])
    ticks = Callback()
    ticks.order,ticks.after_step = -300,step  # before all others
    return ticks


def all_at_once(folder, moment=None, ending='limit', every_batches=2, data='loader'):
    "Such a run, resumed where there is something to resume: how it ended, counts, the learner"
    os.makedirs(folder, exist_ok=True)
    for seed in (torch.manual_seed, random.seed, np.random.seed): seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 3))
    workers = dict(num_workers=2, multiprocessing_context='fork') if data == 'workers' else {}
    train = DataLoader(Noisy(8*BATCHES-3, 1), batch_size=8, shuffle=True, **workers)
    if data == 'stream': train = Stream(train)
    if data == 'list': train = list(train)
    lr = 2. if ending == 'early' else 0.05
    limit = dict(seconds=20) if ending == 'seconds' else dict(steps=20 if ending == 'limit' else 1000)
    at = Counts(*moment[:0:-1]) if moment and moment[0] == 'event' else Counts()
    stop,limit,ema = EarlyStoppingCB(patience=1 if ending == 'early' else 9),LimitCB(**limit),EMACB(0.8)
    best = SaveBestCB(Path(folder)/'best.pt')
    cbs = [Silent(accuracy=Accuracy()), AccumulateCB(2), ClipGradCB(1.), OneCycle(lr), stop, limit, ema, best,
           CheckpointCB(Path(folder)/'checkpoints', every_batches=every_batches), at]
    if data in ('stream', 'list'): del cbs[3]  # one cycle needs a length
    home,save = sys.modules[LimitCB.__module__],os.replace
    time,torch_save,sync = home.time,torch.save,os.fsync
    writes = [0]
    try:
        if ending == 'seconds': cbs.append(clock_of_steps(limit))
        if moment and moment[0] == 'write': die_writing(*moment[1:])
        else:
            def counted(*args):
                writes[0] += 1
                return save(*args)
            os.replace = counted
        learn = Learner(model, Dls(train, DataLoader(Noisy(29, 2), batch_size=8)), F.cross_entropy, lr, cbs,
                        partial(SGD, momentum=0.9))
        learn.fit(5, resume=True)
    finally: home.time,torch.save,os.fsync,os.replace = time,torch_save,sync,save
    rows = [{k: v for k,v in row.items() if k != 'time'} for row in learn.history]
    best = torch.load(best.path, weights_only=True)['model'], best.best, stop.best, stop.waited
    found = dict(model=model.state_dict(), average=ema.average, opt=learn.opt.state_dict(), history=rows,
                 place=(getattr(learn, 'epoch', 4), limit.done), best=best,  # nothing left to do: no epoch
                 grads=[p.grad for p in model.parameters()],
                 next=[torch.rand(1).item(), random.random(), float(np.random.rand())])
    return found,(at.n, writes[0]),learn
