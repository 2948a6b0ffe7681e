"""Mutants that are no mistakes: the reviewed lists `equivalent*.toml`, each with its reason."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from evidence.mutation.sources import Mutant

FILE = Path(__file__).with_name("equivalent.toml")


class Equivalent(NamedTuple):
    """A mutant that computes the same as the right code, and why."""

    module: str
    function: str
    before: str
    after: str
    reason: str

    def is_for(self, mutant: Mutant) -> bool:
        return self[:4] == (mutant.module, mutant.function, mutant.before, mutant.after)


@cache
def equivalents(path: Path = FILE) -> tuple[Equivalent, ...]:
    """Read the lists of this stem; a reason may stand once for several changes of a function."""
    files = sorted(path.parent.glob(f"{path.stem}*.toml"))
    found = (tomllib.loads(file.read_text("utf-8")) for file in files)
    groups = [group for one in found for group in one.get("equivalent", [])]
    return tuple(
        Equivalent(g["module"], g["function"], before, after, g["reason"])
        for g in groups
        for before, after in g["changes"]
    )


def reason(mutant: Mutant, marked: tuple[Equivalent, ...]) -> str | None:
    """Return why a mutant is no mistake; None if nothing says so."""
    return next((e.reason for e in marked if e.is_for(mutant)), None)


def idle(marked: tuple[Equivalent, ...], mutants: list[Mutant]) -> list[Equivalent]:
    """Return entries that fit no mutant: the source has changed since they were reviewed."""
    return [e for e in marked if not any(e.is_for(m) for m in mutants)]
