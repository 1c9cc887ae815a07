"The same training as a script"
import subprocess, sys, textwrap
from functools import partial
import pytest, torch
from miniai import losses
from miniai.learner import (
    AccumulateCB, Callback, CheckpointCB, ClipGradCB, DeviceCB, LogCB, MetricsCB, MomentumLearner, ProgressCB)
from miniai.optim import SGD
from tests.conftest import ROOT
from tests.small import Quiet, batches, make, net


def script(code):
    return subprocess.run([sys.executable, '-c', textwrap.dedent(code)], cwd=ROOT, capture_output=True,
                          text=True, timeout=120)


SCRIPTED = dict(plain='', clipped='ClipGradCB(0.1)', accumulated='AccumulateCB(3)',
                both='AccumulateCB(2), ClipGradCB(0.05)',
                more='DeviceCB("cpu"), ProgressCB(), TrainCB()')


def test_as_script_gives_the_same_numbers_in_a_fresh_process(tmp_path):
    ours = script(f'''
        import json
        from miniai.losses import accuracy
        from functools import partial
        from miniai.learner import *
        from miniai.learner import AccumulateCB, ClipGradCB
        from torch.optim import SGD
        from tests.small import Quiet, batches, make
        from tests.test_script import SCRIPTED
        losses = {{}}
        for name,cbs in SCRIPTED.items():
            cbs = [Quiet(accuracy=Accuracy(), share=accuracy), *eval(f'[{{cbs}}]')]
            learn = make(cbs, batches(7), opt_func=partial(SGD, momentum=0.9))
            open(f'{tmp_path}/train_{{name}}.py', 'w').write(learn.as_script(2))
            learn.fit(2)
            losses[name] = [[r[k] for k in ('loss', 'accuracy', 'share')] for r in learn.history]
        print(json.dumps(losses))''')
    assert ours.returncode == 0, ours.stderr
    theirs = script(f'''
        import importlib, json, sys; sys.path.insert(0, {str(tmp_path)!r})
        from tests.small import batches, net
        start = {{name: (net(), batches(7), batches(3, seed=1)) for name in {list(SCRIPTED)}}}
        for name in [n for n in sys.modules if n.partition('.')[0] == 'miniai']: del sys.modules[name]
        sys.modules['miniai'] = None  # whoever imports it gets an error
        losses = {{}}
        for name in start:
            history = importlib.import_module(f'train_{{name}}').train(*start[name])
            losses[name] = [[r[k] for k in ('loss', 'accuracy', 'share')] for r in history]
        print(json.dumps(losses))''')
    assert theirs.returncode == 0, theirs.stderr
    assert ours.stdout.splitlines()[-1] == theirs.stdout.splitlines()[-1]


def test_ours_and_torchs_optimizer_agree_to_rounding():
    learn = make([Quiet()], batches(7), loss_func=losses.cross_entropy, opt_func=partial(SGD, momentum=0.9))
    text,place = learn.as_script(2),{}
    assert 'miniai' not in text.partition('def train')[0].replace('miniai Learner', '')
    exec(text, place)
    rows = place['train'](net(), batches(7), batches(3, seed=1))
    learn.fit(2)
    assert [r['loss'] for r in rows] == pytest.approx([r['loss'] for r in learn.history], rel=1e-6)


def test_the_rate_is_that_of_the_last_fit():
    learn = make(opt_func=torch.optim.SGD, lr=0.2)
    assert 'model.parameters(), 0.2)' in learn.as_script()
    learn.fit(1, lr=0.02)
    assert 'model.parameters(), 0.02)' in learn.as_script()


def test_batches_that_are_dictionaries_are_refused():
    data = [dict(x=x, y=y) for x,y in batches()]
    learn = make(train=data, valid=data)
    with pytest.raises(ValueError, match='dictionaries'): learn.as_script()
    learn.fit(1)
    with pytest.raises(ValueError, match='dictionaries'): learn.as_script()


def test_every_callback_says_its_lines_in_this_module():
    for cls in (MetricsCB, ProgressCB, DeviceCB, ClipGradCB, AccumulateCB, LogCB, CheckpointCB):
        assert cls.script.__module__ == 'miniai.script'


def test_as_script_refuses_by_name():
    class StrangeCB(Callback):
        def before_fit(self, learn): pass
    with pytest.raises(ValueError, match='StrangeCB'): make([StrangeCB()]).as_script()
    with pytest.raises(ValueError, match='lambda'): make(loss_func=lambda p,t: 0).as_script()
    with pytest.raises(ValueError, match='MomentumLearner'): make(cls=MomentumLearner).as_script()
