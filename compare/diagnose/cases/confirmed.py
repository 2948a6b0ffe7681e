"""A number that is told as a length must be that length in cases of other sizes, too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from compare.diagnose.cases.named_cause import cause
from compare.diagnose.causes import Cause
from compare.running.cases.outcome import Outcome

if TYPE_CHECKING:
    from compare.commands.check.session import Session

OF_SIZES = {"batch size", "number of classes", "size", "sizes", "n − 1", "factor 2", "setting"}
NUMBER = re.compile(r"torch × (\S+)((?: = .*?)?) in every element")
MOST = 2  # cases that are asked


def confirmed(
    session: Session, run: list[Outcome], outcome: Outcome, quantity: str, found: Cause | None
) -> Cause | None:
    """Return a cause as other sizes confirm it: fewer meanings, a mere number, or None."""
    if found is None or found.kind not in OF_SIZES:
        return found
    if quantity in outcome.bad and found.kind == "factor 2" and _right_elsewhere(run, quantity):
        return None
    for other in _resized(run, outcome, quantity):
        found = found and _both(found, cause(session, other, quantity))
    return found


def _right_elsewhere(run: list[Outcome], quantity: str) -> bool:
    """Return whether a gradient that is not zero is right where axes have other lengths."""
    resized = (o for o in run if o.case.resized and quantity not in o.bad)
    return any(np.any(o.expected.get(quantity, 0)) for o in resized)


def _resized(run: list[Outcome], outcome: Outcome, quantity: str) -> list[Outcome]:
    found = [o for o in run if o.case.resized and o is not outcome and quantity in o.bad]
    told = [o for o in found if o.pair(quantity) and 1 not in o.expected[quantity].shape]
    return told[:MOST]


def _both(one: Cause, other: Cause | None) -> Cause | None:
    """Return what is said of both cases; the first if nothing can be said of the other."""
    if other is None:
        return one
    mine, theirs = _meanings(one), _meanings(other)
    if mine is None or theirs is None:
        return None
    if one.kind == other.kind and (mine[1] & theirs[1] or not mine[1] | theirs[1]):
        return one if mine[1] <= theirs[1] else other
    if other.kind in OF_SIZES and mine[1] & theirs[1]:
        return other
    if mine[0] == theirs[0]:
        text = f"manual is torch × {mine[0]} in every element, whatever the sizes."
        kind = one.kind if one.kind == "factor 2" else "constant factor"
        return Cause(kind, text, one.advice if kind == "factor 2" else ADVICE)
    return None


def _meanings(found: Cause) -> tuple[str, set[str]] | None:
    """Return the factor and what it is said to be."""
    told = NUMBER.search(found.evidence)
    return (told[1], {m for m in told[2].split(" = ") if m}) if told else None


ADVICE = "The formula's shape is right: look for a constant that is missing, extra or mistyped."
