"""Rounding where there should be none: a hidden float32, or a formula that loses digits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compare.diagnose.causes.cause import Cause, Tensors
from compare.diagnose.causes.fit import Case

U32 = 2.0**-24
RATIO = 2.0**29  # float64's digits beyond float32's


def unstable(double: Tensors) -> Cause | None:
    """Return the cause of a float32 disagreement that float64 does not have."""
    candidate, reference, tolerance = double
    if candidate.shape != reference.shape:
        return None
    gap = np.abs(candidate - reference)
    if not (gap <= tolerance).all():
        return None
    with np.errstate(all="ignore"):
        used = float(np.nan_to_num(gap / tolerance).max(initial=0.0))
    return Cause(
        "float32 only",
        f"in float64 the two sides agree (largest part of the budget used: {used:.2g}).",
        "The derivation is right and its arithmetic loses digits: look for a difference of nearly "
        "equal numbers, exp of large ones, 1 − y near 1, or a long sum.",
    )


def hidden_single(case: Case) -> Iterator[Cause]:
    """In float64, differences as float32 makes them: about 2⁻²⁴ of each element, of either sign."""
    if case.context.dtype != "float64" or not case.reference.any():
        return
    with np.errstate(over="ignore"):
        cast = case.candidate == case.candidate.astype(np.float32)
        honest = case.reference == case.reference.astype(np.float32)
    within = (np.abs(case.diff) <= RATIO * case.tolerance).all()
    tell = case.off & (case.reference != 0)
    if not within or not tell.any():
        return
    parts = np.abs(case.diff[tell] / case.reference[tell]) / U32
    typical = float(np.median(parts))
    if cast.all() and not honest[tell].any():
        what = "every element of manual is exactly a float32 number"
    elif parts.size >= 8 and 2**-6 <= typical <= 2**8 and _both_signs(case, tell):
        what = f"manual is off by about {typical:.2g} × 2⁻²⁴ of each element, up as often as down"
    else:
        return
    yield Cause(
        "hidden float32",
        f"{what}: the size of float32's rounding.",
        "Look for a float32 array, an astype, or a default dtype on the float64 path.",
    )


def _both_signs(case: Case, tell: np.ndarray) -> bool:
    origin = case.context.origin
    sizes = [case.reference, *([] if origin is None else [case.reference - origin])]
    ups = [float(np.mean(case.diff[tell] * size[tell] > 0)) for size in sizes]
    return min(ups) >= 0.15 and max(ups) <= 0.85
