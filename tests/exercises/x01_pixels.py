import torch
from miniai.check.pixels import check_descent, check_distances, check_learn, check_slope


def distances(images, ideal): return (images.float()-ideal.float()).abs().mean((-1, -2))
def distances_in_rows(images, ideal): return torch.stack([(i.float()-ideal.float()).abs().mean() for i in images])
def wraps(images, ideal): return (images-ideal).float().abs().mean((-1, -2))
def over_everything(images, ideal): return (images.float()-ideal.float()).abs().mean()
def sums(images, ideal): return (images.float()-ideal.float()).abs().sum((-1, -2))
def cancels(images, ideal): return (images.float()-ideal.float()).mean((-1, -2))
def squares(images, ideal): return ((images.float()-ideal.float())**2).mean((-1, -2))
def over_the_pile(images, ideal): return (images.float()-ideal.float()).abs().mean(0)
def forgets_return(images, ideal): (images.float()-ideal.float()).abs().mean((-1, -2))


def slope(f, w, i, nudge=0.001):
    old,before = w[i].item(),f(w)
    w[i] = old + nudge
    after = f(w)
    w[i] = old
    return (after-before) / nudge

def slope_both_ways(f, w, i, nudge=0.001):
    up,down = w.clone(),w.clone()
    up[i] += nudge
    down[i] -= nudge
    return ((f(up)-f(down)) / (2*nudge)).item()

def forgets_to_divide(f, w, i): return slope(f, w, i)*0.001
def before_minus_after(f, w, i): return -slope(f, w, i)
def one_nudge_too_few(f, w, i): return slope_both_ways(f, w, i)*2
def one_nudge_too_many(f, w, i): return slope(f, w, i)/2
def tiny_nudge(f, w, i): return slope(f, w, i, 1e-7)
def leaves_it_changed(f, w, i):
    before = f(w)
    w[i] += 0.001
    return (f(w)-before) / 0.001
def nudges_all(f, w, i): return (f(w+0.001)-f(w)) / 0.001


def descent(loss, params, lr):
    loss.backward()
    with torch.no_grad():
        for p in params:
            if p.grad is None: continue
            p -= lr*p.grad
            p.grad.zero_()

def descent_by_autograd(loss, params, lr):
    for p,g in zip(params, torch.autograd.grad(loss, params, allow_unused=True)):
        if g is not None: p.data.sub_(lr*g)

def step(loss, params, lr, move, clean=True):
    loss.backward()
    for p in params:
        if p.grad is None: continue
        p.data = move(p.detach(), p.grad)
        if clean: p.grad = None

def never_zeroed(loss, params, lr): step(loss, params, lr, lambda p,g: p-lr*g, clean=False)
def uphill(loss, params, lr): step(loss, params, lr, lambda p,g: p+lr*g)
def without_lr(loss, params, lr): step(loss, params, lr, lambda p,g: p-g)
def new_names(loss, params, lr): step(loss, params, lr, lambda p,g: p)
def in_the_record(loss, params, lr):
    loss.backward()
    for p in params: p -= lr*p.grad
def all_have_gradients(loss, params, lr):
    loss.backward()
    with torch.no_grad():
        for p in params:
            p -= lr*p.grad
            p.grad.zero_()


def learn(x, y, lr=0.5, epochs=40, bs=32, use_bias=True):
    w,b = torch.zeros(x.shape[1], 1, requires_grad=True),torch.zeros(1, requires_grad=use_bias)
    for _ in range(epochs):
        for i in torch.randperm(len(x)).split(bs):
            p = (x[i]@w + b).sigmoid()
            descent(torch.where(y[i]==1, 1-p, p).mean(), [w, b], lr)
    return w,b

def learn_by_torch(x, y):
    layer = torch.nn.Linear(x.shape[1], 1)
    opt = torch.optim.SGD(layer.parameters(), lr=1.)
    for _ in range(15):
        for i in torch.randperm(len(x)).split(16):
            p = layer(x[i]).sigmoid()
            torch.where(y[i]==1, 1-p, p).mean().backward()
            opt.step()
            opt.zero_grad()
    return layer.weight.t(),layer.bias

def uphill_all_the_way(x, y): return learn(x, y, lr=-0.5)
def never_steps(x, y): return learn(x, y, epochs=0)
def weights_in_a_row(x, y): return learn(x, y)[0].t(),torch.zeros(1)
def weights_only(x, y): return learn(x, y)[0]
def without_bias(x, y): return learn(x, y, use_bias=False)


EXERCISES = [
    (check_distances, [distances, distances_in_rows],
     [(wraps, 'Bytes wrap round'), (over_everything, 'average over all pictures'), (sums, 'This is the sum'), (cancels, 'cancel'),
      (squares, 'L2'), (over_the_pile, 'axis 0'), (forgets_return, '`return`')]),
    (check_slope, [slope, slope_both_ways],
     [(forgets_to_divide, 'divided by the size of the nudge'), (before_minus_after, 'sign is turned'), (one_nudge_too_few, 'Twice the slope'),
      (one_nudge_too_many, 'Half the slope'), (tiny_nudge, 'drowns'), (leaves_it_changed, 'not what it was before'),
      (nudges_all, 'Only entry i')]),
    (check_descent, [descent, descent_by_autograd],
     [(never_zeroed, 'a gradient is left in p.grad'), (never_zeroed, 'were still in p.grad at the second'), (uphill, 'Uphill'),
      (without_lr, 'where is lr'), (new_names, 'Nothing moved'), (in_the_record, 'torch.no_grad()'), (all_have_gradients, 'leave it alone')]),
    (check_learn, [learn, learn_by_torch],
     [(uphill_all_the_way, 'uphill'), (never_steps, 'No better than a coin'), (weights_in_a_row, 'in a column'),
      (weights_only, 'return w,b'), (without_bias, 'does the bias learn too')]),
]
