"Checks of lesson 29_steps"
import types
import torch
from .kit import Case, check, require, rng, same

@check('one gradient of many')
def check_combined(f):  # A function of gradients and sizes
    "Check that small batches give the gradient of a large one"
    def case(name, sizes, hint):
        def run(f):
            g = rng(sum(sizes))
            x,y,w = torch.randn(sum(sizes), 3, generator=g),torch.randn(sum(sizes), generator=g),torch.ones(3)
            def grad(x, y): return 2*(x @ w - y) @ x/len(x)
            grads = [grad(*part) for part in zip(x.split(sizes), y.split(sizes))]
            given,kept = f'batches of {sizes}',[t.clone() for t in grads]
            total,n = sum(gr*s for gr,s in zip(grads, sizes)),len(sizes)
            mistakes = {'A short batch counts as a long one here: weigh each by its size.': sum(grads)/n,
                        'Divide by the number of samples.': total,
                        'Divide by the number of samples, not of batches.': total/n,
                        'A sum is not a mean.': sum(grads)}
            same(f(list(grads), list(sizes)), grad(x, y), given, mistakes=mistakes)
            same(grads, kept, given, hint='The gradients that came in must stay as they are: make new ones.')
        return Case(name, run, hint)
    return [case('one batch', [4], 'The gradient of all is that of the one.'),
            case('equal batches', [4, 4, 4], 'Here the mean of the gradients is right.'),
            case('a short one at the end', [8, 8, 3],
                 'Weigh each gradient by its size, divide by the number of samples.'),
            case('all different', [1, 2, 9], 'Weigh each gradient by its size.')]

@check('clipping')
def check_clipped_to(f):  # A function of gradients and `max_norm`
    "Check gradients that are shortened together"
    def case(name, grads, most, hint):
        def run(f):
            grads_,kept = [torch.tensor(g) for g in grads],[torch.tensor(g) for g in grads]
            norm = torch.cat([g.flatten() for g in kept]).norm()
            want = [g*min(1., most/norm.item()) if norm else g for g in kept]
            always = [g*(most/norm) for g in kept] if norm else []
            each = [g*min(1., most/max(g.norm().item(), 1e-9)) for g in kept]
            clamped = [g.clamp(-most, most) for g in kept]
            mistakes = {'What is short enough stays as it is.': always,
                        'Shorten all together by one factor; else the direction changes.': each,
                        'The length of all numbers together, not their largest.': clamped}
            got = f(grads_, most)
            same(list(got) if got is not None else got, want, (grads, most), mistakes=mistakes)
            same(grads_, kept, hint='Give new tensors, and leave those that came in alone.')
        return Case(name, run, hint)
    return [case('too long', [[3., 4.]], 1., 'Multiply by max_norm over the length.'),
            case('short enough', [[0.3, 0.4]], 1., 'What is short enough stays as it is.'),
            case('several tensors', [[3.], [4.]], 1.,
                 'The length is the root of the sum of all squares, over all tensors.'),
            case('one long, one short', [[30.], [0.1]], 2., 'All are multiplied by the same factor.'),
            case('zeros', [[0., 0.], [0.]], 1., 'A length of 0 must not be divided by.')]

@check('clipping by value')
def check_clip_value(make):  # Makes a callback from the greatest value
    "Check a callback that limits each number of complete gradients"
    def tried(do_step, most):
        p,unused = torch.nn.Parameter(torch.ones(4)),torch.nn.Parameter(torch.ones(1))
        p.grad = torch.tensor([-3., -0.1, 0.2, 5.])
        model = types.SimpleNamespace(parameters=lambda: iter([p, unused]), training=True)
        cb = make(most)
        require(hasattr(cb, 'after_backward'), 'it has no after_backward',
                hint='The gradient is complete after backward, and used by step.')
        cb.after_backward(types.SimpleNamespace(model=model, do_step=do_step, training=True))
        return p.grad
    def limits(make): same(tried(True, 1.), torch.tensor([-1., -0.1, 0.2, 1.]),
                           '-3, -0.1, 0.2, 5 to at most 1')
    def other(make): same(tried(True, 0.15), torch.tensor([-0.15, -0.1, 0.15, 0.15]), 'to at most 0.15')
    def waits(make): same(tried(False, 1.), torch.tensor([-3., -0.1, 0.2, 5.]), 'learn.do_step is False')
    return [Case('limited to 1', limits, 'p.grad.clamp_(-most, most), where there is a gradient.'),
            Case('limited to 0.15', other, 'Keep the value in __init__, and use it on both sides of 0.'),
            Case('waits while gradients accumulate', waits,
                 'Look at learn.do_step: with AccumulateCB most batches end without a step.')]
