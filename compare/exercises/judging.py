"""Judge a submission by the checker, with the solution's rounding error as the tolerance."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.checking.candidates import Candidate, FunctionPair
from compare.checking.inputs import Inputs, fresh, specify
from compare.checking.loading import load_file
from compare.checking.named_cause import cause
from compare.checking.reference import TorchReference
from compare.checking.session import Session
from compare.checking.tolerance import PRECISIONS, Judged, candidate_errors
from compare.errors import UserError
from compare.exercises.definition import Exercise
from compare.exercises.grade import OTHER_FORMULA, Tensor
from compare.exercises.mistakes import known_mistake
from compare.judge import AGREE

if TYPE_CHECKING:
    from compare.checking.outcome import Outcome
    from compare.report import Report

KNOWN, UNCHANGED = "known mistake", "arguments unchanged"
HOW = (
    "E of the exercise's own solution on error-gauge arrays, at least "
    f"{OTHER_FORMULA:g} roundings of the tensor's largest element"
)


class SolutionErrors:
    """The rounding error that a right answer may have: never measured on the submission itself.

    A gradient by finite differences has a large spread, and would widen its own tolerance.
    """

    def __init__(self, solution: Candidate) -> None:
        self.solution = solution

    def __call__(
        self, _: Candidate, values: Inputs, upstreams: Sequence[Any], rng: np.random.Generator
    ) -> Judged:
        try:
            outputs = self.solution.start(fresh(values)).outputs
            if [np.shape(y) for y in outputs] != [np.shape(dy) for dy in upstreams]:
                return Judged({}, HOW)  # forward was changed: nothing can be right
            errors = candidate_errors("float64", self.solution, values, upstreams, rng).errors
            found = self.solution.run(fresh(values), list(upstreams)).named()
        except Exception as error:
            raise UserError(f"its solution fails: {type(error).__name__}: {error}") from error
        return Judged({q: np.maximum(e, _least(found[q])) for q, e in errors.items()}, HOW)


def _least(value: Any) -> float:
    sizes = np.abs(np.nan_to_num(np.asarray(value, float), nan=0.0, posinf=0.0, neginf=0.0))
    return OTHER_FORMULA * float(np.max(sizes, initial=0.0))


def session_of(exercise: Exercise, candidate: Candidate, seed: int) -> Session:
    """Return the check of a candidate against the exercise's reference."""
    about = exercise.about
    specification = specify(exercise.inputs, about.no_grad)
    function = function_of(exercise, "reference.py", about.reference)
    reference = TorchReference(function, specification.names, specification.differentiable)
    return Session(
        candidate, specification, reference, PRECISIONS["float64"],
        SolutionErrors(solution_of(exercise)), seed,
        structural_zeros=about.structural_zeros, shrink=False,
    )  # fmt: skip


def solution_of(exercise: Exercise) -> FunctionPair:
    """Return the exercise's solution as a candidate in this process."""
    forward, backward = (
        function_of(exercise, "solution.py", name)
        for name in (exercise.about.forward, exercise.about.backward)
    )
    specification = specify(exercise.inputs, exercise.about.no_grad)
    return FunctionPair(forward, backward, specification.names, specification.differentiable)


def function_of(exercise: Exercise, file: str, name: str) -> Any:
    """Return a function of one of the exercise's own files.

    Raises:
        UserError: there is none of that name.
    """
    found = getattr(load_file(exercise.folder / file), name, None)
    if not callable(found):
        raise UserError(
            f"{exercise.folder / file} has no function '{name}', which exercise.toml names."
        )
    return found


def tensors_of(session: Session, report: Report, exercise: Exercise) -> list[Tensor]:
    """Return every gradient, in the order of the inputs, and after them whatever else is wrong."""
    run = [o for o in session.outcomes if o.rows is not None]
    broken = {p.quantity: p.text for p in session.contract.promises if not p.kept}
    tensors = [
        _tensor(session, run, f"grad:{name}", broken.pop(f"repeated:{name}", ""), exercise)
        for name in exercise.gradients
    ]
    others = dict.fromkeys(
        q for o in run if not o.crashed for q in o.bad if not q.startswith("grad:")
    )
    tensors += [_tensor(session, run, q, "", exercise) for q in others]
    if broken:  # one mistake, however many arrays it reaches
        text = next(iter(broken.values()))
        tensors.append(Tensor(UNCHANGED, False, "", text, text, "purity"))
    if not report.agrees and all(t.right for t in tensors):
        tensors.append(Tensor("verdict", False, "", report.reason, report.reason))
    return tensors


def _tensor(
    session: Session, run: list[Outcome], quantity: str, repeated: str, exercise: Exercise
) -> Tensor:
    bad = [o for o in run if quantity in o.bad]
    hint = exercise.about.index_form.get(quantity.removeprefix("grad:"), "")
    if not bad:
        real = _seen(session, run, quantity)
        text = repeated or ("" if real else "it was zero throughout, and so not really checked")
        return Tensor(quantity, not text, "", text, text, "purity" if repeated else "", hint)
    named = [o.case.name for o in bad]
    where = f"in {len(bad)} of {len(run)} cases"
    if len(bad) == len(run):
        where = "in every case"
    elif len(bad) <= 3:
        where = f"in the case{'s' if len(bad) > 1 else ''} {', '.join(named)} only"
    kind, said = _cause(session, bad, quantity, exercise)
    return Tensor(quantity, False, where, _told(bad[0], quantity), said, kind, hint)


def _cause(
    session: Session, bad: list[Outcome], quantity: str, exercise: Exercise
) -> tuple[str, str]:
    """Return what explains a difference, and its kind: a known mistake, or the checker's cause."""
    found = next((c for o in bad if (c := cause(session, o, quantity))), None)
    known = known_mistake(exercise, bad[0], quantity)
    if known:
        return found.kind if found else KNOWN, f"{KNOWN}: {known}"
    return (found.kind, str(found)) if found else ("", _without_cause(bad[0], quantity))


def _seen(session: Session, run: list[Outcome], quantity: str) -> bool:
    """Return whether zeros would have been noticed in some case."""
    name = quantity.removeprefix("grad:")
    if name in session.structural_zeros:
        return True
    return any(
        verdict == AGREE
        for o in run if o.rows is not None
        for key, verdict in zip(o.rows.keys, o.rows.verdicts, strict=True)
        if key.quantity == quantity
    )  # fmt: skip


def _told(outcome: Outcome, quantity: str) -> str:
    """Return what is wrong, in numbers: the shape, or one element, in one case."""
    remark = outcome.remarks.get(quantity, "")
    mine, theirs = outcome.manual.get(quantity), outcome.expected.get(quantity)
    if mine is None or theirs is None:
        return f"in the case '{outcome.case.name}' {_clean(remark) or 'it is missing'}"
    if mine.shape != theirs.shape:
        return f"its shape is {mine.shape}, and should be {theirs.shape}"
    if not np.isfinite(mine).all():
        return f"it is not finite in the case '{outcome.case.name}'"
    at = np.unravel_index(int(np.argmax(np.abs(mine - theirs))), mine.shape) if mine.ndim else ()
    place = f"[{', '.join(map(str, at))}]" if at else ""
    told = f"in the case '{outcome.case.name}' element {place or '()'} is {mine[at]:.6g}"
    return f"{told}, and should be {theirs[at]:.6g}{'; ' if remark else ''}{_clean(remark)}"


def _without_cause(outcome: Outcome, quantity: str) -> str:
    remark = _clean(outcome.remarks.get(quantity, ""))
    mine, theirs = outcome.manual.get(quantity), outcome.expected.get(quantity)
    if mine is not None and theirs is not None and mine.shape != theirs.shape:
        return f"shape: {_told(outcome, quantity)}. A gradient has the shape of its input."
    return remark or (
        "no known mistake fits these numbers: compare your derivation with the index form, one "
        "factor at a time."
    )


def crash_of(session: Session) -> str:
    """Return the first exception of the submission's in a case that we made up; else nothing."""
    return next((_clean(o.crashed) for o in session.outcomes if o.crashed), "")


def _clean(text: str) -> str:
    """Drop the grader's own lines from a message about the submission."""
    return re.sub(r" \(line \d+ of [^()]*exercises[^()]*\.py: [^)]*\)+", "", text)
