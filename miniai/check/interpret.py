"Checks of lesson 25_interpret: recall and precision, who is sure enough, suspects by thresholds"
from functools import partial
import torch
from .kit import Case, check, require, rng, same

def _tensors(got, n, what):
    is_so = isinstance(got, (tuple, list)) and len(got) == n and all(isinstance(o, torch.Tensor) for o in got)
    require(is_so, f'{n} tensors are expected', hint=f'return {what}')

def _ratio(table, dim): return (table.diagonal()/table.sum(dim)).nan_to_num()

@check('class by class')
def check_by_class(by_class):  # `by_class(table)`: recalls, precisions
    "Check recall and precision from a confusion matrix"
    def run(by_class, table, which):
        came = table.clone()
        got = by_class(came)
        _tensors(got, 2, 'recall, precision')
        same(came, table, 'the table, afterwards', 'It was written on: make new tensors.')
        recall,precision = (_ratio(table, dim) for dim in (1, 0))
        mistakes = {'The two have changed places: a row is what is true, so recall goes along rows.':
                    (precision, recall)[which],
                    'That divides by the mistakes alone: the right ones belong to the sum.':
                    lambda: table.diagonal()/table.clone().fill_diagonal_(0).sum(1 - which),
                    'That is the share of all: divide by those of the class.': table.diagonal()/table.sum(),
                    'That is the share of mistakes: 1 minus it.': 1 - (recall, precision)[which],
                    'Whole numbers: divide with /, not with //.': (recall, precision)[which].floor()}
        require(not got[which].isnan().any(), 'there is nan', table.tolist(), got[which],
                hint='Nothing divided by nothing is nan: here it is to be 0.')
        same(got[which], (recall, precision)[which], table.tolist(), mistakes=mistakes, dtype=False)
    plain = torch.tensor([[6, 1, 1], [3, 5, 2], [0, 4, 9]])
    empty = torch.tensor([[4, 0, 2, 0], [1, 0, 1, 0], [0, 0, 3, 0], [1, 0, 0, 0]])
    for which,(name,line) in enumerate({'recall': 'row', 'precision': 'column'}.items()):
        yield Case(name, partial(run, table=plain, which=which), f'The diagonal over the sum of each {line}.')
        yield Case(f'{name}, nothing to divide by', partial(run, table=empty, which=which),
                   'Where the sum is 0 the answer is 0.')

@check('sure enough')
def check_sure_enough(sure_enough):  # `sure_enough(probs, targets, least)`: share decided, share right
    "Check what a model decides by itself"
    probs = torch.tensor([[0.9, 0.1, 0], [0.4, 0.35, 0.25], [0, 0.8, 0.2], [0.5, 0.2, 0.3], [0, 0.25, 0.75]])
    targets = torch.tensor([0, 0, 2, 0, 2])
    def run(sure_enough, least, which):
        got = sure_enough(probs.clone(), targets.clone(), least)
        is_pair = isinstance(got, (tuple, list)) and len(got) == 2
        require(is_pair, 'two numbers are expected', hint='return decided, right')
        sure,right = probs.max(1).values,probs.argmax(1) == targets
        def answer(kept): return [o.float().mean().nan_to_num().item() for o in (kept, right[kept])]
        kept = sure >= least
        got = [o.item() if isinstance(o, torch.Tensor) and o.numel() == 1 else o for o in got]
        mistakes = {'The two have changed places.': answer(kept)[1-which],
                    'That is percent: 60% is 0.6.': 100*answer(kept)[which],
                    'At least as sure: >=, not >.': answer(sure > least)[which],
                    'Sure of what it *says*, not of what is true: the highest probability.':
                    answer(probs.gather(1, targets[:, None])[:, 0] >= least)[which],
                    'Of the samples that are decided, not of all.': (kept & right).float().mean().item(),
                    'That is a number of samples; a share is expected.':
                    (kept.sum().item(), (kept & right).sum().item())[which],
                    'Those are the ones that are left to a person.': answer(~kept)[which]}
        require(str(got[which]) != 'nan', 'nan came', hint='The mean of nothing is nan: here it is 0.')
        same(got[which], answer(kept)[which], f'least {least}', mistakes=mistakes)
    for least,name in {0.6: 'some are decided', 0.: 'all', 0.75: 'just as sure', 0.95: 'none'}.items():
        for which,what in enumerate(('how many', 'how many right')):
            yield Case(f'{name}: {what}', partial(run, least=least, which=which),
                       ('The mean of `probs.max(1).values >= least`.',
                        'The mean of `(said == targets)[decided]`, as floats.')[which])

def _confident(probs, labels, wrong=''):
    "The answer, or one with a mistake"
    n = probs.shape[1]
    own = torch.stack([probs[labels == j, j].mean() for j in range(n)])
    if wrong == 'all': own = probs.mean(0)
    if wrong == 'one': own = probs[torch.arange(len(labels)), labels].mean().expand(n)
    if wrong == 'said': own = torch.stack([probs[probs.argmax(1) == j, j].mean() for j in range(n)])
    passes = probs > own if wrong == 'strict' else probs >= own
    if wrong == 'argmax first': passes = passes & (probs == probs.max(1, keepdim=True).values)
    as_class = torch.where(passes, probs - own*(wrong == 'margin'), -9.).argmax(1)
    if wrong == 'no thresholds': return (probs.argmax(1) != labels).nonzero().flatten()
    if wrong == 'none': return (as_class != labels).nonzero().flatten()
    if wrong == 'any': return (passes & (torch.arange(n) != labels[:, None])).any(1).nonzero().flatten()
    if wrong == 'own': return (probs[torch.arange(len(labels)), labels] < own[labels]).nonzero().flatten()
    return (passes.any(1) & (as_class != labels)).nonzero().flatten()

@check('each class by its own measure')
def check_confident(confident):  # `confident(probs, labels)`: places
    "Check suspects by a threshold for each class"
    def run(confident, probs, labels):
        given = probs.clone(),labels.clone()
        got = confident(*given)
        same(list(given), [probs, labels], 'what came in, afterwards', 'It was written on: make new tensors.')
        _tensors([got], 1, 'one tensor, of places')
        require(got.dtype != torch.bool, 'a mask came', hint='Places are expected: mask.nonzero().flatten()')
        require(got.dim() == 1, f'its shape is {tuple(got.shape)}', hint='A row of places: .flatten()')
        want = _confident(probs, labels)
        same(got.sort().values, want, f'{len(labels)} samples', dtype=False, mistakes={
            hint: partial(_confident, probs, labels, wrong) for wrong,hint in _WRONG.items()})
        same(got, want, f'{len(labels)} samples', 'The places are right, their order is not.', dtype=False)
    for name,n,c,bias in ('four', 60, 4, 1.5), ('two', 40, 2, 0.5), ('ten', 300, 10, 1.5):
        labels = torch.arange(n) % c
        scores = torch.randn(n, c, generator=rng(2)) + 0.5*torch.eye(c)[labels] + torch.linspace(0, bias, c)
        probs = scores.softmax(1)
        yield Case(f'{name} classes', partial(run, probs=probs, labels=labels),
                   'For class j: probs[labels == j, j].mean(); then `probs >= thresholds`, by column.')
    probs = torch.tensor([[5, 4, 1], [6, 2, 2], [2, 4, 4], [1, 1, 8], [1, 5, 4]])/10
    yield Case('a class with one sample', partial(run, probs=probs, labels=torch.tensor([0, 1, 1, 2, 2])),
               'Its own probability is the threshold then, and it passes: at least.')

_WRONG = {
    'no thresholds': 'That is what no thresholds give, or those of no column: probs[labels == j, j].mean()',
    'strict': 'At least: >=, not >.', 'one': 'That is one threshold for all classes: each has its own.',
    'all': 'Those thresholds are means over all samples: take those with the label.',
    'said': 'The samples of a class are those with its *label*, not those of which it was said.',
    'argmax first': 'First the thresholds: the likeliest class may be one that it does not pass for.',
    'margin': 'Of several the highest probability counts, not the distance from the threshold.',
    'none': 'A sample that passes for no class is no suspect.',
    'any': 'If it passes for several the highest counts, and that may be its own label.',
    'own': 'To fail its own threshold is not enough: it must pass for another class.'}
