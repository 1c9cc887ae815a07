"Runs that survive: killed at any moment and resumed; damaged or foreign checkpoints; errors and Ctrl-C"
import io, multiprocessing, os, random, signal, subprocess, sys, textwrap, time
from functools import partial
from pathlib import Path
import numpy as np, pytest, torch, torch.nn.functional as F
from torch import nn
from tqdm import tqdm
from miniai.check.kit import difference
from miniai.learner import *
from miniai.loop import EVENTS, ACTIONS
from miniai.steps import AccumulateCB
from miniai.keep import EarlyStoppingCB, SaveBestCB
from miniai.track import LogCB, read_log
from miniai.data import DataLoader
from miniai.resume import CheckpointCB
from miniai.optim import SGD
from miniai.sched import OneCycle, RecorderCB
from tests import survivor
from tests.conftest import ROOT, Plain
from tests.small import batches

MOMENTS = 5  # in each configuration; the long test takes four times as many
CONTEXT = multiprocessing.get_context('forkserver')
CONTEXT.set_forkserver_preload(['tests.survivor'])  # imports are paid once


def start(folder, config, moment=None):
    process = CONTEXT.Process(target=survivor.run, args=(str(folder), config, moment))
    process.start()
    return process


def finish(folder, config):
    "Run to the end, and give the outcome"
    process = start(folder, config)
    process.join(120)
    assert process.exitcode == 0, (Path(folder)/'out.txt').read_text()
    return torch.load(Path(folder)/'outcome.pt', weights_only=True)


_WHOLE = {}

def whole(config, tmp_path_factory):
    "The outcome of the run that is never killed, and how long it takes"
    key = tuple(config.items())
    if key not in _WHOLE:
        begin,folder = time.monotonic(),tmp_path_factory.mktemp('whole')
        _WHOLE[key] = finish(folder, config),time.monotonic() - begin
    return _WHOLE[key]


IN_BATCH = [e for e in EVENTS if e not in ACTIONS and not e.endswith(('_fit', '_epoch'))]

def some_moment(rng, kind):
    "When to be killed: at an event of a batch, within the writing of a checkpoint, or after some seconds"
    if kind == 'batch': return rng.choice(IN_BATCH),True,rng.randint(1, 2*survivor.BATCHES)
    if kind == 'valid':
        return rng.choice(['before_batch', 'after_predict', 'after_batch', 'before_epoch',
                           'after_epoch']),False,rng.randint(1, 3)
    if kind == 'write': return 'write',rng.choice(['half', 'sync', 'renamed']),rng.randint(1, 12),rng.random()
    return 'time',rng.random()


def kill_at(folder, config, moment, seconds):
    "Start a run and have it killed; False if it came to its end before"
    process = start(folder, config, None if moment[0] == 'time' else moment)
    if moment[0] == 'time':
        process.join(moment[1]*seconds)
        process.kill()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL), (Path(folder)/'out.txt').read_text()
    return process.exitcode != 0


def check_killed_runs(config, n, tmp_path_factory, seed):
    (want,seconds),rng = whole(config, tmp_path_factory),random.Random(seed)
    killed = 0
    for i in range(n):
        folder,moments = tmp_path_factory.mktemp('killed'),[some_moment(rng, ('batch', 'valid', 'write',
                                                                              'time')[i % 4])]
        if i % 5 == 4: moments.append(some_moment(rng, 'batch'))  # and killed again after it was resumed
        killed += sum([kill_at(folder, config, moment, seconds) for moment in moments])
        found = difference(finish(folder, config), want, rtol=0, atol=0)
        assert not found, f'seed {seed}, killed at {moments}: {found}\n{(folder/"out.txt").read_text()}'
    assert killed >= n//2


CONFIGS = [dict(opt='momentum', workers=0), dict(opt='adam', workers=2),
           dict(opt='torch_adam', workers=0, loader='torch'),
           dict(opt='momentum', workers=2, loader='torch')]
IDS = ['-'.join(map(str, c.values())) for c in CONFIGS]


@pytest.mark.parametrize('config', CONFIGS, ids=IDS)
def test_a_killed_run_ends_as_the_one_that_was_not(config, tmp_path_factory):
    check_killed_runs(config, MOMENTS, tmp_path_factory, random.randrange(10**6))


@pytest.mark.long
@pytest.mark.parametrize('config', CONFIGS + [dict(opt='adam', workers=0), dict(opt='momentum', workers=2)],
                         ids=IDS + ['adam-0', 'momentum-2'])
def test_killed_at_many_moments(config, tmp_path_factory):
    check_killed_runs(config, 4*MOMENTS, tmp_path_factory, random.randrange(10**6))


# -- checkpoints that are damaged, foreign, old or left over

def trained(folder, epochs=survivor.EPOCHS, resume=False, cbs=(), **config):
    learn = survivor.build(folder, cbs=cbs, **config)
    learn.fit(epochs, resume=resume)
    return learn


def weights(learn):
    return torch.cat([t.detach().flatten().float() for t in learn.model.state_dict().values()])


def table(learn): return [{k: v for k,v in r.items() if k != 'time'} for r in learn.history]
def checkpoints(folder): return sorted(p for p in (Path(folder)/'checkpoints').iterdir() if p.name != 'lock')


class PowerCut(Callback):
    "An error at a batch of the second epoch"
    def __init__(self, batch=6): self.batch = batch
    def before_batch(self, learn):
        if learn.training and (learn.epoch, learn.iter) == (1, self.batch): raise OSError('power cut')


def cut(folder, **config):
    with pytest.raises(OSError, match='power cut'): trained(folder, cbs=[PowerCut()], **config)


def damage_end(path): path.write_bytes(path.read_bytes()[:-200])
def damage_half(path): path.write_bytes(path.read_bytes()[:path.stat().st_size//2])
def damage_all(path): path.write_bytes(b'')
def damage_a_number(path):
    "Turn one bit of a weight around"
    data = bytearray(path.read_bytes())
    data[data.index(torch.load(path, weights_only=True)['model']['0.weight'].numpy().tobytes()) + 5] ^= 16
    path.write_bytes(data)


@pytest.mark.parametrize('damage', [damage_end, damage_half, damage_all, damage_a_number])
def test_a_damaged_checkpoint_is_passed_over(damage, tmp_path, capsys):
    whole = trained(tmp_path/'whole')
    cut(tmp_path/'cut')
    last = checkpoints(tmp_path/'cut')[-1]
    damage(last)
    resumed = trained(tmp_path/'cut', resume=True)
    assert torch.equal(weights(whole), weights(resumed)) and table(whole) == table(resumed)
    out = capsys.readouterr().out
    assert f'{last} cannot be read, looking at the one before' in out
    assert '1 epochs and 4 batches are done' in out


def test_nothing_to_resume(tmp_path, capsys):
    whole,fresh = trained(tmp_path/'a'),trained(tmp_path/'b', resume=True)
    assert torch.equal(weights(whole), weights(fresh)) and 'starting afresh' in capsys.readouterr().out
    for path in checkpoints(tmp_path/'b'): damage_half(path)
    again = trained(tmp_path/'b', resume=True)
    assert torch.equal(weights(whole), weights(again)) and 'starting afresh' in capsys.readouterr().out
    with pytest.raises(ValueError, match='needs one CheckpointCB in cbs, there are 0'):
        Learner(nn.Linear(1, 1)).fit(1, resume=True)


def test_resuming_a_run_that_is_complete_or_longer(tmp_path, capsys):
    whole = trained(tmp_path)
    again = trained(tmp_path, resume=True)
    assert torch.equal(weights(whole), weights(again)) and table(whole) == table(again)
    assert '3 epochs are done' in capsys.readouterr().out
    longer = trained(tmp_path, epochs=4, resume=True)
    assert table(longer)[:-2] == table(whole) and [r['epoch'] for r in longer.history] == [0, 0, 1, 1, 2, 2,
                                                                                           3, 3]


def test_a_checkpoint_of_another_model_names_the_keys(tmp_path):
    cut(tmp_path)
    for change,words in ((lambda m: m.add_module('extra', nn.Linear(3, 2)),
                          'missing: extra.bias, extra.weight'),
                          (lambda m: m.pop(4), 'unexpected: 4.bias, 4.weight'),
                         (lambda m: m.__setitem__(4, nn.Linear(12, 4)),
                          'of another shape: 4.bias, 4.weight')):
        learn = survivor.build(tmp_path)
        change(learn.model)
        before = weights(learn)
        with pytest.raises(ValueError, match=f'is a checkpoint of another model: {words}'):
            learn.fit(3, resume=True)
        assert torch.equal(before, weights(learn))  # and nothing was loaded


def test_a_checkpoint_of_other_callbacks_names_them(tmp_path):
    cut(tmp_path)
    learn = survivor.build(tmp_path)
    learn.cbs.remove(learn.log)
    with pytest.raises(ValueError, match='written with the callbacks .*LogCB.*this learner has'):
        learn.fit(3, resume=True)


@pytest.mark.parametrize('keep', [1, 2, 5])
def test_so_many_checkpoints_are_kept(keep, tmp_path):
    learn = survivor.build(tmp_path)
    learn.checkpoint.keep = keep
    learn.fit(2)
    files = learn.checkpoint.files()
    assert len(files) == keep and files == checkpoints(tmp_path)
    assert torch.load(files[-1], weights_only=True)['epoch'] == 2


def test_leftovers_of_a_killed_write_are_removed(tmp_path):
    moment = 'write', 'half', 2, 0.5
    assert kill_at(tmp_path, {}, moment, 10) and list((tmp_path/'checkpoints').glob('.*'))
    trained(tmp_path, resume=True)
    names = [path.name for path in checkpoints(tmp_path)]
    assert len(names) == 3 and all(name.startswith('checkpoint-') for name in names)


def test_a_fresh_run_does_not_mistake_an_older_one_for_itself(tmp_path):
    whole,before = trained(tmp_path/'alone', opt='adam'),trained(tmp_path/'both', epochs=5)
    assert len(before.history) == 10
    for batch in (0, 6):  # before the first checkpoint of the second epoch, and later
        learn = survivor.build(tmp_path/'both', cbs=[PowerCut(batch)], opt='adam', fresh=True)
        with pytest.raises(OSError): learn.fit(3)
        resumed = trained(tmp_path/'both', resume=True, opt='adam')
        assert torch.equal(weights(whole), weights(resumed)) and table(resumed) == table(whole)


def test_a_fit_that_only_validates_writes_no_checkpoint(tmp_path):
    learn = trained(tmp_path)
    before = checkpoints(tmp_path)
    learn.fit(1, train=False)
    assert checkpoints(tmp_path) == before
    learn.validate(); learn.get_preds()
    assert checkpoints(tmp_path) == before


def test_what_could_not_be_read_back_is_refused_at_once(tmp_path):
    class Odd(Callback):
        def before_fit(self, learn): pass
        def state_dict(self): return dict(best=np.float64(1))
        def load_state_dict(self, state): pass
    with pytest.raises(TypeError, match='tensors and plain values only.*numpy'): trained(tmp_path,
                                                                                         cbs=[Odd()])
    assert checkpoints(tmp_path) == []


def test_an_optimizer_without_a_state_is_mentioned(tmp_path, capsys):
    def build(where):
        torch.manual_seed(0)
        return Learner(nn.Linear(6, 3), survivor.Dls(batches(6), batches(2)), F.cross_entropy, 0.1,
                       [CheckpointCB(where, every_batches=2)], Plain)
    whole = build(tmp_path/'whole')
    whole.fit(3)
    with pytest.raises(OSError): build(tmp_path/'cut').fit(3, cbs=PowerCut(3))
    resumed = build(tmp_path/'cut')
    resumed.fit(3, resume=True)
    assert torch.equal(weights(whole),
                       weights(resumed)) and 'Plain has no state_dict' in capsys.readouterr().out


def test_early_stopping_goes_on_counting_after_a_resume(tmp_path, capsys):
    def build(where, *cbs):
        torch.manual_seed(0)
        return Learner(nn.Linear(6, 3), survivor.Dls(batches(4), batches(2, seed=1)), F.cross_entropy, 5.,
                       [survivor.Silent(), EarlyStoppingCB(patience=3),
                       SaveBestCB(tmp_path/where/'best.pt'), CheckpointCB(tmp_path/where), *cbs])
    whole = build('whole')
    whole.fit(30)
    class Cut(Callback):
        def before_epoch(self, learn):
            if learn.epoch == whole.epoch - 1: raise OSError('power cut')
    with pytest.raises(OSError): build('cut', Cut()).fit(30)
    resumed = build('cut')
    resumed.fit(30, resume=True)
    assert whole.epoch < 29 and table(resumed) == table(whole)
    best = [torch.load(tmp_path/w/'best.pt', weights_only=True)['model']['weight'] for w in ('whole', 'cut')]
    assert torch.equal(*best)


class At(Callback):
    "Kills the process at event number `moment` of a run; counts them"
    on_look = False
    def __init__(self, moment, order):
        self.moment,self.order,self.n = moment,order,0
        for event in set(EVENTS) - set(ACTIONS): setattr(self, event, self.told)
    def told(self, learn):
        self.n += 1
        if self.n == self.moment: os.kill(os.getpid(), signal.SIGKILL)


def stopped_early(folder, moment=None, order=0, every_batches=None):
    "A run that EarlyStoppingCB ends: how it ended, and how many events there were"
    folder.mkdir(exist_ok=True)
    for seed in (torch.manual_seed, random.seed, np.random.seed): seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 3))
    dls = survivor.Dls(DataLoader(survivor.Noisy(21, 1), batch_size=8, shuffle=True),
                       DataLoader(survivor.Noisy(13, 2), batch_size=8))
    at = At(moment, order)
    cbs = [survivor.Silent(accuracy=Accuracy()), OneCycle(2.), EarlyStoppingCB(patience=2),
           SaveBestCB(folder/'best.pt'), CheckpointCB(folder/'checkpoints', every_batches=every_batches), at]
    learn = Learner(model, dls, F.cross_entropy, 2., cbs, partial(SGD, momentum=0.9))
    learn.fit(12, resume=True)
    best = torch.load(folder/'best.pt', weights_only=True)['model']
    state = [*model.state_dict().values(), *best.values(), *learn.opt.state.values(), torch.rand(3)]
    return (learn.epoch, table(learn), str(state)),at.n


def check_stopped_early(tmp_path, every_batches, step):
    torch.set_printoptions(precision=9, threshold=10**6)
    try:
        for order in (-200, 200):  # first of all callbacks, and last: it misses what others cut short
            want,n = stopped_early(tmp_path/f'whole {order}', None, order, every_batches)
            assert want[0] < 11
            for moment in range(1 + order%step, n + 1, step):
                folder = tmp_path/f'{order} {moment}'
                child = os.fork()
                if not child:
                    try: stopped_early(folder, moment, order, every_batches)
                    finally: os._exit(0)
                assert os.waitpid(child, 0)[1] == signal.SIGKILL
                assert stopped_early(folder, None, order, every_batches)[0] == want, (order, moment)
    finally: torch.set_printoptions(profile='default')


@pytest.mark.parametrize('every_batches', [None, 2])
def test_a_run_that_stops_early_is_killed(every_batches, tmp_path):
    check_stopped_early(tmp_path, every_batches, 23)


@pytest.mark.long
@pytest.mark.parametrize('every_batches', [None, 2])
def test_a_run_that_stops_early_is_killed_at_every_event(every_batches, tmp_path):
    check_stopped_early(tmp_path, every_batches, 1)


@pytest.mark.parametrize('values,best', [([float('nan'), 3., 2., 2.5, 2.5], 2.), ([float('nan')]*3, None)])
def test_a_loss_that_is_no_number_is_never_the_best(values, best, tmp_path, capsys):
    class Told(Callback):
        order = 1
        def after_epoch(self, learn):
            if not learn.training: learn.history[-1]['loss'] = values[learn.epoch]
    stop = EarlyStoppingCB(patience=2 if best else 3)
    Learner(nn.Linear(6, 3), survivor.Dls(batches(2), batches(2)), F.cross_entropy, 0.1,
            [survivor.Silent(), Told(), stop]).fit(len(values)+1)
    assert stop.best == best if best else stop.best != stop.best
    assert 'stopped after epoch' in capsys.readouterr().out


def test_a_log_cut_off_in_a_line_can_be_continued(tmp_path):
    path = tmp_path/'log.jsonl'
    path.write_text('{"kind": "fit"}\n{"kind": "epo')
    Learner(nn.Linear(6, 3), survivor.Dls(batches(2), None), F.cross_entropy, 0.1,
            [survivor.Silent(), LogCB(path)]).fit(1)
    assert [r['kind'] for r in read_log(path)] == ['fit', 'fit', 'batch', 'epoch']


# not with PyTorch's loader: its workers go on with random states that nobody else knows
KEPT = dict(workers=2, keep_workers=True)

@pytest.mark.parametrize('accumulate,config',
                         [(False, dict()), (True, dict()), (True, KEPT), (True, dict(generator=True)),
                          (True, dict(generator=True, **KEPT)),
                                               (False, dict(loader='torch')), (True, dict(loader='torch')),
                                               (False, dict(loader='torch', workers=2)),
                                               (True, dict(loader='torch', generator=True))], ids=str)
def test_a_run_resumes_in_the_middle_of_an_epoch(accumulate, config, tmp_path):
    def build(where, *cbs):
        learn = survivor.build(tmp_path/where, cbs=cbs, **config)
        if not accumulate: learn.cbs.remove(learn.accumulate)
        next(iter(learn.dls.train))  # a look at a batch, as everybody takes
        return learn
    whole = build('whole')
    whole.fit(2)
    with pytest.raises(OSError): build('cut', PowerCut(7)).fit(2)
    resumed = build('cut')
    resumed.fit(2, resume=True)
    assert torch.equal(weights(whole), weights(resumed)) and table(whole) == table(resumed)


class Limit(Callback):
    "Epochs of so many batches"
    def __init__(self, n): self.n = n
    def before_batch(self, learn):
        if learn.training and learn.iter == self.n: raise CancelEpochException()


@pytest.mark.parametrize('config',
                         [dict(), dict(workers=2), dict(generator=True), dict(workers=2, keep_workers=True),
                          dict(loader='torch')], ids=str)
def test_epochs_that_are_left_early_are_not_continued(config, tmp_path):
    whole = trained(tmp_path/'whole', cbs=[Limit(7)], **config)
    with pytest.raises(OSError): trained(tmp_path/'cut', cbs=[Limit(7), PowerCut(5)], **config)
    resumed = trained(tmp_path/'cut', cbs=[Limit(7)], resume=True, **config)
    assert torch.equal(weights(whole), weights(resumed)) and table(whole) == table(resumed)


# -- files that are there and can't be used

def forever(path):
    "A file that is there and can't be read: a link to itself"
    path.unlink()
    path.symlink_to(path.name)


@pytest.mark.parametrize('error',
                         [PermissionError('not yours'), MemoryError(),
                          RuntimeError("[enforce fail] can't allocate memory")], ids=repr)
def test_what_cannot_be_read_now_is_an_error_and_never_damage(error, tmp_path, monkeypatch):
    cut(tmp_path)
    before = contents(tmp_path)
    def load(*args, **kwargs): raise error
    with monkeypatch.context() as m:
        m.setattr(torch, 'load', load)
        with pytest.raises(OSError, match='is there, and cannot be read now'): trained(tmp_path, resume=True)
    assert contents(tmp_path) == before
    trained(tmp_path, resume=True)


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path):
    cut(tmp_path)
    forever(checkpoints(tmp_path)[-1])
    with pytest.raises(OSError, match='cannot be read now'): trained(tmp_path, resume=True)
    assert len(checkpoints(tmp_path)) == 3


def contents(folder): return {p.name: p.read_bytes() for p in checkpoints(folder)}


OTHERS = ('checkpoint-000001-00001-00000000-good.pt', 'checkpoint-3rd-try-x.pt', 'best.pt',
          'checkpoint-1-2-3.pt',
          'checkpoint-000001-00001-00000000.pt.bak')

def test_files_with_other_names_are_nobodys_business(tmp_path):
    folder = tmp_path/'checkpoints'
    folder.mkdir()
    for name in OTHERS: (folder/name).write_text('mine')
    learn = trained(tmp_path)
    assert {p.name for p in checkpoints(tmp_path)} == {*OTHERS, *(p.name for p in learn.checkpoint.files())}
    assert all((folder/name).read_text() == 'mine' for name in OTHERS) and len(learn.checkpoint.files()) == 3
    trained(tmp_path, resume=True)


def test_checkpoint_a_million_comes_after_the_one_before(tmp_path):
    cut(tmp_path)
    newest = checkpoints(tmp_path)[-1]
    newest.rename(newest.with_name(newest.name.replace('-0000', '-9999', 1)[:17] + newest.name[17:]))
    for path in checkpoints(tmp_path)[:-1]: path.unlink()
    number = checkpoints(tmp_path)[0]
    number.rename(number.with_name('checkpoint-999998' + number.name[17:]))
    whole = trained(tmp_path/'whole')
    resumed = trained(tmp_path, resume=True)
    names = [p.name.split('-')[1] for p in resumed.checkpoint.files()]
    assert table(resumed) == table(whole) and names == sorted(names, key=int)
    assert len(names) == 3 and int(names[0]) >= 1_000_000
    assert table(trained(tmp_path, resume=True)) == table(whole)


SPOILT = dict(keys=lambda s: {k: v for k,v in s.items() if k != 'rng'}, no_dict=lambda s: [s['model']],
              text=lambda s: s | dict(epoch='one'),
              weights=lambda s: s['model'], nothing=lambda s: None)

@pytest.mark.parametrize('spoil', SPOILT)
def test_a_checkpoint_that_is_not_whole_is_passed_over(spoil, tmp_path, capsys):
    whole = trained(tmp_path/'whole')
    cut(tmp_path/'cut')
    last = checkpoints(tmp_path/'cut')[-1]
    torch.save(SPOILT[spoil](torch.load(last, weights_only=True)), last)
    resumed = trained(tmp_path/'cut', resume=True)
    assert torch.equal(weights(whole), weights(resumed)) and table(whole) == table(resumed)
    assert f'{last} cannot be read, looking at the one before' in capsys.readouterr().out


@pytest.mark.parametrize('spoil', SPOILT)
def test_whole_files_that_hold_something_else_are_not_written_over(spoil, tmp_path):
    cut(tmp_path)
    for path in checkpoints(tmp_path): torch.save(SPOILT[spoil](torch.load(path, weights_only=True)), path)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match='Use another folder'): trained(tmp_path, resume=True)
    assert contents(tmp_path) == before


def test_a_folder_with_the_name_of_a_checkpoint(tmp_path):
    whole = trained(tmp_path/'whole')
    cut(tmp_path/'cut')
    last = checkpoints(tmp_path/'cut')[-1]
    last.unlink()
    last.mkdir()
    resumed = trained(tmp_path/'cut', resume=True)
    assert torch.equal(weights(whole), weights(resumed))


def test_an_optimizer_state_of_another_shape_names_file_and_cause(tmp_path):
    cut(tmp_path)
    last = checkpoints(tmp_path)[-1]
    state = torch.load(last, weights_only=True)
    for s in state['opt']['state'].values(): s['momentum_buffer'] = torch.zeros(2, 2)
    torch.save(state, last)
    with pytest.raises(ValueError,
                       match=f'{last} can be read, and does not fit: momentum_buffer of parameter 0'):
        trained(tmp_path, resume=True)


def test_another_data_set_at_resume(tmp_path):
    cut(tmp_path)
    shorter,no_valid = survivor.build(tmp_path),survivor.build(tmp_path)
    shorter.dls.train = survivor.LOADERS['ours'](survivor.Noisy(40, 1), batch_size=8, shuffle=True)
    with pytest.raises(ValueError, match='in the middle of an epoch of 11 batches, and the loader has 5 now'):
        shorter.fit(3, resume=True)
    no_valid.dls.valid = None
    with pytest.raises(ValueError, match='was written with a validation loader, and this learner has none'):
        no_valid.fit(3, resume=True)
    other = survivor.build(tmp_path, loader='torch')
    with pytest.raises(ValueError, match='loader that has a state_dict, and this one has none'):
        other.fit(3, resume=True)


def test_a_stream_that_is_shorter_at_resume(tmp_path):
    class Stream:
        def __init__(self, batches): self.batches = batches
        def __iter__(self): return iter(self.batches)
    def build(n): return Learner(nn.Linear(6, 3), survivor.Dls(Stream(batches(n)), None), F.cross_entropy,
                                 0.1, [CheckpointCB(tmp_path, every_batches=2)])
    with pytest.raises(OSError): build(9).fit(3, cbs=PowerCut(7))
    with pytest.raises(ValueError, match='6 batches of this epoch are done, and the loader has 3'):
        build(3).fit(3, resume=True)


# -- whose folder

def test_a_second_run_stops_before_it_starts_and_names_three_ways(tmp_path):
    trained(tmp_path)
    before,log = contents(tmp_path),(tmp_path/'log.jsonl').read_text()
    for words in r'resume=True', r'another folder', r'fresh=True':
        learn = survivor.build(tmp_path)
        start = weights(learn)
        with pytest.raises(ValueError, match=words): learn.fit(3)
        assert torch.equal(start, weights(learn)) and learn.history == []
    assert contents(tmp_path) == before and (tmp_path/'log.jsonl').read_text() == log
    fresh = survivor.build(tmp_path, fresh=True)
    fresh.fit(1)
    assert not set(before) & set(contents(tmp_path))
    with pytest.raises(ValueError, match='which of the two'): fresh.fit(3, resume=True)


def test_a_second_fit_of_the_same_learner_is_its_next_part(tmp_path):
    def build(where): return survivor.build(tmp_path/where)
    whole = build('whole')
    whole.fit(2); whole.fit(2)
    part = build('cut')
    part.fit(2)
    with pytest.raises(OSError): part.fit(2, cbs=PowerCut())
    resumed = build('cut')
    resumed.fit(2, resume=True)
    assert torch.equal(weights(whole), weights(resumed)) and table(whole) == table(resumed)


def phases(where, stops=(None, None), folders=('head', 'whole')):
    "A script that trains a head, then the whole model, and is started again when it was killed"
    learn = survivor.build(where)
    learn.cbs = [cb for cb in learn.cbs if not isinstance(cb, CheckpointCB)]
    for stop,folder,whole in zip(stops, folders, (False, True)):
        learn.model[0].requires_grad_(whole)
        cbs = [CheckpointCB(where/folder, every_batches=2)] + [Stop(stop)]*(stop is not None)
        learn.fit(2, lr=0.1 if whole else 0.05, cbs=cbs, resume=True)
    return learn

class Stop(Callback):
    "An error at the `n`th batch"
    def __init__(self, n): self.left = n
    def after_batch(self, learn):
        self.left -= learn.training
        if self.left < 0: raise OSError('stopped')

@pytest.mark.parametrize('stops', [(3, None), (14, None), (None, 0), (None, 3), (None, 15)])
def test_a_script_of_two_fits_is_killed_in_either(stops, tmp_path):
    whole = phases(tmp_path/'whole')
    with pytest.raises(OSError): phases(tmp_path/'cut', stops)
    resumed = phases(tmp_path/'cut')
    assert torch.equal(weights(whole), weights(resumed)) and table(whole) == table(resumed)


def test_the_end_of_one_fit_is_not_taken_for_the_end_of_the_next(tmp_path):
    "0.1 said that the epochs are done, and trained nothing"
    with pytest.raises(ValueError, match='end of the fit before'): phases(tmp_path, folders=['one', 'one'])
    learn = survivor.build(tmp_path/'longer')
    learn.fit(1, resume=True); learn.fit(2, resume=True)
    assert [row['epoch'] for row in learn.history] == [0, 0, 1, 1]
    with pytest.raises(ValueError, match='end of the fit before'): learn.fit(2, resume=True)
    survivor.build(tmp_path/'longer').fit(2, resume=True)  # a script that has ended, started once more


HOLDS = """
    import sys, time, torch.nn.functional as F
    from torch import nn
    from miniai.learner import *
    from miniai.learner import CheckpointCB
    from tests.small import Dls, batches
    class Wait(Callback):
        def before_batch(self, learn):
            print('begun', flush=True)
            time.sleep(60)
    cbs = [CheckpointCB(sys.argv[1]), Wait()]
    Learner(nn.Linear(6, 3), Dls(batches(4)), F.cross_entropy, 0.1, cbs).fit(1)
"""

@pytest.mark.parametrize('resume', [False, True])
def test_two_processes_in_one_folder(resume, tmp_path):
    process = subprocess.Popen([sys.executable, '-c', textwrap.dedent(HOLDS), str(tmp_path)], cwd=ROOT,
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'begun\n'
    def second():
        return Learner(nn.Linear(6, 3), survivor.Dls(batches(4), None), F.cross_entropy, 0.1,
                       [CheckpointCB(tmp_path)])
    with pytest.raises(RuntimeError, match='in use by another run'): second().fit(1, resume=resume)
    process.kill()  # and the folder is free at once
    process.communicate()
    second().fit(1, resume=resume)


def test_two_runs_of_one_process_in_one_folder(tmp_path):
    def build(*cbs): return Learner(nn.Linear(6, 3), survivor.Dls(batches(4), None), F.cross_entropy, 0.1,
                                    [CheckpointCB(tmp_path), *cbs])
    class Another(Callback):
        def after_batch(self, learn):
            with pytest.raises(RuntimeError, match='in use by another run'): build().fit(1)
            with pytest.raises(RuntimeError, match='in use by another run'): build().fit(1, resume=True)
    learn = build(Another())
    learn.fit(1)
    learn.fit(1)
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith('checkpoint-')] == ['lock']


def test_a_killed_runs_workers_do_not_hold_the_folder(tmp_path):
    config = dict(workers=2)
    assert kill_at(tmp_path, config, ('after_batch', True, 3), 10)
    begin = time.monotonic()
    trained(tmp_path, resume=True, **config)
    assert time.monotonic() - begin < 60


class Heard(Callback):
    def __init__(self): self.heard = False
    def before_batch(self, learn): self.heard = True


def test_a_folder_that_cannot_be_written_is_noticed_at_the_start(tmp_path):
    (tmp_path/'file').write_text('not a folder')
    heard = Heard()
    learn = Learner(nn.Linear(6, 3), survivor.Dls(batches(4), None), F.cross_entropy, 0.1,
                    [CheckpointCB(tmp_path/'file'/'run'), heard])
    with pytest.raises(OSError): learn.fit(1)
    assert not heard.heard


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(fd): raise OSError(28, 'No space left on device')
    learn = survivor.build(tmp_path)
    with monkeypatch.context() as m:
        m.setattr(os, 'fsync', full)
        with pytest.raises(OSError, match='the disk is full'): learn.fit(3)
    assert checkpoints(tmp_path) == []


# -- loaders that can and can't go on

class Told(survivor.Noisy):
    "Tells which samples are read"
    read = []
    def __getitem__(self, i):
        self.read.append(i)
        return super().__getitem__(i)


def test_a_loader_with_a_state_goes_on_by_itself(tmp_path):
    def build():
        torch.manual_seed(0)
        return Learner(nn.Linear(6, 3),
                       survivor.Dls(survivor.LOADERS['ours'](Told(80, 1), batch_size=8, shuffle=True), None),
                       F.cross_entropy, 0.1,
                       [CheckpointCB(tmp_path, every_batches=1)])
    with pytest.raises(OSError): build().fit(2, cbs=PowerCut(8))
    Told.read.clear()
    build().fit(2, resume=True)
    assert len(Told.read) == 2*8  # the last two batches, and nothing that was done before


class Loader:
    "A stranger that can go on"
    def __init__(self, batches): self.batches,self.place,self.loaded = batches,0,0
    def __iter__(self):
        for i in range(self.place, len(self.batches)):
            self.place = i+1
            yield self.batches[i]
        self.place = 0
    def state_dict(self): return dict(place=self.place)
    def load_state_dict(self, state):
        self.place = state['place']
        self.loaded += bool(self.place)


@pytest.mark.parametrize('accumulate', [None, 2])
def test_a_strangers_loader_with_a_state_goes_on_by_itself(accumulate, tmp_path):
    def build(where):
        torch.manual_seed(0)
        cbs = [AccumulateCB(accumulate)] if accumulate else []
        return Learner(nn.Linear(6, 3), survivor.Dls(Loader(batches(9)), None), F.cross_entropy, 0.1,
                       [CheckpointCB(tmp_path/where, every_batches=2), *cbs])
    whole,resumed = build('whole'),build('cut')
    whole.fit(3)
    with pytest.raises(OSError): build('cut').fit(3, cbs=PowerCut(5))
    resumed.fit(3, resume=True)
    assert torch.equal(weights(whole), weights(resumed))
    assert resumed.dls.train.loaded == (0 if accumulate else 1)  # who looks ahead has asked for one too many


@pytest.mark.parametrize('part', ['train', 'valid'])
def test_loaders_that_cannot_be_started_again_are_refused_at_the_start(part, tmp_path):
    heard = Heard()
    def fit(dl, words):
        learn = Learner(nn.Linear(6, 3), survivor.Dls(batches(4), batches(2)), F.cross_entropy, 0.1,
                        [CheckpointCB(tmp_path), heard])
        setattr(learn.dls, part, dl)
        with pytest.raises(TypeError, match=words): learn.fit(1)
    name = dict(train='training', valid='validation')[part]
    fit(iter(batches(4)), f'the {name} loader is a list_iterator')
    fit((b for b in batches(4)), f'the {name} loader is a generator')
    kept = torch.utils.data.DataLoader(survivor.Noisy(32, 1), 8, num_workers=1, persistent_workers=True)
    fit(kept, 'persistent_workers=False')
    assert not heard.heard and not list(tmp_path.glob('*'))


# -- errors and Ctrl-C

class Fails(Callback):
    "Raises `error` at the `nth` time of an event"
    order = 2  # the bars are open by then
    def __init__(self, event, error, nth=2):
        self.left = nth
        def told(learn):
            self.left -= 1
            if not self.left: raise error('raised by the test')
        setattr(self, event, told)


class FailingModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin,self.left = nn.Linear(6, 3),3
    def forward(self, x):
        self.left -= 1
        if not self.left: raise RuntimeError('raised by the test')
        return self.lin(x)


class Terminal(io.StringIO):
    "A stream that says that it is a terminal, so that bars are drawn"
    def isatty(self): return True


def children():
    "The processes that this one has started and that live"
    return {p for p in Path('/proc').glob('[0-9]*/stat') if _parent(p) == os.getpid()}

def _parent(path):
    try: state,parent = path.read_text().rpartition(')')[2].split()[:2]
    except OSError: return None
    return int(parent) if state != 'Z' else None


def gone(before):
    "Have all processes started since gone, within 5 seconds?"
    end = time.monotonic() + 5
    while (rest := children() - before) and time.monotonic() < end: time.sleep(0.02)
    return not rest


def loaders(workers, loader):
    make = partial(survivor.LOADERS[loader], num_workers=workers, batch_size=8)
    return survivor.Dls(make(survivor.Noisy(85, 1), shuffle=True), make(survivor.Noisy(29, 2)))


WHERE = [('model', RuntimeError), *((e, RuntimeError) for e in EVENTS if e not in ACTIONS),
         ('after_loss', KeyboardInterrupt), ('before_batch', CancelFitException)]

@pytest.mark.parametrize('loader', ['ours', 'torch'])
@pytest.mark.parametrize('where,error', WHERE)
def test_an_error_leaves_nothing_behind(where, error, loader, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'stderr', Terminal())
    before,metrics,progress = children(),survivor.Silent(accuracy=Accuracy()),ProgressCB()
    cbs = [metrics, progress, RecorderCB(), LogCB(tmp_path/'log.jsonl'),
           CheckpointCB(tmp_path, every_batches=3), AccumulateCB(2)]
    learn = Learner(FailingModel() if where == 'model' else nn.Linear(6, 3), loaders(2, loader),
                    F.cross_entropy, 0.1, cbs)
    guests = [] if where == 'model' else [Fails(where, error, 1 if where.endswith('_fit') else 2)]
    caught = None
    try: learn.fit(2, cbs=guests)
    except (RuntimeError, KeyboardInterrupt) as e: caught = e  # kept, with its traceback, as a notebook does
    assert (caught is None) == (error is CancelFitException)
    assert list(learn.cbs) == cbs and '_log' not in vars(metrics)
    assert not tqdm._instances and progress.mbar.disable
    assert gone(before), 'worker processes live on'
    assert learn.do_step and learn.first_iter == 0 and not list(tmp_path.glob('.*'))
    rows = len(learn.history)
    learn.fit(1)
    assert len(learn.history) == rows + 2 and gone(before)
    assert [r['kind'] for r in read_log(tmp_path/'log.jsonl')].count('epoch') == len(learn.history)


INTERRUPTED = '''
    import os, signal, sys, threading, time
    import torch.nn.functional as F
    from torch import nn
    from miniai.learner import *
    from tests.test_resume import children, gone, loaders
    class Tell(Callback):
        seen = []
        def after_batch(self, learn):
            if learn.epoch == 1: print('ready', flush=True); time.sleep(0.05)
        def cleanup_batch(self, learn): self.seen.append('batch') if learn.epoch == 1 else None
        def cleanup_epoch(self, learn): self.seen.append('epoch') if learn.epoch == 1 else None
        def cleanup_fit(self, learn): self.seen.append('fit')
    before = children()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # under nohup it is ignored
    cbs = [MetricsCB(), ProgressCB()]
    learn = Learner(nn.Linear(6, 3), loaders({workers}, 'ours'), F.cross_entropy, 0.1, cbs)
    try: learn.fit(100, cbs=Tell())
    except KeyboardInterrupt:
        rows = len(learn.history)
        assert Tell.seen[-2:] == ['epoch', 'fit'] and learn.epoch == 1 and rows >= 2, (Tell.seen, rows)
        assert gone(before) and len(learn.cbs) == 2
        learn.fit(1)
        assert len(learn.history) == rows + 2
        print('went on', flush=True)
    else: print('not interrupted')
'''

@pytest.mark.parametrize('workers', [0, 2])
def test_ctrl_c_travels_on_and_the_next_fit_works(workers):
    code = textwrap.dedent(INTERRUPTED).replace('{workers}', str(workers))
    process = subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stdout:
        if line == 'ready\n': break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    out,err = process.communicate(timeout=60)
    assert process.returncode == 0 and out.endswith('went on\n'), out + err
