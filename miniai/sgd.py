"The five names that existing notebooks take from `miniai.sgd`; 18_schedules builds them, in `miniai.sched`"
from .sched import BaseSchedCB, BatchSchedCB, EpochSchedCB, HasLearnCB, RecorderCB

__all__ = ['BaseSchedCB', 'BatchSchedCB', 'HasLearnCB', 'RecorderCB', 'EpochSchedCB']
