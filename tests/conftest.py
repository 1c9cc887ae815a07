"What several tests need to know: pytest reads this file first, and test modules import from it, never from each other"
import ast, json
from pathlib import Path

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT/'nbs').glob('[0-9]*.ipynb'))
TOOLS = sorted((ROOT/'nbs/tools').glob('*.ipynb'))
KITS = {'tools', 'check'}  # any lesson may use them


def code_cells(path):
    "The sources of a notebook's code cells"
    return [''.join(c['source']) for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']


def default_exp(path):
    "The module that a lesson exports, None for a lesson that exports nothing"
    lines = (line for src in code_cells(path) for line in src.splitlines())
    return next((line.split()[-1] for line in lines if line.startswith('#| default_exp')), None)


def imported_modules(source):
    "The modules of miniai that a piece of code imports, anywhere in it"
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(('%', '!', '?'))]
    for node in ast.walk(ast.parse('\n'.join(lines))):
        if isinstance(node, ast.Import): names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == 'miniai': names = [f'miniai.{a.name}' for a in node.names]
        elif isinstance(node, ast.ImportFrom): names = [node.module or '']
        else: continue
        yield from (n.split('.')[1] for n in names if n.startswith('miniai.'))
