"A check on one batch: thirty trainings and more that are sound, and as many that are broken in one thing"
import math
from functools import partial
from types import SimpleNamespace
import pytest, torch, torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import miniai.optim
from miniai.learner import (AccumulateCB, Accuracy, Callback, ClipGradCB, DeviceCB, EarlyStoppingCB, EMACB,
                            LimitCB, MomentumLearner, SaveBestCB, TrainCB, TrainLearner)
from miniai.preflight import Preflight
from miniai.sched import BatchSchedCB, OneCycle
from miniai.tools.clothes import draw_clothes
from tests.small import Quiet, TwoInputs, batches, make, net, weights

Adam,SGD = torch.optim.Adam,torch.optim.SGD


def many(f=lambda x, y: (x, y), classes=3): return [f(x, y) for x,y in batches(8, 16, classes=classes,
        short=16)]


def learner(data=None, model=None, loss=F.cross_entropy, lr=0.1, cbs=(), valid=True, **kwargs):
    "A healthy learner, but for what is passed; its validation batches are like those of training"
    data = many() if data is None else data
    return make(cbs, data, data if valid is True else valid, model, lr, loss, **kwargs)


def lin(*sizes, end=(), flat=False):
    layers = [l for a,b in zip(sizes, sizes[1:]) for l in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*[nn.Flatten()]*flat, *layers[:-1], *end)


class Model(nn.Module):
    "A body, a head, and a forward of one's own"
    def __init__(self, f, outputs=3, **layers):
        super().__init__()
        self.body,self.head,self.f = nn.Linear(6, 8),nn.Linear(8, outputs),f
        for name,layer in layers.items(): setattr(self, name, layer)
    def forward(self, *args, **kwargs): return self.f(self, *args, **kwargs)
    def scores(self, x): return self.head(self.body(x).relu())


def tuned(lr=0.5, **kwargs):
    learn = learner(lr=lr, **kwargs)
    learn.fit(20)
    return learn


def frozen(model, *parts):
    for part in parts: getattr(model, part).requires_grad_(False)
    return model


def pictures(shift=0, scale=1/255):
    x,y = draw_clothes(64, seed=1)
    return [(x[i:i+32,None].float()*scale, y[i:i+32] + shift) for i in (0, 32)]


def conv(end=()):
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
                         nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(392, 10), *end)


def words(n=5, top=12): return torch.randint(0, top, (16, n), generator=torch.Generator().manual_seed(1))


class Tagger(nn.Module):
    "A class for each word"
    def __init__(self, size=12, swap=True):
        super().__init__()
        self.words,self.gru,self.head,self.swap = nn.Embedding(size, 8),nn.GRU(8, 8,
                batch_first=True),nn.Linear(8, 4),swap
    def forward(self, x):
        x = self.head(self.gru(self.words(x))[0])
        return x.transpose(1, 2) if self.swap else x


def tagged(f=lambda y: y): return [(x, f(x % 4)) for x in [words()]*4]


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc,self.dec = nn.Linear(6, 8),nn.Linear(4, 6)
    def forward(self, x):
        mean,log = self.enc(x).chunk(2, 1)
        return self.dec(mean + torch.randn_like(mean)*(log/2).exp()),mean,log


def elbo(preds, x):
    out,mean,log = preds
    return F.mse_loss(out, x) + 0.1*(mean**2 + log.exp() - 1 - log).mean()


class OwnLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(6, 3)
    def forward(self, x, y): return SimpleNamespace(loss=F.cross_entropy(self.l(x), y))


class DropLabels(Callback):
    def before_batch(self, learn): learn.batch = learn.batch[0]


class Autoencoder(TrainLearner):
    def predict(self): self.preds = self.model(self.batch[0])
    def get_loss(self): self.loss = self.loss_func(self.preds, self.batch[0])


class ZeroFirst(TrainLearner):
    def backward(self):
        self.opt.zero_grad()
        self.loss.backward()
    def zero_grad(self): pass


class EvalBodyCB(Callback):
    def before_epoch(self, learn): learn.model.body.eval()


def pair(x, y): return x,x[:,:1]*2 + x[:,1:2]


def one(x, y): return x,x[:,0]*2 + x[:,1]


def yes_no(x, y): return x,(y > 0).float()


def warm(opt): return torch.optim.lr_scheduler.LambdaLR(opt, lambda n: min(1, n/1000))


def two_rates(params, lr):
    first,*rest = params
    return torch.optim.AdamW([dict(params=[first], lr=lr/10), dict(params=rest)], lr)


def attend(model, x, mask): return model.scores(x + 0*mask.exp())


def focal(preds, y):
    p = preds.softmax(1).gather(1, y[:,None])[:,0]
    return -((1 - p)**2*p.log()).mean()


class TextNet(nn.Module):
    "A transformer on words, with dropout"
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(12, 16)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
        self.head = nn.Linear(16, 3)
    def forward(self, tokens): return self.head(self.layers(self.words(tokens)).mean(1))


class TimeFirst(nn.Module):
    "A sequence loss: predictions are (time, batch, classes)"
    def __init__(self):
        super().__init__()
        self.lstm,self.head = nn.LSTM(3, 16),nn.Linear(16, 4)
    def forward(self, x): return self.head(self.lstm(x)[0]).log_softmax(2)


def ctc(preds, y):
    n = preds.shape[1]
    return F.ctc_loss(preds, y, torch.full((n,), len(preds)), torch.full((n,), y.shape[1]))


class Two(nn.Module):
    "A generator and a judge, both in one model"
    def __init__(self):
        super().__init__()
        self.make,self.judge = lin(2, 8, 6),lin(6, 8, 1)
    def forward(self, x):
        fake = self.make(x[:,:2])
        return self.judge(x),self.judge(fake.detach()),F.mse_loss(fake, x)


def both(preds, y):
    real,fake,rest = preds
    bce = F.binary_cross_entropy_with_logits
    return bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake)) + rest


class Mixed(nn.Module):
    "Numbers and a category"
    def __init__(self):
        super().__init__()
        self.kinds,self.layers = nn.Embedding(4, 3),lin(9, 16, 3)
    def forward(self, numbers, kind): return self.layers(torch.cat([numbers, self.kinds(kind)], 1))


def half_missing(x, y): return torch.where(x > 1, math.nan, x),y


class MixupCB(Callback):
    def before_batch(self, learn):
        x,y = learn.batch
        if learn.training: y = 0.7*F.one_hot(y, 3) + 0.3*F.one_hot(y.flip(0), 3)
        learn.batch = (0.7*x + 0.3*x.flip(0) if learn.training else x),y


def fine_tuned():
    model = Model(lambda m, x: m.head(m.norm(m.body(x)).relu()), norm=nn.BatchNorm1d(8))
    return learner(model=frozen(model, 'body', 'norm'), opt_func=torch.optim.AdamW, lr=1e-3)


def in_thousands(x, y):
    t = 5000 + 1000*x[:,:1]
    return x,(t - t.mean())/t.std()


# -- sound: nothing but notes

HEALTHY = {
    'the plainest': learner,
    'our SGD, momentum': lambda: learner(opt_func=partial(miniai.optim.SGD, momentum=0.9)),
    'our Adam': lambda: learner(lr=0.01, opt_func=miniai.optim.Adam),
    'our RMSprop': lambda: learner(lr=0.003, opt_func=miniai.optim.RMSprop),
    'AdamW at 1e-4': lambda: learner(opt_func=torch.optim.AdamW, lr=1e-4),
    'AdamW at 1e-5': lambda: learner(opt_func=torch.optim.AdamW, lr=1e-5),
    'Adagrad': lambda: learner(opt_func=torch.optim.Adagrad, lr=0.05),
    'SGD at 1e-4': lambda: learner(lr=1e-4), 'SGD at 0.01': lambda: learner(lr=0.01),
    'a high rate': lambda: learner(lr=1.),
    'a trained model': tuned,
    'a trained model, slowly': lambda: tuned(opt_func=torch.optim.AdamW, lr=1e-3),
    'a trained model, new labels': lambda: relabelled(),
    'a frozen body': lambda: learner(model=frozen(Model(Model.scores), 'body')),
    'a frozen body in eval mode': lambda: learner(
        model=Model(lambda m, x: m.head(m.norm(m.body(x))), norm=nn.BatchNorm1d(8)), cbs=[EvalBodyCB()]),
    'a rate for each part': lambda: learner(opt_func=two_rates, lr=0.01),
    'momentum kept': lambda: learner(cls=MomentumLearner),
    'cleared before backward': lambda: learner(cls=ZeroFirst),
    'accumulation': lambda: learner(cbs=[AccumulateCB(3)]),
    'accumulation over more than there are': lambda: learner(cbs=[AccumulateCB(100)]),
    'clipping and metrics': lambda: learner(cbs=[ClipGradCB(0.1), Quiet(Accuracy()), DeviceCB()]),
    'one cycle': lambda: learner(cbs=[OneCycle()]),
    'a long warm-up': lambda: learner(cbs=[BatchSchedCB(warm)], opt_func=Adam, lr=0.01),
    'no validation': lambda: learner(valid=None),
    'dropout, a low rate': lambda: learner(model=nn.Sequential(nn.Dropout(0.5), net()), lr=1e-3),
    'batch norm': lambda: learner(model=nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(),
            nn.Linear(16, 3))),
    'pictures': lambda: learner(pictures(), conv(), lr=1e-3, opt_func=Adam),
    'bytes that the model divides': lambda: learner([(x.byte(), y) for x,y in pictures(scale=1)],
                                                    nn.Sequential(Divide(), conv()), lr=1e-3,
                                                    opt_func=Adam),
    'pixels that batch norm takes care of': lambda: learner(pictures(scale=1),
            nn.Sequential(nn.BatchNorm2d(1), conv()),
                                                            lr=1e-3, opt_func=Adam),
    'words': lambda: learner(tagged(), Tagger(), lr=0.01, opt_func=Adam),
    'words, padding left out': lambda: learner(tagged(lambda y: torch.where(y > 2, -100, y)), Tagger(),
            lr=0.01, opt_func=Adam),
    'another label left out': lambda: learner(tagged(lambda y: torch.where(y > 2, 255, y)), Tagger(),
                                              nn.CrossEntropyLoss(ignore_index=255), lr=0.01,
                                              opt_func=Adam),
    'smoothing and weights': lambda: learner(loss=nn.CrossEntropyLoss(torch.tensor([1., 2., 3.]),
            label_smoothing=0.1)),
    'a partial loss': lambda: learner(loss=partial(F.cross_entropy, label_smoothing=0.1)),
    'probabilities as targets': lambda: learner(many(lambda x, y: (x, F.one_hot(y, 3)*0.9 + 0.1/3))),
    'focal loss': lambda: learner(loss=focal),
    'log-softmax with nll': lambda: learner(model=lin(6, 8, 3, end=[nn.LogSoftmax(1)]), loss=F.nll_loss),
    'two classes, one output': lambda: learner(many(yes_no), lin(6, 8, 1, end=[nn.Flatten(0)]),
            nn.BCEWithLogitsLoss()),
    'two classes, a sigmoid': lambda: learner(many(yes_no), lin(6, 8, 1, end=[nn.Sigmoid(),
            nn.Flatten(0)]), F.binary_cross_entropy),
    'several labels': lambda: learner(many(lambda x, y: (x, (x[:,:4] > 0).float())), lin(6, 8, 4),
                                      F.binary_cross_entropy_with_logits),
    'regression': lambda: learner(many(pair), lin(6, 8, 1), F.mse_loss, 0.01),
    'regression, huber, Adam': lambda: learner(many(one), lin(6, 8, 1, end=[nn.Flatten(0)]),
            nn.HuberLoss(), 0.01, opt_func=Adam),
    'positive targets, a relu': lambda: learner(many(lambda x, y: (x, x[:,:1].abs())), lin(6, 16, 1,
            end=[nn.Softplus()]), F.l1_loss, 0.01),
    'a loss that squeezes': lambda: learner(many(one), lin(6, 8, 1), lambda p,
            y: F.mse_loss(p.squeeze(1), y), 0.01),
    'whole numbers, one output': lambda: learner(many(classes=10), lin(6, 8, 1),
                                                 lambda p, y: F.mse_loss(p[:,0], y.float()), 0.01),
    'an autoencoder by callback': lambda: learner(model=lin(6, 4, 6), loss=F.mse_loss, cbs=[DropLabels()]),
    'an autoencoder by subclass': lambda: learner(model=lin(6, 4, 6), loss=F.mse_loss, cls=Autoencoder),
    'bare tensors': lambda: learner([x for x,_ in many()], lin(6, 4, 6), F.mse_loss),
    'variational': lambda: learner([x for x,_ in many()], VAE(), elbo),
    'two inputs': lambda: learner([(x, x, y) for x,y in many()], TwoInputs(), cbs=[TrainCB(n_inp=2)]),
    'a mask of -inf': lambda: learner([(x, (x > 0).float().log(), y) for x,y in many()], Model(attend),
            n_inp=2),
    'dictionaries': lambda: learner([dict(a=x, b=x, labels=y) for x,y in many()], TwoInputs()),
    'two targets': lambda: learner([(x, y, x[:,0]) for x,y in many()], Model(lambda m, x: (m.scores(x),
            m.two(x)[:,0]), two=nn.Linear(6, 1)),
                                   lambda p, y, z: F.cross_entropy(p[0], y) + F.mse_loss(p[1], z), 0.05),
    'the model has the loss': lambda: learner([dict(x=x, y=y) for x,y in many()], OwnLoss(), 'model'),
    'a loss that is picked': lambda: learner(loss=None),
    'a part for later': lambda: learner(model=Model(Model.scores, later=nn.Linear(8, 8))),
    'a teacher in a list': lambda: learner(model=Model(lambda m,
            x: m.scores(x) + 0*m.teacher[0](x).detach(), teacher=[nn.Linear(6, 3)])),
    'float64': lambda: learner(many(lambda x, y: (x.double(), y)), net().double()),
    'a short last batch': lambda: learner(DataLoader(TensorDataset(*batches(1, short=21)[0]), 10)),
    'stops early, keeps the best, averages': lambda: learner(cbs=[Quiet(Accuracy()), SaveBestCB(restore=True),
            EarlyStoppingCB(), EMACB(0.9)]),
    'a limit': lambda: learner(cbs=[LimitCB(steps=3)]),
    'a frozen body with batch norm': fine_tuned,
    'a transformer on words': lambda: learner([(w, w[:,0] % 3) for w in [words()]*4], TextNet(), lr=1e-3,
            opt_func=Adam),
    'a transformer, AdamW at 1e-5': lambda: learner([(w, w[:,0] % 3) for w in [words()]*4], TextNet(),
            lr=1e-5, opt_func=torch.optim.AdamW),
    'time first': lambda: learner([(torch.randn(9, 16, 3), words(4, 3) + 1)]*3, TimeFirst(), ctc, 0.01,
            opt_func=Adam),
    'two networks': lambda: learner(model=Two(), loss=both, lr=1e-3, opt_func=Adam),
    'normalised thousands': lambda: learner(many(in_thousands), lin(6, 8, 1), F.mse_loss, 0.05),
    'one cycle, Adam': lambda: learner(pictures(), conv(), lr=0.01, opt_func=Adam, cbs=[OneCycle()]),
    'numbers and a category': lambda: learner([(x, y, y) for x,y in many()], Mixed(), n_inp=2),
    'a dictionary with a category': lambda: learner([dict(numbers=x, kind=y, label=y) for x,y in many()],
            Mixed(), lr=0.01, opt_func=Adam),
    'missing values that the model fills': lambda: learner(many(half_missing),
            nn.Sequential(Fill(), net())),
    'a likelihood that falls below 0': lambda: learner(many(lambda x, y: (x, x[:,:1])), lin(6, 16, 2),
            lambda p, y: F.gaussian_nll_loss(p[:,:1], y, p[:,1:].exp()), 0.01, opt_func=Adam),
    'mixup': lambda: learner(cbs=[MixupCB()]),
    'a class for each pixel': lambda: learner([(x, (x[:,0] > 0.5).long()) for x,_ in pictures()],
            nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1)), lr=0.01,
            opt_func=Adam),
    'squashed scores': lambda: learner(model=nn.Sequential(net(), nn.Tanh(), Times(5.))),
    'margins': lambda: learner(loss=nn.MultiMarginLoss()),
    'counts': lambda: learner(many(lambda x, y: (x, y.float()[:,None])), lin(6, 8, 1),
            nn.PoissonNLLLoss(), 0.01),
    'hardly two classes': lambda: learner(many(lambda x, y: (x, y*(x[:,0] > 1.5)))),
    'one class in the batch': lambda: learner(many(lambda x, y: (x, y*0))),
    'sorted, all in one batch': lambda: learner([(x, y.sort()[0]) for x,y in batches(1, short=60)]),
}


class Fill(nn.Module):
    def forward(self, x): return x.nan_to_num()


class Divide(nn.Module):
    def forward(self, x): return x.float()/255


def relabelled():
    learn = tuned()
    learn.dls.train = [(x, (y + 1) % 3) for x,y in learn.dls.train]
    return learn


# -- broken: (how, words of the one problem that is named)

class NoZeroCB(Callback):
    def zero_grad(self, learn): pass


class ZeroTooEarly(TrainLearner):
    def step(self):
        self.opt.zero_grad()
        self.opt.step()


class NoStep(TrainLearner):
    def step(self): pass


class Remembers(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell,self.head,self.h = nn.RNNCell(6, 8),nn.Linear(8, 3),None
    def forward(self, x):
        self.h = self.cell(x, self.h)
        return self.head(self.h)


class Deaf(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers,self.drop = net(),nn.Dropout(0.5)
    def forward(self, x): return self.layers(self.drop(x))
    def train(self, mode=True): return self


class Times(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by
    def forward(self, x): return x*self.by


class Breaks(list):
    def __iter__(self): raise OSError('the disk is gone')


def other_params(params, lr): return SGD(net().parameters(), lr)


def by_class(size=30, labels=0):
    x,y = batches(1, short=240)[0]
    order = y.sort()[1]
    return [(x[i], y[i] + labels) for i in order.split(size)]


def quietly_too_high():
    torch.manual_seed(5)
    return learner(pictures(), lin(784, 50, 10, flat=True), lr=2.)


def mean_square(preds, y): return ((preds - y)**2).mean()


BROKEN = {
    'labels from 1': (lambda: learner(many(lambda x, y: (x, y + 1))), 'labels must be 0 to 2'),
    'labels from -1': (lambda: learner(many(lambda x, y: (x, y - 1))), 'labels go from -1 to 1'),
    'too few outputs': (lambda: learner(model=net(classes=2)), 'labels must be 0 to 1'),
    'labels of pictures from 1': (lambda: learner(pictures(shift=1), conv()), 'labels must be 0 to 9'),
    'one output': (lambda: learner(many(lambda x, y: (x, y % 2)), lin(6, 8, 1)), 'the model has 1 outputs'),
    'all left out': (lambda: learner(tagged(lambda y: y*0 - 100), Tagger()), 'leave this one out'),
    'float labels': (lambda: learner(many(lambda x, y: (x, y.float()))), 'targets (16,) float32'),
    'labels as a column': (lambda: learner(many(lambda x, y: (x, y[:,None]))), 'targets (16, 1) int64'),
    'classes last': (lambda: learner(tagged(), Tagger(swap=False)),
            'predictions (16, 5, 4) float32 and targets (16, 5)'),
    'softmax': (lambda: learner(model=nn.Sequential(net(), nn.Softmax(1))), 'probabilities already'),
    'softmax of pictures': (lambda: learner(pictures(), conv(end=[nn.Softmax(1)])),
            'probabilities already'),
    'softmax for each word': (lambda: learner(tagged(), nn.Sequential(Tagger(), nn.Softmax(1))),
            'probabilities already'),
    'a sigmoid, then cross entropy': (lambda: learner(model=nn.Sequential(net(), nn.Sigmoid())),
            'leave the sigmoid out'),
    'softmax with nll': (lambda: learner(model=nn.Sequential(net(), nn.Softmax(1)), loss=F.nll_loss),
                         'nll_loss wants log-probabilities'),
    'scores with nll': (lambda: learner(loss=F.nll_loss), 'nll_loss wants log-probabilities'),
    'two sigmoids': (lambda: learner(many(yes_no), lin(6, 8, 1, end=[nn.Sigmoid(), nn.Flatten(0)]),
                                     F.binary_cross_entropy_with_logits), 'leave out the sigmoid'),
    'scores for probabilities': (lambda: learner(many(yes_no), lin(6, 8, 1, end=[nn.Flatten(0)]),
            nn.BCELoss()),
                                 'binary_cross_entropy_with_logits'),
    'labels 1 and 2': (lambda: learner(many(lambda x, y: (x, (y > 0) + 1.)), lin(6, 8, 1,
            end=[nn.Flatten(0)]),
                                       nn.BCEWithLogitsLoss()), 'targets go from 1 to 2'),
    'the default loss': (lambda: learner(loss=F.mse_loss), 'for classes pass loss_func=F.cross_entropy'),
    'shapes that broadcast': (lambda: learner(many(one), lin(6, 8, 1), F.mse_loss), 'each with each'),
    'shapes that broadcast in a loss of our own': (lambda: learner(many(one), lin(6, 8, 1), mean_square),
            'each with each'),
    'a loss for each sample': (lambda: learner(loss=partial(F.cross_entropy, reduction='none')),
            'only for scalar outputs'),
    'a loss of labels': (lambda: learner(loss=lambda p, y: (p.argmax(1) != y).float().mean()),
            'the loss has no gradient'),
    'no_grad around the model': (lambda: learner(model=Model(torch.no_grad()(Model.scores))),
            'the loss has no gradient'),
    'pixels': (lambda: learner(pictures(scale=1), lin(784, 50, 10, flat=True), lr=0.1),
            'the inputs are not normalised'),
    'nan inputs': (lambda: learner(many(lambda x, y: (x/0*0, y))), 'not numbers'),
    'the same samples': (lambda: learner(many(lambda x, y: (x[:1].expand_as(x), y))),
            'carries no information'),
    'bytes': (lambda: learner(many(lambda x, y: (x.byte(), y))), 'given (16, 6) uint8'),
    'float64 inputs': (lambda: learner(many(lambda x, y: (x.double(), y))), 'given (16, 6) float64'),
    'targets in thousands': (lambda: learner(many(lambda x, y: (x, 5000 + 1000*x[:,:1])), lin(6, 8, 1),
        F.mse_loss), 'the targets are not normalised'),
    'an optimizer of nothing': (lambda: learner(model=net(), opt_func=lambda params, lr: SGD([], lr)),
        'empty parameter list'),
    'inputs of another size': (lambda: learner(model=nn.Linear(5, 3)), '(16, 6)'),
    'an unknown word': (lambda: learner(tagged(), Tagger(size=9)),
            'index out of range in self; at words (Embedding)'),
    'cut off': (lambda: learner(model=Model(lambda m, x: m.head(m.body(x).relu().detach()))),
            'no gradient reaches body.weight, body.bias'),
    'dead': (lambda: learner(model=Model(lambda m, x: m.head((m.body(x) - 100).relu()))),
            'no gradient reaches body.weight'),
    'layers in a list': (lambda: learner(model=Model(lambda m, x: m.head(m.more[0](m.body(x)).relu()),
            more=[nn.Linear(8, 8)])),
                         'the layers in the list more'),
    'all frozen': (lambda: learner(model=frozen(Model(Model.scores), 'body', 'head')),
            'all parameters are frozen'),
    'optimizer of half the model': (lambda: learner(opt_func=lambda params, lr: SGD(list(params)[:1], lr)),
                                    'the optimizer does not know 0.bias, 2.weight, 2.bias'),
    'optimizer of another model': (lambda: learner(opt_func=other_params),
            'the optimizer does not know 0.weight'),
    'zero_grad is missing': (lambda: learner(cbs=[NoZeroCB()]), 'is zero_grad missing'),
    'zero_grad is missing, clipped': (lambda: learner(cbs=[NoZeroCB(), ClipGradCB(0.01)]),
            'is zero_grad missing'),
    'zero_grad before the step': (lambda: learner(cls=ZeroTooEarly), 'no step changes a weight'),
    'no step': (lambda: learner(cls=NoStep), 'no step changes a weight: is opt.step() missing'),
    'rate too low': (lambda: learner(lr=1e-7), 'the rate is far too low'),
    'rate too high': (lambda: learner(lr=1e6), 'the learning rate is too high'),
    'rate of Adam too high': (lambda: learner(pictures(), conv(), lr=10., opt_func=Adam),
            'the learning rate is too high'),
    'start too large': (lambda: learner(model=nn.Sequential(net(), nn.Linear(3, 3), Times(100.)), lr=0.5),
                        'last layer starts too large'),
    'a state that is kept': (lambda: learner(model=Remembers()),
            'backward through the graph a second time'),
    'always random': (lambda: learner(model=Model(lambda m, x: F.dropout(m.scores(x), 0.3))),
            'F.dropout wants self.training'),
    'deaf to eval': (lambda: learner(model=Deaf()), 'eval() does not reach'),
    'sorted': (lambda: learner(by_class()), 'the labels come in order'),
    'no batch': (lambda: learner([]), 'the training loader is empty'),
    'a broken loader': (lambda: learner(Breaks()), 'the training loader fails: OSError: the disk is gone'),
    'a broken validation loader': (lambda: learner(valid=Breaks()),
            'the validation loader fails: OSError: the disk is gone'),
    'no validation batch': (lambda: learner(valid=[]), 'the validation loader is empty'),
    'validation labels': (lambda: learner(valid=many(lambda x, y: (x, y + 1))), 'labels must be 0 to 2'),
    'validation shapes': (lambda: learner(valid=many(lambda x, y: (x[:,:5], y))),
            'the validation batch fails'),
    'validation labels, sorted': (lambda: learner(many(), valid=by_class(labels=1)),
            'labels must be 0 to 2'),
    'one label, late': (lambda: learner(many() + [(x, y + (y == 2)) for x,y in many()[:1]]),
            'labels must be 0 to 2'),
    'one nan, late': (lambda: learner(many()[:3] + [(x/(x != x[0,0]), y) for x,y in many()[3:]]),
            'loss of a training batch is nan'),
    'a nan among the validation targets': (lambda: learner(many(pair), lin(6, 8, 1), F.mse_loss, 0.01,
            valid=many(pair)[:2] + [(x, y/0*0) for x,y in many(pair)[:1]]),
            'loss of a validation batch is nan'),
    'sorted bytes': (lambda: learner([(x, y.byte()) for x,y in by_class()]), 'the labels come in order'),
    'softmax over the wrong axis': (lambda: learner(model=nn.Sequential(net(), nn.Softmax(0))),
            'probabilities already'),
    'a relu, then cross entropy': (lambda: learner(model=nn.Sequential(net(), nn.ReLU())),
            'leave the relu out'),
    'a tanh, then cross entropy': (lambda: learner(model=nn.Sequential(net(), nn.Tanh())),
            'leave the tanh out'),
    'a rate that does not jump': (lambda: quietly_too_high(), 'at a lower rate to 0.'),
    'validation not divided': (lambda: learner(valid=many(lambda x, y: (x*255, y))),
            'prepared differently'),
}


# -- the tests

def looked(build, seed=0):
    torch.manual_seed(seed)
    learn = build()
    before = weights(learn).clone()
    found = learn.preflight()
    assert torch.equal(weights(learn), before) and all(p.grad is None for p in learn.model.parameters())
    return found


@pytest.mark.parametrize('name', HEALTHY)
def test_no_false_alarm(name):
    found = looked(HEALTHY[name])
    assert found.ok and str(found).startswith('ready'), found


@pytest.mark.filterwarnings('ignore:Using a target size')
@pytest.mark.parametrize('fault', BROKEN)
def test_preflight_names_the_one_thing_that_is_broken(fault):
    build,said = BROKEN[fault]
    found = looked(build)
    assert len(found.problems) == 1 and said in found.problems[0], found


@pytest.mark.long
@pytest.mark.filterwarnings('ignore:Using a target size')
@pytest.mark.parametrize('seed', range(1, 5))
def test_so_it_is_on_other_seeds(seed):
    for name,build in HEALTHY.items(): assert looked(build, seed).ok, name
    for name,(build,said) in BROKEN.items():
        found = looked(build, seed)
        assert len(found.problems) == 1 and said in found.problems[0], f'{name}: {found}'


def test_float64_as_the_default():
    torch.set_default_dtype(torch.float64)
    try: assert learner(many(lambda x, y: (x.double(), y)), lin(6, 8, 3)).preflight().ok
    finally: torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize('lr', [5., 20., 100.])
def test_a_rate_that_kills_the_network_is_not_ready(lr):
    torch.manual_seed(0)
    found = learner(pictures(), lin(784, 50, 10, flat=True), lr=lr).preflight()
    assert len(found.problems) == 1 and 'rate is too high' in found.problems[0], found


@pytest.mark.parametrize('lr', [1e-7, 1e-5])
def test_a_low_rate_is_told_from_the_noise_of_dropout(lr):
    "The last loss is taken with the random numbers of the first"
    data = DataLoader(TensorDataset(*batches(1, short=64)[0]), 16, shuffle=True)
    found = looked(lambda: learner(data, nn.Sequential(nn.Dropout(0.5), net()), lr=lr))
    assert found.ok == (lr > 1e-6) and (found.ok or 'far too low' in found.problems[0]), found


def notes(build): return ' '.join(looked(build).notes)


def test_notes():
    assert 'frozen: body.weight, body.bias' in notes(HEALTHY['a frozen body'])
    assert 'learning is slow' in notes(HEALTHY['AdamW at 1e-5'])
    assert 'no gradient reaches later.weight, later.bias' in notes(HEALTHY['a part for later'])
    assert 'not normalised' in notes(HEALTHY['pixels that batch norm takes care of'])
    assert 'still draws random numbers' in notes(HEALTHY['variational'])
    assert 'a minus too many' in notes(lambda: learner(loss=lambda p, y: -F.cross_entropy(p, y)))
    assert not looked(HEALTHY['the plainest']).notes


def test_problems_and_notes_are_sentences():
    found = Preflight()
    found.add('inputs', [])
    assert found.ok and str(found) == 'ready: inputs are fine'
    found.add('more', [(False, 'a note')])
    assert found.ok and str(found).endswith('are fine\n· a note')
    found.add('labels', [(True, 'labels are out of range')])
    assert not found.ok and str(found) == '✗ labels are out of range\n· a note'
