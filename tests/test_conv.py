"Lesson 19_convolutions: kernels, layers of them, batches on a device"
import copy, itertools, pickle
import hypothesis.strategies as st
import pytest, torch
from hypothesis import given, settings
from torch import nn
from miniai import loop
from miniai.conv import Conv2d, collate_device, conv, def_device, out_size, to_device
from miniai.layers import Linear, ReLU, Sequential

SIZES = st.one_of(st.integers(1, 4), st.tuples(st.integers(1, 4), st.integers(1, 4)))
PADS = st.one_of(st.integers(0, 3), st.tuples(st.integers(0, 3), st.integers(0, 3)))


def pair(seed, *args, **kwargs):
    "Ours and PyTorch's from the same seed"
    layers = []
    for cls in (Conv2d, nn.Conv2d):
        torch.manual_seed(seed)
        layers.append(cls(*args, **kwargs))
    return layers


def by_loops(x, weight, bias, stride, padding):
    "Each number of the result by itself, in float64, from nothing but indexing"
    (bs,ni,h,w),(nf,_,kh,kw),(sh,sw),(ph,pw) = x.shape,weight.shape,stride,padding
    padded = torch.zeros(bs, ni, h + 2*ph, w + 2*pw, dtype=torch.float64)
    padded[:,:,ph:ph+h,pw:pw+w] = x
    rows = [r for r in range(0, padded.shape[2], sh) if r + kh <= padded.shape[2]]
    cols = [c for c in range(0, padded.shape[3], sw) if c + kw <= padded.shape[3]]
    out = torch.zeros(bs, nf, len(rows), len(cols), dtype=torch.float64)
    for (i,r),(j,c) in itertools.product(enumerate(rows), enumerate(cols)):
        patch = padded[:,:,r:r+kh,c:c+kw]
        for k in range(nf): out[:,k,i,j] = (patch*weight[k]).sum((1, 2, 3))
    return out if bias is None else out + bias[:,None,None]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), SIZES, SIZES, PADS, st.booleans(), st.booleans(),
       st.integers(0, 2), st.integers(4, 9), st.integers(4, 9), st.integers(0, 10))
def test_conv2d_is_pytorchs(ni, nf, ks, stride, padding, bias, training, bs, h, w, seed):
    "Values, gradients, text and state dict; values also equal those of plain loops"
    ours,theirs = (m.train(training) for m in pair(seed, ni, nf, ks, stride, padding, bias=bias))
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    xs = [torch.randn(bs, ni, h, w, generator=torch.Generator().manual_seed(seed), requires_grad=True)
          for _ in range(2)]
    outs = [m(x) for m,x in zip((ours, theirs), xs)]
    assert outs[0].equal(outs[1])
    factor = torch.randn(outs[0].shape)
    for out in outs: (out*factor).sum().backward()
    assert xs[0].grad.equal(xs[1].grad)
    for p,q in zip(ours.parameters(), theirs.parameters()): assert p.equal(q) and p.grad.equal(q.grad)
    weight,b = ours.weight.detach().double(),ours.bias.detach().double() if bias else None
    ref = by_loops(xs[0].detach().double(), weight, b, ours.stride, ours.padding)
    assert ref.shape == outs[0].shape
    torch.testing.assert_close(outs[0].double(), ref, rtol=1e-4, atol=1e-5)
    sizes = [out_size(*a) for a in zip((h, w), ours.kernel_size, ours.stride, ours.padding)]
    assert list(outs[0].shape[2:]) == sizes


def test_conv2d_lives_like_other_modules():
    ours,theirs = pair(0, 2, 3, 3, 2, 1)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    again = pickle.loads(pickle.dumps(copy.deepcopy(ours)))
    x = torch.randn(2, 2, 8, 8)
    assert again(x).equal(theirs(x)) and ours(x[0]).equal(theirs(x[0]))  # one picture without a batch, too
    torch.testing.assert_close(ours.to(torch.float64)(x.double()).float(), theirs(x))
    net = Sequential(ours, ReLU(), nn.Flatten(), Linear(48, 2))
    assert len(list(net.parameters())) == 4


BAD = {  # arguments, and what the message must say
    'no channels': ((0, 8, 3), 'in_channels must be a whole number from 1 on, got 0'),
    'half a channel': ((1, 8.5, 3), 'out_channels must be a whole number from 1 on, got 8.5'),
    'no kernel': ((1, 8, 0), 'kernel_size must be a whole number from 1 on, got 0'),
    'three sizes': ((1, 8, (3, 3, 3)), r'kernel_size must be one number, or two .* got \(3, 3, 3\)'),
    'no stride': ((1, 8, 3, 0), 'stride must be a whole number from 1 on, got 0'),
    'less than no padding': ((1, 8, 3, 1, -1), 'padding must be a whole number from 0 on, got -1'),
    'padding in words': ((1, 8, 3, 1, 'same'), "padding must be a whole number from 0 on, got 'same'")}

@pytest.mark.parametrize('name', BAD)
def test_conv2d_refuses_arguments(name):
    args,message = BAD[name]
    with pytest.raises(ValueError, match=message): Conv2d(*args)


def test_conv2d_takes_no_sixth_argument_by_place():
    "In PyTorch's it is the dilation, which ours does not have"
    with pytest.raises(TypeError): Conv2d(1, 8, 3, 1, 1, 2)
    with pytest.raises(TypeError, match='dilation'): Conv2d(1, 8, 3, dilation=2)


MISFITS = {  # layer, input, and what the message must say
    'flat': ((1, 8, 3), torch.zeros(64, 784), r'shape \(64, 784\).*\(batch, 1, height, width\)'),
    'no axis for the channel': ((1, 8, 3), torch.zeros(64, 28, 28), r'64 channels.*takes 1.*x\[:,None\]'),
    'channels last': ((3, 8, 3), torch.zeros(4, 28, 28, 3), r'28 channels.*takes 3.*movedim\(-1, -3\)'),
    'one grey picture, channel last': ((1, 8, 3), torch.zeros(28, 28, 1), r'movedim\(-1, -3\)'),
    'maps as wide as channels': ((8, 16, 3), torch.zeros(4, 16, 8, 8),
                                 'x has 16 channels, this layer takes 8$'),
    'other channels': ((8, 16, 3), torch.zeros(4, 4, 9, 9), 'x has 4 channels, this layer takes 8$'),
    'nothing left': ((1, 8, 5), torch.zeros(4, 1, 3, 9),
                     'kernel of 5 by 5 does not fit into 3 by 9, so nothing'),
    'padding counts': ((1, 8, (3, 6), 2, (0, 1)), torch.zeros(4, 1, 3, 3), '3 by 6 does not fit into 3 by 5'),
    'bytes': ((1, 8, 3), torch.zeros(4, 1, 9, 9, dtype=torch.uint8),
              r'make it torch.float32 .*x.float\(\)/255')}

@pytest.mark.parametrize('name', MISFITS)
def test_conv2d_says_what_does_not_fit(name):
    args,x,message = MISFITS[name]
    with pytest.raises(ValueError, match=message) as e: Conv2d(*args)(x)
    assert str(e.value).startswith(f'Conv2d({args[0]}, {args[1]}, kernel_size=')


def test_conv_is_pytorchs_layer():
    "COMPAT section 3: padding is ks//2; with act a Sequential, else the bare layer"
    layer = conv(1, 8)
    assert type(layer) is nn.Sequential and [type(m) for m in layer] == [nn.Conv2d, nn.ReLU]
    assert repr(layer[0]) == repr(nn.Conv2d(1, 8, 3, 2, 1))
    assert repr(conv(3, 4, 5, 1, False)) == repr(nn.Conv2d(3, 4, 5, 1, 2))
    assert type(conv(3, 4, act=None)) is nn.Conv2d
    pickle.loads(pickle.dumps(layer))


@pytest.mark.parametrize('kwargs', [dict(ni=0), dict(nf='8'), dict(ks=0), dict(ks=(3, 3)), dict(stride=0)])
def test_conv_refuses_arguments(kwargs):
    name, = kwargs
    with pytest.raises(ValueError, match=f'{name} must be a whole number from 1 on, got'):
        conv(**{**dict(ni=1, nf=8), **kwargs})


def test_conv_takes_no_other_activation():
    with pytest.raises(TypeError, match='act must be True, for a ReLU, or False'): conv(1, 8, act=nn.Tanh)


def test_collate_device(monkeypatch):
    assert (def_device, to_device) == (loop.def_device, loop.to_device)
    b = collate_device([dict(image=torch.ones(2, 2), label=3), dict(image=torch.zeros(2, 2), label=4)])
    assert b['image'].shape == (2, 2, 2) and b['label'].tolist() == [3, 4]
    assert {t.device.type for t in b.values()} == {def_device}
    xb,yb = collate_device([(torch.ones(2), 1)]*3)
    assert xb.shape == (3, 2) and yb.tolist() == [1]*3
    monkeypatch.setattr(to_device, '__defaults__', ('meta',))
    assert collate_device([torch.ones(2)]).device.type == 'meta'
