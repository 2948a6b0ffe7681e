"""What a check has found, for its verdict, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compare.diagnose.cases.inaccurate import reference_inaccurate
from compare.explaining.format import plural
from compare.judge.judge import AGREE, MISSING, VACUOUS
from compare.judge.verdict import Evidence, Verdict, decided
from compare.pair.known import first_few
from compare.pair.own_forward import OwnForward
from compare.running.cases.contract import Promise
from compare.running.cases.outcome import Outcome, inputs_text

if TYPE_CHECKING:
    from compare.commands.check.session import Session


def settled(session: Session) -> Verdict:
    """Return the verdict of a session whose cases have run, the reference itself examined first."""
    run = [o for o in session.outcomes if o.rows is not None]
    session.blamed = reference_inaccurate(session, run)
    return decided(CheckEvidence(session, run))


class CheckEvidence(Evidence):
    """What the cases of a check have found, and its promises."""

    def __init__(self, session: Session, run: list[Outcome]) -> None:
        self.session, self.run = session, run
        promises = session.contract.promises
        self.broken = [p for p in promises if not p.kept]
        self.failed = [o for o in run if o.bad]
        self.total = sum(len(o.rows.keys) for o in run if o.rows is not None) + len(promises)
        self.bad = sum(len(o.bad) for o in self.failed) + len(self.broken)
        self.crashed = next((o for o in self.failed if o.case.own and o.crashed), None)

    def unfit(self) -> str:
        return self.session.unfit

    def excused(self) -> str:
        if self.crashed is not None:
            return ""
        if not self.broken and all(_undefined(o, q) for o in self.failed for q in o.bad):
            return (
                f"{self.session.reference.name} is not finite on these inputs, so {self._places()} "
                "cannot be judged: give arrays on which it is."
            )
        return self.session.blamed

    def disagreeing(self) -> str:
        if self.crashed is not None:
            return (
                f"{self.crashed.failing} fails on the inputs {inputs_text(self.crashed.values)}, "
                f"so no gradient could be compared: {self.crashed.crashed}."
            )
        places = self._places()
        if not self.failed:
            told = " ".join(p.text for p in self.broken)
            return f"Every gradient is right, but a promise is broken ({places}): {told}"
        if not self.broken and all(set(o.bad) == o.promoted for o in self.failed):
            return f"Every number is right, but in another dtype than its input's: {places}."
        return (
            f"{self.bad:,} of {self.total:,} compared tensors do not agree"
            f"{_within(self.session)}: {places}."
        )

    def unfinished(self) -> str:
        return self.session.candidate.unfinished()

    def unchecked(self) -> str:
        vacuous = _never_checked(self.session, self.run)
        if not vacuous:
            return ""
        return (
            f"The gradient of {', '.join(vacuous)} was never really checked, because zeros would "
            "have passed in every case. If it is zero by construction, name it in structural_zeros "
            "(on the command line --structural-zero NAME)."
        )

    def unknown(self) -> str:
        blind = {q: n for o in self.run if o.case.own for q, n in o.blind.items()}
        if not blind:
            return ""
        told = ", ".join(f"{n} element{'s' if n != 1 else ''} of {q}" for q, n in blind.items())
        remedy = "give numbers at which the function is better conditioned"
        if self.session.precision.name != "float64":
            remedy = (
                f"the code is as accurate as {self.session.precision.name} allows there; check the "
                "derivation in float64"
            )
        if any(o.unstable.keys() & blind.keys() for o in self.run):
            remedy = "the reference keeps the digits that this code loses, see the notes"
        return (
            f"Rounding alone could move {told} by more than 1 %, so nothing is known of them: "
            f"{remedy}."
        )

    def agreeing(self) -> str:
        side = f"{self.session.reference.name}, differentiated by torch"
        if isinstance(self.session.reference, OwnForward):
            side = "the derivative of its own forward"
        cases, side = plural(len(self.run), "case"), side + _within(self.session)
        found = _agreeing(self.total, _empty(self.run), cases, side)
        unasked = self.session.candidate.unasked()
        return f"{found} No gradient of {first_few(unasked)} was checked." if unasked else found

    def _places(self) -> str:
        return _places(self.run, self.broken)


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
