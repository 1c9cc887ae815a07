"The rules of the house: how long, how wide, in which room (DESIGN sections 2, 4 and 9)"
import ast, importlib, inspect, re, tokenize
import pytest
from tests import readme
from tests.conftest import DOORS, LESSONS, ROOT, TOOLS, cells, code_cells, default_exp, module_files
from tests.lessons import vitals

MODULES = module_files()
WIDEST = 110
by_module = pytest.mark.parametrize('module', MODULES)
by_name = pytest.mark.parametrize('path', LESSONS + TOOLS, ids=lambda p: p.stem)
by_lesson = pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)


def source(module): return MODULES[module].read_text(encoding='utf-8')
def length(module): return len(source(module).splitlines())


# ---- small -------------------------------------------------------------------------------------------------

@by_module
def test_a_module_has_at_most_300_lines(module): assert length(module) <= 300


def test_the_rooms_are_small():
    lessons = {default_exp(p) for p in LESSONS if p.stem < '19'} - {None}
    checks = [m for m in MODULES if m.startswith('check.') and m != 'check.kit']
    sizes = {'parts 1 to 3': (sum(map(length, lessons)), 3300), 'the kit': (length('check.kit'), 300),
             'tools': (sum(length(m) for m in MODULES if m.startswith('tools.')), 1400),
             'checks': (sum(map(length, checks)), 120*len(checks))}
    assert {k: v for k,v in sizes.items() if v[0] > v[1]} == {}


def too_wide(lines):
    return [f'{i}: {len(line)}: {line.strip()[:80]}' for i,line in enumerate(lines, 1) if len(line) > WIDEST]


@by_name
def test_no_line_of_code_in_a_notebook_is_too_wide(path):
    assert [line for src in code_cells(path) for line in too_wide(src.splitlines())] == []


PYTHON = [p for folder in ('miniai', 'tests', 'examples', '.ci') for p in sorted((ROOT/folder).rglob('*.py'))
          if p.name != '_modidx.py']


@pytest.mark.parametrize('path', [*PYTHON, ROOT/'setup.py'], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_line_of_python_is_too_wide(path):
    "But for what nbdev writes itself: the list of exports"
    lines = path.read_text(encoding='utf-8').splitlines()
    if '# %% auto 0' in lines or '# %% auto #0' in lines:
        lines = re.sub(r'^__all__ = \[.*?\]$', '', '\n'.join(lines), count=1, flags=re.S | re.M).splitlines()
    assert too_wide(lines) == []


@by_lesson
def test_a_lesson_takes_an_hour_at_most(path): assert vitals(path)['minutes'] <= 60


# ---- a class is one thing ----------------------------------------------------------------------------------

def code_lines(node, text):
    "Lines of a class but for blank ones, comments, docstrings and the documented parameters of its methods"
    lines = set(range(node.lineno, node.end_lineno+1))
    for n in ast.walk(node):
        if isinstance(n, (ast.FunctionDef, ast.ClassDef)):
            first = n.body[0]
            if isinstance(n, ast.FunctionDef): lines -= set(range(n.lineno+1, first.lineno))
            if ast.get_docstring(n) is not None: lines -= set(range(first.lineno, first.end_lineno+1))
    kept = text.splitlines()
    return sum(bool(kept[i-1].strip()) and not kept[i-1].strip().startswith('#') for i in lines)


@by_module
def test_a_class_fits_in_the_head(module):
    text = source(module)
    long = {n.name: code_lines(n, text) for n in ast.parse(text).body if isinstance(n, ast.ClassDef)}
    assert {k: v for k,v in long.items() if v > 60} == {}, 'two classes, or a tool'


def patched(node):
    "The class that a function with a `patch` decorator is added to"
    for d in node.decorator_list:
        name = ast.unparse(d.func if isinstance(d, ast.Call) else d).split('.')[-1]
        if name == 'patch_to': yield ast.unparse(d.args[0])
        elif name == 'patch' and node.args.args and node.args.args[0].annotation:
            yield ast.unparse(node.args.args[0].annotation)


@by_module
def test_a_class_stands_whole_in_one_cell(module):
    "No @patch on a class of the same module, and nothing of any class assigned from outside"
    tree = ast.parse(source(module))
    classes = {n.name for n in tree.body if isinstance(n, ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            assert not classes & set(patched(node)), f'{node.name} is patched in'
        if not isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)): continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        outside = [ast.unparse(t) for t in targets if isinstance(t, ast.Attribute)]
        assert not outside, f'{outside} assigned from outside'


# ---- lessons -----------------------------------------------------------------------------------------------

@by_name
def test_a_notebook_opens_with_a_title_and_a_promise(path):
    first = ''.join(cells(path)[0]['source'])
    assert re.match(r'# \S.*\n\n> \*\S.*\*\n?',
                    first), 'first a title, then in a line what the reader will have: > *…*'


@by_lesson
def test_a_lesson_ends_with_two_to_four_exercises(path):
    assert 2 <= vitals(path)['stubs'] <= 4
    assert any(re.search(r'^## Now you', ''.join(c['source']), re.M) for c in cells(path)
               if c['cell_type'] == 'markdown')


STEMS = {p.stem for p in LESSONS}


def spoken(path):
    "What a notebook tells: its prose, and the comments and texts of its code"
    for c in cells(path):
        text = ''.join(c['source'])
        if c['cell_type'] == 'markdown': yield text
        else: yield from (line for line in text.splitlines() if '#' in line or '"' in line or "'" in line)


def bare_references(text):
    "Lessons referred to by a number alone: not 05_losses, `lesson 05 (losses)` or a link to 05_losses.ipynb"
    for m in re.finditer(r'\b[Ll]essons? (\d\d?)\b(?!_)(?: \((\w+)|\]\((?:\.\./)?(\d\d_\w+)\.ipynb)?', text):
        if not {f'{m[1]}_{m[2]}', m[3]} & STEMS: yield text[max(0, m.start()-30):m.end()+30]


@by_lesson
def test_a_lesson_keeps_its_pictures(path):
    "They go when outputs are stored under MPLBACKEND=agg, and nothing else tells"
    outputs = [out for c in cells(path) if c['cell_type'] == 'code' for out in c['outputs']]
    assert any('image/png' in out.get('data', {}) for out in outputs)


@by_name
def test_references_to_lessons_are_by_name_and_exist(path):
    "A bare number is wrong as soon as a lesson is added"
    text = '\n'.join(spoken(path))
    named = set(re.findall(r'\b\d\d_[a-z]+\b', text))
    assert named <= STEMS, f'no such lessons: {sorted(named - STEMS)}'
    links = set(re.findall(r'\]\(([^)#]+\.ipynb)', text))
    assert not [link for link in links if not (path.parent/link).exists()]
    assert list(bare_references(text)) == []


@by_module
def test_references_in_the_package_exist(module):
    named = set(re.findall(r'\b[0-3]\d_[a-z]+\b', source(module)))
    assert named <= STEMS, f'no such lessons: {sorted(named - STEMS)}'
    assert list(bare_references(source(module))) == []


def test_readme_lists_the_lessons_as_they_are():
    assert readme.updated() == readme.README.read_text(encoding='utf-8'), 'run `make export`'


def test_contributing_names_each_hop_where_it_is():
    text = (ROOT/'CONTRIBUTING.md').read_text(encoding='utf-8')
    hops = re.findall(r'^\| .*? \| (`[\w./]+`(?:, `[\w./]+`)*) \| (`[\w.]+`(?:, `[\w.]+`)*) \|$', text, re.M)
    assert len(hops) > 10
    for files,names in hops:
        texts = ''.join((ROOT/name).read_text(encoding='utf-8') for name in re.findall(r'`(.*?)`', files))
        for name in re.findall(r'`(.*?)`', names):
            assert re.search(rf'\b(def|class) {name.split(".")[-1]}\b', texts), f'{name} is not in {files}'


def names_of_0_1():
    "CHANGELOG's table, as (module of 0.1, name, where it is now or why it was cut)"
    text = (ROOT/'CHANGELOG.md').read_text(encoding='utf-8')
    rows = re.search(r'<!-- names.*?-->(.*?)<!-- end', text, re.S)[1]
    for was,names,now in re.findall(r'^\| `(\w+)` \| (.*?) \| (.*?) \|$', rows, re.M):
        for name in re.findall(r'`(\w+)`', names): yield was,name,now


def test_changelog_says_where_each_name_of_0_1_lives():
    rows,homes = list(names_of_0_1()),{}
    for module in MODULES.keys() - DOORS:
        public = getattr(importlib.import_module(f'miniai.{module}'), '__all__', None)
        tree = ast.parse(source(module))
        defined = {n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
        homes[module] = defined if public is None else set(public)
    kept = {(name, now.strip('`')) for _,name,now in rows if not now.startswith('cut: ')}
    assert len(rows) > 150 and not [(name, now) for name,now in kept if name not in homes.get(now, ())]
    public = {name for module in homes for name in homes[module] if not name.startswith('_')}
    assert not [name for _,name,now in rows if now.startswith('cut: ') and name in public]


# ---- tests -------------------------------------------------------------------------------------------------

def words_of_python(path):
    with tokenize.open(path) as f:
        return {t.string for t in tokenize.generate_tokens(f.readline) if t.type == tokenize.NAME}


def test_every_public_name_is_touched_by_a_test_or_a_check():
    texts = [*(ROOT/'tests').rglob('*.py'),
             *(p for m,p in MODULES.items() if m.startswith('check.') and m != 'check.kit')]
    touched = set().union(*map(words_of_python, texts))
    missing = {}
    for module,path in MODULES.items():
        if module in DOORS or module.startswith('check.') and module != 'check.kit': continue
        exported = re.search(r'^__all__ = (\[.*?\])', path.read_text(encoding='utf-8'), re.S | re.M)
        if alone := sorted(set(ast.literal_eval(exported[1])) - touched): missing[module] = alone
    assert missing == {}


@pytest.mark.parametrize('path', sorted((ROOT/'tests').glob('*.py')), ids=lambda p: p.stem)
def test_no_test_module_imports_another(path):
    "What they share is in conftest.py"
    imports = r'^\s*(?:from tests\.(test_\w+) import|import tests\.(test_\w+)|from tests import (test_\w+))'
    found = re.findall(imports, path.read_text(encoding='utf-8'), re.M)
    assert {name for names in found for name in names if name} <= {path.stem}


def test_the_rules_see_what_they_look_for():
    "Each rule on a small bad example"
    assert too_wide(['x'*111, 'x'*110]) == ['1: 111: ' + 'x'*80]
    text = inspect.cleandoc('''
        class A:
            "Doc"
            def f(self,
                  a # what to pass
            ):
                """Longer

                doc"""
                # why
                return a

            x = 1
        @patch
        def g(self:A): pass
        ''')
    cls,g = ast.parse(text).body
    assert code_lines(cls, text) == 4 and list(patched(g)) == ['A']
    assert len(list(bare_references('In lesson 05 and lessons 01 to'))) == 2
    assert not list(bare_references('lesson 05_losses, [lesson 05](05_losses.ipynb), lesson 05 (losses)'))
