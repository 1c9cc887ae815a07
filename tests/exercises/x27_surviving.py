"Solutions of lesson 27's exercises, and the answers that people give instead"
import random, re
import torch
from miniai.check.resume import check_counter, check_to_remove, check_without_a_trace
from miniai.tools.chance import rng_state, set_rng_state


class Counter:
    def __init__(self, batches): self.batches,self.done = batches,0
    def __iter__(self):
        for batch in self.batches[self.done:]:
            self.done += 1
            yield batch
        self.done = 0
    def state_dict(self): return dict(done=self.done)
    def load_state_dict(self, state): self.done = state['done']

class Rest(Counter):
    "The next loop gets what is left; loops know nothing of each other"
    def __init__(self, batches): self.batches,self.place,self.skip = batches,0,0
    def __iter__(self):
        start,self.skip = self.skip,0
        for i in range(start, len(self.batches)):
            self.place = i+1
            yield self.batches[i]
        self.place = 0
    def state_dict(self): return dict(place=self.place)
    def load_state_dict(self, state): self.skip = self.place = state['place']

class OneTooFew(Counter):
    def __iter__(self):
        for batch in self.batches[self.done:]:
            yield batch
            self.done += 1
        self.done = 0

class NeverBack(Counter):
    def __iter__(self):
        for batch in self.batches[self.done:]:
            self.done += 1
            yield batch

class Deaf(Counter):
    def load_state_dict(self, state): pass

class SharedState(Counter):
    def __init__(self, batches): self.batches,self.state = batches,dict(done=0)
    def __iter__(self):
        for batch in self.batches[self.state['done']:]:
            self.state['done'] += 1
            yield batch
        self.state['done'] = 0
    def state_dict(self): return self.state
    def load_state_dict(self, state): self.state = dict(state)

class AtTheFront(Counter):
    def __iter__(self):
        self.done = 0
        return super().__iter__()

class Empty(Counter):
    def __iter__(self): return iter(())


def by_states(f):
    states = torch.get_rng_state(),random.getstate()
    try: return f()
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])

def by_the_tool(f):
    state = rng_state()
    try: return f()
    finally: set_rng_state(state)

def torch_only(f):
    with torch.random.fork_rng(): return f()

def python_only(f):
    state = random.getstate()
    try: return f()
    finally: random.setstate(state)

def without_finally(f):
    states = torch.get_rng_state(),random.getstate()
    got = f()
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    return got

def swallows(f):
    try: return by_states(f)
    except Exception: pass

def no_return(f): by_states(f)

def first_seed(f):
    seed = torch.initial_seed()
    try: return f()
    finally: torch.manual_seed(seed), random.seed(seed)

def seeds_first(f):
    torch.manual_seed(0)
    return f()

def seeds(f):
    got = f()
    torch.manual_seed(0), random.seed(0)
    return got


def _numbered(names):
    return [(int(m[1]), n) for n in names if (m := re.fullmatch(r'checkpoint-(\d+)\.pt', n))]
def by_number(names, keep): return {n for _,n in sorted(_numbered(names))[:-keep]}
def by_heap(names, keep):
    import heapq
    mine = _numbered(names)
    return {n for _,n in mine} - {n for _,n in heapq.nlargest(keep, mine)}
def by_text(names, keep): return set(sorted(n for _,n in _numbered(names))[:-keep])
def newest_go(names, keep): return {n for _,n in sorted(_numbered(names))[keep:]}
def as_they_come(names, keep): return {n for _,n in _numbered(names)[:-keep]}
def all_names(names, keep):
    mine = [(int(m[1]), n) for n in names if (m := re.search(r'checkpoint-(\d+)', n))]
    return {n for _,n in sorted(mine)[:-keep]}
def loose_dot(names, keep):
    mine = [(int(m[1]), n) for n in names if (m := re.fullmatch(r'checkpoint-(\d+).pt', n))]
    return {n for _,n in sorted(mine)[:-keep]}


EXERCISES = [
    (check_counter, [Counter, Rest],
     [(OneTooFew, 'the next one is number'), (NeverBack, 'begin at the front'), (Deaf, 'must be heard of'),
      (AtTheFront, 'must be heard of'), (SharedState, 'a new dictionary'), (Empty, 'yield each batch')]),
    (check_without_a_trace, [by_states, by_the_tool],
     [(torch_only, 'random.getstate()'), (python_only, 'torch.get_rng_state()'), (without_finally, 'finally'),
      (swallows, 'finally'),
      (no_return, 'return what it returns'), (seeds, 'keep the states'), (first_seed, 'Set no seed'),
      (seeds_first, 'Set no seed')]),
    (check_to_remove, [by_number, by_heap],
     [(by_text, 'not by the text'), (newest_go, 'highest numbers'), (as_they_come, 'sort first'),
      (all_names, 'whole name'),
      (loose_dot, 'for the dot')]),
]
