"""Run a whole comparison: from a configuration to a Report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compare.commands.runner import Progress, Runner
from compare.errors import UserError
from compare.report.report import Report, with_notes

if TYPE_CHECKING:
    import torch

    from compare.description.config import Config

__all__ = ["run"]


def run(
    config: str | Path | Config | torch.nn.Module, *, plant: str | None = None,
    against: str | Path | Sequence[str | Path] | None = None, progress: Progress | None = None,
    **overrides: Any,
) -> Report:  # fmt: skip
    """Train both sides in lockstep, compare everything, and return the Report.

    Args:
        config: a preset's name, the path of a TOML file, or a `Config`. A torch.nn.Module is
            mirrored: the arguments are those of `compare.mirror` then.
        plant: a mistake to plant in the hand-written side, such as `"2.weight.grad*=1.01"`.
        against: another torch, to run the same steps: the path of another Python interpreter (with
            torch and numpy), or this one under another condition: `compile` (or
            `compile:BACKEND`), `threads=N`, `deterministic`, `mkldnn=off`, `env:NAME=VALUE`;
            several in a list hold together. The report's `against` says which torch moved.
        progress: called as `progress(what, done, total)` after each step.
        overrides: settings by dotted key with `.` written `__`: `train__steps=50`,
            `optimizer__lr=0.05`; the short names `steps`, `epochs`, `dtype`, `seed`, `mode`,
            `batch_size`, `device`, `threads` and `gauge_every`, `tolerance`, `torch_layers` (names
            of layers that torch computes on both sides, or `["all"]`) work as well.

    Raises:
        UserError: the configuration, the data or the planted mistake cannot be used.

    >>> report = run("three-rows", steps=3)
    >>> report.verdict
    'agree'
    """
    import torch

    from compare.description.config import dotted, load

    if isinstance(config, torch.nn.Module):
        from compare.commands.mirror import mirror

        if against is not None:
            raise UserError("against: a mirrored model runs in this torch alone.")
        return mirror(config, progress=progress, **overrides)
    return compared(load(config, dotted(overrides)), plant, progress, against=against)


def compared(
    config: Config, plant: str | None = None, progress: Progress | None = None,
    runner: type[Runner] = Runner,
    against: str | Path | Sequence[str | Path] | None = None,
) -> Report:  # fmt: skip
    """Run what a configuration describes; torch's generator and threads stay as they were."""
    from compare.commands.parallel_runner import run_workers
    from compare.running.experiment import prepare
    from compare.running.process import at_work

    tell = progress or (lambda *_: None)
    with at_work(config.train.threads, config.train.device) as undetermined:
        if config.parallel is not None:
            if against is not None:
                raise UserError("against: workers run in this torch alone.")
            return run_workers(config, plant, tell)
        experiment = prepare(config, mistake=plant)
        if against is None:
            return with_notes(runner(experiment, tell).run(), undetermined)
        from compare.commands.against import against as beside

        with beside(experiment, against, tell) as paired:
            return with_notes(paired.run(), undetermined)
