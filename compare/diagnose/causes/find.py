"""Look for the cause: every kind of mistake is fitted, and only a full fit is believed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from compare.diagnose.causes import (
    axes,
    inside,
    precision,
    products,
    regions,
    samples,
    scale,
    settings,
    sides,
    terms,
)
from compare.diagnose.causes.cause import Cause, Context
from compare.diagnose.causes.fit import Case

Family = Callable[[Case], Iterable[Cause]]
EXTREME = re.compile(r"=(0|1)(\.0)? instead of")
MOST = 3  # kinds named beside the first


def find_cause(
    candidate: Any, reference: Any, tolerance: Any, context: Context | None = None
) -> Cause | None:
    """Return what explains the whole difference, or None: silence rather than a guess.

    Args:
        candidate, reference: the two sides.
        tolerance: what each element may differ by; an array of the reference's shape or a number.
        context: what else is known; the more of it, the more can be told.

    >>> import numpy as np
    >>> g = np.array([[1.0, -2.0, 3.0]])
    >>> find_cause(g * 64, g, 1e-12, Context(sizes={"the batch size": 64})).evidence
    'manual is torch × 64 = the batch size in every element.'
    """
    context = context or Context()
    candidate, reference = np.asarray(candidate), np.asarray(reference)
    if not _numbers(candidate) or not _numbers(reference):
        return None
    with np.errstate(all="ignore"):
        if candidate.shape == reference.shape and context.double is not None:
            double = context.double()
            if cause := precision.unstable(double):
                return cause
            candidate, reference, tolerance = double
            context = replace(context, double=None, dtype="float64")
        if not reference.size or not np.isfinite(reference).all():
            return None
        if candidate.shape != reference.shape:
            return axes.misshapen(candidate, reference, tolerance, context)
        if not np.isfinite(candidate).all():
            return regions.not_finite(candidate, reference, tolerance, context)
        case = Case(candidate, reference, tolerance, context)
        return _joined(next(filter(None, _tiers(case)), [])) if case.off.any() else None


TIERS: tuple[tuple[Family, ...], ...] = (  # a tier is tried when those before it found nothing
    (
        scale.zero,
        scale.clipped,
        scale.scalar_upstream,
        scale.step_factor,
        scale.named_factor,
        axes.moved,
        terms.upstream_unchanged,
        terms.known_mistake,
        terms.one_term,
        terms.another_tensor,
        terms.multiple_added,
        samples.some_samples,
        regions.only_there,
    ),
    (
        scale.constant,
        scale.any_factor,
        scale.any_step_factor,
        scale.offset,
        terms.mean_not_subtracted,
    ),
    (regions.both_sides,),  # one factor everywhere is also one on each side
    (settings.another_value,),
    (products.wrong_factor,),
    (terms.inside_a_term,),
    (products.wrong_term, terms.step_product),
    (scale.factor_per_row, terms.multiple_per_row, samples.weighted_samples),
    (inside.inside_a_function,),
    (sides.each_side,),
    (precision.hidden_single,),
)


def _tiers(case: Case) -> Iterator[list[Cause]]:
    for families in TIERS:
        yield [cause for family in families for cause in family(case)]


def _joined(found: list[Cause]) -> Cause | None:
    """Return the first cause, with the kinds of the others that fit as well."""
    if not found:
        return None
    found.sort(key=_is_extreme)
    first = found[0]
    kinds = dict.fromkeys(k for c in found for k in (c.kind, *c.also))
    also = tuple(k for k in kinds if k != first.kind)[:MOST]
    told = f" The same numbers fit: {', '.join(also)}." if also else ""
    return replace(first, evidence=f"{first.evidence}{told}", also=also)


def _is_extreme(cause: Cause) -> bool:
    """Whether an argument would be 0 or 1: a term or factor that is lost looks the same."""
    return cause.kind == "argument" and EXTREME.search(cause.evidence) is not None


def _numbers(a: np.ndarray) -> bool:
    return a.dtype.kind in "fiub"
