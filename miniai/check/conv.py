"Checks of lesson 19_convolutions"
from functools import partial
import torch, torch.nn.functional as F
from torch import nn
from .kit import Case, Mismatch, check, require, rng, same

_max = F.max_pool2d
_POOL = {
    'The largest, not the mean.': F.avg_pool2d,
    'Of each channel, not of all channels.': lambda x, ks, step: _max(x, ks, step).amax(1, keepdim=True),
    'The stride has no effect: the windows stand beside each other.': lambda x, ks, _: _max(x, ks),
    'The stride has no effect: the window moves by one.': lambda x, ks, _: _max(x, ks, 1),
    'Place r begins at row r*stride: here it begins at row r.': lambda x, ks, step:
        _max(x, ks, 1)[:,:,:(x.shape[2]-ks)//step + 1,:(x.shape[3]-ks)//step + 1],
    'The largest may be below 0: do not start from zeros.': lambda x, ks, step: _max(x, ks, step).relu(),
    'The last place is missing: there are (n-ks)//stride + 1 of them.':
        lambda x, ks, step: _max(x, ks, step)[:,:,:-1,:-1]}

def _pool_hint(got, want, hint):
    if isinstance(got, tuple): return '`max(…)` gives values and places: take `amax(…)`.'
    if not isinstance(got, torch.Tensor) or got.shape == want.shape: return hint
    if got.shape == want.shape[2:]: return 'The largest of each picture and channel: `amax((2, 3))`.'
    if got.ndim < 4: return 'The places are rows and columns: `view` them so.'
    if got.shape[2:] == want.shape[:2] != got.shape[:2]: return 'Batch, channels first: `torch.stack(…, 2)`.'
    return 'Windows that stick out are left out.' if got.numel() > want.numel() else hint

def _pool_case(name, shape, ks, stride, hint='The largest of each window, for each channel by itself.'):
    def run(f):
        x = torch.randn(shape, generator=rng()) - 1
        want,before = F.max_pool2d(x, ks, stride),x.clone()
        got = f(x, ks, stride)
        mistakes = {text: partial(wrong, x, ks, stride) for text,wrong in _POOL.items()}
        same(got, want, f'x of {shape}, ks={ks}, stride={stride}', partial(_pool_hint, hint=hint), mistakes)
        require(x.equal(before), 'it changed x', hint='Leave x as it is: work on a copy.')
    return Case(name, run, hint)

def _pool_grad(f):
    x,y = (torch.randn(1, 2, 5, 5, generator=rng()).requires_grad_() for _ in range(2))
    F.max_pool2d(y, 2, 2).sum().backward()
    out = f(x, 2, 2)
    require(out.requires_grad, 'no gradient', hint='`.item()` cuts a number off from x: use `torch.stack`.')
    out.sum().backward()
    same(x.grad, y.grad, 'the gradient of its sum with regard to x')

@check('largest of each window')
def check_max_pool(f):  # Takes a batch of pictures, the window's side and the stride
    "Check pooling by the largest number"
    axes = 'Each channel by itself: `unfold` puts all channels into one axis, one after another.'
    return [_pool_case('one channel', (1, 1, 6, 6), 2, 2), _pool_case('three', (1, 3, 6, 6), 2, 2, axes),
            _pool_case('a batch', (4, 3, 6, 6), 2, 2, axes),
            _pool_case('windows that overlap', (2, 2, 7, 7), 3, 2, 'The window moves by stride, not by ks.'),
            _pool_case('not square', (2, 2, 6, 9), 3, 3, 'There are two numbers of places, down and across.'),
            _pool_case('a rest', (2, 2, 7, 8), 3, 2, 'The rest is left out.'), Case('gradients', _pool_grad)]

_FIELD = dict(sums='Each layer adds ks-1, not ks.', last='That is the last layer alone.',
              flat='The strides have no effect.', early='A stride counts for the layers after it.',
              gaps='The dilation has no effect.', pools='Pooling has no effect.', one='It is the kernel.',
              grad='A maximum hands its gradient to one pixel alone: add up the sizes of the layers.')

def _field_case(name, want, hint, *layers, **mistakes):
    def run(f):
        got,model = f(nn.Sequential(*layers) if layers[1:] else layers[0]),' '.join(map(str, layers))
        one = 'Return one number: in a pair both are equal.' if type(got) is tuple else 'Return an int.'
        require(type(got) is int, f'a {type(got).__name__} came, not a whole number', model, got, want, one)
        same(got, want, ' '.join(model.split()), hint, {_FIELD[k]: value for k,value in mistakes.items()})
    return Case(name, run, hint)

@check('receptive field')
def check_field(f):  # Takes a model, and returns a whole number
    "Check the side of what one number of a model's output sees"
    conv,seq,relu,pool = nn.Conv2d,nn.Sequential,nn.ReLU(),nn.MaxPool2d(2)
    steps = 'A layer adds ks-1 steps; a step is the product of the strides of the layers before it.'
    deep = '`model.modules()` gives all layers, in Sequentials in Sequentials, and one that stands alone.'
    pools = 'MaxPool2d and AvgPool2d have a kernel_size and a stride, too: numbers, or pairs.'
    gaps,three = 'With dilation d the kernel reaches over d*(ks-1) + 1 numbers.',conv(4, 4, 3)
    return [
        _field_case('one layer', 5, 'The sizes of a convolution are pairs.', conv(1, 8, 5), relu, one=1),
        _field_case('no Sequential', 5, deep, conv(1, 8, 5)),
        _field_case('two layers', 5, steps, conv(1, 4, 3), relu, three, sums=6, last=3),
        _field_case('strides', 17, steps, conv(1, 4, 5, 2), relu, conv(4, 4, 3, 2), three, flat=9, early=25),
        _field_case('a kernel of one', 5, 'Pixels between those it sees count.', conv(1, 4, 1, 2), three),
        _field_case('nested', 7, deep, seq(conv(1, 4, 3, 2)), seq(seq(conv(4, 4, 3, 2))), flat=5, last=3),
        _field_case('pooling', 16, pools, conv(1, 4, 3), pool, nn.AvgPool2d(3, 2), three, pools=5, grad=15),
        _field_case('padding', 5, 'Padding does not widen what is seen.', conv(1, 4, 3, padding=2), three),
        _field_case('dilation', 11, gaps, conv(1, 4, 3, dilation=2), conv(4, 4, 3, dilation=3), gaps=5)]

def _by_hand(f, *tensors):  # where autograd writes nothing down
    try:
        with torch.inference_mode(): return f(*(t.clone() for t in tensors))
    except RuntimeError as e:
        if 'require grad' not in str(e): raise
        raise Mismatch('autograd was asked', hint='By hand: sums and products of x, w and g.') from e

def _grads_case(name, ni, nf, ks, size, bs=1):
    def run(f):
        x,w = torch.randn(bs, ni, *size, generator=rng()),torch.randn(nf, ni, *ks, generator=rng(1))
        leaves = [t.clone().requires_grad_() for t in (x, w)]
        out,(kh,kw) = F.conv2d(*leaves),ks
        g = torch.randn(out.shape, generator=rng(2))
        dx,dw = torch.autograd.grad(out, leaves, g)
        got,pair = _by_hand(f, x, w, g),'Return two tensors: `return dx,dw`.'
        require(isinstance(got, (tuple, list)) and len(got) == 2, 'it is not a pair', got=got, hint=pair)
        given = f'x {tuple(x.shape)}, w {tuple(w.shape)}, g {tuple(g.shape)}'
        same(got[1], dw, f'the gradient of w, for {given}', mistakes={
            'The two have changed places: x comes first.': dx,
            'A weight meets all pictures: add up over the batch, no mean.': dw/bs,
            'That is the first picture alone.': lambda: torch.nn.grad.conv2d_weight(x[:1], w.shape, g[:1])},
            hint='Weight (k,c,i,j): the sum, over pictures and places, of g[:,k] times x[:,c] moved by i, j.')
        same(got[0], dx, f'the gradient of x, for {given}', mistakes={
            'The kernel lies the wrong way round: what was moved by (i, j) moves back.':
                F.conv2d(F.pad(g, (kw-1, kw-1, kh-1, kh-1)), w.transpose(0, 1))},
            hint='Each shift goes back: g times a weight is added where its pixels came from.')
    return Case(name, run, 'g has an axis for the kernels, x one for the channels, and w has both.')

@check('backward pass of a convolution')
def check_conv_grads(f):  # Takes x, w and the gradient of the output; returns the gradients of x and w
    "Check the gradients of a convolution by hand"
    return [_grads_case('one channel', 1, 1, (3, 3), (5, 5)), _grads_case('kernels', 1, 3, (3, 3), (5, 5)),
            _grads_case('channels', 2, 3, (3, 3), (6, 6)), _grads_case('not square', 2, 3, (2, 4), (5, 7)),
            _grads_case('a batch', 2, 3, (3, 3), (6, 6), bs=4)]
