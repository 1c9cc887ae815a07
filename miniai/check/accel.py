"Checks of lesson 33_accelerate: what a profile shows, batches on their way, the scale"
import random
from .kit import Case, check, require, same

@check('longest_gap')
def check_longest_gap(f):  # Called with a list of (start, end)
    "Check the longest time without work"
    def case(name, work, want, hint, **wrong):
        def run(f):
            given = list(work)
            got = f(given)
            require(given == list(work), 'the list was changed', hint='sorted(work) gives a new one.')
            if want is None: return require(got is None, 'there is no gap', got=got, hint=hint)
            require(isinstance(got, (tuple, list)) and len(got) == 2, 'there is a gap', got=got,
                    hint='Give a pair (start, end), or None.')
            same(list(map(float, got)), list(map(float, want)), given=f'work = {given}',
                 mistakes={text.replace('_', ' '): list(map(float, gap)) for text,gap in wrong.items()})
        return Case(name, run, hint)
    yield case('in order', [(0, 2), (3, 4), (9, 10)], (4, 9), 'From the end of one to the start of the next.',
               That_is_the_first_gap_and_not_the_longest=(2, 3))
    yield case('in any order', [(9, 10), (0, 2), (3, 4)], (4, 9), 'Sort them by their start.')
    yield case('one within another', [(0, 10), (1, 2), (12, 13)], (10, 12),
               'Keep the latest end so far: the piece before in the list may have ended earlier.',
               At_that_time_another_piece_was_still_at_work=(2, 12))
    yield case('two that begin together', [(0, 5), (0, 1), (6, 7)], (5, 6), 'Keep the latest end so far.',
               At_that_time_another_piece_was_still_at_work=(1, 6))
    yield case('one that covers all', [(1, 2), (3, 4), (0, 10)], None, 'Sort by the start, not by the end.')
    yield case('equally long', [(0, 1), (2, 3), (4, 5)], (1, 2), 'Of equal ones the first: compare with >.',
               That_is_the_last_of_the_longest_ones=(3, 4))
    yield case('without a gap', [(0, 2), (2, 3), (1, 5)], None, 'One begins when another ends: give None.')
    yield case('a single piece', [(3, 4)], None, 'Before the first start, after the last end: no gap.')
    rng = random.Random(0)
    busy = [(a, a + rng.randint(1, 9)) for a in rng.sample(range(200), 25)]
    covered = {t for a,b in busy for t in range(a, b)}
    edges = [t for t in range(min(covered), max(covered)) if t not in covered and t-1 in covered]
    gaps = [(t, next(u for u in range(t, 300) if u in covered)) for t in edges]
    longest = max(gaps, key=lambda gap: gap[1] - gap[0])
    yield case('many pieces', busy, longest, 'It is right for a few pieces.')

class _Road:
    "Sends batches, and counts how many are on their way"
    def __init__(self): self.sent,self.arrived = [],[]
    def send(self, batch):
        self.sent.append(batch)
        return _Sent(self, batch)

class _Sent:
    def __init__(self, road, batch): self.road,self.batch = road,batch
    def result(self):
        self.road.arrived.append(self.batch)
        return f'arrived {self.batch}'

def _walk(f, batches, n):
    "What came out; how many had been sent, and how many waited for, when each was handed over"
    road = _Road()
    found = f(batches, road.send, n)
    require(hasattr(found, '__next__'), 'it must be a generator', got=found, hint='Use `yield`.')
    out,sent,waited = [],[],[]
    for batch in found:
        require(not isinstance(batch, _Sent), 'a batch has not arrived', hint='Yield what `result()` gives.')
        out.append(batch)
        sent.append(len(road.sent))
        waited.append(len(road.arrived))
        require(len(out) < 99, 'it does not end')
    return out,sent,waited

@check('sent_ahead')
def check_sent_ahead(f):  # Called with batches, send and n
    "Check that the next n are under way"
    def case(name, n, total, hint, wrap=list):
        def run(f):
            out,sent,waited = _walk(f, wrap(range(total)), n)
            same(out, [f'arrived {i}' for i in range(total)], given=f'{total} batches, n={n}', mistakes={
                'The last ones are missing: what is under way when `batches` ends must be given, too.':
                    [f'arrived {i}' for i in range(max(0, total - n))]})
            want = [min(i + 1 + n, total) for i in range(total)]
            same(sent, want, given=f'how many had been sent when each was given, n={n}', mistakes={
                'One too few is under way: send the next one, then yield.': [k - (k < total) for k in want],
                'All are sent at once: that many do not fit in memory.': [total]*total,
                'Nothing is under way while a batch is used.': list(range(1, total + 1))})
            same(waited, list(range(1, total + 1)), given='how many were waited for when each was given',
                 mistakes={'Too early: ask for a `result()` only when its batch is next.': sent})
        return Case(name, run, hint)
    yield case('one ahead', 1, 5, 'Send one and the next one; then yield the first.')
    yield case('three ahead', 3, 8, 'A list or a deque holds what is under way.')
    yield case('fewer than n', 4, 2, '`batches` may end before n are under way.')
    yield case('none at all', 2, 0, 'No batch, nothing to give.')
    yield case('an iterator', 2, 6, 'Loop over `batches` once; it has no length and no index.', iter)
    yield case('none ahead', 0, 4, 'With n=0, send one, yield it, send the next.')

@check('scales')
def check_scales(f):  # Called with a list of bools, a scale and an interval
    "Check the rule of the scaler"
    def reference(finite, scale, interval):  # GradScaler's numbers, as a test of ours shows
        used,good = [],0
        for ok in finite:
            used.append(scale)
            good = good + 1 if ok else 0
            if not ok: scale /= 2
            if good == interval: scale,good = scale*2,0
        return used
    def case(name, finite, scale, interval, hint):
        def run(f):
            given = [c == '+' for c in finite]
            got = f(list(given), scale, interval)
            require(isinstance(got, (list, tuple)), 'it must be a list', got=got, hint='One number a step.')
            want,what = reference(given, scale, interval),f'{finite} (+ is finite), interval={interval}'
            same([float(s) for s in got], want, given=f'{what}, scale={scale}', mistakes={
                'That is the scale after each step; asked is the one in use.':
                    reference([*given, True], scale, interval)[1:]})
        return Case(name, run, hint)
    yield case('all finite', '+++', 8., 5, 'Nothing changes before `interval` steps.')
    yield case('one that is not', '+-++', 8., 9, 'The step after it is the first with half the scale.')
    yield case('growing', '+++++++', 8., 3, 'After `interval` in a row it doubles; then count from 0.')
    yield case('in a row', '++-+++++', 8., 3, 'A step that is not finite begins the count anew.')
    yield case('several', '---++--++++', 64., 2, 'Each one halves.')
    yield case('nothing', '', 8., 2, 'No step, an empty list.')
