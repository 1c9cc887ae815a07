"Lesson 03: solutions, and the mistakes that the checks must name"
from functools import wraps
import torch, torch.nn.functional as F
from miniai.backprop import Layer
from miniai.check.backprop import check_backward


def exercise(check, *args, **kwargs):
    "The check as the exercise calls it"
    @wraps(check)
    def run(solution): return check(solution, *args, **kwargs)
    return run


class Sigmoid(Layer):
    def forward(self, x): return 1/(1 + (-x).exp())
    def gradient(self, grad, x): return grad * self.out * (1-self.out)


class SigmoidOfInput(Layer):
    "The slope from the input"
    def forward(self, x): return x.sigmoid()
    def gradient(self, grad, x):
        e = (-x).exp()
        return grad * e/(1 + e)**2


class PlainSigmoid:
    "With forward and backward, and no base class"
    def forward(self, x):
        self.result = torch.sigmoid(x)
        return self.result
    def backward(self, grad): return grad * self.result * (1-self.result)


class SigmoidStub(Layer):
    def forward(self, x): raise NotImplementedError
    def gradient(self, grad, x): raise NotImplementedError


class NoLayer:
    "`class Sigmoid:` without `(Layer)`"
    def forward(self, x): return torch.sigmoid(x)
    def gradient(self, grad, x): return grad * x.sigmoid() * (1-x.sigmoid())


class SlopeAlone(Sigmoid):
    def gradient(self, grad, x): return self.out * (1-self.out)


class SlopeOfInput(Sigmoid):
    def gradient(self, grad, x): return grad * x * (1-x)


class HandsOn(Sigmoid):
    def gradient(self, grad, x): return grad


class ReturnsNothing(Sigmoid):
    def gradient(self, grad, x): grad * self.out * (1-self.out)


class NoForward(Sigmoid):
    "`forward` without a return"
    def forward(self, x): torch.sigmoid(x)


class Misspelt(Layer):
    def foward(self, x): return torch.sigmoid(x)


class InPlace(Sigmoid):
    def gradient(self, grad, x):
        grad *= self.out * (1-self.out)
        return grad


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


class ScaleByMatrix(Layer):
    "The scale as a diagonal matrix"
    def __init__(self, s): self.s = s
    def forward(self, x): return x @ self.s.diag()
    def gradient(self, grad, x):
        self.s.grad = (x.t() @ grad).diagonal().clone()
        return grad @ self.s.diag()


class ScaleByLoop(Scale):
    def gradient(self, grad, x):
        self.s.grad = torch.zeros_like(self.s)
        for row,g in zip(x, grad): self.s.grad += row*g
        return torch.stack([g*self.s for g in grad])


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


class RowsByScale(Scale):
    def forward(self, x): return x @ self.s


class Mae(Layer):
    def forward(self, pred, targ): return (pred-targ).abs().mean()
    def gradient(self, grad, pred, targ): return grad * (pred-targ).sign()/pred.numel()


class MaeByWhere(Mae):
    def gradient(self, grad, pred, targ):
        slope = torch.where(pred > targ, 1., torch.where(pred < targ, -1., 0.))
        return grad * slope.to(pred.dtype)/targ.numel()


class MaeByMasks(Mae):
    def gradient(self, grad, pred, targ):
        d = pred-targ
        return ((d > 0).to(d.dtype) - (d < 0).to(d.dtype))*grad/(d.shape[0]*d.shape[1])


def mae(f):
    class Wrong(Mae):
        def gradient(self, grad, pred, targ): return f(pred, targ)
    return Wrong


class MaeNoMean(Mae):
    def forward(self, pred, targ): return (pred-targ).abs()


class UnitRows(Layer):
    def forward(self, x): return x / (x**2).sum(1, keepdim=True).sqrt()
    def gradient(self, grad, x):
        along = (grad*self.out).sum(1, keepdim=True)
        return (grad - self.out*along) / (x**2).sum(1, keepdim=True).sqrt()


class UnitRowsTwoWays(UnitRows):
    "Directly, and through the length"
    def gradient(self, grad, x):
        r = x.norm(dim=1, keepdim=True)
        r_grad = (grad * -x/r**2).sum(1, keepdim=True)
        return grad/r + r_grad * x/r


class UnitRowsByMatrix(UnitRows):
    "Each row's table of slopes"
    def gradient(self, grad, x):
        rows = []
        for y,v,g in zip(self.out, x, grad):
            rows.append((torch.eye(len(v), dtype=v.dtype) - y[:,None]*y)@g / v.norm())
        return torch.stack(rows)


def unit(f):
    class Wrong(UnitRows):
        def gradient(self, grad, x): return f(grad, x, (x**2).sum(1, keepdim=True).sqrt())
    return Wrong


class WholeLength(UnitRows):
    def forward(self, x): return x / (x**2).sum().sqrt()


EXERCISES = [
    (exercise(check_backward, torch.sigmoid), [Sigmoid, SigmoidOfInput, PlainSigmoid, PlainSigmoid()], [
        (SigmoidStub, 'This is the stub'),
        (NoLayer, '(Layer): gives it one'),
        (Misspelt, 'needs a method forward'),
        (NoForward, 'is there a `return`?'),
        (SlopeAlone, 'The chain rule multiplies it by `grad`'),
        (SlopeOfInput, 'the gradient of '),
        (HandsOn, 'multiply it by the slope of this step itself'),
        (ReturnsNothing, 'is there a `return`?'),
        (InPlace, 'no `-=` or `*=`'),
        (FirstResult, 'does forward keep the newest input?')]),
    (exercise(check_backward, lambda x,s: x*s, params=('k',)), [Scale, ScaleByMatrix, ScaleByLoop], [
        (scale(lambda g,x,s: ((x*g).mean(0), g*s)), 'This is the mean over the batch'),
        (scale(lambda g,x,s: (x.sum(0), g*s)), 'The chain rule multiplies it by `grad`'),
        (scale(lambda g,x,s: (g.sum(0), g*s)), 'the gradient of s'),
        (scale(lambda g,x,s: (x*g, g*s)), 'Sum over the batch, and over nothing else'),
        (scale(lambda g,x,s: ((x*g).sum(1), g*s)), 'Sum over the batch, and over nothing else'),
        (scale(lambda g,x,s: ((x*g).sum(), g*s)), 'Sum over the batch, and over nothing else'),
        (RowsByScale, 'an `@` drop a dimension'),
        (scale(lambda g,x,s: ((x*g).sum(0), g)), 'multiply it by the slope of this step itself'),
        (scale(lambda g,x,s: (None, g*s)), 'self.s.grad = '),
        (CopiesScale, 'not a copy'),
        (KeptRows, 'self.s.grad = ')]),
    (exercise(check_backward, F.l1_loss, inputs=('n k', 'n k')), [Mae, MaeByWhere, MaeByMasks], [
        (mae(lambda p,t: (p-t).sign()), 'A mean over n numbers divides by n'),
        (mae(lambda p,t: (p-t).sign().mean()), 'A gradient has the shape of what it belongs to'),
        (mae(lambda p,t: p.sign()/p.numel()), 'which numbers does each slope depend on?'),
        (mae(lambda p,t: torch.where(p > t, 1., torch.where(p < t, -1., 0.))/p.numel()), 'in torch.where'),
        (MaeNoMean, 'Is a mean missing?'),
        (mae(lambda p,t: (t-p).sign()/p.numel()), 'The sign is wrong'),
        (mae(lambda p,t: (p-t).sign()/len(p)), 'use numel()'),
        (mae(lambda p,t: torch.where(p >= t, 1., -1.).to(p.dtype)/p.numel()), 'At a corner'),
        (mae(lambda p,t: 2*(p-t)/p.numel()), 'the gradient of '),
        (mae(lambda p,t: 2*(p-t).sign()/p.numel()), 'the gradient of ')]),
    (exercise(check_backward, lambda x: x / (x**2).sum(1, keepdim=True).sqrt()),
     [UnitRows, UnitRowsTwoWays, UnitRowsByMatrix], [
        (unit(lambda g,x,r: g/r), 'by every way (the ways add)'),
        (unit(lambda g,x,r: g - x/r*(g*x/r).sum(1, keepdim=True)), 'the gradient of x'),
        (unit(lambda g,x,r: g/r - (x/r).sum(1, keepdim=True)*g*x/r**2), 'the gradient of x'),
        (unit(lambda g,x,r: g*(1/r - x**2/r**3)), 'which numbers does each slope depend on?'),
        (unit(lambda g,x,r: g), 'multiply it by the slope of this step itself'),
        (WholeLength, 'First make forward right')]),
]
