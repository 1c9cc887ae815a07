"The tape, against autograd"
import copy, gc, operator, weakref
import hypothesis.strategies as st
import pytest, torch
from hypothesis import given, settings
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from fastcore.test import test_close as close
from miniai import autograd
from miniai.autograd import Tape
from miniai.check.autograd import check_slopes, check_tape
from miniai.check.kit import difference

DTYPES = st.sampled_from([torch.float32, torch.float64])
SEEDS = st.integers(0, 10**6)
SHAPES = st.lists(st.integers(1, 4), max_size=4).map(tuple)


def tried_on(*strategies):
    return lambda test: settings(deadline=None, max_examples=60)(given(*strategies)(test))


def rng(seed): return torch.Generator().manual_seed(seed)
def randn(shape, seed, dtype=torch.float64): return torch.randn(shape, generator=rng(seed), dtype=dtype)


def shapes_that_fit(n, **kwargs): return mutually_broadcastable_shapes(num_shapes=n, min_side=1, **kwargs)


def agree(got, want, dtype):
    tolerance = dict(rtol=1e-4, atol=1e-5) if dtype == torch.float32 else dict(rtol=1e-10, atol=1e-10)
    problem = difference(got, want, **tolerance)
    assert not problem, problem


def compare(formula, arrays, reference=None, seed=0):
    "Value and gradients of a formula on the tape and by autograd, from a random gradient on"
    dtype = arrays[0].dtype
    ours,theirs = [Tape(a.clone()) for a in arrays],[a.clone().requires_grad_() for a in arrays]
    out,ref = formula(*ours),(reference or formula)(*theirs)
    assert isinstance(out, Tape) and not out.data.requires_grad
    agree(out.data, ref.detach(), dtype)
    grad = randn(ref.shape, seed+1, dtype)
    out.backward(grad)
    ref.backward(grad)
    for a,b in zip(ours, theirs): agree(a.grad, torch.zeros_like(b) if b.grad is None else b.grad, dtype)


def test_exports_exactly_the_names_of_the_design(): assert autograd.__all__ == ['Tape']


BINARY = [operator.add, operator.sub, operator.mul, operator.truediv]


@tried_on(st.sampled_from(BINARY), shapes_that_fit(2, max_dims=4, max_side=4), SEEDS, DTYPES)
def test_binary_operators_with_broadcasting(op, shapes, seed, dtype):
    a,b = (randn(s, seed+i, dtype).abs() + 0.5 for i,s in enumerate(shapes.input_shapes))
    compare(op, [a, b], seed=seed)
    for constant in (b, 1.5, 2):  # on either side a tensor, a float, an int
        compare(lambda x: op(x, constant), [a])
        compare(lambda x: op(constant, x), [a])


@tried_on(SHAPES, SEEDS, DTYPES)
def test_powers(shape, seed, dtype):
    a = randn(shape, seed, dtype)
    for n in (-2, -0.5, 0, 0.5, 1, 2, 3): compare(lambda x: x**n, [a.abs() + 0.1])
    for n in (0, 1, 2, 3): compare(lambda x: x**n, [a])


def test_powers_at_zero():
    for n in (0, 1, 2, 3.): compare(lambda x: x**n, [torch.tensor([0., 0., 2., -2.]).double()])


UNARY = [lambda a: a.exp(), lambda a: a.relu(), lambda a: -a, lambda a: (a*a + 0.1).log()]


@tried_on(st.sampled_from(UNARY), SHAPES, SEEDS, DTYPES)
def test_functions_of_one_array(f, shape, seed, dtype): compare(f, [randn(shape, seed, dtype)], seed=seed)


def test_relu_at_zero(): compare(lambda a: a.relu(), [torch.tensor([-1., 0., -0., 1.])])


@tried_on(st.data(), SHAPES, st.booleans(), SEEDS, DTYPES)
def test_reductions(data, shape, keepdim, seed, dtype):
    dims = st.integers(-len(shape), len(shape)-1) if shape else st.nothing()
    some = st.lists(dims, min_size=1, unique_by=lambda d: d % len(shape)).map(tuple)
    dim,a = data.draw(st.none() | dims | some if shape else st.none()),randn(shape, seed, dtype)
    every = tuple(range(len(shape))) if dim is None else dim
    compare(lambda x: x.sum(dim, keepdim), [a], lambda x: x.sum(every, keepdim=keepdim), seed)
    compare(lambda x: x.mean(dim, keepdim), [a], lambda x: x.mean(every, keepdim=keepdim), seed)


@tried_on(st.data(), st.integers(0, 4), st.integers(1, 4), st.integers(1, 4), SEEDS, DTYPES)
def test_matrix_product(data, n, k, m, seed, dtype):
    stacks = data.draw(shapes_that_fit(2, max_dims=2, max_side=3)).input_shapes
    left = data.draw(st.sampled_from([(n,k), (*stacks[0], n, k)]))
    right = data.draw(st.sampled_from([(k,m), (*stacks[1], k, m)]))
    a,b = randn(left, seed, dtype),randn(right, seed+1, dtype)
    compare(operator.matmul, [a, b], seed=seed)
    compare(lambda x: x@b, [a], seed=seed)
    compare(lambda x: a@x, [b], seed=seed)


PLACES = st.integers(0, 1000)
STEPS = st.lists(st.tuples(st.integers(0, 7), PLACES, PLACES), min_size=1, max_size=25)
MAKERS = [lambda a,b: a + b, lambda a,b: a - b, lambda a,b: a*b*0.5, lambda a,b: a/(b*b + 1),
          lambda a,b: (a*0.3).exp() - b, lambda a,b: a.relu() + b*2, lambda a,b: (a*a + 1).log()*b,
          lambda a,b: a.sum(-1, keepdim=True)*0.2 + b]


@tried_on(STEPS, shapes_that_fit(3, min_dims=1, max_dims=3, max_side=3), SEEDS)
def test_random_graphs(steps, shapes, seed):
    "Each step takes two of all the arrays so far: arrays are shared, squared, or left unused"
    def build(*leaves):
        nodes = list(leaves)
        for op,i,j in steps: nodes.append(MAKERS[op](nodes[i % len(nodes)], nodes[j % len(nodes)]))
        return nodes[-1] if len(nodes) < 3 else nodes[-1]*nodes[-2]
    arrays = [randn(s, seed+i) for i,s in enumerate(shapes.input_shapes)]
    ours,theirs = [Tape(a) for a in arrays],[a.clone().requires_grad_() for a in arrays]
    out,ref = build(*ours).mean(),build(*theirs).mean()
    if not ref.isfinite(): return
    out.backward()
    ref.backward()
    close(out.item(), ref.item(), eps=1e-8*max(1, abs(ref.item())))
    for a,b in zip(ours, theirs):
        if a.grad is None: assert b.grad is None  # not part of the graph
        elif b.grad.isfinite().all(): assert not difference(a.grad, b.grad, rtol=1e-8, atol=1e-8)


def test_gradients_add_up_over_calls():
    a = Tape([1., 2.])
    loss = (a*a).sum()
    loss.backward()
    close(a.grad, torch.tensor([2., 4.]))
    loss.backward()
    close(a.grad, torch.tensor([4., 8.]))  # the same graph again: not 2+3 times, but twice
    (a*3).sum().backward()
    close(a.grad, torch.tensor([7., 11.]))
    close(loss.grad, torch.tensor(2.))


def test_a_result_used_by_two_losses():
    a = Tape([1., 2.])
    shared = a*a
    shared.sum().backward()
    (shared*2).sum().backward()
    close(a.grad, torch.tensor([6., 12.]))
    close(shared.grad, torch.tensor([3., 3.]))


def test_leaf_gradients_are_the_users_own():
    a,b = Tape(torch.ones(3)),Tape(torch.ones(3))
    grad = torch.tensor([1., 2., 3.])
    (a + b).backward(grad)
    a.grad *= 5
    a.grad.zero_()
    close(b.grad, torch.tensor([1., 2., 3.]))
    close(grad, torch.tensor([1., 2., 3.]))
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
    x = Tape(torch.ones(2, 3))
    gc.disable()
    try:
        loss = ((x.exp()@Tape(torch.ones(3, 2))).log()*x.mean()).sum()
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


def test_a_copy_in_the_same_formula():
    a = Tape([1., 2.])
    b = copy.deepcopy(a)
    (a*b*b).sum().backward()
    close(a.grad, torch.tensor([1., 4.]))
    close(b.grad, torch.tensor([2., 8.]))


def test_an_operation_of_ones_own():
    def cube(a): return Tape(a.data**3, (a, lambda g: g*3*a.data**2))
    compare(cube, [randn((2,3), 0)], lambda a: a**3)
    with pytest.raises(ValueError, match=r'a source of shape \(2, 3\) got a gradient of shape \(4,\)'):
        Tape(torch.ones(2, 3), (Tape(torch.ones(2, 3)), lambda g: torch.ones(4))).backward(torch.ones(2, 3))


def test_data_is_shared_and_can_be_stepped():
    w = torch.ones(3)
    t = Tape(w)
    t.sum().backward()
    t.data -= 0.5*t.grad
    close(w, torch.full((3,), 0.5))


def test_what_a_tape_can_be_asked():
    t = Tape([[1, 2], [3, 4]])
    assert t.shape == (2, 2) and t.data.dtype == torch.float32
    assert repr(t) == 'Tape([[1., 2.],\n      [3., 4.]])'
    assert Tape(3).item() == 3.


def test_autograd_is_never_used():
    with torch.inference_mode():
        w = Tape(torch.randn(4, 3))
        ((torch.randn(5, 4)@w).relu()**2).mean().backward()
    assert w.grad.shape == (4, 3) and not w.grad.requires_grad


@pytest.mark.parametrize('f,error,words', [
    (lambda t: t.backward(), ValueError, 'needs one number or a grad of shape (2, 3): take .sum()'),
    (lambda t: t.backward(torch.ones(3)), ValueError, 'a grad of shape (2, 3)'),
    (lambda t: t + torch.ones(2), RuntimeError, 'must match the size of tensor b (2)'),
    (lambda t: t @ t, RuntimeError, 'cannot be multiplied (2x3 and 2x3)'),
    (lambda t: t + 'a', TypeError, 'str'),
    (lambda t: None * t, TypeError, 'NoneType'),
    (lambda t: t**t, TypeError, 'unsupported operand'),
    (lambda t: t * torch.ones(3, requires_grad=True), ValueError, 'hand over x.detach()'),
    (lambda t: Tape(torch.ones(3, requires_grad=True)), ValueError, 'hand over x.detach()'),
    (lambda t: Tape(torch.arange(3)), TypeError, 'torch.int64 has no gradient: use .float()'),
    (lambda t: Tape('abc'), TypeError, 'str'),
    (lambda t: Tape(None), TypeError, 'NoneType'),
    (lambda t: t.sum(2), IndexError, ''),
])
def test_tape_refuses(f, error, words):
    with pytest.raises(error) as e: f(Tape(torch.ones(2, 3)))
    assert words in str(e.value)


@pytest.mark.parametrize('dtype,eps', [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_trains_as_pytorch_does_step_by_step(dtype, eps):
    x = randn((300, 20), 0, dtype)
    targ = torch.eye(4, dtype=dtype)[x[:,:4].argmax(1)]
    start = [randn(s, 2+i, dtype)*0.3 for i,s in enumerate([(20, 16), (16,), (16, 4), (4,)])]
    ours,theirs = [Tape(t.clone()) for t in start],[t.clone().requires_grad_() for t in start]
    def loss_of(x, targ, w1, b1, w2, b2): return (((x@w1 + b1).relu()@w2 + b2 - targ)**2).mean()
    losses = []
    for step in range(100):
        idxs = torch.arange(step*32, step*32+32) % 300
        loss,ref = loss_of(x[idxs], targ[idxs], *ours),loss_of(x[idxs], targ[idxs], *theirs)
        close(loss.item(), ref.item(), eps=eps)
        loss.backward()
        ref.backward()
        losses.append(loss.item())
        for w,p in zip(ours, theirs):
            w.data -= 0.1*w.grad
            p.data -= 0.1*p.grad
            w.grad = p.grad = None
    assert sum(losses[-10:]) < 0.8*sum(losses[:10])


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_runs_on_a_gpu():
    x,w = randn((6, 4), 0).cuda(),randn((4, 3), 1).cuda()
    ours,theirs = Tape(w),w.clone().requires_grad_()
    (x@ours).relu().sum().backward()
    (x@theirs).relu().sum().backward()
    close(ours.grad.cpu(), theirs.grad.cpu(), eps=1e-8)


def test_check_tape_takes_pytorchs_own_tape():
    check_tape(torch.exp, torch.exp, lambda x: x.requires_grad_()).raise_if_failed()
    def records(x): return x.requires_grad_()
    report = check_tape(lambda a,b: a*b.detach(), torch.mul, records, inputs=('n k', 'k'))
    assert 'must know its sources' in str(report)


@pytest.mark.parametrize('f', [None, 3, 'exp', Tape, lambda a: None, lambda a: (a,), lambda: 1])
def test_a_report_whatever_comes(f):
    "0.1 raised a TypeError for None"
    for report in (check_tape(f, torch.exp, Tape), check_slopes(f, Tape), check_slopes(lambda r,s: s, f)):
        assert not report.ok and report.failed[0].problem
