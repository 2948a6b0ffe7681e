"""The error gauge: its budget covers what rounding does, and nothing that is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from compare.gauge import Gauge, K, gauge, gauging

F32, F64 = np.dtype("float32"), np.dtype("float64")
UNIT = 2.0**-24

FUNCTIONS = {
    "exp": np.exp,
    "log": lambda x: np.log(np.abs(x) + 0.5),
    "log1p": lambda x: np.log1p(np.abs(x)),
    "expm1": np.expm1,
    "tanh": np.tanh,
    "sqrt": lambda x: np.sqrt(np.abs(x) + 0.1),
    "square": np.square,
    "reciprocal": lambda x: np.reciprocal(np.abs(x) + 0.5),
    "power": lambda x: (np.abs(x) + 0.5) ** 3,
    "erf": erf,
    "sin": np.sin,
    "cos": np.cos,
    "arctan": np.arctan,
    "divide": lambda x: x / (1.5 + x * x),
    "softmax": lambda x: (
        np.exp(x - x.max(axis=-1, keepdims=True))
        / np.exp(x - x.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True)
    ),
    "norm": lambda x: x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5),
    "centred": lambda x: x - np.mean(x, axis=0),
    "clipped": lambda x: np.clip(x, -0.5, 0.5),
    "chosen": lambda x: np.where(x > 0, x * 3.0, x / 3.0),
    "joined": lambda x: np.concatenate([x * 1.1, np.stack([x[0], x[1]])], axis=0),
    "moved": lambda x: np.swapaxes(x * 1.1, 0, 1).reshape(-1)[::2],
    "product": lambda x: (x * 1.1) @ (x * 0.7).T,
    "lowest": lambda x: np.min(x * 1.1, axis=1),
    "padded": lambda x: np.pad(x * 1.1, ((1, 1), (0, 0))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, derandomize=True, deadline=None)
def test_float32_stays_within_a_small_part_of_the_budget(name: str, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((4, 5)).astype(np.float32)
    function = FUNCTIONS[name]
    with gauging(F32):
        found = function(gauge(x))
    difference = np.abs(function(x) - function(x.astype(np.float64)))

    assert isinstance(found, Gauge)
    assert found.shape == difference.shape
    np.testing.assert_allclose(found.v, function(x.astype(np.float64)), rtol=1e-12, atol=1e-300)
    assert (difference <= found.tolerance(F32) * 32 / K).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_budget_is_far_below_a_one_percent_mistake(name: str) -> None:
    x = np.random.default_rng(1).standard_normal((4, 5)).astype(np.float32)
    with gauging(F64):
        found = FUNCTIONS[name](gauge(x))
    wrong = np.abs(found.v) * 0.01

    assert (wrong[found.v != 0] > found.tolerance(F64)[found.v != 0]).all()


def test_cancellation_keeps_the_error_of_what_cancelled() -> None:
    x = gauge(np.array([1.0]))
    with gauging(F32):
        third = x / 3.0
        rest = third - 1.0 / 3.0

    assert rest.v == 0
    assert rest.error[0] >= 1 / 3


def test_errors_grow_as_the_root_of_a_sum_of_squares_not_as_a_worst_case() -> None:
    with gauging(F32):
        total = (gauge(np.full(10_000, 0.1)) * 3.0).sum()
    worst_case = 10_000 * 10_000 * 0.3  # each of n additions rounds a sum of up to n · 0.3

    assert 30 < float(total.error) < worst_case / 1000


def test_exact_data_has_no_error() -> None:
    assert (gauge(np.ones(3)).error == 0).all()


def test_a_flushed_subnormal_stays_in_the_budget() -> None:
    x = np.array([-103.0], dtype=np.float32)
    with gauging(F32):
        tolerance = np.exp(gauge(x)).tolerance(F32)

    assert abs(0.0 - float(np.exp(np.float64(-103.0)))) <= tolerance[0]


def test_an_unknown_function_is_refused_with_what_is_known() -> None:
    with pytest.raises(TypeError, match=r"no rule for numpy.fliplr"):
        np.fliplr(gauge(np.ones((2, 2))))
    with pytest.raises(TypeError, match=r"no rule for the ufunc arcsinh"):
        np.arcsinh(gauge(np.ones(2)))


def test_writing_into_gauge_arrays_writes_errors_too() -> None:
    with gauging(F32):
        x = gauge(np.ones((2, 3))) * 1.5
        fresh = np.zeros_like(x)
        fresh[0, 1] = x[0, 1]
        np.put_along_axis(fresh, np.array([[2], [2]]), x[:, :1], axis=1)

    assert fresh.v.tolist() == [[0, 1.5, 1.5], [0, 0, 1.5]]
    assert (fresh.error > 0).tolist() == [[False, True, True], [False, False, True]]


def test_a_rival_within_rounding_of_the_winner_lends_its_error() -> None:
    exact, rough = gauge(np.array([1.0])), Gauge(np.array([1.0 - 1e-9]), np.array([100.0]))

    assert np.maximum(exact, rough).error[0] == 10
    assert np.maximum(exact, Gauge(np.array([0.5]), np.array([1.0]))).error[0] == 0


def test_in_place_arithmetic_updates_the_error() -> None:
    with gauging(F32):
        x = gauge(np.ones(3)) * 1.0
        x += gauge(np.ones(3))

    assert isinstance(x, Gauge)
    assert (x.v == 2).all()
    assert (x.error > 2).all()


@pytest.mark.parametrize("scale", [1e-140, 1e-155, 1e-170, 1e-300])
def test_values_whose_squares_underflow_keep_a_budget(scale: float) -> None:
    x = np.array([scale, 3 * scale]) * 1.1
    with gauging(F64):
        found = (gauge(x) * 0.7) * 1.3
    other = x * (0.7 * 1.3)

    assert (np.abs(found.v - other) <= found.tolerance(F64)).all()


def test_a_percent_off_is_still_caught_in_small_values() -> None:
    x = np.array([1e-100])
    with gauging(F64):
        found = gauge(x) * 0.7

    assert abs(found.v * 0.01) > found.tolerance(F64)


def test_moving_a_single_number_keeps_its_error() -> None:
    with gauging(F64):
        total = np.sum(gauge(np.arange(3.0)) * 1.1)

        moves: tuple[Any, ...] = (
            total.reshape(1),
            total.reshape(1, 1)[0],
            np.expand_dims(total, 0),
        )
        for moved in moves:
            assert moved.error.item() == total.error.item() > 0
