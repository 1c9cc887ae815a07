"The Learner against a loop by hand, what logging adds to a step, and what importing it costs"
import importlib.util, io, os, statistics, subprocess, sys, tempfile, time
from contextlib import redirect_stdout
import torch, torch.nn.functional as F
from torch import nn
from miniai.learner import Accuracy, DeviceCB, Learner, LogCB, MetricsCB, ProgressCB
from miniai.track import HistogramsCB, LocalTracker, TrackerCB

N_BATCHES,ROUNDS = 400,15


class Dls:
    def __init__(self, train): self.train,self.valid = train,None


def data():
    g = torch.Generator().manual_seed(0)
    return [(torch.randn(64, 784, generator=g),
             torch.randint(0, 10, (64,), generator=g)) for _ in range(N_BATCHES)]


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))


def by_hand(batches, make=mlp):
    "An epoch as one would write it, with the accuracy and the mean loss, read at the end"
    model = make()
    opt = torch.optim.SGD(model.parameters(), 0.01)
    model.train()
    total,right,n = 0.,0,0
    for xb,yb in batches:
        preds = model(xb)
        loss = F.cross_entropy(preds, yb)
        loss.backward()
        opt.step()
        opt.zero_grad()
        total = total + loss.detach()*len(xb)
        right = right + (preds.detach().argmax(1) == yb).sum()
        n += len(xb)
    return float(total/n),float(right/n)


def ours(batches, make=mlp, cbs=()):
    learn = Learner(make(), Dls(batches), F.cross_entropy, 0.01,
                    [MetricsCB(accuracy=Accuracy()), ProgressCB(), DeviceCB('cpu'), *cbs], torch.optim.SGD)
    with redirect_stdout(io.StringIO()): learn.fit(1)
    return learn.history[-1]['loss'],learn.history[-1]['accuracy']


def fastai(batches):
    "The same epoch by fastai's Learner"
    from fastai.callback.progress import ProgressCallback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner as FLearner
    from fastai.metrics import accuracy
    from fastai.optimizer import OptimWrapper
    def opt_func(params, lr, **kwargs): return OptimWrapper(params, torch.optim.SGD, lr=lr)
    dls = DataLoaders(batches, batches[:1])
    learn = FLearner(dls, mlp(), F.cross_entropy, opt_func=opt_func, lr=0.01, metrics=accuracy)
    learn.remove_cb(ProgressCallback)
    with redirect_stdout(io.StringIO()): learn.fit(1)


def lightning(batches):
    "The same epoch by Lightning's Trainer"
    import lightning as pl
    class Net(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = mlp()
        def training_step(self, batch, i):
            preds = self.model(batch[0])
            loss = F.cross_entropy(preds, batch[1])
            self.log_dict(dict(loss=loss.detach(), accuracy=(preds.argmax(1) == batch[1]).float().mean()),
                          on_step=False, on_epoch=True, batch_size=len(batch[0]))
            return loss
        def configure_optimizers(self): return torch.optim.SGD(self.parameters(), 0.01)
    trainer = pl.Trainer(max_epochs=1, accelerator='cpu', logger=False, enable_checkpointing=False,
                         enable_model_summary=False)
    with redirect_stdout(io.StringIO()): trainer.fit(Net(), batches)


def cpu_times(runs, rounds=ROUNDS):
    "Seconds of CPU time of each function, run in turns; the first round is not counted"
    times = [[] for _ in runs]
    for i in range(rounds + 1):
        for run,kept in zip(runs, times):
            start = time.process_time()
            run()
            if i: kept.append(time.process_time() - start)
    return [statistics.median(t) for t in times]


def import_times(modules, rounds=7):
    "Seconds that a fresh interpreter needs to import each, in turns; the first round is not counted"
    def run(module):
        start = time.perf_counter()
        subprocess.run([sys.executable, '-c', f'import {module}'], check=True,
                       env={**os.environ, 'PYTHONPATH': os.getcwd()})
        return time.perf_counter() - start
    times = [[run(m) for m in modules] for _ in range(rounds + 1)][1:]
    return [statistics.median(t) for t in zip(*times)]


def logging(batches):
    "What a log adds to a step: the epoch with each, beside the same without"
    with tempfile.TemporaryDirectory() as folder:
        def local(): return TrackerCB(LocalTracker(f'{folder}/runs'))
        loggers = {'LogCB': lambda: [LogCB(f'{folder}/log.jsonl')], 'LocalTracker': lambda: [local()],
                   'LocalTracker and HistogramsCB': lambda: [local(), HistogramsCB()]}
        runs = [lambda make=make: ours(batches, cbs=make()) for make in loggers.values()]
        assert {run() for run in runs} == {ours(batches)}, 'who logs changes nothing'
        without,*times = (t/N_BATCHES*1e6 for t in cpu_times([lambda: ours(batches), *runs]))
    for name,took in zip(loggers, times):
        yield dict(row=28, what=f'{name}: a step, 784-50-10', ours=took, peer=without, peer_name='without',
                   ratio=without/took, unit='us CPU')


def installed(*names): return [n for n in names if importlib.util.find_spec(n.partition('.')[0])]


def rows():
    torch.set_num_threads(1)
    batches = data()
    peers = dict(hand=by_hand, **{n: globals()[n] for n in installed('fastai', 'lightning')})
    assert ours(batches) == by_hand(batches), 'both must compute the same'
    mine,*theirs = (t/N_BATCHES*1e6 for t in cpu_times([lambda f=f: f(batches) for f in (ours,
                                                                                         *peers.values())]))
    for name,peer in zip(peers, theirs):
        yield dict(row=4, what='Learner, metrics, progress, device: a step, 784-50-10', ours=mine, peer=peer,
                   peer_name='a loop by hand' if name == 'hand' else name,
                   ratio=peer/mine, bar=1/1.10 if name == 'hand' else None, unit='us CPU')
    yield from logging(batches)
    mine,*theirs = import_times(['miniai.learner', 'torch', *installed('fastai.learner', 'lightning')])
    for name,peer in zip(['torch', *installed('fastai.learner', 'lightning')], theirs):
        yield dict(row=5, what='import miniai.learner', ours=mine, peer=peer, peer_name=f'import {name}',
                   ratio=peer/mine,
                   bar=1/1.10 if name == 'torch' else None, unit='s')
