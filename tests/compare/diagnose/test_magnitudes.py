"""A gradient that is wrong for large, tiny or wide numbers alone."""

from __future__ import annotations

import numpy as np

import compare

INPUTS = {"z": (5, 3), "y": np.array([0, 2, 1, 1, 0])}


def clipped(z, y):
    """A cross-entropy whose gradient goes through the clip."""
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    d = p.copy()
    d[rows, y] -= 1
    return -np.log(np.clip(p[rows, y], 1e-7, 1 - 1e-7)).mean(), d / len(y)


def linear_beyond(x):
    """A softplus whose slope is given up too early."""
    return np.logaddexp(0, x).sum(), np.where(x > 9, 1.01, 1 / (1 + np.exp(-x)))


def told(function, inputs, **options) -> str:
    report = compare.check(function, inputs=inputs, shrink=False, **options)
    assert report.verdict == "disagree"
    assert report.first_divergence is not None
    return report.first_divergence.explanation


def test_where_forward_is_clipped_and_backward_is_not_the_clip_is_asked_about() -> None:
    text = told(clipped, INPUTS)

    assert "Forward does not move there: is something clipped" in text
    assert "leave them out: cases=['-large', '-wide']" in text
    assert compare.check(clipped, inputs=INPUTS, cases=["-large", "-wide"]).agrees


def test_a_wrong_slope_for_large_numbers_is_no_clip() -> None:
    text = told(linear_beyond, {"x": (4, 3)})

    assert "does not move" not in text
    assert "If such numbers never reach this code" in text


def test_what_is_wrong_everywhere_is_not_to_be_left_out() -> None:
    assert "leave them out" not in told(lambda x: (np.sum(x**2), x), {"x": (4, 3)})
