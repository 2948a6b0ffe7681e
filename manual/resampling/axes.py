"""One axis made longer or shorter: the matrix A with which y = A x, for each way of doing it.

Place u of the new axis lies at r(u) on the old one, in torch's arithmetic and precision:

    corners aligned    r(u) = u (n - 1) / (m - 1)            n places before, m after
    else               r(u) = (u + 1/2) t - 1/2              t = n / m, or 1 / scale_factor

    nearest            the element at ⌊u t⌋
    nearest-exact      the element at ⌊(u + 1/2) t⌋
    linear             (1 - w) of the element at ⌊r⌋, w of the next one, w = r - ⌊r⌋; with n = m
                       whatever the scale r(u) = u
    cubic              four elements from ⌊r⌋ - 1 on, by Keys's kernel with a = -3/4
    area               the mean of the elements from ⌊u n / m⌋ to ⌈(u + 1) n / m⌉
"""

from __future__ import annotations

from typing import Any

import numpy as np

from manual.bilinear import bilinear
from manual.layer import Array

__all__ = ["KEYS", "keys", "matrix", "resampled"]

KEYS = -0.75  # torch's a


def matrix(
    way: str, n: int, m: int, scale: float | None, aligned: bool | None, kind: Any, small: bool
) -> np.ndarray:
    """Return A (m, n), in the floating type `kind`.

    Args:
        way: `nearest`, `nearest-exact`, `linear`, `cubic` or `area`.
        n, m: places before and after.
        scale: the factor that was asked for; None: it is m / n.
        aligned: whether the first and last places keep where they are.
        kind: float32 or float64; torch counts places in the input's type.
        small: whether it is of a small image, in which torch looks for the nearest in another way.
    """
    if way == "area":
        return _means(n, m, kind)
    if way == "nearest":
        at = _nearest_if_small(n, m, scale) if small else _nearest(n, m, scale, kind)
        return _picked(at, n, kind)
    r = _places(n, m, scale, aligned, kind)
    if way == "nearest-exact":
        at = _exact_if_small(n, m, scale) if small else r + np.float64(0.5)
        return _picked(_floored(at), n, kind)
    if way == "linear" and n == m:
        r = np.arange(m).astype(kind)
    first = np.floor(r)
    w = r - first
    near = keys(w) if way == "cubic" else [1 - w, w]
    start = first.astype(int) - (way == "cubic")
    return sum(
        weight[:, None] * _picked(np.clip(start + k, 0, n - 1), n, kind)
        for k, weight in enumerate(near)
    )  # type: ignore[return-value]


def _places(n: int, m: int, scale: float | None, aligned: bool | None, kind: Any) -> np.ndarray:
    """Return r(u), each rounded once, as a fused multiply-add does."""
    u = np.arange(m, dtype=np.float64)
    if aligned:
        return (u * (kind.type(n - 1) / kind.type(max(m - 1, 1)))).astype(kind)
    return (_step(n, m, scale, kind) * (u + 0.5) - 0.5).astype(kind)


def _step(n: int, m: int, scale: float | None, kind: Any) -> Any:
    """Return t, how far apart the new places lie on the old axis, rounded to `kind`."""
    return kind.type(n) / kind.type(m) if scale is None else kind.type(1 / scale)


def _nearest(n: int, m: int, scale: float | None, kind: Any) -> np.ndarray:
    return _floored((np.arange(m) * _step(n, m, scale, kind)).astype(kind))


def _nearest_if_small(n: int, m: int, scale: float | None) -> np.ndarray:
    """Return ⌊u t⌋ in float32; as many places, or twice as many, are not counted by the scale."""
    if m in (n, 2 * n):
        return np.arange(m) * n // m
    return _nearest(n, m, scale, np.dtype(np.float32))


def _exact_if_small(n: int, m: int, scale: float | None) -> np.ndarray:
    """Return (u + 1/2) t in float32."""
    return (_step(n, m, scale, np.dtype(np.float32)) * (np.arange(m) + 0.5)).astype(np.float32)


def _floored(at: np.ndarray) -> np.ndarray:
    """Return ⌊at⌋ of at >= 0; torch rounds to float32 first, whatever the input is."""
    return at.astype(np.float32).astype(int)


def keys(w: np.ndarray) -> list[np.ndarray]:
    """Return the weights of the four elements around a place, w after the second one."""

    def near(x: Any) -> Any:  # within 1
        return ((KEYS + 2) * x - (KEYS + 3)) * x * x + 1

    def far(x: Any) -> Any:  # within 2
        return ((KEYS * x - 5 * KEYS) * x + 8 * KEYS) * x - 4 * KEYS

    return [far(w + 1), near(w), near(1 - w), far(2 - w)]


def _means(n: int, m: int, kind: Any) -> np.ndarray:
    u, i = np.arange(m)[:, None], np.arange(n)
    inside = (u * n // m <= i) & (i < -(-(u + 1) * n // m))
    return (inside / inside.sum(axis=1, keepdims=True)).astype(kind)


def _picked(at: np.ndarray, n: int, kind: Any) -> np.ndarray:
    """Return the matrix that picks one element for each place: 0 and 1."""
    return (at[:, None] == np.arange(n)).astype(kind)


@bilinear(terms=lambda A, x, axis: int((A != 0).sum(axis=1).max(initial=1)))
def resampled(A: np.ndarray, x: Array, axis: int) -> Array:
    """Return A times every line of x along an axis."""
    return (x.swapaxes(axis, -1) @ A.T).swapaxes(axis, -1)
