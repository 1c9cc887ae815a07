"What several tests need: pytest reads this file first; test modules import from it, never from each other"
import ast, json, os, shutil, signal, subprocess, sys
from pathlib import Path
import pytest

# Under nohup and in background jobs SIGINT is ignored, by our children too: tests of Ctrl-C need it heard.
signal.signal(signal.SIGINT, signal.default_int_handler)
# As `make test` has it, for those who call pytest: a forked child would wait for ever for threads it lacks.
os.environ.setdefault('OMP_NUM_THREADS', '1')

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT/'nbs').glob('[0-9]*.ipynb'))
TOOLS = sorted((ROOT/'nbs/tools').glob('*.ipynb'))
KITS = {'tools', 'check'}  # any lesson may use them
DOORS = {'learner', 'imports', 'sgd'}  # by hand: they only hand names on
COMMANDS = {'cli', 'lessons', 'runs'}  # by hand: the command line, which may use all

CHROMIUM = shutil.which('chromium')
ARGS = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking',
        '--disable-component-update', '--disable-sync',
        '--no-first-run', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1']


def cells(path): return json.loads(path.read_text(encoding='utf-8'))['cells']


def code_cells(path):
    "The sources of a notebook's code cells"
    return [''.join(c['source']) for c in cells(path) if c['cell_type'] == 'code']


def default_exp(path):
    "The module that a notebook exports, None for one that exports nothing"
    lines = (line for src in code_cells(path) for line in src.splitlines())
    return next((line.split()[-1] for line in lines if line.startswith('#| default_exp')), None)


def python_of(source):
    "The code of a cell as Python alone: no magics"
    lines = source.splitlines()
    return '' if source.startswith('%%') else '\n'.join(l for l in lines
                                                        if not l.lstrip().startswith(('%', '!', '?')))


def imported_modules(source, package=()):
    "The modules of miniai that code imports, anywhere in it, as losses, tools.nested or check.kit"
    for node in ast.walk(ast.parse(python_of(source))):
        if isinstance(node, ast.Import): names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            home = ['miniai', *package][:len(package)+2-node.level] if node.level else []
            base = '.'.join([*home, *filter(None, [node.module])])
            is_package = base in ('miniai', 'miniai.tools', 'miniai.check')
            names = [f'{base}.{a.name}' for a in node.names] if is_package else [base]
        else: continue
        yield from (n.removeprefix('miniai.') for n in names if n.startswith('miniai.'))


def module_files():
    "The files of the package by their dotted name: losses, tools.nested, check.kit"
    files = sorted((ROOT/'miniai').rglob('*.py'))
    named = {p.relative_to(ROOT/'miniai').with_suffix('').as_posix().replace('/', '.'): p for p in files}
    return {name: p for name,p in named.items() if not name.split('.')[-1].startswith('_')}


def fresh(code, **kwargs):
    "Run code in an interpreter of its own"
    return subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=120,
                          **kwargs)


@pytest.fixture
def page():
    "A page in Chromium, which finds nothing but this machine"
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        try: yield browser.new_page(viewport=dict(width=1400, height=1000))
        finally: browser.close()


class Plain:
    "An optimizer with what a loop needs and nothing more: no groups, no state"
    def __init__(self, params, lr): self.params,self.lr = list(params),lr
    def step(self):
        for p in self.params: p.data -= self.lr*p.grad
    def zero_grad(self):
        for p in self.params: p.grad = None


def write_run(folder, rows, histograms=(), graph='', **config):
    "A tracked run by hand, as LocalTracker leaves it when it is killed"
    folder.mkdir(parents=True)
    def write(name, text): (folder/name).write_text(text, encoding='utf-8')
    def lines(rows): return ''.join(json.dumps(row) + '\n' for row in rows)
    write('config.json', json.dumps(dict(name=folder.name, started='2026-11-21 21:00:00', config=config)))
    write('log.jsonl', lines(rows))
    if histograms: write('histograms.jsonl', lines(histograms))
    if graph: write('graph.txt', graph)
