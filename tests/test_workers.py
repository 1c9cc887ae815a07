"miniai.tools.workers: real processes, real signals"
import multiprocessing, os, queue, threading, time, traceback
from functools import partial
from itertools import count, cycle
import numpy as np, psutil, pytest, torch
from hypothesis import given, settings, strategies as st
from miniai.tools import workers
from miniai.tools.workers import END, Workers, ordered_map
from tests.loading import (Demanding, children, exit_me, kill_me, raise_demanding, same, sleep_long,
                           unpicklable)

fast = settings(deadline=None, max_examples=60)
KINDS = 'process','thread'


def call(f): return f()
def square(x): return x*x
def who(x): return x,os.getpid(),threading.get_ident()


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 12), st.integers(0, 3), st.integers(1, 3), st.sampled_from(KINDS))
def test_as_pythons_map(n_tasks, n, ahead, kind):
    kwargs = dict(kind=kind, ahead=ahead) if n else {}
    assert list(ordered_map(square, range(n_tasks), n, **kwargs)) == list(map(square, range(n_tasks)))
    assert not children()


@pytest.mark.parametrize('kind', KINDS)
def test_task_i_goes_to_worker_i_mod_n(kind):
    results = list(Workers(who, 3, kind=kind).map(range(12)))
    assert [r[0] for r in results] == list(range(12))
    assert all(results[i][1:] == results[i % 3][1:] for i in range(12)) and len({r[1:] for r in results}) == 3


class Share:
    "A stream of its own for each worker"
    def __init__(self, *shares): self.shares,self.here = shares,threading.local()
    def start(self, worker): self.here.stream = iter(self.shares[worker])
    def __call__(self, task): return next(self.here.stream, END)


class ForkedShare(Share):
    def __init__(self, *shares): self.shares = shares
    def start(self, worker): self.stream = iter(self.shares[worker])
    def __call__(self, task): return next(self.stream, END)


@pytest.mark.parametrize('kind,cls', [('process', ForkedShare), ('thread', Share)])
def test_streams_end_one_by_one(kind, cls):
    share = cls('abcd', '', 'xy')
    assert ''.join(Workers(share, 3, share.start, kind).map(cycle([None]))) == 'axbycd'
    assert list(ordered_map(lambda i: i if i < 3 else END, count())) == [0, 1, 2]


def test_tasks_may_be_none_and_results_too():
    for n in (0, 2): assert list(ordered_map(lambda task: task, [None, 1, None], n)) == [None, 1, None]


@pytest.mark.parametrize('kind', KINDS)
def test_prefetch_is_bounded_and_tasks_are_drawn_as_needed(kind):
    taken = []
    def tasks():
        for i in count():
            taken.append(i)
            yield i
    results = Workers(square, 2, kind=kind, ahead=3).map(tasks())
    assert taken == list(range(6))  # at once, before the first result is asked for
    for i in range(4): assert next(results) == i*i and len(taken) == 7 + i
    del results
    assert not children()


@pytest.mark.parametrize('kind', KINDS)
def test_errors_arrive_whole_and_end_the_loop(kind):
    results = Workers(call, 2, kind=kind).map([os.getpid, raise_demanding, os.getpid])
    next(results)
    with pytest.raises(Demanding, match='a.csv:3') as e: next(results)
    assert e.value.line == 3 and 'in raise_demanding' in ''.join(traceback.format_exception(e.value))
    assert list(results) == [] and not children()
    def bad_tasks():
        yield os.getpid
        raise KeyError('no more tasks')
    with pytest.raises(KeyError, match='no more tasks'): list(Workers(call, 1, kind=kind).map(bad_tasks()))
    def bad_init(worker): raise OSError(f'worker {worker} has no disk')
    with pytest.raises(OSError, match='worker 0 has no disk') as e:
        next(Workers(call, 2, bad_init, kind).map([exit_me]))
    assert 'while worker 0 was starting' in e.value.__notes__
    assert not children()


def test_odd_exceptions_travel():
    class Local(Exception): pass
    held = Demanding('b.csv', line=4)
    held.lock = threading.Lock()
    for error,kind in ((UnicodeDecodeError('utf8', b'a', 0, 1, 'bad'), UnicodeDecodeError),
                       (OSError(2, 'gone', 'x'), OSError), (Local('here'), RuntimeError), (held, Demanding)):
        def raising(task): raise error
        with pytest.raises(kind) as e: list(ordered_map(raising, [0], 1))
        assert str(error) in str(e.value) and e.value.__notes__ == ['in worker 0']
    with pytest.raises((AttributeError, TypeError)) as e: list(ordered_map(call, [unpicklable], 1))
    assert 'while sending the result to the main process' in e.value.__notes__


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_the_dead_are_noticed():
    fates = {kill_me: r'worker 1 \(pid \d+\) exited unexpectedly: killed by SIGKILL. Did memory run out',
             partial(os._exit, 4): 'exit code 4, see its output'}
    for f,what in fates.items():
        start = time.monotonic()
        with pytest.raises(RuntimeError, match=what): list(Workers(call, 2).map([os.getpid, f, os.getpid]))
        assert time.monotonic() - start < 5 and not children()
    with pytest.raises(RuntimeError, match='worker thread 0 exited'):
        list(Workers(call, 1, kind='thread').map([exit_me]))
    start = time.monotonic()  # another one than we wait for
    with pytest.raises(RuntimeError, match='worker 1 .*SIGKILL'):
        list(Workers(call, 2).map([sleep_long, kill_me]))
    assert time.monotonic() - start < 5 and not children()


@pytest.mark.parametrize('kind', KINDS)
def test_timeout(kind):
    start = time.monotonic()
    tasks = [time.monotonic, partial(time.sleep, 5)]
    with pytest.raises(RuntimeError, match='timed out after 0.3 seconds: no result from worker 1'):
        list(Workers(call, 2, kind=kind, timeout=0.3).map(tasks))
    assert time.monotonic() - start < 4 and not children()


def quick(f):
    start = time.monotonic()
    f()
    return time.monotonic() - start


def test_overlapping_workers_go_home_at_once():
    "0.1 waited a second for each, then killed them: later workers held the lines of earlier ones open"
    first = Workers(square, 2).map(range(100))
    second = Workers(square, 2).map(range(100))
    assert [next(first), next(second), next(first)] == [0, 0, 1]
    assert quick(first.close) < 0.9 and quick(second.close) < 0.9 and not children()


@pytest.mark.parametrize('kind', KINDS)
def test_kept_workers(kind):
    kept = Workers(who, 2, kind=kind, keep=True)
    assert [list(kept.map(range(4))) for _ in range(3)] == [list(kept.map(range(4)))]*3
    unfinished = kept.map(range(100))
    next(unfinished)
    assert [r[0] for r in kept.map(range(5))] == list(range(5))
    with pytest.raises(RuntimeError, match='a newer loop has taken over'): next(unfinished)
    assert kept.ready() and len(list(kept.map(range(3)))) == 3
    kept.close()
    with pytest.raises(RuntimeError, match='gone home'): kept.map(range(3))
    assert not kept.ready() and not children()


@pytest.mark.parametrize('kind', KINDS)
def test_kept_workers_serve_one_thread(kind):
    "0.1 mixed up the results of two threads, without an error"
    kept,errors = Workers(square, 2, kind=kind, keep=True),queue.Queue()
    def other():
        try: errors.put(sum(kept.map(range(50))))
        except RuntimeError as e: errors.put(str(e))
    def ask():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(20)
        return errors.get(timeout=5)
    results = kept.map(range(100))
    next(results)
    assert 'another thread is in the middle' in ask()
    assert sum(results) == sum(map(square, range(100)))
    assert ask() == sum(map(square, range(50)))  # one after the other is fine
    kept.close()


def test_a_forked_copy_leaves_the_workers_alone():
    kept = Workers(square, 1, keep=True)
    list(kept.map(range(3)))
    def in_the_child(conn):
        conn.send(kept.ready())
        kept.close()
    ours,theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context('fork').Process(target=in_the_child, args=(theirs,))
    child.start()
    assert ours.recv() is False
    child.join()
    assert list(kept.map(range(3))) == [0, 1, 4]
    kept.close()


def test_bad_values():
    for n,ahead in ((0, 2), (2, 0)):
        with pytest.raises(ValueError, match=f'got {n} and {ahead}'): Workers(square, n, ahead=ahead)


@pytest.mark.parametrize('method', ['forkserver', 'spawn'])
def test_what_cannot_be_sent_to_a_fresh_process(method):
    context = multiprocessing.get_context(method)
    with pytest.raises((AttributeError, TypeError, ValueError), match='pickle|local object'):
        Workers(lambda x: x, 2, context=context)
    assert not children()


# ---- the line between processes --------------------------------------------------------------------------


DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool,
          torch.complex64]
SHAPES = st.lists(st.integers(0, 12), max_size=4)
HOW = ['plain', 'transposed', 'strided', 'expanded', 'part', 'channels']


def make(dtype, shape, how):
    t = torch.randn(shape).to(dtype)
    if how == 'transposed': return t.permute(list(reversed(range(t.dim()))))
    if how == 'strided' and t.dim(): return t[::2]
    if how == 'part' and t.dim(): return t[1:]
    if how == 'expanded': return t[None].expand(3, *shape)
    if how == 'channels' and t.dim() == 4: return t.contiguous(memory_format=torch.channels_last)
    return t


@fast
@given(st.lists(st.tuples(st.sampled_from(DTYPES), SHAPES, st.sampled_from(HOW)), max_size=5),
       st.integers(0, 3000))
def test_anything_goes_through_the_line(tensors, size):
    text = {'text': 'x'*size*30, 'rest': (None, 1.5, torch.rand(3))}
    sent = [*(make(*t) for t in tensors), np.arange(size), text]
    a,b = map(workers._Line, multiprocessing.Pipe())
    a.send(sent)  # all that is large goes through memory, so that this does not block
    got = b.receive()
    assert same(got, sent)
    for g,s in zip(got, sent):
        if not isinstance(s, torch.Tensor) or s.numel() < 2: continue
        layout = torch.channels_last if s.dim() == 4 else torch.contiguous_format
        if s.is_contiguous(memory_format=layout): assert g.stride() == s.stride()
    for g in got[:-1]:
        if len(g.shape) and g.size: g += g  # what arrives can be written to
    a.shut()
    b.shut()


def test_rare_tensors_travel_too():
    def rare(_):
        conj = torch.ones(2, dtype=torch.cfloat).conj()
        return torch.nn.Parameter(torch.ones(2)),torch.eye(2).to_sparse(),conj
    param,sparse,conj = next(Workers(rare, 1).map([0]))
    assert param.requires_grad and conj.is_complex()
    assert sparse.is_sparse and torch.equal(sparse.to_dense(), torch.eye(2))


def test_results_outlive_their_workers():
    x = torch.randn(2000, 100)
    assert torch.equal(torch.cat(list(Workers(lambda i: x[i:i+100], 2).map(range(0, 2000, 100)))), x)


def test_memory_and_handles_do_not_grow():
    x,process = torch.randn(64, 1000),psutil.Process()
    def epoch():
        for _ in Workers(lambda _: x.clone(), 2).map(range(20)): pass
        return process.memory_info().rss,process.num_fds()
    for _ in range(3): memory,handles = epoch()
    for _ in range(12): memory_now,handles_now = epoch()
    assert memory_now - memory < 20*2**20 and handles_now == handles
