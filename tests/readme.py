"""Write README's table of lessons: what each notebook says in its first lines, in parts, with its minutes.

    python tests/readme.py        (`make export` calls it)
"""
import json, re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT/'README.md'
BEGIN,END = '<!-- lessons: written by tests/readme.py -->\n','<!-- end of lessons -->\n'
PARTS = {1: 'Part 1. A training loop from nothing', 12: 'Part 2. Pictures and data',
         14: 'Part 3. The Learner',
         19: 'Part 4. Inside a network', 24: 'Part 5. At work'}


def row(path):
    "A notebook in one row: its name, its promise, the module it exports, its minutes"
    from tests.lessons import vitals
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    promise = re.search(r'^> \*(.*)\*$', ''.join(cells[0]['source']), re.M)
    exported = re.search(r'#\| default_exp (\S+)', '\n'.join(''.join(c['source']) for c in cells))
    module,link = f'`{exported[1]}`' if exported else '',path.relative_to(ROOT).as_posix()
    minutes = max(1, 5*round(vitals(path)['minutes']/5))
    return f'| [{path.stem}]({link}) | {promise[1] if promise else ""} | {module} | {minutes} |'


def table(paths):
    return ['| | what you will have | module | minutes |', '| --- | --- | --- | --- |', *map(row, paths)]


def lessons():
    "All that stands between the marks"
    paths,starts = sorted((ROOT/'nbs').glob('[0-9]*.ipynb')),[*PARTS, 100]
    lines = []
    for first,last in zip(starts, starts[1:]):
        part = [p for p in paths if first <= int(p.name[:2]) < last]
        if part: lines += [f'**{PARTS[first]}**', '', *table(part), '']
    lines += ['**Tools**: general things that the lessons use; read them when curious', '',
              *table(sorted((ROOT/'nbs/tools').glob('*.ipynb'))), '']
    return '\n'.join(lines)


def updated():
    "README with the table as the lessons have it now"
    text = README.read_text(encoding='utf-8')
    before,_,rest = text.partition(BEGIN)
    _,_,after = rest.partition(END)
    return f'{before}{BEGIN}\n{lessons()}\n{END}{after}'


if __name__ == '__main__':
    import sys
    sys.path.insert(0, str(ROOT))
    README.write_text(updated(), encoding='utf-8')
