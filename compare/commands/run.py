"""Run a whole comparison: from a configuration to a Report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from compare.commands.runner import Progress, Runner
from compare.report.report import Report

if TYPE_CHECKING:
    import torch

    from compare.description.config import Config

__all__ = ["run"]


def run(
    config: str | Path | Config | torch.nn.Module, *, plant: str | None = None,
    progress: Progress | None = None, **overrides: Any,
) -> Report:  # fmt: skip
    """Train both sides in lockstep, compare everything, and return the Report.

    Args:
        config: a preset's name, the path of a TOML file, or a `Config`. A torch.nn.Module is
            mirrored: the arguments are those of `compare.mirror` then.
        plant: a mistake to plant in the hand-written side, such as `"2.weight.grad*=1.01"`.
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
    from threadpoolctl import threadpool_limits

    from compare.commands.parallel_runner import run_workers
    from compare.description.config import dotted, load
    from compare.running.experiment import prepare

    if isinstance(config, torch.nn.Module):
        from compare.commands.mirror import mirror

        return mirror(config, progress=progress, **overrides)
    loaded = load(config, dotted(overrides))
    threads = torch.get_num_threads()
    try:
        with threadpool_limits(limits=1), torch.random.fork_rng():
            torch.set_num_threads(loaded.train.threads)
            report_to = progress or (lambda *_: None)
            if loaded.parallel is not None:
                return run_workers(loaded, plant, report_to)
            return Runner(prepare(loaded, mistake=plant), report_to).run()
    finally:
        torch.set_num_threads(threads)
