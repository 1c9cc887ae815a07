"Checks of lesson 01_pixels"
import torch
from .kit import Case, Report, brief, require, rng, run_cases, same, _explained


def _pix_distances(n, rows, cols, name, as_bytes=False, hint=''):
    "A case of `check_distances`: `n` pictures of `rows` times `cols`"
    def run(f):
        g = rng(n+rows)
        images,ideal = (torch.randint(0, 256, s, generator=g, dtype=torch.uint8) for s in ((n,rows,cols), (rows,cols)))
        if not as_bytes: images,ideal = images/255,ideal/255
        a,b = images.double(),ideal.double()
        want = (a-b).abs().mean((-1, -2)).float()
        mistakes = {'Bytes wrap round: 3-5 is 254. Make both `.float()` before subtracting.': lambda: (images-ideal).float().abs().mean((-1, -2)),
                    'This is the average over all pictures too. Average over the last two axes only: mean((-1, -2)).': lambda: want.mean(),
                    'This is the sum; a mean is also divided by the number of pixels.': lambda: (a-b).abs().sum((-1, -2)),
                    'Plus and minus cancel here: take abs() of the differences before the mean.': lambda: (a-b).mean((-1, -2)),
                    'Plus and minus cancel here: abs() comes before the mean, not after.': lambda: (a-b).mean((-1, -2)).abs(),
                    'This is L2, the mean squared difference.': lambda: ((a-b)**2).mean((-1, -2)),
                    'These are the differences of all pixels; average them over the last two axes.': lambda: (a-b).abs(),
                    'This is an average over the pictures, axis 0; the pixels are the last two axes.': lambda: (a-b).abs().mean(0)}
        same(f(images, ideal), want, given=(images, ideal), hint=_explained(mistakes))
    return Case(name, run, hint or 'One number for each picture: the mean of |image - ideal| over the last two axes.')

def check_distances(
    f,              # Your function: takes `images` of shape (n,rows,cols) and `ideal` of shape (rows,cols)
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check the mean absolute difference of each image in a pile from one ideal image"
    return run_cases(f, [_pix_distances(1, 1, 2, 'one picture of two pixels'),
                         _pix_distances(3, 2, 2, 'three pictures of four pixels'),
                         _pix_distances(2, 2, 2, 'pictures of bytes', as_bytes=True),
                         _pix_distances(4, 3, 5, 'pictures that are wider than high'),
                         _pix_distances(50, 28, 28, 'a pile of digits', as_bytes=True)], 'distances', limit)

def _pix_slope_hint(grad, i):
    "A hint function for the slope at entry `i`, where all slopes are `grad`"
    def hint(got, want):
        if not isinstance(got, (int, float)): return ''
        rounding = 'f(w) has only some 7 digits, and a nudge below 0.0001 drowns in the rounding.'
        if got == 0: return f'No change arrived: was w[i] changed before the second f(w)? And {rounding}'
        for text,value in (('The sign is turned: after minus before, for a nudge upward.', -want),
                           ('This is the sum of all slopes. Only entry i may be nudged.', grad.sum().item()),
                           ('Twice the slope: nudged up and down, the step from end to end is two nudges.', 2*want),
                           ('Half the slope: with one nudge up, divide by that one nudge.', want/2)):
            if abs(got-value) < 0.02*abs(value): return text
        if abs(got) < 0.1*abs(want): return 'Much too small: is the change of f(w) divided by the size of the nudge?'
        return f'Near, but not near enough: {rounding} One above 0.01 is no longer "a little".' if abs(got-want) < abs(want) else ''
    return hint

def _pix_slope(f, shape, i, name, hint=''):
    "A case of `check_slope`: entry `i` of a tensor of `shape`, in the function `f`"
    def run(slope):
        w = torch.randn(shape, generator=rng(7)) + 2
        w0,leaf = w.clone(),w.clone().requires_grad_()
        grad = torch.autograd.grad(f(leaf), leaf)[0]
        got = slope(f, w, i)
        require(w.equal(w0), 'w is not what it was before', given=w0, got=w, want=w0,
                hint='Keep the old value, `old = w[i].item()`, and put it back: adding and taking away again leaves a rounding error.')
        if isinstance(got, torch.Tensor) and got.numel() == 1: got = got.item()
        same(round(got, 4) if isinstance(got, float) else got, round(grad[i].item(), 4), given=f'w = {brief(w0)}, i = {i}',
             hint=_pix_slope_hint(grad, i), rtol=0.02, atol=0.003)
    return Case(name, run, hint or 'Change w[i] a little, see how much f(w) changes, divide by how much you changed w[i].')

def check_slope(
    slope,          # Your function: takes a function `f`, a tensor `w` and the place `i` of one of its entries
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check the slope of `f(w)` at entry `i` of `w`, found by nudging, against autograd's"
    x,y = torch.rand(20, 4, generator=rng(1)),torch.randint(0, 2, (20, 1), generator=rng(2))
    def loss(w):
        p = (x@w - 4).sigmoid()
        return torch.where(y==1, 1-p, p).mean()
    return run_cases(slope, [_pix_slope(lambda w: (3*w).sum(), 1, 0, 'a straight line'),
                             _pix_slope(lambda w: (torch.tensor([1., -2., 5.])*w).sum(), 3, 1, 'the second of three entries, going down',
                                        'Only entry i may be nudged.'),
                             _pix_slope(lambda w: (w**2).sum(), 2, 1, 'a parabola'),
                             _pix_slope(lambda w: w.prod(), 3, 2, 'a product: each slope depends on the others'),
                             _pix_slope(loss, (4,1), 2, 'the loss of lesson 01, weights in a column')], 'slope by nudging', limit)

def _pix_walk(start, loss, steps, move):
    "Where `steps` steps lead from `start`, if `move(p, grad, sum of all grads so far)` is what a step does to `p`"
    now,sums = start,[0.]*len(start)
    for _ in range(steps):
        leaves = [p.clone().requires_grad_() for p in now]
        grads = torch.autograd.grad(loss(*leaves), leaves, allow_unused=True, materialize_grads=True)
        sums = [s+g for s,g in zip(sums, grads)]
        now = [move(*o) for o in zip(now, grads, sums)]
    return now

def _pix_descent(shapes, loss, name, steps=1, unused=False, hint=''):
    "A case of `check_descent`: `loss` of some tensors, and `steps` steps"
    def run(descent):
        params,lr = [(torch.randn(s, generator=rng(k)) + 2).requires_grad_() for k,s in enumerate(shapes)],0.1
        start = [p.detach().clone() for p in params]
        def walk(move): return _pix_walk(start, loss, steps, move)
        for _ in range(steps): descent(loss(*params), params, lr)
        given = f'{", ".join(brief(p) for p in start)}, lr {lr}'
        mistakes = {'Nothing moved. `p = p - …` makes a new tensor; change the old one in place: `p -= …`.': lambda: start,
                    'Uphill! The gradient points to where the loss grows; go against it: minus.': lambda: walk(lambda p,g,_: p+lr*g),
                    'The whole gradient was taken off: where is lr?': lambda: walk(lambda p,g,_: p-g),
                    'The gradients of the first step were still in p.grad at the second, and were added to.': lambda: walk(lambda p,g,s: p-lr*s)}
        same([p.detach() for p in params], walk(lambda p,g,_: p-lr*g), given=given, hint=_explained(mistakes))
        require(all(p.requires_grad for p in params), 'a parameter no longer asks for gradients', given, hint='Leave p.requires_grad as it is.')
        require(all(p.grad is None or not p.grad.any() for p in params), 'a gradient is left in p.grad', given,
                hint='Empty it after the step: p.grad.zero_(), or p.grad = None.')
    return Case(name, run, hint or 'loss.backward(); then, under `with torch.no_grad():`, `p -= lr*p.grad` for each p.')

def check_descent(
    descent,        # Your function: takes a `loss` (one number), `params` (a list of tensors) and `lr`
    limit:float=10. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check one step of gradient descent, gradients and cleaning up included"
    x = torch.rand(8, 3, generator=rng(3))
    return run_cases(descent, [_pix_descent([1], lambda v: (v**2).sum(), 'one number in a valley'),
                               _pix_descent([(3,1), 1], lambda w,b: ((x@w + b)**2).mean(), 'weights and a bias',
                                            hint='Every tensor in params takes its step.'),
                               _pix_descent([2], lambda v: (v**2).sum(), 'two steps, one after the other', steps=2),
                               _pix_descent([2, 1], lambda v,_: (v**2).sum(), 'a parameter that the loss does not use',
                                            hint='Its p.grad is None: leave it alone.')], 'one step of descent', limit)

def _pix_rows(n, pixels, kind, generator):
    "Rows and labels: two shapes in noise, or bright and dark"
    y = (torch.arange(n) < n//2).float().unsqueeze(1)
    if kind == 'bright': return (0.3 + 0.3*y + 0.1*torch.randn(n, pixels, generator=generator)).clamp(0, 1),y
    shapes = torch.rand(2, pixels, generator=rng(pixels)).round()
    return (torch.where(y==1, shapes[0], shapes[1])*0.6 + 0.3*torch.rand(n, pixels, generator=generator)).clamp(0, 1),y

def _pix_learn(n, pixels, kind, name, hint=''):
    "A case of `check_learn`: `n` rows of `pixels` numbers"
    def run(learn):
        x,y = _pix_rows(n, pixels, kind, rng(1))
        x_valid,y_valid = _pix_rows(200, pixels, kind, rng(2))
        got = learn(x.clone(), y.clone())
        require(isinstance(got, (tuple, list)) and len(got) == 2 and all(isinstance(o, torch.Tensor) for o in got), 'not two tensors', got=got,
                hint='End with `return w,b`.')
        w,b = (o.detach() for o in got)
        require(w.shape == (pixels,1) and b.numel() == 1, 'the shapes do not fit', got=f'w {tuple(w.shape)}, b {tuple(b.shape)}',
                want=f'w {(pixels,1)}, b (1,)', hint='One weight for each pixel, in a column, and one bias.')
        share = ((x_valid@w + b > 0) == (y_valid==1)).float().mean().item()
        text = ('Worse than a coin: does a step go uphill?' if share < 0.4 else hint or
                ('No better than a coin: does the step change w and b themselves, and are gradients zeroed after it?' if share < 0.6 else
                 'It learns, but not enough: more epochs, or a larger learning rate.'))
        require(share > 0.9, 'too few of the held-back rows are right', f'{n} rows of {pixels} pixels', f'{share:.0%}', 'more than 90%', text)
    return Case(name, run, hint or 'The seven steps: start, predict, loss, gradient, step, repeat, stop.')

def check_learn(
    learn,          # Your function: takes rows `x` (n,pixels) and labels `y` (n,1), returns weights (pixels,1) and bias (1,)
    limit:float=20. # Seconds that one case may take
)->Report:          # ✓ or ✗ for each case
    "Check a training loop by its accuracy on rows held back from it"
    bias = 'Here all pixels say the same, and what matters is where the line is drawn: does the bias learn too, and long enough?'
    return run_cases(learn, [_pix_learn(200, 36, 'shapes', 'two shapes in noise, 6×6 pixels'),
                             _pix_learn(150, 36, 'bright', 'bright against dark', bias),
                             _pix_learn(1000, 784, 'shapes', '1,000 rows of 784 pixels')], 'learning', limit)
