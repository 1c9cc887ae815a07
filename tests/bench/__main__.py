"""Ours against PyTorch's: `make bench`, or `python -m tests.bench [--json] [module …]`.

Each module here has `rows()`, which runs ours and the peer in turns in this one process and yields what it
measured. The machines are noisy: read the ratios of medians. Nothing here is asserted.
"""
import argparse, importlib, json, os, platform, re
from pathlib import Path
import torch

HERE = Path(__file__).parent


def machine():
    "What the numbers were measured on, in a line"
    cpuinfo = Path('/proc/cpuinfo').read_text() if Path('/proc/cpuinfo').exists() else ''
    cpu = re.search(r'^model name\s*: (.*)', cpuinfo, re.M)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'
    return f'{cpu[1] if cpu else platform.processor()}, {os.cpu_count()} cores, {device}, ' \
           f'Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads'


def show(row):
    "One row of measurements as a line: ratio above 1 means that ours is better"
    bar = row.get('bar')
    bar = '' if bar is None else f'bar {bar:.3g}' if isinstance(bar, float) else f'bar {bar}'
    note = f"   {row['note']}" if row.get('note') else ''
    print(f"{row['row']:<6}{row['what']:<58}{row['ours']:>11.4g} {row['unit']:<10}{row['peer_name']:<26}"
          f"{row['peer']:>11.4g}   ratio {row['ratio']:<7.3g}{bar}{note}", flush=True)


def main():
    names = [p.stem for p in sorted(HERE.glob('[!_]*.py'))]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('modules', nargs='*', default=names,
                        help='which benchmarks to run: ' + ', '.join(names))
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    args = parser.parse_args()
    if unknown := set(args.modules) - set(names):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if not args.json: print(machine())
    rows = []
    for name in args.modules:
        for row in importlib.import_module(f'tests.bench.{name}').rows():
            rows.append(row)
            if not args.json: show(row)
    if args.json: print(json.dumps(dict(machine=machine(), rows=rows), indent=1))


if __name__ == '__main__': main()
