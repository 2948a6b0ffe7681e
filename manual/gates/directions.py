"""The gate that gives a tensor another length: w = g v / ‖v‖."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.layer import Array, Arrays, Layer

__all__ = ["WeightNormGate"]


class DirectionCache(NamedTuple):
    unit: Array  # v / ‖v‖
    scale: Array  # g / ‖v‖


class WeightNormGate(Layer):
    """w = g v / ‖v‖, slice by slice along one axis: `WeightNorm` with both parameters as inputs.

    Args:
        dim: the axis along which every slice has a length of its own; -1: there is one length.
    """

    examples = (
        Example({}, ((2, 3), (2, 1))),
        Example({"dim": 1}, ((2, 3, 2), Draw((1, 3, 1), "uniform", 0.5, 2))),
        Example({"dim": -1}, ((2, 3), ())),
    )

    def __init__(self, dim: int = 0) -> None:
        self.dim = dim

    def _summed(self, a: Array) -> Array:
        if self.dim == -1:
            return np.sum(a)
        axes = tuple(i for i in range(a.ndim) if i != self.dim)
        return np.sum(a, axis=axes, keepdims=True)

    def forward(self, v: Array, g: Array) -> tuple[Array, DirectionCache]:  # type: ignore[override]
        norm = np.sqrt(self._summed(v * v))
        cache = DirectionCache(v / norm, g / norm)
        return v * cache.scale, cache

    def backward(
        self, grad_output: Array, cache: DirectionCache
    ) -> tuple[tuple[Array, Array], Arrays]:
        r"""Chain rule through w = g u, u = v / ‖v‖: derived in `manual.norm.parametrized`.

        dg = Σ dw u, over the slice; dv = g/‖v‖ (dw - dg u)
        Torch: torch._weight_norm.
        Source: Salimans and Kingma, Weight Normalization (2016), section 2.1.
        """
        unit, scale = cache
        dg = self._summed(grad_output * unit)
        return (scale * (grad_output - dg * unit), dg), {}

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
