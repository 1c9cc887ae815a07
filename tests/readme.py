"""Write README's tables: the lessons by what each says in its first lines, with its minutes; the records.

    python tests/readme.py        (`make export` and `make records` call it)
"""
import json, re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT/'README.md'
RECORDS = ROOT/'tests/records.json'  # tests/records.py writes it
PARTS = {1: 'Part 1. A training loop from nothing', 12: 'Part 2. Pictures and data',
         14: 'Part 3. The Learner',
         19: 'Part 4. Inside a network', 24: 'Part 5. At work'}
TOOLS = 'Tools: general things that the lessons use; read them when curious'


def about(path):
    "A notebook in three words: its promise, the module that it exports, its minutes"
    from tests.lessons import vitals
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    promise = re.search(r'^> \*(.*)\*$', ''.join(cells[0]['source']) if cells else '', re.M)
    exported = re.search(r'#\| default_exp (\S+)', '\n'.join(''.join(c['source']) for c in cells))
    minutes = max(1, 5*round(vitals(path)['minutes']/5))
    return promise[1] if promise else '',exported[1] if exported else '',minutes


def row(path):
    promise,module,minutes = about(path)
    link,module = path.relative_to(ROOT).as_posix(),module and f'`{module}`'
    return f'| [{path.stem}]({link}) | {promise} | {module} | {minutes} |'


def table(paths):
    return ['| | what you will have | module | minutes |', '| --- | --- | --- | --- |', *map(row, paths)]


def parts(nbs):
    "The parts of the course, each as its title and its notebooks; the tools are the last"
    paths,starts = sorted(nbs.glob('[0-9][0-9]_*.ipynb')),[*PARTS, 100]
    found = [(PARTS[first], [p for p in paths if first <= int(p.name[:2]) < last])
             for first,last in zip(starts, starts[1:])]
    found.append((TOOLS, sorted((nbs/'tools').glob('*.ipynb'))))
    return [(title, some) for title,some in found if some]


def lessons():
    "All that stands between the marks"
    lines = []
    for title,paths in parts(ROOT/'nbs'):
        head,colon,rest = title.partition(':')
        lines += [f'**{head}**{colon}{rest}', '', *table(paths), '']
    return '\n'.join(lines)


def kept_records(): return json.loads(RECORDS.read_text(encoding='utf-8')) if RECORDS.exists() else {}


def record_row(name, record):
    "A record in one row: the mean with the lowest and the highest, what it must reach, what a seed takes"
    found,limit = [run['accuracy'] for run in record['runs']],record['limit']
    accuracy = f"{record['accuracy']:.2%} ({min(found):.2%} to {max(found):.2%})"
    bar = f"{100*record['bar']:g}%{', missed' if record['missed'] else ''}"
    cpu = f"{record['cpu']:,.0f}{f' (at most {limit:,})' if limit else ''}"
    cells = name, record['data'], record['network'], str(record['epochs']), accuracy, bar, cpu, record['date']
    return f"| {' | '.join(cells)} |"


def records():
    "All records in a table, and what they were measured on"
    names,found = {},kept_records()
    for name,record in found.items(): names.setdefault(record['machine'], []).append(name)
    who = {machine: ', '.join(some) if len(names) > 1 else 'all' for machine,some in names.items()}
    return '\n'.join(['| | data | network | epochs | accuracy | to reach | CPU-seconds a seed | measured |',
                      '| --- '*8 + '|', *(record_row(*item) for item in found.items()), '',
                      *(f'Measured on {machine}: {some}.\n' for machine,some in who.items())])


def updated():
    "README with its tables as lessons and records have them now"
    text = README.read_text(encoding='utf-8')
    for what,table in dict(lessons=lessons, records=records).items():
        begin,end = f'<!-- {what}: written by tests/readme.py -->\n',f'<!-- end of {what} -->\n'
        before,_,rest = text.partition(begin)
        _,_,after = rest.partition(end)
        text = f'{before}{begin}\n{table()}\n{end}{after}'
    return text


def write(): README.write_text(updated(), encoding='utf-8')


if __name__ == '__main__':
    import sys
    sys.path.insert(0, str(ROOT))
    write()
