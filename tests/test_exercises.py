"""Every lesson's exercises: the checks accept our solutions and refuse typical wrong ones with a hint.

tests/exercises/x05_losses.py holds those of 05_losses, xtools_drawn.py those of tools/drawn: `EXERCISES`, a
list of (check, right, wrong), where `right` is a list of solutions and `wrong` a list of (solution, a piece
of the text that its report must hold).
"""
import importlib, re
import pytest
from tests.conftest import LESSONS, ROOT, code_cells

FILES = sorted((ROOT/'tests'/'exercises').glob('x*.py'))
EXERCISES = [(f.stem, *exercise) for f in FILES
             for exercise in importlib.import_module(f'tests.exercises.{f.stem}').EXERCISES]


def name(x): return getattr(x, '__name__', type(x).__name__)


RIGHT = [pytest.param(check, solution, id=f'{lesson}-{name(check)}-{i}')
         for lesson,check,right,_ in EXERCISES for i,solution in enumerate(right)]
WRONG = [pytest.param(check, solution, hint, id=f'{lesson}-{name(check)}-{name(solution)}-{i}')
         for lesson,check,_,wrong in EXERCISES for i,(solution,hint) in enumerate(wrong)]


@pytest.mark.parametrize('check,solution', RIGHT)
def test_accepts(check, solution): check(solution).raise_if_failed()


@pytest.mark.parametrize('check,solution,hint', WRONG)
def test_refuses(check, solution, hint):
    report = check(solution)
    assert not report.ok
    assert hint in str(report), report
    assert any(r.hint for r in report.failed), f'no hint for the learner:\n{report}'


@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_every_exercise_is_tried(path):
    "Each check that a lesson's exercises call is run here on a right and on a wrong solution"
    called = {n for src in code_cells(path) if 'eval: false' in src
              for n in re.findall(r'\b(check_\w+)\(', src)}
    tried = {check.__name__ for lesson,check,right,
             wrong in EXERCISES if lesson == f'x{path.stem}' and right and wrong}
    assert called, 'a lesson ends with exercises'
    assert called <= tried, f'not in tests/exercises/x{path.stem}.py: {sorted(called - tried)}'


class FailingError(Exception):
    def __str__(self): raise KeyError('no text')


class FailingRepr:
    def __repr__(self): raise ValueError('not printable')


def raises(*args, **kwargs): raise FailingError
def leaves(*args, **kwargs): raise SystemExit(3)
def gives_nonsense(*args, **kwargs): return FailingRepr()
def gives_itself(*args, **kwargs): return gives_itself


CHECKS = {check.__name__: check for _,check,right,_ in EXERCISES if not isinstance(right[0], tuple)}


@pytest.mark.parametrize('unruly', [None, 3, raises, leaves, gives_nonsense, gives_itself], ids=name)
@pytest.mark.parametrize('check', CHECKS.values(), ids=CHECKS)
def test_a_check_always_ends_in_a_report(check, unruly):
    report = check(unruly)
    assert report.ok is False and report.failed and str(report) and report._repr_html_()
