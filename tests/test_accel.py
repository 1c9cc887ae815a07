"33_accelerate: a profile, batches sent ahead, 16 bits, a compiler"
import contextlib, copy, io, time, warnings
from functools import partial
from types import SimpleNamespace
import pytest, torch
from torch import nn
import torch.nn.functional as F
from miniai import accel
from miniai.accel import CompileCB, MixedPrecision, PrefetchDL, ProfileCB
from miniai.data import DataLoader
from miniai.learner import (Accuracy, AccumulateCB, Callback, CancelBatchException, CheckpointCB, ClipGradCB,
                            DeviceCB, EMACB, Learner, ProgressCB, TrainCB, TrainLearner)
from miniai.sched import BatchSchedCB
from tests.small import Dls, Quiet, Stranger, batches, net

HALF,BRAIN = torch.float16,torch.bfloat16
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')


def learner(*cbs, dls=None, cls=Learner, loss=F.cross_entropy, **kwargs):
    return cls(net(), dls or Dls(batches(), batches(seed=1)), loss, 0.1, [Quiet(), *cbs], **kwargs)


def weights(learn): return torch.cat([p.detach().cpu().flatten() for p in learn.model.parameters()])
def autocast_is_on(): return torch.is_autocast_enabled('cpu')


# ---- MixedPrecision ----------------------------------------------------------------------------------------

def by_hand(dtype, n=2, max_norm=0.5, epochs=3):
    "Accumulation, scaling, clipping in the order of PyTorch's documentation"
    model = net()
    opt = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler('cpu', enabled=dtype == HALF)
    for _ in range(epochs):
        data = batches()
        for i in range(0, len(data), n):
            group = data[i:i+n]
            total = sum(len(y) for _,y in group)
            for x,y in group:
                with torch.autocast('cpu', dtype): loss = F.cross_entropy(model(x), y)*len(y)/total
                scaler.scale(loss).backward()
            scaler.unscale_(opt)
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            scaler.step(opt)
            scaler.update()
            opt.zero_grad()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize('dtype', [HALF, BRAIN])
def test_is_the_documented_order_by_hand(dtype):
    learn = learner(ClipGradCB(0.5), MixedPrecision(dtype=dtype), AccumulateCB(2), opt_func=torch.optim.SGD)
    learn.fit(3)
    torch.testing.assert_close(weights(learn), by_hand(dtype), rtol=1e-3, atol=2e-4)
    assert learn.preds.dtype == dtype and not autocast_is_on()


@pytest.mark.parametrize('dtype', [HALF, BRAIN])
def test_is_close_to_float32(dtype):
    whole,half = learner(),learner(MixedPrecision(dtype=dtype))
    for learn in whole,half: learn.fit(3)
    torch.testing.assert_close(weights(whole), weights(half), rtol=0, atol=5e-3)
    assert not torch.equal(weights(whole), weights(half)) and weights(half).dtype == torch.float32


def test_by_default_a_cpu_trains_in_float32_and_says_so():
    whole,plain = learner(),learner(MixedPrecision())
    whole.fit(2)
    with pytest.warns(UserWarning, match='on the CPU, so it trains in float32'): plain.fit(2)
    assert torch.equal(weights(whole), weights(plain)) and plain.preds.dtype == torch.float32


@pytest.mark.parametrize('event', ['before_batch', 'after_predict', 'after_loss', 'after_backward'])
@pytest.mark.parametrize('error', [CancelBatchException, RuntimeError])
@pytest.mark.parametrize('order', [-5, 50])
def test_autocast_is_left_whatever_happens(event, error, order):
    def stop(self, learn): raise error('stop')
    cb = type('Stop', (Callback,), {event: stop, 'order': order})()
    learn = learner(MixedPrecision(dtype=BRAIN), cb)
    with contextlib.suppress(RuntimeError, ValueError): learn.fit(1)
    assert not autocast_is_on()


class Watch(Callback):
    "Counts steps and batches, and keeps the length of the gradient that a step uses"
    order = 50
    def before_fit(self, learn): self.steps,self.batches,self.norms = 0,0,[]
    def after_backward(self, learn):
        grads = [p.grad for p in learn.model.parameters() if p.grad is not None]
        self.norms.append(torch.cat([g.flatten() for g in grads]).norm().item() if grads else None)
    def after_step(self, learn): self.steps += 1
    def after_batch(self, learn): self.batches += learn.training


def huge(preds, targ): return 1e4*F.cross_entropy(preds, targ)


@pytest.mark.parametrize('n', [1, 2])
def test_a_step_that_is_skipped_is_none_for_anyone(n):
    def step_lr(opt): return torch.optim.lr_scheduler.StepLR(opt, 1000)
    half,watch,sched,ema = MixedPrecision(dtype=HALF),Watch(),BatchSchedCB(step_lr),EMACB(0.5)
    learn = learner(half, watch, sched, ema, AccumulateCB(n), loss=huge)
    learn.lr = 1e-6
    learn.fit(8, valid=False)
    due = 8*-(-len(batches())//n)
    assert half.skipped > 2 and watch.steps == due - half.skipped == sched.schedo.last_epoch == ema.n
    assert watch.batches == 8*len(batches())
    assert learn.do_step and half.scaler.get_scale() == 65536/2**half.skipped
    assert torch.isfinite(weights(learn)).all()


def test_what_is_skipped_leaves_the_weights_alone():
    half = MixedPrecision(dtype=HALF)
    learn = learner(half, loss=lambda p,y: F.cross_entropy(p, y)*float('inf'))
    before = weights(learn)
    with pytest.warns(UserWarning, match='not finite without a scale either'): learn.fit(6)
    assert torch.equal(before, weights(learn)) and half.skipped == 6*len(batches())


def test_clipping_sees_the_true_gradient():
    plain,half = Watch(),Watch()
    learner(plain).fit(1)
    learner(half, MixedPrecision(dtype=HALF)).fit(1)
    assert half.norms == pytest.approx(plain.norms, rel=0.02)


@pytest.mark.parametrize('order', [0, 11])
def test_a_batch_cancelled_before_its_step_counts_as_in_float32(order):
    class Cancel(Callback):
        def after_backward(self, learn):
            if learn.iter == 0: raise CancelBatchException
    Cancel.order = order
    plain,half = Watch(),Watch()
    learner(plain, Cancel()).fit(1)
    learner(half, Cancel(), MixedPrecision(dtype=HALF)).fit(1)
    assert half.norms == pytest.approx(plain.norms, rel=0.02)


def test_weights_in_16_bits_and_other_trainers_are_refused():
    class Own(Callback):
        def backward(self, learn): learn.loss.backward()
    with pytest.raises(TypeError, match='leave Own out'): learner(Own(), MixedPrecision(dtype=BRAIN)).fit(1)
    learn = learner(MixedPrecision(dtype=HALF))
    learn.model.half()
    with pytest.raises(TypeError, match=r'the weights are float16.*model.float\(\)'): learn.fit(1)
    with pytest.raises((TypeError, ValueError), match='n_inp must be a whole number'): MixedPrecision(HALF)


def test_a_second_trainer_is_refused():
    with pytest.raises(TypeError, match='MixedPrecision is a TrainCB: leave TrainCB out'):
        learner(TrainCB(), MixedPrecision(dtype=BRAIN)).fit(1)


@pytest.mark.parametrize('dtype', [torch.float64, 'float16', 16])
def test_other_types_are_refused(dtype):
    with pytest.raises(ValueError, match='must be torch.float16 or torch.bfloat16, got'):
        MixedPrecision(dtype=dtype)


def test_with_methods_for_actions_nothing_is_scaled_and_it_says_so():
    whole,half = learner(cls=TrainLearner),learner(MixedPrecision(dtype=HALF), cls=TrainLearner)
    whole.fit(1)
    with pytest.warns(UserWarning, match='TrainLearner has its own backward'): half.fit(1)
    torch.testing.assert_close(weights(whole), weights(half), rtol=0, atol=5e-3)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        learner(MixedPrecision(dtype=BRAIN), cls=TrainLearner).fit(1)


def test_a_learner_of_25_lines():
    half = MixedPrecision(dtype=HALF)
    learn = Stranger(net(), Dls(batches(), batches(seed=1)), huge, 1e-6, [half])
    learn.fit(3)
    assert half.skipped and torch.isfinite(weights(learn)).all() and not autocast_is_on()


def test_validation_and_looking_are_in_16_bits_too():
    learn = learner(MixedPrecision(dtype=BRAIN))
    learn.fit(1, train=False)
    assert learn.preds.dtype == BRAIN
    learn.fit(1)
    scaler = learn.cbs[1].scaler
    assert learn.get_preds()[0].dtype == BRAIN and learn.cbs[1].scaler is scaler and not autocast_is_on()


def test_a_checkpoint_keeps_the_scale(tmp_path):
    def made(folder, *more):
        half = MixedPrecision(dtype=HALF)
        return learner(half, CheckpointCB(folder, every_batches=1), *more, loss=huge, opt_func=partial(
            torch.optim.SGD, momentum=0.9)),half
    class Stop(Callback):
        order = 200
        def after_batch(self, learn):
            if learn.training and learn.epoch == 2 and learn.iter == 1: raise KeyboardInterrupt
    (whole,scaled),(cut,_),(again,half) = made(tmp_path/'a'),made(tmp_path/'b'),made(tmp_path/'b')
    for learn in whole,cut,again: learn.lr = 1e-6
    whole.fit(5)
    with pytest.raises(KeyboardInterrupt): cut.fit(5, cbs=Stop())
    again.fit(5, resume=True)
    assert torch.equal(weights(whole), weights(again))
    assert half.scaler.get_scale() == scaled.scaler.get_scale() < 65536


def test_the_scale_is_that_of_the_exercise():
    from miniai.check.accel import check_scales
    def used(finite, scale, interval):
        scaler,found = torch.amp.GradScaler('cpu', scale, growth_interval=interval),[]
        p = nn.Parameter(torch.zeros(1))
        for ok in finite:
            found.append(scaler.get_scale())
            p.grad = torch.tensor([1. if ok else float('inf')])
            scaler.scale(torch.ones(1))
            scaler.unscale_(torch.optim.SGD([p], 0.1))
            scaler.update()
        return found
    used([True], 1., 1)  # what torch imports at its first call is not the check's time
    check_scales(used).raise_if_failed()


# ---- ProfileCB ---------------------------------------------------------------------------------------------

class Slow:
    "A loader that takes its time"
    def __init__(self, n=9, ms=15): self.n,self.ms = n,ms
    def __len__(self): return self.n
    def __iter__(self):
        for batch in batches(self.n):
            time.sleep(self.ms/1000)
            yield batch


class Lazy(Callback):
    def after_batch(self, learn): time.sleep(0.02)


def profiled(dl, *cbs, **kwargs):
    profiler = ProfileCB(**{'n': 4, 'skip': 2, **kwargs})
    learn = learner(profiler, *cbs, dls=Dls(dl, batches(2)))
    learn.fit(2)
    return profiler,learn


def test_a_slow_loader_is_seen(capsys):
    profiler,learn = profiled(Slow())
    shares = profiler.shares
    assert list(shares) == ['data', 'forward', 'backward', 'step', 'callbacks', 'idle']
    assert sum(v for k,v in shares.items() if k != 'idle') == pytest.approx(1)
    assert shares['data'] > 0.3 and shares['idle'] >= shares['data'] - 1e-6 and min(shares.values()) >= 0
    assert sum(part == 'data' for part,*_ in profiler.spans) == 4 and profiler.took > 14
    assert capsys.readouterr().out.count('ms a batch: data') == 1
    assert learn._table is None


def test_a_slow_callback_is_seen_by_name():
    profiler,_ = profiled(batches(9), Lazy())
    slowest = max(profiler.spans, key=lambda span: span[3] - span[2])
    assert profiler.shares['callbacks'] > 0.3 and slowest[:2] == ('callbacks', 'Lazy')


def test_profiling_changes_nothing():
    plain = learner(dls=Dls(Slow(9, 0), batches(2)))
    plain.fit(2)
    assert torch.equal(weights(plain), weights(profiled(Slow(9, 0))[1]))


def test_fewer_batches_than_asked_for(capsys):
    profiler,_ = profiled(batches(5), n=100)
    parts = [part for part,*_ in profiler.spans]
    assert parts.count('backward') == parts.count('data') == 2  # the last one has no next one behind it
    assert 'ms a batch' in capsys.readouterr().out
    profiler,_ = profiled(batches(1), skip=0)
    assert profiler.spans == [] and 'no batch measured' in capsys.readouterr().out
    profiler,learn = profiled(batches(1), skip=50)
    assert profiler.spans == [] and 'no batch measured, and the first 50' in capsys.readouterr().out


def test_an_error_travels_on_and_the_profiler_ends():
    class Broken(Callback):
        def before_batch(self, learn): raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError): profiled(batches(5), Broken(), skip=0)
    profiled(batches(9))  # the next one begins, so that one was ended


def test_overlapping_work_of_a_gpu_counts_once():
    CPU,CUDA = torch.autograd.DeviceType.CPU,torch.autograd.DeviceType.CUDA
    def event(name, start, end, device=CPU, note=False):
        return SimpleNamespace(name=name, device_type=device, is_user_annotation=note,
                               time_range=SimpleNamespace(start=1000*start, end=1000*end))
    events = [event('miniai|batch|', 10, 10), event('miniai|forward|TrainCB', 10, 12), event('mm', 10, 11),
              event('miniai|backward|TrainCB', 12, 14), event('miniai|batch|', 20, 20),
              event('gemm', 9, 12, CUDA), event('gemm', 11, 13, CUDA), event('copy', 15, 16, CUDA),
              event('gemm', 15.2, 15.8, CUDA), event('miniai|forward|TrainCB', 9, 16, CUDA, True),
              event('Optimizer.step', 9, 20, CUDA, True), event('late', 19, 25, CUDA)]
    profiler = ProfileCB(1, 0)
    profiler.seen,profiler.prof = 1,SimpleNamespace(stop=lambda: None, events=lambda: events)
    profiler._stop()
    assert profiler.spans[-1] == ('data', 'the loader', 14, 20) and profiler.took == 10
    want = dict(data=0.6, forward=0.2, backward=0.2, step=0, callbacks=0, idle=0.5)
    assert profiler.shares == pytest.approx(want)


def test_the_picture():
    import matplotlib.pyplot as plt
    profiler,_ = profiled(Slow())
    ax = plt.subplots()[1]
    profiler.plot(ax)
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert [label.split()[0] for label in labels] == ['data', 'forward', 'backward', 'step', 'callbacks']
    plt.close('all')


def test_profile_refuses():
    with pytest.raises(ValueError, match='n must be a whole number from 1 on'): ProfileCB(0)
    with pytest.raises(ValueError, match='skip must be a whole number'): ProfileCB(skip=-1)
    with pytest.raises(ValueError, match='one ProfileCB is enough'):
        learner(ProfileCB()).fit(1, cbs=ProfileCB())
    with pytest.raises(RuntimeError, match='no batch measured'): ProfileCB().plot()
    with pytest.raises(TypeError, match="needs miniai's Learner"):
        Stranger(net(), Dls(batches(), batches()), F.cross_entropy, cbs=[ProfileCB()]).fit(1)


# ---- PrefetchDL --------------------------------------------------------------------------------------------

class OneAhead(PrefetchDL):
    "The loop of a GPU without one: it notes what is sent and what is handed over"
    def __iter__(self):
        self.sent,self.handed = [],[]
        return self._ahead(None)
    def _send(self, batch, stream):
        self.sent.append(batch)
        return batch,len(self.sent)
    def _receive(self, batch, sent):
        self.handed.append((sent, len(self.sent)))
        return batch


def loader(seed=0, n=50, **kwargs):
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(5))
    data = list(zip(x, (x.sum(1) > 0).long()))
    return DataLoader(data, 8, shuffle=True, generator=torch.Generator().manual_seed(seed), **kwargs)


@pytest.mark.parametrize('cls', [PrefetchDL, OneAhead])
@pytest.mark.parametrize('inner', [loader, partial(torch.utils.data.DataLoader, range(10), 3), batches,
                                   lambda: [dict(x=torch.ones(2), name='a')]*2, list])
def test_the_same_batches(cls, inner):
    got,want = list(cls(inner(), 'cpu')),list(inner())
    assert len(got) == len(want)
    for a,b in zip(got, want):
        if isinstance(a, dict): assert a['name'] == 'a' and torch.equal(a['x'], b['x'])
        else: torch.testing.assert_close(a, b)


def test_one_is_under_way_while_one_is_used():
    dl = OneAhead(batches(5))
    for _ in dl: pass
    assert dl.handed == [(1, 2), (2, 3), (3, 4), (4, 5), (5, 5)]


def test_what_the_loader_has_is_handed_on():
    inner = loader()
    dl = PrefetchDL(inner, 'cpu')
    assert len(dl) == len(inner) and dl.batch_size == 8 and dl.dataset is inner.dataset
    assert not hasattr(PrefetchDL(batches(), 'cpu'), 'state_dict')
    with pytest.raises(AttributeError, match='nonsense'): dl.nonsense
    with pytest.raises(TypeError): len(PrefetchDL(x for x in batches()))
    for wrong in 3,'abc',DataLoader,Dls(batches(), None):
        with pytest.raises(TypeError, match='takes a loader, such as dls.train, got'): PrefetchDL(wrong)
    assert len(copy.deepcopy(PrefetchDL(batches(3), 'cpu'))) == 3


@pytest.mark.parametrize('cls', [PrefetchDL, OneAhead])
@pytest.mark.parametrize('k', [1, 3, 6])
def test_its_state_is_that_of_the_batch_in_use(cls, k):
    want = [y for _,y in loader()]
    dl = cls(loader(), 'cpu')
    for i,_ in enumerate(dl, 1):
        if i == k: break
    state = dl.state_dict()
    assert state['batches'] == k
    again = cls(loader(seed=9), 'cpu')
    again.load_state_dict(state)
    rest = [y for _,y in again]
    assert len(rest) == len(want) - k
    for a,b in zip(rest, want[k:]): assert torch.equal(a, b)
    assert again.state_dict()['batches'] is None


@pytest.mark.parametrize('cls', [PrefetchDL, OneAhead])
def test_a_killed_run_ends_as_one_that_was_not(cls, tmp_path):
    class Stop(Callback):
        order = 200
        def after_batch(self, learn):
            if learn.training and learn.epoch == 1 and learn.iter == 3: raise KeyboardInterrupt
    def made(folder):
        dls = SimpleNamespace(train=cls(loader(), 'cpu'), valid=cls(loader(1), 'cpu'))
        return learner(CheckpointCB(tmp_path/folder, every_batches=1), dls=dls)
    whole,cut,again = made('a'),made('b'),made('b')
    whole.fit(3)
    with pytest.raises(KeyboardInterrupt): cut.fit(3, cbs=Stop())
    again.fit(3, resume=True)
    assert torch.equal(weights(whole), weights(again))


def test_a_loader_without_length_and_workers_left_early():
    dl = PrefetchDL(loader(num_workers=2), 'cpu')
    next(iter(dl))
    class Stream:
        def __iter__(self): return iter(batches())
    learn = learner(AccumulateCB(2), dls=Dls(PrefetchDL(Stream(), 'cpu'), batches()))
    learn.fit(1)
    assert learn.iter == 3


# ---- CompileCB ---------------------------------------------------------------------------------------------

def test_compiled_it_is_the_same_model(tmp_path):
    plain,fast = learner(),learner(CompileCB('eager'))
    model = fast.model
    for learn in plain,fast: learn.fit(2)
    torch.testing.assert_close(weights(plain), weights(fast))
    assert fast.model is model and [*model.state_dict()] == [*plain.model.state_dict()]
    fast.save(tmp_path/'w.pt')
    plain.load(tmp_path/'w.pt')
    file = io.BytesIO()
    torch.save(copy.deepcopy(model), file)


class Own(nn.Module):
    "A forward of one's own, unlike that of Sequential, which the compiler would leave alone"
    def __init__(self):
        super().__init__()
        self.body = net()
    def forward(self, x): return self.body(x)*1.


@pytest.mark.parametrize('make', [net, Own])
def test_it_is_really_compiled_and_once(make):
    calls = []
    def backend(graph, inputs):
        calls.append(1)
        return graph.forward
    cb = CompileCB(backend, dynamic=True)
    for _ in range(10):  # more models than the compiler keeps programs for one function
        before = len(calls)
        learn = Learner(make(), Dls(batches(), batches()), F.cross_entropy, cbs=[Quiet(), cb])
        learn.fit(1)
        after = len(calls)
        learn.fit(1)
        assert before < after == len(calls)


def test_compile_refuses():
    with pytest.raises(ValueError, match="no backend 'fast'; there are .*inductor"): CompileCB('fast')
    from miniai.layers import Linear, Sequential
    learn = Learner(Sequential(Linear(6, 3)), batches(), F.cross_entropy, cbs=[CompileCB('eager')])
    with pytest.raises(TypeError, match="a module of PyTorch's, got a Sequential"): learn.fit(1)


# ---- all together ------------------------------------------------------------------------------------------

def test_all_of_them_at_once():
    cbs = MixedPrecision(dtype=BRAIN),CompileCB('eager'),ProfileCB(2, 1),ClipGradCB(1.),AccumulateCB(2)
    learn = learner(*cbs, DeviceCB('cpu'), ProgressCB(), dls=Dls(PrefetchDL(batches(5), 'cpu'), batches()))
    learn.fit(2)
    assert learn.history[-1]['loss'] < learn.history[0]['loss'] and not autocast_is_on()


def test_what_the_module_gives():
    assert {'MixedPrecision', 'ProfileCB', 'PrefetchDL', 'CompileCB'} <= set(accel.__all__)


# ---- with a GPU --------------------------------------------------------------------------------------------

def on_gpu(*cbs, dl=None, width=2000, **kwargs):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(500, width), nn.ReLU(), nn.Linear(width, width), nn.Linear(width, 10))
    data = dl or [(torch.randn(512, 500), torch.randint(0, 10, (512,))) for _ in range(40)]
    return Learner(model, Dls(data, data[:3] if isinstance(data, list) else None), F.cross_entropy, 0.1,
                   [DeviceCB('cuda'), Quiet(accuracy=Accuracy()), *cbs], **kwargs)


@gpu
@pytest.mark.parametrize('dtype', [None, HALF, BRAIN])
def test_gpu_16_bits(dtype):
    whole,half = on_gpu(),on_gpu(MixedPrecision(dtype=dtype), ClipGradCB(1.), AccumulateCB(2))
    for learn in whole,half: learn.fit(1)
    assert half.preds.dtype == (dtype or HALF) and half.history[-1]['loss'] < 2.4
    assert not torch.is_autocast_enabled('cuda')
    assert all(p.dtype == torch.float32 for p in half.model.parameters())


@gpu
def test_gpu_prefetch_gives_the_same_and_does_not_wait():
    data = [(torch.randn(64, 500), torch.full((64,), i % 10)) for i in range(20)]
    for (x,y),(a,b) in zip(data, PrefetchDL(data, 'cuda'), strict=True):
        assert a.is_cuda and torch.equal(x, a.cpu()) and torch.equal(y, b.cpu())
    pinned = [tuple(t.pin_memory() for t in batch) for batch in data]
    learn = on_gpu(ProgressCB(), dl=PrefetchDL(pinned, 'cuda'))
    class Lift(Callback):  # the end of an epoch reads the sums
        order = -9
        def before_epoch(self, learn): torch.cuda.set_sync_debug_mode('error')
        def after_epoch(self, learn): torch.cuda.set_sync_debug_mode('default')
        def cleanup_epoch(self, learn): torch.cuda.set_sync_debug_mode('default')
    learn.fit(2, cbs=Lift())


@gpu
def test_gpu_no_gap_for_data_that_fit_in_memory():
    data = [(torch.randn(2048, 500), torch.randint(0, 10, (2048,))) for _ in range(40)]
    data = [tuple(t.pin_memory() for t in batch) for batch in data]
    profiler = ProfileCB(20, 10)
    on_gpu(profiler, dl=PrefetchDL(data, 'cuda'), width=4000).fit(1, valid=False)
    assert profiler.device != [] and profiler.shares['idle'] < 0.1, profiler


@gpu
def test_gpu_compiled():
    plain,fast = on_gpu(),on_gpu(CompileCB('eager'))
    for learn in plain,fast: learn.fit(1)
    torch.testing.assert_close(weights(plain), weights(fast), rtol=1e-3, atol=1e-4)
