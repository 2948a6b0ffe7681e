"""The first disagreement of a check: where, what it looks like, and with whom forward sides."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.diagnose.cases.named import named, of_numbers, only_sizes
from compare.diagnose.causes import Cause
from compare.diagnose.divergence import Divergence, Place, index_text
from compare.judge.judge import AGREE
from compare.pair.candidates import called
from compare.pair.numeric import Slope, along
from compare.pair.own_forward import OwnForward
from compare.pair.sources import docstring_of
from compare.running.cases.cases import AGAIN
from compare.running.cases.outcome import Outcome, quiet

if TYPE_CHECKING:
    from compare.commands.check.session import Session


def first_divergence(session: Session, run: list[Outcome]) -> Divergence | None:
    """Return the first row that does not agree, or broken promise; None if all is well.

    Right numbers in another dtype come first only if no number is wrong.
    """
    last: Place | None = None
    wrong = any(set(outcome.bad) - outcome.promoted for outcome in run)
    for number, outcome in enumerate(run):
        rows = outcome.rows
        assert rows is not None
        for i, key in enumerate(rows.keys):
            if i in rows.bad and not (wrong and key.quantity in outcome.promoted):
                return _divergence(session, run, number, i, last)
            if rows.verdicts[i] == AGREE:
                last = (number, *key)
    return _broken(session, len(run), last)


def _divergence(
    session: Session, run: list[Outcome], number: int, i: int, last: Place | None
) -> Divergence:
    outcome = run[number]
    rows = outcome.rows
    assert rows is not None
    key = rows.keys[i]
    forward = key.quantity.startswith("output")
    code = session.candidate.forward_code if forward else session.candidate.backward_code
    return Divergence(
        step=number,
        layer=key.layer,
        quantity=key.quantity,
        max_abs_diff=float(rows.measures.max_abs[i]),
        own_or_inherited="own",
        layer_type=called(code),
        worst_index=index_text(rows.measures.worst[i], rows.shapes[i]),
        manual=float(rows.measures.manual[i]),
        torch=float(rows.measures.torch[i]),
        row=(number, *key),
        last_agreed=last,
        explanation=_explained(session, run, outcome, i),
        manual_source=source(code),
        derivation=docstring_of(code),
        torch_source=source(getattr(session.reference, "function", None)),
        cause=_named(session, run, outcome, key.quantity),
    )


def _named(session: Session, run: list[Outcome], outcome: Outcome, quantity: str) -> Cause | None:
    """Return the cause of the first difference, or of the first whose numbers tell one.

    Where a factor reaches one gradient alone and a sum of paths another, only the first shows it.
    """
    found = named(session, run, outcome, quantity)
    for other in () if found or outcome.crashed else outcome.bad:
        told = of_numbers(session, run, outcome, other) if other.startswith("grad:") else None
        if told:
            return replace(told, evidence=f"{other} shows it: {told.evidence}")
    return found


def _broken(session: Session, number: int, last: Place | None) -> Divergence | None:
    """Return the first broken promise."""
    for promise in session.contract.promises:
        if promise.kept:
            continue
        code = session.candidate.backward_code
        now, then = np.ravel(np.float64(promise.now)), np.ravel(np.float64(promise.then))
        at = int(np.argmax(np.abs(now - then))) if now.size == then.size and now.size else 0
        return Divergence(
            step=number, layer="contract", quantity=promise.quantity,
            max_abs_diff=float(abs(now[at] - then[at])), own_or_inherited="own",
            layer_type=called(code), worst_index=index_text(at, promise.then.shape),
            manual=float(now[at]), torch=float(then[at]),
            row=(number, "contract", promise.quantity), last_agreed=last,
            explanation=promise.text, manual_source=source(code),
            derivation=docstring_of(code),
        )  # fmt: skip
    return None


def _explained(session: Session, run: list[Outcome], outcome: Outcome, i: int) -> str:
    rows = outcome.rows
    assert rows is not None
    quantity = rows.keys[i].quantity
    told = [outcome.remarks[quantity]] if quantity in outcome.remarks else []
    if quantity.startswith("output") and not told:
        told.append("forward itself differs from the reference: look at it before backward.")
    failing = [o for o in run if quantity in o.bad]
    if len(failing) < len(run) and not outcome.case.own:
        told.append(
            f"{quantity} agrees on ordinary inputs; what is special is the case "
            f"'{outcome.case.name}'."
        )
        if only_sizes(run, quantity):
            told.append(
                "Is a size written into the code as a number, or an axis of length 1 dropped?"
            )
        if all(o.case.name == AGAIN for o in failing):
            told.append(
                "Does backward write where it must add? np.add.at(dW, i, dy) adds for each of "
                "equal indices; dW[i] = dy and dW[i] += dy keep one of them. If each comes once by "
                "definition, as in a permutation, leave the case out: cases=['-repeated'] (on the "
                "command line --case=-repeated)."
            )
        told += _of_magnitude(failing, outcome, quantity)
    witness = None if told[:-1] else _witness(session, outcome, i)
    if witness is not None:
        told.append(_sided(session, rows.measures, i, witness))
    return " ".join(told)


def _of_magnitude(failing: list[Outcome], outcome: Outcome, quantity: str) -> list[str]:
    """Say what to look for where magnitudes alone are special, and how to leave them out."""
    kinds = dict.fromkeys(o.case.name.partition(" ")[0] for o in failing)
    if not kinds.keys() <= {"large", "tiny", "wide"}:
        return []
    left, options = ", ".join(f"'-{k}'" for k in kinds), " ".join(f"--case=-{k}" for k in kinds)
    return [
        "Forward does not move there: is something clipped, or masked by a constant such as -1e9, "
        "of which backward takes no account?"
    ] * _stands_still(outcome, quantity) + [
        f"If such numbers never reach this code, leave them out: cases=[{left}] (on the command "
        f"line {options})."
    ]


def _stands_still(outcome: Outcome, quantity: str) -> bool:
    """Return whether the slopes that backward misses are all zero."""
    pair, tolerance = outcome.pair(quantity), outcome.tolerances.get(outcome.key(quantity))
    if pair is None or tolerance is None:
        return False
    mine, theirs = pair
    bad = np.abs(mine - theirs) > tolerance
    return bool(bad.any() and np.max(np.abs(theirs[bad])) < 1e-6 * np.max(np.abs(mine[bad])))


def _witness(session: Session, outcome: Outcome, i: int) -> Slope | None:
    """Differentiate the candidate's own forward at the worst element, by central differences."""
    rows = outcome.rows
    assert rows is not None
    name = rows.keys[i].quantity.removeprefix("grad:")
    shape = rows.shapes[i]
    known = name in session.candidate.differentiable and shape == outcome.values[name].shape
    at = rows.measures.worst[i]
    own = OwnForward(session.candidate)
    if not known or not np.isfinite(at) or isinstance(session.reference, OwnForward):
        return None
    if rows.keys[i].quantity in outcome.promoted:  # nobody doubts the number
        return None
    if session.precision.name not in ("float64", "float32"):
        return None
    direction = np.zeros(shape)
    direction.reshape(-1)[int(at)] = 1.0
    with quiet():
        try:
            return along(own.forward, outcome.values, {name: direction}, outcome.upstreams)
        except Exception:
            return None


def _sided(session: Session, measures: Any, i: int, slope: Slope) -> str:
    """Say whose number the derivative of the candidate's forward confirms."""
    manual, torch = float(measures.manual[i]), float(measures.torch[i])
    gap = abs(manual - torch)
    told = f"Central differences of {session.candidate.name} itself give {slope.value:.6g} there: "
    if abs(slope.value - torch) + slope.error < 0.01 * gap:
        return told + "they side with the reference, so backward is wrong."
    if abs(slope.value - manual) + slope.error < 0.01 * gap:
        return told + "they side with backward, so forward and the reference are two functions."
    return told + "neither number."


def source(code: Any) -> str:
    """Return the source of a function, without its docstring; empty if there is none to be had."""
    if code is None:
        return ""
    try:
        text = textwrap.dedent(inspect.getsource(code)).rstrip()
    except (OSError, TypeError):
        return repr(code) if hasattr(code, "state_dict") else ""
    doc = getattr(code, "__doc__", None)
    if doc and text.count('"""') >= 2:
        head, _, rest = text.partition('"""')
        text = head.rstrip(" r\n") + rest.partition('"""')[2]
    return text.rstrip(" ,)") if text.lstrip().startswith("lambda") else text
