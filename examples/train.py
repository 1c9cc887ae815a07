"Train on pictures: `python examples/train.py --data clothes`. Writes curves and predictions to train.png"
import argparse, os
if not (os.environ.get('GOMP_SPINCOUNT') or os.environ.get('OMP_WAIT_POLICY')):  # your own setting wins
    os.environ['GOMP_SPINCOUNT'] = '1000'  # before torch: its threads else spin in each other's way
import torch, torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn
from miniai.datasets import DataLoaders, collate_dict, get_data, show_image
from miniai.learner import Accuracy, DeviceCB, Learner, MetricsCB, ProgressCB
from miniai.optim import AdamW
from miniai.sched import OneCycle
from miniai.training import Dataset, get_dls

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('--data', default='digits', choices=['digits', 'clothes', 'mnist', 'fashion_mnist'])
parser.add_argument('--epochs', type=int, default=5)
args = parser.parse_args()

dd = get_data(args.data)
train,test = (Dataset(*collate_dict(dd[part])(list(dd[part]))) for part in ('train', 'test'))  # decoded once
def conv(ni, nf): return nn.Conv2d(ni, nf, 3, stride=2, padding=1, bias=False),nn.BatchNorm2d(nf),nn.ReLU()
torch.manual_seed(42)
model = nn.Sequential(*conv(1, 16), *conv(16, 32), *conv(32, 64), nn.Flatten(), nn.Dropout(0.2),
                      nn.Linear(64*4*4, 10))
learn = Learner(model, DataLoaders(*get_dls(train, test, 64)), F.cross_entropy, lr=0.01, opt_func=AdamW,
                cbs=[DeviceCB(), MetricsCB(accuracy=Accuracy()), ProgressCB(), OneCycle()])
learn.fit(args.epochs)
print(f"final accuracy on pictures not trained on: {learn.history[-1]['accuracy']:.2%}")

fig = Figure(figsize=(12, 6.5), layout='constrained')
curves,pictures = fig.subfigures(2, 1, height_ratios=[1, 2])
for ax,value in zip(curves.subplots(1, 2), ('loss', 'accuracy')):
    for part in 'train', 'eval': ax.plot([r[value] for r in learn.history if r['train'] == part], label=part)
    ax.set(xlabel='epoch', title=value, xticks=range(args.epochs))
    ax.legend()
guesses,classes = learn(test.x).argmax(1).cpu(),dd['train'].features['label'].names
for ax,i in zip(pictures.subplots(3, 8).flat, (guesses == test.y).int().argsort(stable=True)):  # errors first
    title = classes[guesses[i]] + (f'?\nno, {classes[test.y[i]]}' if guesses[i] != test.y[i] else '')
    show_image(test.x[i], ax, title=title, cmap='gray').title.set_fontsize(10)
fig.savefig('train.png')
