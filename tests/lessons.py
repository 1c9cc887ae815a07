#!/usr/bin/env python3
"""Vital signs of the lessons and of the package: what a reader meets, counted.

    python tests/lessons.py [nbs]        a row for each notebook, then what looks odd

*min* is the reading time, words/200 + code lines/12; cells that are collapsed ("jupyter": {"source_hidden":
true} in their metadata) do not count. It judges nothing: a flag is a place to look. Needs only the standard
library.
"""
import ast, json, re, sys
from pathlib import Path

TEST = re.compile(r'\b(test_\w+|assert|check_\w+)\b')
COLUMNS = dict(nb='lesson', minutes='min', words='words', code='code', tests='tests', pics='pics',
               names='names', predicts='predict', stubs='now you', run='bare run')


def source(cell): return ''.join(cell['source'])


def is_directive_only(src): return all(not l.strip() or l.lstrip().startswith('#|') for l in src.splitlines())


def is_collapsed(cell): return cell.get('metadata', {}).get('jupyter', {}).get('source_hidden')


def longest_run(cells):
    "How many code cells stand in a row without a word between them, at most"
    run = longest = 0
    for c in cells:
        if c['cell_type'] == 'markdown': run = 0
        elif source(c).strip() and not is_directive_only(source(c)) and '#| hide' not in source(c): run += 1
        longest = max(longest, run)
    return longest


def exported_names(code):
    "The public functions and classes of exported cells, and what is odd about them"
    names,flags = [],[]
    for src in (source(c) for c in code if re.search(r'#\|\s*export', source(c))):
        try: tree = ast.parse('\n'.join(l for l in src.splitlines() if not l.startswith(('%', '!'))))
        except SyntaxError:
            flags.append('an exported cell that does not parse')
            continue
        for node in tree.body:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith('_'): continue
            names.append(node.name)
            if not ast.get_docstring(node): flags.append(f'no docstring: {node.name}')
    return names,flags


def output_flags(code):
    for o in (o for c in code for o in c.get('outputs', [])):
        if o.get('output_type') == 'error': yield f"an error in the output: {o.get('ename')}"
        if o.get('name') == 'stderr':
            yield 'stderr in the output: ' + ''.join(o.get('text', ''))[:60].replace('\n', ' ')


def cell_flags(code):
    wide = max((len(l) for c in code for l in source(c).splitlines()), default=0)
    if wide > 110: yield f'a line of {wide} characters'
    for c in code:
        src = source(c)
        lines,most = src.splitlines(),60 if re.search(r'^class ', src, re.M) else 30
        if not is_collapsed(c) and len(lines) > most:
            yield f'a cell of {len(lines)} lines: {src.strip().splitlines()[0][:50]}'
        if re.search(r'^\s*#\s*(TODO|FIXME|XXX)', src, re.M): yield 'a TODO left behind'


def vitals(path):
    "What a reader of the notebook meets: a dictionary"
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    code = [c for c in cells if c['cell_type'] == 'code' and source(c).strip()]
    text = '\n'.join(source(c) for c in cells if c['cell_type'] == 'markdown')
    lines = [l for c in code if not is_collapsed(c) for l in source(c).splitlines() if l.strip()
             and not l.lstrip().startswith('#')]
    counts,longest,is_tool = [c.get('execution_count')
                              for c in code],longest_run(cells),path.parent.name == 'tools'
    ran,minutes = [n for n in counts if n],len(text.split())/200 + len(lines)/12
    data = [o.get('data', {}) for c in code for o in c.get('outputs', [])]
    names,name_flags = exported_names(code)
    flags = []
    if not cells or cells[0]['cell_type'] != 'markdown' and not source(cells[0]).startswith('#|'):
        flags.append('does not open with a title')
    if any(not c.get('id') for c in cells): flags.append('cells without id')
    if ran != sorted(ran) or (ran and ran[-1] != len(ran)):
        flags.append('not one clean run from top to bottom')
    if code and not ran: flags.append('committed without outputs')
    if longest > 4: flags.append(f'{longest} code cells in a row without a word')
    flags += [*output_flags(code), *cell_flags(code), *name_flags]
    if 'now you' not in text.lower() and not is_tool: flags.append('no "Now you" exercises')
    if minutes > 60 and not is_tool: flags.append(f'{minutes:.0f} minutes: two lessons, or a tool inside')
    return dict(nb=('tools/' if is_tool else '') + path.name, words=len(text.split()), code=len(lines),
                minutes=minutes,
                predicts=len(re.findall(r'\*\*Predict', text)), names=len(names), run=longest, flags=flags,
                stubs=sum('raise NotImplementedError' in source(c) and 'eval: false' in source(c)
                          for c in code),
                tests=sum(len(TEST.findall(source(c))) for c in code),
                pics=sum('image/png' in d or 'image/svg+xml' in d for d in data))


def package(folder):
    "Lines of each module, and those over 300"
    sizes = {p.relative_to(folder).as_posix(): len(p.read_text(encoding='utf-8').splitlines())
             for p in sorted(folder.rglob('*.py')) if p.name != '_modidx.py'}
    if not sizes: return
    check,tools = (sum(n for p,n in sizes.items() if p.startswith(o)) for o in ('check', 'tools'))
    long = ', '.join(f'{p} {n}' for p,n in sizes.items() if n > 300) or 'none'
    print(f'package: {sum(sizes.values())} lines in {len(sizes)} modules (checks {check}, tools {tools});',
          f'over 300: {long}')


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else 'nbs')
    paths = sorted(folder.glob('[0-9]*.ipynb')) + sorted(folder.glob('tools/*.ipynb'))
    if not paths: sys.exit(f'no numbered notebooks in {folder}')
    rows = [vitals(p) for p in paths]
    def line(row): return f"{row['nb'][:27]:28s}" + ''.join(f'{row[k]:>9}' for k in list(COLUMNS)[1:])
    print(line(COLUMNS))
    for r in rows: print(line({**r, 'minutes': f"{r['minutes']:.0f}"}))
    for r in rows:
        for f in dict.fromkeys(r['flags']): print(f"  {r['nb']}: {f}")
    package(folder.parent/'miniai')


if __name__ == '__main__': main()
