"""What a mistake of a check is called: by its numbers, and by changes that mend the code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from compare.diagnose.cases.confirmed import confirmed
from compare.diagnose.cases.maxima import tied_maximum
from compare.diagnose.cases.named_cause import cause
from compare.diagnose.causes import Cause
from compare.diagnose.causes.kinds import GROUPS
from compare.diagnose.repair import Repair, missing_path, repaired
from compare.running.cases.outcome import Outcome, quiet

if TYPE_CHECKING:
    from compare.commands.check.session import Session

SPECIAL = (
    "ties",
    "ties between inputs",
    "zeros",
    "one zero per row",
    "repeated indices",
)  # the first case's shapes, with numbers alike
SOMEWHERE = frozenset((*GROUPS["Only somewhere"], *GROUPS["The code"], "tied maximum"))
PLAIN = frozenset((
    "sign", "factor 2", "batch size", "number of classes", "zero", "clipped", "transpose", "axes",
    "reshape", "empty slice", "shape", "missing sum", "extra sum", "wrong axis",
    "cross terms missing", "upstream unchanged", "upstream missing", "upstream twice",
    "derivative twice", "value for derivative", "derivative at the input",
    "another tensor", "fused formula", "hidden float32", "dtype",
    "tied maximum",
))  # fmt: skip
NUMBERS = ("factor 2", "number of classes")  # small numbers have many meanings
OF_NUMBERS = ("factor 2", "wrong factor", "constant", "reduction", "power")
FINE = ("float64", "float32")  # enough digits to tell that a change makes numbers right


def named(session: Session, run: list[Outcome], outcome: Outcome, quantity: str) -> Cause | None:
    """Return what explains a difference or an exception, or None.

    Whatever a search raises, it must not hide the difference.
    """
    if _beyond_telling(session, outcome, quantity):
        return None
    fitted = of_numbers(session, run, outcome, quantity)
    with quiet():
        fine = session.precision.name in FINE
        mended = _attempted(lambda: fine and repaired(session, run, outcome, quantity)) or None
        if outcome.crashed:
            return raised(outcome, mended)
        if mended or _is_plain(fitted):
            return chosen(fitted, mended)
        return _attempted(lambda: missing_path(session, run, outcome, quantity)) or fitted


def of_numbers(
    session: Session, run: list[Outcome], outcome: Outcome, quantity: str
) -> Cause | None:
    """Return the relation of the numbers, as far as other sizes confirm it; None if none fits."""
    if _beyond_telling(session, outcome, quantity):
        return None
    with quiet():
        found = _attempted(
            lambda: tied_maximum(session, outcome, quantity) or cause(session, outcome, quantity)
        )
        found = _attempted(lambda: confirmed(session, run, outcome, quantity, found))
    return _ordinary(found, run, outcome, quantity)


def _beyond_telling(session: Session, outcome: Outcome, quantity: str) -> bool:
    """Return whether a difference is a convention, or in a dtype whose eight bits fit too much."""
    return quantity in outcome.conventions or session.precision.name == "bfloat16"


def chosen(fitted: Cause | None, mended: Repair | None) -> Cause | None:
    """Return a relation of the numbers that leaves no doubt, else the change that mends the code.

    A relation that many mistakes have in common says nothing beside the change.
    """
    if mended is None:
        return fitted
    found = mended.cause()
    by_chance = fitted is not None and fitted.kind in NUMBERS and found.kind not in OF_NUMBERS
    if fitted is None or by_chance or not _is_plain(fitted):
        return found
    return replace(fitted, evidence=f"{fitted.evidence} {mended.evidence()}")


def _is_plain(fitted: Cause | None) -> bool:
    """Return whether a relation leaves no doubt; a multiple of another tensor does."""
    if fitted is None or fitted.kind not in PLAIN:
        return False
    return fitted.kind != "another tensor" or "×" not in fitted.evidence


def raised(outcome: Outcome, mended: Repair | None) -> Cause:
    """Return the cause of an exception: a change after which the code runs and is right."""
    told = f"{outcome.failing} raised {outcome.crashed}."
    if "NotImplementedError" in outcome.crashed:
        return Cause("exception", told, "That line says that it is still to be written.")
    if mended is not None:
        return Cause("exception", f"{told} It runs, and {mended.evidence()}", mended.cause().advice)
    advice = "Write down the shape of every array on that line."
    if any(word in outcome.crashed for word in ("shape", "align", "mismatch", "broadcast")):
        advice += " Is a transpose missing, or do two factors stand in the wrong order?"
    if outcome.case.resized:
        advice += " It fits only where two axes happen to be equally long."
    return Cause("exception", told, advice)


def only_sizes(run: list[Outcome], quantity: str) -> bool:
    """Return whether a quantity is wrong only where axes have other lengths than the user's."""
    failing = [o for o in run if quantity in o.bad]
    return bool(failing) and all(o.case.resized and not o.case.untied for o in failing)


def _ordinary(
    found: Cause | None, run: list[Outcome], outcome: Outcome, quantity: str
) -> Cause | None:
    """Drop a formula that would be wrong everywhere where ordinary numbers agree."""
    special = outcome.case.name in SPECIAL or only_sizes(run, quantity)
    if found is None or not special or outcome is run[0] or quantity in run[0].bad:
        return found
    return found if found.kind in SOMEWHERE else None


def _attempted(search: Callable[[], Any]) -> Any:
    """Return what is found; nothing if a stranger's code fails on other numbers."""
    try:
        return search()
    except Exception:
        return None
