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
    targ = torch.randn(sum(sizes), generator=g)
    off = torch.cat([torch.full((n,), 1. + 3*i) for i,n in enumerate(sizes)])
    return targ + off*torch.randn(sum(sizes), generator=g),targ

_FORGETS = 'reset() must forget everything that was collected.'

def _case(name, data, reference, sizes, hint, before=None, mistakes=None):
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

@check('metric')
def check_metric(
    make,          # Makes a metric with reset, update and compute
    reference=None # Of all predictions and targets; by default the share within the 3 largest scores
):
    "Check a metric of scores and labels on batches against the same computed on everything at once"
    reference = reference or partial(_top_k, k=3)
    case = partial(_case, data=_ranked, reference=reference)
    yield case('one batch', sizes=(8,), hint='One update, then compute: is it the share of samples whose '
               'label is among the k best? The check wants k=3.')
    yield case('two batches', sizes=(8, 8), hint='The second update must add to the first, not replace it.')
    yield case('a short last batch', sizes=(16, 16, 3), hint="Count samples, not batches: the mean of the "
               "batches' means gives the short one too much weight.")
    yield case('after reset', sizes=(8, 5), hint=_FORGETS,
               before=lambda preds,targ: (preds, preds.argmin(1)))

@check('rmse')
def check_rmse(make):  # Makes a metric with reset, update and compute
    "Check the root of the mean squared error over all samples"
    case = partial(_case, data=_regression, reference=lambda preds,targ: (preds - targ).pow(2).mean().sqrt())
    yield case('one batch', sizes=(8,), hint='The root of the mean of the squared differences.')
    yield case('two batches', sizes=(8, 8),
               hint='Take the root at the very end: the mean of two roots is not the root of the mean.')
    yield case('a short last batch', sizes=(16, 16, 3),
               hint='Add up squares and count samples; divide in compute().')
    yield case('after reset', sizes=(8, 5), hint=_FORGETS, before=lambda preds,targ: (preds + 100, targ))

def _answers(sizes, levels=10**6):
    "Scores of questions, with or without equal ones, and yes or no; the first batch is all yes"
    preds = torch.randint(levels, (sum(sizes),), generator=rng(sum(sizes)))/levels
    targ = (torch.rand(sum(sizes), generator=rng(1)) < 0.3 + 0.4*preds).long()
    if len(sizes) > 1: targ[:sizes[0]] = 1
    return preds,targ

def _auc(preds, targ, equal=0.5):
    ones,zeros = preds[targ == 1][:,None],preds[targ == 0]
    return ((ones > zeros) + equal*(ones == zeros)).mean()

@check('auc')
def check_auc(make):  # Makes a metric with reset, update and compute
    "Check the share of pairs of a 1 and a 0 in which the 1 has the higher score"
    case = partial(_case, data=_answers, reference=_auc)
    yield case('one batch', sizes=(12,), hint='Of all pairs of a 1 and a 0: how often is the 1 higher?',
               mistakes={'Turned round: the 1 must have the higher score.': lambda p,t: 1 - _auc(p, t)})
    ties = {'Pairs with equal scores count half, not 0.': partial(_auc, equal=0.),
            'Pairs with equal scores count half, not 1.': partial(_auc, equal=1.)}
    yield case('equal scores', sizes=(40,), data=partial(_answers, levels=4), mistakes=ties,
               hint='Pairs with equal scores count half; do they depend on the order of the samples?')
    yield case('a batch of ones', sizes=(6, 16, 9), hint='Pairs go across batches, so no batch has a number '
               'of its own: collect scores and targets, and count in compute().')
    yield case('after reset', sizes=(8, 9), hint=_FORGETS, before=lambda preds,targ: (preds, 1 - targ))
