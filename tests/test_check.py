"The kit that marks implementations: it must be right about what is wrong, and survive what learners write"
import collections, inspect, os, random, subprocess, sys, threading, time, warnings
import numpy as np, pytest, torch, torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from miniai.check.kit import Case, Mismatch, Report, Result, brief, check, difference, require, rng, run_cases
from miniai.check.kit import same
from miniai.check.matmul import check_matmul
from tests.conftest import ROOT

DOUBLE = [Case('doubles 3', lambda f: same(f(3), 6, given=3), hint='Twice as much.'),
          Case('doubles a tensor', lambda f: same(f(torch.ones(2)), torch.full((2,), 2.)))]


@pytest.mark.parametrize('got,want,words', [
    (torch.ones(3,1), torch.ones(3), 'shape'), (torch.ones(2), torch.ones(2).double(), 'dtype'),
    (None, torch.ones(2), 'return'),
    ([1, 2], (1, 2), 'a list came'), ([1], [1, 2], '1 items'), (dict(a=1), dict(b=1), 'keys'),
    ('a', 'b', "'a' is not 'b'"),
    (torch.tensor([1., float('nan')]), torch.tensor([1., 2.]), 'nan'), (3, 3.1, '3 is not 3.1'),
    ('x', 1.0, 'not a number'), (1, True, '1 is not True'),
    (dict(a=[torch.zeros(2)]), dict(a=[torch.ones(2)]), "['a']: [0]: 2 of 2 values differ"),
    (np.ones(2), np.zeros(2), 'values differ'),
    (5, torch.tensor(5), 'a int came'),
    (torch.ones(2, dtype=torch.bool), torch.tensor([True, False]), '1 of 2')])
def test_difference_says_what(got, want, words): assert words in difference(got, want)


@pytest.mark.parametrize('x',
                         [torch.randn(3,2), torch.tensor(1), torch.tensor([float('nan')]), np.ones(3), 3, 2.5,
                          'a', None, True, [1, (2, 'b')],
                               dict(a=torch.ones(1)), torch.ones(2, dtype=torch.bfloat16), torch.empty(0,3),
                          torch.ones(2, dtype=torch.complex64)])
def test_nothing_differs_from_itself(x): assert difference(x, x) == ''


@settings(deadline=None, max_examples=50)
@given(st.recursive(st.one_of(st.integers(), st.floats(), st.text(), st.none(), st.booleans()),
                    lambda s: st.lists(s) | st.dictionaries(st.text(), s)))
def test_difference_and_brief_take_anything(x):
    assert difference(x, x) == ''
    assert len(brief(x)) <= 60


def test_tolerance_and_dtype_can_be_chosen():
    assert difference(torch.tensor(1.001), torch.tensor(1.), rtol=1e-2) == ''
    assert difference(torch.tensor(1.), torch.tensor(1., dtype=torch.float64), dtype=False) == ''


def test_a_right_answer():
    report = run_cases(lambda x: x+x, DOUBLE, 'double')
    assert report.ok is True and report.raise_if_failed() is report and '✗' not in str(report)


def boom(x): raise KeyError('no such thing')
def leaves(x): sys.exit(3)
def silent(x): x * 2
def recurses(x): return recurses(x)
def interrupts(x): raise KeyboardInterrupt


@pytest.mark.parametrize('f,words',
                         [(boom, 'KeyError'), (leaves, 'SystemExit'), (silent, 'is there a `return`?'),
                          (recurses, 'RecursionError'),
                                     (interrupts, 'KeyboardInterrupt'), (lambda: 0, 'TypeError'),
                          (None, 'TypeError'), (lambda x: x+2, '5 is not 6')])
def test_nothing_a_learner_writes_gets_out(f, words):
    report = run_cases(f, DOUBLE, 'double')
    assert report.ok is False and len(report.results) == 2 and words in str(report)
    assert 'Twice as much.' in str(report)
    with pytest.raises(AssertionError, match='2 of 2 cases wrong'): report.raise_if_failed()


def test_an_exception_names_the_learners_line_not_torchs():
    def f(x): return torch.ones(2,3) @ torch.ones(2,3)
    problem = run_cases(f, DOUBLE, 'double').failed[0].problem
    assert 'test_check.py' in problem and 'torch.ones(2,3) @ torch.ones(2,3)' in problem


def loop(x):
    while True: pass


def stubborn(x):
    while True:
        try: time.sleep(0.001)
        except Exception: pass


@pytest.mark.parametrize('f', [loop, stubborn])
def test_a_loop_without_end_is_stopped_and_gone(f):
    start,threads = time.perf_counter(),threading.active_count()
    report = run_cases(f, DOUBLE, 'double', limit=0.2)
    assert time.perf_counter()-start < 10 and not report.ok
    assert 'still running after 0.2 s' in report.failed[0].problem and 'not tried' in report.failed[1].problem
    assert threading.active_count() == threads


class Endless:
    def __repr__(self):
        while True: pass


class FailingRepr:
    def __repr__(self): raise ValueError('not printable')


class EndlessError(Exception):
    def __str__(self):
        while True: pass


class FailingError(Exception):
    def __str__(self): raise KeyError('no text')


def raising(error):
    def f(x): raise error
    return f


@pytest.mark.parametrize('f,words', [
    (raising(EndlessError()), 'EndlessError'), (raising(FailingError()), 'FailingError'),
    (lambda x: Endless(), 'Endless came'), (lambda x: FailingRepr(), 'FailingRepr came')])
def test_what_can_not_be_shown_is_said(f, words):
    start = time.perf_counter()
    report = run_cases(f, DOUBLE, 'double', limit=0.5)
    text = str(report) + report._repr_html_()
    assert time.perf_counter()-start < 20 and not report.ok and words in text and 'cannot be shown' in text


def test_an_endless_value_in_a_comparison_takes_the_limit():
    case = Case('says ok', lambda f: same(f(), 'ok'))
    assert 'still running' in run_cases(Endless, [case], 'ok', limit=0.3).failed[0].problem


@check('double')
def check_double(f):
    "Check a function that doubles"
    yield from DOUBLE


def test_a_stub_is_said_once():
    def stub(x): raise NotImplementedError
    text = str(check_double(stub))
    assert len(text.splitlines()) == 1 and 'This is the stub: write your own code in its place.' in text
    assert 'test_check.py' in text
    assert '<td' not in check_double(stub)._repr_html_()


def test_an_abstract_method_is_not_called_a_stub():
    report = run_cases(raising(NotImplementedError('Foo has no forward')), DOUBLE, 'double')
    assert 'stub' not in str(report) and 'Foo has no forward' in str(report)


def test_many_failures_take_a_line_each():
    cases = [Case(f'case {i}', lambda f: same(f(3), 6, given=3), 'Twice.') for i in range(30)]
    assert len(str(run_cases(lambda x: x, cases, 'double')).splitlines()) == 1 + 30 + 4


def test_a_check_has_a_signature_and_hands_arguments_on():
    @check('multiply')
    def check_times(f, n=2):
        "Check a multiplication"
        return [Case('3', lambda f: same(f(3), 3*n))]
    assert str(inspect.signature(check_times)).startswith('(f, n=2, *, limit=10.0)')
    assert check_times.__doc__ == 'Check a multiplication'
    assert check_times(lambda x: 5*x, 5).ok and check_times(lambda x: 5*x, n=5, limit=2.).ok
    assert not check_times(f=lambda x: x).ok
    for wrong in ((), (abs, 2, 3)):
        with pytest.raises(TypeError): check_times(*wrong)


def test_making_the_cases_can_fail_too():
    @check('names')
    def check_names(f):
        for name in f.names: yield Case(name, lambda f: None)
    report = check_names(None)
    assert isinstance(report, Report) and not report.ok
    assert "'NoneType' object has no attribute 'names'" in str(report)


def test_the_mistake_that_was_made_is_named():
    def hint(got, want=6., **kwargs):
        with pytest.raises(Mismatch) as e: same(got, want, hint='general', **kwargs)
        return e.value.hint
    wrong = {'sum': 5., 'fails here': lambda: 1/0, 'called late': lambda: 8., 'right by chance': 6.}
    assert [hint(o, mistakes=wrong) for o in (5., 8., 7.)] == ['sum', 'called late', 'general']
    assert hint(torch.tensor(6.).double(), torch.tensor(6.),
                mistakes={'right by chance': torch.tensor(6.)}) == 'general'
    assert hint(torch.tensor([0.5]), torch.tensor([2.]), mistakes={'rounded': torch.tensor([0])}) == 'general'
    assert hint(5.05, mistakes=wrong, rtol=0.05) == 'sum'
    same(6., 6., mistakes={'never computed': lambda: pytest.fail('it was')})


def seeds():
    random.seed(1); np.random.seed(1); torch.manual_seed(1)

def changed(what): return lambda x: [what(), 2*x][1]


SETTINGS = dict(
    torch_numbers=(lambda: torch.rand(3), lambda: torch.random.get_rng_state().tolist()),
    numpy_numbers=(lambda: np.random.rand(3), lambda: np.random.get_state()[1].tolist()),
    python_numbers=(lambda: random.random(), random.getstate), seeds=(seeds, random.getstate),
    deterministic=(lambda: torch.use_deterministic_algorithms(True),
                   torch.are_deterministic_algorithms_enabled),
    anomaly=(lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled),
    folder=(lambda: os.chdir('/'), os.getcwd),
    recursion=(lambda: sys.setrecursionlimit(5000), sys.getrecursionlimit),
    torch_printing=(lambda: torch.set_printoptions(precision=1), lambda: str(torch.tensor(1.2345))),
    numpy_printing=(lambda: np.set_printoptions(precision=1),
                    lambda: str(np.array(1.2345)) + str(np.array([1.2345]))),
    warnings=(lambda: warnings.simplefilter('error'), lambda: list(warnings.filters)))


@pytest.mark.parametrize('name', SETTINGS)
def test_what_an_exercise_changes_in_the_session_is_undone(name):
    change,ask = SETTINGS[name]
    before = ask()
    assert run_cases(changed(change), DOUBLE, 'double').ok
    assert ask() == before


PATCHED = {'torch.nn.functional.relu': lambda: setattr(F, 'relu', torch.sigmoid),
           'torch.add': lambda: setattr(torch, 'add', torch.sub),
           'the default dtype': lambda: torch.set_default_dtype(torch.float64)}


@pytest.mark.parametrize('what', PATCHED)
def test_what_makes_the_verdict_worthless_is_said_and_undone(what):
    before = F.relu,torch.add,torch.get_default_dtype()
    report = run_cases(changed(PATCHED[what]), DOUBLE, 'double')
    assert not report.ok and f'it changed {what}' in str(report)
    assert (F.relu, torch.add, torch.get_default_dtype()) == before


def test_a_patched_reference_accepts_nothing():
    "0.1 compared with what the exercise had put in PyTorch's place"
    def cheat(x):
        F.relu = torch.sigmoid
        return torch.sigmoid(x)
    case = Case('relu', lambda f: same(f(torch.ones(2)), F.relu(torch.ones(2))))
    assert not run_cases(cheat, [case], 'relu').ok


def test_a_session_with_another_default_dtype_is_marked_with_the_usual_one():
    case = Case('ones', lambda f: same(f(), torch.ones(2)))
    torch.set_default_dtype(torch.float64)
    try:
        assert run_cases(lambda: torch.tensor([1., 1.], dtype=torch.float32), [case], 'ones').ok
        assert torch.get_default_dtype() == torch.float64
    finally: torch.set_default_dtype(torch.float32)


def test_random_state_is_left_alone():
    torch.manual_seed(1)
    want = torch.rand(2)
    torch.manual_seed(1)
    run_cases(lambda x: torch.rand(5), DOUBLE, 'double')
    assert torch.equal(torch.rand(2), want)
    assert torch.equal(torch.rand(2, generator=rng(3)), torch.rand(2, generator=rng(3)))


def test_the_line_is_the_learners_not_the_checks():
    "All of miniai/check is ours: 0.1 counted only the kit's own file"
    report = check_matmul(None)
    assert not report.ok and 'matmul.py' not in str(report)


def test_the_line_is_the_learners_not_the_librarys():
    from miniai.layers import Sequential
    def listed(x): return Sequential([x])
    text = str(run_cases(listed, [Case('builds', lambda f: f(3)), Case('a method', lambda f: f.walk())], 'x'))
    assert 'return Sequential([x])' in text
    assert 'guard.py' not in text and 'module.py' not in text


def test_gradients_work_in_a_case_and_no_grad_outside_stays():
    def f(impl):
        x = torch.ones(1, requires_grad=True)
        impl(x).backward()
        same(x.grad, torch.tensor([2.]))
    with torch.no_grad(): assert run_cases(lambda x: 2*x, [Case('gradient', f)], 'grad').ok


def test_report_is_a_table_in_jupyter_and_escapes_what_it_shows():
    page = run_cases(lambda x: '<script>', DOUBLE, 'a < b')._repr_html_()
    assert '<table>' in page and '&lt;script&gt;' in page and '<script>' not in page and '✗' in page
    assert 'a &lt; b' in page


def test_a_report_of_nothing_is_not_ok(): assert not Report('none', []).ok


def test_details_are_only_shown_for_the_first_failure():
    results = [Result('good', True), Result('bad', False, 'wrong', '3', '1', 'None', 'look'),
               Result('worse', False, 'wronger', '4', '2', '0', 'look'),
               Result('known', False, 'p', hint='you forgot it', sure=True)]
    assert str(Report('r', results)).splitlines() == [
        'r: 3 of 4 cases wrong', '  ✓ good', '  ✗ bad: wrong', '      given: 3', '      expected: 1',
        '      came: None', '      hint: look',
        '  ✗ worse: wronger', '  ✗ known: you forgot it']


def test_require():
    require(True, 'never shown')
    with pytest.raises(Mismatch, match='must not') as e: require(False, 'it must not', given=1, hint='h')
    assert (e.value.given, e.value.hint) == (1, 'h')


def test_brief_is_short_and_plain():
    assert brief(torch.ones(2, dtype=torch.bfloat16)) == '[1., 1.], shape (2,)'
    assert brief(torch.randn(50, 50)).endswith('…, shape (50, 50)')
    assert brief('x'*200) == 'x'*59 + '…'
    assert brief(collections.OrderedDict(a=1)).startswith('OrderedDict')


def test_it_works_in_a_script_with_what_users_have():
    code = 'from miniai.check.matmul import check_matmul; r = check_matmul(lambda a,b: a*b); print(r, r.ok)'
    res = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert res.returncode == 0 and '✗' in res.stdout and res.stdout.strip().endswith('False'), res.stderr
