"Solutions of lesson 13's exercises, and the answers that people give instead"
import math
from miniai.check.sched import check_annealer, check_trapezoid
from miniai.sched import annealer, combine_scheds, sched_cos, sched_lin, sched_no


@annealer
def quarter(start, end, pos): return end + (start-end)*math.cos(math.pi/2*pos)


@annealer
def backwards(start, end, pos): return start + (end-start)*math.cos(math.pi/2*pos)


@annealer
def ends_at_nought(start, end, pos): return start*math.cos(math.pi/2*pos)


def no_steps(start, end): return quarter(start, end)(1.)


def trapezoid(low, high): return combine_scheds([0.1, 0.4, 0.5], [sched_lin(low, high), sched_no(high, high), sched_lin(high, low)])
def to_nought(low, high): return combine_scheds([0.1, 0.4, 0.5], [sched_lin(0, high), sched_no(high, high), sched_lin(high, 0)])
def wrong_shares(low, high): return combine_scheds([0.1, 0.6, 0.3], [sched_lin(low, high), sched_no(high, high), sched_lin(high, low)])
def curved(low, high): return combine_scheds([0.1, 0.4, 0.5], [sched_lin(low, high), sched_no(high, high), sched_cos(high, low)])
def upside_down(low, high): return trapezoid(high, low)


EXERCISES = [
    (check_annealer, [quarter], [(sched_cos, 'quarter turn'), (backwards, 'it must give `start`'), (ends_at_nought, 'neither is 0'), (no_steps, 'the position comes later')]),
    (check_trapezoid, [trapezoid], [(to_nought, 'not from 0 to 1'), (wrong_shares, '0.1, 0.4 and 0.5'), (curved, 'use sched_lin'), (upside_down, 'at `low`')]),
]
