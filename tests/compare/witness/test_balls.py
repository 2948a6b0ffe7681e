"""Balls: proven enclosures of values and slopes, and comparisons only where they are certain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

flint = pytest.importorskip("flint", reason="balls need python-flint")

from compare.witness.ball_array import BallArray, balls  # noqa: E402
from compare.witness.balls import COMPOSED, FUNCTIONS, INVERSE, Ball, NotBallsError, as_ball  # noqa: E402
from compare.witness.decisions import BranchPointError, deciding  # noqa: E402
from compare.witness.precision import working  # noqa: E402

arb = flint.arb
RNG = np.random.default_rng


@pytest.fixture(autouse=True)
def _precision() -> Any:
    with working(256, 50):
        yield


def moving(x: float, slope: float = 1.0) -> Ball:
    return Ball(arb(x), arb(slope))


@pytest.mark.parametrize("name", [*FUNCTIONS, *COMPOSED, *INVERSE, "psi"])
@pytest.mark.parametrize("x", [-0.75, 0.25, 0.875])
def test_slopes_of_functions_are_those_of_differences(name: str, x: float) -> None:
    if name in ("log", "sqrt", "gamma", "gammaln", "psi", "entr", "ndtri") and x < 0:
        x = -x
    x = x + 2 if name == "arccosh" else x
    value, h = getattr(moving(x), name)(), arb(2) ** -80

    ahead, behind = (getattr(Ball(arb(x) + s * h), name)().value for s in (1, -1))

    assert abs((ahead - behind) / (2 * h) - value.slope) < arb(2) ** -150
    assert value.value.overlaps(getattr(Ball(arb(x)), name)().value)


def test_arithmetic_follows_the_rules_of_derivatives() -> None:
    x, y = moving(3.0), moving(2.0, -1.0)

    found = [x + y, x - y, x * y, x / y, x**2, 2**x, x**0.5, -x, abs(-x), 1 / x, y**x]
    slopes = [
        0, 2, 2 * 1 + 3 * -1, (2 + 3) / arb(4), 6, 8 * arb(2).log(), 1 / (2 * arb(3).sqrt()), -1,
        1, -1 / arb(9), 8 * (arb(2).log() - arb(3) / 2),
    ]  # fmt: skip

    for ball, slope in zip(found, slopes, strict=True):
        assert ball.slope.overlaps(arb(slope))
        assert abs(ball.slope - slope) < 1e-70


def test_every_value_encloses_the_true_one() -> None:
    third = Ball(arb(1)) / 3

    assert third.value.contains(flint.fmpq(1, 3))
    assert not third.value.is_exact()
    assert (third.exp().log() * 3).value.contains(1)


def test_what_has_no_slope_is_not_given_one() -> None:
    zero = moving(0.0)

    for nothing in (1 / zero, zero.sqrt(), zero / zero):
        assert nothing.slope.is_nan()


def test_certain_comparisons_are_made_and_counted() -> None:
    with deciding() as decisions:
        assert moving(1.0) > 0.5
        assert moving(1.0) <= 2
        assert moving(1.0) != 3

    assert decisions.count == 3
    assert decisions.nearest == 0.5


def test_a_fixed_exact_tie_is_decided_as_numbers_are() -> None:
    x = Ball(arb(0))

    assert x >= 0
    assert not x > 0
    assert x == 0


@pytest.mark.parametrize("ball", [Ball(arb(0, 1)), moving(0.0), Ball(arb(1) / 3 * 3 - 1)])
def test_what_cannot_be_told_apart_is_a_branch_point(ball: Ball) -> None:
    for compare in (lambda: ball > 0, lambda: ball <= 0, lambda: ball == 0, lambda: abs(ball)):
        with pytest.raises(BranchPointError, match="cannot be decided"):
            compare()


def test_one_sided_runs_look_ahead() -> None:
    with deciding(one_sided=True) as decisions:
        assert moving(0.0) > 0
        assert moving(0.0, -1.0) < 0
        assert moving(0.0) != 0
        with pytest.raises(BranchPointError, match="do not move apart"):
            _ = moving(0.0) > moving(0.0)

    assert decisions.ties == 4


@pytest.mark.parametrize("cast", [float, int, bool, complex])
def test_a_ball_is_never_rounded_to_a_float(cast: type) -> None:
    with pytest.raises(NotBallsError, match="lose its digits"):
        cast(Ball(arb(1)))


def test_arrays_of_balls_answer_what_arrays_of_floats_answer() -> None:
    from scipy import special

    x = RNG(0).normal(size=(3, 4))
    lifted = balls(x)
    for function in (
        np.exp, np.tanh, special.erf, special.expit, special.log_expit, np.var, np.mean, np.square,
        np.abs, np.max, lambda a: a @ a.T, lambda a: np.where(a > 0, a, 2 * a).sum(axis=1),
        lambda a: np.clip(a, -0.5, 0.5), lambda a: np.logaddexp(a, 0.5), lambda a: np.maximum(a, 0),
        lambda a: special.erf(np.where(a > 0, a, 0.0)), lambda a: np.concatenate([a, -a])[1:],
        lambda a: a.std(axis=0, keepdims=True), lambda a: np.einsum("ij,kj->ik", a, a),
    ):  # fmt: skip
        found = np.asarray(function(lifted), dtype=object)
        mids = [float(as_ball(b).value.mid()) for b in found.ravel()]

        np.testing.assert_allclose(mids, np.ravel(function(x)), rtol=1e-13, atol=1e-13)
    assert np.isfinite(lifted).all()
    assert np.isfinite(lifted).dtype == bool
    assert np.floor(3 * lifted).dtype == float
    np.testing.assert_array_equal(np.floor(3 * lifted), np.floor(3 * x))
    assert isinstance(np.concatenate([lifted, lifted]), BallArray)
