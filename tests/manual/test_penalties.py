"""Penalties: against torch, against their own forward, at zero, and with planted mistakes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.gauge import gauge, gauging
from manual import penalties
from manual.graph import Layer
from manual.penalties import L1Penalty, L2Penalty
from tests.helpers import (
    DTYPES,
    F32,
    F64,
    SEEDS,
    Planted,
    check_against_own_forward,
    check_against_torch,
    check_pure,
    decided,
    draw,
    integers,
    shapes,
)
from torch_ref.losses import PENALTIES

NAMES = pytest.mark.parametrize("name", sorted(PENALTIES))
COEFFICIENTS = st.sampled_from([1e-4, 0.01, 0.5, 1.0, 3.0])


def check(
    name: str, w: np.ndarray, coefficient: float, layer: Layer | None = None, **options
) -> None:
    layer = layer or getattr(penalties, name)(coefficient)
    check_against_torch(layer, PENALTIES[name](coefficient), [w], 1, **options)


@NAMES
def test_a_penalty_agrees_with_torch(name: str) -> None:
    @given(shape=shapes(), coefficient=COEFFICIENTS, dtype=DTYPES, seed=SEEDS)
    @settings(derandomize=True, deadline=None, max_examples=25)
    def run(shape, coefficient, dtype, seed) -> None:
        check(name, draw(seed, shape, dtype), coefficient)

    run()


@NAMES
@pytest.mark.parametrize("dtype", [F32, F64])
def test_whole_numbers_with_zeros_among_them_agree_bit_for_bit(name: str, dtype: np.dtype) -> None:
    w = integers(0, (5, 4), dtype)
    assert (w == 0).any()

    check(name, w, 0.5, rtol=0.0)


def test_both_sides_offer_the_same_penalties() -> None:
    assert set(penalties.__all__) == set(PENALTIES)


@NAMES
def test_a_penalty_is_differentiated_right_without_torch(name: str) -> None:
    layer = getattr(penalties, name)(0.3)

    check_against_own_forward(layer, [draw(2, (3, 2))], smooth=name == "L2Penalty")


@NAMES
def test_a_penalty_changes_nothing_and_repeats(name: str) -> None:
    check_pure(getattr(penalties, name)(0.1), [draw(3, (3, 2))])


def test_the_values_are_the_course_formulas() -> None:
    w = np.array([[1.0, -2.0], [0.0, 3.0]])

    assert L2Penalty(1.0).forward(w)[0] == 14
    assert L1Penalty(0.5).forward(w)[0] == 3
    assert decided(L1Penalty(0.5), w).tolist() == [[1, -1], [0, 1]]
    assert decided(L2Penalty(1.0), w) is None
    assert repr(L2Penalty(0.1)) == "L2Penalty(coefficient=0.1)"


@NAMES
def test_a_penalty_runs_on_gauge_arrays(name: str) -> None:
    layer, w = getattr(penalties, name)(0.1), draw(4, (3, 2))
    with gauging(F64):
        value, cache = layer.forward(gauge(w))
        (grad,), _ = layer.backward(1.0, cache)

    assert value.v == layer.forward(w)[0]
    assert (grad.error > 0).all()


MISTAKES = {
    "½ as in weight decay": ("L2Penalty", lambda g, dr: g / 2),
    "coefficient forgotten": ("L2Penalty", lambda g, dr: g / 0.3),
    "upstream ignored": ("L2Penalty", lambda g, dr: g / dr),
    "L1: sign turned": ("L1Penalty", lambda g, dr: -g),
    "L1: slope at 0": ("L1Penalty", lambda g, dr: np.where(g == 0, 0.3 * dr, g)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_comparison_with_torch_rejects_a_planted_mistake(mistake: str) -> None:
    name, wrong = MISTAKES[mistake]
    planted = Planted(getattr(penalties, name)(0.3), input_grad=wrong)

    with pytest.raises(AssertionError, match="gradient of input 0"):
        check(name, integers(0, (5, 4)), 0.3, planted)
