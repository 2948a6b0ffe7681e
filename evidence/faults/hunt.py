"""Run cases one after the other; tell each that shows a fault, with all it takes to see it."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from evidence.faults.attempt import Ended, attempt, preload
from evidence.faults.cases import CASES, described

LIMIT = 120.0  # seconds of one run, on a busy machine
WHOLE = {"verdict.json", "report.html", "summary.md", "differences.csv", "config.toml"}
STATUSES = {0, 1, 2, 130}
LEFT = re.compile(r"\..*\.(new|old|part)")


class Fault(NamedTuple):
    """What was wrong with one case."""

    kind: str
    number: int
    what: str
    command: str


def hunt(
    kind: str, count: int, seed: int, progress: Callable[[int, int], None], first: int = 0
) -> list[Fault]:
    """Run cases `first` to `count` of a kind; return the faults.

    Args:
        kind: `configurations`, `files` or `lines`.
        count, seed: a case is the same whatever the others are.
        progress: called as `progress(done, count)`.
        first: to see one case again.
    """
    preload()
    faults = []
    for number in range(first, count):
        with tempfile.TemporaryDirectory(prefix="handgrad-hunt-") as root:
            faults += list(_faults(kind, number, seed, Path(root)))
        progress(number + 1, count)
    return faults


def _faults(kind: str, number: int, seed: int, root: Path) -> Iterator[Fault]:
    folder = root / "work"
    folder.mkdir()
    arguments = CASES[kind][0](Random(f"{kind} {seed} {number}"), folder)
    done = attempt(arguments, folder, root / "log", LIMIT)
    for what in (*wrong(done), *left_over(folder)):
        yield Fault(kind, number, what, described(arguments))
    shutil.rmtree(folder, ignore_errors=True)


def wrong(done: Ended) -> Iterator[str]:
    """Yield what a run should not have done."""
    if done.status is None:
        yield f"no end after {done.seconds:.0f} s"
    elif done.status not in STATUSES:
        yield f"exit status {done.status}"
    if "Traceback (most recent call last)" in done.said:
        yield f"traceback: {done.said.rstrip().splitlines()[-1][:200]}"


def left_over(folder: Path) -> Iterator[str]:
    """Yield temporary names below a folder, and reports that are not whole."""
    for path in folder.rglob("*"):
        if LEFT.fullmatch(path.name):
            yield f"left over: {path.relative_to(folder)}"
        elif path.is_dir() and path.name != "plots" and not path.is_symlink():
            names = {p.name for p in path.iterdir()}
            if names & WHOLE and not names >= WHOLE:
                yield f"partial report: {path.relative_to(folder)}"
