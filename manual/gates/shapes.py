"""Gates that rename, cut and copy: reshape, permute, expand, slice, split, stack."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from manual.examples import Example
from manual.gates.broadcasting import summed_to
from manual.layer import Array, Arrays, Layer
from manual.linear import NoCache
from manual.shaping import ShapeCache

__all__ = [
    "ExpandGate",
    "MeshGate",
    "PermuteGate",
    "ReshapeGate",
    "SliceGate",
    "SplitGate",
    "StackGate",
]

RENAMED = {"output": "y[j] = x[fold(j)]", "grad_input": "dx[i] = dy[fold(i)]"}


class ReshapeGate(Layer):
    """The same elements in another shape.

    Args:
        shape: the new one; one length may be -1.
    """

    equations = RENAMED
    examples = (
        Example({"shape": (2, -1)}, ((3, 4),), exact=True),
        Example({"shape": ()}, ((1, 1),), exact=True),
    )

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)

    def forward(self, input: Array) -> tuple[Array, ShapeCache]:  # type: ignore[override]
        return input.reshape(self.shape), ShapeCache(tuple(input.shape))

    def backward(self, grad_output: Array, cache: ShapeCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through a renaming of indices.

        Every y element is one x element, so dx is dy in x's shape.
        Torch: view, reshape, flatten, squeeze, unsqueeze and their kin.
        Source: CS231n notes, Backpropagation: a gate that passes its gradient on.
        """
        return (grad_output.reshape(cache.shape),), {}

    def extra_repr(self) -> str:
        return f"{self.shape}"


class PermuteGate(Layer):
    """The same elements with the axes in another order.

    Args:
        dims: which axis of the input becomes the first, the second, …
    """

    equations = RENAMED
    examples = (Example({"dims": (1, -1, 0)}, ((2, 3, 4),), exact=True),)

    def __init__(self, dims: Sequence[int]) -> None:
        self.dims = tuple(dims)

    def forward(self, input: Array) -> tuple[Array, NoCache]:  # type: ignore[override]
        return input.transpose(self.dims), NoCache()

    def backward(self, grad_output: Array, cache: NoCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_(i_p(0), i_p(1), …) = x_(i_0, i_1, …).

        dx_(i_0, i_1, …) = dy_(i_p(0), i_p(1), …): the axes go back, by the inverse order.
        Torch: permute, movedim, T, mT.
        Source: CS231n notes, Backpropagation: a gate that passes its gradient on.
        """
        n = len(self.dims)
        return (grad_output.transpose(tuple(np.argsort([d % n for d in self.dims]))),), {}

    def extra_repr(self) -> str:
        return f"{self.dims}"


class ExpandGate(Layer):
    """The input stretched along axes of one element, and along new ones in front.

    Args:
        shape: the new one.
    """

    equations = {"output": "y[j] = x[fold(j)]"}
    examples = (Example({"shape": (2, 3, 4)}, ((3, 1),)),)

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)

    def forward(self, input: Array) -> tuple[Array, ShapeCache]:  # type: ignore[override]
        return np.broadcast_to(input, self.shape).copy(), ShapeCache(tuple(input.shape))

    def backward(self, grad_output: Array, cache: ShapeCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_nij = x_i0, say.

        dx_i0 = Σ_n Σ_j dy_nij: what was copied adds up what its copies get
        Torch: expand, expand_as, broadcast_to.
        Source: CS231n notes, Backpropagation: gradients add up at forks.
        """
        return (summed_to(grad_output, cache.shape),), {}

    def extra_repr(self) -> str:
        return f"{self.shape}"


class SliceGate(Layer):
    """A part of the input that numbers and slices cut out, as NumPy's indexing takes them.

    Args:
        index: numbers, slices, None (a new axis) and Ellipsis.
    """

    equations = {"output": "y[j] = x[fold(j)]"}
    examples = (
        Example({"index": (slice(None, None, 2), None, 1)}, ((3, 4),), exact=True),
        Example({"index": (Ellipsis, slice(None, None, -1))}, ((2, 3),), exact=True),
    )

    def __init__(self, index: Sequence[Any]) -> None:
        self.index = tuple(index)

    def forward(self, input: Array) -> tuple[Array, ShapeCache]:  # type: ignore[override]
        return input[self.index], ShapeCache(tuple(input.shape))

    def backward(self, grad_output: Array, cache: ShapeCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = x[index].

        Every y element is one x element: dx is dy where it was taken, 0 elsewhere.
        Torch: Tensor.__getitem__, narrow, select, flip.
        Source: CS231n notes, Backpropagation: a gate that passes its gradient on.
        """
        dx = np.zeros_like(grad_output, shape=cache.shape)
        dx[self.index] = grad_output
        return (dx,), {}

    def extra_repr(self) -> str:
        return ", ".join(map(_index, self.index))


def _index(part: Any) -> str:
    if not isinstance(part, slice):
        return "…" if part is Ellipsis else str(part)
    ends = ":".join("" if n is None else str(n) for n in (part.start, part.stop))
    return ends if part.step in (None, 1) else f"{ends}:{part.step}"


class SplitGate(Layer):
    """The input cut into pieces along one axis, each an output of its own.

    Args:
        sizes: how many elements each piece has; the pieces follow one another.
        dim: the axis.
    """

    examples = (
        Example({"sizes": (1, 2), "dim": 1}, ((2, 3, 2),), exact=True),
        Example({"sizes": (2, 0, 1), "dim": -1}, ((2, 3),), exact=True),
    )

    def __init__(self, sizes: Sequence[int], dim: int = 0) -> None:
        self.sizes, self.dim = tuple(sizes), dim
        self.outputs = _ports(len(self.sizes))

    def forward(self, input: Array) -> tuple[Any, NoCache]:  # type: ignore[override]
        pieces = np.split(input, list(accumulate(self.sizes))[:-1], axis=self.dim)
        return tuple(pieces) if len(pieces) > 1 else pieces[0], NoCache()

    def backward(self, grad_output: Any, cache: NoCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_k = x_(…, a_k … a_k + n_k, …), one output for each k.

        Every x element is one element of one output, so dx is all dy_k side by side again; 0 for
        an output without a gradient (None).
        Torch: split, chunk, tensor_split, unsafe_split.
        Source: the gate that joins arrays, turned round.
        """
        pieces = grad_output if isinstance(grad_output, tuple) else (grad_output,)
        return (np.concatenate(_without_none(pieces, self.sizes, self.dim), axis=self.dim),), {}

    def extra_repr(self) -> str:
        return f"{self.sizes}, dim={self.dim}"


def _without_none(pieces: Sequence[Any], sizes: Sequence[int], dim: int) -> list[Array]:
    """Return the gradients of the pieces, zeros for those that have none."""
    known = next(piece for piece in pieces if piece is not None)

    def shape(n: int) -> tuple[int, ...]:
        found = list(known.shape)
        found[dim] = n
        return tuple(found)

    return [
        np.zeros_like(known, shape=shape(n)) if piece is None else piece
        for piece, n in zip(pieces, sizes, strict=True)
    ]


class StackGate(Layer):
    """Inputs of one shape side by side along a new axis.

    Args:
        dim: where the new axis is.
    """

    equations = RENAMED
    examples = (
        Example({"dim": 1}, ((2, 3), (2, 3)), exact=True),
        Example({"dim": -1}, ((2,),), exact=True),
    )

    def __init__(self, dim: int = 0) -> None:
        self.dim = dim

    def forward(self, *inputs: Array) -> tuple[Array, NoCache]:
        return np.stack(inputs, axis=self.dim), NoCache()

    def backward(self, grad_output: Array, cache: NoCache) -> tuple[tuple[Array, ...], Arrays]:
        r"""Chain rule through y_(…, k, …) = x_k: every y element is one x element.

        dx_k = dy_(…, k, …)
        Torch: torch.stack.
        Source: the gate that joins arrays.
        """
        rows = np.moveaxis(grad_output, self.dim, 0)
        return tuple(rows[k] for k in range(len(rows))), {}

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class MeshCache(NamedTuple):
    shapes: tuple[tuple[int, ...], ...]  # of the inputs


class MeshGate(Layer):
    """Several inputs stretched to one shape.

    Args:
        shapes: what each input is reshaped to first; these broadcast.
    """

    examples = (Example({"shapes": [(2, 1), (1, 3)]}, ((2,), (3,))),)

    def __init__(self, shapes: Sequence[Sequence[int]]) -> None:
        self.shapes = [tuple(shape) for shape in shapes]
        self.outputs = _ports(len(self.shapes))

    def forward(self, *inputs: Array) -> tuple[Any, MeshCache]:
        whole = np.broadcast_shapes(*self.shapes)
        turned = (x.reshape(shape) for x, shape in zip(inputs, self.shapes, strict=True))
        found = tuple(np.broadcast_to(x, whole).copy() for x in turned)
        return found if len(found) > 1 else found[0], MeshCache(
            tuple(tuple(x.shape) for x in inputs)
        )

    def backward(self, grad_output: Any, cache: MeshCache) -> tuple[tuple[Array, ...], Arrays]:
        r"""Chain rule through copies: of x_i0 and x_j, y_ij = x_i0 and y'_ij = x_j.

        dx_i0 = Σ_j dy_ij,  dx_j = Σ_i dy'_ij
        Torch: broadcast_tensors, meshgrid.
        Source: CS231n notes, Backpropagation: gradients add up at forks.
        """
        given = grad_output if isinstance(grad_output, tuple) else (grad_output,)
        known = next(dy for dy in given if dy is not None)
        grads = (np.zeros_like(known) if dy is None else dy for dy in given)
        summed = (summed_to(dy, s) for dy, s in zip(grads, self.shapes, strict=True))
        return tuple(dx.reshape(s) for dx, s in zip(summed, cache.shapes, strict=True)), {}


def _ports(count: int) -> tuple[str, ...]:
    return ("output", *map(str, range(1, count)))
