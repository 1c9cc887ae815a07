"""Every notebook as `make lessons` runs it: a real Jupyter kernel, Run All, as many threads as torch likes.

`make test` runs lessons with one thread, and once no test saw that a lesson hung with two, or that a run
resumed with one thread was not, to the last bit, the one begun with two. How torch's threads wait for each
other is as the Makefile or you set it: when they spin, a lesson takes minutes beside a busy process.
"""
import os, time
import pytest
from tests.conftest import LESSONS, TOOLS
from tests.run_lessons import executed

LIMIT = 240  # seconds for one notebook; 60 are allowed, on a machine with nothing else to do
ONE_THREAD = {'OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OMP_THREAD_LIMIT', 'MPLBACKEND'}


@pytest.mark.long
@pytest.mark.parametrize('path', LESSONS + TOOLS, ids=lambda p: p.stem)
def test_run_all(path):
    env = {k: v for k,v in os.environ.items() if k not in ONE_THREAD}
    start = time.perf_counter()
    executed(path, timeout=LIMIT/2, env=env)  # raises when a cell fails, or takes too long
    assert time.perf_counter()-start < LIMIT
