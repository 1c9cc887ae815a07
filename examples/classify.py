"""A long run on a borrowed machine is killed some day. This one is, in the middle of an epoch, while two
workers move its pictures about at random. Started again, it ends with the weights of a run that nobody
stopped."""
import argparse, os, signal, subprocess, sys, tempfile
import torch, torch.nn.functional as F
from torch import nn
from miniai.data import DataLoader, Dataset
from miniai.learner import Accuracy, Callback, CheckpointCB, DeviceCB, Learner, MetricsCB, ProgressCB
from miniai.optim import AdamW
from miniai.sched import OneCycle
from miniai.tools.drawn import load_digits

class Moved(Dataset):
    "Pictures that are moved by up to four pixels, another way each time"
    def __getitem__(self, i):
        x,y = super().__getitem__(i)
        return x.roll(torch.randint(-4, 5, (2,)).tolist(), (1, 2)),y

def make_dls(quick=False, workers=2):
    x,y,xv,yv = load_digits(*((640, 200) if quick else (6400, 2000)))
    return (DataLoader(Moved(x[:,None]/255, y), 64, shuffle=True, num_workers=workers),
            DataLoader(Dataset(xv[:,None]/255, yv), 200))

def make_model():
    def conv(ni, nf): return nn.Conv2d(ni, nf, 3, 2, 1, bias=False),nn.BatchNorm2d(nf),nn.ReLU()
    return nn.Sequential(*conv(1, 8), *conv(8, 16), *conv(16, 32), nn.Flatten(), nn.Dropout(0.1),
                         nn.Linear(32*4*4, 10))

class KillCB(Callback):
    "What comes from outside: `kill -9`, without a warning"
    def after_batch(self, learn):
        if learn.epoch == 1 and learn.iter == 7: os.kill(os.getpid(), signal.SIGKILL)

def train(folder, quick=False, cbs=None):
    "The same call starts a run and goes on with it: from the last checkpoint, if there is one"
    torch.manual_seed(0)
    usual = [DeviceCB(), MetricsCB(accuracy=Accuracy()), ProgressCB(), OneCycle()]
    learn = Learner(make_model(), make_dls(quick), F.cross_entropy, 0.01, opt_func=AdamW,
                    cbs=[*usual, CheckpointCB(folder, every_batches=5)])
    learn.fit(3 if quick else 5, resume=True, cbs=cbs)
    return learn

def main(quick=False, killed=None):
    torch.set_num_threads(1)  # a small model: more threads would wait for each other
    if killed: return train(killed, quick, KillCB())
    with tempfile.TemporaryDirectory() as folder:
        whole = train(f'{folder}/whole', quick)
        subprocess.run([sys.executable, __file__, '--killed', f'{folder}/killed', *['--quick']*quick])
        resumed = train(f'{folder}/killed', quick)
    pairs = zip(whole.model.parameters(), resumed.model.parameters())
    print(f"killed and resumed: {resumed.history[-1]['accuracy']:.1%} of the test pictures right; "
          f'{sum((a != b).sum() for a,b in pairs)} weights differ from those of the whole run')
    return resumed

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='few steps, to see that it runs')
    parser.add_argument('--killed', help='a folder: run in it, and be killed')
    main(**vars(parser.parse_args()))
