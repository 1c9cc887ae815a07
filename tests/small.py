"What several tests need: a small learner and its data"
import torch, torch.nn.functional as F
from fastcore.foundation import L
from torch import nn
from miniai.loop import CancelBatchException, CancelEpochException, CancelFitException, Learner
from miniai.metrics import MetricsCB


def batches(n=4, size=8, d=6, classes=3, short=3, seed=0):
    "A plain list of batches, the last one short"
    g = torch.Generator().manual_seed(seed)
    sizes = [size]*(n-1) + [short]
    return [(torch.randn(s, d, generator=g), torch.randint(0, classes, (s,), generator=g)) for s in sizes]


class Dls:
    def __init__(self, train, valid=None): self.train,self.valid = train,valid


def net(d=6, classes=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(d, 8), nn.ReLU(), nn.Linear(8, classes))


class Unet(nn.Module):
    "Of the diffusion notebook: a noisy picture and a time are its one input"
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(6, 6)
    def forward(self, inp):
        x,t = inp
        return self.lin(x)*t


class MultDL:
    "Of the same: a loader gone through several times an epoch"
    def __init__(self, dl, mult=2): self.dl,self.mult = dl,mult
    def __len__(self): return len(self.dl)*self.mult
    def __iter__(self):
        for _ in range(self.mult): yield from self.dl


class Quiet(MetricsCB):
    def _log(self, d): pass


def make(cbs=(), train=None, valid=True, model=None, lr=0.1, loss_func=F.cross_entropy, cls=Learner,
         **kwargs):
    train = batches() if train is None else train
    return cls(model or net(), Dls(train, batches(3, seed=1) if valid is True else valid), loss_func, lr,
               cbs=list(cbs), **kwargs)


def weights(learn): return torch.cat([p.detach().flatten() for p in learn.model.parameters()])


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(6, 3)
    def forward(self, a, b): return self.l(a + b)


class Stranger:
    "A learner written from COMPAT section 4 alone; all that it takes from us are the three exceptions"
    def __init__(self, model, dls=(0,), loss_func=F.mse_loss, lr=0.1, cbs=None, opt_func=torch.optim.SGD):
        self.model,self.dls,self.loss_func,self.lr,self.opt_func = model,dls,loss_func,lr,opt_func
        self.cbs = L(cbs)

    @property
    def training(self): return self.model.training

    def callback(self, name):
        for cb in sorted(self.cbs, key=lambda cb: getattr(cb, 'order', 0)):
            if hasattr(cb, name): getattr(cb, name)(self)

    def __getattr__(self, name):
        if name not in ('predict', 'get_loss', 'backward', 'step', 'zero_grad'): raise AttributeError(name)
        return lambda: self.callback(name)

    def level(self, name, cancel, body):
        try:
            try:
                self.callback(f'before_{name}')
                body()
                self.callback(f'after_{name}')
            except cancel: pass
            finally: self.callback(f'cleanup_{name}')
        except cancel: pass

    def one_batch(self):
        self.predict(); self.callback('after_predict')
        self.get_loss(); self.callback('after_loss')
        if not self.training: return
        self.backward(); self.callback('after_backward')
        self.step(); self.callback('after_step')
        self.zero_grad()

    def one_epoch(self, training):
        self.model.train(training)
        self.dl = self.dls.train if training else self.dls.valid
        def batches():
            for self.iter,self.batch in enumerate(self.dl):
                self.level('batch', CancelBatchException, self.one_batch)
        self.level('epoch', CancelEpochException, batches)

    def fit(self, n_epochs=1, train=True, valid=True, cbs=None, lr=None):
        guests = L(cbs)
        self.cbs += guests
        def epochs():
            for self.epoch in self.epochs:
                if train: self.one_epoch(True)
                if valid:
                    with torch.no_grad(): self.one_epoch(False)
        try:
            self.n_epochs,self.epochs = n_epochs,range(n_epochs)
            if self.opt_func: self.opt = self.opt_func(self.model.parameters(), self.lr if lr is None else lr)
            self.level('fit', CancelFitException, epochs)
        finally:
            for cb in guests: self.cbs.remove(cb)
