"Accumulating, clipping, freezing, and a rate for each part"
import copy, pickle, random, re
from functools import partial
import pytest, torch, torch.nn.functional as F
from torch import nn
from miniai import init, layers, optim
from miniai.learner import (AccumulateCB, Callback, CancelBatchException, CancelEpochException, CheckpointCB,
                            ClipGradCB)
from miniai.sched import OneCycle, ParamScheduler, sched_lin
from miniai.steps import freeze, param_groups, unfreeze
from tests.small import Quiet, batches, make, weights


@pytest.mark.parametrize('n', [1, 2, 3, 5, 100])
@pytest.mark.parametrize('clip', [None, 0.01])
def test_accumulating_equals_one_large_batch(n, clip):
    data = batches(7, 8, short=3)
    large = [tuple(torch.cat(o) for o in zip(*data[i:i+n])) for i in range(0, len(data), n)]
    clips = [] if clip is None else [ClipGradCB(clip)]
    opt = partial(torch.optim.SGD, momentum=0.9)
    small = make([*clips, AccumulateCB(n), Quiet()], data, opt_func=opt)
    whole = make([*clips, Quiet()], large, opt_func=opt)
    small.fit(2); whole.fit(2)
    torch.testing.assert_close(weights(small), weights(whole), rtol=1e-4, atol=1e-6)
    if n == 1: assert small.history[0]['loss'] == whole.history[0]['loss']
    assert small.do_step


class TimeFirst(torch.nn.Module):
    "Its inputs are (time, sample, number), as recurrent layers take them"
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.gru,self.head = torch.nn.GRU(6, 4),torch.nn.Linear(4, 3)
    def forward(self, x): return self.head(self.gru(x)[0][-1])

def test_samples_are_counted_by_their_targets():
    "0.1 took the length of the first tensor, which is the time here"
    data = [(torch.stack([x]*5), y) for x,y in batches(7, 8, short=3)]
    def joined(some): return torch.cat([x for x,_ in some], 1),torch.cat([y for _,y in some])
    for some in data,[data[0], data[6]]:  # the last one is short
        small = make([AccumulateCB(3)], some, model=TimeFirst(), valid=None)
        whole = make([], [joined(some[i:i+3]) for i in range(0, len(some), 3)], model=TimeFirst(), valid=None)
        small.fit(2); whole.fit(2)
        torch.testing.assert_close(weights(small), weights(whole), rtol=1e-4, atol=1e-6)


class Stream:
    "Batches without a length"
    def __init__(self, batches): self.batches = batches
    def __iter__(self): return iter(self.batches)


@pytest.mark.parametrize('n', [1, 2, 3, 7, 8])
def test_accumulating_over_a_stream(n):
    data = batches(7, 8, short=3)
    known,stream = make([AccumulateCB(n)], data),make([AccumulateCB(n)], Stream(data))
    known.fit(2); stream.fit(2)
    assert torch.equal(weights(known), weights(stream)) and not stream.looks_ahead


class Steps(Callback):
    "Counts batches between steps"
    def __init__(self): self.n,self.counts = 0,[]
    def after_backward(self, learn): self.n += 1
    def after_step(self, learn):
        self.counts.append(self.n)
        self.n = 0


class Skip(Callback):
    def after_loss(self, learn):
        if learn.training and learn.iter == 2: raise CancelBatchException()


def test_a_batch_that_is_cancelled_does_not_count():
    data,steps = batches(7, 8, short=8),Steps()
    skipping = make([AccumulateCB(3), Skip(), steps], data)
    skipping.fit(1)
    large = [tuple(torch.cat(o) for o in zip(*part)) for part in (data[:2] + data[3:4], data[4:])]
    whole = make([], large)
    whole.fit(1)
    assert steps.counts == [3, 3]
    torch.testing.assert_close(weights(skipping), weights(whole), rtol=1e-4, atol=1e-6)


class Leave(Callback):
    def after_batch(self, learn):
        if learn.training and (learn.epoch, learn.iter) == (0, 3): raise CancelEpochException()


def test_half_a_group_of_an_epoch_left_early_is_forgotten():
    data = batches(6, 8, short=8)
    learn = make([AccumulateCB(3), Leave()], data)
    learn.fit(2)
    large = [tuple(torch.cat(o) for o in zip(*part)) for part in (data[:3], data[:3], data[3:])]
    whole = make([], large)
    whole.fit(1)
    torch.testing.assert_close(weights(learn), weights(whole), rtol=1e-4, atol=1e-6)
    assert learn.do_step


def test_a_learner_without_do_step_is_told():
    with pytest.raises(TypeError, match="miniai's Learner"): AccumulateCB(2).before_fit(object())
    with pytest.raises(ValueError, match='whole number'): AccumulateCB(1.5)


# -- freezing, and a rate for each part

def conv_net(ours=False, seed=0):
    "A body with batch norm and dropout, and a head"
    torch.manual_seed(seed)
    norm = init.BatchNorm(8) if ours else nn.BatchNorm1d(8)
    if ours: return layers.Sequential(layers.Sequential(layers.Linear(6, 8), norm, layers.ReLU()),
                                      layers.Linear(8, 3))
    return nn.Sequential(nn.Sequential(nn.Linear(6, 8), norm, nn.ReLU()), nn.Linear(8, 3))


def state(model): return {k: v.clone() for k,v in model.state_dict().items()}


@pytest.mark.parametrize('ours', [False, True])
def test_a_frozen_body_is_as_one_in_eval_mode_without_gradients(ours):
    "By hand: requires_grad alone lets the averages move"
    class Eval(Callback):
        def before_epoch(self, learn): learn.model[0].eval()
    results,before = [],state(conv_net(ours))
    for how in 'freeze', 'by hand', 'requires_grad':
        model = conv_net(ours)
        if how == 'freeze': freeze(model[0])
        else: model[0].requires_grad_(False)
        make([Quiet(), *([Eval()] if how == 'by hand' else [])], batches(5), model=model).fit(2)
        results.append(state(model))
    frozen,by_hand,moving = results
    for k in frozen: assert torch.equal(frozen[k], by_hand[k]), k
    same = {k for k in before if torch.equal(before[k], frozen[k])}
    assert same == {k for k in before if k.startswith('0.')}
    assert not torch.equal(moving['0.1.running_mean'], before['0.1.running_mean'])


@pytest.mark.parametrize('ours', [False, True])
def test_what_is_unfrozen_trains_as_if_it_had_never_been_frozen(ours):
    plain,thawed = conv_net(ours),conv_net(ours)
    freeze(thawed); freeze(thawed[0])  # once more
    make([Quiet()], model=copy.deepcopy(plain), valid=None)
    thawed(torch.randn(4, 6))
    unfreeze(thawed[0]); unfreeze(thawed)
    for model in plain,thawed: make([Quiet()], model=model).fit(2)
    for k,v in state(plain).items(): assert torch.equal(v, thawed.state_dict()[k]), k
    assert all(m.training == thawed.training for m in thawed.modules())


@pytest.mark.parametrize('ours', [False, True])
@pytest.mark.parametrize('copied', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_a_frozen_model_is_frozen_and_can_be_unfrozen_alone(ours, copied):
    model = conv_net(ours)
    freeze(model[0])
    other,x = copied(model),torch.randn(8, 6)
    unfreeze(other)
    for m,moves in (model, False), (other, True):
        before = state(m)
        m.train()(x)
        assert torch.equal(before['0.1.running_mean'], m.state_dict()['0.1.running_mean']) != moves


def test_what_can_be_frozen_is_said():
    for wrong in ['body'], [None], [[nn.Linear(1, 1)]], []:
        for f in freeze,unfreeze:
            with pytest.raises(TypeError, match=f'{f.__name__} takes modules'): f(*wrong)


OPTS = dict(sgd=(optim.SGD, torch.optim.SGD, dict(momentum=0.9)), adamw=(optim.AdamW, torch.optim.AdamW, {}))

@pytest.mark.parametrize('opt', OPTS)
@pytest.mark.parametrize('seed', range(5))
def test_each_part_is_trained_at_its_rate(opt, seed):
    "As with an optimizer of PyTorch's for each parameter alone"
    g,rng = torch.Generator().manual_seed(seed),random.Random(seed)
    ours,theirs,options = OPTS[opt]
    names = [n for n,_ in conv_net().named_modules() if n] + [n for n,_ in conv_net().named_parameters()]
    names = [n for n in names if n != '0.2']  # ReLU
    chosen = [['0', '0.0.bias'], ['1'], ['0.1', '1.weight', '0'], ['0', '1'],
              rng.sample(['0', '0.1', '1.bias'], 2)]
    rates = {n: 0.01*rng.randint(1, 9) for n in chosen[seed]}
    def rate(name):
        within = [n for n in rates if f'{name}.'.startswith(f'{n}.')]
        return rates[max(within, key=len)] if within else 0.05
    def model():
        net = conv_net()
        net[0][1] = nn.LayerNorm(8)  # a bias before batch norm has a gradient of noise, which Adam magnifies
        return net
    ref = model()
    singles = [theirs([p], rate(n), **options) for n,p in ref.named_parameters()]
    models = [model(), model()]
    opts = [cls(param_groups(m, rates), 0.05, **options) for cls,m in zip((ours, theirs), models)]
    for opt in opts:
        params = [id(p) for group in opt.param_groups for p in group['params']]
        assert len(params) == len(set(params)) == 6
    for _ in range(6):
        x,y = torch.randn(8, 6, generator=g),torch.randint(0, 3, (8,), generator=g)
        for model,some in zip([ref, *models], [singles, opts[:1], opts[1:]]):
            F.cross_entropy(model(x), y).backward()
            for o in some:
                o.step()
                o.zero_grad()
    for model in models:
        for a,b in zip(model.parameters(), ref.parameters()):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_parts_may_be_modules_and_have_other_options():
    model = conv_net()
    groups = param_groups(model, {model[0]: 0.01, '1.bias': dict(lr=0.2, weight_decay=0.)})
    assert [len(g['params']) for g in groups] == [4, 1, 1]
    assert groups[0]['lr'] == 0.01 and groups[1]['weight_decay'] == 0. and 'lr' not in groups[2]
    assert [len(g['params']) for g in param_groups(model, {})] == [6]
    assert [len(g['params']) for g in param_groups(model, {model: 1., '1': 2.})] == [4, 2]


def test_parts_that_are_none():
    model = conv_net()
    for parts,words in (({'0.0.wieght': 1.}, "no part '0.0.wieght': did you mean 0.0.weight?"),
                        ({nn.Linear(1, 1): 1.}, 'no part Linear'),
                        ({'0.2': 1.}, "no parameter is left for '0.2'"),
                        ({'1': 1., '1.weight': 2., '1.bias': 2.}, "no parameter is left for '1'")):
        with pytest.raises(ValueError, match=re.escape(words)): param_groups(model, parts)
    model[1].weight = nn.Parameter(torch.zeros(3, 8))
    tied = nn.ModuleDict(dict(a=nn.Linear(2, 2), b=nn.Linear(2, 2, bias=False)))
    tied['b'].weight = tied['a'].weight
    with pytest.raises(ValueError, match="left for 'b'"): param_groups(tied, dict(b=0.1))


def parted(cbs=(), opt_cls=optim.AdamW, **kwargs):
    "A learner of two rates, its body a tenth of the head's"
    model = conv_net()
    def opt_func(params, lr): return opt_cls(param_groups(model, {'0': lr/10}), lr)
    return make([Quiet(), *cbs], batches(6), model=model, opt_func=opt_func, lr=0.01, **kwargs)


def rates(learn): return [g['lr'] for g in learn.opt.param_groups]

@pytest.mark.parametrize('opt_cls', [optim.AdamW, torch.optim.AdamW, optim.SGD, torch.optim.SGD])
def test_schedules_and_the_range_test_keep_the_shares(opt_cls, capsys):
    seen = []
    class Seen(Callback):
        def after_step(self, learn): seen.append(rates(learn))
    learn = parted([OneCycle(), Seen()], opt_cls)
    learn.fit(2)
    assert all(low == pytest.approx(high/10) for low,high in seen) and len({high for _,high in seen}) > 9
    learn = parted([ParamScheduler('lr', [sched_lin(0.1, 0.), sched_lin(0.4, 0.2)]), Seen()], opt_cls)
    seen.clear()
    learn.fit(2)
    assert seen[0] == pytest.approx([0.1, 0.4]) and seen[6] == pytest.approx([0.05, 0.3])
    learn = parted([Seen()], opt_cls)
    seen.clear()
    learn.lr_find(start_lr=1e-3, max_mult=1e9)
    assert all(low == pytest.approx(high/10) for low,high in seen) and len(seen) > 5
    learn.fit(1, lr=0.3)
    assert rates(learn) == pytest.approx([0.03, 0.3])


class PowerCut(Callback):
    def before_batch(self, learn):
        if learn.training and (learn.epoch, learn.iter) == (1, 5): raise ZeroDivisionError()

def test_a_frozen_run_with_two_rates_is_resumed_to_the_last_bit(tmp_path):
    def build(where, *cbs):
        learn = parted([OneCycle(), CheckpointCB(tmp_path/where, every_batches=2), *cbs])
        freeze(learn.model[0][1])
        return learn
    whole = build('whole')
    whole.fit(3)
    with pytest.raises(ZeroDivisionError): build('cut', PowerCut()).fit(3)
    resumed = build('cut')
    resumed.fit(3, resume=True)
    for k,v in whole.model.state_dict().items(): assert torch.equal(v, resumed.model.state_dict()[k]), k


@pytest.mark.parametrize('frozen', [freeze, lambda body: body.requires_grad_(False)])
def test_preflight_minds_no_frozen_body(frozen):
    learn = parted()
    frozen(learn.model[0])
    report = learn.preflight()
    assert report.ok and any('frozen: 0.0.weight' in note for note in report.notes)


def test_values_that_make_no_sense():
    for wrong in -1., 0, float('nan'), '1', None:
        with pytest.raises(ValueError, match='max_norm must be a number over 0'): ClipGradCB(wrong)
    ClipGradCB(float('inf'))
    with pytest.raises(ValueError, match='there are 2 AccumulateCBs'):
        make([AccumulateCB(2)]).fit(1, cbs=AccumulateCB(3))


@pytest.mark.parametrize('parts,error', [(['0'], TypeError), ({'0': '0.1'}, ValueError),
                                         ({'0': -1.}, ValueError)])
def test_rates_that_are_none_are_refused(parts, error):
    with pytest.raises(error, match="must be a dict|a rate from 0 on"):
        param_groups(nn.Sequential(nn.Linear(2, 2)), parts)
