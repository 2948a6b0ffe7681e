"""Torch's functions that rename, cut, join and copy elements."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from compare.pair.mirror.call import Builder, Call, NoTwin, Value
from compare.pair.mirror.functions.places import listed, numbers, one_list, taken
from manual.gates.shapes import (
    ExpandGate,
    MeshGate,
    PermuteGate,
    ReshapeGate,
    SliceGate,
    SplitGate,
    StackGate,
)
from manual.joins import Concatenate
from manual.linear import Identity
from manual.shaping import Transpose, Unbind


def _flat(sizes: Sequence[Any]) -> tuple[int, ...]:
    """Return what may be given as several numbers or as one sequence of them."""
    sizes = one_list(sizes)
    return tuple(int(n.array) if isinstance(n, Value) else int(n) for n in sizes)


def _as(input: Value, shape: Sequence[int]) -> Call:
    return Call(ReshapeGate(tuple(int(n) for n in shape)), (input,))


# ── the same elements ────────────────────────────────────────────────────────────────────────────
def identity(input: Value, *_: Any, **__: Any) -> Call:
    return Call(Identity(), (input,))


def view(input: Value, *shape: Any, **named: Any) -> Call:
    sizes = shape or tuple(named.values())[:1]
    if not sizes or not isinstance(sizes[0], int | list | tuple | Value):
        raise NoTwin("a view in another dtype")
    return _as(input, _whole(input, _flat(sizes)))


def _whole(input: Value, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without -1."""
    known = prod(n for n in shape if n != -1)
    return tuple(prod(input.shape) // max(known, 1) if n == -1 else n for n in shape)


def view_as(input: Value, other: Value) -> Call:
    return _as(input, other.shape)


def flatten(input: Value, start_dim: int = 0, end_dim: int = -1) -> Call:
    if not input.ndim:
        return _as(input, (1,))
    a, b, shape = start_dim % input.ndim, end_dim % input.ndim, input.shape
    return _as(input, (*shape[:a], prod(shape[a : b + 1]), *shape[b + 1 :]))


def unflatten(input: Value, dim: int, sizes: Any) -> Call:
    at, shape = dim % input.ndim, input.shape
    known = prod(n for n in sizes if n != -1)
    lengths = (shape[at] // max(known, 1) if n == -1 else n for n in sizes)
    return _as(input, (*shape[:at], *lengths, *shape[at + 1 :]))


def squeeze(input: Value, dim: Any = None) -> Call:
    dims = range(input.ndim) if dim is None else dim if listed(dim) else (dim,)
    gone = {d % max(input.ndim, 1) for d in dims}
    return _as(input, [n for i, n in enumerate(input.shape) if n != 1 or i not in gone])


def unsqueeze(input: Value, dim: int) -> Call:
    at = dim % (input.ndim + 1)
    return _as(input, (*input.shape[:at], 1, *input.shape[at:]))


def atleast(ndim: int) -> Builder:
    def builder(input: Value, *more: Value) -> Call:
        if more or not isinstance(input, Value):
            raise NoTwin("several tensors at once")
        shape = input.shape
        if ndim == 2:
            shape = (1,) * (2 - len(shape)) + shape
        if ndim == 3:
            shape = {0: (1, 1, 1), 1: (1, *shape, 1), 2: (*shape, 1)}.get(len(shape), shape)
        return _as(input, shape or (1,))

    return builder


# ── the order of axes ────────────────────────────────────────────────────────────────────────────
def permute(input: Value, *dims: Any, **named: Any) -> Call:
    order = _flat(dims or tuple(named.values()))
    return Call(PermuteGate(order) if order else Identity(), (input,))


def transpose(input: Value, dim0: int, dim1: int) -> Call:
    if not input.ndim:
        return identity(input)
    return Call(Transpose(dim0, dim1), (input,))


def turned(input: Value) -> Call:
    """Return T of torch: all axes the other way round."""
    return permute(input, *reversed(range(input.ndim)))


def matrix_turned(input: Value) -> Call:
    return transpose(input, -2, -1)


def movedim(input: Value, source: Any, destination: Any) -> Call:
    if not input.ndim:
        return identity(input)
    froms = [s % input.ndim for s in (source if listed(source) else (source,))]
    tos = destination if listed(destination) else (destination,)
    rest = [i for i in range(input.ndim) if i not in froms]
    for to, origin in sorted(zip([d % input.ndim for d in tos], froms, strict=True)):
        rest.insert(to, origin)
    return permute(input, *rest)


# ── copies ───────────────────────────────────────────────────────────────────────────────────────
def expand(input: Value, *size: Any, implicit: bool = False, **named: Any) -> Call:
    sizes = _flat(size or tuple(named.values()))
    front = len(sizes) - input.ndim
    shape = [input.shape[i - front] if n == -1 else n for i, n in enumerate(sizes)]
    return Call(ExpandGate(shape), (input,))


def expand_as(input: Value, other: Value) -> Call:
    return Call(ExpandGate(other.shape), (input,))


def broadcast_tensors(*tensors: Any) -> Call:
    given = one_list(tensors)
    return Call(MeshGate([t.shape for t in given]), tuple(given))


def meshgrid(*tensors: Any, indexing: str = "ij") -> Call:
    given = one_list(tensors)
    n = len(given)
    place = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
    shapes = [
        [prod(t.shape) if i == at else 1 for i in range(n)]
        for at, t in zip(place, given, strict=True)
    ]
    return Call(MeshGate(shapes), tuple(given))


def repeat(input: Value, *repeats: Any, **named: Any) -> Call:
    return taken(input, np.tile(numbers(input), _flat(repeats or tuple(named.values()))))


def repeat_interleave(
    input: Value, repeats: Any, dim: int | None = None, *, output_size: int | None = None
) -> Call:
    times = repeats.array if isinstance(repeats, Value) else repeats
    times = times.reshape(-1) if isinstance(repeats, Value) and times.size > 1 else times
    times = int(times.item()) if isinstance(times, np.ndarray) and times.size == 1 else times
    return taken(input, np.repeat(numbers(input), times, axis=dim))


# ── turned round ─────────────────────────────────────────────────────────────────────────────────
def flip(input: Value, *dims: Any, **named: Any) -> Call:
    gone = {d % max(input.ndim, 1) for d in _flat(dims or tuple(named.values()))}
    back = slice(None, None, -1)
    return Call(
        SliceGate([back if i in gone else slice(None) for i in range(input.ndim)]), (input,)
    )


def roll(input: Value, shifts: Any, dims: Any = None) -> Call:
    where = None if dims is None or dims in ((), []) else dims
    if where is None and listed(shifts):
        shifts = shifts[0]
    return taken(input, np.roll(numbers(input), shifts, where))


def rot90(input: Value, k: int = 1, dims: Sequence[int] = (0, 1)) -> Call:
    return taken(input, np.rot90(numbers(input), k, (dims[0], dims[1])))


# ── cut ──────────────────────────────────────────────────────────────────────────────────────────
def split(
    input: Value, split_size_or_sections: Any = None, dim: int = 0, *, split_size: Any = None
) -> Call:
    size = split_size_or_sections if split_size is None else split_size
    length = input.shape[dim]
    if listed(size):
        return Call(SplitGate(tuple(map(int, size)), dim), (input,))
    starts = range(0, max(length, 1), max(size, 1))
    return Call(SplitGate([min(size, length - a) for a in starts], dim), (input,))


def chunk(input: Value, chunks: int, dim: int = 0) -> Call:
    length = input.shape[dim]
    if not length:
        return Call(SplitGate((0,) * chunks, dim), (input,))
    return split(input, -(-length // chunks), dim)


def tensor_split(
    input: Value, indices_or_sections: Any = None, dim: int = 0, *, indices: Any = None,
    sections: Any = None,
) -> Call:  # fmt: skip
    given = next(x for x in (indices_or_sections, indices, sections) if x is not None)
    given = given.array.tolist() if isinstance(given, Value) else given
    row = np.arange(input.shape[dim])
    pieces = np.array_split(row, given if isinstance(given, int) else list(given))
    if not np.array_equal(np.concatenate(pieces), row):
        raise NoTwin("pieces that overlap")
    return Call(SplitGate([len(piece) for piece in pieces], dim), (input,))


def axis_split(axis: int) -> Builder:
    def builder(input: Value, indices_or_sections: Any) -> Call:
        at = 0 if axis == 1 and input.ndim == 1 else axis
        return tensor_split(input, indices_or_sections, at)

    return builder


def unbind(input: Value, dim: int = 0) -> Call:
    count = input.shape[dim]
    if count < 2:
        shape = list(input.shape)
        del shape[dim]
        return _as(input, shape) if count else _empty()
    return Call(Unbind(dim, count), (input,))


def _empty() -> Call:
    raise NoTwin("nothing comes out")


# ── joined ───────────────────────────────────────────────────────────────────────────────────────
def cat(tensors: Sequence[Value], dim: int = 0, *, axis: int | None = None) -> Call:
    at = dim if axis is None else axis
    most = max(t.ndim for t in tensors)
    if len(tensors) > 1 and all(t.ndim == most for t in tensors):
        return Call(Concatenate(at), tuple(tensors))
    starts = np.cumsum([0, *(prod(t.shape) for t in tensors)])
    places = [numbers(t) + a for t, a in zip(tensors, starts, strict=False) if t.ndim == most]
    return taken(tensors, np.concatenate(places, at))  # torch passes over empty rows


def stack(tensors: Sequence[Value], dim: int = 0) -> Call:
    return Call(StackGate(dim), tuple(tensors))


def joined(name: str) -> Builder:
    """Return hstack and its kin: whatever NumPy's function of that name does with the places."""

    def builder(tensors: Sequence[Value]) -> Call:
        ends = np.cumsum([0, *(prod(t.shape) for t in tensors)])
        places = [numbers(t) + a for t, a in zip(tensors, ends, strict=False)]
        return taken(tensors, getattr(np, name)(places))

    return builder


def block_diag(*tensors: Any) -> Call:
    given = one_list(tensors)
    start, blocks = 0, []
    for t in given:
        blocks.append(np.atleast_2d(numbers(t)) + start)
        start += prod(t.shape)
    places = np.full(np.sum([b.shape for b in blocks], axis=0), -1)
    row = column = 0
    for b in blocks:
        places[row : row + b.shape[0], column : column + b.shape[1]] = b
        row, column = row + b.shape[0], column + b.shape[1]
    return taken(given, places)


def cartesian_prod(*tensors: Any) -> Call:
    given = one_list(tensors)
    starts = np.cumsum([0, *(prod(t.shape) for t in given)])
    rows = (numbers(t) + a for t, a in zip(given, starts, strict=False))
    places = np.stack(np.meshgrid(*rows, indexing="ij"), axis=-1).reshape(-1, len(given))
    return taken(given, places if len(given) > 1 else places[:, 0])


def combinations(input: Value, r: int = 2, with_replacement: bool = False) -> Call:
    every = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(every(range(prod(input.shape)), r))
    return taken(input, np.array(rows, dtype=int).reshape(len(rows), r))


def shifted(move: Any) -> Builder:
    def builder(input: Value, dim: Any = None) -> Call:
        return taken(input, move(numbers(input), dim))

    return builder


SAME = ("contiguous", "clone", "detach", "data", "to", "type", "float", "double", "type_as",
        "positive", "cpu", "alias_copy", "real", "conj", "resolve_conj", "resolve_neg",
        "conj_physical")  # fmt: skip
TABLE: dict[str, Builder] = {
    **dict.fromkeys(SAME, identity),
    **dict.fromkeys(("view", "reshape", "view_copy"), view),
    **dict.fromkeys(("view_as", "reshape_as"), view_as),
    "flatten": flatten, "ravel": lambda input: _as(input, (prod(input.shape),)),
    "unflatten": unflatten, "squeeze": squeeze, "squeeze_copy": squeeze, "unsqueeze": unsqueeze,
    "unsqueeze_copy": unsqueeze, "atleast_1d": atleast(1), "atleast_2d": atleast(2),
    "atleast_3d": atleast(3), "permute": permute, "permute_copy": permute,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims", "transpose_copy"), transpose),
    **dict.fromkeys(("t", "T", "numpy_T", "t_copy"), turned),
    **dict.fromkeys(("mT", "H", "mH", "adjoint"), matrix_turned),
    "movedim": movedim, "moveaxis": movedim,
    "expand": expand, "broadcast_to": expand, "expand_copy": expand, "expand_as": expand_as,
    "broadcast_tensors": broadcast_tensors, "meshgrid": meshgrid, "repeat": repeat, "tile": repeat,
    "repeat_interleave": repeat_interleave, "flip": flip,
    "fliplr": lambda input: flip(input, 1), "flipud": lambda input: flip(input, 0),
    "roll": roll, "rot90": rot90,
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split", "split_with_sizes_copy",
                     "unsafe_split_with_sizes"), split),
    "chunk": chunk, "unsafe_chunk": chunk, "tensor_split": tensor_split, "hsplit": axis_split(1),
    "vsplit": axis_split(0), "dsplit": axis_split(2), "unbind": unbind, "unbind_copy": unbind,
    **dict.fromkeys(("cat", "concat", "concatenate"), cat), "stack": stack,
    **{name: joined(name) for name in ("hstack", "vstack", "dstack", "column_stack")},
    "row_stack": joined("vstack"), "block_diag": block_diag, "cartesian_prod": cartesian_prod,
    "combinations": combinations, "fft.fftshift": shifted(np.fft.fftshift),
    "fft.ifftshift": shifted(np.fft.ifftshift),
}  # fmt: skip
