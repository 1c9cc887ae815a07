"Checks of lesson 01_pixels"
import torch
from .kit import Case, brief, check, require, rng, same

def _nearest(n, k, rows, cols, name, as_bytes=False, hint=''):
    "A case of `check_nearest`: `n` pictures, `k` ideals"
    def run(f):
        images,ideals = torch.randint(256, (n+k,rows,cols), generator=rng(n+rows)).byte().split([n, k])
        if not as_bytes: images,ideals = images/255,ideals/255
        difference = images[:,None].double() - ideals
        far = (difference**2).mean((-1, -2))  # (n,k)
        got = f(images.clone(), ideals.clone())
        if isinstance(got, torch.Tensor) and not got.is_floating_point(): got = got.long()
        same(got, far.argmin(1), (images, ideals), mistakes={
            'Bytes wrap round: 3-5 is 254. Make both `.float()` before subtracting.':
                lambda: ((images[:,None]-ideals).float()**2).mean((-1, -2)).argmin(1),
            'Squares of bytes wrap round too: `.float()` before anything else.':
                lambda: ((images[:,None]-ideals)**2).float().mean((-1, -2)).argmin(1),
            'Divide both by 255, or neither.': ((images[:,None]/255-ideals)**2).mean((-1, -2)).argmin(1),
            'These are the farthest: `argmin`, not `argmax`.': far.argmax(1),
            'Plus and minus cancel: square the differences first.': difference.mean((-1, -2)).argmin(1),
            'These are the nearest by L1: square the differences.': difference.abs().sum((-1, -2)).argmin(1),
            'This is the nearest picture of each ideal: the smallest along the other axis.': far.argmin(0),
            'These are distances; where does the smallest one stand? `argmin`.': far.amin(1).float(),
            'These are all the distances: of each row, where is the smallest?': far.float()})
    return Case(name, run, hint or 'The distances (n,) to each ideal, stacked to (k,n), then `argmin(0)`.')

@check('nearest ideal')
def check_nearest(f):  # Takes `images` (n,rows,cols) and `ideals` (k,rows,cols)
    "Check the number of the nearest ideal of each picture, by L2 distance"
    to_float = 'Right for floats alone? Bytes wrap round, have no mean: `.float()` both before subtracting.'
    return [_nearest(3, 4, 1, 2, 'three pictures of two pixels, four ideals'),
            _nearest(5, 3, 2, 2, 'five pictures, three ideals'),
            _nearest(9, 4, 2, 2, 'pictures of bytes', as_bytes=True, hint=to_float),
            _nearest(50, 10, 28, 28, 'a pile of digits', as_bytes=True, hint=to_float)]

def _walk(start, loss, steps, move):
    "Where `steps` steps lead, if `move(p, grad, sum of all grads so far)` is what a step does to `p`"
    now,sums = start,[0.]*len(start)
    for _ in range(steps):
        leaves = [p.clone().requires_grad_() for p in now]
        grads = torch.autograd.grad(loss(*leaves), leaves, allow_unused=True, materialize_grads=True)
        sums = [s+g for s,g in zip(sums, grads)]
        now = [move(*o) for o in zip(now, grads, sums)]
    return now

def _careful(shapes, loss, name, lr=0.1, steps=1, too_long=False, hint=''):
    "A case of `check_descent`: `loss` of some tensors, and `steps` steps; are they `too_long`?"
    def run(careful_step):
        params = [(torch.randn(s, generator=rng(k)) + 2).requires_grad_() for k,s in enumerate(shapes)]
        start = [p.detach().clone() for p in params]
        def walk(move): return lambda: _walk(start, loss, steps, move)
        for _ in range(steps): next_lr = careful_step(lambda: loss(*params), list(params), lr)
        given,down = f'{", ".join(map(brief, start))}, lr {lr}',walk(lambda p,g,_: p-lr*g)
        same([p.detach() for p in params], start if too_long else down(), given, mistakes={
            'Nothing moved: a good step put back, or one uphill? A new p, not `p -= …`? No gradient?': start,
            'The loss rose: put the old numbers back into p (`p = …` does not), from a `p.clone()`.': down,
            'The whole gradient was taken off: where is lr?': walk(lambda p,g,_: p-g),
            'The gradients of the first step were still in p.grad.': walk(lambda p,g,s: p-lr*s)})
        require(all(p.requires_grad for p in params), 'requires_grad is gone', given, hint='Leave it on.')
        require(not any(p.grad is not None and p.grad.any() for p in params), 'a gradient is left in p.grad',
                given, hint='p.grad.zero_() after the step, and no backward after that.')
        same(next_lr, lr/2 if too_long else lr, given, 'Return lr if the loss fell, lr/2 if it did not.')
    return Case(name, run, hint or 'f().backward(); in torch.no_grad(), p -= lr*p.grad for each; f() again.')

@check('a careful step')
def check_descent(careful_step):  # Takes `f` (which gives the loss), `params` (a list of tensors), `lr`
    "Check a step of gradient descent that is taken back if the loss has not fallen"
    x = torch.rand(8, 3, generator=rng(3))
    return [_careful([1], lambda v: (0.3*v**2).sum(), 'one number in a valley'),
            _careful([(3,1), 1], lambda w,b: (0.3*(x@w + b)**2).mean(), 'weights and a bias'),
            _careful([2], lambda v: (0.3*v**2).sum(), 'two steps, one after the other', steps=2),
            _careful([(3,1), 1], lambda w,b: ((x@w + b)**2).mean(), 'a step too long', lr=9., too_long=True),
            _careful([2, 1], lambda v,_: (0.3*v**2).sum(), 'a parameter that the loss does not use',
                     hint='Its p.grad is None: leave it alone.')]

def _rows(n, pixels, kind, seed):
    "Rows and labels: two shapes in noise, some of them as negatives; or bright and dark"
    g,y = rng(seed),(torch.arange(n) < n//2).float().unsqueeze(1)
    if kind == 'bright': return (0.3 + 0.3*y + 0.1*torch.randn(n, pixels, generator=g)).clamp(0, 1),y
    shapes = torch.rand(2, pixels, generator=rng(pixels)).round()
    x = (torch.where(y==1, *shapes)*0.6 + 0.3*torch.rand(n, pixels, generator=g)).clamp(0, 1)
    return torch.where(torch.arange(n)[:,None]%2 == 1, 1-x, x) if kind == 'negatives' else x,y

def _learn(n, pixels, kind, name, hint=''):
    "A case of `check_learn`: `n` rows of `pixels` numbers"
    def run(learn):
        (x,y),(x_valid,y_valid) = _rows(n, pixels, kind, 1),_rows(200, pixels, kind, 2)
        f = learn(x.clone(), y.clone())
        require(callable(f), f'a {type(f).__name__} came, not a function', hint='Return what gives scores.')
        scores = f(x_valid.clone())
        require(isinstance(scores, torch.Tensor) and scores.shape == (200,1), 'the scores are not a column',
                x_valid, scores, '(200,1)', 'One score for each row: (n,784) @ (784,30), then @ (30,1).')
        said = scores > 0
        share = (said == (y_valid==1)).float().mean().item()
        coin = 'One answer for all. Sigmoid in the loss, only there? Start at 0 or too large? Rate? Steps?'
        if said.any() and not said.all(): coin = 'No better than a coin: do steps change the tensors? Enough?'
        text = 'Worse than a coin: does a step go uphill?' if share < 0.4 else coin if share < 0.6 else hint
        require(share > 0.9, 'too few of the held-back rows are right', f'{n} rows of {pixels} pixels',
                f'{share:.0%}', 'over 90%', text or 'It learns, but too little: more epochs, a larger rate.')
    return Case(name, run, hint or 'The seven steps: start, predict, loss, gradient, step, repeat, stop.')

@check('learning')
def check_learn(learn):  # Takes rows (n,pixels) and labels (n,1), returns a function: rows to scores
    "Check a whole training by its accuracy on rows held back from it"
    bend = 'Half are negatives: is there a ReLU between two layers, are there enough units, is all shuffled?'
    return [_learn(200, 36, 'shapes', 'two shapes in noise, 6×6 pixels'),
            _learn(150, 36, 'bright', 'bright against dark', 'Here the bias matters: does it learn too?'),
            _learn(400, 36, 'negatives', 'half of them as negatives', bend),
            _learn(1000, 784, 'shapes', '1,000 rows of 784 pixels')]
