"Checks of lesson 14_foundations: delegating, a decorator with arguments, attributes for a while"
from copy import copy
from argparse import Namespace
from .kit import Case, check, require, same
from .matmul import refused

def _held(): return Namespace(lr=0.1, name='inner', double=lambda x: 2*x)

@check('spy')
def check_spy(make):  # `Spy(inner)`: passes questions on to `inner` and keeps the names in `asked`
    "Check an object that delegates to another"
    def reads(make):
        spy = make(_held())
        same([spy.lr, spy.name, spy.double(4)], [0.1, 'inner', 8], given='lr, name and a method')
    def later(make):
        inner = _held()
        spy = make(inner)
        inner.lr = 0.5
        same(spy.lr, 0.5, given='inner.lr changed after the spy was made')
    def two(make):
        a,b = make(_held()),make(_held())
        a.lr
        same(b.asked, [], given='the other of two spies was asked')
    def missing(make): refused(AttributeError, getattr, make(_held()), 'nothing')
    def asks(make):
        spy = make(_held())
        for name in 'lr', 'name', 'lr': getattr(spy, name)
        same(spy.asked, ['lr', 'name', 'lr'], given='spy.lr, spy.name, spy.lr')
    def copies(make): same(copy(make(_held())).lr, 0.1, given='copy.copy(spy).lr')
    yield Case('passes on', reads, '__getattr__(self, name): return getattr(self.inner, name)')
    yield Case('asks each time', later, "Ask the inner object each time, don't copy what it has.")
    yield Case('two spies', two, 'The list belongs to the object: make it in __init__, not in the class.')
    yield Case('a name nobody has', missing, 'getattr(inner, name) without a default raises it for you.')
    yield Case('keeps the names', asks, 'Append the name in __getattr__. It is only called for what is not '
               'found, so `asked` itself does not get in.')
    yield Case('a copy', copies, 'copy makes an object without __init__: raise AttributeError for the names '
               'that __init__ would have set.')

def _trial(retry, fails, times, raised, error):
    "The calls that were made, and what came out"
    calls = []
    def flaky(*args, **kwargs):
        calls.append((args, kwargs))
        if len(calls) <= fails: raise raised(f'call {len(calls)}')
        return 'done'
    f = retry(times, error)(flaky)
    require(callable(f), 'it can not be called', got=f, hint='The decorator must return the wrapper.')
    try: return calls,f(1, b=2)
    except raised as e: return calls,f'{type(e).__name__}: {e}'

@check('retry')
def check_retry(retry):  # `retry(times, error)`: a decorator that calls again when `error` was raised
    "Check a decorator with arguments"
    all_calls = '`times` is the number of all calls, the first one included.'
    def case(name, fails, n_calls, want, hint, raised=ValueError):
        def run(retry):
            calls,got = _trial(retry, fails, 3, raised, ValueError)
            given = f'retry(3, ValueError), the first {fails} calls raise {raised.__name__}'
            same(len(calls), n_calls, f'number of calls; {given}', all_calls if n_calls == 3 else '')
            require(all(c == ((1,), dict(b=2)) for c in calls), 'the arguments did not all arrive',
                    'f(1, b=2)', calls, hint='Collect with *args, **kwargs and spread them in the call.')
            same(got, want, given=given)
        return Case(name, run, hint)
    def named(retry):
        @retry(2)
        def flaky(): "Sometimes fails"
        same([flaky.__name__, flaky.__doc__], ['flaky', 'Sometimes fails'], given='name and docstring')
    def afresh(retry):
        calls = []
        @retry(2)
        def flaky():
            calls.append(1)
            if len(calls)%2: raise ValueError('odd')
            return len(calls)
        same([flaky(), flaky()], [2, 4], given='called twice; each time the first try fails')
    yield case('works at once', 0, 1, 'done', 'Return what the function returned. Make the counter inside.')
    yield case('works the second time', 1, 2, 'done', 'Catch the error, and go on with the loop.')
    yield case('works the last time', 2, 3, 'done', all_calls)
    yield case('never works', 9, 3, 'ValueError: call 3',
               'When the last try fails, its exception must come out: a bare `raise` in the `except`.')
    yield case('another exception', 9, 1, "KeyError: 'call 1'", 'except error: and not except Exception:',
               raised=KeyError)
    yield Case('name and docstring', named, '@wraps(f) above the wrapper.')
    yield Case('called again', afresh, 'Count the tries in the wrapper, so that each call begins at none. '
               '(It is a plain function: it has no `self`.)')

def _settings(): return Namespace(lr=0.5, steps=None)

@check('changed')
def check_changed(changed):  # `changed(o, **attrs)`: a context manager that sets attributes for a while
    "Check a context manager that puts attributes back"
    def back(changed):
        o = _settings()
        with changed(o, lr=0.1, steps=3): inside = vars(o).copy()
        same(inside, dict(lr=0.1, steps=3), given='inside the block',
             hint='setattr(o, name, value) for each of attrs.items(), then yield.')
        same(vars(o), dict(lr=0.5, steps=None), given='after the block', mistakes={
            'steps was there, and its value was None: remember whether, not only what.': dict(lr=0.5)})
    def error(changed):
        o = _settings()
        try:
            with changed(o, lr=0.1): raise ValueError('in the block')
        except ValueError: pass
        else: require(False, 'the error was swallowed', hint='Let it go: `finally`, not `except`.')
        same(vars(o), dict(lr=0.5, steps=None), given='after an error in the block')
    def new(changed):
        o = _settings()
        with changed(o, momentum=0.9): inside = vars(o).copy()
        same(inside, dict(lr=0.5, steps=None, momentum=0.9), given='inside the block, momentum is new',
             hint='Set these attributes, and leave the others as they are.')
        require(not hasattr(o, 'momentum'), 'an attribute that was not there before is still there',
                'changed(o, momentum=0.9)', vars(o))
    def nested(changed):
        o = _settings()
        with changed(o, lr=0.1):
            with changed(o, lr=0.2): pass
            same(o.lr, 0.1, given='after the inner one of two')
        same(o.lr, 0.5, given='after both')
    yield Case('sets, and puts back', back, 'Keep the old values before you set the new ones.')
    yield Case('after an error', error, 'What comes after the yield is skipped, unless it is in a `finally`.')
    yield Case('an attribute that was not there', new, 'Remember whether it was there (None may be a value), '
               'and delattr it if not. getattr needs a default for it.')
    yield Case('one in another', nested, 'Put back what was found, not what was there at first.')
