"Solutions of lesson 26's exercises, and the answers that people give instead"
import copy, io, os, shutil, tempfile
from pathlib import Path
import torch
from miniai.check.keep import check_best_epoch, check_keep_best, check_safe_write
from miniai.loop import Callback


def best_by_loop(values, way):
    best = None
    for i,v in enumerate(values):
        if v == v and (best is None or way*v > way*values[best]): best = i
    return best

def best_by_max(values, way): return max((i for i,v in enumerate(values) if v == v),
                                         key=lambda i: (way*values[i], -i), default=None)
def always_min(values, way):
    return values.index(min(v for v in values if v == v)) if any(v == v for v in values) else None
def nan_first(values, way):
    best = 0
    for i,v in enumerate(values):
        if way*v > way*values[best]: best = i
    return best
def last_of_equals(values, way):
    found = [i for i,v in enumerate(values) if v == v]
    return max(found, key=lambda i: (way*values[i], i), default=None)
def upside_down(values, way): return best_by_loop(values, -way)
def no_number(values, way): return best_by_loop(values, way) or 0


def a_tensor(values, way):
    known = torch.tensor(values).mul(way).nan_to_num(-9e9)
    return known.argmax() if any(v == v for v in values) else None
def the_value(values, way):
    place = best_by_loop(values, way)
    return None if place is None else values[place]
def without_its_place(values, way):
    return best_by_loop([v for v in values if v == v], way)
def way_on_one_side(values, way):
    best,at = float('-inf'),None
    for i,v in enumerate(values):
        if way*v > best: best,at = v,i
    return at


class Keeps(Callback):
    best = float('inf')
    def after_epoch(self, learn):
        loss = learn.history[-1]['loss']
        if learn.training or not loss < self.best: return
        self.best,self.weights = loss,self.copied(learn.model)
    def copied(self, model): return {k: v.clone() for k,v in model.state_dict().items()}

class Deep(Keeps):
    def copied(self, model): return copy.deepcopy(model.state_dict())
class ToBytes(Keeps):
    def before_fit(self, learn): self.best = float('inf')
    def copied(self, model):
        f = io.BytesIO()
        torch.save(model.state_dict(), f)
        f.seek(0)
        return torch.load(f)
class Rows(Callback):
    "Looks at all rows again each time"
    def after_epoch(self, learn):
        rows = [r['loss'] for r in learn.history if r['train'] == 'eval' and r['loss'] == r['loss']]
        now = learn.history[-1]
        if now['train'] == 'eval' and rows and now['loss'] == min(rows):
            self.weights = copy.deepcopy(learn.model).state_dict()
class NotCopied(Keeps):
    def copied(self, model): return model.state_dict()
class NotCopiedDict(Keeps):
    def copied(self, model): return dict(model.state_dict())
class NoBuffers(Keeps):
    def copied(self, model): return {k: p.detach().clone() for k,p in model.named_parameters()}
class AList(Keeps):
    def copied(self, model): return [t.clone() for t in model.state_dict().values()]
class Always(Keeps):
    def after_epoch(self, learn): self.weights = self.copied(learn.model)
class TrainingToo(Keeps):
    def after_epoch(self, learn):
        loss = learn.history[-1]['loss']
        if not loss < self.best: return
        self.best,self.weights = loss,self.copied(learn.model)
class Highest(Keeps):
    best = float('-inf')
    def after_epoch(self, learn):
        loss = learn.history[-1]['loss']
        if learn.training or not loss > self.best: return
        self.best,self.weights = loss,self.copied(learn.model)
class FirstIsNan(Keeps):
    best = None
    def after_epoch(self, learn):
        loss = learn.history[-1]['loss']
        if learn.training or not (self.best is None or loss < self.best): return
        self.best,self.weights = loss,self.copied(learn.model)


def by_replace(path, write):
    new = f'{path}.new'
    try:
        with open(new, 'wb') as f: write(f)
        os.replace(new, path)
    finally: Path(new).unlink(missing_ok=True)

def by_memory(path, write):
    import io
    f = io.BytesIO()
    write(f)
    path.write_bytes(f.getvalue())

def in_another_folder(path, write):
    import tempfile
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        with open(Path(folder)/'new', 'wb') as f: write(f)
        os.replace(Path(folder)/'new', path)

def by_mkstemp(path, write):
    number,new = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(number, 'wb') as f: write(f)
        Path(new).replace(path)
    except BaseException:
        os.unlink(new)
        raise

def put_back(path, write):
    old = path.read_bytes() if path.exists() else None
    try:
        with open(path, 'wb') as f: write(f)
    except BaseException:
        path.unlink()
        if old is not None: path.write_bytes(old)
        raise

def elsewhere(path, write):
    with tempfile.TemporaryDirectory() as folder:
        with open(Path(folder)/'new', 'wb') as f: write(f)
        shutil.move(Path(folder)/'new', path)

def not_closed(path, write):
    new = f'{path}.new'
    try:
        f = open(new, 'wb')
        write(f)
        os.replace(new, path)
    finally: Path(new).unlink(missing_ok=True)

def no_raise(path, write):
    new = Path(f'{path}.new')
    try:
        with open(new, 'wb') as f: write(f)
    except Exception: new.unlink()
    os.replace(new, path)

def text_for_path(path, write):
    with open(path + '.tmp', 'wb') as f: write(f)

def straight(path, write):
    with open(path, 'wb') as f: write(f)

def leaves_rubbish(path, write):
    with open(f'{path}.new', 'wb') as f: write(f)
    os.replace(f'{path}.new', path)

def swallows(path, write):
    try: by_replace(path, write)
    except Exception: pass

def removes_first(path, write):
    path.unlink(missing_ok=True)
    by_replace(path, write)

def never_renamed(path, write):
    with open(f'{path}.new', 'wb') as f: write(f)


EXERCISES = [
    (check_best_epoch, [best_by_loop, best_by_max, lambda values, way: best_by_loop(tuple(values), way)],
     [(always_min, 'way is'), (nan_first, 'nan'), (last_of_equals, 'the first counts'),
      (upside_down, 'way is'), (no_number, 'give None'), (a_tensor, 'item()'),
      (way_on_one_side, 'on both sides'),
      (the_value, 'give its place'), (without_its_place, 'count it, for the places')]),
    (check_keep_best, [Keeps, Deep, ToBytes, Rows],
     [(NotCopied, 'copy each'), (NotCopiedDict, 'copy each'), (NoBuffers, 'buffers'), (AList, 'self.weights'),
      (Always, 'Remember the best'), (TrainingToo, 'learn.training'), (Highest, 'lower loss is better'),
      (FirstIsNan, 'nan')]),
    (check_safe_write, [by_replace, by_mkstemp, in_another_folder],
     [(straight, 'another name first'), (leaves_rubbish, 'finally'), (swallows, 'let it travel on'),
      (removes_first, 'empties it'), (never_renamed, 'Remove the temporary file'), (by_memory, 'half a file'),
      (put_back, 'another name first'), (elsewhere, 'within one disk'), (not_closed, 'Close the file'),
      (no_raise, 'let it travel on'), (text_for_path, 'is a Path')]),
]
