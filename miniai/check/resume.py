"Checks of lesson 27_surviving"
import random
from itertools import islice
import torch
from .kit import Case, check, require, same

@check('a loader that can go on')
def check_counter(make):  # Makes a loader of a list of batches, with state_dict and load_state_dict
    "Check that a loader goes on with the batch that comes next"
    batches = [10, 20, 30, 40]
    def whole(make): same(list(make(batches)), batches, batches)
    def twice(make):
        dl = make(batches)
        same([list(dl), list(dl)], [batches, batches], 'two loops')
    def case(done):
        def run(make):
            first,second = make(batches),make(batches)
            given = list(islice(iter(first), done))
            state = first.state_dict()
            second.load_state_dict(state)
            wrong = {f'{done} were given: the next one is number {done}, counted from 0.': batches[done-1:],
                     'load_state_dict must be heard of by the next __iter__.': batches}
            same(given + list(second), batches, f'{done} of 4, then another loader',
                 mistakes={hint: given + rest for hint,rest in wrong.items()})
            same(list(second), batches, 'the loop after that')
        return Case(f'goes on after {done}', run,
                    'The state is how many batches were given; forget it when a loop is over.')
    def ended(make):
        first,second = make(batches),make(batches)
        list(first)
        second.load_state_dict(first.state_dict())
        same(list(second), batches, 'a loop that came to its end')
    def apart(make):
        dl = make(batches)
        loop = iter(dl)
        next(loop)
        state = dl.state_dict()
        list(loop)
        second = make(batches)
        second.load_state_dict(state)
        same(list(second), batches[1:], 'a state taken after 1 batch, and the loop went on')
    return [Case('all batches', whole, '__iter__ is a generator: yield each batch.'),
            Case('two loops', twice, 'A loop that came to its end is over: begin at the front.'),
            case(2), case(3),
            Case('after the end', ended, 'A loop that came to its end is over: set the place back to 0.'),
            Case('a state stays as it was', apart,
                 'Give a new dictionary, which later batches do not change.')]

@check('without a trace')
def check_without_a_trace(f):  # Calls a function, and puts random states back
    "Check that random numbers are as if a function had not been called"
    def draw(): return torch.rand(1).item(),random.random()
    def begin(): return torch.manual_seed(1), random.seed(1), draw()  # after a seed
    def case(name, inner, hint, error=False):
        def run(f):
            states = torch.get_rng_state(),random.getstate()
            try:
                begin()
                want = draw()
                begin()
                try: got = f(inner)
                except ZeroDivisionError:
                    require(error, 'an error came', hint=hint)
                    got = None
                else: require(not error, 'no error came out', hint='Call it; `finally`, not `except`.')
                now = draw()
                changed = 'random numbers are others afterwards'
                require(now[0] == want[0], f"torch's {changed}", name, now[0], want[0], hint)
                require(now[1] == want[1], f"Python's {changed}", name, now[1], want[1],
                        'random.getstate() before, random.setstate(…) after.')
                if not error: same(got, 42, name, hint='Call the function, and return what it returns.')
            finally: torch.set_rng_state(states[0]), random.setstate(states[1])
        return Case(name, run, hint)
    def quiet(): return 42
    def draws(): return draw() and 42
    def seeds(): return (torch.manual_seed(9), random.seed(9)) and 42
    def fails(): return draw() and 1/0
    return [case('nothing drawn', quiet, 'Set no seed: keep the states before, put them back after.'),
            case('numbers drawn', draws, 'torch.get_rng_state() before, torch.set_rng_state(…) after.'),
            case('a seed set', seeds, 'Keep the states, not a seed.'),
            case('an error', fails, 'Put the states back in a `finally`.', True)]

@check('which may go')
def check_to_remove(f):  # A function of names and `keep` that gives a set of names
    "Check which checkpoints are removed"
    def case(name, numbers, others, keep, hint):
        names = [f'checkpoint-{n}.pt' for n in numbers]
        def run(f):
            want = set([f'checkpoint-{n}.pt' for n in sorted(numbers)][:-keep])
            given = sorted(names + others)
            oldest = {f'checkpoint-{n}.pt' for n in sorted(numbers)[keep:]}
            mistakes = {'Sort by the number, not by the text: int(…).': set(sorted(names)[:-keep]),
                        'Keep the newest: those with the highest numbers.': oldest,
                        'In any order: sort first.': set(names[:-keep])}
            same(sorted(f(names + others, keep)), sorted(want), (given, keep),
                 mistakes={hint: sorted(wrong) for hint,wrong in mistakes.items()})
        return Case(name, run, hint)
    mine = 'checkpoint-1-good.pt my-checkpoint-2.pt checkpoint-3.pt.bak checkpoint-x.pt checkpoint-1Xpt'
    return [case('more than wanted', [1, 2, 3, 4], [], 2, 'The set of all but the last `keep`.'),
            case('in any order', [3, 1, 4, 2], [], 2, 'Sort by number first.'),
            case('nine and ten', [8, 9, 10, 11], [], 2, 'Sort by the number, not by the text: int(…).'),
            case('fewer than wanted', [1, 2], [], 3, 'With fewer than `keep` none may go.'),
            case('names of somebody else', [1, 2, 3], mine.split(), 1,
                 'Match the whole name: re.fullmatch, and \\. for the dot.')]
