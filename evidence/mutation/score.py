"""The result: how many mutants were caught, by what, and which were not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from evidence.mutation.equivalent import Equivalent, reason
from evidence.mutation.worker import Outcome


@dataclass(frozen=True)
class Score:
    """Outcomes of all mutants, in their order, beside the reviewed list of equivalent ones."""

    outcomes: tuple[Outcome, ...]
    marked: tuple[Equivalent, ...]
    seed: int
    seconds: float

    @cached_property
    def reasons(self) -> dict[int, str]:
        """Why outcomes are of mutants that are no mistakes, by position."""
        found = ((i, reason(o.mutant, self.marked)) for i, o in enumerate(self.outcomes))
        return {i: why for i, why in found if why is not None}

    @property
    def killed(self) -> list[Outcome]:
        return [o for o in self.outcomes if o.kill is not None]

    @property
    def survivors(self) -> list[Outcome]:
        unmarked = (o for i, o in enumerate(self.outcomes) if i not in self.reasons)
        return [o for o in unmarked if o.kill is None]

    @property
    def equivalent(self) -> list[Outcome]:
        return [self.outcomes[i] for i in self.reasons if self.outcomes[i].kill is None]

    @property
    def contradicted(self) -> list[Outcome]:
        """Mutants that the reviewed list calls equivalent, and that a check tells apart."""
        return [self.outcomes[i] for i in self.reasons if self.outcomes[i].kill is not None]

    @property
    def score(self) -> float:
        """Killed over all that are mistakes; 1 where there are none."""
        total = len(self.outcomes) - len(self.equivalent)
        return len(self.killed) / total if total else 1.0

    @property
    def passed(self) -> bool:
        return not self.survivors and not self.contradicted

    def counted(self, what: str) -> dict[str, Counter]:
        """Count outcomes by a field of the mutant: mutants, killed, survived, equivalent."""
        table: dict[str, Counter] = {}
        groups = {"mutants": self.outcomes, "killed": self.killed, "survived": self.survivors,
                  "equivalent": self.equivalent}  # fmt: skip
        for column, outcomes in groups.items():
            for outcome in outcomes:
                table.setdefault(getattr(outcome.mutant, what), Counter())[column] += 1
        return table

    def killed_by(self) -> Counter:
        """Count what the killed were killed by: a verdict, or the name of an exception."""
        return Counter(o.kill.by for o in self.outcomes if o.kill is not None)

    def killed_in(self) -> Counter:
        """Count in which dtype the killed were noticed first; "" for before any check."""
        return Counter(o.kill.dtype for o in self.outcomes if o.kill is not None)

    def operators(self) -> dict[str, Counter]:
        """Count, in every module, the mutants of every operator."""
        table: dict[str, Counter] = {}
        for outcome in self.outcomes:
            table.setdefault(outcome.mutant.module, Counter())[outcome.mutant.operator] += 1
        return table

    def as_dict(self) -> dict[str, Any]:
        """Return what `handgrad mutate --json` prints."""
        return {
            "mutants": len(self.outcomes),
            "killed": len(self.killed),
            "survived": len(self.survivors),
            "equivalent": len(self.equivalent),
            "score": self.score,
            "survivors": [_place(o) for o in self.survivors],
            "contradicted": [_place(o) for o in self.contradicted],
            "killed_by": dict(self.killed_by().most_common()),
            "killed_in": dict(self.killed_in()),
            "modules": {name: dict(sorted(c.items())) for name, c in self.operators().items()},
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "kills": [_place(o) | o.kill._asdict() for o in self.outcomes if o.kill is not None],
        }


def _place(outcome: Outcome) -> dict[str, Any]:
    m = outcome.mutant
    return {"module": m.module, "function": m.function, "line": m.line, "operator": m.operator,
            "diff": m.diff}  # fmt: skip
