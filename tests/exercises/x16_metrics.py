"16_metrics: right answers, and what people write instead"
import torch
from miniai.check.metrics import check_metric, check_rmse
from miniai.metrics import Mean


class TopK:
    def __init__(self, k=3):
        self.k = k
        self.reset()
    def reset(self): self.right,self.n = 0,0
    def update(self, preds, targ):
        self.right += (preds.topk(self.k).indices == targ[:,None]).any(1).sum()
        self.n += len(targ)
    def compute(self): return self.right/self.n


class MeanOfMeans(TopK):
    def update(self, preds, targ):
        self.right += (preds.topk(self.k).indices == targ[:,None]).any(1).float().mean()
        self.n += 1


class LastOnly(TopK):
    def update(self, preds, targ):
        self.reset()
        super().update(preds, targ)


class NeverForgets(TopK):
    def __init__(self):
        self.k,self.right,self.n = 3,0,0
    def reset(self): pass


class NoReturn(TopK):
    def compute(self): self.right/self.n


class TopOne(TopK):
    def __init__(self): super().__init__(1)


class BySort(TopK):
    def update(self, preds, targ):
        best = preds.argsort(1, descending=True)[:, :self.k]
        for b,t in zip(best.tolist(), targ.tolist()): self.right += t in b
        self.n += len(targ)


class WithMean(Mean):
    def update(self, preds, targ):
        super().update((preds.topk(3).indices == targ[:,None]).any(1).float().mean(), len(targ))


class RMSE:
    def __init__(self): self.reset()
    def reset(self): self.total,self.n = 0.,0
    def update(self, preds, targ):
        self.total += (preds - targ).pow(2).sum()
        self.n += targ.numel()
    def compute(self): return (self.total/self.n).sqrt()


class KeepsAll(RMSE):
    def reset(self): self.parts = []
    def update(self, preds, targ): self.parts.append(preds - targ)
    def compute(self): return torch.cat(self.parts).pow(2).mean().sqrt()


class ByMean(Mean):
    def update(self, preds, targ): super().update((preds - targ).pow(2).mean(), len(targ))
    def compute(self): return super().compute()**0.5


class MeanOfRoots(Mean):
    def update(self, preds, targ): super().update((preds - targ).pow(2).mean().sqrt(), len(targ))


class BatchesNotSamples(RMSE):
    def update(self, preds, targ):
        self.total += (preds - targ).pow(2).mean()
        self.n += 1


class NoRoot(RMSE):
    def compute(self): return self.total/self.n


class Remembers(RMSE):
    def __init__(self): self.total,self.n = 0.,0
    def reset(self): pass


class Absolute(RMSE):
    def update(self, preds, targ):
        self.total += (preds - targ).abs().sum()
        self.n += len(targ)


EXERCISES = [
    (check_metric, [TopK, BySort, WithMean], [(MeanOfMeans, 'Count samples, not batches'), (LastOnly,
                                                                                            'must add to the '
                                                                                            'first'),
                                                                                            (NeverForgets,
                                                                                             'must forget '
                                                                                             'everything'),
                            (NoReturn, 'Is there a `return` in compute?'), (TopOne, 'the k best')]),
    (check_rmse, [RMSE, KeepsAll, ByMean],
     [(MeanOfRoots, 'Take the root at the very end'), (BatchesNotSamples, 'count samples'),
      (NoRoot, 'The root of the mean'),
      (Remembers, 'reset() must forget'), (Absolute, 'squared differences')]),
]
