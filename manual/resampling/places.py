"""Where a grid looks along one axis: the elements it reads, their weights, and the weights' slopes.

Place g in [-1, 1] lies at p on an axis of n elements:

    corners aligned    p = (g + 1)/2 (n - 1)        -1 and 1 are the middles of the outer elements
    else               p = ((g + 1) n - 1)/2        -1 and 1 are their outer edges

    nearest            the element nearest to p; halfway the even one; slope 0
    bilinear           1 - w of the element at ⌊p⌋, w of the next one, w = p - ⌊p⌋
    bicubic            four elements from ⌊p⌋ - 1 on, by Keys's kernel with a = -3/4

    zeros              elements beyond the ends are 0
    border             p is held to [0, n - 1]; there and beyond its slope is 0
    reflection         p is reflected at the outer elements (their middles if aligned, else their
                       edges) until it lies between them, then held; bicubic: of each element
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.layer import Array
from manual.resampling.axes import KEYS, keys

__all__ = ["Places", "places"]


class Places(NamedTuple):
    """What is read along an axis, K elements for each place of the grid (N, *places)."""

    index: Array  # (K, N, *places), from 0 to n - 1
    inside: Array  # whether it is an element at all
    weight: Array  # 0 where it is not
    slope: Array  # of the weight, by g


class Held(NamedTuple):
    """Positions on an axis, and their slopes by g."""

    p: Array
    slope: Array


def places(g: Array, n: int, mode: str, padding: str, aligned: bool) -> Places:
    """Return what is read along an axis of n elements at the places g."""
    at = _on_axis(g, n, aligned)
    if mode == "bicubic":
        return _cubic(at, n, padding, aligned)
    if padding == "reflection":
        at = _reflected(at, n, aligned)
    first = _floor(at.p)
    if padding != "zeros":
        at, first = _held(at, first, n)
    w = at.p - first
    if mode == "nearest":
        up = (w > 0.5) | ((w == 0.5) & (first % 2 == 1))
        return _read(first.astype(int)[None] + up, [np.ones_like(w)], [np.zeros_like(w)], n)
    start = first.astype(int)
    return _read(np.stack((start, start + 1)), [1 - w, w], [-at.slope, at.slope], n)


def _on_axis(g: Array, n: int, aligned: bool) -> Held:
    p = (g + 1) / 2 * (n - 1) if aligned else ((g + 1) * n - 1) / 2
    return Held(p, np.full_like(p, (n - aligned) / 2))


def _held(at: Held, first: Array, n: int) -> tuple[Held, Array]:
    low, high = at.p <= 0, at.p >= n - 1
    first = np.where(low, 0, np.where(high, n - 1, first))
    p = np.where(low, 0, np.where(high, n - 1, at.p))
    return Held(p, np.where(low | high, 0, at.slope)), first


def _reflected(at: Held, n: int, aligned: bool) -> Held:
    low, span = (0.0, n - 1) if aligned else (-0.5, n)
    if not span:  # all places lie at 0
        return at
    d = at.p - low
    down = d < 0
    d = np.where(down, -d, d)  # as torch rounds; the wave alone has the same values
    times = _floor(d / span)
    back = times % 2 == 1
    d = d - times * span
    p = np.where(back, span - d, d) + low
    return Held(p, np.where(back ^ down, -at.slope, at.slope))


def _cubic(at: Held, n: int, padding: str, aligned: bool) -> Places:
    first = _floor(at.p)
    w = at.p - first
    index = first.astype(int) + np.arange(-1, 3).reshape(-1, *[1] * w.ndim)
    if padding == "border":
        index = np.clip(index, 0, n - 1)
    if padding == "reflection":
        index = _folded(index, n, aligned)
    return _read(index, keys(w), [s * at.slope for s in _keys_slopes(w)], n)


def _folded(index: Array, n: int, aligned: bool) -> Array:
    """Return the elements that lie there after reflection."""
    span = 2 * (n - 1) if aligned else 2 * n
    if not span:  # all places lie at 0, where the other elements' weights are 0
        return index
    index = index % span
    return np.where(index >= n, span - index - (not aligned), index)


def _keys_slopes(w: Array) -> list[Array]:
    """Return how Keys's four weights change with w."""

    def near(x: Array) -> Array:
        return (3 * (KEYS + 2) * x - 2 * (KEYS + 3)) * x

    def far(x: Array) -> Array:
        return (3 * KEYS * x - 10 * KEYS) * x + 8 * KEYS

    return [far(w + 1), near(w), -near(1 - w), -far(2 - w)]


def _read(index: Array, weights: list[Array], slopes: list[Array], n: int) -> Places:
    inside = (index >= 0) & (index < n)
    weight, slope = (np.where(inside, np.stack(parts), 0) for parts in (weights, slopes))
    return Places(np.clip(index, 0, n - 1), inside, weight, slope)


def _floor(p: Array) -> Array:
    """Return ⌊p⌋, of complex numbers that of their real part."""
    return np.floor(p.real if p.dtype.kind == "c" else p)
