"Solutions of lesson 32's exercises, and the answers that people give instead"
import re
from miniai.check.script import check_fill, check_import_line


def by_names(f):
    module,name = getattr(f, '__module__', None),getattr(f, '__qualname__', '<none>')
    if module in (None, '__main__') or '<' in name: raise ValueError(f'{f!r} has no name to import')
    return f'from {module} import {name}'
def by_trying(f):
    import importlib
    try: found = getattr(importlib.import_module(f.__module__), f.__name__)
    except (AttributeError, ImportError) as e: raise ValueError(str(e)) from e
    if found is not f or f.__module__ == '__main__':
        raise ValueError('it is not what its module has by that name')
    return f'from {f.__module__} import {f.__name__}'
def never_refuses(f): return f'from {getattr(f, "__module__", "x")} import {getattr(f, "__name__", "x")}'
def main_too(f):
    if '<' in getattr(f, '__qualname__', '<'): raise ValueError('no name')
    return f'from {f.__module__} import {f.__name__}'
def only_module(f):
    by_names(f)
    return f'import {f.__module__}'
def type_error(f):
    try: return by_names(f)
    except ValueError as e: raise TypeError(str(e)) from e
def no_return(f): by_names(f)


def by_lines(template, places):
    found = []
    for line in template.split('\n'):
        name = line.strip()[1:-1]
        if line.strip() == f'{{{name}}}' and name in places:
            found += [line[:line.index('{')] + new for new in places[name]]
        else: found.append(line)
    return '\n'.join(found)
def by_regex(template, places):
    def put(match): return ''.join(f'{match[1]}{line}\n' for line in places[match[2]])
    names = '|'.join(map(re.escape, places))
    return re.sub(rf'^( *)\{{({names})\}}\n', put, template + '\n', flags=re.M)[:-1] if places else template
def flat(template, places):
    found = []
    for line in template.split('\n'):
        found += places.get(line.strip()[1:-1], [line]) if line.strip().startswith('{') else [line]
    return '\n'.join(found)
def first_only(template, places):
    for name,lines in places.items(): template = template.replace(f'{{{name}}}', '\n'.join(lines))
    return template
def empty_lines(template, places):
    found = []
    for line in template.split('\n'):
        name = line.strip()[1:-1]
        if line.strip()[:1] != '{' or name not in places: found.append(line)
        else: found.append('\n'.join(line[:line.index('{')] + new for new in places[name]))
    return '\n'.join(found)
def by_format(template, places): return template.format(**{name: lines[0] for name,lines in places.items()})
def everywhere(template, places):
    found = []
    for line in template.split('\n'):
        hit = next((n for n in places if f'{{{n}}}' in line), None)
        found += [line.replace(f'{{{hit}}}', new) for new in places[hit]] if hit else [line]
    return '\n'.join(found)


EXERCISES = [
    (check_import_line, [by_names, by_trying],
     [(never_refuses, 'nobody can import'), (main_too, '__main__'), (only_module, 'from … import'),
      (type_error, 'ValueError'),
      (no_return, 'Return the line')]),
    (check_fill, [by_lines, by_regex],
     [(flat, 'indentation'), (first_only, 'indent all of them'), (empty_lines, 'leaves no line'),
      (by_format, 'spaces that stand before'),
      (everywhere, 'nothing but')]),
]
