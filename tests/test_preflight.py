"A check on one batch"
import pytest, torch, torch.nn.functional as F
from torch import nn
from miniai.learner import AccumulateCB, Accuracy, Callback, MomentumLearner, TrainCB
from miniai.preflight import Preflight
from tests.small import Quiet, TwoInputs, batches, make, net


def plant(**kwargs): return lambda: make(**{**dict(train=batches(8, 16, short=16), lr=0.5), **kwargs})


class Frozen(nn.Module):
    def __init__(self, p=0., cut=False, always=False, deaf=False):
        super().__init__()
        self.a,self.b,self.c,self.drop = nn.Linear(6, 8),nn.Linear(8, 3),nn.Linear(3, 3),nn.Dropout(p)
        self.cut,self.always,self.deaf = cut,always,deaf
    def forward(self, x):
        x = self.drop(self.a(x).relu())
        if self.always: x = F.dropout(x, 0.3)
        return self.b(x.detach() if self.cut else x) if self.cut else self.c(self.b(x))
    def train(self, mode=True): return self if self.deaf else super().train(mode)


class Big(nn.Module):
    def forward(self, x): return x*100


FAULTS = {
    'softmax': (plant(model=nn.Sequential(net(), nn.Softmax(1))), 'probabilities already'),
    'too few outputs': (plant(model=net(classes=2)), 'labels must be 0 to 1'),
    'labels from 1': (plant(train=[(x, y+1) for x,y in batches()]), 'labels must be 0 to 2'),
    'pixels': (plant(train=[(x*100+128, y) for x,y in batches()]), 'not normalised'),
    'nan inputs': (plant(train=[(x/0*0, y) for x,y in batches()]), 'no numbers'),
    'constant inputs': (plant(train=[(x*0, y) for x,y in batches()]), 'carries no information'),
    'bytes': (plant(train=[(x.to(torch.uint8), y) for x,y in batches()]), 'uint8'),
    'cut off': (plant(model=Frozen(cut=True)), 'no gradient reaches a.weight'),
    'rate too low': (plant(lr=1e-7), 'can not be learnt'),
    'rate too high': (plant(lr=1e6), 'single batch'),
    'always random': (plant(model=Frozen(always=True)), 'still draws random numbers'),
    'train has no effect': (plant(model=Frozen(p=0.5, deaf=True)), 'eval() does not reach'),
    'start too large': (plant(model=nn.Sequential(net(), nn.Linear(3, 3), Big())),
                        'last layer starts too large'),
    'no batch': (plant(train=[]), 'loader is empty'),
    'optimizer of another model': (plant(opt_func=lambda params, lr: torch.optim.SGD(list(params)[:1], lr)),
                                   'optimizer does not know'),
    'shapes': (plant(model=nn.Linear(5, 3)), 'the first batch fails'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_preflight_finds_each_planted_fault(fault):
    build,words = FAULTS[fault]
    found = build().preflight()
    assert not found.ok and words in str(found), found


@pytest.mark.parametrize('model',
                         [net, lambda: Frozen(p=0.3),
                          lambda: nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(),
                                                nn.Linear(16, 3))])
def test_preflight_is_quiet_on_a_healthy_learner(model):
    torch.manual_seed(0)
    found = make([Quiet(Accuracy())], batches(8, 16, short=16), model=model(), lr=0.5).preflight()
    assert found.ok and 'ready' in str(found), found


# -- what 0.1 missed or misnamed

class NoZeroCB(Callback):
    def zero_grad(self, learn): pass


class Head(nn.Module):
    "A body and a head"
    def __init__(self, body=False, head=False):
        super().__init__()
        self.body,self.head = nn.Linear(6, 8),nn.Linear(8, 3)
        self.body.requires_grad_(not body)
        self.head.requires_grad_(not head)
    def forward(self, x): return self.head(self.body(x).relu())


def regression(n=1): return [(x, x[:,:n].clone() if n else x[:,0].clone()) for x,_ in batches(8, 16,
                                                                                              short=16)]


class Breaks(list):
    def __iter__(self): raise OSError('the disk is gone')


MISSED = {
    'zero_grad is missing': (lambda: make([NoZeroCB()], batches(8, 16, short=16)), 'is zero_grad missing'),
    'all frozen': (lambda: make(model=Head(True, True)), 'all parameters are frozen'),
    'softmax with nll': (lambda: make(model=nn.Sequential(net(), nn.Softmax(1)), loss_func=F.nll_loss),
                         'nll_loss wants log-probabilities'),
    'scores with nll': (lambda: make(loss_func=F.nll_loss), 'nll_loss wants log-probabilities'),
    'shapes that broadcast': (lambda: make(train=regression(0), valid=None, model=nn.Linear(6, 1),
                                           loss_func=F.mse_loss), 'each with each'),
    'a broken validation loader': (lambda: make(valid=Breaks()),
                                   'the validation loader fails: OSError: the disk is gone'),
    'validation labels': (lambda: make(valid=[(x, y+1) for x,y in batches(3)]), 'labels must be 0 to 2'),
    'validation shapes': (lambda: make(valid=[(x[:,:5], y) for x,y in batches(3)]),
                          'the first validation batch fails'),
    'no validation batch': (lambda: make(valid=[]), 'the validation loader is empty'),
}


@pytest.mark.filterwarnings('ignore:Using a target size')
@pytest.mark.parametrize('fault', MISSED)
def test_preflight_finds_what_it_missed(fault):
    build,words = MISSED[fault]
    found = build().preflight()
    assert len(found.problems) == 1 and words in found.problems[0], found


def test_inputs_that_are_no_numbers_give_one_line():
    found = plant(train=[(x/0*0, y) for x,y in batches()], valid=None)().preflight()
    assert len(found.problems) == 1 and 'no numbers' in found.problems[0], found


def tuned(lr=0.5, **kwargs):
    learn = make(train=batches(8, 16, short=16), lr=lr, **kwargs)
    learn.fit(20)
    return learn


HEALTHY = {
    'AdamW at 1e-4': lambda: make(opt_func=torch.optim.AdamW, lr=1e-4),
    'AdamW at 1e-5': lambda: make(opt_func=torch.optim.AdamW, lr=1e-5),
    'SGD at 0.01': lambda: make(lr=0.01), 'a trained model': tuned,
    'a trained model, slowly': lambda: tuned(opt_func=torch.optim.AdamW, lr=1e-3),
    'a frozen body': lambda: make(model=Head(body=True)), 'momentum kept': lambda: make(cls=MomentumLearner),
    'accumulation': lambda: make([AccumulateCB(3)]),
    'regression': lambda: make(train=regression(), valid=regression(), model=nn.Linear(6, 1),
                               loss_func=F.mse_loss),
    'log-softmax with nll': lambda: make(model=nn.Sequential(net(), nn.LogSoftmax(1)), loss_func=F.nll_loss),
    'no validation': lambda: make(valid=None),
    'two inputs': lambda: make([TrainCB(n_inp=2)], [(x, x, y) for x,y in batches()], None, TwoInputs()),
    'dictionaries': lambda: make(train=[dict(a=x, b=x, labels=y) for x,y in batches()], valid=None,
                                 model=TwoInputs()),
}


@pytest.mark.parametrize('name', HEALTHY)
def test_no_false_alarm(name):
    torch.manual_seed(0)
    found = HEALTHY[name]().preflight()
    assert found.ok and 'ready' in str(found), found


def test_frozen_parameters_are_a_note():
    found = make(model=Head(body=True)).preflight()
    assert any('frozen: body.weight, body.bias' in note for note in found.notes)


def test_problems_and_notes_are_sentences():
    found = Preflight()
    found.add('inputs', [])
    assert found.ok and str(found) == 'ready: inputs are fine'
    found.add('more', [(False, 'a note')])
    assert found.ok and str(found).endswith('are fine\n· a note')
    found.add('labels', ['labels are out of range'])
    assert not found.ok and str(found) == '✗ labels are out of range\n· a note'
