"The proof that nothing is borrowed: our parts train a model while PyTorch's own raise when they are called"
import os
import pytest, torch
from torch import nn
from miniai.data import DataLoader, Dataset, Sampler
from miniai.tools.drawn import load_digits
from miniai.losses import cross_entropy
from miniai.layers import Linear, Module, ReLU, Sequential
from miniai.optim import SGD
from miniai.training import fit

BORROWED = [(nn.Module, '__call__'), (torch.optim.Optimizer, 'step'), (torch.optim.SGD, 'step'),
            (torch.utils.data.DataLoader, '__iter__'),
            (nn.functional, 'cross_entropy'), (nn.functional, 'log_softmax'), (nn.functional, 'nll_loss'),
            (torch, 'log_softmax'), (torch.Tensor, 'log_softmax'),
            (torch.utils.data.RandomSampler, '__iter__'), (torch.utils.data, 'default_collate')]


def forbid(monkeypatch):
    "From here on PyTorch's parts raise"
    for owner,name in BORROWED:
        def borrowed(*args, _name=f'{owner.__name__}.{name}', **kwargs):
            raise AssertionError(f'{_name} was called')
        monkeypatch.setattr(owner, name, borrowed)


def digits(n_train, n_test, dtype):
    x_train,y_train,x_test,y_test = load_digits(n_train, n_test)
    return [Dataset(x.view(len(x), -1).to(dtype)/255, y) for x,y in ((x_train, y_train), (x_test, y_test))]


class MLP(Module):
    def __init__(self, n_in, n_hidden, n_out):
        super().__init__()
        self.layers = Sequential(Linear(n_in, n_hidden), ReLU(), Linear(n_hidden, n_out))
    def forward(self, x): return self.layers(x)


class TorchMLP(nn.Module):
    def __init__(self, n_in, n_hidden, n_out):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_in, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_out))
    def forward(self, x): return self.layers(x)


def torch_losses(epochs, hidden, lr, train, valid, dtype, seed):
    "Losses of each step with PyTorch alone; and the weights at the start"
    torch.manual_seed(seed)
    model = TorchMLP(784, hidden, 10).to(dtype)
    start = {k: v.clone() for k,v in model.state_dict().items()}
    opt = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    dl,valid_dl = (torch.utils.data.DataLoader(torch.utils.data.TensorDataset(ds.x, ds.y), batch_size=bs,
                                               shuffle=ds is train) for ds,bs in ((train, 64), (valid, 128)))
    seen = []
    torch.manual_seed(seed+1)
    for _ in range(epochs):
        for xb,yb in dl:
            loss = nn.functional.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
            opt.zero_grad()
            seen.append(loss.detach())
        with torch.no_grad(): scores = torch.cat([model(xb) for xb,_ in valid_dl])
    return start,torch.stack(seen),nn.functional.cross_entropy(scores, valid.y).item()


def our_losses(epochs, hidden, lr, train, valid, dtype, seed, start):
    "The same with ours alone"
    model = MLP(784, hidden, 10).to(dtype)
    model.load_state_dict(start)
    seen = []
    torch.manual_seed(seed+1)
    dl = DataLoader(train, batch_size=64, sampler=Sampler(train, shuffle=True))
    loss,acc = fit(epochs, model, cross_entropy, SGD(model.parameters(), lr=lr, momentum=0.9), dl,
                   DataLoader(valid, batch_size=128), on_step=seen.append)
    return torch.stack(seen),loss,acc


def test_the_ban_works(monkeypatch):
    "Otherwise the test below would prove nothing"
    model,ds = nn.Linear(2, 2),torch.utils.data.TensorDataset(torch.randn(4, 2))
    opt,dl = torch.optim.SGD(model.parameters(), lr=0.1),torch.utils.data.DataLoader(ds)
    forbid(monkeypatch)
    x,y = torch.randn(4, 2),torch.tensor([0, 1, 0, 1])
    for use in (lambda: model(x), opt.step, lambda: list(dl), lambda: nn.functional.cross_entropy(x, y)):
        with pytest.raises(AssertionError, match='was called'): use()


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32], ids=['float64', 'float32'])
@pytest.mark.parametrize('source', ['drawn', 'mnist'])
def test_training_with_our_parts_alone(monkeypatch, source, dtype):
    """Over 93% of the drawn digits, over 95% of the real ones, and PyTorch's losses from the same start.

    In 64 bits all losses agree. In 32 bits they do until a score that goes into a ReLU is zero but for
    rounding: on one side of the comparison it passes, on the other it does not, and the two runs part. That
    is rare in the first steps, and sure to come some time.
    """
    if source == 'drawn': monkeypatch.delenv('MINIAI_DATA', raising=False)
    elif not os.environ.get('MINIAI_DATA'): pytest.skip('MINIAI_DATA is not set')
    seed = torch.randint(1000, ()).item()
    sizes,how = ((50_000, 10_000), (3, 100, 0.05)) if source == 'mnist' else ((10_000, 2_000), (5, 50, 0.1))
    train,valid = digits(*sizes, dtype)
    start,theirs,their_loss = torch_losses(*how, train, valid, dtype, seed)
    forbid(monkeypatch)
    ours,loss,acc = our_losses(*how, train, valid, dtype, seed, start)
    assert acc > (0.95 if source == 'mnist' else 0.93), f'seed {seed}'
    assert len(ours) == len(theirs)
    if dtype == torch.float64:
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
        assert loss == pytest.approx(their_loss, rel=1e-6)
    else: torch.testing.assert_close(ours[:20], theirs[:20], rtol=1e-3, atol=1e-4)
