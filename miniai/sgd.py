"The five names that existing notebooks take from `miniai.sgd`; they are built in lesson 18_schedules"
from .sched import BaseSchedCB, BatchSchedCB, EpochSchedCB, HasLearnCB, RecorderCB

__all__ = ['BaseSchedCB', 'BatchSchedCB', 'HasLearnCB', 'RecorderCB', 'EpochSchedCB']
