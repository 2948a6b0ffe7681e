"""Losses: one number that says how far a network's output is from its target, and its gradient.

Names, arguments, defaults and reductions are torch.nn's; with `reduction="none"` a loss is one
number per element or sample. `backward` takes the upstream gradient of what forward returned (1
where the loss is the end of the graph) and returns a gradient for the input, and one for the target
where targets are real numbers.
"""

from manual.losses.adaptive import AdaptiveLogSoftmaxWithLoss
from manual.losses.base import Loss
from manual.losses.binary import BCELoss, BCEWithLogitsLoss, MultiLabelSoftMarginLoss
from manual.losses.classes import CrossEntropyLoss, NLLLoss, NLLLoss2d
from manual.losses.contrastive import ContrastiveLoss, TripletMarginWithDistanceLoss
from manual.losses.ctc import CTCLoss
from manual.losses.embeddings import CosineEmbeddingLoss, TripletMarginLoss
from manual.losses.likelihood import GaussianNLLLoss, KLDivLoss, PoissonNLLLoss
from manual.losses.linear import LinearCrossEntropyLoss
from manual.losses.margins import MulticlassHingeLoss, MultiLabelMarginLoss, MultiMarginLoss
from manual.losses.regression import HuberLoss, L1Loss, MSELoss, SmoothL1Loss, SquaredErrorLoss
from manual.losses.signs import HingeEmbeddingLoss, MarginRankingLoss, SoftMarginLoss

__all__ = [
    "AdaptiveLogSoftmaxWithLoss",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "ContrastiveLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "LinearCrossEntropyLoss",
    "Loss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "MulticlassHingeLoss",
    "NLLLoss",
    "NLLLoss2d",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "SquaredErrorLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]
