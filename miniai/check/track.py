"Checks of lesson 28_tracking"
import json, math
from .kit import Case, check, same

@check('torn lines')
def check_read_jsonl(f):  # A function from a text to the list of its values
    "Check that whole lines are read, and torn ones left out"
    def case(name, lines, hint):
        text = '\n'.join(lines)
        def whole(line):
            try: return [json.loads(line)]
            except json.JSONDecodeError: return []
        values = [whole(line) for line in lines]
        stop = values.index([]) if [] in values else len(values)
        first = [v[0] for v in values[:stop]]
        ends = [whole(line) or whole(line[line.rfind('{"'):]) for line in lines]
        mistakes = {'A torn line is left out, and the next one may be fine: go on after it.': first,
                    'Here a torn line is left out whole, its good end too.': sum(ends, [])}
        return Case(name, lambda f: same(f(text), [v for found in values for v in found], text,
                                         mistakes=mistakes), hint)
    return [case('three lines', ['{"a": 1}', '{"a": 2}', '[3]'], 'json.loads for each of text.splitlines().'),
            case('a line break at the end', ['{"a": 1}', ''], 'An empty line is no JSON: leave it out.'),
            case('the end is missing', ['{"a": 1}', '{"a": '],
                 'json.loads raises json.JSONDecodeError: catch it.'),
            case('torn in the middle', ['{"a": 1}', '{"a{"a": 2}', '{"a": 3}'], 'Go on after a torn line.'),
            case('values that are false', ['0', 'null', '""', '1'],
                 '0, null and "" are values too: do not ask `if value`.'),
            case('no line', [''], 'An empty text has no values: an empty list.')]

@check('the best run')
def check_best_run(f):  # A function from rows to the name of a run
    "Check which run has the lowest validation loss"
    def row(run, loss, part='eval', kind='epoch'):
        return dict(run=run, kind=kind, loss=loss) | (dict(train=part) if kind == 'epoch' else {})
    def case(name, rows, want, hint):
        evals = [r for r in rows if r['kind'] == 'epoch' and r['train'] == 'eval' and r['loss'] == r['loss']]
        def lowest(rows): return lambda: min(rows, key=lambda r: r['loss'])['run']
        epochs = [r for r in rows if r['kind'] == 'epoch']
        last = {r['run']: r for r in evals}
        with_nan = [r for r in epochs if r['train'] == 'eval']
        mistakes = {'No comparison with nan is true: leave nan out.': lowest(with_nan),
                    "Only validation counts: rows whose `train` is 'eval'.": lowest(epochs),
                    "Rows of kind 'batch' are no epochs.": lowest(rows),
                    'The lowest loss of a run counts: not its last one, not a mean.': lowest(last.values()),
                    'A loss should be low: take the smallest.':
                        lambda: max(evals, key=lambda r: r['loss'])['run']}
        return Case(name, lambda f: same(f(rows), want, rows, mistakes=mistakes), hint)
    nan = math.nan
    return [case('two runs', [row('a', 0.5), row('b', 0.4)], 'b', 'The run of the row with the lowest loss.'),
            case('training losses', [row('a', 0.1, 'train'), row('a', 0.5), row('b', 0.3, 'train'),
                                     row('b', 0.4)], 'b',
                 "Only rows whose `train` is 'eval' count."),
            case('batches', [row('a', 0.01, kind='batch'), row('a', 0.5), row('b', 0.4)], 'b',
                 "Only rows of kind 'epoch' count, and the others have no `train`."),
            case('got worse again', [row('a', 0.2), row('a', 0.9), row('b', 0.4), row('b', 0.3)], 'a',
                 'The lowest loss of a run counts: not its last one, not a mean.'),
            case('nan', [row('a', nan), row('b', 0.4), row('a', nan)], 'b',
                 'No comparison with nan is true: leave nan out.'),
            case('nothing to compare', [row('a', 0.1, 'train'), row('a', nan)], None,
                 'Without a number: None.')]
