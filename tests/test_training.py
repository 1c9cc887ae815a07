"The training loop: honest averages, the same steps however batches are cut, any mix of parts, bad input"
import inspect
import pytest, torch, torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.utils.data import DataLoader as TorchLoader, TensorDataset
from miniai import data, losses, training
from miniai.losses import cross_entropy
from miniai.layers import Dropout, Linear, ReLU, Sequential
from miniai.optim import SGD, Adam
from miniai.training import Dataset, fit, get_dls, loss_batch, report
from tests.conftest import Plain

quick = settings(deadline=None, max_examples=40)


def items(n, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=g, dtype=dtype),torch.randint(3, (n,), generator=g)


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(5, 3).double()


def cut(x, y, sizes):
    "Batches of the given sizes, in order"
    return list(zip(x.split(sizes), y.split(sizes)))


def validated(model, loss_func, dl):
    "Loss and accuracy as `fit` measures them, after an epoch that moves nothing"
    batches = list(dl)
    return fit(1, model, loss_func, SGD(model.parameters(), lr=0.), batches, batches)


def test_names():
    assert set(training.__all__) == {'accuracy', 'report', 'Dataset', 'fit', 'get_dls', 'loss_batch'}
    assert training.DataLoader is data.DataLoader and training.Dataset is data.Dataset
    assert training.accuracy is losses.accuracy
    names = 'epochs model loss_func opt train_dl valid_dl on_step on_epoch accumulate'
    assert list(inspect.signature(fit).parameters) == names.split()
    space = {}
    exec('from miniai.training import *', space)
    assert set(space) - {'__builtins__'} == set(training.__all__)


def test_report(capsys):
    report(torch.tensor(0.456), torch.eye(3), torch.tensor([0, 1, 1]))
    assert capsys.readouterr().out == '0.46, 0.67\n'


def test_loss_batch():
    x,y = items(7)
    model = linear()
    loss,preds = loss_batch(model, cross_entropy, x, y)
    assert loss.requires_grad and torch.equal(preds, model(x)) and torch.equal(loss, cross_entropy(preds, y))


@quick
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 1000))
def test_validation_does_not_depend_on_batch_sizes(sizes, seed):
    x,y = items(sum(sizes), seed)
    model = linear(seed)
    loss,acc = validated(model, cross_entropy, cut(x, y, sizes))
    assert isinstance(loss, float) and isinstance(acc, float) and not model.training
    assert loss == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-9)
    assert acc == pytest.approx((model(x).argmax(1) == y).double().mean().item(), rel=1e-6)


@quick
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 9), st.integers(0, 1000))
def test_accumulated_batches_equal_one_large_batch(sizes, accumulate, seed):
    x,y = items(sum(sizes), seed)
    groups = [sum(sizes[i:i+accumulate]) for i in range(0, len(sizes), accumulate)]
    ends = []
    for batches,n in ((cut(x, y, sizes), accumulate), (cut(x, y, groups), 1)):
        model,seen = linear(seed),[]
        fit(2, model, cross_entropy, SGD(model.parameters(), lr=0.3, momentum=0.5), batches, batches,
            on_step=seen.append, accumulate=n)
        assert len(seen) == 2*len(groups)
        ends.append((model.weight.detach(), torch.stack(seen)))
    for a,b in zip(*ends): torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def plain_loop(epochs, model, loss_func, opt, train_dl, valid_dl):
    "What everyone writes, with PyTorch alone"
    seen = []
    for _ in range(epochs):
        model.train()
        for xb,yb in train_dl:
            loss = loss_func(model(xb), yb)
            loss.backward()
            opt.step()
            opt.zero_grad()
            seen.append(loss.detach())
        model.eval()
        with torch.no_grad(): out = torch.cat([model(xb) for xb,_ in valid_dl])
    return out,torch.stack(seen)


@pytest.mark.parametrize('our_model', [True, False])
@pytest.mark.parametrize('our_loss', [True, False])
@pytest.mark.parametrize('our_opt', [True, False])
@pytest.mark.parametrize('our_dl', [True, False])
def test_any_mix_of_parts(our_model, our_loss, our_opt, our_dl):
    x,y = items(50)
    def parts(model=False, loss=False, opt=False, dl=False):
        torch.manual_seed(3)
        reference = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).double()
        net = Sequential(Linear(5, 8), ReLU(), Linear(8, 3)).to(torch.float64) if model else reference
        net.load_state_dict(reference.state_dict())
        ds = Dataset(x, y) if dl else TensorDataset(x, y)
        Loader = data.DataLoader if dl else TorchLoader
        torch.manual_seed(4)
        return (net, cross_entropy if loss else F.cross_entropy,
                (Adam if opt else torch.optim.Adam)(net.parameters(), lr=0.02),
                Loader(ds, batch_size=8, shuffle=True), Loader(ds, batch_size=16))
    out,seen = plain_loop(3, *parts())
    got = parts(our_model, our_loss, our_opt, our_dl)
    losses = []
    loss,acc = fit(3, *got, on_step=losses.append)
    torch.testing.assert_close(torch.stack(losses), seen, rtol=1e-9, atol=1e-12)
    assert loss == pytest.approx(F.cross_entropy(out, y).item())
    assert acc == pytest.approx((out.argmax(1) == y).double().mean().item())


def test_home_made_optimizer_and_bare_batches():
    "An optimizer needs only step and zero_grad; a loader is anything that iterates"
    x,y = items(30)
    model,batches = linear(),cut(*items(30), [10, 10, 10])
    before = F.cross_entropy(model(x), y).item()
    loss,_ = fit(5, model, cross_entropy, Plain(model.parameters(), 0.2), batches, batches)
    assert loss < before


def test_rows_functions_and_result(capsys):
    x,y = items(20)
    model,steps,epochs = linear(),[],[]
    dls = get_dls(Dataset(x, y), Dataset(x, y), 8)
    result = fit(3, model, cross_entropy, SGD(model.parameters(), lr=0.1), *dls, on_step=steps.append,
                 on_epoch=lambda *row: epochs.append(row))
    assert len(steps) == 9
    assert all(isinstance(s, torch.Tensor) and s.shape == () and not s.requires_grad for s in steps)
    assert [row[0] for row in epochs] == [0, 1, 2] and epochs[-1][1:] == result
    assert all(isinstance(v, float) for v in result)
    rows = [[float(v) for v in line.split(' ')] for line in capsys.readouterr().out.splitlines()]
    for printed,row in zip(rows, epochs, strict=True): assert printed == pytest.approx(row, abs=1e-4)


def test_modes_and_gradients():
    "Training mode with gradients, evaluation mode without, in each epoch anew; nothing left over"
    seen = []
    class Watched(nn.Linear):
        def forward(self, x):
            seen.append((self.training, torch.is_grad_enabled()))
            return super().forward(x)
    model,batches = Watched(5, 3).to(torch.float64),cut(*items(6), [3, 3])
    fit(2, model, cross_entropy, SGD(model.parameters(), lr=0.1), batches, batches)
    assert seen == ([(True, True)]*2 + [(False,
                                         False)]*2)*2 and not model.training and model.weight.grad is None


def test_dropout_rests_during_validation():
    torch.manual_seed(0)
    x,y = items(40)
    model = Sequential(Linear(5, 30), Dropout(0.5), Linear(30, 3)).to(torch.float64)
    assert validated(model, cross_entropy, [(x, y)]) == validated(model, cross_entropy, [(x, y)])


def test_get_dls():
    train,valid = Dataset(*items(50)),Dataset(*items(45, 1))
    dls = get_dls(train, valid, 8, collate_fn=lambda b: (torch.stack([o[0] for o in b]),
                                                         torch.stack([o[1] for o in b])))
    assert isinstance(dls, tuple) and all(isinstance(dl, data.DataLoader) for dl in dls)
    xs = [xb for xb,_ in dls[1]]
    assert torch.equal(torch.cat(xs), valid.x) and [len(xb) for xb in xs] == [16, 16, 13]
    train_xs = torch.cat([xb for xb,_ in dls[0]])
    assert not torch.equal(train_xs, train.x) and torch.equal(train_xs.sort(0).values, train.x.sort(0).values)
    assert [len(xb) for xb,_ in get_dls(train, valid, 8, drop_last=True)[1]] == [16, 16]


def test_numbers_as_targets_have_no_accuracy():
    x = torch.randn(20, 5)
    model = nn.Linear(5, 1)
    batches = [(x, x.sum(1, keepdim=True))]
    loss,acc = fit(1, model, losses.mse, SGD(model.parameters(), lr=0.1), batches, batches)
    assert loss > 0 and acc != acc


def test_means_of_16_bit_losses_are_summed_in_32():
    "In bfloat16 a sum stops growing at 256"
    model = nn.Linear(5, 3)
    batches = [(torch.zeros(1, 5), torch.zeros(1, dtype=torch.long))]*1000
    loss,_ = fit(1, model, lambda preds,yb: (preds.sum()*0 + 1).bfloat16(), SGD(model.parameters(), lr=0.),
                 batches, batches)
    assert loss == 1.


def test_no_step_reads_the_device():
    "Only the end of an epoch may read a number from a tensor"
    from torch.utils._python_dispatch import TorchDispatchMode
    reads = []
    class Reads(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.name() in ('aten::_local_scalar_dense', 'aten::nonzero',
                               'aten::equal'): reads.append(func.name())
            return func(*args, **(kwargs or {}))
    x,y = items(60)
    for sizes in ([20]*3, [3]*20):
        model,batches = nn.Linear(5, 3).double(),cut(x, y, sizes)
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        reads.clear()
        with Reads(): fit(2, model, cross_entropy, opt, batches, batches, accumulate=2)
        assert len(reads) == 4, 'loss and accuracy of two epochs'


class NoLength:
    "A loader that does not know how long it is"
    def __init__(self, batches): self.batches = batches
    def __iter__(self): return iter(self.batches)


BATCHES = cut(*items(6), [3, 3])

@pytest.mark.parametrize('change,error,words', [
    (dict(train_dl=[]), ValueError, 'train_dl gave no batches'),
                                                (dict(valid_dl=[]), ValueError, 'valid_dl gave no batches'),
    (dict(train_dl=NoLength([])), ValueError, 'train_dl gave no batches'),
                                                (dict(valid_dl=NoLength([])), ValueError,
                                                 'valid_dl gave no batches'),
    (dict(train_dl=iter(BATCHES), epochs=2), ValueError, 'train_dl gave no batches'),
                                                (dict(valid_dl=iter(BATCHES), epochs=2), ValueError,
                                                 'valid_dl gave no'),
    (dict(train_dl=data.DataLoader(Dataset(*items(5)), batch_size=9, drop_last=True)), ValueError,
     'train_dl gave no batches'),
    (dict(epochs=0), ValueError, 'epochs must be 1 or more, got 0'),
                                                (dict(epochs=2.5), ValueError, 'got 2.5'),
    (dict(accumulate=0), ValueError, 'accumulate must be'),
                                                (dict(opt=cross_entropy), TypeError,
                                                 'the order is fit(epochs, model, loss_func, opt'),
    (dict(loss_func=None), TypeError, 'got NoneType and SGD'),
                                                (dict(on_step=[]), TypeError,
                                                 'on_step must be a function, got []'),
    (dict(on_epoch=3), TypeError, 'on_epoch must be a function'),
    (dict(opt=SGD), TypeError, 'opt is a class: make an object of it, SGD('),
                                                (dict(model=nn.Linear), TypeError, 'model is a class'),
    (dict(loss_func=nn.CrossEntropyLoss), TypeError,
     'loss_func is a class: make an object of it, CrossEntropyLoss('),
    (dict(opt=SGD(linear(1).parameters(), lr=0.1)), ValueError, 'opt has no parameter of this model'),
    (dict(opt=torch.optim.SGD(linear(1).parameters(), lr=0.1)), ValueError,
     'opt has no parameter of this model'),
    (dict(train_dl=Dataset(*items(6))), TypeError, 'train_dl is a data set'),
                                                (dict(valid_dl=TensorDataset(*items(6))), TypeError,
                                                 'valid_dl is a data set')])
def test_bad_input(change, error, words):
    model = linear()
    arguments = dict(epochs=1, model=model, loss_func=cross_entropy, opt=SGD(model.parameters(), lr=0.1),
                     train_dl=BATCHES, valid_dl=BATCHES)
    with pytest.raises(error) as e: fit(**(arguments | change))
    assert words in str(e.value)


def test_a_part_of_the_model_may_be_trained_alone():
    "What a head's own optimizer or one with further parameters does is nobody's mistake"
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)).double()
    extra = torch.ones(1, requires_grad=True)
    for params in (model[1].parameters(), [*model.parameters(), extra]):
        fit(1, model, cross_entropy, SGD(params, lr=0.1), BATCHES, BATCHES)


def test_known_empty_loaders_are_refused_before_any_work():
    model = linear()
    before = model.weight.detach().clone()
    with pytest.raises(ValueError, match='valid_dl'): fit(1, model, cross_entropy,
                                                          SGD(model.parameters(), lr=0.1), BATCHES, [])
    assert torch.equal(model.weight, before)
