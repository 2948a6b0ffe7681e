"""Fold and Unfold: each other's transposes, torch's order of rows and columns, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from manual.conv import Fold, Unfold
from tests.helpers import SEEDS, draw

PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(
    kernel=PAIRS, dilation=PAIRS, padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    stride=PAIRS, size=st.tuples(st.integers(1, 6), st.integers(1, 6)), seed=SEEDS,
)  # fmt: skip
@settings(derandomize=True, deadline=None, max_examples=60)
def test_any_windows_are_torchs_and_fold_is_the_transpose(
    kernel, dilation, padding, stride, size, seed
) -> None:
    layer = Unfold(kernel, dilation, padding, stride)
    assume(min(layer.out(size)) > 0)
    x = draw(seed, (2, 3, *size))
    y, cache = layer.forward(x)
    dy = draw(seed + 1, y.shape)
    (dx,), _ = layer.backward(dy, cache)
    back = Fold(size, kernel, dilation, padding, stride)

    assert np.array_equal(y, torch.nn.Unfold(kernel, dilation, padding, stride)(torch.tensor(x)))
    folded = torch.nn.Fold(size, kernel, dilation, padding, stride)(torch.tensor(dy)).numpy()
    np.testing.assert_allclose(dx, folded, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(back.forward(dy)[0], folded, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.sum(y * dy), np.sum(x * dx), rtol=1e-10, atol=1e-10)


def test_rows_in_another_order_are_rejected() -> None:
    x = draw(1, (1, 2, 3, 3))
    y = Unfold(2).forward(x)[0]
    turned = y.reshape(1, 2, 4, 4).swapaxes(1, 2).reshape(*y.shape)

    assert not np.array_equal(turned, torch.nn.Unfold(2)(torch.tensor(x)))


def test_an_empty_batch_stays_empty() -> None:
    assert Unfold(2).forward(np.ones((0, 2, 3, 3)))[0].shape == (0, 8, 4)
    assert Fold(3, 2).forward(np.ones((0, 8, 4)))[0].shape == (0, 2, 3, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Unfold(0), r"Unfold: kernel_size, stride and dilation must be at least 1"),
        (lambda: Unfold(2, padding=-1), r"Unfold: .*padding at least 0"),
        (lambda: Unfold((2, 2, 2)), r"Unfold: kernel_size must be a number or 2 of them"),
        (lambda: Fold(2, 3), r"Fold: no window fits into images of \(2, 2\)"),
        (lambda: Unfold(3).forward(np.ones((1, 2, 2, 4))), r"Unfold: no window fits into .*\(2, 4"),
        (
            lambda: Unfold(1).forward(np.ones((2, 2))),
            r"\(N, C, H, W\) or .*received shape \(2, 2\)",
        ),
        (lambda: Unfold(1).forward(np.ones((2, 0, 3, 3))), r"none but N empty"),
        (lambda: Fold(3, 2).forward(np.ones((8, 5))), r"\(C · 4, 4\), .* received shape \(8, 5\)"),
        (lambda: Fold(3, 2).forward(np.ones((6, 4))), r"\(N, C · 4, 4\)"),
        (lambda: Fold(3, 2).forward(np.ones(4)), r"received shape \(4,\)"),
    ],
)
def test_what_torch_refuses_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
