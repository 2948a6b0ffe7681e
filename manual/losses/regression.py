"""Losses of real numbers, element by element: a residual d = ŷ - y, and a function of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.layer import Array, Arrays
from manual.losses.base import Loss
from manual.losses.equations import TRIED, reduced

__all__ = ["HuberLoss", "L1Loss", "MSELoss", "SmoothL1Loss", "SquaredErrorLoss"]


RESIDUAL = {"yhat": "input", "y": "target", "M": "input.size"}
NUMBERS = Draw((4, 4), high=1.5)


def _examples(
    settings: Mapping[str, Any] = {}, kinks: Mapping[str, Mapping[str, Any]] = {}
) -> Iterator[Example]:
    for reduction in TRIED:
        arguments = {**settings, **reduction}
        yield Example(arguments, (NUMBERS, NUMBERS), kinks, exact=True)
    if not settings:
        yield Example({}, ((2, 2, 2), (2, 2, 2)), exact=True)
        yield Example({}, ((), ()), exact=True)


Pair = tuple[Array, Array]  # gradients of the input and of the target


class Residual(NamedTuple):
    d: Array


class MSELoss(Loss):
    """Mean squared error: the mean of (ŷ - y)² over all elements.

    Args:
        reduction: "mean" over every element of the batch, "sum", or "none".
    """

    equations = reduced(
        "i",
        "(yhat[i] - y[i])**2",
        {
            "grad_input": "dyhat[i] = 2 * (yhat[i] - y[i])",
            "grad_target": "dtarget[i] = -2 * (yhat[i] - y[i])",
        },
        "M",
    )
    symbols = RESIDUAL
    examples = tuple(_examples())

    def forward(self, input: Array, target: Array) -> tuple[Array, Residual]:  # type: ignore[override]
        self.check_alike(input, target)
        d = input - target
        return self.averaged(d * d), Residual(d)

    def backward(self, grad_output: Array, cache: Residual) -> tuple[Pair, Arrays]:
        r"""Chain rule through L = 1/M Σ_i d_i² with d = ŷ - y, over all M elements.

        Shapes: ŷ, y, d (any), L and dL one number, or like d without reduction.
        ∂L/∂ŷ_i = 1/M · 2 d_i · ∂d_i/∂ŷ_i = 2/M d_i   ->   dŷ = dL 2/M (ŷ - y)
        sum and none: without 1/M;   ∂d_i/∂y_i = -1   ->   dy = -dŷ
        Torch: nn.MSELoss; M counts elements, not samples.
        Source: CS231n lecture 4, the 20-line network: dŷ = 2 (ŷ - y).
        """
        dx = self.reduced(2 * grad_output, cache.d.size) * cache.d
        return (dx, -dx), {}


class SquaredErrorLoss(Loss):
    """Squared error: factor · Σ (ŷ - y)², the sum of all elements, or its mean over samples.

    Args:
        factor: 1 gives Σ (ŷ - y)²; 0.5 gives ½ Σ (ŷ - y)², whose gradient is ŷ - y.
        reduction: "sum", "none", or "mean" over the N samples of the first axis (not over
            elements): with factor 0.5 that is Nielsen's C = 1/(2N) Σ_x ‖y - a‖².
    """

    equations = reduced(
        "i",
        "c * (yhat[i] - y[i])**2",
        {
            "grad_input": "dyhat[i] = 2 * c * (yhat[i] - y[i])",
            "grad_target": "dtarget[i] = -2 * c * (yhat[i] - y[i])",
        },
        "N",
    )
    symbols = RESIDUAL | {"c": "factor", "N": "input.shape.0"}
    examples = (
        *_examples(),
        *(e for f in (1.0, 0.5, 0.75) for e in _examples({"factor": f, "reduction": "mean"})),
        Example({"reduction": "mean"}, ((), ())),
    )

    def __init__(self, factor: float = 1.0, reduction: str = "sum") -> None:
        super().__init__(reduction)
        self.factor = factor

    def forward(self, input: Array, target: Array) -> tuple[Array, Residual]:  # type: ignore[override]
        self.check_alike(input, target)
        d = input - target
        return self.reduced(self.factor * self.summed(d * d), _samples(d)), Residual(d)

    def backward(self, grad_output: Array, cache: Residual) -> tuple[Pair, Arrays]:
        r"""Chain rule through L = c Σ_nk d_nk² with d = ŷ - y and the factor c.

        Shapes: ŷ, y, d (N, K), L and dL one number, or like d without reduction.
        ∂L/∂ŷ_nk = c · 2 d_nk   ->   dŷ = dL 2c (ŷ - y);   mean: divided by N;   dy = -dŷ
        Torch has no such loss: nn.MSELoss divides by all N·K elements.
        Source: Nielsen, Neural Networks and Deep Learning, ch. 2 (½ mean over samples);
            CS231n lecture 4 (Σ, and the 3-4-4-2 network's ½ Σ).
        """
        dx = self.reduced(2 * self.factor * grad_output, _samples(cache.d)) * cache.d
        return (dx, -dx), {}

    def extra_repr(self) -> str:
        return f"factor={self.factor}, reduction={self.reduction!r}"


class L1Loss(Loss):
    """Mean absolute error: the mean of |ŷ - y| over all elements.

    Args:
        reduction: "mean" over every element of the batch, "sum", or "none".
    """

    equations = reduced(
        "i",
        "abs(yhat[i] - y[i])",
        {
            "grad_input": "dyhat[i] = sign(yhat[i] - y[i])",
            "grad_target": "dtarget[i] = -sign(yhat[i] - y[i])",
        },
        "M",
    )
    symbols = RESIDUAL
    examples = tuple(_examples(kinks={"ŷ = y": {"input": 0.5, "target": 0.5}}))

    def forward(self, input: Array, target: Array) -> tuple[Array, Residual]:  # type: ignore[override]
        self.check_alike(input, target)
        d = input - target
        return self.averaged(np.abs(d)), Residual(d)

    def backward(self, grad_output: Array, cache: Residual) -> tuple[Pair, Arrays]:
        r"""Chain rule through L = 1/M Σ_i |d_i| with d = ŷ - y, over all M elements.

        Shapes: ŷ, y, d (any), L and dL one number, or like d without reduction.
        ∂|d|/∂d = sign(d)   ->   dŷ = dL 1/M sign(ŷ - y),   dy = -dŷ;   sum and none: without 1/M
        At d = 0 every slope in [-1, 1] is a subgradient; torch takes 0, and so does this.
        Torch: nn.L1Loss.
        Source: Boyd and Vandenberghe, Convex Optimization, §6.1.2.
        """
        dx = self.reduced(grad_output, cache.d.size) * np.sign(cache.d)
        return (dx, -dx), {}

    def decisions(self, cache: Residual) -> Array:
        """Return the sign of every residual."""
        return np.sign(cache.d)


class HuberCache(NamedTuple):
    d: Array
    slope: Array  # of the loss


class _Bent(Loss):
    """A parabola of d = ŷ - y up to a border, and from there on its tangent."""

    border: float

    @staticmethod
    def slope(d: Array, c: Array, border: float) -> Array:
        """Return the slope at d, which is c when held within ± the border."""
        raise NotImplementedError

    def forward(self, input: Array, target: Array) -> tuple[Array, HuberCache]:  # type: ignore[override]
        """Return the reduction of h′ (d - ½c), with c the residual d held within ± the border.

        Inside, c = d gives ½ h′ d; outside, c = ± the border b gives |h′| (|d| - ½b).
        """
        self.check_alike(input, target)
        d = input - target
        c = np.clip(d, -self.border, self.border)
        slope = self.slope(d, c, self.border)
        return self.averaged(slope * (d - 0.5 * c)), HuberCache(d, slope)

    def backward(self, grad_output: Array, cache: HuberCache) -> tuple[Pair, Arrays]:
        r"""Chain rule through L = 1/M Σ_i h(d_i) with d = ŷ - y, over all M elements.

        Shapes: ŷ, y, d (any), L and dL one number, or like d without reduction.
        HuberLoss, with c = clip(d, -δ, δ):
            h(d) = ½d²           for |d| ≤ δ:  h′ = d
            h(d) = δ (|d| - ½δ)  for |d| > δ:  h′ = δ sign(d)     both:  h′ = c
        SmoothL1Loss, with c = clip(d, -β, β): the same divided by β
            h(d) = ½d²/β         for |d| < β:  h′ = d/β
            h(d) = |d| - ½β      for |d| ≥ β:  h′ = sign(d)       both:  h′ = c/β
            β = 0:  h(d) = |d|,  h′ = sign(d), and 0 at d = 0
        Both pieces have one value and slope where they meet.
        ->  dŷ = dL 1/M h′(ŷ - y);   the target stands in d with a minus:  dy = -dŷ
        sum and none: without 1/M
        Torch: nn.HuberLoss, nn.SmoothL1Loss.
        Source: Huber, Robust Estimation of a Location Parameter (1964); Girshick, Fast R-CNN
            (2015), §2.3.
        """
        dx = self.reduced(grad_output, cache.slope.size) * cache.slope
        return (dx, -dx), {}

    def decisions(self, cache: HuberCache) -> Array:
        """Return the piece of every residual: -1 below the parabola, 0 on it, 1 above."""
        d = cache.d
        return np.where(d > self.border, 1, np.where(d < -self.border, -1, 0))


BENT = {"grad_input": "dyhat[i] = {}", "grad_target": "dtarget[i] = -{}"}
HELD = "\nwhere c[i] = max(min(d[i], {0}), -{0})\nwhere d[i] = yhat[i] - y[i]"


def _bent_examples(name: str, *borders: float) -> Iterator[Example]:
    for border in borders:
        settings = {} if border == 1 else {name: border}
        kinks = {f"|ŷ - y| = {border}": {"input": border - 0.25, "target": -0.25}}
        yield from _examples(settings, kinks)


class HuberLoss(_Bent):
    """Huber's loss: ½d² for residuals up to δ, and from there on the straight line δ(|d| - ½δ).

    Args:
        reduction: "mean" over every element of the batch, "sum", or "none".
        delta: δ > 0, where the parabola turns into its tangent.

    Raises:
        ValueError: delta is not positive.
    """

    equations = reduced(
        "i",
        "c[i] * (d[i] - c[i] / 2)",
        {role: slope.format("c[i]") for role, slope in BENT.items()},
        "M",
        where=HELD.format("delta"),
    )
    symbols = RESIDUAL
    examples = tuple(_bent_examples("delta", 1.0, 0.5, 2.5))

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not delta > 0:
            raise ValueError(
                f"HuberLoss: delta must be positive, received {delta}. It is the residual at which "
                "the parabola turns into a line."
            )
        self.delta = self.border = delta

    @staticmethod
    def slope(d: Array, c: Array, border: float) -> Array:
        return c

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}, delta={self.delta}"


class SmoothL1Loss(_Bent):
    """The absolute error, rounded off below β: |d| - ½β, and ½d²/β for residuals up to β.

    That is Huber's loss divided by δ; β = 0 is L1Loss.

    Args:
        reduction: "mean" over every element of the batch, "sum", or "none".
        beta: β ≥ 0, where the line turns into a parabola.

    Raises:
        ValueError: beta is negative.
    """

    equations = {
        **reduced(
            "i",
            "c[i] * (d[i] - c[i] / 2) / beta",
            {role: slope.format("c[i] / beta") for role, slope in BENT.items()},
            "M",
            where=HELD.format("beta"),
        ),
        **reduced(
            "i",
            "abs(yhat[i] - y[i])",
            {role: slope.format("sign(yhat[i] - y[i])") for role, slope in BENT.items()},
            "M",
            variant="beta = 0",
        ),
    }
    symbols = RESIDUAL
    examples = tuple(_bent_examples("beta", 1.0, 0.5, 0.0))

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        if not beta >= 0:
            raise ValueError(
                f"SmoothL1Loss: beta must be 0 or more, received {beta}. It is the residual at "
                "which the line turns into a parabola."
            )
        self.beta = self.border = beta

    @staticmethod
    def slope(d: Array, c: Array, border: float) -> Array:
        return c / border if border else np.sign(d)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}, beta={self.beta}"


def _samples(d: Array) -> int:
    """Return the length of the first axis; a single number is one sample."""
    return d.shape[0] if d.ndim else 1
