"""Dropout with a shared mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manual.dropout import Dropout
from manual.graph import Sequential
from tests.helpers import (
    DTYPES,
    F32,
    F64,
    SEEDS,
    Planted,
    check_against_own_forward,
    check_against_torch,
    check_pure,
    draw,
    shapes,
)


class Masked(Dropout):
    """Dropout with its mask already given."""

    def __init__(self, p: float, mask: np.ndarray | None) -> None:
        super().__init__(p)
        self.mask = mask

    def forward(self, x):  # type: ignore[override]
        return super().forward(x, noise=self.mask)


def torchs_mask(p: float, shape: tuple, dtype: np.dtype, seed: int) -> np.ndarray:
    torch.manual_seed(seed)
    return (
        torch.dropout(torch.ones(shape, dtype=getattr(torch, dtype.name)), p, True) != 0
    ).numpy()


def torch_dropout(p: float, seed: int):
    def function(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.dropout(x, p, True)

    return function


@given(p=st.floats(0, 0.95), shape=shapes(), dtype=DTYPES, seed=SEEDS)
@settings(derandomize=True, deadline=None, max_examples=40)
def test_training_agrees_with_torch_under_torchs_mask(p, shape, dtype, seed) -> None:
    layer = Masked(p, torchs_mask(p, shape, dtype, seed))

    check_against_torch(layer, torch_dropout(p, seed), [draw(seed, shape, dtype)], seed)


@pytest.mark.parametrize("p", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [F64, F32])
def test_the_two_ends_of_p_agree_with_torch(p: float, dtype: np.dtype) -> None:
    layer = Masked(p, torchs_mask(p, (3, 4), dtype, 0))

    check_against_torch(layer, torch_dropout(p, 0), [draw(0, (3, 4), dtype)], rtol=0.0)


def test_p_1_gives_zeros_whatever_the_mask() -> None:
    y, _ = Dropout(1.0).forward(np.ones(3), noise=np.ones(3))

    assert not y.any()


@pytest.mark.parametrize("dtype", [F64, F32])
def test_without_a_mask_it_is_torchs_evaluation(dtype: np.dtype) -> None:
    function = torch.nn.Dropout(0.3).eval()

    check_against_torch(Dropout(0.3), function, [draw(0, (3, 4), dtype)], rtol=0.0)


@pytest.mark.parametrize("kind", [bool, np.float64, np.int64])
def test_the_masks_own_type_does_not_show(kind: type) -> None:
    mask: np.ndarray = np.array([1, 0, 1]).astype(kind)
    y, cache = Dropout().forward(np.ones(3, F32), noise=mask)
    (dx,), _ = Dropout().backward(np.full(3, 3, F32), cache)

    assert y.dtype == dx.dtype == F32
    assert y.tolist() == [2, 0, 2]
    assert dx.tolist() == [6, 0, 6]


def test_draw_keeps_each_element_with_probability_1_minus_p() -> None:
    mask = Dropout(0.3).draw(np.ones((200, 500)), rng=np.random.default_rng(0))

    assert mask.dtype == bool
    assert abs(mask.mean() - 0.7) < 0.01
    assert Dropout(0.0).draw(np.ones(100), rng=np.random.default_rng(0)).all()
    assert not Dropout(1.0).draw(np.ones(100), rng=np.random.default_rng(0)).any()


def test_the_same_generator_state_draws_the_same_mask() -> None:
    network, x = Sequential(Dropout(0.5)), draw(0, (4, 5))
    first, again, other = (network.run(x, noise=np.random.default_rng(s)).output for s in (7, 7, 8))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_backward_is_the_derivative_of_forward() -> None:
    layer = Masked(0.4, Dropout(0.4).draw(np.ones((3, 4)), rng=np.random.default_rng(1)))

    check_against_own_forward(layer, [draw(0, (3, 4))])
    check_against_own_forward(Masked(0.4, None), [draw(0, (3, 4))])


@pytest.mark.parametrize("mask", [None, np.eye(3), np.eye(3, dtype=bool)])
def test_nothing_given_is_changed(mask: np.ndarray | None) -> None:
    check_pure(Masked(0.4, mask), [draw(0, (3, 3))])


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_p_outside_0_to_1_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match=rf"Dropout: p is .* between 0 and 1, received {p}"):
        Dropout(p)


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"input's shape \(2, 3\), received \(3,\)"):
        Dropout().forward(np.ones((2, 3)), noise=np.ones(3))


# ── planted mistakes ─────────────────────────────────────────────────────────────────────────────
MISTAKES = {
    "scale forgotten": lambda dx, dy: dx * 0.5,
    "mask forgotten": lambda dx, dy: dy * 2,
    "another mask": lambda dx, dy: dx[::-1].copy(),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_both_checks_reject(mistake: str) -> None:
    wrong = Planted(Masked(0.5, torchs_mask(0.5, (4, 5), F64, 0)), MISTAKES[mistake])

    with pytest.raises(AssertionError, match="gradient of input 0"):
        check_against_torch(wrong, torch_dropout(0.5, 0), [draw(0, (4, 5))])
    with pytest.raises(AssertionError, match="gradient of input 0"):
        check_against_own_forward(wrong, [draw(0, (4, 5))])
