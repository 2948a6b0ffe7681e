"""Losses that are negative log-likelihoods of real targets, and the divergence of distributions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.layer import Array, Arrays
from manual.losses.base import Loss, Shape, stretched
from manual.losses.equations import TRIED, reduced

__all__ = ["GaussianNLLLoss", "KLDivLoss", "PoissonNLLLoss"]


# ── counts ───────────────────────────────────────────────────────────────────────────────────────
class PoissonCache(NamedTuple):
    x: Array
    y: Array  # in x's dtype
    rate: Array  # λ
    shape: Shape  # of the losses
    size: int
    counts: bool  # the target is of an integer dtype, and has no gradient


def _poisson_equations() -> Iterator[tuple[str, str]]:
    for variant, loss, slope, log in (
        ("", "x[i] - y[i] * log(x[i] + eps)", "1 - y[i] / (x[i] + eps)", "log(x[i] + eps)"),
        ("log_input", "exp(x[i]) - y[i] * x[i]", "exp(x[i]) - y[i]", "x[i]"),
    ):
        for full, stirling, of_target in (
            ("", "", ""),
            (
                "full",
                " + (y[i] > 1) * (y[i] * log(y[i]) - y[i] + log(2 * pi * y[i]) / 2)",
                " + (y[i] > 1) * (log(y[i]) + 1 / (2 * y[i]))",
            ),
        ):
            yield from reduced(
                "i",
                f"({loss}{stirling})",
                {
                    "grad_input": f"dx[i] = ({slope})",
                    "grad_target": f"dtarget[i] = (-{log}{of_target})",
                },
                "M",
                variant=", ".join(filter(None, (variant, full))),
            ).items()


class PoissonNLLLoss(Loss):
    """Negative log-likelihood of counts: λ - y log λ of rates λ, given as they are or as log λ.

    Input and target are stretched to one shape where they differ, as torch does.

    Args:
        log_input: whether the input is x = log λ; otherwise it is λ.
        full: whether Stirling's approximation of log y! is added where y > 1.
        eps: added to λ within the logarithm, if the input is λ.
        reduction: "mean" over every element, "sum", or "none".
    """

    equations = dict(_poisson_equations())
    symbols = {"x": "log_input", "y": "target", "M": "cache.size"}
    examples = (
        *(
            Example({**full, **reduction}, (Draw((3, 4), high=1.5), Draw((3, 4), "uniform", 0, 3)))
            for full in ({}, {"full": True})
            for reduction in TRIED
        ),
        *(
            Example(
                {"log_input": False, **settings},
                (Draw((3, 4), "uniform", 0.25, 3), Draw((3, 4), "uniform", 0.25, 3)),
            )
            for settings in (
                {"eps": 0.125}, {"full": True, "reduction": "sum"},
                {"eps": 0.5, "full": True, "reduction": "none"},
            )
        ),
        Example({"full": True}, ((3, 1), np.array([0.5, 1.0, 3.0, 2.0])),
                convention=True, note="at y = 1 nothing is added yet"),
        Example({"log_input": False, "reduction": "none"},
                (Draw((3,), "uniform", 0.25, 3), np.array([[0], [2]]))),
    )  # fmt: skip

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-8,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, log_input: Array, target: Array) -> tuple[Array, PoissonCache]:  # type: ignore[override]
        """Return the reduction of λ - y log λ, of inputs that are log λ, or λ."""
        shape = self.check_broadcast(input=log_input, target=target)
        x, y = log_input, self.numbers(log_input, target)
        rate = np.exp(x) if self.log_input else x + self.eps
        loss = rate - y * x if self.log_input else x - y * np.log(rate)
        if self.full:
            loss = loss + np.where(y <= 1, 0, _stirling(_above_one(y)))
        cache = PoissonCache(x, y, rate, shape, loss.size, target.dtype.kind in "biu")
        return self.averaged(loss), cache

    def backward(
        self, grad_output: Array, cache: PoissonCache
    ) -> tuple[tuple[Array, Array | None], Arrays]:
        r"""Chain rule through L = 1/M Σ_i λ_i - y_i log λ_i (+ log y_i!).

        Shapes: x, y, λ (any, M elements), L and dL one number, or like λ without reduction.
        Log input, λ = e^x:   ∂L/∂x = 1/M (e^x - y)              ∂L/∂y = -1/M x
        Else, λ = x within the logarithm x + ε:
                              ∂L/∂x = 1/M (1 - y / (x + ε))      ∂L/∂y = -1/M log(x + ε)
        Full, where y > 1:    log y! ≈ y log y - y + ½ log 2πy,  whose slope is log y + 1/(2y)
        ->  dx = dL/M …,  dy = dL/M …, added up over what was stretched;  sum and none: without 1/M
        Torch: nn.PoissonNLLLoss; its target's gradient with `full` is nan where y ≤ 0 (0 · log y of
        a branch that is not taken); here the branch adds nothing.
        Source: Cameron and Trivedi, Regression Analysis of Count Data, §2; Stirling.
        """
        x, y, rate, shape, size, counts = cache
        log_rate = x if self.log_input else np.log(rate)
        slope = rate - y if self.log_input else 1 - y / rate
        of_target = -log_rate
        if self.full:
            safe = _above_one(y)
            of_target = of_target + np.where(y <= 1, 0, np.log(safe) + 0.5 / safe)
        dl = self.reduced(grad_output, size)
        dx = stretched(dl, slope, shape, x.shape)
        return (dx, None if counts else stretched(dl, of_target, shape, y.shape)), {}

    def decisions(self, cache: PoissonCache) -> Array:
        """Return where Stirling's approximation is added."""
        return (cache.y > 1) & self.full

    def extra_repr(self) -> str:
        return (
            f"log_input={self.log_input}, full={self.full}, eps={self.eps}, {super().extra_repr()}"
        )


def _above_one(y: Array) -> Array:
    """Return y where it is above 1, else 1, in y's own numbers."""
    return np.where(y > 1, y, 1 + 0 * y)


def _stirling(y: Array) -> Array:
    """Return y log y - y + ½ log 2πy, which log y! tends to."""
    return y * np.log(y) - y + 0.5 * np.log(2 * math.pi * y)


# ── real numbers ─────────────────────────────────────────────────────────────────────────────────
class GaussianCache(NamedTuple):
    d: Array  # residual
    var: Array  # clamped; stretches to d
    shapes: tuple[Shape, Shape, Shape]  # of input, target and var
    shape: Shape  # of the losses
    size: int
    whole: bool  # the target is of an integer dtype, and has no gradient


class GaussianNLLLoss(Loss):
    """Negative log-likelihood of real numbers with mean ŷ and variance v: ½ (log v + (ŷ - y)²/v).

    `var` has the input's shape, lacks its last axis, or has one axis of length 1 instead: one
    variance for all along it.

    Args:
        full: whether the constant ½ log 2π is added.
        eps: ε, below which a variance counts as ε.
        reduction: "mean" over every element, "sum", or "none".

    Raises:
        ValueError: a variance is negative, or `var` has another shape.
    """

    equations = {
        key: text
        for full, constant in (("", ""), ("full", " + log(2 * pi)"))
        for key, text in reduced(
            "i",
            f"(log(v[i]) + (yhat[i] - y[i])**2 / v[i]{constant}) / 2",
            {
                "grad_input": "dyhat[i] = (yhat[i] - y[i]) / v[i]",
                "grad_target": "dtarget[i] = -(yhat[i] - y[i]) / v[i]",
                "grad_var": "dvar[i] = (1 / v[i] - ((yhat[i] - y[i]) / v[i])**2) / 2",
            },
            "M",
            variant=full,
        ).items()
    }
    symbols = {"yhat": "input", "y": "target", "v": "cache.var", "M": "cache.size"}
    examples = (
        *(
            Example({**full, **reduction}, ((3, 4), (3, 4), Draw((3, 4), "uniform", 0.25, 3)))
            for full in ({}, {"full": True})
            for reduction in TRIED
        ),
        Example({}, ((2, 3), np.array([[1, 0, 2]]), Draw((2,), "uniform", 0.25, 3))),
        Example({"reduction": "none"}, ((2, 3), (1, 3), Draw((1, 3), "uniform", 0.25, 3))),
        Example({"reduction": "sum"}, ((3, 1), (4,), Draw((3,), "uniform", 0.25, 3))),
        Example(
            {"eps": 1.5},
            ((3, 4), (3, 4), Draw((3, 4), "uniform", 0.25, 3)),
            convention=True,
            note="torch passes the gradient of a variance on where it was clamped",
        ),
    )

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Array, target: Array, var: Array) -> tuple[Array, GaussianCache]:  # type: ignore[override]
        if isinstance(var, int | float):  # as torch takes one
            var = np.full_like(input, var)
        self._check(input, var)
        held = var.reshape(*var.shape, 1) if var.ndim < input.ndim else var
        held = np.maximum(held, self.eps + 0 * held)
        shape = self.check_broadcast(input=input, target=target)
        d = input - self.numbers(input, target)
        loss = 0.5 * (np.log(held) + d * d / held)
        if self.full:
            loss = loss + 0.5 * math.log(2 * math.pi)
        cache = GaussianCache(
            d, held, (input.shape, target.shape, var.shape), shape, loss.size,
            target.dtype.kind in "biu",
        )  # fmt: skip
        return self.averaged(loss), cache

    def backward(
        self, grad_output: Array, cache: GaussianCache
    ) -> tuple[tuple[Array, Array | None, Array], Arrays]:
        r"""Chain rule through L = 1/M Σ_i ½ (log v_i + d_i²/v_i) with d = ŷ - y.

        Shapes: ŷ, y, d, v (any, M elements), L and dL one number, or like d without reduction.
        ∂L/∂ŷ_i = 1/M d_i/v_i   ->   dŷ = dL/M d/v,   dy = -dŷ
        ∂L/∂v_i = 1/M ½ (1/v_i - d_i²/v_i²)   ->   dv = dL/M ½ (1/v - (d/v)²)
        added up over what was stretched;   sum and none: without 1/M
        Torch: nn.GaussianNLLLoss. A variance below ε counts as ε in both, and its gradient is
        passed on all the same, where the derivative would be 0: so it can grow again.
        Source: Nix and Weigend, Estimating the mean and variance of the target probability
            distribution (1994).
        """
        d, v, shapes, shape, size, whole = cache
        dl = self.reduced(grad_output, size)
        slope = d / v
        of_var = 0.5 * (1 / v - slope * slope)
        own, of_target, of_its = shapes
        dy = None if whole else stretched(dl, -slope, shape, of_target)
        dv = np.reshape(stretched(dl, of_var, shape, v.shape), of_its)
        return (stretched(dl, slope, shape, own), dy, dv), {}

    def _check(self, input: Array, var: Array) -> None:
        mine, its = tuple(input.shape), tuple(var.shape)
        unequal = [b for a, b in zip(mine, its, strict=False) if a != b]
        if its != mine[:-1] and (len(mine) != len(its) or unequal not in ([], [1])):
            raise ValueError(
                f"GaussianNLLLoss: var must have the input's shape {mine}, lack its last axis, or "
                f"have one axis of length 1 instead, received {its}."
            )
        if np.any(var < 0):
            raise ValueError(
                f"GaussianNLLLoss: every variance must be 0 or more, received {var.min()}. End its "
                "branch with Softplus, or predict log v and take its exponential."
            )

    def decisions(self, cache: GaussianCache) -> Array:
        """Return which variances are above ε."""
        return cache.var > self.eps

    def extra_repr(self) -> str:
        return f"full={self.full}, eps={self.eps}, {super().extra_repr()}"


# ── distributions ────────────────────────────────────────────────────────────────────────────────
class KLDivCache(NamedTuple):
    x: Array
    t: Array
    shape: Shape  # of the losses
    divisor: int


def _kl_equations() -> Iterator[tuple[str, str]]:
    for variant, loss, slope, of_target in (
        (
            "", "(cases(t[i] > 0, t[i] * log(t[i]), 0) - t[i] * x[i])", "-t[i]",
            "(log(t[i]) + 1 - x[i])",
        ),
        (
            "log_target", "exp(t[i]) * (t[i] - x[i])", "-exp(t[i])",
            "exp(t[i]) * (t[i] - x[i] + 1)",
        ),
    ):  # fmt: skip
        slopes = {"grad_input": f"dx[i] = {slope}", "grad_target": f"dtarget[i] = {of_target}"}
        yield from reduced("i", loss, slopes, "D", variant=variant).items()


class KLDivLoss(Loss):
    """Kullback-Leibler divergence t (log t - x) of a target t from log-probabilities x.

    Input and target are stretched to one shape where they differ, as torch does.

    Args:
        reduction: "mean" over every element, "batchmean" (the divergence of a mean sample: divided
            by the length of the first axis), "sum", or "none".
        log_target: whether the target, too, holds log-probabilities.

    Raises:
        TypeError: a target of an integer dtype.
    """

    reductions = ("mean", "batchmean", "sum", "none")
    equations = dict(_kl_equations())
    symbols = {"x": "input", "t": "target", "D": "cache.divisor"}
    examples = (
        *(
            Example({**settings, **reduction}, ((3, 4), target))
            for settings, target in (
                ({}, Draw((3, 4), "simplex")), ({"log_target": True}, Draw((3, 4))),
            )
            for reduction in (*TRIED, {"reduction": "batchmean"})
        ),
        Example({}, ((3, 1), Draw((4,), "simplex"))),
        Example({"log_target": True, "reduction": "batchmean"}, ((4,), (3, 1))),
        Example({"reduction": "batchmean"}, ((), Draw((), "uniform", 0.25, 1))),
    )  # fmt: skip

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Array, target: Array) -> tuple[Array, KLDivCache]:  # type: ignore[override]
        """Return the reduction of t log t - t x, where 0 log 0 = 0; negative t: nan."""
        shape = self.check_broadcast(input=input, target=target)
        self.check_dtype(input, target)
        x, t = input, target
        loss = np.exp(t) * (t - x) if self.log_target else t * _log(t) - t * x
        batch = x.shape[0] if x.ndim else 1
        divisor = batch if self.reduction == "batchmean" else loss.size
        return self.reduced(self.summed(loss), divisor), KLDivCache(x, t, shape, divisor)

    def backward(self, grad_output: Array, cache: KLDivCache) -> tuple[tuple[Array, Array], Arrays]:
        r"""Chain rule through L = 1/D Σ_i t_i (log t_i - x_i).

        Shapes: x, t (any, M elements), L and dL one number, or like x without reduction. D is M for
        the mean, the first axis's length for batchmean, else 1.
        ∂L/∂x_i = -1/D t_i                        ->   dx = -dL/D t
        ∂L/∂t_i = 1/D (log t_i + 1 - x_i)         ->   dt = dL/D (log t + 1 - x)
        Log target, t = e^s:
        ∂L/∂x_i = -1/D e^(s_i),   ∂L/∂s_i = 1/D e^(s_i) (s_i - x_i + 1)
        added up over what was stretched
        Torch: nn.KLDivLoss; there the target's gradient is nan at t = 0, here its limit -∞.
        Source: Kullback and Leibler, On Information and Sufficiency (1951).
        """
        x, t, shape, divisor = cache
        dl = self.reduced(grad_output, divisor)
        if self.log_target:
            p = np.exp(t)
            slope, of_target = -p, p * (t - x + 1)
        else:
            slope, of_target = -t, np.where(t == 0, -np.inf, _log(t)) + 1 - x
        dx = stretched(dl, slope, shape, x.shape)
        return (dx, stretched(dl, of_target, shape, t.shape)), {}

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, log_target={self.log_target}"


def _log(t: Array) -> Array:
    """Return log t, in place of infinity 0 where t = 0, and nan where it is negative."""
    return np.log(np.where(t == 0, 1, np.where(t < 0, np.nan, t)))
