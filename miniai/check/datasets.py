"Checks of lesson 13_datasets"
import math
import torch
from .kit import Case, check, require, rng, same

@check('inplace')
def check_inplace(f):  # Your decorator
    "Check a decorator that makes functions return their first argument"
    def example(things, by=1, *, twice=False):
        "Some words"
        things.append(by*(1+twice))
    def anything(x, *rest, **named): x.append((rest, named))
    def one(f):
        x = []
        got = f(example)(x)
        require(got is not None, 'it returns None', hint='The function inside needs a `return` of its own.')
        require(got is x, 'it returns something else than the first argument', x, got, [1],
                'Return the very object that came in, not what f returned or a copy.')
        same(x, [1], [], 'Call f once for each call of the new function.')
    def call(name, run, want, given, hint): return Case(name, lambda f: same(run(f), want, given), hint)
    rest = '*args and **kwargs collect what else is passed, and pass it on.'
    yield Case('one argument', one, 'Write @functools.wraps(f), with its (f); call f(*args, **kwargs).')
    yield call('a result left alone', lambda f: f(lambda x: x.pop())([1, 2]), [1], 'x.pop() on [1, 2]',
               'What f returns does not matter.')
    yield call('by keyword', lambda f: f(example)([], 2, twice=True), [4], '([], 2, twice=True)', rest)
    yield call('any names', lambda f: f(anything)([], 5, f=6, args=7), [((5,), dict(f=6, args=7))],
               '([], 5, f=6, args=7)', rest)
    yield call('name and docstring', lambda f: (f(example).__name__, f(example).__doc__),
               ('example', 'Some words'), 'a function called example',
               'functools.wraps(f) above the inner function copies both.')
    yield call('the first by keyword', lambda f: f(example)(things=[5]), [5, 1], '(things=[5])',
               'By keyword, the first argument is the first value of kwargs.')

class _Watched(torch.Tensor):
    "A tensor that remembers whether a float tensor as large as itself was made of it"
    copied,size = False,2**40
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        out = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(out, torch.Tensor) and out.is_floating_point() and out.numel() >= _Watched.size:
            _Watched.copied = True
        return out

def _stats_case(name, x, hint='', watched=False):
    values = x.double()/255
    mean = values.mean().item()
    want = mean,values.std(correction=0).item()
    counts = 'x.flatten().bincount(minlength=256) counts; the mean is the sum of value times share.'
    mistakes = {'These are the numbers for 0 to 255: divide by 255.': tuple(o*255 for o in want),
                'The largest value is 255, so divide by 255, not by 256.': tuple(o*255/256 for o in want),
                'The second is the mean distance: square the distances, and take the root of their mean.':
                    (mean, (values-mean).abs().mean().item()),
                'The second is the variance: take the root.': (mean, values.var(correction=0).item()),
                'The deviation is divided by n-1 inside; here it is n.': (mean, values.std().item()),
                'uint8 overflows: 100*100 is not a byte. Compute with floats.':
                    (mean, ((x*x).double().mean() - (255*mean)**2).clamp(min=0).sqrt().item()/255)}
    def run(f):
        _Watched.copied,_Watched.size = False,x.numel()
        got = f(x.clone().as_subclass(_Watched) if watched else x.clone())
        require(not _Watched.copied, f'all {x.numel():,} pixels became floats', x,
                hint='Count the values with x.flatten().bincount(minlength=256), compute with the counts.')
        pair = isinstance(got, (tuple, list)) and len(got) == 2
        require(pair, 'two numbers did not come', x, got, want, 'Return two numbers: mean and deviation.')
        require(all(isinstance(o, float) for o in got), 'the two are not floats', x, got, want,
                'A tensor of one number becomes a float by .item() or float().')
        said = hint if math.isnan(got[1]) else counts
        same(tuple(got), want, x, said, mistakes, rtol=1e-6, atol=1e-7)
    return Case(name, run, hint)

@check('pixel statistics')
def check_pixel_stats(f):  # A uint8 tensor -> mean and deviation of its pixels from 0 to 1
    "Check mean and deviation of pixels"
    def pixels(*shape, most=256): return torch.randint(0, most, shape, generator=rng(3), dtype=torch.uint8)
    yield _stats_case('black and white', torch.tensor([0, 255], dtype=torch.uint8))
    yield _stats_case('no value near 255', pixels(360, most=90),
                      'minlength=256: counts must not end at the largest value that occurs.')
    yield _stats_case('any values', pixels(5, 1, 7, 7),
                      'bincount wants one row of numbers: x.flatten() makes it.')
    yield _stats_case('all the same', torch.full((12,), 51, dtype=torch.uint8),
                      'The deviation is 0, and the root of a tiny negative number is nan: clamp it.')
    yield _stats_case('without a float copy', pixels(40, 28, 28), watched=True)

@check('shuffle buffer')
def check_shuffle(f):  # Your generator, of things to iterate over and the size of its buffer
    "Check a generator that shuffles a stream with a buffer"
    def whole(n, size, name):
        rest = 'What goes out leaves the buffer. Some are in it at the end: they come out as well.'
        return Case(name, lambda f: same(sorted(f(iter(range(n)), size)), list(range(n)),
                                         f'{n} items, a buffer of {size}', rest), stream)
    stream = ('A stream has no len, and next() at its end is a StopIteration, an error in a generator: '
              'a for loop or itertools.islice stop by themselves.')
    def chance(name, n, size, wrong, hint):
        "`wrong` says what is wrong with 200 orders, or nothing"
        def run(f):
            orders = [list(f(iter(range(n)), size)) for _ in range(200)]
            problem = wrong(orders)
            require(not problem, problem, f'{n} items, a buffer of {size}', orders[0], hint=hint)
        return Case(name, run)
    def lazy(f):
        read = []
        out = iter(f((read.append(i) or i for i in range(1000)), 4))
        got = [next(out) for _ in range(3)]
        require(len(read) <= 4+3, f'{len(read)} items were read to give 3', '1000 items, a buffer of 4', got,
                hint='Read until the buffer is full. Then: give one away with `yield`, read one.')
    def early(orders):
        most = max(item-place for o in orders for place,item in enumerate(o))
        return '' if most <= 4 else f'an item came out {most} places early'
    def first(orders):
        firsts = {o[0] for o in orders}
        return '' if firsts == set(range(5)) else f'in 200 runs the first item was one of {sorted(firsts)}'
    def late(orders):
        most = max(place-item for o in orders for place,item in enumerate(o))
        return '' if most > 8 else f'in 200 runs no item came more than {most} places late'
    one,lost = 'a buffer of one changes nothing','One comes in and goes out, then the next takes its place.'
    yield Case(one, lambda f: same(list(f(iter(range(9)), 1)), list(range(9)), '9 items', lost), stream)
    yield whole(20, 5, 'all come out, once')
    yield whole(3, 10, 'fewer items than the buffer holds')
    yield whole(0, 4, 'nothing at all')
    yield chance('the order changes', 20, 20, lambda os: 'it is the old one'*(sorted(os[0]) in os),
                 'Which comes out next is drawn by chance, also of those that are left at the end.')
    yield Case('it reads no more than it needs', lazy)
    yield chance('nothing comes too early', 30, 5, early, 'When one comes out, the buffer holds 5 items.')
    yield chance('any of the first may be first', 30, 5, first, 'Fill the buffer before the first item comes '
                 'out; chance decides which of the 5 it is, without a seed of its own.')
    yield chance('some come very late', 100, 5, late,
                 'Is it shuffled piece by piece? After each item that goes out, the next one comes in.')
