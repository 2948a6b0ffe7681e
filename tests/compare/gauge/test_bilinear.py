"""Functions marked as bilinear: the gauge follows them as one operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.gauge import Gauge, K, gauge, gauging, sketching
from manual.bilinear import bilinear

F32, F64 = np.dtype("float32"), np.dtype("float64")
calls: list[Any] = []


def convolved(x: Any, w: Any, stride: int = 1) -> Any:
    """A convolution by shifts: x (N, C, H, W), w (O, C, KH, KW)."""
    calls.append((type(x), type(w)))
    (_, _, H, W), (_, _, KH, KW) = x.shape, w.shape
    OH, OW = (H - KH) // stride + 1, (W - KW) // stride + 1
    y: Any = 0.0
    for i in range(KH):
        for j in range(KW):
            part = x[:, :, i : i + stride * OH : stride, j : j + stride * OW : stride]
            shifted = part.transpose(0, 2, 3, 1) @ w[:, :, i, j].T  # (N, OH, OW, O)
            y = y + shifted
    return y.transpose(0, 3, 1, 2)


convolution = bilinear(terms=lambda x, w, stride=1: w[0].size)(convolved)


def spread_out(dy: Any, w: Any, size: tuple[int, int]) -> Any:
    """The input's gradient; at the border fewer terms are summed."""
    (N, _, OH, OW), (_, C, KH, KW) = dy.shape, w.shape
    dx = np.zeros_like(dy, shape=(N, C, *size))
    for i in range(KH):
        for j in range(KW):
            part = dx[:, :, i : i + OH, j : j + OW]
            part += (dy.transpose(0, 2, 3, 1) @ w[:, :, i, j]).transpose(0, 3, 1, 2)
    return dx


def terms_of_each(dy: Any, w: Any, size: tuple[int, int]) -> Any:
    return spread_out(np.ones_like(dy), np.ones_like(w), size)


EACH = bilinear(terms_of_each)(spread_out)
MOST = bilinear(lambda dy, w, size: w[:, 0].size)(spread_out)
KINDS = ("exact", "rough")


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((2, 3, 6, 5)), rng.standard_normal((4, 3, 3, 2))


def lifted(array: np.ndarray, kind: str, rng: np.random.Generator) -> Gauge:
    return Gauge(array, 0.0 if kind == "exact" else rng.uniform(1, 1e4, array.shape))


def test_ordinary_arrays_and_other_numbers_pass_through() -> None:
    x, w = drawn(0)

    assert np.array_equal(convolution(x, w, stride=2), convolved(x, w, 2))
    assert convolution(x.astype(np.float32), w.astype(np.float32)).dtype == np.float32
    assert convolution(x + 1j, w).dtype == complex
    assert convolution(x.astype(object), w).dtype == object


@pytest.mark.parametrize("w_kind", KINDS)
@pytest.mark.parametrize("x_kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, derandomize=True, deadline=None)
def test_the_rule_is_as_wide_as_following_every_operation(
    x_kind: str, w_kind: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, w = drawn(seed)
    with gauging(F32):
        gx, gw = lifted(x, x_kind, rng), lifted(w, w_kind, rng)
        calls.clear()
        found = convolution(gx, gw)
        assert set(calls) == {(np.ndarray, np.ndarray)}
        slow = convolved(gx, gw)

    np.testing.assert_array_equal(found.v, convolved(x, w))
    assert (found.error >= 0.99 * slow.error).all() or x_kind == w_kind == "exact"
    assert (found.error <= 3 * slow.error).all()
    assert (found.error >= 0.5 * slow.error).all()


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e18])
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, derandomize=True, deadline=None)
def test_errors_of_arguments_and_of_the_sum_stay_within_the_budget(
    dtype: np.dtype, scale: float, seed: int
) -> None:
    rng, u = np.random.default_rng(seed), float(np.finfo(dtype).eps) / 2
    x, w = (a.astype(np.float32).astype(np.float64) for a in drawn(seed))
    x = (x * np.float32(scale)).astype(np.float32).astype(np.float64)
    error = 50.0 * np.abs(x)
    moved = x.astype(np.longdouble) + u * error * rng.standard_normal(x.shape)
    other = convolved(moved.astype(dtype), w.astype(dtype)).astype(np.longdouble)
    with gauging(dtype):
        found = convolution(Gauge(x, np.square(error)), gauge(w))
    exact = convolved(x.astype(np.longdouble), w.astype(np.longdouble))
    share = np.abs(other - exact) / found.tolerance(dtype)

    assert share.max() < 6 / K
    assert np.sqrt(np.mean(np.square(share))) > 0.1 / K


@pytest.mark.parametrize("marked", [EACH, MOST])
def test_terms_may_differ_between_elements(marked: Any) -> None:
    _, w = drawn(0)
    dy = np.random.default_rng(1).standard_normal((2, 4, 4, 4))
    with gauging(F64):
        found = marked(gauge(dy) * 1.1, gauge(w) * 1.1, (6, 5))
        slow = spread_out(gauge(dy) * 1.1, gauge(w) * 1.1, (6, 5))

    assert (found.error >= 0.6 * slow.error).all()
    assert (found.error <= 4 * slow.error).all()


@pytest.mark.parametrize(("x_kind", "w_kind", "expected"), [
    ("exact", "exact", 2), ("rough", "exact", 2), ("exact", "rough", 2), ("rough", "rough", 3),
])  # fmt: skip
def test_exact_arguments_cost_fewer_calls(x_kind: str, w_kind: str, expected: int) -> None:
    rng = np.random.default_rng(0)
    x, w = drawn(0)
    with gauging(F64):
        gx, gw = lifted(x, x_kind, rng), lifted(w, w_kind, rng)
        calls.clear()
        convolution(gx, gw)

    assert len(calls) == expected


def test_correlated_errors_follow_the_same_mark() -> None:
    x, w = drawn(0)
    squares = np.zeros((2, 4, 4, 4))
    for number in range(40):
        with sketching(F64, number):
            squares += np.square(convolution(gauge(x) * 1.1, gauge(w) * 1.1).e2) / 40
    with gauging(F64):
        derived = convolution(gauge(x) * 1.1, gauge(w) * 1.1).error

    assert (np.sqrt(squares) < 3 * derived).all()
    assert (np.sqrt(squares) > 0.2 * derived).mean() > 0.9


def test_a_function_with_minus_signs_is_refused() -> None:
    crossed = bilinear(terms=lambda a, b: 2)(
        lambda a, b: a[..., :1] * b[..., 1:] - a[..., 1:] * b[..., :1]
    )
    a = gauge(np.array([[1.0, 2.0], [3.0, 0.5]])) * 1.1
    with gauging(F64), pytest.raises(TypeError, match="minus sign"):
        crossed(a, a[::-1])
