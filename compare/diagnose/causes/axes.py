"""The candidate is the reference with its axes moved, or summed over too many or too few."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, combinations, permutations
from typing import Any

import numpy as np

from compare.diagnose.causes.cause import Cause, Context
from compare.diagnose.causes.constants import names_of, told
from compare.diagnose.causes.fit import Case

Move = Callable[[Any], Any]
TRANSPOSED = (
    "Write down the shape of every factor: in index form the summed index shows which one must be "
    "transposed."
)
ORDER = "reshape keeps the order of elements; to swap axes, transpose first and reshape then."


def moved(case: Case) -> Iterator[Cause]:
    """The same numbers at other places, perhaps times a number with a meaning."""
    for kind, what, advice, move in _moves(case.reference.shape):
        tensor = move(case.reference)
        fitted = case.factor(tensor)
        if fitted is None:
            fitted = _with_tolerance_moved(case, tensor, move)
        if fitted is None:
            continue
        c, uncertainty = fitted
        names = names_of(c, uncertainty, case.context)
        if abs(c - 1) > uncertainty and not names:
            continue
        times = f" times {told(c, names)}" if names else ""
        yield Cause(kind, f"manual is exactly torch {what}{times}.", advice)


def _with_tolerance_moved(case: Case, tensor: np.ndarray, move: Move) -> tuple[float, float] | None:
    tolerance = move(case.tolerance)
    return (1.0, 1e-9) if case.explains(tensor, 1.0, tolerance) else None


def _moves(shape: tuple[int, ...]) -> Iterator[tuple[str, str, str, Move]]:
    """Yield (kind, in words, advice, function) for every rearrangement that keeps the shape."""
    for order in list(permutations(range(len(shape))))[1:] if 2 <= len(shape) <= 4 else ():
        if tuple(shape[a] for a in order) == shape:
            two = len(shape) == 2
            text = "transposed" if two else f"with its axes in the order {order}"
            yield (
                "transpose" if two else "axes",
                text,
                TRANSPOSED,
                partial(np.transpose, axes=order),
            )
        text = f"read in the axis order {order} and folded into the same shape"
        yield "reshape", text, ORDER, partial(_read, order=order)
        yield "reshape", text, ORDER, partial(_folded, order=order)
    for axis, n in enumerate(shape):
        if n > 1:
            text = f"reversed along axis {axis}"
            yield "axes", text, "An index runs backwards.", partial(np.flip, axis=axis)
        for other in range(axis + 1, len(shape)) if n > 1 else ():
            if shape[other] > 1:
                text = f"reversed along the axes {axis} and {other}"
                flip = partial(np.flip, axis=(axis, other))
                yield "axes", text, "Indices run backwards: a kernel is rotated by 180°.", flip
        for by in (1, -1) if n > 2 else ():
            text = f"shifted by {by} along axis {axis}"
            yield "axes", text, "An index is off by one.", partial(np.roll, shift=by, axis=axis)


def _read(a: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Read the elements in another order of the axes, and keep the shape."""
    return a.transpose(order).reshape(a.shape)


def _folded(a: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Read the elements as if the axes stood in this order, then put them back."""
    return a.reshape([a.shape[k] for k in order]).transpose(np.argsort(order))


def misshapen(
    candidate: np.ndarray, reference: np.ndarray, tolerance: Any, context: Context
) -> Cause | None:
    """Return what relates two tensors of different shapes; None if nothing does."""
    tolerance = np.broadcast_to(np.asarray(tolerance, dtype=np.float64), reference.shape)
    if not candidate.size:
        return Cause(
            "empty slice",
            f"manual has no elements: its shape is {candidate.shape} instead of {reference.shape}.",
            "a[0:-p] is empty where p is 0: write a[p : a.shape[axis] - p].",
        )
    shapes = f"shape {candidate.shape} instead of {reference.shape}"
    for kind, what, advice, left, right, room in _reshaped(candidate, reference, tolerance):
        slack = 256 * float(np.finfo(context.dtype).eps) * np.abs(right).max(initial=0.0)
        if np.abs(right).max(initial=0.0) > 0 and (np.abs(left - right) <= room + slack).all():
            return Cause(kind, f"manual has {shapes}, and {what}.", advice)
    return None


def _reshaped(m: np.ndarray, t: np.ndarray, tol: np.ndarray) -> Iterator[tuple]:
    """Yield (kind, in words, advice, left, right, room) where left and right have one shape."""
    if m.ndim == t.ndim and m.ndim > 1:
        for order in list(permutations(range(t.ndim)))[1:]:
            if np.transpose(t, order).shape == m.shape:
                what = "is exactly torch transposed" if t.ndim == 2 else f"torch's axes are {order}"
                yield "transpose", what, TRANSPOSED, m, t.transpose(order), tol.transpose(order)
    if m.size == t.size:
        text = (
            "A gradient has its tensor's shape: keep or drop axes of length 1 as the tensor does."
        )
        yield "shape", "holds the same numbers", text, m.reshape(t.shape), t, tol
    missing = "Broadcasting repeats a tensor along an axis, so its gradient sums over that axis."
    for axes in _axis_sets(m.ndim):
        for keep in (False, True):
            total, mean = m.sum(axis=axes, keepdims=keep), m.mean(axis=axes, keepdims=keep)
            if total.shape == t.shape:
                yield (
                    "missing sum",
                    f"summed over {_named(axes)} it is torch",
                    missing,
                    total,
                    t,
                    tol,
                )
                yield (
                    "missing sum",
                    f"averaged over {_named(axes)} it is torch",
                    missing,
                    mean,
                    t,
                    tol,
                )
    extra = "This index is not summed in the derivation: it stays on the left-hand side."
    for axes in _axis_sets(t.ndim):
        for keep in (False, True):
            total = t.sum(axis=axes, keepdims=keep)
            if total.shape == m.shape:
                room = tol.sum(axis=axes, keepdims=keep)
                n = t.size // max(1, total.size)
                yield "extra sum", f"is torch summed over {_named(axes)}", extra, m, total, room
                yield (
                    "extra sum",
                    f"is torch averaged over {_named(axes)}",
                    extra,
                    m,
                    total / n,
                    room,
                )


def _axis_sets(ndim: int) -> Iterator[tuple[int, ...]]:
    return chain.from_iterable(combinations(range(ndim), n) for n in range(1, ndim + 1))


def _named(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes}"
