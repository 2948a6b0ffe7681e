"""What a loss wants of a network's output and of the targets, from its first example."""

from __future__ import annotations

from typing import Any

import numpy as np

from manual import registry
from manual.examples import Draw


def wants_labels(loss: str) -> bool:
    """Whether a loss's targets are class indices."""
    spec = _spec(loss, 1)
    if isinstance(spec, np.ndarray):  # one for each row of scores; others are signs, or lists
        return spec.ndim < _axes(_spec(loss, 0))
    return isinstance(spec, Draw) and spec.kind == "integers"


def wants_fractions(loss: str, of: int = 1) -> bool:
    """Whether a loss's targets lie in [0, 1]; with `of` = 0, whether the network's output must."""
    spec = _spec(loss, of)
    return isinstance(spec, Draw) and spec.kind == "uniform" and 0 <= spec.low < spec.high <= 1


def _axes(spec: Any) -> int:
    return len(spec.shape if isinstance(spec, Draw) else spec)


def _spec(loss: str, position: int) -> Any:
    """Return what the first example says of an input; None of a loss that is not known."""
    known = isinstance(loss, str) and loss in registry.LOSSES  # else refused elsewhere
    examples = registry.LOSSES[loss].examples if known else ()
    return examples[0].inputs[position] if examples else None
