"""Run lessons top to bottom in a fresh kernel and keep the outputs in the notebooks.

    python tests/run_lessons.py [nbs/05_losses.ipynb …]     all of them, and the tools', by default

Cells marked `#| eval: false` are left out, as nbdev_test leaves them out. A failing cell ends the run
with its error and leaves the notebook as it was.
"""
import os, re, sys, time
from pathlib import Path
import nbformat
from execnb.nbio import dict2nb, write_nb
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbdev.clean import clean_nb

ROOT = Path(__file__).parents[1]
NOT_RUN = re.compile(r'^\s*#\|\s*eval:\s*false', re.M)
KEPT = ['jupyter']  # is a cell collapsed? settings.ini names the same key to nbdev


class LessonClient(NotebookClient):
    async def async_execute_cell(self, cell, cell_index, **kwargs):
        if NOT_RUN.search(cell.source): return cell
        try: return await super().async_execute_cell(cell, cell_index, **kwargs)
        except CellExecutionError as e:
            e.add_note(f'in cell {cell_index}, {cell.id}')
            raise


def cleaned(nb):
    "`nb` as nbdev_clean leaves it, but with the execution counts: they show that it was one run"
    clean = dict2nb(nb)
    clean_nb(clean, allowed_cell_metadata_keys=KEPT)
    for old,new in zip(nb.cells, clean.cells):
        if old.cell_type != 'code': continue
        new.execution_count = old.execution_count
        for output in new.outputs:
            if output.output_type == 'execute_result': output.execution_count = old.execution_count
    return clean


def executed(
    path,         # The notebook
    timeout=600,  # Seconds that one cell may take
    first='',     # Python to run before the first cell
    changed=None, # A function of a code cell's source that gives what to run instead
    **kwargs      # For the kernel's start: `env`
):
    "The notebook as it is after a run from top to bottom in a kernel of its own; the file stays as it was"
    nb = nbformat.read(path, as_version=4)
    for cell in nb.cells:
        if cell.cell_type != 'code': continue
        cell.outputs,cell.execution_count = [],None
        if changed: cell.source = changed(cell.source)
    setup = f'import sys; sys.path.insert(0, {str(ROOT)!r}); {first}'  # as nbdev_test does
    client = LessonClient(nb, timeout=timeout, record_timing=False, store_widget_state=False,
                          resources={'metadata': {'path': str(path.parent)}},
                          extra_arguments=[f'--IPKernelApp.exec_lines={setup}'])
    client.execute(**kwargs)
    return nb


if __name__ == '__main__':
    os.environ.pop('MPLBACKEND', None)  # with one set, as tests do, a notebook would lose its pictures
    everything = [*sorted((ROOT/'nbs').glob('[0-9]*.ipynb')), *sorted((ROOT/'nbs/tools').glob('*.ipynb'))]
    for path in map(Path, sys.argv[1:] or everything):
        start = time.perf_counter()
        write_nb(cleaned(executed(path)), path)
        print(f'{path.name}: {time.perf_counter()-start:.0f} s', flush=True)
