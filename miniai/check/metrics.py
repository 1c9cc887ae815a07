"Checks of lesson 16_metrics"
from functools import partial
import torch
from .kit import Case, Report, require, rng, run_cases, same


def _top_k(preds, targ, k): return (preds.topk(k, dim=1).indices == targ[:,None]).any(1).float().mean()

def check_metric(
    make,                  # Makes a metric with reset, update and compute
    reference=None,        # A function of all predictions and targets; by default the share whose target is among the 3 largest scores
    limit:float=10.        # Seconds that one case may take
)->Report:                 # ✓ or ✗ for each case
    "Check a metric on batches against the same computed on everything at once"
    reference = reference or partial(_top_k, k=3)
    def case(name, sizes, hint, again=False):
        def run(make):
            g,metric = rng(sum(sizes)),make()
            preds = torch.randn(sum(sizes), 10, generator=g)
            ranks = torch.arange(sizes[0])[:,None] % 3
            targ = torch.cat([preds[:sizes[0]].topk(3).indices.gather(1, ranks)[:,0], torch.randint(0, 10, (sum(sizes[1:]),), generator=g)])  # the first batch is all right, the others are not
            if again:
                metric.update(preds, preds.argmin(1))
                metric.reset()
            for p,t in zip(preds.split(sizes), targ.split(sizes)): metric.update(p, t)
            got = metric.compute()
            require(got is not None, 'compute() gave None', hint='Is there a `return` in compute?')
            same(float(got), float(reference(preds, targ)), given=f'batches of {list(sizes)}', hint=hint)
        return Case(name, run, hint)
    return run_cases(make, [case('one batch', (8,), 'One update, then compute: is it the share of the samples that are right?'),
                            case('two batches of one size', (8, 8), 'The second update must add to the first, not replace it.'),
                            case('a short last batch', (16, 16, 3), 'Count samples, not batches: the mean of the batches\' means gives the short one too much weight.'),
                            case('after reset', (8, 5), 'reset() must forget everything that was collected.', again=True)], 'metric', limit)
