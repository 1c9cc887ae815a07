"""Train a small convolutional net on pictures: `python examples/train.py --data digits`

Prints a results table and writes the curves and some predictions to train.png.
"""
import argparse, time
import matplotlib
matplotlib.use('agg')  # a script opens no window
import matplotlib.pyplot as plt
import torch, torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm
from miniai.datasets import get_data, to_tensors

SOURCES = dict(digits='drawn', clothes='drawn', mnist='local', fashion_mnist='local')


def load(name):
    "Training and test pictures as floats n×1×28×28, labels, and the names of the classes"
    dd = get_data(name, source=SOURCES[name])
    (x,y),(x_test,y_test) = (to_tensors(dd[split]) for split in ('train', 'test'))
    mean,std = x.float().mean(),x.float().std()
    return (x-mean)/std, y, (x_test-mean)/std, y_test, dd['train'].features['label'].names


def small_cnn():
    def layer(ni, nf): return nn.Sequential(nn.Conv2d(ni, nf, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(nf), nn.ReLU())
    return nn.Sequential(layer(1, 16), layer(16, 32), layer(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
