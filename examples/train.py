"Train on pictures: `python examples/train.py --data clothes`. Writes curves and predictions to train.png"
import argparse, os
if not (os.environ.get('GOMP_SPINCOUNT') or os.environ.get('OMP_WAIT_POLICY')):  # your own setting wins
    os.environ['GOMP_SPINCOUNT'] = '1000'  # before torch: its threads else spin in each other's way
import matplotlib.pyplot as plt
import torch, torch.nn.functional as F
from torch import nn
from miniai.data import Dataset
from miniai.datasets import DataLoaders, collate_dict, get_data, show_image
from miniai.learner import Accuracy, DeviceCB, Learner, MetricsCB, ProgressCB
from miniai.optim import AdamW
from miniai.sched import OneCycle
from miniai.training import get_dls

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('--data', default='digits', choices=['digits', 'clothes', 'mnist', 'fashion_mnist'])
parser.add_argument('--epochs', type=int, default=5)
args = parser.parse_args()
plt.switch_backend('agg')  # a script opens no window

def conv(ni, nf):
    return nn.Sequential(nn.Conv2d(ni, nf, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(nf), nn.ReLU())
torch.manual_seed(42)
model = nn.Sequential(conv(1, 16), conv(16, 32), conv(32, 64), nn.Flatten(), nn.Dropout(0.2),
                      nn.Linear(64*4*4, 10))
dd = get_data(args.data)
def whole(split): return Dataset(*collate_dict(dd[split])(list(dd[split])))  # one large batch: decoded once
dls = DataLoaders(*get_dls(whole('train'), whole('test'), 64))
learn = Learner(model, dls, F.cross_entropy, lr=0.01, opt_func=AdamW,
                cbs=[DeviceCB(), MetricsCB(accuracy=Accuracy()), ProgressCB(), OneCycle()])
learn.fit(args.epochs)
print(f"final accuracy on pictures not trained on: {learn.history[-1]['accuracy']:.2%}")

x,y = (torch.cat(parts) for parts in zip(*dls.valid))
guesses = learn(x).argmax(1)
wrong = (guesses != y).nonzero()[:, 0].tolist()[:8]
shown = wrong + [i for i in range(32) if i not in wrong][:24-len(wrong)]
fig = plt.figure(figsize=(12, 6.5), layout='constrained')
curves,pictures = fig.subfigures(2, 1, height_ratios=[1, 2])
for ax,value in zip(curves.subplots(1, 2), ('loss', 'accuracy')):
    for part in 'train', 'eval':
        ax.plot([r[value] for r in learn.history if r['train'] == part], marker='o', label=part)
    ax.set(xlabel='epoch', title=value, xticks=range(args.epochs))
    ax.legend()
classes = dd['train'].features['label'].names
for ax,i in zip(pictures.subplots(3, 8).flat, shown):
    title = classes[guesses[i]] + (f'?\nno, {classes[y[i]]}' if i in wrong else '')
    color = 'red' if i in wrong else 'black'
    show_image(x[i], ax, title=title, cmap='gray').title.set(color=color, fontsize=10)
fig.savefig('train.png')
