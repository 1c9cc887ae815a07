"torch's threads wait for each other no longer than they should, unless the user says otherwise"
import ast, os, re, subprocess, sys
import pytest
from tests.conftest import ROOT


@pytest.mark.parametrize('users,expected', [({}, '1000'), (dict(GOMP_SPINCOUNT='7'), '7'),
                                            (dict(OMP_WAIT_POLICY='ACTIVE'), '')])
def test_make_sets_it_and_the_users_own_wins(users, expected):
    env = {k: v for k,v in os.environ.items() if k not in ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')}
    out = subprocess.run(['make', '-pn', 'help'], cwd=ROOT, env={**env, **users}, capture_output=True,
                         text=True).stdout
    found = re.search(r'^(?:export )?GOMP_SPINCOUNT :?= (.*)$', out, re.M)
    assert (found[1] if found else '') == expected


@pytest.mark.parametrize('users,expected', [({}, '1000'), (dict(GOMP_SPINCOUNT='7'), '7'),
                                            (dict(OMP_WAIT_POLICY='ACTIVE'), 'None')])
def test_in_train_the_users_own_wins(users, expected):
    env = {k: v for k,v in os.environ.items() if k not in ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')}
    train = (ROOT/'examples/train.py').read_text()
    lines = train.split('import torch')[0] + "\nprint(os.environ.get('GOMP_SPINCOUNT'))"
    out = subprocess.run([sys.executable, '-c', lines], env={**env, **users}, capture_output=True, text=True)
    assert out.stdout.strip() == expected, out.stderr


@pytest.mark.parametrize('path', sorted((ROOT/'examples').glob('*.py')), ids=lambda p: p.stem)
def test_an_example_sets_it_before_torch_is_imported_or_takes_one_thread(path):
    "The variable is read once, when torch is loaded; one thread waits for nobody"
    tree = ast.parse(path.read_text())
    main = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == 'main']
    if main and ast.unparse(main[0].body[0]) == 'torch.set_num_threads(1)': return
    for node in tree.body:
        text = ast.unparse(node)
        if re.search(r"environ\['GOMP_SPINCOUNT'\] = '1000'", text): return
        early = re.search(r'\b(import|from)\b.*\b(torch|miniai|matplotlib)\b', text)
        assert not early, f'{text} comes first'
    raise AssertionError('GOMP_SPINCOUNT is not set')
