"Layers by hand and the tape, against autograd"
import copy, gc, operator, weakref
import hypothesis.strategies as st
import numpy as np, pytest, torch, torch.nn.functional as F
from hypothesis import given, settings
from hypothesis.extra.numpy import basic_indices, mutually_broadcastable_shapes
from fastcore.test import test_close as close
from miniai import backprop
from miniai.backprop import Layer, Lin, Mse, Net, Relu, Tape
from miniai.check.backprop import check_backward
from miniai.check.autograd import check_tape
from miniai.check.kit import difference

DTYPES = st.sampled_from([torch.float32, torch.float64])
SEEDS = st.integers(0, 10**6)
SHAPES = st.lists(st.integers(1, 4), max_size=4).map(tuple)


def tried_on(*strategies): return lambda test: settings(deadline=None, max_examples=60)(given(*strategies)(test))
def randn(shape, seed, dtype=torch.float64): return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
def tolerance(dtype): return dict(rtol=1e-4, atol=1e-5) if dtype == torch.float32 else dict(rtol=1e-10, atol=1e-10)


def agree(got, want, dtype):
    problem = difference(got, want, **tolerance(dtype))
    assert not problem, problem


def compare(formula, arrays, reference=None, seed=0):
    "Value and gradients of a formula on the tape and by autograd, from a random gradient on"
    dtype = arrays[0].dtype
    ours,theirs = [Tape(a.clone()) for a in arrays],[a.clone().requires_grad_() for a in arrays]
    out,ref = formula(*ours),(reference or formula)(*theirs)
    assert isinstance(out, Tape) and not out.data.requires_grad
    agree(out.data, ref.detach(), dtype)
    grad = randn(ref.shape, seed+1, dtype)
    out.backward(grad); ref.backward(grad)
    for a,b in zip(ours, theirs): agree(a.grad, torch.zeros_like(b) if b.grad is None else b.grad, dtype)


def test_exports_exactly_the_names_of_the_design():
    assert set(backprop.__all__) == {'Layer', 'Lin', 'Relu', 'Mse', 'Net', 'Tape'}


# ---- layers ----

W = torch.ones(2, 2)
SIZES = st.tuples(*[st.integers(1, 6)]*4)


@tried_on(SIZES, SEEDS, DTYPES)
def test_net_has_autograds_gradients(sizes, seed, dtype):
    n,k,h,m = sizes
    x,w1,b1,w2,b2,targ = (randn(s, seed+i, dtype) for i,s in enumerate([(n,k), (k,h), (h,), (h,m), (m,), (n,m)]))
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
    check_backward(lambda w1,b1,w2,b2: Net(Lin(w1, b1), Relu(), Lin(w2, b2)),
                   lambda x,w1,b1,w2,b2: (x@w1 + b1).relu()@w2 + b2, params=('k m', 'm', 'm 3', '3')).raise_if_failed()


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


def test_reprs(): assert repr(Net(Lin(torch.ones(3, 2), torch.ones(2)), Relu(), Net())) == 'Net(Lin(3, 2), Relu(), Net())'


@pytest.mark.parametrize('f,error,words', [
    (lambda: Relu().backward(torch.ones(2)), RuntimeError, 'before Relu was called'),
    (lambda: Lin([[1.]], torch.ones(1)), TypeError, 'w must be a tensor, got a list'),
    (lambda: Lin(torch.ones(3, 2), 0.), TypeError, 'b must be a tensor, got a float'),
    (lambda: Lin(torch.ones(3), torch.ones(1)), ValueError, 'w must have 2 dimensions'),
    (lambda: Lin(torch.ones(3, 2), torch.ones(3)), ValueError, 'b must have shape (2,)'),
    (lambda: Lin(torch.ones(3, 2), torch.ones(2))(torch.ones(4, 2)), ValueError, 'takes a batch of shape (n, 3), got (4, 2)'),
    (lambda: Lin(torch.ones(3, 2), torch.ones(2))(torch.ones(3)), ValueError, 'got (3,)'),
    (lambda: Mse()(torch.ones(3, 1), torch.ones(3)), ValueError, 'targ must have the shape of pred, (3, 1); got (3,)'),
    (lambda: Net([Relu(), Relu()]), TypeError, 'number 0 is a list'),
    (lambda: Net(*[Relu()]*2), ValueError, 'the same layer is here twice'),
    (lambda: Net(Lin(*[torch.ones(2, 2), torch.ones(2)]), Net(Lin(W, torch.ones(2)), Lin(W, torch.ones(2)))), ValueError, 'the same parameter is here twice'),
    (lambda: Layer()(1), NotImplementedError, 'Layer needs a method forward'),
])
def test_layers_refuse(f, error, words):
    with pytest.raises(error) as e: f()
    assert words in str(e.value)


def test_backward_refuses_a_gradient_of_another_shape():
    relu = Relu()
    relu(torch.ones(2, 3))
    for grad in (torch.ones(3), torch.ones(2, 1), None, 1.):
        with pytest.raises(ValueError, match='grad must be a tensor of the shape of the output of Relu'): relu.backward(grad)


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
BROKEN = {
    'weight gradient transposed':    (lin(lambda g,x,w: (g@w.t(), g.t()@x, g.sum(0))), LIN, 'factors of x.t() @ grad swapped'),
    'bias not summed':               (lin(lambda g,x,w: (g@w.t(), x.t()@g, g)), LIN, '.sum(0), missing'),
    'bias averaged':                 (lin(lambda g,x,w: (g@w.t(), x.t()@g, g.mean(0))), LIN, 'mean over the batch'),
    'weight gradient averaged':      (lin(lambda g,x,w: (g@w.t(), x.t()@g/len(x), g.sum(0))), LIN, 'mean over the batch'),
    'input gradient by w, not w.t':  (lin(lambda g,x,w: (g@w, x.t()@g, g.sum(0))), LIN, 'Is a factor not transposed'),
    'input without the chain':       (lin(lambda g,x,w: (torch.ones_like(g)@w.t(), x.t()@g, g.sum(0))), LIN, 'The chain rule multiplies it by `grad`'),
    'weight without the chain':      (lin(lambda g,x,w: (g@w.t(), x.t()@torch.ones_like(g), g.sum(0))), LIN, 'The chain rule multiplies it by `grad`'),
    'bias not stored':               (lin(lambda g,x,w: (g@w.t(), x.t()@g, None)), LIN, 'self.b.grad = '),
    'weight gradient negative':      (lin(lambda g,x,w: (g@w.t(), -x.t()@g, g.sum(0))), LIN, 'The sign is wrong'),
    'nothing returned':              (lin(lambda g,x,w: (None, x.t()@g, g.sum(0))), LIN, 'is there a `return`?'),
    'input gradient transposed':     (lin(lambda g,x,w: (w@g.t(), x.t()@g, g.sum(0))), LIN, 'right gradient, transposed'),
    'left over from the first call': (Accumulates, LIN, 'sum over two calls'),
    'squeezed':                      (Squeezes, LIN, 'Is there a `squeeze`?'),
    'always float32':                (Float32, LIN, 'its dtype is torch.float32, not torch.float64'),
    'forward without bias':          (NoBias, LIN, 'First make forward right'),
    'relu with >=':                  (relu(lambda g,x: g*(x >= 0)), RELU, 'is it `>=` where `>` is meant?'),
    'relu without the chain':        (relu(lambda g,x: (x > 0).to(g.dtype)), RELU, 'The chain rule multiplies it by `grad`'),
    'relu passes all':               (relu(lambda g,x: g.clone()), RELU, 'multiply it by the slope of the layer itself'),
    'relu looks at grad':            (relu(lambda g,x: g*(g > 0)), RELU, 'looks at the sign of `grad`'),
    'relu keeps its first input':    (FirstInput, RELU, 'does forward keep the newest input?'),
    'relu in place':                 (InPlace, RELU, 'x was changed'),
    'grad in place':                 (GradInPlace, RELU, 'grad was changed'),
    'endless':                       (Endless, RELU, 'Is there a loop whose condition never becomes false?'),
    'mse without 2':                 (mse(lambda d: d/d.numel()), MSE, 'a square brings a factor 2 down'),
    'mse without 1/n':               (mse(lambda d: 2*d), MSE, 'A mean over n numbers divides by n'),
    'mse without 2/n':               (mse(lambda d: d), MSE, 'The factor 2/n is missing'),
    'mse divided by rows':           (mse(lambda d: 2*d/len(d)), MSE, 'use numel()'),
    'mse the wrong way round':       (mse(lambda d: -2*d/d.numel()), MSE, 'The sign is wrong'),
}


@pytest.mark.parametrize('name', BROKEN)
def test_broken_layers_are_named(name):
    make,check,hint = BROKEN[name]
    report = check_backward(make, limit=0.3 if name == 'endless' else 10., **check)
    assert not report.ok and hint in str(report), report
    assert all(r.hint for r in report.failed if r.problem != 'not tried, for want of time'), report


def test_checks_refuse_bad_arguments():
    with pytest.raises(TypeError, match='reference must be a function'): check_backward(Relu, torch.ones(2))
    with pytest.raises(TypeError, match='make must be a class or function that takes the 2 parameters'):
        check_backward(Lin(torch.ones(2, 2), torch.ones(2)), lambda x,w,b: x@w + b, params=('k m', 'm'))
    with pytest.raises(TypeError, match='tape must be something to call'): check_tape(torch.exp, torch.exp, 3)


def test_check_tape_takes_pytorchs_own_tape():
    check_tape(torch.exp, torch.exp, lambda x: x.requires_grad_()).raise_if_failed()
    report = check_tape(lambda a,b: a*b.detach(), torch.mul, lambda x: x.requires_grad_(), inputs=('n k', 'k'))
    assert 'must know its sources' in str(report)


# ---- the tape: operations ----

BINARY = [operator.add, operator.sub, operator.mul, operator.truediv]


@tried_on(st.sampled_from(BINARY), mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4, min_side=1), SEEDS, DTYPES)
def test_binary_operators_with_broadcasting(op, shapes, seed, dtype):
    a,b = (randn(s, seed+i, dtype).abs() + 0.5 for i,s in enumerate(shapes.input_shapes))
    compare(op, [a, b], seed=seed)
    for constant in (b, b.numpy(), 1.5, 2):  # on either side a tensor, an array, a float, an int
        compare(lambda x: op(x, constant), [a], lambda x: op(x, torch.as_tensor(constant) if isinstance(constant, np.ndarray) else constant))
        compare(lambda x: op(constant, x), [a], lambda x: op(torch.as_tensor(constant) if isinstance(constant, np.ndarray) else constant, x))


@tried_on(mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3, min_side=1), SEEDS, DTYPES)
def test_powers(shapes, seed, dtype):
    a,b = (randn(s, seed+i, dtype) for i,s in enumerate(shapes.input_shapes))
    compare(operator.pow, [a.abs() + 0.1, b])
    for n in (-2, -0.5, 0, 0.5, 1, 2, 3): compare(lambda x: x**n, [a.abs() + 0.1])
    for n in (0, 1, 2, 3): compare(lambda x: x**n, [a])
    for base in (0, 0.5, 2): compare(lambda x: base**x, [b.abs()])
    compare(lambda x: x**b.round(), [a.abs() + 0.1])


def test_powers_at_zero():
    zero = torch.tensor([0., 0., 2., -2.]).double()
    for n in (0, 1, 2, 3., torch.tensor(2.), torch.tensor([0, 1, 2, 3])): compare(lambda x: x**n, [zero])
    compare(operator.pow, [zero[:3], torch.tensor([0., 1., 0.]).double()])


UNARY = [(lambda a: a.exp(), None), (lambda a: a.relu(), None), (lambda a: -a, None), (lambda a: (a*a + 0.1).log(), None),
         (lambda a: a.log_softmax(), lambda a: a.log_softmax(-1)), (lambda a: a.log_softmax(0), None)]


@tried_on(st.sampled_from(UNARY), SHAPES.filter(len), SEEDS, DTYPES)
def test_functions_of_one_array(functions, shape, seed, dtype): compare(functions[0], [randn(shape, seed, dtype)], functions[1], seed)


def test_relu_at_zero(): compare(lambda a: a.relu(), [torch.tensor([-1., 0., -0., 1.])])


@tried_on(st.data(), SHAPES, st.booleans(), SEEDS, DTYPES)
def test_reductions(data, shape, keepdim, seed, dtype):
    dims = st.integers(-len(shape), len(shape)-1) if shape else st.nothing()
    some = st.lists(st.integers(0, len(shape)-1), min_size=1, unique=True).map(tuple) if shape else st.nothing()
    dim = data.draw(st.none() | dims | some)
    a = randn(shape, seed, dtype).mul(2).round()  # with ties
    every = tuple(range(len(shape))) if dim is None else dim
    compare(lambda x: x.sum(dim, keepdim), [a], lambda x: x.sum(every, keepdim=keepdim), seed)
    compare(lambda x: x.mean(dim, keepdim), [a], lambda x: x.mean(every, keepdim=keepdim), seed)
    compare(lambda x: x.max(dim, keepdim), [a], lambda x: x.amax(every, keepdim=keepdim), seed)


@tried_on(st.data(), SHAPES, SEEDS)
def test_indexing(data, shape, seed):
    index = data.draw(basic_indices(shape, allow_ellipsis=True, allow_newaxis=True).filter(lambda i: not _negative_step(i)))
    compare(lambda x: x[index], [randn(shape, seed)], seed=seed)


def _negative_step(index): return any(isinstance(i, slice) and (i.step or 1) < 0 for i in (index if isinstance(index, tuple) else (index,)))


@tried_on(st.data(), SHAPES.filter(len), SEEDS)
def test_indexing_with_arrays(data, shape, seed):
    n,m = data.draw(st.integers(0, 5)),len(shape)
    k = data.draw(st.integers(1, m))
    index = tuple(torch.as_tensor(data.draw(st.lists(st.integers(-s, s-1), min_size=n, max_size=n)), dtype=torch.long) for s in shape[:k])
    compare(lambda x: x[index], [randn(shape, seed)], seed=seed)
    compare(lambda x: x[index[0].numpy()], [randn(shape, seed)], lambda x: x[index[0]], seed=seed)
    mask = randn(shape, seed+1) > 0
    compare(lambda x: x[mask], [randn(shape, seed)], seed=seed)


@tried_on(st.data(), SHAPES, SEEDS)
def test_reshape_and_transpose(data, shape, seed):
    a = randn(shape, seed)
    compare(lambda x: x.reshape(-1), [a], seed=seed)
    compare(lambda x: x.reshape((*shape[::-1], 1)), [a], seed=seed)
    compare(lambda x: x.reshape(*shape[::-1], 1), [a], seed=seed)
    if shape:
        i,j = (data.draw(st.integers(-len(shape), len(shape)-1)) for _ in range(2))
        compare(lambda x: x.transpose(i, j), [a], seed=seed)
    if len(shape) == 2: compare(lambda x: x.T*2, [a], seed=seed)


@tried_on(st.data(), st.integers(0, 4), st.integers(1, 4), st.integers(1, 4), SEEDS, DTYPES)
def test_matrix_product(data, n, k, m, seed, dtype):
    stacks = data.draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3, min_side=1)).input_shapes
    left = data.draw(st.sampled_from([(k,), (n,k), (*stacks[0], n, k)]))
    right = data.draw(st.sampled_from([(k,), (k,m), (*stacks[1], k, m)]))
    a,b = randn(left, seed, dtype),randn(right, seed+1, dtype)
    compare(operator.matmul, [a, b], seed=seed)
    compare(lambda x: x@b, [a], seed=seed)
    compare(lambda x: a@x, [b], seed=seed)
    compare(lambda x: a.numpy()@x, [b], lambda x: a@x, seed=seed)


@tried_on(st.integers(1, 6), st.integers(2, 5), SEEDS, DTYPES, st.sampled_from([1, 100, 10_000]))
def test_cross_entropy(n, c, seed, dtype, scale):
    scores,targets = randn((n,c), seed, dtype)*scale,torch.randint(c, (n,), generator=torch.Generator().manual_seed(seed))
    for t in (targets, targets.numpy(), targets.tolist(), targets.to(torch.uint8)):
        compare(lambda x: x.cross_entropy(t), [scores], lambda x: F.cross_entropy(x, targets), seed)


def test_log_softmax_of_what_was_ruled_out():
    scores = torch.tensor([[0., -torch.inf, 1.], [2., -torch.inf, -torch.inf]]).double()
    compare(lambda x: x.log_softmax()[:,0], [scores], lambda x: x.log_softmax(-1)[:,0])


@tried_on(mutually_broadcastable_shapes(num_shapes=1, max_dims=4, max_side=4, min_side=0), SEEDS)
def test_fit_sums_as_pytorch_does(shapes, seed):
    like,grad = torch.zeros(shapes.input_shapes[0]),randn((2, *shapes.result_shape), seed, torch.float32)
    got = backprop._fit(grad, like)
    assert got.shape == like.shape
    close(got, grad.sum_to_size(like.shape), eps=1e-5)


# ---- the tape: graphs ----

STEPS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=25)
MAKERS = [lambda a,b: a + b, lambda a,b: a - b, lambda a,b: a*b*0.5, lambda a,b: a/(b*b + 1), lambda a,b: (a*0.3).exp() - b,
          lambda a,b: a.relu() + b*2, lambda a,b: (a*a + 1).log()*b, lambda a,b: a.sum(-1, keepdim=True)*0.2 + b]


@tried_on(STEPS, mutually_broadcastable_shapes(num_shapes=3, min_dims=1, max_dims=3, max_side=3, min_side=1), SEEDS)
def test_random_graphs(steps, shapes, seed):
    "Any graph: each step takes two of all the arrays so far, so that arrays are shared, squared, or left unused"
    def build(*leaves):
        nodes = list(leaves)
        for op,i,j in steps: nodes.append(MAKERS[op](nodes[i % len(nodes)], nodes[j % len(nodes)]))
        return nodes[-1] if len(nodes) < 3 else nodes[-1]*nodes[-2]
    arrays = [randn(s, seed+i) for i,s in enumerate(shapes.input_shapes)]
    ours,theirs = [Tape(a) for a in arrays],[a.clone().requires_grad_() for a in arrays]
    out,ref = build(*ours).mean(),build(*theirs).mean()
    if not ref.isfinite(): return
    out.backward(); ref.backward()
    close(out.item(), ref.item(), eps=1e-8*max(1, abs(ref.item())))
    for a,b in zip(ours, theirs):
        if a.grad is None: assert b.grad is None  # not part of the graph
        elif b.grad.isfinite().all(): assert not difference(a.grad, b.grad, rtol=1e-8, atol=1e-8)


def test_gradients_add_up_over_calls():
    a = Tape([1., 2.])
    loss = (a*a).sum()
    loss.backward(); close(a.grad, torch.tensor([2., 4.]))
    loss.backward(); close(a.grad, torch.tensor([4., 8.]))       # the same graph again: not 2+3 times, but twice
    (a*3).sum().backward(); close(a.grad, torch.tensor([7., 11.]))
    close(loss.grad, torch.tensor(2.))


def test_a_result_used_by_two_losses():
    a = Tape([1., 2.])
    shared = a*a
    shared.sum().backward(); (shared*2).sum().backward()
    close(a.grad, torch.tensor([6., 12.]))
    close(shared.grad, torch.tensor([3., 3.]))


def test_leaf_gradients_are_the_users_own():
    a,b = Tape(torch.ones(3)),Tape(torch.ones(3))
    grad = torch.tensor([1., 2., 3.])
    (a + b).backward(grad)
    a.grad *= 5; a.grad.zero_()
    close(b.grad, torch.tensor([1., 2., 3.])); close(grad, torch.tensor([1., 2., 3.]))
    a.grad = None
    a.sum().backward()
    a.grad += 1  # a stretched view could not be changed in place
    close(a.grad, torch.full((3,), 2.))


def test_doubling_forty_times_visits_each_once():
    x = y = Tape(1.)
    for _ in range(40): y = y + y
    y.backward()
    assert x.grad.item() == 2.**40


def test_deep_graphs_need_no_deep_stack():
    x = y = Tape(torch.ones(2))
    for _ in range(30_000): y = y*1. + 0.
    y.sum().backward()
    close(x.grad, torch.ones(2))
    del y  # freeing a long chain must not overflow the stack either
    gc.collect()


def test_a_graph_is_freed_when_it_is_dropped():
    x = Tape(torch.ones(3))
    gc.disable()
    try:
        loss = (x.exp().log_softmax()*x).max()
        loss.backward()
        ref = weakref.ref(loss)
        del loss
        assert ref() is None  # no cycles: nothing waits for the garbage collector
    finally: gc.enable()


def test_constants_get_no_gradient_and_cost_none():
    x,w = torch.ones(2, 3),Tape(torch.ones(3, 2))
    out = x@w
    assert len(out.sources) == 1 and out.sources[0][0] is w
    out.sum().backward()
    assert x.grad is None


def test_mixed_dtypes_keep_each_its_own():
    a,b = Tape(torch.ones(2)),Tape(torch.ones(2).double())
    (a*b).sum().backward()
    assert (a.grad.dtype, b.grad.dtype) == (torch.float32, torch.float64)


def test_data_is_shared_and_can_be_stepped():
    w = torch.ones(3)
    t = Tape(w)
    t.sum().backward()
    t.data -= 0.5*t.grad
    close(w, torch.full((3,), 0.5))
    n = np.ones(3)
    Tape(n).data[0] = 7
    assert n[0] == 7


def test_what_a_tape_can_be_asked():
    t = Tape([[1, 2], [3, 4]])
    assert (t.shape, t.dtype, len(t)) == ((2, 2), torch.float32, 2)
    assert repr(t) == 'Tape([[1., 2.],\n      [3., 4.]])'
    assert float(Tape(3)) == Tape(3).item() == 3.
    assert [row.data.tolist() for row in t] == [[1., 2.], [3., 4.]]
    assert Tape(np.float64(2)).dtype == torch.float64
    assert Tape(1.) and not Tape(0.)
    with pytest.raises(RuntimeError): bool(t)


def test_a_copy_in_the_same_formula():
    a = Tape([1., 2.])
    b = copy.deepcopy(a)
    (a*b*b).sum().backward()
    close(a.grad, torch.tensor([1., 4.])); close(b.grad, torch.tensor([2., 8.]))


def test_autograd_is_never_used():
    with torch.inference_mode():
        w = Tape(torch.randn(4, 3))
        loss = (torch.randn(5, 4)@w).relu().cross_entropy(torch.tensor([0, 1, 2, 0, 1]))
        loss.backward()
    assert w.grad.shape == (4, 3) and not w.grad.requires_grad


def test_an_operation_of_ones_own():
    def cube(a): return Tape(a.data**3, (a, lambda g: g*3*a.data**2))
    compare(cube, [randn((2,3), 0)], lambda a: a**3)
    with pytest.raises(ValueError, match=r'a source of shape \(2, 3\) was given a gradient of shape \(4,\)'):
        Tape(torch.ones(2, 3), (Tape(torch.ones(2, 3)), lambda g: torch.ones(4))).backward(torch.ones(2, 3))


@pytest.mark.parametrize('f,error,words', [
    (lambda t: t.backward(), ValueError, 'backward starts from one number, this has shape (2, 3): take .sum() or .mean()'),
    (lambda t: t.backward(torch.ones(3)), ValueError, 'grad must have shape (2, 3), got (3,)'),
    (lambda t: t + torch.ones(2), ValueError, '(2, 3) + (2,): '),
    (lambda t: torch.ones(4, 5) / t, ValueError, '(4, 5) / (2, 3): '),
    (lambda t: t @ t, ValueError, '(2, 3) @ (2, 3): '),
    (lambda t: t.reshape(4), ValueError, 'reshape of (2, 3): '),
    (lambda t: t[0].T, ValueError, '.T is for matrices, this has shape (3,)'),
    (lambda t: t + 'a', TypeError, 'unsupported operand'),
    (lambda t: None * t, TypeError, 'unsupported operand'),
    (lambda t: t * torch.ones(3, requires_grad=True), ValueError, 'already recorded by PyTorch'),
    (lambda t: Tape(torch.ones(3, requires_grad=True)), ValueError, 'already recorded by PyTorch'),
    (lambda t: Tape(torch.arange(3)), TypeError, 'must be floating point to have a gradient, got torch.int64'),
    (lambda t: Tape(np.arange(3)), TypeError, 'got torch.int64'),
    (lambda t: Tape('abc'), TypeError, 'data must be numbers, got a str'),
    (lambda t: Tape(None), TypeError, 'data must be numbers, got a NoneType'),
    (lambda t: Tape(t), TypeError, 'data must be numbers, got a Tape'),
    (lambda t: t.cross_entropy(torch.tensor([0, 1, 2])), ValueError, 'got (2, 3) and (3,)'),
    (lambda t: t.cross_entropy(torch.tensor([0, 3])), ValueError, 'targets must be from 0 to 2, got 0 to 3'),
    (lambda t: t.cross_entropy(torch.tensor([-1, 0])), ValueError, 'got -1 to 0'),
    (lambda t: t.cross_entropy(torch.tensor([0., 1.])), TypeError, 'targets must be integers, got torch.float32'),
    (lambda t: t[5], IndexError, ''),
    (lambda t: t.sum(2), IndexError, ''),
])
def test_tape_refuses(f, error, words):
    with pytest.raises(error) as e: f(Tape(torch.ones(2, 3)))
    assert words in str(e.value)


# ---- training ----

@pytest.mark.parametrize('dtype,eps', [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_trains_as_pytorch_does_step_by_step(dtype, eps):
    x = randn((300, 20), 0, dtype)
    y = x[:,:4].argmax(1)
    start = [randn(s, 2+i, dtype)*0.3 for i,s in enumerate([(20, 16), (16,), (16, 4), (4,)])]
    ours,theirs = [Tape(t.clone()) for t in start],[t.clone().requires_grad_() for t in start]
    def net(x, w1, b1, w2, b2): return (x@w1 + b1).relu()@w2 + b2
    losses = []
    for step in range(100):
        idxs = torch.arange(step*32, step*32+32) % 300
        loss,ref = net(x[idxs], *ours).cross_entropy(y[idxs]),F.cross_entropy(net(x[idxs], *theirs), y[idxs])
        close(loss.item(), ref.item(), eps=eps)
        loss.backward(); ref.backward()
        losses.append(loss.item())
        for w,p in zip(ours, theirs):
            w.data -= 0.1*w.grad
            p.data -= 0.1*p.grad
            w.grad = p.grad = None
    assert sum(losses[-10:]) < 0.8*sum(losses[:10])


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_runs_on_a_gpu():
    x,y,w = randn((6, 4), 0).cuda(),torch.tensor([0, 1, 2, 0, 1, 2]).cuda(),randn((4, 3), 1).cuda()
    ours,theirs = Tape(w),w.clone().requires_grad_()
    (x@ours).cross_entropy(y).backward(); F.cross_entropy(x@theirs, y).backward()
    close(ours.grad.cpu(), theirs.grad.cpu(), eps=1e-8)
