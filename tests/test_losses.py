"Losses: the same values and gradients as PyTorch's on random configurations, and words for bad input"
import pytest, torch, torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from miniai import losses
from miniai.check.losses import check_losses
from miniai.losses import accuracy, bce_with_logits, cross_entropy, log_softmax, logsumexp, mse, nll_loss, softmax

TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
HALF = (torch.float16, torch.bfloat16)
dtypes = st.sampled_from(list(TOLERANCE))
reductions = st.sampled_from(['mean', 'sum', 'none'])
sizes = st.sampled_from([0., 1e-3, 1., 30., 1e4])
quick = settings(deadline=None, max_examples=100)


def same(ours, theirs, x, *args, **kwargs):
    """Both functions give the same results and gradients for `x`.

    PyTorch rounds 16-bit numbers at each step; what ours must equal is its result for the same numbers in 32 bits, rounded once.
    """
    outs,grads,half,kind = [],[],x.dtype in HALF,x.dtype
    for a in args: kind = torch.promote_types(kind, a.dtype) if isinstance(a, torch.Tensor) and a.is_floating_point() else kind
    def wide(a): return a.float() if isinstance(a, torch.Tensor) and a.dtype in HALF else a
    for f in (ours, theirs):
        xi = x.clone().requires_grad_()
        if half and f is theirs: out = f(xi.float(), *map(wide, args), **{k: wide(v) for k,v in kwargs.items()}).to(kind)
        else: out = f(xi, *args, **kwargs)
        outs.append(out.detach())
        factors = torch.linspace(0.5, 1, out.numel()).to(out.dtype).view(out.shape)
        grads.append(torch.autograd.grad((out*factors).sum(), xi)[0])
    assert outs[0].shape == outs[1].shape and outs[0].dtype == outs[1].dtype and grads[0].dtype == grads[1].dtype
    for o,t in (outs, grads):
        tol = TOLERANCE[x.dtype]
        scale = max(1., t.double().nan_to_num(0, 0, 0).abs().max().item()) if t.numel() else 1.
        assert torch.allclose(o.double(), t.double(), rtol=tol, atol=tol*scale, equal_nan=True), f'ours {o}, theirs {t}'


def randn(seed, *shape, size=1., dtype=torch.float32):
    top = torch.finfo(dtype).max/4
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)*size).clamp(-top, top).to(dtype)


@st.composite
def batches(draw):
    "Scores and labels of any batch shape, PyTorch's layout, with the options that fit them"
    classes,rest,seed = draw(st.integers(1, 6)),draw(st.lists(st.integers(0, 4), max_size=3)),draw(st.integers(0, 10_000))
    x = randn(seed, *rest[:1], classes, *rest[1:], size=draw(sizes), dtype=draw(dtypes))
    target = torch.randint(classes, tuple(rest), generator=torch.Generator().manual_seed(seed))
    ignore_index = draw(st.sampled_from([-100, -1, 0, classes-1, 255]))
    if draw(st.booleans()): target = torch.where(torch.rand(target.shape, generator=torch.Generator().manual_seed(seed)) < 0.3, ignore_index, target)
    weight = (torch.rand(classes, generator=torch.Generator().manual_seed(seed))+0.1).to(x.dtype) if draw(st.booleans()) else None
    return x,target,dict(weight=weight, ignore_index=ignore_index, reduction=draw(reductions))


@quick
@given(batches(), st.sampled_from([0., 0.1, 1.]))
def test_cross_entropy_with_labels(batch, label_smoothing):
    x,target,kwargs = batch
    same(cross_entropy, F.cross_entropy, x, target, label_smoothing=label_smoothing, **kwargs)


@quick
@given(batches(), st.sampled_from([0., 0.3]), st.sampled_from([torch.float64, None]))
def test_cross_entropy_with_probabilities(batch, label_smoothing, dtype):
    x,_,kwargs = batch
    p = randn(1, *x.shape, dtype=torch.float64).softmax(min(x.dim()-1, 1)).to(dtype or x.dtype)
    same(cross_entropy, F.cross_entropy, x, p, weight=kwargs['weight'], reduction=kwargs['reduction'], label_smoothing=label_smoothing)


@quick
@given(batches())
def test_nll_loss(batch):
    x,target,kwargs = batch
    same(nll_loss, F.nll_loss, x.log_softmax(min(x.dim()-1, 1)), target, **kwargs)


@quick
@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.data(), sizes, dtypes, st.integers(0, 10_000))
def test_softmax_family(shape, data, size, dtype, seed):
    x,dim = randn(seed, *shape, size=size, dtype=dtype),data.draw(st.integers(-len(shape), len(shape)-1))
    same(softmax, torch.softmax, x, dim)
    same(log_softmax, torch.log_softmax, x, dim)
    same(logsumexp, torch.logsumexp, x, dim, keepdim=data.draw(st.booleans()))
    same(logsumexp, torch.logsumexp, x, tuple(range(len(shape))))


@quick
@given(st.lists(st.integers(0, 4), max_size=3), sizes, dtypes, reductions, st.integers(0, 10_000), st.booleans(), st.booleans())
def test_pairs(shape, size, dtype, reduction, seed, weighted, whole):
    x,t = randn(seed, *shape, size=size, dtype=dtype),randn(seed+1, *shape, size=min(size, 30), dtype=dtype)
    same(mse, F.mse_loss, x, t, reduction=reduction)
    t,last = t.sigmoid(),shape[-1:]
    if whole: t = t.round()
    kwargs = dict(pos_weight=torch.rand(last).to(dtype)+0.5, weight=torch.rand(last).to(dtype)) if weighted else {}
    same(bce_with_logits, F.binary_cross_entropy_with_logits, x, t, reduction=reduction, **kwargs)


@quick
@given(batches())
def test_accuracy(batch):
    x,target,_ = batch
    if x.dim() < 2 or not x.shape[1]: return
    got,want = accuracy(x, target),(x.argmax(1) == target).float().mean()
    assert got.shape == () and got.dtype == torch.float32
    assert torch.equal(got, want) or got.isnan() and want.isnan()


@pytest.mark.parametrize('f', [torch.nn.functional, dict(logsumexp=torch.logsumexp), losses], ids=['torch', 'torch.logsumexp', 'ours'])
def test_kit_accepts(f): check_losses(f).raise_if_failed()


def test_kit_tries_each_of_ours(): assert check_losses(losses).title.split(', ') == losses.__all__


def picked(x, t, ignore_index=-100):
    keep = t != ignore_index
    return -x.log_softmax(min(1, x.dim()-1)).gather(min(1, x.dim()-1), t.where(keep, 0).unsqueeze(min(1, x.dim()-1))).squeeze(min(1, x.dim()-1))*keep,keep


def divides_by_all(x, t, weight=None, ignore_index=-100, **kwargs):
    "Ignored items count in the mean"
    return F.cross_entropy(x, t, weight, ignore_index=ignore_index, **kwargs) if kwargs or t.shape == x.shape or weight is not None else picked(x, t, ignore_index)[0].mean()


def weighs_by_number(x, t, weight=None, reduction='mean', **kwargs):
    "The weighted mean divides by the number of items"
    if weight is None or reduction != 'mean' or t.shape == x.shape or kwargs.get('label_smoothing'): return F.cross_entropy(x, t, weight, reduction=reduction, **kwargs)
    return F.cross_entropy(x, t, weight, reduction='none', **kwargs).mean()


def smooths_the_others_alone(x, t, label_smoothing=0., **kwargs):
    "Spreads over the other classes, not over all"
    n = x.shape[min(1, x.dim()-1)]
    return F.cross_entropy(x, t, label_smoothing=label_smoothing*n/(n-1) if label_smoothing <= 1-1/n else label_smoothing, **kwargs)


def keeps_32_bits(x, t, **kwargs): return F.cross_entropy(x.float() if x.element_size() == 2 else x, t, **kwargs)


def classes_last(x, t, **kwargs):
    return F.cross_entropy(x.movedim(-1, 1) if x.dim() > 2 else x, t, **kwargs)


def zero_for_nothing(x, t, **kwargs): return F.cross_entropy(x, t, **kwargs).nan_to_num(0)


def rounds_labels(x, t, **kwargs): return F.cross_entropy(x, t.long() if t.shape != x.shape else t, **kwargs)


def squeezes(x, t, **kwargs): return F.cross_entropy(x, t.squeeze(-1) if t.dim() == x.dim() and t.shape != x.shape else t, **kwargs)


def any_reduction(x, t, reduction='mean', **kwargs): return F.cross_entropy(x, t, reduction=reduction if reduction in ('sum', 'none') else 'mean', **kwargs)


def from_the_end(x, t, **kwargs): return F.cross_entropy(x, t.where((t < -9) | (t >= 0), t+5) if t.shape != x.shape else t, **kwargs)


def clamps(x, t, **kwargs): return F.cross_entropy(x.clamp(-50, 50), t, **kwargs)


@pytest.mark.parametrize('mutant,case', [
    (divides_by_all, 'labels of -100 do not count'), (weighs_by_number, 'weight'), (smooths_the_others_alone, 'label_smoothing'), (keeps_32_bits, 'float16'),
    (classes_last, 'scores (4, 5, …)'), (zero_for_nothing, 'an empty batch, mean'), (rounds_labels, 'labels as floats are refused'),
    (squeezes, 'a column of labels is refused'), (any_reduction, 'an unknown reduction'), (from_the_end, 'a label of -1'), (clamps, 'large scores')])
def test_kit_refuses(mutant, case):
    failed = check_losses(mutant, 'cross_entropy').failed
    assert any(r.name.startswith(case) for r in failed) and len(failed) < 40, failed


def test_infinite_scores_as_torch():
    inf = float('inf')
    x = torch.tensor([[inf, 1.], [-inf, -inf], [0., -inf], [inf, -inf]])
    for ours,theirs in ((softmax, torch.softmax), (log_softmax, torch.log_softmax), (logsumexp, torch.logsumexp)):
        torch.testing.assert_close(ours(x, 1), theirs(x, 1), equal_nan=True)
    for label in (0, 1):
        t = torch.full((4,), label)
        torch.testing.assert_close(cross_entropy(x, t, reduction='none'), F.cross_entropy(x, t, reduction='none'), equal_nan=True)


def test_a_masked_class_takes_nothing():
    "A score of -inf: probability 0, and a gradient without nan"
    x = torch.tensor([[1., 2., -torch.inf]], requires_grad=True)
    cross_entropy(x, torch.tensor([0])).backward()
    assert x.grad.isfinite().all() and x.grad[0,2] == 0


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_any_integer_labels(dtype):
    x,t = torch.randn(6, 5),torch.randint(5, (6,))
    assert torch.equal(cross_entropy(x, t.to(dtype)), cross_entropy(x, t))


def test_integer_targets_of_pairs():
    x,t = torch.randn(6),torch.randint(2, (6,))
    for target in (t, t.bool(), t.to(torch.uint8)):
        assert torch.equal(bce_with_logits(x, target), bce_with_logits(x, t.float())) and torch.equal(mse(x, target), mse(x, t.float()))


X,Y = torch.zeros(4, 3),torch.tensor([0, 1, 2, 0])

@pytest.mark.parametrize('loss,args,kwargs,error,words', [
    (cross_entropy, (X, torch.tensor([0, 1, 3, 0])), {}, ValueError, 'label 3 at [2], but with 3 classes labels go from 0 to 2'),
    (cross_entropy, (X, torch.tensor([0, -1, 2, 0])), {}, ValueError, 'label -1 at [1]'),
    (cross_entropy, (X, torch.tensor([0, -100, 3, 0])), {}, ValueError, 'label 3 at [2]'),
    (cross_entropy, (X, torch.tensor([0, 1, 3, 0])), dict(ignore_index=1), ValueError, 'label 3 at [2]'),
    (cross_entropy, (X[0], torch.tensor(5)), {}, ValueError, 'the label 5, but'),
    (cross_entropy, (torch.zeros(2, 3, 2), torch.tensor([[0, 1], [2, 9]])), {}, ValueError, 'label 9 at [1, 1]'),
    (cross_entropy, (X, Y.float()), {}, TypeError, 'torch.float32: use target.long()'),
    (cross_entropy, (X, Y > 0), {}, TypeError, 'torch.bool'),
    (cross_entropy, (X, F.one_hot(Y)), {}, TypeError, 'target.argmax(1)'),
    (cross_entropy, (X, Y[:,None]), {}, ValueError, 'use target.squeeze()'),
    (cross_entropy, (X, Y[:3]), {}, ValueError, 'must have shape (4,)'),
    (cross_entropy, (X, Y.tolist()), {}, TypeError, 'got list'),
    (cross_entropy, (X.tolist(), Y), {}, TypeError, 'input must be a tensor, got list'),
    (cross_entropy, (X.long(), Y), {}, TypeError, 'use input.float()'),
    (cross_entropy, (torch.tensor(1.), torch.tensor(0)), {}, ValueError, 'a score for each class'),
    (cross_entropy, (torch.zeros(4, 0), Y), {}, ValueError, 'no classes'),
    (cross_entropy, (X, Y), dict(weight=torch.ones(4)), ValueError, 'each of the 3 classes'),
    (cross_entropy, (X, X), dict(weight=torch.ones(4)), ValueError, 'each of the 3 classes'),
    (cross_entropy, (X, X), dict(ignore_index=1), ValueError, 'ignore_index=1'),
    (cross_entropy, (X, Y), dict(reduction='avg'), ValueError, "got 'avg'"),
    (cross_entropy, (X, Y), dict(label_smoothing=-0.1), ValueError, 'got -0.1'),
    (cross_entropy, (X, Y, 'sum'), {}, TypeError, "weight must be a tensor, got str"),
    (nll_loss, (X, torch.tensor([0, 1, 3, 0])), {}, ValueError, 'label 3 at [2]'),
    (nll_loss, (X, X), {}, ValueError, 'must have shape (4,)'),
    (bce_with_logits, (X, Y.float()), {}, ValueError, 'must have the input'),
    (bce_with_logits, (X, X), dict(pos_weight=torch.ones(5)), ValueError, 'pos_weight must broadcast to shape (4, 3), got shape (5,)'),
    (bce_with_logits, (X[0], X[0]), dict(weight=torch.ones(2, 3)), ValueError, 'weight must broadcast'),
    (mse, (X[:,:1], X[:,0]), {}, ValueError, 'use target.unsqueeze(-1)'),
    (mse, (X[:,0], X[:,:1]), {}, ValueError, 'use target.squeeze()'),
    (mse, (X, 0.), {}, TypeError, 'target must be a tensor, got float'),
    (softmax, (Y,), {}, TypeError, 'must hold floats'),
    (accuracy, (X, Y[:,None]), {}, ValueError, 'yb must have shape (4,)'),
    (accuracy, (X[0], Y), {}, ValueError, 'a row of scores')])
def test_bad_input(loss, args, kwargs, error, words):
    with pytest.raises(error) as e: loss(*args, **kwargs)
    assert words in str(e.value)


def test_good_labels_are_not_looked_at():
    "Reading a value from a tensor makes a GPU wait: no loss may do it when the labels are good"
    from torch.utils._python_dispatch import TorchDispatchMode
    class NoReading(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            assert func.name() not in ('aten::_local_scalar_dense', 'aten::nonzero', 'aten::is_nonzero', 'aten::equal', 'aten::masked_select'), func
            return func(*args, **(kwargs or {}))
    x = torch.randn(6, 3, requires_grad=True)
    t = torch.tensor([0, 1, -100, 2, 0, 1])
    p = torch.rand(6, 3)
    with NoReading():
        for kwargs in ({}, dict(weight=torch.ones(3)), dict(label_smoothing=0.1), dict(ignore_index=0, reduction='sum')):
            labels = t if kwargs.get('ignore_index', -100) < 0 else t.clamp(min=0)
            cross_entropy(x, labels, **kwargs).backward()
        nll_loss(log_softmax(x, 1), t).backward()
        cross_entropy(x, p).backward()
        bce_with_logits(x, p, pos_weight=torch.ones(3)).backward()
        mse(x, p).backward()
        accuracy(x, t)
        logsumexp(x).sum().backward()


@pytest.mark.parametrize('device', ['cuda', pytest.param('meta')])
def test_other_devices(device):
    "Where labels can't be looked at for free (here: not at all), ignored ones are masked"
    if device == 'cuda' and not torch.cuda.is_available(): pytest.skip('no GPU')
    x,t = torch.randn(6, 3),torch.tensor([0, 1, -100, 2, 0, 1])
    got = cross_entropy(x.to(device), t.to(device), weight=torch.ones(3, device=device), label_smoothing=0.1)
    assert got.device.type == device and got.shape == ()
    if device == 'cuda': torch.testing.assert_close(got.cpu(), F.cross_entropy(x, t, label_smoothing=0.1))


def test_function_transforms():
    "Gradients per item by vmap, forward mode, second derivatives"
    x,t = torch.randn(5, 4, 3, dtype=torch.float64),torch.randint(3, (5, 4))
    t[1,2] = -100
    each = [torch.func.vmap(torch.func.grad(f))(x, t) for f in (cross_entropy, F.cross_entropy)]
    torch.testing.assert_close(*each)
    tangents = [torch.func.jvp(lambda x: f(x, t[0]), (x[0],), (x[1],))[1] for f in (cross_entropy, F.cross_entropy)]
    torch.testing.assert_close(*tangents)
    for ours,theirs,target in ((cross_entropy, F.cross_entropy, t[0]), (bce_with_logits, F.binary_cross_entropy_with_logits, torch.rand_like(x[0])), (mse, F.mse_loss, x[1])):
        for at in (x[0], torch.zeros_like(x[0])):
            torch.testing.assert_close(*(torch.func.hessian(lambda x: f(x, target))(at) for f in (ours, theirs)))


def test_autocast_keeps_losses_in_32_bits():
    h,t = torch.randn(6, 3).bfloat16(),torch.tensor([0, 1, 2, 2, 0, 1])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        for f,args in ((cross_entropy, (h, t)), (nll_loss, (h, t)), (bce_with_logits, (h, torch.rand(6, 3))), (mse, (h, h+1))):
            assert f(*args).dtype == torch.float32
    assert cross_entropy(h, t).dtype == torch.bfloat16


def test_float16_beyond_its_range():
    "What is calculated on the way may exceed 65504; only the result has to fit"
    x,t = torch.full((70_000, 2), 4.).half(),torch.zeros(70_000, dtype=torch.int64)
    torch.testing.assert_close(cross_entropy(x, t), torch.tensor(0.6931).half())
    torch.testing.assert_close(mse(torch.full((100_000,), 100.).half(), torch.zeros(100_000).half()), torch.tensor(10000.).half())


@pytest.mark.long
def test_compile():
    f = torch.compile(cross_entropy, fullgraph=True)
    x,t = torch.randn(6, 3, requires_grad=True),torch.tensor([0, 1, -100, 2, 0, 1])
    torch.testing.assert_close(f(x, t), F.cross_entropy(x, t))
