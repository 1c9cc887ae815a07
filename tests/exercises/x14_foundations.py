"14_foundations: a spy that delegates, a decorator that tries again, attributes changed for a while"
import copy
from contextlib import contextmanager
from functools import wraps
from miniai.check.foundations import check_changed, check_retry, check_spy


class Spy:
    def __init__(self, inner): self.inner,self.asked = inner,[]
    def __getattr__(self, name):
        if name in ('inner', 'asked'): raise AttributeError(name)
        self.asked.append(name)
        return getattr(self.inner, name)


class SpyByDict:
    def __init__(self, inner): self._o,self.asked = inner,[]
    def __getattr__(self, name):
        if '_o' not in self.__dict__: raise AttributeError(name)
        self.asked.append(name)
        return getattr(self._o, name)


def as_a_class_of_its_own(inner):
    class Spied:
        def __init__(self): self.asked = []
        def __getattr__(self, name):
            if name == 'asked': raise AttributeError(name)
            self.asked.append(name)
            return getattr(inner, name)
    return Spied()


class EndlessCopy:
    def __init__(self, inner): self.inner,self.asked = inner,[]
    def __getattr__(self, name):
        self.asked.append(name)
        return getattr(self.inner, name)


class AnswersNone(Spy):
    def __getattr__(self, name):
        if name in ('inner', 'asked'): raise AttributeError(name)
        self.asked.append(name)
        return getattr(self.inner, name, None)


class OneListForAll:
    asked = []
    def __init__(self, inner): self.inner = inner
    def __getattr__(self, name):
        if name == 'inner': raise AttributeError(name)
        self.asked.append(name)
        return getattr(self.inner, name)


class CopiesAttributes:
    def __init__(self, inner):
        self.asked = []
        self.__dict__.update(copy.copy(vars(inner)))


class ForgetsReturn(Spy):
    def __getattr__(self, name):
        if name in ('inner', 'asked'): raise AttributeError(name)
        self.asked.append(name)
        getattr(self.inner, name)


def retry(times, error=Exception):
    def decorate(f):
        @wraps(f)
        def wrapper(*args, **kwargs):
            for left in reversed(range(times)):
                try: return f(*args, **kwargs)
                except error:
                    if not left: raise
        return wrapper
    return decorate


def retry_and_remember(times, error=Exception):
    def decorate(f):
        @wraps(f)
        def wrapper(*args, **kwargs):
            for _ in range(times):
                try: return f(*args, **kwargs)
                except error as e: last = e
            raise last
        return wrapper
    return decorate


class Retry:
    def __init__(self, times, error=Exception): self.times,self.error = times,error
    def __call__(self, f):
        @wraps(f)
        def wrapper(*args, **kwargs):
            for _ in range(self.times-1):
                try: return f(*args, **kwargs)
                except self.error: pass
            return f(*args, **kwargs)
        return wrapper


def returns_nothing(times, error=Exception):
    def decorate(f):
        again = retry(times, error)(f)
        @wraps(f)
        def wrapper(*args, **kwargs): again(*args, **kwargs)
        return wrapper
    return decorate


def once_too_often(times, error=Exception): return retry(times+1, error)
def catches_all(times, error=Exception): return retry(times)
def loses_the_name(times, error=Exception): return lambda f: lambda *args,**kwargs: retry(times,
                                                                                          error)(f)(*args,
                                                                                                    **kwargs)


def swallows(times, error=Exception):
    def decorate(f):
        @wraps(f)
        def wrapper(*args, **kwargs):
            for _ in range(times):
                try: return f(*args, **kwargs)
                except error: pass
        return wrapper
    return decorate


def counts_for_ever(times, error=Exception):
    def decorate(f):
        left = times
        @wraps(f)
        def wrapper(*args, **kwargs):
            nonlocal left
            while left:
                left -= 1
                try: return f(*args, **kwargs)
                except error:
                    if not left: raise
        return wrapper
    return decorate


def counts_the_argument_down(times, error=Exception):
    def decorate(f):
        @wraps(f)
        def wrapper(*args, **kwargs):
            while times:  # noqa: F823
                times -= 1
                try: return f(*args, **kwargs)
                except error:
                    if not times: raise
        return wrapper
    return decorate


def with_self(times, error=Exception):
    def decorate(f):
        @wraps(f)
        def wrapper(self, *args, **kwargs): return retry(times, error)(f)(self, *args, **kwargs)
        return wrapper
    return decorate


def no_wrapper(times, error=Exception):
    def decorate(f): retry(times, error)(f)
    return decorate


def no_arguments(times, error=Exception): return lambda f: wraps(f)(lambda *args,**kwargs: retry(times,
                                                                                                 error)(f)())


@contextmanager
def changed(o, **attrs):
    before = {k: getattr(o, k) for k in attrs if hasattr(o, k)}
    try:
        for k,v in attrs.items(): setattr(o, k, v)
        yield
    finally:
        for k in attrs: setattr(o, k, before[k]) if k in before else delattr(o, k)


class Changed:
    def __init__(self, o, **attrs): self.o,self.attrs = o,attrs
    def __enter__(self):
        self.before = vars(self.o).copy()
        vars(self.o).update(self.attrs)
    def __exit__(self, *_):
        vars(self.o).clear()
        vars(self.o).update(self.before)


@contextmanager
def changed_as_a_dict(o, **attrs):
    before = dict(o.__dict__)
    o.__dict__ |= attrs
    try: yield
    finally: o.__dict__ = before


@contextmanager
def no_finally(o, **attrs):
    before = {k: getattr(o, k) for k in attrs if hasattr(o, k)}
    for k,v in attrs.items(): setattr(o, k, v)
    yield
    for k in attrs: setattr(o, k, before[k]) if k in before else delattr(o, k)


@contextmanager
def leaves_none(o, **attrs):
    before = {k: getattr(o, k, None) for k in attrs}
    for k,v in attrs.items(): setattr(o, k, v)
    try: yield
    finally:
        for k,v in before.items(): setattr(o, k, v)


@contextmanager
def needs_it_there(o, **attrs):
    before = {k: getattr(o, k) for k in attrs}
    for k,v in attrs.items(): setattr(o, k, v)
    try: yield
    finally:
        for k,v in before.items(): setattr(o, k, v)


@contextmanager
def none_means_new(o, **attrs):
    before = {k: getattr(o, k, None) for k in attrs}
    for k,v in attrs.items(): setattr(o, k, v)
    try: yield
    finally:
        for k,v in before.items(): delattr(o, k) if v is None else setattr(o, k, v)


@contextmanager
def nothing_else_left(o, **attrs):
    before,o.__dict__ = o.__dict__,attrs
    try: yield
    finally: o.__dict__ = before


class Swallows(Changed):
    def __exit__(self, *exc): return super().__exit__(*exc) or True


@contextmanager
def never_back(o, **attrs):
    for k,v in attrs.items(): setattr(o, k, v)
    yield


EXERCISES = [
    (check_spy, [Spy, SpyByDict, as_a_class_of_its_own],
     [(EndlessCopy, 'copy makes an object without __init__'), (AnswersNone, 'without a default'),
      (OneListForAll, 'make it in __init__'),
      (CopiesAttributes, 'Ask the inner object each time'),
      (ForgetsReturn, 'return getattr(self.inner, name)')]),
    (check_retry, [retry, Retry, retry_and_remember],
     [(returns_nothing, 'Return what the function returned'), (once_too_often, 'the number of all calls'),
      (catches_all, 'except error: and not'),
      (loses_the_name, '@wraps(f)'), (swallows, 'its exception must come out'),
      (counts_for_ever, 'Count the tries in the wrapper'),
      (counts_the_argument_down, 'Make the counter inside'), (with_self, 'it has no `self`'),
      (no_wrapper, 'must return the wrapper'), (no_arguments, '*args, **kwargs')]),
    (check_changed, [changed, Changed, changed_as_a_dict],
     [(no_finally, 'unless it is in a `finally`'), (leaves_none, 'delattr it if not'),
      (needs_it_there, 'needs a default'), (none_means_new, 'its value was None'),
      (nothing_else_left, 'leave the others'),
      (Swallows, 'Let it go'), (never_back, 'Keep the old values')]),
]
