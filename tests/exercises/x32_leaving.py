"Solutions of lesson 32's exercises, and the answers that people give instead"
import math
from itertools import zip_longest
import torch
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
class Names(Shift):
    def script(self, learn):
        assert type(learn).__name__ == 'Learner'
        text = f'def shifted(x): return x + {self.amount}'
        return dict(names={'shifted': text},
                    before_batch=('if training: batch = [shifted(batch[0]), batch[1]]',))
class ByFactor(Shift):
    def script(self, learn):
        return dict(before_batch=[f'batch = [batch[0] + {self.amount}*training, batch[1]]'])
class OneText(Shift):
    def script(self, learn):
        return dict(before_batch=f'if training: batch = [batch[0] + {self.amount}, batch[1]]')
class OnlyLines(Shift):
    def script(self, learn): return [f'if training: batch = [batch[0] + {self.amount}, batch[1]]']
class TheLearner(Shift):
    def script(self, learn):
        return dict(before_batch=[f'if learn.training: batch = [batch[0] + {self.amount}, batch[1]]'])
class NoReturn(Shift):
    def script(self, learn): dict(before_batch=[f'batch = [batch[0] + {self.amount}*training, batch[1]]'])
class NoPlace(Shift):
    def script(self, learn): return dict(on_batch=[f'batch = [batch[0] + {self.amount}*training, batch[1]]'])
class TooLate(Shift):
    def script(self, learn):
        return dict(before_backward=[f'batch = [batch[0] + {self.amount}, batch[1]]'])
class NotIndented(Shift):
    def script(self, learn):
        return dict(before_batch=['if training:', f'batch = [batch[0] + {self.amount}, batch[1]]'])
class ToTheTuple(Shift):
    def script(self, learn): return dict(before_batch=[f'if training: batch[0] = batch[0] + {self.amount}'])
class InPlace(Shift):
    def script(self, learn):
        return dict(before_batch=['xb,yb = batch', f'if training: xb += {self.amount}'])
class BothWrong(Shift):  # the class itself was changed
    script = BothParts.script
    def before_batch(self, learn): learn.batch = [learn.batch[0] + self.amount, learn.batch[1]]


def by_loop(ours, theirs, rel=1e-6):
    for i in range(max(len(ours), len(theirs))):
        if i >= min(len(ours), len(theirs)): return i
        if not abs(ours[i] - theirs[i]) <= rel*abs(ours[i]): return i
    return None
def by_next(ours, theirs, rel=1e-6):
    pairs = enumerate(zip_longest(ours, theirs, fillvalue=math.inf))
    return next((i for i,(a,b) in pairs if not abs(a - b) <= rel*min(abs(a), 1e300)), None)
def by_tensor(ours, theirs, rel=1e-6):
    n = min(len(ours), len(theirs))
    a,b = (torch.tensor(x[:n], dtype=torch.float64) for x in (ours, theirs))
    off = (~((a - b).abs() <= rel*a.abs())).nonzero()
    if len(off): return off[0].item()
    return None if len(ours) == len(theirs) else n
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


def length_first(ours, theirs, rel=1e-6):
    if len(ours) != len(theirs): return min(len(ours), len(theirs))
    return by_loop(ours, theirs, rel)
def over_ours(ours, theirs, rel=1e-6):
    ends = len(theirs)
    return next((i for i,a in enumerate(ours) if i >= ends or not abs(a-theirs[i]) <= rel*abs(a)), None)
def by_theirs(ours, theirs, rel=1e-6):
    if len(ours) != len(theirs): return by_loop(ours, theirs, rel)
    return next((i for i,(a,b) in enumerate(zip(ours, theirs)) if not abs(a - b) <= rel*abs(b)), None)
def or_equal(ours, theirs, rel=1e-6):
    if len(ours) != len(theirs): return by_loop(ours, theirs, rel)
    return next((i for i,(a,b) in enumerate(zip(ours, theirs)) if abs(a - b) >= rel*abs(a)), None)
def divides(ours, theirs, rel=1e-6):
    if len(ours) != len(theirs): return by_loop(ours, theirs, rel)
    return next((i for i,(a,b) in enumerate(zip(ours, theirs)) if not abs(a - b)/abs(a) <= rel), None)
def blind_to_nan(ours, theirs, rel=1e-6):
    if len(ours) != len(theirs): return by_loop(ours, theirs, rel)
    return next((i for i,(a,b) in enumerate(zip(ours, theirs)) if abs(a - b) > rel*abs(a)), None)
def as_tensor(ours, theirs, rel=1e-6):
    found = by_loop(ours, theirs, rel)
    return None if found is None else torch.tensor(found)
def signed(ours, theirs, rel=1e-6):
    return next((i for i,(a,b) in enumerate(zip(ours, theirs)) if a - b > rel*abs(a)), None)


EXERCISES = [
    (check_leaving, [ByBatch, InTwoLines, AtTheStart, Names, ByFactor],
     [(BothParts, 'ask `training`'), (NoLines, 'unchanged'), (Itself, 'no `self`'),
      (OneNumber, 'Write the amount'), (OneText, 'lists of lines'), (OnlyLines, 'lists of lines'),
      (TheLearner, 'no `learn`'), (NoReturn, 'not None'), (NoPlace, 'the places are before_fit'),
      (TooLate, 'belong to `before_batch`'), (NotIndented, 'expected an indented block'),
      (ToTheTuple, 'Make a new batch'), (InPlace, 'in place'), (BothWrong, 'ask `training`')]),
    (check_parting, [by_loop, by_next, by_tensor],
     [(exact, 'below rel'), (absolute, 'size of ours'), (largest, 'not the largest'), (one_way, 'take abs'),
      (signed, 'larger or smaller'), (zipped, 'there they part'), (no_abs, 'abs(ours)'),
      (by_math, 'or the larger'), (own_rel, 'as it is given'),
      (false, 'An int is wanted'), (as_tensor, 'An int is wanted'),
      (length_first, 'look there first'), (over_ours, 'there they part'), (by_theirs, 'not theirs'),
      (or_equal, 'Nothing differs'), (divides, 'Nothing differs'), (blind_to_nan, '<= nan')]),
]
