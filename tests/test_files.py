"Files: written whole or not at all, downloaded and verified, read without running what is in them"
import errno, functools, gzip, hashlib, io, os, pickle, random, resource, stat, struct, subprocess, sys
import threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from miniai.tools.drawn import draw_digits, drawn_dd
from miniai.tools.files import (PICTURES, download, load_arrays, local_folder, open_picture, parquet_files,
                                read_parquet,
                                within, write_safely)
from tests.conftest import ROOT


def listing(folder): return sorted(o.name for o in folder.iterdir())


def text(data): return lambda f: f.write(data)


# --- write_safely

@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_while_writing_changes_nothing(tmp_path, error):
    def half(f):
        f.write(b'ne')
        raise error('stop')
    for path in (tmp_path/'new', tmp_path/'deep'/'er'/'new'):
        with pytest.raises(error): write_safely(path, half)
        assert not path.exists() and not [o for o in tmp_path.rglob('*') if o.is_file()]
    (tmp_path/'x').write_bytes(b'old')
    with pytest.raises(error): write_safely(str(tmp_path/'x'), half)
    assert (tmp_path/'x').read_bytes() == b'old' and listing(tmp_path) == ['deep', 'x']
    write_safely(str(tmp_path/'x'), text(b'new'))
    assert (tmp_path/'x').read_bytes() == b'new' and listing(tmp_path) == ['deep', 'x']


def test_torch_save_and_a_long_name(tmp_path):
    path = tmp_path/('é'*120)  # 240 bytes: a temporary name made from it would be too long
    write_safely(path, lambda f: torch.save(dict(a=torch.arange(5)), f))
    assert torch.load(path)['a'].tolist() == list(range(5)) and listing(tmp_path) == [path.name]


def test_modes(tmp_path):
    "0.1 made a file that only its owner could read readable for all"
    before = os.umask(0o027)
    try:
        write_safely(tmp_path/'new', text(b'x'))
        assert stat.S_IMODE((tmp_path/'new').stat().st_mode) == 0o640, 'as the user wants new files'
        for mode in (0o600, 0o664, 0o755):
            (tmp_path/'new').chmod(mode)
            write_safely(tmp_path/'new', text(b'y'))
            assert stat.S_IMODE((tmp_path/'new').stat().st_mode) == mode
    finally: os.umask(before)


def test_links_stay_links(tmp_path):
    "0.1 put a file in the place of the link"
    (tmp_path/'real').mkdir()
    (tmp_path/'link').symlink_to(tmp_path/'real'/'x')
    (tmp_path/'second').symlink_to('link')
    for data in (b'made by a dangling link', b'and written again'):
        write_safely(tmp_path/'second', text(data))
        assert (tmp_path/'real'/'x').read_bytes() == data
    assert (tmp_path/'link').is_symlink() and (tmp_path/'second').is_symlink()
    assert listing(tmp_path/'real') == ['x']


def test_devices_and_pipes_are_written_to(tmp_path):
    write_safely('/dev/null', text(b'away'))
    assert stat.S_ISCHR(os.stat('/dev/null').st_mode)
    os.mkfifo(tmp_path/'pipe')
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path/'pipe').read_bytes()))
    reader.start()
    write_safely(tmp_path/'pipe', text(b'through'))
    reader.join(10)
    assert got == [b'through'] and stat.S_ISFIFO((tmp_path/'pipe').stat().st_mode)
    assert listing(tmp_path) == ['pipe']
    with pytest.raises(IsADirectoryError): write_safely(tmp_path, text(b'x'))


def test_a_planted_link_is_not_followed(tmp_path):
    "Whoever knew the temporary name could make it a link to a file of ours: 0.1 wrote there"
    (tmp_path/'mine').write_bytes(b'mine')
    names = []
    for _ in range(3): write_safely(tmp_path/'x', lambda f: names.append(Path(f.name).name))
    assert len(set(names)) == 3 and not any(str(os.getpid()) in n for n in names)
    for name in ('.x.tmp', f'.x.{os.getpid()}.tmp', '.miniai-0.part'):
        (tmp_path/name).symlink_to(tmp_path/'mine')
    write_safely(tmp_path/'x', text(b'new'))
    assert (tmp_path/'mine').read_bytes() == b'mine' and (tmp_path/'x').read_bytes() == b'new'


def test_threads_that_write_one_file(tmp_path):
    "0.1 gave all threads of a process one temporary file"
    errors = []
    def work(i):
        def write(f):
            for _ in range(200): f.write(bytes([i])*1000)
        try:
            for _ in range(10): write_safely(tmp_path/'x', write)
        except BaseException as e: errors.append(e)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads: t.start()
    for t in threads: t.join()
    data = (tmp_path/'x').read_bytes()
    assert not errors and len(data) == 200_000 and len(set(data)) == 1 and listing(tmp_path) == ['x']


def python(code, **kwargs):
    start = 'import os, time; from miniai.tools.files import write_safely\n'
    start += f'path = {str(kwargs.pop("path"))!r}\n'
    return subprocess.Popen([sys.executable, '-c', start + code], cwd=ROOT, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **kwargs)


def test_what_a_killed_program_leaves_goes_with_the_next_write(tmp_path):
    write_safely(tmp_path/'x', text(b'old'))
    killed = python('write_safely(path, lambda f: f.write(b"half") and f.flush() or os.kill(os.getpid(), 9))',
                    path=tmp_path/'x')
    assert killed.wait(60) == -9
    assert (tmp_path/'x').read_bytes() == b'old' and len(listing(tmp_path)) == 2
    alive = python('write_safely(path, lambda f: print("here", flush=True) or time.sleep(60))',
                   path=tmp_path/'y')
    try:
        assert alive.stdout.readline() == 'here\n'
        assert len(listing(tmp_path)) == 2, 'its own, and not the one of the dead'
        write_safely(tmp_path/'z', text(b'z'))
        assert len(listing(tmp_path)) == 3, 'who is still writing keeps its file'
    finally:
        alive.kill()
        alive.communicate()
    write_safely(tmp_path/'z', text(b'z'))
    assert listing(tmp_path) == ['x', 'z']


def test_a_full_disk_is_called_by_its_name(tmp_path):
    (tmp_path/'x').write_bytes(b'old')
    def full(f): raise OSError(errno.ENOSPC, 'No space left on device')
    with pytest.raises(OSError, match='the disk is full: nothing is written.*x') as e:
        write_safely(tmp_path/'x', full)
    assert e.value.errno == errno.ENOSPC and (tmp_path/'x').read_bytes() == b'old'
    assert listing(tmp_path) == ['x']
    with pytest.raises(OSError, match='disk is full'): write_safely('/dev/full', text(b'x'))
    def other(f): raise RuntimeError('not about a disk')
    with pytest.raises(RuntimeError, match='not about a disk'): write_safely(tmp_path/'x', other)


def test_torchs_own_error_does_not_hide_that_of_the_disk(tmp_path):
    "0.1 showed `inline_container.cc` alone. A limit on the size of files is nearest to a full disk"
    code = 'import torch\nwrite_safely(path, lambda f: torch.save(dict(a=torch.zeros(10**6)), f))'
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    p = python(code, path=tmp_path/'x', preexec_fn=limit)
    err = p.communicate()[1].splitlines()[-1]
    assert p.returncode == 1 and err.startswith('OSError'), err
    assert 'nothing is written' in err and str(tmp_path/'x') in err
    assert not listing(tmp_path)


# --- within

def test_within():
    assert within(5, divmod, 7, 2) == (3, 1)
    with pytest.raises(KeyError, match='no'): within(5, {}.__getitem__, 'no')
    start = time.monotonic()
    with pytest.raises(TimeoutError): within(0.1, threading.Event().wait, 20)
    assert time.monotonic() - start < 10


# --- load_arrays

def pairs(kind='<f4', labels='<i8'):
    rng = np.random.default_rng(2)
    return tuple((rng.random((n, 6)).astype(kind), rng.integers(0, 10, n).astype(labels)) for n in (5, 3, 2))


def equal(a, b):
    for pair,want in zip(a, b, strict=True):
        for x,w in zip(pair, want, strict=True):
            assert type(x) is np.ndarray and x.dtype == w.dtype and x.shape == w.shape and (x == w).all()
            assert x.flags.writeable
    return True


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('zipped', [True, False])
def test_pickles_of_each_protocol(protocol, zipped, tmp_path):
    path = tmp_path/'p'
    with (gzip.open if zipped else open)(path, 'wb') as f: pickle.dump(pairs(), f, protocol=protocol)
    assert equal(load_arrays(path), pairs()) and equal(load_arrays(str(path)), pairs())


@pytest.mark.parametrize('kind', ['<f4', '>f8', 'f2', 'u1', '>i2', '?', '<u8'])
def test_pickles_of_each_dtype(kind, tmp_path):
    for protocol in (0, 2, 5):
        (tmp_path/'p').write_bytes(pickle.dumps(pairs(kind), protocol))
        assert equal(load_arrays(tmp_path/'p'), pairs(kind))


def test_pickles_of_odd_layouts(tmp_path):
    x = np.arange(12.).reshape(3, 4)
    for a in (np.asfortranarray(x), x[::2], x.T, np.zeros((0, 4)), np.array(3.)):
        for protocol in (2, 5):
            (tmp_path/'p').write_bytes(pickle.dumps([[a, a]]*3, protocol))
            assert equal(load_arrays(tmp_path/'p'), [(a, a)]*3)


def python2(a):
    "The bytes that Python 2 wrote for an array: its numbers are text to Python 3"
    raw = a.tobytes()
    shape = b'(' + b''.join(b'J' + struct.pack('<i', n) for n in a.shape) + b't'
    state = b'(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
    dtype = b'cnumpy\ndtype\n(U\x02' + a.dtype.str[1:].encode() + b'K\x00K\x01tR' + state
    numbers = b'\x89T' + struct.pack('<i', len(raw)) + raw + b'tb'
    empty = b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR'
    return empty + b'(K\x01' + shape + dtype + numbers


def test_the_file_that_python_2_wrote(tmp_path):
    data = b'\x80\x02(' + b''.join(b'(' + python2(x) + python2(y) + b't' for x,y in pairs()) + b't.'
    assert equal(pickle.loads(data, encoding='latin1'), pairs()), 'the test writes a good file'
    with gzip.open(tmp_path/'mnist.pkl.gz', 'wb') as f: f.write(data)
    assert equal(load_arrays(tmp_path/'mnist.pkl.gz'), pairs())


class Calls:
    "Pickles as a call of `f`"
    def __init__(self, f, *args): self.f,self.args = f,args
    def __reduce__(self): return self.f,self.args


@pytest.mark.parametrize('make', [
    lambda mark: Calls(os.system, f'touch {mark}'), lambda mark: Calls(eval, f'open({str(mark)!r}, "w")'),
    lambda mark: Calls(exec, f'open({str(mark)!r}, "w")'),
    lambda mark: Calls(open, str(mark), 'w'), lambda mark: Calls(subprocess.check_call, ['touch', str(mark)]),
    lambda mark: Calls(np.save, str(mark), np.ones(1)),
    lambda mark: Calls(np.ndarray.tofile, np.ones(1), str(mark)), lambda mark: Calls(getattr, 'x', 'upper'),
    lambda mark: Calls(functools.partial, os.system, f'touch {mark}'),
    lambda mark: Calls(Path.touch, mark)],
    ids=['system', 'eval', 'exec', 'open', 'subprocess', 'np.save', 'tofile', 'getattr', 'partial', 'Path'])
@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_a_file_that_runs_code_is_refused(make, protocol, tmp_path):
    mark = tmp_path/'it ran'.replace(' ', '_')
    for place in range(2):
        content = list(pairs())
        content[1] = (make(mark), content[1][1]) if place else make(mark)
        with gzip.open(tmp_path/'p.gz', 'wb') as f: pickle.dump(tuple(content), f, protocol=protocol)
        with pytest.raises(ValueError, match='refused: it wants to use .* only arrays are admitted'):
            load_arrays(tmp_path/'p.gz')
    assert not mark.exists()


@pytest.mark.parametrize('content,text', [
    (np.array(['a'], object), 'array of O8'), (np.array(['a']), 'array of U1'),
    (np.ones(1, 'f4,i4'), 'array of V8'),
    (np.float32(3), 'multiarray.scalar'), (torch.ones(1), 'only arrays'), ({1, 2}, 'holds set|only arrays'),
    (print, 'builtins.print|__builtin__.print')])
def test_what_is_no_array_is_refused(content, text, tmp_path):
    for protocol in (2, 5):
        for whole in (content, [(1, content)], dict(a=content)):
            (tmp_path/'p').write_bytes(pickle.dumps(whole, protocol))
            with pytest.raises(ValueError, match=f'p is refused: .*({text})'): load_arrays(tmp_path/'p')


def test_containers_and_plain_values(tmp_path):
    x = np.arange(3)
    content = dict(a=[x, (x, 'text', 3, 2.5, None, True, b'bytes')], b=x)
    (tmp_path/'p').write_bytes(pickle.dumps(content))
    got = load_arrays(tmp_path/'p')
    assert type(got) is dict and type(got['a'][1]) is tuple
    assert got['a'][1][1:] == ('text', 3, 2.5, None, True, b'bytes')
    assert got['b'] is got['a'][0] is got['a'][1][0], 'what was one array is one again'


def memory(path):
    "How much more memory a fresh Python needs to read `path`, in MB, and the error"
    code = f'''import resource
from miniai.tools.files import load_arrays
def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1000
before = most()
try: print('no error', load_arrays({str(path)!r}))
except ValueError as e: print(most()-before, e)'''
    out = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True,
                         check=True).stdout
    return float(out.split()[0]),out


def number(n): return struct.pack('<I', n)


ARRAY = b'cnumpy.core.numeric\n_frombuffer\n('  # then its parts, and tR
PARTS = b'cnumpy\ndtype\n(U\x02u1K\x00K\x01tRK\x01U\x01C'
TEXT = b'\x80\x02X' + number(10**6) + b'a'*10**6 + b'q\x010]('
GREEDY = {
    'memo 1e8': b'\x80\x02Nr' + number(10**8) + b'.', 'memo 2^29': b'\x80\x02Nr' + number(2**29) + b'.',
    'memo as text': b'Np500000000\n.',
    'an integer as data': b'\x80\x02' + ARRAY + b'J' + number(10**9) + PARTS + b'tR.',
    'a length that is not there': b'\x80\x05\x96' + struct.pack('<Q', 10**9) + b'abc.',
    'bytes of 1 GB, announced': b'\x80\x04\x8e' + struct.pack('<Q', 10**9) + b'abc.',
    'one text made bytes 1000 times': TEXT + b'c_codecs\nencode\n(h\x01U\x06latin1tR'*1000 + b'e.',
    'one text made an array 1000 times': TEXT + (ARRAY + b'h\x01' + PARTS + b'tR')*1000 + b'e.'}


@pytest.mark.parametrize('what', GREEDY)
def test_a_small_file_takes_little_memory(what, tmp_path):
    "0.1 took 1.6 to 6 GB for some of these"
    (tmp_path/'p').write_bytes(GREEDY[what])
    most,error = memory(tmp_path/'p')
    assert most < 40, error


def test_lists_in_lists_in_lists(tmp_path):
    "Forty lists that hold the one before twice are not a tree of 2^40; a list within itself has no end"
    x = np.arange(3)
    for _ in range(40): x = [x, x]
    (tmp_path/'p').write_bytes(pickle.dumps(x))
    got = load_arrays(tmp_path/'p')
    for _ in range(40): got = got[1]
    assert got.tolist() == [0, 1, 2]
    loop = []
    loop.append(loop)
    (tmp_path/'p').write_bytes(pickle.dumps(loop))
    with pytest.raises(ValueError, match='p is damaged'): load_arrays(tmp_path/'p')


def test_files_that_are_no_pickles(tmp_path):
    good = gzip.compress(pickle.dumps(pairs()))
    wrong_sum = good[:-8] + bytes(4) + good[-4:]
    for data in (b'', b'hello', b'\x1f\x8b', good[:50], good[:-20], good[:10] + bytes(80),
                 pickle.dumps(pairs())[:-30], wrong_sum, b'\x80\x04.', b'cos\n'):
        (tmp_path/'p').write_bytes(data)
        with pytest.raises(ValueError, match=str(tmp_path/'p')): load_arrays(tmp_path/'p')
    with pytest.raises(FileNotFoundError): load_arrays(tmp_path/'none')


def test_calls_of_what_is_admitted_do_no_harm(tmp_path):
    "The admitted names called with nonsense, and told to change their state"
    names = [b'cnumpy\nndarray\n', b'cnumpy\ndtype\n', b'cnumpy.core.multiarray\n_reconstruct\n',
             b'cnumpy.core.numeric\n_frombuffer\n', b'c_codecs\nencode\n']
    for name in names:
        for args in (b'(t', b'(K\x01t', b'(U\x01aU\x03rott', b'(U\x01aU\x01bU\x01cU\x01dt',
                     b'(' + name + b't'):
            for end in (b'R.', b'R}b.', b'R(N}U\x01xK\x01stb.', b'}b.',
                        b'0' + name + b'(N}U\x0c__defaults__K\x01stb.'):
                (tmp_path/'p').write_bytes(b'\x80\x02' + name + args + end)
                try: assert type(load_arrays(tmp_path/'p')) in (bytes, dict, np.ndarray)
                except ValueError as e: assert str(tmp_path/'p') in str(e)
    (tmp_path/'p').write_bytes(pickle.dumps(pairs()))
    assert equal(load_arrays(tmp_path/'p'), pairs())


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.sampled_from([0, 2, 4, 5]), st.integers(1, 4))
def test_garbled_files_are_an_error_or_arrays(tmp_path_factory, seed, protocol, n):
    rng,data = random.Random(seed),bytearray(pickle.dumps(pairs(), protocol))
    for _ in range(n): data[rng.randrange(len(data))] = rng.randrange(256)
    path = tmp_path_factory.getbasetemp()/'garbled'
    path.write_bytes(data)
    try: load_arrays(path)
    except ValueError as e: assert str(path) in str(e)


# --- download

BODY = bytes(random.Random(4).randbytes(300_000))
SHA = hashlib.sha256(BODY).hexdigest()


class Files(BaseHTTPRequestHandler):
    "Serves BODY, as the path says; `seen` notes the ranges asked for"
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass

    def do_GET(self):
        self.server.seen.append(self.headers.get('Range'))
        getattr(self, self.path.strip('/'))(len(self.server.seen)-1)

    def head(self, status, length, *more):
        self.send_response(status)
        if length is not None: self.send_header('Content-Length', str(length))
        for k,v in more: self.send_header(k, v)
        self.send_header('Connection', 'close')
        self.end_headers()
        self.close_connection = True

    def part(self, stop=None, body=BODY):
        "All of it, but hang up at `stop`"
        self.head(200, len(body))
        self.wfile.write(body[:stop])

    def good(self, n): self.part()
    def cut_off(self, n): self.part(None if n == 2 else 100_000*(n+1))
    def always_cut_off(self, n): self.part(1000)
    def nothing(self, n): self.close_connection = True
    def gone(self, n): self.head(404, 0)
    def busy(self, n): self.head(503, 0) if n < 2 else self.part()
    def short(self, n):
        self.head(200, 10_000)
        self.wfile.write(BODY)
    def long(self, n):
        self.head(200, len(BODY)+5)
        self.wfile.write(BODY)
    def wrong(self, n): self.part(body=b'<html>Please log in</html>')
    def changed(self, n): self.part(100_000, BODY[::-1]) if n == 0 else self.part()
    def shorter(self, n):
        "The second answer is shorter than what came of the first"
        self.part(200_000, BODY + BODY) if n == 0 else self.part(body=BODY[:1000])
    def stalls(self, n):
        if n: return self.part()
        self.head(200, len(BODY))
        self.wfile.write(BODY[:5000])
        self.wfile.flush()
        self.server.stop.wait(30)
    def silent(self, n): self.server.stop.wait(30)
    def unmeasured(self, n):
        self.head(200, None)
        self.wfile.write(BODY)
    def unasked(self, n):
        self.head(206, 10, ('Content-Range', f'bytes 0-9/{len(BODY)}'))
        self.wfile.write(BODY[:10])
    def bad_length(self, n): self.head(200, 'many')
    def drips(self, n):
        self.head(200, len(BODY))
        while not self.server.stop.wait(0.05):
            self.wfile.write(b'x')
            self.wfile.flush()
    def drips_headers(self, n):
        self.wfile.write(b'HTTP/1.1 200 OK\r\nX-Long: ')
        while not self.server.stop.wait(0.05):
            self.wfile.write(b'x')
            self.wfile.flush()
    def redirect(self, n): self.head(302, 0, ('Location', '/good'))


@pytest.fixture
def files(monkeypatch):
    "The server's address, and the ranges that it was asked for"
    monkeypatch.setattr('time.sleep', lambda s: None)  # no pauses between tries
    server = ThreadingHTTPServer(('127.0.0.1', 0), Files)
    server.daemon_threads,server.block_on_close,server.seen,server.stop = True,False,[],threading.Event()
    threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01), daemon=True).start()
    yield SimpleNamespace(url=f'http://127.0.0.1:{server.server_port}', seen=server.seen)
    server.stop.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize('what,n',
                         [('good', 1), ('unmeasured', 1), ('redirect', 2), ('cut_off', 3), ('busy', 3),
                          ('changed', 2)])
def test_downloads_arrive_whole(files, tmp_path, what, n):
    path = download(f'{files.url}/{what}', tmp_path/'deep'/'er'/'x.bin', SHA)
    assert path == tmp_path/'deep'/'er'/'x.bin' and path.read_bytes() == BODY
    assert list(path.parent.iterdir()) == [path]
    assert files.seen == [None]*n, 'no part is asked for, so none is stitched to another'


def test_nothing_of_a_longer_try_is_left(files, tmp_path):
    assert download(f'{files.url}/shorter', tmp_path/'x').read_bytes() == BODY[:1000]


@pytest.mark.parametrize('what', ['stalls', 'silent'])
def test_a_server_that_stalls(files, tmp_path, what):
    start = time.monotonic()
    if what == 'stalls':
        assert download(f'{files.url}/stalls', tmp_path/'x', SHA, timeout=0.3).read_bytes() == BODY
        assert len(files.seen) == 2
    else:
        with pytest.raises(OSError, match='silent: .*last of 4 tries'):
            download(f'{files.url}/silent', tmp_path/'x', timeout=0.3)
        assert not list(tmp_path.iterdir()) and len(files.seen) == 4
    assert time.monotonic() - start < 20, 'the server would wait for 30 seconds'


@pytest.mark.parametrize('what,text,n',
                         [('gone', '404', 1),
                          ('always_cut_off', 'broke off after 1,000 of 300,000 bytes.*last of 4', 4),
                          ('nothing', 'last of 4', 4), ('long', 'broke off after 300,000 of 300,005', 4)])
def test_downloads_that_fail_leave_nothing(files, tmp_path, what, text, n):
    with pytest.raises(OSError, match=text): download(f'{files.url}/{what}', tmp_path/'x')
    assert not list(tmp_path.iterdir()) and len(files.seen) == n


@pytest.mark.parametrize('what,problem', [
    ('unasked', 'answered 206, which nobody asked for'), ('bad_length', "it sends 'many' bytes")])
def test_answers_that_can_not_be_right(files, tmp_path, what, problem):
    "0.1 kept the ten bytes of an answer 206 to a plain request"
    with pytest.raises(OSError, match=f'{problem}, in the last of 4'):
        download(f'{files.url}/{what}', tmp_path/'x')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('what', ['drips', 'drips_headers'])
def test_a_server_that_drips(files, tmp_path, what):
    "It is never silent for long, and never ends: 0.1 waited for it forever"
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=f'{what}: not all of it has come within 0.5 s'):
        download(f'{files.url}/{what}', tmp_path/'x', limit=0.5)
    assert time.monotonic() - start < 10 and not list(tmp_path.iterdir())


@pytest.mark.parametrize('what', ['wrong', 'short'])
def test_another_file_than_expected(files, tmp_path, what):
    with pytest.raises(ValueError, match=f'not the expected file.*{SHA}'):
        download(f'{files.url}/{what}', tmp_path/'x', SHA)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there(files, tmp_path):
    path = tmp_path/'x'
    path.write_bytes(b'old')
    assert download(f'{files.url}/good',
                    path).read_bytes() == b'old' and not files.seen, 'kept: nobody said what it should be'
    with pytest.raises(ValueError): download(f'{files.url}/wrong', path, SHA)
    assert path.read_bytes() == b'old', 'a failure does not cost the old file'
    assert download(f'{files.url}/good', str(path), SHA.upper()).read_bytes() == BODY
    n = len(files.seen)
    assert download(f'{files.url}/good', path,
                    SHA).read_bytes() == BODY and len(files.seen) == n, 'right, so not fetched again'


def test_two_at_once(files, tmp_path):
    threads = [threading.Thread(target=download, args=(f'{files.url}/good', tmp_path/'x', SHA))
               for _ in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert (tmp_path/'x').read_bytes() == BODY and len(list(tmp_path.iterdir())) == 1


def test_download_refuses():
    for url in ('file:///etc/passwd', 'ftp://x/y', '', None):
        with pytest.raises(ValueError, match='url must begin'): download(url, 'x')


def test_ctrl_c_leaves_nothing(files, tmp_path, monkeypatch):
    def interrupt(*args): raise KeyboardInterrupt
    monkeypatch.setattr('os.replace', interrupt)
    with pytest.raises(KeyboardInterrupt): download(f'{files.url}/good', tmp_path/'x')
    assert not list(tmp_path.iterdir())


# --- parquet

def test_local_folder(tmp_path, monkeypatch):
    monkeypatch.setenv('MINIAI_DATA', str(tmp_path))
    assert local_folder('mnist') == tmp_path/'mnist'
    assert local_folder('someone/something') == tmp_path/'someone'/'something'
    monkeypatch.delenv('MINIAI_DATA')
    assert local_folder('mnist') is None


def test_parquet_files(tmp_path):
    "The ways in which the hub lays files out; hidden ones and other kinds are no data"
    for name in ('data/train-00001-of-00002.parquet', 'data/train-00000-of-00002.parquet',
                 'data/validation-00000-of-00001.parquet', 'test.parquet',
                 'extra/0001.parquet', 'extra/0000.parquet', 'data/._train-00000-of-00002.parquet',
                 '.cache/train.parquet', 'README.md'):
        (tmp_path/name).parent.mkdir(exist_ok=True)
        (tmp_path/name).touch()
    found = {split: [p.relative_to(tmp_path).as_posix() for p in files] for split,
             files in parquet_files(tmp_path).items()}
    assert found == dict(train=['data/train-00000-of-00002.parquet', 'data/train-00001-of-00002.parquet'],
                         validation=['data/validation-00000-of-00001.parquet'],
                         test=['test.parquet'], extra=['extra/0000.parquet', 'extra/0001.parquet'])


def test_read_parquet(tmp_path):
    path = tmp_path/'train.parquet'
    drawn_dd('digits', 50, 1, seed=1)['train'].to_parquet(path)
    assert read_parquet(path).column_names == ['image', 'label']
    assert read_parquet(path, ['label'])['label'].to_pylist() == draw_digits(50, 1)[1].tolist()


# --- pictures

def picture(kind, mode='L'):
    f = io.BytesIO()
    Image.new(mode, (28, 28)).save(f, kind)
    return f.getvalue()


def test_open_picture(monkeypatch):
    for kind,start in PICTURES.items():
        assert picture(kind).startswith(start) and open_picture(picture(kind)).size == (28, 28)
    started = []
    monkeypatch.setattr(subprocess, 'check_call', lambda *args, **kwargs: started.append(args))
    for data in (picture('EPS'), picture('TIFF'), picture('PPM'), b'text', b''):
        with pytest.raises(OSError): open_picture(data).load()
    for data in (None, '/etc/hostname', Path('a.png'), 3):
        with pytest.raises((OSError, TypeError)): open_picture(data)
    assert not started, 'no Ghostscript'
