"""Examine all mutants, in one process or in several, and collect the score."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from compare.commands.sweep.engine import Died, Where, answers
from evidence.mutation import worker
from evidence.mutation.battery import Check, Kill, battery_for
from evidence.mutation.equivalent import FILE, equivalents, reason
from evidence.mutation.score import Score
from evidence.mutation.sources import Mutant, known_operators, mutants, named
from evidence.mutation.survey import Progress, Survey, survey
from evidence.mutation.worker import Outcome

DTYPES = ("float64", "float32")
T = TypeVar("T")


def planned(modules: Sequence[str] = (), only: Sequence[str] = ()) -> list[Mutant]:
    """Return the mutants of these modules (all) and operators (all)."""
    operators = known_operators(only)
    return [m for name in named(modules) for m in mutants(name) if m.operator in operators]


def mutate(
    modules: Sequence[str] = (),
    *,
    only: Sequence[str] = (),
    jobs: int | None = None,
    dtypes: Sequence[str] = DTYPES,
    seed: int = 0,
    every: int = 1,
    checks: Sequence[Check] | None = None,
    marked: Path = FILE,
    progress: Progress | None = None,
) -> Score:
    """Plant every mistake, one at a time, and see whether the harness catches it.

    Args:
        modules: names, paths or packages of `manual/`; all without any.
        only: names of operators; all without any.
        jobs: worker processes; None for one per CPU, 1 for this process alone.
        dtypes: what the checks run in.
        seed: of all data and upstream gradients.
        every: take only every so-many-th mutant.
        checks: the battery, unless a weaker one is to be tried (in this process only).
        marked: the reviewed list of equivalent mutants.
        progress: called as `progress(what, done, total)`.

    Raises:
        UserError: an unknown module or operator; the right code does not pass the battery.
    """
    started = time.perf_counter()
    plan = planned(modules, only)[::every]
    tried = battery_for(named(modules)) if checks is None else checks
    known, excused = survey(dtypes, seed, tried, progress), equivalents(marked)
    known.reviewed = frozenset((m.module, m.number) for m in plan if reason(m, excused))
    jobs = min(jobs or os.cpu_count() or 1, len(plan) or 1)
    if jobs == 1 or checks is not None:
        outcomes: Iterator[Outcome] = (worker.examine(m, known) for m in plan)
    else:
        outcomes = _in_parallel(plan, known, jobs)
    found = {}
    for outcome in outcomes:
        found[outcome.mutant.module, outcome.mutant.number] = outcome
        if progress is not None:
            progress("mutants", len(found), len(plan))
    ordered = tuple(found[m.module, m.number] for m in plan)
    return Score(ordered, excused, seed, time.perf_counter() - started)


def _in_parallel(plan: Sequence[Mutant], known: Survey, jobs: int) -> Iterator[Outcome]:
    """Yield outcomes as they come; a mutant that takes its process down is killed by the crash."""
    crashed = Kill("crash", "", "", "")
    for mutant, outcome in in_parallel(worker.examine_numbered, plan, known, jobs):
        yield outcome if outcome is not None else Outcome(mutant, crashed, 0, 0.0)


def in_parallel(
    ask: Callable[[tuple[str, int]], T], plan: Sequence[Mutant], known: Survey, jobs: int
) -> Iterator[tuple[Mutant, T | None]]:
    """Ask about every mutant in worker processes; None for one that takes its process down.

    Args:
        ask: called with the mutant's module and number, in a process prepared by `worker.start`.
        plan, known, jobs: the mutants, the survey, how many processes.
    """
    keys = ((m.module, m.number) for m in plan)
    found = answers(ask, keys, Where(jobs), start=worker.start, given=(known,), most=len(plan))
    for position, answer in found:
        yield plan[position], None if isinstance(answer, Died) else answer
