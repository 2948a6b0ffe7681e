"""The reference may be what is wrong: torch's float32 loses digits that its own float64 keeps.

In float64 too (hardsigmoid's gradient multiplies by float32's 1/6): then witnesses decide, which
measure the slope of the forward pass that both sides share.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from compare.diagnose.examiner import Examiner
from compare.judge.judge import DISAGREE, NON_FINITE, Rows
from compare.judge.quantities import Key
from compare.running.alone import Moment, apart, within
from compare.witness.run_witnesses import hearing

DIGITS = 2.0**25  # tolerances: half of float64's digits; what is further off is another formula

__all__ = ["Blamed", "reference_inaccurate"]


class Blamed(NamedTuple):
    """Pieces in which torch is off.

    Attributes:
        names: in execution order, up to the first mistake that is not torch's.
        rows: the rows that are these pieces' own.
        all: whether all other disagreements are inherited.
    """

    names: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    all: bool = False


def reference_inaccurate(moment: Moment, rows: Rows) -> Blamed:
    """Return the pieces in which torch is off, and whether they explain all that disagrees.

    Such a piece, run alone on the step's own numbers, in float32: torch's float64 agrees with the
    hand-written float32 within its tolerance, and torch's float32 does not agree with torch's
    float64. In float64: the forward passes agree, the gradients in all but the last digits, and
    every witness sides with the hand-written one. Every other disagreement has to be inherited:
    alone, on torch's inputs, its piece agrees.
    """
    if moment.experiment.config.train.half:
        return _only_in_half(moment, rows)
    if set(rows.verdicts[rows.bad]) != {DISAGREE}:
        return Blamed()
    lost = _loses_digits if moment.experiment.dtype == np.float32 else _contradicted
    examiner, whole = Examiner(moment), True
    off: dict[str, set[str]] = {}
    own: dict[int, str] = {}
    for i in map(int, rows.bad):
        suspect = examiner.suspect(rows.keys[i])
        if not suspect.own:
            continue
        name = suspect.layer
        if name not in off:
            off[name] = lost(moment, name) if name in (*moment.nodes, "loss") else set()
        if suspect.role not in off[name]:  # an update or a sum of gradients is no piece's own
            whole = False
            break
        own[i] = name
    return Blamed(tuple(dict.fromkeys(own.values())), tuple(own), whole)


def _only_in_half(moment: Moment, rows: Rows) -> Blamed:
    """Return the pieces that are right in float64 on the same numbers; none if one is wrong.

    Both sides have met at every value, so nothing is inherited.
    """
    examiner, found = Examiner(moment), []
    for i in rows.bad:
        if rows.verdicts[i] == NON_FINITE:
            break  # what comes after torch's infinity says nothing
        suspect = examiner.suspect(rows.keys[int(i)])
        if suspect.own or rows.verdicts[i] != DISAGREE:
            return Blamed()
        found += _computed_by(moment, rows.keys[int(i)]) or [suspect.layer]
    return Blamed(tuple(dict.fromkeys(found)), tuple(map(int, rows.bad)), True)


def _computed_by(moment: Moment, key: Key) -> list[str]:
    """Return the layers whose backward gives the gradient of a value."""
    kind, _, port = key.quantity.partition(":")
    value = f"{key.layer}:{port}" if port else key.layer
    return [n for n, node in moment.nodes.items() if kind[:5] == "grad_" and value in node.inputs]


def _loses_digits(moment: Moment, name: str) -> set[str]:
    """Return what differs, if torch's float64 sides with the hand-written float32 in all of it."""
    call = moment.at(name)
    compare = moment.experiment.config.compare
    if compare.tolerance is not None:
        return set()  # a tolerance that someone chose allows what it allows
    try:
        wide = call.wide().by_torch()
        sides = call.beside(np.dtype(np.float32), compare.k)
    except Exception:  # code with a mistake in it may raise whatever it likes
        return set()
    for role in (off := apart(sides)):
        mine, theirs, tolerance = sides[role]
        right = within(mine, wide.get(role), tolerance)
        if not right or within(theirs, wide.get(role), tolerance):
            return set()
    return {_kind(role) for role in off}


def _contradicted(moment: Moment, name: str) -> set[str]:
    """Return the gradients in which torch's float64 has lost digits, by every witness."""
    call = moment.at(name)
    compare = moment.experiment.config.compare
    if compare.tolerance is not None:
        return set()
    try:
        sides = call.beside(np.dtype(np.float64), compare.k)
    except Exception:  # code with a mistake in it may raise whatever it likes
        return set()
    for role in (off := apart(sides)):
        mine, theirs, tolerance = sides[role]
        if role.startswith("output") or not within(mine, theirs, DIGITS * tolerance):
            return set()
        allowed = float(np.divide(_length(tolerance), _length(theirs)))
        heard = hearing(moment, name, _kind(role), allowed)
        if heard is None or heard.side != "manual":
            return set()
    return {_kind(role) for role in off}


def _kind(role: str) -> str:
    return role.partition("#")[0]


def _length(array: np.ndarray) -> float:
    return float(np.linalg.norm(np.ravel(array)))
