"The page that shows and compares tracked runs: `miniai runs FOLDER` fills the template runs.html"
import json, math, os, time
from pathlib import Path
from urllib.parse import quote
from .tools.files import write_safely
from .track import read_runs

__all__ = ['runs_page']


def _flat(config, before=''):
    "The settings of nested dictionaries, as opt.lr; numbers stay numbers"
    for key,value in config.items():
        if isinstance(value, dict): yield from _flat(value, f'{before}{key}.')
        elif type(value) in (int, float) and math.isfinite(value): yield f'{before}{key}',value
        else: yield f'{before}{key}',str(value)


def _finite(value): return float(f'{value:.6g}') if value is not None and math.isfinite(value) else None


def _thinned(values, n):
    "Which of `values` a curve of `n` pieces needs: of each piece its lowest, its highest and a gap"
    size = -(-len(values)//n)
    if size < 4: return range(len(values))
    kept = {0, len(values)-1}
    for start in range(0, len(values), size):
        piece = range(start, min(start+size, len(values)))
        there = [i for i in piece if values[i] is not None]
        kept |= {min(there, key=values.__getitem__), max(there, key=values.__getitem__)} if there else set()
        kept |= {next(i for i in piece if values[i] is None)} if len(there) < len(piece) else set()
    return sorted(kept)


def _shown(run, folder, pieces=300):
    "What the page needs of a run"
    points,pictures,histograms = {},{},{}
    config = run['config'] if isinstance(run['config'], dict) else dict(config=run['config'])
    rows = [row for row in run['rows'] if type(row.get('step')) in (int, float)]  # others stand nowhere
    for row in sorted(rows, key=lambda row: row['step']):
        for name,value in row.items():
            if name == 'step' or not (value is None or type(value) in (int, float)): continue
            steps,values = points.setdefault(name, ([], []))
            steps.append(row['step'])
            values.append(_finite(value))
    curves = {}
    for name,(steps,values) in points.items():
        kept = _thinned(values, pieces)
        curves[name] = dict(x=[steps[i] for i in kept], y=[values[i] for i in kept])
    for picture in run['pictures']:
        path = Path(os.path.relpath(picture['path'], folder)).as_posix()
        pictures.setdefault(picture['name'], []).append((picture['step'], quote(path)))
    for h in run['histograms']:
        low,high = map(_finite, h['edges'])
        if None in (low, high): continue
        one = dict(step=h['step'], low=low, high=high, counts=h['counts'])
        histograms.setdefault(h['name'], []).append(one)
    for name,all_steps in histograms.items():
        histograms[name] = all_steps[::-(-len(all_steps)//60)]
    return dict(name=run['name'], state=run['state'], started=run['started'], graph=run['graph'],
                config=dict(_flat(config)), curves=curves, histograms=histograms,
                pictures=pictures,
                steps=max([row['step'] for row in rows], default=0),
                last={name: values[-1] for name,(_,values) in points.items()})


def runs_page(
    folder   # With the runs that LocalTracker wrote
)->Path:     # `index.html` in it
    "Write a page that shows and compares the runs in a folder"
    folder = Path(folder)
    runs = [_shown(run, folder) for run in read_runs(folder)]
    data = dict(folder=folder.resolve().name, made=time.strftime('%Y-%m-%d %H:%M'), runs=runs)
    # without a `<` no text can end the script element that it stands in
    text = json.dumps(data, allow_nan=False, separators=(',', ':')).replace('<', r'\u003c')
    page = Path(__file__).with_name('runs.html').read_text(encoding='utf-8').replace('/*DATA*/', text, 1)
    write_safely(folder/'index.html', lambda f: f.write(page.encode()))
    return folder/'index.html'
