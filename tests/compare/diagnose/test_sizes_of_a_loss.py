"""A factor in the gradients of a whole loss is named by the number of its labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import compare

LABELS = np.array([0, 2, 1, 1, 2])


def classifier(wrong: Callable) -> Callable:
    def loss(X, y, W):
        s = X @ W
        p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
        d = p.copy()
        d[np.arange(len(y)), y] -= 1
        return -np.log(p[np.arange(len(y)), y]).mean(), wrong(X.T @ d / len(y), X)

    return loss


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda g, X: g * len(X), "5 = the batch size"),
        (lambda g, X: g / len(X), "0.2 = 1 / the batch size"),
    ],
)
def test_a_forgotten_mean_over_the_data_is_named(wrong: Callable, told: str) -> None:
    inputs: dict[str, Any] = {"X": (5, 4), "y": LABELS, "W": (4, 3)}

    assert compare.check(classifier(lambda g, _: g), inputs=inputs, no_grad=["X"]).agrees
    report = compare.check(classifier(wrong), inputs=inputs, no_grad=["X"], shrink=False)

    assert report.cause is not None
    assert told in report.cause.evidence
