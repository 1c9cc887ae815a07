"Checks of lesson 22_resnet"
import torch, torch.nn.functional as F
from torch import nn
from .kit import Case, check, require, rng, same


def _parts(block):
    "Convolutions and norms of a block"
    return [[m for m in block.modules() if isinstance(m, kind)] for kind in (nn.Conv2d, nn.BatchNorm2d)]

def _shaken(block, seed=0):
    "The block in eval mode, each of its numbers a random one"
    with torch.no_grad():
        for t in (*block.parameters(), *block.buffers()):
            if t.is_floating_point(): t.copy_(torch.rand(t.shape, generator=rng(seed)) + 0.1)
        for conv in _parts(block)[0]: conv.weight.normal_(0, 0.5, generator=rng(seed + 1))
    return block.eval()

@check('a bottleneck')
def check_bottleneck(make):  # Makes the block from the number of channels
    "Check a residual block whose 3 by 3 kernels work on a quarter of the channels"
    x = torch.randn(2, 16, 5, 5, generator=rng())
    def shape(make):
        out = make(16)(x)
        require(out is not None, 'forward gave None: is there a `return`?', hint='Return what comes out.')
        same(tuple(out.shape), (2, 16, 5, 5), 'a batch of shape (2, 16, 5, 5)')
    def layers(make):
        convs,norms = _parts(make(16))
        want = [(4, 16, 1, 1), (4, 4, 3, 3), (16, 4, 1, 1)]
        require(convs, 'no convolution is found', hint='A plain list hides layers: use an nn.Sequential.')
        same([tuple(c.weight.shape) for c in convs], want, 'the weights of the convolutions, c = 16',
             mistakes={'All three work on a quarter? The last goes back to c channels.':
                       [(4, 16, 1, 1), (4, 4, 3, 3), (4, 4, 1, 1)],
                       'Only the one in the middle is 3 by 3.': [(4, 16, 3, 3), (4, 4, 3, 3), (16, 4, 3, 3)]})
        strides = [c.stride for c in convs]
        same(strides, [(1, 1)]*3, 'the strides', hint="conv's stride is 2 unless told: stride=1.")
        same(sorted(n.num_features for n in norms), [4, 4, 16], 'the channels of the batch norms',
             hint='A batch norm behind each convolution.')
    def numbers(make):
        block = _shaken(make(16))
        (one,two,three),(a,b,c) = _parts(block)
        def until_last(act=F.relu): return c(three(act(b(two(act(a(one(x))))))))
        same(block(x), F.relu(until_last() + x), 'a block in eval mode with random weights', mistakes={
            'Where is the shortcut? Add x.': lambda: F.relu(until_last()),
            'A ReLU at the end, behind the sum.': lambda: until_last() + x,
            'Not there: first the sum, then the ReLU.': lambda: F.relu(until_last()) + x,
            'One ReLU too many: only behind the sum.': lambda: F.relu(F.relu(until_last()) + x),
            'A ReLU behind the first and the second norm.': lambda: F.relu(until_last(lambda t: t) + x)})
    return [Case('the shape stays', shape, 'The 3 by 3 kernels need a padding of 1; no stride anywhere.'),
            Case('the layers', layers, '1 by 1 to c//4 channels, 3 by 3 there, 1 by 1 back to c.'),
            Case('the numbers', numbers, 'Convolution, norm, ReLU; again; convolution, norm; + x; ReLU.')]

@check('costs by hand')
def check_block_costs(f):  # A function of ni, nf, stride, h and w
    "Check the parameters and multiplications of a ResBlock"
    def case(name, ni, nf, stride, h, w, hint):
        def run(f):
            after,full,extra = h//stride*(w//stride),h*w,ni != nf
            def params(bias=1, idconv=extra, ks=9, third=1):
                return ks*ni*nf + ks*nf*nf + 2*nf*bias + idconv*(ni*nf + nf*bias*third)
            def work(first=full, second=after, third=after, idconv=extra, ks=9):
                return ks*ni*nf*first + ks*nf*nf*second + idconv*ni*nf*third
            want = params(),work()
            got = f(ni, nf, stride, h, w)
            same(tuple(got) if isinstance(got, list) else got, want, (ni, nf, stride, h, w), mistakes={
                'Each convolution has a bias, a number for each channel that goes out.': (params(0), work()),
                "The shortcut's convolution has a bias, too.": (params(third=0), work()),
                'Parameters first, then multiplications.': want[::-1],
                'The shortcut has a convolution of 1 by 1 where ni is not nf.': (params(idconv=0),
                                                                                 work(idconv=0)),
                'Where ni is nf the shortcut has no convolution.': (params(idconv=1), work(idconv=1)),
                'The first works on the whole picture: no stride there.': (params(), work(first=after)),
                'The second convolution has the stride: it is laid over a quarter of the places.':
                    (params(), work(second=full)),
                'The shortcut takes the mean first: its convolution works on the small picture.':
                    (params(), work(third=full)),
                'A 3 by 3 kernel has nine weights for each channel.': (params(ks=3), work(ks=3)),
                'A bias is added, not multiplied.': (params(), work() + 2*nf*after)})
        return Case(name, run, hint)
    return [case('same channels', 8, 8, 1, 4, 6, 'Two convolutions; the shortcut does nothing.'),
            case('more channels', 8, 16, 1, 4, 4, 'The first has ni*nf*9 weights, the second nf*nf*9.'),
            case('a stride', 8, 8, 2, 8, 6, 'A weight is used once for each place of the output.'),
            case('both', 3, 10, 2, 6, 4, 'The shortcut: a mean, then a convolution of 1 by 1.')]

@check('without one')
def check_without(f):  # A function of a Sequential and a number
    "Check a network that lacks one of its layers"
    def case(name, i, hint):
        def run(f):
            model = nn.Sequential(*[nn.Linear(3, 3) for _ in range(4)])
            layers,given,want = list(model),f'4 layers, i={i}',[n for n in range(4) if n != i]
            got = f(model, i)
            require(list(model) == layers, 'the model has changed', given, list(model),
                    hint='Make a new Sequential; the model keeps all of its layers.')
            require(got is not None, 'it is None: is there a `return`?', given)
            require(isinstance(got, nn.Sequential), f'a {type(got).__name__} came, not a Sequential', given,
                    hint='nn.Sequential takes layers one by one: nn.Sequential(*layers).')
            places = [layers.index(m) if m in layers else '?' for m in got]
            inner = any(isinstance(m, nn.Sequential) for m in got)
            require(not inner, 'a Sequential is inside', given, hint='Unpack the layers with a *.')
            require(len(got) < 4, 'it has as many layers', given, hint='One layer fewer, not a stand-in.')
            require('?' not in places, 'some of its layers are not those of the model', given,
                    hint='The same layers, not copies: what is trained in one is trained in the other.')
            same(places, want, given + ': the numbers of those that are left')
        return Case(name, run, hint)
    return [case('in the middle', 2, 'All layers but the one whose number is i.'),
            case('the first', 0, 'model[:0] is empty, model[1:] is the rest.'),
            case('the last', 3, 'Behind it nothing is left.')]
