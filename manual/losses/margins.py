"""Losses that want the true class's score to lead by a margin: multi-class hinge (SVM) losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.layer import Array, Arrays
from manual.losses.base import Loss, constants
from manual.losses.equations import TRIED, reduced
from manual.losses.labels import check_labels, check_weight, per_row, weighted
from manual.losses.rows import row_sum

__all__ = ["MultiLabelMarginLoss", "MultiMarginLoss", "MulticlassHingeLoss"]


SCORES = {"s": "input", "t": "target", "N": "input.shape.0"}
SHORT = "max(0, s[n,j] - s[n,t[n]] + margin)"
SLOPE = "(a[n,k] - (k == t[n]) * sum(j, a[n,j]))"
WEIGHT = [0.5, 1.5, 2.0]


def _examples(*choices: dict[str, Any]) -> Iterator[Example]:
    labels = np.array([2, 0, 1, 2])
    for settings in choices:
        lead = np.full((4, 3), -4.0)  # in which each true class leads the next by the margin
        lead[range(4), labels] = 1.0
        lead[range(4), (labels + 1) % 3] = 1.0 - settings.get("margin", 1.0)
        for reduction in TRIED:
            arguments = {**settings, **reduction}
            kinks = {"a margin met exactly": {"input": lead}}
            yield Example(arguments, (Draw((4, 3), high=2), labels), kinks)


class HingeCache(NamedTuple):
    target: Array
    short: Array  # (N, C): by how much each score comes too close; 0 for the true class


class MulticlassHingeLoss(Loss):
    """Multi-class hinge (SVM) loss: the mean over samples of Σ_j≠y max(0, s_j - s_y + margin).

    Args:
        margin: the lead that the true class's score must have.
        reduction: "mean" over the N samples, "sum", or "none".
    """

    equations = reduced(
        "n",
        f"sum(j, j != t[n], {SHORT})",
        {"grad_input": f"ds[n,k] = {SLOPE}"},
        "N",
        where="\nwhere a[n,j] = (j != t[n]) * (s[n,j] - s[n,t[n]] + margin > 0)",
    )
    symbols = SCORES
    examples = tuple(_examples({}, {"margin": 0.5}, {"margin": 2.0}))

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input: Array, target: Array) -> tuple[Array, HingeCache]:  # type: ignore[override]
        check_labels(self, input, target)
        short = shortfall(input, target, self.margin)
        total = row_sum(short)[:, 0] if self.reduction == "none" else short.sum()
        return self.reduced(total, len(target)), HingeCache(target, short)

    def backward(self, grad_output: Array, cache: HingeCache) -> tuple[tuple[Array, None], Arrays]:
        r"""Chain rule through L = 1/N Σ_n Σ_j≠y_n max(0, m_nj), m_nj = s_nj - s_n,y_n + margin.

        Shapes: s, m (N, C), labels y (N,), L and dL one number, or (N,) without reduction.
        Let a_nj = 1{m_nj > 0}, a_n,y = 0.
        ∂L/∂s_nj = a_nj / N                 for j ≠ y_n: the score itself
        ∂L/∂s_n,y = -Σ_j a_nj / N           the true score is inside every margin of its row
        ->  ds = dL/N a, then the true class's entry is minus the rest of its row
        At m = 0 exactly the slope is taken as 0, as torch's relu does.
        Torch has no such loss: nn.MultiMarginLoss is this divided by C, the number of classes.
        Source: CS231n lecture 4; Crammer and Singer (2001); Weston and Watkins (1999).
        """
        dl = per_row(self, self.reduced(grad_output, len(cache.target)))
        return (with_true_class(np.sign(cache.short) * dl, cache.target), None), {}

    def decisions(self, cache: HingeCache) -> Array:
        """Return which scores come too close to the true class's."""
        return cache.short > 0

    def extra_repr(self) -> str:
        return f"margin={self.margin}, reduction={self.reduction!r}"


class MultiMarginCache(NamedTuple):
    target: Array  # (N,)
    short: Array  # as in HingeCache
    weight: Any  # (N, 1) weight of each sample's label; None: all 1
    shape: tuple[int, ...]  # of the input


class MultiMarginLoss(Loss):
    """Multi-class hinge loss divided by C: the mean of 1/C Σ_j≠y w_y max(0, margin - x_y + x_j)^p.

    The course's SVM loss has no 1/C: with p = 1 and no weight it is C times this one, and is here
    as MulticlassHingeLoss. The input is (N, C) with labels (N,), or (C,) with one label.

    Args:
        p: 1, or 2 for squared margins.
        margin: the lead that the true class's score must have.
        weight: one factor per class; None means 1.
        reduction: "mean" over the N samples (whatever the weights), "sum", or "none".

    Raises:
        ValueError: p is neither 1 nor 2; a label is outside the classes.
    """

    equations = reduced(
        "n",
        f"w[t[n]] * sum(j, j != t[n], {SHORT}**p) / C",
        {"grad_input": f"ds[n,k] = w[t[n]] * {SLOPE} / C"},
        "N",
        where="\nwhere a[n,j] = (j != t[n]) * (s[n,j] - s[n,t[n]] + margin > 0) * p * "
        f"{SHORT}**(p - 1)",
    )
    symbols = SCORES | {"w": "layer.weight", "C": "input.shape.1"}
    examples = (
        *_examples({}, {"p": 2}, {"weight": WEIGHT}, {"p": 2, "margin": 0.75, "weight": WEIGHT}),
        Example({"weight": WEIGHT, "reduction": "none"}, ((3,), np.array(1))),
        Example({"reduction": "none"}, ((3,), np.array([1]))),
    )

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Sequence[float] | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p must be 1 or 2, received {p}.")
        self.p, self.margin, self.weight = p, margin, constants(weight)

    def forward(self, input: Array, target: Array) -> tuple[Array, MultiMarginCache]:  # type: ignore[override]
        scores, labels = _rows(input, target)
        check_labels(self, scores, labels)
        check_weight(self, self.weight, scores)
        weight = None if self.weight is None else self.weight[labels][:, None]
        short = shortfall(scores, labels, self.margin)
        losses = weighted(short if self.p == 1 else short * short, weight)  # (N, C)
        total = losses.sum()
        if self.reduction == "none":
            total = np.reshape(row_sum(losses), target.shape)
        cache = MultiMarginCache(labels, short, weight, tuple(input.shape))
        return self.reduced(total / scores.shape[1], len(labels)), cache

    def backward(
        self, grad_output: Array, cache: MultiMarginCache
    ) -> tuple[tuple[Array, None], Arrays]:
        r"""Chain rule through L = 1/N Σ_n w_n/C Σ_j≠y_n max(0, m_nj)^p.

        Shapes: x, m (N, C), labels y (N,), L and dL one number, (N,) without reduction.
        The margin is m_nj = margin - x_n,y + x_nj, the sample's weight w_n = weight[y_n].
        With h_nj = max(0, m_nj), and h_n,y = 0:
            ∂h^p/∂m = 1{m > 0} for p = 1,  2 h for p = 2  =: a_nj
            ∂L/∂x_nj = w_n/(N C) a_nj                for j ≠ y_n
            ∂L/∂x_n,y = -w_n/(N C) Σ_j a_nj          it is inside every margin of its row
        At m = 0 exactly the slope is 0.
        Torch: nn.MultiMarginLoss.
        Source: CS231n lecture 4; Crammer and Singer (2001).
        """
        classes = cache.short.shape[1]
        slope = np.sign(cache.short) if self.p == 1 else 2 * cache.short
        dl = per_row(self, self.reduced(grad_output / classes, len(cache.target)))
        dx = with_true_class(weighted(slope, cache.weight) * dl, cache.target)
        return (np.reshape(dx, cache.shape), None), {}

    def decisions(self, cache: MultiMarginCache) -> Array:
        """Return which scores come too close to the true class's."""
        return cache.short > 0

    def extra_repr(self) -> str:
        weight = "" if self.weight is None else f"weight={self.weight.tolist()}, "
        return f"p={self.p}, margin={self.margin}, {weight}reduction={self.reduction!r}"


class MultiLabelCache(NamedTuple):
    short: Array  # (N, J, C): by how much score c comes too close to that of the j-th label
    own: Array  # (N, J, C): whether class c is the j-th label
    shape: tuple[int, ...]  # of the input


class MultiLabelMarginLoss(Loss):
    """Hinge of several labels: 1/C Σ_j Σ_c max(0, 1 - x_y(j) + x_c), c no label of the sample.

    Input and target are (N, C), or (C,) for one sample. A row of the target lists the sample's
    labels, each as often as it counts; the first -1 ends the list.

    Args:
        reduction: "mean" over the N samples, "sum", or "none".

    Raises:
        ValueError: a target is neither -1 nor a class index, behind the end of the list either.
    """

    equations = reduced(
        "n",
        "sum(j, sum(c, u[n,j,c] * max(0, 1 - x[n,t[n,j]] + x[n,c]))) / C",
        {
            "grad_input": "dx[n,k] = (sum(j, a[n,j,k] - own[n,j,k] * sum(c, a[n,j,c]))) / C",
        },
        "N",
        where="\nwhere a[n,j,c] = u[n,j,c] * (1 - x[n,t[n,j]] + x[n,c] > 0)"
        "\nwhere u[n,j,c] = sum(k, own[n,j,k]) * (1 - largest(i, own[n,i,c]))",
    )
    symbols = {
        "x": "input", "t": "target", "own": "cache.own", "N": "input.shape.0",
        "C": "input.shape.1",
    }  # fmt: skip
    examples = (
        *(
            Example(
                reduction,
                (Draw((3, 4)), np.array([[2, 0, -1, 1], [3, -1, -1, -1], [1, 1, 0, 3]])),
                kinks={"a margin met exactly": {"input": [0.5, -0.5, 0.5, -0.5]}},
            )
            for reduction in TRIED
        ),
        Example({"reduction": "none"}, ((3,), np.array([1, -1, 0]))),
    )

    def forward(self, input: Array, target: Array) -> tuple[Array, MultiLabelCache]:  # type: ignore[override]
        self._check(input, target)
        classes = input.shape[-1] if input.ndim else 1
        x, t = input.reshape(-1, classes), target.reshape(-1, classes)
        listed = np.cumprod(t >= 0, axis=1, dtype=bool)  # (N, J)
        own = listed[:, :, None] & (t[:, :, None] == np.arange(classes))  # (N, J, C)
        true = x[np.arange(len(x))[:, None], t]  # (N, J)
        short = (1 - true)[:, :, None] + x[:, None, :]
        rival = listed[:, :, None] & ~own.any(axis=1, keepdims=True)
        short = np.where(rival, np.maximum(short, 0), 0)
        losses = np.reshape(short.sum(axis=(1, 2)) / classes, input.shape[:-1])
        return self.averaged(losses), MultiLabelCache(short, own, input.shape)

    def backward(
        self, grad_output: Array, cache: MultiLabelCache
    ) -> tuple[tuple[Array, None], Arrays]:
        r"""Chain rule through L = 1/N Σ_n 1/C Σ_j Σ_c u_njc max(0, m_njc).

        Shapes: x (N, C), labels t (N, J), m (N, J, C), L and dL one number, (N,) without reduction.
        The margin is m_njc = 1 - x_n,t(n,j) + x_nc; u_njc = 1 where j is in the list and c no label
        of the sample, else 0. With a_njc = u_njc 1{m_njc > 0}:
            ∂L/∂x_nk = 1/(N C) Σ_j (a_njk - [t_nj = k] Σ_c a_njc)
        every rival pushes itself down, and the label that it rivals up
        At m = 0 exactly the slope is 0.
        Torch: nn.MultiLabelMarginLoss.
        Source: Crammer and Singer, A Family of Additive Online Algorithms for Category Ranking
            (2003).
        """
        short, own, shape = cache
        a = np.sign(short)
        slope = (a - own * a.sum(axis=2, keepdims=True)).sum(axis=1)  # (N, C)
        dl = per_row(self, self.reduced(grad_output / short.shape[-1], len(short)))
        return (np.reshape(slope * dl, shape), None), {}

    def decisions(self, cache: MultiLabelCache) -> Array:
        """Return which scores come too close to which label's."""
        return cache.short > 0

    def _check(self, input: Array, target: Array) -> None:
        self.check_not_empty(input)
        if input.ndim > 2 or not all(input.shape[-1:]) or input.shape != target.shape:
            raise ValueError(
                "MultiLabelMarginLoss: input and target must both be (N, C), or (C,), received "
                f"{tuple(input.shape)} and {tuple(target.shape)}. Fill the lists of labels up "
                "with -1."
            )
        if target.dtype.kind not in "iu":
            raise TypeError(
                "MultiLabelMarginLoss: the target must hold class indices of an integer dtype, "
                f"received {target.dtype}. Pass target.astype('int64')."
            )
        classes = input.shape[-1] if input.ndim else 1
        outside = (target < -1) | (target >= classes)
        if outside.any():
            raise ValueError(
                "MultiLabelMarginLoss: labels must be class indices from 0 to "
                f"{classes - 1}, or -1 to end the list, received "
                f"{target[outside][0]}. Number the classes from 0."
            )


def _rows(input: Array, target: Array) -> tuple[Array, Array]:
    """Return one sample's scores (C,) and label as a batch of one; a batch as it is."""
    if input.ndim < 2:
        return input.reshape(1, -1), target.reshape(-1)
    return input, target


def shortfall(scores: Array, target: Array, margin: float) -> Array:
    """Return max(0, margin - s_y + s_j), and 0 for the true class j = y, which has no rival."""
    rows = np.arange(len(target))
    true = scores[rows, target].reshape(-1, 1)
    short = (margin - true) + scores  # torch's order: it decides exact ties
    short[rows, target] = 0
    return np.maximum(short, 0)


def with_true_class(slope: Array, target: Array) -> Array:
    """Fill the true class's entry, 0 so far, with minus the rest of its row."""
    slope[np.arange(len(target)), target] = -row_sum(slope)[:, 0]
    return slope
