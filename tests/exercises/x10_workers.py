"Lesson 10: a shared stream, an ordered map by threads, a loader that goes on where it stopped."
import queue, random, threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
import torch
from torch.utils.data import IterableDataset, get_worker_info
from miniai.check.data import check_ordered, check_resume, check_share


class MyStream(IterableDataset):
    def __init__(self, n): self.n = n
    def __iter__(self):
        info = get_worker_info()
        return iter(range(self.n)) if info is None else iter(range(info.id, self.n, info.num_workers))


class ByModulo(MyStream):
    def __iter__(self):
        info = get_worker_info()
        me,k = (info.id, info.num_workers) if info else (0, 1)
        for i in range(self.n):
            if i % k == me: yield i


class InPieces(MyStream):
    def __iter__(self):
        info = get_worker_info()
        if not info: return iter(range(self.n))
        piece = -(-self.n//info.num_workers)
        return iter(range(info.id*piece, min(self.n, (info.id+1)*piece)))


class BySlicing(MyStream):
    def __iter__(self):
        info = get_worker_info()
        return islice(range(self.n), *((info.id, None, info.num_workers) if info else (None,)))


class Everybody(MyStream):
    def __iter__(self): return iter(range(self.n))


class LosesTheRest(MyStream):
    def __iter__(self):
        info = get_worker_info()
        if not info: return iter(range(self.n))
        piece = self.n//info.num_workers
        return iter(range(info.id*piece, (info.id+1)*piece))


class OnlyWithWorkers(MyStream):
    def __iter__(self):
        info = get_worker_info()
        return iter(range(info.id, self.n, info.num_workers))


class AsksTooEarly(MyStream):
    def __init__(self, n):
        self.n,info = n,get_worker_info()
        self.me,self.k = (info.id, info.num_workers) if info else (0, 1)
    def __iter__(self): return iter(range(self.me, self.n, self.k))


class TwoForEver(MyStream):
    def __iter__(self):
        info = get_worker_info()
        return iter(range(info.id, self.n, 2)) if info else iter(range(self.n))


class OneEpoch(MyStream):
    def __init__(self, n): self.numbers = iter(range(n))
    def __iter__(self): return self.numbers


class OnlyTheFirst(MyStream):
    "Worker 0 does all the work"
    def __iter__(self):
        info = get_worker_info()
        return iter(range(0 if info and info.id else self.n))


class NotAStream:
    def __init__(self, n): self.n = n
    def __iter__(self): return iter(range(self.n))


class Stub(MyStream):
    def __iter__(self): raise NotImplementedError


def executor(f, tasks, n):
    with ThreadPoolExecutor(n) as pool:
        tasks,pending = iter(tasks),deque()
        for task in islice(tasks, 2*n): pending.append(pool.submit(f, task))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(f, task) for task in islice(tasks, 1))
            yield result


def queues(f, tasks, n, ahead=2, raises=True, ordered=True):
    "A queue of tasks and one of results for each thread, which are asked in turn"
    asked,answered = [queue.Queue() for _ in range(n)],[queue.Queue() for _ in range(n if ordered else 1)]
    def work(k):
        while (task := asked[k].get()) is not None:
            try: answered[k % len(answered)].put((f(*task), None))
            except Exception as e: answered[k % len(answered)].put((None, e))
    for k in range(n): threading.Thread(target=work, args=(k,), daemon=True).start()
    tasks,sent = enumerate(tasks),0
    for i,task in islice(tasks, ahead*n):
        asked[i % n].put((task,))
        sent += 1
    taken = 0
    while taken < sent:
        result,error = answered[taken % len(answered)].get()
        taken += 1
        for i,task in islice(tasks, 1):
            asked[i % n].put((task,))
            sent += 1
        if error and raises: raise error
        if not error: yield result
    for q in asked: q.put(None)


def in_groups(f, tasks, n):
    "n at a time: slower than it could be, but right"
    tasks = iter(tasks)
    while group := list(islice(tasks, n)):
        boxes = [[] for _ in group]
        def run(task, box):
            try: box += [f(task), None]
            except Exception as e: box += [None, e]
        threads = [threading.Thread(target=run, args=pair) for pair in zip(group, boxes)]
        for t in threads: t.start()
        for t,box in zip(threads, boxes):
            t.join()
            if box[1]: raise box[1]
            yield box[0]


def as_ready(f, tasks, n): return queues(f, tasks, n, ordered=False)
def all_at_once(f, tasks, n): return queues(f, tasks, n, ahead=1000)
def swallows(f, tasks, n): return queues(f, tasks, n, raises=False)
def no_threads(f, tasks, n): return map(f, tasks)
def loses_last(f, tasks, n): return iter(list(queues(f, list(tasks), n))[:-1])
def unfinished(f, tasks, n): raise NotImplementedError
def wraps(f, tasks, n):
    try: yield from queues(f, tasks, n)
    except Exception as e: raise RuntimeError(str(e))


class KeepsOrder:
    "Saves the order itself"
    def __init__(self, dataset,
                 batch_size): self.dataset,self.bs,self.order,self.done = dataset,batch_size,None,0
    def __iter__(self):
        if self.order is None: self.order,self.done = torch.randperm(len(self.dataset)),0
        order,first = self.order,self.done
        batches = order.split(self.bs)
        for k in range(first, len(batches)):
            self.done = k + 1
            if self.done == len(batches): self.order = None
            yield [self.dataset[i] for i in batches[k]]
    def state_dict(self): return dict(order=self.order, done=self.done)
    def load_state_dict(self, state): self.order,self.done = state['order'],state['done']


class KeepsSeed:
    "Saves the seed of the epoch's order"
    seed,done,resume = 0,0,None
    def __init__(self, dataset, batch_size): self.dataset,self.bs = dataset,batch_size
    def __iter__(self):
        self.seed,skip = self.resume or (random.getrandbits(40), 0)
        self.resume,self.done = None,skip
        order = random.Random(self.seed).sample(range(len(self.dataset)), len(self.dataset))
        for i in range(skip*self.bs, len(order), self.bs):
            self.done += 1
            yield [self.dataset[j] for j in order[i:i+self.bs]]
    def state_dict(self): return {'seed': self.seed, 'done': self.done}
    def load_state_dict(self, state): self.resume = state['seed'],state['done']


class KeepsRandomState:
    "Saves torch's random state at the start, and skips"
    def __init__(self, dataset,
                 batch_size): self.dataset,self.bs,self.state,self.resume = dataset,batch_size,{},None
    def begin(self, start, done):
        now = torch.get_rng_state()
        if start is not None: torch.set_rng_state(start)
        self.state = {'start': torch.get_rng_state(), 'done': done}
        order = torch.randperm(len(self.dataset)).split(self.bs)
        if start is not None: torch.set_rng_state(now)
        return order[done:]
    def __iter__(self):
        batches,self.resume = self.begin(*(self.resume or (None, 0))),None
        for b in batches:
            self.state['done'] += 1
            yield [self.dataset[i] for i in b]
    def state_dict(self): return dict(self.state)
    def load_state_dict(self, state): self.resume = state['start'],state['done']


class BeginsAnew(KeepsSeed):
    def load_state_dict(self, state): self.resume = state['seed'],0


class SkipsOneMore(KeepsSeed):
    def load_state_dict(self, state): self.resume = state['seed'],state['done']+1


class RepeatsLast(KeepsSeed):
    def load_state_dict(self, state): self.resume = state['seed'],max(state['done']-1, 0)


class CountsTooLate(KeepsSeed):
    "Counts a batch when the next one is asked for"
    def __iter__(self):
        self.seed,skip = self.resume or (random.getrandbits(40), 0)
        self.resume,self.done = None,skip
        order = random.Random(self.seed).sample(range(len(self.dataset)), len(self.dataset))
        for i in range(skip*self.bs, len(order), self.bs):
            yield [self.dataset[j] for j in order[i:i+self.bs]]
            self.done += 1


class Reshuffles(KeepsSeed):
    def load_state_dict(self, state): self.resume = random.getrandbits(40),state['done']


class StaysShort(KeepsSeed):
    "Skips in each epoch from then on"
    skip = 0
    def load_state_dict(self, state): self.resume,self.skip = (state['seed'], state['done']),state['done']
    def __iter__(self):
        self.resume = self.resume or (random.getrandbits(40), self.skip)
        return KeepsSeed.__iter__(self)


class SavesItself(KeepsSeed):
    def state_dict(self): return {'seed': self.seed, 'done': self.done, 'random': random.Random(self.seed)}


class LiveState(KeepsOrder):
    "Hands out the order that the loop takes its batches from"
    def __iter__(self):
        if not self.order: self.order = torch.randperm(len(self.dataset)).tolist()
        while self.order: yield [self.order.pop() for _ in self.order[:self.bs]]


class SameOrder(KeepsSeed):
    def __iter__(self):
        self.resume = self.resume or (1, 0)
        return KeepsSeed.__iter__(self)


class Unfinished:
    def __init__(self, *args): raise NotImplementedError


EXERCISES = [
    (check_share, [MyStream, ByModulo, InPieces, BySlicing],
     [(Everybody, 'Each worker gives all of them'), (AsksTooEarly, '__iter__, not before'),
      (LosesTheRest, 'Some are missing'),
      (OnlyWithWorkers, 'get_worker_info() is None'),
      (TwoForEver, 'Worker `info.id`'), (OnlyTheFirst, 'not every worker'), (OneEpoch, 'begin anew'),
      (NotAStream, 'inherit from IterableDataset'), (Stub, 'This is the stub')]),
    (check_ordered, [executor, queues, in_groups],
     [(as_ready, 'as they are ready'), (all_at_once, 'Hand out 2*n tasks'), (swallows, 'hand it over'),
      (no_threads, 'side by side'),
      (loses_last, 'none left out'), (wraps, 'hand it over'), (unfinished, 'This is the stub')]),
    (check_resume, [KeepsOrder, KeepsSeed, KeepsRandomState],
     [(BeginsAnew, 'leave out the batches that were given'), (SkipsOneMore, 'One batch too many'),
      (RepeatsLast, 'The last batch comes again'), (CountsTooLate, 'counted after its yield'),
      (Reshuffles, 'the random state it was drawn from'), (StaysShort, 'the next one is a whole epoch'),
      (SavesItself, 'not your own objects'), (LiveState, 'Hand out a copy'),
      (SameOrder, 'Draw a new order in __iter__'), (Unfinished, 'This is the stub')])]
