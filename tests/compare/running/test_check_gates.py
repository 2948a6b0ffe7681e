"""Lengths that hang together: four gates in one product are four times as long as the state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import compare


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(x, h, c, Wx, Wh, b):
    H = h.shape[1]
    a = x @ Wx + h @ Wh + b
    i, f, o = (sigmoid(a[:, k * H : (k + 1) * H]) for k in range(3))
    g = np.tanh(a[:, 3 * H :])
    c_next = f * c + i * g
    t = np.tanh(c_next)
    return (o * t, c_next), (x, h, c, Wx, Wh, i, f, o, g, t)


def backward(d_outputs, cache):
    (dh, dc), (x, h, c, Wx, Wh, i, f, o, g, t) = d_outputs, cache
    dc = dc + dh * o * (1 - t**2)
    gates = [dc * g * i * (1 - i), dc * c * f * (1 - f), dh * t * o * (1 - o), dc * i * (1 - g**2)]
    da = np.hstack(gates)
    return da @ Wx.T, da @ Wh.T, dc * f, x.T @ da, h.T @ da, da.sum(axis=0)


def for_three_rows(d_outputs, cache):
    """Right for a batch of three and the inputs' own length alone."""
    dx, dh, dc, dWx, dWh, db = backward(d_outputs, cache)
    return dx, dh, dc, dWx, dWh, db * 3 / len(dx)


def for_two_units(d_outputs, cache):
    dx, dh, dc, dWx, dWh, db = backward(d_outputs, cache)
    return dx, dh, dc, dWx, dWh, db * 2 / dh.shape[1]


def run(derivation: Callable, width: int, units: int):
    inputs = {
        "x": (3, width), "h": (3, units), "c": (3, units),
        "Wx": (width, 4 * units), "Wh": (units, 4 * units), "b": (4 * units,),
    }  # fmt: skip
    cases = ("random", "other sizes", "non-square")
    return compare.check(forward, derivation, inputs=inputs, cases=cases, shrink=False)


@pytest.mark.parametrize(("width", "units"), [(4, 2), (4, 1), (5, 3), (8, 2)])
def test_a_right_step_of_an_lstm_agrees_whatever_its_sizes_share(width: int, units: int) -> None:
    report = run(backward, width, units)

    assert report.verdict == "agree", report.headline
    assert "other sizes" in set(report.differences["layer"])


def test_four_gates_take_another_length_with_the_state() -> None:
    assert run(for_two_units, 4, 2).verdict == "disagree"
    assert run(for_three_rows, 4, 1).verdict == "disagree"
