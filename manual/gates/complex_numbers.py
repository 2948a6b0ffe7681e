"""Complex numbers as pairs of real ones along a last axis: [..., 0] + i [..., 1].

A gradient is a pair too: that of the real part, and that of the imaginary part, as torch's is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from manual.examples import Example
from manual.gates.broadcasting import summed_to
from manual.layer import Array, Arrays, Layer, Output

__all__ = ["ComplexMultiplyGate"]


class PairsCache(NamedTuple):
    x: Array
    y: Array


class ComplexMultiplyGate(Layer):
    """z = x y of complex numbers as pairs, with broadcasting."""

    examples = (
        Example({}, ((2, 3, 2), (3, 2))),
        Example({}, ((2, 1, 2), (2, 2, 2))),
    )

    def forward(self, x: Array, y: Array) -> tuple[Array, PairsCache]:  # type: ignore[override]
        return _product(x, y), PairsCache(x, y)

    def backward(self, grad_output: Array, cache: PairsCache) -> tuple[tuple[Array, ...], Arrays]:
        r"""Chain rule through z = x y, with x = a + ib, y = c + id.

        Re z = ac - bd, Im z = ad + bc. With dz = (r, s):
        da = r c + s d, db = -r d + s c: dx = dz · ȳ, and likewise dy = dz · x̄
        Torch: torch.mul of complex tensors, whose gradient is that of (Re, Im) as one number.
        Source: Wirtinger calculus; Kreutz-Delgado, The Complex Gradient Operator, 2009.
        """
        x, y = cache
        dx, dy = _product(grad_output, _conjugate(y)), _product(grad_output, _conjugate(x))
        return (summed_to(dx, np.shape(x)), summed_to(dy, np.shape(y))), {}


class OnPairs(Layer):
    """A linear layer with real coefficients on complex numbers: on each part by itself.

    Args:
        layer: such as a transpose, a slice, a sum.
    """

    def __init__(self, layer: Layer) -> None:
        self.layer, self.outputs = layer, layer.outputs

    def forward(self, *inputs: Array) -> tuple[Output, Any]:
        found = [self.layer.forward(*(x[..., part] for x in inputs)) for part in (0, 1)]
        (real, a), (imaginary, b) = found
        return _paired(real, imaginary), (a, b)

    def backward(self, grad_output: Output, cache: Any) -> tuple[tuple[Array, ...], Arrays]:
        """d(Re), d(Im): the layer's own backward, of each part."""
        halves = []
        for part in (0, 1):
            several = isinstance(grad_output, tuple)
            dy = tuple(g[..., part] for g in grad_output) if several else grad_output[..., part]
            halves.append(self.layer.backward(dy, cache[part])[0])
        pairs = zip(*halves, strict=True)
        return tuple(None if a is None else np.stack([a, b], -1) for a, b in pairs), {}  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"{self.layer!r} of each part"


def _product(x: Array, y: Array) -> Array:
    a, b, c, d = x[..., 0], x[..., 1], y[..., 0], y[..., 1]
    return np.stack([a * c - b * d, a * d + b * c], axis=-1)


def _conjugate(x: Array) -> Array:
    return np.stack([x[..., 0], -x[..., 1]], axis=-1)


def _paired(real: Output, imaginary: Output) -> Output:
    if isinstance(real, tuple):
        return tuple(np.stack([a, b], -1) for a, b in zip(real, imaginary, strict=True))
    return np.stack([real, imaginary], axis=-1)
