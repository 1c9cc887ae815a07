"Checks of lesson 29_steps"
import torch
from .kit import Case, check, rng, same

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
                        'Divide by all samples: not by the first size, nor by batches.': total/sizes[0]/n,
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
            def by(length): return [g*min(1., most/max(float(length), 1e-9)) for g in kept]
            numbers = torch.cat([g.flatten() for g in kept])
            mistakes = {'What is short enough stays as it is.': always,
                        'Shorten all together by one factor; else the direction changes.': each,
                        'The length of all numbers together, not their largest.': clamped,
                        'The length is not the largest number.': by(numbers.abs().max()),
                        'The root is missing: the length is the root of the sum of all squares.': by(norm**2),
                        'Squares add up, lengths do not.': by(sum(g.norm() for g in kept))}
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

@check('rates by depth')
def check_rates_by_depth(f):  # A function of layers, the last one's rate, and the factor for a layer deeper
    "Check the rates of the layers of a model, from the last one back to the first"
    def case(title, *layers):
        named = [(f'layer{i}', m) for i,m in enumerate(layers)]
        known = [name for name,m in named[::-1] if list(m.parameters())]
        def rates(power): return {name: 0.1*0.5**power(i) for i,name in enumerate(known)}
        counted = {name: 0.1*0.5**i for i,(name,_) in enumerate(named[::-1])}
        mistakes = {'The last layer learns fastest: count from the end.': rates(lambda i: len(known) - 1 - i),
                    'The last layer has lr itself.': rates(lambda i: i + 1),
                    'Each has decay times the rate behind it: decay**2 next.': rates(lambda i: min(i, 1)),
                    'Leave out, and do not count, layers without parameters.': counted,
                    'What has no parameters does not count for those before.': {k: counted[k] for k in known}}
        def by_name(d):  # in any order; and modules are as good as names
            if not isinstance(d, dict): return d
            return dict(sorted((next((n for n,m in named if m is k), str(k)), v) for k,v in d.items()))
        def run(f): same(by_name(f(list(named), 0.1, 0.5)), by_name(rates(lambda i: i)), (named, 0.1, 0.5),
                         mistakes={hint: by_name(wrong) for hint,wrong in mistakes.items()})
        return Case(title, run, 'Go through the layers from the last to the first.')
    a,relu,b,c = torch.nn.Linear(3, 2),torch.nn.ReLU(),torch.nn.Linear(2, 2),torch.nn.Linear(2, 1)
    return [case('one layer', a), case('two layers', a, c), case('with ReLU between', a, relu, b, relu, c),
            case('layers in a layer', torch.nn.Sequential(a, relu), c), case('ReLU at the end', a, b, relu)]
