"Numbered files, and one run at a time: what CheckpointCB does in its folder"
import os, signal, subprocess, sys
from pathlib import Path
import pytest, torch
from miniai.learner import Callback, CheckpointCB
from tests.conftest import ROOT
from tests.small import Quiet, make


def run(folder, epochs=2, **kwargs):
    learn = make([Quiet(), CheckpointCB(folder)])
    learn.fit(epochs, **kwargs)
    return learn.checkpoint.files()


def test_files_are_ours_by_their_whole_name_and_sort_by_number(tmp_path):
    assert CheckpointCB(tmp_path/'none').files() == []
    rest = '-00001-00000000.pt'
    for number in '000010', '000009', '1000000', '999999': (tmp_path/f'checkpoint-{number}{rest}').touch()
    others = [f'checkpoint-000010{rest}.bak', f'checkpoint-10{rest}', 'checkpoint-000010.pt',
              f'xcheckpoint-000010{rest}', f'checkpoint-000010{rest[:-3]}Xpt']
    for name in others: (tmp_path/name).touch()
    files = CheckpointCB(tmp_path).files()
    assert [int(p.name.split('-')[1]) for p in files] == [9, 10, 999_999, 1_000_000]
    run(tmp_path, resume=True)  # all are empty: damaged, so it begins again, behind them
    numbers = [int(p.name.split('-')[1]) for p in CheckpointCB(tmp_path).files()]
    assert numbers == [1_000_001, 1_000_002, 1_000_003]  # one at the start, for there are older ones
    assert all((tmp_path/name).exists() for name in others)


def test_the_newest_whole_one(tmp_path, capsys):
    files = run(tmp_path, 3)
    newest = files[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    assert run(tmp_path, 3, resume=True)[-1].name > newest.name
    out = capsys.readouterr().out
    assert f'{newest} cannot be read, looking at the one before' in out and f'resuming from {files[1]}' in out
    for path in CheckpointCB(tmp_path).files(): path.write_bytes(path.read_bytes()[:50])
    run(tmp_path, 1, resume=True)
    out = capsys.readouterr().out
    assert out.count('cannot be read') == 3 and 'starting afresh' in out


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    class Evil:
        def __reduce__(self): return eval, ("open('/tmp/miniai_evil_store', 'w')",)
    for path in run(tmp_path): torch.save(Evil(), path)
    run(tmp_path, resume=True)
    assert not Path('/tmp/miniai_evil_store').exists() and 'eval' in capsys.readouterr().out


HOLD = """
import sys, time
from miniai.learner import Callback, CheckpointCB
from tests.small import make
class Wait(Callback):
    def before_batch(self, learn):
        print('held', flush=True)
        sys.stdin.read()
make([CheckpointCB(sys.argv[1]), Wait()]).fit(1)
"""

def start(folder):
    return subprocess.Popen([sys.executable, '-c', HOLD, str(folder)], cwd=ROOT, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_lock_ends_with_its_process(tmp_path):
    process = start(tmp_path)
    assert process.stdout.readline() == 'held\n'
    with pytest.raises(RuntimeError, match='another run'): run(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    class Another(Callback):
        def before_epoch(self, learn):
            for same in tmp_path,tmp_path/'.',tmp_path/'..'/tmp_path.name:
                with pytest.raises(RuntimeError, match='another run'): run(same)
            assert start(tmp_path).communicate()[1].strip().endswith('a folder of its own')
    learn = make([CheckpointCB(tmp_path)])
    learn.fit(1, cbs=Another())  # the refused ones have not let it go
    learn.fit(1)
    assert {p.name for p in tmp_path.iterdir()} == {'lock', *(p.name for p in learn.checkpoint.files())}


def test_only_one_of_many_gets_it(tmp_path):
    processes = [start(tmp_path) for _ in range(2)]
    first = [p.stdout.readline() for p in processes]
    for p in processes: p.communicate()
    assert first.count('held\n') == 1
