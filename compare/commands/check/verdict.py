"""The verdict of a check, in one word and one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compare.diagnose.cases.inaccurate import reference_inaccurate
from compare.explaining.format import plural
from compare.judge.judge import AGREE, MISSING, VACUOUS
from compare.pair.own_forward import OwnForward
from compare.running.cases.contract import Promise
from compare.running.cases.outcome import Outcome, inputs_text

if TYPE_CHECKING:
    from compare.commands.check.session import Session


class Verdict(NamedTuple):
    """The word, as in a report, and one sentence."""

    verdict: str
    reason: str

    @property
    def agrees(self) -> bool:
        return self.verdict == "agree"


def settled(session: Session) -> Verdict:
    """Return the verdict of a session whose cases have run, the reference itself examined first."""
    run = [o for o in session.outcomes if o.rows is not None]
    session.blamed = reference_inaccurate(session, run)
    return Verdict(*verdict_of(session, run))


def verdict_of(session: Session, run: list[Outcome]) -> tuple[str, str]:
    """Return the verdict and one sentence; agreeing needs every gradient compared for real."""
    if session.unfit:
        return "incomplete", session.unfit
    broken = [p for p in session.contract.promises if not p.kept]
    failed = [o for o in run if o.bad]
    total = sum(len(o.rows.keys) for o in run if o.rows is not None)
    total += len(session.contract.promises)
    crashed = next((o for o in failed if o.case.own and o.crashed), None)
    if crashed is not None:
        return "disagree", (
            f"{crashed.failing} fails on the inputs {inputs_text(crashed.values)}, so no gradient "
            f"could be compared: {crashed.crashed}."
        )
    if failed or broken:
        bad = sum(len(o.bad) for o in failed) + len(broken)
        places = _places(run, broken)
        if not broken and all(_undefined(o, q) for o in failed for q in o.bad):
            return "incomplete", (
                f"{session.reference.name} is not finite on these inputs, so {places} cannot be "
                "judged: give arrays on which it is."
            )
        if session.blamed:
            return "incomplete", session.blamed
        if not failed:
            told = " ".join(p.text for p in broken)
            return (
                "disagree",
                f"Every gradient is right, but a promise is broken ({places}): {told}",
            )
        if not broken and all(set(o.bad) == o.promoted for o in failed):
            return "disagree", (
                f"Every number is right, but in another dtype than its input's: {places}."
            )
        told = f"{bad:,} of {total:,} compared tensors do not agree{_within(session)}: {places}."
        return "disagree", told
    if not total:
        return "incomplete", "Nothing was compared."
    vacuous = _never_checked(session, run)
    if vacuous:
        return "incomplete", (
            f"The gradient of {', '.join(vacuous)} was never really checked, because zeros would "
            "have passed in every case. If it is zero by construction, name it in structural_zeros "
            "(on the command line --structural-zero NAME)."
        )
    blind = {q: n for o in run if o.case.own for q, n in o.blind.items()}
    if blind:
        told = ", ".join(f"{n} element{'s' if n != 1 else ''} of {q}" for q, n in blind.items())
        remedy = "give numbers at which the function is better conditioned"
        if session.precision.name != "float64":
            remedy = (
                f"the code is as accurate as {session.precision.name} allows there; check the "
                "derivation in float64"
            )
        if any(o.unstable.keys() & blind.keys() for o in run):
            remedy = "the reference keeps the digits that this code loses, see the notes"
        return "incomplete", (
            f"Rounding alone could move {told} by more than 1 %, so nothing is known of them: "
            f"{remedy}."
        )
    side = f"{session.reference.name}, differentiated by torch"
    if isinstance(session.reference, OwnForward):
        side = "the derivative of its own forward"
    cases = plural(len(run), "case")
    return "agree", _agreeing(total, _empty(run), cases, side + _within(session))


def _within(session: Session) -> str:
    """Say what tolerance the user has chosen, if any."""
    return "" if session.rtol is None else f" within rtol = {session.rtol:g}"


def _agreeing(total: int, empty: int, cases: str, side: str) -> str:
    """Say how many tensors agree; one that zeros would have passed for is none of them."""
    if not empty:
        return f"All {total:,} tensors of {cases} agree with {side}."
    left = "one is" if empty == 1 else f"{empty:,} are"
    return (
        f"{total - empty:,} of {total:,} tensors of {cases} agree with {side}; the other {left} "
        "vacuous: zeros or rounding would have passed there."
    )


def _empty(run: list[Outcome]) -> int:
    """Return how many tensors are vacuous."""
    return sum(int(np.count_nonzero(o.rows.verdicts == VACUOUS)) for o in run if o.rows is not None)


def _undefined(outcome: Outcome, quantity: str) -> bool:
    theirs = outcome.expected.get(quantity)
    return theirs is not None and not np.isfinite(theirs).all()


def _places(run: list[Outcome], broken: list[Promise]) -> str:
    """Return which quantities fail, and where: in every case, or in which."""
    where: dict[str, list[str]] = {}
    for outcome in run:
        for quantity in outcome.bad:
            where.setdefault(quantity, []).append(outcome.case.name)
    told = []
    for quantity, names in where.items():
        if len(names) == len(run):
            told.append(f"{quantity} in every case")
        elif len(names) > 4:
            told.append(f"{quantity} in {len(names)} of {len(run)} cases")
        else:
            quoted = ", ".join(f"'{name}'" for name in names)
            told.append(f"{quantity} only in the case{'s' if len(names) > 1 else ''} {quoted}")
    told += [p.quantity for p in broken]
    return "; ".join(told)


def _never_checked(session: Session, run: list[Outcome]) -> list[str]:
    """Return the inputs whose gradient zeros would have passed for, everywhere."""
    seen: dict[str, bool] = {}
    for outcome in run:
        assert outcome.rows is not None
        for key, verdict in zip(outcome.rows.keys, outcome.rows.verdicts, strict=True):
            if key.quantity.startswith("grad:"):
                name = key.quantity.removeprefix("grad:")
                seen[name] = seen.get(name, False) or verdict in (AGREE, MISSING)
    return [n for n, real in seen.items() if not real and n not in session.structural_zeros]
