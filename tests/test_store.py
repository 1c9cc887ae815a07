"Numbered files, and one at a time"
import os, signal, subprocess, sys
from pathlib import Path
import pytest, torch
from miniai.keep import Lock, Store
from tests.conftest import ROOT


def test_files_are_ours_by_their_whole_name_and_sort_by_number(tmp_path):
    store = Store(tmp_path, 'run-{:06d}-{:02d}.pt')
    for name in 'run-000010-01.pt', 'run-000009-100.pt', 'run-1000000-01.pt', 'run-999999-01.pt':
        (tmp_path/name).touch()
    for name in 'run-000010-01.pt.bak', 'run-10-01.pt', 'run-000010.pt', 'xrun-000010-01.pt':
        (tmp_path/name).touch()
    names = [p.name for p in store.files()]
    assert names == ['run-000009-100.pt', 'run-000010-01.pt', 'run-999999-01.pt', 'run-1000000-01.pt']
    assert store.write(dict(a=1), 7).name == 'run-1000001-07.pt'
    store.prune(2)
    assert [p.name for p in store.files()] == ['run-1000000-01.pt',
                                               'run-1000001-07.pt'] and len(list(tmp_path.iterdir())) == 6
    assert Store(tmp_path/'none', 'a-{:01d}.pt').files() == []


def test_the_newest_whole_one(tmp_path, capsys):
    store = Store(tmp_path, 'a-{:01d}.pt')
    assert store.last() == (None, None)
    for i in range(3): store.write(dict(i=i))
    assert store.last()[1] == dict(i=2)
    assert store.last(lambda state: 'even' if state['i'] % 2 == 0 else '')[1] == dict(i=1)
    with pytest.raises(ValueError, match='never'): store.last(lambda state: 'never')
    for path in store.files(): path.write_bytes(path.read_bytes()[:50])
    assert store.last(lambda state: 'never') == (None, None)
    assert capsys.readouterr().out.count('cannot be read') == 7


def test_nothing_in_a_file_is_run(tmp_path):
    class Evil:
        def __reduce__(self): return eval, ("open('/tmp/miniai_evil_store', 'w')",)
    store = Store(tmp_path, 'a-{:01d}.pt')
    torch.save(Evil(), tmp_path/'a-1.pt')
    assert store.last() == (None, None) and not Path('/tmp/miniai_evil_store').exists()


HOLD = """
import sys, time
from miniai.keep import Lock
Lock(sys.argv[1]).take()
print('held', flush=True)
time.sleep(60)
"""

def test_a_lock_ends_with_its_process(tmp_path):
    process = subprocess.Popen([sys.executable, '-c', HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE,
                               text=True)
    assert process.stdout.readline() == 'held\n'
    with pytest.raises(RuntimeError, match='another run'): Lock(tmp_path).take()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    lock = Lock(tmp_path)
    lock.take()
    lock.take()  # ours already
    with pytest.raises(RuntimeError, match='another run'): Lock(tmp_path/'.').take()
    lock.release()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_only_one_of_many_gets_it(tmp_path):
    code = HOLD.replace('time.sleep(60)', 'sys.stdin.read()')
    def start():
        return subprocess.Popen([sys.executable, '-c', code, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)
    processes = [start() for _ in range(2)]
    first = [p.stdout.readline() for p in processes]
    for p in processes: p.communicate()
    assert first.count('held\n') == 1
