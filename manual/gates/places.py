"""Gates that take elements by their places: any indexing, and its undoing, which adds back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from manual.examples import Example
from manual.gates.broadcasting import summed_to
from manual.layer import Array, Arrays, Layer

__all__ = ["AddAtGate", "TakeGate"]

Shape = tuple[int, ...]


class TakeCache(NamedTuple):
    shapes: tuple[Shape, ...]  # of the inputs


class TakeGate(Layer):
    """Elements of the inputs by their places: y_j = x[p_j], x the inputs laid end to end.

    Indexing of any kind, gather, padding, repeating and writing into a part of an array are this,
    once p is worked out.

    Args:
        positions: p, whole numbers in the shape of y; -1 is a place that no input fills.
        fill: what stands there.
    """

    examples = (
        Example({"positions": [4, 0, 4, -1, 2], "fill": 0.5}, ((5,),)),
        Example({"positions": [[5, 1, 1], [0, 4, 1]]}, ((2, 3),), exact=True),
        Example({"positions": [[0, 7], [5, 3]]}, ((2, 3), (2,)), exact=True),
    )

    def __init__(self, positions: Sequence[Sequence[int]] | Array, fill: float = 0.0) -> None:
        self.positions, self.fill = np.asarray(positions, dtype=np.intp), fill

    def forward(self, *inputs: Array) -> tuple[Array, TakeCache]:
        flat = [x.reshape(-1) for x in inputs]
        row = flat[0] if len(flat) == 1 else np.concatenate(flat)
        p, cache = self.positions, TakeCache(tuple(tuple(x.shape) for x in inputs))
        if not p.size or p.min() >= 0:
            return row[p], cache
        y = np.full_like(row, self.fill, shape=p.shape)
        y[p >= 0] = row[p[p >= 0]]
        return y, cache

    def backward(self, grad_output: Array, cache: TakeCache) -> tuple[tuple[Array, ...], Arrays]:
        r"""Chain rule through y_j = x_(p_j).

        Shapes: x any, p, y and dy alike; i and j count elements in their order in memory.
        ∂y_j/∂x_i = [p_j = i]   ->   dx_i = Σ_{j: p_j = i} dy_j: gather forward, add back
        Torch: Tensor.__getitem__, gather, index_select, as_strided and their kin.
        Source: CS231n notes, Backpropagation: a copied value adds up what its copies get.
        """
        sizes = [int(np.prod(shape)) for shape in cache.shapes]
        total = added_back(grad_output, self.positions, sum(sizes))
        ends = np.cumsum(sizes)
        parts = (total[end - n : end] for n, end in zip(sizes, ends, strict=True))
        return tuple(x.reshape(shape) for x, shape in zip(parts, cache.shapes, strict=True)), {}

    def extra_repr(self) -> str:
        return f"{tuple(self.positions.shape)} places"


class AddAtCache(NamedTuple):
    shape: Shape  # of x
    values: Shape


class AddAtGate(Layer):
    """Values added to elements of x by their places: y_i = x_i + alpha · Σ_{j: p_j = i} v_j.

    Args:
        positions: p, whole numbers: which element of x each value is added to.
        alpha: a factor of the values.

    The values broadcast to p's shape.
    """

    examples = (
        Example({"positions": [4, 0, 4]}, ((5,), (3,)), exact=True),
        Example({"positions": [[5, 1, 1], [0, 4, 1]], "alpha": -2.0}, ((2, 3), (3,))),
    )

    def __init__(self, positions: Sequence[Sequence[int]] | Array, alpha: float = 1) -> None:
        self.positions, self.alpha = np.asarray(positions, dtype=np.intp), alpha

    def forward(self, x: Array, values: Array) -> tuple[Array, AddAtCache]:  # type: ignore[override]
        v = np.broadcast_to(values, self.positions.shape)
        added = added_back(v, self.positions, int(np.prod(x.shape))).reshape(x.shape)
        added = added if self.alpha == 1 else self.alpha * added
        return x + added, AddAtCache(tuple(x.shape), tuple(values.shape))

    def backward(self, grad_output: Array, cache: AddAtCache) -> tuple[tuple[Array, Array], Arrays]:
        r"""Chain rule through y_i = x_i + α Σ_{j: p_j = i} v_j.

        ∂y_i/∂x_i = 1,  ∂y_i/∂v_j = α [p_j = i]   ->   dx = dy,  dv_j = α dy_(p_j)
        It is the gate that takes elements, turned round: add forward, gather back.
        Torch: scatter_add, index_add, index_put with accumulate.
        Source: the add gate, which distributes.
        """
        dv = grad_output.reshape(-1)[self.positions]
        dv = dv if self.alpha == 1 else self.alpha * dv
        return (grad_output, summed_to(dv, cache.values)), {}

    def extra_repr(self) -> str:
        return f"{tuple(self.positions.shape)} places, alpha={self.alpha}"


def added_back(values: Array, positions: Array, size: int) -> Array:
    """Return `size` sums: of the values whose position is i; those at -1 are in none.

    Places are sorted, and each run of equals is summed: NumPy has no faster way that works in every
    number system.
    """
    total = np.zeros_like(values, shape=(size,))
    p = positions.reshape(-1)
    order = np.argsort(p, kind="stable")[int((p < 0).sum()) :]
    if len(order):
        row, p = values.reshape(-1)[order], p[order]
        first = np.flatnonzero(np.append(True, p[1:] != p[:-1]))
        total[p[first]] = row if len(first) == len(p) else np.add.reduceat(row, first)
    return total
