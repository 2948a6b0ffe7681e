"""Linear, Identity and Flatten."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from manual.linear import Flatten, Linear
from tests.helpers import (
    DTYPES,
    F32,
    F64,
    SEEDS,
    Planted,
    check_against_own_forward,
    check_against_torch,
    draw,
    integers,
    set_params,
    shapes,
)

SIDES = st.integers(1, 6)


@given(leading=shapes(min_dims=0), i=SIDES, o=SIDES, bias=st.booleans(), dtype=DTYPES, seed=SEEDS)
@settings(derandomize=True, deadline=None, max_examples=40)
def test_linear_agrees_with_torch(leading, i, o, bias, dtype, seed) -> None:
    layer = set_params(Linear(i, o, bias), seed, dtype)

    check_against_torch(
        layer, functional.linear, [draw(seed, (*leading, i), dtype)], seed, scale=1.0
    )


@pytest.mark.parametrize("dtype", [F64, F32])
def test_linear_on_whole_numbers_is_bitwise_torchs(dtype: np.dtype) -> None:
    layer = Linear(8, 4).with_params(
        {"weight": integers(1, (4, 8), dtype), "bias": integers(2, (4,), dtype)}
    )

    check_against_torch(
        layer, functional.linear, [integers(3, (16, 8), dtype)], rtol=0.0, upstream=integers
    )


@pytest.mark.parametrize("bias", [True, False])
def test_names_and_layouts_are_torchs(bias: bool) -> None:
    mine, theirs = Linear(3, 5, bias), torch.nn.Linear(3, 5, bias)

    assert {k: p.shape for k, p in mine.params.items()} == {
        k: tuple(p.shape) for k, p in theirs.state_dict().items()
    }


def test_linear_says_which_length_it_expects() -> None:
    with pytest.raises(
        ValueError, match=r"Linear: .*in_features = 3 long, received shape \(2, 4\)"
    ):
        Linear(3, 2).forward(np.ones((2, 4)))


@pytest.mark.parametrize(
    ("features", "shape"),
    [((3, 0), (2, 3)), ((0, 2), (4, 0)), ((3, 0), (2, 0, 3)), ((0, 2), (2, 2, 0)), ((0, 2), (0,))],
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_linear_without_features_is_torchs(features: tuple, shape: tuple) -> None:
    theirs = torch.nn.Linear(*features)
    expected = theirs(torch.ones(shape))
    layer = Linear(*features)
    y, cache = layer.forward(np.ones(shape))
    (dx,), grads = layer.backward(np.ones(y.shape), cache)

    assert y.shape == tuple(expected.shape)
    assert dx.shape == shape
    assert {k: g.shape for k, g in grads.items()} == {k: p.shape for k, p in layer.params.items()}


def test_with_params_refuses_other_keys_and_leaves_the_original_alone() -> None:
    layer = Linear(3, 2)
    other = layer.with_params({"weight": np.ones((2, 3)), "bias": np.ones(2)})

    assert not layer.params["weight"].any()
    assert other.params["weight"].all()
    with pytest.raises(KeyError, match=r"Linear: expected parameters \['bias', 'weight'\]"):
        layer.with_params({"weight": np.ones((2, 3))})


@given(shape=shapes(min_dims=4, max_dims=4), start=st.integers(0, 3), end=st.integers(0, 3))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_flatten_agrees_with_torch(shape, start, end) -> None:
    start, end = min(start, end), max(start, end)
    for first, last in [(start, end), (start - 4, end - 4)]:
        check_against_torch(
            Flatten(first, last),
            lambda x, first=first, last=last: x.flatten(first, last),
            [draw(0, shape)],
            rtol=0.0,
        )


# ── planted mistakes ─────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "mistake",
    [
        {"param_grad": lambda g: g * 1.001},
        {"param_grad": lambda g: -g},
        {"param_grad": lambda g: g[::-1].copy()},
        {"input_grad": lambda dx, dy: dx[::-1].copy()},
        {"input_grad": lambda dx, dy: dx * 0.999},
    ],
    ids=["scaled", "sign", "rows swapped", "samples swapped", "input scaled"],
)
def test_both_checks_reject(mistake: dict) -> None:
    wrong, x = Planted(set_params(Linear(3, 3), 4), **mistake), draw(5, (4, 3))

    with pytest.raises(AssertionError, match="gradient of"):
        check_against_torch(wrong, functional.linear, [x])
    with pytest.raises(AssertionError, match="gradient of"):
        check_against_own_forward(wrong, [x])


def test_the_torch_check_rejects_a_transposed_weight_gradient() -> None:
    wrong = Planted(
        set_params(Linear(3, 3), 4), param_grad=lambda g: g.T.copy() if g.ndim == 2 else g
    )

    with pytest.raises(AssertionError, match="gradient of weight"):
        check_against_torch(wrong, functional.linear, [draw(5, (4, 3))])


def test_the_torch_check_rejects_a_bias_gradient_averaged_over_the_batch() -> None:
    wrong = Planted(set_params(Linear(3, 3), 4), param_grad=lambda g: g / 4 if g.ndim == 1 else g)

    with pytest.raises(AssertionError, match="gradient of bias"):
        check_against_torch(wrong, functional.linear, [draw(5, (4, 3))])
