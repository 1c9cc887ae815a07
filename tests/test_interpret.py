"Interpretation: probabilities by the loss, the confusion matrix, order, suspects, and what does not fit"
from functools import partial
from types import SimpleNamespace
import matplotlib.pyplot as plt, pytest, torch, torch.nn.functional as F, torch.utils.data as torch_data
import torchmetrics.functional.classification as tm
from torch import nn
from miniai.activations import set_seed
from miniai.data import BatchSampler, DataLoader, Sampler, Subset
from miniai.datasets import DataLoaders
from miniai.init import get_model
from miniai.interpret import Interpretation, Suspect, confusion_matrix, cross_fit, in_order, probabilities
from miniai.interpret import sample_losses
from miniai.loop import Learner
from miniai.losses import bce_with_logits, cross_entropy, mse, nll_loss
from miniai.sched import OneCycle
from miniai.tools.clothes import draw_clothes
from miniai.training import Dataset, get_dls
from tests.small import batches, make


def gen(seed=0): return torch.Generator().manual_seed(seed)
def scores(n=40, c=5, seed=0): return 3*torch.randn(n, c, generator=gen(seed))
def labels(n=40, c=5, seed=1): return torch.randint(0, c, (n,), generator=gen(seed))
def flags(n=40, c=5, seed=2): return (torch.rand(n, c, generator=gen(seed)) < 0.5).float()


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close('all')


def numbered(n=50, bs=8, shuffle=False, **kwargs):
    "A loader of samples that tell their place: one number each, and the label is its last digit"
    x = torch.arange(n).float()[:, None]
    return DataLoader(Dataset(x, torch.arange(n) % 10), bs, shuffle=shuffle, **kwargs)


class Says(nn.Module):
    "Is very sure that the label is the last digit, but for the samples in `wrong`"
    def __init__(self, *wrong):
        super().__init__()
        self.wrong,self.n = torch.tensor(wrong),nn.Parameter(torch.zeros(()))
    def forward(self, x):
        i = x.flatten().long()
        said = (i + torch.isin(i, self.wrong)) % 10
        return F.one_hot(said, 10)*(5. + i[:, None]/100) + self.n


def learner(model, valid, loss_func=F.cross_entropy, train=None):
    return Learner(model, SimpleNamespace(train=train, valid=valid), loss_func)


# ---- the confusion matrix ----------------------------------------------------------------------------------

@pytest.mark.parametrize('n,c', [(1, 2), (7, 3), (500, 10), (300, 40)])
def test_confusion_is_that_of_torchmetrics(n, c):
    preds,targets = scores(n, c),labels(n, c)
    interp = Interpretation(preds, targets, F.cross_entropy)
    want = tm.multiclass_confusion_matrix(preds, targets, c)
    assert torch.equal(interp.confusion(), want)
    for dtype in torch.uint8,torch.int32:  # 200 classes times 255 don't fit into a byte
        assert torch.equal(confusion_matrix(targets.to(dtype), interp.said.to(dtype), c), want)


def test_confusion_of_one_question_is_that_of_torchmetrics():
    preds,targets = scores(60, 1),flags(60, 1)
    interp = Interpretation(preds, targets, nn.BCEWithLogitsLoss(), names=['no', 'yes'])
    assert torch.equal(interp.confusion(), tm.binary_confusion_matrix(preds.sigmoid(), targets.long()))
    assert torch.allclose(interp.probs[:, 1], preds.sigmoid()[:, 0])
    assert interp.probs.sum(1).allclose(torch.ones(60))
    flat = Interpretation(preds[:, 0], targets[:, 0], bce_with_logits)
    assert torch.equal(flat.confusion(), interp.confusion()) and torch.allclose(flat.losses, interp.losses)


def test_one_of_several_labels():
    preds,targets = scores(),flags()
    interp = Interpretation(preds, targets, F.binary_cross_entropy_with_logits)
    want = tm.multilabel_confusion_matrix(preds, targets.long(), 5)
    for i in range(5):
        got = confusion_matrix(interp.targets[:, i].long(), interp.said[:, i], 2)
        assert torch.equal(got, want[i])


@pytest.mark.parametrize('bad,says', [
    (torch.tensor([0, 3]), r'said holds the label 3 for sample 1, but 3 classes'),
    (torch.tensor([0, -100]), 'label -100 for sample 1'), (torch.tensor([0., 1.]), 'whole number for each'),
    (torch.tensor([[0, 1]]), r'\(1, 2\) int64'), (torch.tensor([0, 1, 2]), 'not as many: 2 targets, 3 said')])
def test_labels_that_do_not_exist(bad, says):
    with pytest.raises((TypeError, ValueError), match=says): confusion_matrix(torch.tensor([0, 1]), bad, 3)


def test_most_confused_and_its_picture():
    targets,said = torch.tensor([0]*5 + [1]*4 + [2]*3),torch.tensor([0, 1, 1, 1, 2, 1, 1, 0, 0, 2, 1, 2])
    interp = Interpretation(F.one_hot(said, 3)*9., targets, F.cross_entropy, names='cat dog owl'.split())
    often = [('cat', 'dog', 3), ('dog', 'cat', 2)]
    assert interp.most_confused() == [*often, ('cat', 'owl', 1), ('owl', 'dog', 1)]
    assert interp.most_confused(2) == often
    with pytest.raises(ValueError, match='least must be a whole number from 1'): interp.most_confused(0)
    interp.plot_confusion(cmap='Blues')
    ax = plt.gca()
    assert ax.get_ylabel() == 'true' and [t.get_text() for t in ax.get_xticklabels()] == ['cat', 'dog', 'owl']
    cells = {t.get_position(): t.get_text() for t in ax.texts}
    assert cells[1, 0] == '3' and cells[0, 1] == '2' and cells[0, 0] == '1' and (2, 1) not in cells
    drawn = ax.images[0].get_array()
    assert drawn[0, 1] == 3 and drawn[1, 1] == 0, 'what is right has no colour'
    assert interp.confusion()[1, 1] == 2, 'and drawing changes nothing'
    _,own = plt.subplots()
    interp.plot_confusion(own)
    assert own.texts


# ---- the loss at hand --------------------------------------------------------------------------------------

LOSSES = {
    'cross_entropy': (F.cross_entropy, cross_entropy, nn.CrossEntropyLoss(), scores(), labels(),
                      lambda p: p.softmax(1)),
    'nll': (F.nll_loss, nll_loss, nn.NLLLoss(), scores().log_softmax(1), labels(), torch.exp),
    'bce with logits': (F.binary_cross_entropy_with_logits, bce_with_logits, nn.BCEWithLogitsLoss(), scores(),
                        flags(), torch.sigmoid),
    'bce': (F.binary_cross_entropy, F.binary_cross_entropy, nn.BCELoss(), scores().sigmoid(), flags(),
            lambda p: p),
    'mse': (F.mse_loss, mse, nn.MSELoss(), scores(), scores(seed=3), lambda p: p),
    'l1': (F.l1_loss, F.l1_loss, nn.L1Loss(), scores(), scores(seed=3), lambda p: p),
    'huber': (F.huber_loss, partial(F.huber_loss, delta=0.5), nn.HuberLoss(), scores(), scores(seed=3),
              lambda p: p)}

@pytest.mark.parametrize('name', LOSSES)
def test_probabilities_and_losses_by_the_loss(name):
    *losses,preds,targets,reads = LOSSES[name]
    for loss_func in losses:
        assert torch.allclose(probabilities(preds, loss_func), reads(preds))
        each = sample_losses(preds, targets, loss_func)
        assert each.shape == (40,) and each.mean().item() == pytest.approx(loss_func(preds, targets).item())
        for i in 0,7:  # a sample's loss is its own
            assert each[i].item() == pytest.approx(loss_func(preds[i:i+1], targets[i:i+1]).item(), abs=1e-6)
        assert getattr(loss_func, 'reduction', 'mean') == 'mean', 'the loss that came stays as it was'
        assert torch.equal(Interpretation(preds, targets, loss_func).losses, each)


def test_a_loss_that_says_nothing_of_the_outputs():
    def own(preds, targets): return (preds - targets).mean()
    for loss_func,says in ('model', "the loss 'model'"), (own, 'the loss own'), (nn.KLDivLoss(), 'KLDivLoss'):
        with pytest.raises(ValueError, match=f'{says} does not tell what the outputs mean.*F.cross_entropy'):
            Interpretation(scores(), labels(), loss_func)
    smooth = partial(F.cross_entropy, label_smoothing=0.1)
    assert Interpretation(scores(), labels(), smooth).losses.mean().item() == pytest.approx(
        smooth(scores(), labels()).item())
    weighted = nn.CrossEntropyLoss(torch.tensor([1., 2, 3, 4, 5]))
    each = Interpretation(scores(), labels(), weighted).losses
    plain = F.cross_entropy(scores(), labels(), reduction='none')
    assert torch.allclose(each, plain*(labels() + 1))


def test_what_is_not_made_yet():
    with pytest.raises(TypeError, match=r'a class: make an object of it, CrossEntropyLoss\(\)'):
        probabilities(scores(), nn.CrossEntropyLoss)
    with pytest.raises(TypeError, match=r'Interpretation.from_learner\(learn\)'):
        Interpretation(learner(Says(), numbered()))


def test_no_loss_one_is_picked(capsys):
    assert Interpretation(scores(), labels()).about == 'classes'
    assert Interpretation(scores(c=2), labels(c=2)).about == 'classes'
    assert Interpretation(scores(c=1), scores(c=1, seed=3)).about == 'numbers'
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in said] == ['cross_entropy,', 'cross_entropy,', 'mse_loss,']


def test_a_model_with_a_loss_of_its_own():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.Linear(6, 3)
        def forward(self, x, y):
            out = self.l(x)
            return SimpleNamespace(loss=F.cross_entropy(out, y), logits=out)
    learn = make(model=Own(), loss_func='model')
    with pytest.raises(ValueError, match="'model' does not tell"): Interpretation.from_learner(learn)
    interp = Interpretation.from_learner(learn, loss_func=F.cross_entropy)
    assert interp.losses.mean().item() == pytest.approx(learn.validate()['loss'], rel=1e-5)


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16, torch.float16])
def test_other_floats(dtype):
    interp = Interpretation(scores().to(dtype), labels(), F.cross_entropy)
    want = Interpretation(scores(), labels(), F.cross_entropy)
    assert interp.probs.dtype in (torch.float32, torch.float64)
    assert torch.allclose(interp.probs.float(), want.probs, atol=0.05)


def test_it_is_kept_on_the_cpu_without_a_graph():
    preds = scores().requires_grad_()
    interp = Interpretation(preds, labels(), F.cross_entropy)
    assert not interp.probs.requires_grad and not interp.losses.requires_grad
    rows = [v for v in vars(interp).values() if isinstance(v, torch.Tensor) and v.dim() > 1]
    assert len(rows) == 1, 'predictions are kept once'


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_from_a_gpu():
    weight = torch.tensor([1., 2, 3, 4, 5])
    interp = Interpretation(scores().cuda(), labels().cuda(), nn.CrossEntropyLoss(weight.cuda()))
    assert {t.device.type for t in (interp.probs, interp.targets, interp.losses)} == {'cpu'}


# ---- bad input ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize('preds,targets,loss_func,says', [
    (scores(c=1), labels(c=2), F.cross_entropy, r'a row of scores and a label.*got predictions \(40, 1\)'),
    (scores()[:, 0], labels(), F.cross_entropy, r'got predictions \(40,\) float32 and targets \(40,\) int64'),
    (scores().argmax(1), labels(), F.cross_entropy, r'got predictions \(40,\) int64'),
    ((scores(), scores()), labels(), F.cross_entropy, 'got predictions tuple'),
    (scores(), None, F.cross_entropy, 'targets NoneType'),
    (scores(), flags(), F.cross_entropy, r'targets \(40, 5\) float32'),
    (scores(), labels(39), F.cross_entropy, r'targets \(39,\)'),
    (scores(0), labels(0), F.cross_entropy, r'predictions \(0, 5\)'),
    (scores().view(20, 2, 5), labels(20), F.cross_entropy, r'predictions \(20, 2, 5\)'),
    (scores(), labels(c=7), F.cross_entropy, r'targets holds the label [56] .* 5 classes have labels 0 to 4'),
    (scores(), labels() - 1, F.cross_entropy, 'the label -1 for sample'),
    (scores(), labels(), F.mse_loss, r'a loss about numbers needs predictions and targets of one shape'),
    (scores(c=1), scores()[:, 0], F.mse_loss, r'predictions \(40, 1\) float32 and targets \(40,\)'),
    (scores(), labels(), nn.BCEWithLogitsLoss(), 'a loss about labels needs a score and a 0 or 1'),
    (scores(), flags() + 1, F.binary_cross_entropy_with_logits, 'must be 0 or 1 each, got 1 to 2'),
    (scores(), flags(), F.binary_cross_entropy, 'should make probabilities'),
    (scores(), labels(), F.nll_loss, 'should make probabilities'),
    (scores().index_fill(0, torch.tensor([3, 9]), torch.nan), labels(), F.cross_entropy,
     'the predictions for 2 of 40 samples are nan'),
    (scores().index_fill(0, torch.tensor([3]), torch.inf), labels(), F.cross_entropy, '1 of 40 .* or inf'),
    (scores().softmax(1), labels(), F.cross_entropy, 'these are probabilities, and cross_entropy is for sc')])
def test_what_does_not_fit(preds, targets, loss_func, says):
    with pytest.raises((ValueError, TypeError, RuntimeError), match=says) as error:
        Interpretation(preds, targets, loss_func)
    assert error.type is not RuntimeError


@pytest.mark.parametrize('names,n', [(['a', 'b'], 2), ('abcdef', 6), ([], 0), ({0: 'a'}, 1)])
def test_names_that_do_not_fit(names, n):
    with pytest.raises(ValueError, match=f'one for each of 5 classes, got {n}'):
        Interpretation(scores(), labels(), F.cross_entropy, names=names)


def test_loaders_that_give_nothing():
    learn = learner(Says(), None)
    with pytest.raises(ValueError, match='no validation loader'): Interpretation.from_learner(learn)
    with pytest.raises(ValueError, match='gave no batch'): Interpretation.from_learner(learn, [])
    with pytest.raises(ValueError, match='gave no batch'):
        Interpretation.from_learner(learn, torch_data.DataLoader(Dataset(torch.zeros(0, 1), torch.zeros(0))))
    with pytest.raises(TypeError, match='a list of texts: write names='):
        Interpretation.from_learner(learn, ['a', 'b'])
    with pytest.raises(ValueError, match='and targets NoneType'):
        Interpretation.from_learner(learn, [(torch.arange(8.)[:, None],)])


def test_what_is_about_classes_alone():
    for interp in (Interpretation(scores(), flags(), F.binary_cross_entropy_with_logits),
                   Interpretation(scores(), scores(seed=3), F.mse_loss)):
        for ask in interp.confusion,interp.plot_confusion,interp.most_confused,interp.suspects:
            with pytest.raises(ValueError, match='have (labels|numbers), not one class each'): ask()
    with pytest.raises(ValueError, match='k must be a whole number from 1 on, got 0'): interp.top_losses(0)
    with pytest.raises(ValueError, match='k must be a whole number from 1 on, got -1'):
        Interpretation(scores(), labels(), F.cross_entropy).suspects(-1)
    with pytest.raises(ValueError, match='no data set to take pictures from'): interp.plot_top_losses(2)


# ---- in the order of the data set --------------------------------------------------------------------------

LOADERS = {
    'in order': lambda: numbered(), 'shuffled': lambda: numbered(shuffle=True),
    'drops the last': lambda: numbered(drop_last=True),
    "torch's": lambda: torch_data.DataLoader(numbered().dataset, 8),
    "torch's, shuffled": lambda: torch_data.DataLoader(numbered().dataset, 8, shuffle=True, drop_last=True),
    'weighted': lambda: torch_data.DataLoader(
        numbered().dataset, 8, sampler=torch_data.WeightedRandomSampler(torch.rand(50), 50)),
    'workers': lambda: numbered(shuffle=True, num_workers=2, worker_type='thread'),
    'batches of a sampler': lambda: torch_data.DataLoader(
        numbered().dataset, batch_sampler=BatchSampler(torch_data.RandomSampler(range(50)), 8, False)),
    'our batches of our sampler': lambda: DataLoader(
        numbered().dataset, batch_sampler=BatchSampler(Sampler(range(50), shuffle=True), 8, True)),
    'no batches': lambda: DataLoader(
        Dataset(torch.arange(50.).view(50, 1, 1), torch.arange(50)[:, None] % 10), None, shuffle=True)}

@pytest.mark.parametrize('make_loader', LOADERS.values(), ids=LOADERS)
def test_places_are_those_of_the_data_set(make_loader):
    dl = make_loader()
    interp = Interpretation.from_learner(learner(Says(7, 31, 40), None), dl)
    assert len(interp.losses) == 50 and torch.equal(interp.targets, torch.arange(50) % 10)
    assert interp.top_losses(3)[1].tolist() == [40, 31, 7], 'the surer, the worse'
    assert [s.index for s in interp.suspects()] == [40, 31, 7]
    assert interp.ds is dl.dataset
    losses,places = interp.top_losses()
    assert torch.equal(interp.losses[places], losses) and (losses.diff() <= 0).all()


def test_a_loader_in_order_is_used_as_it_is():
    for dl in (numbered(), torch_data.DataLoader(numbered().dataset, 8), batches()):
        assert in_order(dl) is dl
    dl = numbered(shuffle=True)
    assert in_order(dl) is not dl and in_order(dl).batch_size == 8


class Doubles(DataLoader):
    "Does more with its batches than others"
    def __iter__(self): return ((2*x, y) for x,y in super().__iter__())


def test_what_a_loader_does_with_its_batches_it_does_in_order_too():
    class Halves(Says):
        def forward(self, x): return super().forward(x/2)
    dl = Doubles(numbered().dataset, 8, shuffle=True, drop_last=True)
    interp = Interpretation.from_learner(learner(Halves(7, 31), None), dl)
    assert interp.top_losses(2)[1].tolist() == [31, 7] and len(interp.suspects()) == 2
    assert dl.sampler.shuffle and len(list(dl)) == 6, 'the loader itself stays as it is'


def test_names_that_the_loaders_know():
    learn = learner(Says(7), numbered())
    learn.dls.classes = [f'n{i}' for i in range(10)]
    assert Interpretation.from_learner(learn).suspects()[0][:3] == (7, 'n7', 'n8')
    assert Interpretation.from_learner(learn, names=range(10)).suspects()[0][:3] == (7, 7, 8)


class Bucketed(torch_data.BatchSampler): "Any order of its own"


@pytest.mark.parametrize('kwargs', [
    dict(sampler=torch_data.SubsetRandomSampler(range(20))), dict(sampler=[3, 1, 2]),
    dict(batch_sampler=[[0, 2], [1, 3]]),
    dict(batch_sampler=Bucketed(torch_data.SequentialSampler(range(50)), 8, False)),
    dict(batch_sampler=torch_data.BatchSampler(list(range(50))[::-1], 8, False)),
    dict(batch_sampler=BatchSampler(list(range(50))[::-1], 8, False))])
@pytest.mark.parametrize('loader', [DataLoader, torch_data.DataLoader])
def test_an_order_that_is_not_known_is_refused(kwargs, loader):
    dl = loader(numbered().dataset, **({'batch_size': 4} if 'sampler' in kwargs else {}), **kwargs)
    with pytest.raises(ValueError, match='is not known here: pass a loader without it'):
        Interpretation.from_learner(learner(Says(), None), dl)


def test_a_part_of_a_data_set():
    part = Subset(numbered().dataset, [40, 7, 3])
    interp = Interpretation.from_learner(learner(Says(7), None), DataLoader(part, 2, shuffle=True))
    assert interp.top_losses(1)[1].tolist() == [1] and interp.suspects()[0].label == '7'


def test_a_list_of_batches_and_a_stream():
    class Stream(torch_data.IterableDataset):
        def __iter__(self): return iter(numbered().dataset[i] for i in range(50))
    class Long(Stream):
        def __len__(self): return 50
    for dl in list(numbered()),DataLoader(Stream(), 8),torch_data.DataLoader(Long(), 8):
        interp = Interpretation.from_learner(learner(Says(31), None), dl)
        assert interp.top_losses(1)[1].tolist() == [31] and interp.ds is None


def test_looking_leaves_the_learner_alone():
    learn = learner(Says(3), numbered(), train=numbered(shuffle=True))
    before = dict(vars(learn))
    state = torch.get_rng_state()
    Interpretation.from_learner(learn, learn.dls.train)
    assert vars(learn) == before and torch.equal(torch.get_rng_state(), state)


# ---- pictures and suspects ---------------------------------------------------------------------------------

def titles(): return [ax.get_title() for ax in plt.gcf().axes if ax.get_title()]


def test_the_worst_as_pictures():
    x = torch.zeros(6, 1, 4, 4)
    x[:, 0, 0, 0] = torch.arange(6.)
    preds = torch.eye(3)[[0, 1, 2, 0, 1, 2]]*torch.tensor([1., 2, 3, 4, 5, 6])[:, None]
    targets,ds = torch.tensor([0, 1, 2, 1, 1, 0]),Dataset(x, torch.zeros(6))
    interp = Interpretation(preds, targets, F.cross_entropy, ds, 'cat dog owl'.split())
    interp.plot_top_losses(2, nrows=1)
    assert titles() == ['cat\nsaid owl 100%', 'dog\nsaid cat 96%']
    assert [ax.images[0].get_array()[0, 0] for ax in plt.gcf().axes] == [5, 3]
    assert interp.suspects() == [Suspect(5, 'cat', 'owl', 0.995), Suspect(3, 'dog', 'cat', 0.965)]
    assert interp.suspects(1) == interp.suspects()[:1]


def test_titles_of_labels_and_numbers():
    ds = [{'image': torch.rand(4, 4), 'label': 0} for _ in range(2)]
    preds,targets = torch.tensor([[4., 4], [-4, -4]]),torch.tensor([[0., 1], [1, 1]])
    Interpretation(preds, targets, nn.BCEWithLogitsLoss(), ds, ['shoe', 'red']).plot_top_losses(2)
    assert titles() == ['shoe, red\nsaid none', 'red\nsaid shoe, red']
    plt.figure()
    Interpretation(torch.tensor([[1.], [2]]), torch.tensor([[4.], [2]]), F.mse_loss, ds).plot_top_losses(9)
    assert titles() == ['4\nsaid 1', '2\nsaid 2']


def test_a_sample_is_taken_apart_as_the_learner_does():
    def sample(i): return dict(digit=torch.tensor(i % 10), image=torch.full((4, 4), float(i)))
    class Takes(Says):
        def forward(self, image): return super().forward(image[:, 0, 0])
    dl = DataLoader([sample(i) for i in range(20)], 4)
    learn = Learner(Takes(7), SimpleNamespace(train=None, valid=dl), F.cross_entropy, target_keys=['digit'])
    interp = Interpretation.from_learner(learn, names={i: f'n{i}' for i in range(10)})
    interp.plot_top_losses(1)
    assert titles() == ['n7\nsaid n8 95%'] and (plt.gca().images[0].get_array() == 7).all()
    assert repr(interp) == 'Interpretation(20 samples, classes)'


def test_a_loss_that_ignores_reduction():
    class Focal(nn.CrossEntropyLoss):
        def forward(self, preds, targets): return F.cross_entropy(preds, targets)
    with pytest.raises(ValueError, match=r'the loss gave \(\) float32 for 40 samples'):
        Interpretation(scores(), labels(), Focal())


@pytest.mark.parametrize('dtype', [torch.int32, torch.uint8, torch.int16])
def test_labels_of_other_whole_numbers(dtype):
    want = Interpretation(scores(), labels(), F.cross_entropy)
    got = Interpretation(scores(), labels().to(dtype), F.cross_entropy)
    assert torch.equal(got.losses, want.losses) and torch.equal(got.targets, want.targets)


def spoiled(y, seed):
    g = gen(seed)
    bad = torch.randperm(len(y), generator=g)[:round(0.03*len(y))]
    y = y.clone()
    y[bad] = (y[bad] + torch.randint(1, 10, (len(bad),), generator=g)) % 10
    return y,bad


@pytest.mark.long
@pytest.mark.parametrize('seed', range(5))
def test_spoiled_labels_are_found(seed):
    "At least 95% of them among the first 6% of all"
    x,y = draw_clothes(2000)
    x = x[:, None]/255.
    y,bad = spoiled(y, seed)
    def train(train_ds, valid_ds):
        set_seed(seed)
        dls = DataLoaders(*get_dls(train_ds, valid_ds, 64))
        model = get_model(norm=nn.BatchNorm2d)
        learn = Learner(model, dls, F.cross_entropy, 0.01, [OneCycle()], torch.optim.AdamW)
        learn.fit(5, valid=False)
        return learn
    interp = cross_fit(train, Dataset(x, y), 3, seed)
    assert torch.isin(bad, interp.top_losses(120)[1]).sum() >= 57
    assert torch.isin(bad, torch.tensor([s.index for s in interp.suspects(120)])).sum() >= 57


def tells(seen):
    "A `train` that notes what it is given"
    def train(train_ds, valid_ds):
        seen.append(([int(x) for x,_ in train_ds], [int(x) for x,_ in valid_ds]))
        return learner(Says(7), DataLoader(valid_ds, 4))
    return train


@pytest.mark.parametrize('n,folds', [(50, 5), (50, 7), (10, 10), (11, 10), (2, 2)])
def test_cross_fit_judges_each_sample_by_the_others(n, folds):
    seen,ds = [],numbered(n).dataset
    names = 'zero one two three four five six seven eight nine'.split()
    interp = cross_fit(tells(seen), ds, folds, names=names)
    assert len(seen) == folds and torch.equal(interp.targets, torch.arange(n) % 10)
    assert sorted(i for _,held in seen for i in held) == list(range(n))
    for rest,held in seen: assert sorted(rest + held) == list(range(n)) and abs(len(held) - n/folds) < 1
    assert interp.ds is ds and (n < 8 or interp.suspects(1)[0][:3] == (7, 'seven', 'eight'))
    again = []
    cross_fit(tells(again), ds, folds)
    assert again == seen
    if n < 50: return
    cross_fit(tells(again), ds, folds, seed=1)
    assert again[folds:] != seen


def test_cross_fit_says_what_is_wrong_with_train():
    ds = numbered(20).dataset
    with pytest.raises(ValueError, match='n_folds must be a whole number from 2'): cross_fit(tells([]), ds, 1)
    with pytest.raises(ValueError, match='n_folds=21 is more than the 20'): cross_fit(tells([]), ds, 21)
    for made,came in {None: 'NoneType with NoneType', learner(Says(), None): 'Learner with NoneType',
                      learner(Says(), batches()): 'Learner with list'}.items():
        with pytest.raises(TypeError, match=f'train must return a Learner .*, got {came}$'):
            cross_fit(lambda a, b: made, ds)
    for bad in learner(Says(), None),ds:
        with pytest.raises(TypeError, match=f'must be a function .*, got {type(bad).__name__}'):
            cross_fit(bad, ds)
    with pytest.raises(TypeError, match='ds must be a data set, got DataLoader'):
        cross_fit(tells([]), numbered())
    with pytest.raises(TypeError, match='a loader of the second data set, got Learner with DataLoader'):
        cross_fit(lambda a, b: learner(Says(), DataLoader(a, 4)), ds, 2)
    model,other,seen = Says(),Says(),[]
    for models in [model]*5,[model, other]*3:
        again = iter(models)
        with pytest.raises(ValueError, match='train must make a new model each time'):
            cross_fit(lambda a, b: learner(next(again), DataLoader(b, 4)), ds)
    with pytest.raises(ValueError, match='one for each of 10 classes, got 9'):
        cross_fit(tells(seen), ds, names='abcdefghi')
    assert len(seen) == 1, 'it is said after one fold, not after all'
    shuffled = cross_fit(lambda a, b: learner(Says(7), DataLoader(b, 4, shuffle=True)), ds)
    assert shuffled.top_losses(1)[1].tolist() == [7]
