"""Check that the package is what the notebooks export: export into a copy, compare, say what differs.

    python tests/check_export.py [nbdev_export]     the exporter to use, by default that of this Python
"""
import difflib, shutil, subprocess, sys, tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# the files of the package that no notebook writes: doors, the command line, and the checks of each lesson
BY_HAND = {'imports.py', 'sgd.py', 'learner.py', 'cli.py', 'lessons.py', 'runs.py'}


def is_by_hand(name): return name in BY_HAND or name.startswith('check/') and name != 'check/kit.py'


def modules(folder): return {p.relative_to(folder).as_posix(): p.read_text(encoding='utf-8')
                             for p in sorted(folder.rglob('*.py'))}


def exported(exporter):
    "The package as `exporter` writes it from the notebooks, in a folder of its own"
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)/'miniai'  # nbdev 2 takes the folder's name into account
        tmp.mkdir()
        for name in ('settings.ini', 'pyproject.toml', 'README.md'): shutil.copy(ROOT/name, tmp)
        shutil.copytree(ROOT/'nbs', tmp/'nbs', ignore=shutil.ignore_patterns('.*'))
        for name in filter(is_by_hand, modules(ROOT/'miniai')):
            (tmp/'miniai'/name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT/'miniai'/name, tmp/'miniai'/name)
        subprocess.run([exporter], cwd=tmp, check=True, capture_output=True)
        return modules(tmp/'miniai')


def compare(exporter, ignore=()):
    "Lines that say how package and notebooks differ; none when they agree"
    want,have = exported(exporter),modules(ROOT/'miniai')
    for name in sorted(want.keys() | have.keys()):
        if name in ignore: continue
        if name not in have: yield f'miniai/{name} is missing: run nbdev_export'
        elif name not in want: yield f'miniai/{name} comes from no notebook'
        else: yield from difflib.unified_diff(have[name].splitlines(), want[name].splitlines(),
                                              f'miniai/{name}', 'what the notebook exports', n=1, lineterm='')


if __name__ == '__main__':
    exporter = sys.argv[1] if len(sys.argv) > 1 else Path(sys.executable).with_name('nbdev_export')
    diff = list(compare(exporter))
    print('\n'.join(diff) if diff else 'notebooks and package agree')
    sys.exit(bool(diff))
