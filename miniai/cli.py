"The command line: `miniai train`, `miniai check`, `miniai lessons` and `miniai runs`"
import argparse, importlib.util, json, math, os, shutil, sys, traceback
from pathlib import Path
from . import __version__
# torch takes seconds: each command imports what it needs, and `miniai --help` nothing

__all__ = ['main']


class _Refused(Exception):
    "What can't be done, in a sentence; the exit code is 2 if the call was wrong, 1 if something else is"
    def __init__(self, why, code=2):
        super().__init__(why)
        self.code = code


def _listed(names, n=12):
    "Names in a row, not too many"
    names = list(names)
    return ', '.join(names[:n]) + (f' and {len(names)-n} more' if len(names) > n else '')


def _folder(word):
    "A path that ends in the folder's name, for . and .. too"
    path = Path(word)
    return path.resolve() if path.name in ('', '..') else path


# ---- miniai train ------------------------------------------------------------------------------------------

MODELS = 'mlp', 'cnn', 'resnet'
SETTINGS = 'data', 'model', 'epochs', 'lr', 'bs', 'seed'
WRITTEN = 'config.json', 'log.jsonl', 'histograms.jsonl', 'graph.txt', 'done.json', 'model.pt'  # by a run


def _pictures(name):
    "Pictures and labels to train and to validate with, decoded once, and the names of the classes"
    from .datasets import collate_dict, get_data
    from .training import Dataset
    try:
        dd = get_data(name)
        parts = ['train', *[p for p in ('test', 'validation', 'valid') if p in dd][:1]]
        if 'train' not in dd or len(parts) < 2:
            raise ValueError(f'{name} needs the splits train and test, and has {_listed(dd)}')
        classes = getattr(dd['train'].features.get('label'), 'names', None)
        if classes is None or 'image' not in dd['train'].features:
            raise ValueError(f'{name} needs the columns image and label, whose classes have names; it has '
                             f'{_listed(dd["train"].features)}')
        columns = [dd[part].select_columns(['image', 'label']) for part in parts]
        train,valid = (Dataset(*collate_dict(ds)(list(ds))) for ds in columns)
    except (ValueError, TypeError, OSError, RuntimeError) as e: raise _Refused(e) from e
    return *_fit_together(name, parts, train, valid),classes


def _fit_together(name, parts, *sets):
    "The two sets, if all pictures are labelled and of one shape"
    for part,ds in zip(parts, sets):
        if ds.y.min() < 0: raise _Refused(f'{name} has pictures without a label in {part}')
    one,other = (f'{tuple(ds.x.shape[1:])} in {part}' for part,ds in zip(parts, sets))
    if sets[0].x.shape[1:] == sets[1].x.shape[1:]: return sets
    raise _Refused(f'the pictures of {name} must have one shape, and are {one}, {other}')


def _model(name, x, n_out):
    "A network for pictures such as those of the batch `x`"
    from torch import nn
    from .init import conv
    from .resnet import get_resnet
    ni = x.shape[1]
    if name == 'resnet': return get_resnet(ni=ni, n_out=n_out)
    if name == 'mlp':
        return nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 256), nn.ReLU(), nn.Linear(256, n_out))
    convs = [conv(a, b, norm=nn.BatchNorm2d, bias=False) for a,b in ((ni, 16), (16, 32), (32, 64))]
    return nn.Sequential(*convs, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.2),
                         nn.Linear(64*4*4, n_out))


def _read(path):
    "A dictionary from a file of JSON; {} if there is none, or it is torn"
    try: return dict(json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError): return {}


def _clear(out):
    "Remove what a run left in its folder, unless it is still at it"
    from .resume import _lock, _unlock
    try: held = _lock(out/'checkpoints')
    except RuntimeError as e: raise _Refused(e, 1) from e
    shutil.rmtree(out/'pictures', ignore_errors=True)
    for path in (*out.glob('checkpoints/checkpoint-*'), *(out/name for name in WRITTEN)):
        path.unlink(missing_ok=True)
    _unlock(held)


def _is_finished(out, settings, fresh):
    "Is this run, in the folder `out`, at its end? Another one is refused"
    if out.exists() and not out.is_dir(): raise _Refused(f'{out} is a file: --out takes a folder')
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    saved = any(out.glob('checkpoints/checkpoint-*'))
    if names <= {'checkpoints'} and not saved: return False
    theirs = _read(out/'config.json').get('config')
    if not isinstance(theirs, dict) or not set(SETTINGS) <= set(theirs):
        raise _Refused(f'{out} holds files that are no run of miniai train: give another folder as --out')
    other = {k: theirs[k] for k in SETTINGS if theirs[k] != settings[k]}
    if other and not fresh:
        raise _Refused(f"{out} holds another run, with {' '.join(f'--{k} {v}' for k,v in other.items())}. "
                       'To go on with that one, give its settings. To keep it, give another folder as --out. '
                       'To remove it and begin anew, add --fresh.')
    if fresh or not saved: _clear(out)  # one that ended before its first checkpoint is begun anew
    return _read(out/'done.json').get('state') == 'finished' and (out/'model.pt').exists()


def _train(args):
    if not (os.environ.get('GOMP_SPINCOUNT') or os.environ.get('OMP_WAIT_POLICY')):
        os.environ['GOMP_SPINCOUNT'] = '1000'  # before torch: its threads else spin in each other's way
    out = _folder(args.out or f"runs/{args.data.replace('/', '-')}-{args.model}")
    settings = {k: getattr(args, k) for k in SETTINGS}
    if _is_finished(out, settings, args.fresh):
        print(f'this run is finished, in {out}: see it by `miniai runs {out.parent}`, or add --fresh')
        return 0
    import torch, torch.nn.functional as F
    from .datasets import DataLoaders
    from .learner import Accuracy, CheckpointCB, DeviceCB, Learner, MetricsCB, ProgressCB
    from .optim import AdamW
    from .sched import OneCycle
    from .track import LocalTracker, TrackerCB
    from .training import get_dls
    train,valid,classes = _pictures(args.data)
    torch.manual_seed(args.seed)
    model = _model(args.model, train.x[:1], len(classes))
    tracker = LocalTracker(out.parent)
    tracker.run = out.name  # the folder may be there: checkpoints go into it
    cbs = [DeviceCB(), MetricsCB(accuracy=Accuracy()), ProgressCB(), OneCycle(),
           TrackerCB(tracker, config=settings), CheckpointCB(out/'checkpoints', every_batches=200)]
    learn = Learner(model, DataLoaders(*get_dls(train, valid, args.bs)), F.cross_entropy, args.lr, cbs,
                    opt_func=AdamW)
    try: learn.fit(args.epochs, resume=True)
    except (ValueError, OSError, RuntimeError) as e: raise _Refused(e, 1) from e
    except KeyboardInterrupt:
        print(f'\nstopped. The same command goes on where the last checkpoint in {out} was', file=sys.stderr)
        return 130
    last = learn.history[-1]
    if not math.isfinite(last['loss']):
        raise _Refused(f"the loss is {last['loss']}, so there is no model to keep: "
                       f'begin anew at a lower rate, --lr {args.lr/10:g} --fresh', 1)
    learn.save(out/'model.pt')
    print(f"{last['accuracy']:.2%} of the pictures that it was not trained on are right. "
          f'The model is {out}/model.pt; `miniai runs {out.parent}` shows this run beside others')
    return 0


# ---- miniai check ------------------------------------------------------------------------------------------

def _load(path):
    "The module that a reader's file makes"
    if not path.is_file(): raise _Refused(f'there is no file {path}')
    if path.suffix != '.py': raise _Refused(f'{path} is not a Python file. Notebooks have a check cell')
    spec = importlib.util.spec_from_file_location(f'exercise_{path.stem}', path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    try: spec.loader.exec_module(module)
    except SyntaxError as e:
        raise _Refused(f'{Path(e.filename or path).name}, line {e.lineno or 1}: {e.msg}', 1) from e
    except (Exception, SystemExit) as e:
        frames = traceback.extract_tb(e.__traceback__)
        lines = [f.lineno for f in frames if Path(f.filename) == path.resolve()]
        where = f', line {lines[-1]}' if lines else ''
        raise _Refused(f'{path}{where}: {type(e).__name__}: {e}', 1) from e
    return module


def _check(args):
    from .lessons import exercises, mark
    from .tools.slips import near
    file,_,name = args.exercise.rpartition(':')
    if not (file and name): raise _Refused(f'{args.exercise} names no exercise: write FILE.py:NAME')
    module,every = _load(Path(file)),exercises()
    if not hasattr(module, name):
        own = [n for n,o in vars(module).items() if getattr(o, '__module__', '') == module.__name__]
        raise _Refused(f'{file} has no {name}{near(name, own) or "; it has " + (_listed(own) or "nothing")}')
    stems = {path.stem for _,path,_ in every}
    if args.lesson and args.lesson not in stems:
        like = near(args.lesson, stems) or ': write it as 11_training'
        raise _Refused(f'{args.lesson} is not the name of a lesson with exercises{like}')
    if args.lesson: every = [found for found in every if found[1].stem == args.lesson]
    ours = [found for found in every if found[0] == name]
    if not ours:
        of = args.lesson or 'the lessons'
        raise _Refused(f'no exercise of {of} is called {name}{near(name, [found[0] for found in every])}')
    if len(ours) > 1:
        raise _Refused(f'{name} is an exercise of {_listed(path.stem for _,path,_ in ours)}: add --lesson')
    report = mark(*ours[0][1:], module)
    print(report)
    return 0 if report.ok else 1


# ---- miniai lessons ----------------------------------------------------------------------------------------

def _lessons(args):
    from .lessons import copy_lessons
    try: told = copy_lessons(args.folder)
    except ValueError as e: raise _Refused(e) from e
    if told['new']: print(f"new: {_listed(told['new'], 3)}")
    if told['updated']: print(f"brought up to date: {_listed(told['updated'], 50)}")
    if told['beside']:
        print('changed by you, and in this version too. Yours are as they were, and the new ones are beside '
              f"them: {_listed(told['beside'], 50)}")
    print(f'the lessons are in {Path(args.folder).resolve()}', flush=True)
    if args.no_open: return 0
    if not importlib.util.find_spec('jupyterlab'):
        raise _Refused('JupyterLab is not installed: pip install jupyterlab', 1)
    os.execv(sys.executable, [sys.executable, '-m', 'jupyterlab', args.folder])


# ---- miniai runs -------------------------------------------------------------------------------------------

def _runs(args):
    folder = _folder(args.folder)
    if not folder.is_dir(): raise _Refused(f'there is no folder {folder}')
    if (folder/'config.json').exists() and (folder/'log.jsonl').exists():
        raise _Refused(f'{folder} is one run: give the folder that it is in, {folder.parent}')
    from .runs import runs_page
    print(f'{runs_page(folder).resolve()}: open it in a browser')
    return 0


# ---- all of it ---------------------------------------------------------------------------------------------

def _above_0(kind):
    "For argparse: a number of a kind"
    def convert(text):
        value = kind(text)  # argparse has words for a ValueError
        if not 0 < value < math.inf: raise argparse.ArgumentTypeError(f'must be above 0, got {text}')
        return value
    convert.__name__ = kind.__name__
    return convert


def _seed(text):
    "For argparse: what torch takes"
    if text.isdecimal() and int(text) < 2**63: return int(text)
    raise argparse.ArgumentTypeError(f'must be a whole number from 0 to 2**63 - 1, got {text}')


def _parser():
    parser = argparse.ArgumentParser('miniai', description=
        'A training library that you build yourself, one lesson at a time.')
    parser.add_argument('--version', action='version', version=f'miniai {__version__}')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', title='commands',
                                     description='miniai COMMAND --help says more about each')
    def command(name, run, what):
        sub = commands.add_parser(name, help=what, description=f'{what[0].upper()}{what[1:]}.')
        sub.set_defaults(run=run)
        return sub.add_argument
    add = command('train', _train, 'train a classifier of pictures; called again, go on where it was stopped')
    add('--data', default='digits', metavar='NAME',
        help='digits or clothes (drawn), mnist, fashion_mnist, a folder in $MINIAI_DATA, or a data set of '
             'the Hugging Face hub with the columns image and label (default: %(default)s)')
    add('--model', default='cnn', choices=MODELS, help='the network (default: %(default)s)')
    add('--epochs', default=5, type=_above_0(int), metavar='N',
        help='how often to go through the pictures (default: %(default)s)')
    add('--lr', default=0.01, type=_above_0(float), metavar='RATE',
        help='the highest learning rate (default: %(default)s)')
    add('--bs', default=64, type=_above_0(int), metavar='N', help='batch size (default: %(default)s)')
    add('--seed', default=42, type=_seed, metavar='N',
        help='another one, another start (default: %(default)s)')
    add('--out', metavar='FOLDER', help='for all that is written (default: runs/DATA-MODEL)')
    add('--fresh', action='store_true', help='remove the run that is in the folder, and begin anew')
    add = command('check', _check, 'mark an exercise that is in a file, as the check cell of its lesson does')
    add('exercise', metavar='FILE.py:NAME', help="NAME is what the lesson's stub is called")
    add('--lesson', help='for a name that several lessons have: 11_training, say')
    add = command('lessons', _lessons, 'open Jupyter on a copy of the lessons, which is yours to write in')
    add('folder', nargs='?', default='miniai-lessons', metavar='FOLDER',
        help='where the copy is (default: %(default)s). Call this again after an update of miniai: lessons '
             'that you have changed stay as they are, and the new ones are put beside them')
    add('--no-open', action='store_true', help='only copy')
    add = command('runs', _runs, 'write a page that shows and compares runs: FOLDER/index.html')
    add('folder', metavar='FOLDER', help='with runs of LocalTracker, or of miniai train')
    return parser


def main(
    argv=None # The words after `miniai`; None for those of this process
)->int:       # 0, 1 if the work failed, 2 if the call was wrong, 130 after Ctrl-C
    "Do what a command line says"
    parser = _parser()
    args = parser.parse_args(argv)
    if not args.command:
        parser.print_help()
        return 2
    try: return args.run(args)
    except KeyboardInterrupt:
        print('stopped', file=sys.stderr)
        return 130
    except (_Refused, OSError) as e:
        print(f'miniai {args.command}: {e}', file=sys.stderr)
        return getattr(e, 'code', 1)


if __name__ == '__main__': sys.exit(main())
