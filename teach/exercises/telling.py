"""What is wrong with a tensor, in words: where, which numbers, and what they look like."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from compare.diagnose.cases.named import of_numbers
from teach.exercises.definition import Exercise
from teach.exercises.mistakes import known_mistake

if TYPE_CHECKING:
    from compare.commands.check.session import Session
    from compare.diagnose.causes import Cause
    from compare.running.cases.outcome import Outcome

KNOWN, SIZE, NOT_FINITE = "known mistake", "size in the code", "not finite"
NOTHING = (
    "no known mistake fits these numbers: compare your derivation with the index form, one "
    "factor at a time."
)


class Told:
    """Describes what a submission got wrong."""

    def __init__(self, session: Session, run: list[Outcome], exercise: Exercise) -> None:
        self.session, self.run, self.exercise = session, run, exercise

    def bad(self, quantity: str) -> list[Outcome]:
        return [o for o in self.run if quantity in o.bad]

    def where(self, quantity: str) -> str:
        """Return in which cases a quantity is wrong."""
        bad = self.bad(quantity)
        if len(bad) == len(self.run):
            return "in every case"
        return in_cases(bad) if len(bad) <= 3 else f"in {len(bad)} of {len(self.run)} cases"

    def numbers(self, quantity: str) -> str:
        """Return what is wrong, in numbers: the shape, or one element, in one case."""
        outcome = self.bad(quantity)[0]
        case, remark = outcome.case.name, clean(outcome.remarks.get(quantity, ""))
        mine, theirs = outcome.manual.get(quantity), outcome.expected.get(quantity)
        if mine is None or theirs is None:
            if remark:
                return f"in the case '{case}' {remark}"
            return f"in the case '{case}' it is missing"
        if mine.shape != theirs.shape:
            return f"in the case '{case}' its shape is {mine.shape}, and should be {theirs.shape}"
        at = _worst(mine, theirs)
        digits = 6 if f"{mine[at]:.6g}" != f"{theirs[at]:.6g}" else 16
        a, b = f"{mine[at]:.{digits}g}", f"{theirs[at]:.{digits}g}"
        told = f"in the case '{case}' it is {a}, and should be {b}"
        if at:
            told = f"in the case '{case}' element {list(at)} is {a}, and should be {b}"
        return f"{told}; {remark}" if remark else told

    def cause(self, quantity: str) -> tuple[str, str]:
        """Return what explains a difference, and its kind: a known mistake, or a named cause."""
        bad = self.bad(quantity)
        found = self._named(bad, quantity)
        known = known_mistake(self.exercise, bad[0], quantity)
        if known:
            return found.kind if found else KNOWN, f"{KNOWN}: {known}"
        if all(o.case.resized for o in bad):
            return SIZE, self._size(bad, quantity)
        if (text := self._not_finite(bad, quantity, found)) is not None:
            return NOT_FINITE, text
        if found:
            return found.kind, str(found) + self._though_right(bad)
        return "", _without_cause(bad[0], quantity) or f"{self.where(quantity)}, {NOTHING}"

    def _named(self, bad: list[Outcome], quantity: str) -> Cause | None:
        ordinary = [o for o in bad if not o.case.resized]  # an axis of length 1 fits too much
        causes = (of_numbers(self.session, self.run, o, quantity) for o in ordinary or bad)
        return next((cause for cause in causes if cause), None)

    def _though_right(self, bad: list[Outcome]) -> str:
        """Say that ordinary numbers do not show it."""
        if bad[0] is self.run[0]:
            return ""
        return f" (On ordinary numbers it is right, and wrong {in_cases(bad)}.)"

    def _size(self, bad: list[Outcome], quantity: str) -> str:
        """Say that only other sizes show it."""
        told, cases = _without_cause(bad[0], quantity).rstrip("."), in_cases(bad)
        cases = f"{cases} ({told})" if told else cases
        return (
            f"{SIZE}: right in the sizes that the exercise names, wrong {cases}. Is a size written "
            "as a number where the code should ask for a length, or is an axis of length 1 dropped?"
        )

    def _not_finite(self, bad: list[Outcome], quantity: str, found: Cause | None) -> str | None:
        """Say where NaN or infinity stands, if some case has it."""
        for outcome in bad:
            mine, theirs = outcome.manual.get(quantity), outcome.expected.get(quantity)
            if mine is None or theirs is None or mine.shape != theirs.shape:
                return None
            wrong = ~np.isfinite(mine)
            if not wrong.any():
                continue
            if outcome is not bad[0] and found is not None:
                return None  # a formula is wrong already where all is finite
            what = "NaN" if np.isnan(mine[wrong]).all() else "NaN or infinite"
            many = f"{np.count_nonzero(wrong)} of {mine.size} elements"
            beside = f" {found.evidence}" if found and found.kind == NOT_FINITE else ""
            return (
                f"{NOT_FINITE}: your gradient is {what} in the case '{outcome.case.name}', at "
                f"{many}.{beside} Look for 0 / 0, a logarithm of 0, or an exp that overflows."
            )
        return None


def in_cases(outcomes: list[Outcome]) -> str:
    names = ", ".join(f"'{o.case.name}'" for o in outcomes)
    return f"only in the cases {names}" if len(outcomes) > 1 else f"only in the case {names}"


def _worst(mine: np.ndarray, theirs: np.ndarray) -> tuple[int, ...]:
    """Return the place of the largest difference; NaN and infinity are larger than all."""
    if not mine.ndim:
        return ()
    difference = np.nan_to_num(np.abs(mine - theirs), nan=np.inf)
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(difference)), mine.shape))


def _without_cause(outcome: Outcome, quantity: str) -> str:
    """Return what is wrong besides numbers: a crash, nothing returned, another shape."""
    mine, theirs = outcome.manual.get(quantity), outcome.expected.get(quantity)
    if mine is not None and theirs is not None and mine.shape != theirs.shape:
        return (
            f"shape: it is {mine.shape}, and should be {theirs.shape}. A gradient has the shape "
            "of its input."
        )
    return clean(outcome.remarks.get(quantity, ""))


def clean(text: str) -> str:
    """Drop the grader's own lines from a message about the submission."""
    return re.sub(r" \(line \d+ of [^()]*exercises[^()]*\.py: [^)]*\)+", "", text)
