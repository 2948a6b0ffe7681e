"""Measure two lists of tensors against each other: one row each, in a few passes over memory.

Small tensors are laid end to end and measured together; large ones by themselves, without a copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

SMALL = 2048  # elements; below, the cost is the calls and not the memory
BLOCK = 1 << 20  # elements that are measured at a time: what lies between takes their memory


class Measures(NamedTuple):
    """One entry per tensor. `worst` is a flat index; `budget` and `zeros` are NaN if unjudged.

    `budget` is max |manual − torch| / tolerance; `zeros` is what a tensor of zeros would have used.
    """

    max_abs: np.ndarray
    scale: np.ndarray
    norm: np.ndarray
    budget: np.ndarray
    zeros: np.ndarray
    worst: np.ndarray
    manual: np.ndarray
    torch: np.ndarray

    @property
    def max_rel(self) -> np.ndarray:
        """max |manual − torch| over the largest magnitude on torch's side (0 where both are 0)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.max_abs == 0, 0.0, self.max_abs / self.scale)


Tolerances = Sequence[Any]  # per tensor: an array of its shape, or one number


def measure(
    manual: Sequence[np.ndarray], torch: Sequence[np.ndarray], tolerances: Tolerances | None
) -> Measures:
    """Measure pairs of equally shaped float arrays.

    Args:
        manual, torch: the two sides, pair by pair.
        tolerances: what each element may differ by, as arrays or as one number per tensor; None
            leaves `budget` and `zeros` NaN.
    """
    with np.errstate(all="ignore"):  # NaN and infinity are what it looks for
        return Measures(*_columns(manual, torch, tolerances))


def _columns(manual: Sequence, torch: Sequence, tolerances: Tolerances | None) -> Any:
    small = [i for i, t in enumerate(torch) if 0 < t.size <= SMALL]
    if len(small) == len(torch):
        return _together(manual, torch, tolerances)
    columns = np.zeros((len(Measures._fields), len(torch)))
    columns[5:, [i for i, t in enumerate(torch) if not t.size]] = np.nan  # nowhere is worst
    for i, t in enumerate(torch):
        if t.size > SMALL:
            columns[:, i] = _large(manual[i], t, None if tolerances is None else tolerances[i])
    if small:
        columns[:, small] = _together(
            [manual[i] for i in small],
            [torch[i] for i in small],
            None if tolerances is None else [tolerances[i] for i in small],
        )
    return columns


def _together(manual: Sequence, torch: Sequence, tolerances: Tolerances | None) -> list:
    """Measure many small tensors in one flat buffer per side."""
    sizes = np.array([t.size for t in torch])
    starts = sizes.cumsum() - sizes
    m = np.concatenate([a.ravel() for a in manual])
    t = np.concatenate([a.ravel() for a in torch])
    diff, size = np.abs(m - t), np.abs(t)
    max_abs = np.maximum.reduceat(diff, starts)
    scale = np.maximum.reduceat(size, starts)
    norm = np.sqrt(np.add.reduceat(np.square(t, dtype=np.float64), starts))
    judged, peak = diff, max_abs
    if tolerances is None:
        budget = zeros = np.full(len(torch), np.nan)
    elif not any(map(np.ndim, tolerances)):
        budget, zeros = max_abs / tolerances, scale / tolerances
    else:
        tolerance = _flat(tolerances, sizes)
        judged = diff / tolerance
        budget = peak = np.maximum.reduceat(judged, starts)
        zeros = np.maximum.reduceat(size / tolerance, starts)
    at = _first_at_peak(judged, peak, starts, sizes)
    return [max_abs, scale, norm, budget, zeros, at - starts, m[at], t[at]]


def _first_at_peak(values: Any, peak: Any, starts: Any, sizes: Any) -> np.ndarray:
    """Return where each segment first reaches its peak (its first NaN if it has one)."""
    hits = np.flatnonzero((values == peak.repeat(sizes)) | np.isnan(values))
    return hits[hits.searchsorted(starts)]


def _flat(tolerances: Tolerances, sizes: np.ndarray) -> np.ndarray:
    pairs = zip(tolerances, sizes, strict=True)
    return np.concatenate([np.ravel(t) if np.ndim(t) else np.full(n, t) for t, n in pairs])


def _large(m: np.ndarray, t: np.ndarray, tolerance: Any) -> Any:
    """Measure one large tensor, block by block if it is huge."""
    m, t = m.ravel(), t.ravel()
    each = np.ravel(tolerance) if np.ndim(tolerance) else None
    if t.size <= BLOCK:
        return _alone(m, t, tolerance if each is None else each)
    blocks = [slice(start, start + BLOCK) for start in range(0, t.size, BLOCK)]
    found = np.array([_alone(m[b], t[b], tolerance if each is None else each[b]) for b in blocks])
    max_abs, _, norm, budget, *_ = found.T
    worst = int(np.argmax(max_abs if tolerance is None else budget))  # a NaN before anything
    at = worst * BLOCK + found[worst, 5]
    largest = found[:, :5].max(axis=0)
    largest[2] = np.sqrt(np.dot(norm, norm))
    return np.array([*largest, at, *found[worst, 6:]])


def _blocks(size: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, size, BLOCK))


def _alone(m: np.ndarray, t: np.ndarray, tolerance: Any) -> list[float]:
    """Measure one block of a large tensor."""
    if t.dtype == bool:  # which cannot be subtracted
        m, t = m.astype(np.float64), t.astype(np.float64)
    diff = np.subtract(m, t)
    np.abs(diff, out=diff)
    scale = max(float(t.max()), -float(t.min()))
    norm = float(np.sqrt(np.dot(t, t)))
    if not 0 < norm < np.inf:  # the squares left float32's range, or there is nothing but zeros
        norm = float(np.sqrt(np.square(t, dtype=np.float64).sum()))
    budget = zeros = np.nan
    at = int(diff.argmax())
    max_abs = float(diff[at])
    if tolerance is not None and np.ndim(tolerance) == 0:
        budget, zeros = (float(np.divide(x, tolerance)) for x in (max_abs, scale))
    elif tolerance is not None:
        share = diff / tolerance
        at = int(share.argmax())
        budget = float(share[at])
        zeros = float((np.abs(t) / tolerance).max())
    return [max_abs, scale, norm, budget, zeros, at, float(m[at]), float(t[at])]


def ulps(manual: Sequence[np.ndarray], torch: Sequence[np.ndarray]) -> np.ndarray:
    """Count elements by log₂ of their difference in ulps of torch's value.

    Entry 0 counts bitwise-equal elements, entry 1 + k those that differ by [2ᵏ, 2ᵏ⁺¹) ulps (less
    than one ulp counts as k = 0).
    """
    counts = np.zeros(66, dtype=np.int64)
    for m, t in zip(manual, torch, strict=True):
        if np.issubdtype(t.dtype, np.floating):
            m, t = m.reshape(-1), t.reshape(-1)
            counts += sum(_ulps(m[block], t[block]) for block in _blocks(t.size))
    return counts


def _ulps(m: np.ndarray, t: np.ndarray) -> np.ndarray:
    bits = np.finfo(t.dtype).nmant + 1
    diff = np.abs(np.subtract(m, t, dtype=np.float64))
    powers = np.frexp(diff)[1] - 1 - (np.frexp(t)[1] - bits)
    index = np.where(diff == 0, 0, 1 + np.clip(powers, 0, 64))
    return np.bincount(index, minlength=66)
