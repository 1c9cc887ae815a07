"The lessons as files: where they are, how their exercises are checked, a copy for a reader to write in"
import ast, builtins, hashlib, importlib, json, re
from pathlib import Path
from . import __version__
from .tools.files import write_safely

__all__ = ['notebooks', 'exercises', 'mark', 'copy_lessons']


def notebooks()->list:
    "The paths of the lessons: in the package when it is installed, beside it in a clone"
    here = Path(__file__).resolve().parent
    for folder in here/'nbs',here.parent/'nbs':
        found = sorted(folder.glob('[0-9]*.ipynb')) + sorted(folder.glob('tools/*.ipynb'))
        if found: return found
    raise FileNotFoundError(f'there are no lessons in {here/"nbs"}: install miniai again')


# ---- exercises ---------------------------------------------------------------------------------------------

def _trees(path):
    "The code cells of a notebook, parsed: those of its exercises, and all"
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    stubs,trees = [],[]
    for source in (''.join(c['source']) for c in cells if c['cell_type'] == 'code'):
        try: trees.append(ast.parse(source))
        except SyntaxError: continue  # a magic
        if source.startswith('#| eval: false'): stubs.append(trees[-1])
    return stubs,trees


def _bound(tree):
    "The names that a cell defines, with the statement that does"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)): yield node.name,node
        if isinstance(node, ast.Assign):
            yield from ((target.id, node) for target in node.targets if isinstance(target, ast.Name))


def _names(node): return [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]


def exercises()->list:
    "For each exercise its name, its notebook and the call there that checks it, as a tree"
    found = []
    for path in notebooks():
        cells,_ = _trees(path)
        stubs = {name for tree in cells for name,_ in _bound(tree)}
        for call in (node for tree in cells for node in ast.walk(tree) if isinstance(node, ast.Call)):
            is_check = isinstance(call.func, ast.Name) and call.func.id.startswith('check_')
            if not is_check or call.func.id in stubs: continue
            found += [(name, path, call) for arg in call.args for name in _names(arg) if name in stubs][:1]
    return found


def _imported(name, trees):
    "What a notebook's imports make of `name`, in a list; [] if it is not imported"
    for node in (n for tree in trees for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))):
        for alias in (a for a in node.names if (a.asname or a.name) == name):
            if isinstance(node, ast.Import): return [importlib.import_module(alias.name)]
            return [getattr(importlib.import_module(node.module), alias.name)]
    return []


def _meant(name, path):
    "What `name` is in a lesson: imported, defined in the module that it exports, or beside a stub"
    stubs,trees = _trees(path)
    if hasattr(builtins, name): return getattr(builtins, name)
    if found := _imported(name, trees): return found[0]
    exported = re.search(r'#\| default_exp ([\w.]+)', path.read_text(encoding='utf-8'))
    module = importlib.import_module(f'miniai.{exported[1]}') if exported else None
    if hasattr(module, name): return getattr(module, name)
    space = {}
    given = [node for tree in stubs for bound,node in _bound(tree) if bound == name]
    exec(compile(ast.Module(given, []), path.name, 'exec'), space)
    return space[name]


def mark(
    path,   # The notebook
    call,   # The call there that checks the exercise
    module  # Where the reader's names are: they go before those of the lesson
):          # A `Report`
    "Check an exercise as its lesson does, outside of Jupyter"
    own = {node.arg for node in ast.walk(call) if isinstance(node, ast.arg)}  # of a lambda
    used = set(_names(call)) - own
    space = {name: getattr(module, name) if hasattr(module, name) else _meant(name, path) for name in used}
    return eval(compile(ast.Expression(call), path.name, 'eval'), space)


# ---- a copy ------------------------------------------------------------------------------------------------

GIVEN = '.miniai.json'  # in the reader's folder: what was given


def _said(path):
    "What a notebook's cells say, as a number: outputs alone don't count; None if there is no such file"
    if not path.exists(): return None
    text = path.read_text(encoding='utf-8', errors='replace')
    try: text = json.dumps([''.join(c['source']) for c in json.loads(text)['cells']])
    except (ValueError, KeyError, TypeError): pass  # not a notebook any more
    return hashlib.sha256(text.encode()).hexdigest()


def _beside(path, said):
    "A name beside `path`, with the version: one that is free, or that of a file that says the same"
    n,target = 1,path.with_stem(f'{path.stem}-{__version__}')
    while _said(target) not in (None, said):
        n += 1
        target = path.with_stem(f'{path.stem}-{__version__}-{n}')
    return target


def _given(path):
    "What was given before, by name. The file is there from the start: a copy that is stopped can go on"
    if not path.exists(): write_safely(path, lambda f: f.write(b'{}'))
    try: return dict(json.loads(path.read_text(encoding='utf-8')))
    except (ValueError, TypeError): return {}  # torn: what differs is then put beside


def copy_lessons(
    folder  # A folder of the reader's own
)->dict:    # Names of files: 'new', 'updated' in place, and 'beside' those that the reader has changed
    "Copy the lessons, or bring a copy up to date; what its reader has changed stays as it is"
    folder = Path(folder)
    if not (folder/GIVEN).exists() and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f'{folder} is there, and is not a folder of lessons: give another name')
    folder.mkdir(parents=True, exist_ok=True)
    before = _given(folder/GIVEN)
    told,given,paths = dict(new=[], updated=[], beside=[]),{},notebooks()
    for path in paths:
        mine = folder/path.relative_to(paths[0].parent)
        name,ours,theirs = mine.relative_to(folder).as_posix(),_said(path),_said(mine)
        given[name] = ours
        if theirs is None: kind = 'new'
        elif theirs == ours or before.get(name) == ours: continue  # nothing new in this version
        else: kind = 'updated' if theirs == before.get(name) else 'beside'
        target = _beside(mine, ours) if kind == 'beside' else mine
        target.parent.mkdir(parents=True, exist_ok=True)
        write_safely(target, lambda f: f.write(path.read_bytes()))
        told[kind].append(target.relative_to(folder).as_posix())
    write_safely(folder/GIVEN, lambda f: f.write(json.dumps(given, indent=1).encode()))
    return told
