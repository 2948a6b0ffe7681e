"""Unflatten and Select: against torch, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torch_ref.layers
from manual.shaping import Select, Unflatten

TWINS: dict[type, Any] = {Unflatten: nn.Unflatten, Select: torch_ref.layers.Select}
CASES = [(kind, example) for kind in TWINS for example in kind.examples]  # type: ignore[attr-defined]


def both(layer: Any, twin: nn.Module, x: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (manual, torch) pairs: the output, and the input's gradient."""
    y, cache = layer.forward(x)
    leaf = torch.tensor(x, requires_grad=True)
    theirs = twin(leaf)
    dy = np.random.default_rng(1).standard_normal(theirs.shape)
    ((dx,), params), (grad,) = (
        layer.backward(dy, cache),
        torch.autograd.grad(theirs, leaf, torch.tensor(dy)),
    )
    assert params == {}
    return [(y, theirs.detach().numpy()), (dx, grad.numpy())]


@pytest.mark.parametrize(("kind", "example"), CASES)
def test_values_and_gradients_are_torchs_to_the_bit(kind: Any, example: Any) -> None:
    (x,) = example.draw(np.random.default_rng(0))
    assert x is not None

    for mine, theirs in both(kind(**example.arguments), TWINS[kind](**example.arguments), x):
        assert mine.shape == theirs.shape
        assert np.array_equal(mine, theirs)


def test_a_gradient_put_at_another_index_is_noticed() -> None:
    class Beside(Select):
        def backward(self, grad_output: Any, cache: Any) -> Any:
            (dx,), params = super().backward(grad_output, cache)
            return (np.roll(dx, 1, axis=self.dim),), params

    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    _, (mine, theirs) = both(Beside(1, 0), torch_ref.layers.Select(1, 0), x)

    assert not np.array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [((2, -1), (0, 3)), ((0, 3), (0, 3)), ((2, 3), (6, 0)), ((-1, 3), (6, 0)), ((-1, 6), (6, 3))],
)
def test_axes_of_length_0_unfold_as_in_torch(sizes: tuple, shape: tuple) -> None:
    for mine, theirs in both(Unflatten(0, sizes), nn.Unflatten(0, sizes), np.zeros(shape)):
        assert mine.shape == theirs.shape


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Unflatten(1, (0, -1)), "must multiply to that of axis 1, 6"),
        (Unflatten(1, (4, -1)), "must multiply to that of axis 1, 6"),
        (Unflatten(1, (2, 2)), "must multiply to that of axis 1, 6"),
        (Unflatten(1, (-1, -1)), "One of them may be -1"),
        (Unflatten(2, (2, 3)), "no axis"),
        (Select(1, 6), "no element 6"),
        (Select(2, 0), "no axis"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_received(layer: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        layer.forward(np.zeros((4, 6)))
