"""Sentences differ in length, so a batch is a dictionary: words in padded rows, where there are any, and
labels. What counts comes after the "but": the same words in another order mean the opposite."""
import argparse, random
import torch, torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from miniai.learner import Accuracy, DeviceCB, Learner, MetricsCB, ProgressCB
from miniai.optim import AdamW
from miniai.sched import OneCycle
from miniai.training import get_dls
GOOD,BAD = 'good great superb lovely fresh'.split(),'bad awful cold slow boring'.split()
THINGS,FILLING = 'food service wine music place'.split(),'really very quite rather so'.split()
WORDS = ['', *GOOD, *BAD, *THINGS, *FILLING, 'the', 'was', 'not', 'but']
def numbers(text): return torch.tensor([WORDS.index(word) for word in text.split()])

def clause(rng, good):
    negated = rng.random() < 0.3
    middle = ['not']*negated + rng.sample(FILLING, rng.randint(0, 2))
    return ' '.join(['the', rng.choice(THINGS), 'was', *middle, rng.choice(GOOD if good != negated else BAD)])

def guests(n, seed):
    "What they write, and whether they will come again"
    rng,samples = random.Random(seed),[]
    for label in rng.choices((0, 1), k=n):
        text = clause(rng, label)
        if rng.random() < 0.5: text = f'{clause(rng, not label)} but {text}'
        samples.append(dict(ids=numbers(text), label=label))
    return samples

def padded(samples):
    ids = pad_sequence([s['ids'] for s in samples], batch_first=True)
    return dict(ids=ids, mask=ids > 0, label=torch.tensor([s['label'] for s in samples]))

class Reader(nn.Module):
    def __init__(self, order, width=32):  # without `order`: a bag of words
        super().__init__()
        self.words,self.head = nn.Embedding(len(WORDS), width, padding_idx=0),nn.Linear(width, 2)
        self.gru = nn.GRU(width, width//2, batch_first=True, bidirectional=True) if order else None
    def forward(self, ids, mask):
        x = self.gru(self.words(ids))[0] if self.gru else self.words(ids)
        return self.head((x*mask[...,None]).sum(1)/mask.sum(1, keepdim=True))  # of the mean over the words

def make_learner(quick=False, order=True):
    torch.manual_seed(0)
    dls = get_dls(guests(400 if quick else 3000, 1), guests(500, 2), 32, collate_fn=padded)
    cbs = [DeviceCB(), MetricsCB(accuracy=Accuracy()), ProgressCB(), OneCycle()]
    return Learner(Reader(order), dls, F.cross_entropy, 0.01, cbs, AdamW)

def main(quick=False):
    torch.set_num_threads(1)  # a small model: more threads would wait for each other
    ordered,bag = make_learner(quick),make_learner(quick, order=False)
    for learn in ordered,bag: learn.fit(1 if quick else 3)
    found = [learn.history[-1]['accuracy'] for learn in (ordered, bag)]
    print(f'{found[0]:.1%} of the guests understood; {found[1]:.1%} without the order of their words')

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='few steps, to see that it runs')
    main(**vars(parser.parse_args()))
