"miniai.tools.chance: random state kept, put back and seeded, by public calls alone"
import io, random, re, threading
import numpy as np, pytest, torch
from miniai.tools import chance
from miniai.tools.chance import draw_seed, mix, rng_state, seed_all, seeded, set_rng_state, worker_rng


def draws():
    return torch.rand(2).tolist(),random.random(),random.gauss(0, 1),np.random.rand(),np.random.randn()


def own_draws():
    own = worker_rng()
    return torch.rand(2, generator=own).tolist(),worker_rng('numpy').random(),worker_rng('random').random()


@pytest.mark.parametrize('n_normals', [0, 1])
def test_state_travels_through_a_safe_file(n_normals):
    np.random.randn(n_normals)  # numpy keeps every second one for the next call, random does so too
    random.gauss(0, 1)
    file = io.BytesIO()
    torch.save(rng_state(), file)
    want = draws(),draws()
    file.seek(0)
    set_rng_state(torch.load(file, weights_only=True))
    assert (draws(), draws()) == want


def test_seeded_follows_from_the_seed_and_leaves_no_trace():
    np.random.randn(1)
    before = str(rng_state())
    with seeded(5): a = draws(),own_draws()
    with seeded(5): b = draws(),own_draws()
    with pytest.raises(KeyError), seeded(5):
        draws()
        raise KeyError
    with seeded(6): c = draws(),own_draws()
    assert a == b and str(rng_state()) == before
    numbers = re.findall(r'[\d.]+(?:e-\d+)?', str(a))
    assert len(set(numbers)) == len(numbers) == 10  # no source repeats the numbers of another
    assert all(x != y for x,y in zip(a[0] + a[1], c[0] + c[1]))


def test_seeded_within_seeded():
    with seeded(1):
        own_draws()
        with seeded(2): inner = own_draws()
        after = own_draws()
    with seeded(1):
        own_draws()
        assert own_draws() == after
    with seeded(2): assert own_draws() == inner


def test_small_and_large_seeds_differ():
    def first(seed):
        with seeded(seed): return draws()
    for a,b in ((0, 1), (42, 43), (2**31, 2**32), (7, 2**40)):
        assert all(x != y for x,y in zip(first(a), first(b))), (a, b)


def test_alone_in_a_thread():
    state = rng_state()
    with seeded(3): want = own_draws()
    set_rng_state(state)
    with seeded(3, shared=False): assert own_draws() == want
    assert str(rng_state()) == str(state)
    got = {}
    def run(seed):
        with seeded(seed, shared=False): got[seed] = own_draws()
    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert got[3] == want and len({str(v) for v in got.values()}) == 8


def test_worker_rng_outside_of_a_loader():
    torch.manual_seed(5)
    a = own_draws()
    torch.manual_seed(5)
    assert own_draws() == a
    with pytest.raises(ValueError, match="kind must be one of .*got 'dice'"): worker_rng('dice')


def test_other_bits_in_numpy_are_left_alone():
    bits = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(3))
        want = np.random.RandomState(np.random.PCG64(3)).random_sample(2).tolist()
        with seeded(1): got = [np.random.rand()]
        assert got + [np.random.rand()] == want
    finally: np.random.set_bit_generator(bits)


def test_seed_all_is_for_good():
    state = rng_state()
    seed_all(9)
    a = draws(),own_draws()
    with seeded(9): assert (draws(), own_draws()) == a
    set_rng_state(state)
    chance._here.seed = None  # seed_all sets what `worker_rng` follows from in this thread, for good


def test_seeds():
    assert mix(1, 2, 3) == mix(1, 2, 3) != mix(1, 3, 2) and 0 <= mix(-5, 2**70) < 2**63
    torch.manual_seed(1)
    a = draw_seed()
    torch.manual_seed(1)
    assert a == draw_seed(torch.Generator().manual_seed(1))
    assert a == int(torch.empty((), dtype=torch.int64).random_())
