"""What only a browser shows, in JupyterLab and Chromium: the button of 14_foundations, ProgressCB's table.

The notebooks are copies in a temporary folder, and JupyterLab's settings are its own: neither the repository
nor the user's are touched.
"""
import importlib.util, os, re, shutil, signal, socket, subprocess, sys, time, urllib.request
from contextlib import contextmanager
from pathlib import Path
import nbformat, pytest
from tests.conftest import ROOT

CHROMIUM = shutil.which('chromium')
ARGS = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking',
        '--disable-component-update', '--disable-sync',
        '--no-first-run', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1']
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


@pytest.fixture
def page():
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        try: yield browser.new_page(viewport=dict(width=1400, height=1000))
        finally: browser.close()


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
