"""What a sweep costs: rows per second, memory, and how two workers beat one.

Two sweeps are timed: of real runs of the smallest network, where the runs are all of the cost, and
of points that do nothing, where everything else is: drawing, keys, workers, Parquet, the report.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from compare.commands.sweep import OTHERS
from compare.commands.sweep.file import Sweep
from compare.commands.sweep.rows import AGREE, Found, Tensor
from compare.commands.sweep.sweep import sweep

TENSORS = 8  # rows of a point that does nothing
RUN = {"base": {"config": "three-rows", "train.steps": 1}}


class Nothing:
    """A job without work."""

    reads: Sequence[str] = ()

    def fixed(self, values: Mapping[str, Any]) -> str:
        return ""

    def refuse(self, values: Mapping[str, Any]) -> None: ...

    def judged(self, values: Mapping[str, Any]) -> Found:
        tensors = [Tensor(str(i), "grad:weight", 0.01, 1e-17, AGREE) for i in range(TENSORS)]
        return Found(AGREE, "nothing was done", tensors=tensors)

    def command(self, values: Mapping[str, Any]) -> list[str]:
        return ["list"]


def made(sweep: Sweep) -> tuple[Nothing, Sweep]:
    return Nothing(), sweep


def bench(rounds: int = 3, runs: int = 150, points: int = 100_000) -> dict[str, Any]:
    """Return the numbers.

    Args:
        rounds: how often one worker and two are timed in turn.
        runs: real runs of each round and number of workers.
        points: that do nothing.
    """
    return {"runs": _runs(rounds, runs), "empty": _empty(points)}


def _runs(rounds: int, runs: int) -> dict[str, Any]:
    """Time one worker and two in turn, once all is loaded.

    On a machine that does something else as well, the ratio says little; what share of the time the
    two workers were at work, and what the sweep's own process computes meanwhile, still says what
    they would do on two free processors.
    """
    found: dict[int, list[Pace]] = {1: [], 2: []}
    for number in range(rounds):
        for jobs, paces in found.items():
            seeds = {"grid": {"train.seed": list(range(number * runs, (number + 1) * runs))}}
            paces.append(_pace(RUN | seeds, jobs))
    middle = {jobs: statistics.median(p.rows for p in paces) for jobs, paces in found.items()}
    ratios = [two.rows / one.rows for one, two in zip(found[1], found[2], strict=True)]
    return {
        "of each round": runs, "rounds": rounds,
        "rows per second, one worker": middle[1], "rows per second, two workers": middle[2],
        "two workers beat one by": statistics.median(ratios),
        "ratios": [round(r, 2) for r in ratios],
        "two workers at work, share of the time": statistics.median(p.busy for p in found[2]),
        "milliseconds of the sweep's own process per row": statistics.median(
            1000 * p.own for p in found[2]),
    }  # fmt: skip


class Pace(NamedTuple):
    """The pace of a sweep's second half: rows per second, how much of the workers' time was work,
    and the seconds that the sweep's own process computes per row.
    """

    rows: float
    busy: float
    own: float


def _pace(tables: Mapping[str, Any], jobs: int) -> Pace:
    seen: list[tuple[float, float]] = []
    found = sweep(
        tables, jobs=jobs,
        progress=lambda *_: seen.append((time.perf_counter(), time.process_time())),
    )  # fmt: skip
    found.assert_agrees()
    half = len(seen) // 2
    (began, own), (ended, all_own) = seen[half], seen[-1]
    rows, elapsed = len(seen) - 1 - half, ended - began
    work = float(found.runs["seconds"][half + 1 :].sum())
    return Pace(rows / elapsed, work / (jobs * elapsed), (all_own - own) / rows)


def _empty(points: int) -> dict[str, Any]:
    OTHERS["nothing"] = made
    memory: dict[int, float] = {}

    def note(_: str, done: int, total: int) -> None:
        if done % max(1, total // 10) == 0:
            memory[done] = resident()

    began = time.perf_counter()
    found = sweep({"job": "nothing", "grid": {"n": list(range(points))}}, progress=note)
    rows = time.perf_counter() - began
    began = time.perf_counter()
    page = found.write()
    tenth, end = (memory[min(memory)], memory[max(memory)]) if memory else (0.0, 0.0)
    return {
        "points": points, "rows": points * (1 + TENSORS),
        "points per second": points / rows,
        "MiB after a tenth": tenth, "MiB at the end": end,
        "seconds of the report": time.perf_counter() - began,
        "MiB after the report": resident(),
        "KiB of the page": page.stat().st_size / 1024,
        "MiB of Parquet": sum(p.stat().st_size for p in found.store.parts.iterdir()) / 2**20,
    }  # fmt: skip


def resident() -> float:
    """Return this process's memory in MiB; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0


def table(found: Mapping[str, Any]) -> str:
    """Return the numbers as text."""
    lines = []
    for title, what in (("runs", "Real runs, three-rows, one step"), ("empty", "Empty points")):
        lines.append(f"{what}:")
        for name, value in found[title].items():
            told = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(
                value, int) else str(value)  # fmt: skip
            lines.append(f"  {name}: {told}")
    return "\n".join(lines)
