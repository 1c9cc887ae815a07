"How well the library learns: each bound is met by each of five seeds, on drawn and on real pictures"
import os
import pytest, torch
from tests.records import DRAWN, RECORDS, trained

BOUNDS = dict(mnist_mlp=0.975, mnist_cnn=0.985, fashion_cnn=0.88, digits_cnn=0.97, clothes_cnn=0.97)


def bounds(*names):
    "Names as parameters; those of real data are skipped where there is none"
    absent = pytest.mark.skipif('MINIAI_DATA' not in os.environ, reason='needs MINIAI_DATA')
    params = [pytest.param(n, marks=() if RECORDS[n].data in DRAWN else absent) for n in names]
    return pytest.mark.parametrize('name', params)


def accuracy(name, seed): return trained(RECORDS[name], seed).history[-1]['accuracy']


@bounds('mnist_mlp', 'digits_cnn')
def test_learns_well(name): assert accuracy(name, torch.seed() % 2**31) > BOUNDS[name]


@pytest.mark.long
@pytest.mark.parametrize('seed', range(5))
@bounds(*BOUNDS)
def test_learns_well_from_each_seed(name, seed): assert accuracy(name, seed) > BOUNDS[name]
