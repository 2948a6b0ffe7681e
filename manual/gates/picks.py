"""Gates that pick elements along an axis, and say which: max, median, sort, topk, cummax, …"""

from __future__ import annotations

import math
import operator
from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from manual.examples import Example
from manual.gates.reductions import flattened, restored
from manual.layer import Array, Arrays, Layer
from manual.rounding import computed_in

__all__ = [
    "CumMaxGate",
    "CumMinGate",
    "KthValueGate",
    "MaxAlongGate",
    "MedianAlongGate",
    "MinAlongGate",
    "ModeGate",
    "OrderedGate",
    "QuantileGate",
    "SortGate",
    "TopKGate",
]

SHAPES = ({"dim": 0}, ((3, 2),)), ({"dim": -1}, ((2, 3),))
EXAMPLES = tuple(Example(arguments, shapes, exact=True) for arguments, shapes in SHAPES)


class Picked(NamedTuple):
    places: np.ndarray  # (…, m): which elements of its row each result is
    shape: tuple[int, ...]  # of x
    axis: int


class Picking(Layer):
    """Elements that are picked along an axis, and their places.

    Args:
        dim: the axis.
    """

    outputs: tuple[str, ...] = ("values", "indices")
    examples: ClassVar[tuple[Example, ...]] = EXAMPLES
    keepdim = True

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    @abstractmethod
    def pick(self, x: Array) -> np.ndarray:
        """Return the places along the last axis that are picked."""

    def forward(self, x: Array) -> tuple[Any, Picked]:  # type: ignore[override]
        shape, axis = tuple(np.shape(x)), self.dim % max(np.ndim(x), 1)
        rows = flattened(x, (axis,)) if shape else x.reshape(1)
        index = self.pick(rows)
        cache = Picked(index, shape, axis)
        return (
            self._out(np.take_along_axis(rows, index, -1), cache),
            self._out(index, cache),
        ), cache

    def backward(self, grad_output: Any, cache: Picked) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_m = x_(k_m): each dy goes to the place that its y came from.

        dx_k = Σ_m [k_m = k] dy_m: what is never picked gets 0, what is picked twice the sum.
        Which place wins is decided by the numbers, and does not move with them.
        Torch: the function of this name. The places have no gradient.
        Source: the max gate routes.
        """
        dy = self._rows(grad_output[0], cache)
        length = cache.shape[cache.axis] if cache.shape else 1
        count = math.prod(dy.shape[:-1])
        dx = np.zeros_like(dy, shape=(count, length))
        index = cache.places.reshape(count, dy.shape[-1])
        np.add.at(dx, (np.arange(len(dx))[:, None], index), dy.reshape(index.shape))
        if not cache.shape:
            return (dx.reshape(()),), {}
        return (restored(dx, cache.shape, (cache.axis,)),), {}

    def decisions(self, cache: Picked) -> Array:
        return cache.places

    def _out(self, rows: Array, cache: Picked) -> Array:
        """Return results in the input's layout."""
        if not cache.shape or not self.keepdim:
            return rows.reshape(rows.shape[:-1])
        return np.moveaxis(rows, -1, cache.axis)

    def _rows(self, y: Array, cache: Picked) -> Array:
        """Return what `_out` was made of."""
        if cache.shape and self.keepdim:
            return np.moveaxis(y, cache.axis, -1)
        return np.reshape(y, cache.places.shape)

    def extra_repr(self) -> str:
        return ", ".join(f"{key}={value!r}" for key, value in vars(self).items())


class PickOne(Picking):
    """One element of each row.

    Args:
        dim: the axis.
        keepdim: whether it stays, 1 long.
    """

    keepdim: bool
    examples: ClassVar[tuple[Example, ...]] = (
        EXAMPLES[0],
        Example({"dim": -1, "keepdim": True}, ((2, 3),), exact=True),
    )

    def __init__(self, dim: int = -1, keepdim: bool = False) -> None:
        self.dim, self.keepdim = dim, keepdim


def ordered(x: Array, descending: bool = False) -> np.ndarray:
    """Return the places along the last axis in the order of the numbers, equals as they come."""
    if not descending:
        return np.argsort(x, axis=-1, kind="stable")
    last = x.shape[-1] - 1
    return last - np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]


class MaxAlongGate(PickOne):
    """The largest along an axis, the first of equals, and where it is."""

    def pick(self, x: Array) -> np.ndarray:
        return np.argmax(x, axis=-1)[..., None]


class MinAlongGate(PickOne):
    """The smallest along an axis, the first of equals, and where it is."""

    def pick(self, x: Array) -> np.ndarray:
        return np.argmin(x, axis=-1)[..., None]


class MedianAlongGate(PickOne):
    """The median along an axis, the lower of two, and where it is.

    Args:
        dim: the axis.
        keepdim: whether it stays, 1 long.
        skips_nan: whether nan counts for nothing; else it is the median.
    """

    def __init__(self, dim: int = -1, keepdim: bool = False, skips_nan: bool = False) -> None:
        super().__init__(dim, keepdim)
        self.skips_nan = skips_nan

    def pick(self, x: Array) -> np.ndarray:
        order, known = ordered(x), (x == x).sum(axis=-1, keepdims=True)
        place = np.maximum(known - 1, 0) // 2
        if not self.skips_nan:
            place = np.where(known < x.shape[-1], known, place)
        return np.take_along_axis(order, place, -1)


class KthValueGate(PickOne):
    """The k-th smallest along an axis, and where it is.

    Args:
        k: from 1.
        dim: the axis.
        keepdim: whether it stays, 1 long.
    """

    examples = (
        Example({"k": 2, "dim": 0}, ((3, 2),), exact=True),
        Example({"k": 1, "keepdim": True}, ((2, 3),), exact=True),
    )

    def __init__(self, k: int, dim: int = -1, keepdim: bool = False) -> None:
        super().__init__(dim, keepdim)
        self.k = k

    def pick(self, x: Array) -> np.ndarray:
        return ordered(x)[..., self.k - 1 : self.k]


class ModeGate(PickOne):
    """What is most frequent along an axis, the smallest of several, and where it is last."""

    examples = tuple(
        e._replace(
            inputs=(np.array([[1.0, 2.0], [2.0, 3.0], [2.0, 3.0]]).reshape(e.inputs[0]),),
            convention=True,
            note="what is frequent is so no more when it moves",
        )
        for e in PickOne.examples
    )

    def pick(self, x: Array) -> np.ndarray:
        order = ordered(x)
        row = np.take_along_axis(x, order, -1)
        counts = (row[..., None] == row[..., None, :]).sum(axis=-1)
        first = np.argmax(counts, axis=-1)[..., None]
        last = first + np.take_along_axis(counts, first, -1) - 1
        return np.take_along_axis(order, last, -1)


class SortGate(Picking):
    """Elements in order along an axis, and where they were.

    Args:
        dim: the axis.
        descending: whether the largest comes first.
    """

    examples = (
        Example({"dim": 0}, ((3, 2),), exact=True),
        Example({"descending": True}, ((2, 3),), exact=True),
    )

    def __init__(self, dim: int = -1, descending: bool = False) -> None:
        self.dim, self.descending = dim, descending

    def pick(self, x: Array) -> np.ndarray:
        return ordered(x, self.descending)


class TopKGate(Picking):
    """The k largest along an axis, or smallest, in order, and where they were.

    Args:
        k: how many.
        dim: the axis.
        largest: whether the largest are taken.
    """

    examples = (
        Example({"k": 2, "dim": 0}, ((3, 2),), exact=True),
        Example({"k": 2, "largest": False}, ((2, 3),), exact=True),
    )

    def __init__(self, k: int, dim: int = -1, largest: bool = True) -> None:
        self.k, self.dim, self.largest = k, dim, largest

    def pick(self, x: Array) -> np.ndarray:
        return ordered(x, self.largest)[..., : self.k]


class CumMaxGate(Picking):
    """The largest so far along an axis, the last of equals, and where it is."""

    wins = staticmethod(operator.ge)

    def pick(self, x: Array) -> np.ndarray:
        index = np.zeros(x.shape, dtype=np.int64)
        for i in range(1, x.shape[-1]):
            best = np.take_along_axis(x, index[..., i - 1 : i], -1)[..., 0]
            here = x[..., i]
            won = self.wins(here, best) | (here != here)
            index[..., i] = np.where(won, i, index[..., i - 1])
        return index


class CumMinGate(CumMaxGate):
    """The smallest so far along an axis, the last of equals, and where it is."""

    wins = staticmethod(operator.le)


class OrderedGate(SortGate):
    """Elements in order along an axis.

    Args:
        dim: the axis.
        descending: whether the largest comes first.
    """

    outputs = ("output",)

    def forward(self, x: Array) -> tuple[Any, Picked]:  # type: ignore[override]
        (values, _), cache = super().forward(x)
        return values, cache

    def backward(self, grad_output: Any, cache: Picked) -> tuple[tuple[Array], Arrays]:
        """Return each dy to the place that its y came from. Torch: torch.msort."""
        return super().backward((grad_output,), cache)


class Between(NamedTuple):
    low: np.ndarray  # (…, Q): which elements of its row are on either side
    high: np.ndarray
    weight: Array  # (…, Q): how far from low to high
    shape: tuple[int, ...]  # of the rows
    x: tuple[int, ...]  # the input's shape


class QuantileGate(Layer):
    """What a share q of the elements lie below, between two of them in order.

    Args:
        q: from 0 to 1; a list gives one result for each, along a new first axis.
        dim: the axis; None for all elements.
        keepdim: whether it stays, 1 long.
        interpolation: "linear" between the two, "lower", "higher", "nearest" or "midpoint".
        skips_nan: whether nan counts for nothing; else it makes the result nan.
    """

    equations = {}
    examples = (
        Example({"q": 0.3}, ((2, 3),)),
        Example({"q": [0.25, 0.8], "dim": 0}, ((3, 2),)),
        Example({"q": 0.6, "dim": 1, "keepdim": True, "interpolation": "midpoint"}, ((2, 3),)),
        Example({"q": 0.6, "dim": 1, "interpolation": "nearest", "skips_nan": True}, ((2, 3),)),
    )

    def __init__(
        self,
        q: float | list[float],
        dim: int | None = None,
        keepdim: bool = False,
        interpolation: str = "linear",
        skips_nan: bool = False,
    ) -> None:
        self.q, self.dim, self.keepdim = q, dim, keepdim
        self.interpolation, self.skips_nan = interpolation, skips_nan

    def _axes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        every = tuple(range(len(shape)))
        return every if self.dim is None or not shape else (self.dim % len(shape),)

    def forward(self, x: Array) -> tuple[Array, Between]:  # type: ignore[override]
        axes = self._axes(x.shape)
        rows = flattened(x, axes)
        low, high, weight = self._places(rows)
        a, b = (np.take_along_axis(rows, place, -1) for place in (low, high))
        y = a + weight * (b - a) if self.interpolation in ("linear", "midpoint") else a
        y = np.moveaxis(y, -1, 0)
        if self.keepdim:
            ones = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
            y = y.reshape((len(y), *ones))
        cache = Between(low, high, weight, tuple(rows.shape), tuple(x.shape))
        return y if isinstance(self.q, list) else y[0], cache

    def _places(self, rows: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return which two elements each result lies between, and how far."""
        order = ordered(rows)
        known = (rows == rows).sum(axis=-1, keepdims=True)
        last = known - 1
        rank = np.asarray(self.q, dtype=np.float64) * last
        if not self.skips_nan:
            rank = np.where(known < rows.shape[-1], rows.shape[-1] - 1, rank)  # the last is nan
        rank = np.maximum(rank, 0)
        if self.interpolation in ("lower", "higher", "nearest"):
            rounding = {"lower": np.floor, "higher": np.ceil, "nearest": np.rint}
            rank = rounding[self.interpolation](rank)
        low, high = rank.astype(np.int64), np.ceil(rank).astype(np.int64)
        weight = np.full_like(rank, 0.5) if self.interpolation == "midpoint" else rank - low
        weight = weight.astype(computed_in(rows))
        places = (np.take_along_axis(order, place, -1) for place in (low, high))
        return (*places, weight)  # type: ignore[return-value]

    def backward(self, grad_output: Array, cache: Between) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = a + w (b - a), where a and b are elements, and w is a constant.

        da = (1 - w) dy,  db = w dy, each added where it came from
        Torch: torch.quantile, torch.nanquantile.
        Source: the gates lerp and sort.
        """
        low, high, weight, shape, x = cache
        q = len(self.q) if isinstance(self.q, list) else 1
        dy = np.moveaxis(np.reshape(grad_output, (q, *shape[:-1])), 0, -1).reshape(-1, q)
        count = len(dy)
        dx = np.zeros_like(dy, shape=(count, shape[-1]))
        at = np.arange(count)[:, None]
        w = weight.reshape(count, q)
        np.add.at(dx, (at, low.reshape(count, q)), dy * (1 - w))
        np.add.at(dx, (at, high.reshape(count, q)), dy * w)
        return (restored(dx, x, self._axes(x)),), {}

    def decisions(self, cache: Between) -> Array:
        return np.stack([cache.low, cache.high])

    def extra_repr(self) -> str:
        return ", ".join(f"{key}={value!r}" for key, value in vars(self).items())
