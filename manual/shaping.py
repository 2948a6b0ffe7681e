"""Layers that rename or pick elements: Unflatten, Select, Transpose, Unbind, Crop, BatchReindex."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer
from manual.linear import NoCache

__all__ = ["BatchReindex", "Crop", "Select", "Transpose", "Unbind", "Unflatten"]


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
        Example({"dim": -1, "unflattened_size": (3, -1)}, ((2, 3, 6),), exact=True),
        Example({"dim": 0, "unflattened_size": (3, 1, 2)}, ((6, 2),), exact=True),
    )

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Array) -> tuple[Array, ShapeCache]:  # type: ignore[override]
        shape = tuple(input.shape)
        if not -len(shape) <= self.dim < len(shape):
            raise ValueError(f"Unflatten: dim = {self.dim} is no axis of an input {shape}.")
        at = self.dim % len(shape)
        known = math.prod(n for n in self.unflattened_size if n != -1)
        self._check(self.unflattened_size.count(-1) <= min(known, 1), shape)
        sizes = tuple(shape[at] // known if n == -1 else n for n in self.unflattened_size)
        self._check(math.prod(sizes) == shape[at], shape)
        y = input.reshape(*shape[:at], *sizes, *shape[at + 1 :])
        return y, ShapeCache(shape)

    def _check(self, fits: bool, shape: tuple[int, ...]) -> None:
        if not fits:
            raise ValueError(
                f"Unflatten: the lengths {self.unflattened_size} must multiply to that of axis "
                f"{self.dim}, {shape[self.dim]} in an input of shape {shape}. One of them may be "
                "-1."
            )

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


class Transpose(Layer):
    """Two axes that change places: scores (N, T, C) as (N, C, T) for CrossEntropyLoss.

    Args:
        dim0, dim1: the axes.

    Raises:
        ValueError: there is no such axis.
    """

    equations = {"output": "y[j] = x[fold(j)]", "grad_input": "dx[i] = dy[fold(i)]"}
    examples = (
        Example({"dim0": 1, "dim1": 2}, ((2, 3, 4),), exact=True),
        Example({"dim0": -1, "dim1": 0}, ((2, 3),), exact=True),
    )

    def __init__(self, dim0: int, dim1: int) -> None:
        self.dim0, self.dim1 = dim0, dim1

    def forward(self, input: Array) -> tuple[Array, NoCache]:  # type: ignore[override]
        for dim in (self.dim0, self.dim1):
            if not -input.ndim <= dim < input.ndim:
                raise ValueError(f"Transpose: {dim} is no axis of an input {tuple(input.shape)}.")
        return input.swapaxes(self.dim0, self.dim1), NoCache()

    def backward(self, grad_output: Array, cache: NoCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through a renaming of indices.

        y_…j…i… = x_…i…j…   ->   dx_…i…j… = dy_…j…i…: the same axes change places again
        Torch: Tensor.transpose(dim0, dim1); torch.nn has no module for it.
        Source: CS231n notes, Backpropagation: a gate that passes its gradient on.
        """
        return (grad_output.swapaxes(self.dim0, self.dim1),), {}

    def extra_repr(self) -> str:
        return f"dim0={self.dim0}, dim1={self.dim1}"


class Unbind(Layer):
    """All elements of one axis, each an output of its own: the steps of a sequence, say.

    Args:
        dim: the axis, which is dropped.
        count: how many elements it has, two or more. The first is the output; the others are the
            ports 1, 2, …

    Raises:
        ValueError: there is no such axis, or it has another number of elements.
    """

    equations = {  # of up to three elements
        "output": "y[n] = sum(j, j == 0, x[n,j])",
        "output:1": "y[n] = sum(j, j == 1, x[n,j])",
        "output:2": "y[n] = sum(j, j == 2, x[n,j])",
        "grad_input/count = 2": "dx[n,j] = (j == 0) * dy[n] + (j == 1) * u[n]",
        "grad_input/count = 3": "dx[n,j] = (j == 0) * dy[n] + (j == 1) * u[n] + (j == 2) * v[n]",
    }
    symbols = {"j": "dim", "u": "grad_output.1", "v": "grad_output.2"}  # j runs along that axis
    examples = (
        Example({"dim": 1, "count": 3}, ((2, 3, 4),), exact=True),
        Example({"dim": -1, "count": 2}, ((3, 2),), exact=True),
    )

    def __init__(self, dim: int, count: int) -> None:
        if count < 2:
            raise ValueError(f"Unbind: count must be at least 2, received {count}.")
        self.dim, self.count = dim, count
        self.outputs = ("output", *map(str, range(1, count)))

    def forward(self, input: Array) -> tuple[tuple[Array, ...], NoCache]:  # type: ignore[override]
        """Return `count` arrays."""
        shape = tuple(input.shape)
        if not -len(shape) <= self.dim < len(shape) or shape[self.dim] != self.count:
            raise ValueError(
                f"Unbind: axis {self.dim} must have {self.count} elements, received an input of "
                f"shape {shape}."
            )
        rows = np.moveaxis(input, self.dim, 0)
        return tuple(rows[i] for i in range(self.count)), NoCache()

    def backward(self, grad_output: Any, cache: NoCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_k = x_(…, k, …), one output for each k.

        Every x element is one element of one output, so dx is all dy_k side by side again; 0 for
        an output without a gradient (None).
        Torch: Tensor.unbind(dim); torch.nn has no module for it.
        Source: CS231n notes, Backpropagation: a gate that passes its gradient on.
        """
        zero = np.zeros_like(next(dy for dy in grad_output if dy is not None))
        rows = [zero if dy is None else dy for dy in grad_output]
        return (np.stack(rows, axis=self.dim),), {}

    def extra_repr(self) -> str:
        return f"dim={self.dim}, count={self.count}"


class CropCache(NamedTuple):
    shape: tuple[int, ...]  # of x
    at: tuple[slice, ...]  # what is kept
    first: tuple[int, ...]  # where that begins, axis by axis from `axis` on


class Crop(Layer):
    """The part of the first input that has the size of the second, such as of a skipped layer.

    Args:
        axis: this axis and all after it are cropped.
        offset: where the part begins: one number for all those axes, or one for each.

    Raises:
        ValueError: the inputs differ in their number of axes, there is no such axis, the offsets
            are too few, too many or negative, or the part does not fit.
    """

    equations = {
        "output": "y[n,i,j] = x[n,i + o[0],j + o[1]]",
        "grad_input": "dx[n,i,j] = sum(k, k + o[0] == i, sum(l, l + o[1] == j, dy[n,k,l]))",
    }
    symbols = {"o": "cache.first"}
    examples = (
        Example({}, ((2, 1, 3, 4), (1, 2, 2, 3)), fixed=("like",), exact=True),
        Example({"axis": 1, "offset": 1}, ((1, 2, 3), (1, 1, 2)), fixed=("like",), exact=True),
        Example(
            {"axis": -2, "offset": [0, 2]}, ((2, 3, 4), (2, 2, 2)), fixed=("like",), exact=True
        ),
    )

    def __init__(self, axis: int = 2, offset: int | Sequence[int] = 0) -> None:
        self.axis = axis
        self.offset = offset

    def forward(self, x: Array, like: Array) -> tuple[Array, CropCache]:  # type: ignore[override]
        """Return x[…, o : o + n], n the lengths of `like`, whose values do not count."""
        shape, wanted = tuple(x.shape), tuple(like.shape)
        if len(shape) != len(wanted) or not -len(shape) <= self.axis < len(shape):
            raise ValueError(
                f"Crop: both inputs must have the same number of axes, axis = {self.axis} among "
                f"them, received shapes {shape} and {wanted}."
            )
        start = self.axis % len(shape)
        count = len(shape) - start
        first = (self.offset,) * count if isinstance(self.offset, int) else self.offset
        fits = len(first) == count and all(
            o >= 0 and o + n <= size
            for o, n, size in zip(first, wanted[start:], shape[start:], strict=False)
        )
        if not fits:
            raise ValueError(
                f"Crop: the part {wanted[start:]} from {first} on must lie in the axes "
                f"{shape[start:]} of the first input, with one offset for each."
            )
        kept = (slice(o, o + n) for o, n in zip(first, wanted[start:], strict=True))
        at = (*[slice(None)] * start, *kept)
        return x[at], CropCache(shape, at, tuple(first))

    def backward(self, grad_output: Array, cache: CropCache) -> tuple[tuple[Array, None], Arrays]:
        r"""Chain rule through y_ij = x_(i+o)(j+q).

        ∂y_kl/∂x_ij = [i = k + o] [j = l + q]   ->   dx is dy in its place, 0 around it
        The second input counts by its shape alone, and has no gradient.
        Torch has no module for it: slicing.
        Source: Long, Shelhamer, Darrell, Fully Convolutional Networks (2015): Caffe's layer Crop.
        """
        dx = np.zeros_like(grad_output, shape=cache.shape)
        dx[cache.at] = grad_output
        return (dx, None), {}

    def extra_repr(self) -> str:
        return f"axis={self.axis}, offset={self.offset}"


class IndexCache(NamedTuple):
    index: Array
    shape: tuple[int, ...]  # of x


class BatchReindex(Layer):
    """Samples of a batch picked by their numbers, in any order, some of them twice.

    Raises:
        ValueError: the numbers are not whole, not in one row, or no samples of the batch.
    """

    equations = {
        "output": "y[m,d] = x[t[m],d]",
        "grad_input": "dx[n,d] = sum(m, t[m] == n, dy[m,d])",
    }
    symbols = {"t": "index"}
    examples = (
        Example({}, ((4, 3), np.array([2, 0, 2, 3, 2])), exact=True),
        Example({}, ((3, 2), np.array([1, 0])), exact=True),
    )

    def forward(self, x: Array, index: Array) -> tuple[Array, IndexCache]:  # type: ignore[override]
        """Return x[index], shape (M, *) for x of shape (N, *) and M whole numbers below N."""
        if index.dtype.kind not in "iu" or index.ndim != 1 or not x.ndim:
            raise ValueError(
                f"BatchReindex: takes a batch and one row of whole numbers, received shapes "
                f"{tuple(x.shape)} and {tuple(index.shape)} of {index.dtype}."
            )
        if index.size and not (index.min() >= 0 and index.max() < len(x)):
            raise ValueError(
                f"BatchReindex: every number must be from 0 to {len(x) - 1}, received "
                f"{index.min()} to {index.max()}."
            )
        return x[index], IndexCache(index, tuple(x.shape))

    def backward(self, grad_output: Array, cache: IndexCache) -> tuple[tuple[Array, None], Arrays]:
        r"""Chain rule through y_m = x_(t_m); whole numbers have no gradient.

        Shapes: x (N, …), t (M,), y and dy (M, …).
        y_md = Σ_n [t_m = n] x_nd   ->   dx_nd = Σ_{m: t_m = n} dy_md: what is picked twice adds up
        The rows of dy are sorted by their sample, and each run of equals is summed.
        Torch has no module for it: x[index], or index_select.
        Source: Caffe's layer BatchReindex; the same as of an Embedding's rows.
        """
        dx = np.zeros_like(grad_output, shape=cache.shape)
        order = np.argsort(cache.index, kind="stable")
        rows, starts = np.unique(cache.index[order], return_index=True)
        dx[rows] = np.add.reduceat(grad_output[order], starts, axis=0)
        return (dx, None), {}
