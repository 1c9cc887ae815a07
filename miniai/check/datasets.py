"Checks of lesson 13, data sets"
import types
from collections.abc import Mapping
import numpy as np, torch
from .kit import Case, Report, difference, require, rng, run_cases, same


def _collate_hint(names, want):
    "A function that names the usual mistake behind a wrong batch"
    def hint(got, _):
        if isinstance(got, Mapping): return 'Take the columns out of the dictionary, in the order of ds.features, as a tuple.'
        if isinstance(got, torch.Tensor) and len(names) == 1: return 'itemgetter of a single name gives the bare item: tuple(batch[k] for k in ds.features) is always a tuple.'
        if isinstance(got, list): return 'It is a list; a tuple is wanted: tuple(...).'
        if isinstance(got, tuple) and len(got) > len(names): return 'Only the columns in ds.features belong into the tuple.'
        if isinstance(got, tuple) and len(got) == len(want) > 1 and not difference(got[::-1], want): return 'The order is that of ds.features, not that of the samples.'
        return ''
    return hint

def _collate_dict_case(names, samples, name, hint='', features=None):
    def run(f):
        table = types.SimpleNamespace(features=names if features is None else features)
        collate = f(table)
        require(callable(collate), 'what it returns can not be called', 'ds', collate, hint='It must return a function: the collate function for this data set.')
        made = [{k: v.clone() if isinstance(v, torch.Tensor) else v for k,v in o.items()} for o in samples]
        got = collate(made)
        require(not difference(made, samples), 'it changed the samples', samples)
        want = tuple(torch.utils.data.default_collate([o[k] for o in samples]) for k in names)
        same(got, want, given=f'features {list(names)}, {len(samples)} samples of {list(samples[0])}', hint=_collate_hint(names, want))
    return Case(name, run, hint)

def _collates_two_sets(f):
    "Two collate functions that are made one after the other keep apart"
    first,second = f(types.SimpleNamespace(features=['a', 'b'])),f(types.SimpleNamespace(features=['b', 'a']))
    samples = [dict(a=1, b=2), dict(a=3, b=4)]
    want = torch.tensor([1, 3]),torch.tensor([2, 4])
    same(first(samples), want, given='the first of two, called after the second was made', hint='Does it remember the columns in a global variable?')
    same(second(samples), want[::-1], given='the second of two')

def check_collate_dict(
    f,              # Your `collate_dict`: takes something with `features`, returns a function for `collate_fn`
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a function that makes collate functions for samples that are dictionaries"
    x = torch.rand(3, 1, 4, 4, generator=rng(10))
    samples = [dict(image=o, label=i) for i,o in enumerate(x)]
    swapped = [dict(label=o['label'], image=o['image']) for o in samples]
    kinds = dict.fromkeys(['image', 'label'])
    cases = [_collate_dict_case(['image', 'label'], samples, 'two columns', 'Collate first, then take the columns out.'),
             _collate_dict_case(['image', 'label'], samples[:1], 'a batch of one'),
             _collate_dict_case(['image', 'label'], samples, 'features that are a dictionary', 'A loop over a dictionary gives its keys.', kinds),
             _collate_dict_case(['image', 'label'], swapped, 'samples in another order', 'The order is that of ds.features.'),
             _collate_dict_case(['label'], samples, 'one column of two', 'One column makes a tuple of one.'),
             _collate_dict_case(['a', 'b', 'c'], [dict(a=1., b=2, c=torch.ones(2)), dict(a=2., b=3, c=torch.zeros(2))], 'three columns'),
             Case('two data sets', _collates_two_sets)]
    return run_cases(f, cases, 'collate_dict', limit)

def _inplace_cases():
    def example(x, by=1, *, twice=False):
        "Some words"
        x.append(by*(1+twice))
    def one(f):
        x = []
        got = f(example)(x)
        require(got is not None, 'the new function returns None', hint='The function inside needs a `return` of its own.')
        require(got is x, 'it returns something else than the first argument', x, got, [1], 'Return the very object that came in, not what f returned or a copy.')
        same(x, [1], given=[])
    def more(f): same(f(example)([], 2, twice=True), [4], given='([], 2, twice=True)')
    def keyword(f): same(f(example)(x=[5]), [5, 1], given='(x=[5])')
    def result(f): same(f(lambda x: x.pop())([1, 2]), [1], given='lambda x: x.pop() on [1, 2]', hint='What f returns does not matter.')
    def name(f):
        new = f(example)
        same((getattr(new, '__name__', ''), new.__doc__), ('example', 'Some words'), hint='functools.wraps(f) above the inner function copies both.')
    def once(f):
        new,x = f(example),[]
        require(not x, 'f is called when the decorator is')
        new(x)
        new(x)
        same(x, [1, 1], given='two calls', hint='Call f once for each call of the new function.')
    return [Case('one argument', one), Case('called twice', once), Case('a result that is left alone', result), Case('more arguments', more, '*args and **kwargs collect what else is passed, and pass it on.'),
            Case('name and docstring', name), Case('by keyword', keyword, 'By keyword, the first argument is the first value of kwargs.')]

def check_inplace(
    f,              # Your decorator
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a decorator that makes functions return their first argument"
    return run_cases(f, _inplace_cases(), 'inplace', limit)

def _stats_hint(x):
    "A function that names the usual mistake behind wrong statistics"
    def hint(got, want):
        if not isinstance(got, tuple) or len(got) != 2: return 'Return two numbers: mean and deviation.'
        values = x.double()
        mistakes = {'These are the numbers for 0 to 255: divide by 255.': (values.mean(), values.std(correction=0)),
                    'The second is the variance: take the root.': (values.mean()/255, values.var(correction=0)/255**2),
                    'The deviation is divided by n-1 inside; here it is n.': (values.mean()/255, values.std()/255)}
        for text,wrong in mistakes.items():
            if all(abs(float(g)-float(w)) < 1e-7 + 1e-6*abs(float(w)) for g,w in zip(got, wrong)): return text
        return ''
    return hint

def _stats_case(x, name, hint=''):
    def run(f):
        values = x.double()/255
        want = values.mean().item(),values.std(correction=0).item()
        got = f(x.clone())
        pair = tuple(float(o) if isinstance(o, (int, float, torch.Tensor, np.number)) else o for o in got) if isinstance(got, (tuple, list)) else got
        same(pair, want, given=x, hint=_stats_hint(x), rtol=1e-6, atol=1e-7)
    return Case(name, run, hint)

def check_pixel_stats(
    f,              # Your function: takes a uint8 tensor, returns mean and deviation of its pixels from 0 to 1
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check mean and deviation of pixels"
    def pixels(*shape, most=256): return torch.randint(0, most, shape, generator=rng(3), dtype=torch.uint8)
    counts = 'x.flatten().bincount(minlength=256) counts each value; the mean is the sum of value times share.'
    cases = [_stats_case(torch.tensor([0, 255], dtype=torch.uint8), 'black and white', counts),
             _stats_case(torch.full((3, 4), 51, dtype=torch.uint8), 'all the same', 'The deviation is 0, and the root of a tiny negative number is nan: clamp it.'),
             _stats_case(pixels(5, 1, 7, 7), 'any values', counts), _stats_case(pixels(4, 3, 6, 5, most=90), 'no value near 255', 'minlength=256: counts must not end at the largest value that occurs.'),
             _stats_case(torch.tensor([200, 100, 50], dtype=torch.uint8), 'three pixels', 'uint8 overflows: 200*200 is no byte. Compute with floats.')]
    return run_cases(f, cases, 'pixel statistics', limit)
