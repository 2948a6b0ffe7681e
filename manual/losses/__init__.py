"""Losses: one number that says how far a network's output is from its target, and its gradient.

Names, arguments, defaults and reductions are torch.nn's; with `reduction="none"` a loss is one
number per element or sample. `backward` takes the upstream gradient of what forward returned (1
where the loss is the end of the graph) and returns a gradient for the input, and one for the target
where targets are real numbers.
"""

from manual.losses import (
    adaptive,
    binary,
    classes,
    contrastive,
    ctc,
    embeddings,
    likelihood,
    linear,
    margins,
    regression,
    signs,
)
from manual.losses.adaptive import *
from manual.losses.base import Loss
from manual.losses.binary import *
from manual.losses.classes import *
from manual.losses.contrastive import *
from manual.losses.ctc import *
from manual.losses.embeddings import *
from manual.losses.likelihood import *
from manual.losses.linear import *
from manual.losses.margins import *
from manual.losses.regression import *
from manual.losses.signs import *

__all__ = [
    "Loss", *adaptive.__all__, *binary.__all__, *classes.__all__, *contrastive.__all__,
    *ctc.__all__, *embeddings.__all__, *likelihood.__all__, *linear.__all__, *margins.__all__,
    *regression.__all__, *signs.__all__,
]  # fmt: skip
