"What a stranger does first: the make targets on a fresh clone, the wheel in an empty environment, nbdev 3"
import os, re, shutil, subprocess, sys, venv
import pytest
from tests.check_export import compare
from tests.conftest import ROOT

# bookkeeping: nbdev 3 takes URLs and version from elsewhere; no exported line
EXPORTED_BY_NBDEV_3 = {'_modidx.py', '__init__.py'}


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


def test_make_without_a_target_explains_itself():
    res = make()
    targets = set(re.findall(r'^make ([\w-]+)', res.stdout, re.M))
    assert res.returncode == 0
    assert targets == {'train', 'test', 'test-long', 'bench', 'lessons', 'outputs', 'clean'}


def test_an_old_python_gets_a_sentence(tmp_path):
    shutil.copy(ROOT/'Makefile', tmp_path)
    for name in ('settings.ini', 'setup.py', 'pyproject.toml', 'constraints.txt'):
        shutil.copy(ROOT/name, tmp_path)
    old = tmp_path/'oldpython'
    pretend = 's/import sys; v = sys.version_info/import sys; v = (3, 9, 1)/'
    old.write_text(f'#!/bin/sh\nshift\necho "$1" | sed "{pretend}" > prog.py\nexec {sys.executable} prog.py\n')
    old.chmod(0o755)
    res = run('make', 'train', f'PYTHON={old}', cwd=tmp_path)
    assert res.returncode != 0 and 'needs Python 3.11 or later' in res.stderr and 'is 3.9' in res.stderr
    assert not (tmp_path/'.venv').exists()


def test_make_skips_the_installation_when_nothing_changed(tmp_path):
    if not (ROOT/'.venv'/'.installed').exists(): pytest.skip('not run through make')
    assert 'pip install' not in make('-n', 'train').stdout


def test_make_hands_on_an_absolute_data_folder():
    env = {**os.environ, 'MINIAI_DATA': 'some/where'}
    out = make('-pn', 'help', env=env).stdout
    assert f'MINIAI_DATA := {ROOT}/some/where' in out


def test_readme_commands_exist():
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    targets = set(re.findall(r'^([\w-]+):', (ROOT/'Makefile').read_text(), re.M))
    used = set(re.findall(r'\bmake ([a-z-]+)', text))
    assert {'train', 'test'} <= used <= targets
    assert 'pip install' in text and 'python examples/train.py' in text
    for name in re.findall(r'\]\(((?!http)[^)#]+)\)', text):
        assert (ROOT/name).exists(), f'README links to {name}'


@pytest.mark.long
def test_wheel_in_an_empty_venv_with_the_newest_fastcore(tmp_path):
    res = run(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', tmp_path, ROOT)
    assert res.returncode == 0, res.stderr
    wheel, = tmp_path.glob('miniai-*.whl')
    bin = new_venv(tmp_path/'venv', '--upgrade', wheel, 'fastcore', 'numpy')
    modules = sorted(p.stem for p in (ROOT/'miniai').glob('*.py') if not p.name.startswith('_'))
    code = f"import importlib, fastcore, numpy; [importlib.import_module('miniai.'+m) for m in {modules}]; " \
           "import miniai; print(miniai.__file__, fastcore.__version__, numpy.__version__)"
    res = run(bin/'python', '-c', code, cwd=tmp_path)
    assert res.returncode == 0, res.stderr
    print(res.stdout)
    assert str(tmp_path) in res.stdout and int(res.stdout.split()[1].split('.')[0]) >= 2


@pytest.mark.long
def test_nbdev_3_exports_the_same_lines(tmp_path):
    venv.create(tmp_path/'venv', with_pip=True)
    res = run(tmp_path/'venv'/'bin'/'pip', 'install', '-q', 'nbdev>=3.3,<4')
    assert res.returncode == 0, res.stderr
    assert list(compare(tmp_path/'venv'/'bin'/'nbdev-export', ignore=EXPORTED_BY_NBDEV_3)) == []


@pytest.mark.long
def test_train_is_the_first_command_in_a_fresh_clone(tmp_path):
    clone = tmp_path/'miniai'
    assert run('git', 'clone', '-q', ROOT, clone).returncode == 0
    res = run('make', 'train', cwd=clone,
              env={k: v for k,v in os.environ.items() if k not in ('VIRTUAL_ENV', 'MINIAI_DATA')})
    assert res.returncode == 0, res.stdout[-2000:] + res.stderr[-2000:]
    assert 'accuracy' in res.stdout and (clone/'train.png').stat().st_size > 10_000
