"Exercises of lesson 23_augment: mixup, a map about another place, another light for each picture"
import torch, torch.nn.functional as F
from miniai.check.augment import check_about, check_mixup, check_rand_light


# -- 1. mixup

def mixup(x, y, lam, other):
    share = lam[:, None, None, None]
    hot = F.one_hot(y, 10).float()
    return share*x + (1-share)*x[other],lam[:, None]*hot + (1-lam[:, None])*hot[other]


def by_loop(x, y, lam, other):
    pictures,targets = torch.empty_like(x),torch.zeros(len(x), 10)
    for i,(l,o) in enumerate(zip(lam, other)):
        pictures[i] = l*x[i] + (1-l)*x[o]
        targets[i, y[i]] += l
        targets[i, y[o]] += 1-l
    return pictures,targets


def by_lerp(x, y, lam, other):
    at,shares = torch.stack([y, y[other]], 1),torch.stack([lam, 1-lam], 1)
    targets = torch.zeros(len(y), 10).scatter_add_(1, at, shares)
    return [torch.lerp(x[other], x, lam.view(-1, 1, 1, 1)), targets]


def swapped(x, y, lam, other): return mixup(x, y, 1-lam, other)
def one_lam(x, y, lam, other): return mixup(x, y, lam[:1].expand(len(lam)), other)
def next_one(x, y, lam, other): return mixup(x, y, lam, torch.arange(len(x)).roll(1))
def only_pictures(x, y, lam, other): return mixup(x, y, lam, other)[0]
def no_mixup(*args): mixup(*args)
def plain_labels(x, y, lam, other): return mixup(x, y, lam, other)[0],y


def second_wins(x, y, lam, other):
    targets,rows = torch.zeros(len(y), 10),torch.arange(len(y))
    targets[rows, y] = lam
    targets[rows, y[other]] = 1-lam
    return mixup(x, y, lam, other)[0],targets


def writes_on_x(x, y, lam, other):
    pictures,targets = mixup(x, y, lam, other)
    x.copy_(pictures)
    return x,targets


def bare_targets(x, y, lam, other):
    hot = F.one_hot(y, 10)
    return mixup(x, y, lam, other)[0],lam*hot + (1-lam)*hot[other]


def bare_lam(x, y, lam, other): return lam*x + (1-lam)*x[other],mixup(x, y, lam, other)[1]


# -- 2. about another place

def moved(right, down):
    m = torch.eye(3)
    m[0, 2],m[1, 2] = right,down
    return m


def about(m, right, down): return moved(right, down) @ m @ moved(-right, -down)
def by_inverse(m, right, down): return moved(right, down) @ (m @ torch.linalg.inv(moved(right, down)))


def by_hand(m, right, down):
    out,place = m.clone(),torch.tensor([right, down])
    out[..., :2, 2] = m[..., :2, 2] + place - (m[..., :2, :2] @ place)
    return out


def changed_places(m, right, down): return moved(-right, -down) @ m @ moved(right, down)
def never_back(m, right, down): return m @ moved(-right, -down)
def one_move(m, right, down): return moved(right, down) @ m
def wrong_sign(m, right, down): return moved(-right, -down) @ m
def twice(m, right, down): return moved(2*right, 2*down) @ m @ moved(-2*right, -2*down)
def list_of_maps(m, right, down): return [about(m, right, down)]


def into_the_last_column(m, right, down):
    out = m.clone()
    out[..., 0, 2],out[..., 1, 2] = right,down
    return out


def same_way(m, right, down): return moved(right, down) @ m @ moved(right, down)
def right_is_down(m, right, down): return about(m, down, right)
def no_about(m, right, down): about(m, right, down)


def writes_on_m(m, right, down):
    m[..., :2, 2] = by_hand(m, right, down)[..., :2, 2]
    return m


def forgets_its_moves(m, right, down):
    "Takes the map for one that leaves the middle where it is"
    place = torch.tensor([right, down])
    out = m.clone()
    out[..., :2, 2] = place - m[..., :2, :2] @ place
    return out


# -- 3. another light

def light(x, contrast, brightness, generator=None, shape=(1, 1, 1), factor=1.):
    def draw(): return 2*torch.rand(len(x), *shape, generator=generator) - 1
    return x*(factor + contrast*draw()) + brightness*draw()

def rand_light(x, contrast, brightness, generator=None): return light(x, contrast, brightness, generator)


def by_uniform(x, contrast, brightness, generator=None):
    factor = torch.empty(len(x), 1, 1, 1).uniform_(1-contrast, 1+contrast, generator=generator)
    return x*factor + torch.empty(len(x), 1, 1, 1).uniform_(-brightness, brightness, generator=generator)


def picture_by_picture(x, contrast, brightness, generator=None):
    u = 2*torch.rand(len(x), 2, generator=generator) - 1
    return torch.stack([im*(1 + contrast*a) + brightness*b for im,(a,b) in zip(x, u)])


def one_for_all(x, contrast, brightness, generator=None):
    a,b = 2*torch.rand(2, generator=generator) - 1
    return x*(1 + contrast*a) + brightness*b


def each_pixel(x, contrast, brightness, generator=None):
    return light(x, contrast, brightness, generator, shape=x.shape[1:])
def each_channel(x, contrast, brightness, generator=None):
    return light(x, contrast, brightness, generator, shape=(x.shape[1], 1, 1))


def one_side(x, contrast, brightness, generator=None):
    u = torch.rand(2, len(x), 1, 1, 1, generator=generator)
    return x*(1 + contrast*u[0]) + brightness*u[1]


def one_draw(x, contrast, brightness, generator=None):
    u = 2*torch.rand(len(x), 1, 1, 1, generator=generator) - 1
    return x*(1 + contrast*u) + brightness*u


def normal(x, contrast, brightness, generator=None):
    u = torch.randn(2, len(x), 1, 1, 1, generator=generator)
    return x*(1 + contrast*u[0]) + brightness*u[1]


def own_generator(x, contrast, brightness, generator=None): return light(x, contrast, brightness)


def half_the_generator(x, contrast, brightness, generator=None):
    x = light(x, contrast, 0., generator)
    return light(x, 0., brightness)


def on_x(x, contrast, brightness, generator=None):
    x *= 1 + contrast*(2*torch.rand(len(x), 1, 1, 1, generator=generator) - 1)
    return x + brightness*(2*torch.rand(len(x), 1, 1, 1, generator=generator) - 1)


def around_zero(x, contrast, brightness, generator=None):
    return light(x, contrast, brightness, generator, factor=0.)


def triangle(x, contrast, brightness, generator=None):
    u = torch.rand(4, len(x), 1, 1, 1, generator=generator)
    return x*(1 + contrast*(u[0]-u[1])) + brightness*(u[2]-u[3])


def sine(x, contrast, brightness, generator=None):
    u = (torch.rand(2, len(x), 1, 1, 1, generator=generator)*2*torch.pi).sin()
    return x*(1 + contrast*u[0]) + brightness*u[1]


def added_first(x, contrast, brightness, generator=None):
    u = 2*torch.rand(2, len(x), 1, 1, 1, generator=generator) - 1
    return (x + brightness*u[0])*(1 + contrast*u[1])


def about_the_mean(x, contrast, brightness, generator=None):
    m = x.mean((1, 2, 3), keepdim=True)
    return light(x - m, contrast, brightness, generator) + m


def one_seed(x, contrast, brightness, generator=None):
    if generator is None: generator = torch.Generator().manual_seed(0)
    return light(x, contrast, brightness, generator)


def clamped(x, *args): return rand_light(x, *args).clamp(0, 1)
def no_light(*args): rand_light(*args)


EXERCISES = [
    (check_mixup, [mixup, by_loop, by_lerp],
     [(swapped, 'the wrong way round'), (one_lam, 'One `lam` for all'), (next_one, 'are the ones meant'),
      (only_pictures, 'return pictures, targets'), (no_mixup, 'return pictures, targets'),
      (plain_labels, 'at y[other]'), (second_wins, '*add* 1-lam'), (writes_on_x, 'It was written on'),
      (bare_lam, 'fits x'), (bare_targets, 'lam[:, None] the targets')]),
    (check_about, [about, by_inverse, by_hand],
     [(changed_places, 'have changed places'), (never_back, 'never back'),
      (one_move, 'One move alone: it takes two'), (wrong_sign, 'of the wrong sign'),
      (twice, 'Three changes'), (list_of_maps, '`return` one tensor'),
      (into_the_last_column, 'the moves of its own'),
      (same_way, 'the same way'), (right_is_down, 'right is the first'), (no_about, '`return` one tensor'),
      (writes_on_m, 'It was written on'), (forgets_its_moves, 'the moves of its own')]),
    (check_rand_light, [rand_light, by_uniform, picture_by_picture],
     [(one_for_all, 'torch.rand(len(x), 1, 1, 1'), (each_pixel, 'the same two numbers'),
      (each_channel, 'the same two numbers'), (one_side, 'evenly from'), (one_draw, 'Two draws'),
      (normal, 'evenly from'), (own_generator, 'come from `generator`'),
      (half_the_generator, 'come from `generator`'), (on_x, 'It was written on'),
      (around_zero, 'evenly from'), (triangle, 'evenly from'), (sine, 'evenly from'),
      (added_first, 'in this order'), (about_the_mean, 'no more, in this order'),
      (one_seed, 'no seed of yours'), (clamped, 'No clamp'), (no_light, '`return` one tensor')]),
]
