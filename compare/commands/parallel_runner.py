"""The steps of a run on several workers, and its Report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from compare.commands.runner import Progress, Runner
from compare.report.report import Report

if TYPE_CHECKING:
    from compare.description.config import Config
    from compare.diagnose.divergence import Divergence

__all__ = ["ParallelRunner", "run_workers"]


def run_workers(config: Config, mistake: str | None, progress: Progress) -> Report:
    """Run both sides' workers in lockstep, and return the Report."""
    from compare.running.parallel.experiment import prepared

    with prepared(config, mistake=mistake) as experiment:
        return ParallelRunner(experiment, progress).run()


class ParallelRunner(Runner):
    """Runs the steps of several workers; they do not drift, being compared step by step alone."""

    works = asks = False

    def in_lockstep(self) -> Any:
        from compare.running.parallel.lockstep import ParallelLockstep

        return ParallelLockstep(self.experiment)

    def first_divergence(self, lockstep: Any, step: Any) -> Divergence | None:
        """Say which mistake in what workers exchange gives this very step, if one does."""
        from compare.diagnose.workers import workers_cause

        found = super().first_divergence(lockstep, step)
        cause = workers_cause(self.experiment, lockstep.start, step)  # type: ignore[arg-type]
        if found is None or cause is None:
            return found
        text = "This step is what the workers compute with one known mistake in what they exchange."
        return replace(found, cause=cause, own_or_inherited="own", explanation=text)

    def _report(self, planned: int, environment: dict) -> Report:
        report = super()._report(planned, environment)
        return replace(report, notes=(*report.notes, *self._notes()))

    def _notes(self) -> list[str]:
        plan: Any = self.experiment.plan  # type: ignore[attr-defined]
        shards = ", ".join(str(sum(sizes)) for sizes in plan.shards)
        micro = f", in {plan.micro_batches} micro-batches" if plan.micro_batches > 1 else ""
        weighed = ", their losses weighed as one process would" if plan.whole_batch else ""
        notes = [
            f"{plan.workers} workers, with {shards} rows in each step{micro}{weighed}; torch's run "
            f"DistributedDataParallel over gloo. Gradients: their {plan.reduce}. A worker's own "
            "gradient is `grad`, what all agree on `reduced`; the loss is the workers' sum."
        ]
        if plan.sharded_states:
            notes.append(
                "Each worker keeps the optimiser's state of its share alone (torch: "
                "ZeroRedundancyOptimizer)."
            )
        if any(layer.type == "SyncBatchNorm" for layer in self.config.layers):
            notes.append(
                "torch.nn.SyncBatchNorm does not run on a CPU: its sums were taken by torch's "
                "all_reduce, through which autograd differentiates."
            )
        return notes

    def _free(self, steps: int) -> None:
        """Nothing runs free."""
