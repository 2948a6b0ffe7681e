"""Run one case on both sides and judge it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from compare.errors import UserError
from compare.gauge import Format
from compare.judge.judge import MISSING, judge
from compare.judge.quantities import Key
from compare.pair.candidates import Candidate, Result, Started, called, described
from compare.pair.inputs import Inputs, as_float, fresh, representable, rounded
from compare.pair.own_forward import OwnForward
from compare.pair.tolerance import Judged
from compare.running.cases.cases import Case, laid_out, spread
from compare.running.cases.judging import Judge
from compare.running.cases.outcome import Outcome, quiet, shapes_text, unusable
from compare.running.cases.raised import located, one_line

FindErrors = Callable[[Candidate, Inputs, Sequence[np.ndarray]], Judged]


class Evaluator:
    """Runs and judges cases of one candidate against one reference.

    Args:
        candidate, reference: the two sides.
        precision: the dtype that the candidate runs in.
        errors: finds the candidate's rounding error.
        seed: where upstream gradients and perturbations come from.
        upstream: the user's own upstream gradient, for the user's own inputs; a tuple of several.
        rtol: how far an element may be off besides rounding, as a part of the reference's.
        backward_may_fail: whether a backward that raises on the user's own inputs is a finding;
            else they are unusable.
    """

    def __init__(
        self,
        candidate: Candidate,
        reference: Any,
        precision: Format,
        errors: FindErrors,
        seed: int,
        *,
        upstream: Any = None,
        rtol: float = 0.0,
        backward_may_fail: bool = False,
    ) -> None:
        self.candidate, self.reference = candidate, reference
        self.precision, self.seed, self.upstream = precision, seed, upstream
        self.backward_may_fail = backward_may_fail
        self.dtype = np.dtype("float64" if precision.half else precision.name)
        self.judging = Judge(candidate, reference, precision, errors, seed, rtol)

    def judge(
        self, case: Case, number: int, upstreams: Sequence[np.ndarray] | None = None
    ) -> Outcome:
        """Run and judge a case; its upstream gradients are drawn unless they are given.

        Raises:
            UserError: a forward pass fails on the user's own inputs.
        """
        outcome = Outcome(case, representable(case.values, self.precision.name))
        with quiet():
            try:
                outputs = self.reference.forward(outcome.values)
            except Exception as error:
                return self._refused(outcome, error)
            try:
                started = self._start(outcome, number, upstreams)
            except Exception as error:
                return self._failed(outcome, outputs, error)
            if case.resized and not any(dy.size for dy in outcome.upstreams):
                outcome.skipped = f"{called(self.candidate.forward_code)} returns nothing there"
                return outcome
            try:
                dys = self.cast_upstreams(outcome, started.outputs)
                result = Result(started.outputs, self.candidate.finish(dys, started))
            except Exception as error:
                return self._backward_failed(outcome, outputs, error)
            outcome.manual = {q: self._array(q, v) for q, v in result.named().items()}
            try:
                self._expect(outcome, outputs)
            except Exception as error:  # torch's own backward
                return self._refused(outcome, error)
            return self.judging.judged(outcome)

    def run_values(self, outcome: Outcome) -> Inputs:
        """Return copies of the inputs as the candidate gets them."""
        made = fresh(outcome.values, self.dtype)
        return {n: laid_out(v, outcome.case.layout) for n, v in made.items()}

    def cast_upstreams(self, outcome: Outcome, outputs: Sequence[Any]) -> list[np.ndarray]:
        """Return the upstream gradients in the outputs' dtypes."""
        pairs = zip(outcome.upstreams, outputs, strict=True)
        dys = [dy.astype(_float_dtype(y)) for dy, y in pairs]
        return [laid_out(dy, outcome.case.layout) for dy in dys]

    def _start(
        self, outcome: Outcome, number: int, upstreams: Sequence[np.ndarray] | None
    ) -> Started:
        """Run forward; draw the upstream gradients."""
        started = self.candidate.start(self.run_values(outcome))
        if upstreams is None and self.upstream is not None and outcome.case.own:
            upstreams = self._given(started.outputs)
        if upstreams is None:
            rng = np.random.default_rng([self.seed, 100 + number])
            wide = outcome.case.wide and not self.precision.half  # whose squares would overflow
            upstreams = [self._upstream(rng, np.shape(y), wide=wide) for y in started.outputs]
        outcome.upstreams = tuple(upstreams)
        return started

    def _given(self, outputs: Sequence[Any]) -> list[np.ndarray]:
        """Return the user's own upstream gradients, as the candidate's dtype can hold them.

        Raises:
            UserError: they do not fit the outputs.
        """
        upstream = self.upstream if isinstance(self.upstream, tuple) else (self.upstream,)
        if not self.candidate.takes_upstream:
            raise UserError("An upstream gradient was given, but backward takes none.")
        given = [as_float(dy.detach().cpu() if hasattr(dy, "detach") else dy) for dy in upstream]
        if [dy.shape for dy in given] != [np.shape(y) for y in outputs]:
            raise UserError(
                f"The upstream gradient has the shape {shapes_text(given)}, the output "
                f"{shapes_text(outputs)}: give one for each output, in its shape."
            )
        return [rounded(dy, self.precision.name) for dy in given]

    def _upstream(
        self, rng: np.random.Generator, shape: tuple[int, ...], *, wide: bool
    ) -> np.ndarray:
        """Return a random upstream gradient, never ones; 1 for a loss that takes none."""
        if not self.candidate.takes_upstream:
            return np.ones(shape)
        drawn = np.asarray(rng.standard_normal(shape)).astype(np.float32)
        if wide:
            drawn = spread(drawn, rng)
        return rounded(drawn.astype(np.float64), self.precision.name)

    def _array(self, quantity: str, value: Any) -> np.ndarray:
        """Return what the candidate gave as an array; refuse what holds no numbers."""
        try:
            array = np.asarray(value)
            as_float(array)
        except (ValueError, TypeError):
            code = self.candidate.backward_code
            if quantity.startswith("output"):
                code = self.candidate.forward_code
            raise UserError(
                f"{called(code)} returned {described(value)} as {quantity}: it must be an array of "
                "numbers."
            ) from None
        return array

    def _expect(self, outcome: Outcome, outputs: tuple[np.ndarray, ...]) -> None:
        """Ask the reference; outputs of other sizes leave gradients without a counterpart."""
        if [np.size(y) for y in outputs] == [dy.size for dy in outcome.upstreams]:
            grads = self.reference.run(outcome.values, outcome.upstreams).grads
        else:
            grads = {}
            outcome.remarks["output"] = (
                f"{self._other_shapes(outcome, outputs)}: gradients cannot be compared."
            )
        if isinstance(self.reference, OwnForward):
            outputs = ()
            outcome.manual = {q: v for q, v in outcome.manual.items() if q[:5] == "grad:"}
        outcome.expected = Result(outputs, grads).named()

    def _refused(self, outcome: Outcome, error: Exception) -> Outcome:
        own = isinstance(self.reference, OwnForward)
        who = called(self.candidate.forward_code) if own else self.reference.name
        if outcome.case.own or isinstance(error, UserError):
            raise unusable(who, outcome.values, error) from error
        return _skipped(outcome, who, error)

    def _failed(self, outcome: Outcome, outputs: tuple, error: Exception) -> Outcome:
        """Forward fails where the reference does not: everything that is owed is missing."""
        if outcome.case.own or isinstance(error, UserError):
            who = called(self.candidate.forward_code)
            raise unusable(who, outcome.values, error) from error
        name = self.candidate.name
        if self._may_refuse(outcome, error) or _pole(error, outputs):
            return _skipped(outcome, name, error)
        outcome.crashed, outcome.failing = located(error), name
        outcome.expected = (
            {} if isinstance(self.reference, OwnForward) else Result(outputs, {}).named()
        )
        shapes = {q: np.shape(y) for q, y in outcome.expected.items()}
        return self._owed(outcome, shapes, f"{name} fails here: {outcome.crashed}")

    def _backward_failed(self, outcome: Outcome, outputs: tuple, error: Exception) -> Outcome:
        """Backward fails after a forward pass that ran: every gradient is missing."""
        who = called(self.candidate.backward_code)
        refused = outcome.case.own and not self.backward_may_fail
        if refused or isinstance(error, UserError):
            raise unusable(who, outcome.values, error) from error
        if self._may_refuse(outcome, error) or _pole(error, self._everything(outcome)):
            return _skipped(outcome, who, error)
        outcome.crashed, outcome.failing = located(error), who
        remark = f"{who} fails here: {outcome.crashed}"
        if [np.size(y) for y in outputs] != [dy.size for dy in outcome.upstreams]:
            remark += f". {self._other_shapes(outcome, outputs)}"
        return self._owed(outcome, {}, remark)

    def _everything(self, outcome: Outcome) -> tuple:
        """Return the reference's outputs and gradients; nothing where it is forward itself."""
        if isinstance(self.reference, OwnForward):
            return ()
        try:
            return tuple(self.reference.run(outcome.values, outcome.upstreams).named().values())
        except Exception:
            return ()

    def _may_refuse(self, outcome: Outcome, error: Exception) -> bool:
        """Return whether the code need not work on inputs that were made up.

        An object has its own sizes; axes that the user gave equal lengths may have to be equal; a
        matrix may be singular.
        """
        case = outcome.case
        singular = isinstance(error, np.linalg.LinAlgError) and not case.own
        return singular or case.untied or (case.resized and self.candidate.sized)

    def _owed(self, outcome: Outcome, shapes: dict[str, tuple], remark: str) -> Outcome:
        """Call these quantities and every gradient missing."""
        shapes |= {f"grad:{n}": outcome.values[n].shape for n in self.candidate.differentiable}
        outcome.remarks = dict.fromkeys(shapes, remark)
        outcome.rows = missing([outcome.key(q) for q in shapes], list(shapes.values()))
        return outcome

    def _other_shapes(self, outcome: Outcome, outputs: tuple) -> str:
        return (
            f"{self.candidate.name} returns {shapes_text(outcome.upstreams)}, the reference "
            f"{shapes_text(outputs)}"
        )


def _pole(error: Exception, theirs: tuple) -> bool:
    """Return whether Python raises where NumPy and torch return what is not finite."""
    outside = isinstance(error, ArithmeticError) or "math domain" in str(error)
    return outside and any(not np.isfinite(y).all() for y in theirs)


def _skipped(outcome: Outcome, who: str, error: Exception) -> Outcome:
    outcome.skipped = f"{who} refuses it: {one_line(error)}"
    return outcome


def missing(keys: list[Key], shapes: list[tuple[int, ...]]) -> Any:
    """Return rows that all say `missing`."""
    rows = judge(keys, {}, {}, {})
    rows.verdicts[:] = MISSING
    return rows._replace(shapes=shapes)


def _float_dtype(value: Any) -> np.dtype:
    dtype = getattr(value, "dtype", None)
    return dtype if isinstance(dtype, np.dtype) and dtype.kind == "f" else np.dtype(np.float64)
