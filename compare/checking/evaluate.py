"""Run one case on both sides and judge it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from compare.checking.candidates import Candidate, Result
from compare.checking.cases import Case, strided
from compare.checking.inputs import Inputs, fresh, representable, rounded
from compare.checking.judging import Judge
from compare.checking.outcome import Outcome, located, one_line, quiet, shapes_text, unusable
from compare.checking.own_forward import OwnForward
from compare.checking.tolerance import Judged, Precision
from compare.errors import UserError
from compare.judge import MISSING, judge
from compare.quantities import Key

FindErrors = Callable[[Candidate, Inputs, Sequence[np.ndarray], np.random.Generator], Judged]


class Evaluator:
    """Runs and judges cases of one candidate against one reference.

    Args:
        candidate, reference: the two sides.
        precision: the dtype that the candidate runs in.
        errors: finds the candidate's rounding error.
        seed: where upstream gradients and perturbations come from.
    """

    def __init__(
        self,
        candidate: Candidate,
        reference: Any,
        precision: Precision,
        errors: FindErrors,
        seed: int,
    ) -> None:
        self.candidate, self.reference = candidate, reference
        self.precision, self.seed = precision, seed
        self.dtype = np.dtype(precision.name if precision.of_numpy else "float64")
        self.judging = Judge(candidate, reference, precision, errors, seed)

    def judge(
        self, case: Case, number: int, upstreams: Sequence[np.ndarray] | None = None
    ) -> Outcome:
        """Run and judge a case; its upstream gradients are drawn unless they are given.

        Raises:
            UserError: a side fails on the user's own inputs.
        """
        outcome = Outcome(case, representable(case.values, self.precision.name))
        with quiet():
            try:
                outputs = self.reference.forward(outcome.values)
            except Exception as error:
                return self._refused(outcome, error)
            try:
                result = self._run(outcome, number, upstreams)
            except Exception as error:
                return self._failed(outcome, outputs, error)
            outcome.manual = {q: np.asarray(v) for q, v in result.named().items()}
            self._expect(outcome, outputs)
            return self.judging.judged(outcome)

    def run_values(self, outcome: Outcome) -> Inputs:
        """Return copies of the inputs as the candidate gets them."""
        made = fresh(outcome.values, self.dtype)
        return {n: strided(v) for n, v in made.items()} if outcome.case.strided else made

    def cast_upstreams(self, outcome: Outcome, outputs: Sequence[Any]) -> list[np.ndarray]:
        """Return the upstream gradients in the outputs' dtypes."""
        pairs = zip(outcome.upstreams, outputs, strict=True)
        dys = [dy.astype(_float_dtype(y)) for dy, y in pairs]
        return [strided(dy) for dy in dys] if outcome.case.strided else dys

    def _run(self, outcome: Outcome, number: int, upstreams: Sequence[np.ndarray] | None) -> Result:
        started = self.candidate.start(self.run_values(outcome))
        if upstreams is None:
            rng = np.random.default_rng([self.seed, 100 + number])
            upstreams = [self._upstream(rng, np.shape(y)) for y in started.outputs]
        outcome.upstreams = tuple(upstreams)
        dys = self.cast_upstreams(outcome, started.outputs)
        return Result(started.outputs, self.candidate.finish(dys, started))

    def _upstream(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return a random upstream gradient, never ones; 1 for a loss that takes none."""
        if not self.candidate.takes_upstream:
            return np.ones(shape)
        drawn = np.asarray(rng.standard_normal(shape)).astype(np.float32)
        return rounded(drawn.astype(np.float64), self.precision.name)

    def _expect(self, outcome: Outcome, outputs: tuple[np.ndarray, ...]) -> None:
        """Ask the reference; outputs of other sizes leave gradients without a counterpart."""
        if [np.size(y) for y in outputs] == [dy.size for dy in outcome.upstreams]:
            grads = self.reference.run(outcome.values, outcome.upstreams).grads
        else:
            grads = {}
            outcome.remarks["output"] = (
                f"{self.candidate.name} returns {shapes_text(outcome.upstreams)}, the reference "
                f"{shapes_text(outputs)}: gradients cannot be compared."
            )
        if isinstance(self.reference, OwnForward):
            outputs = ()
            outcome.manual = {q: v for q, v in outcome.manual.items() if q[:5] == "grad:"}
        outcome.expected = Result(outputs, grads).named()

    def _refused(self, outcome: Outcome, error: Exception) -> Outcome:
        own = isinstance(self.reference, OwnForward)
        who = self.candidate.name if own else self.reference.name
        if outcome.case.own or isinstance(error, UserError):
            raise unusable(who, outcome.values, error) from error
        outcome.skipped = f"{who} refuses it: {one_line(error)}"
        return outcome

    def _failed(self, outcome: Outcome, outputs: tuple, error: Exception) -> Outcome:
        """The candidate fails where the reference does not: everything it owes is missing.

        Not so where the sizes may be to blame: an object has its own, and axes that the user gave
        equal lengths may have to be equal.
        """
        case, name = outcome.case, self.candidate.name
        if case.own or isinstance(error, UserError):
            raise unusable(name, outcome.values, error) from error
        if case.untied or (case.resized and self.candidate.sized):
            outcome.skipped = f"{name} refuses it: {one_line(error)}"
            return outcome
        outcome.crashed = located(error)
        outcome.expected = (
            {} if isinstance(self.reference, OwnForward) else Result(outputs, {}).named()
        )
        shapes = {outcome.key(q): np.shape(y) for q, y in outcome.expected.items()}
        shapes |= {
            outcome.key(f"grad:{n}"): outcome.values[n].shape for n in self.candidate.differentiable
        }
        outcome.remarks = {k.quantity: f"{name} fails here: {outcome.crashed}" for k in shapes}
        outcome.rows = missing(list(shapes), list(shapes.values()))
        return outcome


def missing(keys: list[Key], shapes: list[tuple[int, ...]]) -> Any:
    """Return rows that all say `missing`."""
    rows = judge(keys, {}, {}, {})
    rows.verdicts[:] = MISSING
    return rows._replace(shapes=shapes)


def _float_dtype(value: Any) -> np.dtype:
    dtype = getattr(value, "dtype", None)
    return dtype if isinstance(dtype, np.dtype) and dtype.kind == "f" else np.dtype(np.float64)
