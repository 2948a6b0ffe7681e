"""Distances between arrays, between all rows of two, between the rows of one."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from manual.distance import p_norm
from manual.examples import Example
from manual.gates.broadcasting import summed_to
from manual.layer import Array, Arrays, Layer

__all__ = ["CdistGate", "DistGate", "PdistGate"]

POWERS = (2.0, 1.0, math.inf)


class SlopeCache(NamedTuple):
    slope: Array  # ∂y/∂v of each difference v
    shapes: tuple[tuple[int, ...], tuple[int, ...]]


class Distances(Layer):
    """The p-norm of differences.

    Args:
        p: of the norm; infinity takes the largest difference, 0 counts.
    """

    def __init__(self, p: float = 2.0) -> None:
        self.p = p

    def extra_repr(self) -> str:
        return f"p={self.p}"


class DistGate(Distances):
    """d = ‖x - y‖, over all elements."""

    equations = {
        "output/power": "z = sum(k, abs(x[k] - y[k])**p)**(1 / p)",
        "grad_x/power": "dx[i] = dz * sign(x[i] - y[i]) * (abs(x[i] - y[i]) / D)**(p - 1)\n"
        "where D = sum(k, abs(x[k] - y[k])**p)**(1 / p)",
        "grad_y/power": "dy[i] = -dz * sign(x[i] - y[i]) * (abs(x[i] - y[i]) / D)**(p - 1)\n"
        "where D = sum(k, abs(x[k] - y[k])**p)**(1 / p)",
    }
    symbols = {"dz": "grad_output"}
    examples = tuple(Example({"p": p}, ((2, 3), (2, 3))) for p in POWERS)

    def forward(self, x: Array, y: Array) -> tuple[Array, SlopeCache]:  # type: ignore[override]
        v = x - y
        d, slope = p_norm(v.reshape(v.size), self.p)
        return d.reshape(()), SlopeCache(slope.reshape(v.shape), (np.shape(x), np.shape(y)))

    def backward(self, grad_output: Array, cache: SlopeCache) -> tuple[tuple, Arrays]:
        r"""Chain rule through d = (Σ |v|^p)^(1/p) with v = x - y.

        dv = dd · sign v (|v| / d)^(p - 1), 0 where d is   ->   dx = dv,  dy = -dv
        Torch: torch.dist; what was stretched is summed.
        Source: PairwiseDistance, whose slope this is.
        """
        dv = grad_output * cache.slope
        return (summed_to(dv, cache.shapes[0]), summed_to(-dv, cache.shapes[1])), {}

    def variants(self, cache: SlopeCache) -> tuple[str, ...]:
        return ("power",) if 0 < self.p < math.inf else ()


class Rows(Distances):
    """The p-norm of differences of rows."""

    def norm(self, v: Array) -> tuple[Array, Array]:
        """Return the norm along the last axis, and its slope by each element.

        Of p = ∞ torch hands the whole gradient to each of several largest, and shares nothing.
        """
        d, slope = p_norm(v, self.p)
        if math.isinf(self.p):
            slope = np.sign(slope)
        return d[..., 0], slope


class CdistGate(Rows):
    """d_ij = ‖x_i - y_j‖: the distance of every row of x from every row of y."""

    examples = (
        *(Example({"p": p}, ((2, 3), (4, 3))) for p in POWERS),
        Example({"p": 3.0}, ((2, 2, 3), (1, 2, 3))),
    )

    def forward(self, x: Array, y: Array) -> tuple[Array, SlopeCache]:  # type: ignore[override]
        v = np.expand_dims(x, -2) - np.expand_dims(y, -3)  # (…, P, R, M)
        d, slope = self.norm(v)
        return d, SlopeCache(slope, (np.shape(x), np.shape(y)))

    def backward(self, grad_output: Array, cache: SlopeCache) -> tuple[tuple, Arrays]:
        r"""Chain rule through d_ij = (Σ_k |v_ijk|^p)^(1/p) with v_ijk = x_ik - y_jk.

        Shapes: x (…, P, M), y (…, R, M), d (…, P, R); leading axes are a batch, and may broadcast.
        dv_ijk = dd_ij · sign v_ijk (|v_ijk| / d_ij)^(p - 1), 0 where d is
        dx_ik = Σ_j dv_ijk,  dy_jk = -Σ_i dv_ijk
        Torch: torch.cdist.
        Source: PairwiseDistance, whose slope this is; each row is in as many distances.
        """
        dv = np.expand_dims(grad_output, -1) * cache.slope
        dx, dy = dv.sum(axis=-2), -dv.sum(axis=-3)
        return (summed_to(dx, cache.shapes[0]), summed_to(dy, cache.shapes[1])), {}


class PdistGate(Rows):
    """The distances of the rows of x from each other, each pair once: (0, 1), (0, 2) … (1, 2) …"""

    examples = tuple(Example({"p": p}, ((3, 2),)) for p in POWERS)

    def forward(self, x: Array) -> tuple[Array, SlopeCache]:  # type: ignore[override]
        first, second = np.triu_indices(len(x), 1)
        d, slope = self.norm(x[first] - x[second])
        return d, SlopeCache(slope, (np.shape(x), ()))

    def backward(self, grad_output: Array, cache: SlopeCache) -> tuple[tuple, Arrays]:
        r"""Chain rule through d_ij = ‖x_i - x_j‖, i < j.

        dx_i = Σ_j dd_ij ∂d_ij/∂v - Σ_j dd_ji ∂d_ji/∂v
        Torch: nn.functional.pdist.
        Source: CdistGate, of x with itself.
        """
        first, second = np.triu_indices(cache.shapes[0][0], 1)
        dv = np.expand_dims(grad_output, -1) * cache.slope
        dx = np.zeros_like(dv, shape=cache.shapes[0])
        np.add.at(dx, first, dv)
        np.subtract.at(dx, second, dv)
        return (dx,), {}
