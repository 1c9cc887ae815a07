"`make records`: its entries, a run of each kind on little data, and what becomes of the results"
import json
from dataclasses import replace
from functools import cache, partial
import pytest, torch
from torch import nn
from miniai.init import BatchTransformCB
from miniai.resnet import ResBlock
from miniai.tools.clothes import draw_clothes
from miniai.tools.drawn import drawn_dd
from miniai.training import Dataset
from tests import readme, records
from tests.records import RECORDS, Entry

by_name = pytest.mark.parametrize('name', RECORDS)


@pytest.fixture(autouse=True)
def settings():
    "What a run sets is put back"
    n,state = torch.get_num_threads(),torch.get_rng_state()
    yield
    torch.set_num_threads(n)
    torch.set_rng_state(state)


@pytest.fixture
def little(monkeypatch):
    "Eighty drawings in place of all data sets"
    def load(data):
        x,y = draw_clothes(80)
        return [Dataset((x.float()/255)[:,None], y)]*2
    monkeypatch.setattr(records, 'load', load)


@pytest.fixture
def house(monkeypatch, tmp_path):
    "A README and a file of records of our own"
    readme_here = tmp_path/'README.md'
    readme_here.write_text(readme.README.read_text(encoding='utf-8'), encoding='utf-8')
    monkeypatch.setattr(readme, 'README', readme_here)
    monkeypatch.setattr(readme, 'RECORDS', tmp_path/'records.json')
    return tmp_path


def small(bar=0., **kwargs): return Entry('linear', 'digits', linear, bar, epochs=1, **kwargs)
def linear(): return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
def written(): return json.loads(readme.RECORDS.read_text(encoding='utf-8'))


# ---- entries -----------------------------------------------------------------------------------------------

@by_name
def test_an_entry_is_well_formed(name):
    e = RECORDS[name]
    assert e.data in (*records.DRAWN, 'mnist', 'fashion_mnist') and e.data.split('_')[0] == name.split('_')[0]
    assert 0.9 <= e.bar < 1 and e.seeds >= 3 and e.epochs >= 1
    assert e.model()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_the_fashion_record_is_the_one_that_was_asked_for():
    e = RECORDS['fashion_resnet']
    assert (e.data, e.epochs, e.seeds, e.limit) == ('fashion_mnist', 5, 3, 1500) and e.bar >= 0.934


def test_data_side_by_side(): assert len({e.data for e in RECORDS.values()}) == \
    1 + sum(a.data != b.data for a,b in zip([*RECORDS.values()], [*RECORDS.values()][1:]))


def test_real_data_is_missed_in_words(monkeypatch, tmp_path):
    monkeypatch.delenv('MINIAI_DATA', raising=False)
    assert 'MINIAI_DATA is not set' in records.missing('mnist') and not records.missing('digits')
    monkeypatch.setenv('MINIAI_DATA', str(tmp_path))
    assert str(tmp_path/'mnist') in records.missing('mnist')
    (tmp_path/'mnist').mkdir()
    assert not records.missing('mnist')


def test_the_cnn_is_that_of_make_train():
    "By its text, for running the example would train it"
    text = (readme.ROOT/'examples/train.py').read_text(encoding='utf-8')
    shapes = {k: tuple(v.shape) for k,v in records.cnn().state_dict().items() if v.dim() > 1}
    assert list(shapes.values()) == [(16, 1, 3, 3), (32, 16, 3, 3), (64, 32, 3, 3), (10, 1024)]
    for words in ('*conv(1, 16), *conv(16, 32), *conv(32, 64)', 'nn.Dropout(0.2)', 'nn.Linear(64*4*4, 10)',
                  'get_dls(train, test, 64)', 'lr=0.01, opt_func=AdamW', "'--epochs', type=int, default=5"):
        assert words in text
    e = RECORDS['fashion_cnn']
    assert (e.bs, e.lr, e.epochs, e.opt_func.__name__) == (64, 0.01, 5, 'AdamW')


def test_blocks_of_the_resnet_begin_as_their_shortcuts():
    torch.manual_seed(0)
    model,x = records.resnet((4, 8, 16)),torch.randn(2, 4, 28, 28)
    blocks = [m for m in model if isinstance(m, ResBlock)]
    assert len(blocks) == 2
    torch.testing.assert_close(blocks[0](x), blocks[0].act(blocks[0].idconv(blocks[0].pool(x))))


def test_flips_train_pictures_only_and_mirrors_half():
    cb, = [cb for cb in records.resnet_cbs() if isinstance(cb, BatchTransformCB)]
    assert cb.on_train and not cb.on_val
    torch.manual_seed(0)
    x,y = torch.arange(3.).expand(1000, 1, 2, 3),torch.arange(1000)
    flipped,labels = cb.tfm((x, y))
    mirrored = (flipped == x.flip(-1)).all(-1).all(-1).all(-1)
    assert labels is y and 400 < mirrored.sum() < 600 and torch.equal(flipped[~mirrored], x[~mirrored])


def test_data_is_on_one_scale(monkeypatch):
    asked = []
    def get_data(*args, **kwargs):
        asked.append((args, kwargs))
        return drawn_dd('digits', 300, 200)
    monkeypatch.setattr(records, 'get_data', get_data)
    for data,source in dict(digits='drawn', mnist='local').items():
        train,test = records.load.__wrapped__(data)
        assert asked.pop() == ((data,), dict(source=source))
    assert (len(train), len(test)) == (300, 200) and train.x.shape[1:] == (1, 28, 28)
    torch.testing.assert_close(torch.stack([train.x.mean(), train.x.std()]), torch.tensor([0., 1.]),
                               atol=1e-3, rtol=0)
    assert abs(test.x.mean()) < 0.1 and abs(test.x.std() - 1) < 0.1 and test.x.min() == train.x.min()


# ---- a run -------------------------------------------------------------------------------------------------

@by_name
def test_an_entry_trains(little, name):
    "The ResNet narrower than it is"
    e = replace(RECORDS[name], epochs=1)
    if name == 'fashion_resnet': e = replace(e, model=partial(records.resnet, (4, 8, 16)), bs=20)
    learn = records.trained(e, 3)
    row = learn.history[-1]
    assert row['train'] == 'eval' and 0 <= row['accuracy'] <= 1 and learn.preds.dtype == torch.float32
    again = records.trained(e, 3)
    assert again.history[-1]['accuracy'] == row['accuracy'] and again.history[-1]['loss'] == row['loss']


def test_what_is_measured(little):
    made = []
    def model():
        made.append(torch.initial_seed())
        return linear()
    record = records.measure('mine', replace(small(0.5), model=model), 3)
    found = [run['accuracy'] for run in record['runs']]
    assert made == [0, 1, 2] and record['accuracy'] == pytest.approx(sum(found)/3, abs=1e-5)
    assert record['spread'] == pytest.approx(max(found) - min(found), abs=1e-5)
    assert record['cpu'] > 0 and record['seconds'] > 0
    want = dict(network='linear', data='digits', epochs=1, bar=0.5, limit=None)
    assert {k: record[k] for k in want} == want


@pytest.mark.parametrize('entry,missed', [(small(0.), False), (small(1.1), True),
                                          (small(0., limit=1e9), False), (small(0., limit=-1.), True)])
def test_a_bar_or_a_limit_is_missed(little, entry, missed):
    assert records.measure('mine', entry, 1)['missed'] is missed


# ---- the command -------------------------------------------------------------------------------------------

@pytest.fixture
def entries(monkeypatch, little, house):
    "Three small entries: one passes, one misses its bar, one has no data"
    monkeypatch.setattr(readme, 'lessons', cache(readme.lessons))  # each takes seconds to read
    monkeypatch.delenv('MINIAI_DATA', raising=False)
    own = dict(good=small(seeds=2), bad=small(1.1, seeds=2), real=replace(small(), data='mnist'))
    monkeypatch.setattr(records, 'RECORDS', own)


def test_all_entries(entries, capsys):
    assert records.main([]) == 1
    out,kept = capsys.readouterr().out,written()
    assert 'real: skipped, mnist is real data, and MINIAI_DATA is not set' in out and 'missed: bad' in out
    assert [*kept] == ['good', 'bad'] and (kept['good']['missed'], kept['bad']['missed']) == (False, True)
    for words in ('mean', 'spread', 'seconds', 'CPU-seconds'): assert words in out
    for record in kept.values():
        assert len(record['date']) == 10 and record['commit'] and 'cores' in record['machine']
    assert readme.README.read_text(encoding='utf-8') == readme.updated()


def test_some_entries_take_their_place_among_the_others(entries):
    assert records.main(['bad']) == 1
    bad = written()['bad']
    assert records.main(['good']) == 0
    assert [*written()] == ['good', 'bad'] and written()['bad'] == bad
    records.keep('good', {**written()['good'], 'accuracy': 0.123})
    assert records.main(['good']) == 0 and written()['good']['accuracy'] != 0.123
    assert records.main(['real']) == 0 and [*written()] == ['good', 'bad']


def test_seeds_more_are_kept_and_fewer_are_not(entries, capsys):
    assert records.main(['good', '--seeds', '1']) == 0
    assert not readme.RECORDS.exists() and 'good: not written, 1 of 2 seeds' in capsys.readouterr().out
    assert records.main(['bad', '--seeds', '1']) == 1
    assert records.main(['good', '--seeds', '3']) == 0 and len(written()['good']['runs']) == 3


@pytest.mark.parametrize('args,words', [(['goood'], 'no entry goood; there are good, bad, real'),
                                        (['good', '--seeds', '0'], 'seeds must be 1 or more, got 0')])
def test_wrong_arguments(entries, capsys, args, words):
    with pytest.raises(SystemExit) as e: records.main(args)
    assert e.value.code == 2 and words in capsys.readouterr().err


# ---- README ------------------------------------------------------------------------------------------------

def test_the_table_says_what_the_file_says(house):
    run = dict(seconds=9., cpu=1234.5)
    runs = [dict(accuracy=0.9341, **run), dict(accuracy=0.936, **run)]
    record = dict(network='wide', data='fashion_mnist', epochs=5, bar=0.934, limit=1500, accuracy=0.9351,
                  seconds=9., cpu=1234.5, spread=0.0019, missed=False, runs=runs, date='2026-11-21',
                  commit='abc', machine='a fast one')
    other = {**record, 'limit': None, 'missed': True, 'bar': 0.99, 'cpu': 7.3}
    assert readme.records().count('\n') < 5 and 'Measured' not in readme.records()
    readme.RECORDS.write_text(json.dumps(dict(a=record, b=other)))
    rows = readme.records().splitlines()
    start = '| fashion_mnist | wide | 5 | 93.51% (93.41% to 93.60%) |'
    assert f'| a {start} 93.4% | 1,234 (at most 1,500) | 2026-11-21 |' in rows
    assert f'| b {start} 99%, missed | 7 | 2026-11-21 |' in rows
    assert rows[-1] == 'Measured on a fast one: all.'
    assert len({row.count('|') for row in rows if row}) == 2  # the table's, and none in the line below
    readme.RECORDS.write_text(json.dumps(dict(a=record, b={**other, 'machine': 'a slow one'})))
    notes = ['Measured on a fast one: a.', '', 'Measured on a slow one: b.']
    assert readme.records().splitlines()[-3:] == notes
    readme.write()
    text = readme.README.read_text(encoding='utf-8')
    assert readme.records() in text and readme.lessons() in text


def test_the_records_are_of_the_entries_as_they_are():
    "Whoever changes an entry runs it"
    for name,record in json.loads(readme.RECORDS.read_text(encoding='utf-8')).items():
        entry = RECORDS[name]
        wanted = {key: getattr(entry, key) for key in ('network', 'data', 'epochs', 'bar', 'limit')}
        assert {key: record[key] for key in wanted} == wanted, f'make records ONLY={name}'
        assert len(record['runs']) >= entry.seeds and set(record) > {'date', 'commit', 'machine', 'missed'}
