"""One comparison: steps, then drift, then the Report."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.description.data.dataset import named
from compare.diagnose.divergence import Divergence
from compare.errors import UserError
from compare.gauge import FORMATS, K
from compare.judge.verdict import Verdict, decided
from compare.report.report import NodeInfo, Report
from compare.running.refusal import TorchRefusedError
from compare.running.verdict import RunEvidence, refuse_unknown_zeros

if TYPE_CHECKING:
    from compare.explaining.worked import Worked
    from compare.running.alone import Moment
    from compare.running.experiment import Experiment
    from compare.running.lockstep import Lockstep, Step

SHOWN = 3  # pieces that are named
Progress = Callable[[str, int, int], None]  # what, done, of how many


class Runner:
    """One run: steps, then drift, then the Report. Ctrl-C keeps what was done so far."""

    works = True  # whether the worst element of each row is asked for, where it can be worked

    def __init__(self, experiment: Experiment, progress: Progress) -> None:
        from compare.judge import kills
        from compare.report.findings import Findings

        self.experiment, self.progress = experiment, progress
        self.config = experiment.config
        self.findings = Findings()
        self.divergence: Divergence | None = None
        self.drift: Any = None
        self.kills: Any = kills.empty()
        self.worked: tuple[Worked, ...] = ()
        self.done = 0
        self.failed = False  # the hand-written side raised
        self.interrupted = False
        self.refusal = ""  # why torch could not go on
        self.notes: tuple[str, ...] = ()
        self.shortfall = ""  # why agreement would say nothing
        self.inaccurate: dict[str, None] = {}  # torch's pieces that lost digits
        self.inaccurate_rows = 0  # what cannot be judged because of them

    def run(self) -> Report:
        from compare.report.environment import environment

        planned, train = self.compare(), self.config.train
        return self._report(planned, environment(train.device, train.threads, train.seed))

    def compare(self) -> int:
        """Do all steps, as far as they go; return how many were planned."""
        train = self.config.train
        planned = self.experiment.steps
        free = train.mode == "free"
        try:
            with np.errstate(all="ignore"):
                self._lockstep(1 if free else planned)
            if (free or self.config.compare.drift) and not self.failed:
                asked = self.config.compare.drift
                self._free(planned if free or asked is True else asked)
                self.done = planned if free else self.done
        except KeyboardInterrupt:
            self.interrupted = True
        except TorchRefusedError as refused:
            self._refused(refused)
        return planned

    def in_lockstep(self) -> Lockstep:
        """Return what runs the steps."""
        from compare.running.half import lockstep_of

        return lockstep_of(self.experiment)

    def first_divergence(self, lockstep: Lockstep, step: Any) -> Divergence | None:
        """Return where the sides part first in a step, and whose mistake it is."""
        from compare.diagnose.locate import first_divergence

        return first_divergence(self.experiment, lockstep.start, step)  # type: ignore[arg-type]

    def _refused(self, refused: Exception) -> None:
        """Keep what was compared; a free run's drift is lost.

        Raises:
            UserError: nothing was.
        """
        self.refusal = str(refused)
        if not self.done:
            raise UserError(
                f"Torch cannot do the first step: {refused}. Nothing was compared. Are weights, "
                f"learning rate and data in the range of {self.config.train.dtype}, and the "
                "targets what the loss takes?"
            ) from refused

    def _lockstep(self, steps: int) -> None:
        lockstep = self.in_lockstep()
        sampled = max(1, steps // 20)
        for number, batch in zip(range(steps), self.experiment.batches(), strict=False):
            step = self.one_step(lockstep, number, batch, sampled)
            self.beside(lockstep, step, batch, sampled)
            del step  # it is large, and the next one makes its own
            lockstep.resynchronise()
            self.done = number + 1
            self.progress("comparing", self.done, steps)

    def beside(self, lockstep: Lockstep, step: Step, batch: np.ndarray, sampled: int) -> None:
        """Do what else a step is for, before torch's next one overwrites its values."""

    def one_step(self, lockstep: Lockstep, number: int, batch: np.ndarray, sampled: int) -> Step:
        """Run, compare and judge one step, and keep what it showed."""
        from compare.explaining.rows import worked_rows
        from compare.running.alone import Moment

        step = lockstep.step(number, batch)
        self.experiment = lockstep.experiment
        self.failed |= step.failure is not None
        self.findings.losses.append((number, *step.losses))
        self.findings.kinks += [(number, layer, flips) for layer, flips in step.flips.items()]
        if number == 0:  # a thorough step: every element has its own tolerance
            refuse_unknown_zeros(step.rows.keys, self.config.compare.structural_zeros)
        self.picture(step, ulps=number % sampled == 0 and lockstep.of_one_format)
        moment = Moment.of(self.experiment, lockstep.start, step)  # type: ignore[arg-type]
        try:
            step, blamed = self._blame_torch(lockstep, moment, step)
        finally:
            self.findings.table.add(number, step.rows)
        diverged = self.divergence is None and step.rows.bad.size > 0 and not blamed
        if self.works and lockstep.works and (number == 0 or diverged):
            self.worked = worked_rows(self.experiment, lockstep, step)
        if diverged:
            self.divergence = self.first_divergence(lockstep, step)
        if lockstep.asks and number == 0:
            self._ask_asides(moment)
        self.notes, self.shortfall = lockstep.notes(), lockstep.shortfall()
        return step

    def picture(self, step: Step, *, ulps: bool) -> None:
        """Keep what a report shows beside its verdict: what would be noticed, and ulps."""
        from compare.judge import kills

        if step.number == 0:
            self.kills = kills.kill_rows(step)
        if ulps:
            compared = {k: step.manual[k] for k in step.rows.keys if k in step.manual}
            self.findings.count_ulps(compared, step.torch)

    def _blame_torch(self, lockstep: Lockstep, moment: Moment, step: Step) -> tuple[Step, bool]:
        """Judge a step with torch's numbers where torch lost digits; return whether that is all."""
        from compare.diagnose.excuses import examined
        from compare.diagnose.reference import reference_inaccurate
        from compare.judge.judge import DISAGREE
        from compare.running.adopted import judged_again, merged

        step = step._replace(rows=examined(moment, step))
        if not step.rows.bad.size:
            return step, False
        blamed = reference_inaccurate(moment, step.rows)
        self.inaccurate |= dict.fromkeys(blamed.names)
        explained = bool(blamed.names) and blamed.all
        if blamed.names and not self.config.train.half:  # there both sides meet at every value
            again = judged_again(lockstep, moment, step, blamed.names)
            rows = merged(step.rows, examined(moment, again), blamed.rows)
            step = step._replace(rows=rows)
            explained &= not np.isin(blamed.rows, rows.bad).any()
        self.inaccurate_rows += int(np.sum(step.rows.verdicts == DISAGREE)) if explained else 0
        return step, explained

    def _ask_asides(self, moment: Moment) -> None:
        """Compare what no training step asks, once."""
        from compare.diagnose.locate import aside_divergence
        from compare.running.asides import asides

        rows = asides(moment)
        self.findings.table.add(moment.number, rows)
        self.divergence = self.divergence or aside_divergence(moment, rows)

    def _inaccurate_text(self) -> str:
        """Return torch's pieces that lost digits, in words."""
        nodes = {node.name: node.layer for node in self.experiment.manual.graph.nodes}
        named = [
            f"'{name}' ({type(nodes.get(name, self.experiment.manual.loss)).__name__})"
            for name in self.inaccurate
        ]
        more = len(named) - SHOWN
        return ", ".join(named[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")

    def _free(self, steps: int) -> None:
        from compare.running.drift import free_run

        self.drift = free_run(
            self.experiment, steps, lambda done: self.progress("drifting", done, steps)
        )
        self.notes += (self.drift.note,) if self.drift.note else ()

    def verdict(self, planned: int) -> Verdict:
        """Return the verdict of what was compared, and why."""
        return decided(
            RunEvidence(
                self.findings.table, self.config, self.done, planned, self.interrupted,
                self.refusal, self.shortfall, self._torch_with_torch(),
                (self.inaccurate_rows, self._inaccurate_text()),
            )
        )  # fmt: skip

    def _report(self, planned: int, environment: dict) -> Report:
        compare, mistake = self.config.compare, self.experiment.mistake
        return self.findings.report(
            self.verdict(planned),
            self.divergence,
            self.drift,
            name=self.config.name,
            mode=self.config.train.mode,
            steps=self.done,
            planned_steps=planned,
            tolerance=tolerance_text(compare, self.config.train.dtype),
            notes=self.notes,
            overridden=compare.tolerance is not None or compare.k != K,
            interrupted=self.interrupted,
            planted=mistake.text if mistake else None,
            config=self.config.as_dict(),
            environment=environment,
            nodes=node_infos(self.experiment),
            initial_weights=self.experiment.weights,
            kills=self.kills,
            worked=self.worked,
            torch_layers=self.experiment.torch_layers,
            torch_with_torch=self._torch_with_torch(),
            planted_ran=mistake is None or mistake.runs_beside(self.experiment.torch_layers),
            provenance=self._provenance(),
        )

    def _provenance(self) -> dict[str, Any]:
        from compare.report.provenance import provenance

        found = named(self.experiment.features)
        several = {f"features.{name}": array for name, array in found.items()}
        features = several if len(found) > 1 else {"features": next(iter(found.values()))}
        data = features | {"targets": self.experiment.targets}
        weights = {f"weights.{name}": w for name, w in self.experiment.weights.items()}
        return provenance(code=["manual"], reference=["torch_ref"], data=data | weights)

    def _torch_with_torch(self) -> int:
        """Return how many rows compare torch with torch."""
        from compare.pair.hybrid import torch_on_both_sides

        graph, names = self.experiment.manual.graph, self.experiment.torch_layers
        if not names:
            return 0
        theirs = torch_on_both_sides(graph, names)
        frame = self.findings.table.frame()
        return sum(row in theirs for row in zip(frame["layer"], frame["quantity"], strict=True))


def tolerance_text(compare: Any, dtype: str = "float64") -> str:
    """Say in words how differences were judged."""
    if compare.tolerance is not None:
        rtol, atol = compare.tolerance
        return f"rtol = {rtol:g}, atol = {atol:g}, chosen by the user"
    if FORMATS[dtype].half:
        k = FORMATS[dtype].k if compare.k == K else compare.k
        return f"error gauge of {dtype} with K = {k:g}, element by element, every step"
    gauge = f"error gauge with K = {compare.k:g}, element by element"
    if compare.gauge_every == 1:
        return f"{gauge}, every step"
    return (
        f"{gauge}, every {compare.gauge_every} steps; between them each tensor against its typical "
        "tolerance, and gauged after all if it exceeds that"
    )


def node_infos(experiment: Experiment) -> tuple[NodeInfo, ...]:
    """Describe every node on both sides."""
    from compare.pair.sources import derivation_of
    from compare.witness.record import certified_digits

    modules = experiment.torch.network.modules_by_node
    return tuple(
        NodeInfo(
            node.name,
            repr(node.layer).partition("(")[0],
            tuple(source for source in node.inputs if source is not None),
            repr(node.layer),
            repr(modules[node.name]),
            derivation_of(node.layer),
            certified_digits().get(type(node.layer).__name__),
        )
        for node in experiment.manual.graph.nodes
    )
