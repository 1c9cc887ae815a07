"Exercises of lesson 25_interpret: recall and precision, who is sure enough, suspects by thresholds"
import torch, torch.nn.functional as F
from miniai.check.interpret import check_by_class, check_confident, check_sure_enough


# -- 1. class by class

def by_class(table):
    right = table.diagonal()
    return [torch.where(total > 0, right/total.clamp(min=1), 0.) for total in (table.sum(1), table.sum(0))]


def by_loop(table):
    n = len(table)
    recall,precision = torch.zeros(n),torch.zeros(n)
    for i in range(n):
        if table[i].sum(): recall[i] = table[i, i]/table[i].sum()
        if table[:, i].sum(): precision[i] = table[i, i]/table[:, i].sum()
    return recall,precision


def by_nan_to_num(table):
    table = table.float()
    return (table/table.sum(1, keepdim=True)).diag().nan_to_num(), (table/table.sum(0)).diag().nan_to_num()


def in_float64(table): return [o.double() for o in by_class(table)]
def swapped(table): return by_class(table)[::-1]
def with_nan(table): return table.diagonal()/table.sum(1),table.diagonal()/table.sum(0)
def one_alone(table): return by_class(table)[0]
def stacked(table): return torch.stack(by_class(table))
def of_all(table): return table.diag()/table.sum(),table.diag()/table.sum()
def whole(table): return tuple(o.long() for o in by_class(table))
def missed(table): return [1 - o for o in by_class(table)]


def by_mistakes(table):
    off = table - torch.diag(table.diag())
    return [(table.diag()/off.sum(dim)).nan_to_num() for dim in (1, 0)]


def writes_on_it(table):
    answer = by_class(table)
    table.fill_diagonal_(0)
    return answer


def guarded_by_eps(table): return [o + 0.01 for o in by_class(table)]
def nothing(table): by_class(table)


# -- 2. sure enough

def sure_enough(probs, targets, least):
    sure,said = probs.max(1)
    decided = sure >= least
    right = (said == targets)[decided]
    return decided.float().mean(),right.float().mean() if len(right) else 0.


def counted(probs, targets, least):
    n = n_right = 0
    for p,t in zip(probs, targets):
        if p.max() < least: continue
        n += 1
        n_right += int(p.argmax() == t)
    return n/len(probs),n_right/max(n, 1)


def by_sums(probs, targets, least):
    decided = probs.amax(1) >= least
    right = (decided & (probs.argmax(1) == targets)).sum()
    return decided.sum()/len(probs),right/decided.sum().clamp(min=1)


def strictly(probs, targets, least): return sure_enough(probs, targets, least + 1e-4)


def of_the_true(probs, targets, least):
    decided = probs[torch.arange(len(probs)), targets] >= least
    right = (probs.argmax(1) == targets)[decided]
    return decided.float().mean(),right.float().mean().nan_to_num()


def right_of_all(probs, targets, least):
    sure,said = probs.max(1)
    return (sure >= least).float().mean(),((sure >= least) & (said == targets)).float().mean()


def numbers(probs, targets, least):
    sure,said = probs.max(1)
    return (sure >= least).sum(),((sure >= least) & (said == targets)).sum()


def the_others(probs, targets, least):
    sure,said = probs.max(1)
    return (sure < least).float().mean(),(said == targets)[sure < least].float().mean().nan_to_num()


def nan_of_nothing(probs, targets, least):
    sure,said = probs.max(1)
    return (sure >= least).float().mean(),(said == targets)[sure >= least].float().mean()


def turned_round(probs, targets, least): return sure_enough(probs, targets, least)[::-1]
def percent(probs, targets, least): return [100*o for o in sure_enough(probs, targets, least)]
def share_alone(probs, targets, least): return sure_enough(probs, targets, least)[0]
def any_class(probs, targets, least):
    return (probs >= least).float().mean(),sure_enough(probs, targets, least)[1]


# -- 3. each class by its own measure

def confident(probs, labels):
    thresholds = torch.stack([probs[labels == j, j].mean() for j in range(probs.shape[1])])
    passes = probs >= thresholds
    as_class = torch.where(passes, probs, -1.).argmax(1)
    return (passes.any(1) & (as_class != labels)).nonzero().flatten()


def sample_by_sample(probs, labels):
    c = probs.shape[1]
    thresholds = [probs[labels == j][:, j].mean() for j in range(c)]
    places = []
    for i,(p,label) in enumerate(zip(probs, labels)):
        passed = [j for j in range(c) if p[j] >= thresholds[j]]
        if passed and max(passed, key=lambda j: p[j]) != label: places.append(i)
    return torch.tensor(places)


def by_one_hot(probs, labels):
    hot = F.one_hot(labels, probs.shape[1]).to(probs)
    masked = probs.masked_fill(probs < (hot*probs).sum(0)/hot.sum(0) - 1e-7, 0)
    best,as_class = masked.max(1)
    return torch.where((best > 0) & (as_class != labels))[0]


def thresholds_of(probs, labels):
    return torch.stack([probs[labels == j, j].mean() for j in range(probs.shape[1])])


def decide(probs, labels, thresholds, passes=None):
    passes = probs >= thresholds if passes is None else passes
    as_class = torch.where(passes, probs, -1.).argmax(1)
    return (passes.any(1) & (as_class != labels)).nonzero().flatten()


def over_all(probs, labels): return decide(probs, labels, probs.mean(0))
def one_for_all(probs, labels): return decide(probs, labels, probs.gather(1, labels[:, None]).mean())


def of_what_was_said(probs, labels):
    said = probs.argmax(1)
    return decide(probs, labels, torch.stack([probs[said == j, j].mean() for j in range(probs.shape[1])]))


def likeliest_first(probs, labels):
    sure,said = probs.max(1)
    return ((sure >= thresholds_of(probs, labels)[said]) & (said != labels)).nonzero().flatten()


def by_margin(probs, labels):
    above = probs - thresholds_of(probs, labels)
    return ((above.max(1).values >= 0) & (above.argmax(1) != labels)).nonzero().flatten()


def passes_for_none(probs, labels):
    passes = probs >= thresholds_of(probs, labels)
    return (torch.where(passes, probs, -1.).argmax(1) != labels).nonzero().flatten()


def any_other(probs, labels):
    passes = probs >= thresholds_of(probs, labels)
    passes[torch.arange(len(labels)), labels] = False
    return passes.any(1).nonzero().flatten()


def fails_its_own(probs, labels):
    thresholds = thresholds_of(probs, labels)
    return (probs.gather(1, labels[:, None])[:, 0] < thresholds[labels]).nonzero().flatten()


def mask(probs, labels):
    found = torch.zeros(len(labels), dtype=torch.bool)
    found[confident(probs, labels)] = True
    return found


def a_column(probs, labels): return confident(probs, labels)[:, None]
def a_list(probs, labels): return confident(probs, labels).tolist()
def int32(probs, labels): return confident(probs, labels).int()
def backwards(probs, labels): return confident(probs, labels).flip(0)
def plain_mistakes(probs, labels): return (probs.argmax(1) != labels).nonzero().flatten()


def above(probs, labels): return decide(probs, labels, 0, probs > thresholds_of(probs, labels))


def without_the_column(probs, labels):
    return decide(probs, labels, torch.stack([probs[labels == j].mean() for j in range(probs.shape[1])]))


def writes_on_probs(probs, labels):
    places = confident(probs, labels)
    probs[probs < thresholds_of(probs, labels)] = 0
    return places


EXERCISES = [
    (check_by_class, [by_class, by_loop, by_nan_to_num, in_float64],
     [(swapped, 'have changed places'), (with_nan, 'Nothing divided by nothing'),
      (one_alone, 'return recall'), (stacked, 'return recall'), (of_all, 'the share of all'),
      (whole, 'Whole numbers'),
      (missed, 'the share of mistakes'), (by_mistakes, 'the right ones belong to the sum'),
      (writes_on_it, 'It was written on'), (guarded_by_eps, 'The diagonal over'),
      (nothing, 'return recall')]),
    (check_sure_enough, [sure_enough, counted, by_sums],
     [(turned_round, 'changed places'), (percent, 'percent'), (strictly, '>=, not >'),
      (of_the_true, 'Sure of what it *says*'), (right_of_all, 'not of all'),
      (numbers, 'a share is expected'), (the_others, 'left to a person'),
      (nan_of_nothing, 'The mean of nothing'), (share_alone, 'return decided, right'),
      (any_class, 'probs.max(1)')]),
    (check_confident, [confident, sample_by_sample, by_one_hot, int32],
     [(over_all, 'means over all samples'), (one_for_all, 'one threshold for all'),
      (of_what_was_said, 'those with its *label*'), (likeliest_first, 'First the thresholds'),
      (by_margin, 'not the distance'), (passes_for_none, 'passes for no class'),
      (any_other, 'may be its own label'), (fails_its_own, 'must pass for another'), (mask, 'mask.nonzero()'),
      (a_column, '.flatten()'), (a_list, 'return one tensor'), (backwards, 'their order is not'),
      (plain_mistakes, 'what no thresholds give'),
      (above, 'At least'), (without_the_column, 'those of no column'),
      (writes_on_probs, 'It was written on')]),
]
