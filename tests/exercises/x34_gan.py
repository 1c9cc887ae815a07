"Right and wrong answers to the exercises of 34_gan"
import math
import numpy as np, torch
from miniai.check.gan import check_steepness, check_variety, check_walk


# ---- how many kinds

def variety(counts):
    p = counts/counts.sum()
    return math.exp(-torch.special.xlogy(p, p).sum())


def variety_without_zeros(counts):
    p = counts[counts > 0]/counts.sum()
    return (-(p*p.log()).sum()).exp()


def variety_by_loop(counts):
    total,h = counts.sum().item(),0.
    for c in counts.tolist():
        if c: h -= c/total*math.log(c/total)
    return math.e**h


def variety_of_bits(counts):
    p = counts[counts > 0].double()/counts.sum()
    return 2**(-(p*p.log2()).sum().item())


def variety_in_numpy(counts):
    shares = counts.numpy()/counts.numpy().sum()
    return np.exp(-sum(p*np.log(p) for p in shares if p > 0))


def logarithm_of_ten(counts):
    p = counts[counts > 0]/counts.sum()
    return math.exp(-(p*p.log10()).sum())


def variety_nan(counts):
    p = counts/counts.sum()
    return (-(p*p.log()).sum()).exp()


def only_h(counts):
    p = counts/counts.sum()
    return -torch.special.xlogy(p, p).sum()


def no_minus(counts): return math.exp(-only_h(counts))
def with_two(counts): return 2**only_h(counts).item()


def two_logarithms(counts):
    p = counts[counts > 0]/counts.sum()
    return math.exp(-(p*p.log2()).sum())


def how_many(counts): return (counts > 0).sum()


def not_shares(counts):
    c = counts.double()
    return math.exp(-torch.special.xlogy(c, c).sum())


def no_sum(counts):
    p = counts/counts.sum()
    return (-torch.special.xlogy(p, p)).exp()


def in_place(counts):
    n = variety(counts.clone())
    counts.clamp_(min=1)
    return n


def variety_not_returned(counts): variety(counts)


# ---- a walk

def kept_modes(f):
    def walk(generator, start, end, n):
        modes = [(m, m.training) for m in generator.modules()]
        generator.eval()
        with torch.no_grad(): out = f(generator, start, end, n)
        for m,mode in modes: m.training = mode
        return out
    walk.__name__ = f.__name__
    return walk


@kept_modes
def walk(generator, start, end, n):
    share = torch.linspace(0, 1, n)[:,None]
    return generator(start + share*(end - start))


@kept_modes
def walk_by_lerp(generator, start, end, n):
    return generator(torch.stack([torch.lerp(start, end, i/(n-1)) for i in range(n)]))


@kept_modes
def walk_one_by_one(generator, start, end, n):
    return torch.cat([generator((start*(n-1-i)/(n-1) + end*i/(n-1))[None]) for i in range(n)])


@kept_modes
def backwards(generator, start, end, n):
    return generator(end + torch.linspace(0, 1, n)[:,None]*(start - end))


@kept_modes
def short_of_the_end(generator, start, end, n):
    return generator(torch.stack([start + (end - start)*i/n for i in range(n)]))


@kept_modes
def without_start(generator, start, end, n):
    return generator(torch.stack([start + (end - start)*(i+1)/n for i in range(n)]))


@kept_modes
def mixed_pictures(generator, start, end, n):
    one,other = generator(torch.stack([start, end]))
    return torch.stack([one + (other - one)*i/(n-1) for i in range(n)])


@kept_modes
def stacked(generator, start, end, n):
    return torch.stack([generator(torch.lerp(start, end, i/(n-1))[None]) for i in range(n)])


@kept_modes
def as_a_list(generator, start, end, n):
    return [generator(torch.lerp(start, end, i/(n-1))[None])[0] for i in range(n)]


def a_row(generator, start, end, n):
    return kept_modes(lambda net, start, end, n: net(start))(generator, start, end, n)


def in_training(generator, start, end, n):
    with torch.no_grad(): return generator(start + torch.linspace(0, 1, n)[:,None]*(end - start))


def left_in_eval(generator, start, end, n):
    generator.eval()
    return in_training(generator, start, end, n)


def all_in_train(generator, start, end, n):
    out = left_in_eval(generator, start, end, n)
    generator.train()
    return out


def with_graph(generator, start, end, n):
    modes = [(m, m.training) for m in generator.modules()]
    out = generator.eval()(start + torch.linspace(0, 1, n)[:,None]*(end - start))
    for m,mode in modes: m.training = mode
    return out


def walk_not_returned(generator, start, end, n): walk(generator, start, end, n)


# ---- steepness

def steepness(critic, real):
    x = real.detach().clone().requires_grad_()
    grad, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (grad**2).sum((1, 2, 3)).mean()


def steepness_by_norm(critic, real):
    x = torch.empty_like(real).copy_(real).requires_grad_(True)
    grad = torch.autograd.grad(critic(x).sum(), x, create_graph=True)[0]
    return grad.flatten(1).norm(dim=1).pow(2).mean()


def steepness_one_by_one(critic, real):
    total = 0.
    for x in real.split(1):
        x = x.clone().requires_grad_()
        total = total + torch.autograd.grad(critic(x)[0, 0], x, create_graph=True)[0].pow(2).sum()
    return total/len(real)


def of_the_mean(critic, real):
    x = real.detach().clone().requires_grad_()
    grad, = torch.autograd.grad(critic(x).mean(), x, create_graph=True)
    return (grad**2).sum((1, 2, 3)).mean()


def lengths(critic, real):
    x = real.detach().clone().requires_grad_()
    grad, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return grad.flatten(1).norm(dim=1).mean()


def over_pixels(critic, real):
    x = real.detach().clone().requires_grad_()
    grad, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (grad**2).mean()


def over_all(critic, real): return steepness(critic, real)*len(real)


def sum_first(critic, real):
    x = real.detach().clone().requires_grad_()
    grad, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return grad.sum((1, 2, 3)).pow(2).mean()


def no_graph(critic, real):
    x = real.detach().clone().requires_grad_()
    grad, = torch.autograd.grad(critic(x).sum(), x)
    return (grad**2).sum((1, 2, 3)).mean()


def by_item(critic, real): return steepness(critic, real).item()


def real_changed(critic, real):
    real.requires_grad_()
    grad, = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return (grad**2).sum((1, 2, 3)).mean()


def by_backward(critic, real):
    x = real.detach().clone().requires_grad_()
    critic(x).sum().backward()
    return (x.grad**2).sum((1, 2, 3)).mean()


def needs_no_grad(critic, real): return torch.autograd.grad(critic(real).sum(), real, create_graph=True)[0]


def as_a_tuple(critic, real):
    x = real.detach().clone().requires_grad_()
    return (torch.autograd.grad(critic(x).sum(), x, create_graph=True)**2).sum()


def left_in_eval_mode(critic, real): return steepness(critic.eval(), real)


def each_picture(critic, real):
    x = real.detach().clone().requires_grad_()
    grad, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (grad**2).sum((1, 2, 3)).expand(max(2, len(real)))


def steepness_not_returned(critic, real): steepness(critic, real)


EXERCISES = [
    (check_variety, [variety, variety_without_zeros, variety_by_loop, variety_of_bits, variety_in_numpy],
     [(variety_nan, 'leave the zeros out'), (only_h, 'This is H itself'), (no_minus, 'The sign of H'),
      (with_two, 'a power of 2'), (two_logarithms, '2 is raised to H'),
      (logarithm_of_ten, '10 is raised to H'), (how_many, 'how often each is drawn'),
      (not_shares, 'not of counts'), (no_sum, 'is a sum missing'), (in_place, 'Work on a new tensor'),
      (variety_not_returned, 'Is there a `return`?')]),
    (check_walk, [walk, walk_by_lerp, walk_one_by_one],
     [(backwards, 'from the end to the start'), (short_of_the_end, 'n-1 steps'),
      (without_start, 'not that of `start`'), (mixed_pictures, 'mixtures of two pictures'),
      (stacked, 'torch.cat joins'), (as_a_list, 'torch.stack or torch.cat'),
      (a_row, 'takes a batch of rows'), (in_training, 'is `generator.eval()` called first'),
      (left_in_eval, 'put it back'), (all_in_train, 'put it back'),
      (with_graph, 'torch.no_grad()'), (walk_not_returned, 'Is there a `return`?')]),
    (check_steepness, [steepness, steepness_by_norm, steepness_one_by_one],
     [(of_the_mean, 'take their sum'), (lengths, 'leave the root out'), (over_pixels, 'The mean over pixels'),
      (over_all, 'take the mean'), (sum_first, 'Squares first'), (no_graph, 'create_graph=True'),
      (by_item, 'keep it a tensor'), (needs_no_grad, 'needs requires_grad_()'),
      (as_a_tuple, 'gives a tuple'), (left_in_eval_mode, 'Leave its mode alone'),
      (real_changed, 'Work on `real.detach()'),
      (by_backward, 'torch.autograd.grad does not'), (each_picture, 'is a sum missing'),
      (steepness_not_returned, 'Is there a `return`?')]),
]
