"Checks of lesson 14_foundations"
import types
from .kit import Case, Report, require, run_cases, same


def _call_times(f, n): return [f() for _ in range(n)]

def check_counter(
    make,           # `make_counter(start, step)`: returns a function of no arguments
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a closure that counts"
    def case(name, args, want, hint):
        def run(make):
            count = make(*args)
            require(callable(count), 'what it returns can not be called', args, count, hint='Return the inner function itself, without brackets.')
            same(_call_times(count, 3), want, given=f'make_counter{args}, called three times', hint=hint)
        return Case(name, run, 'A variable of the outer function that the inner one changes needs `nonlocal`.')
    def apart(make):
        a,b = make(),make(10)
        got = [a(), b(), a(), b()]
        same(got, [0, 10, 1, 11], given='two counters in turn', hint='They share a variable: keep it in the outer function, where each call makes a new one.')
    return run_cases(make, [case('counts from 0', (), [0, 1, 2], 'The first call returns `start` itself; add the step after that.'),
                            case('another start', (5,), [5, 6, 7], 'The first call returns `start` itself.'),
                            case('another step', (1, -2), [1, -1, -3], 'Add `step`, which may be negative.'),
                            Case('two counters', apart, 'Each has a variable of its own.')], 'counter', limit)

def check_spy(
    make,           # `Spy(inner)`: passes questions on to `inner` and keeps the names in `asked`
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check an object that delegates to another"
    def held(): return types.SimpleNamespace(lr=0.1, name='inner', double=lambda x: 2*x)
    def reads(make):
        spy = make(held())
        same([spy.lr, spy.name, spy.double(4)], [0.1, 'inner', 8], given='lr, name and a method')
    def asks(make):
        spy = make(held())
        spy.lr, spy.name, spy.lr
        same(spy.asked, ['lr', 'name', 'lr'], given='spy.lr, spy.name, spy.lr')
    def later(make):
        inner = held()
        spy = make(inner)
        inner.lr = 0.5
        same(spy.lr, 0.5, given='inner.lr changed after the spy was made', hint='Ask the inner object each time, don\'t copy what it has.')
    def missing(make):
        spy = make(held())
        try: got = spy.nothing
        except AttributeError: return
        require(False, 'a name that the inner object does not have gave no AttributeError', 'spy.nothing', got, hint='getattr(inner, name) without a default raises it for you.')
    def two(make):
        a,b = make(held()),make(held())
        a.lr
        same(b.asked, [], given='the other of two spies was asked', hint='The list belongs to the object: make it in __init__, not in the class.')
    def copies(make):
        from copy import copy
        same(copy(make(held())).lr, 0.1, given='copy.copy(spy).lr')
    return run_cases(make, [Case('passes on', reads, '__getattr__(self, name): return getattr(self.inner, name)'),
                            Case('keeps the names', asks, 'Append the name in __getattr__. It is only called for what is not found, so `asked` itself does not get in.'),
                            Case('asks each time', later), Case('a name nobody has', missing), Case('two spies', two),
                            Case('a copy', copies, 'copy makes an object without __init__: raise AttributeError for the names that __init__ would have set.')], 'spy', limit)

def check_retry(
    retry,          # `retry(times, error)`: a decorator that calls again when `error` was raised
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a decorator with arguments"
    def trial(retry, fails, times, raised=ValueError, error=ValueError):
        "The calls that were made, and what came out"
        calls = []
        def flaky(*args, **kwargs):
            calls.append((args, kwargs))
            if len(calls) <= fails: raise raised(f'call {len(calls)}')
            return 'done'
        f = retry(times, error)(flaky)
        require(callable(f), 'the decorated function can not be called', got=f, hint='The decorator must return the wrapper.')
        try: got = f(1, b=2)
        except Exception as e: got = f'{type(e).__name__}: {e}'
        return calls,got
    def case(name, fails, want_calls, want, hint, **kwargs):
        def run(retry):
            calls,got = trial(retry, fails, 3, **kwargs)
            given = f'retry(3), the first {fails} calls raise {kwargs.get("raised", ValueError).__name__}'
            same(len(calls), want_calls, given=f'number of calls; {given}', hint=hint)
            require(all(c == ((1,), dict(b=2)) for c in calls), 'the arguments did not all arrive', 'f(1, b=2)', calls, hint='Collect with *args, **kwargs and spread them in the call.')
            same(got, want, given=given, hint=hint)
        return Case(name, run, hint)
    def named(retry):
        @retry(2)
        def flaky(): "Sometimes fails"
        same([flaky.__name__, flaky.__doc__], ['flaky', 'Sometimes fails'], given='name and docstring', hint='@wraps(f) above the wrapper.')
    def afresh(retry):
        calls = []
        @retry(2)
        def flaky():
            calls.append(1)
            if len(calls)%2: raise ValueError('odd')
            return len(calls)
        same([flaky(), flaky()], [2, 4], given='called twice; each time the first try fails', hint='Count the tries in the wrapper, so that each call begins at none.')
    return run_cases(retry, [case('works at once', 0, 1, 'done', 'Return what the function returned.'),
                             case('works the second time', 1, 2, 'done', 'Catch the error, and go on with the loop.'),
                             case('works the last time', 2, 3, 'done', '`times` is the number of all calls, the first one included.'),
                             case('never works', 9, 3, 'ValueError: call 3', 'When the last try fails, its exception must come out: a bare `raise` in the `except`.'),
                             case('another exception', 9, 1, 'KeyError: \'call 1\'', 'except error: and not except Exception:', raised=KeyError),
                             Case('name and docstring', named), Case('called again', afresh)], 'retry', limit)

def check_changed(
    changed,        # `changed(o, **attrs)`: a context manager that sets attributes for a while
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a context manager that puts attributes back"
    def made(): return types.SimpleNamespace(lr=0.5, steps=None)
    def sets(changed):
        o = made()
        with changed(o, lr=0.1, steps=3): inside = vars(o).copy()
        same(inside, dict(lr=0.1, steps=3), given='inside the block')
    def back(changed):
        o = made()
        with changed(o, lr=0.1, steps=3): pass
        same(vars(o), dict(lr=0.5, steps=None), given='after the block')
    def error(changed):
        o = made()
        try:
            with changed(o, lr=0.1): raise ValueError('in the block')
        except ValueError: pass
        else: require(False, 'the exception of the block was swallowed', hint='Let it go on its way: `finally`, not `except`.')
        same(vars(o), dict(lr=0.5, steps=None), given='after an error in the block', hint='What comes after the yield is skipped by an error, unless it is in a `finally`.')
    def new(changed):
        o = made()
        with changed(o, momentum=0.9): same(o.momentum, 0.9, given='an attribute that was not there')
        require(not hasattr(o, 'momentum'), 'an attribute that was not there before is still there', 'changed(o, momentum=0.9)', vars(o), hint='Remember whether it was there, and delattr it if not. (None may be a value.)')
    def nested(changed):
        o = made()
        with changed(o, lr=0.1):
            with changed(o, lr=0.2): pass
            same(o.lr, 0.1, given='after the inner one of two')
        same(o.lr, 0.5, given='after both')
    return run_cases(changed, [Case('sets', sets, 'setattr(o, name, value) for each of attrs.items(), then yield.'),
                               Case('puts back', back, 'Keep the old values before you set the new ones.'), Case('after an error', error),
                               Case('an attribute that was not there', new, 'getattr needs a default for it.'), Case('one in another', nested)], 'changed', limit)
