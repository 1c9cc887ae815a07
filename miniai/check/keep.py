"Checks of lesson 26_keeping"
import math, tempfile
from pathlib import Path
import torch
from .kit import Case, check, require, same

@check('best epoch')
def check_best_epoch(f):  # A function of values and `way` that gives the number of the best epoch
    "Check which epoch a function takes for the best"
    def case(name, values, way, want, hint):
        first,last = (max, min) if way < 0 else (min, max)
        known = [v for v in values if v == v]
        def upside_down(): return values.index(first(known))
        def last_of_equals(): return len(values) - 1 - values[::-1].index(last(known))
        mistakes = {'way is -1 if the values should fall: then the smallest is the best.': upside_down,
                    'Of equal values the first counts: compare with < or >, not <= or >=.': last_of_equals}
        return Case(name, lambda f: same(f(values, way), want, (values, way), mistakes=mistakes), hint)
    nan = math.nan
    return [case('falling is good', [3., 1., 2.], -1, 1, 'Look for the smallest value, and give its place.'),
            case('rising is good', [0.3, 0.5, 0.4], 1, 1,
                 'way is 1 if the values should rise: then the largest is the best.'),
            case('two are equal', [3., 1., 2., 1.], -1, 1, 'Of equal values the first counts.'),
            case('the first is nan', [nan, 2., 1.], -1, 2, 'No comparison with nan is true: leave nan out.'),
            case('nan between', [2., nan, 1., nan], -1, 2, 'No comparison with nan is true: leave nan out.'),
            case('nothing but nan', [nan, nan], 1, None,
                 'Where there is no number, there is no best epoch: give None.')]

def _model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))

def _train(model):
    with torch.no_grad():
        for t in model.state_dict().values(): t.add_(1)

@check('snapshot')
def check_snapshot(f):  # A function from a model to its weights and buffers
    "Check that weights are copied, all of them, and come back"
    def names(f):
        got = f(_model())
        require(got is not None, 'it is None: is there a `return`?')
        same(sorted(got), sorted(_model().state_dict()), 'Linear, BatchNorm1d, Linear')
    def copied(f):
        model = _model()
        before = {k: v.clone() for k,v in model.state_dict().items()}
        kept = f(model)
        _train(model)
        same({k: kept[k] for k in before}, before, 'one more step of training')
    def own(f):
        model = _model()
        next(iter(f(model).values())).zero_()
        require(bool(model[0].weight.any()), 'writing into the snapshot changed the model')
    def back(f):
        model = _model()
        kept,before = f(model),{k: v.clone() for k,v in model.state_dict().items()}
        _train(model)
        model.load_state_dict(kept)
        same(dict(model.state_dict()), before, 'load_state_dict(snapshot)', rtol=0, atol=0)
    return [Case('all names', names, 'Weights and buffers by name: state_dict() has them all.'),
            Case('not changed by training', copied,
                 'The tensors in a state dict are the model\'s own: clone each of them.'),
            Case('belongs to nobody else', own,
                 'A dictionary is not enough: the tensors in it must be copies.'),
            Case('can be loaded', back, 'load_state_dict wants the tensors by their names, buffers too.')]

class _PowerCut(Exception): pass

@check('safe write')
def check_safe_write(f):  # A function of a path and `write`, which is called with an open binary file
    "Check that a file is written whole or not at all"
    def tried(f, old, parts, cut):
        def write(file):
            for i,part in enumerate(parts):
                if i == cut: raise _PowerCut('power cut')
                file.write(part)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)/'best.pt'
            if old is not None: path.write_bytes(old)
            came = False
            try: f(path, write)
            except _PowerCut: came = True
            files = {p.name: p.read_bytes() for p in Path(folder).iterdir()}
            return came,files
    def case(name, old, parts, cut, want, hint):
        def run(f):
            came,files = tried(f, old, parts, cut)
            given = 'no file before' if old is None else 'an old file before'
            given += ', an error in the middle' if cut else ', no error'
            require(came == bool(cut), 'the error of `write` did not come out' if cut else 'an error came',
                    given,
                    hint='Whoever calls must hear of an error: clean up, and let it travel on.')
            extra = sorted(set(files) - {'best.pt'})
            require(not extra, f'left beside it: {extra}', given,
                    hint='Remove the temporary file in a `finally`.')
            same(files, want, given)
        return Case(name, run, hint)
    return [case('a new file', None, [b'ab', b'c'], None, {'best.pt': b'abc'},
                 'Write, then rename to `path`.'),
            case('over an old one', b'old', [b'new'], None, {'best.pt': b'new'},
                 'os.replace renames over a file that is there.'),
            case('a power cut', b'old', [b'ne', b'w'], 1, {'best.pt': b'old'},
                 'Opening `path` itself empties it: write under another name first.'),
            case('a power cut, no old file', None, [b'ne', b'w'], 1, {}, 'Half a file is worse than none.')]
