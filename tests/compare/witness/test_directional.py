"""The witness by differences along a line: remainders that fall with the step; kinks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compare.witness.directional import directional
from tests.compare.witness.witness_pairs import (
    AFFINE,
    RIGHT,
    RNG,
    WRONG,
    affine,
    affine_backward,
    changed,
    one_element,
    point,
    sigmoid,
    sigmoid_backward,
)


def test_the_remainder_falls_with_the_square_of_the_step() -> None:
    found = directional(sigmoid, sigmoid_backward, point((3, 4)))

    assert found.rate == pytest.approx(2, abs=0.05)
    assert found.relative_error < 1e-10
    assert "h^2.0" in found.evidence


def test_the_remainder_of_a_wrong_slope_falls_with_the_step() -> None:
    found = directional(*WRONG["σ(1 + σ)"])

    assert found.rate == pytest.approx(1, abs=0.05)
    assert found.relative_error > 0.1


def test_a_straight_function_has_no_rate() -> None:
    found = directional(affine, affine_backward, AFFINE)

    assert found.rate is None
    assert "straight" in found.evidence


def test_the_cost_does_not_depend_on_the_number_of_elements() -> None:
    def calls(size: int) -> int:
        count = 0

        def counted(x: Any) -> Any:
            nonlocal count
            count += 1
            return sigmoid(x)

        assert directional(counted, sigmoid_backward, {"x": RNG(0).normal(size=size)}).agrees
        return count

    assert calls(3) == calls(3000)


def test_one_wrong_element_among_many_is_seen() -> None:
    wrong = changed(sigmoid_backward, 0, one_element)

    assert not directional(sigmoid, wrong, {"x": RNG(0).normal(size=100_000)}).agrees


def test_inputs_may_move_together() -> None:
    assert "all inputs" in directional(affine, affine_backward, AFFINE, together=True).evidence
    assert not directional(*WRONG["mean for sum in db"], together=True).agrees


def test_the_same_seed_gives_the_same_words() -> None:
    first, second, other = (directional(*RIGHT["gelu"], seed=seed) for seed in (1, 1, 2))

    assert first == second
    assert first != other


@pytest.mark.parametrize("scale", [1e-60, 1e-8, 1e4, 1e100])
def test_magnitudes_do_not_matter(scale: float) -> None:
    def cube(x: Any) -> Any:
        return x * x * x / scale**2, x

    inputs = {"x": scale * RNG(0).normal(size=(3, 4))}

    assert directional(cube, lambda d, x: d * 3 * x * x / scale**2, inputs).agrees
    assert not directional(cube, lambda d, x: d * 2 * x * x / scale**2, inputs).agrees


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_a_kink_at_the_point_is_stated_and_decides_nothing(slope: float) -> None:
    found = directional(
        lambda x: (np.maximum(x, 0), x),
        lambda dout, x: dout * np.where(x == 0, slope, x > 0),
        {"x": np.zeros((2, 2))},
    )

    assert found.agrees
    assert not found.conclusive
    assert "a kink here" in found.evidence


def test_a_kink_beside_the_point_is_no_kink_at_it() -> None:
    x = {"x": np.array([1e-4, -1e-4, 3e-3, 1.0])}

    found = directional(lambda x: (np.maximum(x, 0), x), lambda dout, x: dout * (x > 0), x)
    wrong = directional(lambda x: (np.maximum(x, 0), x), lambda dout, x: dout * (x < 1), x)

    assert found.agrees
    assert found.conclusive
    assert not wrong.agrees


def test_large_steps_may_leave_the_domain() -> None:
    def log(x: Any) -> Any:
        if np.any(x <= 0):
            raise ValueError("log of what is not positive")
        return np.log(x), x

    inputs = {"x": np.array([0.01, 2.0, 5.0])}

    assert directional(log, lambda dout, x: dout / x, inputs).agrees
    assert directional(log, lambda dout, x: dout / x, inputs).conclusive
    assert not directional(log, lambda dout, x: dout / (x + 1e-5), inputs).agrees


def test_a_function_that_is_not_finite_decides_nothing() -> None:
    found = directional(lambda x: (x / 0.0, x), lambda dout, x: dout * x, point((2, 2)))

    assert found.agrees
    assert not found.conclusive
    assert "not finite" in found.evidence
