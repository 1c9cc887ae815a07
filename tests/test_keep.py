"Keeping: save and load, the best epoch, stopping early, limits, averages"
import os, sys, threading, types
from functools import partial
import pytest, torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from miniai import keep
from miniai.keep import Monitor, better_way, load_opt, misfit, read_tensors, some
from miniai.learner import AccumulateCB, Callback, CheckpointCB, EarlyStoppingCB, EMACB, LimitCB, SaveBestCB
from miniai.optim import SGD, AdamW, RMSprop
from tests.small import Quiet, batches, make, net, weights


def test_save_and_load(tmp_path):
    learn = make(opt_func=partial(SGD, momentum=0.9))
    learn.fit(1)
    learn.save(tmp_path/'deep'/'er'/'m.pt', with_opt=True)
    other = make(opt_func=partial(SGD, momentum=0.9), model=net(seed=5))
    other.load(tmp_path/'deep'/'er'/'m.pt', with_opt=True)
    learn.fit(1, keep_opt=True); other.fit(1, keep_opt=True)
    assert torch.equal(weights(learn), weights(other))
    assert [p.name for p in (tmp_path/'deep'/'er').iterdir()] == ['m.pt']
    learn.save(tmp_path/'w.pt')
    with pytest.raises(ValueError, match='no optimizer state'): other.load(tmp_path/'w.pt', with_opt=True)


class Evil:
    def __reduce__(self): return (eval, ("open('/tmp/miniai_evil', 'w')",))


def test_loading_runs_no_code(tmp_path):
    torch.save(dict(model=Evil()), tmp_path/'evil.pt')
    with pytest.raises(ValueError, match='does not hold weights.*eval in it'): make().load(tmp_path/'evil.pt')
    assert not os.path.exists('/tmp/miniai_evil')


def test_early_stopping_and_saving_the_best(tmp_path, capsys):
    values = iter([1., 0.5, 0.7, 0.6, 0.55, 0.1])
    class Told(Callback):
        order = 1
        def after_epoch(self, learn):
            if not learn.training: learn.history[-1]['loss'] = next(values)
    stop = EarlyStoppingCB(patience=3)
    learn = make([Quiet(), Told(), stop, SaveBestCB(tmp_path/'best.pt')])
    saved = []
    learn.save = lambda path: saved.append(learn.epoch)
    learn.fit(20)
    assert learn.epoch == 4 and saved == [0, 1] and stop.best == 0.5
    assert 'stopped after epoch 4' in capsys.readouterr().out
    with pytest.raises(ValueError, match='no MetricsCB'): make([EarlyStoppingCB()]).fit(1)
    with pytest.raises(ValueError, match='no validation set'):
        make([Quiet(), EarlyStoppingCB()], valid=None).fit(1)
    with pytest.raises(ValueError,
                       match="watches 'f1'; the table has loss"): make([Quiet(),
                                                                        EarlyStoppingCB('f1')]).fit(1)


def test_a_second_fit_that_gets_worse_does_not_overwrite_the_best(tmp_path):
    "0.1 began anew in each fit: the file held the first epoch of the last one"
    learn = make([Quiet(), SaveBestCB(tmp_path/'best.pt')])
    learn.fit(3)
    best = min(row['loss'] for row in learn.history if row['train'] == 'eval')
    learn.fit(1, lr=1e3)
    learn.load(tmp_path/'best.pt')
    assert learn.validate()['loss'] == pytest.approx(best) and learn.history[-1]['loss'] > best
    another = make(learn.cbs)
    another.fit(1, lr=1e-9)
    another.model.load_state_dict(net(seed=3).state_dict())
    another.load(tmp_path/'best.pt')
    assert another.validate()['loss'] == pytest.approx(another.history[-1]['loss'])


def test_a_value_whose_way_the_name_does_not_tell_is_asked_for(tmp_path):
    for name,sign in dict(perplexity=-1, mape=-1, wer=-1, nll=-1, error_rate=-1, loss=-1, val_loss=-1,
                          accuracy=1, f1=1, roc_auc=1,
                          R2Score=1, MulticlassPrecision=1, recall=1).items():
        assert SaveBestCB(tmp_path/'best.pt', name).sign == sign, name
        assert Monitor(name).sign == better_way(name) == sign, name
    for name in 'zest', 'loss_accuracy':
        with pytest.raises(ValueError, match="mode='max' or mode='min'"): EarlyStoppingCB(name)
        assert EarlyStoppingCB(name, mode='min').sign == -1
    with pytest.raises(ValueError, match="'auto', 'min' or 'max'"): EarlyStoppingCB(mode='up')


class Told(Callback):
    "Validation losses as they are told"
    order = 1
    def __init__(self, values): self.values = values
    def after_epoch(self, learn):
        if not learn.training: learn.history[-1]['loss'] = self.values[learn.epoch]


class SavesLate(SaveBestCB):
    order = 46  # behind the one that stops


@pytest.mark.parametrize('saver', [SaveBestCB, SavesLate])
def test_the_last_epoch_is_saved_though_it_was_the_one_that_stops(saver, tmp_path):
    learn = make([EarlyStoppingCB('accuracy', patience=1), saver(tmp_path/'best.pt'),
                  Quiet(accuracy=lambda p,t: torch.zeros(())), Told([3., 2., 1.])])
    learn.fit(9)
    assert learn.epoch == 1 and torch.equal(torch.load(tmp_path/'best.pt')['model']['0.weight'],
                                            learn.model[0].weight)

# -- the best weights back

class Raised(Exception): pass

@pytest.mark.parametrize('end', ['whole', 'stopped', 'error'])
@pytest.mark.parametrize('to_file', [False, True])
def test_restore_puts_the_best_weights_back_however_the_fit_ends(end, to_file, tmp_path, capsys):
    "Weights and buffers, those of the epoch in the file too; a second, worse fit changes nothing"
    class Ends(Callback):
        order = 100
        def after_epoch(self, learn):
            if not learn.training: seen.append({k: v.clone() for k,v in learn.model.state_dict().items()})
            if learn.epoch == 3 and not learn.training and end == 'error': raise Raised()
    seen = []
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    stop = [EarlyStoppingCB(patience=2)] if end == 'stopped' else []
    best = SaveBestCB(tmp_path/'best.pt' if to_file else None, restore=True)
    learn = make([Told([3., 1., 2., 4.]), Quiet(), Ends(), best, *stop], model=model)
    if end == 'error':
        with pytest.raises(Raised): learn.fit(4)
    else: learn.fit(4)
    assert len(seen) == 4 and best.best == 1. and 'the best loss: 1\n' in capsys.readouterr().out
    for k,v in learn.model.state_dict().items(): assert torch.equal(v, seen[1][k]), k
    assert not torch.equal(seen[3]['0.weight'], seen[1]['0.weight'])
    assert [p.name for p in tmp_path.iterdir()] == ['best.pt']*to_file
    if to_file: assert torch.equal(torch.load(tmp_path/'best.pt')['model']['0.weight'], seen[1]['0.weight'])
    if end == 'whole':
        learn.fit(1)  # its loss is told as 3
        assert torch.equal(learn.model[0].weight, seen[1]['0.weight'])


def test_without_a_best_epoch_nothing_is_put_back(capsys):
    best = SaveBestCB(restore=True)
    first = make([best, Quiet(), Told([1.])])
    second = make([best, Quiet(), Told([float('nan')])], model=net(seed=5))
    first.fit(1)
    second.fit(1)  # with another learner it begins anew
    assert not torch.equal(weights(first), weights(second))
    assert capsys.readouterr().out.count('the model is that of') == 1
    with pytest.raises(ValueError, match='needs a path, or restore=True'): SaveBestCB()


def test_a_resumed_run_still_knows_the_best_weights(tmp_path):
    def learner():
        return make([SaveBestCB(restore=True), Told([1., 2., 3.]), Quiet(), CheckpointCB(tmp_path)])
    class Dies(Callback):
        order = 200
        def after_epoch(self, learn):
            if learn.epoch == 1 and not learn.training: raise Raised()
    whole = make([SaveBestCB(restore=True), Told([1., 2., 3.]), Quiet()])
    whole.fit(3)
    with pytest.raises(Raised): learner().fit(3, cbs=Dies())
    resumed = learner()
    resumed.fit(3, resume=True)
    assert torch.equal(weights(resumed), weights(whole))


# -- a load that fails changes nothing

def everything(learn): return [t.clone() for t in learn.model.state_dict().values()] + [learn.opt]


@pytest.mark.parametrize('model,words',
                         [(net(classes=4), 'of another shape: 2.bias, 2.weight'),
                          (nn.Sequential(net()[0]), 'missing: 2.bias, 2.weight'),
                                         (nn.Sequential(*net(), nn.Linear(3, 3)),
                                          'unexpected: 3.bias, 3.weight')])
def test_weights_that_do_not_fit_change_nothing(model, words, tmp_path):
    torch.save(model.state_dict(), tmp_path/'a.pt')
    learn = make(model=net(seed=7))
    before = everything(learn)
    with pytest.raises((ValueError, RuntimeError), match=words): learn.load(tmp_path/'a.pt')
    for a,b in zip(before, everything(learn), strict=True): assert a is b or torch.equal(a, b)
    learn.load(tmp_path/'a.pt', strict=False)
    assert torch.equal(learn.model[0].weight, model[0].weight)


@pytest.mark.parametrize('state',
                         [dict(state={0: dict(momentum_buffer=torch.zeros(2, 2))},
                               param_groups=[dict(params=[0, 1, 2, 3], lr=0.1)]),
                                   dict(state={}, param_groups=[dict(params=[0], lr=0.1)]),
                                   dict(param_groups=[]), [1], None])
def test_an_optimizer_state_that_does_not_fit_changes_nothing(state, tmp_path):
    torch.save(dict(model=net(seed=3).state_dict(), opt=state), tmp_path/'a.pt')
    learn = make(model=net(seed=7), opt_func=partial(torch.optim.SGD, momentum=0.9))
    before = everything(learn)
    with pytest.raises(ValueError, match='a.pt: the optimizer state does not fit'):
        learn.load(tmp_path/'a.pt', with_opt=True)
    for a,b in zip(before, everything(learn), strict=True): assert a is b or torch.equal(a, b)


@pytest.mark.parametrize('state', [torch.ones(3), [1, 2], None, 'text', 3])
def test_files_that_hold_something_else(state, tmp_path):
    torch.save(state, tmp_path/'a.pt')
    with pytest.raises(ValueError, match=f'a.pt holds a {type(state).__name__}'): make().load(tmp_path/'a.pt')


def test_a_bare_state_dict_with_a_parameter_named_model(tmp_path):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.Parameter(torch.arange(3.))
    torch.save(Odd().state_dict(), tmp_path/'a.pt')
    learn = make(model=Odd())
    with torch.no_grad(): learn.model.model.zero_()
    learn.load(tmp_path/'a.pt')
    assert learn.model.model.tolist() == [0, 1, 2]


def test_safetensors_whatever_the_case(tmp_path, monkeypatch):
    files = {}
    fake = types.SimpleNamespace(save=lambda tensors: repr(files.setdefault('saved', tensors)).encode()[:3],
                                 load_file=lambda path, device: files['saved'])
    monkeypatch.setitem(sys.modules, 'safetensors', types.SimpleNamespace(torch=fake))
    monkeypatch.setitem(sys.modules, 'safetensors.torch', fake)
    for name in 'a.safetensors', 'B.SAFETENSORS':
        files.clear()
        learn,other = make(model=net(seed=1)),make(model=net(seed=2))
        learn.save(tmp_path/name)
        assert 'saved' in files
        other.load(tmp_path/name)
        assert torch.equal(weights(learn), weights(other))
        with pytest.raises(ValueError, match='tensors only'):
            (learn.fit(1), learn.save(tmp_path/name, with_opt=True))


def test_the_next_fit_goes_on_with_the_optimizer_that_was_loaded(tmp_path):
    opt = partial(torch.optim.SGD, momentum=0.9)
    learn,other = make(opt_func=opt),make(model=net(seed=5), opt_func=opt)
    learn.fit(1)
    learn.save(tmp_path/'m.pt', with_opt=True)
    other.load(tmp_path/'m.pt', with_opt=True)
    learn.fit(1, keep_opt=True)
    other.fit(1)
    assert torch.equal(weights(learn), weights(other))


# -- writing

def test_saves_from_several_threads_to_one_path(tmp_path):
    learners,errors = [make(model=nn.Linear(300, 300), train=[]) for _ in range(4)],[]
    for i,learn in enumerate(learners): torch.nn.init.constant_(learn.model.weight, i)
    def save(learn):
        try:
            for _ in range(30): learn.save(tmp_path/'m.pt')
        except Exception as e: errors.append(e)
    threads = [threading.Thread(target=save, args=(learn,)) for learn in learners]
    for t in threads: t.start()
    for t in threads: t.join()
    assert not errors
    assert torch.load(tmp_path/'m.pt')['model']['weight'].unique().numel() == 1
    assert [p.name for p in tmp_path.iterdir()] == ['m.pt']


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    learn = make()
    learn.save(tmp_path/'m.pt')
    before = (tmp_path/'m.pt').read_bytes()
    def full(fd): raise OSError(28, 'No space left on device')
    with monkeypatch.context() as m:
        m.setattr(os, 'fsync', full)
        with pytest.raises(OSError, match='the disk is full'): learn.save(tmp_path/'m.pt')
    assert (tmp_path/'m.pt').read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_there_is_no_optimizer_to_save(tmp_path):
    with pytest.raises(ValueError, match='no state to save'): make().save(tmp_path/'m.pt', with_opt=True)


def test_how_weights_differ_is_said_in_words():
    mine,other = net(),nn.Sequential(*net(classes=4), nn.Linear(3, 3))
    assert misfit(mine, net(seed=1).state_dict()) == ''
    words = 'unexpected: 3.bias, 3.weight; of another shape: 2.bias, 2.weight'
    assert misfit(mine, other.state_dict()) == words
    assert some('abcdefg') == 'a, b, c, d and 3 more' and some('ab') == 'a, b'


def test_an_optimizer_goes_on_where_another_one_stood():
    first,second = [torch.optim.Adam([nn.Parameter(torch.ones(2))], 0.1) for _ in range(2)]
    first.param_groups[0]['params'][0].grad = torch.ones(2)
    first.step()
    load_opt(second, first.state_dict())
    assert second.state_dict()['state'][0]['step'] == 1


# -- a limit

class Counts(Callback):
    "What others hear of a fit: batches trained, rows, cleanups"
    order = 99
    def __init__(self): self.batches,self.cleanups = [],0
    def after_batch(self, learn): self.batches += [(learn.epoch, learn.iter)]*learn.training
    def cleanup_fit(self, learn): self.cleanups += 1


@pytest.mark.parametrize('n,n_batches,rows', [(1, 1, 0), (4, 4, 1), (6, 6, 1), (8, 8, 2), (100, 12, 3)])
def test_a_limit_of_steps_ends_the_fit_when_another_batch_would_begin(n, n_batches, rows):
    "4 batches in an epoch; an epoch that is complete is validated"
    counts = Counts()
    limited = make([LimitCB(steps=n), Quiet(), counts])
    limited.fit(3)
    assert counts.batches == [(i//4, i%4) for i in range(n_batches)] and counts.cleanups == 1
    assert [row['train'] for row in limited.history].count('eval') == rows
    assert limited.epoch == (n_batches - 1)//4 and limited.limit.done == n_batches
    other = make()
    other.fit(1, valid=False)
    if n == 4: assert torch.equal(weights(limited), weights(other))


@pytest.mark.parametrize('n,iters', [(1, 2), (2, 3), (3, 2), (4, 3)])
def test_a_limit_leaves_groups_of_batches_whole(n, iters):
    "Epochs of 4 batches in groups of 3 are 2 steps"
    counts = Counts()
    learn = make([AccumulateCB(3), LimitCB(steps=n), Quiet(), counts])
    learn.fit(9)
    assert counts.batches[-1] == ((n - 1)//2, iters) and learn.do_step
    assert all(p.grad is None for p in learn.model.parameters())


class Clock(Callback):
    "A clock of our own: each step takes a second, validation ten, the loader `slow` seconds a batch"
    order = -99
    def __init__(self, monkeypatch, slow=0):
        self.now,self.slow = 0,slow
        monkeypatch.setattr(keep, 'time', types.SimpleNamespace(perf_counter=lambda: self.now))
    def before_batch(self, learn): self.now += self.slow
    def after_step(self, learn): self.now += 1
    def after_epoch(self, learn): self.now += 0 if learn.training else 10


@pytest.mark.parametrize('seconds,slow,n_batches,rows',
                         [(5, 0, 4, 1), (14, 0, 4, 1), (15, 0, 5, 1), (19, 0, 8, 2), (28, 0, 8, 2),
                          (3, 0, 3, 0), (4, 0, 4, 1), (3, 2, 1, 0), (6, 2, 2, 0), (99, 0, 12, 3)])
def test_a_limit_of_seconds(seconds, slow, n_batches, rows, monkeypatch):
    "4 batches in an epoch; what validation and the loader take counts before another step begins"
    counts = Counts()
    learn = make([LimitCB(seconds=seconds), Clock(monkeypatch, slow), Quiet(), counts])
    learn.fit(3)
    assert len(counts.batches) == learn.limit.done == n_batches
    assert [row['train'] for row in learn.history].count('eval') == rows
    assert learn.epoch == (n_batches - 1)//4


@pytest.mark.parametrize('seconds,iters', [(1, 2), (2, 3), (12, 3), (13.4, 2)])
def test_a_limit_of_seconds_leaves_groups_whole(seconds, iters, monkeypatch):
    "Epochs of 4 batches in groups of 3: the time is over within the second group too"
    class Slow(Callback):
        def after_backward(self, learn): clock.now += 0.3
    counts,clock = Counts(),Clock(monkeypatch)
    learn = make([LimitCB(seconds=seconds), AccumulateCB(3), clock, Slow(), Quiet(), counts])
    learn.fit(9)
    assert counts.batches[-1][1] == iters and learn.do_step
    assert all(p.grad is None for p in learn.model.parameters())


def test_a_limit_counts_on_when_a_run_goes_on(tmp_path):
    def learner(n, *cbs):
        opt = partial(torch.optim.SGD, momentum=0.9)
        return make([*cbs, LimitCB(steps=n), EMACB(0.9), AccumulateCB(2), Quiet(),
                     CheckpointCB(tmp_path/'a', every_batches=4, keep=99)], batches(7), opt_func=opt)
    def kept(learn): return [weights(learn), *learn.ema.average]
    whole = make([LimitCB(steps=11), EMACB(0.9), AccumulateCB(2), Quiet()], batches(7),
                 opt_func=partial(torch.optim.SGD, momentum=0.9))
    whole.fit(9)  # 4 steps an epoch
    with pytest.raises(Boom): learner(11).fit(9, cbs=Fails(1, 5))
    for n in 7,11,11:  # to a lower limit, on to the whole one, and once more
        resumed = learner(n)
        resumed.fit(9, resume=True)
        assert resumed.limit.done == n
    for a,b in zip(kept(resumed), kept(whole), strict=True): assert torch.equal(a, b)
    assert (resumed.epoch, whole.epoch) == (2, 2)


class Boom(Exception): pass

class Fails(Callback):
    def __init__(self, epoch, iter, training=True): self.at = epoch,iter,training
    def before_batch(self, learn):
        if (learn.epoch, learn.iter, learn.training) == self.at: raise Boom()


def test_limits_that_are_none():
    for wrong in {}, dict(steps=0), dict(steps=1.5), dict(seconds=0), dict(seconds=float('nan')):
        with pytest.raises(ValueError, match='steps|seconds'): LimitCB(**wrong)


# -- averaged weights

class Theirs(Callback):
    "torch's average of a torch model"
    def __init__(self, decay): self.decay = decay
    def before_fit(self, learn):
        self.model = AveragedModel(learn.model, multi_avg_fn=get_ema_multi_avg_fn(self.decay))
    def after_step(self, learn): self.model.update_parameters(learn.model)


def normed():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize('decay', [0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize('accumulate', [1, 3])
def test_the_average_is_torchs_and_training_is_as_without_it(decay, accumulate):
    "Weights, buffers and what is validated; a frozen layer too"
    theirs,ema = Theirs(decay),EMACB(decay)
    averaged,plain = (make([*cbs, AccumulateCB(accumulate), Quiet()], model=normed())
                      for cbs in ([theirs, ema], []))
    for learn in averaged,plain:
        learn.model[0].weight.requires_grad_(False)
        learn.fit(3)
    for k,v in plain.model.state_dict().items(): assert torch.equal(v, averaged.model.state_dict()[k]), k
    theirs.model.eval()
    losses = [(F.cross_entropy(theirs.model(x), y).item(), len(y)) for x,y in averaged.dls.valid]
    mean = sum(loss*n for loss,n in losses)/sum(n for _,n in losses)
    assert averaged.history[-1]['loss'] == pytest.approx(mean, rel=1e-6)
    ema.use()
    for k,v in theirs.model.module.state_dict().items():
        assert torch.equal(v, averaged.model.state_dict()[k]), k


@pytest.mark.parametrize('at', ['before_epoch', 'before_batch', 'after_loss', 'after_epoch', 'cleanup_epoch'])
def test_after_an_error_in_validation_the_weights_are_the_models_own(at):
    def fails(self, learn):
        if not learn.training and learn.epoch == 1: raise Boom()
    class Last(Callback): order = 99
    class First(Callback): order = -9
    plain = make([Quiet()])
    plain.fit(2)
    for place in Last,First:
        learn = make([EMACB(0.9), Quiet(), type('Fails', (place,), {at: fails})()])
        with pytest.raises(Boom): learn.fit(5)
        assert torch.equal(weights(learn), weights(plain)) and not learn.ema.exchanged


def test_the_best_average_is_saved_and_checkpoints_hold_the_models_own_weights(tmp_path):
    theirs,best = Theirs(0.8),SaveBestCB(tmp_path/'best.pt', restore=True)
    learn = make([best, theirs, CheckpointCB(tmp_path/'c'), EMACB(0.8), Quiet()])
    learn.fit(2)
    assert best.best == learn.history[-1]['loss']  # it falls
    for k,v in theirs.model.module.state_dict().items():
        assert torch.equal(v, learn.model.state_dict()[k]), k
        assert torch.equal(v, torch.load(tmp_path/'best.pt')['model'][k])
    plain = make()
    plain.fit(2)
    checkpoint = torch.load(sorted((tmp_path/'c').glob('*.pt'))[-1])
    for k,v in plain.model.state_dict().items(): assert torch.equal(v, checkpoint['model'][k]), k


def test_averages_begin_anew_with_each_fit_and_need_a_step():
    ema = EMACB(0.9)
    learn = make([ema, Quiet()])
    with pytest.raises(RuntimeError, match='no step was made'): ema.use()
    learn.fit(1, train=False)
    assert ema.average is None
    learn.fit(1)
    row = learn.history[-1]
    learn.fit(1, train=False)  # validates the average again
    assert learn.history[-1]['loss'] == row['loss'] != learn.validate()['loss']
    other = make([EMACB(0.9)], model=net())
    other.model.load_state_dict(learn.model.state_dict())
    learn.fit(1); other.fit(1)
    for a,b in zip(ema.average, other.ema.average, strict=True): assert torch.equal(a, b)
    for wrong in 1, 1., -0.1, float('nan'):
        with pytest.raises(ValueError, match='below 1'): EMACB(wrong)


KINDS = dict(sgd=SGD, momentum=partial(SGD, momentum=0.9), adamw=AdamW, rmsprop=RMSprop,
             torch_sgd=torch.optim.SGD, torch_momentum=partial(torch.optim.SGD, momentum=0.9),
             torch_adamw=torch.optim.AdamW, torch_rmsprop=torch.optim.RMSprop)

@pytest.mark.parametrize('mine', KINDS)
@pytest.mark.parametrize('other', KINDS)
def test_an_optimizer_of_another_kind_is_refused_and_one_of_the_same_kind_goes_on(mine, other, tmp_path):
    "Plain SGD's state went into AdamW without a word, and the next step was a KeyError"
    first,second = make(opt_func=KINDS[other], lr=0.01),make(opt_func=KINDS[mine], model=net(seed=7), lr=0.01)
    first.fit(1)
    first.save(tmp_path/'a.pt', with_opt=True)
    before = everything(second)
    kinds = {name.split('_')[-1] for name in (mine, other)}
    if len(kinds) == 1 or kinds == {'sgd', 'momentum'}: second.load(tmp_path/'a.pt', with_opt=True)
    else:
        with pytest.raises(ValueError, match='a.pt: the optimizer state does not fit: .*has no '):
            second.load(tmp_path/'a.pt', with_opt=True)
        for a,b in zip(before, everything(second), strict=True): assert a is b or torch.equal(a, b)
    second.fit(1)


def test_files_that_are_damaged_or_of_another_kind_are_named_in_our_words(tmp_path):
    learn,path = make(),tmp_path/'a.pt'
    learn.save(path)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[whole.index(learn.model[0].weight.detach().numpy().tobytes())] ^= 1
    for data in b'', b'some text', whole[:-50], whole[:300], bytes(changed):
        path.write_bytes(data)
        with pytest.raises(ValueError, match='a.pt does not hold weights.*damaged') as e: learn.load(path)
        assert 'weights_only' not in str(e.value)
    path.unlink()
    torch.save(learn.model, path)
    with pytest.raises(ValueError, match='there is .*Sequential in it'): read_tensors(path)
    with pytest.raises(FileNotFoundError): learn.load(tmp_path/'none.pt')
    torch.save(learn.model.state_dict(), path, _use_new_zipfile_serialization=False)
    assert torch.equal(read_tensors(path)['0.weight'], learn.model[0].weight)


def test_arguments_in_the_wrong_place_are_named(tmp_path):
    with pytest.raises(TypeError, match='patience=3'): EarlyStoppingCB(3)
    with pytest.raises(ValueError, match="monitor='accuracy'"): SaveBestCB('accuracy')
    for wrong in 0, -1, 1.5:
        with pytest.raises(ValueError, match='patience must be'): EarlyStoppingCB(patience=wrong)
    with pytest.raises(TypeError): LimitCB(3600)


class Growing(Theirs):
    "torch's average, with a decay that grows with the steps made"
    def __init__(self): pass
    def before_fit(self, learn):
        def mean(average, now, n): torch._foreach_lerp_(average, now, 1 - (1 + n)/(10 + n))
        self.model = AveragedModel(learn.model, multi_avg_fn=torch.no_grad()(mean))


def test_without_a_decay_the_average_follows_from_the_start(tmp_path, capsys):
    theirs,ema = Growing(),EMACB()
    learn = make([theirs, ema, Quiet()])
    learn.fit(5)
    torch.testing.assert_close(ema.average, [p.detach() for p in theirs.model.module.parameters()])
    assert ema.n == 20 and capsys.readouterr().out == ''
    def learner(): return make([EMACB(), Quiet(), CheckpointCB(tmp_path, every_batches=3)])
    with pytest.raises(Boom): learner().fit(5, cbs=Fails(2, 1))
    resumed = learner()
    resumed.fit(5, resume=True)
    for a,b in zip(ema.average, resumed.ema.average, strict=True): assert torch.equal(a, b)


def test_an_average_of_first_weights_is_mentioned(capsys):
    make([EMACB(0.999), Quiet()]).fit(2)
    assert 'after 8 steps 99% of the average are the first weights' in capsys.readouterr().out
    make([EMACB(0.5), Quiet()]).fit(2)
    assert capsys.readouterr().out == ''
