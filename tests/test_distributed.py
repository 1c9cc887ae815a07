"AccelerateCB in one process, and several that do together what one does"
import json, os, pickle, re, socket, subprocess, sys, time, warnings
from types import SimpleNamespace
import pytest, torch, torch.nn.functional as F
from torch import nn
from miniai.accel import AccelerateCB, PrefetchDL
from miniai.data import DataLoader, Dataset
from miniai.learner import Learner, TrainCB
from miniai.optim import SGD, Adam
from miniai.steps import share
from miniai.track import read_log
from tests.conftest import ROOT, fresh
from tests.small import Quiet, Stranger, make, net, weights

ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT), 'HF_HUB_OFFLINE': '1'}
N = 23


# ---- a loader's share --------------------------------------------------------------------------------------

def data(): return Dataset(torch.arange(N), torch.arange(N))
def loaders(cls, **kwargs):
    return [cls(data(), 10, generator=torch.Generator().manual_seed(4), **kwargs) for _ in range(5)]


@pytest.mark.parametrize('n', [1, 2, 3, 4])
@pytest.mark.parametrize('cls', [DataLoader, torch.utils.data.DataLoader])
@pytest.mark.parametrize('kwargs', [dict(shuffle=True), {}, dict(shuffle=True, drop_last=True),
                                    dict(num_workers=1)])
def test_the_shares_are_the_batches(cls, n, kwargs):
    if kwargs.get('num_workers') and cls is DataLoader: kwargs = dict(kwargs, worker_type='thread')
    if kwargs.get('num_workers') and n != 2: pytest.skip('once is enough')
    whole,*rest = loaders(cls, **kwargs)
    shares = [share(dl, rank, n) for rank,dl in zip(range(n), rest)]
    for epoch in range(2):
        parts = [list(dl) for dl in shares]
        for i,(batch,_) in enumerate(whole):
            sizes = {dl.batch_sampler.sizes[i] for dl in shares}
            assert sizes == {len(batch)}
            counted = [part[i][0][:len(range(rank, len(batch), n))] for rank,part in enumerate(parts)]
            assert sorted(torch.cat(counted).tolist()) == sorted(batch.tolist())
            assert all(len(part[i][0]) for part in parts)  # never an empty batch
        assert len({dl.batch_sampler.mark for dl in shares}) == 1
        assert {len(dl) for dl in shares} == {len(whole)}


def test_a_loader_keeps_what_it_has():
    dl = DataLoader(data(), 10, shuffle=True)
    before = dl.batch_sampler
    shared = share(PrefetchDL(dl, 'cpu'), 1, 2)
    assert type(shared) is PrefetchDL and dl.batch_sampler is before
    assert [len(x) for x,_ in shared] == [5, 5, 1]
    assert [len(x) for x,_ in dl] == [10, 10, 3]
    state = share(dl, 0, 2).state_dict()
    assert state.keys() == dl.state_dict().keys()  # a checkpoint of two processes goes on in one


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self): return iter(range(N))


@pytest.mark.parametrize('dl', [[(1, 2)], DataLoader(Stream(), 4), DataLoader(data(), None)])
def test_what_can_not_be_divided_says_so(dl):
    with pytest.raises(TypeError, match="can't be divided among 2: that takes a DataLoader"):
        share(dl, 0, 2)


def test_a_batch_smaller_than_the_number_of_processes():
    with pytest.raises(ValueError, match="a batch of 3 can't be divided among 4"):
        share(DataLoader(data(), 3), 0, 4)


# ---- one process -------------------------------------------------------------------------------------------

@pytest.fixture
def alone():
    "AccelerateCB on the CPU; accelerate's own state is one for a process, and is made anew"
    state = pytest.importorskip('accelerate.state')
    def made(precision='no', **kwargs):
        state.AcceleratorState._reset_state(reset_partial_state=True)
        return AccelerateCB(mixed_precision=precision, **kwargs)
    yield made
    state.AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize('opt_func', [SGD, Adam, torch.optim.AdamW])
def test_one_process_trains_as_ever(alone, opt_func):
    learners = [make([Quiet(), cb], opt_func=opt_func) for cb in (TrainCB(), alone())]
    for learn in learners:
        learn.fit(2)
        learn.fit(1, keep_opt=True)
    assert torch.equal(*map(weights, learners))
    one,two = [[{**row, 'time': 0} for row in learn.history] for learn in learners]
    assert one == two
    assert type(learners[1].opt) is opt_func


def test_a_stranger_takes_it(alone):
    learners = [make([cb], cls=Stranger) for cb in (TrainCB(), alone())]
    for learn in learners: learn.fit(2)
    assert torch.equal(*map(weights, learners))


def test_afterwards_all_is_as_it_was(alone):
    learn = make([Quiet(), alone('bf16')])
    model,dls,before = learn.model,(learn.dls.train, learn.dls.valid),set(vars(learn.model))
    learn.fit(1)
    assert learn.model is model and set(vars(model)) == before
    assert (learn.dls.train, learn.dls.valid) == dls
    pickle.loads(pickle.dumps(model))
    learn.validate()
    learn.lr_find(max_epochs=1)
    assert set(vars(model)) == before and 'opt' in vars(learn) and type(learn.opt) is SGD


def test_16_bits_on_a_cpu(alone):
    "bfloat16 computes there; float16 says that it does not"
    seen = []
    class Look(nn.Module):
        def forward(self, x):
            seen.append(torch.is_autocast_enabled('cpu'))
            return x
    for precision in 'bf16','no':
        make([alone(precision)], model=nn.Sequential(Look(), net())).fit(1, valid=False)
    assert seen == [True]*4 + [False]*4


def test_float16_without_a_gpu_is_said_once(alone):
    if torch.cuda.is_available(): pytest.skip('there is a GPU')
    with pytest.warns(UserWarning, match="'fp16' needs a GPU, and there is none: it trains in") as said:
        learn = make([alone('fp16')])
    assert len([w for w in said if 'AccelerateCB' in str(w.message)]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        learn.fit(2)
        AccelerateCB(mixed_precision='no')  # in the same process: float32, as that one


def test_fp16_on_a_gpu(alone):
    if not torch.cuda.is_available(): pytest.skip('needs a GPU')
    learn = make([Quiet(), alone('fp16')])
    learn.fit(3)
    assert learn.accelerate.acc.scaler is not None
    assert learn.history[-2]['loss'] < learn.history[0]['loss']


def test_without_accelerate():
    "The module can be imported, and what needs the package says how to get it"
    res = fresh("import sys; sys.modules['accelerate'] = None\nfrom miniai.accel import AccelerateCB\n"
                "try: AccelerateCB()\nexcept ImportError as e: print(e)")
    assert res.stdout.strip() == "accelerate is missing: pip install 'miniai[accel]'", res.stderr


def test_processes_that_do_not_know_of_each_other(monkeypatch):
    "Each would train with all of the data, and nothing would tell"
    accelerate = pytest.importorskip('accelerate')
    lone = SimpleNamespace(num_processes=1, device=torch.device('cpu'), is_main_process=True)
    monkeypatch.setattr(accelerate, 'Accelerator', lambda **kwargs: lone)
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(RuntimeError, match='2 processes were started, accelerate sees 1'):
        AccelerateCB(mixed_precision='no')


def test_importing_the_module_does_not_import_accelerate():
    assert fresh("import sys, miniai.accel; print('accelerate' in sys.modules)").stdout.strip() == 'False'


def test_two_that_train(alone):
    with pytest.raises(TypeError, match='AccelerateCB is a TrainCB: leave TrainCB out'):
        make([TrainCB(), alone()]).fit(1)


@pytest.mark.parametrize('wrong', ['bf16', 16., True])
def test_the_first_argument_is_a_number(wrong):
    with pytest.raises(ValueError, match='n_inp must be a whole number from 1 on'): AccelerateCB(wrong)


def test_a_model_of_ours(alone):
    from tests.several import Ours
    make([alone()], model=Ours()).fit(1)
    with pytest.raises(TypeError, match='accelerate takes modules of PyTorch, and the model is Ours'):
        make([alone('bf16')], model=Ours()).fit(1)


def test_n_inp(alone):
    batch = torch.randn(4, 6),torch.randn(4, 6),torch.tensor([0, 1, 2, 0])
    learn = Learner(nn.Bilinear(6, 6, 3), [batch], F.cross_entropy, 0.1, alone(n_inp=2))
    learn.fit(1)
    assert learn.preds.shape == (4, 3)


# ---- several -----------------------------------------------------------------------------------------------

def run(command, env=ENV, timeout=500):
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout)

def launched(n, *args, timeout=500):
    "Run a script in `n` processes; torchrun finds a free port"
    how = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', str(n)]
    how = how if n > 1 else [sys.executable]
    return run([*how, *map(str, args)], timeout=timeout)


@pytest.fixture(scope='module')
def fits(tmp_path_factory):
    "What one process and two made of the same fits, and what they printed"
    found = {}
    for n in 1,2:
        folder = tmp_path_factory.mktemp('fits')
        res = launched(n, '-m', 'tests.several', 'fits', folder)
        assert res.returncode == 0, res.stderr
        found[n] = folder,res.stdout,[torch.load(folder/f'fits{rank}.pt') for rank in range(n)]
    return found


NAMES = ['plain', 'adam', "torch's", 'workers', 'generator', 'accumulate', 'schedule', 'metrics', 'stop',
         'track']

def test_names():
    "The fits that are compared below"
    text = (ROOT/'tests/several.py').read_text(encoding='utf-8')
    assert re.findall(r"yield ['\"]([\w']+)['\"],", text) == NAMES


@pytest.mark.long
@pytest.mark.parametrize('name', NAMES)
def test_two_processes_do_what_one_does(fits, name):
    "The same weights, and rows of the same numbers in both"
    one,two = fits[1][2][0][name],[found[name] for found in fits[2][2]]
    for found in two:
        for k,w in one['model'].items():
            torch.testing.assert_close(found['model'][k], w, rtol=1e-5, atol=1e-6)
        for mine,reference in zip(found['rows'], one['rows'], strict=True):
            assert mine == pytest.approx(reference, rel=1e-5)
        assert found['valid'] == pytest.approx(one['valid'], rel=1e-5)


@pytest.mark.long
def test_one_of_them_prints_and_writes(fits):
    one,two = [re.sub(r'[\d.]+ s$', '', fits[n][1], flags=re.M).splitlines() for n in (1, 2)]
    assert [line for line in one if line[:2] != '--'] == [line for line in two if line[:2] not in ('', '--')]
    for n in 1,2:
        folder = fits[n][0]
        assert sorted(p.name for p in folder.iterdir() if p.suffix != '.pt') == ['runs']
        log = (folder/'runs/one/log.jsonl').read_text().splitlines()
        assert len([line for line in log if 'train/loss' in json.loads(line)]) == 1
        assert (folder/'notes.pt').read_text() == 'an epoch\n'*2  # `main_only`


@pytest.mark.long
def test_what_can_not_be_right_in_two_processes(tmp_path):
    res = launched(2, '-m', 'tests.several', 'refused', tmp_path)
    assert res.returncode == 0, res.stderr
    said = dict(re.findall(r'^(\d \w+): (.*)$', res.stdout, re.M))
    words = dict(seconds='LimitCB would stop each of several processes at a moment of its own',
                 nan='NaNStopCB would stop each', checkpoint='a checkpoint within an epoch holds the sums',
                 metric='the metric Odd: of several processes', listed="can't be divided among 2",
                 stream="can't be divided among 2", small="a batch of 1 can't be divided among 2",
                 module='accelerate takes modules of PyTorch, and the model is Ours',
                 methods="several processes need miniai's Learner, and only AccelerateCB may predict",
                 order='all processes must go through the same data, in the same order')
    for name,text in words.items():
        for rank in 0,1: assert text in said[f'{rank} {name}'], said


@pytest.mark.long
def test_one_that_fails_ends_the_others(tmp_path):
    begin = time.monotonic()
    res = launched(2, '-m', 'tests.several', 'fails', tmp_path)
    assert res.returncode != 0 and 'the second process has had enough' in res.stderr
    assert time.monotonic() - begin < 240  # and not half an hour, the patience of torch's collectives


@pytest.mark.long
def test_the_example_resumed_and_not(tmp_path):
    "Two processes, stopped after an epoch and resumed, end where one process does that was not stopped"
    script,folders = 'examples/distributed.py',[tmp_path/'one', tmp_path/'two']
    runs = [launched(1, script, '--out', folders[0], '--epochs', 2),
            launched(2, script, '--out', folders[1], '--epochs', 1),
            launched(2, script, '--out', folders[1], '--epochs', 2, '--resume')]
    for res in runs: assert res.returncode == 0, res.stderr
    for res,n in zip(runs, (1, 2, 2)):
        assert [line[:12] for line in res.stdout.splitlines()].count(f'processes: {n}') == 1
    assert runs[2].stdout.count('resuming from') == 1
    one,two = [torch.load(folder/'end.pt')['model'] for folder in folders]
    assert list(two) == list(one)  # plain names, no `module.`
    for k,w in one.items(): torch.testing.assert_close(two[k], w, rtol=1e-4, atol=1e-5)
    rows = [[(row['epoch'], row['train']) for row in read_log(folder/'log.jsonl') if row['kind'] == 'epoch']
            for folder in folders]
    assert rows[0] == rows[1] == [(0, 'train'), (0, 'eval'), (1, 'train'), (1, 'eval')]
    kept = sorted((folders[1]/'checkpoints').glob('*.pt'))
    assert [p.name[:17] for p in kept] == ['checkpoint-000001', 'checkpoint-000002']


@pytest.mark.long
def test_a_port_in_use_is_named():
    "By torch, to whoever starts the processes by hand; torchrun --standalone finds a free one"
    with socket.socket() as taken:
        taken.bind(('', 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        place = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, RANK='0', LOCAL_RANK='0', WORLD_SIZE='2')
        res = run([sys.executable, 'examples/distributed.py', '--quick'], ENV | place)
        assert res.returncode != 0 and port in res.stderr and 'address already in use' in res.stderr.lower()
