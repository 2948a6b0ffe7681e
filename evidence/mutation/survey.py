"""Before any mutant: the right code must pass every check, and which function does each check run?

A mutant meets only the checks that run the function it changes, float64 first: what float32 catches
alone is no mistake of the derivation but of its numerics.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from compare.errors import UserError
from compare.judge.quantities import Key
from evidence.mutation.battery import Check, battery
from evidence.mutation.battery.base import judged, torch_values
from evidence.mutation.loading import loaded
from evidence.mutation.sources import Mutant, files

Touched = frozenset[tuple[str, str]]  # modules with the qualified names of functions
INNER = re.compile(r"\.?<.*")  # of a lambda or comprehension: it belongs to its function


class Unit(NamedTuple):
    """One check in one dtype, as the right code passes it."""

    check: Check
    dtype: np.dtype
    vacuous: frozenset[Key]
    touched: Touched
    right: str = ""  # the right code's values, as `digest` tells them

    def concerns(self, mutant: Mutant) -> bool:
        """Whether the check runs what the mutant changes; constants concern the whole module.

        A class's own constants concern the checks of that class, which may run only its bases.
        """
        if mutant.function and mutant.function == getattr(self.check, "type", None):
            return True
        inside = f"{mutant.function}." if mutant.function else ""
        return any(
            module == mutant.module
            and (name == mutant.function or not inside or name.startswith(inside))
            for module, name in self.touched
        )


@dataclass
class Survey:
    """Every unit, float64 first, the seed of their data, and which mutants are no mistakes.

    Those are named by module and number.
    """

    units: list[Unit]
    seed: int
    reviewed: frozenset[tuple[str, int]] = frozenset()
    known: dict[tuple[str, str], list[Unit]] = field(default_factory=dict)

    def of(self, mutant: Mutant) -> list[Unit]:
        """Return the units that run what a mutant changes."""
        place = mutant.module, mutant.function
        if place not in self.known:
            found = [unit for unit in self.units if unit.concerns(mutant)]
            whole = [u for u in self.units if any(m == mutant.module for m, _ in u.touched)]
            self.known[place] = found or whole  # of a class without functions of its own: all
        return self.known[place]


Progress = Callable[[str, int, int], None]


def survey(
    dtypes: Sequence[str], seed: int, checks: Sequence[Check] | None = None,
    progress: Progress | None = None,
) -> Survey:  # fmt: skip
    """Run every check on the right code; raise UserError if one fails.

    Args:
        dtypes: float64, float32 or both, in this order.
        seed: of all data and upstream gradients.
        checks: the battery, unless a test gives a weaker one.
        progress: called as `progress(what, done, total)`.
    """
    checks = battery() if checks is None else list(checks)
    pairs = [(c, np.dtype(d)) for d in dtypes for c in checks if d in c.dtypes]
    units = []
    with loaded():
        for i, (check, dtype) in enumerate(pairs):
            units.append(_surveyed(check, dtype, seed))
            if progress is not None:
                progress("checking the right code", i + 1, len(pairs))
    return Survey(units, seed)


def _surveyed(check: Check, dtype: np.dtype, seed: int) -> Unit:
    torch_values(check, dtype, seed)
    with tracing() as touched:
        kill, vacuous, told = judged(check, dtype, seed)
    if kill is not None:
        raise UserError(
            f"The hand-written code does not pass '{check.name}' in {dtype.name} as it stands "
            f"({kill.by} {kill.place}), so no mutant can be judged by it. Repair manual/ first."
        )
    return Unit(check, dtype, vacuous, frozenset(touched), told)


@contextmanager
def tracing() -> Iterator[set[tuple[str, str]]]:
    """Collect which functions of `manual/` are called."""
    modules = {str(path): name for name, path in files().items()}
    touched: set[tuple[str, str]] = set()

    def note(frame: object, event: str, _: object) -> None:
        code = frame.f_code  # type: ignore[attr-defined]
        if event == "call" and code.co_filename in modules:
            touched.add((modules[code.co_filename], INNER.sub("", code.co_qualname)))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield touched
    finally:
        sys.setprofile(before if callable(before) else None)
