"18_schedules: right answers, and what people write instead"
import math
from functools import partial
from miniai.check.sched import check_annealer, check_restarts, check_trapezoid
from miniai.sched import annealer, combine_scheds, sched_cos, sched_lin, sched_no


@annealer
def quarter(start, end, pos): return end + (start-end)*math.cos(math.pi/2*pos)


@annealer
def backwards(start, end, pos): return start + (end-start)*math.cos(math.pi/2*pos)


@annealer
def ends_at_nought(start, end, pos): return start*math.cos(math.pi/2*pos)


def no_steps(start, end): return quarter(start, end)(1.)


def trapezoid(low, high):
    return combine_scheds([0.1, 0.4, 0.5], [sched_lin(low, high), sched_no(high, high), sched_lin(high, low)])


def to_nought(low, high):
    return combine_scheds([0.1, 0.4, 0.5], [sched_lin(0, high), sched_no(high, high), sched_lin(high, 0)])


def wrong_shares(low, high):
    return combine_scheds([0.1, 0.6, 0.3], [sched_lin(low, high), sched_no(high, high), sched_lin(high, low)])


def curved(low, high):
    return combine_scheds([0.1, 0.4, 0.5], [sched_lin(low, high), sched_no(high, high), sched_cos(high, low)])


def upside_down(low, high): return trapezoid(high, low)


def by_partial(start, end):
    return partial(lambda start,end,pos: end + (start-end)*math.cos(math.pi/2*pos), start, end)


class Quarter:
    def __init__(self, start, end): self.start,self.end = start,end
    def __call__(self, pos): return self.end + (self.start-self.end)*math.sin(math.pi/2*(1-pos))


def no_annealer(start, end, pos): return end + (start-end)*math.cos(math.pi/2*pos)
def straight(start, end): return sched_lin(start, end)
@annealer
def no_return(start, end, pos): end + (start-end)*math.cos(math.pi/2*pos)


def trapezoid_by_hand(low, high): return lambda pos: low + (high-low)*min(1., pos/0.1, (1-pos)/0.5)


def trapezoid_with_ifs(low, high):
    def sched(pos):
        if pos < 0.1: return low + (high-low)*pos*10
        return high if pos <= 0.5 else high + (low-high)*(pos-0.5)*2
    return sched


def level_too_long(low, high):
    return combine_scheds([0.1, 0.9], [sched_lin(low, high), sched_no(high, high)])


def overlapping(low, high):
    return combine_scheds([0.1, 0.5, 0.5], [sched_lin(low, high), sched_no(high, high), sched_lin(high, low)])


def one_value(low, high):
    return combine_scheds([0.1, 0.4, 0.5], [sched_lin(low, high), sched_no(high), sched_lin(high, low)])


def growing(start, end, n, grow):
    lengths = [grow**i for i in range(n)]
    return combine_scheds([l/sum(lengths) for l in lengths], [sched_cos(start, end)]*n)


def by_loop(start, end, n, grow):
    def sched(pos):
        length,left = 1,pos*sum(grow**i for i in range(n))
        for _ in range(n-1):
            if left < length: break
            left,length = left - length,length*grow
        return end + (start-end)*(1 + math.cos(math.pi*left/length))/2
    return sched


class Growing:
    "Lengths from the last one backwards"
    def __init__(self, start, end, n, grow):
        self.down,shares = sched_cos(start, end),[1.]
        for _ in range(n-1): shares.insert(0, shares[0]/grow)
        self.parts = [s/sum(shares) for s in shares]
    def __call__(self, pos):
        for part in self.parts[:-1]:
            if pos < part: return self.down(pos/part)
            pos -= part
        return self.down(pos/self.parts[-1])


def all_equal(start, end, n, grow): return growing(start, end, n, 1)
def shrinking(start, end, n, grow): return growing(start, end, n, 1/grow)
def by_lines(start, end, n, grow):
    lengths = [grow**i for i in range(n)]
    return combine_scheds([l/sum(lengths) for l in lengths], [sched_lin(start, end)]*n)
def upwards(start, end, n, grow): return growing(end, start, n, grow)
def grows_by_adding(start, end, n, grow):
    lengths = [1 + i*grow for i in range(n)]
    return combine_scheds([l/sum(lengths) for l in lengths], [sched_cos(start, end)]*n)
def not_shares(start, end, n, grow):
    return combine_scheds([grow**i for i in range(n)], [sched_cos(start, end)]*n)
def starts_again(start, end, n, grow): return lambda pos: growing(start, end, n, grow)(pos % 1)
def lower_each_time(start, end, n, grow):
    lengths = [grow**i for i in range(n)]
    return combine_scheds([l/sum(lengths) for l in lengths], [sched_cos(start/2**i, end) for i in range(n)])
def takes_pos(start, end, n, grow, pos): return growing(start, end, n, grow)(pos)


EXERCISES = [
    (check_annealer, [quarter, by_partial, Quarter],
     [(sched_cos, 'quarter turn'), (backwards, 'it must give `start`'), (ends_at_nought, 'neither is 0'),
      (no_steps, 'the position comes later'), (no_annealer, '@annealer above'),
      (straight, 'Right at the ends'), (no_return, 'Is there a `return`?')]),
    (check_trapezoid, [trapezoid, trapezoid_by_hand, trapezoid_with_ifs],
     [(to_nought, 'not from 0 to 1'), (wrong_shares, '0.1, 0.4 and 0.5'), (curved, 'use sched_lin'),
      (upside_down, 'at `low`'), (level_too_long, 'at `low`'),
      (overlapping, 'the phases are 0.1, 0.4 and 0.5 long'), (one_value, "missing 1 required")]),
    (check_restarts, [growing, by_loop, Growing],
     [(all_equal, 'not all of one length'), (shrinking, 'not as short'), (by_lines, 'it is sched_cos'),
      (upwards, 'it is sched_cos'), (grows_by_adding, 'both are of one length'),
      (not_shares, 'must add up to 1'), (starts_again, 'not at a new start'),
      (lower_each_time, 'each from `start` to `end`'), (takes_pos, 'the position, which comes later')]),
]
