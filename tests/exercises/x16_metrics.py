"16_metrics: right answers, and what people write instead"
import torch
from miniai.check.metrics import check_auc, check_metric, check_rmse
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


class NoInit:
    "As the lesson's first metric: all begins with `reset`"
    def reset(self): self.total = self.n = 0
    def update(self, preds, targ):
        self.total += ((preds - targ)**2).sum().item()
        self.n += len(preds)
    def compute(self): return (self.total/self.n)**0.5


class AUC:
    "All pairs at once"
    def reset(self): self.preds,self.targ = [],[]
    def update(self, preds, targ):
        self.preds.append(preds)
        self.targ.append(targ)
    def compute(self):
        preds,targ = torch.cat(self.preds),torch.cat(self.targ)
        return self.of(preds[targ == 1], preds[targ == 0])
    def of(self, ones, zeros):
        above,equal = ones[:,None] > zeros,ones[:,None] == zeros
        return (above.float() + equal.float()/2).mean()


class BySearch(AUC):
    "One sort; how many zeros are below each one, and how many are not above it"
    def of(self, ones, zeros):
        zeros = zeros.sort().values
        below,upto = torch.searchsorted(zeros, ones),torch.searchsorted(zeros, ones, right=True)
        return (below + upto).sum()/2/len(ones)/len(zeros)


class ByRanks:
    "The sum of the ranks of the ones, equal scores sharing their mean rank"
    def __init__(self): self.reset()
    def reset(self): self.pairs = []
    def update(self, preds, targ): self.pairs += list(zip(preds.tolist(), targ.tolist()))
    def compute(self):
        scores,n_ones = sorted(p for p,_ in self.pairs),sum(t for _,t in self.pairs)
        def rank(p): return (scores.index(p) + 1 + len(scores) - scores[::-1].index(p))/2
        total = sum(rank(p) for p,t in self.pairs if t)
        return (total - n_ones*(n_ones + 1)/2)/n_ones/(len(scores) - n_ones)


class TiesLost(AUC):
    def of(self, ones, zeros): return (ones[:,None] > zeros).float().mean()


class TiesWon(AUC):
    def of(self, ones, zeros): return (ones[:,None] >= zeros).float().mean()


class Trapezoid(AUC):
    "Down the sorted scores, equal ones in the order in which they came"
    def of(self, ones, zeros):
        pairs = sorted([(-p.item(), 0) for p in ones] + [(-p.item(), 1) for p in zeros])
        seen = area = 0
        for _,is_zero in pairs:
            if is_zero: area += seen
            else: seen += 1
        return area/len(ones)/len(zeros)


class TurnedRound(AUC):
    def of(self, ones, zeros): return super().of(zeros, ones)


class PairsOfBatches(Mean):
    def update(self, preds, targ): super().update(AUC().of(preds[targ == 1], preds[targ == 0]), len(targ))


class SkipsOneSided(PairsOfBatches):
    def update(self, preds, targ):
        if 0 < targ.sum() < len(targ): super().update(preds, targ)


class MeansCompared(AUC):
    def of(self, ones, zeros): return (ones.mean() > zeros.mean()).float()


class PairsInOrder(AUC):
    "The first 1 with the first 0, the second with the second, …"
    def of(self, ones, zeros):
        n = min(len(ones), len(zeros))
        return ((ones[:n] > zeros[:n]).float() + (ones[:n] == zeros[:n])/2).mean()


class PlainAccuracy(Mean):
    def update(self, preds, targ): super().update(((preds > 0.5) == targ).float().mean(), len(targ))


class KeepsOld(AUC):
    def __init__(self): super().reset()
    def reset(self): pass


EXERCISES = [
    (check_metric, [TopK, BySort, WithMean],
     [(MeanOfMeans, 'Count samples, not batches'), (LastOnly, 'must add to the first'),
      (NeverForgets, 'must forget everything'), (NoReturn, 'Is there a `return` in compute?'),
      (TopOne, 'the k best')]),
    (check_rmse, [RMSE, KeepsAll, ByMean, NoInit],
     [(MeanOfRoots, 'Take the root at the very end'), (BatchesNotSamples, 'count samples'),
      (NoRoot, 'The root of the mean'), (Remembers, 'reset() must forget'),
      (Absolute, 'squared differences')]),
    (check_auc, [AUC, BySearch, ByRanks],
     [(TiesLost, 'count half, not 0'), (TiesWon, 'count half, not 1'), (Trapezoid, 'count half, not 1'),
      (TurnedRound, 'Turned round'),
      (PairsOfBatches, 'Pairs go across batches'), (SkipsOneSided, 'Pairs go across batches'),
      (MeansCompared, 'Of all pairs of a 1 and a 0'), (PairsInOrder, 'Of all pairs of a 1 and a 0'),
      (PlainAccuracy, 'in how many is the 1 higher'), (KeepsOld, 'must forget everything')]),
]
