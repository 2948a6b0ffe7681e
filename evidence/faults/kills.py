"""End runs at random moments: no report may be lost, and nothing be left over by the next run."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from evidence.faults.attempt import attempt, kill, preload, started
from evidence.faults.hunt import LIMIT, WHOLE, Fault, left_over

RUN = ("run", "three-rows", "--steps", "2", "--out", "r", "--force")


def kills(count: int, seed: int, progress: Callable[[int, int], None]) -> list[Fault]:
    """Kill so many runs that replace a report, each at another moment; return the faults."""
    preload()
    faults: list[Fault] = []
    rng = Random(f"kills {seed}")
    with tempfile.TemporaryDirectory(prefix="handgrad-kills-") as root:
        folder, log = Path(root) / "work", Path(root) / "log"
        folder.mkdir()
        whole = attempt(replacing(), folder, log, LIMIT).seconds
        for number in range(count):
            process = started(replacing(), folder, log)
            time.sleep(rng.uniform(0.3, 1.1) * whole)
            kill(process)
            faults += [Fault("kills", number, what, "kill -9") for what in _wrong(folder)]
            progress(number + 1, count)
        attempt(replacing(), folder, log, LIMIT)
        left = [*left_over(folder), *(n for n in os.listdir(folder) if n != "r")]
        faults += [Fault("kills", count, f"left over: {what}", "the last run") for what in left]
    return faults


def replacing() -> list[str]:
    """Return the command line of a run that replaces the report that is there."""
    return [*RUN]


def _wrong(folder: Path) -> list[str]:
    """Return what is wrong after a kill, as the next run would find it."""
    from compare.report.rendering import check_writable

    check_writable(folder / "r")
    report = folder / "r"
    if not report.is_dir() or not {p.name for p in report.iterdir()} >= WHOLE:
        return ["the report is lost"]
    return list(left_over(folder))
