"The examples: short, run as people run them, and equal to a training loop that is written out"
import ast, importlib.util, math, os, re, runpy, subprocess, sys, time
from copy import deepcopy
import pytest, torch, torch.nn.functional as F
from tests.conftest import ROOT
from tests.small import Quiet

FOLDER = ROOT/'examples'
# what the last line of each says, and the bounds of the number in it after the whole run
RESULTS = dict(classify=(r'([\d.]+)% of the test pictures right; 0 weights differ', 96, 100),
               tabular=(r'heating is wrong by ([\d.]+) kWh', 1.6, 2.3),
               text=(r'([\d.]+)% of the guests understood', 98, 100),
               accumulate=(r'mean squared error ([\d.]+); always guessing', 0, 0.02),
               autoencoder=(r'of the network keep ([-\d.]+)%', 73, 85),
               targets=(r'([\d.]+)% of the turned digits are recognised', 95, 100),
               broken=(r'refused: Misspelt\.after_epochs is not an event: did you mean', None, None),
               finetune=(r'after ten pictures of each: ([\d.]+)% right', 90, 100))
by_name = pytest.mark.parametrize('name', RESULTS)


@pytest.fixture(autouse=True)
def settings():
    "What examples and tests set is put back"
    n = torch.get_num_threads()
    yield
    torch.set_num_threads(n)
    torch.set_default_dtype(torch.float32)


def source(name): return (FOLDER/f'{name}.py').read_text(encoding='utf-8')


def test_there_is_one_for_each_kind_of_work():
    assert {p.stem for p in FOLDER.glob('*.py')} == {*RESULTS, 'train', 'distributed'}
    readme = (ROOT/'README.md').read_text(encoding='utf-8')
    for name in RESULTS: assert f'](examples/{name}.py)' in readme


@by_name
def test_an_example_is_short_and_says_why(name):
    text = source(name)
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 60 and len(ast.get_docstring(tree)) > 80
    private = re.findall(r'(?<![\w.])_[a-z]\w*|\._[a-z]\w*', text)
    assert not private, f'{private}: an example does what anybody may do'


def test_train_is_short(): assert len(source('train').splitlines()) <= 40


@by_name
def test_an_example_runs(name, monkeypatch, capfd):
    monkeypatch.setattr(sys, 'argv', [f'{name}.py', '--quick'])
    runpy.run_path(str(FOLDER/f'{name}.py'), run_name='__main__')
    assert re.search(RESULTS[name][0], capfd.readouterr().out.splitlines()[-1])


@pytest.mark.long
@by_name
def test_an_example_in_full(name):
    "On the drawn digits, for which the bounds are"
    begin,env = time.monotonic(),{k: v for k,v in os.environ.items() if k != 'MINIAI_DATA'}
    out = subprocess.run([sys.executable, FOLDER/f'{name}.py'], env=env, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    last,(pattern,low,high) = out.stdout.splitlines()[-1],RESULTS[name]
    print(f'{name}: {time.monotonic() - begin:.0f} s: {last}')
    found = re.search(pattern, last)
    assert found and (low is None or low <= float(found[1]) <= high), last


# ---- the loop that is written out --------------------------------------------------------------------------

def by_hand(model, dls, loss_of, opt, epochs, group=1, train_mode=None, before_batch=None,
            before_step=None, after_step=None, zero_grad=True, after_epoch=None):
    "What a script without miniai would hold; gives the mean loss of each epoch, training and validation"
    (train,valid),losses = dls,[]
    for epoch in range(epochs):
        (train_mode or model.train)()
        seen,waiting = [],[]  # losses with sizes; batches that make a step together
        for i,batch in enumerate(train):
            if before_batch: before_batch(opt, (epoch*len(train) + i)/(epochs*len(train)))
            waiting.append(batch)
            if len(waiting) < group and i+1 < len(train): continue
            together = sum(map(size, waiting))
            for batch in waiting:
                loss = loss_of(model, batch)
                (loss if group == 1 else loss*(size(batch)/together)).backward()
                seen.append((loss.item(), size(batch)))
            if before_step: before_step(model)
            opt.step()
            if zero_grad: opt.zero_grad()
            if after_step: after_step()
            waiting = []
        model.eval()
        with torch.no_grad(): held_back = [(loss_of(model, batch).item(), size(batch)) for batch in valid]
        losses += [sum(loss*n for loss,n in part)/sum(n for _,n in part) for part in (seen, held_back)]
        if after_epoch and after_epoch(model, losses[-1]): break
    return losses


def size(batch):
    if isinstance(batch, dict): batch = list(batch.values())
    return len(batch if isinstance(batch, torch.Tensor) else batch[0])


def of_pair(loss): return lambda model, batch: loss(model(batch[0]), *batch[1:])


def plain(dls, **kwargs):
    "PyTorch's loaders in place of ours"
    def loader(dl): return torch.utils.data.DataLoader(dl.dataset, dl.batch_size, dl is dls.train, **kwargs)
    return loader(dls.train),loader(dls.valid)


def one_cycle(*tops):
    "Sets rate and momentum of each group of parameters, at a position in the run"
    def cos(start, end, pos): return start + (1 - math.cos(math.pi*pos))*(end-start)/2
    def set_values(opt, pos):
        for group,top in zip(opt.param_groups, tops, strict=True):
            if pos < 0.25: lr,mom = cos(top/25, top, pos/0.25),cos(0.95, 0.85, pos/0.25)
            else: lr,mom = cos(top, top/1e5, (pos - 0.25)/0.75),cos(0.85, 0.95, (pos - 0.25)/0.75)
            group['lr'],group['betas'] = lr,(mom, 0.999)
    return set_values


# ---- each example, and what it is without miniai ----------------------------------------------------------

def adamw(model, lr=0.01): return torch.optim.AdamW(model.parameters(), lr)


def twice(make, epochs):
    "A learner that has trained, and one built alike: chance begins from the same seed"
    learn = make()
    learn.fit(epochs)
    return learn,make()


def classify(ex, folder):
    learn = ex.train(folder, quick=True)
    torch.manual_seed(0)
    model,dls = ex.make_model(),ex.make_dls(quick=True, workers=0)  # the moves follow from its seed
    yield learn,model,by_hand(model, dls, of_pair(F.cross_entropy), adamw(model), 3,
                              before_batch=one_cycle(0.01))


def tabular(ex, folder):
    "With a higher rate, so that it stops early"
    best = folder/'best.pt'
    learn = ex.make_learner(best, quick=True)
    learn.lr = 0.1
    learn.fit(30)
    learn.load(best)
    o,kept = ex.make_learner(best, quick=True),{}
    def after_epoch(model, loss):
        kept['waited'] = kept.get('waited', 0) + 1
        if loss < kept.get('loss', math.inf):
            kept.update(loss=loss, model=deepcopy(model.state_dict()), waited=0)
        return kept['waited'] == 3
    def loss_of(model, batch): return F.mse_loss(model(*batch[:2]), batch[2])
    losses = by_hand(o.model, plain(o.dls), loss_of, adamw(o.model, 0.1), 30, after_epoch=after_epoch)
    assert len(losses) < 2*30
    o.model.load_state_dict(kept['model'])
    yield learn,o.model,losses


def text(ex, folder):
    for order in True,False:
        learn,o = twice(lambda: ex.make_learner(quick=True, order=order), 2)
        def loss_of(model, batch): return F.cross_entropy(model(batch['ids'], batch['mask']), batch['label'])
        dls = plain(o.dls, collate_fn=ex.padded)
        yield learn,o.model,by_hand(o.model, dls, loss_of, adamw(o.model), 2,
                                    before_batch=one_cycle(0.01))


def accumulate(ex, folder):
    "The last group of each epoch is smaller, 3*64 + 40"
    learn,o = twice(lambda: ex.make_learner(3, quick=True), 3)
    opt = torch.optim.Adam(o.model.parameters(), 0.02)
    warm = torch.optim.lr_scheduler.LinearLR(opt, 0.1, total_iters=1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 3*4 - 1)
    schedule = torch.optim.lr_scheduler.SequentialLR(opt, [warm, cosine], [1])
    def clip(model): torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    yield learn,o.model,by_hand(o.model, plain(o.dls), of_pair(F.mse_loss), opt, 3, group=4,
                                before_step=clip, after_step=schedule.step)
    assert len(learn.length.lengths) == 3*4


def autoencoder(ex, folder):
    learn,o = twice(lambda: ex.make_learner(quick=True), 2)
    def loss_of(model, batch): return F.mse_loss(model(batch), batch)
    opt = adamw(o.model, 0.003)
    yield learn,o.model,by_hand(o.model, plain(o.dls), loss_of, opt, 2, before_batch=one_cycle(0.003))


def targets(ex, folder):
    learn,o = twice(lambda: ex.make_learner(quick=True), 2)
    def loss_of(model, batch):
        scores,angles = model(batch[0])
        return F.cross_entropy(scores, batch[1]) + F.mse_loss(angles/20, batch[2]/20)
    yield learn,o.model,by_hand(o.model, plain(o.dls), loss_of, adamw(o.model), 2,
                                before_batch=one_cycle(0.01))


def broken(ex, folder):
    "Preflight leaves all as it was; and a broken training goes wrong as it does without miniai"
    data = ex.load_digits(300, 100)
    for name,changes in ex.TRAININGS.items():
        if name in ('labels from 1', 'the default loss', 'a misspelt event'): continue
        learn = ex.make_learner(data, **changes)
        assert learn.preflight().ok == (name == 'healthy')
        learn.fit(2, cbs=Quiet())
        o = ex.make_learner(data, **changes)
        params = list(o.model.parameters())[2 if name == 'half an optimizer' else 0:]
        opt = torch.optim.SGD(params, changes.get('lr', 0.2))
        yield learn,o.model,by_hand(o.model, plain(o.dls), of_pair(F.cross_entropy), opt, 2,
                                    zero_grad=name != 'no zero_grad')


def finetune(ex, folder):
    data = ex.load_digits(500, 200)
    few,path = ex.make_dls(data, range(7, 10), 4),folder/'knows.pt'
    torch.manual_seed(0)
    ex.make_learner(ex.make_model(7), few).save(path)
    learn = ex.finetune(path, few, 2)
    torch.manual_seed(0)
    knows,model = ex.make_model(7),ex.make_model(3)
    body,head = model
    body.load_state_dict(knows[0].state_dict())
    def frozen():
        head.train()
        body.eval()
    def fit(lr, train_mode):
        groups = [dict(params=body.parameters(), lr=lr/10), dict(params=head.parameters(), lr=lr)]
        opt = torch.optim.AdamW(groups)
        dls = plain(ex.make_learner(model, few).dls)
        return by_hand(model, dls, of_pair(F.cross_entropy), opt, 2, train_mode=train_mode,
                       before_batch=one_cycle(lr/10, lr))
    for p in body.parameters(): p.requires_grad = False
    losses = fit(0.01, frozen)
    for p in body.parameters(): p.requires_grad = True
    yield learn,model,losses + fit(0.003, model.train)


def load(name):
    "An example as a module"
    spec = importlib.util.spec_from_file_location(name, FOLDER/f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('opt', ['torch', 'ours'])
@by_name
def test_an_example_is_the_loop_that_is_written_out(name, opt, tmp_path, monkeypatch):
    """To the last bit, with PyTorch's optimizers in the example too.

    Ours round their first step another way. That nothing else differs shows in float64 (but for `broken`, as
    preflight takes float32 only). Accumulated gradients are divided after adding, in the loop before.
    """
    ex = load(name)
    for rule in 'SGD', 'Adam', 'AdamW':
        if opt == 'torch' and hasattr(ex, rule): monkeypatch.setattr(ex, rule, getattr(torch.optim, rule))
    if opt == 'ours' and name != 'broken': torch.set_default_dtype(torch.float64)
    eps = dict(torch=1e-4 if name == 'accumulate' else 0, ours=1e-7)[opt]
    for learn,model,losses in globals()[name](ex, tmp_path):
        mine = [row['loss'] for row in learn.history]
        assert mine == pytest.approx(losses, rel=max(eps, 1e-6))  # a mean, added up in float32
        weights = [dict(m.state_dict()) for m in (learn.model, model)]
        torch.testing.assert_close(*weights, rtol=eps, atol=eps)
