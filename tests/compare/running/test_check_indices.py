"""Indices that repeat: every one of them adds its part of the gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import compare
from compare.running.cases.cases import repeated

ONCE = np.array([0, 3, 4])


def looked_up(W, i):
    return W[i], (W.shape, i)


def adds(dy, cache):
    shape, i = cache
    dW = np.zeros(shape)
    np.add.at(dW, i, dy)
    return dW


def writes(dy, cache):
    shape, i = cache
    dW = np.zeros(shape)
    dW[i] = dy
    return dW


def adds_once(dy, cache):
    shape, i = cache
    dW = np.zeros(shape)
    dW[i] += dy
    return dW


def check(backward: Callable, i: np.ndarray, rows: int = 5, reference=None):
    inputs = {"W": (rows, 2), "i": i}
    return compare.check(looked_up, backward, reference, inputs, shrink=False)


@pytest.mark.parametrize("reference", [None, lambda W, i: W[i]])
@pytest.mark.parametrize("wrong", [writes, adds_once])
def test_what_keeps_one_of_equal_indices_is_caught(wrong: Callable, reference) -> None:
    report = check(wrong, ONCE, reference=reference)

    assert check(adds, ONCE, reference=reference).agrees
    assert report.verdict == "disagree"
    assert report.first_divergence is not None
    assert report.first_divergence.layer == "repeated indices"
    assert "np.add.at(dW, i, dy) adds" in report.first_divergence.explanation


def test_a_permutation_whose_indices_never_repeat_may_leave_the_case_out() -> None:
    def gathers(dy, cache):
        return dy[np.argsort(cache[1])]

    def run(**options):
        inputs = {"W": (3, 2), "i": np.array([2, 0, 1])}
        return compare.check(looked_up, gathers, inputs=inputs, resize=False, **options)

    assert run().first_divergence.layer == "repeated indices"
    assert "leave the case out: cases=['-repeated']" in run().first_divergence.explanation
    assert run(cases=["-repeated"]).agrees


def test_indices_that_repeat_already_stay_as_they_are() -> None:
    report = check(adds, np.array([0, 3, 0]))

    assert report.agrees
    assert "repeated indices" not in set(report.differences["layer"])


def test_what_is_refused_is_not_tried() -> None:
    def forward(W, i):
        if len(set(i)) < len(i):
            raise ValueError("each once")
        return W[i], (W.shape, i)

    report = compare.check(forward, writes, inputs={"W": (5, 2), "i": ONCE}, shrink=False)

    assert report.agrees


def test_sorted_integers_stay_sorted() -> None:
    assert repeated(np.array([0, 3, 4, 7, 9])).tolist() == [0, 0, 4, 4, 9]
    assert repeated(np.array([[5, 1], [2, 0]])).tolist() == [[5, 5], [2, 2]]
