"""The last whole mutation score, as reports and documents quote it, and of which sources it is."""

from __future__ import annotations

import json
from datetime import date
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compare.errors import UserError
from compare.fingerprint import fingerprint

if TYPE_CHECKING:
    from compare.mutation.score import Score

MEASURED = (  # what decides about a mutant, beside the hand-written code
    "manual", "compare/mutation/battery", "compare/mutation/operators",
    "compare/mutation/equivalent.toml", "compare/gauge", "compare/judge.py",
    "compare/measure.py",
)  # fmt: skip
FILE = Path(str(files("compare.mutation"))) / "score.json"


def record(score: Score, file: Path = FILE) -> None:
    """Write the counts of a whole run down.

    Raises:
        UserError: a mistake survived; that score is no one's to quote.
    """
    if not score.passed:
        raise UserError("--record: a mutant survived, so nothing was written. Catch it first.")
    counts = {k: score.as_dict()[k] for k in ("mutants", "killed", "equivalent", "seed")}
    about = {"date": date.today().isoformat(), "numpy": version("numpy"), "torch": version("torch")}
    file.write_text(
        json.dumps(counts | about | {"sources": fingerprint(*MEASURED)}, indent=2) + "\n"
    )


def recorded(file: Path = FILE) -> dict[str, Any] | None:
    """Return what was last written down; None without any."""
    return json.loads(file.read_text()) if file.exists() else None


def quoted(found: dict[str, Any] | None = None) -> str:
    """Say in a line how many planted mistakes the harness catches in this very code."""
    found = found or recorded()
    if found is None:
        return "not measured"
    if found.get("sources") != fingerprint(*MEASURED):
        return "the code has changed since it was measured (handgrad mutate --record)"
    mistakes = found["mutants"] - found["equivalent"]
    return (
        f"{found['killed']:,} of {mistakes:,} mistakes planted in the hand-written code are caught "
        f"(handgrad mutate, {found['date']})"
    )
