"Checks of lesson 28_tracking"
import math
from .kit import Case, check, require, same

nan = math.nan

def _smoothed(values, beta, corrected=True, through=False):
    m,n,out = 0.,0,[]
    for v in values:
        if v is not None:
            m,n = beta*m + (1-beta)*v,n + 1
            if through: m = m/(1 - beta**n)
        out.append(None if v is None else m/(1 - beta**n) if corrected and not through else m)
    return out

@check('the slider')
def check_smoothed(f):  # A function of a list of values and `beta`
    "Check a running mean that is corrected as Adam's"
    def case(name, values, beta, hint):
        def begun_with_first():
            m,out = None,[]
            for v in values:
                if v is not None: m = v if m is None else beta*m + (1-beta)*v
                out.append(None if v is None else m)
            return out
        def by_place():
            m,out = 0.,[]
            for n,v in enumerate(values, 1):
                if v is not None: m = beta*m + (1-beta)*v
                out.append(None if v is None else m/(1 - beta**n))
            return out
        found = [v for v in values if v is not None]
        mistakes = {'The correction is missing: divide by 1 - beta**n, n counted from 1.':
                        _smoothed(values, beta, corrected=False),
                    'Go on with m itself; only what is given out is divided.':
                        _smoothed(values, beta, through=True),
                    'Begin at 0, not at the first value.': begun_with_first,
                    'beta is the share of the old mean, 1 - beta that of the new value.':
                        lambda: _smoothed(values, 1 - beta),
                    'A None does not count: n is the number of values so far.': by_place,
                    'A None stays in the list, at its place.': _smoothed(found, beta)}
        want = _smoothed(values, beta)
        def run(f):
            given = list(values)
            got = f(given, beta)
            require(given == values, 'the list that was given is changed')
            same(list(got), want, f'values={values}, beta={beta}', mistakes=mistakes)
        return Case(name, run, hint)
    return [case('one value', [3.], 0.9, 'The first point is the first value: 0.1*3/(1 - 0.9).'),
            case('four values', [2., 4., 1., 3.], 0.75, 'm = beta*m + (1-beta)*value, then m/(1 - beta**n).'),
            case('no smoothing', [2., 0., 4.], 0., 'With beta = 0 the curve is as it was.'),
            case('missing values', [None, 2., None, 4., 0.], 0.5, 'A None gives None, and m and n stay.'),
            case('no values', [], 0.9, 'An empty list gives an empty list.')]

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
        def of_all(run):
            return min([v for r in run['rows'] for k,v in r.items() if 'loss' in k and v is not None])
        mistakes = {'0 is a value: ask `is not None`.':
                        by(lambda run: min([v for v in _losses(run) if v], default=math.inf)),
                    "Only the validation loss counts: rows with 'valid/loss'.": by(of_all),
                    'The lowest loss of a run counts, not its last.': by(lambda run: _losses(run)[-1]),
                    'The lowest loss of a run counts, not its mean.':
                        by(lambda run: sum(_losses(run))/len(_losses(run))),
                    'A loss should be low: take the smallest.': by(lambda run: min(_losses(run)), max)}
        return Case(name, lambda f: same(f(runs), want, runs, mistakes=mistakes), hint)
    four = dict(a=_rows(0.2, 0.9), b=_rows(0.4, 0.3), c=_rows(0.35, 0.31), d=_rows(0.6, 0.6))
    return [case('two runs', dict(a=_rows(0.5), b=_rows(0.4)), 'b', 'The name of the best.'),
            case('worse again', four, 'a', 'min over the rows of a run.'),
            case('other values', dict(a=_rows(0.1, name='train/loss') + _rows(0.5), b=_rows(0.3)), 'b',
                 "Many rows have no 'valid/loss': row.get('valid/loss') gives None for them."),
            case('not finite', dict(a=_rows(None, None), b=_rows(None, 0.7)), 'b',
                 'None is what JSON has for nan: leave it out before you compare.'),
            case('a loss of 0', dict(a=_rows(0.1), b=_rows(0.)), 'b', '0 is a value: ask `is not None`.'),
            case('no numbers', dict(a=_rows(0.1, name='loss'), b=[]), None, 'Without a number: None.'),
            case('no runs', {}, None, 'An empty list has no best run: None.')]

@check('a tracker of your own')
def check_best_tracker(cls):  # A subclass of Tracker
    "Check a tracker that keeps the lowest validation loss"
    def case(name, told, want, hint, runs=1):
        def run(cls):
            tracker = cls()
            for _ in range(runs):
                tracker.init(dict(lr=0.1))
                require(tracker.best is None, f'after init, best is {tracker.best!r}',
                        hint='best is None until a loss was told, and each init begins a new record.')
                for step,values in told: tracker.log(values, step)
                got = None if tracker.best is None else tuple(tracker.best)
                tracker.finish()
            mistakes = {'The pair is (loss, step).': want and want[::-1],
                        'nan is neither lower nor higher: leave it out.': (nan, told[0][0])}
            same(got, want, told, mistakes=mistakes)
            require(not tracker.busy, 'after finish, the tracker is still busy',
                    hint='Override begin and end rather than init and finish, or call super().')
        return Case(name, run, hint)
    v = 'valid/loss'
    return [case('one loss', [(7, {v: 0.5})], (0.5, 7), 'self.best = values["valid/loss"],step'),
            case('three', [(7, {v: 0.5}), (15, {v: 0.3}), (23, {v: 0.4})], (0.3, 15), 'Keep the lowest.'),
            case('other values', [(0, dict(loss=0.01)), (7, {v: 0.5, 'train/loss': 0.1})], (0.5, 7),
                 'Not every call has a validation loss.'),
            case('nan', [(7, {v: nan}), (15, {v: 0.6}), (23, {v: nan})], (0.6, 15),
                 'No comparison with nan is true; x == x tells.'),
            case('nothing told', [(0, dict(loss=1.))], None, 'best stays None.'),
            case('two runs', [(7, {v: 0.5})], (0.5, 7), 'begin is called by init: a new record.', runs=2)]
