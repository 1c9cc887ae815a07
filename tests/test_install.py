"What a stranger does first: the make targets on a fresh clone, the wheel in an empty environment, nbdev 3"
import json, os, re, shutil, signal, subprocess, sys, venv, zipfile
import pytest
from tests.check_export import compare, modules
from tests.conftest import LESSONS, ROOT, TOOLS, module_files

# bookkeeping: URLs and version come from elsewhere; no exported line
EXPORTED_BY_NBDEV_3 = {'_modidx.py', '__init__.py'}
TARGETS = {'train', 'test', 'test-long', 'bench', 'records', 'lessons', 'export', 'outputs', 'book',
           'hooks', 'clean'}


def run(*args, **kwargs):
    return subprocess.run([str(a) for a in args], capture_output=True, text=True, **kwargs)


def new_venv(folder, *packages):
    "A truly empty environment with `packages` and what they need"
    venv.create(folder, with_pip=True)
    # this torch is at hand; another would be gigabytes
    res = run(folder/'bin'/'pip', 'install', '-q', 'torch==2.13.0', *packages)
    assert res.returncode == 0, res.stderr
    return folder/'bin'


def make(*args, **kwargs): return run('make', *args, cwd=ROOT, **kwargs)


def variables(*args, **env):
    "make's own variables when called so"
    out = make('-pn', 'help', *args, env={**os.environ, **env}).stdout
    return dict(re.findall(r'^(\w+) :?= (.*)$', out, re.M))


def test_make_without_a_target_explains_itself():
    res = make()
    assert res.returncode == 0 and set(re.findall(r'^make ([\w-]+)', res.stdout, re.M)) == TARGETS


@pytest.fixture
def bare(tmp_path):
    "What `make` needs, in a folder whose path has spaces in it"
    folder = tmp_path/'my own folder'
    folder.mkdir()
    for name in ('Makefile', 'settings.ini', 'setup.py', 'pyproject.toml', 'constraints.txt'):
        shutil.copy(ROOT/name, folder)
    shutil.copytree(ROOT/'.ci', folder/'.ci')
    return folder


def test_an_old_python_gets_a_sentence(bare):
    old = bare/'old python'
    old.write_text(f'''#!/bin/sh
exec "{sys.executable}" -c "import runpy, sys; sys.version_info = (3, 9, 1); sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name='__main__')" "$@"
''')
    old.chmod(0o755)
    res = run('make', 'train', f'PYTHON={old}', cwd=bare)
    assert res.returncode != 0 and 'needs Python 3.11 or later' in res.stderr and 'is 3.9' in res.stderr
    assert not (bare/'.venv').exists()


SLOW_INSTALL = '''
import runpy, sys, time
sys.argv = ['.ci/install.py']
names = runpy.run_path('.ci/install.py')
def install():
    with open('log', 'a') as f: f.write('begin ')
    time.sleep(1)
    with open('log', 'a') as f: f.write('end ')
    import os
    os.makedirs('.venv', exist_ok=True)
    open('.venv/.installed', 'w').close()
names['main'].__globals__['install'] = install
names['main']()
'''


def test_two_installations_at_once_wait_for_each_other(bare):
    both = [subprocess.Popen([sys.executable, '-c', SLOW_INSTALL], cwd=bare) for _ in range(2)]
    assert [p.wait(60) for p in both] == [0, 0]
    assert (bare/'log').read_text() == 'begin end ', 'the second found the work done'


def test_a_failed_installation_leaves_no_mark(bare):
    fails = SLOW_INSTALL.replace('    import os',
                                 '    import subprocess; raise subprocess.CalledProcessError(3, "pip")')
    assert run(sys.executable, '-c', fails, cwd=bare).returncode == 3
    assert not (bare/'.venv'/'.installed').exists()


def test_make_skips_the_installation_when_nothing_changed():
    if not (ROOT/'.venv'/'.installed').exists(): pytest.skip('not run through make')
    assert 'install.py' not in make('-n', 'train').stdout


def test_make_hands_on_an_absolute_data_folder():
    for given,want in (('some/where', f'{ROOT}/some/where'), ('some where', f'{ROOT}/some where'),
                       ('/a b/c', '/a b/c')):
        assert variables(MINIAI_DATA=given)['MINIAI_DATA'] == want
        assert variables(f'MINIAI_DATA={given}')['MINIAI_DATA'] == want


def test_make_works_without_a_home():
    "Jupyter, matplotlib and Hugging Face write into it"
    assert variables(HOME='/nonexistent')['HOME'] == variables(HOME='')['HOME'] == f'{ROOT}/.venv/home'
    assert variables(HOME='/tmp').get('HOME', '/tmp') == '/tmp'


@pytest.mark.long
def test_a_lesson_and_a_script_run_without_a_home(tmp_path):
    "Nothing of ours, of Jupyter's or of matplotlib's needs more than `make` gives"
    (tmp_path/'home').mkdir()
    env = {k: v for k,v in os.environ.items()
           if not k.startswith(('XDG_', 'HF_', 'MPL', 'IPYTHON', 'JUPYTER'))}
    env |= dict(HOME=str(tmp_path/'home'), HF_HUB_OFFLINE='1', MPLBACKEND='agg', OMP_NUM_THREADS='1')
    lesson = shutil.copy(ROOT/'nbs/02_matmul.ipynb', tmp_path)
    assert run(sys.executable, ROOT/'tests/run_lessons.py', lesson, env=env).returncode == 0
    res = run(sys.executable, '-c', 'from miniai.learner import Learner', env={**env, 'HOME': '/nonexistent'},
              cwd=ROOT)
    assert res.returncode == 0, res.stderr


def clone_of(folder):
    "This repository as it lies here, in a fresh folder of its own, with this one's environment"
    files = run('git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard',
                cwd=ROOT).stdout.split('\0')
    for name in filter(None, files):
        (folder/name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT/name).exists(): shutil.copy2(ROOT/name, folder/name)
    (folder/'.venv').symlink_to(ROOT/'.venv')
    git = 'git', '-c', 'user.name=t', '-c', 'user.email=t@example.org'
    for args in (('init', '-q', '-b', 'main'), ('add', '-A'), ('commit', '-qm', 'all')):
        assert run(*git, *args, cwd=folder).returncode == 0
    return git


def edited(path, word, count):
    "Change a notebook as somebody does who runs it: a word in one cell, and the counts of all"
    nb = json.loads(path.read_text(encoding='utf-8'))
    code = [c for c in nb['cells'] if c['cell_type'] == 'code']
    code[0 if word == 'first' else -1]['source'] += [f'\n# {word}']
    for c in code: c['execution_count'] = count
    path.write_text(json.dumps(nb, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


def test_make_hooks_merges_notebooks_and_refuses_what_does_not_agree(tmp_path):
    if not (ROOT/'.venv'/'.installed').exists(): pytest.skip('not run through make')
    folder = tmp_path/'a clone'
    folder.mkdir()
    git = clone_of(folder)
    notebook = folder/'nbs/02_matmul.ipynb'  # it exports nothing
    (folder/'.venv/.installed').touch()
    assert run('make', 'hooks', cwd=folder).returncode == 0
    def commit(*args): return run(*git, 'commit', '-qam', 'x', *args, cwd=folder)
    run(*git, 'switch', '-qc', 'other', cwd=folder)
    edited(notebook, 'first', 7)
    assert commit('--no-verify').returncode == 0
    run(*git, 'switch', '-q', 'main', cwd=folder)
    edited(notebook, 'last', 9)
    assert commit('--no-verify').returncode == 0
    res = run(*git, 'merge', '-q', '--no-verify', 'other', cwd=folder)
    sources = [''.join(c['source']) for c in json.loads(notebook.read_text(encoding='utf-8'))['cells']]
    assert res.returncode == 0 and {'# first',
                                    '# last'} <= {s.splitlines()[-1] for s in sources
                                                  if s}, res.stdout + res.stderr
    module = folder/'miniai/losses.py'
    module.write_text(module.read_text(encoding='utf-8') + '\n# by hand\n', encoding='utf-8')
    res = commit()
    assert res.returncode != 0 and '-# by hand' in res.stdout + res.stderr


def test_ctrl_c_is_heard_where_the_caller_ignores_it():
    "Under nohup and in a background job: by the tests, and by what they start"
    child = 'import signal; print(signal.getsignal(signal.SIGINT))'
    code = f'import subprocess as s, sys, tests.conftest; {child}; s.run([sys.executable, "-c", {child!r}])'
    res = run('bash', '-c', 'trap "" INT; exec "$@"', '-', sys.executable, '-uc', code, cwd=ROOT)
    assert res.stdout.split('\n')[:2] == [str(signal.default_int_handler)]*2, res.stderr


def test_readme_commands_exist():
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    targets = set(re.findall(r'^([\w-]+):', (ROOT/'Makefile').read_text(), re.M))
    used = set(re.findall(r'\bmake ([a-z-]+)', text))
    assert TARGETS <= targets and {'train', 'test'} <= used <= targets
    assert 'pip install' in text and 'python examples/train.py' in text
    for page in ('README.md', 'CONTRIBUTING.md'):
        text = (ROOT/page).read_text(encoding='utf-8')
        for name in re.findall(r'\]\(((?!http)[^)#]+)\)', text):
            assert (ROOT/name).exists(), f'{page} links to {name}'


def test_ci_calls_the_tests():
    assert '.ci/run' in (ROOT/'.github/workflows/ci.yml').read_text()
    assert 'make test' in (ROOT/'.ci/run').read_text()
    assert os.access(ROOT/'.ci/run', os.X_OK) and os.access(ROOT/'.githooks/pre-commit', os.X_OK)


def test_the_package_has_its_rooms_and_nbdev_sees_the_tools():
    from nbdev.doclinks import nbglob
    from setuptools import find_packages
    assert set(find_packages(str(ROOT), include=['miniai', 'miniai.*'])) == {'miniai', 'miniai.tools',
                                                                             'miniai.check'}
    assert {*LESSONS, *TOOLS} <= {p.resolve() for p in nbglob(ROOT/'nbs', as_path=True)}


@pytest.mark.long
def test_wheel_in_an_empty_venv_with_the_newest_fastcore(tmp_path):
    res = run(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', tmp_path, ROOT)
    assert res.returncode == 0, res.stderr
    wheel, = tmp_path.glob('miniai-*.whl')
    held = {n.removeprefix('miniai/') for n in zipfile.ZipFile(wheel).namelist() if n.startswith('miniai/')}
    lessons = {path.relative_to(ROOT).as_posix() for path in (*LESSONS, *TOOLS)}
    assert held == {*modules(ROOT/'miniai'), 'runs.html', *lessons}
    names = [f'miniai.{m}' for m in module_files()]
    bin = new_venv(tmp_path/'venv', '--upgrade', wheel, 'fastcore', 'numpy')
    code = f"import importlib, fastcore, numpy; [importlib.import_module(m) for m in {names}]; " \
           "import miniai; print(miniai.__file__, fastcore.__version__, numpy.__version__)"
    res = run(bin/'python', '-c', code, cwd=tmp_path)
    assert res.returncode == 0, res.stderr
    print(res.stdout)
    assert str(tmp_path) in res.stdout and int(res.stdout.split()[1].split('.')[0]) >= 2
    (tmp_path/'mine.py').write_text('def count_params(model, trainable=False): return 0', encoding='utf-8')
    (tmp_path/'runs').mkdir()
    for words,code in ((['--help'], 0), (['lessons', '--no-open'], 0), (['runs', 'runs'], 0),
                       (['check', 'mine.py:count_params'], 1)):
        res = run(bin/'miniai', *words, cwd=tmp_path)
        assert res.returncode == code and 'Traceback' not in res.stderr, f'{words}: {res.stdout}{res.stderr}'
    mine = tmp_path/'miniai-lessons'
    copied = {path.relative_to(mine) for path in mine.rglob('*.ipynb')}
    assert copied == {path.relative_to(ROOT/'nbs') for path in (*LESSONS, *TOOLS)}
    assert (tmp_path/'runs/index.html').exists()


@pytest.mark.long
def test_nbdev_3_exports_the_same_lines(tmp_path):
    venv.create(tmp_path/'venv', with_pip=True)
    res = run(tmp_path/'venv'/'bin'/'pip', 'install', '-q', 'nbdev>=3.3,<4')
    assert res.returncode == 0, res.stderr
    assert list(compare(tmp_path/'venv'/'bin'/'nbdev-export', ignore=EXPORTED_BY_NBDEV_3)) == []


@pytest.mark.long
def test_train_is_the_first_command_in_a_fresh_clone(tmp_path):
    clone = tmp_path/'my clone'
    assert run('git', 'clone', '-q', ROOT, clone).returncode == 0
    env = {k: v for k,v in os.environ.items() if k not in ('VIRTUAL_ENV', 'MINIAI_DATA')}
    res = run('make', 'train', cwd=clone, env=env)
    assert res.returncode == 0, res.stdout[-2000:] + res.stderr[-2000:]
    assert 'accuracy' in res.stdout and (clone/'train.png').stat().st_size > 10_000
