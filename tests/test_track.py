"A record of the run"
import json, os, struct, sys, warnings
from types import SimpleNamespace
import numpy as np, pytest, torch, torch.nn.functional as F
from miniai import track
from miniai.learner import Accuracy, Callback, CheckpointCB, LogCB, TrainCB, plot_log, read_log
from miniai.track import (HistogramsCB, LocalTracker, TensorBoardTracker, Tracker, TrackerCB, WandbTracker,
                          read_runs)
from tests.small import Dls, Quiet, Stranger, batches, make, net


def test_log_can_be_read_and_drawn(tmp_path):
    path = tmp_path/'logs'/'run.jsonl'
    make([Quiet(accuracy=Accuracy()), LogCB(path, every=2)]).fit(2)
    rows = read_log(path)
    assert [r['kind'] for r in rows] == ['fit', 'batch', 'batch', 'epoch', 'epoch', 'batch', 'batch', 'epoch',
                                         'epoch']
    assert rows[3]['accuracy'] <= 1
    with open(path, 'a') as f: f.write('{"kind": "epo')  # cut off by a crash
    assert read_log(path) == rows
    assert plot_log(path).get_title() == 'run.jsonl'


@pytest.mark.parametrize('text',
                         ['{"best": 0.93}', '[1, 2]\n', 'epoch,loss\n0,1.5\n', '{"kind": "spaniel"}\n',
                          '\x00\x01'])
def test_a_file_that_is_no_log_is_left_alone(text, tmp_path):
    path = tmp_path/'results.json'
    path.write_text(text)
    with pytest.raises(ValueError, match='not a log'): make([Quiet(), LogCB(path)]).fit(1)
    assert path.read_text() == text


def test_an_empty_file_and_a_torn_first_row_can_be_continued(tmp_path):
    for name,text in dict(empty='', torn='{"run": "3f', old='{"kind": "fit", "n_ep').items():
        (tmp_path/name).write_text(text)
        make([Quiet(), LogCB(tmp_path/name)], valid=None).fit(1)
        assert [r['kind'] for r in read_log(tmp_path/name)] == ['fit', 'batch', 'epoch']


class PowerCut(Callback):
    def before_batch(self, learn):
        if learn.training and (learn.epoch, learn.iter) == (1, 2): raise OSError('power cut')


def kinds(rows, run): return [r['kind'] for r in rows if r['run'] == run]


def test_a_resumed_run_drops_its_own_rows_only(tmp_path):
    log = tmp_path/'runs.jsonl'
    def first(): return make([Quiet(), LogCB(log, every=1), CheckpointCB(tmp_path/'a')])
    with pytest.raises(OSError): first().fit(3, cbs=PowerCut())
    mine = read_log(log)[0]['run']
    before = kinds(read_log(log), mine)
    make([Quiet(), LogCB(log, every=0)]).fit(2)  # another run in the same file
    other = read_log(log)[-1]['run']
    first().fit(3, resume=True)
    rows = read_log(log)
    assert mine != other and kinds(rows, other) == ['fit'] + ['epoch']*4
    assert before == ['fit'] + ['batch']*4 + ['epoch']*2 + ['batch']*2
    assert kinds(rows, mine) == ['fit'] + (['batch']*4 + ['epoch']*2)*3
    assert [json.loads(line) for line in log.read_text().splitlines()]  # every line is whole


def test_a_run_that_is_refused_leaves_no_row(tmp_path):
    make([Quiet(), CheckpointCB(tmp_path/'a')]).fit(1)
    with pytest.raises(ValueError): make([Quiet(), LogCB(tmp_path/'log'), CheckpointCB(tmp_path/'a')]).fit(1)
    assert not (tmp_path/'log').exists() or read_log(tmp_path/'log') == []


def test_lines_that_are_no_rows_are_left_out(tmp_path):
    path = tmp_path/'log'
    lines = (b'{"kind": "fit"}', b'{"kind": "ep', b'7', b'[1, 2]', b'{"kind": "epoch", "loss": 2}',
             b'{"kind": "epoch", "name": "\xc3')
    path.write_bytes(b'\n'.join(lines))
    assert [r.get('loss') for r in read_log(path)] == [None, 2]


def test_a_write_that_failed_spoils_no_other_row(tmp_path):
    path = tmp_path/'log'
    learn = make([Quiet(), LogCB(path, every=0)])
    learn.fit(1)
    with open(path, 'a') as f: f.write('{"run": "')  # the disk was full
    learn.fit(1)
    assert [r['kind'] for r in read_log(path)] == ['fit', 'epoch', 'epoch']*2


def strict(text):
    def refuse(name): raise ValueError(f'{name} is not JSON')
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def test_what_is_written_is_json(tmp_path):
    data = batches(4)
    data[1][0][0,0],data[3][0][0,0] = float('nan'),float('inf')
    make([Quiet(), LogCB(tmp_path/'log', every=1)], data).fit(1)
    assert strict((tmp_path/'log').read_text())[-1]['loss'] is None
    rows = read_log(tmp_path/'log')
    assert rows[-1]['loss'] != rows[-1]['loss'] and rows[1]['loss'] > 0
    assert plot_log(tmp_path/'log').get_lines()


def test_two_fits_and_two_runs_are_drawn_side_by_side(tmp_path):
    learn = make([Quiet(), LogCB(tmp_path/'log')])
    learn.fit(2); learn.fit(2)
    assert [list(line.get_xdata()) for line in plot_log(tmp_path/'log').get_lines()] == [[1, 2, 3, 4]]*2
    make([Quiet(), LogCB(tmp_path/'log')]).fit(1)
    assert len(plot_log(tmp_path/'log').get_lines()) == 4


def test_a_log_without_rows_of_epochs_says_why(tmp_path, capsys):
    "MetricsCB makes them; LogCB alone writes those of batches"
    make([LogCB(tmp_path/'log.jsonl')]).fit(2)
    assert capsys.readouterr().out.count('learn.history is empty') == 1
    make([Quiet(), LogCB(tmp_path/'log.jsonl')]).fit(2)
    assert not capsys.readouterr().out


def test_a_learner_of_ones_own_gets_its_epochs_logged(tmp_path):
    "One that promises no `history`"
    learn = Stranger(net(), Dls(batches(), batches(3, seed=1)), F.cross_entropy, 0.1,
                     [TrainCB(), Quiet(), LogCB(tmp_path/'log.jsonl')])
    learn.fit(2)
    assert [r['kind'] for r in read_log(tmp_path/'log.jsonl')].count('epoch') == 4


@pytest.mark.parametrize('every', [-1, 2.5, 'x', None])
def test_every_is_a_number_of_batches(every, tmp_path):
    with pytest.raises(ValueError, match='every must be a whole number from 0 on'): LogCB(tmp_path/'l', every)


# -- trackers

def test_a_local_tracker_around_any_loop(tmp_path):
    tracker = LocalTracker(tmp_path, 'by hand').init(dict(lr=0.1, bad=float('nan'), where=tmp_path))
    for step in range(3): tracker.log(dict(loss=torch.tensor(1/(step+1))), step)
    assert read_runs(tmp_path)[0]['state'] == 'running'
    tracker.finish()
    run, = read_runs(tmp_path)
    assert run['config'] == dict(lr=0.1, bad=None, where=str(tmp_path)) and run['state'] == 'finished'
    assert run['rows'] == [dict(step=n, loss=pytest.approx(1/(n+1))) for n in range(3)]
    for path in (tmp_path/'by hand').glob('*.json*'): strict(path.read_text())


@pytest.mark.parametrize('cls', [LocalTracker, TensorBoardTracker])
def test_two_trackers_with_one_folder(cls, tmp_path):
    cls(tmp_path, 'mine').init().finish()
    learn = make([Quiet(), TrackerCB(cls(tmp_path, 'mine'))])
    with pytest.raises(ValueError, match='mine is there: use another name, or none'): learn.fit(1)
    with pytest.raises(ValueError, match="names a folder, got 'a/b'"): cls(tmp_path, 'a/b').init()
    assert len({cls(tmp_path).init().run for _ in range(3)}) == 3


def test_one_tracker_for_two_callbacks(tmp_path):
    tracker = LocalTracker(tmp_path)
    with pytest.raises(ValueError, match='this LocalTracker is in a run'):
        make([Quiet(), TrackerCB(tracker), TrackerCB(tracker)]).fit(1)
    assert read_runs(tmp_path)[0]['rows'] == [] and not tracker.busy


@pytest.mark.parametrize('cls,package', [(WandbTracker, 'wandb'), (TensorBoardTracker, 'tensorboard')])
def test_a_package_that_is_missing_is_named(cls, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, 'torch.utils.tensorboard', raising=False)
    with pytest.raises(ImportError, match=rf'{package}.*pip install miniai\[track\]'): cls()


class Full(Tracker):
    "A tracker whose disk is full"
    def log(self, values, step): raise OSError(28, 'No space left on device')


def test_a_tracker_that_fails_says_so_once_and_never_stops_training():
    learn = make([Quiet(), TrackerCB(Full(), every=1)])
    with pytest.warns(UserWarning) as seen: learn.fit(2)
    said, = seen
    assert str(said.message).startswith('Full: log failed, and the training goes on: OSError: [Errno 28]')
    assert len(learn.history) == 4


def run_of(folder, name): return next(run for run in read_runs(folder) if run['name'] == name)


def timeless(rows): return [{k: v for k,v in row.items() if not k.endswith('time')} for row in rows]


def figure(learn):
    import matplotlib.pyplot as plt
    ax = plt.subplots()[1]
    ax.plot(learn.preds.detach()[:,0])
    return ax


def tracked(tracker, **kwargs):
    "A learner with everything that a tracker can be told"
    cb = TrackerCB(tracker, every=2, config=dict(note='mine', bad=float('inf')), picture=figure)
    return make([Quiet(accuracy=Accuracy()), cb, HistogramsCB(2)], **kwargs)


def test_what_a_local_tracker_keeps(tmp_path):
    learn = tracked(LocalTracker(tmp_path, 'a'))
    learn.fit(2)
    run = run_of(tmp_path, 'a')
    assert run['state'] == 'finished' and '83 parameters' in run['graph'] and 'Linear' in run['graph']
    assert run['config'] == dict(model='Sequential', opt='SGD', lr=0.1, n_epochs=2, batch_size=None,
                                 note='mine', bad=None)
    train,valid = [[r for r in learn.history if r['train'] == part] for part in ('train', 'eval')]
    rows = {part: [r for r in run['rows'] if f'{part}/loss' in r] for part in ('train', 'valid')}
    for part,history in dict(train=train, valid=valid).items():
        for key in 'loss', 'accuracy':
            assert [r[f'{part}/{key}'] for r in rows[part]] == [r[key] for r in history]
        assert [(r['step'], r['epoch']) for r in rows[part]] == [(3, 0), (7, 1)]
    assert [r['step'] for r in run['rows'] if 'loss' in r] == [0, 2, 4, 6]
    assert {r['lr'] for r in run['rows'] if 'lr' in r} == {0.1}
    assert [(p['name'], p['step']) for p in run['pictures']] == [('predictions', 3), ('predictions', 7)]
    assert len(run['histograms']) == 4*8 and {h['step'] for h in run['histograms']} == {0, 2, 4, 6}
    json.dumps(read_runs(tmp_path), allow_nan=False)
    for path in (tmp_path/'a').glob('*.json*'): strict(path.read_text())


def test_a_histogram_is_numpys(tmp_path):
    model = net()
    make([Quiet(), TrackerCB(LocalTracker(tmp_path, 'a')), HistogramsCB(9)], model=model, lr=0.).fit(1)
    found = {h['name']: h for h in run_of(tmp_path, 'a')['histograms']}
    for name,p in model.named_parameters():
        counts,edges = np.histogram(p.detach().numpy(), 30)
        assert found[f'weights/{name}']['counts'] == counts.tolist()
        assert found[f'weights/{name}']['edges'] == pytest.approx([edges[0], edges[-1]])
        assert sum(found[f'gradients/{name}']['counts']) == p.numel()


def test_histograms_of_values_that_are_equal_or_not_finite(tmp_path):
    model = net()
    with torch.no_grad():
        model[0].bias.zero_()
        model[2].bias.copy_(torch.tensor([1., float('nan'), float('inf')]))
        model[0].weight.fill_(float('nan'))
    model[2].weight.requires_grad_(False)
    make([Quiet(), TrackerCB(LocalTracker(tmp_path, 'a')), HistogramsCB(9)], model=model).fit(1)
    found = {h['name']: h for h in run_of(tmp_path, 'a')['histograms']}
    sums = {name: sum(found[f'weights/{name}']['counts']) for name,_ in model.named_parameters()}
    assert sums == {'0.weight': 0, '0.bias': 8, '2.weight': 24, '2.bias': 1}
    assert 'gradients/2.weight' not in found and found['weights/0.bias']['edges'] == [-0.5, 0.5]


class Resumed(Callback):
    def before_batch(self, learn):
        if learn.training and (learn.epoch, learn.iter) == (1, 3): raise OSError('power cut')


@pytest.mark.parametrize('every', [1, 2, 3])
@pytest.mark.parametrize('at', [1, 2, 3])
def test_a_resumed_run_is_one_run_without_a_row_twice(every, at, tmp_path):
    def learner(name):
        tracker = TrackerCB(LocalTracker(tmp_path/'runs', name), every=every, picture=figure)
        return make([Quiet(accuracy=Accuracy()), tracker, HistogramsCB(2),
                     CheckpointCB(tmp_path/name, every_batches=at)])
    learner('whole').fit(3)
    with pytest.raises(OSError): learner('cut').fit(3, cbs=Resumed())
    assert run_of(tmp_path/'runs', 'cut')['state'] == 'failed'
    learner('cut').fit(3, resume=True)
    whole,cut = (run_of(tmp_path/'runs', name) for name in ('whole', 'cut'))
    assert timeless(cut['rows']) == timeless(whole['rows']) and cut['histograms'] == whole['histograms']
    assert cut['state'] == 'finished' and len(cut['pictures']) == len(whole['pictures']) == 3


def test_a_second_fit_is_the_same_runs_next_part(tmp_path):
    learn = make([Quiet(), TrackerCB(LocalTracker(tmp_path), every=1)])
    learn.fit(1)
    learn.fit(2)
    run, = read_runs(tmp_path)
    assert [r['step'] for r in run['rows'] if 'loss' in r] == list(range(12)) and run['state'] == 'finished'
    assert not learn.tracker.failed


def test_a_tracker_or_a_callback_for_two_runs_keeps_them_apart(tmp_path):
    tracker,cb = LocalTracker(tmp_path/'t'),TrackerCB(LocalTracker(tmp_path/'c'), every=1)
    for lr in 0.1, 0.2:
        make([Quiet(), TrackerCB(tracker, every=1)], lr=lr).fit(1)
        make([Quiet(), cb], lr=lr).fit(1)
        LocalTracker(tmp_path/'h').init(dict(lr=lr)).finish()
    for folder in 't', 'c', 'h': assert [r['config']['lr'] for r in read_runs(tmp_path/folder)] == [0.1, 0.2]
    for folder in 't', 'c':
        rows = [run['rows'] for run in read_runs(tmp_path/folder)]
        assert [[r['step'] for r in part if 'loss' in r] for part in rows] == [[0, 1, 2, 3]]*2
    named = LocalTracker(tmp_path, 'named').init()
    named.finish()
    with pytest.raises(ValueError, match='named is there'): named.init()


def test_names_that_could_be_mistaken(tmp_path):
    tracker = LocalTracker(tmp_path, 'a').init()
    for step in range(4): tracker.log(dict(resumed=1, step=99), step)
    tracker.picture('valid/p', figure(SimpleNamespace(preds=torch.zeros(2, 2))), 3)
    tracker.finish()
    resumed = LocalTracker(tmp_path)
    resumed.run = 'a'
    with warnings.catch_warnings(action='error'): resumed.init(step=2).finish()
    run, = read_runs(tmp_path)
    assert [r['step'] for r in run['rows']] == [0, 1] and run['pictures'][0]['name'] == 'valid-p'


def test_slips_are_refused_before_a_batch(tmp_path):
    with pytest.raises(TypeError, match='tracker=.*LocalTracker.*: write'): TrackerCB(LocalTracker)
    with pytest.raises(TypeError, match='tracker=runs: write LocalTracker()'): TrackerCB('runs')
    with pytest.raises(ValueError): TrackerCB(config='wide')
    with pytest.raises(TypeError, match='is a dictionary, got'): LocalTracker(tmp_path).init('lr=1')
    with pytest.raises(TypeError): LocalTracker(tmp_path, 'a').init({(1, 2): 3})
    tracker = LocalTracker(tmp_path, 'a')
    with pytest.raises(ValueError, match='between init'): tracker.log(dict(loss=1), 0)
    tracker.init()
    with pytest.raises(ValueError, match='step must be a whole number'): tracker.log(dict(loss=1), None)
    tracker.finish()
    with pytest.raises(ValueError, match='between init'): tracker.log(dict(loss=1), 0)
    (tmp_path/'file').write_text('')
    with pytest.raises(OSError): make([Quiet(), TrackerCB(LocalTracker(tmp_path/'file'))]).fit(1)


def test_each_kind_of_failure_is_said_and_figures_are_closed(tmp_path):
    import matplotlib.pyplot as plt
    class Both(Full):
        def picture(self, name, figure, step): raise RuntimeError('no')
    plt.close('all')
    with pytest.warns(UserWarning) as seen:
        make([Quiet(), TrackerCB(Both(), every=1, picture=figure)]).fit(3)
    assert [str(w.message).split(' failed')[0] for w in seen] == ['Both: log', 'Both: draw']
    assert not plt.get_fignums()


def test_the_rate_is_the_one_that_the_step_used(tmp_path):
    from miniai.sched import BatchSchedCB
    class Used(Callback):
        def before_fit(self, learn): self.rates = []
        def step(self, learn):
            self.rates.append(learn.opt.param_groups[0]['lr'])
            learn.opt.step()
    used = Used()
    sched = BatchSchedCB(lambda opt: torch.optim.lr_scheduler.OneCycleLR(opt, 0.5, total_steps=8))
    make([Quiet(), used, sched, TrackerCB(LocalTracker(tmp_path), every=1)]).fit(2)
    rows = read_runs(tmp_path)[0]['rows']
    assert [r['lr'] for r in rows if 'lr' in r] == used.rates and len(set(used.rates)) == 8


def test_how_a_run_ended(tmp_path):
    from miniai.loop import CancelFitException
    class Ends(Callback):
        def __init__(self, error): self.error = error
        def before_batch(self, learn):
            if learn.iter == 1: raise self.error
    for error in KeyboardInterrupt(), ValueError('x'), CancelFitException():
        learn = make([Quiet(), TrackerCB(LocalTracker(tmp_path, type(error).__name__), every=1), Ends(error)])
        try: learn.fit(1)
        except (KeyboardInterrupt, ValueError): pass
    try: raise RuntimeError('out of memory')
    except RuntimeError: make([Quiet(), TrackerCB(LocalTracker(tmp_path, 'once more'))]).fit(1)
    states = {run['name']: run['state'] for run in read_runs(tmp_path)}
    assert states == {'KeyboardInterrupt': 'failed', 'ValueError': 'failed', 'CancelFitException': 'finished',
                      'once more': 'finished'}
    assert all(len(run['rows']) for run in read_runs(tmp_path))  # what was known when it ended is written


def test_what_is_no_run_is_said_and_left_out(tmp_path, capsys):
    LocalTracker(tmp_path, 'a').init().finish()
    for name,text in dict(empty=None, torn='{"name"', other='[1]', foreign='{"lr": 1}').items():
        (tmp_path/name).mkdir()
        if text: (tmp_path/name/'config.json').write_text(text)
    (tmp_path/'file').write_text('x')
    (tmp_path/'a'/'pictures'/'my_cat.png').write_bytes(b'')
    lines = '{"step": 1, "loss": 2}', '[3]', '{"step": 2, "lo', '{"a": 1}', '{"step": "x"}', '{"resumed": 1}'
    (tmp_path/'a'/'log.jsonl').write_text('\n'.join(lines))
    run, = read_runs(tmp_path)
    assert run['name'] == 'a' and run['rows'] == [dict(a=1, step=0)] and run['pictures'] == []
    assert capsys.readouterr().out.count('is not a run') == 4


def test_histograms_need_a_tracker(tmp_path):
    for cbs in [], [LogCB(tmp_path/'log')]:
        with pytest.raises(ValueError, match='needs a TrackerCB'): make([*cbs, HistogramsCB()]).fit(1)
    with pytest.raises(ValueError, match='every must be a whole number from 1 on'): HistogramsCB(0)


class Waits(torch.Tensor):
    "A loss that says when it is read"
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in (torch.Tensor.item, torch.Tensor.__float__, torch.Tensor.tolist): Waits.read += 1
        return super().__torch_function__(func, types, args, kwargs or {})


def test_no_batch_waits_for_the_device(tmp_path):
    class Seen(Callback):
        order = 70
        def before_fit(self, learn): Waits.read,self.read = 0,[]
        def after_batch(self, learn):
            if learn.training: self.read.append(Waits.read)
        def after_epoch(self, learn): self.read.append(Waits.read)
    def loss_func(preds, y): return F.cross_entropy(preds, y).as_subclass(Waits)
    seen = Seen()
    class NoRead(Quiet):
        def values(self): return dict(loss=1.)
    make([NoRead(), TrackerCB(LocalTracker(tmp_path), every=1), LogCB(tmp_path/'log', every=1), seen],
         loss_func=loss_func).fit(1)
    assert seen.read[:4] == [0]*4 and seen.read[4] == 8  # two callbacks, four losses


def test_a_long_epoch_is_written_every_minute(tmp_path, monkeypatch):
    clock = [0]
    monkeypatch.setattr(track.time, 'monotonic', lambda: clock[0])
    class Seen(Callback):
        order,rows = 70,[]
        def before_batch(self, learn): clock[0] += 25
        def after_batch(self, learn):
            if learn.training: self.rows.append(len(read_runs(tmp_path)[0]['rows']))
    make([Quiet(), TrackerCB(LocalTracker(tmp_path), every=1), Seen()], batches(7)).fit(1)
    assert Seen.rows == [0, 0, 3, 3, 3, 6, 6]


def test_looking_leaves_no_row(tmp_path):
    learn = make([Quiet(), TrackerCB(LocalTracker(tmp_path, 'a'), every=1), HistogramsCB(1)])
    learn.fit(1)
    rows = run_of(tmp_path, 'a')['rows']
    learn.validate()
    learn.get_preds()
    assert run_of(tmp_path, 'a')['rows'] == rows


# -- the real ones

def test_tensorboard_reads_back_what_was_told(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    def seen(): return EventAccumulator(str(tmp_path/'a'), dict(histograms=0, scalars=0, images=0)).Reload()
    def learner():
        learn = tracked(TensorBoardTracker(tmp_path, 'a'))
        learn.cbs.append(CheckpointCB(tmp_path/'checkpoints', every_batches=3))
        return learn
    with pytest.raises(OSError): learner().fit(2, cbs=Resumed())
    learn = learner()
    learn.fit(2, resume=True)
    found = seen()
    assert [(e.step, e.value) for e in found.Scalars('valid/loss')] == \
           [(n, pytest.approx(r['loss'])) for n,r in zip((3, 7), learn.history[1::2])]
    assert [e.step for e in found.Scalars('loss')] == [0, 2, 4, 6]  # none twice, though step 6 came twice
    histogram = found.Histograms('weights/0.weight')[0].histogram_value
    assert histogram.num == 48 and sum(histogram.bucket) == 48 and len(histogram.bucket) == 30
    assert found.Tags()['graph'] and [e.step for e in found.Images('predictions')] == [3, 7]
    assert 'mine' in found.Tensors('config/text_summary')[0].tensor_proto.string_val[0].decode()


def test_tensorboards_graph_changes_nothing(tmp_path):
    from torch import nn
    calls = []
    def learner(*cbs):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
        model[0].register_forward_hook(lambda m, x, y: calls.append(m))
        return make([Quiet(), *cbs], model=model)
    plain = learner()
    plain.fit(2)
    told = learner(TrackerCB(TensorBoardTracker(tmp_path)))
    told.fit(2)
    assert len(calls) == 2*2*7  # none by the graph
    torch.testing.assert_close(told.model.state_dict(), plain.model.state_dict(), rtol=0, atol=0)


def records(path):
    "The records in a file of W&B's: LevelDB's log format, seven bytes of its own before it"
    from wandb.proto.wandb_internal_pb2 import Record
    data,place,part = path.read_bytes(),7,b''
    assert data[:4] == b':W&B'
    while place + 7 <= len(data):
        left = 32768 - place%32768
        if left < 7:
            place += left
            continue
        _,size,kind = struct.unpack('<IHB', data[place:place+7])
        part += data[place+7:place+7+size]
        place += 7 + size
        if kind not in (1, 4): continue  # a record that goes on in the next block
        yield Record.FromString(part)
        part = b''


def told_wandb(path):
    "What a file holds: the run's name, its configuration, rows, how it ended"
    config,rows,name,code = {},[],None,None
    for record in records(path):
        kind = record.WhichOneof('record_type')
        if kind == 'run': name = record.run.run_id
        if kind in ('run', 'config'):
            update = record.run.config.update if kind == 'run' else record.config.update
            config |= {item.key or item.nested_key[0]: json.loads(item.value_json) for item in update}
        if kind == 'history':
            rows.append({item.key or '.'.join(item.nested_key): json.loads(item.value_json)
                         for item in record.history.item})
        if kind == 'exit': code = record.exit.exit_code
    return name,config,rows,code


def test_wandb_offline_holds_what_was_told(tmp_path, monkeypatch, request):
    import wandb
    request.addfinalizer(wandb.teardown)  # else its process lives on, and is taken for a worker of ours
    monkeypatch.setenv('WANDB_SILENT', 'true')
    def learner():
        learn = tracked(WandbTracker('lesson', mode='offline', dir=tmp_path))
        learn.cbs.append(CheckpointCB(tmp_path/'checkpoints', every_batches=3))
        return learn
    with pytest.raises(OSError): learner().fit(2, cbs=Resumed())
    learn = learner()
    learn.fit(2, resume=True)
    wandb.teardown()  # its process has written all when it has ended
    first,second = map(told_wandb, sorted(tmp_path.glob('wandb/offline-run-*/*.wandb'), key=os.path.getmtime))
    assert first[0] == second[0] == learn.tracker.tracker.run  # one run
    assert (first[3], second[3]) == (1, 0)
    assert first[1]['note'] == 'mine' and first[1]['bad'] is None and '83 parameters' in first[1]['graph']
    rows = {r['_step']: r for r in first[2]} | {r['_step']: r for r in second[2]}
    assert sorted(rows) == [0, 2, 3, 4, 6, 7]
    assert rows[3]['valid/loss'] == pytest.approx(learn.history[1]['loss'])
    assert rows[7]['train/accuracy'] == pytest.approx(learn.history[2]['accuracy'])
    assert sum(rows[0]['weights/0.weight.values']) == 48 and rows[6]['loss'] > 0
    assert rows[3]['predictions._type'] == 'image-file' or 'predictions' in str(rows[3])


def test_a_run_resumed_without_its_folder_says_what_is_lost(tmp_path):
    tracker = LocalTracker(tmp_path)
    tracker.run = 'gone'
    with pytest.warns(UserWarning, match='gone was gone, and what was in it before step 7'):
        tracker.init(step=7)
    tracker.log(dict(loss=1.), 7)
    tracker.finish()
    assert read_runs(tmp_path)[0]['rows'] == [dict(step=7, loss=1.)]


def test_a_log_without_an_epoch_is_a_picture_that_says_so(tmp_path):
    for n,text in enumerate(('', '{"run": "a", "kind": "fit", "step": 0}\n')):
        (tmp_path/f'{n}.jsonl').write_text(text)
        assert plot_log(tmp_path/f'{n}.jsonl').get_title() == f'{n}.jsonl: no epoch yet'
