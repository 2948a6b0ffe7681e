"""Maxout: against torch's max over pieces, at ties, and alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manual.maxout import Maxout
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
    set_params,
    shapes,
)


def torch_maxout(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None):
    pieces = torch.stack([torch.nn.functional.linear(x, w) for w in weight], dim=-2)
    return (pieces if bias is None else pieces + bias).max(dim=-2).values


@given(
    leading=shapes(min_dims=0),
    i=st.integers(1, 5),
    o=st.integers(1, 5),
    pieces=st.integers(1, 4),
    bias=st.booleans(),
    dtype=DTYPES,
    seed=SEEDS,
)
@settings(derandomize=True, deadline=None, max_examples=40)
def test_maxout_agrees_with_torch(leading, i, o, pieces, bias, dtype, seed) -> None:
    layer = set_params(Maxout(i, o, pieces, bias), seed, dtype)

    check_against_torch(layer, torch_maxout, [draw(seed, (*leading, i), dtype)], seed, scale=1.0)


@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize("pieces", [2, 3])
def test_ties_are_bitwise_torchs_and_go_to_the_first(dtype: np.dtype, pieces: int) -> None:
    layer = Maxout(4, 3, pieces).with_params(
        {"weight": integers(1, (pieces, 3, 4), dtype), "bias": integers(2, (pieces, 3), dtype)}
    )
    layer.params["weight"][1] = layer.params["weight"][0]
    layer.params["bias"][1] = layer.params["bias"][0]

    check_against_torch(
        layer, torch_maxout, [integers(3, (16, 4), dtype)], rtol=0.0, upstream=integers
    )
    assert 1 not in np.array(decided(layer, integers(3, (16, 4), dtype)))


def test_two_pieces_can_be_a_relu() -> None:
    layer = Maxout(2, 2, bias=False).with_params(
        {"weight": np.stack([np.eye(2), np.zeros((2, 2))])}
    )
    x = draw(0, (5, 2))

    assert np.array_equal(layer.forward(x)[0], np.maximum(x, 0))
    assert np.array_equal(np.array(decided(layer, x)), (x <= 0).astype(int))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
def test_backward_is_the_derivative_of_forward(bias: bool, leading: tuple) -> None:
    layer = set_params(Maxout(3, 2, 3, bias), 1)

    check_against_own_forward(layer, [draw(2, (*leading, 3))])
    check_against_own_forward(layer, [draw(2, (*leading, 3))], smooth=False)


def test_nothing_given_is_changed() -> None:
    check_pure(set_params(Maxout(3, 2), 1), [draw(2, (4, 3))])


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="Maxout: num_pieces must be at least 1, received 0"):
        Maxout(3, 2, 0)
    with pytest.raises(
        ValueError, match=r"Maxout: .*in_features = 3 long, received shape \(2, 4\)"
    ):
        Maxout(3, 2).forward(np.ones((2, 4)))


# ── planted mistakes ─────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "mistake",
    [
        {"param_grad": lambda g: g[::-1].copy()},
        {"param_grad": lambda g: g * 1.001},
        {"input_grad": lambda dx, dy: dx * 2},
    ],
    ids=["pieces swapped", "scaled", "input doubled"],
)
def test_both_checks_reject(mistake: dict) -> None:
    wrong, x = Planted(set_params(Maxout(3, 2), 1), **mistake), draw(2, (4, 3))

    with pytest.raises(AssertionError, match="gradient of"):
        check_against_torch(wrong, torch_maxout, [x])
    with pytest.raises(AssertionError, match="gradient of"):
        check_against_own_forward(wrong, [x])


def test_the_tie_check_rejects_the_last_winner() -> None:
    class Last(Maxout):
        def backward(self, grad_output, cache):
            z = self._pieces(cache.x)[..., ::-1, :]
            last = self.num_pieces - 1 - np.argmax(z, axis=-2)
            return super().backward(grad_output, cache._replace(winner=last))

    layer = Last(4, 3).with_params({"weight": integers(1, (2, 3, 4)), "bias": np.zeros((2, 3))})
    with pytest.raises(AssertionError, match="gradient of"):
        check_against_torch(
            layer, torch_maxout, [integers(3, (64, 4))], rtol=0.0, upstream=integers
        )
