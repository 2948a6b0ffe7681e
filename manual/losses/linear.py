"""Cross-entropy of class scores that are a linear map of the input: a classifier's end in one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.layer import Array, Arrays
from manual.losses.base import Loss, constants
from manual.losses.classes import CrossEntropyLoss
from manual.losses.equations import TRIED

__all__ = ["LinearCrossEntropyLoss"]

WEIGHT, LABELS = [0.5, 1.5, 2.0], np.array([2, 0, 1, 2])
GIVEN = {"in_features": 2, "num_classes": 3}


def _equations() -> Iterator[tuple[str, str]]:
    """Yield those of CrossEntropyLoss, of scores that are worked out."""
    element = "sum(c, q[n,c] * (log(sum(k, exp(z[n,k]))) - z[n,c]))"
    labels = "u[n] * w[c] * ((1 - smoothing) * (c == t[n]) + smoothing / C)"
    shares = "w[c] * ((1 - smoothing) * r[n,c] + smoothing / C)"
    divisor = "\nwhere D = sum(n, 0 <= n < N, u[n] * w[t[n]])"
    for soft, q, by, where in (
        ("", labels, "D", divisor), ("probabilities", shares, "N", ""),
    ):  # fmt: skip
        for none, bias in (("", " + b[k]"), ("no linear.bias", "")):
            given = (
                f"\nwhere p[n,k] = exp(z[n,k]) / sum(j, exp(z[n,j]))\nwhere q[n,c] = {q}"
                f"\nwhere z[n,k] = sum(i, x[n,i] * W[k,i]){bias}"
            )
            for name, head, factor in (
                ("", f"L = sum(n, {element}) / {by}", f" / {by}"),
                ("sum", f"L = sum(n, {element})", ""),
                ("none", f"l[n] = {element}", " * dy[n]"),
            ):
                texts = {
                    "output": head,
                    "grad_input": "dx[n,i] = sum(k, e[n,k] * W[k,i])",
                    "grad_target": f"dr[n,c] = -(1 - smoothing) * w[c] * log(p[n,c]){factor}",
                    "grad:linear.weight": "dW[k,i] = sum(n, e[n,k] * x[n,i])",
                    "grad:linear.bias": "db[k] = sum(n, e[n,k])",
                }
                slope = "(p[n,k] * sum(c, 0 <= c < C, q[n,c]) - q[n,k])"
                given_here = f"\nwhere e[n,k] = {slope}{factor}{given}{'' if name else where}"
                if not soft:
                    del texts["grad_target"]
                if none:
                    del texts["grad:linear.bias"]
                variant = ", ".join(filter(None, (soft, none, name)))
                for role, text in texts.items():
                    yield f"{role}/{variant}".removesuffix("/"), text + given_here


class LinearCrossEntropyCache(NamedTuple):
    x: Array  # (N, I), or (I,)
    inner: Any  # what the cross-entropy left


class LinearCrossEntropyLoss(Loss):
    """Linear and CrossEntropyLoss in one: of an input x (N, I) whose class scores are x Wᵀ + b.

    `out_features` gives each sample d1 · d2 · … scores of every class, for targets (N, d1, …); the
    rows of W are C · d1 · …, as torch holds them. Targets are those of CrossEntropyLoss.

    Args:
        in_features: I.
        num_classes: C.
        out_features: (d1, …), of one batch's samples alone.
        bias: whether b is added.
        reduction, weight, ignore_index, label_smoothing: as in CrossEntropyLoss; an `ignore_index`
            of None is -100.
        options: how torch splits the work, which changes no number; it is not looked at.

    Raises:
        ValueError: as CrossEntropyLoss; an input of other features; `ignore_index` is given and the
            target holds probabilities.
    """

    equations = dict(_equations())
    symbols = {
        "x": "input", "W": "linear.weight", "b": "linear.bias", "r": "target",
        "t": "cache.inner.samples.target", "u": "cache.inner.samples.kept", "w": "weight",
        "smoothing": "label_smoothing", "N": "input.shape.0", "C": "num_classes",
    }  # fmt: skip
    examples = (
        *(
            Example({**GIVEN, **settings, **reduction}, ((4, 2), LABELS))
            for settings in (
                {"bias": True},
                {"weight": WEIGHT, "ignore_index": 0, "label_smoothing": 0.125},
            )
            for reduction in TRIED
        ),
        *(
            Example(
                {"in_features": 3, "num_classes": 3, **settings},
                ((4, 3), Draw((4, 3), "simplex")),
            )
            for settings in (
                {"bias": True}, {"weight": WEIGHT, "label_smoothing": 0.125, "reduction": "sum"},
                {"bias": True, "reduction": "none"},
            )
        ),
        Example({**GIVEN, "bias": True}, ((2,), np.array(1))),
        Example(
            {**GIVEN, "out_features": (3,), "bias": True, "reduction": "none"},
            ((4, 2), np.array([[0, 2, 1], [1, 1, 0], [2, 0, 0], [0, 0, 2]])),
        ),
    )  # fmt: skip

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: Sequence[int] = (),
        bias: bool = False,
        reduction: str = "mean",
        weight: Sequence[float] | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
    ) -> None:
        super().__init__(reduction)
        self.in_features, self.num_classes = in_features, num_classes
        self.out_features, self.ignore_index = tuple(out_features), ignore_index
        self.weight, self.label_smoothing = constants(weight), label_smoothing
        if self.weight is not None and self.weight.shape != (num_classes,):
            raise ValueError(
                f"LinearCrossEntropyLoss: weight must hold one number per class, shape "
                f"({num_classes},), received shape {self.weight.shape}."
            )
        self.inner()  # refuses what it does not take
        rows = math.prod(self.out_features, start=num_classes)
        self.params = {"linear.weight": np.zeros((rows, in_features))}
        if bias:
            self.params["linear.bias"] = np.zeros(rows)

    def inner(self) -> CrossEntropyLoss:
        """Return the loss of the scores."""
        given = {} if self.ignore_index is None else {"ignore_index": self.ignore_index}
        return CrossEntropyLoss(
            None if self.weight is None else self.weight.tolist(),
            reduction=self.reduction, label_smoothing=self.label_smoothing, **given,
        )  # fmt: skip

    def forward(self, input: Array, target: Array) -> tuple[Array, LinearCrossEntropyCache]:  # type: ignore[override]
        self._check(input)
        z = input @ self.params["linear.weight"].T  # (N, C d1 …)
        if "linear.bias" in self.params:
            z = z + self.params["linear.bias"]
        shape = (*input.shape[:-1], self.num_classes, *self.out_features)
        self._check_target(shape, target)
        loss, inner = self.inner().forward(z.reshape(*shape), target)
        return loss, LinearCrossEntropyCache(input, inner)

    def backward(
        self, grad_output: Array, cache: LinearCrossEntropyCache
    ) -> tuple[tuple[Array, Array | None], Arrays]:
        r"""Chain rule through z = x Wᵀ + b and L = cross-entropy(z).

        Shapes: x (N, I), W (C, I), b (C,), z (N, C); with d1 · … scores of a class, C stands for
        C d1 …; L and dL one number, or (N, …) without reduction.
        dz as in CrossEntropyLoss: plainly dL/N (softmax(z) - one-hot)
        z_nk = Σ_i x_ni W_ki + b_k   ->   dx = dz W,   dW = dzᵀ x,   db = Σ_n dz_n
        Torch: nn.LinearCrossEntropyLoss.
        Source: CS231n, softmax classifier and its last layer.
        """
        x, inner = cache
        weight = self.params["linear.weight"]
        (dz, dt), _ = self.inner().backward(grad_output, inner)
        rows = dz.reshape(-1, len(weight))  # (N, C d1 …)
        grads = {"linear.weight": rows.T @ x.reshape(-1, self.in_features)}
        if "linear.bias" in self.params:
            grads["linear.bias"] = rows.sum(axis=0)
        return ((rows @ weight).reshape(*x.shape), dt), grads

    def variants(self, cache: LinearCrossEntropyCache) -> tuple[str, ...]:
        return ("probabilities",) if cache.inner.samples is None else ()

    def _check(self, input: Array) -> None:
        self.check_not_empty(input)
        batched = " a batch" if self.out_features else " one sample or a batch"
        if input.ndim not in ((2,) if self.out_features else (1, 2)) or (
            input.shape[-1] != self.in_features
        ):
            raise ValueError(
                f"LinearCrossEntropyLoss: the input must be{batched} of {self.in_features} "
                f"features, received {tuple(input.shape)}."
            )

    def _check_target(self, scores: tuple[int, ...], target: Array) -> None:
        if tuple(target.shape) == scores and self.ignore_index is not None:
            raise ValueError(
                f"LinearCrossEntropyLoss: ignore_index = {self.ignore_index} names a label, and "
                "the target holds probabilities. Leave it out."
            )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={'linear.bias' in self.params}, "
            f"{self.inner().extra_repr()}"
        )
