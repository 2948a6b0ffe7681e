"""Gates that are handed copies, so that one that writes into its arguments harms only itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from manual.expression import Expression
from manual.graph import Array, Arrays, Layer


class Guarded(Layer):
    """A gate as it is, and whether its backward changed the upstream gradient it was given."""

    def __init__(self, layer: Layer) -> None:
        self.layer, self.wrote = layer, False

    def forward(self, *inputs: Array) -> tuple[Array, Any]:
        return self.layer.forward(*(np.array(x)[()] for x in inputs))

    def backward(self, grad_output: Array, cache: Any) -> tuple[tuple[Array, ...], Arrays]:
        own = np.array(grad_output)[()]
        found = self.layer.backward(own, cache)
        self.wrote |= not np.array_equal(own, grad_output, equal_nan=True)
        return found


def guarded(formula: Expression) -> Expression:
    """Return the same formula at the same point, each gate guarded from the others."""
    return formula.with_layers({n.name: Guarded(n.layer) for n in formula.graph.nodes})


def writers(formula: Expression) -> list[str]:
    """Return the nodes of a guarded formula whose backward changed its upstream gradient."""
    return [n.name for n in formula.graph.nodes if getattr(n.layer, "wrote", False)]
