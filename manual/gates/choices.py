"""Gates that choose between elements by a mask, or keep them within bounds: where, fill, clamp."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.gates.broadcasting import summed_to
from manual.gates.pointwise import PointCache, Pointwise
from manual.layer import Array, Arrays, Layer

__all__ = ["ClampBetweenGate", "ClampGate", "NanToNumGate", "WhereGate"]

MASK, WIDE = Draw((2, 3), "bool"), Draw((2, 3), "uniform", -1.5, 1.5)


class WhereCache(NamedTuple):
    condition: Array
    shapes: tuple[tuple[int, ...] | None, tuple[int, ...] | None]  # of x and y; None: a number


class WhereGate(Layer):
    """z = x where the condition holds, else y.

    Args:
        first, second: numbers that stand for x and y where those are left out.
    """

    equations = {
        "output": "z[i] = cases(c[i] > 0, x[i], y[i])",
        "output/first": "z[i] = cases(c[i] > 0, a, y[i])",
        "output/second": "z[i] = cases(c[i] > 0, x[i], b)",
        "grad_x": "dx[i] = cases(c[i] > 0, dz[i], 0)",
        "grad_y": "dy[i] = cases(c[i] > 0, 0, dz[i])",
    }
    symbols = {"dz": "grad_output", "c": "condition", "a": "first", "b": "second"}
    examples = (
        Example({}, (MASK, (2, 3), (2, 3))),
        Example({"second": -0.5}, (MASK, (2, 3), None)),
        Example({"first": 1.5}, (MASK, None, (2, 3))),
        Example({}, (MASK, (3,), (2, 1))),
    )

    def __init__(self, first: float | None = None, second: float | None = None) -> None:
        self.first, self.second = first, second

    def forward(  # type: ignore[override]
        self, condition: Array, x: Array | None = None, y: Array | None = None
    ) -> tuple[Array, WhereCache]:
        shapes = None if x is None else np.shape(x), None if y is None else np.shape(y)
        a, b = self.first if x is None else x, self.second if y is None else y
        return np.where(condition, a, b), WhereCache(condition, shapes)  # type: ignore[arg-type]

    def backward(self, grad_output: Array, cache: WhereCache) -> tuple[tuple, Arrays]:
        r"""Chain rule through z = x where c, else y: each element of dz goes where z came from.

        dx = dz where c, else 0;  dy = 0 where c, else dz   (each summed to its input's shape)
        What is not chosen gets an exact 0, whatever dz is: 0 · inf would be nan.
        Torch: torch.where, masked_fill.
        Source: the max gate routes; here the condition says where.
        """
        c, (x, y) = cache
        dx = None if x is None else summed_to(np.where(c, grad_output, 0), x)
        dy = None if y is None else summed_to(np.where(c, 0, grad_output), y)
        return (None, dx, dy), {}

    def extra_repr(self) -> str:
        return f"first={self.first}, second={self.second}"


class ClampGate(Pointwise):
    """y = min(max(x, min), max); at a bound, the gradient passes.

    Args:
        min, max: the bounds; None for none.
    """

    equations = {
        "output/min": "y[i] = max(x[i], min)",
        "output/max": "y[i] = min(x[i], max)",
        "output/min, max": "y[i] = min(max(x[i], min), max)",
        "grad_input/min": "dx[i] = dy[i] * (x[i] >= min)",
        "grad_input/max": "dx[i] = dy[i] * (x[i] <= max)",
        "grad_input/min, max": "dx[i] = dy[i] * (x[i] >= min) * (x[i] <= max)",
    }
    examples = (
        Example({"min": -0.5, "max": 0.75}, ((2, 3),), {"min": {"x": -0.5}, "max": {"x": 0.75}}),
        Example({"min": 0.25}, ((2, 3),)),
        Example({"max": 0.25}, ((2, 3),)),
    )

    def __init__(self, min: float | None = None, max: float | None = None) -> None:
        self.min, self.max = min, max

    def value(self, x: Array) -> Array:
        y = x if self.min is None else np.maximum(x, self.min)
        return y if self.max is None else np.minimum(y, self.max)

    def slope(self, x: Array, y: Array) -> Array:
        return within(x, self.min, self.max)

    def decisions(self, cache: PointCache) -> Array:
        return self.slope(*cache)

    def extra_repr(self) -> str:
        return f"min={self.min}, max={self.max}"


def within(x: Array, low: Any, high: Any) -> Array:
    """Return where low <= x <= high, as far as there are bounds; nowhere for nan."""
    inside = x == x if low is None else x >= low
    return inside if high is None else inside & (x <= high)


class BoundsCache(NamedTuple):
    x: Array
    low: Array | None
    high: Array | None


class ClampBetweenGate(Layer):
    """z = min(max(x, low), high), with bounds that are inputs; either may be left out."""

    equations = {
        "output/low": "z[i] = max(x[i], l[i])",
        "output/high": "z[i] = min(x[i], h[i])",
        "output/low, high": "z[i] = min(max(x[i], l[i]), h[i])",
        "grad_x/low": "dx[i] = dz[i] * (x[i] >= l[i])",
        "grad_x/high": "dx[i] = dz[i] * (x[i] <= h[i])",
        "grad_x/low, high": "dx[i] = dz[i] * (x[i] >= l[i]) * (x[i] <= h[i])",
        "grad_low/low": "dl[i] = dz[i] * (x[i] < l[i])",
        "grad_low/low, high": "dl[i] = dz[i] * (x[i] < l[i]) * (l[i] < h[i])",
        "grad_high/high": "dh[i] = dz[i] * (x[i] > h[i])",
        "grad_high/low, high": "dh[i] = dz[i] * max((x[i] > h[i]), (l[i] > h[i]))",
    }
    symbols = {"dz": "grad_output", "l": "low", "h": "high"}
    examples = (
        Example({}, (WIDE, Draw((2, 3), "uniform", -1, -0.25), Draw((2, 3), "uniform", 0.25, 1))),
        Example({}, ((2, 3), (2, 3), (2, 3))),
        Example({}, ((2, 3), (2, 3), None)),
        Example({}, ((2, 3), None, (2, 3))),
        Example({}, ((2, 3), (3,), (2, 1))),
    )

    def forward(  # type: ignore[override]
        self, x: Array, low: Array | None = None, high: Array | None = None
    ) -> tuple[Array, BoundsCache]:
        z = x if low is None else np.maximum(x, low)
        return z if high is None else np.minimum(z, high), BoundsCache(x, low, high)

    def backward(self, grad_output: Array, cache: BoundsCache) -> tuple[tuple, Arrays]:
        r"""Chain rule through z = min(max(x, l), h): each dz goes to whichever z is.

        dx = dz · [l <= x <= h],  dl = dz · [x < l < h],  dh = dz · [x > h or l > h]
        Torch: torch.clamp: at a bound x gets all; where l > h, z is h, and h gets all.
        Source: the max gate routes, twice.
        """
        (x, low, high), dz = cache, grad_output
        dx = summed_to(np.where(within(x, low, high), dz, 0), np.shape(x))
        dl = dh = None
        if low is not None:
            taken = x < low if high is None else (x < low) & (low < high)
            dl = summed_to(np.where(taken, dz, 0), np.shape(low))
        if high is not None:
            taken = x > high if low is None else (x > high) | (low > high)
            dh = summed_to(np.where(taken, dz, 0), np.shape(high))
        return (dx, dl, dh), {}

    def variants(self, cache: BoundsCache) -> tuple[str, ...]:
        return ("low",) * (cache.low is not None) + ("high",) * (cache.high is not None)

    def decisions(self, cache: BoundsCache) -> Array:
        x, low, high = cache
        below = x == x if low is None else x < low
        above = x == x if high is None else x > high
        return below + 2 * above


class NanToNumGate(Pointwise):
    """y = x, with other numbers in place of nan and of infinities; those get no gradient.

    Args:
        nan: in place of nan.
        posinf, neginf: in place of infinities; None for the largest numbers that there are.
    """

    equations = {"output": "y[i] = x[i]", "grad_input": "dx[i] = dy[i]"}
    examples = (Example({}, ((2, 3),)),)

    def __init__(
        self, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
    ) -> None:
        self.nan, self.posinf, self.neginf = nan, posinf, neginf

    def value(self, x: Array) -> Array:
        largest = float(np.finfo(x.dtype if x.dtype.kind == "f" else np.float64).max)
        high = largest if self.posinf is None else self.posinf
        low = -largest if self.neginf is None else self.neginf
        y = np.where(x != x, self.nan, x)
        return np.where(y == math.inf, high, np.where(y == -math.inf, low, y))

    def slope(self, x: Array, y: Array) -> Array:
        return np.isfinite(x)
