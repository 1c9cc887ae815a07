"Augmentation: each picture by draws of its own, nothing left behind, and looks that change nothing"
import copy, inspect, pickle
from collections import namedtuple
import matplotlib.pyplot as plt, pytest, torch, torch.nn.functional as F
from torch import nn
from miniai.augment import AffineBatch, CapturePreds, RandCopy, RandErase, presize, rand_copy, rand_crop
from miniai.augment import rand_erase, rand_flip, tta
from miniai.check.kit import difference
from miniai.data import DataLoader
from miniai.learner import Callback, CancelFitException, MetricsCB, TrainCB
from miniai.training import Dataset
from miniai.tools.chance import rng_state, seeded
from tests.small import Dls, Stranger, make, weights


def gen(seed=0): return torch.Generator().manual_seed(seed)
def pictures(n=16, c=3, h=28, w=28, seed=0): return torch.randn(n, c, h, w, generator=gen(seed))
def batches(n=3, size=8, short=5, seed=0):
    x = pictures(size*(n-1) + short, 1, 8, 8, seed)
    y = torch.randint(0, 3, (len(x),), generator=gen(seed))
    return list(zip(x.split(size), y.split(size)))

def learner(cbs=(), **kwargs):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    return make(cbs, batches(), batches(seed=1), model, **kwargs)


TRANSFORMS = dict(
    flip=rand_flip, crop=rand_crop, erase=rand_erase, copy=rand_copy, RandErase=RandErase(),
    RandCopy=RandCopy(), affine=AffineBatch(0.5, 20, (0.8, 1.2), 0.1))
by_transform = pytest.mark.parametrize('f', TRANSFORMS.values(), ids=TRANSFORMS)


@by_transform
def test_keeps_shape_and_dtype_and_draws_from_torch(f):
    x = pictures()
    torch.manual_seed(1)
    first = f(x.clone())
    torch.manual_seed(1)
    assert torch.equal(f(x.clone()), first) and not torch.equal(first, x)
    assert first.shape == x.shape and first.dtype == x.dtype and not torch.equal(f(x.clone()), first)


@by_transform
@pytest.mark.parametrize('bad,says', [
    (torch.rand(4, 8, 8), r'x\[:, None\]'), (torch.rand(4, 64), 'height, width'),
    (torch.zeros(4, 1, 8, 8, dtype=torch.uint8), r'x.float\(\)/255'),
    (torch.zeros(0, 1, 8, 8), 'no pictures')])
def test_bad_input(f, bad, says):
    with pytest.raises((TypeError, ValueError), match=says): f(bad)


# ---- each picture by a draw of its own ---------------------------------------------------------------------

def test_no_two_maps_are_alike():
    m = AffineBatch(0.5, 20, (0.8, 1.2), 0.1, generator=gen()).matrices(256, 28, 28)
    assert len(m.flatten(1).unique(dim=0)) == 256


@pytest.mark.parametrize('f', [rand_erase, rand_copy])
def test_no_two_pictures_are_covered_alike(f):
    "The same picture 64 times; those with no patch at all stay as they were"
    for seed in range(3):
        x = pictures(1, 1, 224, 224).repeat(64, 1, 1, 1)
        out = f(x.clone(), generator=gen(seed))
        changed = out[(out != x).flatten(1).any(1)]
        masks = (changed != x[:1]).flatten(1)
        assert 40 < len(masks) < 64 and len(masks.unique(dim=0)) == len(masks)


def test_no_two_pictures_are_cut_alike():
    "Each pixel says where it is, so the first pixel is the draw: 64 draws of 197*197 places"
    x = torch.arange(224.*224).view(1, 1, 224, 224).repeat(64, 1, 1, 1)
    assert len(rand_crop(x, 28, 0, gen())[:, 0, 0, 0].unique()) >= 60


@by_transform
def test_a_generator_leaves_the_shared_one_alone(f):
    if isinstance(f, nn.Module):
        f = copy.copy(f)
        f.generator = gen(3)
        call = f
    else: call = lambda x: f(x, generator=gen(3))
    state = torch.get_rng_state()
    call(pictures())
    assert torch.equal(torch.get_rng_state(), state)


# ---- what they do ------------------------------------------------------------------------------------------

def test_flip_mirrors_its_share():
    x = pictures(400, 1, 4, 5)
    out = rand_flip(x, 0.3, gen())
    flipped = (out == x.flip(-1)).flatten(1).all(1)
    assert ((out == x).flatten(1).all(1) | flipped).all() and 0.2 < flipped.float().mean() < 0.4
    assert torch.equal(rand_flip(x, 1.), x.flip(-1)) and torch.equal(rand_flip(x, 0.), x)


@pytest.mark.parametrize('size,pad', [(None, 3), (5, 0), (9, 2)])
def test_a_crop_is_a_window_of_the_padded_picture(size, pad):
    x = pictures(30, 2, 9, 9)
    out,places = rand_crop(x, size, pad, gen()),set()
    side = size or 9
    windows = F.pad(x, (pad,)*4).unfold(2, side, 1).unfold(3, side, 1)
    for got,those in zip(out, windows):
        found = (those.permute(1, 2, 0, 3, 4) == got).flatten(2).all(2).nonzero()
        assert len(found) == 1
        places.add(tuple(found[0].tolist()))
    assert {r for r,_ in places} == {c for _,c in places} == set(range(9 + 2*pad - side + 1))


@pytest.mark.parametrize('size,pad', [(40, 4), (29, 0)])
def test_a_window_larger_than_the_picture_is_refused(size, pad):
    with pytest.raises(ValueError, match=f'{size}x{size} does not fit into 28x28 with pad={pad}'):
        rand_crop(pictures(), size, pad)


@pytest.mark.parametrize('f', [rand_erase, rand_copy])
def test_patches_in_place(f):
    x = pictures()
    same = x
    assert f(x) is same
    for bad in (dict(pct=1.2), dict(pct=-0.1), dict(max_num=-1)):
        with pytest.raises(ValueError, match=next(iter(bad))): f(x, **bad)
    before = x.clone()
    assert torch.equal(f(x, max_num=0), before) and torch.equal(f(x, pct=0.), before)


@pytest.mark.parametrize('cls', [RandErase, RandCopy])
def test_modules_leave_the_batch_as_it_was(cls):
    x = pictures()
    before = x.clone()
    assert not torch.equal(cls()(x), x) and torch.equal(x, before)
    assert [*inspect.signature(cls).parameters][:2] == ['pct', 'max_num']
    assert pickle.loads(pickle.dumps(cls(0.1))).pct == 0.1


def patches(changed):
    "The rectangles' corners, if there is one in each picture"
    rows,cols = changed.any(2),changed.any(1)
    return [(r.nonzero().min().item(), r.sum().item(), c.nonzero().min().item(), c.sum().item())
            for r,c in zip(rows, cols)]

def test_erase_draws_noise_of_the_batch_in_rectangles():
    x = pictures(500, 3, 20, 30)*0.2 + 5
    out = rand_erase(x.clone(), 0.2, 1, gen())
    changed = (out != x).any(1)
    some = changed.flatten(1).any(1)
    assert 0.4 < some.float().mean() < 0.6  # no patch or one
    found = patches(changed[some])
    assert {h for _,h,_,_ in found} == {4} and {w for _,_,_,w in found} == {6}
    assert {r for r,_,_,_ in found} == set(range(17)) and {c for _,_,c,_ in found} == set(range(25))
    noise = out[(out != x)]
    torch.testing.assert_close(noise.mean(), x.mean(), rtol=0, atol=0.01)
    torch.testing.assert_close(noise.std(), x.std(), rtol=0, atol=0.01)
    assert out.min() == x.min() and out.max() == x.max()


@pytest.mark.parametrize('f', [rand_erase, rand_copy])
def test_patches_reach_every_edge_alike(f):
    "Also where the share of the sides is no whole number: 5.6 of 28 rows are 5"
    x = pictures(2000, 1, 28, 28)
    hit = (f(x.clone(), generator=gen()) != x).float().mean((0, 1))
    for one,other in ((hit[0], hit[-1]), (hit[:, 0], hit[:, -1])):
        assert 0.7 < one.mean()/other.mean() < 1.4


def test_copy_takes_patches_from_elsewhere_in_the_same_picture():
    x = torch.arange(50*20*30.).view(50, 1, 20, 30)
    out = rand_copy(x.clone(), 0.2, 1, gen())
    shift = (out - x).flatten(1)
    assert ((out//600) == (x//600)).all()  # of its own picture
    for one in shift: assert len(one.unique()) <= 2 and (one != 0).sum() in (0, 24)
    three = rand_copy(x.clone(), 0.2, 4, gen())
    assert (three//600 == x//600).all()


def test_copy_is_patch_after_patch(monkeypatch):
    "The same as four copies one after the other, in a loop"
    from miniai import augment
    x,seen = pictures(20, 2, 16, 24),[]
    def kept(*args):
        seen.append(inner(*args))
        return seen[-1]
    inner = augment._patches
    monkeypatch.setattr(augment, '_patches', kept)
    out = rand_copy(x.clone(), 0.3, 4, gen())
    (masks,places), = seen
    want = x.clone()
    for n in range(20):
        for i in range(4):
            if not masks[n, i].any(): continue
            top,left,from_top,from_left = places[n, i].tolist()
            patch = want[n, :, from_top:from_top+4, from_left:from_left+7].clone()
            want[n, :, top:top+4, left:left+7] = patch
    assert torch.equal(out, want)


# ---- affine maps -------------------------------------------------------------------------------------------

class Fixed(AffineBatch):
    "With a map that is given"
    def __init__(self, *rows, **kwargs):
        super().__init__(**kwargs)
        self.map = torch.tensor([*rows, [0., 0, 1]])
    def matrices(self, n, h, w): return self.map.expand(n, 3, 3)

def test_identity_is_exact():
    x = pictures()
    assert torch.equal(AffineBatch()(x), x)
    some = AffineBatch(rotate=30, p=0.5, generator=gen())(x)
    same = (some == x).flatten(1).all(1)
    assert 0 < same.sum() < len(x)



def test_known_maps():
    x = pictures(4, 3, 12, 12)
    def near(a, b): torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    near(AffineBatch(flip=1.)(x), x.flip(-1))
    near(Fixed([0., -1, 0], [1, 0, 0])(x), x.rot90(1, (2, 3)))  # a quarter turn
    near(Fixed([1, 0, -2/12*3], [0, 1, 0], padding_mode='zeros')(x), F.pad(x, (3, 0))[..., :12])
    m = AffineBatch(rotate=90, p=1., generator=gen()).matrices(100, 12, 12)
    turned = m[:, :2, :2]
    near(turned @ turned.mT, torch.eye(2).expand(100, 2, 2))  # turns alone keep lengths
    near(turned.det(), torch.ones(100))


def test_turns_keep_angles_in_pictures_that_are_not_square():
    "A disk stays a disk, in a picture twice as wide as it is high"
    r,c = torch.meshgrid(torch.arange(40.), torch.arange(80.), indexing='ij')
    disk = (((r-19.5)**2 + (c-39.5)**2) < 15**2).float().expand(8, 1, 40, 80)
    out = AffineBatch(rotate=90, padding_mode='zeros', generator=gen())(disk)
    assert (out - disk).abs().mean() < 0.02


def test_scale_and_translate_stay_in_their_bounds():
    m = AffineBatch(scale=(0.5, 2.), generator=gen()).matrices(2000, 10, 10)
    factor = 1/m[:, 0, 0]
    assert 0.5 <= factor.min() < 0.52 and 1.9 < factor.max() <= 2.0001
    assert 0.95 < factor.log2().mean().exp2() < 1.05
    moves = AffineBatch(translate=0.1, generator=gen()).matrices(2000, 10, 10)[:, :2, 2]/2
    assert 0.098 < moves.max() <= 0.1 and -0.1 <= moves.min() < -0.098


@pytest.mark.parametrize('size', [None, 20, (10, 31)])
@pytest.mark.parametrize('padding_mode', ['zeros', 'border', 'reflection'])
def test_a_batch_is_what_its_pictures_are_one_by_one(size, padding_mode):
    x = pictures(9, 3, 24, 17).double()
    f = AffineBatch(0.5, 30, (0.7, 1.3), 0.2, size=size, padding_mode=padding_mode, generator=gen(1))
    out = f(x)
    f.generator = gen(1)
    maps = f.matrices(9, 24, 17).double()
    for got,picture,m in zip(out, x, maps):
        grid = F.affine_grid(m[None, :2], (1, 3, *got.shape[-2:]), align_corners=False)
        want = F.grid_sample(picture[None], grid, padding_mode=padding_mode, align_corners=False)[0]
        torch.testing.assert_close(got, want)


def test_the_same_seed_gives_the_same_turn_whatever_else_is_wanted():
    turns = AffineBatch(rotate=30, generator=gen()).matrices(5, 8, 8)
    both = AffineBatch(rotate=30, translate=0.2, generator=gen()).matrices(5, 8, 8)
    assert torch.equal(turns[:, :2, :2], both[:, :2, :2])


Pair = namedtuple('Pair', 'image label')

@pytest.mark.parametrize('f', [AffineBatch(flip=1.), RandErase(max_num=9), RandCopy(max_num=9)])
def test_targets_stay_as_they_are(f):
    x,y = pictures(5, 1, 8, 8),torch.arange(5)
    for batch in ((x, y), [x, y], Pair(x, y)):
        got = f(batch)
        assert type(got) is type(batch) and got[1] is y and not torch.equal(got[0], x)
    got = f(dict(label=y, image=x))
    assert list(got) == ['label', 'image'] and got['label'] is y and not torch.equal(got['image'], x)
    for bad,says in (([dict(image=x)], 'collate it first'), ([], 'collate it first'),
                     (dict(a=x, b=x), r"got \['a', 'b'\]"),
                     (dict(label=y), 'got none'), (((x, y), y), 'got tuple')):
        with pytest.raises((TypeError, ValueError), match=says): f(bad)


@pytest.mark.parametrize('kwargs,says', [
    (dict(flip=2), 'flip must be between'), (dict(translate=-1), 'translate'), (dict(p=1.5), 'p must'),
    (dict(scale=1.2), r'scale must be \(low, high\)'), (dict(scale=(2, 1)), 'low <= high'),
    (dict(scale=(0, 1)), '0 < low'), (dict(rotate=(-10, 10)), 'rotate is a number of degrees')])
def test_affine_refuses(kwargs, says):
    with pytest.raises((TypeError, ValueError), match=says): AffineBatch(**kwargs)


def test_affine_pickles_with_its_generator():
    f = AffineBatch(0.5, 10, generator=gen(4))
    g = pickle.loads(pickle.dumps(f))
    assert torch.equal(f(pictures()), g(pictures()))


def test_on_the_gpu_as_on_the_cpu():
    if not torch.cuda.is_available(): pytest.skip('no GPU')
    x = pictures()
    for f in (AffineBatch(0.5, 20, (0.8, 1.2), 0.1), RandCopy(), RandErase(), rand_crop, rand_flip):
        torch.manual_seed(0)
        here = f(x)
        torch.manual_seed(0)
        x_gpu = x.cuda()
        torch.cuda.set_sync_debug_mode('error')  # nothing waits for the device
        try: out = f(x_gpu)
        finally: torch.cuda.set_sync_debug_mode('default')
        same = (out.cpu() - here).abs() < 1e-4
        if not isinstance(f, RandErase): assert same.all()
        else: assert torch.equal(same.any(1), (here == x).any(1))  # the same patches, of other noise


# ---- before the batch --------------------------------------------------------------------------------------

@pytest.mark.parametrize('random', [True, False])
def test_presize_gives_squares(random):
    for h,w in ((40, 90), (90, 40), (10, 10), (32, 32), (33, 500)):
        im = torch.rand(3, h, w)
        out = presize(32, random)(im)
        assert out.shape == (3, 32, 32) and out.dtype == im.dtype
    assert torch.equal(presize(32)(im := torch.rand(1, 32, 32)), im)
    whole = presize(16)(torch.randint(0, 256, (1, 40, 30), dtype=torch.uint8))
    assert whole.dtype == torch.uint8 and whole.float().std() > 5
    pickle.dumps(presize(16))


def test_presize_cuts_from_the_middle_or_by_a_draw():
    im = torch.arange(96.).expand(1, 32, 96)
    middle = presize(32, random=False)(im)
    torch.testing.assert_close(middle[0, 0], torch.arange(32, 64.))
    torch.manual_seed(0)
    starts = [presize(32)(im)[0, 0, 0].item() for _ in range(200)]
    assert min(starts) < 3 and max(starts) > 61 and len({*starts}) > 40
    with seeded(3): one = presize(32)(im)
    with seeded(3): assert torch.equal(presize(32)(im), one)


def test_presize_refuses():
    for size in (0, 2.5):
        with pytest.raises(ValueError, match='count of pixels'): presize(size)
    for bad in (torch.rand(8, 8), [1]):
        with pytest.raises(ValueError, match='channels, height, width'): presize(4)(bad)


# ---- looks -------------------------------------------------------------------------------------------------

class Doubles(Callback):
    def before_batch(self, learn): learn.batch = (learn.batch[0]*2, learn.batch[1])

def everything(learn):
    return (weights(learn), [m.training for m in learn.model.modules()], rng_state(), len(learn.history),
            learn.fits, learn.opt, len(learn.cbs), set(vars(learn)))


@pytest.fixture
def shown(monkeypatch):
    "What is handed to `show_images`"
    from miniai import augment
    calls = []
    monkeypatch.setattr(augment, 'show_images', lambda ims, **kwargs: calls.append((ims, kwargs)))
    return calls


def test_show_image_batch_shows_what_the_model_gets_and_does_not_train(shown):
    learn = learner([Doubles()])
    before = everything(learn)
    assert learn.show_image_batch(4, imsize=2) is None
    (ims,kwargs), = shown
    assert torch.equal(ims, batches()[0][0][:4]*2) and kwargs == dict(imsize=2)
    learn.show_image_batch(cbs=Doubles())
    assert torch.equal(shown[1][0], batches()[0][0][:9]*4) and len(shown[1][0]) == 8
    assert difference(everything(learn), before, rtol=0, atol=0) == ''
    with pytest.raises(ValueError, match='max_n must be at least 1, got 0'): learn.show_image_batch(0)


def test_show_image_batch_of_dictionaries(shown):
    x = pictures(4, 1, 8, 8)
    learn = make(train=[dict(label=torch.zeros(4).long(), image=x)], valid=None)
    learn.show_image_batch(2)
    assert torch.equal(shown[0][0], x[:2])


def test_show_image_batch_draws():
    learner().show_image_batch(3, titles=list('abc'), cmap='gray')
    assert [ax.get_title() for ax in plt.gcf().axes] == list('abc')
    plt.close('all')


def test_capture_preds(capsys):
    learn = learner([MetricsCB()])
    learn.fit(1)
    capsys.readouterr()
    before = everything(learn)
    preds,targs,inps = learn.capture_preds(inps=True)
    assert capsys.readouterr().out.count("'eval'") == 1
    want = learn.get_preds()
    assert torch.equal(preds, want[0]) and torch.equal(targs, want[1])
    assert torch.equal(inps, torch.cat([x for x,_ in batches(seed=1)])) and len(learn.capture_preds()) == 2
    assert torch.equal(learn.capture_preds(Doubles(), inps=True)[2], inps*2)
    assert difference(everything(learn), before, rtol=0, atol=0) == ''
    valid = [x.view(8, 64)[:, :3] for x,_ in batches(3, 8, 8)]
    learn = make(train=batches(), valid=valid, model=nn.Linear(3, 3), loss_func=F.mse_loss)
    assert torch.equal(learn.capture_preds(inps=True)[2], torch.cat(learn.dls.valid))


def test_capture_preds_of_any_learner():
    data,kept = batches(seed=1),CapturePreds()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    Stranger(model, Dls(data, data), F.cross_entropy, cbs=TrainCB()).fit(1, train=False, cbs=kept)
    assert torch.equal(kept.all_preds, torch.cat([model(x) for x,_ in data]).detach())
    assert torch.equal(kept.all_targs, torch.cat([y for _,y in data]))


class Ends(Callback):
    def __init__(self, error): self.error = error
    def before_batch(self, learn):
        if learn.iter == 1: raise self.error


@pytest.mark.parametrize('error', [CancelFitException(), KeyError('x')])
def test_nothing_is_left_after_any_exit(error):
    learn,kept = learner([Ends(error)]),CapturePreds()
    def attempt(f):
        try: f()
        except KeyError: pass
    attempt(lambda: learn.fit(1, train=False, cbs=kept))
    assert kept.all_preds.shape == (8, 3) and kept not in learn.cbs  # what came until then
    before = everything(learn)
    for f in (learn.capture_preds, lambda: tta(learn, 2, AffineBatch(rotate=9))): attempt(f)
    assert difference(everything(learn), before, rtol=0, atol=0) == ''
    assert not [m for m in learn.model.modules() if m._forward_hooks]
    kept = CapturePreds()
    attempt(lambda: learner([Ends(error)]).fit(0, cbs=kept))
    assert kept.all_preds is None


# ---- several looks at each picture -------------------------------------------------------------------------

def test_tta_without_copies_is_get_preds():
    learn = learner()
    preds,targs = learn.get_preds()
    for n,tfm in ((0, AffineBatch(rotate=30)), (3, AffineBatch())):
        got = tta(learn, n, tfm)
        torch.testing.assert_close(got[0], preds)
        assert torch.equal(got[1], targs)


def test_tta_is_the_mean_over_copies_that_differ():
    learn,seen = learner(),[]
    def tfm(batch):
        seen.append(torch.rand(()))
        return (batch[0] + seen[-1], batch[1])
    before = everything(learn)
    preds,_ = tta(learn, 2, tfm)
    assert len(seen) == 6 and len({u.item() for u in seen}) == 6  # three batches, twice
    xs = [x for x,_ in batches(seed=1)]
    outs = [torch.cat([learn(x + u) for x,u in zip(xs, us)]) for us in ([0, 0, 0], seen[:3], seen[3:])]
    torch.testing.assert_close(preds, sum(outs)/3)
    assert difference(everything(learn), before, rtol=0, atol=0) == ''
    assert torch.equal(tta(learn, 2, tfm)[0], preds)  # the look drew nothing: the same again
    torch.rand(())
    assert not torch.equal(tta(learn, 2, tfm)[0], preds)


def test_tta_of_probabilities_and_a_shuffled_loader():
    learn = learner()
    x,y = (torch.cat(t) for t in zip(*batches()))
    y = torch.arange(len(y)) % 3
    dl = DataLoader(Dataset(x, y), batch_size=4, shuffle=True)
    def softmax(preds): return preds.softmax(1)
    preds,targs = tta(learn, 4, AffineBatch(translate=0.01), dl, act=softmax)
    torch.testing.assert_close(preds.sum(1), torch.ones(len(x)))
    plain,same = learn.get_preds(dl)
    assert torch.equal(same, targs) and (preds - plain.softmax(1)).abs().max() < 0.1


@pytest.mark.parametrize('n', [-1, 1.5, None])
def test_tta_refuses(n):
    with pytest.raises(ValueError, match='n must be a whole number'): tta(learner(), n, AffineBatch())
