"""Name the cause of every mutant's mistake, and count how often the name is right."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from compare.commands.sweep.engine import Where, in_order
from compare.diagnose.causes import Cause
from evidence.mutation.equivalent import equivalents, reason
from evidence.mutation.naming.edit import edit
from evidence.mutation.naming.expected import expected, is_right
from evidence.mutation.run import planned
from evidence.mutation.sources import Mutant, mutants
from evidence.mutation.survey import Progress

RIGHT, WRONG, SILENT = "right", "wrong", "silent"
EXCEPTION, UNSEEN, NOT_RUN = "exception", "unseen", "not run"
APART = {
    EXCEPTION: "raises an exception, which says itself what is wrong",
    UNSEEN: "agrees in these networks: it takes data or options that the battery of checks has",
    NOT_RUN: "in code that no network runs: initial weights, schedules, gates, expressions, checks",
}


@dataclass(frozen=True)
class Naming:
    """What became of one mutant: right, wrong, silent, or a reason why it is counted apart."""

    mutant: Mutant
    result: str
    network: str = ""
    layer: str = ""
    quantity: str = ""
    cause: Cause | None = None
    right_kinds: frozenset[str] = frozenset()  # by the table, for a mutant that is named
    also_right: bool = False  # wrong, and a right kind is among those that fit as well

    def as_dict(self) -> dict[str, Any]:
        m, cause = self.mutant, self.cause
        return {
            "module": m.module, "function": m.function, "line": m.line, "operator": m.operator,
            "diff": m.diff, "result": self.result, "network": self.network, "layer": self.layer,
            "quantity": self.quantity, "also_right": self.also_right,
            "cause": cause and {"kind": cause.kind, "evidence": cause.evidence,
                                "also": list(cause.also)},
        }  # fmt: skip


@dataclass(frozen=True)
class Count:
    """The results of all mutants that are mistakes."""

    namings: tuple[Naming, ...]
    equivalent: int
    seed: int
    seconds: float

    @cached_property
    def totals(self) -> Counter[str]:
        return Counter(n.result for n in self.namings)

    @property
    def counted(self) -> int:
        """Mutants that run and disagree, so that there is something to name."""
        return sum(self.totals[r] for r in (RIGHT, WRONG, SILENT))

    @property
    def named(self) -> int:
        return self.totals[RIGHT] + self.totals[WRONG]

    @cached_property
    def by_chance(self) -> float:
        """The share that would be right if the same names were dealt out at random."""
        told = [(n.cause.kind, n.right_kinds) for n in self.namings if n.cause]
        names = Counter(kind for kind, _ in told)
        hits = sum(names[kind] for _, right in told for kind in right)
        return hits / max(1, len(told)) ** 2

    def by(self, what: str) -> dict[str, Counter[str]]:
        """Count the results by a field of the mutant, or by the `kind` of the named cause."""
        table: dict[str, Counter[str]] = {}
        for n in self.namings:
            kind = n.cause.kind if n.cause else ""
            key = kind if what == "kind" else getattr(n.mutant, what)
            table.setdefault(key, Counter())[n.result] += 1
        return dict(sorted(table.items(), key=lambda t: (-t[1].total(), t[0])))

    def as_dict(self) -> dict[str, Any]:
        """Return what `handgrad mutate --causes --json` prints."""
        return {
            "mutants": len(self.namings) + self.equivalent,
            "equivalent": self.equivalent,
            "apart": {name: self.totals[name] for name in APART},
            "counted": self.counted,
            "named": self.named,
            "right": self.totals[RIGHT],
            "wrong": self.totals[WRONG],
            "silent": self.totals[SILENT],
            "named_share": self.named / max(1, self.counted),
            "right_share": self.totals[RIGHT] / max(1, self.named),
            "right_share_by_chance": self.by_chance,
            "operators": {k: dict(c) for k, c in self.by("operator").items()},
            "modules": {k: dict(c) for k, c in self.by("module").items()},
            "kinds": {k: dict(c) for k, c in self.by("kind").items() if k},
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "namings": [n.as_dict() for n in self.namings],
        }


def count(
    modules: Sequence[str] = (), *, only: Sequence[str] = (), jobs: int | None = None,
    seed: int = 0, every: int = 1, progress: Progress | None = None,
) -> Count:  # fmt: skip
    """Name the cause of every mutant that is a mistake; see `evidence.mutation.run.mutate`."""
    started = time.perf_counter()
    plan = planned(modules, only)[::every]
    wrong = [m for m in plan if reason(m, equivalents()) is None]
    numbered = [(m.module, m.number) for m in wrong]
    ask, told = partial(name_numbered, seed=seed), progress and partial(progress, "mutants")
    found = in_order(ask, numbered, Where(jobs), progress=told)
    return Count(tuple(found), len(plan) - len(wrong), seed, time.perf_counter() - started)


def name_numbered(key: tuple[str, int], seed: int = 0) -> Naming:
    """Name one mutant, by its module and its number in it."""
    return name(mutants(key[0])[key[1]], seed)


def name(mutant: Mutant, seed: int = 0) -> Naming:
    """Run one mutant, and hold the cause that is named against what its edit is."""
    from evidence.mutation.naming.run import find, networks_of

    if not networks_of(mutant):
        return Naming(mutant, NOT_RUN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        finding = find(mutant, seed)
    first = finding.divergence
    if first is None:
        return Naming(mutant, EXCEPTION if finding.raised else UNSEEN)
    where = (finding.network, first.layer, first.quantity)
    if first.cause is None:
        return Naming(mutant, SILENT, *where)
    planted = edit(mutant)
    right = is_right(first.cause, planted)
    kinds = expected(planted)
    also = not right and bool(kinds & set(first.cause.also))
    return Naming(mutant, RIGHT if right else WRONG, *where, first.cause, kinds, also)
