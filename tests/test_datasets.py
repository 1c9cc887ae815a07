"""Data sets: where they come from, what becomes of them in a loader, and files that can't be trusted"""
import functools, gzip, hashlib, os, pickle, random, socket, struct, subprocess, sys, threading, time, warnings
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
import datasets as hf, huggingface_hub.constants as hub_constants
import numpy as np, pyarrow.parquet as pq, pytest, torch, torch.utils.data as torch_data
from hypothesis import given, settings, strategies as st
from PIL import Image
import miniai.datasets as md
from miniai.data import DataLoader
from miniai.datasets import DataLoaders, ReadyImages, collate_dict, download, get_data, image_tensor, inplace, load_pickled
from miniai.tools.drawn import drawn_dd
from tests.conftest import ROOT

REAL = os.environ.get('MINIAI_DATA')  # before the fixture below takes it away
real = pytest.mark.skipif(not REAL, reason='MINIAI_DATA is not set')


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path_factory):
    "Each test starts without data, with an empty cache, and as if the hub had not been asked"
    monkeypatch.delenv('MINIAI_DATA', raising=False)
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    monkeypatch.setattr(hf.config, 'HF_DATASETS_CACHE', tmp_path_factory.mktemp('cache'))
    monkeypatch.setattr(md, '_hub', None)
    monkeypatch.setattr(md, '_missed', {})


@functools.cache
def few(name): return drawn_dd(name, 60, 40)


def small(name='mnist'): return few(name)


def write(folder, dd):
    "Parquet files as on the hub"
    folder.mkdir(parents=True, exist_ok=True)
    for split in dd: dd[split].to_parquet(folder/f'{split}-00000-of-00001.parquet')
    return folder


@pytest.fixture
def local(monkeypatch, tmp_path):
    "MINIAI_DATA, an empty folder"
    monkeypatch.setenv('MINIAI_DATA', str(tmp_path))
    return tmp_path


# --- inplace, collate_dict, image_tensor

@inplace
def negative(rows):
    "Turn them round"
    rows['image'] = [1-image_tensor(o) for o in rows['image']]


def test_inplace():
    assert inplace(list.sort)([2, 1]) == [1, 2]
    assert (negative.__name__, negative.__doc__) == ('negative', 'Turn them round')
    assert pickle.loads(pickle.dumps(negative)) is negative
    d = {}
    assert inplace(lambda x: 'ignored')(d) is d
    with pytest.raises(KeyError): inplace(lambda x: x['no'])({})
    with pytest.raises(TypeError): inplace(list.append)([], 1)


@pytest.mark.parametrize('mode,channels', [('L', 1), ('RGB', 3), ('RGBA', 4), ('1', 1), ('P', 3), ('CMYK', 3), ('LA', 3)])
def test_image_tensor_of_each_mode(mode, channels):
    im = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)).convert(mode)
    t = image_tensor(im)
    assert t.shape == (channels, 5, 7) and t.dtype == torch.float32 and t.is_contiguous() and 0 <= t.min() <= t.max() <= 1
    same = im if mode in ('L', 'RGB', 'RGBA') else im.convert('L' if mode == '1' else 'RGB')
    want = np.asarray(same, dtype=np.float32).reshape(5, 7, channels).transpose(2, 0, 1)/255
    torch.testing.assert_close(t, torch.tensor(want), rtol=0, atol=0)


@pytest.mark.parametrize('mode', ['I', 'F', 'I;16'])
def test_image_tensor_refuses_unknown_ranges(mode):
    with pytest.raises(TypeError, match=f'mode {mode}'): image_tensor(Image.new(mode, (3, 3)))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.permutations(['x', 'n', 'f', 's', 'a']), st.integers(1, 5), st.integers(0, 10**6))
def test_collate_dict_is_default_collate_with_the_columns_taken_out(n, order, k, seed):
    rng = np.random.default_rng(seed)
    samples = [dict(x=torch.tensor(rng.random((2, 3))), n=int(rng.integers(10)), f=float(rng.random()), s=str(rng.integers(9)), a=rng.random(4)) for _ in range(n)]
    names = list(order)[:k]
    got,want = collate_dict(SimpleNamespace(features=names))(samples),torch_data.default_collate(samples)
    assert type(got) is tuple and len(got) == k
    for name,o in zip(names, got):
        if isinstance(o, torch.Tensor): torch.testing.assert_close(o, want[name], rtol=0, atol=0)
        else: assert o == want[name]


def test_collate_dict_on_pictures():
    train = small()['train']
    x,y = collate_dict(train)([train[i] for i in range(5)])
    assert x.shape == (5, 1, 28, 28) and x.dtype == torch.float32 and y.tolist() == train['label'][:5]
    assert x[3].equal(image_tensor(train[3]['image']))
    only = train.select_columns('image')
    one = collate_dict(only)([only[0]])
    assert type(one) is tuple and len(one) == 1 and one[0].equal(x[:1])
    assert pickle.loads(pickle.dumps(collate_dict(train)))([train[0]])[0].equal(x[:1])


def test_collate_dict_takes_a_duck_and_drops_what_is_no_feature():
    class Duck: features = dict(b=None, a=None)
    assert [o.tolist() for o in collate_dict(Duck())([dict(a=1, b=2, c='x')])] == [[2], [1]]


def test_collate_dict_says_what_is_wrong():
    with pytest.raises(TypeError, match='must have features.*list'): collate_dict([1])
    with pytest.raises(TypeError, match='must have features'): collate_dict(SimpleNamespace(features={}))
    collate = collate_dict(SimpleNamespace(features=['image', 'label']))
    with pytest.raises(KeyError, match="'image'.*pixels, label.*rename"): collate([dict(pixels=1, label=2)])
    with pytest.raises(TypeError, match='dictionaries'): collate([(1, 2)])
    ims = [Image.new('RGB', (3, 4)), Image.new('RGB', (3, 5))]
    with pytest.raises(ValueError, match="column 'image': picture 0 is 3×4 with 3 channels, picture 1 is 3×5"): collate([dict(image=o, label=0) for o in ims])
    ims = [Image.new('RGB', (3, 4)), Image.new('L', (3, 4))]
    with pytest.raises(ValueError, match='with 1'): collate([dict(image=o, label=0) for o in ims])
    with pytest.raises(ValueError, match="'label'"): collate([dict(image=ims[0], label=torch.ones(i+1)) for i in range(2)])


# --- DataLoaders

@pytest.mark.parametrize('num_workers', [0, 2])
@pytest.mark.parametrize('transform', [None, negative])
def test_our_loader_and_torchs_give_the_same_batches(num_workers, transform):
    ds = small()['train'].with_transform(transform) if transform else small()['train']
    def batches(cls): return list(cls(ds, batch_size=16, collate_fn=collate_dict(ds), num_workers=num_workers))
    for (xa,ya),(xb,yb) in zip(batches(DataLoader), batches(torch_data.DataLoader), strict=True): assert xa.equal(xb) and ya.equal(yb)


def test_a_batch_is_one_call_of_the_transform():
    sizes = []
    def tfm(rows):
        sizes.append(len(rows['label']))
        return negative(rows)
    ds = small()['train'].with_transform(tfm)
    list(DataLoader(ds, 16, collate_fn=collate_dict(ds)))
    assert sizes == [16, 16, 16, 12]


def test_from_dd():
    dd = small()
    dls = DataLoaders.from_dd(dd.with_transform(negative), 16)
    assert isinstance(dls.train, DataLoader) and isinstance(dls.valid, DataLoader)
    xb,yb = next(iter(dls.valid))
    assert xb.shape == (32, 1, 28, 28) and yb.tolist() == dd['test']['label'][:32] and len(dls.train) == 4
    orders = [torch.cat([y for _,y in dls.train]).tolist() for _ in range(2)]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(dd['train']['label'][:])
    assert dls.classes == [str(i) for i in range(10)] and list(dls.features) == ['image', 'label']
    assert '16' in repr(dls) and 'train=' in repr(dls)


def test_from_dd_passes_arguments_to_both():
    dls = DataLoaders.from_dd(small(), 16, num_workers=1, drop_last=True, generator=torch.Generator().manual_seed(3))
    assert dls.train.num_workers == dls.valid.num_workers == 1 and len(list(dls.train)) == 3
    dls = DataLoaders.from_dd(small(), 16, collate_fn=len)
    assert list(dls.valid) == [32, 8]


def test_as_tuple():
    for xb in (next(iter(DataLoaders.from_dd(small(), 4, as_tuple=False).train)), next(iter(DataLoaders.from_dd(small().with_transform(negative), 4, as_tuple=False).train))):
        assert list(xb) == ['image', 'label'] and xb['image'].shape == (4, 1, 28, 28)
    batch = next(iter(DataLoaders.from_dd(small().select_columns('label'), 4).train))
    assert type(batch) is tuple and len(batch) == 1


@pytest.mark.parametrize('splits,want,line', [
    (['train', 'test'], ('train', 'test'), ''), (['test', 'train'], ('train', 'test'), ''), (['a', 'b'], ('a', 'b'), ''),
    (['train', 'test', 'validation'], ('train', 'validation'), "not used: 'test'"), (['test', 'valid', 'train'], ('train', 'valid'), "not used: 'test'"),
    (['train', 'extra'], ('train', 'extra'), ''), (['validation', 'b', 'c'], ('validation', 'b'), "not used: 'c'"), (['train'], ('train', None), ''), (['x'], ('x', None), '')])
def test_which_splits(splits, want, line, capsys):
    dd = hf.DatasetDict({k: small()['train'].select(range(i+1)) for i,k in enumerate(splits)})
    dls = DataLoaders.from_dd(dd, 2)
    assert len(dls.train.dataset) == splits.index(want[0])+1
    assert (dls.valid and len(dls.valid.dataset)) == (want[1] and splits.index(want[1])+1)
    out = capsys.readouterr().out
    assert line in out and bool(out) == bool(line)
    list(dls.train)


def test_plain_loaders():
    dls = DataLoaders([1], [2], [3])
    assert (dls.train, dls.valid, dls.features, dls.classes) == ([1], [2], None, None)
    dls.train = dls.valid = 5
    assert dls.train == 5 and DataLoaders([1]).valid is None
    with pytest.raises(ValueError, match='at least'): DataLoaders()
    with pytest.raises(TypeError, match='dictionary of splits.*Dataset'): DataLoaders.from_dd(small()['train'], 4)
    with pytest.raises(ValueError, match='at least one split'): DataLoaders.from_dd({}, 4)


@pytest.mark.parametrize('num_workers', [0, 2])
def test_streams(num_workers, tmp_path):
    dd = small()
    folder = write(tmp_path/'d', dd)
    for i in range(2): dd['train'].shard(2, i).to_parquet(folder/f'half-{i:05d}-of-00002.parquet')  # two files: each worker reads one
    files = dict(train=[str(folder/f'half-{i:05d}-of-00002.parquet') for i in range(2)], test=[str(folder/'test-00000-of-00001.parquet')])
    stream = hf.load_dataset('parquet', data_files=files, streaming=True)
    dls = DataLoaders.from_dd(stream, 16, num_workers=num_workers)
    batches = list(dls.train)
    assert Counter(torch.cat([y for _,y in batches]).tolist()) == Counter(dd['train']['label'][:]) and batches[0][0].shape == (16, 1, 28, 28)
    assert torch.cat([y for _,y in dls.valid]).tolist() == dd['test']['label'][:]
    mapped = stream['train'].map(lambda o: dict(label=-o['label']))
    assert next(iter(DataLoader(mapped, 4, collate_fn=collate_dict(mapped))))[1].tolist() == [-o for o in dd['train']['label'][:4]]
    assert next(iter(DataLoaders.from_dd(stream, 4, as_tuple=False).train))['image'].shape == (4, 1, 28, 28)


# --- ReadyImages

def test_ready_images():
    ds = small('fashion_mnist')['train']
    ready = ReadyImages(ds)
    want = torch.stack([image_tensor(o) for o in ds['image']])
    assert ready.x.dtype == torch.uint8 and (ready.x/255).equal(want) and ready.y.tolist() == ds['label'][:] and ready.y.dtype == torch.int64
    assert len(ready) == 60 and ready.classes[9] == 'Ankle boot' and list(ready.features) == ['image', 'label']
    assert ready[3][0].equal(ready.x[3]) and ready[[1, 2]][1].equal(ready.y[1:3])
    mean,std = ready.stats()
    torch.testing.assert_close(mean, want.double().mean((0, 2, 3)).float())
    torch.testing.assert_close(std, want.double().std((0, 2, 3), correction=0).float())
    for a,b in zip(torch_data.DataLoader(ready, 7), DataLoader(ready, 7), strict=True): assert a[0].equal(b[0]) and a[1].equal(b[1])


def colours(n, size=(6, 5), mode='RGB', **more):
    rng = np.random.default_rng(1)
    ims = [Image.fromarray(rng.integers(0, 200, (*size[::-1], 3), dtype=np.uint8)).convert(mode) for _ in range(n)]
    return hf.Dataset.from_dict(dict(id=list(range(n)), photo=ims, kind=[i % 3 for i in range(n)], **more),
                                features=hf.Features(id=hf.Value('int32'), photo=hf.Image(), kind=hf.ClassLabel(names=list('abc')), **{k: hf.Image() for k in more}))


def test_ready_images_in_colour():
    ds = colours(2050)  # more than are decoded at a time
    ready = ReadyImages(ds)
    assert ready.x.shape == (2050, 3, 5, 6) and ready.classes == ['a', 'b', 'c'] and ready.y.tolist() == ds['kind'][:]
    assert (ready.x[2049]/255).equal(image_tensor(ds[2049]['photo'])) and len(ready.stats()[0]) == 3
    torch.testing.assert_close(ready.stats()[1], (ready.x/255).double().std((0, 2, 3), correction=0).float())
    plain = colours(4).cast_column('kind', hf.Value('int64')).remove_columns('id')
    assert ReadyImages(plain).classes is None


def test_ready_images_refuses():
    ds = colours(3)
    with pytest.raises(ValueError, match='one column of pictures.*id, kind'): ReadyImages(ds.remove_columns('photo'))
    with pytest.raises(ValueError, match='one column of pictures'): ReadyImages(colours(3, other=[Image.new('L', (2, 2))]*3))
    with pytest.raises(ValueError, match='one column of pictures.*int'): ReadyImages(3)
    with pytest.raises(ValueError, match='one column of pictures.*IterableDataset'): ReadyImages(ds.to_iterable_dataset())
    with pytest.raises(ValueError, match='has a transform'): ReadyImages(ds.with_transform(negative))
    with pytest.raises(ValueError, match='at least one row'): ReadyImages(ds.select([]))
    mixed = hf.concatenate_datasets([ds, colours(1, (9, 9))])
    with pytest.raises(ValueError, match="column 'photo', from row 0: picture 0 is 6×5 with 3 channels, picture 3 is 9×9"): ReadyImages(mixed)
    late = hf.concatenate_datasets([colours(1000), colours(1, (9, 9))])
    with pytest.raises(ValueError, match=r"'photo': picture 0 is \(3, 5, 6\), picture 1000 is \(3, 9, 9\)"): ReadyImages(late)
    data = ds.cast_column('photo', hf.Image(decode=False)).to_list()
    data[1]['photo']['bytes'] = b'this is no picture'
    bad = hf.Dataset.from_list(data, features=ds.features)
    with pytest.raises(ValueError, match='row 1 is damaged'): ReadyImages(bad)


def test_ready_loaders():
    dd = small()
    dls = DataLoaders.ready(dd, 16)
    x = torch.cat([xb for xb,_ in dls.train])
    assert x.shape == (60, 1, 28, 28) and abs(x.mean()) < 1e-4 and abs(x.std(correction=0) - 1) < 1e-4
    mean,std = dls.train.mean,dls.train.std
    for (xa,ya),(xb,yb) in zip(DataLoaders.from_dd(dd, 16).valid, dls.valid, strict=True):
        torch.testing.assert_close((xa-mean[:,None,None])/std[:,None,None], xb)
        assert ya.equal(yb) and xb.dtype == torch.float32
    for (xa,_),(xb,_) in zip(DataLoaders.from_dd(dd, 16).valid, DataLoaders.ready(dd, 16, normalize=False).valid, strict=True): assert xa.equal(xb)
    assert dls.classes == [str(i) for i in range(10)] and 'normalised' in repr(dls) and dls.train.batch_size == 16 and len(dls.valid) == 2
    assert DataLoaders.ready(hf.DatasetDict(train=dd['train']), 16).valid is None
    with pytest.raises(AttributeError): dls.train.nonsense
    import copy
    assert len(list(copy.deepcopy(dls.train))) == 4 and len(list(pickle.loads(pickle.dumps(dls.train)))) == 4


def test_constant_pictures_do_not_divide_by_zero():
    ds = hf.Dataset.from_dict(dict(image=[Image.new('L', (3, 3), 7)]*4, label=[0]*4), features=hf.Features(image=hf.Image(), label=hf.ClassLabel(names=['a'])))
    xb,_ = next(iter(DataLoaders.ready(hf.DatasetDict(train=ds), 4).train))
    assert xb.isfinite().all() and abs(xb).max() < 1e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_ready_on_a_gpu():
    dls = DataLoaders.ready(small(), 16, device='cuda')
    on_cpu = DataLoaders.ready(small(), 16)
    for (xa,ya),(xb,yb) in zip(dls.valid, on_cpu.valid, strict=True):
        assert xa.is_cuda and ya.is_cuda
        torch.testing.assert_close(xa.cpu(), xb)


# --- get_data: a folder

def test_local_known(local):
    write(local/'mnist'/'data', small())
    for source in ('auto', 'local'):
        dd = get_data('mnist', source)
        assert {k: len(v) for k,v in dd.items()} == dict(train=60, test=40) and dd['train'].features == small()['train'].features
        assert list(dd) == ['train', 'test'] and dd['train'][7]['image'].tobytes() == small()['train'][7]['image'].tobytes()
    assert dd['train'].cache_files, 'memory-mapped'


def test_local_other_names_keep_splits_and_columns(local):
    write(local/'me'/'things', hf.DatasetDict({'dev': colours(3), 'final': colours(2)}))
    dd = get_data('me/things')
    assert {k: len(v) for k,v in dd.items()} == dict(dev=3, final=2) and list(dd['dev'].features) == ['id', 'photo', 'kind']
    assert dd['dev'].features['kind'].names == ['a', 'b', 'c']


def test_local_layouts(local):
    dd = small()
    for name in ('train', 'test'): (local/'fashion_mnist'/name).mkdir(parents=True)
    for i in range(3): dd['train'].shard(3, i, contiguous=True).to_parquet(local/'fashion_mnist'/'train'/f'{i:04d}.parquet')
    dd['test'].to_parquet(local/'fashion_mnist'/'test'/'0000.parquet')
    got = get_data('fashion_mnist')
    assert got['train']['label'][:] == dd['train']['label'][:] and len(got['test']) == 40


def test_further_splits_of_a_known_name_are_left_out(local):
    write(local/'mnist', hf.DatasetDict(extra=small()['test'], test=small()['test'], train=small()['train']))
    assert list(get_data('mnist')) == ['train', 'test']


def test_files_without_the_hubs_notes_on_features(local):
    for split,ds in small('fashion_mnist').items():
        table = ds.data.table.replace_schema_metadata(None)
        (local/'fashion_mnist').mkdir(exist_ok=True)
        pq.write_table(table.append_column('extra', [[0]*len(ds)]), local/'fashion_mnist'/f'{split}.parquet')
    dd = get_data('fashion_mnist')
    assert isinstance(dd['train'].features['image'], hf.Image) and dd['train'].features['label'].int2str(9) == 'Ankle boot'
    assert list(dd['train'].features) == ['image', 'label'] and dd['train'][0]['image'].size == (28, 28)


def test_mnist_without_test_split(local, monkeypatch, capsys):
    monkeypatch.setattr(md, 'HELD_BACK', 10)
    write(local/'mnist', hf.DatasetDict(train=small()['train']))
    dd = get_data('mnist')
    out = capsys.readouterr().out
    assert out.count('\n') == 1 and 'last 10 of the 60 training rows' in out
    assert dd['train']['label'][:] + dd['test']['label'][:] == small()['train']['label'][:] and len(dd['test']) == 10
    monkeypatch.setattr(md, 'HELD_BACK', 60)
    with pytest.raises(FileNotFoundError, match="no split 'test'.*too few"): get_data('mnist')


def test_a_split_that_is_missing(local):
    write(local/'fashion_mnist', hf.DatasetDict(train=small()['train']))
    with pytest.raises(FileNotFoundError, match=r"no split 'test' under .*fashion_mnist, only train"): get_data('fashion_mnist')
    write(local/'mnist', hf.DatasetDict(test=small()['train']))
    with pytest.raises(FileNotFoundError, match=r"no split 'train' under .*mnist, only test"): get_data('mnist')


def test_an_empty_folder(local):
    (local/'mnist').mkdir()
    with pytest.raises(FileNotFoundError, match=f'no parquet file .*{local/"mnist"}'): get_data('mnist')


@pytest.mark.parametrize('damage', ['cut', 'empty', 'text', 'head'])
def test_a_damaged_file_is_named(local, damage):
    write(local/'mnist', small())
    path = local/'mnist'/'test-00000-of-00001.parquet'
    data = path.read_bytes()
    path.write_bytes(dict(cut=data[:len(data)//2], empty=b'', text=b'<html>404</html>', head=data[:-12])[damage])
    with pytest.raises(ValueError, match=f'{path} is damaged'): get_data('mnist')


def test_a_file_damaged_inside_is_named(local):
    write(local/'mnist', small())
    path = local/'mnist'/'train-00000-of-00001.parquet'
    data = bytearray(path.read_bytes())
    data[4:400] = b'\xff'*396  # the description at the end stays whole
    path.write_bytes(data)
    with pytest.raises(ValueError, match=str(path)): get_data('mnist')


def test_a_file_that_is_damaged_after_it_was_read_once(local):
    write(local/'mnist', small())
    get_data('mnist')
    path = local/'mnist'/'train-00000-of-00001.parquet'
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match='is damaged'): get_data('mnist')
    write(local/'mnist', hf.DatasetDict(train=small()['test']))
    assert len(get_data('mnist')['train']) == 40, 'and a new file is read anew'


def test_a_column_of_another_name(local):
    write(local/'mnist', small().rename_column('label', 'labels'))
    with pytest.raises(ValueError, match=r"train-00000-of-00001.parquet has no column 'label', only image, labels"): get_data('mnist')


def test_columns_of_another_kind(local):
    write(local/'mnist', hf.DatasetDict({k: hf.Dataset.from_dict(dict(image=[1.5]*3, label=['a']*3)) for k in ('train', 'test')}))
    with pytest.raises(ValueError, match='image and label must hold'): get_data('mnist')


def test_pieces_missing(local):
    write(local/'mnist', small())
    (local/'mnist'/'train-00000-of-00001.parquet').rename(local/'mnist'/'train-00000-of-00002.parquet')
    with pytest.raises(FileNotFoundError, match=f"split 'train'.*2 parquet files.*{local/'mnist'}"): get_data('mnist')


@pytest.mark.parametrize('source', ['auto', 'local'])
def test_miniai_data_that_is_no_folder(source, monkeypatch, tmp_path):
    (tmp_path/'file').touch()
    for path in (tmp_path/'nowhere', tmp_path/'file'):
        monkeypatch.setenv('MINIAI_DATA', str(path))
        with pytest.raises(NotADirectoryError, match='MINIAI_DATA'): get_data('mnist', source)


def test_wrong_names_and_sources(local):
    (local/'insects').mkdir()
    with pytest.raises(ValueError, match=r"'insectx'.*Did you mean 'insects'\?.*mnist, fashion_mnist.*insects"): get_data('insectx', 'local')
    with pytest.raises(ValueError, match=r"'fashon_mnist'.*Did you mean 'fashion_mnist'\?.*HF_HUB_OFFLINE|HF_HUB_OFFLINE.*Did you mean 'fashion_mnist'"): get_data('fashon_mnist')
    with pytest.raises(ValueError, match='drawn|digits'): get_data('nothing', 'drawn')
    with pytest.raises(ValueError, match="source must be .* got 'web'"): get_data('mnist', 'web')
    for name in ('', '../mnist', '/tmp/mnist', 'a/b/c', 'a b', '..'):
        with pytest.raises(ValueError, match='name must be like'): get_data(name)
    with pytest.raises(TypeError, match='got 3'): get_data(3)


def test_local_without_miniai_data():
    with pytest.raises(ValueError, match="'local' means MINIAI_DATA, which is not set"): get_data('mnist', 'local')


# --- get_data: the hub

class Quiet(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass


@contextmanager
def serving(handler):
    "A server on this machine; yields its address"
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    server.daemon_threads,server.block_on_close = True,False
    threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01), daemon=True).start()
    try: yield f'http://127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        server.server_close()


class Library:
    "In place of `datasets.load_dataset`: notes how it is called, and gives or raises what it is told"
    def __init__(self, result): self.result,self.calls = result,[]

    def __call__(self, name, *args, **kwargs):
        self.calls.append((name, hf.config.HF_HUB_OFFLINE))
        if isinstance(self.result, Exception): raise self.result
        return self.result


@pytest.fixture
def hub(monkeypatch):
    "A hub on this machine, and a library in place of Hugging Face's: a function that sets both up"
    asked = []
    class Hub(Quiet):
        answer = 200
        def do_HEAD(self):
            asked.append(self.path)
            if self.answer == 'silence':
                stop.wait(30)
                return
            self.send_response(self.answer)
            self.send_header('Content-Length', '0')
            self.end_headers()
    stop = threading.Event()
    with serving(Hub) as url:
        monkeypatch.delenv('HF_HUB_OFFLINE', raising=False)
        monkeypatch.setattr(hf.config, 'HF_HUB_OFFLINE', False)
        monkeypatch.setattr(hub_constants, 'HF_HUB_OFFLINE', False)
        monkeypatch.setattr(hub_constants, 'ENDPOINT', url)
        def set_up(result, answer=200):
            Hub.answer = answer
            library = Library(result)
            monkeypatch.setattr(hf, 'load_dataset', library)
            return SimpleNamespace(asked=asked, calls=library.calls, library=library)
        yield set_up
        stop.set()


@pytest.fixture
def drawings(monkeypatch):
    "The names drawn, and only a few pictures of each"
    names = []
    def draw(name):
        names.append(name)
        return small(name)
    monkeypatch.setattr(md, 'drawn_dd', draw)
    return names


def test_the_hub_is_asked_once_and_its_data_set_taken(hub, drawings):
    seen = hub('from the hub')
    assert get_data('mnist') == get_data('fashion_mnist', 'hub') == get_data('user/name') == 'from the hub'
    assert seen.calls == [('ylecun/mnist', False), ('zalando-datasets/fashion_mnist', False), ('user/name', False)] and len(seen.asked) == 1 and not drawings


@pytest.mark.parametrize('answer', [503, 404])
def test_a_hub_that_is_not_well(hub, drawings, answer):
    seen = hub(ConnectionError('offline'), answer)
    for _ in range(2):
        with pytest.warns(UserWarning, match=f'answered {answer}') as said: dd = get_data('mnist')
        assert len(said) == 1 and dd is small()
    assert len(seen.asked) == 1 and seen.calls == [('ylecun/mnist', True)], 'the cache was looked into, once'
    with pytest.raises(ConnectionError, match=f'answered {answer}'): get_data('mnist', 'hub')
    with pytest.raises(ValueError, match=f'answered {answer}'): get_data('user/name')


def test_the_cache_is_used_when_the_hub_is_away(hub, drawings):
    seen = hub('from the cache', 503)
    assert get_data('mnist') == 'from the cache' and seen.calls == [('ylecun/mnist', True)] and hf.config.HF_HUB_OFFLINE is False


def test_a_silent_hub(hub, drawings, monkeypatch):
    monkeypatch.setattr(md, '_PATIENCE', 0.8)
    seen = hub(ConnectionError('offline'), 'silence')
    with pytest.warns(UserWarning, match='no answer from the hub within 0.8 seconds'): assert get_data('mnist') is small()
    with pytest.warns(UserWarning, match='no answer'): get_data('fashion_mnist')
    assert len(seen.asked) == 1 and drawings == ['mnist', 'fashion_mnist'], 'drawn once each, while waiting'


def test_an_address_where_nobody_is(hub, drawings, monkeypatch):
    hub(ConnectionError('offline'))
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        monkeypatch.setattr(hub_constants, 'ENDPOINT', f'http://127.0.0.1:{s.getsockname()[1]}')
        with pytest.warns(UserWarning, match='can not be reached'): get_data('mnist')


@pytest.mark.parametrize('value', ['1', 'ON', 'yes', 'True'])
def test_offline_means_not_asked(hub, drawings, monkeypatch, value):
    monkeypatch.setenv('HF_HUB_OFFLINE', value)
    seen = hub(ConnectionError('offline'))
    with pytest.warns(UserWarning, match='HF_HUB_OFFLINE is set'): get_data('mnist')
    with pytest.raises(ValueError, match='HF_HUB_OFFLINE is set'): get_data('mnizt')
    assert not seen.asked and all(offline for _,offline in seen.calls)


def test_a_name_that_the_hub_does_not_know(hub, drawings):
    hub(hf.exceptions.DatasetNotFoundError("Dataset 'mnits' doesn't exist on the Hub"))
    with pytest.raises(ValueError, match=r"doesn't exist on the Hub.*Did you mean 'mnist'\?.*mnist, fashion_mnist .*digits, clothes"): get_data('mnits')


def test_a_hub_that_breaks_off(hub, drawings):
    seen = hub(OSError('the disk is full'))
    with pytest.warns(UserWarning, match='the disk is full'): assert get_data('mnist') is small()
    with pytest.warns(UserWarning, match='the disk is full'): get_data('mnist')
    assert len(seen.calls) == 1
    for name,source in (('mnist', 'hub'), ('user/name', 'auto'), ('user/name', 'auto')):
        with pytest.raises(OSError, match='the disk is full'): get_data(name, source)


def test_the_folder_comes_before_the_hub(hub, drawings, local):
    seen = hub('from the hub')
    write(local/'mnist', small())
    assert len(get_data('mnist')['train']) == 60 and not seen.calls and not seen.asked
    assert get_data('fashion_mnist') == 'from the hub', 'no such folder'
    assert get_data('mnist', 'hub') == 'from the hub'


def test_drawn(drawings):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert get_data('mnist', 'drawn') is small() and get_data('digits') is small('digits') and get_data('clothes') is small('clothes')


def test_the_warning_is_shown_once():
    code = "import miniai.datasets as d\nd.drawn_dd = 'drawn {}'.format\nfor _ in range(3): print(d.get_data('mnist'))"
    env = {k: v for k,v in os.environ.items() if k != 'MINIAI_DATA'}
    res = subprocess.run([sys.executable, '-c', code], cwd=ROOT, env=dict(env, HF_HUB_OFFLINE='1', HF_HOME=os.devnull + '/none'), capture_output=True, text=True, timeout=120)
    assert res.stdout == 'drawn mnist\n'*3 and res.stderr.count('UserWarning: mnist: drawn by the machine') == 1, res.stderr


def test_a_data_set_in_the_librarys_cache(tmp_path, hub):
    "What `load_dataset` downloaded earlier is found without a network: the library's own cache, no stand-in"
    library = hf.load_dataset
    hub(None, 503)
    hf.load_dataset = library
    folder = write(tmp_path/'mnist', small())
    with md._no_bars(): hf.load_dataset(str(folder))
    (arrow,) = Path(hf.config.HF_DATASETS_CACHE).rglob('mnist-train.arrow')
    target = Path(hf.config.HF_DATASETS_CACHE)/'ylecun___mnist'/'mnist'/'0.0.0'
    target.mkdir(parents=True)
    info = (arrow.parent/'dataset_info.json').read_text().replace('"config_name": "default"', '"config_name": "mnist"')
    (arrow.parent/'dataset_info.json').write_text(info)
    arrow.parent.rename(target/'abc')
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        with md._no_bars(): dd = get_data('mnist')
    assert {k: len(v) for k,v in dd.items()} == dict(train=60, test=40)


@pytest.mark.long
@pytest.mark.parametrize('silent', [True, False])
def test_an_answer_within_five_seconds(silent):
    "With no network get_data waits 3 s at most, and works meanwhile. Work is counted in CPU time, for a busy machine is not our affair; `make bench` has the seconds"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        if silent: s.listen()  # a connection is made, and never a word said
        code = ("import time, warnings, miniai.datasets as d; warnings.simplefilter('ignore'); start = time.process_time();"
                "dd = d.get_data('fashion_mnist'); assert len(dd['train']) == 10_000; print(time.process_time()-start)")
        env = {k: v for k,v in os.environ.items() if k not in ('MINIAI_DATA', 'HF_HUB_OFFLINE')}
        env |= dict(HF_ENDPOINT=f'http://127.0.0.1:{s.getsockname()[1]}', HF_HOME=os.devnull + '/none')
        res = subprocess.run([sys.executable, '-c', code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert res.returncode == 0, res.stderr
    assert float(res.stdout) < 4.5 and md._PATIENCE <= 3


def test_importing_is_light():
    code = "import sys, miniai.datasets as d; assert not {'datasets', 'pyarrow', 'pandas', 'huggingface_hub'} & set(sys.modules); print(*d.__all__)"
    res = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert res.returncode == 0, res.stderr
    names = res.stdout.split()
    assert {'inplace', 'collate_dict', 'show_image', 'subplots', 'get_grid', 'show_images', 'DataLoaders', 'get_data', 'load_pickled'} <= set(names)
    assert 'download' not in names and callable(md.download)


# --- real data

@real
def test_real_fashion(monkeypatch):
    monkeypatch.setenv('MINIAI_DATA', REAL)
    dd = get_data('fashion_mnist')
    assert {k: len(v) for k,v in dd.items()} == dict(train=60_000, test=10_000) and dd['train']['label'][:5] == [9, 0, 0, 3, 0]
    assert [dd['train'].features['label'].int2str(i) for i in (1, 9)] == ['Trouser', 'Ankle boot']
    dls = DataLoaders.from_dd(dd, 64)
    xb,yb = next(iter(dls.train))
    assert xb.shape == (64, 1, 28, 28) and xb.dtype == torch.float32 and 0 <= xb.min() < xb.max() <= 1 and yb.shape == (64,) and yb.dtype == torch.int64
    ready = ReadyImages(dd['train'])
    mean,std = ready.stats()
    assert (round(mean.item(), 3), round(std.item(), 3)) == (0.286, 0.353) and len(dls.classes) == 10
    assert next(iter(dls.valid))[0].equal(torch.stack([image_tensor(o) for o in dd['test'][:128]['image']]))


@real
def test_real_mnist(monkeypatch, capsys):
    monkeypatch.setenv('MINIAI_DATA', REAL)
    dd = get_data('mnist')
    assert 'last 10,000 of the 60,000' in capsys.readouterr().out
    assert {k: len(v) for k,v in dd.items()} == dict(train=50_000, test=10_000) and dd['train']['label'][:5] == [5, 0, 4, 1, 9]
    from miniai.tools.drawn import load_digits
    x,y,xt,yt = load_digits(20, 20)
    assert x[7].numpy().tobytes() == dd['train'][7]['image'].tobytes() and xt[7].numpy().tobytes() == dd['test'][7]['image'].tobytes()
    assert yt.tolist() == dd['test']['label'][:20], 'load_digits and get_data share one way in'


# --- load_pickled

def pairs(kind='<f4', labels='<i8'):
    rng = np.random.default_rng(2)
    return tuple((rng.random((n, 6)).astype(kind), rng.integers(0, 10, n).astype(labels)) for n in (5, 3, 2))


def equal(a, b):
    for pair,want in zip(a, b, strict=True):
        for x,w in zip(pair, want, strict=True): assert type(x) is np.ndarray and x.dtype == w.dtype and x.shape == w.shape and (x == w).all() and x.flags.writeable
    return True


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('zipped', [True, False])
def test_pickles_of_each_protocol(protocol, zipped, tmp_path):
    path = tmp_path/'p'
    with (gzip.open if zipped else open)(path, 'wb') as f: pickle.dump(pairs(), f, protocol=protocol)
    assert equal(load_pickled(path), pairs()) and equal(load_pickled(str(path)), pairs())


@pytest.mark.parametrize('kind', ['<f4', '>f8', 'f2', 'u1', '>i2', '?', '<u8'])
def test_pickles_of_each_dtype(kind, tmp_path):
    for protocol in (0, 2, 5):
        (tmp_path/'p').write_bytes(pickle.dumps(pairs(kind), protocol))
        assert equal(load_pickled(tmp_path/'p'), pairs(kind))


def test_pickles_of_odd_layouts(tmp_path):
    x = np.arange(12.).reshape(3, 4)
    for a in (np.asfortranarray(x), x[::2], x.T, np.zeros((0, 4)), np.array(3.)):
        for protocol in (2, 5):
            (tmp_path/'p').write_bytes(pickle.dumps([[a, a]]*3, protocol))
            assert equal(load_pickled(tmp_path/'p'), [(a, a)]*3)


def python2(a):
    "The bytes that Python 2 wrote for an array: its numbers are text to Python 3"
    raw = a.tobytes()
    shape = b'(' + b''.join(b'J' + struct.pack('<i', n) for n in a.shape) + b't'
    dtype = b'cnumpy\ndtype\n(U\x02' + a.dtype.str[1:].encode() + b'K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
    return b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01' + shape + dtype + b'\x89T' + struct.pack('<i', len(raw)) + raw + b'tb'


def test_the_file_that_python_2_wrote(tmp_path):
    data = b'\x80\x02(' + b''.join(b'(' + python2(x) + python2(y) + b't' for x,y in pairs()) + b't.'
    assert equal(pickle.loads(data, encoding='latin1'), pairs()), 'the test writes a good file'
    with gzip.open(tmp_path/'mnist.pkl.gz', 'wb') as f: f.write(data)
    assert equal(load_pickled(tmp_path/'mnist.pkl.gz'), pairs())


class Calls:
    "Pickles as a call of `f`"
    def __init__(self, f, *args): self.f,self.args = f,args
    def __reduce__(self): return self.f,self.args


@pytest.mark.parametrize('make', [
    lambda mark: Calls(os.system, f'touch {mark}'), lambda mark: Calls(eval, f'open({str(mark)!r}, "w")'), lambda mark: Calls(exec, f'open({str(mark)!r}, "w")'),
    lambda mark: Calls(open, str(mark), 'w'), lambda mark: Calls(subprocess.check_call, ['touch', str(mark)]), lambda mark: Calls(np.save, str(mark), np.ones(1)),
    lambda mark: Calls(np.ndarray.tofile, np.ones(1), str(mark)), lambda mark: Calls(getattr, 'x', 'upper'), lambda mark: Calls(functools.partial, os.system, f'touch {mark}'),
    lambda mark: Calls(Path.touch, mark)],
    ids=['system', 'eval', 'exec', 'open', 'subprocess', 'np.save', 'tofile', 'getattr', 'partial', 'Path'])
@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_a_file_that_runs_code_is_refused(make, protocol, tmp_path):
    mark = tmp_path/'it ran'.replace(' ', '_')
    for place in range(2):
        content = list(pairs())
        content[1] = (make(mark), content[1][1]) if place else make(mark)
        with gzip.open(tmp_path/'p.gz', 'wb') as f: pickle.dump(tuple(content), f, protocol=protocol)
        with pytest.raises(ValueError, match='refused: it wants to use .* only arrays are admitted'): load_pickled(tmp_path/'p.gz')
    assert not mark.exists()


@pytest.mark.parametrize('content,text', [
    ([1, 2, 3], 'three pairs'), (pairs()[:2], 'three pairs'), ((*pairs(), pairs()[0]), 'three pairs'), ({}, 'three pairs'), ('abc', 'three pairs'),
    ((*pairs()[:2], ([1], [2])), 'holds list'), ((*pairs()[:2], (3, 'x')), 'holds int'), ((*pairs()[:2], (np.array(['a'], object), np.ones(1))), 'array of O8'),
    ((*pairs()[:2], (np.array(['a']), np.ones(1))), 'array of U1'), ((*pairs()[:2], (np.ones(1, 'f4,i4'), np.ones(1))), 'array of V8'),
    ((*pairs()[:2], (np.float32(3), np.ones(1))), 'multiarray.scalar'), ((*pairs()[:2], (torch.ones(1), torch.ones(1))), 'only arrays')])
def test_what_is_no_pair_of_arrays_is_refused(content, text, tmp_path):
    for protocol in (2, 5):
        (tmp_path/'p').write_bytes(pickle.dumps(content, protocol))
        with pytest.raises(ValueError, match=text): load_pickled(tmp_path/'p')


def test_files_that_are_no_pickles(tmp_path):
    good = gzip.compress(pickle.dumps(pairs()))
    wrong_sum = good[:-8] + bytes(4) + good[-4:]
    for data in (b'', b'hello', b'\x1f\x8b', good[:50], good[:-20], good[:10] + bytes(80), pickle.dumps(pairs())[:-30], wrong_sum, b'\x80\x04.', b'cos\n'):
        (tmp_path/'p').write_bytes(data)
        with pytest.raises(ValueError, match=str(tmp_path/'p')): load_pickled(tmp_path/'p')
    with pytest.raises(FileNotFoundError): load_pickled(tmp_path/'none')


def test_calls_of_what_is_admitted_do_no_harm(tmp_path):
    "The admitted names called with nonsense, and told to change their state"
    names = [b'cnumpy\nndarray\n', b'cnumpy\ndtype\n', b'cnumpy.core.multiarray\n_reconstruct\n', b'cnumpy.core.numeric\n_frombuffer\n', b'c_codecs\nencode\n']
    for name in names:
        for args in (b'(t', b'(K\x01t', b'(U\x01aU\x03rott', b'(U\x01aU\x01bU\x01cU\x01dt', b'(' + name + b't'):
            for end in (b'R.', b'R}b.', b'R(N}U\x01xK\x01stb.', b'}b.', b'0' + name + b'(N}U\x0c__defaults__K\x01stb.'):
                (tmp_path/'p').write_bytes(b'\x80\x02' + name + args + end)
                with pytest.raises(ValueError): load_pickled(tmp_path/'p')
    (tmp_path/'p').write_bytes(pickle.dumps(pairs()))
    assert equal(load_pickled(tmp_path/'p'), pairs())


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.sampled_from([0, 2, 4, 5]), st.integers(1, 4))
def test_garbled_files_are_an_error_or_arrays(tmp_path_factory, seed, protocol, n):
    rng,data = random.Random(seed),bytearray(pickle.dumps(pairs(), protocol))
    for _ in range(n): data[rng.randrange(len(data))] = rng.randrange(256)
    path = tmp_path_factory.getbasetemp()/'garbled'
    path.write_bytes(data)
    try: load_pickled(path)
    except ValueError as e: assert str(path) in str(e)


# --- download

BODY = bytes(random.Random(4).randbytes(300_000))
SHA = hashlib.sha256(BODY).hexdigest()


class Files(Quiet):
    "Serves BODY, as the path says; `seen` notes the ranges asked for"
    def do_GET(self):
        what,n = self.path.strip('/'),len(self.server.seen)
        wanted = self.headers.get('Range')
        self.server.seen.append(wanted)
        start = int(wanted[6:-1]) if wanted else 0
        getattr(self, what)(n, start)

    def head(self, status, length, *more):
        self.send_response(status)
        if length is not None: self.send_header('Content-Length', str(length))
        for k,v in more: self.send_header(k, v)
        self.send_header('Connection', 'close')
        self.end_headers()
        self.close_connection = True

    def part(self, start, stop=None, mark=('ETag', '"one"'), body=BODY):
        "From `start` to the end, but hang up at `stop`"
        if start and mark is None: start = 0
        self.head(206 if start else 200, len(body)-start, *([mark] if mark else []), *([('Content-Range', f'bytes {start}-{len(body)-1}/{len(body)}')] if start else []))
        self.wfile.write(body[start:stop])

    def good(self, n, start): self.part(start)
    def cut_off(self, n, start): self.part(start, 100_000*(n+1))
    def cut_off_modified(self, n, start): self.part(start, 100_000*(n+1), ('Last-Modified', 'Wed, 21 Oct 2015 07:28:00 GMT'))
    def cut_off_weak(self, n, start): self.part(start, 100_000*(n+2), ('ETag', 'W/"one"'))
    def cut_off_unmarked(self, n, start): self.part(start, 100_000*(n+1), None)
    def always_cut_off(self, n, start): self.part(0, 1000)
    def nothing(self, n, start): self.close_connection = True
    def gone(self, n, start): self.head(404, 0)
    def busy(self, n, start): self.head(503, 0) if n < 2 else self.part(start)
    def short(self, n, start):
        self.head(200, 10_000)
        self.wfile.write(BODY)
    def long(self, n, start):
        self.head(200, len(BODY)+5)
        self.wfile.write(BODY)
    def wrong(self, n, start): self.part(0, body=b'<html>Please log in</html>')
    def changed(self, n, start): self.part(0, 100_000, ('ETag', '"old"'), BODY[::-1]) if n == 0 else self.part(0, mark=('ETag', '"new"'))
    def wrong_part(self, n, start):
        if n == 0: return self.part(0, 100_000)
        if n == 1: return self.head(206, 10, ('Content-Range', f'bytes 7-16/{len(BODY)}'))
        self.part(0)
    def not_there(self, n, start): self.part(0, 100_000) if n == 0 else self.head(416, 0) if start else self.part(0)
    def stalls(self, n, start):
        if n: return self.part(start)
        self.head(200, len(BODY), ('ETag', '"one"'))
        self.wfile.write(BODY[:5000])
        self.wfile.flush()
        self.server.stop.wait(30)
    def silent(self, n, start): self.server.stop.wait(30)
    def unmeasured(self, n, start):
        self.head(200, None)
        self.wfile.write(BODY)
    def redirect(self, n, start): self.head(302, 0, ('Location', '/good'))


@pytest.fixture
def files(monkeypatch):
    "The server's address, and the ranges that it was asked for"
    monkeypatch.setattr(md.time, 'sleep', lambda s: None)  # no pauses between tries
    server = ThreadingHTTPServer(('127.0.0.1', 0), Files)
    server.daemon_threads,server.block_on_close,server.seen,server.stop = True,False,[],threading.Event()
    threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01), daemon=True).start()
    yield SimpleNamespace(url=f'http://127.0.0.1:{server.server_port}', seen=server.seen)
    server.stop.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize('what,ranges', [
    ('good', [None]), ('unmeasured', [None]), ('redirect', [None, None]), ('cut_off', [None, 'bytes=100000-', 'bytes=200000-']),
    ('cut_off_modified', [None, 'bytes=100000-', 'bytes=200000-']), ('cut_off_weak', [None, None]), ('cut_off_unmarked', [None, None, None]),
    ('busy', [None]*3), ('changed', [None, 'bytes=100000-']), ('wrong_part', [None, 'bytes=100000-', 'bytes=100000-']), ('not_there', [None, 'bytes=100000-', None])])
def test_downloads_arrive_whole(files, tmp_path, what, ranges):
    path = download(f'{files.url}/{what}', tmp_path/'deep'/'er'/'x.bin', SHA)
    assert path == tmp_path/'deep'/'er'/'x.bin' and path.read_bytes() == BODY and list(path.parent.iterdir()) == [path]
    assert files.seen == ranges


@pytest.mark.parametrize('what', ['stalls', 'silent'])
def test_a_server_that_stalls(files, tmp_path, what):
    start = time.monotonic()
    if what == 'stalls': assert download(f'{files.url}/stalls', tmp_path/'x', SHA, timeout=0.3).read_bytes() == BODY and files.seen == [None, 'bytes=5000-']
    else:
        with pytest.raises(OSError, match='silent: .*last of 2 tries'): download(f'{files.url}/silent', tmp_path/'x', timeout=0.3, tries=2)
        assert not list(tmp_path.iterdir()) and len(files.seen) == 2
    assert time.monotonic() - start < 20, 'the server would wait for 30 seconds'


@pytest.mark.parametrize('what,text,n', [('gone', '404', 1), ('always_cut_off', 'broke off after 1,000 of 300,000 bytes.*last of 3', 3), ('nothing', 'last of 3', 3), ('long', 'broke off after 300,000 of 300,005', 3)])
def test_downloads_that_fail_leave_nothing(files, tmp_path, what, text, n):
    with pytest.raises(OSError, match=text): download(f'{files.url}/{what}', tmp_path/'x', tries=3)
    assert not list(tmp_path.iterdir()) and len(files.seen) == n


@pytest.mark.parametrize('what', ['wrong', 'short'])
def test_another_file_than_expected(files, tmp_path, what):
    with pytest.raises(ValueError, match=f'not the expected file.*{SHA}'): download(f'{files.url}/{what}', tmp_path/'x', SHA)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there(files, tmp_path):
    path = tmp_path/'x'
    path.write_bytes(b'old')
    assert download(f'{files.url}/good', path).read_bytes() == b'old' and not files.seen, 'kept: nobody said what it should be'
    with pytest.raises(ValueError): download(f'{files.url}/wrong', path, SHA)
    assert path.read_bytes() == b'old', 'a failure does not cost the old file'
    assert download(f'{files.url}/good', str(path), SHA.upper()).read_bytes() == BODY
    n = len(files.seen)
    assert download(f'{files.url}/good', path, SHA).read_bytes() == BODY and len(files.seen) == n, 'right, so not fetched again'


def test_two_at_once(files, tmp_path):
    threads = [threading.Thread(target=download, args=(f'{files.url}/good', tmp_path/'x', SHA)) for _ in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert (tmp_path/'x').read_bytes() == BODY and len(list(tmp_path.iterdir())) == 1


def test_download_refuses():
    for url in ('file:///etc/passwd', 'ftp://x/y', '', None):
        with pytest.raises(ValueError, match='url must begin'): download(url, 'x')
    with pytest.raises(ValueError, match='64 hexadecimal'): download('http://x', 'x', 'abc')


def test_ctrl_c_leaves_nothing(files, tmp_path, monkeypatch):
    def interrupt(*args): raise KeyboardInterrupt
    monkeypatch.setattr(md.os, 'replace', interrupt)
    with pytest.raises(KeyboardInterrupt): download(f'{files.url}/good', tmp_path/'x')
    assert not list(tmp_path.iterdir())


@pytest.mark.long
@pytest.mark.parametrize('start', ['spawn', 'forkserver'])
def test_workers_that_start_afresh(start):
    ds = small()['train'].with_transform(negative)
    batches = list(DataLoader(ds, 16, collate_fn=collate_dict(ds), num_workers=1, multiprocessing_context=start))
    assert len(batches) == 4 and batches[0][0].equal(torch.stack([ds[i]['image'] for i in range(16)]))
