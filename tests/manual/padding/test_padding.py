"""Padding layers: any margins, torch's conventions where they are negative, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manual.padding import layers
from tests.helpers import SEEDS, draw

KINDS = ("Zero", "Constant", "Reflection", "Replication", "Circular")


def beside_torch(name: str, padding: Any, x: np.ndarray) -> tuple[Any, Any]:
    """Return the output and dx of both sides; None for one that refuses."""
    more = [1.5] if name.startswith("Constant") else []
    leaf, mine, theirs = torch.tensor(x, requires_grad=True), None, None
    try:
        y = getattr(torch.nn, name)(padding, *more)(leaf)
        grad = torch.autograd.grad(y, leaf, torch.tensor(draw(3, tuple(y.shape))))[0]
        theirs = y.detach().numpy(), grad.numpy()
    except RuntimeError:
        pass
    layer = getattr(layers, name)(padding, *more)
    try:
        own, cache = layer.forward(x)
        mine = own, layer.backward(draw(3, own.shape), cache)[0][0]
    except ValueError:
        pass
    return mine, theirs


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), axes=st.integers(1, 3), seed=SEEDS)
@settings(derandomize=True, deadline=None, max_examples=50)
def test_any_margins_agree_with_torch(kind, data, axes, seed) -> None:
    padding = tuple(data.draw(st.lists(st.integers(-2, 3), min_size=2 * axes, max_size=2 * axes)))
    low = axes if kind in ("Zero", "Constant") else axes + 1
    shape = data.draw(st.lists(st.integers(1, 5), min_size=low, max_size=axes + 2))
    mine, theirs = beside_torch(f"{kind}Pad{axes}d", padding, draw(seed, shape))

    overlap = kind == "Circular" and min(padding) < 0 < max(padding)  # torch may read what it wrote
    assert (mine is None) == (theirs is None) or (mine is None and overlap)
    if mine is not None and (mine[0].size or kind != "Reflection"):  # then torch's dx is not set
        assert np.array_equal(mine[0], theirs[0])
        np.testing.assert_allclose(mine[1], theirs[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "padding", "expected", "dx"),
    [
        ("ReflectionPad1d", (2, 1), [3, 2, 1, 2, 3, 2], [1, 3, 2]),
        ("ReflectionPad1d", (-1, 2), [2, 3, 2, 1], [1, 2, 1]),  # not of what is left: 2, 3, 2, 3
        ("ReplicationPad1d", (2, -1), [1, 1, 1, 2], [3, 1, 0]),
        ("CircularPad1d", (2, 1), [2, 3, 1, 2, 3, 1], [2, 2, 2]),
        ("CircularPad1d", (1, -1), [2, 1, 2], [1, 2, 0]),  # of what is left
        ("ZeroPad1d", (1, -2), [0, 1], [1, 0, 0]),
    ],
)
def test_margins_have_the_elements_that_torch_takes(
    name: str, padding: tuple, expected: list, dx: list
) -> None:
    layer = getattr(layers, name)(padding)
    y, cache = layer.forward(np.array([[1.0, 2.0, 3.0]]))

    assert y.tolist() == [expected]
    assert layer.backward(np.ones_like(y), cache)[0][0].tolist() == [dx]
    assert getattr(torch.nn, name)(padding)(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [expected]


def test_a_border_that_is_repeated_or_gives_nothing_back_is_rejected() -> None:
    x = draw(1, (1, 2, 4, 5))
    mine, theirs = beside_torch("ReflectionPad2d", 2, x)
    symmetric = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), "symmetric")
    cropped = draw(3, mine[0].shape)[:, :, 2:-2, 2:-2]

    assert not np.allclose(symmetric, theirs[0])
    assert not np.allclose(cropped, theirs[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.ZeroPad2d((1, 2)), r"ZeroPad2d: padding must be a number or 4 of them"),
        (lambda: layers.ReflectionPad1d(3).forward(np.ones((1, 3))), r"at most 2 to a width of 3"),
        (
            lambda: layers.CircularPad2d(3).forward(np.ones((1, 2, 3))),
            r"at most 2 to a height of 2",
        ),
        (lambda: layers.CircularPad1d((2, -2)).forward(np.ones((1, 3))), r"at most 1 to a width"),
        (lambda: layers.ReplicationPad1d(1).forward(np.ones(3)), r"\(N, C, W\) or \(C, W\)"),
        (lambda: layers.ReplicationPad1d(1).forward(np.ones((1, 0))), r"something left"),
        (lambda: layers.ConstantPad1d((-2, 1), 0).forward(np.ones(1)), r"after padding \(-2, 1\)"),
        (lambda: layers.ConstantPad2d(1, 0).forward(np.ones(3)), r"of 2 axes or more"),
    ],
)
def test_what_torch_refuses_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", layers.__all__)
def test_it_prints_as_torchs_does(name: str) -> None:
    more = [1.5] if name.startswith("Constant") else []

    assert repr(getattr(layers, name)(1, *more)) == repr(getattr(torch.nn, name)(1, *more))
