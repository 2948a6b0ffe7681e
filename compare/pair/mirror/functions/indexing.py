"""Torch's ways to pick elements by their places, and to write or add to them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from compare.errors import UserError
from compare.pair.mirror.call import Builder, Call, NoTwin, Value
from compare.pair.mirror.functions.places import listed, numbers, taken
from manual.gates.constants import MultiplyConstantGate
from manual.gates.functional import Chain
from manual.gates.places import AddAtGate, TakeGate
from manual.gates.reductions import AmaxGate, AminGate, ProdGate, SumGate
from manual.gates.shapes import ReshapeGate, SliceGate
from manual.layer import Layer


# ── x[…] ─────────────────────────────────────────────────────────────────────────────────────────
def getitem(input: Value, index: Any) -> Call:
    basic, later = parted(index, input.ndim)
    if later is None:
        return Call(SliceGate(basic), (input,))
    return taken(input, numbers(input)[basic][later])


def parted(index: Any, ndim: int) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """Return an index in two steps: numbers and slices, then arrays (None if there are none).

    NumPy would count a number beside an array as an array; torch takes numbers first.
    """
    parts = [_plain(p) for p in (index if listed(index) and isinstance(index, tuple) else (index,))]
    used = sum(_axes(p) for p in parts)
    basic: list[Any] = []
    later: list[Any] = []
    for part in parts:
        if part is Ellipsis:
            basic += [slice(None)] * (ndim - used)
            later += [slice(None)] * (ndim - used)
        elif isinstance(part, bool):
            basic.append(None)
            later.append(np.zeros(int(part), int))
        elif isinstance(part, np.ndarray):
            basic += [slice(None)] * _axes(part)
            later.append(part)
        else:
            basic.append(part)
            later += [] if isinstance(part, int) else [slice(None)]
    arrays = any(isinstance(part, np.ndarray) for part in later)
    return tuple(basic), tuple(later) if arrays else None


def _plain(part: Any) -> Any:
    """Return one part of an index: a number, a slice, None, Ellipsis, a boolean, or an array."""
    if isinstance(part, slice):
        return slice(*(_number(n) for n in (part.start, part.stop, part.step)))
    if listed(part):
        part = np.array([_number(n) for n in part])
        part = part if part.size else part.astype(int)
    if isinstance(part, Value):
        part = part.array.astype(bool) if part.array.dtype == np.uint8 else part.array
    if isinstance(part, np.ndarray) and not part.ndim:
        return part.item()
    return part.item() if isinstance(part, np.generic) else part


def _number(n: Any) -> Any:
    if listed(n):
        return [_number(m) for m in n]
    if isinstance(n, Value):
        return n.array.item() if n.array.size == 1 else n.array.tolist()
    return n


def _axes(part: Any) -> int:
    """Return how many axes of the input a part of an index takes."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype == bool else 1


def overwrite(old: Value, new: Value, places: Any) -> Call:
    """Return what a value is after another one was written into its memory, where places >= 0."""
    found, size = np.asarray(places), old.array.size
    own = np.arange(size).reshape(old.shape)
    return Call(TakeGate(np.where(found < 0, own, size + found)), (old, new))


def setitem(input: Value, index: Any, value: Any) -> Call:
    basic, later = parted(index, input.ndim)
    places = numbers(input)[basic]
    return written(input, places if later is None else places[later], value)


def written(input: Value, places: np.ndarray, value: Any) -> Call:
    """Return the call that gives x with other values at some places."""
    p = numbers(input).reshape(-1)
    if len(np.unique(places)) != places.size:
        raise NoTwin("a place is written twice, and which value stays is not said")
    if not isinstance(value, Value):
        p[places.reshape(-1)] = -1
        return taken(input, p.reshape(input.shape), float(value))
    own = numbers(value)
    while own.ndim > places.ndim and own.shape[0] == 1:  # torch drops such axes
        own = own[0]
    p[places.reshape(-1)] = (p.size + np.broadcast_to(own, places.shape)).reshape(-1)
    return taken((input, value.real()), p.reshape(input.shape))


# ── pick ─────────────────────────────────────────────────────────────────────────────────────────
def select(input: Value, dim: int, index: Any) -> Call:
    return Call(SliceGate(_along(input, dim, int(_number(index)))), (input,))


def narrow(input: Value, dim: int, start: Any, length: int) -> Call:
    first = int(_number(start))
    first += input.shape[dim] if first < 0 else 0
    return Call(SliceGate(_along(input, dim, slice(first, first + length))), (input,))


def _along(input: Value, dim: int, part: Any) -> tuple[Any, ...]:
    return (*[slice(None)] * (dim % input.ndim), part)


def index_select(input: Value, dim: int, index: Value) -> Call:
    if not input.ndim:
        return taken(input, np.zeros((), int))
    return taken(input, np.take(numbers(input), index.array.reshape(-1), axis=dim))


def gather(input: Value, dim: int, index: Value, *, sparse_grad: bool = False) -> Call:
    return taken(input, _gathered(numbers(input), dim, index.array))


def _gathered(all_places: np.ndarray, dim: int, index: np.ndarray) -> np.ndarray:
    """Return the places that gather and scatter mean: index may be shorter along other axes."""
    if not all_places.ndim:
        return np.broadcast_to(all_places, index.shape)
    if not index.size:
        return index.astype(int)
    index = index.reshape(index.shape or (1,) * all_places.ndim)
    at = list(np.ix_(*(np.arange(n) for n in index.shape)))
    at[dim] = index
    return all_places[tuple(at)]


def take(input: Value, index: Value) -> Call:
    return taken(input, numbers(input).reshape(-1)[index.array])


def take_along_dim(input: Value, indices: Value, dim: int | None = None) -> Call:
    if dim is None:
        return taken(input, numbers(input).reshape(-1)[indices.array.reshape(-1)])
    return taken(input, np.take_along_axis(*_stretched(numbers(input), indices.array, dim), dim))


def _stretched(a: np.ndarray, b: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays broadcast to each other along every axis but one."""
    shapes = [list(x.shape) for x in (a, b)]
    for shape in shapes:
        shape[dim] = 1
    whole = list(np.broadcast_shapes(*shapes))
    found = []
    for x in (a, b):
        whole[dim] = x.shape[dim]
        found.append(np.broadcast_to(x, whole))
    return found[0], found[1]


def masked_select(input: Value, mask: Value) -> Call:
    places, chosen = np.broadcast_arrays(numbers(input), mask.array)
    return taken(input, places[chosen])


# ── write and add ────────────────────────────────────────────────────────────────────────────────
def index_add(input: Value, dim: int, index: Value, source: Value, *, alpha: float = 1) -> Call:
    return _added(input, _rows(input, dim, index), source, alpha)


def _rows(input: Value, dim: int, index: Value) -> np.ndarray:
    if not input.ndim:
        return np.zeros((), int)
    return np.take(numbers(input), index.array.reshape(-1), axis=dim)


def _added(input: Value, places: np.ndarray, values: Value, alpha: float = 1) -> Call:
    places = places.reshape(values.shape) if places.size == prod(values.shape) else places
    return Call(AddAtGate(places, alpha), (input, values.real()))


def index_copy(input: Value, dim: int, index: Value, source: Value) -> Call:
    places = _rows(input, dim, index)
    return written(input, places.reshape(source.shape), source)


def index_fill(input: Value, dim: int, index: Value, value: Any) -> Call:
    return written(input, np.unique(_rows(input, dim, index)), value)


def index_put(input: Value, indices: Any, values: Value, accumulate: bool = False) -> Call:
    index = tuple(slice(None) if i is None else i for i in indices)
    basic, later = parted(index, input.ndim)
    places = numbers(input)[basic]
    places = places if later is None else places[later]
    if accumulate:
        return Call(AddAtGate(places), (input, values.real()))
    return written(input, places, values)


def put(input: Value, index: Value, source: Value, accumulate: bool = False) -> Call:
    places = numbers(input).reshape(-1)[index.array].reshape(source.shape)
    if accumulate:
        return Call(AddAtGate(places), (input, source))
    return written(input, places, source)


def scatter(
    input: Value, dim: int, index: Value, src: Any = None, *, value: Any = None,
    reduce: str | None = None,
) -> Call:  # fmt: skip
    given = src if value is None else value
    places = _gathered(numbers(input), dim, index.array)
    if reduce == "add" and isinstance(given, Value):
        return scatter_add(input, dim, index, given)
    if reduce is not None:
        raise NoTwin(f"reduce='{reduce}'")
    if isinstance(given, Value) and given.ndim:
        return _placed(input, places, index, given)
    return written(input, np.unique(places), given)


def _placed(input: Value, places: np.ndarray, index: Value, src: Value) -> Call:
    """Return the writing of the part of src that index covers."""
    p = numbers(input).reshape(-1)
    if len(np.unique(places)) != places.size:
        raise NoTwin("a place is written twice, and which value stays is not said")
    own = numbers(src)[tuple(slice(n) for n in index.shape)]
    p[places.reshape(-1)] = p.size + own.reshape(-1)
    return taken((input, src.real()), p.reshape(input.shape))


def scatter_add(input: Value, dim: int, index: Value, src: Value) -> Call:
    if src.shape != index.shape:
        places = np.full(src.shape, -1)
        places[tuple(slice(n) for n in index.shape)] = _gathered(numbers(input), dim, index.array)
        raise NoTwin("src is larger than index")
    return Call(
        AddAtGate(_gathered(numbers(input), dim, index.array).reshape(src.shape)), (input, src)
    )


def masked_scatter(input: Value, mask: Value, source: Value) -> Call:
    shape = np.broadcast_shapes(input.shape, mask.shape)
    p = np.broadcast_to(numbers(input), shape).copy()
    chosen = np.broadcast_to(mask.array, shape)
    p[chosen] = prod(input.shape) + np.arange(chosen.sum())
    return taken((input, source), p)


def select_scatter(input: Value, src: Value, dim: int, index: int) -> Call:
    return written(input, numbers(input)[_along(input, dim, index)], src)


def slice_scatter(
    input: Value, src: Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Call:
    return written(input, numbers(input)[_along(input, dim, slice(start, end, step))], src)


def diagonal_scatter(
    input: Value, src: Value, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Call:
    return written(input, np.diagonal(numbers(input), offset, dim1, dim2), src)


# ── triangles and diagonals ──────────────────────────────────────────────────────────────────────
def diagonal(input: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Call:
    return taken(input, np.diagonal(numbers(input), offset, dim1, dim2))


def linalg_diagonal(A: Value, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Call:
    return diagonal(A, offset, dim1, dim2)


def diag(input: Value, diagonal: int = 0) -> Call:
    if input.ndim > 1:
        return taken(input, np.diag(numbers(input), diagonal))
    return diag_embed(input, diagonal)


def diag_embed(input: Value, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Call:
    n = input.shape[-1] + abs(offset)
    places = np.full((*input.shape[:-1], n, n), -1)
    k = np.arange(input.shape[-1])
    places[..., k + max(-offset, 0), k + max(offset, 0)] = numbers(input)
    return taken(input, np.moveaxis(places, (-2, -1), (dim1, dim2)))


def diagflat(input: Value, offset: int = 0) -> Call:
    n = prod(input.shape) + abs(offset)
    places = np.full((n, n), -1)
    k = np.arange(prod(input.shape))
    places[k + max(-offset, 0), k + max(offset, 0)] = k
    return taken(input, places)


def tril(input: Value, diagonal: int = 0) -> Call:
    return taken(input, np.tril(numbers(input) + 1, diagonal) - 1)


def triu(input: Value, diagonal: int = 0) -> Call:
    return taken(input, np.triu(numbers(input) + 1, diagonal) - 1)


# ── windows ──────────────────────────────────────────────────────────────────────────────────────
def unfold(input: Value, dimension: int, size: int, step: int) -> Call:
    if not input.ndim:
        return taken(input, np.zeros((size,), int))
    windows = np.lib.stride_tricks.sliding_window_view(numbers(input), size, dimension)
    return taken(input, windows[_along(input, dimension, slice(None, None, step))])


def as_strided(input: Value, size: Any, stride: Any, storage_offset: Any = None) -> Call:
    return taken(input, _strided(input, size, stride, storage_offset))


def _strided(input: Value, size: Any, stride: Any, offset: Any) -> np.ndarray:
    """Return where the view's elements are in the input, which may itself lie in memory anyhow."""
    strides = [s // input.array.itemsize for s in input.array.strides]
    cells = _cells(input.shape, strides, 0)
    wanted = _cells(size, stride, 0 if offset is None else int(offset) - input.offset)
    number = np.full(max(cells.max(initial=-1), wanted.max(initial=-1)) + 1, -1)
    number[cells] = numbers(input)
    if (wanted < 0).any() or (number[wanted] < 0).any():
        raise UserError(
            f"{input.name}: as_strided takes memory beyond the tensor's own, which no function of "
            "its value does. Call it on the tensor that holds all of it."
        )
    return number[wanted]


def _cells(size: Any, strides: Any, start: int) -> np.ndarray:
    """Return where in memory each element of a tensor is."""
    size = [int(n) for n in size]
    places = np.full(size, start)
    for axis, (n, s) in enumerate(zip(size, strides, strict=True)):
        places += (int(s) * np.arange(n)).reshape(-1, *[1] * (len(size) - axis - 1))
    return places


def as_strided_scatter(
    input: Value, src: Value, size: Any, stride: Any, storage_offset: Any = None
) -> Call:
    return written(input, _strided(input, size, stride, storage_offset), src)


# ── groups ───────────────────────────────────────────────────────────────────────────────────────
def scatter_reduce(
    input: Value, dim: int, index: Value, src: Value, reduce: str, *, include_self: bool = True
) -> Call:
    part = tuple(slice(n) for n in index.shape)
    places = _gathered(numbers(input), dim, index.array)
    return _reduced(input, places, src, numbers(src)[part], reduce, include_self)


def index_reduce(
    input: Value, dim: int, index: Value, source: Value, reduce: str, *, include_self: bool = True
) -> Call:
    places = _rows(input, dim, index).reshape(source.shape)
    return _reduced(input, places, source, numbers(source), reduce, include_self)


NEUTRAL = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amax": -np.inf, "amin": np.inf}
REDUCTIONS: dict[str, Any] = {"sum": SumGate, "mean": SumGate, "prod": ProdGate, "amax": AmaxGate,
              "amin": AminGate}  # fmt: skip


def _reduced(
    input: Value, places: np.ndarray, source: Value, own: np.ndarray, reduce: str, kept: bool
) -> Call:
    """Return the call that reduces what is sent to each place, beside what is there.

    Each place gets a row of what comes to it, filled up with what changes nothing.
    """
    n, p = prod(input.shape), places.reshape(-1)
    counts = np.bincount(p, minlength=n)
    alone = kept | (counts == 0)
    rows = np.full((n, int(counts.max(initial=0)) + 1), -1)
    rows[:, 0] = np.where(alone, np.arange(n), -1)
    order = np.argsort(p, kind="stable")
    first = np.cumsum(counts) - counts
    rows[p[order], np.arange(len(p)) - first[p[order]] + 1] = n + own.reshape(-1)[order]
    layers: list[Layer] = [TakeGate(rows, NEUTRAL[reduce]), REDUCTIONS[reduce](dim=-1)]
    if reduce == "mean":
        shares = 1.0 / np.maximum(counts + alone, 1)
        layers.append(MultiplyConstantGate(shares.astype(input.array.dtype)))
    return Call(Chain(*layers, ReshapeGate(input.shape)), (input, source))


TABLE: dict[str, Builder] = {
    "getitem": getitem, "setitem": setitem, "overwrite": overwrite,
    "select": select, "select_copy": select,
    "narrow": narrow, "narrow_copy": narrow, "index_select": index_select, "gather": gather,
    "take": take, "take_along_dim": take_along_dim, "masked_select": masked_select,
    "index_add": index_add, "index_copy": index_copy, "index_fill": index_fill,
    "index_put": index_put, "put": put, "scatter": scatter, "scatter_add": scatter_add,
    "masked_scatter": masked_scatter, "select_scatter": select_scatter,
    "slice_scatter": slice_scatter, "diagonal_scatter": diagonal_scatter,
    "diagonal": diagonal, "diagonal_copy": diagonal, "linalg.diagonal": linalg_diagonal,
    "diag": diag, "diag_embed": diag_embed, "diagflat": diagflat, "tril": tril, "triu": triu,
    "unfold": unfold, "unfold_copy": unfold, "as_strided": as_strided,
    "as_strided_copy": as_strided, "as_strided_scatter": as_strided_scatter,
    "scatter_reduce": scatter_reduce, "index_reduce": index_reduce,
}  # fmt: skip
