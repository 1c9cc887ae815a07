"The drawn data: the same bytes every time, as hard as they should be, and a clear word for every bad input"
import functools, hashlib, io, os, random, subprocess, sys
from pathlib import Path
import numpy as np, pytest, torch, torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from PIL import Image
from torch import nn
from miniai.tools import clothes, drawn
from miniai.tools.clothes import CLOTHES, draw_clothes
from miniai.tools.drawn import DIGITS, draw_digits, drawn_dd, load_digits

ROOT = Path(__file__).parents[1]
DRAW = dict(digits=draw_digits, clothes=draw_clothes)
both = pytest.mark.parametrize('kind', list(DRAW))
quick = settings(deadline=None, max_examples=15)


def digest(*tensors): return hashlib.sha256(b''.join(t.numpy().tobytes() for t in tensors)).hexdigest()


def python(code, **env):
    "The output of `code` in a fresh interpreter"
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, env={**os.environ, **env},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@functools.cache
def elsewhere(threads):
    "Digests of what another process draws"
    code = """import hashlib
from miniai.tools.clothes import draw_clothes
from miniai.tools.drawn import draw_digits
def digest(draw): return hashlib.sha256(b"".join(t.numpy().tobytes() for t in draw(300, 5))).hexdigest()
print(digest(draw_digits), digest(draw_clothes))"""
    return dict(zip(DRAW, python(code, OMP_NUM_THREADS=threads).split()))


# what is drawn

@both
@quick
@given(n=st.integers(1, 150), seed=st.integers(-2**63, 2**64-1))
def test_shapes(kind, n, seed):
    x,y = DRAW[kind](n, seed)
    assert x.shape == (n,28,28) and x.dtype == torch.uint8
    assert y.shape == (n,) and y.dtype == torch.int64
    counts = y.bincount(minlength=10)
    assert len(counts) == 10 and counts.max()-counts.min() <= 1
    ink = (x > 40).flatten(1).sum(1)
    assert (ink > 5).all() and (ink < 650).all()  # something on every sheet, and never a full one


@both
def test_in_the_frame(kind):
    "Things lie in the picture: hardly any ink on its edge"
    x,_ = DRAW[kind](1000)
    edge = torch.cat([x[:,0], x[:,-1], x[:,:,0], x[:,:,-1]], 1)
    assert (edge > 100).float().mean() < 0.03
    assert (x[:,9:19,9:19] > 40).flatten(1).any(1).float().mean() > 0.99


@both
def test_no_two_alike(kind):
    x,_ = DRAW[kind](2000)
    assert len(x.flatten(1).unique(dim=0)) == 2000
    assert not {o.numpy().tobytes() for o in x} & {o.numpy().tobytes() for o in DRAW[kind](500, seed=43)[0]}


@both
def test_same_bytes(kind):
    "In this process, with another number of threads, with other defaults, and in other processes"
    want = digest(*DRAW[kind](300, 5))
    threads,dtype = torch.get_num_threads(),torch.get_default_dtype()
    try:
        for n in (1, 2, 3, 7):
            torch.set_num_threads(n)
            assert digest(*DRAW[kind](300, 5)) == want
            assert torch.get_num_threads() == n
        torch.set_default_dtype(torch.float64)
        drawn.segments.cache_clear(); clothes._part.cache_clear()
        assert digest(*DRAW[kind](300, 5)) == want
    finally:
        torch.set_num_threads(threads); torch.set_default_dtype(dtype)
        drawn.segments.cache_clear(); clothes._part.cache_clear()
    for n in '14': assert elsewhere(n)[kind] == want


@both
def test_global_state_untouched(kind):
    torch.manual_seed(3); np.random.seed(3); random.seed(3)
    want = torch.rand(4).tolist(),np.random.rand(),random.random()
    torch.manual_seed(3); np.random.seed(3); random.seed(3)
    DRAW[kind](20)
    assert (torch.rand(4).tolist(),np.random.rand(),random.random()) == want


def test_threads_come_back_after_an_error(monkeypatch):
    def broken(style, dice): raise RuntimeError('out of ink')
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with pytest.raises(RuntimeError, match='out of ink'): drawn.draw_table(DIGITS, broken, 5, 0)
        assert torch.get_num_threads() == 3
    finally: torch.set_num_threads(threads)


def test_reader_adds_a_class(monkeypatch):
    monkeypatch.setitem(DIGITS, 'plus', ['14,6 14,22 + 6,14 22,14'])
    x,y = draw_digits(55)
    assert y.bincount().tolist() == [5]*11
    assert drawn_dd('digits', 11, 11)['train'].features['label'].names[-1] == 'plus'


@pytest.mark.parametrize('f', [draw_digits, draw_clothes])
@pytest.mark.parametrize('n,seed,error,text', [
    (0, 1, ValueError, 'n must be 1 or more, got 0'), (-3, 1, ValueError, 'n must be 1 or more, got -3'),
    (2.0, 1, TypeError, "'float' object"), ('9', 1, TypeError, "'str' object"),
    (None, 1, TypeError, "'NoneType' object"), (2, 1.5, TypeError, "'float' object"),
    (2, None, TypeError, "'NoneType' object"), (2, 2**70, (RuntimeError, ValueError), 'Overflow')])
def test_bad_arguments(f, n, seed, error, text):
    with pytest.raises(error, match=text): f(n, seed)


def test_whole_numbers_of_any_kind():
    want = digest(*draw_digits(12, 4))
    assert digest(*draw_digits(np.int64(12), np.int32(4))) == want
    assert digest(*draw_digits(torch.tensor(12), 4)) == want


# how it is drawn

coordinate = st.floats(-5, 33, width=32)


@quick
@given(st.lists(st.tuples(*[coordinate]*4), min_size=1, max_size=6))
def test_distance(segments):
    "The same as a plain loop over pixels and segments, in double precision"
    ends = torch.tensor(segments)
    x,y = ends[:,[0,2]][None],ends[:,[1,3]][None]
    got = drawn._distance(x.repeat(2, 1, 1), y.repeat(2, 1, 1))
    assert got.shape == (2,28,28) and got[0].equal(got[1])
    want = np.full((28,28), np.inf)
    for ax,ay,bx,by in ends.double().tolist():
        for row in range(28):
            for column in range(28):
                px,py,dx,dy = column+0.5-ax,row+0.5-ay,bx-ax,by-ay
                t = min(max((px*dx+py*dy)/max(dx*dx+dy*dy, 1e-6), 0), 1)
                want[row,column] = min(want[row,column], np.hypot(px-t*dx, py-t*dy))
    np.testing.assert_allclose(got[0].numpy(), want, atol=2e-3)


def test_curves_pass_through_their_points():
    for styles in DIGITS.values():
        for style in styles:
            x,y,stroke = drawn.segments(style)
            points = torch.cat([drawn._read_points(part.replace('z', ''))[0] for part in style.split('+')])
            ends = torch.stack([x, y], -1).flatten(0, 1)
            assert torch.cdist(points, ends).min(1).values.max() < 1e-4, style
            assert (ends >= 0).all() and (ends <= 28).all() and len(stroke) == len(x)


# as a data set

@pytest.mark.parametrize('name,kind',
                         [('digits', 'digits'), ('mnist', 'digits'), ('clothes', 'clothes'),
                          ('fashion_mnist', 'clothes')])
def test_drawn_dd(name, kind):
    import datasets
    dd = drawn_dd(name, 60, 20, seed=3)
    assert isinstance(dd, datasets.DatasetDict) and list(dd) == ['train', 'test']
    assert [len(o) for o in dd.values()] == [60, 20]
    x,y = DRAW[kind](60, 3)
    assert dd['train']['label'][:] == y.tolist()
    assert all(np.array_equal(np.array(dd['train'][i]['image']), x[i].numpy()) for i in range(60))
    for split in dd.values():
        assert isinstance(split.features['image'], datasets.Image)
        assert split.features['label'].names == list(DIGITS if kind == 'digits' else CLOTHES)
    seen = {row['bytes'] for row in dd['train'].cast_column('image', datasets.Image(decode=False))['image']}
    assert not seen & {row['bytes']
                       for row in dd['test'].cast_column('image', datasets.Image(decode=False))['image']}


def test_largest_seed(): assert len(drawn_dd('digits', 3, 2, seed=2**64-1)['test']) == 2


def test_class_names():
    assert list(DIGITS) == list('0123456789')


@pytest.mark.parametrize('args,error,text', [
    (('cifar10',), ValueError, "name must be one of digits, mnist, clothes, fashion_mnist; got 'cifar10'"),
    ((None,), ValueError, 'got None'),
    (('digits', 0), ValueError, 'n_train must be 1 or more, got 0'),
    (('digits', 5, -1), ValueError, 'n_test must be 1 or more, got -1'),
    (('digits', '5'), TypeError, "'str' object"), (('digits', 5, 5, 'x'), TypeError, "'str' object")])
def test_drawn_dd_bad_arguments(args, error, text):
    with pytest.raises(error, match=text): drawn_dd(*args)


def test_import_is_light():
    loaded = python("import sys, miniai.tools.drawn; print(*sys.modules)").split()
    assert not {'datasets', 'matplotlib', 'PIL', 'pyarrow', 'pandas'} & set(loaded)


def test_star_import():
    assert set(drawn.__all__) == {'DIGITS', 'draw_digits', 'drawn_dd', 'load_digits'}


# from files

@functools.cache
def table(kind, n, seed):
    dd = drawn_dd(kind, n, 1, seed=seed)
    return dd['train'].data.table


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    "A folder as on the hub, with 50 rows of train and 20 of test, that MINIAI_DATA points to"
    import pyarrow.parquet as pq
    folder = tmp_path/'mnist'/'data'
    folder.mkdir(parents=True)
    pq.write_table(table('digits', 50, 1), folder/'train-00000-of-00001.parquet')
    pq.write_table(table('digits', 20, 2), folder/'test-00000-of-00001.parquet')
    monkeypatch.setenv('MINIAI_DATA', str(tmp_path))
    return folder


def listing(folder): return sorted((p.as_posix(), p.stat().st_size) for p in folder.rglob('*'))


@pytest.mark.parametrize('value', [None, ''])
def test_load_drawn(monkeypatch, capsys, value):
    monkeypatch.delenv('MINIAI_DATA', raising=False)
    if value is not None: monkeypatch.setenv('MINIAI_DATA', value)
    x_train,y_train,x_test,y_test = load_digits(30, 20)
    assert digest(x_train, y_train) == digest(*draw_digits(30))
    assert digest(x_test) != digest(*draw_digits(20)[:1])
    assert [o.shape for o in (x_test, y_test)] == [(20,28,28), (20,)]
    assert np.array_equal(np.array(drawn_dd('mnist', 30, 20)['test'][7]['image']), x_test[7].numpy())
    out = capsys.readouterr().out
    assert out.count('\n') == 1 and 'drawn' in out


def test_load_local(mnist, capsys):
    x_train,y_train,x_test,y_test = load_digits(30, 20)
    x,y = draw_digits(50, 1)
    assert x_train.equal(x[:30]) and y_train.equal(y[:30]) and y_train.dtype == torch.int64
    x,y = draw_digits(20, 2)
    assert x_test.equal(x) and y_test.equal(y)
    out = capsys.readouterr().out
    assert out.count('\n') == 1 and str(mnist.parent) in out


def test_several_files(mnist):
    "A split in three files, the second of them empty"
    import pyarrow.parquet as pq
    whole = pq.read_table(mnist/'train-00000-of-00001.parquet')
    (mnist/'train-00000-of-00001.parquet').unlink()
    for i,part in enumerate((whole.slice(0, 20), whole.slice(0, 0), whole.slice(20))):
        pq.write_table(part, mnist/f'train-0000{i}-of-00003.parquet')
    assert load_digits(35, 5)[0].equal(draw_digits(50, 1)[0][:35])


def test_held_back_rows(mnist, monkeypatch):
    "Without a test split the last rows of train are the test images, and are not trained on"
    (mnist/'test-00000-of-00001.parquet').unlink()
    monkeypatch.setattr(drawn, 'HELD_BACK', 10)
    x,y = draw_digits(50, 1)
    x_train,_,x_test,y_test = load_digits(40, 6)
    assert x_train.equal(x[:40]) and x_test.equal(x[40:46]) and y_test.equal(y[40:46])
    for sizes,text in (((41, 5), 'n_train is 41, but .* no more than 40'),
                       ((40, 11), 'n_test is 11, but .* no more than 10')):
        with pytest.raises(ValueError, match=text): load_digits(*sizes)


def rewrite(path, **columns):
    "Write the table at `path` again with other columns"
    import pyarrow as pa, pyarrow.parquet as pq
    rows = pq.read_table(path)
    names = [o for o in {**dict.fromkeys(rows.column_names), **columns} if columns.get(o, 0) is not None]
    pq.write_table(pa.table({o: columns.get(o, rows[o]) for o in names}), path)


def png(width, height, mode='L', kind='png'):
    file = io.BytesIO()
    Image.new(mode, (width,height)).save(file, kind)
    return file.getvalue()


def cut(keep): return lambda path: path.write_bytes(path.read_bytes()[:keep])


def flip(path):
    data = bytearray(path.read_bytes())
    for i in range(0, len(data), 7): data[i] ^= 0x5a
    path.write_bytes(data)


GOOD = png(28, 28)


def picture(data): return dict(bytes=data, path='')

DAMAGE = {
    'cut off': (cut(-30), 'is damaged'), 'cut to its start': (cut(500), 'is damaged'),
    'empty': (cut(0), 'is damaged'), 'scrambled': (flip, 'damaged'),
    'something else': (lambda path: path.write_text('404 not found'), 'is damaged'),
    'no label': (lambda path: rewrite(path, label=None), "no column 'label', only image"),
    'no image': (lambda path: rewrite(path, image=None), "no column 'image', only label"),
    'broken picture': (lambda path: rewrite(path, image=[picture(GOOD)]*3 + [picture(GOOD[:40])]*47),
                       'row 3: the image is damaged'),
    'more than 8 bits': (lambda path: rewrite(path, image=[picture(png(28, 28, 'I;16'))]*50),
                         r'row 0: the image has more than 8 bits \(I;16'),
    'EPS, a program': (lambda path: rewrite(path, image=[picture(png(28, 28, kind='EPS'))]*50),
                       'row 0: the image is damaged'),
    'a local file': (lambda path: rewrite(path, image=[dict(bytes=None, path=str(path))]*50),
                     'row 0: the image is damaged'),
    'gigantic': (lambda path: rewrite(path, image=[picture(png(9000, 9000, '1'))]*50), '9000×9000 pixels'),
    'no picture': (lambda path: rewrite(path, image=[dict(bytes=b'', path='')]*50),
                   'row 0: the image is damaged'),
    'only a path': (lambda path: rewrite(path, image=[dict(bytes=None, path='a.png')]*50),
                    'row 0: the image is damaged'),
    'null picture': (lambda path: rewrite(path, image=[None]*50), 'row 0: the image is damaged'),
    'another size': (lambda path: rewrite(path, image=[dict(bytes=png(32, 30), path='')]*50),
                     '32×30 pixels, not 28×28'),
    'label too large': (lambda path: rewrite(path, label=[0, 1, 12]+[0]*47), 'row 2: the label is 12'),
    'no label in a row': (lambda path: rewrite(path, label=[0, None]+[0]*48), 'row 1: the label is None'),
    'labels in words': (lambda path: rewrite(path, label=['one']*50), "row 0: the label is 'one'"),
}


@pytest.mark.parametrize('what', DAMAGE)
def test_damaged_file(mnist, what):
    "The error names the file, and nothing is left behind"
    damage,text = DAMAGE[what]
    path = mnist/'train-00000-of-00001.parquet'
    damage(path)
    before = listing(mnist.parents[1])
    with pytest.raises(ValueError, match=text) as e: load_digits(30, 10)
    assert str(path) in str(e.value)
    assert listing(mnist.parents[1]) == before


def test_not_where_it_should_be(mnist, monkeypatch):
    root = mnist.parents[1]
    (mnist/'train-00000-of-00001.parquet').rename(mnist/'train-00000-of-00002.parquet')
    with pytest.raises(FileNotFoundError, match="split 'train' should be 2 parquet files, but .*mnist has 1"):
        load_digits(5, 5)
    (mnist/'train-00000-of-00002.parquet').unlink()
    with pytest.raises(FileNotFoundError, match='mnist has no split train, only test'): load_digits(5, 5)
    (mnist/'test-00000-of-00001.parquet').unlink()
    with pytest.raises(FileNotFoundError, match='no parquet file in .*mnist'): load_digits(5, 5)
    mnist.rmdir(); mnist.parent.rmdir()
    with pytest.raises(FileNotFoundError, match='no folder .*mnist.*unset MINIAI_DATA'): load_digits(5, 5)
    for wrong in (root/'nowhere', __file__):
        monkeypatch.setenv('MINIAI_DATA', str(wrong))
        with pytest.raises(NotADirectoryError, match='MINIAI_DATA is .*which is not a folder'):
            load_digits(5, 5)


@pytest.mark.parametrize('sizes,error,text',
                         [((0, 5), ValueError, 'n_train must be 1 or more, got 0'),
                          ((5, -2), ValueError, 'n_test must be 1 or more, got -2'),
                                              ((5, 2.5), TypeError, "'float' object"),
                                              ((51, 5), ValueError, 'n_train is 51')])
def test_load_bad_sizes(mnist, sizes, error, text):
    with pytest.raises(error, match=text): load_digits(*sizes)


@pytest.mark.skipif(not os.environ.get('MINIAI_DATA'), reason='MINIAI_DATA is not set')
def test_real_mnist():
    x_train,y_train,x_test,y_test = load_digits(2000, 1000)
    assert y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert x_train.shape == (2000,28,28) and x_test.shape == (1000,28,28)
    assert 25 < x_train.float().mean() < 45 and y_train.bincount().min() > 100
    accuracy = linear_accuracy((x_train, y_train), (x_test, y_test))
    assert 0.8 < accuracy < 0.95
    with pytest.raises(ValueError, match='n_train is 70,000'): load_digits(70_000, 10)


# how hard it is

@functools.cache
def images(kind, seed): return DRAW[kind](10_000, seed),DRAW[kind](2_000, seed+1000)


def linear_accuracy(train, test, epochs=10):
    (x,y),(x_test,y_test) = train,test
    x,x_test,model = x.flatten(1)/255,x_test.flatten(1)/255,nn.Linear(784, 10)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(200):
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            opt.step(); opt.zero_grad()
    return (model(x_test).argmax(1) == y_test).float().mean().item()


def block(n_in, n_out):
    return nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False),nn.BatchNorm2d(n_out),nn.ReLU()


def cnn_accuracy(train, test, epochs=3):
    (x,y),(x_test,y_test) = train,test
    x,x_test = x[:,None]/255,x_test[:,None]/255
    model = nn.Sequential(*block(1, 16), *block(16, 32), *block(32, 64), *block(64, 64), nn.Flatten(),
                          nn.Linear(64*4, 10))
    opt = torch.optim.AdamW(model.parameters())
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 0.01, total_steps=epochs*100)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(100):
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            opt.step(); opt.zero_grad(); sched.step()
    model.eval()
    with torch.no_grad(): return (model(x_test).argmax(1) == y_test).float().mean().item()


@both
@pytest.mark.parametrize('seed', range(5))
def test_linear_model(kind, seed): assert 0.85 < linear_accuracy(*images(kind, seed)) < 0.94


@both
def test_cnn(kind): assert cnn_accuracy(*images(kind, 0)) > 0.98


@pytest.mark.long
@both
@pytest.mark.parametrize('seed', range(1, 5))
def test_cnn_more_seeds(kind, seed): assert cnn_accuracy(*images(kind, seed)) > 0.98
