"""Central differences of a candidate's own forward: how right they are; kinks."""

from __future__ import annotations

import numpy as np
import pytest

import compare
from compare.pair.numeric import along, slopes
from compare.report.rendering.html import report_html

FUNCTIONS = {
    "cube": (lambda x: x**3, lambda x: 3 * x**2),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "exp": (np.exp, np.exp),
    "line": (lambda x: 3 * x, lambda x: 3 * np.ones_like(x)),
    "rough": (lambda x: np.sin(40 * x), lambda x: 40 * np.cos(40 * x)),
}


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e2])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_smooth_derivative_lies_within_its_error(name: str, scale: float) -> None:
    f, derivative = FUNCTIONS[name]
    x = np.random.default_rng(0).standard_normal((3, 2)) * scale
    if name == "exp":
        x = np.minimum(x, 5.0)
    dy = np.random.default_rng(1).standard_normal((3, 2))
    found = slopes(lambda v: (f(v["x"]),), {"x": x}, "x", [dy])

    off = np.abs(found.value - dy * derivative(x))
    assert (off <= 8 * found.error).all()
    np.testing.assert_allclose(found.value, dy * derivative(x), rtol=1e-7, atol=1e-7)
    assert (found.low == found.high).all()


def test_at_a_kink_both_one_sided_derivatives_are_returned() -> None:
    x = np.array([0.0, 1.0, -2.0])
    dy = np.array([3.0, 1.0, 1.0])
    found = slopes(lambda v: (np.maximum(v["x"], 0),), {"x": x}, "x", [dy])

    np.testing.assert_allclose(found.low, [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(found.high, [3, 1, 0], atol=1e-6)
    assert list(found.low < found.high) == [True, False, False]


def test_where_forward_has_no_value_there_is_no_slope() -> None:
    def unit(v):  # rows of length 1, and none of a row of zeros
        return (v["x"] / np.sqrt((v["x"] ** 2).sum(1, keepdims=True)) * v["g"],)

    values = {"x": np.array([[0.0, 0.0]]), "g": np.array([[0.0]])}
    with np.errstate(invalid="ignore"):
        found = slopes(unit, values, "x", [np.ones((1, 2))])
    beside = slopes(unit, {**values, "x": np.array([[0.0, 3.0]])}, "x", [np.ones((1, 2))])

    assert np.isnan(found.value).all()
    assert np.isfinite(beside.value).all()


def test_a_weight_norm_without_a_value_at_zero_is_not_wrong_there() -> None:
    def forward(x, v, g):
        n = np.sqrt((v * v).sum(1))
        w = v * (g / n)[:, None]
        return x @ w.T, (x, v, g, n, w)

    def backward(d, cache, sign=1):
        x, v, g, n, w = cache
        dw = d.T @ x
        dg = (dw * v).sum(1) / n
        return d @ w, (g / n)[:, None] * dw - sign * (g * dg / n**2)[:, None] * v, dg

    inputs = {"x": (3, 4), "v": (5, 4), "g": (5,)}
    assert compare.check(forward, backward, inputs=inputs).agrees
    wrong = compare.check(forward, lambda d, cache: backward(d, cache, -1), inputs=inputs)
    assert wrong.verdict == "disagree"
    assert "only in the case" not in wrong.reason


def test_along_a_direction_all_inputs_move_together() -> None:
    values = {"x": np.array([1.0, 2.0]), "w": np.array([3.0, -1.0])}
    directions = {"x": np.array([1.0, 0.5]), "w": np.array([0.0, 2.0])}
    found = along(lambda v: (v["x"] * v["w"],), values, directions, [np.array([1.0, 1.0])])

    assert found.value == pytest.approx(3.0 + (-0.5 + 4.0), abs=1e-9)


def big_forward(x):
    return np.tanh(x), x


def big_backward(dout, x):
    return dout * (1 - np.tanh(x) ** 2)


def test_a_large_input_is_judged_along_random_directions() -> None:
    def wrong(dout, x):
        return big_backward(dout, x) * (1 + 1e-6)

    inputs = {"x": (40, 30)}
    right = compare.check(big_forward, big_backward, None, inputs, cases=["random"])
    bad = compare.check(big_forward, wrong, None, inputs, cases=["random"], shrink=False)

    assert right.agrees, str(right)
    assert right.differences.query("quantity == 'grad:x'")["shape"].item() == "6"
    assert bad.verdict == "disagree"


def test_slow_code_is_judged_along_random_directions_and_a_note_says_so() -> None:
    def forward(x, w):
        y = np.zeros(len(x))
        for i in range(len(x)):
            for j in range(200):  # slow
                y[i] += x[i] * w[j]
        return y, (x, w)

    def backward(dy, cache):
        x, w = cache
        return dy * w.sum(), np.full(len(w), dy @ x)

    def wrong(dy, cache):
        return backward(dy, cache)[0], np.full(200, dy @ cache[0]) * 1.0001

    inputs = {"x": (8,), "w": (200,)}
    right, caught = (
        compare.check(forward, b, None, inputs, budget=0.5, shrink=False, cases=["random", "ties"])
        for b in (backward, wrong)
    )

    assert right.agrees, str(right)
    assert "This code is slow: in " in right.notes[0]
    assert "random directions, not element by element" in right.notes[0]
    assert right.abridged == ("2 cases compared along random directions alone",)
    page = report_html(right)
    assert "Not every element was compared: 2 cases compared along random directions" in page
    assert "nothing was left out" not in page
    assert right.abridged[0] in str(right)
    assert not caught.agrees
    assert "grad:w" in caught.reason


def test_beyond_its_budget_a_check_leaves_cases_out_and_names_them() -> None:
    report = compare.check(
        lambda x: (np.tanh(x), x), lambda dy, x: dy / np.cosh(x) ** 2, None, {"x": (3,)}, budget=0.0
    )

    assert report.agrees
    assert report.steps == 1
    left = next(note for note in report.notes if note.startswith("Cases that there was no time"))
    assert report.abridged[-1].endswith("cases left out for want of time")
    assert "nothing was left out" not in report_html(report)
    assert "'ties'" in left


@pytest.mark.parametrize("eps", [1e-5, 1e-8, 1e-10, 1e-12, 1e-14])
@pytest.mark.parametrize("missing", [0.0, 1e-3])
def test_a_slope_within_a_millionth_is_followed_to_smaller_steps(
    eps: float, missing: float
) -> None:
    """A row of zeros, normalised with a small epsilon: no step may convict that cannot see it."""

    def forward(x: np.ndarray) -> tuple:
        n = np.sqrt((x**2).sum(-1, keepdims=True) + eps)
        return x / n, (x, n)

    def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
        x, n = cache
        along = (1 - missing) * x * (dy * x).sum(-1, keepdims=True)
        return dy / n - along / n**3

    report = compare.check(forward, backward, inputs={"x": (4, 5)})

    assert report.verdict == ("disagree" if missing else "agree"), report.reason


def test_what_never_settles_is_not_known() -> None:
    """The slope of a root at 0 grows with every smaller step."""
    found = along(
        lambda v: (np.sign(v["x"]) * np.sqrt(np.abs(v["x"])),), {"x": np.array([0.0, 1.0])},
        {"x": np.array([1.0, 0.0])}, [np.ones(2)],
    )  # fmt: skip

    assert np.isinf(found.error)


@pytest.mark.parametrize("beside", [0, 1, 10])
def test_a_rough_forward_is_judged_by_larger_steps(beside: float) -> None:
    """In float32 a small step changes nothing, or all: what is flat there is no derivative."""
    x = np.random.default_rng(0).uniform(0.5, 2.0, (3, 2))

    def forward(values: dict) -> tuple:
        single = np.float32(beside) + np.float32(values["x"]) ** 2
        return (np.float64(single),)

    found = slopes(forward, {"x": x}, "x", [np.ones((3, 2))])

    assert np.isfinite(found.error).all()
    np.testing.assert_allclose(found.value, 2 * x, rtol=0.01)


def test_of_a_check_that_compared_every_element_nothing_is_said_to_be_left_out() -> None:
    report = compare.check(
        lambda x: (x**3, x), lambda dy, x: 3 * dy * x**2, None, {"x": (3,)}, cases=["random"]
    )

    assert report.abridged == ()
    assert "nothing was left out" in report_html(report)


def test_a_float32_overflow_is_told_so_without_a_reference() -> None:
    """Central differences lack digits beside float64: they are no second mistake."""

    def tanh(x: np.ndarray) -> np.ndarray:
        return (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))

    report = compare.check(
        lambda x: (tanh(x), x), lambda dy, x: dy * (1 - tanh(x) ** 2), None, {"x": (4, 5)},
        dtype="float32", cases=("random", "wide"),
    )  # fmt: skip

    assert report.verdict == "disagree"
    assert np.isnan(report.first_divergence.manual)
    assert report.cause.kind == "float32 only"
