"""The reference may be what is wrong: torch's float32 loses digits that its own float64 keeps.

In float64 too (hardsigmoid's gradient multiplies by float32's 1/6): then witnesses decide, which
measure the slope of the forward pass that both sides share.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from compare.diagnose.examiner import Examiner
from compare.judge.judge import DISAGREE, NON_FINITE, Rows
from compare.judge.quantities import Key
from compare.running.alone import Moment
from compare.witness.run_witnesses import hearing

DIGITS = 1e-6  # of the largest element: a difference that small is lost digits, no other formula

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
    examiner, own = Examiner(moment), []
    blamed: dict[str, bool] = {}
    for i in rows.bad:
        suspect = examiner.suspect(rows.keys[int(i)])
        if not suspect.own:
            continue
        name = suspect.layer
        if name not in blamed:
            blamed[name] = name in (*moment.nodes, "loss") and lost(moment, name)
        if not blamed[name]:
            break
        own.append(int(i))
    return Blamed(tuple(n for n, off in blamed.items() if off), tuple(own), all(blamed.values()))


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


def _loses_digits(moment: Moment, name: str) -> bool:
    """Return whether torch's float64 sides with the hand-written float32 in all that differs."""
    call = (moment.loss() if name == "loss" else moment.call(name)).settled()
    compare = moment.experiment.config.compare
    if compare.tolerance is not None:
        return False  # a tolerance that someone chose allows what it allows
    try:
        wide = call.wide().by_torch()
        sides = call.beside(np.dtype(np.float32), compare.k)
    except Exception:  # code with a mistake in it may raise whatever it likes
        return False
    off = [
        _within(mine, wide.get(role), tolerance) and not _within(theirs, wide.get(role), tolerance)
        for role, (mine, theirs, tolerance) in sides.items()
        if not _within(mine, theirs, tolerance)
    ]
    return bool(off) and all(off)


def _contradicted(moment: Moment, name: str) -> bool:
    """Return whether torch's float64 gradient of a piece has lost digits, by every witness."""
    call = (moment.loss() if name == "loss" else moment.call(name)).settled()
    compare = moment.experiment.config.compare
    if compare.tolerance is not None:
        return False
    try:
        sides = call.beside(np.dtype(np.float64), compare.k)
    except Exception:  # code with a mistake in it may raise whatever it likes
        return False
    off = {role for role, side in sides.items() if not _within(*side)}
    if not off or any(role.startswith("output") for role in off):
        return False
    for role in off:
        mine, theirs, _ = sides[role]
        heard = hearing(moment, name, role.partition("#")[0])
        few = np.shape(mine) == np.shape(theirs) and _largest(mine - theirs) < DIGITS * _largest(
            theirs
        )
        if not few or heard is None or heard.side != "manual":
            return False
    return True


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0.0))


def _within(mine: Any, theirs: Any, tolerance: Any) -> bool:
    if theirs is None or np.shape(mine) != np.shape(theirs):
        return False
    apart = np.abs(np.subtract(mine, theirs, dtype=np.float64))
    return bool((apart <= tolerance).all() and np.isfinite(tolerance).all())
