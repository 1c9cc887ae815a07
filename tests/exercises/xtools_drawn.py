"The tool drawn"
import math
import torch
from miniai.check.drawn import check_climb, check_segment_distance, check_styles


def distance(px, py, ax, ay, bx, by):
    dx,dy = bx-ax,by-ay
    length2 = dx*dx+dy*dy
    t = ((px-ax)*dx+(py-ay)*dy)/length2 if length2 else 0
    t = min(max(t, 0), 1)
    return math.hypot(px-ax-t*dx, py-ay-t*dy)

def by_search(px, py, ax, ay, bx, by):
    "No formula: narrow down the closest place by thirds"
    def to(t): return math.hypot(ax+t*(bx-ax)-px, ay+t*(by-ay)-py)
    low,high = 0.,1.
    for _ in range(100):
        third = (high-low)/3
        if to(low+third) < to(high-third): high -= third
        else: low += third
    return to(low)

def by_complex(px, py, ax, ay, bx, by):
    "As numbers a + bi: turn and stretch the plane until the segment goes from 0 to 1"
    p,a,b = complex(px, py),complex(ax, ay),complex(bx, by)
    if a == b: return abs(p-a)
    t = ((p-a)/(b-a)).real
    return abs(p-a-(b-a)*sorted((0., t, 1.))[1])

def endless(px, py, ax, ay, bx, by):
    dx,dy = bx-ax,by-ay
    return abs((px-ax)*dy-(py-ay)*dx)/max(math.hypot(dx, dy), 1e-9)

def ends_only(px, py, ax, ay, bx, by): return min(math.hypot(px-ax, py-ay), math.hypot(px-bx, py-by))
def no_root(*numbers): return distance(*numbers)**2
def only_start(px, py, ax, ay, bx, by):
    t = max(((px-ax)*(bx-ax)+(py-ay)*(by-ay))/((bx-ax)**2+(by-ay)**2), 0)
    return math.hypot(px-ax-t*(bx-ax), py-ay-t*(by-ay))
def no_dot(px, py, ax, ay, bx, by):
    t = ((px-ax)*(bx-ax)+(py-ay)*(by-ay))/((bx-ax)**2+(by-ay)**2)
    return distance(px, py, ax, ay, bx, by) if t == t else 0
def only_t(px, py, ax, ay, bx, by):
    length2 = (bx-ax)**2+(by-ay)**2
    return min(max(((px-ax)*(bx-ax)+(py-ay)*(by-ay))/length2, 0), 1) if length2 else 0
def stub(*args): raise NotImplementedError


def climb(x, y, amount): return x,y-amount*(x-14)
def by_stack(x, y, amount):
    x2,y2 = torch.stack([x, y]).unbind()
    return x2,torch.addcmul(y2, amount, x2-14, value=-1)
def by_loop(x, y, amount): return x,torch.stack([b-a*(c-14) for a,b,c in zip(amount, y, x)])
def down(x, y, amount): return x,y+amount*(x-14)
def slant(x, y, amount): return x-amount*(y-14),y
def from_edge(x, y, amount): return x,y-amount*x
def only_y(x, y, amount): return y-amount*(x-14)
def swapped(x, y, amount): return y-amount*(x-14),x
def first_amount(x, y, amount): return x,y-amount.flatten()[0]*(x-14)
def in_place(x, y, amount):
    y -= amount*(x-14)
    return x,y


PLUS,CROSS,A = '14,6 14,22 + 6,14 22,14','7,7 21,21 + 21,7 7,21','8,24 14,4 20,24 + 10.5,16 17.5,16'

EXERCISES = [
    (check_segment_distance, [distance, by_search, by_complex],
     [(endless, 'hold `t` between 0 and 1'), (ends_only, 'nearer end'), (no_root, 'take the root'),
      (only_t, 'go there, and measure'), (only_start, 'hold `t` between 0 and 1'),
      (no_dot, 'Both ends are one point'), (stub, 'This is the stub')]),
    (check_climb, [climb, by_stack, by_loop],
     [(down, 'up is a smaller `y`'), (slant, 'sideways'), (from_edge, 'right of the middle'),
      (only_y, 'not a tuple'), (swapped, 'changed places'),
      (first_amount, 'broadcast'), (in_place, 'changed its input'), (stub, 'This is the stub')]),
    (check_styles, [[PLUS, CROSS], [A, '8,24 8.5,8 (10,4 18,4) 19.5,8 20,24 + 8,15 20,15'],
                    ('14,4 6,22 22,22 14,4', '(14,4 10,13) 6,22 (14,20) 22,22 (18,13) 14,4')],
     [([PLUS], 'two texts'), (PLUS, 'two texts'), ([PLUS, '3 9 12'], "can't be read"),
      ([PLUS, '14,6 14;22'], "can't be read"), ([PLUS, '14,6 14,36'], 'leaves the paper'),
      ([PLUS, '14,14 15,14'], 'of the paper is ink'), (['14,6 14,22', PLUS], 'it is a 1'),
      ([PLUS, PLUS], 'the same'),
      (['(14,5 9,8 8,14 10,21 14,24 18,21 20,14 18,7)z', PLUS], 'it is a 0')]),
]
