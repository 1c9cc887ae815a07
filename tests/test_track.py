"A record of the run"
from miniai.learner import Accuracy, LogCB, plot_log, read_log
from tests.small import Quiet, make


def test_log_can_be_read_and_drawn(tmp_path):
    path = tmp_path/'logs'/'run.jsonl'
    make([Quiet(accuracy=Accuracy()), LogCB(path, every=2)]).fit(2)
    rows = read_log(path)
    assert [r['kind'] for r in rows] == ['fit', 'batch', 'batch', 'epoch', 'epoch', 'batch', 'batch', 'epoch', 'epoch']
    assert rows[3]['accuracy'] <= 1
    with open(path, 'a') as f: f.write('{"kind": "epo')  # cut off by a crash
    assert read_log(path) == rows
    assert plot_log(path).get_title() == 'run.jsonl'
