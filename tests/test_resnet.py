"22_resnet: residual blocks against the same made by hand, and what a network costs"
import copy, inspect, pickle
import pytest, torch, torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn
import miniai.layers as ours
from miniai.conv import Conv2d
from miniai.init import GeneralRelu
from miniai.learner import Learner, MetricsCB
from miniai.resnet import ResBlock, act_gr, get_resnet, multiplications


def by_hand(block, x, stride):
    "What a block of plain ReLUs gives, from its weights"
    (a,),(b,) = ([m for m in part if isinstance(m, nn.Conv2d)] for part in block.convs)
    out = F.conv2d(F.relu(F.conv2d(x, a.weight, a.bias, 1, a.padding)), b.weight, b.bias, stride, b.padding)
    if stride == 2: x = F.avg_pool2d(x, 2, ceil_mode=True)
    if isinstance(block.idconv, nn.Module): x = F.conv2d(x, block.idconv[0].weight, block.idconv[0].bias)
    return F.relu(out + x)


@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 2]), st.sampled_from([1, 3, 5]),
       st.integers(3, 9), st.integers(3, 9))
@settings(max_examples=40, deadline=None)
def test_a_block_is_what_its_parts_give(ni, nf, stride, ks, h, w):
    torch.manual_seed(0)
    block,x = ResBlock(ni, nf, stride, ks, act=nn.ReLU),torch.randn(2, ni, h, w)
    torch.testing.assert_close(block(x), by_hand(block, x, stride))


def test_a_block_has_the_parts_that_notebooks_know():
    block = ResBlock(8, 16, stride=2)
    assert [name for name,_ in block.named_children()] == ['convs', 'idconv', 'pool', 'act']
    assert isinstance(block.act, GeneralRelu) and (block.act.leak, block.act.sub) == (0.1, 0.4)
    same = ResBlock(8, 8, norm=nn.BatchNorm2d)
    assert [name for name,_ in same.named_children()] == ['convs', 'act']
    assert same.idconv(3) == 3 and same.pool(4) == 4
    assert all(m.bias is not None for m in same.modules() if isinstance(m, nn.Conv2d))  # before a norm, too
    assert sum(isinstance(m, nn.BatchNorm2d) for m in same.modules()) == 2
    assert act_gr().leak == 0.1
    params = inspect.signature(ResBlock).parameters
    assert list(params) == 'ni nf stride ks act norm'.split() and params['act'].default is act_gr


@pytest.mark.parametrize('kwargs,text', [
    (dict(stride=3), 'stride must be 1 or 2, got 3'), (dict(ks=4), 'ks must be odd'), (dict(ks=0), 'ks'),
    (dict(act=nn.ReLU()), 'act must be a class'), (dict(norm=nn.BatchNorm2d(4)), 'norm must be a class')])
def test_nonsense_is_named(kwargs, text):
    with pytest.raises((TypeError, ValueError), match=text): ResBlock(4, 4, **kwargs)


def test_what_get_resnet_is_given():
    assert ResBlock(4, 4, act=None)(torch.zeros(1, 4, 3, 3)).shape == (1, 4, 3, 3)
    with pytest.raises(TypeError, match='nfs must be a list of channels, got 16'): get_resnet(16)
    with pytest.raises(ValueError, match='depth'): get_resnet((4, 8), depth=0)


def test_a_whole_model_is_pickled_by_name():
    model = get_resnet((4, 8), act=act_gr).eval()
    x = torch.randn(2, 1, 12, 12)
    for twin in pickle.loads(pickle.dumps(model)),copy.deepcopy(model): assert twin(x).equal(model(x))


def test_how_many_parameters():
    "8*9+8 each way and so on, worked out by hand"
    assert sum(p.numel() for p in ResBlock(8, 8).parameters()) == 2*(8*8*9 + 8)
    assert sum(p.numel() for p in ResBlock(8, 16).parameters()) == 8*16*9+16 + 16*16*9+16 + 8*16+16
    blocks = ResBlock(4, 8, norm=nn.BatchNorm2d),ResBlock(8, 8, norm=nn.BatchNorm2d)
    first,head = 4*9+4 + 2*4,8*10+10
    want = first + head + sum(p.numel() for b in blocks for p in b.parameters())
    assert sum(p.numel() for p in get_resnet((4, 8), depth=2).parameters()) == want


@pytest.mark.parametrize('size', [28, 40, 9])
def test_a_resnet_takes_pictures_of_any_size(size):
    assert get_resnet((4, 8, 16), ni=3, n_out=5)(torch.randn(2, 3, size, size)).shape == (2, 5)


# ---- summary -----------------------------------------------------------------------------------------------

def learner(model, n_channels=1, **kwargs):
    g = torch.Generator().manual_seed(0)
    batches = [(torch.randn(4, n_channels, 12, 12, generator=g), torch.randint(0, 3, (4,), generator=g))]*2
    return Learner(model, (batches, batches), F.cross_entropy, 0.1, **kwargs)


def test_summary_counts_as_by_hand(capsys):
    model = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), ResBlock(4, 8, stride=2, act=nn.ReLU),
                          nn.Flatten(), nn.Linear(72, 3))
    assert learner(model).summary() is None
    first,head,*rows = capsys.readouterr().out.splitlines()
    conv,block,last = 36*36,36*(4*8*9) + 9*(8*8*9 + 4*8),72*3
    n_params = sum(p.numel() for p in model.parameters())
    assert first == f'Tot params: {n_params}; MFLOPS: {(conv+block+last)/1e6:.1f}'
    assert head.split('  ')[0] == 'Module' and head.endswith('MFLOPS')
    assert [r.split()[0] for r in rows] == ['Conv2d', 'ResBlock', 'Flatten', 'Linear']
    assert '(4, 4, 6, 6)' in rows[0] and '(4, 8, 3, 3)' in rows[1] and ' 40 ' in rows[0]


@pytest.mark.parametrize('layer,x,want', [
    (nn.Conv2d(4, 6, 3, groups=2), (1, 4, 5, 5), 6*2*9*9), (nn.Conv1d(2, 3, 5), (1, 2, 9), 2*3*5*5),
    (nn.Linear(4, 3), (2, 7, 4), 7*12), (ours.Linear(4, 3), (2, 4), 12),
    (Conv2d(2, 3, 3), (1, 2, 5, 5), 9*54),
    (nn.ReLU(), (2, 4), 0), (nn.BatchNorm2d(4), (2, 4, 3, 3), 0)])
def test_each_weight_is_used_once_for_each_place(layer, x, want):
    assert multiplications(layer, layer(torch.randn(x))) == want


def test_summary_leaves_no_trace():
    model = get_resnet((4, 8), norm=nn.BatchNorm2d, n_out=3)
    learn = learner(model, cbs=[MetricsCB()])
    learn.fit(1, cbs=[])
    opt,before,state = learn.opt,copy.deepcopy(model.state_dict()),torch.get_rng_state()
    history,grads = list(learn.history),[p.grad for p in model.parameters()]
    model.eval()
    learn.summary()
    assert learn.opt is opt and learn.history == history and not model.training
    assert all(v.equal(before[k]) for k,v in model.state_dict().items())
    assert all(p.grad is g for p,g in zip(model.parameters(), grads))
    assert torch.get_rng_state().equal(state) and not any(m._forward_hooks for m in model.modules())


class Forked(nn.Module):
    "No Sequential: a layer used twice, one that is never called, parts in another order"
    def __init__(self):
        super().__init__()
        self.last,self.unused,self.first = nn.Linear(6, 3),nn.Linear(5, 5),nn.Linear(144, 6)
    def forward(self, x):
        x = self.first(x.flatten(1))
        return self.last(F.relu(x)) + self.last(x)


def test_a_model_that_is_no_sequential(capsys):
    learner(Forked()).summary()
    _,_,last,unused,first = capsys.readouterr().out.splitlines()
    assert last.split()[-2:] == ['21', '0.0'] and '(4, 6)' in last and '(4, 3)' in last
    assert unused.split() == ['Linear', '30', '0.0'] and '(4, 144)' in first


class Alone(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(144, 3))
    def forward(self, x): return x.flatten(1) @ self.weight


def test_models_without_parts(capsys):
    learner(Alone()).summary()
    assert 'Alone' in capsys.readouterr().out
    w = torch.randn(144, 3, requires_grad=True)
    class Bare:
        training = True
        def parameters(self): return [w]
        def __call__(self, x): return x.flatten(1) @ w
    with pytest.raises(TypeError, match='only modules can be taken apart'): learner(Bare()).summary()


def test_our_own_modules_too(capsys):
    torch.manual_seed(0)
    model = ours.Sequential(Conv2d(1, 4, 3, 2, 1), ours.ReLU(), ours.Flatten(), ours.Linear(144, 3))
    learner(model).summary()
    text = capsys.readouterr().out
    assert '(4, 4, 6, 6)' in text and 'Tot params: 475' in text
    assert not any(m._hooks for m in model.modules())


def test_a_model_that_fails_leaves_no_hook():
    model = nn.Sequential(nn.Flatten(), nn.Linear(7, 3))
    with pytest.raises(RuntimeError): learner(model).summary()
    assert not any(m._forward_hooks for m in model.modules())


def test_in_a_notebook_it_is_a_table(monkeypatch, capsys):
    monkeypatch.setattr('miniai.resnet.in_notebook', lambda: True)
    table = learner(nn.Sequential(nn.Flatten(), nn.Linear(144, 3))).summary()
    assert type(table).__name__ == 'Markdown' and '|Linear|(4, 144)|(4, 3)|435|0.0|' in table.data
    assert capsys.readouterr().out == 'Tot params: 435; MFLOPS: 0.0\n'


def test_a_dictionary_batch_and_a_compiled_model(capsys):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(4, 2)
        def forward(self, a, b): return self.lin(a + b)
    batches = [dict(a=torch.randn(3, 4), b=torch.randn(3, 4), y=torch.tensor([0, 1, 0]))]
    Learner(Named(), batches, F.cross_entropy, 0.1).summary()
    assert '(3, 4)' in capsys.readouterr().out
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 3))
    learner(torch.compile(model, backend='eager')).summary()
    assert '(4, 144)' in capsys.readouterr().out
