"The repository as a whole: metadata, imports, and the rules that every lesson keeps"
import ast, configparser, importlib.metadata, json, re, subprocess, sys, tomllib
import pytest
from tests.check_export import BY_HAND, modules
from tests.conftest import KITS, LESSONS, ROOT, code_cells, default_exp, imported_modules

MODULES = sorted(p.stem for p in (ROOT/'miniai').glob('*.py') if not p.name.startswith('_'))
by_name = pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)


def settings():
    config = configparser.ConfigParser(delimiters='=')
    config.read(ROOT/'settings.ini', encoding='utf-8')
    return config['DEFAULT']


def fresh(code):
    "Run code in an interpreter of its own"
    return subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize('module', MODULES)
def test_each_module_imports_alone(module):
    res = fresh(f'import miniai.{module} as m; assert m.__doc__; [getattr(m, n) for n in getattr(m, "__all__", [])]')
    assert res.returncode == 0, res.stderr


def test_importing_the_package_loads_nothing_heavy():
    res = fresh("import sys, miniai; print(miniai.__version__, *{'torch','numpy','datasets','matplotlib','fastcore'} & set(sys.modules))")
    assert res.stdout.split() == [settings()['version']]


@pytest.mark.parametrize('module', sorted(KITS & set(MODULES)))
def test_the_kits_are_light_and_import_no_lesson(module):
    res = fresh(f"import sys, miniai.{module}; print(*[m for m in sys.modules if m.startswith('miniai.') or m in ('datasets', 'matplotlib', 'pytest', 'nbdev')])")
    assert res.stdout.split() == [f'miniai.{module}'], res.stderr


def test_settings_and_pyproject_agree():
    nbdev = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['tool']['nbdev']
    want = {k: settings()[k] for k in ('lib_path', 'nbs_path', 'doc_path', 'recursive', 'tst_flags')}
    assert {k: str(nbdev[k]).lower() for k in want} == {k: v.lower() for k,v in want.items()}


def test_metadata_comes_from_settings():
    meta,cfg = importlib.metadata.metadata('miniai'),settings()
    assert (meta['Name'], meta['Version'], meta['Summary']) == (cfg['lib_name'], cfg['version'], cfg['description'])
    assert meta['Requires-Python'] == '>=' + cfg['min_python']
    needed = [r for r in importlib.metadata.requires('miniai') if 'extra ==' not in r]
    assert sorted(needed) == sorted(cfg['requirements'].split())
    assert set(meta.get_all('Provides-Extra')) == {k.removesuffix('_requirements') for k in cfg if k.endswith('_requirements')}


def test_users_are_not_held_below_fastcore_2():
    assert not re.search(r'fastcore\S*<', settings()['requirements'])


def test_constraints_name_each_requirement_once():
    lines = [line for line in (ROOT/'constraints.txt').read_text().splitlines() if line and not line.startswith('#')]
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
    cells = [c for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']
    counts = [c['execution_count'] for c in cells if c['execution_count']]
    assert counts == list(range(1, len(counts)+1)), 'run it with `make outputs`'
    assert not [c['id'] for c in cells if not c['execution_count'] and 'eval: false' not in ''.join(c['source'])], 'cells without a run'
    bad = [o for c in cells for o in c['outputs'] if o['output_type'] == 'error' or o.get('name') == 'stderr']
    assert not bad, bad


@by_name
def test_imports_point_backwards(path):
    position = {default_exp(p): p.stem for p in LESSONS}
    used = {m for src in code_cells(path) if not src.startswith('%%') for m in imported_modules(src)}
    own = default_exp(path)
    later = [m for m in used - KITS - {own} if m in position and position[m] > path.stem]
    assert not later, f'{path.stem} uses {later} of later lessons'
    assert used <= set(MODULES), f'no such modules: {used - set(MODULES)}'


@pytest.mark.parametrize('module', MODULES)
def test_every_export_is_documented(module):
    "A docstring on each public function and class that the module itself defines"
    if f'{module}.py' in BY_HAND: pytest.skip('written by hand, hands on names only')
    code = f"import inspect, miniai.{module} as m; print(*[n for n in m.__all__ if inspect.isroutine(o := getattr(m, n)) or inspect.isclass(o) " \
           f"if o.__module__ == m.__name__ and not o.__doc__])"
    res = fresh(code)
    assert res.returncode == 0 and res.stdout.split() == [], res.stdout + res.stderr


def defined(source):
    "The functions and classes at the top of a module, leaving out those that patch a class"
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not any('patch' in ast.dump(d) for d in node.decorator_list): yield node.name


def test_no_name_is_defined_twice():
    "A public name belongs to one module; a later one may hand it on. Within a module no name at all is defined twice: the second would win in silence"
    allowed = {'conv'}  # COMPAT section 14: one name, two signatures that callers rely on
    seen = {}
    for module,source in modules(ROOT/'miniai').items():
        names = list(defined(source))
        assert len(names) == len(set(names)), f'{module} defines twice: {sorted(n for n in set(names) if names.count(n) > 1)}'
        for name in names:
            if name.startswith('_'): continue
            assert name not in seen or name in allowed, f'{name} is in {seen[name]} and in {module}'
            seen[name] = module
