"""The candidate is right but for a region: some samples, units, a border, one side of a kink."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb
from typing import Any

import numpy as np

from compare.diagnose.causes.cause import Cause, Context
from compare.diagnose.causes.fit import Case

COVERED = 0.5  # at least this part of a region's telling elements must be off
CHANCE = 1e-3  # how likely scattered mistakes may be to fall into a region
OF_ZEROS = 0.05  # the same of the elements that are exactly 0: known before anything differed
CHANCE_OF_SLICES = 1e-2  # of all slices of an axis together


def only_there(case: Case) -> Iterator[Cause]:
    """The sides agree everywhere but in one region that can be named."""
    off = int(np.count_nonzero(case.off))
    right = np.count_nonzero(case.telling & ~case.off)
    if off == 0 or off == case.off.size:
        return
    if off == 1 and case.off.size > 3:
        yield _element(case)
    for name, mask in case.context.masks.items():
        if _is(case, mask):
            yield _cause("mask", f"at {name}", mask, case, _KINK if "tie" in name else _MASK)
    if right:
        yield from _thresholds(case)
        yield from _border(case)
        yield from _slices(case)


def not_finite(
    candidate: np.ndarray, reference: np.ndarray, tolerance: Any, context: Context
) -> Cause | None:
    """Return where NaN or infinity stands, if that region can be named and the rest agrees."""
    finite = np.isfinite(candidate)
    filled = np.where(finite, candidate, 2 * np.abs(reference).max() + 1)
    case = Case(filled, reference, tolerance, context)
    found = next(iter(_thresholds(case)), None) or next(iter(_slices(case)), None)
    if not finite.any() or not np.array_equal(case.off, ~finite) or found is None:
        return None
    where = found.evidence.partition("differs ")[2].partition(" (")[0]
    return Cause(
        "not finite",
        f"manual is NaN or infinite {where} ({np.count_nonzero(~finite)} of {finite.size} "
        "elements); all others agree.",
        "exp overflows, 0 / 0 or log 0 there: rewrite the formula so that no intermediate does.",
    )


def _element(case: Case) -> Cause:
    at = tuple(int(i) for i in np.argwhere(case.off)[0])
    return Cause(
        "one element",
        f"manual differs only in element {at}: {case.candidate[at]:.8g}, torch "
        f"{case.reference[at]:.8g}; all others agree.",
        "Look for an index that is treated apart, an assignment that overwrites it, or a sum that "
        "leaves one term out.",
    )


def _thresholds(case: Case) -> Iterator[Cause]:
    """Find a border in a known tensor's values that separates right elements from wrong ones."""
    for name, x in case.context.places.items():
        if x.shape != case.off.shape or not np.isfinite(x).all():
            continue
        tie = x == 0
        if _is(case, tie, OF_ZEROS, case.off.size):
            yield _cause("ties", f"where {name} is exactly 0", tie, case, _KINK)
            continue
        yield from _beyond(case, name, x)
        yield from _beyond(case, f"|{name}|", np.abs(x))


def _beyond(case: Case, name: str, v: np.ndarray) -> Iterator[Cause]:
    """Yield the cause if the off elements are just those with v in one range."""
    low, high = float(v[case.off].min()), float(v[case.off].max())
    mask = (v >= low) & (v <= high)
    right = v[case.telling & ~case.off]
    if not right.size or not _is(case, mask):
        return
    under, over = right[right < low].max(initial=-np.inf), right[right > high].min(initial=np.inf)
    if np.isfinite(under) and np.isfinite(over):
        where = f"where {name} is between {_number(under, low)} and {_number(high, over)}"
    elif np.isfinite(under):
        where = f"where {name} > {_number(under, low)}"
    else:
        where = f"where {name} < {_number(high, over)}"
    kind = "one side of zero" if where.endswith((" > 0", " < 0")) else "range"
    yield _cause(kind, where, mask, case, _SIDE)


def _number(a: float, b: float) -> str:
    """Return the roundest number between two."""
    if a <= 0 <= b:
        return "0"
    digits = next(d for d in range(-12, 18) if _between(a, b, d) or d == 17)
    return f"{round((a + b) / 2, digits):g}"


def _between(a: float, b: float, digits: int) -> bool:
    return a <= round((a + b) / 2, digits) <= b


def both_sides(case: Case) -> Iterator[Cause]:
    """One factor where a known tensor is positive, another where it is negative."""
    for name, x in case.context.places.items():
        if x.shape != case.off.shape:
            continue
        fits = [case.factor(case.reference, within=side & case.telling) for side in (x > 0, x < 0)]
        counts = [np.count_nonzero(case.telling & side) for side in (x > 0, x < 0)]
        if None in fits or min(counts) < 3:
            continue
        above, below = (fit[0] for fit in fits if fit)
        yield Cause(
            "both sides of zero",
            f"manual is torch × {above:.6g} where {name} > 0, and torch × {below:.6g} where "
            f"{name} < 0.",
            "The two branches of the formula are exchanged, or both of them are wrong.",
        )


def _border(case: Case) -> Iterator[Cause]:
    """Look for the rim of the last two axes of an image."""
    if case.off.ndim < 3 or min(case.off.shape[-2:]) < 3:
        return
    rim = np.ones_like(case.off)
    rim[..., 1:-1, 1:-1] = False
    if _is(case, rim):
        yield _cause("border", "at the border of the last two axes", rim, case, _BORDER)


def _slices(case: Case) -> Iterator[Cause]:
    """Look for whole rows or columns: a few, a run at one end, or all but one."""
    for axis in range(case.off.ndim):
        n = case.off.shape[axis]
        others = tuple(a for a in range(case.off.ndim) if a != axis)
        hit = np.flatnonzero(case.off.any(axis=others))
        run = hit.size == hit[-1] - hit[0] + 1 and (hit[0] == 0 or hit[-1] == n - 1)
        if n < 3 or hit.size == n or not (hit.size <= n / 4 or hit.size == 1 or run):
            continue
        mask = np.zeros_like(case.off)
        mask.swapaxes(0, axis)[hit] = True
        if not _is(case, mask, chance=CHANCE_OF_SLICES / n):
            continue
        sample = axis == case.context.batch_axis
        where = _along(axis, n, hit, case.off.ndim, sample)
        advice = _LAST if case.off.ndim > 2 and hit.tolist() == list(range(n - 1)) else _SLICE
        yield _cause("samples" if sample else "units", where, mask, case, advice)


def _along(axis: int, n: int, hit: np.ndarray, ndim: int, sample: bool) -> str:
    """Say where along an axis of n something is off."""
    if not sample and ndim > 2:
        return f"at {_listed(hit)} of {n} along axis {axis}"
    word = "sample" if sample else "element" if ndim == 1 else "column" if axis else "row"
    return f"in {word}{'s' if hit.size > 1 else ''} {_listed(hit)} of {n}"


def _is(case: Case, mask: np.ndarray, chance: float = CHANCE, among: int = 0) -> bool:
    """Return whether what is off lies in this region, fills it, and hardly by chance."""
    if mask.shape != case.off.shape or not mask.any() or (case.off & ~mask).any():
        return False
    telling = case.telling | case.off
    n, r, k = (int(np.count_nonzero(a)) for a in (telling, telling & mask, case.off))
    n = max(n, among)
    return k >= COVERED * r and r < n and comb(r, k) <= chance * comb(n, k)


def _cause(kind: str, where: str, mask: np.ndarray, case: Case, advice: str) -> Cause:
    n = int(np.count_nonzero(case.off))
    there = ""
    if not case.candidate[mask].any():
        there = "; there manual is 0"
    elif not case.reference[mask].any():
        there = "; there torch is 0"
    elif n > 2 and (fitted := case.factor(case.reference, within=mask)) is not None:
        there = f"; there manual is torch × {fitted[0]:.6g}"
    return Cause(
        kind,
        f"manual differs only {where} ({n} of {case.off.size} elements){there}.",
        advice,
    )


def _listed(hit: np.ndarray) -> str:
    if hit.size > 2 and hit.size == hit[-1] - hit[0] + 1:
        return f"{hit[0]} to {hit[-1]}"
    return ", ".join(map(str, hit[:6])) + (", …" if hit.size > 6 else "")


_KINK = "At a kink several slopes are possible: check > against >=, and which of equals wins."
_MASK = "Look at how these entries are singled out."
_SIDE = "Look at the branch of the formula that holds there, and at the condition that picks it."
_BORDER = "Look at padding, at index bounds, and at windows that reach over the edge."
_LAST = (
    "All but the last are off: does something that comes back from the next one, as through time, "
    "get lost? Look at what is added up there, and at loop bounds."
)
_SLICE = "Look at loop bounds and slices, and at what is special about them."
