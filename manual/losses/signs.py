"""Losses of targets that are signs: which class, which of two is the larger, alike or not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.layer import Array, Arrays
from manual.losses.base import Loss, Shape, ones, stretched, zero
from manual.losses.binary import logistic, probability
from manual.losses.equations import TRIED, reduced

__all__ = ["HingeEmbeddingLoss", "MarginRankingLoss", "SoftMarginLoss"]

SIGNS = np.array([[1, -1, 1, 1], [-1, 1, -1, 1], [-1, -1, 1, -1]])
SHAPE = SIGNS.shape
MET = {"the margin met exactly": {"input1": SIGNS / 2, "input2": -SIGNS / 2}}  # a margin of 1


# ── which class ──────────────────────────────────────────────────────────────────────────────────
class SoftMarginCache(NamedTuple):
    z: Array  # y x
    e: Array  # exp(-|z|)
    y: Array  # in x's dtype


class SoftMarginLoss(Loss):
    """Logistic loss of signs: log(1 + e^(-y x)) of a score x and its sign y, 1 or -1.

    The target is stretched to the input's shape, as torch does, and has no gradient.

    Args:
        reduction: "mean" over every element, "sum", or "none".
    """

    equations = reduced(
        "i",
        "log(1 + exp(-y[i] * x[i]))",
        {"grad_input": "dx[i] = -y[i] * sigma(-y[i] * x[i])"},
        "M",
    )
    symbols = {"x": "input", "y": "cache.y", "M": "input.size"}
    examples = (
        *(Example(reduction, (Draw(SHAPE, high=2), SIGNS)) for reduction in TRIED),
        Example({}, ((3, 4), np.array([1, -1, -1, 1]))),
    )

    def forward(self, input: Array, target: Array) -> tuple[Array, SoftMarginCache]:  # type: ignore[override]
        shape = self.check_broadcast(input=input, target=target)
        if shape != input.shape:
            raise ValueError(
                f"SoftMarginLoss: the target must broadcast to the input's shape "
                f"{tuple(input.shape)}, received {tuple(target.shape)}."
            )
        y = self.numbers(input, target)
        z = y * input
        e, softplus = logistic(z)
        return self.averaged(softplus), SoftMarginCache(z, e, y)

    def backward(
        self, grad_output: Array, cache: SoftMarginCache
    ) -> tuple[tuple[Array, None], Arrays]:
        r"""Chain rule through L = 1/M Σ_i log(1 + e^(-y_i x_i)).

        Shapes: x, y (any, M elements), L and dL one number, or like x without reduction.
        ∂L/∂x_i = 1/M · -y_i e^(-z_i) / (1 + e^(-z_i)),  z = y x   ->   dx = -dL/M y σ(-z)
        sum and none: without 1/M
        Torch: nn.SoftMarginLoss; there e^(-z) overflows (value inf, gradient nan) where z is below
        about -709, or -88 in float32. This is written so that it does not.
        Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, §10.5.
        """
        z, e, y = cache
        slope = -y * probability(-z, e)
        return (self.reduced(grad_output, z.size) * slope, None), {}


# ── alike or not ─────────────────────────────────────────────────────────────────────────────────
class HingeEmbeddingCache(NamedTuple):
    room: Array  # margin - x
    y: Array
    shape: Shape  # of the losses
    size: int


class HingeEmbeddingLoss(Loss):
    """Hinge of distances: x of what is alike (y = 1), max(0, margin - x) of what is not (y = -1).

    Input and target are stretched to one shape where they differ, as torch does; a target that is
    neither 1 nor -1 counts as both. Its gradient is 0.

    Args:
        margin: the distance that unlike ones must have.
        reduction: "mean" over every element, "sum", or "none".
    """

    equations = reduced(
        "i",
        "((y[i] < 1) * max(0, margin - x[i]) + (y[i] > -1) * x[i])",
        {"grad_input": "dx[i] = ((y[i] > -1) - (y[i] < 1) * (margin - x[i] >= 0))"},
        "M",
    )
    symbols = {"x": "input", "y": "target", "M": "cache.size"}
    examples = (
        *(
            Example(
                {**margin, **reduction},
                (Draw(SHAPE, high=1.5), SIGNS * np.array([1, 1, 1, 0])),
                kinks={"the margin met exactly": {"input": margin.get("margin", 1.0)}},
            )
            for margin in ({}, {"margin": 0.5})
            for reduction in TRIED
        ),
        Example({}, ((3, 1), np.array([1, -1, 1, -1]))),
    )

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input: Array, target: Array) -> tuple[Array, HingeEmbeddingCache]:  # type: ignore[override]
        shape = self.check_broadcast(input=input, target=target)
        room = self.margin - input
        unlike = np.where(target != 1, np.maximum(room, 0), 0)
        loss = unlike + np.where(target != -1, input, 0)
        return self.averaged(loss), HingeEmbeddingCache(room, target, shape, loss.size)

    def backward(
        self, grad_output: Array, cache: HingeEmbeddingCache
    ) -> tuple[tuple[Array, Array | None], Arrays]:
        r"""Chain rule through L = 1/M Σ_i [y_i ≠ 1] max(0, m - x_i) + [y_i ≠ -1] x_i.

        Shapes: x, y (any, M elements), L and dL one number, or like x without reduction.
        ∂L/∂x_i = 1/M ([y_i ≠ -1] - [y_i ≠ 1] [m - x_i ≥ 0])   ->   dx, added up over what was
        stretched;   sum and none: without 1/M
        Where x is the margin exactly, torch's clamp_min has slope 1 (its relu: 0), and so has this.
        Torch: nn.HingeEmbeddingLoss.
        Source: Hadsell, Chopra and LeCun, Dimensionality Reduction by Learning an Invariant Mapping
            (2006), whose squared margin this is without the square.
        """
        room, y, shape, size = cache
        slope = (y != -1) - ones((y != 1) & (room >= 0), room)
        dl = self.reduced(grad_output, size)
        return (stretched(dl, slope, shape, room.shape), zero(y, y.shape)), {}

    def decisions(self, cache: HingeEmbeddingCache) -> Array:
        """Return which distances are within the margin."""
        return cache.room >= 0

    def extra_repr(self) -> str:
        return f"margin={self.margin}, {super().extra_repr()}"


# ── which of two ─────────────────────────────────────────────────────────────────────────────────
class RankingCache(NamedTuple):
    d: Array  # x1 - x2
    y: Array  # in the inputs' dtype
    short: Array  # the margin less y d
    shapes: tuple[Shape, Shape, Shape]
    shape: Shape  # of the losses
    signs: bool  # the target is of an integer dtype, and has no gradient


class MarginRankingLoss(Loss):
    """Hinge of two scores: max(0, margin - y (x1 - x2)), with y = 1 where x1 should be the larger.

    Inputs and target have one number of axes, and are stretched to one shape, as torch does.

    Args:
        margin: the lead that the larger one must have.
        reduction: "mean" over every element, "sum", or "none".
    """

    equations = reduced(
        "i",
        "max(0, margin - y[i] * (x1[i] - x2[i]))",
        {
            "grad_input1": "dx1[i] = -a[i] * y[i]",
            "grad_input2": "dx2[i] = a[i] * y[i]",
            "grad_target": "dtarget[i] = -a[i] * (x1[i] - x2[i])",
        },
        "M",
        where="\nwhere a[i] = (margin - y[i] * (x1[i] - x2[i]) >= 0)",
    )
    symbols = {"x1": "input1", "x2": "input2", "y": "target", "M": "cache.short.size"}
    examples = (
        *(
            Example(
                {**margin, **reduction},
                (SHAPE, SHAPE, SIGNS if margin else Draw(SHAPE, high=1.5)),
                kinks=MET if margin else {},
            )
            for margin in ({}, {"margin": 1.0})
            for reduction in TRIED
        ),
        Example({"margin": 0.25}, ((3, 1, 1), (1, 2, 1), (1, 1, 4))),
    )

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Array, input2: Array, target: Array) -> tuple[Array, RankingCache]:  # type: ignore[override]
        shapes = tuple(input1.shape), tuple(input2.shape), tuple(target.shape)
        if len(set(map(len, shapes))) > 1:
            raise ValueError(
                "MarginRankingLoss: inputs and target must have the same number of axes, received "
                f"{shapes[0]}, {shapes[1]} and {shapes[2]}."
            )
        shape = self.check_broadcast(input1=input1, input2=input2, target=target)
        d, y = input1 - input2, self.numbers(input1, target)
        short = self.margin - y * d
        cache = RankingCache(d, y, short, shapes, shape, target.dtype.kind in "biu")
        return self.averaged(np.maximum(short, 0)), cache

    def backward(
        self, grad_output: Array, cache: RankingCache
    ) -> tuple[tuple[Array, Array, Array | None], Arrays]:
        r"""Chain rule through L = 1/M Σ_i max(0, s_i), s = margin - y d, d = x1 - x2.

        Shapes: x1, x2, y (any, M elements), L and dL one number, or like x1 without reduction.
        With a_i = [s_i ≥ 0]:
            ∂L/∂x1_i = -1/M a_i y_i,   ∂L/∂x2_i = 1/M a_i y_i,   ∂L/∂y_i = -1/M a_i d_i
        added up over what was stretched;   sum and none: without 1/M
        At s = 0 exactly torch's clamp_min has slope 1 (its relu: 0), and so has this: with margin 0
        two equal scores are pushed apart.
        Torch: nn.MarginRankingLoss.
        Source: Herbrich, Graepel and Obermayer, Support Vector Learning for Ordinal Regression
            (1999).
        """
        d, y, short, (first, second, third), shape, signs = cache
        dl = self.reduced(grad_output, short.size)
        slope, of_target = np.where(short >= 0, y, 0), np.where(short >= 0, -d, 0)
        dx1 = stretched(dl, -slope, shape, first)
        dx2 = stretched(dl, slope, shape, second)
        return (dx1, dx2, None if signs else stretched(dl, of_target, shape, third)), {}

    def decisions(self, cache: RankingCache) -> Array:
        """Return which pairs fall short of the margin."""
        return cache.short >= 0

    def extra_repr(self) -> str:
        return f"margin={self.margin}, {super().extra_repr()}"
