"Solutions of lesson 29's exercises, and the answers that people give instead"
import torch
from miniai.check.steps import check_clipped_to, check_combined, check_rates_by_depth


def weighted(grads, sizes): return sum(g*n for g,n in zip(grads, sizes))/sum(sizes)
def stacked(grads, sizes):
    w = torch.tensor(sizes, dtype=torch.float32)
    return (torch.stack(grads)*w[:,None]).sum(0)/w.sum()
def shares(grads, sizes): return sum(g*(n/sum(sizes)) for g,n in zip(grads, sizes))
def mean_of_means(grads, sizes): return sum(grads)/len(grads)
def added(grads, sizes): return sum(grads)
def not_divided(grads, sizes): return sum(g*n for g,n in zip(grads, sizes))
def by_batches(grads, sizes): return not_divided(grads, sizes)/len(sizes)
def in_place(grads, sizes):
    for g,n in zip(grads, sizes): g *= n
    return sum(grads)/sum(sizes)


def _norm(grads): return torch.cat([g.flatten() for g in grads]).norm()
def by_factor(grads, max_norm): return [g*min(1., max_norm/max(_norm(grads).item(), 1e-12)) for g in grads]
def by_if(grads, max_norm):
    norm = sum((g**2).sum() for g in grads)**0.5
    return [g/norm*max_norm for g in grads] if norm > max_norm else [g.clone() for g in grads]
def by_torch(grads, max_norm):
    params = [torch.nn.Parameter(torch.zeros_like(g)) for g in grads]
    for p,g in zip(params, grads): p.grad = g.clone()
    torch.nn.utils.clip_grad_norm_(params, max_norm)
    return [p.grad for p in params]
def lengthens(grads, max_norm): return [g*(max_norm/_norm(grads)) for g in grads]
def each_alone(grads, max_norm): return [g*min(1., max_norm/max(g.norm().item(), 1e-12)) for g in grads]
def by_value(grads, max_norm): return [g.clamp(-max_norm, max_norm) for g in grads]
def divides_by_zero(grads, max_norm):
    return [g*torch.clamp(max_norm/_norm(grads), max=1)*(_norm(grads)/_norm(grads)) for g in grads]
def changes_them(grads, max_norm):
    factor = min(1., max_norm/max(_norm(grads).item(), 1e-12))
    for g in grads: g *= factor
    return grads


def _by_length(length):
    def shortened(grads, max_norm):
        return [g*min(1., max_norm/max(float(length(grads)), 1e-12)) for g in grads]
    return shortened
by_largest = _by_length(lambda grads: torch.cat([g.flatten() for g in grads]).abs().max())
no_root = _by_length(lambda grads: sum((g**2).sum() for g in grads))
sum_of_lengths = _by_length(lambda grads: sum(g.norm() for g in grads))
def by_first(grads, sizes): return sum(g*(n/sizes[0]) for g,n in zip(grads, sizes))/len(sizes)


def _known(layers): return [name for name,m in layers if list(m.parameters())]
def backwards(layers, lr, decay):
    rates = {}
    for name,m in reversed(layers):
        if not list(m.parameters()): continue
        rates[name] = lr
        lr = lr*decay
    return rates
def by_power(layers, lr, decay):
    names = _known(layers)
    return {name: lr*decay**(len(names) - 1 - i) for i,name in enumerate(names)}
def by_module(layers, lr, decay):
    found = [m for _,m in layers if sum(p.numel() for p in m.parameters())]
    return {m: lr*decay**i for i,m in enumerate(found[::-1])}
def by_tensors(layers, lr, decay):
    return {k: torch.tensor(v).item() for k,v in by_power(layers, lr, decay).items()}
def first_is_fast(layers, lr, decay): return {name: lr*decay**i for i,name in enumerate(_known(layers))}
def one_too_many(layers, lr, decay):
    return {name: lr*decay**(i+1) for i,name in enumerate(_known(layers)[::-1])}
def all_count(layers, lr, decay): return {name: lr*decay**i for i,(name,_) in enumerate(layers[::-1])}
def counted_and_left_out(layers, lr, decay):
    return {k: v for k,v in all_count(layers, lr, decay).items() if k in _known(layers)}
def two_rates(layers, lr, decay):
    names = _known(layers)
    return {name: lr if name == names[-1] else lr*decay for name in names}
def only_linear(layers, lr, decay):
    names = [name for name,m in layers if isinstance(m, torch.nn.Linear)]
    return {name: lr*decay**i for i,name in enumerate(names[::-1])}


EXERCISES = [
    (check_combined, [weighted, stacked, shares],
     [(mean_of_means, 'weigh each by its size'), (added, 'A sum is not a mean'),
      (not_divided, 'Divide by the number of samples'),
      (by_batches, 'not of batches'), (by_first, 'not by the first size'),
      (in_place, 'must stay as they are')]),
    (check_clipped_to, [by_factor, by_if, by_torch],
     [(lengthens, 'stays as it is'), (each_alone, 'one factor'), (by_value, 'not their largest'),
      (divides_by_zero, 'divided by'), (by_largest, 'not the largest number'), (no_root, 'root is missing'),
      (sum_of_lengths, 'Squares add up'),
      (changes_them, 'leave those that came in alone')]),
    (check_rates_by_depth, [backwards, by_power, by_module, by_tensors],
     [(first_is_fast, 'count from the end'), (one_too_many, 'has lr itself'),
      (all_count, 'without parameters'),
      (counted_and_left_out, 'does not count for those before'), (two_rates, 'decay**2'),
      (only_linear, 'from the last to the first')]),
]
