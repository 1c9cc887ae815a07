"The exercises of lesson 05: solutions, and what people write first"
import functools, math
import torch, torch.nn.functional as F
from miniai.check.losses import check_losses, check_topk


def named(name):
    "The check as the exercise calls it"
    @functools.wraps(check_losses)
    def run(f): return check_losses(f, name)
    return run


def topk(out, yb, k=3): return (out.topk(k).indices == yb.unsqueeze(1)).any(1).float().mean()
def by_sorting(out, yb, k=3): return (out.argsort(1)[:,-k:] == yb[:,None]).sum(1).float().mean()
def by_place(out, yb, k=3): return ((out > out.gather(1, yb[:,None])).sum(1) < k).float().mean()
def by_loop(out, yb, k=3):
    right = [label.item() in row.topk(k).indices.tolist() for row,label in zip(out, yb)]
    return torch.tensor(right).float().mean()
def mean_of_all(out, yb, k=3): return (out.topk(k).indices == yb.unsqueeze(1)).float().mean()
def last_place(out, yb, k=3): return (out.topk(k).indices[:,-1] == yb).float().mean()
def counted(out, yb, k=3): return (out.topk(k).indices == yb.unsqueeze(1)).any(1).float().sum()
def smallest(out, yb, k=3): return topk(-out, yb, k)
def a_row(out, yb, k=3): return (out.topk(k).indices == yb).any(1).float().mean()
def only_first(out, yb, k=3): return (out.argmax(1) == yb).float().mean()
def any_at_all(out, yb, k=3): return (out.topk(k).indices == yb.unsqueeze(1)).any().float()
def all_of_them(out, yb, k=3): return (out.topk(k).indices == yb.unsqueeze(1)).all(1).float().mean()
def wrong_share(out, yb, k=3): return 1-topk(out, yb, k)
def always_three(out, yb, k=3): return topk(out, yb)
def mean_of_bools(out, yb, k=3): return (out.topk(k).indices == yb.unsqueeze(1)).any(1).mean()
def of_values(out, yb, k=3): return (out.topk(k).values == yb.unsqueeze(1)).any(1).float().mean()
def a_number(out, yb, k=3): return topk(out, yb, k).item()
def other_default(out, yb, k=5): return topk(out, yb, k)


def huber(x, t):
    d = (x-t).abs()
    return torch.where(d <= 1, d**2/2, d-0.5).mean()

def huber_by_parts(x, t):
    d = (x-t).abs()
    near = d.clamp(max=1)
    return (near**2/2 + (d-near)).mean()

def huber_by_mask(x, t):
    d = (x-t).flatten()
    near = d.abs() < 1
    return torch.cat([d[near]**2/2, d[~near].abs()-0.5]).mean()

def huber_loop(x, t):
    each = [d**2/2 if abs(d) <= 1 else abs(d)-0.5 for d in (x-t).flatten()]
    return sum(each)/len(each)

def bent(f):
    def wrong(x, t):
            return f(x-t, (x-t).abs())
    return wrong


def by_if(x, t): return (x-t)**2/2 if (x-t).abs() <= 1 else (x-t).abs()-0.5
def no_return(x, t): huber(x, t)


def soft(x, t): return -(t*x.log_softmax(1)).sum(1).mean()
def soft_by_hand(x, t):
    x = x - x.amax(1, keepdim=True)
    return -(t*(x - x.exp().sum(1, keepdim=True).log())).sum()/len(x)
def soft_lse(x, t): return (x.logsumexp(1)*t.sum(1) - (t*x).sum(1)).mean()
def soft_einsum(x, t): return -torch.einsum('nc,nc->n', t, F.log_softmax(x, dim=-1)).mean()


def weighted(input, target, weight=None, ignore_index=-100, reduction='mean'):
    counts = target != ignore_index
    labels = target.where(counts, 0)
    share = counts.float() if weight is None else weight[labels]*counts
    loss = -input.log_softmax(1).gather(1, labels[:,None]).squeeze(1)*share
    return loss if reduction == 'none' else loss.sum() if reduction == 'sum' else loss.sum()/share.sum()

def weighted_by_mask(input, target, weight=None, ignore_index=-100, reduction='mean'):
    keep = target != ignore_index
    x,t = input[keep],target[keep]
    if t.min() < 0 or t.max() >= x.shape[1]: raise ValueError('no such class')
    weight = torch.ones(x.shape[1]) if weight is None else weight
    loss = -x.log_softmax(1)[range(len(t)), t]*weight[t]
    if reduction == 'none': return torch.zeros(len(target)).masked_scatter(keep, loss)
    return loss.sum() if reduction == 'sum' else loss.sum()/weight[t].sum()

def weighted_one_hot(input, target, weight=None, ignore_index=-100, reduction='mean'):
    "All classes by a table of shares"
    counts = (target != ignore_index)
    table = F.one_hot(target.where(counts, 0), input.shape[1])*counts[:,None]
    if weight is not None: table = table*weight
    loss = -(table*input.log_softmax(1)).sum(1)
    return loss if reduction == 'none' else loss.sum() if reduction == 'sum' else loss.sum()/table.sum()

def scaled(below):
    "The sum, divided by something else"
    def wrong(input, target, weight=None, ignore_index=-100, reduction='mean'):
        total = weighted(input, target, weight, ignore_index, 'sum' if reduction == 'mean' else reduction)
        if reduction != 'mean': return total
        share = torch.ones(len(target)) if weight is None else weight[target.clamp(min=0)]
        return total/below(share, (target != ignore_index).float())
    return wrong

def from_the_end(input, target, weight=None, ignore_index=-100, reduction='mean'):
    known = ((target >= 0) & (target < 5)) | (target == ignore_index) | (target > 4)
    return weighted(input, target.where(known, target+input.shape[1]), weight, ignore_index, reduction)

def picks_missing(input, target, weight=None, ignore_index=-100, reduction='mean'):
    counts = target != ignore_index
    share = counts.float() if weight is None else weight[target]*counts
    loss = -input.log_softmax(1).gather(1, target[:,None]).squeeze(1)*share
    return loss.sum()/share.sum()

def of_probabilities(input, target, weight=None, ignore_index=-100, reduction='mean'):
    return weighted(input.softmax(1), target, weight, ignore_index, reduction)

def log_of_softmax(input, target, weight=None, ignore_index=-100, reduction='mean'):
    return F.nll_loss(input.softmax(1).log(), target, weight, ignore_index=ignore_index, reduction=reduction)


def one_number(input, target, weight=None, ignore_index=-100, reduction='mean'):
    return weighted(input, target, weight, ignore_index, 'sum' if reduction == 'none' else reduction)

def no_negatives(input, target, weight=None, ignore_index=-100, reduction='mean'):
    return weighted(input, target.where(target >= 0, ignore_index), weight, ignore_index, reduction)


EXERCISES = [
    (check_topk, [topk, by_sorting, by_place, by_loop],
     [(mean_of_all, 'Divided by k as well'), (last_place, 'only the k-th place'), (counted, 'not their'),
      (smallest, 'the smallest ones'), (a_row, 'make it a column'), (only_first, 'plain accuracy'),
      (of_values, '`.indices`, not `.values`'), (a_number, 'A number? torch.tensor'),
      (other_default, 'no k: it is 3'),
      (any_at_all, 'one answer'), (all_of_them, 'not `all`'), (wrong_share, 'the share that is wrong'),
      (always_three, 'Always the first 3?'), (mean_of_bools, 'No mean? `.float()`')]),
    (named('huber'), [huber, huber_by_parts, huber_by_mask, huber_loop, F.smooth_l1_loss],
     [(bent(lambda d,a: torch.where(a <= 1, d**2/2, a-0.5).sum()), 'the sum, not the mean'),
      (bent(lambda d,a: (d**2/2).mean()), 'half the squared error'),
      (bent(lambda d,a: a.mean()), 'the absolute difference'),
      (bent(lambda d,a: torch.where(a <= 1, d**2, a-0.5).mean()), 'd²/2, not d²'),
      (bent(lambda d,a: torch.where(a <= 1, d**2/2, a).mean()), 'do not meet'),
      (bent(lambda d,a: torch.where(a > 1, d**2/2, a-0.5).mean()), 'swapped'),
      (bent(lambda d,a: torch.where(d <= 1, d**2/2, a-0.5).mean()), 'compare |d| with 1'),
      (bent(lambda d,a: torch.where(a <= 1, d**2/2, d-0.5).mean()), '-5 counts as 4.5'),
      (bent(lambda d,a: torch.where(a <= 1, d**2/2, a-0.5)), 'One number, please'),
      (lambda x,t: 2*huber(x, t), 'twice the loss'),
      (lambda x,t: huber(x, t)*x[0].numel(), 'counts the rows only'), (by_if, 'chooses number by number'),
      (lambda x,t: huber(x, t).item(), 'a float came'), (no_return, 'Is there a `return`?')]),
    (named('soft_cross_entropy'), [soft, soft_by_hand, soft_lse, soft_einsum, F.cross_entropy],
     [(lambda x,t: -soft(x, t), 'Is the minus missing?'),
      (lambda x,t: soft(x, t)*len(x), 'the sum over the rows'),
      (lambda x,t: -(t*x.log_softmax(1)).mean(), 'sum over the classes'),
      (lambda x,t: -(t*x.softmax(1)).sum(1).mean(), 'The logarithm is missing'),
      (lambda x,t: -(t*x).sum(1).mean(), 'The scores themselves'),
      (lambda x,t: -(t*x.log_softmax(0)).sum(1).mean(), 'runs down the columns'),
      (lambda x,t: F.cross_entropy(x, t.argmax(1)), 'Only the likeliest class'),
      (lambda x,t: soft(x, t.softmax(1)), 'no softmax of them'),
      (lambda x,t: -(t*x.softmax(1).log()).sum(1).mean(), 'never take the logarithm of a probability'),
      (lambda x,t: -(t*x.log_softmax(1)).sum(1), 'One number, please'),
      (lambda x,t: -(t*x.softmax(1)).sum(1).log().mean(), 'logarithm of the sum'),
      (lambda x,t: -(x.softmax(1)*t.log()).sum(1).mean(), 'Swapped'),
      (lambda x,t: soft(x, t)/math.log(2), 'base 2'),
      (lambda x,t: soft(x.detach(), t), 'no gradient')]),
    (named('weighted_cross_entropy'), [weighted, weighted_by_mask, weighted_one_hot, F.cross_entropy],
     [(scaled(lambda s,c: c.sum()), 'not by the number of items'),
      (scaled(lambda s,c: s.sum()), 'Ignored items are still in'),
      (scaled(lambda s,c: len(s)), 'the number of all items'),
      (from_the_end, '-1 is not a class'),
      (picks_missing, 'put another label there'), (of_probabilities, 'a softmax of a softmax'),
      (log_of_softmax, 'never take the logarithm of a probability'),
      (one_number, 'A row of the weighted losses'), (no_negatives, '-1 is not a class'),
      (lambda *a, **k: -weighted(*a, **k), 'Is the minus missing?'),
      (lambda *a, **k: weighted(*a, **k)/math.log(2), 'base 2')]),
]
