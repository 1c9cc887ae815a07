"Checks of lesson 12_plotting"
import inspect
import numpy as np, torch
from .kit import Case, check, require, rng, same

def _bytes_case(name, im, hint='', **copy):
    "`im` as bytes: what was meant, and what the usual mistakes give"
    def bent(x): return x.permute(1, 2, 0).numpy()
    def wrapped(x): return bent((x*255).round().to(torch.int64).remainder(256).byte())
    part = im.clamp(0, 1)
    full = (part*255).round().byte()
    want = bent(full)
    mistakes = {
        'The channels are still first: permute(1, 2, 0) puts them last.': full.numpy(),
        '1 must become 255, the largest byte: times 255 before the bytes.': bent(part.byte()),
        'This is a reshape: it keeps the order in memory, so pixels mix; permute(1, 2, 0) moves the axis.':
            full.reshape(want.shape).numpy(),
        'Rows and columns are swapped: is it `.T`, or permute(2, 1, 0)? It must be (1, 2, 0).':
            want.swapaxes(0, 1),
        'It is cut, not rounded: 254.9 became 254. round() comes before the bytes.': bent((part*255).byte()),
        '1 must become 255, the largest byte: times 255, not 256.':
            bent((part*256).clamp(max=255).round().byte()),
        'Below 0 and above 1 the bytes begin again at the other end: clamp(0, 1) comes first.': wrapped(im),
        'Above 1 the bytes begin again at 0: before the times 255 it is clamp(0, 1), not clamp(0, 255).':
            wrapped(im.clamp(min=0))}
    def run(f):
        given = im.clone().requires_grad_() if copy.get('grad') else im.clone()
        got = f(given)
        if got is not None:
            require(isinstance(got, np.ndarray), f'a {type(got).__name__} came, not an array', im, got,
                    hint='x.numpy() makes an array.')
            require(got.dtype == np.uint8 or got.shape != want.shape, f'its dtype is {got.dtype}, not uint8',
                    im, got, want, 'Bytes: .byte() before numpy(), or .astype(np.uint8) after it.')
        same(got, want, im, hint, mistakes)
        require(given.detach().equal(im), 'it changed the picture that it got', im, hint='clamp, not clamp_.')
    return Case(name, run, hint)

@check('to bytes')
def check_to_bytes(f):  # Your function: takes a float tensor (3,h,w), returns a uint8 array (h,w,3)
    "Check a function that makes of a float picture, channels first, bytes with the channels last"
    x = torch.rand(3, 4, 5, generator=rng(7))
    yield _bytes_case('one pixel, white', torch.ones(3, 1, 1))
    yield _bytes_case('three colours', torch.eye(3)[[1, 2, 0],None].contiguous())
    yield _bytes_case('any picture', x)
    yield _bytes_case('a square one', x[..., :4].contiguous())
    yield _bytes_case('with a gradient', x, 'detach() first: numpy knows nothing of gradients.', grad=True)
    yield _bytes_case('rounded', torch.tensor([0.4, 0.6, 254.6, 100.51]).expand(3, 1, 4)/255)
    yield _bytes_case('below 0 and above 1', torch.tensor([-0.5, -0.01, 1.01, 1.6]).repeat(3, 1, 1))

def _montage_case(name, n, ncols, shape=(2, 3), hint='', dtype=torch.float32):
    ims,(h,w),rows = (torch.rand(n, *shape, generator=rng(n))*100+1).to(dtype),shape,-(-n//ncols)
    padded = torch.cat([ims, ims.new_zeros(rows*ncols-n, h, w)])
    cells,size = padded.reshape(rows, ncols, h, w),(rows*h, ncols*w)
    want = cells.transpose(1, 2).reshape(size)
    mistakes = {
        'This is one reshape: the rows of a picture stand one after the other. The axes must be row of the '
        'sheet, row of the picture, column of the sheet, column of the picture before the last reshape.':
            padded.reshape(size),
        'The pictures run down the columns: the second belongs to the right of the first.':
            padded.reshape(ncols, rows, h, w).permute(1, 2, 0, 3).reshape(size),
        'Each picture is turned: its rows became columns.':
            cells.permute(0, 3, 1, 2).reshape(rows*w, ncols*h),
        'ncols pictures stand side by side: these run the other way.':
            cells.permute(1, 2, 0, 3).reshape(ncols*h, rows*w),
        'The pictures are in their places, but not yet one picture of (rows*h, ncols*w).': cells,
        'A blank row too many where the last row is full: round up by -(-n//ncols), not by n//ncols + 1.':
            torch.cat([want, want.new_zeros(h, ncols*w)]),
        'The last row is missing: round the number of rows up, -(-n//ncols).': want[:n//ncols*h]}
    given = f'{n} pictures of {h}×{w}, ncols={ncols}'
    return Case(name, lambda f: same(f(ims.clone(), ncols), want, given, mistakes=mistakes), hint)

@check('contact sheet')
def check_montage(f):  # Takes a tensor (n,h,w) and ncols, returns a tensor (rows*h, ncols*w)
    "Check a function that makes one large picture of many small ones"
    blank = 'Places without a picture are zeros: make a sheet of zeros first, or add blank pictures.'
    yield _montage_case('two in a row', 2, 2)
    yield _montage_case('two in a column', 2, 1)
    yield _montage_case('squares', 6, 3, (4, 4))
    yield _montage_case('seven in rows of three', 7, 3, hint=blank)
    yield _montage_case('fewer than a row', 2, 5, hint=blank)
    yield _montage_case('bytes stay bytes', 5, 2, hint='ims.new_zeros makes zeros of the same dtype.',
                        dtype=torch.uint8)

def _delegates_case(name, names, hint, but=()):
    def run(f):
        def inner(x, n, size=3, colour='red', *, width=1.5): return x,size,colour,width
        def outer(x, title=None, colour='blue', **kwargs):
            "Some words"
            return title,inner(x, 2, colour=colour, **kwargs)
        made = f(inner, but) if but else f(inner)
        require(callable(made), 'what it returns is not a decorator', inner, made,
                hint='Two functions inside each other: the outer one returns the inner one.')
        decorated = made(outer)
        require(callable(decorated), 'what the decorator returns can not be called', outer, decorated,
                hint='Return the function from the decorator.')
        params = inspect.signature(decorated).parameters
        given = 'outer(x, title, colour, **kwargs) on inner(x, n, size, colour, *, width)'
        same(list(params), names, given + (f', but={but}' if but else ''))
        if 'size' in params:
            same(params['size'].default, 3, hint='Take the parameter as it is, with its default.')
        same(params['colour'].default, 'blue', hint='Where both have a parameter, the outer one is right.')
        same(decorated(1, 2, width=9), (2, (1, 3, 'blue', 9)),
             hint='Only the signature changes, not what the function does.')
        same(decorated.__doc__, 'Some words', hint='Return the function itself, with a new `__signature__`.')
    return Case(name, run, hint)

@check('delegates')
def check_delegates(f):  # Your `delegates`: takes a function and the names to leave out, returns a decorator
    "Check a decorator that shows the parameters of another function in place of `**kwargs`"
    yield _delegates_case('shows the defaults of the other function',
                          ['x', 'title', 'colour', 'size', 'width'],
                          'Own parameters first, without **kwargs; then those with a default that are new.')
    but = 'Skip the names in `but`, each of them.'
    yield _delegates_case('leaves out one name', ['x', 'title', 'colour', 'width'], but, ('size',))
    yield _delegates_case('leaves out several', ['x', 'title', 'colour'], but, ('size', 'width'))
