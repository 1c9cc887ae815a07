import inspect, math
import matplotlib.pyplot as plt, numpy as np
from fastcore.meta import delegates
from miniai.check.plot import check_channels_last, check_delegates, check_get_grid
from miniai.plot import get_grid


def hide(fig, axs, n):
    axs = np.atleast_1d(axs)
    for ax in axs.flat[n:]: ax.set_axis_off()
    return fig,axs


def rounded_up(n):
    rows = math.isqrt(n)
    return hide(*plt.subplots(rows, math.ceil(n/rows)), n)


def removes(n):
    rows = math.isqrt(n)
    fig,axs = plt.subplots(rows, math.ceil(n/rows), squeeze=False)
    for ax in axs.flat[n:]: ax.set_visible(False)
    return fig,axs


def rounds_down(n):
    rows = math.isqrt(n)
    return hide(*plt.subplots(rows, n//rows), n)


def spare_shown(n):
    rows = math.isqrt(n)
    return plt.subplots(rows, math.ceil(n/rows), squeeze=False)


def bare_axes(n):
    rows = math.isqrt(n)
    fig,axs = plt.subplots(rows, math.ceil(n/rows))
    return (fig,axs) if n == 1 else hide(fig, axs, n)


def only_axes(n): return rounded_up(n)[1]


def hides_last(n): return hide(*plt.subplots(math.isqrt(n), math.ceil(n/math.isqrt(n)), squeeze=False), n-1)


def far_too_many(n): return hide(*plt.subplots(n, 3, squeeze=False), n)


def moved(im):
    im = im.detach()
    return (im if im.dim() == 2 else im[0] if len(im) == 1 else im.permute(1, 2, 0)).numpy()


def by_numpy(im):
    a = im.detach().numpy()
    return a if a.ndim == 2 else np.moveaxis(a, 0, -1).squeeze(-1) if len(a) == 1 else np.moveaxis(a, 0, -1)


def reshaped(im):
    if im.dim() == 2: return moved(im)
    return (im.detach().reshape(*im.shape[1:], 3) if len(im) == 3 else im.detach()[0]).numpy()


def transposed(im): return moved(im) if len(im) != 3 else im.detach().permute(2, 1, 0).numpy()
def keeps_channel(im): return moved(im) if im.dim() == 2 else im.detach().permute(1, 2, 0).numpy()
def with_gradient(im): return (im if im.dim() == 2 else im[0] if len(im) == 1 else im.permute(1, 2, 0)).numpy()
def stays_tensor(im): return im if im.dim() == 2 else im.permute(1, 2, 0).squeeze(-1)
def makes_float(im): return moved(im).astype('float32')/255


def signature_with(keep):
    def my_delegates(to, but=()):
        def decorate(f):
            sig = inspect.signature(f)
            f.__signature__ = sig.replace(parameters=keep(sig.parameters, inspect.signature(to).parameters, but))
            return f
        return decorate
    return my_delegates


def own(params): return [p for p in params.values() if p.kind != p.VAR_KEYWORD]
def added(ours, theirs, but): return [p.replace(kind=p.KEYWORD_ONLY) for k,p in theirs.items() if k not in ours and k not in but and p.default is not p.empty]


right_delegates = signature_with(lambda ours,theirs,but: own(ours) + added(ours, theirs, but))
ignores_but = signature_with(lambda ours,theirs,but: own(ours) + added(ours, theirs, ()))
forgets_defaults = signature_with(lambda ours,theirs,but: own(ours) + [p.replace(default=None) for p in added(ours, theirs, but)])


def keeps_kwargs(to, but=()): return delegates(to, keep=True, but=list(but))


def returns_nothing(to, but=()):
    def decorate(f): right_delegates(to, but)(f)
    return decorate


def changes_call(to, but=()):
    def decorate(f):
        def wrapped(*args, **kwargs): return to(*args, **kwargs)
        wrapped.__signature__ = inspect.signature(right_delegates(to, but)(f))
        return wrapped
    return decorate


EXERCISES = [
    (check_get_grid, [get_grid, rounded_up, removes],
     [(rounds_down, 'Round the columns up'), (spare_shown, 'spare axes show'), (bare_axes, 'np.atleast_1d'),
      (only_axes, 'not a pair of figure and axes'), (hides_last, 'one of the first n axes is off'), (far_too_many, 'mostly empty')]),
    (check_channels_last, [moved, by_numpy],
     [(reshaped, 'This is a reshape'), (transposed, 'Rows and columns are swapped'), (keeps_channel, 'its shape is (4, 5, 1), not (4, 5)'),
      (with_gradient, 'detach() first'), (stays_tensor, 'not an array'), (makes_float, 'differ')]),
    (check_delegates, [right_delegates, lambda to, but=(): delegates(to, but=list(but))],
     [(ignores_but, 'Skip the names in `but`'), (forgets_defaults, 'with its default'), (keeps_kwargs, 'without **kwargs'),
      (returns_nothing, 'Return the function'), (changes_call, 'Only the signature changes')]),
]
