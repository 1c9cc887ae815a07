"""The door to the Learner: what 15_learner to 17_looking and 26_keeping to 32_leaving build, in one place

`from miniai.learner import *` gives the names that existing notebooks take from here, and `Accuracy`;
all others are to be imported by name. With this module imported, a Learner has all its methods:
`learn.preflight()`, `learn.save(path)` and so on.
"""
# ruff: noqa: F401  (a door hands on)
from .loop import (Callback, CancelBatchException, CancelEpochException, CancelFitException, DeviceCB, Host,
                   Learner, MomentumLearner, Order, SingleBatchCB, TrainCB, TrainLearner, def_device, run_cbs,
                   split_batch, to_cpu, to_device, with_cbs)
from .metrics import Accuracy, FuncMetric, Mean, MetricsCB, ProgressCB
from .looking import LRFinderCB, lr_find, no_trace
from .keep import EarlyStoppingCB, EMACB, LimitCB, SaveBestCB
from .resume import CheckpointCB
from .track import (HistogramsCB, LocalTracker, LogCB, TensorBoardTracker, Tracker, TrackerCB, WandbTracker,
                    plot_log, read_log, read_runs)
from .steps import AccumulateCB, ClipGradCB, freeze, param_groups, unfreeze
from .preflight import Preflight
from .replay import NaNStopCB, ReplayCB
from . import script

__all__ = ['CancelFitException', 'CancelBatchException', 'CancelEpochException', 'Callback', 'run_cbs',
           'SingleBatchCB', 'to_cpu', 'MetricsCB', 'DeviceCB', 'TrainCB', 'ProgressCB', 'with_cbs', 'Learner',
           'TrainLearner', 'MomentumLearner', 'LRFinderCB', 'lr_find', 'Accuracy']
