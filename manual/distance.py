"""How near two rows are: CosineSimilarity, PairwiseDistance."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.gates.broadcasting import summed_to
from manual.layer import Array, Arrays, Layer

__all__ = ["CosineSimilarity", "PairwiseDistance"]

Pair = tuple[Array, Array]
Shape = tuple[int, ...]


def fitted(name: str, x1: Array, x2: Array, dim: int) -> Shape:
    """Return the shape that the inputs are stretched to; (1,) for scalars.

    Raises:
        ValueError: they do not broadcast, or have no such axis.
    """
    shapes = tuple(x1.shape), tuple(x2.shape)
    try:
        shape = np.broadcast_shapes(*shapes) or (1,)
    except ValueError:
        raise ValueError(
            f"{name}: both inputs must have one shape, or broadcast to one, received {shapes[0]} "
            f"and {shapes[1]}."
        ) from None
    if not -len(shape) <= dim < len(shape):
        raise ValueError(f"{name}: dim = {dim} is no axis of inputs {shapes[0]} and {shapes[1]}.")
    return shape


def nonzero(x: Array) -> Array:
    """Return x, 1 in place of 0: to divide what is 0 there as well."""
    return np.where(x == 0, 1, x)


class CosineCache(NamedTuple):
    units: Pair  # x / ‖x‖, 0 where x is
    scaled: Pair  # x / max(‖x‖, eps)
    norms: Pair  # max(‖x‖, eps)
    cosine: Array
    shapes: tuple[Shape, Shape]


class CosineSimilarity(Layer):
    """Cosine of the angle between two vectors, along an axis: Σ x₁ x₂ / (‖x₁‖ ‖x₂‖).

    Args:
        dim: the axis of the vectors, of the inputs after broadcasting.
        eps: no norm counts as less.

    Raises:
        ValueError: the inputs do not broadcast, or have no such axis.
    """

    equations = {
        "output": "y[n] = sum(j, a[n,j] * b[n,j]) / (max(A[n], eps) * max(B[n], eps))\n"
        "where A[n] = sqrt(sum(i, a[n,i]**2))\nwhere B[n] = sqrt(sum(i, b[n,i]**2))",
        "grad_x1": "dx[n,j] = dy[n] * (b[n,j] / B[n] - c[n] * a[n,j] / A[n]) / max(A[n], eps)\n"
        "where c[n] = sum(i, a[n,i] * b[n,i]) / (max(A[n], eps) * B[n])\n"
        "where A[n] = sqrt(sum(i, a[n,i]**2))\n"
        "where B[n] = max(sqrt(sum(i, b[n,i]**2)), eps)",
        "grad_x2": "dx[n,j] = dy[n] * (a[n,j] / A[n] - c[n] * b[n,j] / B[n]) / max(B[n], eps)\n"
        "where c[n] = sum(i, a[n,i] * b[n,i]) / (max(B[n], eps) * A[n])\n"
        "where B[n] = sqrt(sum(i, b[n,i]**2))\n"
        "where A[n] = max(sqrt(sum(i, a[n,i]**2)), eps)",
    }
    symbols = {"a": "x1", "b": "x2"}
    examples = (
        Example({}, ((2, 3), (2, 3))),
        Example({"dim": -1}, ((3,), (3,))),
        Example({"dim": -1}, ((), ())),
        Example({}, ((2, 1), (2, 3))),
        Example({"dim": 0}, ((3, 1), (1, 2))),
        Example(
            {"eps": 2.0},
            (Draw((2, 3), high=0.25), (2, 3)),
            convention=True,
            note="norms below eps: torch differentiates as if they were not replaced",
        ),
    )

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim, self.eps = dim, eps

    def forward(self, x1: Array, x2: Array) -> tuple[Array, CosineCache]:  # type: ignore[override]
        shape = fitted("CosineSimilarity", x1, x2, self.dim)
        shapes = tuple(x1.shape), tuple(x2.shape)
        x1, x2 = np.broadcast_to(x1, shape), np.broadcast_to(x2, shape)
        n1, n2 = (np.sqrt((x * x).sum(axis=self.dim, keepdims=True)) for x in (x1, x2))
        m1, m2 = np.maximum(n1, self.eps), np.maximum(n2, self.eps)
        u1, u2 = x1 / m1, x2 / m2
        y = (u1 * u2).sum(axis=self.dim, keepdims=True)
        units = x1 / nonzero(n1), x2 / nonzero(n2)
        return np.squeeze(y, axis=self.dim), CosineCache(units, (u1, u2), (m1, m2), y, shapes)

    def backward(self, grad_output: Array, cache: CosineCache) -> tuple[Pair, Arrays]:
        r"""Chain rule through y = Σ u v with u = x₁ / m, m = max(‖x₁‖, ε), and v as well of x₂.

        Shapes: x₁, x₂, u, v (…, D, …), m (…, 1, …), y and dy (…).
        du_j = dy v_j,   u_j = x_j / m,   ∂m/∂x_j = x_j / ‖x‖
        dx_j = du_j / m - Σ_i du_i x_i / m² · x_j / ‖x‖ = dy (v_j - y x_j / ‖x‖) / m
        What was broadcast is summed.
        Torch: nn.CosineSimilarity, which replaces a norm below ε behind autograd's back: there
            ∂m/∂x is kept though m is constant, and this follows it. At x = 0 it is 0.
        Source: the quotient rule; Singhal, Modern Information Retrieval (2001), for its use.
        """
        dy = np.expand_dims(grad_output, self.dim)
        found = [
            summed_to(dy * (other - cache.cosine * unit) / norm, shape)
            for other, unit, norm, shape in zip(
                cache.scaled[::-1], cache.units, cache.norms, cache.shapes, strict=True
            )
        ]
        return (found[0], found[1]), {}

    def extra_repr(self) -> str:
        return f"dim={self.dim}, eps={self.eps}"


class Distance(NamedTuple):
    """The p-norms of differences along the last axis, and their slopes by each difference."""

    d: Array  # (…, 1)
    slope: Array  # (…, D)


def p_norm(v: Array, p: float) -> Distance:
    """Return (Σ |v|^p)^(1/p) along the last axis, which is kept, and its slope by each element."""
    size = np.abs(v)
    if p == 0:
        return Distance(np.sign(size).sum(axis=-1, keepdims=True), 0 * v)
    if math.isinf(p):
        d = (size.max if p == math.inf else size.min)(axis=-1, keepdims=True)
        taken = np.where(size == d, np.sign(size), 0)
        return Distance(d, np.sign(v) * (taken / nonzero(taken.sum(axis=-1, keepdims=True))))
    with np.errstate(divide="ignore"):  # 0 to a power below 0 is infinite
        d = root((size**p).sum(axis=-1, keepdims=True), p)
    return Distance(d, np.sign(v) * np.sign(d) * (nonzero(size) / nonzero(d)) ** (p - 1))


def root(x: Array, degree: float) -> Array:
    """Return x^(1 / degree), 1 / degree not rounded; 0 stays 0."""
    if degree in (1, 2):
        return x ** (1 / degree)
    return np.exp(np.log(nonzero(x)) / degree) * np.sign(x)


class DistanceCache(NamedTuple):
    slope: Array
    shapes: tuple[Shape, Shape]


GIVEN = "where d[n,i] = a[n,i] - b[n,i] + eps"
NORM = f"where D[n] = sum(i, abs(d[n,i])**p)**(1 / p)\n{GIVEN}"
LARGEST = f"where D[n] = largest(i, abs(d[n,i]))\n{GIVEN}"
SMALLEST = f"where D[n] = -largest(i, -abs(d[n,i]))\n{GIVEN}"
POWERS = "dy[n] * sign(d[n,i]) * (abs(d[n,i]) / D[n])**(p - 1)"
TIES = "dy[n] * sign(d[n,i]) * {0} / sum(j, {1})"
TOP = TIES.format("(abs(d[n,i]) >= D[n])", "(abs(d[n,j]) >= D[n])")
LOW = TIES.format("(abs(d[n,i]) <= D[n])", "(abs(d[n,j]) <= D[n])")


def signed(sign: str) -> dict[str, str]:
    """Return the equations of an input's gradient, that of the second one negated."""
    rules = {"": (POWERS, NORM), "/p = inf": (TOP, LARGEST), "/p = -inf": (LOW, SMALLEST)}
    kept = POWERS.replace("dy[n]", "dy[n,0]")
    rules["/keepdim"] = (kept, NORM)
    return {key: f"dx[n,i] = {sign}{right}\n{where}" for key, (right, where) in rules.items()}


class PairwiseDistance(Layer):
    """Distance between rows: the p-norm of x₁ - x₂ + eps along the last axis.

    Args:
        p: of the norm, not 0; infinity for the largest difference, minus infinity for the smallest.
        eps: ε, added to every difference (not to their norm), so that equal rows have a slope.
        keepdim: whether the last axis stays, 1 long.

    Raises:
        ValueError: p is 0 (which counts, and has no gradient), or the inputs do not broadcast.
    """

    equations = {
        "output": f"y[n] = D[n]\n{NORM}",
        "output/p = inf": f"y[n] = D[n]\n{LARGEST}",
        "output/p = -inf": f"y[n] = D[n]\n{SMALLEST}",
        "output/keepdim": f"y[n,k] = D[n]\n{NORM}",
        **{f"grad_x1{key}": text for key, text in signed("").items()},
        **{f"grad_x2{key}": text for key, text in signed("-").items()},
    }
    symbols = {"a": "x1", "b": "x2"}
    examples = (
        Example({}, ((2, 3), (2, 3))),
        Example({"p": 1.0, "eps": 0.5}, ((2, 3), (2, 3))),
        *(Example({"p": p, "eps": 0.0}, ((2, 3), (2, 3))) for p in (0.5, 3.0, math.inf, -math.inf)),
        Example({"keepdim": True}, ((2, 3), (2, 3))),
        Example({}, ((), ())),
        Example({}, ((2, 1), (3,))),
    )

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        if p == 0:
            raise ValueError(
                "PairwiseDistance: p must not be 0, received 0: it counts the elements that "
                "differ, and no gradient flows through a count."
            )
        self.p, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Array, x2: Array) -> tuple[Array, DistanceCache]:  # type: ignore[override]
        """Return (Σ |x₁ - x₂ + ε|^p)^(1/p)."""
        shape = fitted("PairwiseDistance", x1, x2, -1)
        d, slope = p_norm(np.broadcast_to(x1 - x2, shape) + self.eps, self.p)
        y = d if self.keepdim else np.squeeze(d, axis=-1)
        return y, DistanceCache(slope, (tuple(x1.shape), tuple(x2.shape)))

    def backward(self, grad_output: Array, cache: DistanceCache) -> tuple[Pair, Arrays]:
        r"""Chain rule through y = D = (Σ_i |d_i|^p)^(1/p) with d = x₁ - x₂ + ε, row by row.

        Shapes: x₁, x₂, d (…, n), D (…, 1), y and dy (…) or (…, 1).
        ∂D/∂d_i = 1/p (Σ |d|^p)^(1/p - 1) · p |d_i|^(p-1) sign d_i = sign d_i (|d_i| / D)^(p-1)
        p = ±∞: D = |d_k| for the largest or smallest; of m equals, each passes 1/m on
        dx₁ = dd,  dx₂ = -dd;  what was broadcast is summed.
        Torch: nn.PairwiseDistance: 0 where D = 0, and where d_i = 0 for p < 1.
        Source: Minkowski, Geometrie der Zahlen (1896), for the norm; the chain rule.
        """
        dy = grad_output if self.keepdim else np.expand_dims(grad_output, -1)
        dd = dy * cache.slope
        return (summed_to(dd, cache.shapes[0]), summed_to(-dd, cache.shapes[1])), {}

    def extra_repr(self) -> str:
        return f"p={self.p}, eps={self.eps}, keepdim={self.keepdim}"
