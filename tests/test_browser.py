"""What only a browser shows, in JupyterLab and Chromium: the button of 14_foundations, ProgressCB's table;
and the page of `miniai runs`.

The notebooks are copies in a temporary folder, and JupyterLab's settings are its own: neither the repository
nor the user's are touched.
"""
import importlib.util, math, os, re, signal, socket, subprocess, sys, time, urllib.request
from contextlib import contextmanager
from pathlib import Path
import nbformat, pytest
from PIL import Image
from tests.conftest import CHROMIUM, ROOT, write_run

MISSING = [m for m in ('playwright', 'jupyterlab', 'ipywidgets') if not importlib.util.find_spec(m)]
# would ask, over the page
SETTINGS = {'apputils-extension/notification': '{"fetchNews": "false", "checkForUpdates": false}',
            # keep all cells in the page, seen or not
            'notebook-extension/tracker': '{"windowingMode": "none"}'}
pytestmark = [pytest.mark.long,
              pytest.mark.skipif(not CHROMIUM,
                                 reason='no chromium is installed (on Debian: apt-get install chromium)'),
              pytest.mark.skipif(bool(MISSING),
                                 reason=f"not installed: {', '.join(MISSING)} (pip install -e '.[dev]')")]


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def answers(url):
    try: return urllib.request.urlopen(url, timeout=2).status == 200
    except OSError: return False


def wait_for(condition, process, log, limit=90):
    "Wait until `condition()` holds while `process` lives"
    end = time.monotonic() + limit
    while not condition():
        ended = process.poll() is not None
        assert not ended, f'jupyter lab ended with {process.returncode}:\n{log.read_text()[-3000:]}'
        assert time.monotonic() < end, f'jupyter lab did not answer in {limit} s:\n{log.read_text()[-3000:]}'
        time.sleep(0.1)


def stop(process):
    "End JupyterLab, which ends its kernels; they also end by themselves when it is gone"
    if process.poll() is None: process.terminate()
    try: process.wait(15)
    except subprocess.TimeoutExpired: os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def jupyter_lab(home):
    "A JupyterLab on the folder `home/notebooks`; gives its address"
    dirs = {name: str(home/name.lower())
            for name in ('JUPYTER_CONFIG_DIR', 'JUPYTER_DATA_DIR', 'JUPYTER_RUNTIME_DIR', 'IPYTHONDIR',
                                                      'JUPYTERLAB_SETTINGS_DIR', 'JUPYTERLAB_WORKSPACES_DIR')}
    for name,text in SETTINGS.items():
        path = Path(dirs['JUPYTERLAB_SETTINGS_DIR'], '@jupyterlab', f'{name}.jupyterlab-settings')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    env = {k: v for k,v in os.environ.items() if k != 'MPLBACKEND'} | dirs
    env |= {'PYTHONPATH': str(ROOT), 'HF_HUB_OFFLINE': '1', 'OMP_NUM_THREADS': '1'}
    port,log = free_port(),home/'lab.log'
    command = [sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root', '--ip=127.0.0.1',
               f'--port={port}', '--ServerApp.port_retries=0',
               '--IdentityProvider.token=', f'--ServerApp.root_dir={home/"notebooks"}']
    with log.open('w') as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_for(lambda: answers(f'http://127.0.0.1:{port}/api/status'), process, log)
        yield f'http://127.0.0.1:{port}'
    finally: stop(process)


LEARNER = '''
from types import SimpleNamespace
import torch, torch.nn.functional as F
from miniai.learner import Accuracy, Learner, MetricsCB, ProgressCB

torch.manual_seed(0)
x = torch.randn(96, 2)
batches = list(zip(x.split(32), (x[:,0] > 0).long().split(32)))
learn = Learner(torch.nn.Linear(2, 2), SimpleNamespace(train=batches, valid=batches), F.cross_entropy, 0.1,
                cbs=[MetricsCB(accuracy=Accuracy()), ProgressCB()])
learn.fit(3)
'''


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    home = tmp_path_factory.mktemp('lab')
    (home/'notebooks').mkdir()
    nb = nbformat.read(ROOT/'nbs'/'14_foundations.ipynb', 4)
    for cell in nb.cells:
        cell.update(dict(outputs=[], execution_count=None) if cell.cell_type == 'code' else {})
    nbformat.write(nb, home/'notebooks'/'14_foundations.ipynb')
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LEARNER.strip())],
                                  metadata=dict(kernelspec=dict(name='python3', display_name='python3',
                                                                language='python')))
    nbformat.write(nb, home/'notebooks'/'learner.ipynb')
    with jupyter_lab(home) as url: yield url


def errors(page): return page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').all_text_contents()


def run_all(page, url, name):
    "Open a notebook, choose Run All Cells, and wait until the last cell is done"
    # a workspace of its own: no tabs of another test
    page.goto(f'{url}/lab/workspaces/{Path(name).stem}/tree/{name}')
    page.locator('.jp-Notebook .jp-CodeCell').first.wait_for(timeout=60_000)
    # earlier, JupyterLab would ask which kernel
    page.locator('#jp-main-statusbar').get_by_text('| Idle').wait_for(timeout=60_000)
    page.get_by_role('menuitem', name='Run', exact=True).click()
    page.get_by_role('menuitem', name='Run All Cells', exact=True).click()
    prompts,end = page.locator('.jp-CodeCell .jp-InputPrompt'),time.monotonic() + 120
    def done(text): return re.fullmatch(r'(\[\d+\]:)?', text.strip())  # a collapsed cell shows no prompt
    while not all(map(done, prompts.all_text_contents())):
        assert errors(page) == []  # Run All stops at the first
        assert time.monotonic() < end, f'{name} was not through after 120 s: {prompts.all_text_contents()}'
        page.wait_for_timeout(100)
    page.locator('#jp-main-statusbar').get_by_text('| Idle').wait_for(timeout=60_000)  # the collapsed too
    assert errors(page) == []


def test_the_button_of_foundations(lab, page):
    from playwright.sync_api import expect
    run_all(page, lab, '14_foundations.ipynb')
    said = page.locator('.widget-label')
    expect(said).to_have_text('Nothing has happened yet.')
    page.get_by_role('button', name='Click me', exact=True).click()
    expect(said).to_have_text('"Click me" was clicked, and Python heard it.')


def test_the_table_of_progress_cb(lab, page):
    run_all(page, lab, 'learner.ipynb')
    table = page.locator('.jp-OutputArea-output table')
    table.wait_for()
    rows = [row.locator('th, td').all_text_contents() for row in table.locator('tr').all()]
    head = rows[0]
    assert {'accuracy', 'loss', 'epoch', 'train', 'time'} <= set(head)
    told = [(row[head.index('epoch')], row[head.index('train')]) for row in rows[1:]]
    assert told == [(str(e), part) for e in range(3) for part in ('train', 'eval')]
    assert all(0 <= float(row[head.index('accuracy')]) <= 1 for row in rows[1:])


# ---- the page of `miniai runs` -----------------------------------------------------------------------------

EVIL = "<img src=x onerror=document.title='harm'>"


def write_runs(folder):
    "Three runs: one with numbers that are none, one whose texts try to be more than text"
    def rows(factor): return [dict(step=i, loss=factor*math.exp(-i/30)) for i in range(100)]
    write_run(folder/'plain', rows(1), lr=0.1, bs=64, graph='Sequential(<b>)')
    write_run(folder/'gap', [r if not 40 <= r['step'] < 50 else dict(r, loss=None) for r in rows(2)], lr=0.2,
              bs=64)
    histograms = [dict(step=i, name=f'w{EVIL}', edges=[-1, 1], counts=[1, 5, 9, i]) for i in range(0, 90, 10)]
    write_run(folder/EVIL, [dict(r, **{EVIL: -1.}) for r in rows(3)], histograms, graph=EVIL,
              lr=f'</script>{EVIL}', bs=64)
    (folder/EVIL/'pictures').mkdir()
    for step in 10,20: Image.new('L', (8, 8), 255).save(folder/EVIL/f'pictures/digits_{step}.png')


@pytest.fixture
def opened(page, tmp_path):
    "The page of a folder's runs; what it asks for and what goes wrong is held against it at the end"
    from miniai.runs import runs_page
    trouble,asked = [],[]
    page.on('console', lambda m: trouble.append(m.text))
    page.on('pageerror', lambda e: trouble.append(str(e)))
    page.on('requestfailed', lambda r: trouble.append(r.url))
    page.on('request', lambda r: asked.append(r.url))
    def open_page(folder):
        page.goto(runs_page(folder).as_uri())
        return page
    yield open_page
    here = tmp_path.as_uri()
    assert trouble == [] and not [url for url in asked if not url.startswith((here, 'data:'))]


def texts(page, where): return page.locator(where).all_text_contents()
def curves(page, name='loss'): return page.locator(f'#curves [data-name="{name}"] path.curve')


def test_the_page_shows_runs_as_text_and_nothing_more(opened, tmp_path):
    write_runs(tmp_path)
    page = opened(tmp_path)
    assert page.title() == f'Runs in {tmp_path.name}'
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    page.wait_for_timeout(200)
    assert sorted(texts(page, 'td.name')) == sorted(['plain', 'gap', EVIL])
    assert EVIL in texts(page, '#curves h3') and EVIL in texts(page, '#models pre')
    assert page.title() == f'Runs in {tmp_path.name}', 'a name was taken for HTML'
    assert page.locator('img').count() == 2, 'the two pictures'
    assert page.evaluate("[...document.images].every(im => im.naturalWidth === 8)")
    drawn = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter(v => v).length"
    assert page.locator('#histograms canvas').first.evaluate(drawn) > 1000


def test_the_page_compares_the_runs_that_are_chosen(opened, tmp_path):
    write_runs(tmp_path)
    page = opened(tmp_path)
    assert texts(page, 'tr:last-child th.differs') == ['lr']
    assert texts(page, 'tr:last-child th.same') == ['bs']
    page.get_by_label('leave out the settings').check()
    assert texts(page, 'th.same') == []
    assert curves(page).count() == 3
    page.get_by_label('plain').uncheck()
    assert curves(page).count() == 2
    everything = page.get_by_label('all runs', exact=True)
    assert everything.evaluate('box => box.indeterminate')
    everything.check()
    assert curves(page).count() == 3 and page.get_by_label('plain').is_checked()
    everything.uncheck()
    assert curves(page).count() == 0 and 'No number' in page.locator('[data-name="loss"]').inner_text()
    page.get_by_label('gap').check()
    assert curves(page).get_attribute('d').count('M') == 2, 'a gap where there was no number'


def test_the_page_sorts_and_switches_to_a_log_scale(opened, tmp_path):
    write_runs(tmp_path)
    page = opened(tmp_path)
    def order(): return [name if name != EVIL else 'evil' for name in texts(page, 'td.name')]
    loss = page.get_by_role('button', name='loss', exact=True)
    loss.click()
    assert order() == ['plain', 'gap', 'evil']
    loss.click()
    assert order() == ['evil', 'gap', 'plain']
    def heights():  # of the first point, one in the middle and the last, in pixels
        found = re.findall(r'[ML][\d.]+ ([\d.]+)', curves(page).first.get_attribute('d'))
        return [float(found[i]) for i in (0, 50, -1)]
    first,middle,last = heights()
    assert middle - first > 2*(last - middle), 'an exponential falls fast, then slowly'
    card = page.locator('[data-name="loss"]')
    card.get_by_label('log scale').check()
    first,middle,last = heights()
    assert abs((middle - first) - (last - middle)) < 5, 'it is a straight line'
    negative = page.locator('#curves .card').nth(1)
    negative.get_by_label('log scale').check()
    assert 'No number to draw' in negative.inner_text()
    card.locator('svg').hover()
    assert re.match(r'step \d\d\n', card.locator('.tip').inner_text())
    assert 'plain' in card.locator('.tip').inner_text()


@pytest.mark.parametrize('width', [1400, 390])
def test_the_page_fits_its_window(opened, page, tmp_path, width):
    page.set_viewport_size(dict(width=width, height=844))
    write_runs(tmp_path)
    opened(tmp_path)
    assert page.evaluate('document.documentElement.scrollWidth') <= width


def test_the_page_of_a_folder_without_runs(opened, tmp_path):
    assert 'There is no run in this folder yet' in opened(tmp_path).inner_text('main')


def test_fifty_long_runs_stay_fast(opened, tmp_path):
    for k in range(50):
        write_run(tmp_path/f'{k}', [dict(step=i, loss=math.sin(i*k), lr=i/1e4) for i in range(10_000)], lr=k)
    page = opened(tmp_path)
    assert curves(page).count() == 50
    assert page.evaluate("performance.getEntriesByType('navigation')[0].domComplete") < 10_000  # ms
    assert page.evaluate('(() => { const start = performance.now(); draw_all(); '
                         'return performance.now() - start })()') < 2000
