"miniai.block: from files to batches, the same whoever makes them, and messages that name the file"
import os, pickle, random
from functools import partial
from pathlib import Path
import numpy as np, pytest, torch, torch.nn.functional as F
import torch.utils.data as torch_data
from PIL import Image
from torch import nn
from miniai.augment import AffineBatch, RandCopy, RandErase, presize, rand_crop, rand_flip
from miniai.block import (BlockDataset, BlockLoaders, DataBlock, DeviceLoader, RandomSplitter, RegexLabeller,
                          Resize, for_valid, get_image_files, load_image, parent_label, using_attr)
from miniai.learner import CheckpointCB, Learner
from miniai.loop import Callback

NAMED = using_attr(RegexLabeller(r'^(.+)_\d+\.png$'), 'name')


def picture(h, w, seed=0):
    "Noise, as an array of bytes (h,w,3)"
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


def write(path, h=20, w=30, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(h, w, seed)).save(path)
    return path


@pytest.fixture(scope='module')
def named(tmp_path_factory):
    "Forty pictures of four classes in all sizes, in two folders, their labels in their names"
    folder = tmp_path_factory.mktemp('named')
    for i in range(40): write(folder/f'part{i % 2}'/f'{"abcd"[i % 4]}_{i:02}.png', 20+i, 24+7*i % 11, i)
    return folder


def block(**kwargs): return DataBlock(**{'get_y': NAMED, 'item_tfms': Resize(16)} | kwargs)


def all_of(dl): return [[o.clone() for o in batch] for batch in dl]


def equal(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for one,two in zip(a, b) for x,y in zip(one, two))


# ---- files

def test_files_are_found_by_their_endings_sorted_and_without_the_hidden(tmp_path):
    names = ['b/2.PNG', 'a.jpg', 'b/1.jpeg', 'B/3.webp', 'c.gif', 'd.bmp']
    for name in [*names, 'notes.txt', '.hidden.png', '.git/x.png', 'b/.thumbs/y.png']:
        (tmp_path/name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/name).touch()
    (tmp_path/'folder.png').mkdir()
    found = get_image_files(tmp_path)
    assert [o.relative_to(tmp_path).as_posix() for o in found] == sorted(names)
    assert get_image_files(str(tmp_path)) == found
    hidden = tmp_path/'.data'
    write(hidden/'a.png')
    assert len(get_image_files(hidden)) == 1, 'only what lies below the folder may hide a file'


def test_a_folder_without_pictures(tmp_path):
    with pytest.raises(FileNotFoundError, match='no pictures .*no files at all'): get_image_files(tmp_path)
    for name in ('a.tif', 'b.tif', 'README'): (tmp_path/name).touch()
    with pytest.raises(FileNotFoundError, match=r'\.png \.jpg.*2 of \.tif'): get_image_files(tmp_path)
    with pytest.raises(FileNotFoundError, match='no pictures'): block().dataloaders(tmp_path)
    for path in tmp_path/'none',tmp_path/'a.tif':
        with pytest.raises(NotADirectoryError, match='is not a folder'): get_image_files(path)
    with pytest.raises(ValueError, match='of 0 items 0 are for training'):
        block(get_items=lambda source: []).dataloaders('here')


# ---- splits

def test_a_split_comes_from_its_seed_and_not_from_the_order_of_the_files():
    paths = [Path(f'x/{i:03}.png') for i in range(101)]
    def split(items, **kwargs): return [{items[i] for i in part} for part in RandomSplitter(**kwargs)(items)]
    train,valid = split(paths)
    assert len(valid) == 20 and len(train) == 81 and not train & valid
    state = torch.get_rng_state()
    for seed in range(3): assert split(random.Random(seed).sample(paths, 101)) == [train, valid]
    assert split(list(map(str, paths)))[1] == set(map(str, valid))
    assert torch.equal(torch.get_rng_state(), state)
    assert split(paths, seed=0)[1] != valid
    moved = [Path('/else/where')/p for p in paths]
    assert {p.name for p in split(moved)[1]} == {p.name for p in valid}
    drawn = torch.randperm(101, generator=torch.Generator().manual_seed(42)).tolist()
    assert RandomSplitter()(list(range(101))) == (drawn[20:], drawn[:20]), 'items without a name go by place'


@pytest.mark.parametrize('pct', [0, 1, 20, -0.1])
def test_a_share_is_between_0_and_1(pct):
    with pytest.raises(ValueError, match='valid_pct must be between 0 and 1'): RandomSplitter(pct)


def test_a_split_of_ones_own_and_its_mistakes(named):
    def by_part(items): return [[i for i,o in enumerate(items) if (o.parent.name == 'part1') == v]
                                for v in (False, True)]
    labels = RegexLabeller(r'(\d)\.png')
    dls = block(splitter=by_part, get_y=lambda o: str(int(labels(o)) // 5)).dataloaders(named)
    assert {o.parent.name for o in dls.train.dataset.items} == {'part0'}
    assert {o.parent.name for o in dls.valid.dataset.items} == {'part1'}
    for bad,text in ((lambda items: ([0, 1], [1, 2]), 'gives index 1 twice, .*part0/a_04.png: one part only'),
                     (lambda items: ([i % 2 for i in range(40)], [3]), 'twice'),
                     (lambda items: (range(40), []), 'of 40 items 40 are for training, 0 for validation')):
        with pytest.raises(ValueError, match=text): block(splitter=bad).dataloaders(named)
    for index in -1,40:
        with pytest.raises(IndexError, match=f'the splitter gives {index}, of 40 items'):
            block(splitter=lambda items: (range(20), [index])).dataloaders(named)
    for bad in (lambda items: range(40)),(lambda items: ([1], [2], [3])):
        with pytest.raises(TypeError, match='splitter=<lambda> must give two lists of indices'):
            block(splitter=bad).dataloaders(named)
    with pytest.raises(ValueError, match='of 4 items 4 are for training, 0'):
        block(get_items=lambda source: get_image_files(source)[:4]).dataloaders(named)


# ---- labels

def test_labels():
    path = Path('data')/'old-cat'/'cat_3_07.png'
    assert NAMED(path) == 'cat_3' and parent_label(path) == parent_label(str(path)) == 'old-cat'
    assert RegexLabeller(r'/([^/]+)/')(path) == RegexLabeller(r'/([^/]+)/')(str(path)) == 'old-cat'
    assert using_attr(str.upper, 'stem')(path) == 'CAT_3_07'
    assert repr(NAMED) == r"using_attr(f=RegexLabeller(pat='^(.+)_\\d+\\.png$'), attr='name')"


@pytest.mark.parametrize('pat', [r'^(\d+)_', r'.+_\d+', r'()_'])
def test_a_rule_that_matches_nothing_names_the_first_file(named, pat):
    with pytest.raises(ValueError, match="finds no label .* in 'a_00.png'") as e:
        block(get_y=using_attr(RegexLabeller(pat), 'name')).dataloaders(named)
    assert e.value.__notes__[0].endswith('part0/a_00.png')


def test_classes_are_those_of_training_in_order(named):
    dls = block().dataloaders(named)
    assert isinstance(dls, BlockLoaders) and isinstance(dls.train.dataset, BlockDataset)
    assert dls.vocab == dls.classes == ['a', 'b', 'c', 'd']
    for ds in dls.train.dataset,dls.valid.dataset:
        assert [dls.vocab[t] for t in ds.targets] == [o.name[0] for o in ds.items]
    xb,yb = next(iter(dls.train))
    assert yb.dtype == torch.int64 and xb.dtype == torch.float32 and xb.shape == (32, 3, 16, 16)
    whole = block(get_y=lambda o: 'dcba'.index(o.name[0]) + 5).dataloaders(named)
    assert whole.vocab == [5, 6, 7, 8]


def test_a_class_that_training_lacks(named):
    items = get_image_files(named)
    first = [i for i,o in enumerate(items) if o.name[0] == 'd']
    def last_class_held_out(items): return [i for i in range(40) if i not in first],first
    with pytest.raises(ValueError, match="'d', the class of .*d_03.png, is in validation but not in tr"):
        block(splitter=last_class_held_out).dataloaders(named)
    with pytest.raises(ValueError, match='with its 32 classes.*Are the labels right'):
        block(get_y=lambda o: o.name).dataloaders(named)
    with pytest.raises(ValueError, match="all training labels are 'x': nothing to learn"):
        block(get_y=lambda o: 'x').dataloaders(named)


def test_numbers_and_tensors_are_targets_as_they_are(named):
    dls = block(get_y=lambda o: float(o.stem[2:])).dataloaders(named)
    xb,yb = next(iter(dls.valid))
    assert dls.vocab is None and yb.dtype == torch.float32 and yb.shape == (8,)
    assert yb.tolist() == [float(o.stem[2:]) for o in dls.valid.dataset.items]
    for kind in np.float32,np.float64:
        assert next(iter(block(get_y=lambda o: kind(0.5)).dataloaders(named).train))[1].dtype == torch.float32
    several = block(get_y=lambda o: torch.tensor([1., 0., 1.])).dataloaders(named)
    assert next(iter(several.train))[1].shape == (32, 3)
    def mixed(o): return 0.5 if '_00' in o.name else 'a'
    def one_whole(o): return 1 if o.name == 'b_01.png' else 0.5
    for bad,text in ((lambda o: ['a', 'b'], ".'a', 'b'."), (mixed, "'a' .*0.5 for the first"),
                     (one_whole, '1 for .*b_01.png')):
        with pytest.raises(TypeError, match=f'get_y gave {text}.*a class is a text or a whole number'):
            block(get_y=bad).dataloaders(named)
    with pytest.raises(TypeError, match='lambda.* gave None for .*a_00.png: is there a return'):
        block(get_y=lambda o: None).dataloaders(named)


# ---- pictures

def test_a_picture_is_floats_from_0_to_1_channels_first(tmp_path):
    a,path = picture(5, 7),write(tmp_path/'a.png', 5, 7)
    torch.testing.assert_close(load_image(path), torch.from_numpy(a).permute(2, 0, 1)/255)
    assert load_image(str(path), 'L').shape == (1, 5, 7)
    Image.fromarray(a[..., 0]).save(path)
    assert torch.equal(load_image(path), load_image(path, 'L').expand(3, -1, -1))


def test_pictures_however_they_are_stored(tmp_path):
    path,red = tmp_path/'a.png',Image.new('RGB', (4, 6), (255, 0, 0))
    for mode in 'P', '1', 'CMYK', 'RGBA', 'LA':
        saved = tmp_path/f'{mode}.{"jpg" if mode == "CMYK" else "png"}'
        red.convert(mode).save(saved)
        assert load_image(saved).shape == (3, 6, 4)
    Image.new('RGBA', (2, 2), (0, 0, 0, 0)).save(path)
    assert (load_image(path) == 1).all(), 'what is transparent lies on white'
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side, as telephones write it
    red.save(tmp_path/'a.jpg', exif=exif)
    assert load_image(tmp_path/'a.jpg').shape == (3, 4, 6)
    Image.fromarray(np.full((2, 2), 40000, dtype=np.uint16)).save(path)
    with pytest.raises(ValueError, match='a.png: more than 8 bits a channel'): load_image(path)


def broken_ones(folder):
    "Three broken pictures: cut off, no picture at all, and empty"
    cut = write(folder/'a_90.png', 60, 60)
    cut.write_bytes(cut.read_bytes()[:2000])
    (folder/'b_91.png').write_text('not a picture')
    (folder/'c_92.png').touch()
    return sorted(folder.glob('*_9?.png'))


def test_a_broken_picture_is_named_and_left_out_only_if_asked(tmp_path, capsys):
    for i in range(24): write(tmp_path/f'{"abc"[i % 3]}_{i:02}.png', seed=i)
    cut,*_ = broken = broken_ones(tmp_path)
    for path in broken:
        with pytest.raises(ValueError, match=f'{path.name}: the picture is broken'): load_image(path)
    dls = block(splitter=RandomSplitter(0.3)).dataloaders(tmp_path, 9)
    for workers in 0,2:
        dls = block().dataloaders(tmp_path, 9, num_workers=workers)
        with pytest.raises(ValueError, match=r'_9\d.png: the picture is broken'): list(dls.train)
    capsys.readouterr()
    kept = block(skip_broken=True).dataloaders(tmp_path, 9)
    said = capsys.readouterr().out.splitlines()
    assert sorted(line.split(':')[1].split('/')[-1] for line in said) == ['a_90.png', 'b_91.png', 'c_92.png']
    assert all('the picture is broken (' in line and '0x' not in line for line in said)
    assert sum(len(xb) for dl in (kept.train, kept.valid) for xb,_ in dl) == 24
    for part in 'train','valid':  # the split is the one of before
        before = [o for o in getattr(dls, part).dataset.items if '_9' not in o.name]
        assert getattr(kept, part).dataset.items == before
    with pytest.raises(FileNotFoundError): load_image(tmp_path/'none.png')
    with pytest.raises(ZeroDivisionError):  # a mistake in a function is no broken picture
        block(get_x=lambda o: 1/0, skip_broken=True).dataloaders(tmp_path)
    with pytest.raises(ValueError, match="mode must be 'RGB' or 'L', got 'gray'"): load_image(cut, 'gray')


# ---- transforms

def test_resize():
    im = torch.rand(3, 40, 60)
    middle = Resize(20, random=False)(im)
    assert torch.equal(middle, presize(20, random=False)(im)) and middle.shape == (3, 20, 20)
    squished = F.interpolate(im[None], (20, 20), mode='bilinear', antialias=True)[0]
    assert torch.equal(Resize(20, 'squish')(im), squished)
    assert any(not torch.equal(Resize(20)(im), middle) for _ in range(5))
    assert Resize(20).without_draws() == Resize(20, random=False)
    with pytest.raises(ValueError, match="'crop' or 'squish', got 'pad'"): Resize(20, 'pad')
    for size in '16',0,16.,(16, 20):
        with pytest.raises(ValueError, match='size must be a count of pixels'): Resize(size, 'squish')


def test_validation_draws_nothing():
    tfm = for_valid(AffineBatch(flip=0.5, rotate=30, scale=(0.5, 2), size=10, padding_mode='zeros'))
    x = torch.rand(4, 3, 20, 20)
    assert torch.equal(tfm(x), tfm(x)) and tfm(x).shape == (4, 3, 10, 10) and tfm.padding_mode == 'zeros'
    assert torch.equal(for_valid(AffineBatch(rotate=30))(x), x)
    assert for_valid(Resize(8)) == Resize(8, random=False)
    assert for_valid(presize(8)).keywords == dict(size=8, random=False)
    for gone in RandErase(),RandCopy(),rand_flip,partial(rand_flip, p=0.3): assert for_valid(gone) is None
    assert for_valid(torch.sin) is torch.sin
    with pytest.raises(ValueError, match='rand_crop.*use AffineBatch'): for_valid(partial(rand_crop, size=8))


@pytest.mark.parametrize('wrong', [Resize, 56, [Resize(8), 'crop']])
def test_what_is_no_transform(wrong):
    with pytest.raises(TypeError, match='a transform must be a function of pictures, such as Resize'):
        DataBlock(item_tfms=wrong)


def test_transforms_of_training_and_of_validation(named):
    tfms = nn.Sequential(AffineBatch(rotate=20, size=12), RandErase())
    dls = block(batch_tfms=[tfms, torch.neg]).dataloaders(named, 10)
    assert [type(o).__name__ for o in dls.train.batch_tfms][:2] == ['AffineBatch', 'RandErase']
    assert len(dls.valid.batch_tfms) == 2 and dls.valid.batch_tfms[1] is torch.neg
    assert dls.valid.dataset.tfms == [Resize(16, random=False)] and dls.train.dataset.tfms == [Resize(16)]
    assert equal(all_of(dls.valid), all_of(dls.valid)) and not equal(all_of(dls.train), all_of(dls.train))
    assert next(iter(dls.train))[0].shape == (10, 3, 12, 12) and next(iter(dls.train))[0].max() <= 0


def test_item_transforms_run_in_workers_and_batch_transforms_do_not(named):
    def pid(x): return torch.full((1, 2, 2), float(os.getpid()))
    def add(x): return torch.cat([x, torch.full_like(x, os.getpid())], 1)
    dls = block(item_tfms=[Resize(8), pid], batch_tfms=add).dataloaders(named, 8, num_workers=2)
    seen = torch.cat([xb for xb,_ in dls.train])
    assert os.getpid() not in seen[:, 0].unique().tolist() and len(seen[:, 0].unique()) == 2
    assert seen[:, 1].unique().tolist() == [float(os.getpid())]


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_batches_are_transformed_on_a_gpu(named):
    dls = block(batch_tfms=AffineBatch(rotate=10, size=12)).dataloaders(named, device='cuda', num_workers=2)
    xb,yb = next(iter(dls.train))
    assert xb.is_cuda and yb.is_cuda and xb.shape[-1] == 12 and dls.train.dataset[0][0].device.type == 'cpu'


def test_shapes_that_make_no_batch_name_the_files_and_the_step(named):
    for workers in 0,2:
        dls = block(item_tfms=None).dataloaders(named, 4, num_workers=workers)
        with pytest.raises(ValueError) as e: list(dls.train)
        text = str(e.value)
        assert text.startswith('pictures of different shapes make no batch: (3, ')
        assert text.count('.png') == 2 and 'after load_image; item_tfms=Resize' in text
    def grey_or_not(o): return load_image(o, 'L' if o.name[0] == 'a' else 'RGB')
    with pytest.raises(ValueError, match=r"after grey_or_not, Resize.*; load_image\(path, 'RGB'\) would"):
        list(block(get_x=grey_or_not).dataloaders(named, 20).train)
    with pytest.raises(ValueError, match='after load_image, .*lambda'):
        list(torch_data.DataLoader(block(item_tfms=lambda im: im[:, :9]).dataloaders(named).train.dataset, 4))


def test_an_error_in_a_transform_names_it_and_the_file(named):
    def strange(im): return im @ torch.ones(3)
    dls = block(item_tfms=[Resize(8), strange]).dataloaders(named, 4)
    with pytest.raises(RuntimeError) as e: list(dls.valid)
    with pytest.raises(RuntimeError) as e2: list(block(batch_tfms=strange).dataloaders(named, 4).valid)
    assert e2.value.__notes__[0] == 'in strange, for a batch'
    assert any('in strange, for ' in note and '.png' in note for note in e.value.__notes__)
    with pytest.raises(TypeError, match='print gave None for .*png: is there a return'):
        list(block(item_tfms=print).dataloaders(named, 4).valid)


# ---- batches

class ByHand(torch_data.Dataset):
    "What a description stands for"
    def __init__(self, paths): self.paths = paths
    def __len__(self): return len(self.paths)
    def __getitem__(self, i):
        x = torch.from_numpy(np.array(Image.open(self.paths[i]).convert('RGB'))).permute(2, 0, 1)/255
        x = F.interpolate(x[None], (16, 16), mode='bilinear', antialias=True)[0]
        return x,'abcd'.index(self.paths[i].name[0])


def test_torchs_loader_over_a_data_set_by_hand_gives_the_same_batches(named):
    paths = sorted(named.rglob('*.png'))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(42)).tolist()
    train,valid = ([paths[i] for i in part] for part in (order[8:], order[:8]))
    dls = block(item_tfms=Resize(16, 'squish')).dataloaders(named, 5, device='cpu')
    theirs = torch_data.DataLoader(ByHand(train), 5, shuffle=True),torch_data.DataLoader(ByHand(valid), 10)
    for mine,other in zip((dls.train, dls.valid), theirs):
        torch.manual_seed(1)
        ours = all_of(mine)
        state = torch.get_rng_state()
        torch.manual_seed(1)
        assert equal(ours, all_of(other)) and torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    ours = all_of(dls.train)
    torch.manual_seed(1)
    assert equal(ours, all_of(torch_data.DataLoader(dls.train.dataset, 5, shuffle=True)))


@pytest.mark.parametrize('kwargs', [dict(num_workers=1), dict(num_workers=2),
                                    dict(num_workers=2, worker_type='thread')])
def test_batches_do_not_depend_on_the_workers(named, kwargs):
    def epochs(**kwargs):
        dls = block(batch_tfms=AffineBatch(rotate=20, size=12)).dataloaders(named, 5, **kwargs)
        torch.manual_seed(3)
        return all_of(dls.train) + all_of(dls.valid) + all_of(dls.train)
    assert equal(epochs(), epochs(**kwargs))


def test_arguments_of_the_loaders(named):
    dls = block().dataloaders(named, 5, drop_last=True)
    assert (len(dls.train), len(dls.valid)) == (6, 1) and dls.valid.batch_size == 10
    assert dls.train.sampler.shuffle and not dls.valid.sampler.shuffle
    dls = block().dataloaders(named, 5, shuffle=False)
    assert torch.equal(torch.cat([yb for _,yb in dls.train]), torch.tensor(dls.train.dataset.targets))
    sampler = torch_data.WeightedRandomSampler([1.]*32, 10)
    dls = block().dataloaders(named, 5, sampler=sampler)
    assert len(dls.train) == 2 and len(dls.valid) == 1
    with pytest.raises(TypeError, match='blocks'): DataBlock(blocks=())
    for name in 'get_items', 'get_y', 'splitter', 'get_x':
        with pytest.raises(TypeError, match=f"{name} must be a function, got 'a'"): DataBlock(**{name: 'a'})


def test_everything_can_be_pickled(named):
    b = block(batch_tfms=AffineBatch(rotate=5, size=12))
    again = pickle.loads(pickle.dumps(b)).dataloaders(named, 5)
    dls = pickle.loads(pickle.dumps(b.dataloaders(named, 5)))
    assert dls.vocab == again.vocab and dls.train.dataset.items == again.train.dataset.items
    assert equal(all_of(dls.valid), all_of(again.valid)) and isinstance(dls.train, DeviceLoader)
    for part in RandomSplitter(),NAMED,Resize(3),parent_label: assert pickle.loads(pickle.dumps(part)) == part


def test_a_loader_goes_on_where_it_stopped(named):
    dls = block(batch_tfms=AffineBatch(rotate=20, size=12)).dataloaders(named, 5)
    torch.manual_seed(0)
    batches = iter(dls.train)
    for _ in range(2): next(batches)
    state,rng = dls.train.state_dict(),torch.get_rng_state()
    rest = [[o.clone() for o in b] for b in batches]
    other = block(batch_tfms=AffineBatch(rotate=20, size=12)).dataloaders(named, 5)
    other.train.load_state_dict(state)
    batches = iter(other.train)
    torch.set_rng_state(rng)
    assert len(rest) == 5 and equal(rest, [[o.clone() for o in b] for b in batches])


# ---- with a Learner

def learner(named, cbs=(), **kwargs):
    dls = block(batch_tfms=AffineBatch(rotate=20, size=12)).dataloaders(named, 8, device='cpu', **kwargs)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))
    model(torch.rand(1, 3, 12, 12))
    return Learner(model, dls, F.cross_entropy, 0.1, cbs)


def test_a_learner_trains(named):
    learn = learner(named, num_workers=2)
    learn.fit(2)
    preds,targs = learn.get_preds()
    assert targs.tolist() == learn.dls.valid.dataset.targets and preds.shape == (8, 4)
    assert torch.equal(preds, learn.get_preds()[0])


class Fall(Callback):
    order = 200
    def after_batch(self, learn):
        if learn.training and (learn.epoch, learn.iter) == (1, 2): raise KeyboardInterrupt


def test_a_run_that_fell_ends_as_one_that_did_not(named, tmp_path):
    whole = learner(named)
    whole.fit(3)
    learn = learner(named, [CheckpointCB(tmp_path, every_batches=1), Fall()])
    with pytest.raises(KeyboardInterrupt): learn.fit(3)
    learn = learner(named, [CheckpointCB(tmp_path, every_batches=1)])
    learn.fit(3, resume=True)
    for a,b in zip(whole.model.parameters(), learn.model.parameters()): assert torch.equal(a, b)


# ---- looking

def shown(monkeypatch):
    calls = []
    monkeypatch.setattr('miniai.block.show_images', lambda ims, **kwargs: calls.append((ims, kwargs)))
    return calls


def test_show_batch(named, monkeypatch):
    calls = shown(monkeypatch)
    dls = block(batch_tfms=AffineBatch(rotate=20, size=12)).dataloaders(named)
    state = torch.get_rng_state()
    for _ in range(2): dls.show_batch(6, nrows=2)
    dls.show_batch(6, seed=1)
    dls.show_batch(50, valid=True)
    assert torch.equal(torch.get_rng_state(), state), 'a look leaves no trace'
    (ims,kwargs),(again,_),(other,_),(valid,_) = calls
    assert ims.shape == (6, 3, 12, 12) and kwargs['nrows'] == 2 and set(kwargs['titles']) <= set('abcd')
    assert torch.equal(ims, again) and not torch.equal(ims, other) and len(valid) == 8
    block(batch_tfms=lambda x: (x-0.5)/0.2, get_y=lambda o: 0.5).dataloaders(named).show_batch(4)
    ims,kwargs = calls[-1]
    assert ims.min() == 0 and ims.max() == 1 and kwargs['titles'] == [0.5]*4


def said(capsys, *args, **kwargs):
    capsys.readouterr()
    block(**kwargs).summary(*args)
    return capsys.readouterr().out.splitlines()


def test_summary_shows_what_comes_out_of_each_step(named, capsys):
    state = torch.get_rng_state()
    lines = said(capsys, named, batch_tfms=AffineBatch(rotate=8, size=12))
    assert torch.equal(torch.get_rng_state(), state)
    steps = 'get_items splitter get_y classes get_x item_tfms collate batch_tfms collate batch_tfms'.split()
    assert [line.split()[0] for line in lines] == steps
    assert '40 items, the first is part0/a_00.png' in lines[0]
    assert '32 to train on, 8 to validate on' in lines[1]
    assert lines[3].endswith('4: a, b, c, d') and 'load_image: float32 (3, ' in lines[4]
    assert lines[5].endswith('float32 (3, 16, 16)')
    for i,part,turn in (6, 'training', '8'),(8, 'validation', '0.0'):
        assert lines[i].endswith(f'float32 (4, 3, 16, 16), int64 (4,), for {part}')
        assert f'AffineBatch(flip=0.0, rotate={turn}, scale=(1.0, 1.0), ' in lines[i+1]
        assert 'size=(12, 12)): float32 (4, 3, 12, 12) from 0.' in lines[i+1]
        assert lines[i+1].endswith(', on cpu')
    lines = said(capsys, f'{named}/', get_y=lambda o: 0.5)
    assert 'the first is part0/a_00.png' in lines[0] and 'target float32 ()' in lines[2]
    assert not any(line.startswith('classes') for line in lines) and 'none: ' in lines[-1]
    lines = said(capsys, named, get_y=RegexLabeller(r'^(.+)_\d+\.png$'))  # of the whole path
    assert f"'{named.as_posix()}/part" in lines[2] and f'4: {named.as_posix()}/part0/a, ' in lines[3]


def test_summary_lists_the_folder_once(named, capsys):
    listed = []
    def get_items(folder):
        listed.append(folder)
        return get_image_files(folder)
    assert 'batch_tfms' in said(capsys, named, get_items=get_items)[-1] and listed == [named]


def test_a_block_prints_what_it_was_given():
    text = repr(DataBlock(get_y=NAMED, item_tfms=Resize(16), batch_tfms=AffineBatch(flip=0.5)))
    assert text.startswith('DataBlock(get_items=get_image_files, splitter=RandomSplitter(valid_pct=0.2, ')
    for part in f'get_y={NAMED!r}','get_x=load_image','item_tfms=[Resize(size=16','[AffineBatch(flip=0.5, ':
        assert part in text


def test_summary_says_why_there_is_no_batch(named, capsys, tmp_path):
    lines = said(capsys, named, item_tfms=None)
    assert lines[-1].startswith('✗ ValueError: pictures of different shapes make no batch: (3, ')
    assert 'after load_image' in lines[-1] and lines[-1].count('.png') == 2
    lines = said(capsys, named, get_y=RegexLabeller('x(.)'))
    assert lines[-2].startswith('✗ ValueError: the pattern') and 'part0/a_00.png' in lines[-1]
    lines = said(capsys, tmp_path)
    assert lines == ['✗ FileNotFoundError: no pictures (.png .jpg .jpeg .gif .bmp .webp) in '
                     f'{tmp_path}: no files at all']
    for i in range(8): write(tmp_path/f'{"ab"[i % 2]}_{i}.png', seed=i)
    for path in tmp_path.glob('*.png'): path.write_bytes(path.read_bytes()[:500])
    lines = said(capsys, tmp_path)
    assert lines[3].startswith('classes') and 'in load_image' in lines[5]
    assert '.png: the picture is broken' in lines[4]
    def turn(x): return x @ torch.ones(3)
    lines = said(capsys, named, batch_tfms=turn)
    assert lines[-3].startswith('collate') and lines[-2].startswith('✗ RuntimeError')
    assert lines[-1] == '  in turn, for a batch'
