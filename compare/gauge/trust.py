"""Whether a gauged run computed what the plain run did: else its tolerances are of other numbers.

Both run the same code, so rounding is all that may part them, and the tolerances say how far. A
rule that computes something else, or code that acts otherwise on gauge arrays, must never pass in
silence: the tolerance that it leads to may be anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.errors import UserError
from compare.gauge.array import Gauge, parts

if TYPE_CHECKING:
    from compare.judge.quantities import Key, Values

SMALL = 2048  # elements; smaller arrays are compared together
BLOCK = 1 << 20  # elements; larger arrays are compared in parts, to save memory


class GaugeMistakeError(UserError):
    """The gauged run is of other numbers than the plain one, so nothing can be judged by it."""

    def __init__(self, strayed: Sequence[Key]) -> None:
        self.strayed = list(strayed)
        names = ", ".join(f"{key.layer} {key.quantity}" for key in strayed[:3])
        more = f" and {len(strayed) - 3} more" if len(strayed) > 3 else ""
        super().__init__(
            f"Cannot judge: on error-gauge arrays the hand-written code computes another {names}"
            f"{more} than on ordinary ones, by more than rounding explains. Either it looks at "
            "what kind of numbers it is given, or a rule in compare/gauge/ is wrong."
        )

    def __reduce__(self) -> tuple:
        return type(self), (self.strayed,)  # it crosses processes


def strayed(gauged: Values, plain: Values, tolerances: Mapping[Key, Any]) -> list[Key]:
    """Return which values of a gauged run are further from the plain run's than their tolerances.

    What is not finite in the plain run is left out: no element of that is ever said to agree.
    """
    found: list[Key] = []
    small: list[tuple[Key, Any, Any, Any]] = []
    for key, value in gauged.items():
        v, theirs = parts(value)[0], plain.get(key)
        if theirs is None or np.shape(v) != theirs.shape:
            found.append(key)
        elif theirs.size <= SMALL and isinstance(value, Gauge):
            small.append((key, v, theirs, tolerances.get(key, 0.0)))
        elif not all(_within(*part) for part in _parts(v, theirs, tolerances.get(key, 0.0))):
            found.append(key)
    return found + list(_among(small))


def _among(small: list[tuple[Key, Any, Any, Any]]) -> Iterator[Key]:
    """Compare small arrays at one go, and one by one only if that finds anything."""
    flat = [
        np.concatenate([np.ravel(x) for x in column])
        for column in ((v for _, v, _, _ in small), (p for _, _, p, _ in small),
                       (np.broadcast_to(t, p.shape) if np.ndim(t) != p.ndim else t
                        for _, _, p, t in small))
    ] if small else []  # fmt: skip
    if flat and not _within(*flat):
        yield from (key for key, v, theirs, tolerance in small if not _within(v, theirs, tolerance))


def _parts(v: Any, plain: Any, tolerance: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Cut all three alike."""
    if plain.size <= BLOCK:
        yield v, plain, tolerance
        return
    v, plain, tolerance = np.ravel(v), plain.reshape(-1), np.ravel(tolerance)
    for start in range(0, plain.size, BLOCK):
        part = slice(start, start + BLOCK)
        yield v[part], plain[part], tolerance[part] if tolerance.size > 1 else tolerance


def _within(v: Any, plain: Any, tolerance: Any) -> bool:
    """Written so that a NaN of the gauged run alone is found.

    A gauged number is rounded as the plain run holds it: a bound of .05 is another in float32.
    """
    with np.errstate(all="ignore"):
        if plain.dtype.kind == "f":
            v = np.asarray(v).astype(plain.dtype, copy=False)
        off = np.subtract(v, plain, dtype=np.result_type(v, plain, np.int8))  # truth values too
        near = np.abs(off) <= tolerance
    return bool(near.all()) or not bool((~near & np.isfinite(plain)).any())
