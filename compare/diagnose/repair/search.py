"""Make one change after another, run backward again, and see whether the gradient is right now."""

from __future__ import annotations

import copy
import io
import time
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout, suppress
from itertools import combinations
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compare.diagnose.causes import Cause
from compare.diagnose.causes.fit import SHARPER
from compare.diagnose.repair.code import Code, functions_of, watching
from compare.diagnose.repair.edit import Edit
from compare.diagnose.repair.memory import bounded
from compare.diagnose.repair.names import Names
from compare.diagnose.repair.operators import edits
from compare.pair.candidates import Candidate, Result, ValueAndGradient, called
from compare.pair.inputs import as_float
from compare.running.cases.outcome import Outcome, quiet

if TYPE_CHECKING:
    from compare.commands.check.session import Session

MOST, SECONDS = 4000, 3.0  # changes that are tried at most, and for how long
CLOSE = 1e-10  # of the largest element
CONFIRMED = 4  # wrong cases in which a change must be right as well
KEPT = 2  # right cases of other sizes that a change must not spoil
ADVICE = "Make that change if it is what you meant; else the derivation of that line is wrong."


class Repair(NamedTuple):
    """One change, or two, after which a quantity is right."""

    code: Code
    edits: tuple[Edit, ...]
    quantity: str

    def cause(self) -> Cause:
        kind = self.edits[0].kind if len(self.edits) == 1 else "two causes"
        return Cause(kind, self.evidence(), ADVICE)

    def evidence(self) -> str:
        """Say what is changed, where, and what it does."""
        changes = " and ".join(
            f"{edit.told()} (line {self.code.line(edit.statement)})" for edit in self.edits
        )
        return f"{self.quantity} is right {changes} in {called(self.code.function)}."

    @property
    def rank(self) -> int:
        return self.edits[0].rank


def repaired(
    session: Session, run: list[Outcome], outcome: Outcome, quantity: str
) -> Repair | None:
    """Return the most likely change of one line that makes a quantity right, in every case."""
    first, others = Trial(session, outcome, quantity), _others(run, outcome, quantity)
    deadline, partly = time.process_time() + SECONDS, None
    with quiet(), redirect_stdout(io.StringIO()), bounded():
        for number, repair in enumerate(_repairs(session, first)):
            late = number == MOST or time.process_time() > deadline
            if late or (partly is not None and repair.rank > partly.rank):
                break
            with ExitStack() as made:
                for edit in repair.edits:
                    made.enter_context(edit.made())
                found = first.judged(repair.code)
                if found and all(Trial(session, o, quantity).judged(repair.code) for o in others):
                    if found == "all":
                        return repair
                    partly = partly or repair
    return partly


def _repairs(session: Session, first: Trial) -> Iterator[Repair]:
    """Yield single changes, then two of the most usual ones together."""
    usual: list[Repair] = []
    for code, edit in _edits(session, first):
        repair = Repair(code, (edit,), first.quantity)
        usual += [repair] if not edit.rank else []
        yield repair
    for one, other in combinations(usual, 2):
        apart = one.edits[0].statement is not other.edits[0].statement
        if apart and one.code is other.code:
            yield one._replace(edits=one.edits + other.edits)


def _edits(session: Session, first: Trial) -> Iterator[tuple[Code, Edit]]:
    """Yield changes of the function at fault, then of what it calls, then of forward."""
    candidate, quantity = session.candidate, first.quantity
    owner = getattr(candidate, "layer", None)
    forward = quantity[:5] != "grad:"
    main = candidate.forward_code if forward else candidate.backward_code
    floats = candidate.differentiable
    nobody_knows = forward or first.outcome.crashed
    wanted = None if nobody_knows else floats.index(quantity[5:])
    codes = functions_of(main, type(owner) if owner is not None else None)
    variables = _variables(first, codes)
    numbers = _numbers(candidate)
    found = [(code, edit) for at, code in enumerate(codes) for edit in edits(
        code.tree, Names(code.tree, variables.get(code.function.__code__, {}), numbers),
        None if at else wanted, len(floats),
    )]  # fmt: skip
    yield from sorted(found, key=lambda pair: pair[1].rank)
    if not forward and candidate.forward_code is not candidate.backward_code:
        for code in functions_of(candidate.forward_code)[:1]:
            yield from ((code, edit) for edit in edits(code.tree, Names(code.tree), None, 0))


def _numbers(candidate: Candidate) -> list[str]:
    """Return the numbers that forward computes with, as they may be written."""
    function = getattr(candidate.forward_code, "__func__", candidate.forward_code)
    code = getattr(function, "__code__", None)
    cells = [c.cell_contents for c in getattr(function, "__closure__", None) or ()]
    found = [*getattr(code, "co_consts", ()), *cells]
    plain = (v for v in found if type(v) in (int, float) and v > 0 and v not in (1, 2))
    return list(dict.fromkeys(f"{v!r}" for v in plain))


def _variables(first: Trial, codes: list[Code]) -> dict[CodeType, dict[str, Any]]:
    """Run once; return what the variables of each function hold at its end."""
    with watching(codes) as found, suppress(Exception):
        first.run(forward=True)
    return found


def _others(run: list[Outcome], outcome: Outcome, quantity: str) -> list[Outcome]:
    """Return the smallest other cases that ran as far as backward.

    Of the first and the wrong ones, and of right ones of other sizes, where what was right by
    chance is found out.
    """
    ran = sorted((o for o in run if o is not outcome and o.upstreams), key=_size)
    telling = [o for o in ran if o is run[0] or quantity in o.bad]
    right = [o for o in ran if o.case.resized and not o.bad]
    return telling[:CONFIRMED] + right[:KEPT]


def _size(outcome: Outcome) -> int:
    return sum(np.size(v) for v in outcome.values.values())


class Trial:
    """One case that a change must make right."""

    def __init__(self, session: Session, outcome: Outcome, quantity: str) -> None:
        self.session, self.outcome, self.quantity = session, outcome, quantity
        self.candidate, self.evaluator = session.candidate, session.evaluator
        self.expected = outcome.expected or self._asked()
        self.bad = [q for q in outcome.bad if q in self.expected]
        self.kept: Any = None
        self.forward: Any = None

    def _asked(self) -> dict[str, np.ndarray]:
        """Return what the reference says where the candidate raised."""
        result = self.session.reference.run(self.outcome.values, self.outcome.upstreams)
        return {q: as_float(v) for q, v in result.named().items() if q[:5] == "grad:"}

    def judged(self, code: Code) -> str:
        """Return "all" if every quantity is right with the code as it is now, "one" if this one."""
        try:
            with code.running():
                found = self.run(forward=code.function is self.candidate.forward_code)
            right = {q: self._right(q, found.get(q)) for q in self.expected}
        except Exception:  # most changes fit nothing
            return ""
        spoiled = any(not ok for q, ok in right.items() if q not in self.bad)
        if spoiled or not right.get(self.quantity):
            return ""
        return "all" if all(right.values()) else "one"

    def run(self, *, forward: bool) -> dict[str, Any]:
        """Run backward, and forward if that is what is changed; return everything by quantity."""
        once = forward or isinstance(self.candidate, ValueAndGradient)
        started = None if once else self._started()
        if started is None:
            started = self.candidate.start(self.evaluator.run_values(self.outcome))
        if not self.outcome.upstreams:  # forward raised
            return Result(started.outputs, {}).named()
        dys = self.evaluator.cast_upstreams(self.outcome, started.outputs)
        return Result(started.outputs, self.candidate.finish(dys, started)).named()

    def _started(self) -> Any:
        """Return a copy of what forward left, which no change of backward touches."""
        if self.kept is None:
            self.kept = self.candidate.start(self.evaluator.run_values(self.outcome))
        try:
            return copy.deepcopy(self.kept)
        except Exception:  # tensors with a graph, open files
            return None

    def _dtype_is_right(self, mine: Any) -> bool:
        asked = self.session.precision.name
        return self.candidate.keeps_dtype or np.asarray(mine).dtype == asked

    def _right(self, quantity: str, mine: Any) -> bool:
        theirs = self.expected[quantity]
        if mine is None or np.shape(mine) != np.shape(theirs) or not self._dtype_is_right(mine):
            return False
        tolerance = self.outcome.tolerances.get(self.outcome.key(quantity), 0.0)
        if np.shape(tolerance) not in ((), np.shape(theirs)):
            tolerance = 0.0
        error = np.where(np.isinf(tolerance), 0.0, np.abs(as_float(mine) - theirs))
        close = CLOSE if self.session.precision.name == "float64" else 1e-6
        room = tolerance + close * np.abs(theirs).max(initial=0.0)
        alike = np.isfinite(as_float(mine)) == np.isfinite(theirs)
        alike |= self.outcome.unjudged.get(quantity, False)
        if not (alike & (error <= room)).all():
            return False
        before = self.outcome.pair(quantity)
        if quantity not in self.bad or before is None:
            return True
        gap = np.abs(as_float(before[0]) - before[1]).max(initial=0.0)
        return bool(error.max(initial=0.0) * SHARPER <= gap) or not np.isfinite(gap)
