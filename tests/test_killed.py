"Runs that accumulate, average, stop early and have a limit, all at once: killed at any moment, and resumed"
import os, random, signal
from functools import partial
import pytest, torch
from miniai.check.kit import difference
from tests import survivor

ENDINGS = 'limit', 'seconds', 'early', 'epochs'  # what ends the run: see survivor.all_at_once


def in_a_child(folder, moment, **config):
    "Run in a forked process that is killed at `moment`; False if it came to its end before"
    child = os.fork()
    if not child:
        try: survivor.all_at_once(folder, moment, **config)
        finally: os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status != 0


def some_moment(rng, n_events, n_writes):
    "An event of the run, by its number, for the first callback or the last; or within a write"
    if rng.random() < 0.25:
        stage = rng.choice(['half', 'sync', 'renamed'])
        return 'write',stage,rng.randint(1, n_writes),rng.random()
    return 'event',rng.randint(1, n_events),rng.choice([-200, 200])


def check_killed(tmp_path, n, **config):
    "`n` moments; each third run is killed once more after it was resumed"
    seed = random.SystemRandom().randrange(10**6)  # a run seeds the usual generator
    rng,run = random.Random(seed),partial(survivor.all_at_once, **config)
    want,counts,_ = run(tmp_path/'whole')
    for i in range(n):
        moments = [some_moment(rng, *counts) for _ in range(1 + (i % 3 == 2))]
        killed = [in_a_child(tmp_path/f'{i}', moment, **config) for moment in moments]
        assert killed[0], f'seed {seed}, {config}: not killed at {moments[0]}'
        found = difference(run(tmp_path/f'{i}')[0], want, rtol=0, atol=0)
        assert not found, f'seed {seed}, {config}, killed at {moments}: {found}'


@pytest.mark.parametrize('every_batches', [None, 2])
@pytest.mark.parametrize('ending', ENDINGS)
def test_all_at_once_and_killed(ending, every_batches, tmp_path):
    check_killed(tmp_path, 3, ending=ending, every_batches=every_batches)


@pytest.mark.parametrize('ending', ENDINGS)
def test_killed_in_its_last_moment(ending, tmp_path):
    "All is done, and nobody knows: what ended the run ends it again, at the same place"
    want,(n_events,_),_ = survivor.all_at_once(tmp_path/'whole', ending=ending)
    assert in_a_child(tmp_path/'killed', ('event', n_events, 200), ending=ending)
    assert not difference(survivor.all_at_once(tmp_path/'killed', ending=ending)[0], want, rtol=0, atol=0)


@pytest.mark.long
@pytest.mark.parametrize('every_batches', [None, 2, 3])
@pytest.mark.parametrize('ending', ENDINGS)
@pytest.mark.parametrize('data', ['loader', 'workers', 'stream', 'list'])
def test_all_at_once_and_killed_at_twenty_moments(data, ending, every_batches, tmp_path):
    check_killed(tmp_path, 20, ending=ending, every_batches=every_batches, data=data)


@pytest.mark.parametrize('ending', ENDINGS)
def test_each_ending_is_the_one_it_says(ending, tmp_path, capsys):
    "Else the tests above would compare runs that all end after the last epoch"
    found,_,learn = survivor.all_at_once(tmp_path, ending=ending)
    (epoch,steps),iter = found['place'],learn.iter
    out = capsys.readouterr().out
    if ending == 'epochs': assert (epoch, steps) == (4, 30) and 'stopped' not in out
    if ending == 'early': assert epoch < 4 and 'stopped after epoch' in out
    if ending in ('limit', 'seconds'): assert (epoch, iter, steps) == (3, 4, 20) and 'after 20 steps' in out
    assert not torch.equal(found['average'][0], found['model']['0.weight'])
