"The loop: order of events, cancelling, state, batches of all shapes, and errors a beginner can act on"
import copy, pickle, traceback
from functools import partial
from pathlib import Path
from types import SimpleNamespace
import pytest, torch, torch.nn.functional as F
from torch import nn
from miniai.learner import (Accuracy, Callback, CancelBatchException, CancelEpochException,
                            CancelFitException, DeviceCB, Learner, MetricsCB,
                            MomentumLearner, ProgressCB, TrainCB, TrainLearner)
from miniai.loop import ACTIONS, EVENTS, Host, Order, batch_size, loss_of, set_lr, split_batch, to_device
from miniai.optim import SGD
from tests.conftest import ROOT, Plain
from tests.small import Quiet, Stranger, TwoInputs, batches, make, net, weights


class Recorder(Callback):
    "Writes down every event, and raises `error` at the `nth` time of event `at`"
    def __init__(self, at=None, error=None, nth=1): self.events,self.at,self.error,self.nth = [],at,error,nth
    def __getattribute__(self, name):
        if name not in EVENTS: return object.__getattribute__(self, name)
        def told(learn):
            self.events.append(name)
            if name in ACTIONS: getattr(TrainCB, name)(TrainCB(), learn)
            if self.error and name == self.at and self.events.count(name) == self.nth:
                raise self.error('raised by the test')
        return told


TRAIN = '''before_batch predict after_predict get_loss after_loss backward after_backward step after_step
    zero_grad after_batch cleanup_batch'''.split()


VALID = 'before_batch predict after_predict get_loss after_loss after_batch cleanup_batch'.split()


def part(batch, n): return ['before_epoch', *batch*n, 'after_epoch', 'cleanup_epoch']


class Rec(Recorder):
    "A recorder whose methods are found by hasattr"
for _e in EVENTS: setattr(Rec, _e, None)


@pytest.mark.parametrize('epochs,n,v', [(0, 2, 2), (1, 1, 1), (2, 3, 2), (1, 2, 0)])
def test_order_of_events(epochs, n, v):
    rec = Rec()
    make([rec], batches(n), batches(v) if v else None).fit(epochs)
    assert rec.events == ['before_fit', *(part(TRAIN, n) + (part(VALID, v) if v else []))*epochs, 'after_fit',
                          'cleanup_fit']


def expected(at, error, nth=1, epochs=2, n=2, v=2):
    "The events of a fit with `error` at the `nth` time of event `at`: the protocol, a second time"
    events = []
    def tell(name):
        events.append(name)
        if name == at and events.count(name) == nth and error: raise error()
    def level(name, cancel, body):
        try:
            try:
                tell(f'before_{name}'); body(); tell(f'after_{name}')
            except cancel: pass
            finally: tell(f'cleanup_{name}')
        except cancel: pass
    def batch(names):
        for name in names: tell(name)
    def epoch(names, k):
        for _ in range(k): level('batch', CancelBatchException, lambda: batch(names))
    def fit():
        for _ in range(epochs):
            for names,k in ((TRAIN[1:-2], n), (VALID[1:-2], v)): level('epoch', CancelEpochException,
                                                                       lambda: epoch(names, k))
    try: level('fit', CancelFitException, fit)
    except error or (): return events,error
    return events,None


class Guest(Callback):
    def before_fit(self, learn): pass


class ByMethods(TrainLearner):
    "Its actions are methods, which its first callback writes down"
for _a in ACTIONS: setattr(ByMethods, _a, lambda self, name=_a: getattr(self.cbs[0], name)(self))

# With two batches in each part of two epochs, the four times of a batch's event are the first and the last
# batch of training, then those of validation; those of an epoch's event are training and validation, twice
MOMENTS = [(at, nth) for at in EVENTS for nth in (1, 2, 3, 4) if nth == 1 or not at.endswith('_fit')]


@pytest.mark.parametrize('error', [CancelBatchException, CancelEpochException, CancelFitException, KeyError,
                                   KeyboardInterrupt])
@pytest.mark.parametrize('cls', [Learner, ByMethods, Stranger])
def test_every_cancel_from_every_event(cls, error):
    for at,nth in MOMENTS:
        rec,guest = Rec(at, error, nth),Guest()
        learn = make([rec], batches(2), batches(2), cls=cls)
        want,escaped = expected(at, error, nth)
        try:
            learn.fit(2, cbs=guest)
            came = None
        except error: came = error
        assert (rec.events, came) == (want, escaped), f'{error.__name__} at {at}, time {nth}'
        assert rec.events.count(at) >= nth, 'this moment was not reached'
        assert list(learn.cbs) == [rec]  # the guest is gone, whatever happened
        rec.error = None
        rec.events.clear()
        learn.fit(1, train=False)  # and the next fit works
        assert rec.events == ['before_fit', *part(VALID, 2), 'after_fit', 'cleanup_fit']


def test_callbacks_behind_the_one_that_cancels_do_not_hear_of_it():
    heard = []
    class First(Callback):
        def after_batch(self, learn): raise CancelBatchException()
    class Later(Callback):
        order = 1
        def after_batch(self, learn): heard.append('after')
        def cleanup_batch(self, learn): heard.append('cleanup')
    make([Later(), First()], batches(1), None).fit(1)
    assert heard == ['cleanup']


def test_each_cleanup_is_told_even_if_one_fails():
    heard = []
    class Fails(Callback):
        def cleanup_fit(self, learn): raise ValueError('first')
    class Later(Callback):
        order = 1
        def cleanup_fit(self, learn): heard.append(1)
    with pytest.raises(ValueError, match='first'): make([Fails(), Later()]).fit(1)
    assert heard == [1]


def test_order_is_by_number_and_stable():
    names = []
    def cb(name, number): return type(name, (Callback,),
                                      dict(order=number, before_fit=lambda self, learn: names.append(name)))()
    make([cb('c', 2), cb('a', 0), cb('d', 2), cb('b', 0)]).fit(0)
    assert names == ['a', 'b', 'c', 'd']


def test_the_training_equals_a_loop_by_hand():
    ref,data = net(),batches()
    opt = torch.optim.SGD(ref.parameters(), 0.1, momentum=0.9)
    for _ in range(2):
        for xb,yb in data:
            F.cross_entropy(ref(xb), yb).backward()
            opt.step(); opt.zero_grad()
    for cls,cbs in ((Learner, [TrainCB()]), (Learner, []), (TrainLearner, [])):
        learn = make(cbs, data, cls=cls, opt_func=partial(torch.optim.SGD, momentum=0.9))
        learn.fit(2)
        assert all(torch.equal(p, q) for p,q in zip(ref.parameters(), learn.model.parameters()))


def test_momentum_learner_keeps_a_share_of_the_gradient():
    ref,data = net(),batches()
    for xb,yb in data:
        F.cross_entropy(ref(xb), yb).backward()
        with torch.no_grad():
            for p in ref.parameters():
                p -= 0.1*p.grad
                p.grad *= 0.85
    learn = make(train=data, cls=MomentumLearner, opt_func=torch.optim.SGD)
    learn.fit(1)
    torch.testing.assert_close(weights(learn), torch.cat([p.detach().flatten() for p in ref.parameters()]))


def test_state_during_and_after_a_fit():
    learn = make([Quiet()])
    learn.fit(3)
    assert (learn.n_epochs, learn.epoch, learn.iter, list(learn.epochs)) == (3, 2, 2, [0, 1, 2])
    assert learn.preds.shape == (3, 3)
    assert learn.loss.dim() == 0
    assert len(learn.batch) == 2
    assert isinstance(learn.opt, SGD)
    assert not learn.training and len(learn.history) == 6
    assert list(learn.history[0]) == ['loss', 'epoch', 'train', 'time', 'fit']


def test_a_new_optimizer_each_fit_unless_kept():
    learn = make()
    learn.fit(1); first = learn.opt
    learn.fit(1); second = learn.opt
    learn.fit(1, keep_opt=True)
    assert first is not second and learn.opt is second
    learn.fit(1, train=False)
    assert learn.opt is second
    learn.fit(1, lr=0.7)
    assert learn.opt.param_groups[0]['lr'] == 0.7


def test_opt_func_may_have_just_step_and_zero_grad():
    learn = make(opt_func=Plain)
    before = weights(learn)
    learn.fit(1)
    assert not torch.equal(before, weights(learn))
    with pytest.raises(TypeError, match='Plain has none'): learn.lr_find()


def test_an_unknown_attribute_is_named_with_its_class_and_the_nearest_one():
    learn = make(cls=TrainLearner)
    with pytest.raises(AttributeError,
                       match='TrainLearner has no attribute n_epoch: did you mean one_epoch'): learn.n_epoch
    with pytest.raises(AttributeError, match='no attribute one_batches') as e: learn.one_batches
    assert '_one_batch' not in str(e.value)  # what is not for others to use is not what was meant
    learn.fit(1)
    with pytest.raises(AttributeError, match='no attribute losss: did you mean loss?'): learn.losss
    assert getattr(learn, 'history_of_things', 3) == 3


def test_a_learner_can_be_copied_and_pickled():
    learn = make([Quiet()])
    learn.fit(1)
    for other in (copy.deepcopy(learn), pickle.loads(pickle.dumps(learn))):
        assert torch.equal(weights(other), weights(learn)) and other.history == learn.history
        other.fit(1)


def test_a_callback_that_can_be_iterated_stays_whole():
    class Steps(Callback):
        def __init__(self): self.seen = []
        def __iter__(self): return iter(self.seen)
        def after_step(self, learn): self.seen.append(learn.iter)
    guest,own = Steps(),Steps()
    learn = Learner(nn.Linear(4, 2), [(torch.randn(3, 4), torch.randn(3, 2))]*2, cbs=own)
    learn.fit(1, cbs=guest)
    assert list(own) == list(guest) == [0, 1] and list(learn.guests) == [guest] and list(learn.cbs) == [own]


def test_callbacks_may_assign_what_the_loop_uses():
    class Half(Callback):
        def before_batch(self, learn): learn.batch = tuple(t[:2] for t in learn.batch)
        def after_predict(self, learn): learn.preds = learn.preds*2
        def after_loss(self, learn): learn.loss = learn.loss + 1
    learn = make([Half()])
    learn.fit(1)
    assert len(learn.batch[0]) == 2 and learn.loss > 1


def test_several_inputs_and_targets():
    data = [(x, x, y, y) for x,y in batches()]
    def loss(preds, a, b): return F.cross_entropy(preds, a) + F.cross_entropy(preds, b)
    def first(preds, targets): return (preds.argmax(1) == targets[0]).float().mean()
    for kwargs in (dict(cbs=[TrainCB(n_inp=2), Quiet(first)]), dict(cbs=[TrainCB(), Quiet(first)], n_inp=2),
                   dict(cbs=[Quiet(first)], n_inp=2)):
        learn = make(train=data, valid=data, model=TwoInputs(), loss_func=loss, **kwargs)
        preds,targets = learn.get_preds()  # before the first fit, too
        learn.fit(1)
        assert preds.shape == (27, 3)
        assert torch.equal(targets[0], torch.cat([y for _,_,y,_ in data]))
        assert len(targets) == 2
        assert learn.history[-1]['first'] == pytest.approx(first(*learn.get_preds()).item(), rel=1e-6)


def test_dictionary_batches():
    one = [dict(image=x, label=y) for x,y in batches()]
    several = [dict(a=x, b=x, labels=y) for x,y in batches()]
    for data,model in ((one, net()), (several, TwoInputs())):
        learn = make([Quiet(accuracy=Accuracy()), DeviceCB('cpu')], data, data, model)
        learn.fit(1)
        assert learn.history[-1]['accuracy'] == pytest.approx(learn.validate()['accuracy'])


def test_a_model_that_returns_its_own_loss():
    class HF(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.Linear(6, 3)
        def forward(self, x, labels): return SimpleNamespace(loss=F.cross_entropy(self.l(x), labels))
    learn = make([], [dict(x=x, labels=y) for x,y in batches()], None, HF(), loss_func='model')
    before = weights(learn)
    learn.fit(1)
    assert not torch.equal(before, weights(learn))


def test_inputs_alone():
    learn = make([Quiet(mse=F.mse_loss)], [x for x,_ in batches()], None, nn.Linear(6, 6), loss_func=None)
    learn.fit(1)  # a bare tensor is its own target
    assert learn.loss_func is F.mse_loss
    assert learn.history[0]['mse'] == pytest.approx(learn.history[0]['loss'])
    learn = make([], [(x,) for x,_ in batches()], None, nn.Linear(6, 6),
                 loss_func=lambda preds: preds.pow(2).mean())
    learn.fit(1)


def test_no_validation_set():
    learn = make([Quiet()], valid=None)
    learn.fit(2)
    assert [r['train'] for r in learn.history] == ['train', 'train']


def test_a_loss_is_picked_and_said(capsys):
    learn = make(loss_func=None)
    learn.fit(1)
    assert learn.loss_func is F.cross_entropy
    assert capsys.readouterr().out.count('loss_func: cross_entropy') == 1
    data = [(x, x) for x,_ in batches()]
    learn = make([], data, data, nn.Linear(6, 6), loss_func=None)
    learn.fit(1)
    assert learn.loss_func is F.mse_loss
    with pytest.raises(ValueError,
                       match=r"can't pick a loss for predictions \(8, 5\) float32 and targets \(8, 6\) "
                             r"float32"):
        make([], data, data, nn.Linear(6, 5), loss_func=None).fit(1)


@pytest.mark.parametrize('change,words', [
    (dict(loss_func=F.mse_loss), 'pass loss_func=F.cross_entropy'),
    (dict(model=nn.Linear(6, 2), loss_func=F.cross_entropy),
     r'cross_entropy failed on predictions \(8, 2\) float32 and targets \(8,\) int64, in batch 0'),
    (dict(loss_func=nn.L1Loss(reduction='oops')), 'L1Loss failed'),
    (dict(cbs=[MetricsCB]), r'write MetricsCB\(\)'),
    (dict(cbs=[MetricsCB]), 'callbacks are objects')])
def test_errors_say_what_to_do(change, words):
    with pytest.raises((TypeError, ValueError, IndexError, RuntimeError), match=words): make(**change).fit(1)


def test_misspelt_events_are_refused():
    class Wrong(Callback):
        def after_bacth(self, learn): pass
    for f in (lambda: make([Wrong()]), lambda: make().fit(1, cbs=Wrong())):
        with pytest.raises(ValueError, match='did you mean after_batch'): f()
    class Fine(Callback):
        after_all = 'no method'
        def before_fit(self, learn): pass
    make([Fine()]).fit(1)


@pytest.mark.parametrize('n', [-1, 1.5, '2', True])
def test_n_epochs_is_a_whole_number(n):
    with pytest.raises(ValueError, match='n_epochs'): make().fit(n)


def test_few_frames_of_ours_stand_between_call_and_failing_line():
    class Boom(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.Linear(6, 3)
        def forward(self, x): raise RuntimeError('here')
    for cbs in ([TrainCB(), ProgressCB(), Quiet()], []):
        try: make(cbs, model=Boom()).fit(1)
        except RuntimeError as e: frames = traceback.extract_tb(e.__traceback__)
        assert 5 < sum(Path(f.filename).is_relative_to(ROOT/'miniai') for f in frames) <= 12


# ---- found by using it

class ForAnotherLibrary:
    def on_epoch_end(self, learn): pass


@pytest.mark.parametrize('cb', [ForAnotherLibrary(), print, lambda learn: None, Callback(), 3])
def test_what_would_never_be_called_is_refused(cb):
    for f in (lambda: make([cb]), lambda: make().fit(1, cbs=[cb]),
              lambda: make().cbs.append(cb) or make([cb])):
        with pytest.raises(TypeError, match='no method named like an event'): f()


@pytest.mark.parametrize('error', [torch.OutOfMemoryError, MemoryError, KeyError, AssertionError])
def test_an_error_in_the_loss_keeps_its_type_and_says_what_came(error):
    def loss(preds, targ): raise error('no room')
    with pytest.raises(error) as e: make(loss_func=loss).fit(1)
    assert any('loss failed on predictions (8, 3) float32' in note for note in e.value.__notes__)


def test_the_orders_are_those_that_are_written_down():
    from miniai.learner import (AccumulateCB, CheckpointCB, ClipGradCB, EarlyStoppingCB, LogCB, NaNStopCB,
                                SaveBestCB,
                                SingleBatchCB)
    from miniai.sched import BatchSchedCB, OneCycle, ParamScheduler, RecorderCB
    groups = [[AccumulateCB], [DeviceCB, TrainCB, MetricsCB], [ProgressCB], [ClipGradCB], [RecorderCB],
              [ParamScheduler, OneCycle, BatchSchedCB], [SaveBestCB], [EarlyStoppingCB], [LogCB],
              [SingleBatchCB, NaNStopCB], [CheckpointCB]]
    orders = [{cls.order for cls in group} for group in groups]
    assert all(len(o) == 1 for o in orders)
    flat = [o.pop() for o in orders]
    assert flat == sorted(set(flat)) == [Order.accumulate, Order.usual, Order.progress, Order.clip,
                                         Order.record,
                                         Order.schedule, Order.save, Order.stop, Order.log, Order.cancel,
                                         Order.checkpoint]


def test_data_may_be_two_loaders_or_one():
    train,valid = batches(),batches(3, seed=1)
    for dls,parts in (((train, valid), 2), ((train,), 1), (train, 1), (iter(train), 1), ((train, None), 1)):
        learn = Learner(net(), dls, F.cross_entropy, cbs=Quiet())
        learn.fit(1)
        assert len(learn.history) == parts
    data_set = torch.utils.data.TensorDataset(*(torch.cat(o) for o in zip(*train)))
    for dls in (data_set, (data_set, data_set),
                Learner(net(), (train, data_set.tensors)).dls and (train, data_set)):
        with pytest.raises(TypeError,
                           match='TensorDataset does not: make one of it, DataLoader'): Learner(net(), dls)


def test_the_optimizers_life():
    learn = make(lr=0.1)
    learn.fit(1)
    opt = learn.opt
    opt.param_groups[0]['lr'] = 0.05
    learn.fit(1, keep_opt=True)
    assert learn.opt is opt and opt.param_groups[0]['lr'] == 0.05
    learn.fit(1, keep_opt=True, lr=0.3)
    assert learn.opt is opt and opt.param_groups[0]['lr'] == 0.3
    learn.next_opt = torch.optim.SGD(learn.model.parameters(), lr=0.02)
    learn.fit(1)
    assert learn.opt.param_groups[0]['lr'] == 0.02 and learn.next_opt is None
    learn.fit(1)
    assert learn.opt.param_groups[0]['lr'] == 0.1


def test_a_loss_or_an_optimizer_that_counts_as_false_is_used():
    class Falsy:
        def __bool__(self): return False
    class Loss(Falsy):
        def __call__(self, preds, targ): return F.cross_entropy(preds, targ)*0 + 7
    class Opt(Falsy, Plain): pass
    learn = make(loss_func=Loss(), opt_func=Opt)
    learn.fit(1)
    first = learn.opt
    learn.fit(1, keep_opt=True)
    assert learn.loss == 7 and learn.opt is first


def test_set_lr_keeps_the_proportions_of_groups():
    groups = [dict(params=[nn.Parameter(torch.zeros(1))], lr=lr) for lr in (0.1, 0.01)]
    opt = torch.optim.SGD(groups)
    set_lr(opt, 0.5)
    assert [g['lr'] for g in opt.param_groups] == pytest.approx([0.5, 0.05])
    for lr in (0.7, 0.3, 1e-3, 0.017):
        set_lr(opt, lr)
        assert opt.param_groups[0]['lr'] == lr  # to the last bit: lr*0.1/0.1 may be another number


def test_a_subclass_may_tell_of_more_events():
    class Twice(Learner):
        events = (*Learner.events, 'before_second')
        @property
        def training(self): return self.model.training
        def step(self):
            self.callback('before_second')
            self.opt.step()
    heard = []
    class Hears(Callback):
        def before_second(self, learn): heard.append(learn.iter)
    make([Hears()], cls=Twice).fit(1)
    assert heard == [0, 1, 2, 3]
    with pytest.raises(ValueError, match='Hears.before_second is not an event'): make([Hears()])


def test_a_cancel_in_a_cleanup_does_not_swallow_an_error():
    class Cancels(Callback):
        def after_batch(self, learn): raise KeyError('real')
        def cleanup_batch(self, learn): raise CancelBatchException()
    with pytest.raises(KeyError, match='real'): make([Cancels()]).fit(1)


def test_guests_for_a_while():
    learn,guest = make(),Guest()
    with learn.with_guests(guest):
        assert list(learn.cbs) == [guest]
        learn.batch = batches()[0]
        learn.predict()
        assert learn.preds.shape == (8, 3)
    assert list(learn.cbs) == []
    assert loss_of(learn, learn.preds, learn.batch[1]) > 0 and batch_size(learn.batch) == 8


def test_target_keys_name_the_targets_of_a_dictionary():
    data = [dict(x=x, kind=y) for x,y in batches()]
    learn = make([Quiet(Accuracy())], data, data, target_keys=['kind'])
    learn.fit(1)
    preds,targets = learn.get_preds()
    assert torch.equal(targets, torch.cat([d['kind'] for d in data]))
    assert Learner.events == Host.events == EVENTS


def test_a_key_that_the_model_does_not_take_is_explained():
    data = [dict(a=x, b=x, labels=y, score=y) for x,y in batches()]
    with pytest.raises(TypeError, match="unexpected keyword argument 'score'") as e:
        make([], data, None, TwoInputs()).fit(1)
    assert any('was given a, b, score' in note and 'target_keys' in note for note in e.value.__notes__)
    make([], [{**d, 'score': d['labels']} for d in data], None, TwoInputs(), target_keys=['labels', 'score'],
         loss_func=lambda preds, labels, score: F.cross_entropy(preds, labels)).fit(1)


def test_split_batch_and_to_device():
    assert split_batch((1, 2, 3), 2) == (((1, 2), {}), (3,)) and split_batch([1]) == (((1,), {}), ())
    assert split_batch(5) == (((5,), {}), (5,))
    assert split_batch(dict(a=1, b=2, y=3)) == (((), dict(a=1, b=2)), (3,))
    moved = to_device(dict(a=[torch.ones(1), 'text']), 'meta')
    assert moved['a'][0].device.type == 'meta' and moved['a'][1] == 'text'


def test_a_rate_or_a_callback_in_the_place_of_train_is_refused():
    learn = make([])
    for wrong in 0.01, Quiet(Accuracy()), None:
        with pytest.raises(TypeError, match=r'Name what you pass: fit\(2, lr=0.1'): learn.fit(1, wrong)
        with pytest.raises(TypeError, match='True or False'): learn.fit(1, True, wrong)
    learn.fit(1, True, False)
    learn.fit(1, valid=0)


def test_an_action_called_like_a_function_says_what_predicts():
    learn = make([])
    with pytest.raises(TypeError, match=r"predict is an event.*write learn"): learn.predict(torch.ones(1))
