"Checks of lesson 32_leaving"
import collections, functools, json, os.path, types
import torch
from .kit import Case, check, require, same

@check('import lines')
def check_import_line(f):  # A function from a function or class to a line of Python
    "Check lines that import functions and classes"
    def works(x):
        def run(f):
            line,place = f(x),{}
            require(isinstance(line, str), f'a {type(line).__name__} came, not a text', x,
                    hint='Return the line.')
            try: exec(line, place)
            except Exception as e:
                hint = f'The name is {x.__name__}, the module {x.__module__}.'
                require(False, f'{line!r} fails: {type(e).__name__}: {e}', x, hint=hint)
            require(place.get(x.__name__) is x, f'{line!r} does not import it by its name', x,
                    hint="'from … import …' with __module__ and __name__.")
        return Case(f'{x.__module__}.{x.__name__}', run, "f'from {f.__module__} import {f.__name__}'")
    def refused(name, x, hint):
        def run(f):
            try: got = f(x)
            except ValueError: return
            require(False, 'no ValueError came', name, got, 'a ValueError', hint)
        return Case(name, run, hint)
    def inner(): pass
    main = types.FunctionType(inner.__code__, dict(__name__='__main__'), 'train')
    main.__module__,main.__qualname__ = '__main__','train'
    return [works(torch.optim.SGD), works(json.dumps), works(os.path.join), works(collections.OrderedDict),
            refused('a lambda', lambda x: x, "Its name is '<lambda>', which nobody can import."),
            refused('inside a function', inner,
                    "Its __qualname__ has '<locals>' in it: it can't be imported."),
            refused('from __main__', main, "What was written in a notebook or script is in '__main__'."),
            refused('a partial', functools.partial(print, 1),
                    'It has no __qualname__: use getattr with a default.')]

@check('template')
def check_fill(f):  # A function of a template and the lines for its places
    "Check that places are filled, and lines indented"
    def case(name, template, places, want, hint):
        def flat(): return '\n'.join(_flat(template, places))
        def first_only():
            text = template
            for place,lines in places.items(): text = text.replace(f'{{{place}}}', '\n'.join(lines))
            return text
        mistakes = {'Each line gets the indentation of its place.': flat,
                    'Not only the first line: indent all of them.': first_only}
        if 'braces' in name: mistakes = {}
        return Case(name, lambda f: same(f(template, places), want, (template, places), mistakes=mistakes),
                    hint)
    loop = 'for x in xs:\n    {body}\n    print(x)'
    return [case('no place', 'a = 1\nb = 2', {}, 'a = 1\nb = 2', 'Lines that are no place stay as they are.'),
            case('one line', loop, dict(body=['y = x']), 'for x in xs:\n    y = x\n    print(x)',
                 'Put the line where its place is.'),
            case('two lines', loop, dict(body=['y = x', 'z = y']),
                 'for x in xs:\n    y = x\n    z = y\n    print(x)',
                 'Each line gets the spaces that stand before the place.'),
            case('none', loop, dict(body=[]), 'for x in xs:\n    print(x)',
                 'An empty list leaves no line, not even an empty one.'),
            case('braces elsewhere', 'd = {a}\n{b}', dict(a=['1'], b=['e = {}']), 'd = {a}\ne = {}',
                 'Only a line that is nothing but {name} is a place: str.format would fill others too.')]

def _flat(template, places):
    for line in template.split('\n'): yield from places.get(line.strip()[1:-1],
                                                            [line]) if '{' in line else [line]
