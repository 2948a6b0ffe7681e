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

    def in_lockstep(self) -> Any:
        from compare.running.parallel.lockstep import ParallelLockstep

        return ParallelLockstep(self.experiment)

    def first_divergence(self, lockstep: Any, step: Any) -> Divergence | None:
        """Say which mistake in what workers exchange gives this very step, if one does."""
        from compare.diagnose.workers import workers_cause

        found = super().first_divergence(lockstep, step)
        cause = workers_cause(self.experiment, lockstep.start, step)  # type: ignore[arg-type]
        if found is None:
            return None
        if self._plan.split:  # what is one value has a copy on every worker, which they move alone
            found = replace(found, witnesses=None)
        if step.number == 0 and (otherwise := lockstep.cut_otherwise()):
            told = replace(found, own_or_inherited="own", explanation=otherwise)
            return replace(told, cause=None, witnesses=None)
        if cause is None:
            return found
        text = "This step is what the workers compute with one known mistake in what they exchange."
        return replace(found, cause=cause, own_or_inherited="own", explanation=text, witnesses=None)

    @property
    def _plan(self) -> Any:
        return self.experiment.plan  # type: ignore[attr-defined]

    def _report(self, planned: int, environment: dict) -> Report:
        report = super()._report(planned, environment)
        return replace(report, notes=(*report.notes, *self._notes()))

    def _notes(self) -> list[str]:
        notes = [_of_shares(self._plan) if self._plan.split else _of_shards(self._plan)]
        if self._plan.sharded_states:
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


def _of_shards(plan: Any) -> str:
    """Say who had which rows, and what was compared."""
    shards = ", ".join(str(sum(sizes)) for sizes in plan.shards)
    micro = f", in {plan.micro_batches} micro-batches" if plan.micro_batches > 1 else ""
    weighed = ", their losses weighed to one process's" if plan.whole_batch else ""
    return (
        f"{plan.workers} workers, with {shards} rows in each step{micro}{weighed}; torch's run "
        f"DistributedDataParallel over gloo. `grad` is a worker's own gradient, `reduced` the "
        f"{plan.reduce} of all workers'; the loss is the sum of theirs."
    )


def _of_shares(plan: Any) -> str:
    """Say who had which part of which layer."""
    split = ", ".join(f"'{name}' by {how}" for name, how in plan.split.items())
    return (
        f"{plan.workers} workers, each with all {plan.rows} rows; they share {split}. Torch's run "
        "ColwiseParallel and RowwiseParallel over gloo. `@partial` is a worker's share before the "
        "sum, on torch's side worked out again by its matrix product; the loss is the sum of all "
        "workers' (the same) losses."
    )
