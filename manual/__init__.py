"""The hand-written network: layers, losses and optimisers with derived gradients, NumPy only.

A module's `__all__` says what it offers; what is used most is imported here at once, every other
class when it is asked for.
"""

from __future__ import annotations

from typing import Any

from manual import (
    activations,
    dropout,
    gates,
    joins,
    linear,
    losses,
    maxout,
    optimizers,
    penalties,
    schedules,
    softmax,
)
from manual.activations import *
from manual.clipping import clip_grad_norm, clip_grad_value
from manual.dropout import *
from manual.expression import Expression, expression, variables
from manual.gates import *
from manual.graph import Gradients, Graph, Layer, Node, Sequential, Tape
from manual.initializers import initialize
from manual.joins import *
from manual.linear import *
from manual.losses import *
from manual.maxout import *
from manual.optimizers import *
from manual.penalties import *
from manual.schedules import *
from manual.softmax import *

__all__ = ["Expression", "Gradients", "Graph", "Layer", "Node", "Sequential", "Tape"]
__all__ += ["clip_grad_norm", "clip_grad_value", "expression", "initialize", "variables"]
__all__ += activations.__all__
__all__ += dropout.__all__
__all__ += gates.__all__
__all__ += joins.__all__
__all__ += linear.__all__
__all__ += losses.__all__
__all__ += maxout.__all__
__all__ += optimizers.__all__
__all__ += penalties.__all__
__all__ += schedules.__all__
__all__ += softmax.__all__


def __getattr__(name: str) -> Any:
    """Return a class that the registry finds, so that a new layer needs no line here."""
    if name[:1].isupper():  # submodules are looked for here too
        from manual.registry import find

        if (cls := find(name)) is not None:
            globals()[name] = cls
            return cls
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
