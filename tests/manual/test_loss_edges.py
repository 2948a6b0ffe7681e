"""Losses where it is easy to go wrong: extremes and exact ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from manual import losses
from manual.losses import BCELoss, HuberLoss, L1Loss, MSELoss, MulticlassHingeLoss, MultiMarginLoss
from tests.helpers import decided
from tests.manual.loss_checks import (
    ALIKE,
    CLASSES,
    Wrong,
    case,
    check_bitwise,
    check_loss,
    manual_run,
)

BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])


# ── extremes ─────────────────────────────────────────────────────────────────────────────────────
@BOTH
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, [0.5, 2.0, 1.0]])
def test_cross_entropy_stays_finite_for_huge_scores(dtype, smoothing, weight) -> None:
    z = [[1e3, -1e3, 0], [1e3, -1e3, 0], [-1e3, -1e3, -1e3], [1e30, 0, 1e30]]
    c = case("CrossEntropyLoss", z, [0, 1, 2, 0], dtype, weight=weight, label_smoothing=smoothing)
    value, grad = manual_run(c.manual(), c.input, c.target, 1.0)

    assert np.isfinite(value)
    assert np.isfinite(grad).all()
    check_loss(c)


@BOTH
@pytest.mark.parametrize("weight", [None, [0.5, 2.0, 1.0]])
def test_cross_entropy_takes_minus_infinity_for_an_impossible_class(dtype, weight) -> None:
    c = case("CrossEntropyLoss", [[0.5, -np.inf, 1], [2, 0, -np.inf]], [0, 1], dtype, weight=weight)
    value, grad = manual_run(c.manual(), c.input, c.target, 1.0)

    assert np.isfinite(value)
    assert grad[0, 1] == grad[1, 2] == 0


@BOTH
def test_cross_entropy_agrees_with_torch_on_many_classes(dtype) -> None:
    rng = np.random.default_rng(0)
    z = np.float32(rng.normal(size=(20, 200)) * 5)

    check_loss(case("CrossEntropyLoss", z, rng.integers(0, 200, 20), dtype, label_smoothing=0.1))


@BOTH
@pytest.mark.parametrize("pos_weight", [None, [3.0]])
def test_bce_with_logits_stays_finite_for_huge_logits(dtype, pos_weight) -> None:
    for x in (-1e3, -30.0, 0.0, 30.0, 1e3):
        for y in (0.0, 0.5, 1.0):
            check_loss(case("BCEWithLogitsLoss", [x], [y], dtype, pos_weight=pos_weight))


@BOTH
def test_bce_clamps_logarithm_and_slope_where_torch_does(dtype) -> None:
    edges = [0, 1e-45, 1e-44, 1e-43, 1e-20, 2e-13, 1e-12, 2e-12, 1 - 6e-8, 1 - 2e-16, 1]
    for p in np.array(edges, dtype):
        for y in (0.0, 0.25, 1.0):
            check_loss(case("BCELoss", [p], [y], dtype))


def test_bce_at_certainty_gives_100_when_wrong_and_0_when_right() -> None:
    y = np.array([0.0, 1.0])

    assert BCELoss(reduction="sum").forward(1 - y, y)[0] == 200
    assert BCELoss(reduction="sum").forward(y, y)[0] == 0


def test_torchs_clamp_is_told_from_1e_12_in_double_precision() -> None:
    c = case("BCELoss", [0.0], [1.0])

    with pytest.raises(AssertionError, match="budget"):
        check_loss(c, Wrong(c.manual(), grad=lambda g, x, y: 0.8125 * (x - y) / 1e-12))


@pytest.mark.parametrize("name", ALIKE)
def test_nan_passes_through(name: str) -> None:
    x = np.full((2, 2), np.nan)
    y = np.array([0, 1]) if name in CLASSES else np.ones((2, 2))

    assert np.isnan(getattr(losses, name)().forward(x, y)[0])


# ── exact ties ───────────────────────────────────────────────────────────────────────────────────
@BOTH
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_ties_are_decided_as_torch_decides_them_bit_for_bit(dtype, reduction) -> None:
    d, zero = [[0.0, 1, -1, 0.5], [-0.5, 2, -2, 0]], np.zeros((2, 4))
    scores, y = [[1.0, 0, 2, 1], [3, 2, 2, 1], [0, 1, -1, 0], [1, 1, 1, 1]], [0, 0, 1, 3]
    for tied in [
        case("L1Loss", d, zero, dtype, reduction=reduction),
        case("HuberLoss", d, zero, dtype, reduction=reduction),
        case("HuberLoss", d, zero, dtype, reduction=reduction, delta=0.5),
        case("SmoothL1Loss", d, zero, dtype, reduction=reduction, beta=0.5),
        case("SmoothL1Loss", d, zero, dtype, reduction=reduction, beta=0.0),
        case("MultiMarginLoss", scores, y, dtype, reduction=reduction),
        case("MultiMarginLoss", scores, y, dtype, reduction=reduction, p=2),
        case("MulticlassHingeLoss", scores, y, dtype, reduction=reduction),
    ]:
        check_bitwise(tied)


@pytest.mark.parametrize("slope", [0.5, 1.0])
def test_another_slope_at_an_exact_tie_is_rejected(slope: float) -> None:
    tied = case("L1Loss", [0.0, 1.0], [0.0, 0.0])

    class Above(L1Loss):
        def backward(self, grad_output: Any, cache: Any) -> tuple:
            (grad, of_target), params = super().backward(grad_output, cache)
            return (np.where(cache.d == 0, slope * grad_output, grad), of_target), params

    with pytest.raises(AssertionError, match="grad"):
        check_loss(tied, Above())


@pytest.mark.parametrize("name", ["MSELoss", "SquaredErrorLoss"])
@BOTH
def test_squared_errors_of_whole_numbers_are_exact(name: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(-9, 10, (2, 8, 4))

    check_bitwise(case(name, x, y, dtype, reduction="mean"))


def test_decisions_say_which_piece_each_element_takes() -> None:
    d = np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    z, y = np.array([[3.0, 1.0, 2.5], [0.0, 1.0, 0.5]]), np.array([0, 1])

    assert decided(L1Loss(), d, 0 * d).tolist() == [-1, -1, 0, 1, 1]
    assert decided(HuberLoss(delta=0.5), d, 0 * d).tolist() == [-1, 0, 0, 0, 1]
    for loss in (MultiMarginLoss(), MulticlassHingeLoss()):
        assert decided(loss, z, y).tolist() == [[False, False, True], [False, False, True]]
    assert decided(MSELoss(), d, d) is None
