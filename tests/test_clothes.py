"The drawn clothes: outlines filled to the right area, mirrored halves that fit; see test_drawn too"
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from miniai.tools import clothes, drawn
from miniai.tools.clothes import CLOTHES, draw_clothes

quick = settings(deadline=None, max_examples=15)


@quick
@given(st.lists(st.floats(2, 11.9), min_size=3, max_size=12), st.floats(13, 15), st.floats(13, 15),
       st.booleans())
def test_fill_area(radii, cx, cy, backwards):
    "The pixels of a star shape add up to its area by the shoelace formula, whichever way round it runs"
    angles = np.arange(len(radii))*2*np.pi/len(radii)
    px,py = cx+np.cos(angles)*radii,cy+np.sin(angles)*radii
    if backwards: px,py = px[::-1],py[::-1]
    area = abs((px*np.roll(py, -1)-py*np.roll(px, -1)).sum())/2
    x,y = (torch.tensor(np.stack([p, np.roll(p, -1)], 1), dtype=torch.float32)[None] for p in (px,py))
    got = clothes._fill(x, y)
    assert got.min() >= 0 and got.max() <= 1
    assert abs(got.sum().item()-area) < 0.02*area+1.5


def test_fill_is_exact_for_rectangles():
    x,y,_ = drawn.segments('4.25,6.5 20.75,6.5 20.75,17.25 4.25,17.25', closed=True)
    got = clothes._fill(x[None], y[None])[0]
    assert got[6,10].item() == pytest.approx(0.5) and got[10,4].item() == pytest.approx(0.75)
    assert got[10,10] == 1 and got[3,3] == 0
    assert got.sum().item() == pytest.approx(16.5*10.75, rel=1e-5)


def test_mirrored_outlines_are_symmetric():
    for styles in CLOTHES.values():
        for kind,x,y in (clothes._part(part) for style in styles for part in style if ' mirror ' in part
                         and part.startswith('cloth')):
            got = clothes._fill(x[None], y[None])[0]
            assert torch.allclose(got, got.flip(1), atol=1e-4)


def test_class_names():
    assert list(CLOTHES) == ['T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt',
                             'Sneaker', 'Bag', 'Ankle boot']
    assert set(clothes.__all__) == {'CLOTHES', 'draw_clothes'}


def test_reader_adds_a_class(monkeypatch):
    monkeypatch.setitem(CLOTHES, 'Cap', [['cloth 6,16 (8,8 20,8) 22,16', 'seam 6,15 22,15']])
    assert draw_clothes(22)[1].bincount().tolist() == [2]*11


@pytest.mark.parametrize('words', ['velvet 4,4 20,4 20,20', 'cloth'])
def test_a_part_of_nothing_known(monkeypatch, words):
    monkeypatch.setitem(CLOTHES, 'Cap', [[words]])
    with pytest.raises((KeyError, ValueError)): draw_clothes(11)
