"Checks of lesson 12, pictures"
import contextlib
import numpy as np, torch
from .kit import Case, Report, require, rng, run_cases, same


@contextlib.contextmanager
def _no_figures_left():
    "Close the figures that are made inside"
    import matplotlib.pyplot as plt
    before = set(plt.get_fignums())
    try: yield
    finally:
        for num in set(plt.get_fignums()) - before: plt.close(num)

def _grid_axes(got):
    "The axes of what a grid function returned, or a `Mismatch` that says what is wrong with it"
    import matplotlib.figure as mf
    form = 'Return the figure and the array, as `plt.subplots` does.'
    require(got is not None, 'it is None: is there a `return`?', hint=form)
    require(isinstance(got, tuple) and len(got) == 2, f'a {type(got).__name__} came, not a pair of figure and axes', got=got, hint=form)
    fig,axs = got
    require(isinstance(fig, mf.Figure), f'the first of the pair is a {type(fig).__name__}, not a Figure', hint=form)
    require(isinstance(axs, np.ndarray), f'the second of the pair is a {type(axs).__name__}, not an array of axes',
            hint='`plt.subplots` gives bare axes for one cell: np.atleast_1d makes an array of both.')
    return fig,list(axs.flat)

def _grid_case(n, name, hint=''):
    def run(f):
        with _no_figures_left():
            fig,axs = _grid_axes(f(n))
            require(len(axs) >= n, f'{len(axs)} axes have no place for {n} pictures', n, hint='Round the columns up: -(-n//rows), or math.ceil.')
            on = [ax.axison and ax.get_visible() and ax.figure is fig for ax in axs]
            require(all(on[:n]), 'one of the first n axes is off', n, on, hint='Switch off only what comes after the first n.')
            require(not any(on[n:]), f'{sum(on[n:])} spare axes show', n, on, hint='ax.set_axis_off() for each of axs.flat[n:].')
            places = {tuple(np.round(ax.get_position().bounds, 4)) for ax in axs}
            require(len(places) == len(axs), 'two axes lie on one another', n)
            width,height = (len({p[i] for p in places}) for i in (0, 1))
            require(width*height < 2*n + 2, f'a grid of {height}×{width} is mostly empty', n, hint='As near to a square as can be: int(sqrt(n)) rows.')
    return Case(name, run, hint)

def check_get_grid(
    f,              # Your grid: takes the number of pictures, returns a figure and an array of axes
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a function that lays out any number of axes"
    cases = [_grid_case(4, 'four, a square'), _grid_case(6, 'six, a rectangle'), _grid_case(1, 'a single one'), _grid_case(2, 'two'),
             _grid_case(5, 'five, which does not fill its grid'), _grid_case(7, 'seven, a prime'), _grid_case(13, 'thirteen'),
             _grid_case(10, 'ten')]
    return run_cases(f, cases, 'grid', limit)

def _channels_hint(im):
    "A function that names the usual mistake behind a wrong picture"
    def hint(got, want):
        mistakes = {'This is a reshape: it keeps the order in memory and mixes up the pixels; permute(1, 2, 0) moves the axis.':
                        lambda: im.reshape(want.shape),
                    'Rows and columns are swapped: is it `.T`, or permute(2, 1, 0)? It must be (1, 2, 0).': lambda: im.transpose(-1, -2).permute(1, 2, 0)}
        for text,f in mistakes.items():
            with contextlib.suppress(RuntimeError, TypeError):
                wrong = f().numpy()
                if isinstance(got, np.ndarray) and (got.shape == wrong.shape and np.allclose(got, wrong)): return text
        return ''
    return hint

def _channels_case(shape, name, hint='', grad=False, dtype=torch.float32):
    def run(f):
        im = (torch.rand(shape, generator=rng(7))*255).to(dtype)
        want = (im if im.dim() == 2 else im.permute(1, 2, 0)).numpy()
        want = want[...,0] if want.shape[-1:] == (1,) else want
        got = f(im.clone().requires_grad_() if grad else im.clone())
        if got is not None: require(isinstance(got, np.ndarray), f'a {type(got).__name__} came, not an array', im, got, hint='x.numpy() makes an array.')
        same(got, want, im, _channels_hint(im))
    return Case(name, run, hint)

def check_channels_last(
    f,              # Your function: takes a tensor (h,w), (1,h,w) or (3,h,w)
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a function that makes of a tensor an array for `imshow`"
    cases = [_channels_case((4,5), 'a table without channels', 'Two axes: there is nothing to move.'),
             _channels_case((1,4,5), 'one channel', 'The channel axis goes: x[0].'),
             _channels_case((3,4,5), 'three channels', 'permute(1, 2, 0).'),
             _channels_case((3,5,5), 'three channels of a square', 'permute(1, 2, 0).'),
             _channels_case((3,4,5), 'with a gradient', 'detach() first.', grad=True),
             _channels_case((3,4,5), 'uint8 stays uint8', dtype=torch.uint8)]
    return run_cases(f, cases, 'channels last', limit)

def _delegates_case(name, names, hint, but=()):
    import inspect
    def run(f):
        def inner(x, size=3, colour='red', *, width=1.5): return x,size,colour,width
        def outer(x, title=None, colour='blue', **kwargs):
            "Some words"
            return title,inner(x, colour=colour, **kwargs)
        made = f(inner, but) if but else f(inner)
        require(callable(made), 'what it returns is no decorator', inner, made, hint='Two functions inside each other: the outer returns the inner.')
        decorated = made(outer)
        require(callable(decorated), 'what the decorator returns can not be called', outer, decorated, hint='Return the function from the decorator.')
        params = inspect.signature(decorated).parameters
        same(list(params), names, given='outer(x, title, colour, **kwargs) on inner(x, size, colour, *, width)' + (f', but={but}' if but else ''))
        if 'size' in params: same(params['size'].default, 3, hint='Take the parameter as it is, with its default.')
        same(params['colour'].default, 'blue', hint='Where both have a parameter, the outer function is right.')
        same(decorated(1, width=9), (None, (1, 3, 'blue', 9)), hint='Only the signature changes, not what the function does.')
        same(decorated.__doc__, 'Some words', hint='Return the function itself, with a new `__signature__`.')
    return Case(name, run, hint)

def check_delegates(
    f,              # Your `delegates`: takes a function and the names to leave out, returns a decorator
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a decorator that shows the parameters of another function in place of `**kwargs`"
    cases = [_delegates_case('shows the defaults of the other function', ['x', 'title', 'colour', 'size', 'width'],
                             'Own parameters first, without **kwargs; then those with a default that are not there yet.'),
             _delegates_case('leaves out one name', ['x', 'title', 'colour', 'width'], 'Skip the names in `but`.', ('size',)),
             _delegates_case('leaves out several', ['x', 'title', 'colour'], 'Skip every name in `but`.', ('size', 'width'))]
    return run_cases(f, cases, 'delegates', limit)
