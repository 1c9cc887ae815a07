"Keeping: save and load, the best epoch, stopping early"
import os, sys, threading, types
from functools import partial
import pytest, torch
from torch import nn
from miniai.keep import Monitor, better_way, load_opt, misfit, some
from miniai.learner import Callback, CheckpointCB, EarlyStoppingCB, SaveBestCB
from miniai.optim import SGD
from tests.small import Quiet, make, net, weights


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
    with pytest.raises(Exception, match='(?i)weights'): make().load(tmp_path/'evil.pt')


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
