"`miniai` on the command line: its subcommands, exit codes, and what a user's mistake is told"
import ast, importlib, json, math, os, re, signal, subprocess, sys, time
from types import SimpleNamespace
import pytest
from fastcore.test import test_eq as same
from miniai import __version__, cli, lessons, runs
from miniai.check.kit import Report
from tests.conftest import LESSONS, ROOT, TOOLS, fresh, write_run
from tests.lessons import vitals

ENV = dict(os.environ, PYTHONPATH=str(ROOT), HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1')


EXERCISES = lessons.exercises()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    "In a folder of its own; what a command changes in this process is put back"
    modules = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lessons, 'exercises', lambda: EXERCISES)  # read once
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.setenv('GOMP_SPINCOUNT', os.environ.get('GOMP_SPINCOUNT', '1000'))
    yield
    for name in set(sys.modules) - modules:
        if name.startswith('exercise_'): del sys.modules[name]


@pytest.fixture
def miniai(capsys):
    "Call it in this process: the exit code, and what it says on stdout and stderr"
    def call(*words):
        try: code = cli.main(list(map(str, words)))
        except SystemExit as e: code = e.code
        said = capsys.readouterr()
        assert 'Traceback' not in said.err
        return code,said.out,said.err
    return call


def command(*words, **kwargs): return [sys.executable, '-m', 'miniai.cli', *map(str, words)]


# ---- help, and wrong calls ---------------------------------------------------------------------------------

def test_help_is_there_at_once():
    code = "import sys\nfrom miniai import cli\ntry: cli.main(['--help'])\nfinally: print(*sys.modules)"
    res = fresh(code)
    assert res.returncode == 0 and 'COMMAND' in res.stdout
    assert not {'torch', 'numpy', 'datasets', 'matplotlib', 'fastcore'} & set(res.stdout.split())


@pytest.mark.parametrize('name', ['train', 'check', 'lessons', 'runs'])
def test_each_command_explains_itself(miniai, name):
    code,out,_ = miniai(name, '--help')
    assert code == 0 and f'usage: miniai {name}' in out
    assert name in miniai('--help')[1]


def test_no_command_is_a_usage_error_and_gets_help(miniai):
    code,out,_ = miniai()
    assert code == 2 and 'miniai COMMAND --help' in out
    assert miniai('--version')[:2] == (0, f'miniai {__version__}\n')


@pytest.mark.parametrize('words,says', [
    (['trian'], "choose from 'train', 'check', 'lessons', 'runs'"),
    (['train', '--model', 'vgg'], "choose from 'mlp', 'cnn', 'resnet'"),
    (['train', '--epochs', '0'], 'must be above 0, got 0'),
    (['train', '--epochs', 'two'], "invalid int value: 'two'"),
    (['train', '--lr', '-1'], 'must be above 0, got -1'),
    (['train', '--lr', 'nan'], 'must be above 0, got nan'),
    (['train', '--seed', '1e3'], 'must be a whole number from 0 to 2**63 - 1, got 1e3'),
    (['train', '--seed', str(2**63)], 'must be a whole number from 0 to 2**63 - 1, got 9223372036854775808'),
    (['runs'], 'the following arguments are required: FOLDER')])
def test_a_wrong_call_is_told_what_is_right(miniai, words, says):
    code,_,err = miniai(*words)
    assert code == 2 and says in err


# ---- check -------------------------------------------------------------------------------------------------

RIGHT = '''def matmul(a, b):
    if a.shape[1] != b.shape[0]: raise ValueError('shapes')
    return (a[:,:,None]*b).sum(1)
'''


def test_check_marks_an_exercise(miniai, tmp_path):
    "One of them in a process of its own, as a reader calls it"
    (tmp_path/'mine.py').write_text(RIGHT + 'def pairwise(a, b):\n    return a - b\n', encoding='utf-8')
    wrong = subprocess.run(command('check', 'mine.py:pairwise'), env=ENV, capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr) == (1, '') and '✗' in wrong.stdout and 'hint: ' in wrong.stdout
    code,out,_ = miniai('check', 'mine.py:matmul')
    assert code == 0 and out.startswith('matrix product: all 9 cases right')


@pytest.mark.parametrize('word,code,says', [
    ('mine.py', 2, 'mine.py names no exercise: write FILE.py:NAME'),
    ('mine.py:', 2, 'mine.py: names no exercise: write FILE.py:NAME'),
    ('nul.py:matmul', 1, 'nul.py, line 1: source code string cannot contain null bytes'),
    ('your.py:matmul', 2, 'there is no file your.py'),
    ('mine.ipynb:matmul', 2, 'mine.ipynb is not a Python file'),
    ('mine.py:matmull', 2, 'mine.py has no matmull: did you mean matmul?'),
    ('mine.py:zzz', 2, 'mine.py has no zzz; it has matmul, KeepBest, neerest'),
    ('mine.py:neerest', 2, 'no exercise of the lessons is called neerest: did you mean nearest?'),
    ('mine.py:KeepBest', 2, 'KeepBest is an exercise of 11_training, 26_keeping: add --lesson'),
    ('torn.py:matmul', 1, 'torn.py, line 2: '),
    ('broken.py:matmul', 1, "broken.py, line 1: NameError: name 'tensor' is not defined"),
    ('leaves.py:matmul', 1, 'leaves.py, line 1: SystemExit: 3')])
def test_check_says_what_is_wrong_with_its_argument(miniai, tmp_path, word, code, says):
    files = dict(mine=RIGHT + 'class KeepBest: pass\ndef neerest(): pass\n',
                 torn='x = 1\ndef matmul(a, b)\n', nul='x = 1\0\n',
                 broken='def f(): return tensor([1])\nx = f()\n', leaves='raise SystemExit(3)\n')
    for name,text in files.items(): (tmp_path/f'{name}.py').write_text(text, encoding='utf-8')
    (tmp_path/'mine.ipynb').write_text('{}', encoding='utf-8')
    got = miniai('check', word)
    assert got[0] == code and got[2].startswith('miniai check: ') and says in got[2], got


def test_check_takes_the_lesson_for_a_name_that_two_have(miniai, tmp_path):
    (tmp_path/'mine.py').write_text('class KeepBest: pass\n', encoding='utf-8')
    code,out,_ = miniai('check', 'mine.py:KeepBest', '--lesson', '26_keeping')
    assert code == 1 and out.startswith('the best weights, kept')
    for name,says in dict(x=': write it as 11_training', keeping=': did you mean 26_keeping?').items():
        code,_,err = miniai('check', 'mine.py:KeepBest', '--lesson', name)
        assert code == 2 and f'{name} is not the name of a lesson with exercises{says}' in err
    assert 'no exercise of 02_matmul' in miniai('check', 'mine.py:KeepBest', '--lesson', '02_matmul')[2]


FIRST = {path.stem: (name, call) for name,path,call in reversed(EXERCISES) if path in LESSONS}


@pytest.mark.parametrize('lesson', sorted(FIRST))
def test_an_exercise_of_each_lesson_through_the_command(miniai, tmp_path, lesson):
    "Its right answer and a wrong one, of those in tests/exercises"
    name,call = FIRST[lesson]
    known = importlib.import_module(f'tests.exercises.x{lesson}').EXERCISES
    n = [check.__name__ for check,*_ in known].index(call.func.id)
    for answer,want in ('[1][0]', 0), ('[2][0][0]', 1):
        lines = f'from tests.exercises.x{lesson} import EXERCISES', f'{name} = EXERCISES[{n}]{answer}'
        (tmp_path/'mine.py').write_text('\n'.join(lines), encoding='utf-8')
        code,out,err = miniai('check', f'mine.py:{name}', '--lesson', lesson)
        assert (code, err) == (want, '') and out, out


def test_check_finds_what_is_beside_the_file(miniai, tmp_path):
    (tmp_path/'there').mkdir()
    (tmp_path/'there'/'mine.py').write_text('from helper import matmul\n', encoding='utf-8')
    (tmp_path/'there'/'helper.py').write_text(RIGHT, encoding='utf-8')
    assert miniai('check', 'there/mine.py:matmul')[0] == 0
    del sys.modules['helper']


def test_each_exercise_of_each_lesson_can_be_named():
    "As many as there are stubs, and no name twice in one lesson"
    found = [(path, name) for name,path,_ in EXERCISES]
    assert len(set(found)) == len(found)
    for path in LESSONS:
        assert sum(p == path for p,_ in found) == vitals(path)['stubs'], path.stem


def is_plain(call): return len(call.args) == 1 and isinstance(call.args[0], ast.Name) and not call.keywords


@pytest.mark.parametrize('name,path,call', [pytest.param(*e, id=f'{e[1].stem}-{e[0]}') for e in EXERCISES])
def test_what_a_check_cell_needs_is_found(name, path, call):
    "Its function, and where it takes more: PyTorch's to compare with, a class of the lesson or of the stub"
    def stub(*args, **kwargs): raise NotImplementedError
    if is_plain(call): return same(lessons._meant(call.func.id, path).__name__, call.func.id)
    report = lessons.mark(path, call, SimpleNamespace(**{name: stub}))
    assert isinstance(report, Report) and 'This is the stub' in str(report)


def test_the_readers_names_go_before_those_of_the_lesson():
    "A Tape of one's own is what one's own function works on"
    call, = [call for name,path,call in EXERCISES if name == 'tanh']
    path, = [p for p in LESSONS if p.stem == '04_autograd']
    asked = []
    class Tape:
        def __init__(self, *args): asked.append('mine')
    assert not lessons.mark(path, call, SimpleNamespace(tanh=lambda a: a, Tape=Tape)).ok and asked


# ---- lessons -----------------------------------------------------------------------------------------------

def notebook(path, *sources, output=''):
    cells = [dict(cell_type='code', source=[s], outputs=[output]*bool(output), metadata={}) for s in sources]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(cells=cells)), encoding='utf-8')


@pytest.fixture
def ours(tmp_path, monkeypatch):
    "Two lessons and a tool in place of all: a folder, and the copy of a reader"
    for name in ('01_a', '02_b', 'tools/c'): notebook(tmp_path/f'ours/{name}.ipynb', f'{name} old')
    def notebooks(): return sorted((tmp_path/'ours').glob('0*')) + sorted((tmp_path/'ours/tools').glob('*'))
    monkeypatch.setattr(lessons, 'notebooks', notebooks)
    assert lessons.copy_lessons('mine') == dict(new=['01_a.ipynb', '02_b.ipynb', 'tools/c.ipynb'],
                                                updated=[], beside=[])
    return tmp_path/'ours'


def said(path): return json.loads(path.read_text(encoding='utf-8'))['cells'][0]['source'][0]


NOTHING = dict(new=[], updated=[], beside=[])


def test_the_lessons_are_those_of_the_house():
    assert set(lessons.notebooks()) == {*LESSONS, *TOOLS}


def test_a_second_copy_changes_nothing(ours, tmp_path):
    assert lessons.copy_lessons('mine') == NOTHING
    notebook(tmp_path/'mine/01_a.ipynb', 'my own')
    assert lessons.copy_lessons('mine') == NOTHING and said(tmp_path/'mine/01_a.ipynb') == 'my own'


def test_an_update_never_overwrites_work(ours, tmp_path):
    notebook(tmp_path/'mine/01_a.ipynb', 'my own')
    notebook(tmp_path/'mine/02_b.ipynb', '02_b old', output='it ran')
    for name in ('01_a', '02_b', 'tools/c'): notebook(ours/f'{name}.ipynb', f'{name} new')
    beside = f'01_a-{__version__}.ipynb'
    told = lessons.copy_lessons('mine')
    assert told == dict(new=[], updated=['02_b.ipynb', 'tools/c.ipynb'], beside=[beside])
    assert said(tmp_path/'mine/01_a.ipynb') == 'my own' and said(tmp_path/'mine'/beside) == '01_a new'
    assert said(tmp_path/'mine/02_b.ipynb') == '02_b new', 'a run alone is no work that could be lost'
    assert lessons.copy_lessons('mine') == NOTHING, 'once is enough'


def test_lines_saved_as_one_text_are_no_change(ours, tmp_path):
    "As some editors save them"
    for name in 'ours','mine': notebook(tmp_path/name/'01_a.ipynb', 'x = 1\ny = 2')
    (tmp_path/'mine'/lessons.GIVEN).write_text('{}', encoding='utf-8')
    path = tmp_path/'mine/01_a.ipynb'
    cell = dict(cell_type='code', source='x = 1\ny = 2', metadata={})
    path.write_text(json.dumps(dict(cells=[cell])), encoding='utf-8')
    assert lessons.copy_lessons('mine') == NOTHING


def test_work_in_what_was_put_beside_is_kept_too(ours, tmp_path):
    for text in ('first', 'second'):
        notebook(tmp_path/'mine/01_a.ipynb', 'my own')
        notebook(ours/'01_a.ipynb', text)
        name, = lessons.copy_lessons('mine')['beside']
        assert said(tmp_path/'mine'/name) == text
        notebook(tmp_path/'mine'/name, f'my own {text}')
    assert name == f'01_a-{__version__}-2.ipynb'
    assert said(tmp_path/f'mine/01_a-{__version__}.ipynb') == 'my own first'


def test_a_lesson_that_was_moved_away_comes_anew(ours, tmp_path):
    (tmp_path/'mine/01_a.ipynb').rename(tmp_path/'mine/done.ipynb')
    assert lessons.copy_lessons('mine') == dict(NOTHING, new=['01_a.ipynb'])


def test_what_is_no_notebook_any_more_counts_as_changed(ours, tmp_path):
    (tmp_path/'mine/01_a.ipynb').write_text('torn', encoding='utf-8')
    notebook(ours/'01_a.ipynb', 'new')
    assert lessons.copy_lessons('mine')['beside'] and (tmp_path/'mine/01_a.ipynb').read_text() == 'torn'


def test_a_copy_that_was_stopped_goes_on(ours, tmp_path, monkeypatch):
    "Ctrl-C after the first of three; what is there is the reader's own from then on"
    write,n = lessons.write_safely,[]
    def stopped(*args):
        n.append(args)
        if len(n) > 2: raise KeyboardInterrupt
        write(*args)
    monkeypatch.setattr(lessons, 'write_safely', stopped)
    with pytest.raises(KeyboardInterrupt): lessons.copy_lessons('yours')
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lessons, 'notebooks', lambda: sorted(ours.glob('0*')) + sorted(ours.glob('tools/*')))
    notebook(tmp_path/'yours/01_a.ipynb', 'my own')
    told = dict(new=['02_b.ipynb', 'tools/c.ipynb'], updated=[], beside=[f'01_a-{__version__}.ipynb'])
    assert lessons.copy_lessons('yours') == told and said(tmp_path/'yours/01_a.ipynb') == 'my own'


@pytest.mark.parametrize('torn', ['', '[1]', '{"01_a'])
def test_nothing_is_lost_when_the_list_of_what_was_given_is_torn(ours, tmp_path, torn):
    (tmp_path/'mine'/lessons.GIVEN).write_text(torn, encoding='utf-8')
    notebook(ours/'01_a.ipynb', 'new')
    assert lessons.copy_lessons('mine') == dict(NOTHING, beside=[f'01_a-{__version__}.ipynb'])
    assert said(tmp_path/'mine/01_a.ipynb') == '01_a old'


def test_lessons_go_into_no_folder_that_holds_other_things(miniai, tmp_path, ours):
    (tmp_path/'other').mkdir()
    (tmp_path/'other/notes.txt').touch()
    (tmp_path/'file').touch()
    for name in ('other', 'file', 'ours'):
        code,_,err = miniai('lessons', name, '--no-open')
        assert code == 2 and f'{name} is there, and is not a folder of lessons' in err
    assert os.listdir('other') == ['notes.txt'] and not (ours/lessons.GIVEN).exists()


def test_lessons_opens_jupyter(miniai, tmp_path, ours, monkeypatch):
    called = []
    monkeypatch.setattr(os, 'execv', lambda *args: called.append(args))
    code,out,_ = miniai('lessons', 'mine', '--no-open')
    assert (code, called) == (0, []) and f'the lessons are in {tmp_path}/mine' in out
    monkeypatch.setattr(cli.importlib.util, 'find_spec', lambda name: name)
    miniai('lessons', 'mine')
    assert called == [(sys.executable, [sys.executable, '-m', 'jupyterlab', 'mine'])]
    monkeypatch.setattr(cli.importlib.util, 'find_spec', lambda name: None)
    code,_,err = miniai('lessons', 'mine')
    assert code == 1 and 'pip install jupyterlab' in err


def test_lessons_says_what_it_did(miniai, ours, tmp_path):
    assert 'new: 01_a.ipynb, 02_b.ipynb, tools/c.ipynb' in miniai('lessons', 'yours', '--no-open')[1]
    notebook(tmp_path/'mine/01_a.ipynb', 'my own')
    for name in ('01_a', '02_b'): notebook(ours/f'{name}.ipynb', f'{name} new')
    out = miniai('lessons', 'mine', '--no-open')[1]
    assert 'brought up to date: 02_b.ipynb' in out and f'beside them: 01_a-{__version__}.ipynb' in out


# ---- runs --------------------------------------------------------------------------------------------------

def data_of(page):
    "What is embedded in a page"
    text = page.read_text(encoding='utf-8')
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def test_runs_writes_a_page(miniai, tmp_path):
    write_run(tmp_path/'runs/a', [dict(step=0, loss=2.), dict(step=1, loss=None, note='x')], lr=0.1, bs=64)
    write_run(tmp_path/'runs/<b>', [dict(step=0, loss=1.)], opt=dict(lr=0.2, name=None), bs='</script>')
    code,out,_ = miniai('runs', 'runs')
    assert code == 0 and f'{tmp_path}/runs/index.html' in out
    data = data_of(tmp_path/'runs/index.html')
    one,two = sorted(data['runs'], key=lambda run: run['name'], reverse=True)
    assert data['folder'] == 'runs' and two['name'] == '<b>'
    assert one['config'] == dict(lr=0.1, bs=64)
    assert two['config'] == {'opt.lr': 0.2, 'opt.name': 'None', 'bs': '</script>'}
    assert one['curves'] == dict(loss=dict(x=[0, 1], y=[2, None])) and one['last'] == dict(loss=None)
    assert (one['state'], one['steps']) == ('running', 1)


def test_runs_of_a_wrong_folder(miniai, tmp_path):
    write_run(tmp_path/'runs/a', [dict(step=0, loss=2.)])
    (tmp_path/'empty').mkdir()
    assert 'there is no folder rums' in (said := miniai('runs', 'rums'))[2] and said[0] == 2
    assert 'runs/a is one run: give the folder that it is in, runs' in (said := miniai('runs', 'runs/a'))[2]
    assert said[0] == 2 and not (tmp_path/'runs/a/index.html').exists()
    assert miniai('runs', 'empty')[0] == 0 and data_of(tmp_path/'empty/index.html')['runs'] == []


def test_a_run_that_is_out_of_order_spoils_no_page(tmp_path):
    rows = [dict(step=None, loss=1.), dict(step='4', loss=2.), dict(step=1, loss=4.)]
    write_run(tmp_path/'odd', rows)
    path = tmp_path/'odd/config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(config='lr=0.1')))
    write_run(tmp_path/'sound', [dict(step=0, loss=2.)])
    odd,sound = sorted(data_of(runs.runs_page(tmp_path))['runs'], key=lambda run: run['name'])
    assert odd['config'] == dict(config='lr=0.1') and odd['curves']['loss'] == dict(x=[1], y=[4.])
    assert sound['last']['loss'] == 2


def test_curves_keep_their_peaks_and_gaps():
    values = [float(i % 7) for i in range(10_000)]
    values[1234],values[4321] = 99.,-99.
    values[6000:6200] = [None]*200
    values[8001] = None
    kept = list(runs._thinned(values, 300))
    thin = [values[i] for i in kept]
    assert len(kept) < 1000 and (kept[0], kept[-1]) == (0, 9999) and {99., -99.} <= set(thin)
    assert 8001 in kept and any(6000 <= i < 6200 for i in kept)
    assert not [i for i in kept if 6000 <= i < 6200 and values[i] is not None]
    assert list(runs._thinned(values[:500], 300)) == list(range(500))


def test_long_runs_are_a_small_page(tmp_path, monkeypatch):
    rows = [dict(step=i, loss=math.sin(i), lr=i/1e4) for i in range(10_000)]
    run = dict(started='', config={}, histograms=[], pictures=[], graph='', state='finished', rows=rows)
    monkeypatch.setattr(runs, 'read_runs', lambda folder: [dict(run, name=str(i)) for i in range(10)])
    runs.runs_page(tmp_path)
    assert (tmp_path/'index.html').stat().st_size < 800_000, '200,000 numbers'


# ---- train -------------------------------------------------------------------------------------------------

@pytest.fixture
def little(monkeypatch):
    "Eighty drawings in place of all data sets, on the CPU"
    from miniai.tools.clothes import draw_clothes
    from miniai.training import Dataset
    x,y = draw_clothes(80)
    ds = Dataset((x.float()/255)[:,None], y)
    monkeypatch.setattr(cli, '_pictures', lambda name: (ds, ds, [str(i) for i in range(10)]))


def files(folder): return {p.name for p in folder.iterdir()}


@pytest.mark.parametrize('model', cli.MODELS)
def test_train_trains_each_model(miniai, tmp_path, little, model):
    code,out,err = miniai('train', '--model', model, '--epochs', 1)
    assert code == 0 and f'runs/digits-{model}/model.pt' in out, err
    folder = tmp_path/f'runs/digits-{model}'
    assert {'config.json', 'log.jsonl', 'done.json', 'model.pt', 'checkpoints'} <= files(folder)
    left = files(folder) - {'pictures', 'checkpoints'}
    assert left <= set(cli.WRITTEN), '--fresh would leave something behind'
    config = json.loads((folder/'config.json').read_text(encoding='utf-8'))['config']
    assert config.items() >= dict(data='digits', model=model, epochs=1, lr=0.01, bs=64, seed=42).items()
    assert miniai('runs', 'runs')[0] == 0 and data_of(tmp_path/'runs/index.html')['runs'][0]['curves']


def test_train_goes_on_where_it_was_stopped(miniai, tmp_path, little, monkeypatch):
    "Ctrl-C in the second epoch; the same command ends with the weights of a run that nobody stopped"
    import torch
    from miniai.metrics import MetricsCB
    words = 'train', '--model', 'mlp', '--epochs', 3
    def weights(name): return torch.load(tmp_path/name/'model.pt', weights_only=True)['model']
    assert miniai(*words, '--out', 'whole')[0] == 0
    after_batch,stop = MetricsCB.after_batch,[True]
    def interrupted(self, learn):
        if stop and learn.epoch == 1: raise KeyboardInterrupt
        after_batch(self, learn)
    monkeypatch.setattr(MetricsCB, 'after_batch', interrupted)
    code,_,err = miniai(*words, '--out', 'part')
    assert code == 130 and 'stopped' in err and not (tmp_path/'part/model.pt').exists()
    stop.clear()
    code,out,_ = miniai(*words, '--out', 'part')
    assert code == 0 and '1 epochs are done' in out
    whole,part = weights('whole'),weights('part')
    assert all(torch.equal(whole[k], part[k]) for k in whole)
    code,out,_ = miniai(*words, '--out', 'part')
    assert code == 0 and out.startswith('this run is finished')
    (tmp_path/'part/model.pt').unlink()  # as if it had been killed just before
    assert miniai(*words, '--out', 'part')[0] == 0 and (tmp_path/'part/model.pt').exists()


def test_train_refuses_the_folder_of_another_run(miniai, tmp_path, little):
    words = 'train', '--model', 'mlp', '--epochs', 1, '--out', 'mine'
    assert miniai(*words)[0] == 0
    before = (tmp_path/'mine/model.pt').stat().st_mtime_ns
    code,_,err = miniai(*words, '--lr', 0.5)
    assert code == 2 and 'mine holds another run, with --lr 0.01' in err
    assert 'give its settings' in err and 'another folder as --out' in err and '--fresh' in err
    assert (tmp_path/'mine/model.pt').stat().st_mtime_ns == before
    assert miniai(*words, '--lr', 0.5, '--fresh')[0] == 0
    assert json.loads((tmp_path/'mine/config.json').read_text(encoding='utf-8'))['config']['lr'] == 0.5
    assert miniai('runs', '.')[0] == 0 and len(data_of(tmp_path/'index.html')['runs']) == 1


def test_train_leaves_a_folder_that_is_not_its_own_alone(miniai, tmp_path, little):
    (tmp_path/'other').mkdir()
    (tmp_path/'other/config.json').write_text('{"config": {"data": 1}}', encoding='utf-8')
    (tmp_path/'file').touch()
    for more in (), ('--fresh',):
        code,_,err = miniai('train', '--out', 'other', *more)
        assert code == 2 and 'other holds files that are no run of miniai train' in err
    assert 'file is a file' in miniai('train', '--out', 'file')[2] and os.listdir('other') == ['config.json']


def test_train_does_not_remove_a_run_that_is_at_work(miniai, tmp_path, little):
    from miniai import resume
    words = 'train', '--model', 'mlp', '--epochs', 1, '--out', 'mine'
    assert miniai(*words)[0] == 0
    held = resume._lock(tmp_path/'mine/checkpoints')
    code,_,err = miniai(*words, '--fresh')
    resume._unlock(held)
    assert code == 1 and 'is in use by another run' in err and (tmp_path/'mine/model.pt').exists()


def test_train_begins_anew_what_ended_before_its_first_checkpoint(miniai, tmp_path, little):
    words = 'train', '--model', 'mlp', '--epochs', 1, '--out', 'mine'
    (tmp_path/'mine/checkpoints').mkdir(parents=True)
    assert miniai(*words)[0] == 0
    for path in (tmp_path/'mine/checkpoints').glob('checkpoint-*'): path.unlink()
    (tmp_path/'mine/model.pt').unlink()
    assert miniai(*words)[0] == 0 and miniai('runs', '.')[0] == 0
    run, = data_of(tmp_path/'index.html')['runs']
    assert len(run['curves']['train/loss']['x']) == 1, 'not the rows of both'


def test_train_into_the_folder_that_one_is_in(miniai, tmp_path, little, monkeypatch):
    "Its run is called like the folder, and is found again"
    (tmp_path/'mine').mkdir()
    monkeypatch.chdir(tmp_path/'mine')
    words = 'train', '--model', 'mlp', '--epochs', 1, '--out', '.'
    assert miniai(*words)[0] == 0 and files(tmp_path) == {'mine'}
    assert {'config.json', 'done.json', 'model.pt'} <= files(tmp_path/'mine')
    assert miniai(*words)[1].startswith('this run is finished')
    assert f'give the folder that it is in, {tmp_path}' in miniai('runs', '.')[2]
    assert miniai('runs', '..')[0] == 0 and data_of(tmp_path/'index.html')['runs'][0]['name'] == 'mine'


def test_train_keeps_no_model_of_a_loss_that_is_no_number(miniai, tmp_path, little):
    words = 'train', '--model', 'mlp', '--epochs', 1, '--out', 'mine'
    for _ in range(2):  # called again, it is told the same
        code,out,err = miniai(*words, '--lr', 1e30)
        assert code == 1 and 'begin anew at a lower rate, --lr 1e+29 --fresh' in err
        assert 'of the pictures' not in out and not (tmp_path/'mine/model.pt').exists()
    assert miniai(*words, '--fresh')[0] == 0 and (tmp_path/'mine/model.pt').exists()


def test_train_looks_at_labels_and_shapes_first():
    import torch
    def ds(size, label): return SimpleNamespace(x=torch.zeros(4, 1, size, size), y=torch.full((4,), label))
    assert len(cli._fit_together('mine', ['train', 'test'], ds(8, 0), ds(8, 1))) == 2
    for other,says in ((ds(8, -1), 'mine has pictures without a label in test'),
                       (ds(9, 1), r'one shape, and are \(1, 8, 8\) in train, \(1, 9, 9\) in test')):
        with pytest.raises(cli._Refused, match=says):
            cli._fit_together('mine', ['train', 'test'], ds(8, 0), other)


def test_train_names_the_data_that_there_are(miniai, tmp_path):
    code,_,err = miniai('train', '--data', 'digit')
    assert code == 2 and "Did you mean 'digits'?" in err and 'mnist, fashion_mnist' in err
    assert not (tmp_path/'runs').exists()


def test_train_says_which_columns_it_needs(miniai, monkeypatch):
    import datasets
    from miniai import datasets as ours
    table = datasets.Dataset.from_dict(dict(text=['a'], label=[1]))
    sets = dict(train=table), dict(train=table, test=table)
    wants = 'needs the splits train and test, and has train', 'needs the columns image and label'
    for dd,want in zip(sets, wants):
        monkeypatch.setattr(ours, 'get_data', lambda name: dd)
        code,_,err = miniai('train', '--data', 'mine')
        assert code == 2 and want in err


@pytest.mark.long
def test_train_to_the_end_with_a_stop_between(tmp_path):
    "In processes, with a real Ctrl-C"
    words = command('train', '--model', 'cnn', '--epochs', 2, '--out', 'runs/mine')
    process = subprocess.Popen(words, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 200
    while not list(tmp_path.glob('runs/mine/checkpoints/checkpoint-*')):
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out,err = process.communicate(timeout=60)
    assert process.returncode == 130 and 'stopped. The same command goes on' in err and 'Traceback' not in err
    res = subprocess.run(words, env=ENV, capture_output=True, text=True, timeout=300)
    assert res.returncode == 0, res.stderr
    right = float(re.search(r'([\d.]+)% of the pictures', res.stdout)[1])
    assert 'resuming from' in res.stdout and right > 95
    res = subprocess.run(command('runs', 'runs'), env=ENV, capture_output=True, text=True)
    run, = data_of(tmp_path/'runs/index.html')['runs']
    assert res.returncode == 0 and run['state'] == 'finished' and run['config']['model'] == 'cnn'
