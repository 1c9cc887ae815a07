"Files: written whole or not at all, downloaded and verified, read without running what is in them"
import pytest
from miniai.tools.drawn import draw_digits, drawn_dd
from miniai.tools.files import local_folder, parquet_files, read_parquet


def test_local_folder(tmp_path, monkeypatch):
    monkeypatch.setenv('MINIAI_DATA', str(tmp_path))
    assert local_folder('mnist') == tmp_path/'mnist' and local_folder('someone/something') == tmp_path/'someone'/'something'
    monkeypatch.delenv('MINIAI_DATA')
    assert local_folder('mnist') is None


def test_parquet_files(tmp_path):
    "The ways in which the hub lays files out; hidden ones and other kinds are no data"
    for name in ('data/train-00001-of-00002.parquet', 'data/train-00000-of-00002.parquet', 'data/validation-00000-of-00001.parquet', 'test.parquet',
                 'extra/0001.parquet', 'extra/0000.parquet', 'data/._train-00000-of-00002.parquet', '.cache/train.parquet', 'README.md'):
        (tmp_path/name).parent.mkdir(exist_ok=True)
        (tmp_path/name).touch()
    found = {split: [p.relative_to(tmp_path).as_posix() for p in files] for split,files in parquet_files(tmp_path).items()}
    assert found == dict(train=['data/train-00000-of-00002.parquet', 'data/train-00001-of-00002.parquet'], validation=['data/validation-00000-of-00001.parquet'],
                         test=['test.parquet'], extra=['extra/0000.parquet', 'extra/0001.parquet'])


def test_read_parquet(tmp_path):
    path = tmp_path/'train.parquet'
    drawn_dd('digits', 50, 1, seed=1)['train'].to_parquet(path)
    assert read_parquet(path).column_names == ['image', 'label']
    assert read_parquet(path, ['label'])['label'].to_pylist() == draw_digits(50, 1)[1].tolist()
