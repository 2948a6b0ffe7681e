"""The written exceptions: samples that do not agree, each with its reason and its evidence."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Entry", "entries", "excepted"]

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
    for entry in entries():
        wanted = (entry.module, entry.corpus, entry.status)
        have = (row.module, row.corpus, row.status)
        same = all(w in ("*", h) for w, h in zip(wanted, have, strict=True))
        if same and any(fnmatchcase(row.sample, p) for p in entry.sample.split("|")):
            return entry.reason
    return None
