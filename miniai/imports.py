"""Everything at once, for a notebook that begins with `from miniai.imports import *`

There is no `__all__` on purpose: all that is imported here is meant to be handed on. Names of torchvision are
there where torchvision is installed. `init` is torch.nn.init and `datasets` Hugging Face's module, not ours.
"""
# ruff: noqa: F401, F403, F405  (a door hands on)
import math, random
from functools import partial, wraps
from operator import attrgetter, itemgetter
from pathlib import Path
import fastcore.all as fc, matplotlib as mpl, matplotlib.pyplot as plt, numpy as np
import torch, torch.nn.functional as F
from fastcore.foundation import L
from torch import nn, optim, tensor
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, default_collate
from .training import *
from .datasets import *
from .conv import *
from .learner import *
from .activations import *
from .init import *
from .sgd import *
from .resnet import *
from .augment import *
from .accel import *
import datasets
from datasets import load_dataset
from torch.nn import init

try:
    import torchvision.transforms as T, torchvision.transforms.functional as TF
    from torchvision.io import ImageReadMode, read_image
except (ImportError, OSError, RuntimeError): pass  # not there, or made for another version of torch
