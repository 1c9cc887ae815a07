"24_datablock: right answers, and what people write instead"
import hashlib, math, random, zlib
import torch
import torch.nn.functional as F
from miniai.check.block import check_channel_stats, check_fit, check_held_out


# ---- a split that stays

def held_out(name, pct): return zlib.crc32(name.encode())/2**32 < pct
def held_by_percent(name, pct): return zlib.crc32(name.encode()) % 1000 < pct*1000
def held_by_sha(name, pct): return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10_000 < 10_000*pct
def held_by_own_generator(name, pct): return random.Random(name).random() < pct
def held_by_tensor(name, pct):
    g = torch.Generator().manual_seed(zlib.adler32(name.encode()) + zlib.crc32(name.encode()))
    return torch.rand((), generator=g) < pct


def held_by_hash(name, pct): return hash(name) % 1000 < pct*1000
def held_by_text(name, pct): return zlib.crc32(name)/2**32 < pct
def held_by_adler(name, pct): return zlib.adler32(name.encode())/2**32 < pct
def held_by_chance(name, pct): return random.random() < pct
def held_by_seed(name, pct): return random.Random(42).random() < pct
def held_by_torch_seed(name, pct): return torch.rand((), generator=torch.Generator().manual_seed(42)) < pct
def held_by_id(name, pct): return id(name) // 16 % 1000 < pct*1000
def held_always_a_fifth(name, pct): return zlib.crc32(name.encode()) % 5 == 0
def held_by_letters(name, pct): return sum(map(ord, name)) % 100 < pct*100
def held_by_first_letter(name, pct): return (ord(name[0]) - 97)/26 < pct
def held_by_length(name, pct): return len(name) % 10 < 10*pct
def held_by_last_digit(name, pct): return int(''.join(filter(str.isdigit, name))[-1]) < 10*pct
def held_as_number(name, pct): return zlib.crc32(name.encode())/2**32
def held_not_returned(name, pct): zlib.crc32(name.encode())/2**32 < pct  # noqa: B015


class Counted:
    "Every fifth that comes"
    n = 0
    def __call__(self, name, pct):
        self.n += 1
        return self.n % 5 == 0


# ---- fitted into a square

def fit(im, size):
    h,w = im.shape[-2:]
    h,w = (max(1, round(side*size/max(h, w))) for side in (h, w))
    x = F.interpolate(im[None], (h, w), mode='bilinear', antialias=True)[0]
    top,left = (size - h)//2,(size - w)//2
    return F.pad(x, (left, size-w-left, top, size-h-top), value=1)


def fit_on_paper(im, size):
    c,h,w = im.shape
    factor = size/max(h, w)
    h,w = max(1, int(h*factor + 0.5)),max(1, int(w*factor + 0.5))
    paper = torch.ones(c, size, size)
    top,left = (size - h)//2,(size - w)//2
    paper[:, top:top+h, left:left+w] = F.interpolate(im.unsqueeze(0), size=(h, w), mode='bilinear',
                                                     antialias=True).squeeze(0)
    return paper


def fit_by_case(im, size):
    c,h,w = im.shape
    if h >= w:
        narrow = max(1, round(w/h*size))
        x = F.interpolate(im[None], (size, narrow), mode='bilinear', antialias=True)[0]
        left = math.floor((size - narrow)/2)
        white = torch.ones(c, size, 1)
        return torch.cat([white.expand(-1, -1, left), x, white.expand(-1, -1, size-narrow-left)], 2)
    return fit_by_case(im.transpose(1, 2), size).transpose(1, 2)


def fit_black(im, size):
    h,w = im.shape[-2:]
    h,w = (max(1, round(side*size/max(h, w))) for side in (h, w))
    x = F.interpolate(im[None], (h, w), mode='bilinear', antialias=True)[0]
    top,left = (size - h)//2,(size - w)//2
    return F.pad(x, (left, size-w-left, top, size-h-top))


def fit_at_the_corner(im, size):
    h,w = im.shape[-2:]
    h,w = (max(1, round(side*size/max(h, w))) for side in (h, w))
    x = F.interpolate(im[None], (h, w), mode='bilinear', antialias=True)[0]
    return F.pad(x, (0, size-w, 0, size-h), value=1.)


def fit_with_the_odd_one_above(im, size):
    h,w = im.shape[-2:]
    h,w = (max(1, round(side*size/max(h, w))) for side in (h, w))
    x = F.interpolate(im[None], (h, w), mode='bilinear', antialias=True)[0]
    below,right = (size - h)//2,(size - w)//2
    return F.pad(x, (size-w-right, right, size-h-below, below), value=1.)


def fit_squeezed(im, size): return F.interpolate(im[None], (size, size), mode='bilinear', antialias=True)[0]


def fit_cropped(im, size):
    h,w = im.shape[-2:]
    h,w = (round(side*size/min(h, w)) for side in (h, w))
    x = F.interpolate(im[None], (h, w), mode='bilinear', antialias=True)[0]
    top,left = (h - size)//2,(w - size)//2
    return x[:, top:top+size, left:left+size]


def fit_without_antialias(im, size):
    h,w = im.shape[-2:]
    h,w = (max(1, round(side*size/max(h, w))) for side in (h, w))
    x = F.interpolate(im[None], (h, w), mode='bilinear')[0]
    top,left = (size - h)//2,(size - w)//2
    return F.pad(x, (left, size-w-left, top, size-h-top), value=1)


def fit_by_nearest(im, size):
    h,w = im.shape[-2:]
    h,w = (max(1, round(side*size/max(h, w))) for side in (h, w))
    x = F.interpolate(im[None], (h, w))[0]
    top,left = (size - h)//2,(size - w)//2
    return F.pad(x, (left, size-w-left, top, size-h-top), value=1)


def fit_padded_first(im, size):
    h,w = im.shape[-2:]
    side = max(h, w)
    top,left = (side - h)//2,(side - w)//2
    x = F.pad(im, (left, side-w-left, top, side-h-top), value=1)
    return F.interpolate(x[None], (size, size), mode='bilinear', antialias=True)[0]


def fit_thin_to_nothing(im, size):
    h,w = im.shape[-2:]
    h,w = (round(side*size/max(h, w)) for side in (h, w))
    x = F.interpolate(im[None], (h, w), mode='bilinear', antialias=True)[0]
    top,left = (size - h)//2,(size - w)//2
    return F.pad(x, (left, size-w-left, top, size-h-top), value=1)


def fit_cut_off(im, size):
    h,w = im.shape[-2:]
    h,w = (max(1, int(side*size/max(h, w))) for side in (h, w))
    x = F.interpolate(im[None], (h, w), mode='bilinear', antialias=True)[0]
    top,left = (size - h)//2,(size - w)//2
    return F.pad(x, (left, size-w-left, top, size-h-top), value=1)


def fit_with_a_batch_axis(im, size): return fit(im, size)[None]


# ---- mean and deviation

def channel_stats(dl):
    n,total,squares = 0,0.,0.
    for x,_ in dl:
        n += x.numel()/x.shape[1]
        total = total + x.sum((0, 2, 3))
        squares = squares + (x*x).sum((0, 2, 3))
    mean = total/n
    return mean,(squares/n - mean*mean).sqrt()


def stats_of_all(dl):
    x = torch.cat([x for x,_ in dl])
    return x.mean((0, 2, 3)),x.std((0, 2, 3))


def stats_in_two_passes(dl):
    n = sum(len(x)*x.shape[2]*x.shape[3] for x,_ in dl)
    mean = sum(x.sum((0, 2, 3)) for x,_ in dl)/n
    var = sum((x - mean[:, None, None]).pow(2).sum((0, 2, 3)) for x,_ in dl)/n
    return [mean, var.sqrt()]


def stats_weighted_by_pictures(dl):
    n = sum(len(x) for x,_ in dl)
    mean = sum(x.mean((0, 2, 3)).double()*len(x) for x,_ in dl)/n
    return mean,(sum(x.pow(2).mean((0, 2, 3)).double()*len(x) for x,_ in dl)/n - mean**2)**0.5


def stats_by_batch(dl):
    kept = [(x.mean((0, 2, 3)), x.std((0, 2, 3))) for x,_ in dl]
    return tuple(torch.stack(part).mean(0) for part in zip(*kept))


def stats_by_weighted_batch(dl):
    n = sum(len(x) for x,_ in dl)
    return (sum(x.mean((0, 2, 3))*len(x) for x,_ in dl)/n, sum(x.std((0, 2, 3))*len(x) for x,_ in dl)/n)


def stats_of_the_first(dl):
    x,_ = next(iter(dl))
    return x.mean((0, 2, 3)),x.std((0, 2, 3))


def stats_of_the_last(dl):
    for x,_ in dl: mean,std = x.mean((0, 2, 3)),x.std((0, 2, 3))
    return mean,std


def stats_without_channels(dl):
    x = torch.cat([x for x,_ in dl])
    return x.mean(),x.std()


def stats_of_each_pixel(dl):
    x = torch.cat([x for x,_ in dl])
    return x.mean(0),x.std(0)


def variance_for_deviation(dl):
    x = torch.cat([x for x,_ in dl])
    return x.mean((0, 2, 3)),x.var((0, 2, 3))


def stats_by_pictures(dl):
    n = sum(len(x) for x,_ in dl)
    mean = sum(x.sum((0, 2, 3)) for x,_ in dl)/n
    return mean,mean


def mean_of_deviations(dl):
    mean,_ = stats_of_all(dl)
    kept = [(x.std((0, 2, 3)), len(x)) for x,_ in dl]
    return mean,sum(std*n for std,n in kept)/sum(n for _,n in kept)


def root_of_mean_variance(dl):
    n = sum(len(x) for x,_ in dl)
    return stats_of_all(dl)[0],(sum(x.var((0, 2, 3))*len(x) for x,_ in dl)/n)**0.5


def stats_by_numel(dl):
    n = sum(x.numel() for x,_ in dl)
    mean = sum(x.sum((0, 2, 3)) for x,_ in dl)/n
    return mean,(sum((x*x).sum((0, 2, 3)) for x,_ in dl)/n - mean*mean)**0.5


def only_a_mean(dl): return stats_of_all(dl)[0]


EXERCISES = [
    (check_held_out, [held_out, held_by_percent, held_by_sha, held_by_own_generator, held_by_tensor],
     [(held_by_hash, 'Python salts `hash`'), (held_by_chance, 'No draws'), (Counted(), 'no counting'),
      (held_by_id, 'No draws, no counting, no id()'), (held_by_seed, 'the same for all of these'),
      (held_by_torch_seed, 'the same for all of these'),
      (held_always_a_fifth, 'compare a share of its range'),
      (held_by_letters, 'whatever they look like'), (held_by_first_letter, 'the whole name must'),
      (held_by_length, 'whatever they look like'), (held_by_last_digit, 'IndexError'),
      (held_by_text, 'name.encode()'), (held_by_adler, 'must spread'),
      (held_as_number, 'with `pct`'), (held_not_returned, '`return`')]),
    (check_fit, [fit, fit_on_paper, fit_by_case],
     [(fit_black, 'White is 1'), (fit_at_the_corner, 'below or to the right: half'),
      (fit_with_the_odd_one_above, 'The odd row or column'), (fit_squeezed, 'It is squeezed'),
      (fit_cropped, 'the *longer* one'), (fit_without_antialias, 'antialias=True'),
      (fit_by_nearest, "mode='bilinear'"), (fit_padded_first, 'is the factor for both sides'),
      (fit_thin_to_nothing, 'max(1, round(…))'), (fit_with_a_batch_axis, 'is the factor'),
      (fit_cut_off, 'int cuts off')]),
    (check_channel_stats, [channel_stats, stats_of_all, stats_in_two_passes, stats_weighted_by_pictures],
     [(stats_by_batch, 'a small one counts as much'), (stats_by_weighted_batch, 'A mean of deviations'),
      (stats_of_the_first, 'the first batch alone'), (stats_of_the_last, 'the last batch alone'),
      (stats_without_channels, 'the axes 0, 2 and 3'), (stats_of_each_pixel, 'the axes 2 and 3, too'),
      (variance_for_deviation, 'its square'), (stats_by_pictures, 'it is one of pixels'),
      (mean_of_deviations, 'A mean of deviations'), (root_of_mean_variance, 'A mean of variances'),
      (stats_by_numel, 'counts the channels, too'), (only_a_mean, 'return mean, std')]),
]
