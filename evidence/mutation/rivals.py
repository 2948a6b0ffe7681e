"""What other rules would have said of the same mutants, by the same numbers.

A rule catches a mutant if it rejects any tensor of any check that concerns it. What raises, or
returns a wrong shape or too few tensors, every rule catches. Beside it stands how many of the
right code's own checks the rule rejects: a rule may catch everything by never being content.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from evidence.false_alarms.rules import RULES, agrees
from evidence.mutation import worker
from evidence.mutation.battery.base import frozen, torch_values, verdict
from evidence.mutation.equivalent import equivalents, reason
from evidence.mutation.loading import loaded
from evidence.mutation.run import DTYPES, in_parallel, planned
from evidence.mutation.sources import Mutant, compiled, mutants
from evidence.mutation.survey import Progress, Survey, Unit, survey

NAMES = tuple(rule.name for rule in RULES)  # the first is the harness itself


class Rivals(NamedTuple):
    """Counts in the order of NAMES."""

    caught: np.ndarray
    mistakes: int
    rejected: np.ndarray  # checks of the right code
    checks: int

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per rule."""
        return [
            {"rule": name, "caught": int(c), "mistakes": self.mistakes,
             "right_code_rejected": int(r), "checks": self.checks}
            for name, c, r in zip(NAMES, self.caught, self.rejected, strict=True)
        ]  # fmt: skip


def rivals(
    modules: Sequence[str] = (), *, only: Sequence[str] = (), jobs: int | None = None,
    seed: int = 0, progress: Progress | None = None,
) -> Rivals:  # fmt: skip
    """Ask every rule about every mutant that is a mistake, and about the right code.

    Args: as for `mutate`.
    """
    marked = equivalents()
    plan = [m for m in planned(modules, only) if reason(m, marked) is None]
    known = survey(DTYPES, seed, None, progress)
    with loaded():
        right = [caught(unit, seed) for unit in known.units]
    found = []
    for answer in _answers(plan, known, jobs):
        found.append(answer)
        if progress is not None:
            progress("mutants by every rule", len(found), len(plan))
    none = np.zeros((0, len(NAMES)), dtype=bool)
    totals = [np.array([*none, *rows], dtype=int).sum(axis=0) for rows in (found, right)]
    return Rivals(totals[0], len(plan), totals[1], len(right))


def _answers(plan: list[Mutant], known: Survey, jobs: int | None) -> Iterator[np.ndarray]:
    jobs = min(jobs or os.cpu_count() or 1, len(plan) or 1)
    if jobs == 1:
        yield from (examined(mutant, known) for mutant in plan)
        return
    for _, answer in in_parallel(_numbered, plan, known, jobs):
        yield answer if answer is not None else np.ones(len(NAMES), dtype=bool)  # a crash


def _numbered(key: tuple[str, int]) -> np.ndarray:
    return examined(mutants(key[0])[key[1]], worker.STATE["survey"])


def examined(mutant: Mutant, known: Survey) -> np.ndarray:
    """Return which rules catch a mutant."""
    found = np.zeros(len(NAMES), dtype=bool)
    try:
        with worker.time_limit(worker.TIMEOUT), loaded(mutant.module, compiled(mutant)):
            for unit in known.of(mutant):
                found |= caught(unit, known.seed)
                if found.all():
                    break
    except Exception:  # while it is imported, or without end
        return np.ones_like(found)
    return found


def caught(unit: Unit, seed: int) -> np.ndarray:
    """Return which rules reject what is loaded in one check."""
    kill = verdict(unit.check, unit.dtype, seed, unit.vacuous, unit.right)
    if kill is not None and kill.by == "timeout":  # it would not end here either
        return np.ones(len(NAMES), dtype=bool)
    theirs = torch_values(unit.check, unit.dtype, seed)
    try:
        with np.errstate(all="ignore"):
            mine = unit.check.values(lambda a: frozen(a, unit.dtype), unit.dtype, seed)
            pairs = [(_numbers(mine[key]), _numbers(value)) for key, value in theirs.items()]
    except TimeoutError:
        raise
    except Exception:
        return np.ones(len(NAMES), dtype=bool)
    if mine.keys() != theirs.keys() or any(m.shape != t.shape for m, t in pairs):
        return np.ones(len(NAMES), dtype=bool)
    others = [not all(agrees(rule, m, t, 0.0) for m, t in pairs) for rule in RULES[1:]]
    return np.array([kill is not None, *others])


def _numbers(value: Any) -> np.ndarray:
    """Return an array that can be subtracted; floats keep their dtype, which rules depend on."""
    array = np.asarray(value)
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def table(found: Rivals) -> str:
    """Return the counts as a table for people."""
    from evidence.mutation.table import aligned

    rows = [
        [
            row["rule"],
            f"{row['caught']:,} of {row['mistakes']:,}",
            f"{row['caught'] / max(row['mistakes'], 1):.2%}",
            f"{row['right_code_rejected']:,} of {row['checks']:,}",
        ]
        for row in found.rows()
    ]
    return aligned(["rule", "mistakes caught", "", "checks of the right code rejected"], rows)
