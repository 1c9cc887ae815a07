"""01_pixels keeps its promise: its own code, run with other seeds, learns handwriting and drawn digits."""
import dis, os, re
from pathlib import Path
import pytest
from tests.conftest import ROOT, code_cells


def names(code):
    "The global names that a piece of code binds, and those that it and its functions want from outside"
    inner = [names(c)[1] for c in code.co_consts if hasattr(c, 'co_code')]
    bound,wanted = set(),set()
    for i in dis.get_instructions(code):
        if i.opname == 'STORE_NAME': bound.add(i.argval)
        elif i.opname in ('LOAD_NAME', 'LOAD_GLOBAL') and i.argval not in bound: wanted.add(i.argval)
    return bound,wanted.union(*inner) - (bound - wanted)


def what_it_takes(cells, target):
    "The cells that `target` builds on, in order: those that bind a name which it, or another of them, wants"
    kept,needed = [],names(compile(target, 'target', 'exec'))[1]
    for src in reversed(cells):
        bound,wanted = names(compile(src, 'cell', 'exec'))
        if not bound & needed: continue
        kept.insert(0, src)
        needed = needed - bound | wanted
    return kept


def three_models():
    "The lesson's cell that trains the three models, and all cells before it"
    cells = code_cells(ROOT/'nbs'/'01_pixels.ipynb')
    trains = re.compile(r'linear-ReLU-linear.*^curves = ', re.M | re.S)
    at, = [i for i,src in enumerate(cells) if trains.search(src)]
    return cells[:at],cells[at]


@pytest.mark.parametrize('source,seeds', [('drawn', 2), ('mnist', 5)])
def test_three_models_on_any_seed(source, seeds, monkeypatch):
    folder = os.environ.get('MINIAI_DATA')
    if source == 'drawn': monkeypatch.delenv('MINIAI_DATA', raising=False)
    elif not folder or not (Path(folder)/'mnist').is_dir(): pytest.skip('needs MINIAI_DATA with mnist in it')
    cells,target = three_models()
    scope = {}
    for src in what_it_takes(cells, target): exec(src, scope)
    assert len(scope['x_valid']) >= 350 and 0.4 < scope['y_valid'].mean() < 0.6
    for seed in range(seeds):
        src,n = re.subn(r'torch\.manual_seed\(\d+\)', f'torch.manual_seed({seed})', target)
        assert n == 1, 'the seed is set once, before all three models'
        exec(src, scope)
        final = {name: curve[-1] for name,curve in scope['curves'].items()}
        assert final['linear by hand'] > 0.95 and final['nn.Linear'] > 0.95, f'seed {seed}: {final}'
        assert final['linear-ReLU-linear'] > 0.975, f'seed {seed}: {final}'
