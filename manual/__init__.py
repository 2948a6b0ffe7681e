"""The hand-written network: layers, losses and optimisers with derived gradients, NumPy only."""

from __future__ import annotations

from manual.activations import (
    ELU,
    GELU,
    LeakyReLU,
    LogSigmoid,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from manual.clipping import clip_grad_norm, clip_grad_value
from manual.dropout import Dropout
from manual.graph import Gradients, Graph, Layer, Node, Sequential, Tape
from manual.initializers import initialize
from manual.joins import Add, Concatenate, Multiply
from manual.linear import Flatten, Identity, Linear
from manual.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    MulticlassHingeLoss,
    MultiMarginLoss,
    NLLLoss,
    SquaredErrorLoss,
)
from manual.maxout import Maxout
from manual.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from manual.penalties import L1Penalty, L2Penalty
from manual.schedules import Constant, Cosine, Schedule, Step
from manual.softmax import LogSoftmax, Softmax

__all__ = [
    "ELU",
    "GELU",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Add",
    "BCELoss",
    "BCEWithLogitsLoss",
    "Concatenate",
    "Constant",
    "Cosine",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Gradients",
    "Graph",
    "HuberLoss",
    "Identity",
    "L1Loss",
    "L1Penalty",
    "L2Penalty",
    "Layer",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "Maxout",
    "MultiMarginLoss",
    "MulticlassHingeLoss",
    "Multiply",
    "NLLLoss",
    "Node",
    "Optimizer",
    "RMSprop",
    "ReLU",
    "Schedule",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "SquaredErrorLoss",
    "Step",
    "Tanh",
    "Tape",
    "clip_grad_norm",
    "clip_grad_value",
    "initialize",
]
