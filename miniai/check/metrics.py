"Checks of lesson 16_metrics: metrics that must be right for batches of any size"
from functools import partial
import torch
from .kit import Case, check, require, rng, same

def _top_k(preds, targ, k): return (preds.topk(k, dim=1).indices == targ[:,None]).any(1).float().mean()

def _ranked(sizes):
    "Scores and labels; all labels of the first batch are among the best three, the others are anything"
    g = rng(sum(sizes))
    preds = torch.randn(sum(sizes), 10, generator=g)
    ranks = torch.arange(sizes[0])[:,None] % 3
    first = preds[:sizes[0]].topk(3).indices.gather(1, ranks)[:,0]
    return preds,torch.cat([first, torch.randint(0, 10, (sum(sizes[1:]),), generator=g)])

def _regression(sizes):
    "Numbers and what they should be; the batches are off by more and more"
    g = rng(sum(sizes))
    targ,off = torch.randn(sum(sizes), generator=g),torch.tensor([1., 4., 7.])[:len(sizes)]
    return targ + off.repeat_interleave(torch.tensor(sizes))*torch.randn(sum(sizes), generator=g),targ

def _case(name, sizes, hint, data, reference, before=None, mistakes=None):
    def run(make):
        metric,(preds,targ) = make(),data(sizes)
        metric.reset()  # as the Learner does before each part of an epoch
        if before is not None:
            metric.update(*before(preds, targ))
            metric.reset()
        for p,t in zip(preds.split(sizes), targ.split(sizes)): metric.update(p, t)
        got = metric.compute()
        require(got is not None, 'compute() gave None', hint='Is there a `return` in compute?')
        known = {h: float(wrong(preds, targ)) for h,wrong in (mistakes or {}).items()}
        same(float(got), float(reference(preds, targ)), given=f'batches of {list(sizes)}', mistakes=known)
    return Case(name, run, hint)

def _cases(one, two, short, before, **kwargs):
    "What any metric must stand, with three hints, and what it is given before it is reset"
    yield _case('one batch', (8,), one, **kwargs)
    yield _case('two batches', (8, 8), two, **kwargs)
    yield _case('a short last batch', (16, 16, 3), short, **kwargs)
    hint = 'reset() must forget everything that was collected.'
    yield _case('after reset', (8, 5), hint, before=before, **kwargs)

@check('metric')
def check_metric(make, reference=None):  # Makes a metric; what to compare with, the share of the best 3
    "Check a metric of scores and labels on batches against the same computed on everything at once"
    return _cases('One update, then compute: is it the share of samples whose label is among the k best? '
                  'The check wants k=3.', 'The second update must add to the first, not replace it.',
                  "Count samples, not batches: the mean of the batches' means gives the short one too much "
                  'weight.', lambda preds,targ: (preds, preds.argmin(1)),
                  data=_ranked, reference=reference or partial(_top_k, k=3))

@check('rmse')
def check_rmse(make):  # Makes a metric with reset, update and compute
    "Check the root of the mean squared error over all samples"
    return _cases('The root of the mean of the squared differences.',
                  'Take the root at the very end: the mean of two roots is not the root of the mean.',
                  'Add up squares and count samples; divide in compute().',
                  lambda preds,targ: (preds + 100, targ), data=_regression,
                  reference=lambda preds,targ: (preds - targ).pow(2).mean().sqrt())

def _answers(sizes):
    "Scores of which some are equal, and yes or no; of several batches the first one is all yes"
    preds = torch.randint(8, (sum(sizes),), generator=rng(sum(sizes) + 22))/8
    targ = (torch.rand(sum(sizes), generator=rng(1)) < 0.3 + 0.4*preds).long()
    if len(sizes) > 1: targ[:sizes[0]] = 1
    return preds,targ

def _auc(preds, targ, equal=0.5):
    ones,zeros = preds[targ == 1][:,None],preds[targ == 0]
    return ((ones > zeros).float() + equal*(ones == zeros)).mean()

@check('auc')
def check_auc(make):  # Makes a metric with reset, update and compute
    "Check the share of pairs of a 1 and a 0 in which the 1 has the higher score"
    mistakes = {f'Pairs with equal scores count half, not {e}.': partial(_auc, equal=e) for e in (0, 1)}
    mistakes['Turned round: the 1 must have the higher score.'] = lambda p,t: 1 - _auc(p, t)
    across = 'Pairs go across batches, and a batch may hold no 0 at all: collect, and count in compute().'
    return _cases('Of all pairs of a 1 and a 0: in how many is the 1 higher? Equal ones count half.', across,
                  across, lambda preds,targ: (preds, 1 - targ), data=_answers, reference=_auc,
                  mistakes=mistakes)
