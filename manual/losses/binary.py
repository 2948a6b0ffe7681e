"""Losses of yes-or-no targets: cross-entropy of probabilities, and of logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.layer import Array, Arrays
from manual.losses.base import Loss, Shape, constants, stretched
from manual.losses.equations import TRIED, reduced

__all__ = ["BCELoss", "BCEWithLogitsLoss", "MultiLabelSoftMarginLoss"]

LOWEST_LOG = -100.0  # torch's: the logarithms of BCELoss stop here
SMALLEST_SLOPE = float(np.float32(1e-12))  # torch's, a float32 constant in float64 too

ELEMENT = "w[i] * (-(q[i] * y[i] * log(sigma(x[i]))) - (1 - y[i]) * log(sigma(-x[i])))"
TARGET = "dtarget[i] = w[i] * (log(sigma(-x[i])) - q[i] * log(sigma(x[i])))"
WEIGHT = [0.5, 1.5, 2.0]  # one for each column of the examples
WEIGHTS = {"weight": WEIGHT, "pos_weight": [2.0, 0.25, 1.5]}
CLAMPED = "not where it clamps (log p < -100, p (1 - p) < 1e-12): torch's slope there is not this"
YES_OR_NO = Draw((4, 3), "uniform", 0, 1)


class BCECache(NamedTuple):
    p: Array
    target: Array
    weight: Array | None  # like p
    log_p: Array  # where p > 0
    log_1_p: Array  # log(1 - p), where p < 1


class BCELoss(Loss):
    """Binary cross-entropy of probabilities: the mean of -(y log p + (1 - y) log(1 - p)).

    Both logarithms stop at -100 as torch's do, so p = 0 and p = 1 give at most 100, not infinity.

    Args:
        weight: factor of each element's loss, broadcast to the input's shape; None means 1.
        reduction: "mean" over every element (whatever the weights), "sum", or "none".

    Raises:
        ValueError: a probability is outside [0, 1]. NaN passes through, as NaN.
    """

    equations = reduced(
        "i",
        "w[i] * (-(y[i] * max(log(p[i]), -100)) - (1 - y[i]) * max(log(1 - p[i]), -100))",
        {
            "grad_input": "dp[i] = w[i] * (p[i] - y[i]) / max(p[i] * (1 - p[i]), tiny)",
            "grad_target": "dtarget[i] = w[i] * (log(1 - p[i]) - log(p[i]))",
        },
        "M",
    )
    symbols = {
        "p": "input", "y": "target", "w": "cache.weight", "M": "input.size",
        "tiny": "smallest_slope",
    }  # fmt: skip
    smallest_slope = SMALLEST_SLOPE
    examples = tuple(
        Example(
            {**weight, **reduction},
            (Draw((4, 3), "uniform", 0.05, 0.95), YES_OR_NO),
            note=CLAMPED,
        )
        for weight in ({}, {"weight": WEIGHT})
        for reduction in TRIED
    )

    def __init__(self, weight: Sequence[float] | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight = constants(weight)

    def forward(self, input: Array, target: Array) -> tuple[Array, BCECache]:  # type: ignore[override]
        self.check_alike(input, target)
        _check_probabilities(input)
        p, y = input, target
        log_p = np.log(np.where(p <= 0, 1, p))
        log_1_p = np.log1p(np.where(p >= 1, 0, -p))  # log1p: exact for small p
        a, b = _clamped(log_p, p <= 0), _clamped(log_1_p, p >= 1)
        loss = (y * b - b) - y * a
        weight = _broadcast(self, "weight", self.weight, p)
        loss = loss if weight is None else weight * loss
        return self.reduced(self.summed(loss), p.size), BCECache(p, y, weight, log_p, log_1_p)

    def backward(self, grad_output: Array, cache: BCECache) -> tuple[tuple[Array, Array], Arrays]:
        r"""Chain rule through L = 1/M Σ_i -w_i (y_i log p_i + (1 - y_i) log(1 - p_i)).

        Shapes: p, y, w (any, M elements), L and dL one number, or like p without reduction.
        ∂L/∂p = w/M (-y/p + (1 - y)/(1 - p)) = w/M (p - y) / (p (1 - p))
        ->  dp = dL w/M (p - y) / (p (1 - p))
        After a sigmoid, σ′ = p (1 - p) cancels the denominator: the logit's gradient is p - y.
        Torch: nn.BCELoss. It keeps the denominator above 1e-12 (as float32 holds it), which also
        gives a slope where the clamped logarithm has none; so does this.
        The target:  ∂L/∂y = w/M (log(1 - p) - log p), where torch does not clamp: ±inf at 0 and 1
        sum and none: without 1/M
        Source: Nielsen, Neural Networks and Deep Learning, ch. 3.
        """
        p, y, weight, log_p, log_1_p = cache
        slope = (p - y) / np.maximum((1 - p) * p, SMALLEST_SLOPE)
        dy = np.where(p <= 0, np.inf, np.where(p >= 1, -np.inf, log_1_p - log_p))
        if weight is not None:
            slope, dy = weight * slope, weight * dy
        dl = self.reduced(grad_output, p.size)
        return (dl * slope, dl * dy), {}

    def extra_repr(self) -> str:
        return _shown(self, weight=self.weight)


class BCEWithLogitsCache(NamedTuple):
    x: Array
    target: Array
    e: Array  # exp(-|x|)
    weight: Array | None  # like x
    pos_weight: Array | None  # like x


class BCEWithLogitsLoss(Loss):
    """Sigmoid and binary cross-entropy in one: of logits x, stable however large |x| is.

    Args:
        weight: factor of each element's loss, broadcast to the input's shape; None means 1.
        reduction: "mean" over every element (whatever the weights), "sum", or "none".
        pos_weight: factor of the positive part, y log σ(x), broadcast to the input's shape.
    """

    equations = {
        **reduced(
            "i", ELEMENT, {"grad_input": "dx[i] = w[i] * (p[i] - y[i])", "grad_target": TARGET},
            "M", where="\nwhere p[i] = sigma(x[i])",
        ),
        **reduced(
            "i", ELEMENT,
            {
                "grad_input": "dx[i] = w[i] * ((1 - y[i]) * p[i] - q[i] * y[i] * (1 - p[i]))",
                "grad_target": TARGET,
            },
            "M", where="\nwhere p[i] = sigma(x[i])", variant="pos_weight",
        ),
    }  # fmt: skip
    symbols = {
        "x": "input", "y": "target", "w": "cache.weight", "q": "cache.pos_weight",
        "M": "input.size",
    }  # fmt: skip
    examples = tuple(
        Example(
            {**weights, **reduction},
            (Draw((4, 3), high=1.5), YES_OR_NO),
            kinks={"x = 0": {"input": 0.0}},
        )
        for weights in ({}, {"weight": WEIGHT}, {"pos_weight": WEIGHT}, WEIGHTS)
        for reduction in TRIED
    )

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        reduction: str = "mean",
        pos_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(reduction)
        self.weight, self.pos_weight = constants(weight), constants(pos_weight)

    def forward(self, input: Array, target: Array) -> tuple[Array, BCEWithLogitsCache]:  # type: ignore[override]
        """Return the loss, from -log σ(x) = log(1 + e^-|x|) + max(-x, 0): no exponent is above 0.

        log(1 - σ(x)) = log σ(x) - x, so (1 - y) x - log σ(x) is the loss without pos_weight. The
        two terms cancel where the loss is small; torch's do too, so both sides round alike.
        """
        self.check_alike(input, target)
        x, y = input, target
        e, softplus = logistic(x)
        q = _broadcast(self, "pos_weight", self.pos_weight, x)
        if q is None:  # noqa: SIM108
            loss = (x - y * x) + softplus
        else:
            loss = (1 - y) * (x + softplus) + q * y * softplus
        weight = _broadcast(self, "weight", self.weight, x)
        loss = loss if weight is None else weight * loss
        return self.reduced(self.summed(loss), x.size), BCEWithLogitsCache(x, y, e, weight, q)

    def backward(
        self, grad_output: Array, cache: BCEWithLogitsCache
    ) -> tuple[tuple[Array, Array], Arrays]:
        r"""Chain rule through L = 1/M Σ_i -w_i (q_i y_i log p_i + (1 - y_i) log(1 - p_i)).

        With p = σ(x). Shapes: x, y, w, q (any, M elements), L and dL one number, or like x without
        reduction.
        p′ = p (1 - p), so (log p)′ = 1 - p and (log(1 - p))′ = -p:
            ∂L/∂x = w/M ((1 - y) p - q y (1 - p))
        ->  dx = dL w/M ((1 - y) p - q y (1 - p));   without q (q = 1):  dx = dL w/M (p - y)
        The target:  ∂L/∂y = w/M (log(1 - p) - q log p)   ->   dy = dL w/M (q l - l - x), with
        l = -log p and log(1 - p) = -l - x;   without q:  dy = -dL w/M x
        sum and none: without 1/M
        Torch: nn.BCEWithLogitsLoss.
        Source: Nielsen, Neural Networks and Deep Learning, ch. 3: the output error δ = a - y.
        """
        x, y, e, weight, q = cache
        p = probability(x, e)
        if q is None:
            dx, dy = p - y, -x
        else:
            softplus = np.log1p(e) + np.maximum(-x, 0)  # -log σ(x)
            dx, dy = (1 - y) * p - q * y * (1 - p), q * softplus - (x + softplus)
        if weight is not None:
            dx, dy = weight * dx, weight * dy
        dl = self.reduced(grad_output, x.size)
        return (dl * dx, dl * dy), {}

    def extra_repr(self) -> str:
        return _shown(self, weight=self.weight, pos_weight=self.pos_weight)


class MultiLabelSoftMarginCache(NamedTuple):
    x: Array
    y: Array  # in x's dtype
    e: Array  # exp(-|x|)
    weight: Array | None  # like x
    shape: Shape  # of x and y together
    rows: int
    whole: bool  # the target is of an integer dtype, and has no gradient


class MultiLabelSoftMarginLoss(Loss):
    """Binary cross-entropy of each class's logit, averaged over the C classes of the last axis.

    The target is stretched to the input's shape where it differs, as torch does.

    Args:
        weight: factor of each class's loss, broadcast to the input's shape; None means 1.
        reduction: "mean" over the samples (whatever the weights), "sum", or "none".
    """

    equations = reduced(
        "n",
        "sum(c, w[n,c] * (-(y[n,c] * log(p[n,c])) - (1 - y[n,c]) * log(1 - p[n,c]))) / C",
        {
            "grad_input": "dx[n,c] = w[n,c] * (p[n,c] - y[n,c]) / C",
            "grad_target": "dtarget[n,c] = -w[n,c] * x[n,c] / C",
        },
        "N",
        where="\nwhere p[n,c] = sigma(x[n,c])",
    )  # fmt: skip
    symbols = {
        "x": "input", "y": "cache.y", "w": "cache.weight", "N": "cache.rows",
        "C": "cache.shape.1",
    }  # fmt: skip
    examples = (
        *(
            Example({**weight, **reduction}, (Draw((4, 3), high=1.5), YES_OR_NO))
            for weight in ({}, {"weight": WEIGHT})
            for reduction in TRIED
        ),
        Example({}, ((3,), np.array([0, 1, 1]))),
        Example({}, ((2, 4, 3), Draw((3,), "uniform", 0, 1))),
    )

    def __init__(self, weight: Sequence[float] | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight = constants(weight)

    def forward(  # type: ignore[override]
        self, input: Array, target: Array
    ) -> tuple[Array, MultiLabelSoftMarginCache]:
        self._check(input, target)
        x, y, shape = input, self.numbers(input, target), tuple(input.shape)
        e, softplus = logistic(x)
        loss = (x - y * x) + softplus
        weight = _broadcast(self, "weight", self.weight, x)
        loss = loss if weight is None else weight * loss
        rows = loss.sum(axis=-1, keepdims=True) / shape[-1]
        cache = MultiLabelSoftMarginCache(
            x, y, e, weight, shape, rows.size, target.dtype.kind in "biu"
        )
        return self.of_rows(rows), cache

    def backward(
        self, grad_output: Array, cache: MultiLabelSoftMarginCache
    ) -> tuple[tuple[Array, Array | None], Arrays]:
        r"""Chain rule through L = 1/N Σ_n 1/C Σ_c -w_c (y_nc log p_nc + (1 - y_nc) log(1 - p_nc)).

        With p = σ(x). Shapes: x, y, w (N, C) or more, L and dL one number, (N,) without reduction.
        The inner terms are those of BCEWithLogitsLoss, whose slopes are p - y and -x:
        ->  dx = dL/(N C) w (p - y),   dy = -dL/(N C) w x;   sum and none: without 1/N
        Torch: nn.MultiLabelSoftMarginLoss.
        Source: as BCEWithLogitsLoss.
        """
        x, y, e, weight, shape, rows, whole = cache
        dl = self.to_rows(grad_output, rows) / shape[-1]
        log = np.log1p(e)  # log σ(-x) - log σ(x) is -x: added up as torch does, with its rounding
        of_target = (log - np.minimum(x, 0)) - (log + np.maximum(x, 0))
        slope = probability(x, e) - y
        if weight is not None:
            slope, of_target = weight * slope, weight * of_target
        dy = None if whole else stretched(dl, of_target, shape, y.shape)
        return (dl * slope, dy), {}

    def _check(self, input: Array, target: Array) -> None:
        shape = self.check_broadcast(input=input, target=target)
        if not input.ndim or shape != input.shape:
            raise ValueError(
                "MultiLabelSoftMarginLoss: the input must be (…, C) logits and the target "
                f"broadcast to its shape {tuple(input.shape)}, received {tuple(target.shape)}."
            )

    def extra_repr(self) -> str:
        return _shown(self, weight=self.weight)


def logistic(x: Array) -> tuple[Array, Array]:
    """Return e^-|x| and -log σ(x) = log(1 + e^-x): no exponent is above 0."""
    e = np.exp(np.minimum(x, -x))
    return e, np.log1p(e) + np.maximum(-x, 0)


def probability(x: Array, e: Array) -> Array:
    """Return σ(x) = 1/(1 + e^-x) = e^x/(1 + e^x) from e = e^-|x|."""
    return np.where(x > 0, 1, e) / (1 + e)


def _clamped(log: Array, outside: Array) -> Array:
    """Return a logarithm, at least -100; -100 outside its domain. NaN stays NaN."""
    return np.where(outside, LOWEST_LOG, np.maximum(log, LOWEST_LOG))


def _check_probabilities(p: Array) -> None:
    if not p.size:
        return
    low, high = p.min(), p.max()
    if low < 0 or high > 1:
        raise ValueError(
            f"BCELoss: every input must be a probability in [0, 1], received values from {low} to "
            f"{high}. Put a Sigmoid before it, or use BCEWithLogitsLoss on the raw outputs."
        )


def _broadcast(loss: Loss, name: str, weight: Array | None, x: Array) -> Array | None:
    """Return the weight in x's shape, number system and dtype.

    A plain product would promote: float64 weights times a float32 x is float64.
    """
    if weight is None:
        return None
    try:
        fits = np.broadcast_shapes(weight.shape, tuple(x.shape)) == tuple(x.shape)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{type(loss).__name__}: {name} must broadcast to the input's shape {tuple(x.shape)}, "
            f"received shape {weight.shape}. Give one number per column of the input."
        )
    return np.full_like(x, weight)


def _shown(loss: Loss, **weights: Array | None) -> str:
    given = [f"{name}={w.tolist()}" for name, w in weights.items() if w is not None]
    return ", ".join([*given, f"reduction={loss.reduction!r}"])
