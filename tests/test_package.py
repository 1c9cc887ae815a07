"The repository as a whole: metadata, imports, and the rules that every notebook keeps"
import ast, configparser, importlib.metadata, json, re, tomllib
import pytest
from tests.check_export import modules
from tests.conftest import COMMANDS, DOORS, LESSONS, ROOT, TOOLS, cells, code_cells, default_exp, fresh
from tests.conftest import imported_modules, module_files

MODULES = module_files()
by_name = pytest.mark.parametrize('path', LESSONS + TOOLS, ids=lambda p: p.stem)


def settings():
    config = configparser.ConfigParser(delimiters='=')
    config.read(ROOT/'settings.ini', encoding='utf-8')
    return config['DEFAULT']


IMPORT_EACH = '''
import importlib, inspect, json, os, sys, traceback, torch, numpy
for name in sys.stdin.read().split():
    if pid := os.fork():
        os.waitpid(pid, 0)
        continue
    said = dict(module=name, error='', bare=[], loaded=[])
    try:
        m = importlib.import_module('miniai.'+name)
        public = {n: o for n,o in vars(m).items() if n in getattr(m, '__all__', [])} | {'the module': m}
        def is_own(o): return inspect.isroutine(o) or not inspect.isclass(o) or o.__module__ == m.__name__
        public = {n: o for n,o in public.items() if (callable(o) or o is m) and is_own(o)}
        said['bare'] = [n for n,o in public.items() if not o.__doc__]
        heavy = 'miniai', 'datasets', 'matplotlib', 'nbdev'
        said['loaded'] = [n for n in sys.modules if n.split('.')[0] in heavy]
    except BaseException: said['error'] = traceback.format_exc()
    print(json.dumps(said), flush=True)
    os._exit(0)
'''


@pytest.fixture(scope='module')
def imports():
    "What importing each module gives, each in a process of its own that has only torch and numpy"
    res = fresh(IMPORT_EACH, input=' '.join(MODULES))
    said = {o['module']: o for o in map(json.loads, res.stdout.splitlines())}
    assert res.returncode == 0 and said.keys() == MODULES.keys(), res.stderr
    return said


def test_each_module_imports_alone(imports):
    assert {module: said['error'] for module,said in imports.items() if said['error']} == {}


def test_each_public_name_has_a_docstring(imports):
    assert {module: said['bare'] for module,said in imports.items() if said['bare']} == {}


def test_what_any_lesson_may_use_is_light(imports):
    for module in ('check.kit', 'tools.nested', 'tools.chance', 'tools.guard', 'tools.workers'):
        allowed = {'miniai', 'miniai.check', 'miniai.tools', f'miniai.{module}'}
        extra = {n for n in imports[module]['loaded'] if not n.startswith('miniai.tools.')} - allowed
        assert not extra, f'{module} loads {sorted(extra)}'


def test_importing_the_package_loads_nothing_heavy():
    heavy = "{'torch','numpy','datasets','matplotlib','fastcore'}"
    res = fresh(f"import sys, miniai; print(miniai.__version__, *{heavy} & set(sys.modules))")
    assert res.stdout.split() == [settings()['version']]


def test_settings_and_pyproject_agree():
    nbdev = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['tool']['nbdev']
    keys = 'lib_path', 'nbs_path', 'doc_path', 'recursive', 'tst_flags', 'allowed_cell_metadata_keys'
    assert {k: str(nbdev[k]).lower() for k in keys} == {k: settings()[k].lower() for k in keys}


def test_metadata_comes_from_settings():
    meta,cfg = importlib.metadata.metadata('miniai'),settings()
    assert (meta['Name'], meta['Version'], meta['Summary']) == (cfg['lib_name'], cfg['version'],
                                                                cfg['description'])
    assert meta['Requires-Python'] == '>=' + cfg['min_python']
    needed = [r for r in importlib.metadata.requires('miniai') if 'extra ==' not in r]
    assert sorted(needed) == sorted(cfg['requirements'].split())
    extras = {k.removesuffix('_requirements') for k in cfg if k.endswith('_requirements')}
    assert set(meta.get_all('Provides-Extra')) == extras


def test_users_are_not_held_below_fastcore_2():
    assert not re.search(r'fastcore\S*<', settings()['requirements'])


def test_constraints_name_each_requirement_once():
    lines = [line for line in (ROOT/'constraints.txt').read_text().splitlines() if line
             and not line.startswith('#')]
    names = [re.split('==', line)[0].lower().replace('_', '-') for line in lines]
    assert all('==' in line for line in lines) and len(set(names)) == len(names)
    required = f"{settings()['requirements']} {settings()['dev_requirements']}".split()
    assert {re.split('[<>=]', r)[0].lower() for r in required} <= set(names)
    assert 'torch==2.13.0' in lines


@by_name
def test_cells_have_stable_ids(path):
    nb = json.loads(path.read_text(encoding='utf-8'))
    ids = [c.get('id') for c in nb['cells']]
    assert all(ids) and len(set(ids)) == len(ids) and (nb['nbformat'], nb['nbformat_minor']) >= (4, 5)


@by_name
def test_lesson_is_one_clean_run(path):
    code = [c for c in cells(path) if c['cell_type'] == 'code']
    counts = [c['execution_count'] for c in code if c['execution_count']]
    assert counts == list(range(1, len(counts)+1)), 'run it with `make outputs`'
    not_run = [c['id'] for c in code if not c['execution_count']
               and 'eval: false' not in ''.join(c['source'])]
    assert not not_run, 'cells without a run'
    bad = [o for c in code for o in c['outputs'] if o['output_type'] == 'error' or o.get('name') == 'stderr']
    assert not bad, bad


@by_name
def test_each_notebook_exports_one_module_of_its_kind(path):
    module = default_exp(path)
    if path in TOOLS: assert module.split('.')[0] in ('tools', 'check') and module in MODULES
    else: assert module is None or module in MODULES and '.' not in module


def defined(source):
    "The functions and classes at the top of a module, leaving out those that patch a class"
    for node in ast.parse(source).body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)): continue
        if not any('patch' in ast.dump(d) for d in node.decorator_list): yield node.name


def test_no_name_is_defined_twice():
    "A public name belongs to one module, others may hand it on. In one module the second wins in silence"
    allowed = {'conv'}  # COMPAT section 14: one name, two signatures that callers rely on
    seen = {}
    for module,source in modules(ROOT/'miniai').items():
        names = list(defined(source))
        twice = sorted(n for n in names if names.count(n) > 1)
        assert not twice, f'{module} defines twice: {twice}'
        for name in names:
            if name.startswith('_'): continue
            assert name not in seen or name in allowed, f'{name} is in {seen[name]} and in {module}'
            seen[name] = module


# ---- imports go one way: lesson, tool, check ---------------------------------------------------------------

def positions():
    "Each module's place in the reading order: the lesson that exports it, or that a check belongs to"
    places = {}
    for path in LESSONS: places |= {path.stem[3:]: path.stem, default_exp(path) or path.stem[3:]: path.stem}
    return places


PLACES = positions()


def place(module):
    "Where a lesson's module or a check belongs; '' for tools, the kit and other helpers: anywhere"
    return PLACES.get(module.split('.')[-1], '') if not module.startswith('tools.') else ''


@pytest.mark.parametrize('module', [m for m in MODULES if m not in DOORS | COMMANDS])
def test_modules_import_one_way(module):
    package = module.split('.')[:-1]
    used = set(imported_modules(MODULES[module].read_text(encoding='utf-8'), package))
    assert used <= set(MODULES), f'no such modules: {used - set(MODULES)}'
    if module.startswith('tools.'): allowed = {m for m in MODULES if m.startswith('tools.')}
    elif module == 'check.kit': allowed = {m for m in MODULES if m.startswith('tools.')}
    else:
        own = place(module)
        assert own or module.replace('check', 'tools') in MODULES, f'{module} belongs to no lesson'
        lessons = {m for m in MODULES if '.' not in m and place(m) and place(m) < own}
        allowed = lessons | {m for m in MODULES if m.startswith('tools.')}
        if package:  # a check: its lesson's module, the kit, and what checks of earlier lessons have
            allowed |= {'check.kit', *(m for m in MODULES if '.' not in m and place(m) == own)}
            allowed |= {m for m in MODULES if m.startswith('check.') and '' < place(m) < own}
    assert used <= allowed, f'{module} imports {sorted(used - allowed)}'


@by_name
def test_notebooks_use_nothing_of_later_lessons(path):
    used = {m for src in code_cells(path) for m in imported_modules(src)}
    assert used <= set(MODULES), f'no such modules: {used - set(MODULES)}'
    if path in TOOLS:
        allowed = {m for m in MODULES if m.startswith('tools.') or m.startswith('check.') and not place(m)}
    else: allowed = {m for m in MODULES if place(m) <= path.stem and m not in DOORS}
    assert used <= allowed, f'{path.stem} uses {sorted(used - allowed)}'


def test_doors_hand_on_and_define_nothing():
    for door in DOORS & set(MODULES):
        tree = ast.parse(MODULES[door].read_text(encoding='utf-8'))
        assert not [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))], door
