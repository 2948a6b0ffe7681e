"""Losses of distances: ContrastiveLoss of pairs, and a triplet's margin with any distance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from manual.distance import CosineSimilarity, PairwiseDistance
from manual.examples import Example
from manual.layer import Array, Arrays
from manual.losses.base import Loss, ones
from manual.losses.equations import TRIED, reduced

__all__ = ["ContrastiveLoss", "TripletMarginWithDistanceLoss"]


# ── pairs ────────────────────────────────────────────────────────────────────────────────────────
class ContrastiveCache(NamedTuple):
    difference: Array  # (N, D)
    distance: Array  # (N, 1), squared in the legacy version
    short: Array  # margin - distance, (N, 1)
    alike: Array  # y ≠ 0, (N, 1)


class ContrastiveLoss(Loss):
    """Pairs of rows: half of d² where they are alike, of max(margin - d, 0)² where they are not.

    Inputs are (N, D) with labels (N,), or (D,) with one: 0 for unlike, any other for alike.

    Args:
        margin: the distance from which unlike pairs cost nothing.
        legacy_version: whether it is max(margin - d², 0), as in Caffe's first version.
        reduction: "mean" over the pairs as Caffe has it, "sum", or "none".

    Raises:
        ValueError: shapes that do not fit.
        TypeError: labels that are not integers or booleans.
    """

    equations = {
        key: text
        for legacy, far, slope in (
            ("", "max(0, margin - d[n])**2", "-(margin > d[n]) * (margin - d[n]) * u[n,k] / d[n]"),
            ("legacy_version", "max(0, margin - d[n]**2)", "-(margin > d[n]**2) * u[n,k]"),
        )
        for key, text in reduced(
            "n",
            f"cases(abs(y[n]) > 0, d[n]**2, {far}) / 2",
            {
                "grad_input1": f"da[n,k] = cases(abs(y[n]) > 0, u[n,k], {slope})",
                "grad_input2": f"db[n,k] = -cases(abs(y[n]) > 0, u[n,k], {slope})",
            },
            "N",
            where="\nwhere d[n] = sqrt(sum(j, u[n,j]**2))\nwhere u[n,j] = a[n,j] - b[n,j]",
            variant=legacy,
        ).items()
    }
    symbols = {"a": "input1", "b": "input2", "y": "target", "N": "cache.short.size"}
    examples = (
        *(
            Example(
                {"margin": 2.0, "legacy_version": legacy, **reduction},
                ((5, 2), (5, 2), np.array([1, 0, 0, 1, 0])),
            )
            for legacy, reduction in zip((False, True, False), TRIED, strict=True)
        ),
        Example({"margin": 3.0}, ((2,), (2,), np.array(0))),
    )  # fmt: skip

    def __init__(
        self, margin: float = 1.0, legacy_version: bool = False, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.margin, self.legacy_version = margin, legacy_version

    def forward(
        self, input1: Array, input2: Array, target: Array
    ) -> tuple[Array, ContrastiveCache]:  # type: ignore[override]
        self._check(input1, input2, target)
        v = input1 - input2
        square = (v * v).sum(axis=-1, keepdims=True)  # (N, 1)
        distance = square if self.legacy_version else np.sqrt(square)
        alike = np.reshape(target != 0, square.shape)
        short = self.margin - distance
        far = np.maximum(short, 0)
        if not self.legacy_version:
            far = far * far
        loss = np.where(alike, square, far) * 0.5
        return self.of_rows(loss), ContrastiveCache(v, distance, short, alike)

    def backward(
        self, grad_output: Array, cache: ContrastiveCache
    ) -> tuple[tuple[Array, Array, None], Arrays]:
        r"""Chain rule through L = 1/2N Σ_n y_n d_n² + (1 - y_n) max(m - d_n, 0)², d = ‖a - b‖.

        Shapes: a, b, v = a - b (N, D), y, d (N,), L and dL one number, or (N,) without reduction.
        ∂d_n/∂v_nk = v_nk / d_n,   ∂d_n²/∂v_nk = 2 v_nk
        alike:      ∂L/∂v_nk = 1/N v_nk
        unlike:     ∂L/∂v_nk = -1/N max(m - d_n, 0) v_nk / d_n;   at d = 0, where the loss has a
                    peak, 0
        legacy:     ∂L/∂v_nk = -1/N [d_n² < m] v_nk
        ->  da = dL ∂L/∂v,  db = -da;   sum and none: without 1/N
        Caffe: ContrastiveLoss divides by d + 1e-4 instead of d. Torch has no such class.
        Source: Hadsell, Chopra and LeCun, Dimensionality Reduction by Learning an Invariant
            Mapping (2006), section 2.1.
        """
        v, distance, short, alike = cache
        if self.legacy_version:
            push = ones(short > 0, short)
        else:
            push = np.maximum(short, 0) / np.where(distance == 0, 1, distance)
        da = self.to_rows(grad_output, short.size) * np.where(alike, 1, -push) * v
        return (da, -da, None), {}

    def decisions(self, cache: ContrastiveCache) -> Array:
        """Return which pairs are nearer than the margin."""
        return cache.short > 0

    def _check(self, input1: Array, input2: Array, target: Array) -> None:
        self.check_not_empty(input1)
        shapes = tuple(input1.shape), tuple(input2.shape), tuple(target.shape)
        if input1.ndim not in (1, 2) or shapes[0] != shapes[1] or shapes[2] != shapes[0][:-1]:
            raise ValueError(
                "ContrastiveLoss: both inputs must be (N, D) with labels (N,), or (D,) with one "
                f"label, received {shapes[0]}, {shapes[1]} and {shapes[2]}."
            )
        if target.dtype.kind not in "biu":
            raise TypeError(
                "ContrastiveLoss: labels must be 1 (alike) and 0 (unlike), of an integer or "
                f"boolean dtype, received {target.dtype}. Pass target.astype('int64')."
            )

    def extra_repr(self) -> str:
        legacy = ", legacy_version=True" if self.legacy_version else ""
        return f"margin={self.margin}{legacy}, {super().extra_repr()}"


# ── triples ──────────────────────────────────────────────────────────────────────────────────────
class TripletCache(NamedTuple):
    near: Any  # what each distance left: from anchor to positive
    far: Any  # from anchor to negative
    across: Any  # from positive to negative, with swap
    share: Any  # how much of the smaller distance is from the anchor: 1, 0, or ½ of equal ones
    short: Array  # margin + near - the smaller of far and across


PAIRS = (("a", "b"), ("a", "c"), ("b", "c"))
NAMES = (
    tuple("dsru"),
    tuple("etpv"),
    tuple("fzhw"),
)  # of a pair's distance, of its slopes by the two, and of its inner
DISTANCES = {
    "Euclidean": (
        "sqrt(sum(k, {u}[n,k]**2))", "{u}[n,k] / {d}[n]", "-{u}[n,k] / {d}[n]",
        "\nwhere {u}[n,k] = {x}[n,k] - {y}[n,k] + eps",
    ),
    "cosine": (
        "sum(k, {x}[n,k] * {y}[n,k]) / ({X}[n] * {Y}[n])",
        "({y}[n,k] / {Y}[n] - {d}[n] * {x}[n,k] / {X}[n]) / {X}[n]",
        "({x}[n,k] / {X}[n] - {d}[n] * {y}[n,k] / {Y}[n]) / {Y}[n]",
        "",
    ),
}  # fmt: skip


def _distances(name: str) -> str:
    """Return the definitions of the three distances and of their slopes."""
    value, by_first, by_second, inner = DISTANCES[name]
    found = ""
    for (x, y), (d, s, r, u) in zip(PAIRS, NAMES, strict=True):
        text = f"\nwhere {s}[n,k] = {by_first}\nwhere {r}[n,k] = {by_second}"
        text += f"\nwhere {d}[n] = {value}{inner}"
        found += text.format(d=d, u=u, x=x, y=y, X=x.upper(), Y=y.upper())
    if name == "cosine":
        found += "".join(f"\nwhere {x.upper()}[n] = sqrt(sum(k, {x}[n,k]**2))" for x in "abc")
    return found


def _equations() -> Iterator[tuple[str, str]]:
    for name in DISTANCES:
        for swap, far, share in (
            ("", "e[n]", "1"), ("swap", "min(e[n], f[n])", "((e[n] < f[n]) + (e[n] <= f[n])) / 2"),
        ):  # fmt: skip
            where = f"\nwhere g[n] = (margin + d[n] - {far} >= 0)\nwhere q[n] = {share}"
            yield from reduced(
                "n",
                f"max(0, margin + d[n] - {far})",
                {
                    "grad_anchor": "da[n,k] = g[n] * (s[n,k] - q[n] * t[n,k])",
                    "grad_positive": "db[n,k] = g[n] * (r[n,k] - (1 - q[n]) * z[n,k])",
                    "grad_negative": "dc[n,k] = -g[n] * (q[n] * p[n,k] + (1 - q[n]) * h[n,k])",
                },
                "N",
                where=where + _distances(name),
                variant=", ".join(filter(None, (name, swap))),
            ).items()


class TripletMarginWithDistanceLoss(Loss):
    """Hinge of any distance: max(0, margin + d(anchor, positive) - d(anchor, negative)).

    Args:
        distance_function: a hand-written layer of two inputs and no parameters; None is
            PairwiseDistance().
        margin: by how much the negative must be farther away, above 0.
        swap: whether the distance from positive to negative counts where it is the smaller one.
        reduction: "mean" over all distances, "sum", or "none".

    Raises:
        TypeError: a distance that has no hand-written backward.
        ValueError: margin is not positive; inputs of different numbers of axes.
    """

    equations = dict(_equations())
    symbols = {
        "a": "anchor", "b": "positive", "c": "negative", "N": "cache.short.size",
        "eps": "distance_function.eps",
    }  # fmt: skip
    examples = (
        Example({}, ((3, 2), (3, 2), (3, 2))),
        Example({"swap": True, "margin": 2.5, "reduction": "none"}, ((4, 2), (4, 2), (4, 2))),
        Example(
            {"distance_function": CosineSimilarity(dim=-1), "swap": True, "reduction": "sum"},
            ((3, 2), (3, 2), (3, 2)),
        ),
    )

    def __init__(
        self,
        *,
        distance_function: Any = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        if not margin > 0:
            raise ValueError(
                f"TripletMarginWithDistanceLoss: margin must be above 0, received {margin}."
            )
        distance = PairwiseDistance() if distance_function is None else distance_function
        if not hasattr(distance, "grad_params") or distance.params or distance.stochastic:
            raise TypeError(
                "TripletMarginWithDistanceLoss: distance_function must be a hand-written layer "
                "without parameters, whose backward is known, as PairwiseDistance(p=1.0) or "
                f"CosineSimilarity(), received {distance!r}."
            )
        self.distance_function, self.margin, self.swap = distance, margin, swap

    def forward(
        self, anchor: Array, positive: Array, negative: Array
    ) -> tuple[Array, TripletCache]:  # type: ignore[override]
        shapes = tuple(anchor.shape), tuple(positive.shape), tuple(negative.shape)
        if len(set(map(len, shapes))) > 1:
            raise ValueError(
                "TripletMarginWithDistanceLoss: anchor, positive and negative must have the same "
                f"number of axes, received {shapes[0]}, {shapes[1]} and {shapes[2]}."
            )
        self.check_broadcast(anchor=anchor, positive=positive, negative=negative)
        distance = self.distance_function.forward
        near, of_near = distance(anchor, positive)
        least, of_far = distance(anchor, negative)
        across, share = None, 1.0
        if self.swap:
            third, across = distance(positive, negative)
            share = 0.5 + 0.5 * np.sign(third - least)
            least = np.minimum(least, third)
        short = self.margin + near - least
        cache = TripletCache(of_near, of_far, across, share, short)
        return self.averaged(np.maximum(short, 0)), cache

    def backward(
        self, grad_output: Array, cache: TripletCache
    ) -> tuple[tuple[Array, Array, Array], Arrays]:
        r"""Chain rule through L = 1/N Σ_n max(0, s_n), s = margin + d(a, b) - d(a, c).

        Shapes: a, b, c as the distance takes them, d, s (N,), L and dL one number, or (N,).
        g_n = 1/N [s_n ≥ 0] is what reaches d(a, b), and -g_n what reaches d(a, c); from there on
        the distance's own backward knows the way:
            da = d′₁(g; a, b) + d′₁(-g; a, c),   db = d′₂(g; a, b),   dc = d′₂(-g; a, c)
        swap: of d(a, c) and d(b, c) the smaller is taken, and has all of -g; of equals, each half.
        At s = 0 exactly torch's clamp_min has slope 1, and so has this. Sum and none: without 1/N.
        Torch: nn.TripletMarginWithDistanceLoss.
        Source: Balntas et al., Learning local feature descriptors with triplets and shallow
            convolutional neural networks (2016).
        """
        g = self.reduced(grad_output, cache.short.size) * (cache.short >= 0)  # (N,)
        back = self.distance_function.backward
        (da, db), _ = back(g, cache.near)
        (more, dc), _ = back(-g * cache.share, cache.far)
        if cache.across is not None:
            (of_b, of_c), _ = back(-g * (1.0 - cache.share), cache.across)
            db, dc = db + of_b, dc + of_c
        return (da + more, db, dc), {}

    def decisions(self, cache: TripletCache) -> Array:
        """Return 1 where the margin is not kept, and 2 more where the distance was swapped."""
        return (cache.short >= 0) + 2 * (cache.share < 0.5)

    def variants(self, cache: TripletCache) -> tuple[str, ...]:
        """Return the distance, if it is one that the equations are of."""
        distance = self.distance_function
        kind = type(distance).__name__
        if kind == "CosineSimilarity":
            return ("cosine",)
        return ("Euclidean",) if kind == "PairwiseDistance" and distance.p == 2 else ()

    def extra_repr(self) -> str:
        return (
            f"distance_function={self.distance_function!r}, margin={self.margin}, "
            f"swap={self.swap}, {super().extra_repr()}"
        )
