"33_accelerate: right answers, and what people write instead"
from collections import deque
from itertools import islice
from miniai.check.accel import check_longest_gap, check_scales, check_sent_ahead


# ---- the longest gap

def longest_gap(work):
    best,until = None,None
    for start,end in sorted(work):
        if until is not None and start > until and (best is None or start - until > best[1] - best[0]):
            best = until,start
        until = end if until is None else max(until, end)
    return best


def gap_by_candidates(work):
    "Each end, and the first start behind it, if nothing works in between"
    gaps = []
    for _,end in work:
        after = [start for start,_ in work if start > end]
        if after and not any(s <= end < e for s,e in work): gaps.append([end, min(after)])
    return min(gaps, key=lambda gap: (gap[0] - gap[1], gap[0])) if gaps else None


def gap_unsorted(work):
    gaps = [(e, s) for (_,e),(s,_) in zip(work, work[1:]) if s > e]
    return max(gaps, key=lambda gap: gap[1] - gap[0]) if gaps else None


def gap_to_the_one_before(work): return gap_unsorted(sorted(work))


def gap_sorted_by_end(work):
    s = sorted(work, key=lambda piece: piece[1])
    gaps = [(e, b) for (_,e),(b,_) in zip(s, s[1:]) if b > e]
    return max(gaps, key=lambda gap: gap[1] - gap[0]) if gaps else None


def first_gap(work):
    until = min(work)[1]
    for start,end in sorted(work):
        if start > until: return until,start
        until = max(until, end)


def last_of_equal(work):
    best,until = None,min(work)[1]
    for start,end in sorted(work):
        if start > until and (best is None or start - until >= best[1] - best[0]): best = until,start
        until = max(until, end)
    return best


def gap_length(work):
    gap = longest_gap(work)
    return gap and gap[1] - gap[0]


def gap_of_nothing(work): return longest_gap(work) or (0, 0)


def gap_from_zero(work): return longest_gap([(0, 0), *work])


def gap_sorting_in_place(work):
    work.sort()
    return longest_gap(work)


# ---- sent ahead

def sent_ahead(batches, send, n):
    batches = iter(batches)
    under_way = deque(send(batch) for batch in islice(batches, n))
    for batch in batches:
        under_way.append(send(batch))
        yield under_way.popleft().result()
    while under_way: yield under_way.popleft().result()


def ahead_with_a_list(batches, send, n):
    sent = []
    for batch in batches:
        sent.append(send(batch))
        if len(sent) > n:
            first = sent.pop(0)
            yield first.result()
    for one in sent: yield one.result()


def all_at_once(batches, send, n):
    for one in [send(batch) for batch in batches]: yield one.result()


def one_by_one(batches, send, n):
    for batch in batches: yield send(batch).result()


def last_ones_lost(batches, send, n):
    sent = []
    for batch in batches:
        sent.append(send(batch))
        if len(sent) > n: yield sent.pop(0).result()


def one_too_few(batches, send, n):
    sent = []
    for batch in batches:
        if len(sent) >= n and sent: yield sent.pop(0).result()
        sent.append(send(batch))
    for one in sent: yield one.result()


def not_waited_for(batches, send, n):
    sent = []
    for batch in batches:
        sent.append(send(batch))
        if len(sent) > n: yield sent.pop(0)
    yield from sent


def by_length(batches, send, n):
    sent = [send(batches[i]) for i in range(min(n, len(batches)))]
    for i in range(len(batches)):
        if i + n < len(batches): sent.append(send(batches[i + n]))
        yield sent[i].result()


def asked_too_early(batches, send, n):
    sent = []
    for batch in batches:
        sent.append(send(batch).result())
        if len(sent) > n: yield sent.pop(0)
    yield from sent


def ahead_not_returned(batches, send, n): list(sent_ahead(batches, send, n))


def ahead_as_a_list(batches, send, n): return list(one_by_one(batches, send, n))


# ---- scales

def scales(finite, scale=65536., interval=2000):
    used,good = [],0
    for ok in finite:
        used.append(scale)
        good = good + 1 if ok else 0
        if not ok: scale = scale/2
        if good == interval: scale,good = scale*2,0
    return used


def scales_by_index(finite, scale=65536., interval=2000):
    used = [scale]*len(finite)
    count = 0
    for i in range(len(finite) - 1):
        count += 1
        used[i+1] = used[i]
        if not finite[i]: used[i+1],count = used[i]*0.5,0
        elif count % interval == 0: used[i+1] = used[i]*2
    return used


def scales_after(finite, scale=65536., interval=2000): return scales([*finite, True], scale, interval)[1:]


def never_reset(finite, scale=65536., interval=2000):
    used,good = [],0
    for ok in finite:
        used.append(scale)
        good += ok
        if not ok: scale /= 2
        elif good % interval == 0: scale *= 2
    return used


def never_grows(finite, scale=65536., interval=2000):
    used = []
    for ok in finite:
        used.append(scale)
        if not ok: scale /= 2
    return used


def grows_each_time_after(finite, scale=65536., interval=2000):
    used,good = [],0
    for ok in finite:
        used.append(scale)
        good = good + 1 if ok else 0
        if not ok: scale /= 2
        elif good >= interval: scale *= 2
    return used


def only_the_last(finite, scale=65536., interval=2000): return [0, *scales(finite, scale, interval)][-1]


EXERCISES = [
    (check_longest_gap, [longest_gap, gap_by_candidates],
     [(gap_unsorted, 'Sort them by their start'), (gap_to_the_one_before, 'another piece was still at work'),
      (first_gap, 'the first gap and not the longest'), (last_of_equal, 'the last of the longest'),
      (gap_length, 'Give a pair'), (gap_of_nothing, 'give None'), (gap_from_zero, 'Before the first start'),
      (gap_sorting_in_place, 'gives a new one'),
      (gap_sorted_by_end, 'Sort by the start, not by the end')]),
    (check_sent_ahead, [sent_ahead, ahead_with_a_list],
     [(all_at_once, 'All are sent at once'), (one_by_one, 'Nothing is under way'),
      (last_ones_lost, 'The last ones are missing'), (one_too_few, 'under way'),
      (not_waited_for, 'what `result()` gives'), (by_length, 'no length and no index'),
      (asked_too_early, 'Too early'), (ahead_not_returned, 'Use `yield`'),
      (ahead_as_a_list, 'Use `yield`')]),
    (check_scales, [scales, scales_by_index],
     [(scales_after, 'the scale after each step'), (never_reset, 'begins the count anew'),
      (never_grows, 'it doubles'), (grows_each_time_after, 'count from 0'),
      (only_the_last, 'One number a step')]),
]
