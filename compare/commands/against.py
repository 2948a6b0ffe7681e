"""A run with two torches: the other one runs each step too, and the verdict takes both."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compare.commands.runner import Progress, Runner
from compare.errors import UserError
from compare.report.against import Against, Moves
from compare.report.rendering.against import reason
from compare.running.against.condition import Condition, parse
from compare.running.against.lockstep import OtherLockstep
from compare.running.against.process import OtherProcess
from compare.running.against.side import OtherSide
from compare.running.refusal import TorchRefusedError
from torch_ref.facts import facts

if TYPE_CHECKING:
    import numpy as np

    from compare.report.report import Report
    from compare.running.experiment import Experiment
    from compare.running.lockstep import Lockstep, Step

__all__ = ["AgainstRunner", "against"]


@contextmanager
def against(
    experiment: Experiment, other: str | Path | Sequence[str | Path], progress: Progress
) -> Iterator[AgainstRunner]:
    """Give the runner of an experiment against another torch, whose process ends with it.

    Raises:
        UserError: the other torch is none, cannot run, or the run is of a kind without it.
    """
    condition = parse(other)
    _refuse(experiment)
    with OtherProcess(condition) as process:
        try:
            threads = experiment.config.train.threads
            side = OtherSide(process, condition, experiment.torch, threads)
        except TorchRefusedError as error:
            version = process.versions["torch"]
            raise UserError(f"--against {condition.text} (torch {version}): {error}.") from None
        yield AgainstRunner(experiment, progress, condition, side)


def _refuse(experiment: Experiment) -> None:
    """Refuse runs in which two torches cannot be told apart."""
    if experiment.config.train.mode == "free":
        raise UserError(
            "--against compares step by step, and a free run has one step that is judged. Leave "
            "--mode free out, or ask for the drift beside it: --set compare.drift=true."
        )
    if experiment.config.train.half:
        raise UserError(
            f"--against compares in float64 or float32; in {experiment.config.train.dtype} what a "
            "layer is judged by depends on what torch had there. Use another --dtype."
        )
    if experiment.torch_layers:
        raise UserError(
            "--against holds two torches against the hand-written side, which --torch-layers "
            "replaces by this torch in part. Give one of the two."
        )


class AgainstRunner(Runner):
    """Runs every step a second time, by the other torch, from where this one started."""

    def __init__(
        self, experiment: Experiment, progress: Progress, condition: Condition, side: OtherSide
    ) -> None:
        super().__init__(experiment, progress)
        self.condition, self.side = condition, side
        self.other = OtherRunner(replace(experiment, torch=side), lambda *_: None)  # type: ignore[arg-type]

    def in_lockstep(self) -> Lockstep:
        lockstep = super().in_lockstep()
        self.other.lockstep = OtherLockstep(self.other.experiment, lockstep)
        return lockstep

    def beside(self, lockstep: Lockstep, step: Step, batch: np.ndarray, sampled: int) -> None:
        """Let the other torch run the same step; once it refuses, this one goes on alone."""
        if self.other.refusal:
            return
        self.other.beside_step = step
        try:
            self.other.one_step(self.other.lockstep, step.number, batch, sampled)
        except TorchRefusedError as error:
            self._refused_there(error)

    def _refused_there(self, error: TorchRefusedError) -> None:
        """Keep what it has done: it may end while the cause of what it disagrees in is found."""
        self.other.refusal = str(error)
        if not self.other.done:
            raise UserError(
                f"--against {self.condition.text}: the other torch cannot do the first step: "
                f"{error}. Nothing was compared."
            ) from None

    def _here(self) -> dict[str, str]:
        """Return what the environment variables are here that the other torch has otherwise."""
        return {name: os.environ[name] for name, _ in self.condition.env if name in os.environ}

    def _report(self, planned: int, environment: dict) -> Report:
        this = super()._report(planned, environment)
        self.other.interrupted, self.other.failed = self.interrupted, self.failed
        that = self.other._report(planned, environment)
        found = Against(
            self.condition.text,
            facts() | self._here(),
            self.side.facts | dict(self.condition.env),
            this,
            that,
            self.other.moves.frame(),
        )
        both = {this.verdict, that.verdict}
        verdict = next(v for v in ("disagree", "incomplete", "agree") if v in both)
        return replace(
            this, verdict=verdict, reason=reason(found), against=found,
            attachments=this.attachments | {"against.csv": _csv(found)},
        )  # fmt: skip


class OtherRunner(Runner):
    """Keeps what the other torch's steps showed."""

    lockstep: OtherLockstep
    beside_step: Step

    def __init__(self, experiment: Experiment, progress: Progress) -> None:
        super().__init__(experiment, progress)
        self.moves = Moves()

    def picture(self, step: Step, *, ulps: bool) -> None:
        """Compare the two torches, before anything is asked that the other one may refuse."""
        this = self.beside_step
        self.done = step.number + 1
        self.moves.add(step.number, this.rows, this.torch, step.torch, this.tolerances)


def _csv(found: Against) -> bytes:
    return found.frame.to_csv(index=False, na_rep="nan", lineterminator="\n").encode()
