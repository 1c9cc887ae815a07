"Checks of lesson 21_initializing"
import copy, torch, torch.nn.functional as F
from functools import partial
from torch import nn
from miniai.init import GeneralRelu
from .kit import Case, check, require, rng, same

def _gain_case(name, act):
    def run(f):
        z,tries = torch.linspace(-8, 8, 20001, dtype=torch.float64),[f(act), f(act)]
        got,again = (g.item() if isinstance(g, torch.Tensor) and g.numel() == 1 else g for g in tries)
        require(got is None or abs(got - again) < 0.04*again, f'twice asked, it says {got} and {again}',
                hint='So much is chance: take more numbers, 100,000.')
        y,even,p = act(z),act(z/8).pow(2).mean().item(),(-z*z/2).softmax(0)  # p: the bell curve
        mean,absolute,square = ((p*v).sum().item() for v in (y, y.abs(), y*y))
        same(got, square**-0.5, name, rtol=0.02, mistakes={
            'That is the size; the gain is one over it.': square**0.5,
            'That is one over the mean square: take its root first.': 1/square,
            "That is one over the deviation: the size doesn't subtract the mean.": (square - mean**2)**-0.5,
            'That is one over the mean of the absolute values: square, mean, root.': 1/absolute,
            'These numbers are spread evenly between -1 and 1: take `randn`.': even**-0.5})
    return Case(name, run, '100,000 numbers from randn; of what f makes of them 1/root of the mean square.')

@check('measured gain')
def check_gain(f):  # Takes an activation and returns a number
    "Check the gain of activations, measured"
    return [_gain_case('no activation', nn.Identity()), _gain_case('ReLU', nn.ReLU()),
            _gain_case('leaky ReLU, slope 0.5', nn.LeakyReLU(0.5)), _gain_case('tanh', torch.tanh),
            _gain_case('leaky and shifted', GeneralRelu(leak=0.1, sub=0.4))]

def _rms(x, weight=1., eps=1e-5, wrong=''):
    "RMSNorm, with a mistake"
    dims = dict(all=list(range(x.dim())), batch=0).get(wrong, -1)
    def mean(t): return t.mean(dims, keepdim=True)
    square = mean((x - mean(x)*(wrong in ('centred', 'deviation')))**2)*(x.shape[-1] if wrong == 'sum' else 1)
    size = (square + eps*(wrong not in ('outside', 'no eps'))).sqrt() + eps*(wrong == 'outside')
    if wrong == 'square': size = square + eps
    return (x - mean(x) if wrong == 'centred' else x)/size*(1 if wrong == 'no weight' else weight)

_RMS = {'centred': 'That is layer norm: leave the mean alone, subtract nothing.',
        'deviation': 'It divides by the deviation; the size is the root of the mean of the squares.',
        'outside': 'eps stands outside the root: add it to the mean square.',
        'no eps': 'eps has no effect: add it to the mean square, before the root.',
        'square': 'It divides by the mean square: take its root.',
        'sum': 'It divides by the root of the sum of squares: take their mean.',
        'all': 'One size for the whole batch: each sample has its own, over the last dimension.',
        'batch': 'The mean is over the batch: take it over the last dimension.',
        'no weight': 'The weight has no effect: multiply by it at the end.'}

def _rms_case(name, shape, eps, scale):
    x = 1 + scale*torch.randn(shape, generator=rng(3))
    def run(cls):
        n,weight = shape[-1],torch.linspace(0.5, 2, shape[-1])
        norm = cls(n, eps)
        names,form = [k for k,_ in norm.named_parameters()],'self.weight = Parameter(torch.ones(n)); no bias.'
        require(names == ['weight'], f'its parameters are {names}', hint=form)
        same(norm.weight.detach(), torch.ones(n), 'the weight at the start', form)
        norm.load_state_dict({'weight': weight})
        given,want = x.clone().requires_grad_(),x.clone().requires_grad_()
        mistakes = {hint: partial(_rms, x, weight, eps, wrong) for wrong,hint in _RMS.items()}
        with torch.no_grad(): out = norm(x.clone())
        same(out, _rms(x, weight, eps), f'x of shape {shape}, eps={eps}', mistakes=mistakes)
        norm(given*1).pow(3).sum().backward()
        _rms(want, weight, eps).pow(3).sum().backward()
        same(given.grad, want.grad, 'the gradient of x', 'The size depends on x: no `detach` or `no_grad`.')
    return Case(name, run, 'x / root of (mean of x*x over the last dimension + eps), times the weight.')

@check('RMSNorm')
def check_rms_norm(cls):  # Your `RMSNorm(n, eps)`
    "Check a normalization by size alone"
    return [_rms_case('rows', (5, 8), 1e-5, 2.), _rms_case('a large eps', (5, 8), 0.5, 0.3),
            _rms_case('sequences', (3, 4, 6), 1e-5, 2.)]

def _folded(conv, bn, x, wrong=''):
    "What the folded convolution gives, with a mistake"
    var,mean = bn.running_var,bn.running_mean*(wrong != 'no mean')
    root = var + bn.eps if wrong == 'no root' else (var + bn.eps*(wrong != 'no eps')).sqrt()
    scale = bn.weight/root if wrong != 'no weight' else 1/root
    bias = torch.zeros_like(mean) if conv.bias is None or wrong == 'no old bias' else conv.bias
    shift = bias*scale**(wrong != 'bias not scaled') - mean*scale**(wrong != 'mean not scaled')
    shift = shift + bn.bias*(wrong != 'no new bias')
    wide = scale.view(1, -1, 1, 1) if wrong == 'wrong axis' else scale.view(-1, 1, 1, 1)
    return F.conv2d(x, conv.weight*wide, shift, conv.stride, conv.padding, conv.dilation)

_FOLD = {'no mean': 'The running mean is not subtracted: it goes into the bias.',
         'no root': 'It divides by the variance: take the root of variance + eps.',
         'no eps': 'eps is missing: it is added to the variance, before the root (`bn.eps`).',
         'no weight': "The norm's own scale is missing: bn.weight.",
         'no old bias': "The convolution's own bias is lost.",
         'bias not scaled': "The convolution's bias goes through the norm, too: multiply it by the scale.",
         'mean not scaled': 'The mean is subtracted before the scaling: multiply it by the scale, too.',
         'no new bias': "The norm's shift is missing: add bn.bias at the end.",
         'wrong axis': 'The scale is on the axis of the inputs: make it of shape (nf, 1, 1, 1).'}

def _fold_case(name, **options):
    def run(f):
        conv,bn,g = nn.Conv2d(4, 4, **options),nn.BatchNorm2d(4, eps=0.2),rng(7)
        for t,low in ((bn.weight, 0.5), (bn.bias, -1), (bn.running_mean, -2), (bn.running_var, 0.3)):
            t.data.copy_(torch.rand(4, generator=g)*2 + low)
        x,before = torch.randn(2, 4, 9, 9, generator=g),copy.deepcopy((conv.state_dict(), bn.state_dict()))
        new = f(conv, bn)
        stay = 'Work on a new one (copy.deepcopy, or nn.Conv2d(…)); what came in stays as it was.'
        require(isinstance(new, nn.Conv2d) and new is not conv, 'it is no new nn.Conv2d', got=new, hint=stay)
        after = dict(conv.state_dict()),dict(bn.state_dict())
        same(after, tuple(map(dict, before)), 'the layers that came in', stay)
        axes,sizes = _FOLD['wrong axis'],'Stride, padding and dilation are those of the old one.'
        require(new.weight.shape == conv.weight.shape, 'the weight has another shape', hint=axes)
        mistakes = {text: partial(_folded, conv, bn, x, wrong) for wrong,text in _FOLD.items()}
        with torch.no_grad(): got,want = new(x),_folded(conv, bn, x)
        same(got, want, f'{options}', sizes*(got.shape != want.shape), mistakes, atol=1e-4)
    return Case(name, run, 'weight*scale; (bias - running_mean)*scale + bn.bias; scale = bn.weight/root.')

@check('fold')
def check_fold(f):  # Takes an nn.Conv2d and an nn.BatchNorm2d, and returns an nn.Conv2d
    "Check one convolution that does what a convolution and a batch norm do in evaluation"
    return [_fold_case('one by one', kernel_size=1), _fold_case('without a bias', kernel_size=3, bias=False),
            _fold_case('stride and padding', kernel_size=3, stride=2, padding=2, dilation=2)]
