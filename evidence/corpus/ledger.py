"""The written exceptions: samples that do not agree, each with its reason and its evidence."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Entry", "entries", "excepted", "matches"]

FILE = Path(__file__).with_name("ledger.toml")


class Entry(NamedTuple):
    """Samples of a module that are excepted, by a pattern of their names."""

    module: str
    corpus: str
    sample: str
    status: str
    reason: str


@cache
def entries() -> tuple[Entry, ...]:
    table = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return tuple(Entry(**entry) for entry in table.get("exception", ()))


def excepted(row: Any) -> str | None:
    """Return why a row may be what it is; None if nothing is written of it."""
    return next((e.reason for e in entries() if e.status == row.status and matches(e, row)), None)


def matches(entry: Entry, row: Any) -> bool:
    """Return whether an entry speaks of a row, whatever its status."""
    if entry.module != row.module or entry.corpus not in ("*", row.corpus):
        return False
    return any(fnmatchcase(row.sample, pattern) for pattern in entry.sample.split("|"))
