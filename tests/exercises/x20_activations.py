"20_activations: right answers, and what people write instead"
import torch
from miniai.activations import Hook, Hooks
from miniai.check.activations import check_features, check_out_shapes, check_running_mean


# ---- shapes

def out_shapes(model, x):
    shapes = []
    def keep(hook, module, inputs, output): shapes.append(tuple(output.shape))
    with Hooks(model.children(), keep): model(x)
    return shapes


def shapes_by_handles(model, x):
    shapes = []
    def keep(module, inputs, output): shapes.append(tuple(output.shape))
    handles = [m.register_forward_hook(keep) for m in model.children()]
    try: model(x)
    finally:
        for h in handles: h.remove()
    return shapes


def shapes_by_hook(model, x):
    shapes = []
    def keep(hook, module, inputs, output): shapes.append(output.shape)
    hooks = [Hook(m, keep) for m in model.children()]
    with torch.no_grad(): model(x)
    for h in hooks: h.remove()
    return shapes


def handles_left(model, x):
    shapes = []
    def keep(module, inputs, output): shapes.append(tuple(output.shape))
    for m in model.children(): m.register_forward_hook(keep)
    model(x)
    return shapes


def handles_left_by_an_error(model, x):
    shapes = []
    def keep(module, inputs, output): shapes.append(tuple(output.shape))
    handles = [m.register_forward_hook(keep) for m in model.children()]
    model(x)
    for h in handles: h.remove()
    return shapes


def shapes_of_all(model, x):
    shapes = []
    def keep(hook, module, inputs, output): shapes.append(tuple(output.shape))
    with Hooks(model.modules(), keep): model(x)
    return shapes


def shapes_of_all_below(model, x):
    shapes = []
    def keep(hook, module, inputs, output): shapes.append(tuple(output.shape))
    with Hooks([*model.modules()][1:], keep): model(x)
    return shapes


def shapes_with_three_arguments(model, x):
    def keep(module, inputs, output): pass
    with Hooks(model.children(), keep): model(x)


def shapes_in(model, x):
    shapes = []
    def keep(hook, module, inputs, output): shapes.append(tuple(inputs[0].shape))
    with Hooks(model.children(), keep): model(x)
    return shapes


def shapes_by_loop(model, x):
    shapes = []
    for layer in model.children():
        x = layer(x)
        shapes.append(tuple(x.shape))
    return shapes


def shapes_as_listed(model, x):
    def keep(hook, module, inputs, output): hook.shape = tuple(output.shape)
    with Hooks(model.children(), keep) as hooks: model(x)
    return [h.shape for h in hooks]


def shapes_not_returned(model, x): out_shapes(model, x)


def hooks_not_kept(model, x):
    shapes = []
    def keep(hook, module, inputs, output): shapes.append(tuple(output.shape))
    for m in model.children(): Hook(m, keep)
    model(x)
    return shapes


# ---- a running mean

def running_mean(hook, module, inputs, output):
    if not hasattr(hook, 'total'): hook.total,hook.n = 0.,0
    hook.total = hook.total + output.detach().sum()
    hook.n += output.numel()
    hook.mean = hook.total/hook.n


def mean_by_steps(hook, module, inputs, output):
    before = getattr(hook, 'n', 0)
    hook.n = before + output.numel()
    mean = output.detach().mean()
    hook.mean = mean if before == 0 else hook.mean + (mean - hook.mean)*output.numel()/hook.n


def mean_without_grad(hook, module, inputs, output):
    with torch.no_grad():
        kept = getattr(hook, 'kept', torch.zeros(2))
        hook.kept = kept + torch.stack([output.sum(), torch.tensor(float(output.numel()))])
        hook.mean = hook.kept[0]/hook.kept[1]


def mean_of_means(hook, module, inputs, output):
    hook.n = getattr(hook, 'n', 0) + 1
    hook.total = getattr(hook, 'total', 0.) + output.detach().mean()
    hook.mean = hook.total/hook.n


def mean_of_last(hook, module, inputs, output): hook.mean = output.detach().mean()


def mean_by_item(hook, module, inputs, output):
    hook.n = getattr(hook, 'n', 0) + output.numel()
    hook.total = getattr(hook, 'total', 0.) + output.sum().item()
    hook.mean = hook.total/hook.n


def mean_with_graph(hook, module, inputs, output):
    hook.n = getattr(hook, 'n', 0) + output.numel()
    hook.total = getattr(hook, 'total', 0.) + output.sum()
    hook.mean = hook.total/hook.n


def mean_by_list(hook, module, inputs, output):
    if not hasattr(hook, 'seen'): hook.seen = []
    hook.seen.append(output.detach().flatten())
    hook.mean = torch.cat(hook.seen).mean()


def mean_by_rows(hook, module, inputs, output):
    hook.n = getattr(hook, 'n', 0) + len(output)
    hook.total = getattr(hook, 'total', 0.) + output.detach().mean()*len(output)
    hook.mean = hook.total/hook.n


def sum_over_rows(hook, module, inputs, output):
    hook.n = getattr(hook, 'n', 0) + len(output)
    hook.total = getattr(hook, 'total', 0.) + output.detach().sum()
    hook.mean = hook.total/hook.n


def only_a_sum(hook, module, inputs, output): hook.mean = getattr(hook, 'mean', 0.) + output.detach().sum()


def mean_returned(hook, module, inputs, output):
    running_mean(hook, module, inputs, output)
    return output.detach()


def mean_on_module(hook, module, inputs, output): module.mean = output.detach().mean()


# ---- features

def features(model, layer, xs):
    modes = {m: m.training for m in model.modules()}
    kept = []
    def keep(hook, module, inputs, output): kept.append(output)
    model.eval()
    try:
        with torch.no_grad(), Hooks([layer], keep):
            for x in xs: model(x)
    finally:
        for m,mode in modes.items(): m.training = mode
    return torch.cat(kept)


def features_by_handle(model, layer, xs):
    modes,kept = [m.training for m in model.modules()],[]
    handle = layer.register_forward_hook(lambda m,i,o: kept.append(o.detach()))
    model.eval()
    for x in xs: model(x)
    handle.remove()
    for m,mode in zip(model.modules(), modes): m.training = mode
    return torch.cat(kept)


def features_kept_on_the_hook(model, layer, xs):
    modes,kept = [(m, m.training) for m in model.modules()],[]
    def keep(hook, module, inputs, output): hook.out = output.detach().clone()
    hook = Hook(layer, keep)
    model.eval()
    for x in xs:
        model(x)
        kept.append(hook.out)
    hook.remove()
    for m,mode in modes: m.training = mode
    return torch.cat(kept)


def features_in_training(model, layer, xs):
    kept = []
    def keep(hook, module, inputs, output): kept.append(output.detach())
    with Hooks([layer], keep):
        for x in xs: model(x)
    return torch.cat(kept)


def features_left_in_eval(model, layer, xs):
    kept = []
    def keep(hook, module, inputs, output): kept.append(output.detach())
    model.eval()
    with Hooks([layer], keep):
        for x in xs: model(x)
    return torch.cat(kept)


def features_all_in_train(model, layer, xs):
    kept = features_left_in_eval(model, layer, xs)
    model.train()
    return kept


def features_with_graph(model, layer, xs):
    modes,kept = [(m, m.training) for m in model.modules()],[]
    def keep(hook, module, inputs, output): kept.append(output)
    model.eval()
    with Hooks([layer], keep):
        for x in xs: model(x)
    for m,mode in modes: m.training = mode
    return torch.cat(kept)


def features_of_the_end(model, layer, xs):
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    with torch.no_grad(): out = torch.cat([model(x) for x in xs])
    for m,mode in modes: m.training = mode
    return out


def features_of_the_last_batch(model, layer, xs): return features(model, layer, xs[-1:])


def features_as_a_list(model, layer, xs): return list(features(model, layer, xs))


def features_with_a_hook_left(model, layer, xs):
    modes,kept = [(m, m.training) for m in model.modules()],[]
    layer.register_forward_hook(lambda m,i,o: kept.append(o.detach()))
    model.eval()
    for x in xs: model(x)
    for m,mode in modes: m.training = mode
    return torch.cat(kept)


def features_by_calling_the_layer(model, layer, xs):
    with torch.no_grad(): return torch.cat([layer(x) for x in xs])


EXERCISES = [
    (check_out_shapes, [out_shapes, shapes_by_handles, shapes_by_hook],
     [(handles_left, 'hooks are left'), (handles_left_by_an_error, 'in `finally`'),
      (shapes_of_all, 'only the outermost'),
      (shapes_of_all_below, 'only the outermost'), (shapes_with_three_arguments, 'gets the hook first'),
      (shapes_in, 'what goes in'), (shapes_by_loop, 'Use hooks'),
      (shapes_as_listed, 'append when a hook is called'), (shapes_not_returned, 'Is there a `return`?'),
      (hooks_not_kept, 'keep them in a list')]),
    (check_running_mean, [running_mean, mean_by_steps, mean_without_grad],
     [(mean_of_means, 'a small one counts'), (mean_of_last, 'the last batch alone'),
      (mean_by_item, '.item() and float() wait'), (mean_with_graph, 'output.detach()'),
      (mean_by_list, 'instead of a list'), (mean_by_rows, '`output.numel()` counts them'),
      (sum_over_rows, 'over a number of rows'), (only_a_sum, 'This is a sum'),
      (mean_returned, 'return nothing'),
      (mean_on_module, 'Set `hook.mean`')]),
    (check_features, [features, features_by_handle, features_kept_on_the_hook],
     [(features_in_training, 'call `model.eval()` first'), (features_left_in_eval, 'put it back at the end'),
      (features_all_in_train, 'put it back at the end'), (features_with_graph, 'torch.no_grad()'),
      (features_of_the_end, 'what the whole model gives'),
      (features_of_the_last_batch, 'Only the last batch'),
      (features_as_a_list, 'torch.cat'), (features_with_a_hook_left, 'hooks are left'),
      (features_by_calling_the_layer, 'after what comes before it')]),
]
