"Checks of lesson 28_tracking"
from math import inf, nan
import numpy as np
from .kit import Case, check, require, same

def _rows(*losses, name='valid/loss'): return [{'step': 10*i, name: loss} for i,loss in enumerate(losses)]

def _losses(run): return [r['valid/loss'] for r in run['rows'] if r.get('valid/loss') is not None]

@check('the best run')
def check_best_run(f):  # A function from runs, as `read_runs` gives them, to a name
    "Check which run had the lowest validation loss"
    def case(name, runs, want, hint):
        runs = [dict(name=n, rows=rows) for n,rows in runs.items()]
        def by(key, pick=min):
            told = [run for run in runs if _losses(run)]
            return lambda: pick(told, key=key, default=dict(name=None))['name']
        def of_all(run): return min([v for r in run['rows'] for v in r.values() if v] + [inf])
        def no_zeros(run): return min([v for v in _losses(run) if v], default=inf)
        mistakes = {'0 is a value: ask `is not None`.': by(no_zeros),
                    "Only the validation loss counts: rows with 'valid/loss'.": by(of_all),
                    'The lowest loss of a run counts, not its last.': by(lambda run: _losses(run)[-1]),
                    'The lowest loss of a run counts, not its mean.': by(lambda run: np.mean(_losses(run))),
                    'A loss should be low: take the smallest.': by(lambda run: min(_losses(run)), max)}
        return Case(name, lambda f: same(f(runs), want, runs, mistakes=mistakes), hint)
    train = _rows(0.1, name='train/loss') + _rows(0.5)
    four = dict(a=_rows(0.2, 0.9), b=_rows(0.4, 0.3), c=_rows(0.35, 0.31), d=_rows(0.6, 0.6))
    return [case('two runs', dict(a=_rows(2.5), b=_rows(2.4)), 'b', 'The name of the best.'),
            case('worse again', four, 'a', 'min over the rows of a run.'),
            case('other values', dict(a=train, b=_rows(0.3), c=_rows(0.9)), 'b',
                 "Many rows have no 'valid/loss': row.get('valid/loss') gives None for them."),
            case('not finite', dict(a=_rows(None, None), b=_rows(None, 0.7)), 'b',
                 'None is what JSON has for nan: leave it out before you compare.'),
            case('a loss of 0', dict(a=_rows(0.1), b=_rows(0.), c=_rows(0.9)), 'b', '0 is a value.'),
            case('no numbers', dict(a=_rows(0.1, name='loss'), b=[]), None, 'Without a number: None.')]

@check('a tracker of your own')
def check_best_tracker(cls):  # A subclass of Tracker
    "Check a tracker that keeps the lowest validation loss"
    keep = 'Override begin(self, config, step) and end rather than init and finish, or call super().'
    def case(name, told, want, hint, runs=1):
        def run(cls):
            tracker = cls()
            for _ in range(runs):
                tracker.init(dict(lr=0.1))
                require(tracker.busy, 'after init, the tracker is not busy', hint=keep)
                require(getattr(tracker, 'best', None) is None, 'after init, best is not None',
                        hint='best is None until a loss was told, and each init begins a new record.')
                for step,values in told: tracker.log(values, step)
                require(hasattr(tracker, 'best'), 'there is no `best`', hint='Set it in begin.')
                got = None if tracker.best is None else tuple(tracker.best)
                tracker.finish()
            mistakes = {'The pair is (loss, step).': want and want[::-1],
                        'nan is neither lower nor higher: leave it out.': (nan, told[0][0])}
            same(got, want, told, mistakes=mistakes)
            require(not tracker.busy, 'after finish, the tracker is still busy', hint=keep)
        return Case(name, run, hint)
    v = 'valid/loss'
    return [case('one loss', [(7, {v: 0.5})], (0.5, 7), 'self.best = values["valid/loss"],step'),
            case('three', [(7, {v: 2.5}), (15, {v: 0.}), (23, {v: 1.})], (0., 15), 'Keep the lowest.'),
            case('other values', [(0, dict(loss=0.01)), (7, {v: 0.5, 'train/loss': 0.1})], (0.5, 7),
                 'Not every call has a validation loss.'),
            case('nan', [(7, {v: nan}), (15, {v: 0.6}), (23, {v: nan})], (0.6, 15),
                 'No comparison with nan is true; x == x tells.'),
            case('nothing told', [(0, dict(loss=1.))], None, 'best stays None.'),
            case('two runs', [(7, {v: 0.5})], (0.5, 7), 'begin is called by init: a new record.', runs=2)]
