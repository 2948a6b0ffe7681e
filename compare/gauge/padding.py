"""np.pad: modes that copy elements, those that fill with a statistic, ramps and odd reflections."""

from __future__ import annotations

from typing import Any

import numpy as np

from compare.gauge.array import Gauge, is_exact, spread
from compare.gauge.correlated import erring
from compare.gauge.registry import function
from compare.gauge.smooth import within_4_ulps
from compare.gauge.state import setting

COPYING = ("constant", "edge", "reflect", "symmetric", "wrap", "empty")
STATISTICS = {"maximum": np.max, "minimum": np.min, "mean": np.mean, "median": np.median}


@function(np.pad)
def _pad(array: Gauge, pad_width: Any, mode: str = "constant", **kwargs: Any) -> Gauge:
    np.pad(np.zeros((1,) * array.ndim), 0, mode, **kwargs)  # type: ignore[call-overload] # refuses wrong arguments
    if kwargs.get("reflect_type") == "odd":
        return _odd(array, _pairs(pad_width, array.ndim), mode)
    if mode in STATISTICS:
        return _statistic(array, _pairs(pad_width, array.ndim), mode, **kwargs)
    if mode == "linear_ramp":
        return _ramp(array, pad_width, **kwargs)
    if mode not in COPYING:
        raise TypeError(f"The error gauge does not know np.pad with mode={mode!r}.")
    v = np.pad(array.v, pad_width, mode, **kwargs)  # type: ignore[call-overload]
    if is_exact(array._e2):
        return Gauge(v)
    same = {} if mode == "constant" else kwargs
    filled = "constant" if mode == "empty" else mode
    return Gauge(v, np.pad(spread(array._e2, array.shape), pad_width, filled, **same))  # type: ignore[call-overload]


def _pairs(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    """Return how many elements are added before and after, axis by axis."""
    if isinstance(pad_width, dict):
        found = [(0, 0)] * ndim
        for axis, width in pad_width.items():
            found[axis] = (width, width) if np.ndim(width) == 0 else tuple(width)  # type: ignore[call-overload]
        return found
    return [(int(a), int(b)) for a, b in np.broadcast_to(pad_width, (ndim, 2))]


def _statistic(a: Any, pairs: list[tuple[int, int]], mode: str, stat_length: Any = None) -> Any:
    """Axis by axis, as NumPy: corners are statistics of what the axes before have filled in."""
    lengths = _pairs(stat_length, a.ndim) if stat_length is not None else None
    for axis, (before, after) in enumerate(pairs):
        n = a.shape[axis]
        first, last = (n, n) if lengths is None else (min(k, n) for k in lengths[axis])
        a = _joined(
            _filled(_part(a, axis, 0, first), mode, axis, before), a,
            _filled(_part(a, axis, n - last, n), mode, axis, after), axis,
        )  # fmt: skip
    return a


def _filled(part: Any, mode: str, axis: int, count: int) -> Any:
    return np.repeat(STATISTICS[mode](part, axis=axis, keepdims=True), count, axis=axis)  # type: ignore[operator]


def _part(a: Any, axis: int, start: int, stop: int) -> Any:
    return a[(*(slice(None),) * axis, slice(start, stop))]


def _joined(before: Any, a: Any, after: Any, axis: int) -> Any:
    return np.concatenate([before, a, after], axis=axis)


def _odd(a: Any, pairs: list[tuple[int, int]], mode: str) -> Any:
    """2 · edge − reflection; NumPy repeats it where the array is shorter than what is added."""
    skip = 1 if mode == "reflect" else 0
    for axis, (before, after) in enumerate(pairs):
        n = a.shape[axis]
        if max(before, after) > n - skip:
            raise TypeError(
                f"The error gauge knows odd reflections of up to {n - skip} elements here; "
                f"received {max(before, after)}."
            )
        left = np.flip(_part(a, axis, skip, skip + before), axis)
        right = np.flip(_part(a, axis, n - skip - after, n - skip), axis)
        a = _joined(
            2.0 * _part(a, axis, 0, 1) - left, a, 2.0 * _part(a, axis, n - 1, n) - right, axis
        )
    return a


def _ramp(a: Gauge, pad_width: Any, end_values: Any = 0) -> Gauge:
    """A ramp passes on a share of the edge's error, and has some roundings of its own."""
    v = np.pad(a.v, pad_width, "linear_ramp", end_values=end_values)
    errors = a.error if setting().sketch is None else spread(a._e2, a.shape)
    error = np.pad(errors, pad_width, "linear_ramp")
    large = np.maximum(np.abs(v), np.max(np.abs(np.asarray(end_values, dtype=np.float64))))
    if setting().sketch is not None:
        return erring(v, error, "linear_ramp", size=large)
    return Gauge(v, within_4_ulps(large, np.square(error)).e2)
