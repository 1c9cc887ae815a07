"""Row 7 of DESIGN section 8: a training step beside two busy processes, against a quiet one.

torch's threads wait for each other by spinning: it may hold the very core that the other one needs.
Each setting of the environment gets processes of its own, because OpenMP reads it when torch is imported.
"""
import os, subprocess, sys, time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
SETTINGS = {'as it comes': {}, 'GOMP_SPINCOUNT=1000': dict(GOMP_SPINCOUNT='1000'),
            'OMP_WAIT_POLICY=PASSIVE': dict(OMP_WAIT_POLICY='PASSIVE'),
            'OMP_NUM_THREADS=1': dict(OMP_NUM_THREADS='1')}


def steps(seconds=4.):
    "Milliseconds of each step of the model of examples/train.py, on a batch of 64 pictures"
    import torch, torch.nn.functional as F
    from torch import nn
    from miniai.optim import AdamW
    def conv(ni, nf): return nn.Sequential(nn.Conv2d(ni, nf, 3, stride=2, padding=1, bias=False),
                                           nn.BatchNorm2d(nf), nn.ReLU())
    torch.manual_seed(0)
    model = nn.Sequential(conv(1, 16), conv(16, 32), conv(32, 64), nn.Flatten(), nn.Dropout(0.2),
                          nn.Linear(64*4*4, 10))
    opt,x,y = AdamW(model.parameters(), 0.01),torch.rand(64, 1, 28, 28),torch.randint(10, (64,))
    times,end = [],time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 8:
        start = time.perf_counter()
        F.cross_entropy(model(x), y).backward()
        opt.step()
        opt.zero_grad()
        times.append((time.perf_counter()-start)*1e3)
    return times[3:]


def step_time(setting, busy):
    "The median step in a process of its own with this setting, beside `busy` processes that never rest"
    env = {k: v for k,v in os.environ.items() if not k.startswith(('OMP_', 'GOMP_', 'KMP_',
                                                                   'MKL_'))} | setting
    others = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(busy)]
    try: out = subprocess.run([sys.executable, '-m', 'tests.bench.threads'], cwd=ROOT, env=env,
                              capture_output=True, text=True, check=True).stdout
    finally:
        for p in others:
            p.kill()
            p.wait()
    return float(out)


def rows(rounds=3):
    "For each setting the step beside two busy processes and the quiet one, medians of some rounds in turns"
    times = {}
    for _ in range(rounds):
        for name,setting in SETTINGS.items():
            for busy in (0, 2): times.setdefault((name, busy), []).append(step_time(setting, busy))
    for name in SETTINGS:
        quiet,loud = (median(times[name, busy]) for busy in (0, 2))
        yield dict(row=7, what=f'a step beside two busy processes, {name}', ours=loud, peer=quiet,
                   peer_name='the same, quiet', ratio=quiet/loud,
                   bar=0.25 if name == 'GOMP_SPINCOUNT=1000' else None, unit='ms',
                   note=f'{loud/quiet:.1f} times')


if __name__ == '__main__': print(median(steps()))
