"""Judge a submission by the checker, with the solution's rounding error as the tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.commands.check.session import Session
from compare.errors import UserError
from compare.judge.judge import AGREE
from compare.judge.verdict import Verdict
from compare.pair.candidates import Candidate, FunctionPair
from compare.pair.inputs import Inputs, fresh, specify
from compare.pair.loading import load_file
from compare.pair.reference import TorchReference
from compare.pair.tolerance import PRECISIONS, Judged, candidate_errors
from teach.exercises.definition import Exercise
from teach.exercises.telling import Told, clean
from teach.exercises.tensor import Tensor

if TYPE_CHECKING:
    from compare.running.cases.outcome import Outcome

OTHER_FORMULA = 16.0  # roundings of a tensor's largest element: another order of operations

UNCHANGED = "arguments unchanged"
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

    def __call__(self, _: Candidate, values: Inputs, upstreams: Sequence[Any]) -> Judged:
        try:
            outputs = self.solution.start(fresh(values)).outputs
            if [np.shape(y) for y in outputs] != [np.shape(dy) for dy in upstreams]:
                return Judged({}, HOW)  # forward was changed: nothing can be right
            errors = candidate_errors("float64", self.solution, values, upstreams).errors
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
    session = Session(
        candidate, specification, reference, PRECISIONS["float64"],
        SolutionErrors(solution_of(exercise)), seed,
        structural_zeros=about.structural_zeros, shrink=False,
    )  # fmt: skip
    session.cases.keep_tied()  # a stub that says wh (H, H) means it
    return session


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


def tensors_of(session: Session, exercise: Exercise, verdict: Verdict) -> list[Tensor]:
    """Return every gradient, in the order of the inputs, and after them whatever else is wrong."""
    run = [o for o in session.outcomes if o.rows is not None]
    broken = {p.quantity: p.text for p in session.contract.promises if not p.kept}
    repeated = {q: broken.pop(q) for q in list(broken) if q.startswith("repeated:")}
    if broken:  # the second call had other arguments: that is told already
        repeated = {}
    tensors = [
        _tensor(Told(session, run, exercise), f"grad:{n}", repeated.get(f"repeated:{n}", ""))
        for n in exercise.gradients
    ]
    others = dict.fromkeys(
        q for o in run if not o.crashed for q in o.bad if not q.startswith("grad:")
    )
    tensors += [_tensor(Told(session, run, exercise), q, "") for q in others]
    if broken:  # one mistake, however many arrays it reaches
        names = " and ".join(q.removeprefix("unchanged:") for q in broken).replace(
            "upstream gradient", "the upstream gradient"
        )
        text = next(iter(broken.values()))
        where = f"because {names} {'is' if len(broken) == 1 else 'are'} changed in place"
        tensors.append(Tensor(UNCHANGED, False, where, text, text, "purity"))
    if not verdict.agrees and all(t.right for t in tensors):
        tensors.append(Tensor("verdict", False, "", verdict.reason, verdict.reason))
    return tensors


def _tensor(told: Told, quantity: str, repeated: str) -> Tensor:
    bad = told.bad(quantity)
    hint = told.exercise.about.index_form.get(quantity.removeprefix("grad:"), "")
    if not bad:
        if repeated:
            return Tensor(quantity, False, "when called again", repeated, repeated, "purity", hint)
        real = _seen(told.session, told.run, quantity)
        text = "" if real else "it was zero throughout, and so not really checked"
        return Tensor(quantity, not text, "", text, text, "", hint)
    numbers = told.numbers(quantity)
    if repeated:
        return Tensor(quantity, False, told.where(quantity), numbers, repeated, "purity", hint)
    kind, said = told.cause(quantity)
    return Tensor(quantity, False, told.where(quantity), numbers, said, kind, hint)


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


def crash_of(session: Session) -> str:
    """Return the first exception of the submission's in a case that we made up; else nothing."""
    return next((clean(o.crashed) for o in session.outcomes if o.crashed), "")
