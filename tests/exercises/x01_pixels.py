"The exercises of lesson 01_pixels: solutions, and what people write first"
import torch
from torch import nn
from miniai.check.pixels import check_descent, check_learn, check_nearest


def l2(images, ideals): return ((images.float()[:,None] - ideals.float())**2).mean((-1, -2))
def nearest(images, ideals): return l2(images, ideals).argmin(1)
def nearest_by_loop(images, ideals):
    "A picture at a time"
    found = []
    for image in images:
        errors = [((image.float()-ideal.float())**2).mean().item() for ideal in ideals]
        found.append(errors.index(min(errors)))
    return torch.tensor(found)
def nearest_in_columns(images, ideals):
    "An ideal at a time, and a table of columns"
    images = images.flatten(1).double()
    return torch.stack([((images-o.flatten().double())**2).sum(1) for o in ideals], 1).min(1).indices
def nearest_by_scores(images, ideals):
    "The algebra of the lesson: one weight for each pixel"
    x,m = images.flatten(1).double(),ideals.flatten(1).double()
    return (x@m.t() - (m**2).sum(1)/2).argmax(1)
def nearest_by_cdist(images, ideals):
    "PyTorch's own table of distances: the root changes nothing"
    return torch.cdist(images.flatten(1).float(), ideals.flatten(1).float()).argmin(1)
def by_l1(images, ideals): return (images.float()[:,None]-ideals.float()).abs().mean((-1, -2)).argmin(1)
def no_pairs(images, ideals): return ((images.float()-ideals.float())**2).mean((-1, -2)).argmin(0)
def of_two(images, ideals):
    errors = l2(images, ideals)
    return (errors[:,1] < errors[:,0]).long()
def wraps(images, ideals): return ((images[:,None]-ideals).float()**2).mean((-1, -2)).argmin(1)
def no_floats(images, ideals): return ((images[:,None]-ideals)**2).mean((-1, -2)).argmin(1)
def farthest(images, ideals): return l2(images, ideals).argmax(1)
def cancels(images, ideals): return (images.float()[:,None]-ideals.float()).mean((-1, -2)).argmin(1)
def other_axis(images, ideals): return l2(images, ideals).argmin(0)
def distances(images, ideals): return l2(images, ideals).amin(1)
def table(images, ideals): return l2(images, ideals)
def no_axis(images, ideals): return ((images.float()-ideals.float())**2).mean((-1, -2)).argmin()
def one_of_255(images, ideals): return l2(images/255, ideals).argmin(1)
def forgets_return(images, ideals): l2(images, ideals).argmin(1)


def descent(loss, params, lr):
    loss.backward()
    with torch.no_grad():
        for p in params:
            if p.grad is None: continue
            p -= lr*p.grad
            p.grad.zero_()

def careful(f, params, lr, step=descent, keep=torch.clone):
    loss,old = f(),[keep(p.detach()) for p in params]
    step(loss, params, lr)
    with torch.no_grad():
        if f() < loss: return lr
        for p,was in zip(params, old): p.copy_(was)
    return lr/2

def careful_by_autograd(f, params, lr):
    "No .grad at all, and undone by the opposite step"
    loss = f()
    grads = torch.autograd.grad(loss, params, allow_unused=True)
    def move(rate):
        for p,g in zip(params, grads):
            if g is not None: p.data.sub_(rate*g)
    move(lr)
    if f().item() < loss.item(): return lr
    move(-lr)
    return lr/2

def careful_by_sgd(f, params, lr):
    "PyTorch's optimizer, and numbers put back by a slice"
    opt,old = torch.optim.SGD(params, lr=lr),[p.data.clone() for p in params]
    opt.zero_grad()
    loss = f()
    loss.backward()
    opt.step()
    opt.zero_grad()
    if f() < loss: return lr
    for p,was in zip(params, old): p.data[:] = was
    return lr/2

def moved(loss, params, lr, move, clean=True):
    loss.backward()
    for p in params:
        if p.grad is None: continue
        p.data = move(p.detach(), p.grad)
        if clean: p.grad = None
def zero_first(loss, params, lr):
    loss.backward()
    with torch.no_grad():
        for p in params:
            if p.grad is None: continue
            p.grad.zero_()
            p -= lr*p.grad
def without_backward(loss, params, lr):
    with torch.no_grad():
        for p in params:
            if p.grad is not None: p -= lr*p.grad
def new_in_the_list(loss, params, lr):
    loss.backward()
    with torch.no_grad():
        for k,p in enumerate(params):
            if p.grad is not None: params[k] = p - lr*p.grad
def recorded(loss, params, lr):
    loss.backward()
    for p in params: p -= lr*p.grad
def all_with_gradients(loss, params, lr):
    loss.backward()
    with torch.no_grad():
        for p in params:
            p -= lr*p.grad
            p.grad.zero_()

def never_zeroed(f, params, lr):
    return careful(f, params, lr, lambda *o: moved(*o, lambda p,g: p-lr*g, clean=False))
def uphill(f, params, lr): return careful(f, params, lr, lambda *o: moved(*o, lambda p,g: p+lr*g))
def without_lr(f, params, lr): return careful(f, params, lr, lambda *o: moved(*o, lambda p,g: p-g))
def new_names(f, params, lr): return careful(f, params, lr, lambda *o: moved(*o, lambda p,g: p))
def zeroed_too_early(f, params, lr): return careful(f, params, lr, zero_first)
def no_backward(f, params, lr): return careful(f, params, lr, without_backward)
def new_ones_in_the_list(f, params, lr): return careful(f, params, lr, new_in_the_list)
def in_the_record(f, params, lr): return careful(f, params, lr, recorded)
def all_have_gradients(f, params, lr): return careful(f, params, lr, all_with_gradients)
def keeps_no_copy(f, params, lr): return careful(f, params, lr, keep=lambda p: p)
def looks_not_back(f, params, lr):
    descent(f(), params, lr)
    return lr
def always_halves(f, params, lr): return careful(f, params, lr) and lr/2
def takes_good_ones_back(f, params, lr):
    return careful(lambda: -f(), params, lr, lambda rise,params,lr: descent(-rise, params, lr))
def looks_with_a_backward(f, params, lr):
    new = careful(f, params, lr)
    f().backward()
    return new
def puts_back_a_name(f, params, lr):
    loss,old = f(),[p.detach().clone() for p in params]
    descent(loss, params, lr)
    if f() < loss: return lr
    for p,was in zip(params, old): p = was  # noqa: F841
    return lr/2
def says_nothing(f, params, lr): careful(f, params, lr)


def relu(t): return t.clamp(min=0)

def learn(x, y, lr=0.5, epochs=60, bs=32, hidden=30, act=relu, use_bias=True, size=0.1,
          sure=torch.sigmoid):
    torch.manual_seed(3)
    w1,b1 = (torch.randn(x.shape[1], hidden)*size).requires_grad_(),torch.zeros(hidden, requires_grad=True)
    w2,b2 = (torch.randn(hidden, 1)*size).requires_grad_(),torch.zeros(1, requires_grad=use_bias)
    def model(x): return act(x@w1 + b1)@w2 + b2
    params = [p for p in (w1, b1, w2, b2) if p.requires_grad]
    for _ in range(epochs):
        for i in torch.randperm(len(x)).split(bs):
            p = sure(model(x[i]))
            descent(torch.where(y[i]==1, 1-p, p).mean(), params, lr)
    return model

def learn_by_torch(x, y):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(x.shape[1], 50), nn.ReLU(), nn.Linear(50, 1))
    opt = torch.optim.SGD(net.parameters(), lr=1.)
    for _ in range(50):
        for i in torch.randperm(len(x)).split(16):
            p = net(x[i]).sigmoid()
            torch.where(y[i]==1, 1-p, p).mean().backward()
            opt.step()
            opt.zero_grad()
    return net

def learn_with_all_rows(x, y):
    "Every step with all rows, another bend, and the sum of squares as a loss"
    torch.manual_seed(2)
    params = [torch.randn(x.shape[1], 40)/6, torch.zeros(40), torch.randn(40, 1)/6, torch.zeros(1)]
    for p in params: p.requires_grad_()
    def model(x): return (x@params[0] + params[1]).abs()@params[2] + params[3]
    for _ in range(400):
        descent(((model(x).sigmoid()-y)**2).mean(), params, 0.5 if x.shape[1] < 100 else 0.1)
    return lambda x: model(x).detach()

def linear(x, y): return learn(x, y, act=lambda t: t)
def uphill_all_the_way(x, y): return learn(x, y, lr=-0.5)
def never_steps(x, y): return learn(x, y, epochs=0)
def weights_only(x, y): return torch.zeros(x.shape[1], 1)
def in_a_row(x, y):
    model = learn(x, y)
    return lambda x: model(x).squeeze(1)
def from_zeros(x, y): return learn(x, y, size=0.)
def from_large(x, y): return learn(x, y, size=1.)
def without_sigmoid(x, y): return learn(x, y, sure=lambda s: s)
def too_large_a_rate(x, y): return learn(x, y, lr=1000.)
def sure_not_scores(x, y):
    model = learn(x, y)
    return lambda x: model(x).sigmoid()
def one_unit(x, y): return learn(x, y, hidden=1)


EXERCISES = [
    (check_nearest, [nearest, nearest_by_loop, nearest_in_columns, nearest_by_scores, nearest_by_cdist],
     [(wraps, 'Bytes wrap round'), (no_floats, '`.float()` both before subtracting'),
      (farthest, 'not `argmax`'), (one_of_255, 'Divide both by 255'),
      (cancels, 'cancel'), (other_axis, 'along the other axis'),
      (distances, 'where does the smallest one stand'),
      (table, 'of each row, where is the smallest'), (no_axis, 'stacked to (k,n), then `argmin(0)`'),
      (forgets_return, '`return`'), (by_l1, 'by L1'), (no_pairs, 'to each ideal, stacked'),
      (of_two, 'to each ideal, stacked')]),
    (check_descent, [careful, careful_by_autograd, careful_by_sgd],
     [(never_zeroed, 'a gradient is left in p.grad'), (never_zeroed, 'were still in p.grad'),
      (uphill, 'or one uphill?'), (takes_good_ones_back, 'a good step put back'),
      (without_lr, 'where is lr'), (new_names, 'A new p'),
      (in_the_record, 'torch.no_grad()'), (zeroed_too_early, 'No gradient?'), (no_backward, 'No gradient?'),
      (new_ones_in_the_list, 'A new p'), (all_have_gradients, 'leave it alone'),
      (keeps_no_copy, 'from a `p.clone()`'), (looks_not_back, 'put the old numbers back'),
      (looks_with_a_backward, 'no backward after that'), (puts_back_a_name, '`p = …` does not'),
      (always_halves, 'Return lr if the loss fell'), (says_nothing, '`return`')]),
    (check_learn, [learn, learn_by_torch, learn_with_all_rows],
     [(uphill_all_the_way, 'uphill'), (never_steps, 'No better than a coin'),
      (from_zeros, 'Start at 0'), (from_large, 'or too large?'), (too_large_a_rate, 'Rate?'),
      (sure_not_scores, 'only there?'), (without_sigmoid, 'Sigmoid in the loss'),
      (linear, 'is there a ReLU'),
      (one_unit, 'enough units'), (in_a_row, 'One score for each row'),
      (weights_only, 'Return what gives scores')]),
]
