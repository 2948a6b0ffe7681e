"""The last whole mutation score, as documents quote it, and of which sources it is."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compare.errors import UserError
from compare.witness.fingerprint import fingerprint

if TYPE_CHECKING:
    from evidence.mutation.score import Score

MEASURED = (  # what decides about a mutant, beside the hand-written code
    "manual", "evidence/mutation/battery", "evidence/mutation/operators",
    "evidence/mutation/equivalent.toml", "compare/gauge", "compare/judge/judge.py",
    "compare/judge/measure.py",
)  # fmt: skip
FILE = Path(str(files("evidence.mutation"))) / "score.json"


def record(score: Score, file: Path = FILE) -> None:
    """Write the counts of a whole run down.

    Raises:
        UserError: a mistake survived; that score is no one's to quote.
    """
    if not score.passed:
        raise UserError("--record: a mutant survived, so nothing was written. Catch it first.")
    counts = {k: score.as_dict()[k] for k in ("mutants", "killed", "equivalent", "seed")}
    about = {"date": date.today().isoformat(), "numpy": version("numpy"), "torch": version("torch")}
    classes = Counter(o.mutant.function.partition(".")[0] for o in score.killed)
    told = {"sources": fingerprint(*MEASURED), "classes": dict(sorted(classes.items()))}
    file.write_text(json.dumps(counts | about | told, indent=1) + "\n")


def recorded(file: Path = FILE) -> dict[str, Any] | None:
    """Return what was last written down; None without any."""
    return json.loads(file.read_text()) if file.exists() else None
