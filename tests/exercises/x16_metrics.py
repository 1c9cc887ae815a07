"Solutions of lesson 16's exercise, and the answers that people give instead"
from miniai.check.metrics import check_metric


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


EXERCISES = [
    (check_metric, [TopK], [(MeanOfMeans, 'Count samples, not batches'), (LastOnly, 'must add to the first'), (NeverForgets, 'must forget everything'),
                            (NoReturn, 'Is there a `return` in compute?'), (TopOne, 'One update, then compute')]),
]
