"Layers by hand, against autograd"
import hypothesis.strategies as st
import pytest, torch, torch.nn.functional as F
from hypothesis import given, settings
from fastcore.test import test_close as close
from miniai import backprop
from miniai.backprop import Layer, Lin, Mse, Net, Relu
from miniai.check.backprop import check_backward
from miniai.check.kit import difference

SEEDS = st.integers(0, 10**6)


def tried_on(*strategies):
    return lambda test: settings(deadline=None, max_examples=60)(given(*strategies)(test))


def randn(shape, seed, dtype=torch.float64): return torch.randn(shape, generator=rng(seed), dtype=dtype)
def rng(seed): return torch.Generator().manual_seed(seed)


def agree(got, want, dtype):
    tolerance = dict(rtol=1e-4, atol=1e-5) if dtype == torch.float32 else dict(rtol=1e-10, atol=1e-10)
    problem = difference(got, want, **tolerance)
    assert not problem, problem


def test_exports_exactly_the_names_of_the_design():
    assert set(backprop.__all__) == {'Layer', 'Lin', 'Relu', 'Mse', 'Net'}


W,B = torch.ones(2, 2),torch.ones(2)
LIN32 = Lin(torch.ones(3, 2), B)
SIZES = st.tuples(*[st.integers(1, 6)]*4)


@tried_on(SIZES, SEEDS, st.sampled_from([torch.float32, torch.float64]))
def test_net_has_autograds_gradients(sizes, seed, dtype):
    n,k,h,m = sizes
    shapes = (n,k), (k,h), (h,), (h,m), (m,), (n,m)
    x,w1,b1,w2,b2,targ = (randn(s, seed+i, dtype) for i,s in enumerate(shapes))
    net,mse = Net(Lin(w1, b1), Net(Relu(), Lin(w2, b2))),Mse()
    loss = mse(net(x), targ)
    x_grad = net.backward(mse.backward())
    leaves = [t.clone().requires_grad_() for t in (x, w1, b1, w2, b2)]
    ref = F.mse_loss(F.relu(leaves[0]@leaves[1] + leaves[2])@leaves[3] + leaves[4], targ)
    ref.backward()
    agree(loss, ref.detach(), dtype)
    assert [id(p) for p in net.params()] == [id(p) for p in (w1, b1, w2, b2)]
    for got,leaf in zip([x_grad, *(p.grad for p in net.params())], leaves): agree(got, leaf.grad, dtype)


def test_layers_pass_the_kit():
    check_backward(Relu, torch.relu).raise_if_failed()
    check_backward(Relu(), torch.relu).raise_if_failed()
    check_backward(Mse, F.mse_loss, inputs=('n k', 'n k')).raise_if_failed()
    check_backward(Lin, lambda x,w,b: x@w + b, params=('k m', 'm')).raise_if_failed()
    def make(w1, b1, w2, b2): return Net(Lin(w1, b1), Relu(), Lin(w2, b2))
    def formula(x, w1, b1, w2, b2): return (x@w1 + b1).relu()@w2 + b2
    check_backward(make, formula, params=('k m', 'm', 'm 3', '3')).raise_if_failed()


def test_backward_replaces_gradients_and_leaves_its_inputs_alone():
    lin,x,grad = Lin(randn((3,2), 0), randn(2, 1)),randn((4,3), 2),randn((4,2), 3)
    saved = [t.clone() for t in (x, grad, lin.w, lin.b)]
    lin(x)
    for _ in range(2): lin.backward(grad)
    close(lin.w.grad, x.t()@grad)
    for now,then in zip((x, grad, lin.w, lin.b), saved): assert now.equal(then)


def test_mse_passes_a_gradient_on():
    mse,pred,targ = Mse(),randn((3,2), 0),randn((3,2), 1)
    mse(pred, targ)
    close(mse.backward(torch.tensor(3.).double()), 3*mse.backward())


def test_reprs():
    assert repr(Net(Lin(torch.ones(3, 2), torch.ones(2)), Relu(), Net())) == 'Net(Lin(3, 2), Relu(), Net())'


@pytest.mark.parametrize('f,error,words', [
    (lambda: Relu().backward(torch.ones(2)), RuntimeError, 'before Relu() was called'),
    (lambda: Lin(torch.ones(3), torch.ones(1)), ValueError, 'w must have shape (inputs, outputs)'),
    (lambda: Lin(torch.ones(3, 2), torch.ones(3)), ValueError, 'b (outputs,); got (3, 2) and (3,)'),
    (lambda: LIN32(torch.ones(4, 2)), ValueError, 'takes a batch of shape (n, 3), got (4, 2)'),
    (lambda: LIN32(torch.ones(3)), ValueError, 'got (3,)'),
    (lambda: Mse()(torch.ones(3, 1), torch.ones(3)), ValueError, 'the shape of pred, (3, 1); got (3,)'),
    (lambda: Net([Relu(), Relu()]), TypeError, 'got a list'),
    (lambda: Net(*[Relu()]*2), ValueError, 'the same layer is here twice'),
    (lambda: Net(Lin(W, B), Net(Lin(W, B))), ValueError, 'the same parameter is here twice'),
    (lambda: Layer()(1), NotImplementedError, 'Layer() needs a method forward'),
])
def test_layers_refuse(f, error, words):
    with pytest.raises(error) as e: f()
    assert words in str(e.value)


def test_backward_refuses_a_gradient_of_another_shape():
    relu = Relu()
    relu(torch.ones(2, 3))
    for grad in (torch.ones(3), torch.ones(2, 1), None, 1.):
        with pytest.raises(ValueError, match=r"the shape of Relu\(\)'s output"): relu.backward(grad)


# ---- broken layers: the check must name what is wrong ----

class BrokenLin(Lin):
    grads = None
    def gradient(self, grad, x):
        x_grad,w_grad,b_grad = type(self).grads(grad, x, self.w)
        if w_grad is not None: self.w.grad = w_grad
        if b_grad is not None: self.b.grad = b_grad
        return x_grad

def lin(f): return type('Broken', (BrokenLin,), dict(grads=staticmethod(f)))
def relu(f): return type('Broken', (Relu,), dict(gradient=lambda self, grad, x: f(grad, x)))
def mse(f): return type('Broken', (Mse,), dict(gradient=lambda self, grad, pred, targ: f(pred-targ)))

class FirstInput(Relu):
    def forward(self, x):
        if not hasattr(self, 'x'): self.x = x
        return super().forward(x)
    def gradient(self, grad, x): return grad*(self.x > 0)

class Accumulates(Lin):
    def gradient(self, grad, x):
        self.sum = getattr(self, 'sum', 0) + x.t()@grad
        super().gradient(grad, x)
        self.w.grad = self.sum
        return grad@self.w.t()

class InPlace(Relu):
    def forward(self, x): return x.clamp_(min=0)

class GradInPlace(Relu):
    def gradient(self, grad, x): return grad.mul_(x > 0)

class Squeezes(Lin):
    def forward(self, x): return super().forward(x).squeeze()

class Float32(Lin):
    def forward(self, x): return super().forward(x).float()

class NoBias(Lin):
    def forward(self, x): return x@self.w

class Endless(Relu):
    def forward(self, x):
        while True: pass

LIN,RELU,MSE = (dict(reference=lambda x,w,b: x@w + b, params=('k m', 'm')), dict(reference=torch.relu),
                dict(reference=F.mse_loss, inputs=('n k', 'n k')))
CHAIN = 'The chain rule multiplies it by `grad`'
BROKEN = {
    'weight transposed': (lin(lambda g,x,w: (g@w.t(), g.t()@x, g.sum(0))), LIN, 'x.t() @ grad swapped'),
    'bias not summed': (lin(lambda g,x,w: (g@w.t(), x.t()@g, g)), LIN, 'Sum over the batch'),
    'bias averaged': (lin(lambda g,x,w: (g@w.t(), x.t()@g, g.mean(0))), LIN, 'mean over the batch'),
    'weight gradient averaged': (lin(lambda g,x,w: (g@w.t(), x.t()@g/len(x), g.sum(0))), LIN, 'mean over'),
    'input gradient by w, not w.t': (lin(lambda g,x,w: (g@w, x.t()@g, g.sum(0))), LIN, 'the gradient of x'),
    'input without the chain': (lin(lambda g,x,w: (torch.ones_like(g)@w.t(), x.t()@g, g.sum(0))), LIN, CHAIN),
    'weight without the chain': (lin(lambda g,x,w: (g@w.t(), x.t()@torch.ones_like(g), g.sum(0))),
                               LIN, CHAIN),
    'bias not stored': (lin(lambda g,x,w: (g@w.t(), x.t()@g, None)), LIN, 'self.b.grad = '),
    'weight gradient negative': (lin(lambda g,x,w: (g@w.t(), -x.t()@g, g.sum(0))), LIN, 'The sign is wrong'),
    'nothing returned': (lin(lambda g,x,w: (None, x.t()@g, g.sum(0))), LIN, 'is there a `return`?'),
    'input transposed': (lin(lambda g,x,w: (w@g.t(), x.t()@g, g.sum(0))), LIN, 'gradient, transposed'),
    'left over from the first call': (Accumulates, LIN, 'sum over two calls'),
    'squeezed': (Squeezes, LIN, 'Does a `squeeze`'),
    'always float32': (Float32, LIN, 'its dtype is torch.float32, not torch.float64'),
    'forward without bias': (NoBias, LIN, 'First make forward right'),
    'relu with >=': (relu(lambda g,x: g*(x >= 0)), RELU, 'PyTorch takes 0'),
    'relu without the chain': (relu(lambda g,x: (x > 0).to(g.dtype)), RELU, CHAIN),
    'relu passes all': (relu(lambda g,x: g.clone()), RELU, 'the slope of this step itself'),
    'relu looks at grad': (relu(lambda g,x: g*(g > 0)), RELU, 'looks at the sign of `grad`'),
    'relu keeps its first input': (FirstInput, RELU, 'does forward keep the newest input?'),
    'relu in place': (InPlace, RELU, 'x was changed'),
    'grad in place': (GradInPlace, RELU, 'grad was changed'),
    'endless': (Endless, RELU, 'Is there a loop whose condition never becomes false?'),
    'mse without 2': (mse(lambda d: d/d.numel()), MSE, 'A square brings a factor 2 down'),
    'mse without 1/n': (mse(lambda d: 2*d), MSE, 'A mean over n numbers divides by n'),
    'mse without 2/n': (mse(lambda d: d), MSE, 'The factor 2/n is missing'),
    'mse divided by rows': (mse(lambda d: 2*d/len(d)), MSE, 'use numel()'),
    'mse the wrong way round': (mse(lambda d: -2*d/d.numel()), MSE, 'The sign is wrong'),
}


@pytest.mark.parametrize('name', BROKEN)
def test_broken_layers_are_named(name):
    make,check,hint = BROKEN[name]
    report = check_backward(make, limit=0.3 if name == 'endless' else 10., **check)
    assert not report.ok and hint in str(report), report
    assert all(r.hint for r in report.failed if r.problem != 'not tried'), report


def test_a_report_whatever_comes():
    "Not a layer, or a finished one that needs parameters: said in the report, never raised"
    for make in (None, 3, object, Lin(W, B), lambda *params: None):
        report = check_backward(make, lambda x,w,b: x@w + b, params=('k m', 'm'))
        assert not report.ok and report.failed[0].problem
