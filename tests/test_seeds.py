"""Every lesson with other seeds: its asserts hold for more than the random numbers that the page shows.

Changed are the seeds that a reader can change in a lesson's cells, all by the same amount, so that equal
ones stay equal: the number in `torch.manual_seed(42)`, a generator's `.manual_seed(7)`,
`random.seed(1)`, `set_seed(1)`, `default_rng(1)`, `seeded(1)`, `seed=1`, `for seed in (1, 2)`,
`for seed in range(3)`.
A cell that sets none draws other numbers too: the kernel starts with another seed. Left as they are: the
library's own cells (`#| export`), the drawn data, which are the same for everyone, and a line that says
`# this seed`: what comes of it, the lesson says, is about this very seed.
"""
import os, re
from concurrent.futures import ThreadPoolExecutor
import nbformat, pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from tests.conftest import LESSONS
from tests.run_lessons import executed

SEED = re.compile(r'\b(?:(?:manual_seed|set_seed|seed|default_rng|seeded)\(|'
                  r'seed *= *|for seed in [(\[])[\d, ]+')
START = 'import random, numpy, torch; [f({}) for f in (random.seed, numpy.random.seed, torch.manual_seed)]'
ENV = os.environ | {'OMP_NUM_THREADS': '1', 'OMP_WAIT_POLICY': 'PASSIVE', 'HF_HUB_OFFLINE': '1'}


def other_seeds(source, add):
    "A cell's source with `add` added to its seeds"
    if source.lstrip().startswith('#| export'): return source
    source = source.replace('for seed in range(', f'for seed in range({add}, {add}+')
    def plus(match): return re.sub(r'\d+', lambda number: str(int(number[0])+add), match[0])
    return '\n'.join(line if '# this seed' in line else SEED.sub(plus, line) for line in source.splitlines())


def run(path, add):
    "The notebook as it is after a run with other seeds"
    return executed(path, first=START.format(add), changed=lambda source: other_seeds(source, add), env=ENV)


def where(error):
    "The cell that failed, the line in it, and what was wrong"
    lines = re.sub(r'\x1b\[[0-9;]*m', '', error.traceback).strip().splitlines()
    arrow = next((line for line in lines if re.match(r'-+> *\d+ ', line)), '')
    return '\n'.join([*error.__notes__, arrow, lines[-1]])


def test_changes_seeds():
    cell = 'torch.manual_seed(42)\ng = torch.Generator().manual_seed(7)  # this seed\nf(n=3, seed=1)'
    assert other_seeds(cell, 100) == cell.replace('42', '142').replace('seed=1', 'seed=101')
    assert other_seeds(f'#| export\n{cell}', 100) == f'#| export\n{cell}'
    assert other_seeds('def f(seed=3): seed_all(seed)', 1) == 'def f(seed=4): seed_all(seed)'
    assert other_seeds('[f(seed, 5) for seed in (1, 2)]', 10) == '[f(seed, 5) for seed in (11, 12)]'
    assert other_seeds('for seed in range(3): f()', 10) == 'for seed in range(10, 10+3): f()'


@pytest.mark.long
def test_says_where(tmp_path):
    "What is true of seed 42 alone fails on another, and the message names the cell and the line"
    lesson = new_notebook(cells=[new_markdown_cell('A claim'), new_code_cell(
        'import torch\ntorch.manual_seed(42)\nassert torch.rand(()) > 0.88')])
    path = tmp_path/'lesson.ipynb'
    nbformat.write(lesson, path)
    run(path, 0)
    with pytest.raises(CellExecutionError) as failed: run(path, 1000)
    text = where(failed.value)
    assert text.startswith('in cell 1, ') and '3 assert torch.rand(()) > 0.88' in text and 'Error' in text


@pytest.mark.long
@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_holds_for_other_seeds(path):
    with ThreadPoolExecutor(2) as two:  # kernels at once
        runs = {add: two.submit(run, path, add) for add in (1000, 2000, 3000)}
    for add,ended in runs.items():
        try: ended.result()
        except CellExecutionError as e: pytest.fail(f'seeds + {add}: {where(e)}', pytrace=False)
