"""Losses of class scores: negative log-likelihood, and its fusion with softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.layer import Array, Arrays
from manual.losses.base import Loss, constants
from manual.losses.equations import TRIED, reduced
from manual.losses.labels import (
    Samples,
    check_scores,
    check_shapes,
    check_weight,
    per_row,
    rows_of,
    unrowed,
    usable,
    weighted,
    without_classes,
)
from manual.losses.rows import row_max, row_sum

__all__ = ["CrossEntropyLoss", "NLLLoss", "NLLLoss2d"]


WEIGHTED = "sum(c, q[n,c] * (log(sum(k, exp(z[n,k]))) - z[n,c]))"
WEIGHTED_SLOPE = "dz[n,k] = (p[n,k] * sum(c, 0 <= c < C, q[n,c]) - q[n,k])"
SOFTMAX = "\nwhere p[n,k] = exp(z[n,k]) / sum(j, exp(z[n,j]))"
WEIGHT, LABELS = [0.5, 1.5, 2.0], np.array([2, 0, 1, 2])
LABELLED: tuple[tuple[dict[str, Any], Array], ...] = (  # settings, and labels for 4 samples
    ({}, LABELS),
    ({"weight": WEIGHT}, LABELS),
    ({"ignore_index": 0}, LABELS),
    ({"weight": WEIGHT, "ignore_index": 0}, LABELS),
    ({"ignore_index": 2}, LABELS),
    ({"ignore_index": 3}, np.array([2, 3, 1, 3])),
    ({}, np.array([-100, 0, 1, -100])),
    ({"ignore_index": -1}, np.array([2, -1, 1, 2])),
    ({"weight": WEIGHT, "ignore_index": 7}, np.array([7, 0, 1, 7])),
)

DEEPER: tuple[tuple[dict[str, Any], tuple], ...] = (  # with further axes, and one sample alone
    ({}, ((1, 3, 2), np.array([[0, 2]]))),
    ({"weight": WEIGHT, "reduction": "none"}, ((2, 3, 1, 2), np.array([[[0, 2]], [[1, 0]]]))),
    ({}, ((3,), np.array(1))),
    ({"reduction": "none"}, ((3,), np.array(1))),
)


class NLLCache(NamedTuple):
    log_p: Array  # (R, C)
    samples: Samples
    shape: tuple[int, ...]  # of the input


class NLLLoss(Loss):
    """Negative log-likelihood of class indices: the weighted mean of -log p of each true class.

    The input is (N, C), (N, C, d1, …) with targets (N, d1, …), or (C,) with one label.

    Args:
        weight: one factor per class; None means 1.
        ignore_index: samples with this label count for nothing.
        reduction: "mean", divided by the sum of the weights of the samples' labels, "sum", or
            "none".

    Raises:
        ValueError: a label is outside the classes; the mean has nothing to divide by, as every
            sample is ignored or has weight 0 (torch returns nan).
    """

    equations = reduced(
        "n",
        "-w[n] * a[n,t[n]]",
        {"grad_input": "da[n,c] = -w[n] * (c == t[n])"},
        "D",
        total="\nwhere D = sum(n, 0 <= n < N, w[n])",
    )
    symbols = {
        "a": "cache.log_p", "t": "cache.samples.target", "w": "cache.samples.weight",
        "N": "cache.log_p.shape.0",
    }  # fmt: skip
    examples = (
        *(
            Example({**settings, **reduction}, (Draw((4, 3), high=2), labels))
            for settings, labels in LABELLED
            for reduction in TRIED
        ),
        *(Example(settings, shapes) for settings, shapes in DEEPER),
    )

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.weight, self.ignore_index = constants(weight), ignore_index

    def forward(self, input: Array, target: Array) -> tuple[Array, NLLCache]:  # type: ignore[override]
        shape = check_shapes(self, input, target)
        rows = rows_of(input)
        samples = usable(self, rows, target.reshape(-1), self.weight, self.ignore_index)
        picked = rows[np.arange(len(rows)), samples.target]  # (R,)
        total = -self.summed(weighted(picked, samples.weight))
        total = np.reshape(total, shape) if self.reduction == "none" else total
        return self.reduced(total, samples.divisor), NLLCache(rows, samples, tuple(input.shape))

    def backward(self, grad_output: Array, cache: NLLCache) -> tuple[tuple[Array, None], Arrays]:
        r"""Chain rule through L = 1/D Σ_n -w_n a_n,t_n with a = log p, D = Σ_n w_n.

        Shapes: a (N, C), labels t (N,), w_n = weight[t_n] (0 if ignored), L and dL one number, or
        (N,) without reduction. Further axes, (N, C, d1, …) and (N, d1, …), count as N.
        Only the true class's entry is read:  ∂L/∂a_nc = -w_n/D [c = t_n]
        ->  da = -dL w/D at (n, t_n), 0 elsewhere;   sum and none: without D
        Torch: nn.NLLLoss; D is the sum of weights, not N.
        Source: Bishop, Pattern Recognition and Machine Learning, §4.3.4.
        """
        target, weight, _, divisor = cache.samples
        grad = np.zeros_like(cache.log_p)
        grad[np.arange(len(target)), target] = -1.0 if weight is None else -weight
        grad *= per_row(self, self.reduced(grad_output, divisor))
        return (unrowed(grad, cache.shape), None), {}

    def extra_repr(self) -> str:
        return f"{_shown(self.weight)}ignore_index={self.ignore_index}, {super().extra_repr()}"


class NLLLoss2d(NLLLoss):
    """NLLLoss of images, (N, C, H, W) with targets (N, H, W): torch's old name for it.

    Args:
        weight, ignore_index, reduction: as of NLLLoss. Derivation: NLLLoss's.
    """

    examples = (Example({"weight": WEIGHT}, ((2, 3, 1, 2), np.array([[[0, 2]], [[1, 0]]]))),)
    equations = {role: NLLLoss.equations[role] for role in ("output", "grad_input")}


class CrossEntropyCache(NamedTuple):
    p: Array  # softmax of the scores, (R, C)
    samples: Samples | None  # None: the target holds probabilities
    shape: tuple[int, ...]  # of the input
    log_p: Array | None  # (R, C), with probabilities
    q: Array | None  # (R, C): the probabilities, smoothed and weighted


class CrossEntropyLoss(Loss):
    """Softmax and negative log-likelihood in one: of class scores z and class indices.

    The input is (N, C), (N, C, d1, …) with targets (N, d1, …), or (C,) with one label. A target of
    real numbers in the input's shape holds the probability of each class instead; then the mean is
    over the samples, whatever the weights.

    Args:
        weight: one factor per class; None means 1.
        ignore_index: samples with this label count for nothing.
        reduction: "mean", divided by the sum of the weights of the samples' labels, "sum", or
            "none".
        label_smoothing: ε in [0, 1], the share of each target that is spread over all C classes.

    Raises:
        ValueError: a label is outside the classes; the mean has nothing to divide by, as every
            sample is ignored or has weight 0 (torch returns nan); an ignore_index among the classes
            with probabilities.
    """

    equations = {
        **reduced(
            "n",
            "log(sum(k, exp(z[n,k]))) - z[n,t[n]]",
            {"grad_input": "dz[n,k] = (p[n,k] - (k == t[n]))"},
            "N",
            where=SOFTMAX + "\nmatrix: ∂L/∂z ∝ softmax(z) − one-hot(t)",
        ),
        **reduced(
            "n",
            WEIGHTED,
            {"grad_input": WEIGHTED_SLOPE},
            "D",
            where=SOFTMAX
            + "\nwhere q[n,c] = u[n] * w[c] * ((1 - smoothing) * (c == t[n]) + smoothing / C)",
            total="\nwhere D = sum(n, 0 <= n < N, u[n] * w[t[n]])",
            variant="weighted",
        ),
        **reduced(
            "n",
            WEIGHTED,
            {
                "grad_input": WEIGHTED_SLOPE,
                "grad_target": "dr[n,c] = -(1 - smoothing) * w[c] * log(p[n,c])",
            },
            "N",
            where=SOFTMAX + "\nwhere q[n,c] = w[c] * ((1 - smoothing) * r[n,c] + smoothing / C)",
            variant="probabilities",
        ),
    }
    symbols = {
        "z": "input", "t": "cache.samples.target", "u": "cache.samples.kept", "w": "layer.weight",
        "r": "target", "smoothing": "label_smoothing", "N": "input.shape.0",
        "C": "input.shape.1",
    }  # fmt: skip
    examples = (
        *(
            Example(
                {**settings, **smoothing, **reduction},
                (Draw((4, 3), high=2), labels),
                kinks={"tied scores": {"input": 1.0}},
            )
            for settings, labels in LABELLED
            for smoothing in ({}, {"label_smoothing": 0.125})
            for reduction in TRIED
        ),
        Example({"label_smoothing": 1.0}, (Draw((4, 3), high=2), LABELS)),
        Example({"reduction": "sum", "ignore_index": -7}, (Draw((3, 1)), np.array([0, 0, -7]))),
        Example({"label_smoothing": 0.125}, (Draw((2, 70)), np.array([3, 69]))),
        *(Example(settings, shapes) for settings, shapes in DEEPER),
        *(
            Example(
                {**settings, **reduction},
                (Draw((4, 3), high=2), Draw((4, 3), "simplex")),
            )
            for settings in ({}, {"weight": WEIGHT}, {"weight": WEIGHT, "label_smoothing": 0.125})
            for reduction in TRIED
        ),
        Example({"reduction": "none"}, (Draw((3,)), Draw((3,), "simplex"))),
    )

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(
                "CrossEntropyLoss: label_smoothing must be between 0 and 1, received "
                f"{label_smoothing}."
            )
        self.weight, self.ignore_index = constants(weight), ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Array, target: Array) -> tuple[Array, CrossEntropyCache]:  # type: ignore[override]
        """Return the loss from -log p = log Σ e^x - x with x = z - max z: no exponent above 0."""
        soft = self._soft(input, target)
        shape = without_classes(input.shape) if soft else check_shapes(self, input, target)
        rows, samples = rows_of(input), None
        if not soft:
            samples = usable(self, rows, target.reshape(-1), self.weight, self.ignore_index)
        x = rows - row_max(rows)  # (R, C)
        p = np.exp(x)
        s = row_sum(p)  # (R, 1)
        p /= s
        log_s = np.log(s)
        log_p, q = None, None
        if samples is None:
            log_p, q = x - log_s, self._probabilities(rows_of(target))
            losses = -(q * log_p)  # (R, C)
        elif self.label_smoothing:
            losses = self._targets(p, samples) * (log_s - x)  # (R, C)
        else:
            true = x[np.arange(len(rows)), samples.target]
            losses = weighted(log_s.reshape(-1) - true, samples.weight)  # (R,)
        if self.reduction == "none":
            losses = np.reshape(row_sum(losses) if losses.ndim == 2 else losses, shape)
        divisor = len(rows) if samples is None else samples.divisor
        cache = CrossEntropyCache(p, samples, tuple(input.shape), log_p, q)
        return self.reduced(self.summed(losses), divisor), cache

    def backward(
        self, grad_output: Array, cache: CrossEntropyCache
    ) -> tuple[tuple[Array, Array | None], Arrays]:
        r"""Chain rule through L = 1/D Σ_nc -q_nc log p_nc with p = softmax(z), D = Σ_n w_n.

        Shapes: z, p, q (N, C), labels t (N,), w_n = weight[t_n] (0 if ignored), L one number, or
        (N,) without reduction. Further axes, (N, C, d1, …) and (N, d1, …), count as N.
        q_nc = (1 - ε) w_n [c = t_n] + ε/C weight_c [n counts]   is the target as torch weights it
        log p_nc = z_nc - log Σ_k e^(z_nk)   ->   ∂ log p_nc / ∂z_nk = [c = k] - p_nk
            ∂L/∂z_nk = 1/D Σ_c -q_nc ([c = k] - p_nk) = 1/D (p_nk Σ_c q_nc - q_nk)
        ->  dz = dL/D (p Q - q), Q (N, 1) the row sums of q;   sum and none: without D
        Plainly (no weights, no smoothing) q is one-hot and Q = 1:   dz = dL/N (p - I_t)
        Given probabilities r, q_nc = weight_c ((1 - ε) r_nc + ε/C) and D = N; they are an input:
            dr_nc = -dL/D (1 - ε) weight_c log p_nc
        Torch: nn.CrossEntropyLoss; D is the sum of weights of the labels, also with smoothing.
        Source: CS231n, softmax classifier; Deep Learning Systems notes: G = S - I_y.
        """
        p, samples, shape, log_p, q = cache
        divisor = len(p) if samples is None else samples.divisor
        dl = per_row(self, self.reduced(grad_output, divisor))
        if samples is None:
            dr = -dl * self._share(log_p)
            return (unrowed((p * row_sum(q) - q) * dl, shape), unrowed(dr, shape)), {}
        if samples.weight is None and not self.label_smoothing:
            grad = p.copy()
            grad[np.arange(len(samples.target)), samples.target] -= 1
        else:
            q = self._targets(p, samples)
            grad = p * row_sum(q) - q
        grad *= dl
        return (unrowed(grad, shape), None), {}

    def _soft(self, input: Array, target: Array) -> bool:
        """Return whether the target holds probabilities, checked."""
        if target.shape != input.shape or target.dtype.kind in "biu":
            return False
        self.check_alike(input, target)
        check_scores(self, input)
        check_weight(self, self.weight, rows_of(input))
        if self.ignore_index >= 0:
            raise ValueError(
                f"CrossEntropyLoss: ignore_index = {self.ignore_index} names a label, and the "
                "target holds probabilities. Leave it out."
            )
        return True

    def _probabilities(self, r: Array) -> Array:
        """Return q (R, C): the given probabilities, smoothed and weighted."""
        if self.label_smoothing:
            r = r * (1.0 - self.label_smoothing) + self.label_smoothing / r.shape[1]
        return r if self.weight is None else r * np.full_like(r, self.weight)

    def _share(self, log_p: Array) -> Array:
        """Return (1 - ε) w log p: what each given probability is multiplied by."""
        log_p = log_p if self.weight is None else log_p * np.full_like(log_p, self.weight)
        return log_p * (1.0 - self.label_smoothing) if self.label_smoothing else log_p

    def variants(self, cache: CrossEntropyCache) -> tuple[str, ...]:
        if cache.samples is None:
            return ("probabilities",)
        plain = self.weight is None and not self.label_smoothing and cache.samples.kept is None
        return () if plain else ("weighted",)

    def _targets(self, p: Array, samples: Samples) -> Array:
        """Return q (N, C): the one-hot targets, smoothed and weighted, zero where ignored."""
        share = self.label_smoothing / p.shape[1]
        q = 0 * p  # sums of q must be exact wherever p is: a number system's own zero
        q += share if self.weight is None else share * self.weight
        if samples.kept is not None:
            q *= samples.kept.reshape(-1, 1)
        true = 1.0 - self.label_smoothing
        q[np.arange(len(samples.target)), samples.target] += (
            true if samples.weight is None else true * samples.weight
        )
        return q

    def extra_repr(self) -> str:
        return (
            f"{_shown(self.weight)}ignore_index={self.ignore_index}, {super().extra_repr()}, "
            f"label_smoothing={self.label_smoothing}"
        )


def _shown(weight: Array | None) -> str:
    return "" if weight is None else f"weight={weight.tolist()}, "
