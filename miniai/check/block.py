"Checks of lesson 24_datablock: a split by names, a picture fitted into a square, the mean of each channel"
from functools import partial
import torch
import torch.nn.functional as F
from ..data import DataLoader, Dataset
from .kit import Case, check, require, rng, same

class _Salted(str):
    "A text as it is in another process: there `hash` gives another number"
    def __hash__(self): return str.__hash__(self[::-1] + 'salt')

def _asked(held_out, names, pct):
    got = [held_out(name, pct) for name in names]
    for o in got:
        require(not isinstance(o, str) and o in (True, False), 'neither True nor False', names[0], o,
                hint='Compare a number between 0 and 1 with `pct`, and `return` what comes out.')
    return [bool(o) for o in got]

@check('a split that stays')
def check_held_out(held_out):  # `held_out(name, pct)`
    "Check who is held out: by the name alone, a share of about `pct`"
    rows = torch.randint(97, 123, (2000, 8), generator=rng(1)).tolist()
    words = [''.join(map(chr, row)) for row in rows]
    def twice(held_out):
        first = _asked(held_out, words[:200], 0.5)
        again = _asked(held_out, [''.join(list(o)) for o in reversed(words[:200])], 0.5)[::-1]
        require(first == again, 'asked again, in another order, some names change sides',
                hint='No draws, no counting, no id(): the letters of the name alone may decide.')
    def elsewhere(held_out):
        here,there = (_asked(held_out, [kind(o) for o in words[:200]], 0.5) for kind in (str, _Salted))
        hint = 'Python salts `hash` of a text, anew in each process; zlib.crc32(name.encode()) stays.'
        require(here == there, 'in another process some names change sides', hint=hint)
    def share(held_out, names, pct):
        got = sum(_asked(held_out, names, pct))/len(names)
        hint = (f'About {pct:.0%} of the names, whatever they look like: make a number that looks drawn of '
                'the whole name, with zlib.crc32 or hashlib, and compare a share of its range with `pct`.')
        if got in (0, 1): hint = ('It says the same for all of these: the whole name must have a part in it, '
                                  'and the numbers must spread over the whole range.')
        problem = f'{got:.0%} of {len(names)} names like {names[0]} are held out'
        require(abs(got - pct) < 0.04, problem, f'pct={pct}', hint=hint)
    hint = 'True or False. (zlib.crc32 and hashlib take bytes: name.encode().)'
    yield Case('an answer', lambda f: _asked(f, words[:3], 0.5), hint)
    yield Case('always the same', twice)
    yield Case('the same in another process', elsewhere)
    alike,short = ([form.format(i) for i in range(2000)] for form in ('coat_{:04}.png', '{}'))
    for what,names in {'words': words, 'names that are alike': alike, 'short names': short}.items():
        for pct in 0.1,0.3: yield Case(f'{what}, pct={pct}', partial(share, names=names, pct=pct))

def _sides(im, size, longest=max): return [max(1, round(o*size/longest(im.shape[1:]))) for o in im.shape[1:]]

def _fit(im, size, white=1., sides=None, first=None, **how):
    "The answer, and what comes of some mistakes: `first` is the share of white above and to the left"
    h,w = sides or _sides(im, size)
    out = F.interpolate(im[None], (h, w), **(how or dict(mode='bilinear', antialias=True)))[0]
    down,right = size - h,size - w
    top,left = (int(o*first + 0.5) if first is not None else o//2 for o in (down, right))
    return F.pad(out, (left, right-left, top, down-top), value=white)

def _cropped(im, size):
    h,w = _sides(im, size, min)
    out = F.interpolate(im[None], (h, w), mode='bilinear', antialias=True)[0]
    return out[:, (h-size)//2:(h-size)//2+size, (w-size)//2:(w-size)//2+size]

@check('a picture fitted into a square')
def check_fit(fit):  # `fit(im, size)`
    "Check the longer side, the white on both sides, and the interpolation"
    def run(fit, shape, size):
        im = torch.rand(shape, generator=rng(shape[1]))*0.9 if shape[1] > 2 else torch.full(shape, 0.4)
        was,other = im.clone(),'half of it goes to the other side.'
        got = fit(im, size)
        require(isinstance(got, torch.Tensor), f'{got!r:.30} came', hint='`return` one tensor.')
        same(im, was, 'what came in, afterwards', 'It was written on: make a new tensor.')
        wrong = {'White is 1, not 0: F.pad(…, value=1).': partial(_fit, white=0.),
                 'It is squeezed: both sides need the same factor.': partial(_fit, sides=(size, size)),
                 'Here the shorter side fits, and what is too long is cut off: the *longer* one is to fit.':
                 _cropped, f'All the white is below or to the right: {other}': partial(_fit, first=0),
                 f'All the white is above or to the left: {other}': partial(_fit, first=1),
                 'The odd row or column of white goes below, or to the right.': partial(_fit, first=0.5),
                 'antialias=True, as in the lesson: without it pixels are skipped.':
                 partial(_fit, mode='bilinear'),
                 "mode='bilinear', as in the lesson.": partial(_fit, mode='nearest')}
        mistakes = {hint: partial(f, im, size) for hint,f in wrong.items()}
        same(got, _fit(im, size), f'shape {shape}, size {size}', mistakes=mistakes, rtol=0, atol=0.01)
    hint = ('size/max(h, w) is the factor for both sides; round them; then F.interpolate, and F.pad(x, '
            '(left, right, top, below), value=1).')
    sizes = {'a wide one': (20, 40, 16), 'a high one': (48, 18, 16), 'an odd number of rows': (30, 50, 20),
             'an odd number of columns': (50, 30, 25), 'enlarged': (6, 9, 21), 'a square': (24, 24, 12)}
    for what,(h,w,size) in sizes.items(): yield Case(what, partial(run, shape=(3, h, w), size=size), hint)
    yield Case('rounded up', partial(run, shape=(3, 21, 31), size=10), 'round(21*10/31) is 7: int cuts off.')
    yield Case('a grey one', partial(run, shape=(1, 31, 20), size=10), hint)
    yield Case('very thin', partial(run, shape=(3, 2, 200), size=10), 'At least 1 pixel: max(1, round(…)).')

@check('mean and deviation of each channel')
def check_channel_stats(channel_stats):  # `channel_stats(dl)`
    "Check statistics over all pixels of a loader, whose batches differ"
    def pictures(i, n): return torch.rand(n, 3, 5, 7, generator=rng(i))*(i + 1) + shift*i
    shift = torch.tensor([0.1, 0.5, 0.])[:, None, None]
    def run(channel_stats, sizes, which):
        xs = [pictures(i, n) for i,n in enumerate(sizes)]
        got = channel_stats(DataLoader(Dataset(torch.cat(xs), torch.zeros(sum(sizes)).long()), sizes[0]))
        if not isinstance(got, (tuple, list, torch.Tensor)) or len(got) != 2: got = None
        require(got is not None, 'two things are expected: means and deviations', hint='return mean, std')
        def f(x, axes=(0, 2, 3)): return (x.mean(axes), x.std(axes))[which]
        every,weights,whole = torch.stack([f(x) for x in xs]),torch.tensor(sizes)/sum(sizes),torch.cat(xs)
        mistakes = {'That is the first batch alone.': f(xs[0]), 'That is the last batch alone.': f(xs[-1]),
                    'A mean of deviations is not the deviation of all: add up x and x*x, divide at the end.':
                    (every*weights[:, None]).sum(0), 'That is its square.': whole.var((0, 2, 3)),
                    'A mean over batches: in it a small one counts as much as a large one.': every.mean(0),
                    'A mean of variances is not the variance of all: that of the means is missing.':
                    (torch.stack([x.var((0, 2, 3)) for x in xs])*weights[:, None]).sum(0)**0.5,
                    'x.numel() counts the channels, too: that is too much for one of them.': f(whole)/3,
                    'One number for all channels: sum over the axes 0, 2 and 3.': f(whole, (0, 1, 2, 3)),
                    'One for each pixel: sum over the axes 2 and 3, too.': f(whole, 0),
                    'Divided by the number of pictures: it is one of pixels.': f(whole)*35}
        same(got[which], f(whole), f'batches {sizes}', mistakes=mistakes, rtol=0.01, atol=1e-3, dtype=False)
    hint = 'Sums of x and of x*x for each channel, x.sum((0, 2, 3)), and the number of pixels.'
    for sizes in [4],[4, 4, 4],[8, 8, 1]:
        for which,what in enumerate(('mean', 'deviation')):
            yield Case(f'{what}, batches of {sizes}', partial(run, sizes=sizes, which=which), hint)
