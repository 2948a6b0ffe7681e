"""What a reader of a check's report should know besides the numbers, one sentence each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compare.explaining.format import plural
from compare.pair.outside import outside_note
from compare.pair.own_forward import OwnForward
from compare.pair.preserved import preserved
from compare.running.cases.outcome import Outcome, quiet
from compare.witness.case_witnesses import testimonies, told

if TYPE_CHECKING:
    from compare.commands.check.session import Session


def notes_of(session: Session, run: list[Outcome]) -> list[str]:
    """Return the notes of a check whose cases have run."""
    own = isinstance(session.reference, OwnForward)
    notes = [_convention(o.case.name, q, n, own) for o in run for q, n in o.conventions.items()]
    notes += [
        f"In the case '{o.case.name}' the reference is not finite in {session.precision.name} at "
        f"{o.left_out} element{'s' if o.left_out != 1 else ''}; they were left out."
        for o in run
        if o.left_out
    ]
    notes += [
        f"In the case '{o.case.name}' {n} element{'s' if n != 1 else ''} of {q} could not be "
        "judged: rounding alone could move them by more than 1 %."
        for o in run
        for q, n in o.blind.items()
    ]
    notes += _for_want_of_time(session)
    notes += [
        f"{session.candidate.name} loses digits that the reference keeps: its rounding error in "
        f"{q} is about {times:.0e} times the reference's, and a mistake smaller than that would "
        "pass. Look for large numbers that cancel."
        for o in run
        for q, times in o.unstable.items()
    ]
    skipped = [f"'{o.case.name}' ({o.skipped})" for o in session.outcomes if o.skipped]
    if skipped:
        notes.append(f"Cases that could not be run: {'; '.join(skipped)}.")
    if own:
        notes.append(
            "No reference was given: backward was checked against forward, whose own values were "
            "compared with nothing."
        )
    elif session.reference.left_as_they_are:
        names = ", ".join(session.reference.left_as_they_are)
        notes.append(f"The reference's {names} are no inputs: they kept their values, unchecked.")
    notes += _of_one_value(session)
    if not session.candidate.takes_upstream:
        notes.append(
            "Backward takes no upstream gradient: it was checked for an upstream gradient of 1."
        )
    if run and session.precision.name == "float64" and (own or any(o.bad for o in run)):
        with quiet():
            with preserved(session.candidate.forward_code, session.candidate.backward_code):
                heard = testimonies(session.candidate, run[0].values, session.seed)
            notes += told(heard)
    notes += session.contract.notes + session.candidate.notes()
    return notes + outside_note(session.candidate.forward_code)


def abridged(session: Session, run: list[Outcome]) -> tuple[str, ...]:
    """Return what of the cases was not compared element by element, in phrases."""
    along = sum(1 for n in session.hurried.values() if n)
    not_finite = sum(o.left_out for o in run)
    excused = sum(n for o in run for n in o.conventions.values())
    found = {
        f"{plural(along, 'case')} compared along random directions alone": along,
        f"{plural(len(session.left_out), 'case')} left out for want of time": session.left_out,
        f"{plural(not_finite, 'element')} left out where the reference is not finite": not_finite,
        f"{plural(excused, 'element')} left out at kinks": excused,
    }
    return tuple(text for text, some in found.items() if some)


def _of_one_value(session: Session) -> list[str]:
    """Tell inputs that stayed as they were given, and hide what they multiply or leave out."""
    specification = session.specification
    fixed = {
        name: value
        for name, value in specification.given.items()
        if name not in specification.differentiable
    }
    return [
        f"{name} is {np.ravel(value)[0]!s} {'everywhere, ' * bool(np.ndim(value))}in every case: "
        "what another value would show was not checked. Give it other values as well."
        for name, value in fixed.items()
        if _is_one_value(value)
    ]


def _is_one_value(value: Any) -> bool:
    if isinstance(value, np.ndarray) and value.ndim:
        return (
            value.size > 1 and value.dtype.kind in "biuf" and bool(np.all(value == value.flat[0]))
        )
    return isinstance(value, float | np.floating) and value == 0


def _for_want_of_time(session: Session) -> list[str]:
    """Say what was judged more cheaply, or not at all, because the code is slow."""
    more = "a larger --budget (or budget=) gives it more time"
    notes, found = [], session.hurried
    if found:
        few = sorted({n for n in found.values() if n})
        how = "rounding errors were found by moving the inputs alone"
        if few:
            many = f"{few[0]} to {few[-1]}" if len(few) > 1 else f"{few[0]}"
            how = f"gradients were compared along {many} random directions, not element by element"
        notes.append(
            f"This code is slow: in {len(found)} of {len(session.outcomes)} cases {how}; {more}."
        )
    if session.left_out:
        names = ", ".join(f"'{name}'" for name in session.left_out)
        notes.append(f"Cases that there was no time for: {names}; {more}.")
    return notes


def _convention(case: str, quantity: str, count: int, own: bool) -> str:
    elements = f"{count} element{'s' if count != 1 else ''} of {quantity}"
    if own:
        return (
            f"In the case '{case}' {elements} lie at a kink: the one-sided derivatives differ "
            "there, and backward's numbers fit both. Not counted as a disagreement."
        )
    return (
        f"Convention at ties differs from torch's: in the case '{case}' {elements} differ where "
        "the function has no derivative, and both numbers fit the derivatives around. Not counted "
        "as a disagreement."
    )
