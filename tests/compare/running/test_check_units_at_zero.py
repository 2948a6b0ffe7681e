"""Units whose weights are all zero have a kink for every sample, and a program picks a side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import compare
from compare.pair.numeric import along

pytestmark = pytest.mark.usefixtures("verdict_alone")


def network(at_zero: float, mean: float = 1.0) -> Callable:
    """Two layers, softmax and cross-entropy, by hand; `at_zero` is ReLU's slope there."""

    def loss(X, y, W1, b1, W2, b2):
        z = X @ W1 + b1
        h = np.maximum(0, z)
        s = h @ W2 + b2
        s = s - s.max(axis=1, keepdims=True)
        p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
        d = p.copy()
        d[np.arange(len(y)), y] -= 1
        d /= len(y)
        dz = d @ W2.T * np.where(z > 0, 1.0, np.where(z == 0, at_zero, 0.0))
        grads = {"W1": X.T @ dz, "b1": dz.sum(axis=0) * mean, "W2": h.T @ d, "b2": d.sum(axis=0)}
        return -np.log(p[np.arange(len(y)), y]).mean(), grads

    return loss


def inputs(rows: int, seed: int) -> dict[str, Any]:
    """Two of six hidden units are zero."""
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {"X": rng.standard_normal((rows, 4)), "y": rng.integers(0, 3, rows)}
    found |= {"W1": rng.standard_normal((4, 6)), "b1": rng.standard_normal(6)}
    found |= {"W2": rng.standard_normal((6, 3)), "b2": rng.standard_normal(3)}
    found["W1"][:, :2] = found["b1"][:2] = 0.0
    return found


def checked(function: Callable, given: dict[str, Any]) -> compare.Report:
    return compare.check(function, inputs=given, no_grad=["X"], cases=["given"], shrink=False)


@pytest.mark.parametrize("rows", [5, 20])
@pytest.mark.parametrize("at_zero", [0.0, 0.5, 1.0])
def test_any_slope_between_the_sides_is_a_convention(at_zero: float, rows: int) -> None:
    for seed in range(5):
        assert checked(network(at_zero), inputs(rows, seed)).agrees


@pytest.mark.parametrize("rows", [5, 20])
@pytest.mark.parametrize("at_zero", [-0.5, 1.5, 3.0])
def test_a_slope_beyond_both_is_a_mistake(at_zero: float, rows: int) -> None:
    for seed in range(3):
        assert checked(network(at_zero), inputs(rows, seed)).verdict == "disagree"


@pytest.mark.parametrize("mean", [0.99, 0.05])
def test_a_mistake_elsewhere_is_not_excused_by_them(mean: float) -> None:
    for seed in range(5):
        assert checked(network(0.0, mean), inputs(20, seed)).verdict == "disagree"


KINKS: dict[str, Callable] = {
    f"|x| beside {curvature:g} x²": lambda x, c=curvature: np.abs(x) + c * x * x
    for curvature in (0.0, 1.0, 100.0, 1e4, -1e4)
}
SMOOTH: dict[str, Callable] = {
    "x⁴": lambda x: x**4,
    "x² beside x⁴": lambda x: x**2 - x**4,
    "x³": lambda x: x**3,
    "tanh": np.tanh,
    "a steep sigmoid": lambda x: 1 / (1 + np.exp(-1e3 * x)),
    "a rounded corner": lambda x: np.sqrt(x * x + 1e-4),
    "cosine": lambda x: np.cos(30 * x),
}


def slope(function: Callable, x: float) -> Any:
    values = {"x": np.array([x])}
    return along(lambda v: (function(v["x"]),), values, {"x": np.ones(1)}, [np.ones(1)])


@pytest.mark.parametrize("name", KINKS)
def test_a_kink_is_seen_beside_curvature(name: str) -> None:
    found = slope(KINKS[name], 0.0)

    assert found.kinked
    assert found.low <= -0.9
    assert found.high >= 0.9


@pytest.mark.parametrize("x", [0.0, 0.01, 0.5])
@pytest.mark.parametrize("name", SMOOTH)
def test_what_is_smooth_has_no_kink(name: str, x: float) -> None:
    assert not slope(SMOOTH[name], x).kinked
