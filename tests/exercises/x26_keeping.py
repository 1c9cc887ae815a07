"Solutions of lesson 26's exercises, and the answers that people give instead"
import os, pickle
from pathlib import Path
from miniai.check.keep import check_best_epoch, check_safe_write, check_snapshot


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


def clones(model): return {k: v.detach().clone() for k,v in model.state_dict().items()}
def by_pickle(model): return pickle.loads(pickle.dumps(model.state_dict()))
def by_deepcopy(model):
    import copy
    return copy.deepcopy(model).state_dict()
def same_tensors(model): return model.state_dict()
def same_tensors_in_a_dict(model): return dict(model.state_dict())
def no_buffers(model): return {k: p.detach().clone() for k,p in model.named_parameters()}
def a_list(model): return [p.detach().clone() for p in model.state_dict().values()]
def nothing(model): {k: v.clone() for k,v in model.state_dict().items()}


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
    (check_best_epoch, [best_by_loop, best_by_max],
     [(always_min, 'way is'), (nan_first, 'nan'), (last_of_equals, 'the first counts'),
      (upside_down, 'way is'),
      (no_number, 'give None')]),
    (check_snapshot, [clones, by_pickle, by_deepcopy],
     [(same_tensors, 'clone each'), (same_tensors_in_a_dict, 'clone each'),
      (no_buffers, 'state_dict() has them all'),
      (a_list, 'by name'), (nothing, 'return')]),
    (check_safe_write, [by_replace, by_memory, in_another_folder],
     [(straight, 'another name first'), (leaves_rubbish, 'finally'), (swallows, 'let it travel on'),
      (removes_first, 'empties it'), (never_renamed, 'Remove the temporary file')]),
]
