"""Sketches: errors that add up are followed, and a mistake beside them is still a mistake."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import compare
from compare.description.config import Config
from compare.gauge import Gauge, K, gauge, gauging, sketching
from compare.gauge.correlated import signs
from compare.gauge.state import SINGLE
from tests.compare.gauge.functions import FUNCTIONS
from tests.compare.gauge.test_functions import F32, F64

RUNS = 40


def estimated(function: Callable, x: np.ndarray, dtype: np.dtype = F64) -> np.ndarray:
    """Return E from sketches."""
    squares = 0.0
    for number in range(RUNS):
        with sketching(dtype, number):
            squares = squares + np.square(function(gauge(x)).e2)
    return np.sqrt(squares / RUNS)


def expected(function: Callable, x: np.ndarray, dtype: np.dtype = F64) -> np.ndarray:
    """Return E from the gauge."""
    with gauging(dtype):
        return function(gauge(x)).error


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"clipped"}))
def test_independent_errors_are_estimated_as_the_gauge_derives_them(name: str, dtype) -> None:
    x = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)

    found, derived = (e(FUNCTIONS[name], x, dtype) for e in (estimated, expected))

    assert (found <= 3 * derived).all()
    assert (found >= 0.2 * derived).mean() >= 0.9
    assert found.any()


def test_equal_errors_add_up_instead_of_averaging_out() -> None:
    equal = np.full((1, 400), 1.7)

    ratio = estimated(lambda x: np.sum(x * 1.1 - 1.5, axis=1), equal) / expected(
        lambda x: np.sum(x * 1.1 - 1.5, axis=1), equal
    )

    assert 3 < ratio.item() < 400**0.5


def test_equal_rows_need_not_err_alike() -> None:
    """A matrix product adds up its last rows in another order than the others."""
    rows = np.full((6, 1), 1.7)

    def apart(x):
        y = np.exp(x * 1.1)
        return (y - np.sum(y, axis=0) / 6) * 1e6

    assert (estimated(apart, rows) > 0.2 * expected(apart, rows)).all()


@pytest.mark.parametrize("power", [0.08, 0.7])
def test_a_small_power_of_zero_is_off_by_no_more_than_the_power_of_the_error(power: float) -> None:
    nothing = np.array([1.7, 0.3])

    def bent(x):
        return np.power(np.abs(x * 1.1 - x * 1.1), power)

    most = (8 * 2.0**-53) ** power / 2.0**-53
    assert (expected(bent, nothing) > 0).all()
    assert (expected(bent, nothing) <= most).all()
    assert np.isfinite(estimated(bent, nothing)).all()


def test_an_error_that_cancels_is_not_counted_twice() -> None:
    x = np.random.default_rng(1).standard_normal(50)

    def cancelled(x):
        y = np.exp(x)
        return y - y * 1.0

    assert (estimated(cancelled, x) < 0.3 * expected(cancelled, x)).all()


@pytest.mark.parametrize("noise", [1e-9, 1e140])
def test_noise_that_a_bound_cuts_is_off_by_up_to_the_whole_range(noise: float) -> None:
    """(x / 3 + 1) - x / 3 - 1 is rounding: its sign is any, and so is the bound that it meets."""
    rng = np.random.default_rng(2)

    def cut(x):
        third = x * noise / 3
        return np.clip(((third + noise) - third - noise) / noise * 1e20, -0.5, 0.5)

    x = rng.uniform(1, 2, 50)

    assert (estimated(cut, x) * 256 * 2.0**-53 >= 0.1).all()
    assert (expected(cut, x) * 256 * 2.0**-53 >= 0.1).all()


def test_the_sign_of_an_error_follows_from_the_number() -> None:
    x = np.random.default_rng(2).standard_normal(1000)
    found = signs(x, "add")

    np.testing.assert_array_equal(found, signs(x.copy(), "add"))
    np.testing.assert_array_equal(signs(-x, "add"), -found)
    assert abs(found.mean()) < 0.2
    assert abs((found * signs(x, "multiply")).mean()) < 0.2
    assert abs((found[1:] * found[:-1]).mean()) < 0.2


def deep(dtype: str, init: dict) -> Config:
    """Return the network on which errors add up: wide layers with weights of one sign."""
    wide = [{"type": "Linear", "in_features": i, "out_features": 64} for i in (9, 64, 64, 64)]
    layers = [layer for linear in wide for layer in (linear, {"type": "Tanh"})]
    return Config.model_validate(
        {
            "data": {"dataset": "random_regression", "n": 64, "d_in": 9, "d_out": 1},
            "layers": [*layers, {"type": "Linear", "in_features": 64, "out_features": 1}],
            "loss": {"type": "MSELoss"},
            "train": {"steps": 1, "batch_size": 64, "dtype": dtype},
            "init": init,
        }
    )


ONE_SIGN = [{"scheme": "constant", "value": 0.1}, {"scheme": "normal", "mean": 0.1, "std": 0.01}]


@pytest.mark.parametrize("init", ONE_SIGN, ids=["constant", "normal"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_weights_of_one_sign_raise_no_false_alarm(dtype: str, init: dict) -> None:
    report = compare.run(deep(dtype, init))

    assert not report.differences.verdict.isin(["disagree", "non-finite", "missing"]).any()
    assert report.differences.budget_used.max() < 1


@pytest.mark.parametrize("init", ONE_SIGN, ids=["constant", "normal"])
def test_a_mistake_among_errors_that_add_up_is_still_named(init: dict) -> None:
    report = compare.run(deep("float64", init), plant="6.weight.grad*=1.01")

    assert report.verdict == "disagree"
    assert report.first_divergence is not None
    assert (report.first_divergence.layer, report.first_divergence.quantity) == ("6", "grad:weight")


def test_a_bound_that_noise_is_clipped_to_is_rounded_too() -> None:
    """0.1 is more in float32 than it is in float64, where the sketch computes."""
    with sketching(np.float32, 0):
        found = np.minimum(Gauge(np.array([0.0]), np.array([1e9])), 0.1)

    assert np.abs(found.e2) * K * SINGLE > np.float64(np.float32(0.1)) > 0.1
    assert np.abs(found.e2) * K * SINGLE < 0.1 * (1 + 2 * K * SINGLE)
