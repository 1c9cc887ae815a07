"Lesson 03: solutions, and the mistakes that the checks must name"
from functools import wraps
import torch, torch.nn.functional as F
from miniai.backprop import Layer, Tape
from miniai.check.backprop import check_backward
from miniai.check.autograd import check_tape


def exercise(check, *args, **kwargs):
    "The check as the exercise calls it"
    @wraps(check)
    def run(solution): return check(solution, *args, **kwargs)
    return run


class Sigmoid(Layer):
    def forward(self, x): return 1/(1 + (-x).exp())
    def gradient(self, grad, x): return grad * self.out * (1-self.out)


class PlainSigmoid:
    "With forward and backward, and no base class"
    def forward(self, x):
        self.result = torch.sigmoid(x)
        return self.result
    def backward(self, grad): return grad * self.result * (1-self.result)


class SigmoidStub(Layer):
    def forward(self, x): raise NotImplementedError
    def gradient(self, grad, x): raise NotImplementedError


class SlopeAlone(Sigmoid):
    def gradient(self, grad, x): return self.out * (1-self.out)


class SlopeOfInput(Sigmoid):
    def gradient(self, grad, x): return grad * x * (1-x)


class HandsOn(Sigmoid):
    def gradient(self, grad, x): return grad


class ReturnsNothing(Sigmoid):
    def gradient(self, grad, x): grad * self.out * (1-self.out)


class FirstResult(Sigmoid):
    def forward(self, x):
        if not hasattr(self, 'first'): self.first = super().forward(x)
        return super().forward(x)
    def gradient(self, grad, x): return grad * self.first * (1-self.first)


class Scale(Layer):
    def __init__(self, s): self.s = s
    def forward(self, x): return x*self.s
    def gradient(self, grad, x):
        self.s.grad = (x*grad).sum(0)
        return grad*self.s


def scale(f):
    "A `Scale` whose gradients of s and x are those that `f(grad, x, s)` returns"
    class Scaled(Scale):
        def gradient(self, grad, x):
            s_grad,x_grad = f(grad, x, self.s)
            if s_grad is not None: self.s.grad = s_grad
            return x_grad
    return Scaled


class CopiesScale(Scale):
    def __init__(self, s): self.s = s.clone()


class KeptRows(Scale):
    "Where `.grad` does not take it, in an attribute of another name"
    def gradient(self, grad, x):
        self.s_grad = x*grad
        return grad*self.s


class Mae(Layer):
    def forward(self, pred, targ): return (pred-targ).abs().mean()
    def gradient(self, grad, pred, targ): return grad * (pred-targ).sign()/pred.numel()


def mae(f):
    class Wrong(Mae):
        def gradient(self, grad, pred, targ): return f(pred, targ)
    return Wrong


def tanh(a):
    result = a.data.tanh()
    return Tape(result, (a, lambda g: g*(1-result**2)))


def tanh_of_exp(a): return 1 - 2/((2*a).exp() + 1)
def tanh_tensor(a): return a.data.tanh()
def tanh_no_source(a): return Tape(a.data.tanh())
def tanh_slope_alone(a): return Tape(a.data.tanh(), (a, lambda g: 1-a.data.tanh()**2))
def tanh_of_input(a): return Tape(a.data.tanh(), (a, lambda g: g*(1-a.data**2)))
def tanh_no_return(a): Tape(a.data.tanh(), (a, lambda g: g))
def tanh_stub(a): raise NotImplementedError


EXERCISES = [
    (exercise(check_backward, torch.sigmoid), [Sigmoid, PlainSigmoid, PlainSigmoid()], [
        (SigmoidStub, 'This is the stub'),
        (SlopeAlone, 'The chain rule multiplies it by `grad`'),
        (SlopeOfInput, 'the gradient of x'),
        (HandsOn, 'multiply it by the slope of the layer itself'),
        (ReturnsNothing, 'is there a `return`?'),
        (FirstResult, 'does forward keep the newest input?')]),
    (exercise(check_backward, lambda x,s: x*s, params=('k',)), [Scale], [
        (scale(lambda g,x,s: ((x*g).mean(0), g*s)), 'This is the mean over the batch'),
        (scale(lambda g,x,s: (x.sum(0), g*s)), 'The chain rule multiplies it by `grad`'),
        (scale(lambda g,x,s: (g.sum(0), g*s)), 'the gradient of s'),
        (scale(lambda g,x,s: ((x*g).sum(0), g)), 'multiply it by the slope of the layer itself'),
        (scale(lambda g,x,s: (None, g*s)), 'self.s.grad = '),
        (CopiesScale, 'not a copy'),
        (KeptRows, 'self.s.grad = ')]),
    (exercise(check_backward, F.l1_loss, inputs=('n k', 'n k')), [Mae], [
        (mae(lambda p,t: (p-t).sign()), 'A mean over n numbers divides by n'),
        (mae(lambda p,t: (t-p).sign()/p.numel()), 'The sign is wrong'),
        (mae(lambda p,t: (p-t).sign()/len(p)), 'use numel()'),
        (mae(lambda p,t: 2*(p-t)/p.numel()), 'the gradient of input')]),
    (exercise(check_tape, torch.tanh, Tape), [tanh], [
        (tanh_stub, 'This is the stub'),
        (tanh_tensor, 'Tape(result, (a, lambda g: …))'),
        (tanh_no_source, 'The result must know its sources'),
        (tanh_slope_alone, 'The chain rule multiplies it by `grad`'),
        (tanh_of_input, 'Multiply that by the gradient that comes in'),
        (tanh_no_return, 'is there a `return`?')]),
]
