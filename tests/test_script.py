"The same training as a script"
import subprocess, sys, textwrap
import pytest
from miniai.learner import Callback, MomentumLearner
from tests.conftest import ROOT
from tests.small import make


def script(code): return subprocess.run([sys.executable, '-c', textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, timeout=120)


SCRIPTED = dict(plain='', clipped='ClipGradCB(0.1)', accumulated='AccumulateCB(3)', both='AccumulateCB(2), ClipGradCB(0.05)',
                more='DeviceCB("cpu"), ProgressCB(), TrainCB()')


def test_as_script_gives_the_same_numbers_in_a_fresh_process(tmp_path):
    ours = script(f'''
        import json
        from miniai.losses import accuracy
        from functools import partial
        from miniai.learner import *
        from miniai.learner import AccumulateCB, ClipGradCB
        from miniai.optim import SGD
        from tests.small import Quiet, batches, make
        from tests.test_script import SCRIPTED
        losses = {{}}
        for name,cbs in SCRIPTED.items():
            learn = make([Quiet(accuracy=Accuracy(), share=accuracy), *eval(f'[{{cbs}}]')], batches(7), opt_func=partial(SGD, momentum=0.9))
            open(f'{tmp_path}/train_{{name}}.py', 'w').write(learn.as_script(2))
            learn.fit(2)
            losses[name] = [[r[k] for k in ('loss', 'accuracy', 'share')] for r in learn.history]
        print(json.dumps(losses))''')
    assert ours.returncode == 0, ours.stderr
    theirs = script(f'''
        import importlib, json, sys; sys.path.insert(0, {str(tmp_path)!r})
        from tests.small import batches, net
        from tests.test_script import SCRIPTED
        losses = {{}}
        for name in SCRIPTED:
            history = importlib.import_module(f'train_{{name}}').train(net(), batches(7), batches(3, seed=1))
            losses[name] = [[r[k] for k in ('loss', 'accuracy', 'share')] for r in history]
        print(json.dumps(losses))''')
    assert theirs.returncode == 0, theirs.stderr
    assert ours.stdout.splitlines()[-1] == theirs.stdout.splitlines()[-1]


def test_as_script_refuses_by_name():
    class StrangeCB(Callback):
        def before_fit(self, learn): pass
    with pytest.raises(ValueError, match='StrangeCB'): make([StrangeCB()]).as_script()
    with pytest.raises(ValueError, match='lambda'): make(loss_func=lambda p,t: 0).as_script()
    with pytest.raises(ValueError, match='MomentumLearner'): make(cls=MomentumLearner).as_script()
