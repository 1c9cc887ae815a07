"A record of the run"
import json, sys
import pytest, torch, torch.nn.functional as F
from miniai.learner import Accuracy, Callback, CheckpointCB, LogCB, TrainCB, plot_log, read_log
from miniai.track import LocalTracker, TensorBoardTracker, Tracker, TrackerCB, WandbTracker, read_runs
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
    with pytest.raises(ValueError, match='this LocalTracker is in a run: make one for each'):
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
    assert str(said.message).startswith('Full failed, and the training goes on: OSError')
    assert len(learn.history) == 4
