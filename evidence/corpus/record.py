"""The last whole count, as documents quote it."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from compare.errors import UserError
from compare.witness.fingerprint import fingerprint
from evidence.corpus.count import Row
from evidence.corpus.ledger import entries, matches
from evidence.corpus.table import as_dict, told

__all__ = ["check_ledger", "record", "recorded"]

MEASURED = (  # what decides about a sample
    "manual", "torch_ref", "evidence/corpus", "compare/gauge", "compare/judge/judge.py",
    "compare/judge/measure.py",
)  # fmt: skip
FILE = Path(str(files("evidence.corpus"))) / "score.json"


def record(rows: Sequence[Row], names: Sequence[str], file: Path = FILE) -> None:
    """Write the counts of a whole run down.

    Raises:
        UserError: a sample does not agree and is not excepted, or an exception does not occur.
    """
    if bad := [row for row in told(rows) if row.status != "excepted"]:
        raise UserError(
            f"--record: {bad[0].module} {bad[0].sample} does not agree, so nothing was written."
        )
    check_ledger(rows)
    found = as_dict(rows, names)
    about = {"torch": version("torch"), "sources": fingerprint(*MEASURED)}
    kept = {**about, "summary": found["summary"], "rows": found["rows"]}
    file.write_text(json.dumps(kept, indent=1) + "\n")


def check_ledger(
    rows: Sequence[Row], *, ops: bool = False, of: Collection[str] | None = None
) -> None:
    """Raise UserError if an entry of the ledger excepts nothing: of operations, or of classes.

    Args:
        rows: what was counted.
        ops: whether these are operations.
        of: only entries of these; None: all.
    """
    excepted = [row for row in rows if row.status == "excepted"]
    own = [entry for entry in entries() if (entry.corpus == "ops") is ops]
    own = [entry for entry in own if of is None or entry.module in of]
    if idle := [e for e in own if not any(matches(e, row) for row in excepted)]:
        raise UserError(
            f"--record: no sample is what the ledger says of {idle[0].module} {idle[0].sample}. "
            "Take the entry out."
        )


def recorded(file: Path = FILE) -> dict[str, Any]:
    """Return what was last written down; nothing without any."""
    return json.loads(file.read_text()) if file.exists() else {}
