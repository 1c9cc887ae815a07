"Losses: the same values and gradients as PyTorch's on random configurations, and words for bad input"
import pytest, torch, torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from miniai import losses
from miniai.check.losses import check_losses, check_topk
from miniai.losses import accuracy, bce_with_logits, cross_entropy
from miniai.losses import log_softmax, logsumexp, mse, nll_loss, softmax

TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
HALF = (torch.float16, torch.bfloat16)
dtypes = st.sampled_from(list(TOLERANCE))
reductions = st.sampled_from(['mean', 'sum', 'none'])
sizes = st.sampled_from([0., 1e-3, 1., 30., 1e4])
seeds = st.integers(0, 10_000)
quick = settings(deadline=None, max_examples=100)


def same(ours, theirs, x, *args, **kwargs):
    """Both functions give the same results and gradients for `x`.

    PyTorch rounds 16-bit numbers at each step; ours must equal its result in 32 bits, rounded once.
    """
    outs,grads = [],[]
    def wide(a): return a.float() if isinstance(a, torch.Tensor) and a.dtype in HALF else a
    for f in (ours, theirs):
        xi = x.clone().requires_grad_()
        if f is theirs: out = f(wide(xi), *map(wide, args), **kwargs).to(x.dtype)
        else: out = f(xi, *args, **kwargs)
        outs.append(out.detach())
        factors = torch.linspace(0.5, 1, out.numel()).to(out.dtype).view(out.shape)
        grads.append(torch.autograd.grad((out*factors).sum(), xi)[0])
    assert outs[0].shape == outs[1].shape
    assert outs[0].dtype == outs[1].dtype and grads[0].dtype == grads[1].dtype
    for o,t in (outs, grads):
        o,t,tol = o.double(),t.double(),TOLERANCE[x.dtype]
        scale = max(1., t.nan_to_num(0, 0, 0).abs().max().item()) if t.numel() else 1.
        assert torch.allclose(o, t, rtol=tol, atol=tol*scale, equal_nan=True), f'ours {o}, theirs {t}'


def rng(seed): return torch.Generator().manual_seed(seed)


def randn(seed, *shape, size=1., dtype=torch.float32):
    top = torch.finfo(dtype).max/4
    return (torch.randn(shape, generator=rng(seed), dtype=torch.float64)*size).clamp(-top, top).to(dtype)


@st.composite
def batches(draw):
    "Scores and labels of any batch shape, PyTorch's layout, and a reduction"
    classes,rest,seed = draw(st.integers(1, 6)),draw(st.lists(st.integers(0, 4), max_size=3)),draw(seeds)
    x = randn(seed, *rest[:1], classes, *rest[1:], size=draw(sizes), dtype=draw(dtypes))
    return x,torch.randint(classes, tuple(rest), generator=rng(seed)),draw(reductions)


@quick
@given(batches(), st.sampled_from([0., 0.1, 1.]))
def test_cross_entropy(batch, label_smoothing):
    x,target,reduction = batch
    same(cross_entropy, F.cross_entropy, x, target, reduction=reduction, label_smoothing=label_smoothing)


@quick
@given(batches())
def test_nll_loss(batch):
    x,target,reduction = batch
    same(nll_loss, F.nll_loss, x.log_softmax(min(x.dim()-1, 1)), target, reduction=reduction)


@quick
@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.data(), sizes, dtypes, seeds)
def test_softmax_family(shape, data, size, dtype, seed):
    x,dim = randn(seed, *shape, size=size, dtype=dtype),data.draw(st.integers(-len(shape), len(shape)-1))
    same(softmax, torch.softmax, x, dim)
    same(log_softmax, torch.log_softmax, x, dim)
    same(logsumexp, torch.logsumexp, x, dim, keepdim=data.draw(st.booleans()))
    same(logsumexp, torch.logsumexp, x, tuple(range(len(shape))))


@quick
@given(st.lists(st.integers(0, 4), max_size=3), sizes, dtypes, reductions, seeds, st.booleans())
def test_pairs(shape, size, dtype, reduction, seed, whole):
    x,t = randn(seed, *shape, size=size, dtype=dtype),randn(seed+1, *shape, size=min(size, 30), dtype=dtype)
    same(mse, F.mse_loss, x, t, reduction=reduction)
    t = t.sigmoid().round() if whole else t.sigmoid()
    same(bce_with_logits, F.binary_cross_entropy_with_logits, x, t, reduction=reduction)


def test_a_pair_of_types_gives_the_wider():
    "As F.mse_loss (F.binary_cross_entropy_with_logits takes the narrower of float32 and float16)"
    types = torch.float16,torch.float32,torch.float64
    for x,t in ((torch.rand(4).to(a), torch.rand(4).to(b)) for a in types for b in types):
        assert mse(x, t).dtype == bce_with_logits(x, t).dtype == F.mse_loss(x, t).dtype


@quick
@given(batches())
def test_accuracy(batch):
    x,target,_ = batch
    if x.dim() < 2 or x.shape[1] == 1: return
    got,want = accuracy(x, target),(x.argmax(1) == target).float().mean()
    assert got.shape == () and got.dtype == torch.float32
    assert torch.equal(got, want) or got.isnan() and want.isnan()


THEIRS = dict(cross_entropy='cross_entropy', huber='huber_loss', soft_cross_entropy='cross_entropy',
              weighted_cross_entropy='cross_entropy')


@pytest.mark.parametrize('name', THEIRS)
def test_the_check_accepts_pytorchs(name): check_losses(getattr(F, THEIRS[name]), name).raise_if_failed()


def test_the_check_accepts_ours(): check_losses(cross_entropy).raise_if_failed()


def keeps_range(x, t): return F.cross_entropy(x.clamp(-50, 50), t)
def from_the_end(x, t): return -x.log_softmax(1)[range(len(t)), t].mean()
def rounded(x, t): return F.cross_entropy(x.half(), t).float()
def in_place(x, t): return F.cross_entropy(x.data.sub_(x.amax(1, keepdim=True)), t)
def detached(x, t): return F.cross_entropy(x.detach(), t)
def half_the_slope(x, t): return F.cross_entropy(x, t)/2 + F.cross_entropy(x.detach(), t)/2


@pytest.mark.parametrize('mutant,case', [
    (keeps_range, 'large scores'), (from_the_end, 'a label of -1'), (rounded, 'four rows'),
    (in_place, 'one row'), (detached, 'one row'), (half_the_slope, 'one row')])
def test_the_check_refuses(mutant, case):
    failed = check_losses(mutant, 'cross_entropy').failed
    assert any(r.name.startswith(case) for r in failed), failed


@pytest.mark.parametrize('f', [None, 3, 'softmax', F.relu, lambda: None, lambda x,t: x, [mse]])
def test_a_report_whatever_comes(f):
    "0.1 raised for some of these"
    for report in (check_losses(f, 'cross_entropy'), check_losses(f), check_topk(f)):
        assert not report.ok and report.failed[0].problem


def test_infinite_scores_as_torch():
    inf = float('inf')
    x = torch.tensor([[inf, 1.], [-inf, -inf], [0., -inf], [inf, -inf]])
    for f in ('softmax', 'log_softmax', 'logsumexp'):
        torch.testing.assert_close(getattr(losses, f)(x, 1), getattr(torch, f)(x, 1), equal_nan=True)
    for label in (0, 1):
        t = torch.full((4,), label)
        ours,theirs = (f(x, t, reduction='none') for f in (cross_entropy, F.cross_entropy))
        torch.testing.assert_close(ours, theirs, equal_nan=True)


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
        for loss in (bce_with_logits, mse): assert torch.equal(loss(x, target), loss(x, t.float()))


X,Y = torch.zeros(4, 3),torch.tensor([0, 1, 2, 0])
PIXELS = torch.zeros(2, 3, 2)

@pytest.mark.parametrize('loss,args,error,words', [
    (cross_entropy, (X, torch.tensor([0, 1, 3, 0])), ValueError, 'but 3 classes have labels 0 to 2'),
    (cross_entropy, (X, torch.tensor([0, -1, 2, 0])), ValueError, 'label -1 at [1]'),
    (cross_entropy, (X, torch.tensor([0, -100, 2, 0])), ValueError, 'leave that item out'),
    (cross_entropy, (X[0], torch.tensor(5)), ValueError, 'the label 5, but'),
    (cross_entropy, (PIXELS, torch.tensor([[0, 1], [2, 9]])), ValueError, 'label 9 at [1, 1]'),
    (cross_entropy, (X, Y.float()), TypeError, 'torch.float32: use target.long()'),
    (cross_entropy, (Y, X), TypeError, 'swap the two'),
    (cross_entropy, (X, Y > 0), TypeError, 'torch.bool'),
    (cross_entropy, (X, F.one_hot(Y)), ValueError, 'use target.argmax(1)'),
    (cross_entropy, (X, X), ValueError, 'use target.argmax(1)'),
    (cross_entropy, (X, Y[:,None]), ValueError, 'use target.squeeze()'),
    (cross_entropy, (X, Y[:3]), ValueError, 'needs target of shape (4,), got (3,)'),
    (cross_entropy, (X, Y.tolist()), TypeError, 'target must be a tensor, got list'),
    (cross_entropy, (X.tolist(), Y), TypeError, 'input must be a tensor, got list'),
    (cross_entropy, (X.long(), Y), TypeError, 'use input.float()'),
    (cross_entropy, (torch.tensor(1.), torch.tensor(0)), ValueError, 'a score for each class'),
    (cross_entropy, (X, Y, 'avg'), ValueError, "got 'avg'"),
    (cross_entropy, (X, Y, torch.ones(3)), ValueError, "must be 'mean', 'sum' or 'none', got tensor"),
    (cross_entropy, (X, Y, 'mean', -0.1), ValueError, 'got -0.1'),
    (nll_loss, (X, torch.tensor([0, 1, 3, 0])), ValueError, 'label 3 at [2]'),
    (nll_loss, (X, X), ValueError, 'needs target of shape (4,)'),
    (bce_with_logits, (X, Y.float()), ValueError, 'must have the input'),
    (mse, (X[:,:1], X[:,0]), ValueError, 'use target.unsqueeze(-1)'),
    (mse, (X[:,0], X[:,:1]), ValueError, 'use target.squeeze()'),
    (mse, (X, 0.), TypeError, 'target must be a tensor, got float'),
    (softmax, (Y,), TypeError, 'must hold floats'),
    (accuracy, (X, Y[:,None]), ValueError, 'needs a yb of shape (4,)'),
    (accuracy, (X[:,:1], Y), ValueError, 'for one score a row use ((out.flatten() > 0) == yb.flatten())'),
    (accuracy, (X[0], Y), ValueError, 'a score for each class in each row')])
def test_bad_input(loss, args, error, words):
    with pytest.raises(error) as e: loss(*args)
    assert words in str(e.value)


READING = {'aten::' + n for n in ('_local_scalar_dense', 'nonzero', 'is_nonzero', 'equal', 'masked_select')}


def test_good_labels_are_not_looked_at():
    "Reading a value from a tensor makes a GPU wait: no loss may do it when the labels are good"
    from torch.utils._python_dispatch import TorchDispatchMode
    class NoReading(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            assert func.name() not in READING, func
            return func(*args, **(kwargs or {}))
    x,t,p = torch.randn(6, 3, requires_grad=True),torch.tensor([0, 1, 1, 2, 0, 1]),torch.rand(6, 3)
    with NoReading():
        cross_entropy(x, t).backward()
        cross_entropy(x, t, reduction='sum', label_smoothing=0.1).backward()
        nll_loss(log_softmax(x, 1), t).backward()
        bce_with_logits(x, p).backward()
        mse(x, p).backward()
        accuracy(x, t)
        logsumexp(x).sum().backward()


@pytest.mark.parametrize('device', ['cuda', 'meta'])
def test_other_devices(device):
    "Where labels can't be looked at for free (on meta: not at all)"
    if device == 'cuda' and not torch.cuda.is_available(): pytest.skip('no GPU')
    x,t = torch.randn(6, 3),torch.tensor([0, 1, 1, 2, 0, 1])
    got = cross_entropy(x.to(device), t.to(device), label_smoothing=0.1)
    assert got.device.type == device and got.shape == ()
    if device == 'cuda': torch.testing.assert_close(got.cpu(), F.cross_entropy(x, t, label_smoothing=0.1))


def test_function_transforms():
    "Gradients per item by vmap, forward mode, second derivatives"
    x,t = torch.randn(5, 4, 3, dtype=torch.float64),torch.randint(3, (5, 4))
    both = cross_entropy, F.cross_entropy
    torch.testing.assert_close(*(torch.func.vmap(torch.func.grad(f))(x, t) for f in both))
    torch.testing.assert_close(*(torch.func.jvp(lambda x: f(x, t[0]), (x[0],), (x[1],))[1] for f in both))
    pairs = [(*both, t[0]), (mse, F.mse_loss, x[1]),
             (bce_with_logits, F.binary_cross_entropy_with_logits, torch.rand_like(x[0]))]
    for ours,theirs,target in pairs:
        for at in (x[0], torch.zeros_like(x[0])):
            hessians = [torch.func.hessian(lambda x: f(x, target))(at) for f in (ours, theirs)]
            torch.testing.assert_close(*hessians)


def test_autocast_keeps_losses_in_32_bits():
    h,t,p = torch.randn(6, 3).bfloat16(),torch.tensor([0, 1, 2, 2, 0, 1]),torch.rand(6, 3)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        for f,target in ((cross_entropy, t), (nll_loss, t), (bce_with_logits, p), (mse, h+1)):
            assert f(h, target).dtype == torch.float32
    assert cross_entropy(h, t).dtype == torch.bfloat16


def test_float16_beyond_its_range():
    "What is calculated on the way may exceed 65504; only the result has to fit"
    x,t = torch.full((70_000, 2), 4.).half(),torch.zeros(70_000, dtype=torch.int64)
    torch.testing.assert_close(cross_entropy(x, t), torch.tensor(0.6931).half())
    hundreds = torch.full((100_000,), 100.).half()
    torch.testing.assert_close(mse(hundreds, torch.zeros_like(hundreds)), torch.tensor(10000.).half())


@pytest.mark.long
def test_compile():
    f = torch.compile(cross_entropy, fullgraph=True)
    x,t = torch.randn(6, 3, requires_grad=True),torch.tensor([0, 1, 1, 2, 0, 1])
    torch.testing.assert_close(f(x, t), F.cross_entropy(x, t))
