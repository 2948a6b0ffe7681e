"""The reference may be wrong: torch's float64 hardsigmoid multiplies by float32's 1/6.

It is, where both sides have one forward, their gradients differ by little, and the derivative of
that forward is the hand-written one at every element that differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compare.pair.inputs import as_float
from compare.pair.numeric import Forward, along
from compare.pair.own_forward import OwnForward
from compare.running.cases.outcome import Outcome, quiet

if TYPE_CHECKING:
    from compare.commands.check.session import Session

LITTLE = 1e-3  # of the gradient; a larger gap is another function
MOST = 6  # failing tensors that are looked at
EXACT = 0.05  # of the gap: what a slope may be uncertain by
STEPS = ((0.0, 1.0), (1.0, 1.0), (0.0, 1e-5))  # the least size that they are of; times that


def reference_inaccurate(session: Session, run: list[Outcome]) -> str:
    """Say so if every disagreement is the reference's; empty if not."""
    if isinstance(session.reference, OwnForward) or session.precision.name != "float64":
        return ""
    if session.candidate.keeps_dtype or any(not p.kept for p in session.contract.promises):
        return ""
    failing = [(o, q) for o in run for q in o.bad]
    with quiet():
        if not failing or not all(_little(o, q) for o, q in failing):
            return ""
        if not all(_is_the_references(session, o, q) for o, q in failing[:MOST]):
            return ""
    names = ", ".join(dict.fromkeys(q for _, q in failing))
    return (
        f"Reference inaccurate: {session.reference.name}'s {names} differs from backward's, and "
        "the derivative of forward, taken numerically, is backward's. Outputs agree."
    )


def _little(outcome: Outcome, quantity: str) -> bool:
    pair = outcome.pair(quantity)
    if pair is None or quantity[:5] != "grad:" or outcome.remarks or outcome.crashed:
        return False
    mine, theirs = map(as_float, pair)
    off, size = np.abs(mine - theirs).sum(), np.abs(theirs).sum()
    return bool(0 < off <= LITTLE * size)


def _is_the_references(session: Session, outcome: Outcome, quantity: str) -> bool:
    """Return whether forward's slopes along the elements that differ are backward's."""
    pair = outcome.pair(quantity)
    assert pair is not None
    mine, theirs = map(as_float, pair)
    diff = mine - theirs
    off = ~(np.abs(diff) <= outcome.tolerances.get(outcome.key(quantity), 0.0))
    forward, rng = OwnForward(session.candidate).forward, np.random.default_rng(3)
    for signs in (np.sign(diff), rng.choice((-1.0, 1.0), diff.shape)):
        direction = np.where(off, signs, 0.0)
        told, gap = (mine * direction).sum(), np.abs(diff * direction).sum()
        try:
            if not _follows(forward, outcome, {quantity[5:]: direction}, told, gap):
                return False
        except Exception:  # a stranger's forward on other numbers
            return False
    return True


def _follows(
    forward: Forward,
    outcome: Outcome,
    directions: dict[str, np.ndarray],
    told: float,
    gap: float,
) -> bool:
    """Return whether forward has this slope, and by no steps another: nearer to the reference's.

    Some steps are in proportion to the inputs, some to 1, and some show what bends within these.
    """
    at = outcome.values, directions, outcome.upstreams
    found = [along(forward, *at, least=least, times=times) for least, times in STEPS]
    apart = [abs(slope.value - told) for slope in found]
    nearer = all(d <= gap / 2 + s.error for d, s in zip(apart, found, strict=True))
    return nearer and any(d + s.error < EXACT * gap for d, s in zip(apart, found, strict=True))
