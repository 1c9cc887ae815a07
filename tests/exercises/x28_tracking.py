"Solutions of lesson 28's exercises, and the answers that people give instead"
import math
from miniai.check.track import check_best_run, check_best_tracker
from miniai.track import Tracker


def best_run(runs):
    best,name = math.inf,None
    for run in runs:
        for row in run['rows']:
            loss = row.get('valid/loss')
            if loss is not None and loss < best: best,name = loss,run['name']
    return name

def best_by_min(runs):
    found = [(row['valid/loss'], run['name']) for run in runs for row in run['rows']
             if row.get('valid/loss') is not None]
    return min(found)[1] if found else None

def best_by_groups(runs):
    losses = {run['name']: [r['valid/loss'] for r in run['rows'] if r.get('valid/loss', None) is not None]
              for run in runs}
    lowest = {name: min(found) for name,found in losses.items() if found}
    return min(lowest, key=lowest.get, default=None)

def _of(runs, how, pick=min):
    found = {}
    for run in runs:
        losses = [r['valid/loss'] for r in run['rows'] if r.get('valid/loss') is not None]
        if losses: found[run['name']] = how(losses)
    return pick(found, key=found.get) if found else None

def last_counts(runs): return _of(runs, lambda losses: losses[-1])
def mean_counts(runs): return _of(runs, lambda losses: sum(losses)/len(losses))
def highest(runs): return _of(runs, min, max)
def any_loss(runs):
    found = [(v, run['name']) for run in runs for r in run['rows'] for k,v in r.items()
             if k.endswith('loss') and v is not None]
    return min(found)[1] if found else None
def needs_the_name(runs): return min(runs, key=lambda run: min(r['valid/loss'] for r in run['rows']))['name']
def by_truth(runs):
    found = [(r['valid/loss'], run['name']) for run in runs for r in run['rows'] if r.get('valid/loss')]
    return min(found)[1] if found else None
def gives_the_loss(runs):
    return min((r['valid/loss'] for run in runs for r in run['rows'] if r.get('valid/loss') is not None),
               default=None)


class BestTracker(Tracker):
    def begin(self, config, step): self.best = None
    def log(self, values, step):
        loss = values.get('valid/loss', math.nan)
        if loss == loss and (self.best is None or loss < self.best[0]): self.best = loss,step

class BestByInit(Tracker):
    def init(self, config=None, step=None):
        self.best = None
        return super().init(config, step)
    def log(self, values, step):
        if 'valid/loss' not in values or math.isnan(values['valid/loss']): return
        self.best = min(filter(None, [self.best, (values['valid/loss'], step)]))

class BestOfAll(Tracker):
    def begin(self, config, step): self.told = []
    def log(self, values, step): self.told.append((values.get('valid/loss'), step))
    @property
    def best(self): return min([t for t in self.told if t[0] is not None and t[0] == t[0]], default=None)

class OtherWayRound(BestTracker):
    def log(self, values, step):
        loss = values.get('valid/loss', math.nan)
        if loss == loss and (self.best is None or loss < self.best[1]): self.best = step,loss

class Last(BestTracker):
    def log(self, values, step):
        if values.get('valid/loss', math.nan) < math.inf: self.best = values['valid/loss'],step

class KeyNeeded(BestTracker):
    def log(self, values, step):
        if self.best is None or values['valid/loss'] < self.best[0]: self.best = values['valid/loss'],step

class TakesNan(BestTracker):
    def log(self, values, step):
        if 'valid/loss' not in values: return
        if self.best is None or values['valid/loss'] < self.best[0]: self.best = values['valid/loss'],step

class OldRecord(BestTracker):
    best = None
    def begin(self, config, step): pass

class InitAlone(BestTracker):
    def init(self, config=None, step=None): self.best = None

class ByTruth(BestTracker):
    def log(self, values, step):
        loss = values.get('valid/loss')
        if loss and loss == loss and (self.best is None or loss < self.best[0]): self.best = loss,step

class NoSuper(BestTracker):
    def init(self, config=None, step=None):
        self.best,self.busy = None,True
        return self
    def finish(self, state='finished'): pass


EXERCISES = [
    (check_best_run, [best_run, best_by_min, best_by_groups],
     [(last_counts, 'not its last'), (mean_counts, 'not its mean'), (highest, 'take the smallest'),
      (any_loss, 'Only the validation loss counts'), (needs_the_name, 'have no'), (by_truth, '0 is a value'),
      (gives_the_loss, 'The name of the best')]),
    (check_best_tracker, [BestTracker, BestByInit, BestOfAll],
     [(OtherWayRound, '(loss, step)'), (Last, 'Keep the lowest'), (KeyNeeded, 'Not every call'),
      (TakesNan, 'nan is neither'), (OldRecord, 'begins a new record'), (NoSuper, 'or call super()'),
      (InitAlone, 'or call super()'), (ByTruth, 'Keep the lowest')]),
]
