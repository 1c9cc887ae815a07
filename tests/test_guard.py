"Calling code that may do anything: it comes back in time, and the session is as it was (more in test_check)"
import os, sys, threading, time
import numpy as np, pytest, torch
from miniai.tools.guard import TimeUp, run_limited, untouched


def test_result_and_error_come_back():
    assert run_limited(lambda: 3, 5) == (3, None)
    for f,kind in ((lambda: 1/0, ZeroDivisionError), (lambda: sys.exit(2), SystemExit)):
        result,error = run_limited(f, 5)
        assert result is None and type(error) is kind


@pytest.mark.parametrize('catch', [Exception, BaseException])
def test_what_never_returns_is_ended(catch):
    def stubborn(tries=5):
        for _ in range(tries):
            try:
                while True: time.sleep(0.001)
            except catch: pass
    threads,start = threading.active_count(),time.perf_counter()
    result,error = run_limited(stubborn, 0.2)
    assert result is None and type(error) is TimeUp and '0.2 s' in str(error)
    assert threading.active_count() == threads and time.perf_counter()-start < 5


def test_an_error_in_the_block_travels_on_and_all_is_put_back():
    folder,torch_state,numpy_state = os.getcwd(),torch.get_rng_state(),np.random.get_state()[1]
    with pytest.raises(KeyError), untouched() as worthless:
        os.chdir('/')
        torch.rand(3), np.random.rand(3)
        raise KeyError
    assert os.getcwd() == folder and worthless == []
    assert torch.equal(torch.get_rng_state(), torch_state) and (np.random.get_state()[1] == numpy_state).all()


def test_what_torch_wraps_itself_is_no_change():
    "The first use of its compiler wraps torch.manual_seed"
    with untouched() as worthless: import torch._dynamo  # noqa: F401
    assert worthless == []
