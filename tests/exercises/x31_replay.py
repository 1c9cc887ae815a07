"Solutions of lesson 31's exercises, and the answers that people give instead"
import math
from collections import deque
from miniai.check.replay import check_first_bad, check_rewind


def by_loop(values):
    for name,t in values:
        if not t.isfinite().all(): return name
def by_next(values): return next((n for n,t in values if not t.isfinite().all()), None)
def by_kind(values):
    for name,t in values:
        if t.isnan().any() or t.isinf().any(): return name
def by_sum(values): return next((n for n,t in values if not math.isfinite(t.sum())), None)
def at_once(values):
    for name,t in values:
        if not t.isfinite().all(): return name
        else: return None
def last(values): return next((n for n,t in reversed(values) if not t.isfinite().all()), None)
def nan_only(values): return next((n for n,t in values if t.isnan().any()), None)
def wholly(values): return next((n for n,t in values if not t.isfinite().any()), None)
def always(values): return values[0][0]
def a_tensor(values): return next((t for n,t in values if not t.isfinite().all()), None)


class Rewind:
    def __init__(self, step, every): self.step,self.every,self.n,self.copies = step,every,0,[]
    def see(self, state):
        if self.n % self.every == 0: self.copies.append(state)
        self.n += 1
    def state_at(self, i):
        state = self.copies[i//self.every]
        for _ in range(i % self.every): state = self.step(state)
        return state

class ByDict:
    def __init__(self, step, every): self.step,self.every,self.n,self.copies = step,every,0,{}
    def see(self, state):
        if self.n % self.every == 0: self.copies[self.n] = state
        self.n += 1
    def state_at(self, i):
        at = max(k for k in self.copies if k <= i)
        state = self.copies[at]
        for _ in range(i - at): state = self.step(state)
        return state

class KeepsAll(Rewind):
    def see(self, state): self.copies.append(state)
    def state_at(self, i): return self.copies[i]

class KeepsAllElsewhere(Rewind):
    def __init__(self, step, every): self.all = deque()
    def see(self, state): self.all.append(state)
    def state_at(self, i): return self.all[i]

class FromTheFirst(Rewind):
    def state_at(self, i):
        state = self.copies[0]
        for _ in range(i): state = self.step(state)
        return state

class Nearest(Rewind):
    def state_at(self, i): return self.copies[i//self.every]

class OneTooMany(Rewind):
    def state_at(self, i): return self.step(super().state_at(i))

class StepsInSee(Rewind):
    def see(self, state):
        super().see(state)
        self.next = self.step(state)


EXERCISES = [
    (check_first_bad, [by_loop, by_next, by_kind],
     [(last, 'not the last'), (nan_only, 'inf'), (wholly, 'any, not all'), (always, 'None'),
      (a_tensor, 'isfinite'), (by_sum, 'a sum can be inf'), (at_once, 'go on where it is True')]),
    (check_rewind, [Rewind, ByDict],
     [(KeepsAll, 'not each'), (KeepsAllElsewhere, 'not each'),
      (FromTheFirst, 'not at the first one'), (Nearest, 'missing steps'),
      (OneTooMany, 'missing steps'),
      (StepsInSee, 'only state_at')]),
]
