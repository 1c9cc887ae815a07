"Checks of lesson 11_training"
from functools import partial
import torch, torch.nn.functional as F
from .kit import Case, Mismatch, check, require, rng, same

class _Watched(torch.nn.Module):
    "A linear model that gives other scores in training mode; it notes how it is used, and each backward pass"
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(4, 3, generator=rng()))
        self.modes,self.grads,self.passes = [],[],[]
    def forward(self, x):
        self.modes.append(self.training)
        self.grads.append(torch.is_grad_enabled())
        scores = x@self.weight.t() * (-0.7 if self.training else 1.)
        if scores.requires_grad: scores.register_hook(lambda _: self.passes.append(1))
        return scores

def _batches_of(sizes, labels=3):
    "Batches of the given sizes: rows of three numbers, and labels"
    g = rng(1)
    return [(torch.randn(n, 3, generator=g), torch.randint(labels, (n,), generator=g)) for n in sizes]

def _shares(batches, n, sign=1.):
    "The share of right answers of a `_Watched` for each of `n` labels"
    x,y = (torch.cat(o) for o in zip(*batches))
    right = (x@_Watched().weight.detach().t()*sign).argmax(1) == y
    return [right[y == i].float().mean().item() for i in range(n)]

def _walk(f, *args):
    "Call `f`, and say what is meant if it asks a loader for its length or a place"
    loop = 'A loader may have no length and no index: a `for` loop that counts is all it takes.'
    try: return f(*args)
    except TypeError as e:
        if 'len()' not in str(e) and 'subscriptable' not in str(e): raise
        raise Mismatch(f'TypeError: {e}', hint=loop) from e

def _label_case(title, sizes, labels=3, n=3, wrap=list, hint=''):
    def run(f):
        model,batches = _Watched().train(),_batches_of(sizes, labels)
        before,want = model.weight.detach().clone(),_shares(batches, n)
        got = _walk(f, model, wrap(batches), n)
        each = [_shares([b], n) for b in batches]
        averages = [torch.tensor(column).nanmean().item() for column in zip(*each)]
        x,y = (torch.cat(o) for o in zip(*batches))
        guesses = (x@before.t()).argmax(1)
        of_all = [((guesses == y) & (y == i)).float().mean().item() for i in range(n)]
        of_guesses = [(y[guesses == i] == i).float().mean().item() for i in range(n)]
        mistakes = {'The model was in training mode: call `model.eval()` first.': _shares(batches, n, -0.7),
                    'Batches count alike here: add up, and divide at the end.': averages,
                    'This is the last batch alone.': each[-1], 'This is the first batch alone.': each[0],
                    'These are lists for each batch: add up, and divide at the end.': sum(each, []),
                    'Divided by all drawings; divide by those of the label.': of_all,
                    'Divided by how often the label was guessed; divide by how often it occurs.': of_guesses,
                    'A label that does not occur has no share: nan.': [0. if o != o else o for o in want]}
        given = f'batches of {sizes}, n={n}'
        kind = 'Make Python numbers of it: `.tolist()` or `.item()`.'
        floats = isinstance(got, (list, tuple)) and all(isinstance(o, (int, float)) for o in got)
        require(got is not None, 'it is None: is there a `return`?', given, got, want)
        require(floats, 'that is not a list of floats', given, got, want, kind)
        same(list(got), want, given, mistakes=mistakes)
        quiet = 'Nobody will call backward: put the loop under `with torch.no_grad():`.'
        require(not any(model.grads), 'gradients were recorded', given, hint=quiet)
        early = 'Call `model.eval()` before the first batch.'
        require(not any(model.modes), 'the model was used in training mode', given, hint=early)
        require(model.weight.equal(before), 'the weights have changed', given, hint='Validation only looks.')
    return Case(title, run, hint)

@check('right answers by label')
def check_by_label(f):  # Takes `model`, `dl` and the number of labels `n`
    "Check a validation that gives the share of right answers for each label, as a list of floats"
    return [_label_case('one batch', [30]), _label_case('two batches of one size', [20, 20]),
            _label_case('a short last batch', [20, 20, 3]), _label_case('all sizes differ', [3, 19, 2, 15]),
            _label_case('a label that does not occur', [20, 9], 3, 4, hint='0/0 is `float("nan")`.'),
            _label_case('a loader to walk through', [14, 12], wrap=iter, hint='Walk through it only once.')]

def _ends(batches, groups, share, so_far=0):
    "The weights after a step for each group of batches, each times `share(size, sizes in the group, so_far)`"
    model = _Watched().train()
    opt = torch.optim.SGD(model.parameters(), lr=0.5)
    for group in groups:
        sizes = [len(batches[i][0]) for i in group]
        so_far += sum(sizes)
        for i in group:
            xb,yb = batches[i]
            (F.cross_entropy(model(xb), yb)*share(len(xb), sizes, so_far)).backward()
        opt.step()
        opt.zero_grad()
    return model.weight.detach()

def _by_share(k, sizes, _): return k/sum(sizes)
def _accumulate_mistakes(batches, groups, accumulate):
    "What the usual mistakes in an accumulation lead to"
    def part(*_): return 1/accumulate
    last,full = [[g[-1]] for g in groups],[g for g in groups if len(g) == accumulate]
    short,zeroed = 'The last group is short, but it must step','Are the gradients zeroed before each batch?'
    divided = 'Divided by `accumulate`, also where batches are short or few: weight each by its share.'
    found = {'This is what a step after each batch gives.': ([[i] for g in groups for i in g], _by_share),
             'The gradients of a group add up: weight each by its share.': (groups, lambda *_: 1),
             divided: (groups, part),
             'Divided by the number of batches: a short batch counts too much.':
                 (groups, lambda _,sizes,__: 1/len(sizes)),
             'Weighted by size, and never divided by the number of items.': (groups, lambda k,*_: k),
             'Count the items of each group from 0 again.': (groups, lambda k,_,so_far: k/so_far),
             f'{short}.': (full, _by_share), f'{short}; and weight each batch by its share.': (full, part),
             zeroed: (last, _by_share), f'{zeroed} (And its loss was divided.)': (last, part)}
    return {text: partial(_ends, batches, *how) for text,how in found.items()}

def _accumulate_case(title, sizes, accumulate):
    def run(f):
        model,batches = _Watched(),_batches_of(sizes, 4)
        groups = [range(len(sizes))[i:i+accumulate] for i in range(0, len(sizes), accumulate)]
        opt,steps,ahead = torch.optim.SGD(model.eval().parameters(), lr=0.5),[],[]
        opt.register_step_post_hook(lambda *_: steps.append(1))
        def loader():
            for i,batch in enumerate(batches):
                if len(model.passes) < i: ahead.append(i)
                yield batch
        _walk(f, model, F.cross_entropy, opt, loader(), accumulate)
        given = f'batches of {sizes}, accumulate={accumulate}'
        require(model.modes and all(model.modes), 'it was in eval mode', given, hint='First `model.train()`.')
        left = model.weight.grad is not None and model.weight.grad.any()
        zero = 'Call `opt.zero_grad()` after each step: what is left would go into the next.' if left else ''
        mistakes,want = _accumulate_mistakes(batches, groups, accumulate),_ends(batches, groups, _by_share)
        same(model.weight.detach(), want, given, zero, mistakes)
        more = 'At the end, step only if batches are left over.'
        require(len(steps) == len(groups), f'{len(steps)} steps, not {len(groups)}', given, hint=more)
        require(not left, 'a gradient is left over at the end', given, hint=zero)
        one = 'Call `backward` before you take the next: weighted by size, with `p.grad` divided at the end.'
        require(not ahead, 'a batch was taken before `backward` of the last one', given, hint=one)
    return Case(title, run)

@check('accumulation')
def check_accumulate(f):  # Your epoch: takes `model`, `loss_func`, `opt`, `dl` and `accumulate`
    "Check an epoch of training with a step for each group of batches, one batch at a time"
    return [_accumulate_case('a step for each batch', [4, 4, 4], 1),
            _accumulate_case('two batches to a step', [4, 4, 4, 4], 2),
            _accumulate_case('a short last group', [4]*7, 3),
            _accumulate_case('a short last batch', [4, 4, 4, 1], 2),
            _accumulate_case('all sizes differ', [5, 1, 8, 2, 3], 3),
            _accumulate_case('fewer batches than `accumulate`', [4, 2], 8)]

def _best_case(title, losses, accs=None):
    accs = accs or [0.5]*len(losses)
    def run(cls):
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
        keeper,states = cls(model),[]
        def fill(value):
            with torch.no_grad():
                for t in model.state_dict().values(): t.fill_(value)
        for epoch,(loss,acc) in enumerate(zip(losses, accs)):
            fill(epoch+1)
            states.append({k: v.clone() for k,v in model.state_dict().items()})
            keeper(epoch, loss, acc)
        best,worst,top = losses.index(min(losses)),losses.index(max(losses)),accs.index(max(accs))
        parameters = {name for name,_ in model.named_parameters()}
        for filled,kept in ((99, ''), (98, 'What was kept has changed since: keep it out of the model.')):
            fill(filled)
            left = {k: torch.full_like(v, filled) for k,v in states[best].items()}
            no_buffers = {k: v if k in parameters else left[k] for k,v in states[best].items()}
            copy_it = ('`restore` changes nothing. Were the tensors copied (`copy.deepcopy`)? `state_dict()` '
                       'gives those of the model. Are they put back (`load_state_dict`)?')
            wrong = {copy_it: left, 'The buffers are not right: take all of `state_dict()`.': no_buffers,
                     'This is the epoch with the largest loss.': states[worst],
                     'This epoch has the best accuracy: go by the loss.': states[top if top else best],
                     'This is the last epoch.': states[-1]}
            keeper.restore()
            same(dict(model.state_dict()), states[best], f'losses {losses}', kept, wrong)
    return Case(title, run, 'Start from `math.inf`, which every loss is below.')

@check('keeping the best')
def check_best(cls):  # Made with a model, called with epoch, loss, accuracy; has `restore`
    "Check an object that remembers the weights of the epoch with the lowest loss and puts them back"
    return [_best_case('a single epoch', [0.5]), _best_case('a large loss', [7.]),
            _best_case('the last epoch is the best', [0.9, 0.5, 0.3]),
            _best_case('the first epoch is the best', [0.2, 0.5, 0.3]),
            _best_case('the best is in the middle', [2.9, 1.4, 1.6, 1.5]),
            _best_case('loss and accuracy disagree', [0.9, 0.4, 0.6], [0.5, 0.7, 0.8]),
            _best_case('losses below zero', [0.5, 2., -1., -0.5])]
