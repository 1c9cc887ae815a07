"The five names that existing notebooks take from `miniai.sgd`; they are built in lesson 13, `miniai.sched`"
from miniai.sched import BaseSchedCB, BatchSchedCB, EpochSchedCB, HasLearnCB, RecorderCB

__all__ = ['BaseSchedCB', 'BatchSchedCB', 'HasLearnCB', 'RecorderCB', 'EpochSchedCB']
