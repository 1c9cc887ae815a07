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


EXAMPLES = sorted((ROOT/'examples').glob('*.py'))

@pytest.mark.parametrize('users,expected', [({}, '1000'), (dict(GOMP_SPINCOUNT='7'), '7'),
                                            (dict(OMP_WAIT_POLICY='ACTIVE'), 'None')])
@pytest.mark.parametrize('path', EXAMPLES, ids=lambda p: p.stem)
def test_in_an_example_the_users_own_wins(path, users, expected):
    env = {k: v for k,v in os.environ.items() if k not in ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')}
    lines = path.read_text().split('import matplotlib')[0] + "\nprint(os.environ.get('GOMP_SPINCOUNT'))"
    out = subprocess.run([sys.executable, '-c', lines], env={**env, **users}, capture_output=True, text=True)
    assert out.stdout.strip() == expected, out.stderr


@pytest.mark.parametrize('path', EXAMPLES, ids=lambda p: p.stem)
def test_an_example_sets_it_before_torch_is_imported(path):
    "The variable is read once, when torch is loaded"
    for node in ast.parse(path.read_text()).body:
        text = ast.unparse(node)
        if re.search(r"environ\['GOMP_SPINCOUNT'\] = '1000'", text): return
        early = re.search(r'\b(import|from)\b.*\b(torch|miniai|matplotlib)\b', text)
        assert not early, f'{text} comes first'
    raise AssertionError('GOMP_SPINCOUNT is not set')
