"""Layers that only rename or pick elements: Unflatten, Select."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer

__all__ = ["Select", "Unflatten"]


class ShapeCache(NamedTuple):
    shape: tuple[int, ...]  # of x


class Unflatten(Layer):
    """Split one axis into several; the other way round from Flatten.

    Args:
        dim: the axis to split.
        unflattened_size: the lengths of the axes it becomes; one may be -1.

    Raises:
        ValueError: the lengths do not multiply to the axis's.
    """

    equations = {"output": "y[j] = x[fold(j)]", "grad_input": "dx[i] = dy[fold(i)]"}
    examples = (
        Example({"dim": 1, "unflattened_size": (2, 3)}, ((4, 6),), exact=True),
        Example({"dim": -1, "unflattened_size": (2, -1)}, ((2, 3, 4),), exact=True),
        Example({"dim": 0, "unflattened_size": (3, 1, 2)}, ((6, 2),), exact=True),
    )

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Array) -> tuple[Array, ShapeCache]:  # type: ignore[override]
        shape = tuple(input.shape)
        if not -len(shape) <= self.dim < len(shape):
            raise ValueError(f"Unflatten: dim = {self.dim} is no axis of an input {shape}.")
        at = self.dim % len(shape)
        known = int(np.prod([n for n in self.unflattened_size if n != -1]))
        free = self.unflattened_size.count(-1)
        if free > 1 or known < 1 or shape[at] % known or (not free and known != shape[at]):
            raise ValueError(
                f"Unflatten: the lengths {self.unflattened_size} must multiply to that of axis "
                f"{self.dim}, {shape[at]} in an input of shape {shape}. One of them may be -1."
            )
        y = input.reshape(*shape[:at], *self.unflattened_size, *shape[at + 1 :])
        return y, ShapeCache(shape)

    def backward(self, grad_output: Array, cache: ShapeCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through a renaming of indices.

        Every y element is one x element, so dx is dy folded back into x's shape.
        Torch: nn.Unflatten, sizes as numbers (named axes are not taken).
        Source: CS231n notes, Backpropagation: a gate that passes its gradient on.
        """
        return (grad_output.reshape(*cache.shape),), {}

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Select(Layer):
    """One index of one axis, which is dropped: the last step of a sequence, say.

    Args:
        dim: the axis.
        index: which of its elements; negative ones count from the end.

    Raises:
        ValueError: there is no such axis, or no such element.
    """

    equations = {
        "output": "y[n] = sum(j, j == k, x[n,j])",
        "output/from the end": "y[n] = sum(j, j == B + k, x[n,j])\nwhere B = size(x, -1)",
        "grad_input": "dx[n,j] = dy[n] * (j == k)",
        "grad_input/from the end": "dx[n,j] = dy[n] * (j == B + k)\nwhere B = size(x, -1)",
    }
    symbols = {"j": "dim", "k": "index"}  # j runs along that axis
    examples = (
        Example({"dim": 0, "index": -1}, ((3, 2, 4),), exact=True),
        Example({"dim": 1, "index": 0}, ((2, 3, 4),), exact=True),
        Example({"dim": -1, "index": 2}, ((2, 3),), exact=True),
    )

    def __init__(self, dim: int, index: int) -> None:
        self.dim, self.index = dim, index

    def forward(self, input: Array) -> tuple[Array, ShapeCache]:  # type: ignore[override]
        shape = tuple(input.shape)
        if not -len(shape) <= self.dim < len(shape):
            raise ValueError(f"Select: dim = {self.dim} is no axis of an input {shape}.")
        length = shape[self.dim]
        if not -length <= self.index < length:
            raise ValueError(
                f"Select: axis {self.dim} of an input {shape} has no element {self.index}. Choose "
                f"one from {-length} to {length - 1}."
            )
        return input[self._at(shape)], ShapeCache(shape)

    def backward(self, grad_output: Array, cache: ShapeCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_n = x_nk for one fixed k.

        Shapes: x (…, K, …), y and dy without that axis.
        ∂y_n/∂x_nj = [j = k]   ->   dx is dy at k, 0 elsewhere
        Torch: Tensor.select(dim, index); torch.nn has no module for it.
        Source: CS231n notes, Backpropagation: what is not used gets no gradient.
        """
        dx = np.zeros_like(grad_output, shape=cache.shape)
        dx[self._at(cache.shape)] = grad_output
        return (dx,), {}

    def variants(self, cache: ShapeCache) -> tuple[str, ...]:
        """Return whether the index counts from the end."""
        return ("from the end",) if self.index < 0 else ()

    def _at(self, shape: tuple[int, ...]) -> tuple:
        return (slice(None),) * (self.dim % len(shape)) + (self.index,)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, index={self.index}"
