"The data loader against PyTorch's: rows 1 and 2 of DESIGN section 8."
import io, statistics, time
import numpy as np, torch
import torch.utils.data as torch_data
from PIL import Image
from miniai.data import DataLoader
from miniai.tools.drawn import draw_digits

BS = 64


class PngImages(torch_data.Dataset):
    "Grey images that are decoded from PNG bytes in a list"
    def __init__(self, files, labels): self.files,self.labels = files,labels
    def __len__(self): return len(self.files)
    def __getitem__(self, i):
        return torch.from_numpy(np.array(Image.open(io.BytesIO(self.files[i])))),self.labels[i]


def png(image, size):
    file = io.BytesIO()
    Image.fromarray(image.numpy()).resize((size, size), Image.BILINEAR).save(file, 'png')
    return file.getvalue()


def by_hand(x, y):
    order = torch.randperm(len(x))
    for i in range(0, len(x), BS):
        idx = order[i:i+BS]
        yield x[idx],y[idx]


def run(batches):
    "Seconds until the first batch, and until the last"
    start = time.perf_counter()
    batches = iter(batches())
    next(batches)
    first = time.perf_counter() - start
    for b in batches: pass
    return first,time.perf_counter() - start


def medians(repeats, **makes):
    "Median times of several loaders, measured in turn: {name: (first batch, epoch)}"
    times = {name: [] for name in makes}
    for _ in range(repeats):
        for name,make in makes.items(): times[name].append(run(make))
    return {name: tuple(map(statistics.median, zip(*t))) for name,t in times.items()}


def row(number, what, ours, peer, peer_name, bar, unit='samples/s', faster=True):
    ratio = ours/peer
    bar = ('≥ ' if faster else '≤ ') + f'{bar}' if bar else ''
    return dict(row=number, what=what, ours=ours, peer=peer, peer_name=peer_name, ratio=ratio, bar=bar,
                unit=unit)


def tensors(repeats=9):
    x,y = torch.randn(20_000, 28*28),torch.randint(0, 10, (20_000,))
    ds = torch_data.TensorDataset(x, y)
    t = medians(repeats, ours=lambda: DataLoader(ds, BS, shuffle=True), hand=lambda: by_hand(x, y),
                theirs=lambda: torch_data.DataLoader(ds, BS, shuffle=True))
    rate = {name: len(x)/epoch for name,(_,epoch) in t.items()}
    yield row(1, 'tensors in memory, batches of 64', rate['ours'], rate['theirs'],
              "torch's DataLoader over TensorDataset", 5)
    yield row(1, 'tensors in memory, batches of 64', rate['ours'], rate['hand'], 'x[idx], y[idx] by hand', 1)


def images(repeats=9):
    x,y = draw_digits(10_000)
    for size,n in ((28, 10_000), (112, 3000)):
        ds = PngImages([png(o, size) for o in x[:n]], y[:n].tolist())
        t = medians(repeats, none=lambda: DataLoader(ds, BS),
                    theirs_none=lambda: torch_data.DataLoader(ds, BS),
                    processes=lambda: DataLoader(ds, BS, num_workers=2),
                    theirs=lambda: torch_data.DataLoader(ds, BS, num_workers=2),
                    threads=lambda: DataLoader(ds, BS, num_workers=2, worker_type='thread'))
        rate = {name: n/epoch for name,(_,epoch) in t.items()}
        kinds = dict(processes=1.0, threads=None) if size == 28 else dict(threads=1.0, processes=None)
        for kind,bar in kinds.items():
            yield row(2, f'PNG {size}×{size}, 2 {kind}', rate[kind], rate['theirs'],
                      "torch's DataLoader, 2 processes", bar)
        yield row(2, f'PNG {size}×{size}, no workers', rate['none'], rate['theirs_none'],
                  "torch's DataLoader, no workers", None)


def rows():
    yield from tensors()
    yield from images()


if __name__ == '__main__':
    line = '{row} {what:40s} {ours:10.1f} {unit}, {peer:10.1f} {peer_name:40s} ratio {ratio:.2f} {bar}'
    for r in rows(): print(line.format(**r))
