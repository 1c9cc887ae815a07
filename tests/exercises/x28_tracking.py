"Solutions of lesson 28's exercises, and the answers that people give instead"
import json
from miniai.check.track import check_best_run, check_read_jsonl


def by_loop(text):
    found = []
    for line in text.splitlines():
        try: found.append(json.loads(line))
        except ValueError: pass
    return found

def by_generator(text):
    def values():
        for line in text.split('\n'):
            try: yield json.loads(line)
            except json.JSONDecodeError: continue
    return list(values())

def stops(text):
    found = []
    for line in text.splitlines():
        try: found.append(json.loads(line))
        except ValueError: break
    return found

def mends(text):
    found = []
    for line in text.splitlines():
        for part in line, line[line.rfind('{"'):]:
            try: found.append(json.loads(part))
            except ValueError: continue
            break
    return found

def no_catch(text): return [json.loads(line) for line in text.splitlines()]
def leaves_out_false(text): return [value for value in by_loop(text) if value]
def as_one(text): return json.loads(text)
def strings(text): return [line for line in text.splitlines() if line]


def _valid(rows):
    return [r for r in rows if r['kind'] == 'epoch' and r['train'] == 'eval' and r['loss'] == r['loss']]
def by_min(rows): return min(_valid(rows), key=lambda r: r['loss'], default=dict(run=None))['run']
def by_groups(rows):
    best = {}
    for r in _valid(rows): best[r['run']] = min(r['loss'], best.get(r['run'], r['loss']))
    return min(best, key=best.get) if best else None
def training_too(rows): return min((r for r in rows if r['kind'] == 'epoch' and r['loss'] == r['loss']),
                                   key=lambda r: r['loss'])['run']
def batches_too(rows): return min(rows, key=lambda r: r['loss'])['run']
def last_counts(rows):
    last = {r['run']: r['loss'] for r in _valid(rows)}
    return min(last, key=last.get, default=None)
def mean_counts(rows):
    losses = {}
    for r in _valid(rows): losses.setdefault(r['run'], []).append(r['loss'])
    return min(losses, key=lambda run: sum(losses[run])/len(losses[run]), default=None)
def by_a_search(rows):
    best,run = float('inf'),None
    for r in rows:
        if r['kind'] == 'epoch' and r['train'] == 'eval' and r['loss'] < best: best,run = r['loss'],r['run']
    return run
def highest(rows): return max(_valid(rows), key=lambda r: r['loss'], default=dict(run=None))['run']
def with_nan(rows):
    found = [r for r in rows if r['kind'] == 'epoch' and r['train'] == 'eval']
    return min(found, key=lambda r: r['loss'], default=dict(run=None))['run']


EXERCISES = [
    (check_read_jsonl, [by_loop, by_generator],
     [(stops, 'go on after it'), (no_catch, 'JSONDecodeError'), (leaves_out_false, 'are values too'),
      (as_one, 'splitlines'),
      (strings, 'json.loads'), (mends, 'its good end too')]),
    (check_best_run, [by_min, by_groups, by_a_search],
     [(training_too, 'Only validation counts'), (batches_too, 'are no epochs'),
      (last_counts, 'not its last one'),
      (mean_counts, 'not a mean'), (highest, 'take the smallest'), (with_nan, 'leave nan out')]),
]
