"""Two processes (or as many as there are devices) share each batch, and end with the weights that one would
have. One of them shows the bar and writes the log and the checkpoints; the table counts all samples, once.

    python examples/distributed.py
    torchrun --standalone --nproc_per_node 2 examples/distributed.py

(With GPUs `accelerate launch` will do, too; on a CPU it starts one process only.)"""
import argparse
from pathlib import Path
import torch, torch.nn.functional as F
from torch import nn
from miniai.accel import AccelerateCB
from miniai.keep import SaveBestCB
from miniai.learner import Learner, MetricsCB, ProgressCB
from miniai.metrics import Accuracy
from miniai.optim import Adam
from miniai.resume import CheckpointCB
from miniai.tools.drawn import load_digits
from miniai.track import LogCB
from miniai.training import Dataset, get_dls

def make_learner(cbs, quick=False):
    torch.manual_seed(0)
    x,y,xv,yv = load_digits(*((705, 301) if quick else (8001, 2001)))  # 1 sample in the last batch
    dls = get_dls(Dataset(x/255, y), Dataset(xv/255, yv), 64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
    return Learner(model, dls, F.cross_entropy, 1e-3, [MetricsCB(Accuracy()), ProgressCB(), *cbs], Adam)

def main(out=None, quick=False, resume=False, epochs=3):
    torch.set_num_threads(1)  # a small model: more threads would wait for each other
    together = AccelerateCB(mixed_precision='no')
    cbs,first = [together],together.acc.is_main_process
    if out: cbs += [LogCB(out/'log.jsonl'), SaveBestCB(out/'best.pt'), CheckpointCB(out/'checkpoints')]
    learn = make_learner(cbs, quick)
    learn.fit(1 if quick else epochs, resume=resume)
    if first:
        if out: learn.save(out/'end.pt')
        right = learn.history[-1]['Accuracy']
        print(f'processes: {together.acc.num_processes}, {right:.2%} of the test pictures right')
    together.acc.end_training()

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='one epoch of few samples, to see that it runs')
    parser.add_argument('--out', type=Path, help='a folder for the log, the checkpoints and the weights')
    parser.add_argument('--epochs', type=int, default=3)
    parser.add_argument('--resume', action='store_true', help='go on from the last checkpoint in --out')
    main(**vars(parser.parse_args()))
