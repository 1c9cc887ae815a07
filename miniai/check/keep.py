"Checks of lesson 26_keeping"
import math, os, tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch
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
        def on_one_side():
            best,at = -math.inf,None
            for i,v in enumerate(values):
                if way*v > best: best,at = v,i
            return at
        mistakes = {'way is -1 if the values should fall: then the smallest is the best.': upside_down,
                    'Multiply by way on both sides: the best so far as well.': on_one_side,
                    'Of equal values the first counts: compare with < or >, not <= or >=.': last_of_equals}
        def run(f):
            got = f(values, way)
            require(not isinstance(got, torch.Tensor), 'it is a tensor', hint='Give a number: .item().')
            same(got, want, (values, way), mistakes=mistakes)
        return Case(name, run, hint)
    nan = math.nan
    return [case('falling is good', [2., 3., .5], -1, 2, 'Look for the smallest value, and give its place.'),
            case('rising is good', [0.3, 0.5, 0.4], 1, 1,
                 'way is 1 if the values should rise: then the largest is the best.'),
            case('two are equal', [3., 1., 2., 1.], -1, 1, 'Of equal values the first counts.'),
            case('the first is nan', [nan, 3., 2., 1.], -1, 3,
                 'No comparison with nan is true: leave nan out, but count it, for the places.'),
            case('nan between', [2., nan, 1., nan], -1, 2, 'No comparison with nan is true: leave nan out.'),
            case('nothing but nan', [nan, nan], 1, None,
                 'Where there is no number, there is no best epoch: give None.')]

@check('the best weights, kept')
def check_keep_best(make):  # Makes a callback
    "Check a callback that keeps the weights of the lowest validation loss"
    def case(name, losses, best, hint):
        def run(make):
            model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
            cb,learn,states = make(),SimpleNamespace(model=model, history=[]),[]
            getattr(cb, 'before_fit', id)(learn)
            for learn.epoch,loss in enumerate(losses):
                for learn.training,row in (True, -1.),(False, loss):
                    model.train(learn.training)
                    for t in model.state_dict().values(): t.data.add_(learn.training)
                    learn.history.append(dict(loss=row, train='train' if learn.training else 'eval'))
                    cb.after_epoch(learn)
                states.append({k: t.clone() for k,t in model.state_dict().items()})
            def need(so, text, hint): require(so, text, f'validation losses {losses}', hint=hint)
            got,own = getattr(cb, 'weights', None),model.state_dict()
            need(isinstance(got, dict), 'it has no `weights` by name', 'self.weights = … in after_epoch.')
            need(got.keys() == own.keys(), f'{len(got)} of {len(own)} names', 'state_dict() has the buffers.')
            need(all(t.data_ptr() != own[k].data_ptr() for k,t in got.items()), "they are the model's own",
                 'Further training changes them: copy each, or use copy.deepcopy.')
            same(dict(got), states[best], f'validation losses {losses}')
        return Case(name, run, hint)
    return [case('one epoch', [2.], 0, 'It is the best so far.'),
            case('it gets better', [3., 2., 1.], 2,
                 'A lower loss is better; training rows do not count: `if learn.training: return`.'),
            case('the best was earlier', [3., 1., 2.], 1, 'Remember the best loss, and compare with it.'),
            case('a nan first', [math.nan, 2., 3.], 1, 'No comparison with nan is true: never the best.')]

class _PowerCut(Exception): pass

@check('safe write')
def check_safe_write(f):  # A function of a path and `write`, which is called with an open binary file
    "Check that a file is written whole or not at all"
    def case(name, old, cut, hint):
        given = ('an old file before' if old else 'no file before') + ', an error in the middle'*cut
        def need(so, text, hint): require(so, text, given, hint=hint)
        def tried(f, path):
            rename,before,came = os.replace,path.stat().st_ino if old else None,None
            def write(file):
                where = getattr(file, 'name', 0)
                need(path.exists() == bool(old) and (not old or path.read_bytes() == old),
                     '`path` is not what it was, and the new file is not written yet',
                     'Opening `path` itself empties it: write under another name first.')
                need(not isinstance(where, str) or path.parent in Path(where).parents, f'its file is {where}',
                     'A rename works within one disk: write beside `path`.')
                file.write(b'ab')
                if cut: raise _PowerCut('power cut')
                file.write(b'c')
            def replace(a, b):
                need(Path(a).read_bytes() == b'abc', 'it is renamed before all is in it',
                     'Close the file first: `with open(…)` around the write alone.')
                rename(a, b)
            with patch.object(os, 'replace', replace), patch.object(os, 'rename', replace):
                try: f(path, write)
                except (_PowerCut, OSError, TypeError) as e: came = e
            if cut: need(isinstance(came, _PowerCut), f'{came!r} came out, not the error of `write`',
                         'Whoever calls must hear of an error: clean up, and let it travel on.')
            else: need(not came, f'{came!r} came', "`path` is a Path: f'{path}.new' is a name beside it.")
            files = {p.name: p.read_bytes() for p in path.parent.iterdir()}
            need(files.keys() <= {'best.pt'}, f'left: {[*files]}', 'Remove the temporary file: `finally`.')
            same(files, {'best.pt': old if cut else b'abc'} if old or not cut else {}, given)
            need(cut or path.stat().st_ino != before, 'the old file was written over',
                 'A kill in the middle of that leaves half a file: os.replace at the end.')
        def run(f):
            with tempfile.TemporaryDirectory() as folder:
                if old: (Path(folder)/'best.pt').write_bytes(old)
                tried(f, Path(folder)/'best.pt')
        return Case(name, run, hint)
    return [case('a new file', b'', False, 'Write, then rename to `path`.'),
            case('over an old one', b'old', False, 'os.replace renames over a file that is there.'),
            case('a power cut', b'old', True, 'The old file stays as it is.'),
            case('a power cut, no old file', b'', True, 'Half a file is worse than none.')]
