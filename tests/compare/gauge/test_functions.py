"""Every rule: NumPy's values, errors that cover what rounding does, and not much more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from compare.gauge import Gauge, K, gauge, gauging
from compare.gauge.smooth import BENDING
from tests.compare.gauge.functions import FUNCTIONS

F32, F64 = np.dtype("float32"), np.dtype("float64")
SCIPY = ("erf", "erfc", "expit", "log_expit", "ndtr")  # not in extended precision


def data(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((4, 5)).astype(np.float32)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, derandomize=True, deadline=None)
def test_float32_stays_within_a_small_part_of_the_budget(name: str, seed: int) -> None:
    x = data(seed)
    function = FUNCTIONS[name]
    with gauging(F32):
        found = function(gauge(x))
    expected = function(x.astype(np.float64))
    difference = np.abs(function(x) - expected)

    assert isinstance(found, Gauge)
    assert found.shape == difference.shape
    np.testing.assert_allclose(found.v, expected, rtol=1e-12, atol=1e-14 * abs(expected).max())
    assert (difference <= found.tolerance(F32) * 32 / K).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_budget_is_far_below_a_one_percent_mistake(name: str) -> None:
    with gauging(F64):
        found = FUNCTIONS[name](gauge(data(1)))
    wrong = np.abs(found.v) * 0.01

    assert (wrong[found.v != 0] > found.tolerance(F64)[found.v != 0]).all()


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="needs extended precision")
@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in SCIPY])
def test_errors_of_the_arguments_are_passed_on_as_sampled(name: str) -> None:
    """The argument errs by up to 200 u: E is what that does to the result, within a factor."""
    rng, u = np.random.default_rng(3), 2.0**-53
    x, error = data(2).astype(np.float64), rng.uniform(20, 200, (4, 5))
    exact = FUNCTIONS[name](x.astype(np.longdouble))
    squares = np.zeros(exact.shape)
    for _ in range(60):
        moved = x + u * error * rng.standard_normal(x.shape)
        squares += np.square((FUNCTIONS[name](moved) - exact).astype(np.float64) / u) / 60
    with gauging(F64):
        found = FUNCTIONS[name](Gauge(x, np.square(error))).error
    sampled = np.sqrt(squares)

    ratio = found[sampled > 0] / sampled[sampled > 0]

    assert (sampled <= 2.2 * found).all()
    assert np.median(ratio) < 2.5
    assert ratio.max() < 60


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_of_nothing_but_exact_data_are_never_negative_or_nan(name: str) -> None:
    with gauging(F32):
        found = FUNCTIONS[name](gauge(np.round(data(4))))

    assert (found.error[np.isfinite(found.v)] >= 0).all()


def test_a_sum_leaves_out_what_where_leaves_out() -> None:
    x, kept = Gauge(np.arange(4.0), np.full(4, 9.0)), np.array([True, False, True, True])
    with gauging(F64):
        found = np.sum(x, where=kept)

    assert found.v == 5
    assert found.error == pytest.approx(np.sqrt(3 * 9 + 3 * (0 + 4 + 9)))


def test_a_power_at_zero_has_no_infinite_error() -> None:
    with gauging(F64):
        for b in (0.5, 1.5, 0, gauge(np.array([0.7])) * 1.1):
            found = Gauge(np.zeros(1), np.array(0.0)) ** b
            assert np.isfinite(found.error).all()


@pytest.mark.parametrize(
    "pick",
    [
        lambda a: np.maximum(a, 5.0),
        lambda a: np.minimum(a, -5.0),
        lambda a: np.clip(a, -1.0, 1.0),
        lambda a: np.max(a),
        lambda a: np.sort(a),
    ],
    ids=["maximum", "minimum", "clip", "max", "sort"],
)
def test_an_error_of_which_nothing_is_known_may_decide_a_choice(pick) -> None:
    """Infinity times zero leaves a nan for an error: it must not count as none."""
    numbers = np.array([2.0, 3.0, 4.0])
    with gauging(np.float32):
        found = pick(Gauge(numbers, np.array([np.nan, 0.0, 0.0])))
        known = pick(Gauge(numbers, np.array([1.0, 0.0, 0.0])))

    assert np.isinf(found.error).any()
    assert np.isfinite(known.error).all()


def test_an_infinity_decides_a_choice_whatever_its_error() -> None:
    with gauging(np.float32):
        found = np.maximum(Gauge(np.array([-np.inf]), np.array([np.nan])), -100.0)

    assert found.error == 0


def test_neighbours_within_rounding_share_the_larger_error_when_sorted() -> None:
    x = Gauge(np.array([3.0, 1.0, 1 + 1e-9, 1 + 2e-9]), np.array([0.0, 1.0, 1e4, 4.0]))

    with gauging(F32):
        assert np.sort(x).error.tolist() == [100, 100, 100, 0]
    with gauging(F64):  # whose rounding does not reach so far
        assert np.sort(x).error.tolist() == [1, 100, 2, 0]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.sum(x, dtype=np.int64),
        lambda x: np.sum(x, 0, None, np.zeros(3)),
        lambda x: np.average(x, returned=True),
        lambda x: np.median(x, axis=(0, 1)),
        lambda x: np.linalg.norm(x, ord=2),
        lambda x: np.linalg.norm(x, "nuc"),
        lambda x: np.pad(x, 1, lambda *_: None),
        lambda x: np.pad(x, 5, "reflect", reflect_type="odd"),
        lambda x: np.pad(x, 1, "edge", constant_values=3.0),
        lambda x: np.add(x, x, where=x.v > 0),
        lambda x: np.add(x, x, dtype=np.float32),
        lambda x: np.argmax(x, nonsense=1),
        lambda x: np.sort(x, order="f"),
        lambda x: np.cumsum(x, dtype=np.int64),
        lambda x: np.einsum(x, [0, 1], [1]),
        lambda x: np.diff(x, prepend=0),
        lambda x: np.diff(x, append=0),
        lambda x: np.clip(x, 0, 1, dtype=np.float32),
        lambda x: np.multiply.at(np.zeros(3), [0], x[0]),
        lambda x: np.add.at(np.zeros((2, 3)), [0], x[0]),
        lambda x: np.put_along_axis(np.zeros((2, 3)), np.array([[0], [1]]), x[:, :1], 1),
        lambda x: np.copyto(np.zeros((2, 3)), x),
        lambda x: np.asarray(x),
        lambda x: np.array([x, x]),
        lambda x: float(x[0, 0]),
        lambda x: np.spacing(x),
        lambda x: np.kron(x, x),
        lambda x: np.linalg.svd(x),
    ],
)
def test_what_the_gauge_does_not_know_is_refused(call) -> None:
    with gauging(F64), pytest.raises((TypeError, ValueError), match=r"\w{4}"):
        call(gauge(np.ones((2, 3))) * 1.1)


def test_an_unknown_function_is_refused_with_what_is_known() -> None:
    with pytest.raises(TypeError, match=r"no rule for numpy.kron.*cumsum"):
        np.kron(gauge(np.ones((2, 2))), np.ones((2, 2)))
    with pytest.raises(TypeError, match=r"no rule for the ufunc spacing"):
        np.spacing(gauge(np.ones(2)))
    with pytest.raises(TypeError, match=r"rule for numpy.diff does not know append=, prepend="):
        np.diff(gauge(np.ones(2)), prepend=0, append=0)


def test_answers_about_values_are_ordinary_arrays() -> None:
    x, ordinary = gauge(np.array([[3.0, 1.0, 2.0]])) * 1.0, np.array([[3.0, 1.0, 2.0]])

    assert np.argsort(x).tolist() == x.argsort().tolist() == [[1, 2, 0]]
    assert np.searchsorted(np.array([1.5, 2.5]), x).tolist() == [[2, 0, 1]]
    assert (np.logical_or(x > 2, x < 1.5) == np.logical_or(ordinary > 2, ordinary < 1.5)).all()
    assert np.allclose(x, ordinary)
    assert type(x > 2) is np.ndarray
    assert x.any()
    mask = np.zeros((1, 3), bool)
    assert np.greater(x, 1.5, out=mask) is mask
    assert mask.tolist() == [[True, False, True]]


@pytest.mark.parametrize("by", [30.0, 1e3, 1e30])
@pytest.mark.parametrize("name", sorted(BENDING))
def test_errors_beyond_1_count_what_a_function_changes_by_on_the_way(name: str, by: float) -> None:
    """A derivative that is flat says nothing of what lies further off."""
    function = getattr(np, name, None) or getattr(special, name)
    x, reach = np.array([-9.0, 0.5, 9.0]), K * 2.0**-53
    with gauging(F64), np.errstate(all="ignore"):
        found, near = (function(Gauge(x, np.full(3, (e / reach) ** 2))) for e in (by, 1e-3))
        ends = np.abs(function(x + by) - found.v), np.abs(found.v - function(x - by))
        slope = np.abs(function(x + 1e-3) - function(x - 1e-3)) / 2

    assert (found.tolerance(F64) * (1 + 1e-9) >= np.fmax(*ends)).all()
    np.testing.assert_allclose(near.tolerance(F64), slope, rtol=1e-2, atol=1e-12)


@pytest.mark.parametrize("x", [-50.0, 50.0])
def test_either_of_two_may_be_the_larger_where_errors_reach_as_far(x: float) -> None:
    reach = K * 2.0**-53
    with gauging(F64):
        far, near = (
            np.logaddexp(0.0, Gauge(np.array([x]), np.array([(e / reach) ** 2])))
            for e in (1e3, 1.0)
        )

        close = np.logaddexp(0.0, Gauge(np.array([x]), np.array([(30 / reach) ** 2])))
        change = np.logaddexp(0.0, x + 30) - np.logaddexp(0.0, x)

    assert close.tolerance(F64) >= change
    assert far.tolerance(F64) >= 950
    assert near.tolerance(F64) <= (1.01 if x > 0 else 1e-12)


@pytest.mark.parametrize("name", ["exp", "tanh", "expit", "erf"])
def test_a_mask_of_the_lowest_number_stays_where_the_function_is_flat(name: str) -> None:
    """Its error squares to 1e584, which only the wide squares hold."""
    function = getattr(np, name, None) or getattr(special, name)
    lowest = np.array([np.finfo(np.float64).min])
    with gauging(F64, wide=True):
        found = function(gauge(lowest) * 1.0 - 5.0)

    assert (found.tolerance(F64) < 1e-12).all()
