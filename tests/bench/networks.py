"Inside a network: what lessons 19 to 23 build, against the same by hand or PyTorch's: a function a row"
import statistics, time
import torch
from torch import nn
from miniai.conv import Conv2d

ROUNDS = 15


def cpu_times(*runs, rounds=ROUNDS):
    "Seconds of CPU time of each function, run in turns; the first round is not counted"
    times = [[] for _ in runs]
    for i in range(rounds + 1):
        for run,kept in zip(runs, times):
            start = time.process_time()
            run()
            if i: kept.append(time.process_time() - start)
    return [statistics.median(t) for t in times]


def row(number, what, peer_name, ours, peer, unit='ms CPU', scale=1e3, **more):
    "One row of the table; `ours` and `peer` are functions of nothing, timed in turns"
    mine,theirs = (t*scale for t in cpu_times(ours, peer))
    return dict(row=number, what=what, ours=mine, peer=theirs, peer_name=peer_name,
                ratio=theirs/mine, unit=unit, **more)


def convolution():
    x = torch.randn(64, 16, 14, 14, generator=torch.Generator().manual_seed(0))
    def step(layer): return lambda: layer(x).square().mean().backward()
    return row('19', 'Conv2d 16 to 32, 64 maps of 14 by 14, and backward', 'nn.Conv2d',
               step(Conv2d(16, 32, 3, 1, 1)), step(nn.Conv2d(16, 32, 3, 1, 1)))


ROWS = [convolution]


def rows():
    torch.set_num_threads(1)
    for make in ROWS: yield make()
