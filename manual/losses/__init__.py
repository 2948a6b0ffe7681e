"""Losses: one number that says how far a network's output is from its target, and its gradient.

Names, arguments, defaults and reductions are torch.nn's; with `reduction="none"` a loss is one
number per element or sample. `backward` takes the upstream gradient of what forward returned (1
where the loss is the end of the graph) and returns a gradient for the input, and one for the target
where targets are real numbers.
"""

from manual.losses.base import Loss
from manual.losses.binary import BCELoss, BCEWithLogitsLoss
from manual.losses.classes import CrossEntropyLoss, NLLLoss
from manual.losses.margins import MulticlassHingeLoss, MultiMarginLoss
from manual.losses.regression import HuberLoss, L1Loss, MSELoss, SquaredErrorLoss

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "L1Loss",
    "Loss",
    "MSELoss",
    "MultiMarginLoss",
    "MulticlassHingeLoss",
    "NLLLoss",
    "SquaredErrorLoss",
]
