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

def _case(name, data, reference, sizes, hint, before=None):
    def run(make):
        metric,(preds,targ) = make(),data(sizes)
        if before is not None:
            metric.update(*before(preds, targ))
            metric.reset()
        for p,t in zip(preds.split(sizes), targ.split(sizes)): metric.update(p, t)
        got = metric.compute()
        require(got is not None, 'compute() gave None', hint='Is there a `return` in compute?')
        same(float(got), float(reference(preds, targ)), given=f'batches of {list(sizes)}')
    return Case(name, run, hint)

@check('metric')
def check_metric(
    make,          # Makes a metric with reset, update and compute
    reference=None # Of all predictions and targets; by default the share within the 3 largest scores
):
    "Check a metric of scores and labels on batches against the same computed on everything at once"
    reference = reference or partial(_top_k, k=3)
    case = partial(_case, data=_ranked, reference=reference)
    yield case('one batch', sizes=(8,),
               hint='One update, then compute: is it the share of samples whose label is among '
                                             'the k best? The check wants k=3.')
    yield case('two batches', sizes=(8, 8), hint='The second update must add to the first, not replace it.')
    yield case('a short last batch', sizes=(16, 16, 3),
               hint="Count samples, not batches: the mean of the batches' means "
                                                             'gives the short one too much weight.')
    yield case('after reset', sizes=(8, 5), hint='reset() must forget everything that was collected.',
               before=lambda preds,targ: (preds, preds.argmin(1)))

@check('rmse')
def check_rmse(make):  # Makes a metric with reset, update and compute
    "Check the root of the mean squared error over all samples"
    case = partial(_case, data=_regression, reference=lambda preds,targ: (preds - targ).pow(2).mean().sqrt())
    yield case('one batch', sizes=(8,), hint='The root of the mean of the squared differences.')
    yield case('two batches', sizes=(8, 8),
               hint='Take the root at the very end: the mean of two roots is not the root of '
                                                 'the mean.')
    yield case('a short last batch', sizes=(16, 16, 3),
               hint='Add up squares and count samples; divide in compute().')
    yield case('after reset', sizes=(8, 5), hint='reset() must forget everything that was collected.',
               before=lambda preds,targ: (preds + 100, targ))
