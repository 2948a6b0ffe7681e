"""Layers with several inputs, where branches meet: Add, Multiply, Concatenate."""

from __future__ import annotations

from functools import reduce
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer

__all__ = ["Add", "Concatenate", "Multiply"]


class AddCache(NamedTuple):
    terms: int


class Add(Layer):
    """Sum of two or more inputs of one shape.

    Raises:
        ValueError: fewer than two inputs, or their shapes differ.
    """

    equations = {"output": "y[i] = sum(k, x[i,k])", "grad_input": "dx[i] = dy[i]"}
    examples = (
        Example({}, ((2, 3),) * 3, exact=True),
        Example({}, ((4, 3),) * 2, exact=True),
    )

    def forward(self, *inputs: Array) -> tuple[Array, AddCache]:
        _check_one_shape("Add", inputs)
        return reduce(np.add, inputs), AddCache(len(inputs))

    def backward(self, grad_output: Array, cache: AddCache) -> tuple[tuple[Array, ...], Arrays]:
        r"""Chain rule through y = Σ_k x_k, all shapes equal.

        ∂y/∂x_k = 1   ->   dx_k = dy for every k: addition hands its gradient on unchanged.
        Torch: the operator +.
        Source: Karpathy, CS231n notes, Backpropagation, Intuitions: the add gate distributes.
        """
        return (grad_output,) * cache.terms, {}


class MultiplyCache(NamedTuple):
    inputs: tuple[Array, ...]


class Multiply(Layer):
    """Element-wise product of two or more inputs of one shape.

    Raises:
        ValueError: fewer than two inputs, or their shapes differ.
    """

    equations = {
        "output": "y[i] = prod(k, x[i,k])",
        "grad_input": "dx[i] = dy[i] * prod(j, j != k, x[i,j])",
    }
    examples = (
        Example({}, ((2, 3),) * 3, exact=True),
        Example({}, ((4, 3),) * 2, exact=True),
    )

    def forward(self, *inputs: Array) -> tuple[Array, MultiplyCache]:
        _check_one_shape("Multiply", inputs)
        return reduce(np.multiply, inputs), MultiplyCache(inputs)

    def backward(
        self, grad_output: Array, cache: MultiplyCache
    ) -> tuple[tuple[Array, ...], Arrays]:
        r"""Chain rule through y = Π_k x_k, all shapes equal.

        ∂y/∂x_k = Π_(j≠k) x_j   ->   dx_k = dy · Π_(j≠k) x_j, multiplied out: y / x_k fails at 0.
        An array given twice gets two gradients, whose sum is (x²)' = 2x times dy.
        Torch: the operator *.
        Source: Karpathy, CS231n notes, Backpropagation, Intuitions: the multiply gate swaps.
        """
        xs = cache.inputs
        grads = (reduce(np.multiply, xs[:k] + xs[k + 1 :], grad_output) for k in range(len(xs)))
        return tuple(grads), {}


class ConcatenateCache(NamedTuple):
    ends: list[int]


class Concatenate(Layer):
    """Inputs side by side along one axis.

    Args:
        dim: the axis that grows; the other axes must agree.

    Raises:
        ValueError: fewer than two inputs, or their other axes differ.
    """

    equations = {
        "output": "y[j] = x[fold(j)]\nmatrix: y = [x₁, x₂, …]",
        "grad_input": "dx[i] = dy[fold(i)]",
    }
    examples = (
        Example({}, ((3, 4), (3, 2)), exact=True),
        Example({"dim": 1}, ((4, 2), (4, 3), (4, 1)), exact=True),
        Example({"dim": 0}, ((2, 3), (1, 3)), exact=True),
        Example({"dim": 1}, ((2, 2, 3), (2, 1, 3)), exact=True),
    )

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, *inputs: Array) -> tuple[Array, ConcatenateCache]:
        _check_one_shape("Concatenate", inputs, but=self.dim)
        ends = list(accumulate(x.shape[self.dim] for x in inputs))
        return np.concatenate(inputs, axis=self.dim), ConcatenateCache(ends)

    def backward(
        self, grad_output: Array, cache: ConcatenateCache
    ) -> tuple[tuple[Array, ...], Arrays]:
        r"""Chain rule through y = [x_1, x_2, …]: every y element is one x element.

        Shapes: x_k (…, n_k, …), y and dy (…, Σ n_k, …)   ->   dx_k is dy's k-th slice of n_k.
        Torch: torch.cat.
        Source: Szegedy et al., Going Deeper with Convolutions (2015): the filter concatenation.
        """
        return tuple(np.split(grad_output, cache.ends[:-1], axis=self.dim)), {}

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


def _check_one_shape(layer: str, inputs: tuple[Array, ...], but: int | None = None) -> None:
    """Raise ValueError unless two or more inputs agree in shape, the axis `but` aside."""
    shapes = [tuple(x.shape) for x in inputs]
    if len(shapes) < 2:
        raise ValueError(
            f"{layer}: joins two or more inputs, received {len(shapes)}. List every branch under "
            "the node's inputs."
        )
    if any(_without(shape, but) != _without(shapes[0], but) for shape in shapes):
        aside = "" if but is None else f" apart from axis {but}"
        raise ValueError(
            f"{layer}: all inputs must have one shape{aside}, received "
            f"{', '.join(map(str, shapes))}. Project a branch with Linear, or reshape it."
        )


def _without(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    if axis is None:
        return shape
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"Concatenate: dim = {axis} is no axis of an input of shape {shape}.")
    axis %= len(shape)
    return shape[:axis] + shape[axis + 1 :]
