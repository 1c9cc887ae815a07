"Solutions of lesson 32's exercises, and the answers that people give instead"
import math
from itertools import zip_longest
from miniai.check.script import check_leaving, check_parting
from miniai.loop import Callback


class Shift(Callback):
    def __init__(self, amount): self.amount = amount
    def before_batch(self, learn):
        if learn.training: learn.batch = [learn.batch[0] + self.amount, learn.batch[1]]
class ByBatch(Shift):
    def script(self, learn):
        return dict(before_batch=[f'if training: batch = [batch[0] + {self.amount}, batch[1]]'])
class InTwoLines(Shift):
    def script(self, learn):
        return dict(before_batch=['x,y = batch', f'batch = [x + {self.amount!r} if training else x, y]'])
class AtTheStart(Shift):
    def script(self, learn):
        return dict(before_fit=[f'amount = {self.amount}'],
                    before_batch=['if training:', '    batch = [batch[0] + amount, *batch[1:]]'])
class BothParts(Shift):
    def script(self, learn): return dict(before_batch=[f'batch = [batch[0] + {self.amount}, batch[1]]'])
class NoLines(Shift):
    def script(self, learn): return {}
class Itself(Shift):
    def script(self, learn):
        return dict(before_batch=['if training: batch = [batch[0] + self.amount, batch[1]]'])
class OneNumber(Shift):
    def script(self, learn): return dict(before_batch=['if training: batch = [batch[0] + 0.5, batch[1]]'])
class OneText(Shift):
    def script(self, learn):
        return dict(before_batch=f'if training: batch = [batch[0] + {self.amount}, batch[1]]')
class OnlyLines(Shift):
    def script(self, learn): return [f'if training: batch = [batch[0] + {self.amount}, batch[1]]']
class TheLearner(Shift):
    def script(self, learn):
        return dict(before_batch=[f'if learn.training: batch = [batch[0] + {self.amount}, batch[1]]'])


def by_loop(ours, theirs, rel=1e-6):
    for i in range(max(len(ours), len(theirs))):
        if i >= min(len(ours), len(theirs)): return i
        if abs(ours[i] - theirs[i]) > rel*abs(ours[i]): return i
    return None
def by_next(ours, theirs, rel=1e-6):
    pairs = enumerate(zip_longest(ours, theirs, fillvalue=math.inf))
    return next((i for i,(a,b) in pairs if not abs(a - b) <= rel*min(abs(a), 1e300)), None)
def by_math(ours, theirs, rel=1e-6):
    for i,(a,b) in enumerate(zip(ours, theirs)):
        if not math.isclose(a, b, rel_tol=rel): return i
    return None if len(ours) == len(theirs) else min(len(ours), len(theirs))
def exact(ours, theirs, rel=1e-6):
    return next((i for i,(a,b) in enumerate(zip(ours, theirs)) if a != b), None)
def absolute(ours, theirs, rel=1e-6):
    return next((i for i,(a,b) in enumerate(zip(ours, theirs)) if abs(a - b) > rel), None)
def largest(ours, theirs, rel=1e-6):
    gaps = [abs(a - b) for a,b in zip(ours, theirs)]
    return gaps.index(max(gaps)) if max(gaps) > rel*ours[0] else None
def one_way(ours, theirs, rel=1e-6):
    return next((i for i,(a,b) in enumerate(zip(ours, theirs)) if b - a > rel*abs(a)), None)
def zipped(ours, theirs, rel=1e-6):
    return next((i for i,(a,b) in enumerate(zip(ours, theirs)) if abs(a - b) > rel*abs(a)), None)
def no_abs(ours, theirs, rel=1e-6):
    return next((i for i,(a,b) in enumerate(zip(ours, theirs)) if abs(a - b) > rel*a), None)
def own_rel(ours, theirs, rel=1e-6): return by_loop(ours, theirs, 1e-6)
def false(ours, theirs, rel=1e-6):
    found = by_loop(ours, theirs, rel)
    return False if found is None else found


EXERCISES = [
    (check_leaving, [ByBatch, InTwoLines, AtTheStart],
     [(BothParts, 'ask `training`'), (NoLines, 'Both parts'), (Itself, 'write the number into it'),
      (OneNumber, 'write the amount'), (OneText, 'a list of lines'), (OnlyLines, 'a list of lines'),
      (TheLearner, 'where `self` is not known')]),
    (check_parting, [by_loop, by_next, by_math],
     [(exact, 'below rel'), (absolute, 'size of ours'), (largest, 'not the largest'), (one_way, 'take abs'),
      (zipped, 'there they part'), (no_abs, 'is its abs'), (own_rel, 'as it is given'), (false, 'None')]),
]
