"The exercises of lesson 04: solutions, and what people write first"
import functools, math
import torch, torch.nn.functional as F
from miniai.check.losses import check_losses, check_topk


@functools.wraps(check_losses)  # the exercises ask for rows of scores only
def simple(impl): return check_losses(*impl, simple=True)


def shifted(x, dim=-1):
    e = (x - x.amax(dim, keepdim=True)).exp()
    return e/e.sum(dim, keepdim=True)


def added_back(x, dim=-1): return (x - x.logsumexp(dim, keepdim=True)).exp()
def overflows(x, dim=-1): return x.exp()/x.exp().sum(dim, keepdim=True)
def down_the_columns(x, dim=-1): return x.softmax(0)
def whole_table(x, dim=-1): return x.exp()/x.exp().sum()
def no_exp(x, dim=-1): return x/x.sum(dim, keepdim=True)
def not_divided(x, dim=-1): return x.exp()
def each_alone(x, dim=-1): return x.sigmoid()
def one_shift_for_all(x, dim=-1): return overflows(x-x.max(), dim)
def in_place(x, dim=-1): return torch.softmax(x.data.sub_(1), dim)
def detached(x, dim=-1): return x.detach().softmax(dim)


def gathered(x, t): return -x.log_softmax(1).gather(1, t.unsqueeze(1)).mean()


def by_hand(x, t):
    if t.min() < 0: raise ValueError('no such class')
    x = x - x.amax(1, keepdim=True)
    return (x.exp().sum(1).log() - x[range(len(t)), t]).mean()


def from_the_end(x, t): return -x.log_softmax(1)[range(len(t)), t].mean()
def softmax_twice(x, t): return F.cross_entropy(x.softmax(1), t)
def summed(x, t): return F.cross_entropy(x, t, reduction='sum')
def no_minus(x, t): return -F.cross_entropy(x, t)
def no_log(x, t): return -x.softmax(1).gather(1, t.unsqueeze(1)).mean()
def lesson_1(x, t): return (1-x.softmax(1).gather(1, t.unsqueeze(1))).mean()
def no_softmax(x, t): return -x.gather(1, t.unsqueeze(1)).mean()
def wrong_dim(x, t): return -x.log_softmax(0).gather(1, t.unsqueeze(1)).mean()
def all_pairs(x, t): return -x.log_softmax(1)[:,t].mean()
def log_of_softmax(x, t): return -x.softmax(1).gather(1, t.unsqueeze(1)).log().mean()
def base_2(x, t): return gathered(x, t)/math.log(2)
def an_item(x, t): return gathered(x, t).item()
def no_gradient(x, t): return gathered(x.detach(), t)


def chosen_side(x, t):
    near = torch.where(x < 0, x, -x).exp().log1p()
    return ((1-t)*x + torch.where(x < 0, -x, 0) + near).mean()


def by_logsigmoid(x, t): return -(t*F.logsigmoid(x) + (1-t)*F.logsigmoid(-x)).mean()
def naive(x, t): return -(t*x.sigmoid().log() + (1-t)*(1-x.sigmoid()).log()).mean()
def clamped(x, t): return -(t*x.sigmoid().clamp(min=1e-7).log() + (1-t)*(1-x.sigmoid()).clamp(min=1e-7).log()).mean()
def cornered(x, t): return ((1-t)*x + (-x).clamp(min=0) + (-x.abs()).exp().log1p()).mean()
def yes_only(x, t): return -(t*F.logsigmoid(x)).mean()
def swapped(x, t): return by_logsigmoid(x, 1-t)
def sigmoid_twice(x, t): return by_logsigmoid(x.sigmoid(), t)


def topk(out, yb, k=3): return (out.topk(k).indices == yb.unsqueeze(1)).any(1).float().mean()
def by_sorting(out, yb, k=3): return (out.argsort(1, descending=True)[:,:k] == yb[:,None]).sum(1).float().mean()
def mean_of_all(out, yb, k=3): return (out.topk(k).indices == yb.unsqueeze(1)).float().mean()
def last_place(out, yb, k=3): return (out.topk(k).indices[:,-1] == yb).float().mean()
def counted(out, yb, k=3): return (out.topk(k).indices == yb.unsqueeze(1)).any(1).float().sum()
def smallest(out, yb, k=3): return topk(-out, yb, k)
def a_row(out, yb, k=3): return (out.topk(k).indices == yb).any(1).float().mean()
def only_first(out, yb, k=3): return (out.argmax(1) == yb).float().mean()
def a_number(out, yb, k=3): return topk(out, yb, k).item()


def named(name, fs): return [(f, name) if callable(f) else ((f[0], name), f[1]) for f in fs]


EXERCISES = [
    (simple, named('softmax', [shifted, torch.softmax]), named('softmax', [
        (overflows, 'Subtract the largest score'), (down_the_columns, 'down the columns'), (whole_table, 'all numbers together'),
        (no_exp, '`exp` is missing'), (not_divided, 'not yet divided'), (each_alone, 'the sigmoid of each score'),
        (one_shift_for_all, 'Subtract the largest score of each row'), (in_place, 'it changed its input'), (detached, 'no gradient'),
        (added_back, 'never add it back')])),
    (simple, named('cross_entropy', [gathered, by_hand, F.cross_entropy]), named('cross_entropy', [
        (from_the_end, 'A label of -1 would quietly mean the last class'), (softmax_twice, 'a softmax of a softmax'), (summed, 'the sum over the items'),
        (no_minus, 'Is the minus missing?'), (no_log, 'The logarithm is missing'), (lesson_1, 'the loss of lesson 01'), (no_softmax, 'take the log softmax first'),
        (wrong_dim, 'runs down the columns'), (all_pairs, 'from every row'), (log_of_softmax, 'never take the logarithm of a probability'),
        (base_2, 'base 2'), (an_item, 'a float came'), (no_gradient, 'no gradient')])),
    (simple, named('bce_with_logits', [chosen_side, by_logsigmoid, F.binary_cross_entropy_with_logits]), named('bce_with_logits', [
        (naive, '`exp` only gets negative numbers'), (clamped, '`exp` only gets negative numbers'), (cornered, 'The slope at 0'), (yes_only, 'Only a yes counts'),
        (swapped, 'Are yes and no swapped?'), (sigmoid_twice, 'a sigmoid of a sigmoid')])),
    (check_topk, [topk, by_sorting], [
        (mean_of_all, 'Divided by k as well'), (last_place, 'only the k-th place'), (counted, 'not their share'), (smallest, 'the smallest ones'),
        (a_row, 'RuntimeError'), (only_first, 'plain accuracy'), (a_number, 'a float came')]),
]
