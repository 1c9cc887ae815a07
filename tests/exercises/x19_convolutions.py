"Exercises of lesson 19_convolutions: the largest of each window, how far a model sees, a backward pass"
import math
from itertools import product
import torch, torch.nn.functional as F
from torch import nn
from miniai.check.conv import check_conv_grads, check_field, check_max_pool


# -- 1. max_pool

def by_unfold(x, ks, stride):
    bs,c,h,w = x.shape
    places = (h-ks)//stride + 1,(w-ks)//stride + 1
    return F.unfold(x, ks, stride=stride).view(bs, c, ks*ks, *places).amax(2)


def by_windows(x, ks, stride): return x.unfold(2, ks, stride).unfold(3, ks, stride).amax((4, 5))


def by_loops(x, ks, stride):
    rows,cols = (range(0, n-ks+1, stride) for n in x.shape[2:])
    return torch.stack([torch.stack([x[:,:,r:r+ks,c:c+ks].amax((2, 3)) for c in cols], 2) for r in rows], 2)


def by_shifts(x, ks, stride):
    h,w = ((n-ks)//stride*stride + 1 for n in x.shape[2:])
    out = x[:,:,:h:stride,:w:stride]
    for i,j in product(range(ks), range(ks)): out = torch.maximum(out, x[:,:,i:i+h:stride,j:j+w:stride])
    return out


def means(x, ks, stride): return F.avg_pool2d(x, ks, stride)
def all_channels(x, ks, stride): return by_windows(x, ks, stride).amax(1, keepdim=True)
def side_by_side(x, ks, stride): return by_windows(x, ks, ks)
def one_step(x, ks, stride): return by_windows(x, ks, 1)
def sticks_out(x, ks, stride): return F.max_pool2d(x, ks, stride, ceil_mode=True)
def from_zero(x, ks, stride): return by_windows(x, ks, stride).clamp(min=0)


def unfold_mixed(x, ks, stride):
    "All channels in one axis, and the largest of all"
    places = [(n-ks)//stride + 1 for n in x.shape[2:]]
    return F.unfold(x, ks, stride=stride).amax(1, keepdim=True).unflatten(2, places)


def square_only(x, ks, stride):
    n = (x.shape[2]-ks)//stride + 1
    return torch.stack([torch.stack([x[:,:,r*stride:r*stride+ks,c*stride:c*stride+ks].amax((2, 3))
                                     for c in range(n)], 2) for r in range(n)], 2)


def one_too_few(x, ks, stride): return by_windows(x, ks, stride)[:,:,:-1,:-1]


def reshaped(x, ks, stride):
    "Right where the windows fill the picture"
    bs,c,h,w = x.shape
    return x.reshape(bs, c, h//ks, ks, w//ks, ks).amax((3, 5))


def by_items(x, ks, stride):
    "Right numbers, cut off from the picture"
    bs,c,h,w = x.shape
    rows,cols = range(0, h-ks+1, stride),range(0, w-ks+1, stride)
    return torch.tensor([[[[max(x[b,k,r+i,s+j].item() for i in range(ks) for j in range(ks)) for s in cols]
                           for r in rows] for k in range(c)] for b in range(bs)])


def slices_stick_out(x, ks, stride):
    rows,cols = (range(0, n, stride) for n in x.shape[2:])
    return torch.stack([torch.stack([x[:,:,r:r+ks,c:c+ks].amax((2, 3)) for c in cols], 2) for r in rows], 2)


def axes_in_front(x, ks, stride):
    rows,cols = (range(0, n-ks+1, stride) for n in x.shape[2:])
    return torch.stack([torch.stack([x[:,:,r:r+ks,c:c+ks].amax((2, 3)) for c in cols]) for r in rows])


def of_everything(x, ks, stride):
    rows,cols = (range(0, n-ks+1, stride) for n in x.shape[2:])
    return torch.stack([torch.stack([x[:,:,r:r+ks,c:c+ks].max() for c in cols]) for r in rows])


def stride_forgotten(x, ks, stride):
    "The right number of places, each a pixel after the last"
    h,w = ((n-ks)//stride + 1 for n in x.shape[2:])
    return by_windows(x, ks, 1)[:,:,:h,:w]


def flat_places(x, ks, stride): return by_windows(x, ks, stride).flatten(2)
def with_places(x, ks, stride): return F.unfold(x, ks, stride=stride).max(1)


def in_place(x, ks, stride):
    "Right numbers, and x is spoiled"
    out = by_windows(x, ks, stride).clone()
    x.data.zero_()
    return out


# -- 2. field

def number(n): return n[0] if isinstance(n, tuple) else n


def by_modules(model):
    size = step = 1
    for m in model.modules():
        if not hasattr(m, 'kernel_size'): continue
        size += (number(m.kernel_size)-1)*number(getattr(m, 'dilation', 1))*step
        step *= number(m.stride)
    return size


def by_recursion(model, start=(1, 1)):
    "From layer to layer, size and step handed on"
    def walk(m, size, step):
        if isinstance(m, nn.Sequential):
            for child in m: size,step = walk(child, size, step)
            return size,step
        if isinstance(m, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
            ks,stride = (n if isinstance(n, int) else n[0] for n in (m.kernel_size, m.stride))
            reach = getattr(m, 'dilation', 1)
            reach = (reach if isinstance(reach, int) else reach[0])*(ks-1) + 1
            return size + (reach-1)*step,step*stride
        return size,step
    return walk(model, *start)[0]


def from_behind(model):
    "What one number sees, from the last layer to the first"
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d))]
    size = 1
    for m in layers[::-1]:
        dilation = getattr(m, 'dilation', 1)
        size = (size-1)*number(m.stride) + number(dilation)*(number(m.kernel_size)-1) + 1
    return size


def by_nan(model, n=60):
    "Which pixels of a column spoil the number in the middle?"
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    def spoils(r):
        x = torch.zeros(1, convs[0].in_channels if convs else 1, n, n)
        x[:,:,r] = math.nan
        out = model(x)
        return out[0,0,out.shape[2]//2,out.shape[3]//2].isnan().item()
    found = [r for r in range(n) if spoils(r)]
    return found[-1] - found[0] + 1


def gradients(model, count=False, n=60):
    "As the lesson measures it: all weights 1, and the gradient of the number in the middle"
    for p in model.parameters(): p.data.fill_(1.)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    x = torch.ones(1, convs[0].in_channels, n, n, requires_grad=True)
    out = model(x)
    out[0,0,out.shape[2]//2,out.shape[3]//2].backward()
    rows = x.grad[0,0].sum(1).nonzero()[:,0]
    return len(rows) if count else (rows[-1]-rows[0]).item() + 1


def counted(model): return gradients(model, count=True)


def children_only(model):
    size = step = 1
    for m in model.children():
        if not hasattr(m, 'kernel_size'): continue
        size += (number(m.kernel_size)-1)*step
        step *= number(m.stride)
    return size


def padding_too(model):
    return by_modules(model) + 2*sum(number(getattr(m, 'padding', 0)) for m in model.modules())


def sums(model): return sum(number(m.kernel_size) for m in model.modules() if hasattr(m, 'kernel_size'))
def last_only(model): return [number(m.kernel_size) for m in model.modules() if hasattr(m, 'kernel_size')][-1]


def without_strides(model):
    return 1 + sum(number(m.kernel_size)-1 for m in model.modules() if hasattr(m, 'kernel_size'))


def too_early(model):
    size = step = 1
    for m in model.modules():
        if not isinstance(m, nn.Conv2d): continue
        step *= m.stride[0]
        size += (m.kernel_size[0]-1)*step
    return size


def only_top(model):
    size = step = 1
    for m in model:
        if not isinstance(m, nn.Conv2d): continue
        size += (m.kernel_size[0]-1)*step
        step *= m.stride[0]
    return size


def only_convs(model):
    size = step = 1
    for m in model.modules():
        if not isinstance(m, nn.Conv2d): continue
        size += (m.kernel_size[0]-1)*step
        step *= m.stride[0]
    return size


def no_dilation(model):
    size = step = 1
    for m in model.modules():
        if not hasattr(m, 'kernel_size'): continue
        size += (number(m.kernel_size)-1)*step
        step *= number(m.stride)
    return size


def as_pair(model): return by_modules(model),by_modules(model)


def no_pairs(model):
    size = step = 1
    for m in model.modules():
        if not hasattr(m, 'kernel_size'): continue
        size += (m.kernel_size-1)*step
        step *= m.stride
    return size


def pairs_only(model):
    size = step = 1
    for m in model.modules():
        if not hasattr(m, 'kernel_size'): continue
        size += (m.kernel_size[0]-1)*step
        step *= m.stride[0]
    return size


# -- 3. conv_grads

def grads_by_shifts(x, w, g):
    dx,dw = torch.zeros_like(x),torch.zeros_like(w)
    h,wd = g.shape[2:]
    for i,j in product(range(w.shape[2]), range(w.shape[3])):
        dx[:,:,i:i+h,j:j+wd] += torch.einsum('bkhw,kc->bchw', g, w[:,:,i,j])
        dw[:,:,i,j] = torch.einsum('bkhw,bchw->kc', g, x[:,:,i:i+h,j:j+wd])
    return dx,dw


def grads_by_columns(x, w, g):
    columns,flat = F.unfold(x, w.shape[2:]),g.flatten(2)
    dw = (flat @ columns.transpose(1, 2)).sum(0).view_as(w)
    return F.fold(w.flatten(1).T @ flat, x.shape[2:], w.shape[2:]),dw


def grads_by_convs(x, w, g):
    "Both are convolutions themselves"
    kh,kw = w.shape[2:]
    dx = F.conv2d(F.pad(g, (kw-1, kw-1, kh-1, kh-1)), w.flip(2, 3).transpose(0, 1))
    return [dx, F.conv2d(x.transpose(0, 1), g.transpose(0, 1)).transpose(0, 1)]


def swapped(x, w, g): return grads_by_shifts(x, w, g)[::-1]
def only_dw(x, w, g): return grads_by_shifts(x, w, g)[1]


def mean_of_batch(x, w, g):
    dx,dw = grads_by_shifts(x, w, g)
    return dx,dw/len(x)


def first_of_batch(x, w, g):
    return grads_by_shifts(x, w, g)[0],grads_by_shifts(x[:1], w, g[:1])[1]


def unturned(x, w, g):
    kh,kw = w.shape[2:]
    dx = F.conv2d(F.pad(g, (kw-1, kw-1, kh-1, kh-1)), w.transpose(0, 1))
    return dx,grads_by_shifts(x, w, g)[1]


def by_autograd(x, w, g):
    x,w = x.requires_grad_(),w.requires_grad_()
    return torch.autograd.grad(F.conv2d(x, w), (x, w), g)


def turned_too_much(x, w, g):
    dx,dw = grads_by_shifts(x, w, g)
    return dx,dw.flip(2, 3)


def one_kernel(x, w, g):
    "Right for one channel and one kernel"
    dx,dw = torch.zeros_like(x),torch.zeros_like(w)
    h,wd = g.shape[2:]
    for i,j in product(range(w.shape[2]), range(w.shape[3])):
        dw[:,:,i,j] = (g*x[:,:,i:i+h,j:j+wd]).sum()
        dx[:,:,i:i+h,j:j+wd] += g*w[:,:,i,j]
    return dx,dw


def overwrites(x, w, g):
    "Each shift takes the place of the last one"
    dx,(_,dw) = torch.zeros_like(x),grads_by_shifts(x, w, g)
    h,wd = g.shape[2:]
    for i,j in product(range(w.shape[2]), range(w.shape[3])):
        dx[:,:,i:i+h,j:j+wd] = torch.einsum('bkhw,kc->bchw', g, w[:,:,i,j])
    return dx,dw


EXERCISES = [
    (check_max_pool, [by_unfold, by_windows, by_loops, by_shifts], [
        (means, 'not the mean'), (all_channels, 'not of all channels'), (unfold_mixed, 'not of all channels'),
        (side_by_side, 'stand beside each other'), (one_step, 'moves by one'), (sticks_out, 'stick out'),
        (from_zero, 'start from zeros'),
        (square_only, 'down and across'), (one_too_few, 'place is missing'),
        (stride_forgotten, 'begins at row r*stride'), (flat_places, 'rows and columns'),
        (with_places, 'amax'), (slices_stick_out, 'stick out'),
        (axes_in_front, 'Batch, channels first'), (of_everything, 'each picture and channel'),
        (reshaped, 'moves by stride'), (by_items, 'cuts a number off'),
        (in_place, 'work on a copy')]),
    (check_field, [by_modules, by_recursion, from_behind, by_nan], [
        (sums, 'ks-1, not ks'), (last_only, 'the last layer alone'),
        (without_strides, 'strides have no effect'), (too_early, 'the layers after it'),
        (only_top, '`model.modules()`'), (only_convs, 'Pooling has no effect'),
        (no_dilation, 'dilation has no effect'),
        (as_pair, 'Return one number'), (pairs_only, 'or pairs'), (no_pairs, 'are pairs'),
        (gradients, 'to one pixel alone'), (counted, 'between those it sees'),
        (children_only, 'stands alone'), (padding_too, 'does not widen')]),
    (check_conv_grads, [grads_by_shifts, grads_by_columns, grads_by_convs], [
        (swapped, 'changed places'), (only_dw, 'return dx,dw'), (mean_of_batch, 'no mean'),
        (first_of_batch, 'first picture alone'), (unturned, 'the wrong way round'), (by_autograd, 'By hand'),
        (turned_too_much, 'moved by i, j'), (overwrites, 'is added where'),
        (one_kernel, 'an axis for the kernels')])]
