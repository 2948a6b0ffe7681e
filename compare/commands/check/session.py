"""One check from its first case to its report."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.errors import UserError
from compare.gauge import Format
from compare.pair.budget import Budget
from compare.pair.candidates import Candidate
from compare.pair.inputs import Inputs, Specification, as_float, fresh
from compare.pair.own_forward import OwnForward
from compare.running.cases.cases import Case, Cases
from compare.running.cases.contract import Contract, examine
from compare.running.cases.evaluate import Evaluator
from compare.running.cases.outcome import Outcome, quiet

if TYPE_CHECKING:
    from compare.judge.verdict import Verdict
    from compare.report.report import Report


class Session:
    """Runs the cases of one check and makes its report."""

    def __init__(
        self,
        candidate: Candidate,
        specification: Specification,
        reference: Any,
        precision: Format,
        errors: Callable,
        seed: int,
        *,
        structural_zeros: Collection[str] = (),
        only: Collection[str] | None = None,
        shrink: bool = True,
        purity: str = "note",
        resize: bool | None = None,
        upstream: Any = None,
        rtol: float | None = None,
        device: str = "cpu",
        backward_may_fail: bool = False,
        budget: Budget | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.candidate, self.specification, self.reference = candidate, specification, reference
        self.precision, self.seed, self.only, self.device = precision, seed, only, device
        self.budget, self.progress = budget or Budget(), progress or (lambda *_: None)
        self.hurried: dict[str, int] = {}  # cases judged more cheaply: along how many directions
        self.left_out: list[str] = []  # cases that there was no time for
        self.structural_zeros, self.shrink, self.purity = structural_zeros, shrink, purity
        if purity not in ("note", "fail"):
            raise UserError(f"purity '{purity}' is not known: breaches of style are note or fail.")
        if rtol is not None and not 0 < rtol < 1:
            raise UserError(
                f"rtol {rtol:g} must lie between 0 and 1: it is a part of each element, and with 1 "
                "zeros would pass for any gradient."
            )
        self.rtol = rtol
        self.evaluator = Evaluator(
            candidate, reference, precision, errors, seed, upstream=upstream, rtol=rtol or 0.0,
            backward_may_fail=backward_may_fail,
        )  # fmt: skip
        large = min(1e3, _root(1 / precision.tiny))
        tiny = max(1e-6, 1 / _root(1 / precision.tiny))
        fixed = candidate.own_sizes() if resize is None else set()
        self.fixed = fixed  # lengths that the candidate was made for
        self.single = self._single_axes()
        self.cases = Cases(
            specification, self._accepts, seed, (large, tiny), fixed, resize=resize is not False
        )
        self.outcomes: list[Outcome] = []
        self.contract = Contract([], [])
        self.unfit = ""  # why nothing can be compared
        self.blamed = ""  # why the reference is wrong, not the candidate

    def report(self) -> Report:
        """Run everything; return the report."""
        from compare.commands.check.assemble import assemble

        self.run()
        return assemble(self)

    def verdict(self) -> Verdict:
        """Run everything; return the verdict alone, without a report's tables."""
        from compare.commands.check.verdict import settled

        self.run()
        return settled(self)

    def run(self) -> None:
        """Run every case."""
        self.unfit = self._unfit()
        cases = [] if self.unfit else self._chosen()
        for number, case in enumerate(cases):
            if number and self.budget.gone:
                self.left_out = [c.name for c in cases[number:]]
                break
            self.budget.begin_case()
            self.outcomes.append(self.evaluator.judge(case, number))
            if self.budget.directions or self.budget.hurried:
                self.hurried[case.name] = self.budget.directions
            self.progress("checking", number + 1, len(cases))
            if self.outcomes[-1].crashed and case.own:
                break  # there is nothing to learn from the other cases
            if case.own:
                self._examine(self.outcomes[-1])

    def _chosen(self) -> list[Case]:
        cases = list(self.cases.all())
        if self.only is None:
            return cases
        wanted = tuple(p for p in self.only if p[:1] != "-") or ("",)
        without = tuple(p[1:] for p in self.only if p[:1] == "-")
        chosen = [
            case
            for case in cases
            if case.name.startswith(wanted) and not case.name.startswith(without)
        ]
        if not chosen:
            names = ", ".join(case.name for case in cases)
            raise UserError(f"No case begins with {' or '.join(self.only)}. Cases: {names}.")
        return chosen

    def _examine(self, outcome: Outcome) -> None:
        """Test the promises of backward on the user's own inputs."""
        with quiet():
            started = self.candidate.start(self.evaluator.run_values(outcome))
            dys = self.evaluator.cast_upstreams(outcome, started.outputs)
            found = examine(self.candidate, outcome.values, dys, self.evaluator.dtype)
        self.contract = found.strict(self.purity == "fail")

    def _unfit(self) -> str:
        """Say why numbers are not to be compared at all; empty if they are.

        A forward that draws numbers of its own gives others each time; of a reference that torch
        cannot differentiate, the gradient is not zero but unknown.
        """
        random = _differ_between_calls(lambda: self.candidate.start(fresh(self.cases.base)).outputs)
        if random is None:
            return ""  # told by the first case
        if random:
            return (
                f"{self.candidate.name} gives other outputs each time it is called with the same "
                "inputs: it draws random numbers (a mask, weights made at the first call). Give "
                "them as inputs, or seed them inside forward; nothing was compared."
            )
        own = isinstance(self.reference, OwnForward)
        if not own and _differ_between_calls(lambda: self.reference.forward(self.cases.base)):
            return (
                f"The reference {self.reference.name} gives other outputs each time it is called "
                "with the same inputs: it draws random numbers (dropout in training?). Put it in "
                "evaluation with .eval(), or seed it inside a function; nothing was compared."
            )
        reason = getattr(self.reference, "undifferentiable", None)
        with quiet():
            try:
                return reason(self.cases.base) if reason else ""
            except Exception:
                return ""

    def _single_axes(self) -> set[tuple[int, int]]:
        """Return the outputs' axes of length 1, if inputs have such axes: both may broadcast."""
        if not any(1 in shape for shape in self.specification.shapes.values()):
            return set()
        with quiet():
            try:
                started = self.candidate.start(self.specification.draw(np.random.default_rng(0)))
            except Exception:
                return set()
        shapes = enumerate(np.shape(y) for y in started.outputs)
        return {(k, axis) for k, shape in shapes for axis, n in enumerate(shape) if n == 1}

    def _accepts(self, values: Inputs) -> bool:
        """Tell whether forward runs on both sides, in these sizes, and not by broadcasting."""
        with quiet():
            try:
                if not isinstance(self.reference, OwnForward):
                    self.reference.forward(values)
                outputs = self.candidate.start(fresh(values)).outputs
                return all(np.shape(outputs[k])[axis] == 1 for k, axis in self.single)
            except Exception:
                return False


def _differ_between_calls(run: Callable[[], Any]) -> bool | None:
    """Return whether two calls give other outputs: random numbers are drawn; None if it raises."""
    with quiet():
        try:
            first, second = run(), run()
            return any(_unlike(a, b) for a, b in zip(first, second, strict=False))
        except Exception:
            return None


def _unlike(a: Any, b: Any) -> bool:
    """Return whether two results of the same call differ by more than threads may reorder."""
    a, b = as_float(a), as_float(b)
    if a.shape != b.shape:
        return True
    room = 1e-4 * np.max(np.abs(a), initial=0.0)
    return bool((np.abs(a - b) > room).any())


def _root(x: float) -> float:
    return float(2.0 ** np.floor(np.log2(x) / 4))
