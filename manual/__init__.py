"""The hand-written network: layers, losses and optimisers with derived gradients, NumPy only."""

from __future__ import annotations

from typing import Any

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
from manual.expression import Expression, expression, variables
from manual.gates import (
    AbsGate,
    AddConstantGate,
    AddGate,
    ConstantGate,
    CosGate,
    DivideGate,
    ExpGate,
    LogGate,
    MatMulGate,
    MaxGate,
    MeanGate,
    MultiplyConstantGate,
    MultiplyGate,
    NegateGate,
    PowerGate,
    ReciprocalGate,
    SigmoidGate,
    SinGate,
    SquaredNormGate,
    SubtractGate,
    SumGate,
    TanhGate,
)
from manual.graph import Gradients, Graph, Layer, Node, Sequential, Tape
from manual.initializers import initialize
from manual.joins import Add, Concatenate, Multiply
from manual.linear import Flatten, Identity, Linear
from manual.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CosineEmbeddingLoss,
    CrossEntropyLoss,
    GaussianNLLLoss,
    HingeEmbeddingLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    LinearCrossEntropyLoss,
    MarginRankingLoss,
    MSELoss,
    MulticlassHingeLoss,
    MultiLabelMarginLoss,
    MultiLabelSoftMarginLoss,
    MultiMarginLoss,
    NLLLoss,
    PoissonNLLLoss,
    SmoothL1Loss,
    SoftMarginLoss,
    SquaredErrorLoss,
    TripletMarginLoss,
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
    "AbsGate",
    "Adagrad",
    "Adam",
    "AdamW",
    "Add",
    "AddConstantGate",
    "AddGate",
    "BCELoss",
    "BCEWithLogitsLoss",
    "Concatenate",
    "Constant",
    "ConstantGate",
    "CosGate",
    "Cosine",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "DivideGate",
    "Dropout",
    "ExpGate",
    "Expression",
    "Flatten",
    "GaussianNLLLoss",
    "Gradients",
    "Graph",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "Identity",
    "KLDivLoss",
    "L1Loss",
    "L1Penalty",
    "L2Penalty",
    "Layer",
    "LeakyReLU",
    "Linear",
    "LinearCrossEntropyLoss",
    "LogGate",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "MarginRankingLoss",
    "MatMulGate",
    "MaxGate",
    "Maxout",
    "MeanGate",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "MulticlassHingeLoss",
    "Multiply",
    "MultiplyConstantGate",
    "MultiplyGate",
    "NLLLoss",
    "NegateGate",
    "Node",
    "Optimizer",
    "PoissonNLLLoss",
    "PowerGate",
    "RMSprop",
    "ReLU",
    "ReciprocalGate",
    "Schedule",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SigmoidGate",
    "SinGate",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "Softmax",
    "Softplus",
    "SquaredErrorLoss",
    "SquaredNormGate",
    "Step",
    "SubtractGate",
    "SumGate",
    "Tanh",
    "TanhGate",
    "Tape",
    "TripletMarginLoss",
    "clip_grad_norm",
    "clip_grad_value",
    "expression",
    "initialize",
    "variables",
]


def __getattr__(name: str) -> Any:
    """Return a class that the registry finds, so that a new layer needs no line here."""
    if name[:1].isupper():  # submodules are looked for here too
        from manual.registry import find

        if (cls := find(name)) is not None:
            globals()[name] = cls
            return cls
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
