"""Pictures: what the rendered canvas shows, pixel by pixel, for every kind of input"""
import inspect, os, subprocess, sys, warnings
import matplotlib, matplotlib.pyplot as plt, numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from miniai.plot import get_grid, plot_func, show_image, show_images, subplots
from miniai.tools.drawn import draw_digits
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def agg():
    "Each test draws with agg and matplotlib's own settings, and leaves no figure"
    with matplotlib.rc_context():
        plt.switch_backend('agg')
        yield
        plt.close('all')


def canvas(fig):
    "The rendered figure: rows × columns × RGB"
    fig.canvas.draw()
    return np.asarray(fig.canvas.buffer_rgba())[...,:3].astype(int)


def shown(ax):
    "The colour in the middle of each cell of the picture on `ax`, as rendered"
    rendered,im = canvas(ax.figure),ax.images[0]
    rows,cols = im.get_array().shape[:2]
    points = [[ax.transData.transform((c, r)) for c in range(cols)] for r in range(rows)]
    return np.array([[rendered[len(rendered)-1-int(y), int(x)] for x,y in row] for row in points])


def show(im, **kwargs): return shown(show_image(im, interpolation='nearest', **kwargs))


COLOUR = torch.tensor([[[255,0,0,80], [0,255,0,160], [0,0,255,240]],
                       # 2×3 cells, all of them different
                       [[255,255,0,1], [0,255,255,2], [255,0,255,3]]])[...,:3].byte()
GREY = torch.tensor([[0, 50, 100], [150, 200, 255]], dtype=torch.uint8)
first = COLOUR.permute(2, 0, 1)
PIL_COLOUR = Image.fromarray(COLOUR.numpy())
# 1×1 cells would be lost between channels and pixels, so pictures are enlarged where a form needs it
BIG = COLOUR.repeat_interleave(4, 0).repeat_interleave(4, 1)  # 8×12: no axis but the last can hold channels


COLOUR_FORMS = {
    'tensor, channels first, uint8': first, 'tensor, channels first, float': first.float()/255,
    'double': first.double()/255,
    'half': first.half()/255, 'bfloat16': (first.float()/255).bfloat16(), 'int64': first.long(),
    'tensor, channels last': BIG, 'tensor, channels last, float': BIG.float()/255,
    'array, channels first': BIG.permute(2, 0, 1).numpy(), 'array, channels last': COLOUR.numpy(),
    'array, float64': COLOUR.numpy()/255,
    'array, float16': (COLOUR.numpy()/255).astype(np.float16),
    'not contiguous': np.asfortranarray(COLOUR.numpy()),
    'gradient': (first.float()/255).requires_grad_(), 'no leaf': (first.float()/255).requires_grad_()*1,
    'parameter': torch.nn.Parameter(first.float()/255), 'bool, first': first > 127,
    'bool, last': (BIG > 127).numpy(),
    'PIL RGB': PIL_COLOUR, 'PIL P': PIL_COLOUR.quantize(8), 'PIL RGBA': PIL_COLOUR.convert('RGBA'),
    'PIL CMYK': PIL_COLOUR.convert('CMYK'),
    'list': COLOUR.tolist(), 'four channels': torch.cat([first, torch.full((1,2,3), 255).byte()]),
}


@pytest.mark.parametrize('form', COLOUR_FORMS)
def test_colours_arrive_on_the_canvas(form):
    im = COLOUR_FORMS[form]
    seen = show(im)
    want = (BIG if seen.shape == BIG.shape else COLOUR).numpy().astype(int)
    assert seen.shape == want.shape and abs(seen - want).max() <= 2, form


big_grey = GREY.repeat_interleave(4, 0).repeat_interleave(4, 1)
GREY_FORMS = {
    'uint8': GREY, 'float': GREY.float()/255, 'bfloat16': (GREY.float()/255).bfloat16(), 'int64': GREY.long(),
    'channel first': GREY[None],
    'channel first, float': GREY[None].float()/255, 'channel last': GREY[...,None], 'array': GREY.numpy(), 
    'array, channel last': GREY.numpy()[...,None], 'gradient': (GREY.float()/255).requires_grad_(),
    'PIL L': Image.fromarray(GREY.numpy()),
    'PIL F': Image.fromarray(GREY.float().numpy()), 'PIL I': Image.fromarray(GREY.int().numpy()),
    'PIL I;16': Image.fromarray((GREY.int()*257).numpy().astype(np.uint16)),
    'float, 0 to 1000': GREY.float()*4, 'negative': GREY.float()-255,
    'list': GREY.tolist(), 'big': big_grey, 'array, channel first': big_grey.numpy()[None],
}


@pytest.mark.parametrize('form', GREY_FORMS)
def test_one_channel_is_stretched_over_the_colormap(form):
    seen = show(GREY_FORMS[form], cmap='gray')
    want = (big_grey if seen.shape[0] == 8 else GREY).numpy().astype(int)
    assert seen.shape == (*want.shape, 3) and abs(seen - want[...,None]).max() <= 2, form


MASKS = {'tensor': GREY > 120, 'channel first': GREY[None] > 120, 'channel last': GREY[...,None] > 120,
         'array': GREY.numpy() > 120,
         'PIL 1': Image.fromarray(GREY.numpy()).point(lambda v: 255*(v > 120)).convert('1')}


@pytest.mark.parametrize('form', MASKS)
def test_masks(form):
    assert (show(MASKS[form], cmap='gray') == np.where(GREY.numpy() > 120, 255, 0)[...,None]).all()


def test_grey_with_alpha_and_palette_with_transparency():
    im = Image.merge('LA', [Image.fromarray(GREY.numpy()), Image.new('L', (3, 2), 255)])
    assert abs(show(im) - GREY.numpy().astype(int)[...,None]).max() <= 1
    clear = PIL_COLOUR.quantize(8)
    clear.info['transparency'] = clear.getpixel((0, 0))
    assert (show(clear)[0, 0] > 250).all(), 'the paper shines through'


def test_masked_cells_stay_blank():
    a = np.ma.masked_array(GREY.numpy(), mask=GREY.numpy() == 150)
    seen = show(a, cmap='gray')
    assert (seen[1, 0] == 255).all() and (seen[0, 0] == 0).all()


def test_an_ambiguous_shape_follows_the_customs_of_its_library():
    x = torch.zeros(3, 5, 3)
    x[0] = 1  # a tensor: the first channel, so all is red; an array: the first row is white
    assert (show(x) == [255, 0, 0]).all()
    seen = show(x.numpy())
    assert (seen[0] == 255).all() and (seen[1:] == 0).all()


@settings(deadline=None, max_examples=15)
@given(st.integers(5, 9), st.integers(5, 9), st.sampled_from([1, 3, 4]), st.booleans(), st.booleans(),
       st.integers(0, 10**6))
def test_any_size_first_or_last(h, w, channels, last, array, seed):
    x = torch.randint(0, 256, (channels, h, w), generator=torch.Generator().manual_seed(seed)).byte()
    if channels == 4: x[3] = 255
    im = x.permute(1, 2, 0) if last else x
    seen = show(im.numpy() if array else im, cmap='gray', vmin=0, vmax=255)
    assert abs(seen - x[:3].permute(1, 2, 0).numpy().astype(int)).max() <= 1
    plt.close('all')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_from_a_gpu():
    assert abs(show(first.cuda()) - COLOUR.numpy().astype(int)).max() <= 1
    show_images(torch.stack([first, first]).cuda())


def test_arguments_of_imshow_pass_through():
    assert (show(GREY, cmap='gray', origin='lower')[0, 0] == 0).all()
    assert abs(show(GREY, cmap='gray_r').astype(int) + GREY.numpy()[...,None].astype(int) - 255).max() <= 1
    assert (show(torch.full((2,3), 51), cmap='gray', vmin=0, vmax=255) == 51).all()
    ax = show_image(GREY, alpha=0.5, extent=(0, 6, 0, 4), aspect='auto')
    assert ax.images[0].get_alpha() == 0.5 and ax.get_xlim() == (0, 6) and ax.get_aspect() == 'auto'


def test_the_colormap_of_the_settings_is_used():
    plt.rcParams['image.cmap'] = 'gray'
    assert abs(show(GREY) - GREY.numpy().astype(int)[...,None]).max() <= 1


def test_axis_size_title_frame():
    fig,ax = plt.subplots()
    assert show_image(GREY, ax) is ax and plt.get_fignums() == [fig.number], 'no figure of its own'
    assert not ax.axison and ax.get_title() == ''
    ax = show_image(GREY, figsize=(2, 1), title=torch.tensor(3), noframe=False)
    assert list(ax.figure.get_size_inches()) == [2, 1] and ax.get_title() == '3' and ax.axison
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0
    assert show_image(GREY, title=np.int64(4)).get_title() == '4'
    assert show_image(GREY, title=0).get_title() == '0'


def test_frame_on_the_canvas():
    def dark(noframe):
        ax = show_image(torch.ones(4, 4), figsize=(1, 1), noframe=noframe, cmap='gray', vmin=0)
        return (canvas(ax.figure) < 100).any()
    assert dark(False) and not dark(True)


@pytest.mark.parametrize('im,error,text', [
    (torch.zeros(5), ValueError, 'reshape'), (torch.zeros(2, 1, 5, 5), ValueError, 'show_images'),
    (torch.zeros(2, 5, 5), ValueError, '(2, 5, 5)'),
    (np.zeros((5, 5, 2)), ValueError, '(5, 5, 2)'), (torch.zeros(0, 5), ValueError, '(0, 5)'),
    (torch.tensor(1.), ValueError, '()'),
    ('x.png', TypeError, 'got str'), (None, TypeError, 'NoneType'),
    (torch.zeros(3, 3, dtype=torch.complex64), TypeError, 'a PIL image, tensor or array')])
def test_what_is_no_picture_is_refused_and_leaves_no_figure(im, error, text):
    for call in (show_image, lambda x: show_images([GREY, x])):
        with pytest.raises(error) as e: call(im)
        assert text in str(e.value) and plt.get_fignums() == []


def test_a_wrong_argument_leaves_no_figure():
    with pytest.raises(TypeError, match='ax must be matplotlib axes'): show_image(GREY, (3, 3))
    for call in (show_image, lambda x, **kw: show_images([x], **kw)):
        with pytest.raises(Exception, match='nonsense'): call(GREY, nonsense=1)
        with pytest.raises(Exception): call(GREY, cmap='no such map')
        assert plt.get_fignums() == []
    ax = plt.figure().add_subplot()
    with pytest.raises(Exception): show_image(GREY, ax, cmap='no such map')
    assert len(plt.get_fignums()) == 1, "the caller's figure is the caller's"


def test_subplots():
    fig,axs = subplots(2, 3, imsize=2)
    assert axs.shape == (2, 3) and list(fig.get_size_inches()) == [6, 4]
    for kwargs in ({}, dict(squeeze=False)):
        fig,axs = subplots(**kwargs)
        assert isinstance(axs, np.ndarray) and axs.size == 1 and list(fig.get_size_inches()) == [3, 3]
    fig,axs = subplots(1, 2, figsize=(5, 1), sharey=True, dpi=50)
    assert list(fig.get_size_inches()) == [5, 1] and fig.dpi == 50 and axs[0].get_shared_y_axes().joined(*axs)
    with pytest.raises(ValueError, match='imsize'): subplots(imsize=-1)
    with pytest.raises(ValueError): subplots(0, 2)


def boxes(fig):
    "The boxes of all titles as rendered"
    fig.canvas.draw()
    texts = [ax.title for ax in fig.axes if ax.get_title()] + ([fig._suptitle] if fig._suptitle else [])
    return [t.get_window_extent() for t in texts]


@pytest.mark.parametrize('imsize', [0.8, 1.2, 3])
def test_titles_touch_nothing(imsize):
    show_images([GREY]*6, titles=range(6), title='Above all', imsize=imsize)
    fig = plt.gcf()
    found = boxes(fig)
    assert len(found) == 7 and fig._suptitle.get_weight() == 'bold'
    others = [ax.get_window_extent() for ax in fig.axes]
    for i,box in enumerate(found):
        assert not any(box.overlaps(o) for o in found[i+1:] + others)
        assert fig.bbox.ymax >= box.ymax and box.ymin >= 0
    fig,_ = subplots(1, 2, imsize=imsize, suptitle='One')
    assert not any(boxes(fig)[0].overlaps(ax.get_window_extent()) for ax in fig.axes)


def test_an_arrangement_of_the_callers_own_stays():
    fig,_ = get_grid(4, title='x', layout='tight')
    assert type(fig.get_layout_engine()).__name__ == 'TightLayoutEngine'
    fig,_ = get_grid(4, title='x', gridspec_kw=dict(hspace=1))
    assert fig.get_layout_engine() is None


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 20), st.none() | st.integers(1, 8), st.none() | st.integers(1, 8))
def test_every_picture_has_a_place(n, nrows, ncols):
    if nrows and ncols and nrows*ncols < n:
        with pytest.raises(ValueError, match=f'no place for n={n}'): get_grid(n, nrows, ncols)
        return
    fig,axs = get_grid(n, nrows, ncols, imsize=0.3)
    assert [ax.axison for ax in axs.flat] == [True]*n + [False]*(axs.size-n)
    rows = len({round(ax.get_position().y0, 5) for ax in axs.flat})
    cols = len({round(ax.get_position().x0, 5) for ax in axs.flat})
    assert rows*cols == axs.size and (nrows in (None, rows)) and (ncols in (None, cols))
    if not nrows and not ncols: assert rows <= cols <= rows+2 and axs.size < n + cols
    plt.close('all')


def test_spare_axes_are_white_on_the_canvas():
    fig,axs = get_grid(5, imsize=1)
    for ax in axs.flat: ax.set(xticks=[], yticks=[])
    rendered = canvas(fig)
    for i,ax in enumerate(axs.flat):
        box = ax.get_window_extent()
        part = rendered[round(len(rendered)-box.y1)-1:round(len(rendered)-box.y0)+1,
                        round(box.x0)-1:round(box.x1)+1]
        assert (part < 100).any() == (i < 5)


@pytest.mark.parametrize('args,text',
                         [((0,), 'n must be at least 1'), ((-2,), 'n must be'), ((2.5,), 'whole number'),
                          (('3',), 'whole number'),
                                       ((3, 0), 'nrows'), ((3, None, -1), 'ncols')])
def test_get_grid_refuses(args, text):
    with pytest.raises((TypeError, ValueError), match=text): get_grid(*args)
    assert plt.get_fignums() == []


@pytest.mark.parametrize('n', [1, 2, 3, 5, 7, 9, 10, 13])
def test_show_images_shows_each_once_in_order(n):
    ims = torch.stack([torch.full((3, 4, 5), 20.*i/255) for i in range(n)])
    assert show_images(ims, imsize=0.7) is None and len(plt.get_fignums()) == 1
    axs = plt.gcf().axes
    assert [shown(ax)[2, 2, 0] for ax in axs[:n]] == pytest.approx([20*i for i in range(n)], abs=1)
    assert not any(ax.images or ax.axison for ax in axs[n:])
    top_left = [(-round(a.get_position().y0, 4), round(a.get_position().x0, 4)) for a in axs[:n]]
    assert top_left == sorted(top_left), 'row by row'


def test_show_images_takes_batches_lists_generators_and_mixtures():
    forms = [GREY, first, PIL_COLOUR, COLOUR.numpy(), GREY > 100]
    for ims in (forms, tuple(forms), (f for f in forms)):
        show_images(ims, titles=['a', None, 'c'], ncols=2, cmap='gray', interpolation='nearest')
        axs = plt.gcf().axes
        assert [ax.get_title() for ax in axs] == ['a', '', 'c', '', '', ''] and len(axs) == 6
        assert abs(shown(axs[0]) - GREY.numpy().astype(int)[...,None]).max() <= 2
        assert abs(shown(axs[2]) - COLOUR.numpy().astype(int)).max() <= 2
    show_images(torch.rand(4, 1, 6, 6, requires_grad=True), titles=torch.arange(4), noframe=False)
    assert [ax.get_title() for ax in plt.gcf().axes] == list('0123')
    assert all(ax.axison for ax in plt.gcf().axes)


def test_show_images_refuses():
    with pytest.raises(ValueError, match='at least one'): show_images([])
    with pytest.raises(ValueError, match='no more than the 1 pictures, got 2'):
        show_images([GREY], titles=['a', 'b'])
    with pytest.raises(ValueError, match='no place'): show_images([GREY]*5, 2, 2)
    assert plt.get_fignums() == []


def test_signatures_tell_what_passes_through():
    def names(f): return set(inspect.signature(f).parameters)
    imshow = {'cmap', 'norm', 'aspect', 'interpolation', 'alpha', 'vmin', 'vmax', 'origin', 'extent'}
    assert imshow <= names(show_image) and 'kwargs' not in names(show_image)
    assert {'sharex', 'subplot_kw', 'squeeze'} <= names(subplots)
    assert {'imsize', 'figsize', 'suptitle', 'sharex'} <= names(get_grid) and 'nrows' in names(get_grid)
    assert imshow | {'imsize', 'title', 'weight', 'sharex', 'titles'} <= names(show_images)
    assert 'kwargs' not in names(show_images)
    positional = {f: [k for k,
                      p in inspect.signature(f).parameters.items() if p.kind == p.POSITIONAL_OR_KEYWORD]
                      for f in (show_image, subplots, get_grid, show_images)}
    assert positional[show_image] == ['im', 'ax', 'figsize', 'title', 'noframe']
    assert positional[subplots][:5] == ['nrows', 'ncols', 'figsize', 'imsize', 'suptitle']
    assert positional[get_grid][:6] == ['n', 'nrows', 'ncols', 'title', 'weight', 'size']
    assert positional[show_images][:4] == ['ims', 'nrows', 'ncols', 'titles']


def test_plot_func_on_the_canvas():
    ax = plot_func(lambda x: x**2, -2, 2, 41, color=(1, 0, 0), linewidth=3)
    line = ax.lines[-1]
    np.testing.assert_allclose(line.get_xdata(), np.linspace(-2, 2, 41), atol=1e-6)
    np.testing.assert_allclose(line.get_ydata(), np.linspace(-2, 2, 41)**2, atol=1e-5)
    rendered = canvas(ax.figure)
    for x in (-1.5, 0.5, 1.8):
        col,row = ax.transData.transform((x, x**2))
        near = rendered[len(rendered)-1-int(row)-2:len(rendered)-int(row)+2, int(col)-2:int(col)+2]
        assert (near == [255, 0, 0]).all(-1).any()


def test_plot_func_adds_up_and_takes_axes():
    plot_func(torch.relu, label='relu')
    plot_func(np.sin)
    assert len(plt.gcf().axes) == 1 and len(plt.gca().lines) == 4, 'two curves and the two lines through zero'
    fig,(a,b) = plt.subplots(1, 2)
    assert plot_func(torch.nn.Tanh(), 1, 3, ax=a) is a and not b.lines
    assert len(a.lines) == 2, 'x=0 is not in view'
    y = plot_func(torch.relu_, ax=b).lines[-1]
    assert y.get_xdata().min() == -5 and y.get_ydata().min() == 0, 'a function that writes on its input'
    layer = torch.nn.Sequential(torch.nn.Unflatten(0, (-1, 1)), torch.nn.Linear(1, 1), torch.nn.Flatten(0))
    assert plot_func(layer, ax=b)


def test_plot_func_refuses():
    with pytest.raises(ValueError, match='one number for each of 100'):
        plot_func(lambda x: x.sum()[None].expand(3))
    with pytest.raises(ValueError, match='steps'): plot_func(torch.relu, steps=0)
    assert plt.get_fignums() == []


def test_each_call_makes_one_figure():
    for i,call in enumerate((lambda: show_image(GREY), lambda: show_images([GREY]*7), lambda: get_grid(5),
                             lambda: subplots(2, 2))):
        call()
        assert len(plt.get_fignums()) == i+1
    show_image(GREY, plt.gca())
    assert len(plt.get_fignums()) == 4


def test_three_pictures_that_are_taken_for_one():
    "0.1 drew them as one picture in colour, and said nothing"
    x,_ = draw_digits(16)
    for im in (x[:3], x[:4], x[:3].float()/255, (x[:3].float()-30)/70, x[:3].numpy()):
        with pytest.warns(UserWarning,
                          match=f'{len(im)} channels look like pictures of their own: show_images'):
            show_image(im)
    blue,white = torch.tensor([0.1, 0.2, 0.9])[:,None,None],torch.ones(3, 1, 1)
    right = torch.linspace(0, 1, 28).expand(28, 28)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for im in x[:8]:
            share = im/255
            for colour in (share*blue, share*blue + (1-share)*white, share*white + (1-share)*blue):
                show_image(colour)
            plt.close('all')
        show_image(torch.stack([right, right.T, 1-right]))
        show_image(torch.rand(3, 28, 28)), show_image(torch.zeros(3, 28, 28)), show_image(share.expand(3, 28,
                                                                                                       28))
        show_images(x[:3])


@pytest.mark.parametrize('call,name,meant', [
    (lambda **kw: show_images([GREY], **kw), 'titels', 'titles'),
    (lambda **kw: show_image(GREY, **kw), 'titel', 'title'),
    (lambda **kw: show_images([GREY], **kw), 'ncol', 'ncols'),
    (lambda **kw: show_image(GREY, **kw), 'cmaps', 'cmap')])
def test_a_name_that_is_nearly_right(call, name, meant):
    with pytest.raises(TypeError, match=f"has no parameter '{name}': did you mean '{meant}'"):
        call(**{name: 1})
    assert plt.get_fignums() == []


def test_arguments_that_only_matplotlib_knows_pass():
    show_images([GREY], dpi=50, layout='tight', facecolor='red', edgecolor='blue', linewidth=2, num=7,
                clear=True)
    assert plt.gcf().dpi == 50 and plt.fignum_exists(7)
    assert show_image(GREY, zorder=3, gid='x', clip_on=False, rasterized=True).images[0].get_zorder() == 3


@pytest.mark.parametrize('backend', ['agg', 'svg', 'pdf', 'module://matplotlib_inline.backend_inline'])
def test_any_backend_and_no_window(backend, tmp_path):
    code = f"""
import torch, matplotlib.pyplot as plt, matplotlib
def forbidden(*a, **k): raise AssertionError('opened a window')
plt.show = forbidden
from miniai.plot import *
show_image(torch.rand(3, 8, 8))
show_images(torch.rand(5, 8, 8), titles=range(5), title='t')
plot_func(torch.relu)
plt.gcf().canvas.draw()
plt.savefig({str(tmp_path/'x')!r})
assert matplotlib.get_backend() == {backend!r}
"""
    res = subprocess.run([sys.executable, '-c', code], cwd=ROOT, env=dict(os.environ, MPLBACKEND=backend),
                         capture_output=True, text=True, timeout=60)
    assert res.returncode == 0 and res.stderr == '', res.stderr
