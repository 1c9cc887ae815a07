"Lesson 12: pictures"
import inspect, math
import numpy as np, torch
from fastcore.meta import delegates
from miniai.check.plot import check_delegates, check_montage, check_to_bytes


def stub(*args): raise NotImplementedError


# 1. to bytes

def by_torch(im): return (im.detach().clamp(0, 1)*255).round().byte().permute(1, 2, 0).numpy()
def by_numpy(im): return np.rint(np.clip(np.moveaxis(im.detach().numpy(), 0, -1), 0, 1)*255).astype(np.uint8)


def by_channels(im):
    with torch.no_grad(): return (torch.stack(list(im), -1)*255).round().clamp(0, 255).to(torch.uint8).numpy()


def by_half(im): return (255*im.detach().clamp(0, 1) + 0.5).floor().byte().numpy().transpose(1, 2, 0)
def reshaped(im): return (im.detach().clamp(0, 1)*255).round().byte().reshape(*im.shape[1:], 3).numpy()
def turned(im): return (im.detach().clamp(0, 1)*255).round().byte().permute(2, 1, 0).numpy()
def cut(im): return (im.detach().clamp(0, 1)*255).byte().permute(1, 2, 0).numpy()
def by_256(im): return (im.detach().clamp(0, 1)*256).clamp(max=255).round().byte().permute(1, 2, 0).numpy()
def wraps(im): return (im.detach()*255).round().to(torch.int64).remainder(256).byte().permute(1, 2, 0).numpy()
def with_gradient(im): return (im.clamp(0, 1)*255).round().permute(1, 2, 0).numpy().astype(np.uint8)
def stays_tensor(im): return (im.detach().clamp(0, 1)*255).round().byte().permute(1, 2, 0)
def stays_float(im): return (im.detach().clamp(0, 1)*255).round().permute(1, 2, 0).numpy()
def not_times_255(im): return im.detach().clamp(0, 1).permute(1, 2, 0).byte().numpy()
def clamped_to_255(im): return (im.detach().clamp(0, 255)*255).round().byte().permute(1, 2, 0).numpy()
def channels_first(im): return (im.detach().clamp(0, 1)*255).round().byte().numpy()
def in_place(im): return (im.detach().clamp_(0, 1)*255).round().byte().permute(1, 2, 0).numpy()


def no_return(im): by_torch(im)


# 2. a contact sheet

def by_reshape(ims, ncols):
    n,h,w = ims.shape
    rows = math.ceil(n/ncols)
    sheet = torch.zeros(rows*ncols, h, w, dtype=ims.dtype)
    sheet[:n] = ims
    return sheet.view(rows, ncols, h, w).permute(0, 2, 1, 3).reshape(rows*h, ncols*w)


def by_cat(ims, ncols):
    blank = ims.new_zeros(-len(ims)%ncols, *ims.shape[1:])
    return torch.cat([torch.cat(list(row), 1) for row in torch.cat([ims, blank]).split(ncols)])


def by_place(ims, ncols):
    n,h,w = ims.shape
    sheet = ims.new_zeros(-(-n//ncols)*h, ncols*w)
    for i,im in enumerate(ims):
        r,c = divmod(i, ncols)
        sheet[r*h:(r+1)*h, c*w:(c+1)*w] = im
    return sheet


def padded(ims, ncols): return torch.cat([ims, ims.new_zeros(-len(ims)%ncols, *ims.shape[1:])])


def one_reshape(ims, ncols):
    x,(h,w) = padded(ims, ncols),ims.shape[1:]
    return x.reshape(len(x)//ncols*h, ncols*w)


def down_first(ims, ncols):
    x,(h,w) = padded(ims, ncols),ims.shape[1:]
    rows = len(x)//ncols
    return x.reshape(ncols, rows, h, w).permute(1, 2, 0, 3).reshape(rows*h, ncols*w)


def loses_the_last_row(ims, ncols):
    return by_cat(ims[:len(ims)//ncols*ncols], ncols) if len(ims) >= ncols else None
def rows_turned(ims, ncols): return by_cat(ims.transpose(1, 2), ncols)


def ones_in_gaps(ims, ncols):
    x = padded(ims, ncols)
    x[len(ims):] = 1
    return by_cat(x, ncols)


def one_row_too_many(ims, ncols):
    n,h,w = ims.shape
    sheet = ims.new_zeros((n//ncols+1)*h, ncols*w)
    for i,im in enumerate(ims):
        r,c = divmod(i, ncols)
        sheet[r*h:(r+1)*h, c*w:(c+1)*w] = im
    return sheet


def dims_swapped(ims, ncols):
    return torch.cat([torch.cat(list(row), 0) for row in padded(ims, ncols).split(ncols)], 1)


def all_in_a_row(ims, ncols): return torch.cat(list(ims), 1)
def not_glued(ims, ncols): return padded(ims, ncols).reshape(-1, ncols, *ims.shape[1:])
def always_floats(ims, ncols): return by_cat(ims, ncols).float()
def as_array(ims, ncols): return by_cat(ims, ncols).tolist()


# 3. delegates

def signature_with(keep):
    def my_delegates(to, but=()):
        def decorate(f):
            sig = inspect.signature(f)
            f.__signature__ = sig.replace(parameters=keep(sig.parameters, inspect.signature(to).parameters,
                                                          but))
            return f
        return decorate
    return my_delegates


def own(params): return [p for p in params.values() if p.kind != p.VAR_KEYWORD]


def added(ours, theirs, but):
    return [p.replace(kind=p.KEYWORD_ONLY) for k,p in theirs.items()
            if k not in ours and k not in but and p.default is not p.empty]


right_delegates = signature_with(lambda ours,theirs,but: own(ours) + added(ours, theirs, but))
ignores_but = signature_with(lambda ours,theirs,but: own(ours) + added(ours, theirs, ()))
forgets_defaults = signature_with(
    lambda ours,theirs,but: own(ours) + [p.replace(default=None) for p in added(ours, theirs, but)])
takes_all = signature_with(
    lambda ours,theirs,but: own(ours) + [p.replace(kind=p.KEYWORD_ONLY) for k,p in theirs.items()
                                         if k not in ours and k not in but])
right_by_fastcore = lambda to, but=(): delegates(to, but=list(but))


def by_a_loop(to, but=()):
    def decorate(f):
        sig = inspect.signature(f)
        params = {k: p for k,p in sig.parameters.items() if k != 'kwargs'}
        for k,p in inspect.signature(to).parameters.items():
            if p.default is inspect.Parameter.empty or k in params or k in but: continue
            params[k] = inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY, default=p.default)
        f.__signature__ = inspect.Signature(list(params.values()))
        return f
    return decorate


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


def without_the_inner(to, but=()): right_delegates(to, but)


EXERCISES = [
    (check_to_bytes, [by_torch, by_numpy, by_channels, by_half],
     [(reshaped, 'This is a reshape'), (turned, 'Rows and columns are swapped'),
      (cut, 'It is cut, not rounded'),
      (by_256, 'times 255, not 256'), (wraps, 'begin again at the other end'),
      (with_gradient, 'detach() first'),
      (stays_tensor, 'x.numpy() makes an array'), (stays_float, 'its dtype is float32, not uint8'),
      (not_times_255, 'times 255 before the bytes'), (clamped_to_255, 'not clamp(0, 255)'),
      (channels_first, 'The channels are still first'),
      (in_place, 'clamp, not clamp_'), (no_return, 'is there a `return`?'), (stub, 'This is the stub')]),
    (check_montage, [by_reshape, by_cat, by_place],
     [(one_reshape, 'This is one reshape'), (down_first, 'run down the columns'),
      (loses_the_last_row, 'round the number of rows up'),
      (rows_turned, 'its rows became columns'), (ones_in_gaps, 'are zeros'),
      (one_row_too_many, 'A blank row too many'), (dims_swapped, 'run the other way'),
      (all_in_a_row, 'run the other way'), (not_glued, 'not yet one picture'),
      (always_floats, 'of the same dtype'),
      (as_array, 'a list came, not a Tensor'), (stub, 'This is the stub')]),
    (check_delegates, [right_delegates, right_by_fastcore, by_a_loop],
     [(ignores_but, 'Skip the names in `but`'), (forgets_defaults, 'with its default'),
      (keeps_kwargs, 'without **kwargs'), (takes_all, 'those with a default'),
      (returns_nothing, 'Return the function'), (changes_call, 'Only the signature changes'),
      (without_the_inner, 'Two functions inside each other'), (stub, 'This is the stub')]),
]
