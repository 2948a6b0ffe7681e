"""Counts by module and corpus, and the score: the mean over modules of the share that agrees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from evidence.corpus.count import Row

__all__ = ["as_dict", "counts", "score", "table", "told"]

COLUMNS = ("agree", "excepted", "empty", "vacuous", "disagree", "raised")
FOLDED = {"non-finite": "vacuous", "accepted": "disagree", "refused": "agree"}
SILENT = ["empty", "vacuous"]  # a sample that could show nothing


def counts(rows: Iterable[Row]) -> pd.DataFrame:
    """Return a line per module and corpus: samples, and how many of each status."""
    table: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        status = FOLDED.get(row.status, row.status)
        table.setdefault((row.module, row.corpus), Counter())[status] += 1
    lines = [
        {"module": module, "corpus": corpus, "samples": found.total()}
        | {name: found[name] for name in COLUMNS}
        for (module, corpus), found in table.items()
    ]
    return pd.DataFrame(lines, columns=["module", "corpus", "samples", *COLUMNS])


def score(found: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """Return the shares of samples that agree, averaged over modules.

    What is excepted does not agree, and a class that is not hand-written agrees nowhere. Samples
    without a number, those where zeros would do or all is nan, and calls that torch refuses, are
    counted apart.
    """
    calls = found[found["corpus"] != "errors"].groupby("module")
    sums = calls[["samples", *SILENT, "agree"]].sum()
    shares = (sums["agree"] / (sums["samples"] - sums[SILENT].sum(axis=1))).fillna(0.0)
    shares = shares.reindex(list(names), fill_value=0.0)
    written = shares[shares.index.isin(sums.index)]
    return {
        "modules": len(shares),
        "hand-written": len(written),
        "macro": float(shares.mean()) if len(shares) else 0.0,
        "macro of the hand-written": float(written.mean()) if len(written) else 0.0,
        **{name: int(found[name].sum()) for name in ("samples", *COLUMNS)},
    }


def as_dict(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    """Return what `handgrad corpus --json` prints."""
    found = counts(rows)
    return {
        "rows": found.to_dict(orient="records"),
        "summary": score(found, names),
        "not agreeing": [row._asdict() for row in told(rows)],
    }


def table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Return the counts, what does not agree, and the score, as text."""
    found = counts(rows)
    summary = score(found, names)
    parts = [found.to_string(index=False)] if len(found) else []
    parts += [f"{row.module} {row.corpus} {row.sample}: {row.status}. {row.reason}"
              for row in told(rows) if row.status != "excepted"]  # fmt: skip
    absent = [name for name in names if name not in set(found["module"])]
    if absent:
        parts.append(f"Not hand-written: {', '.join(absent)}.")
    parts.append(
        f"{summary['hand-written']} of {summary['modules']} classes; {summary['agree']:,} of "
        f"{summary['samples']:,} samples agree, {summary['excepted']} are excepted in writing, "
        f"{summary['vacuous']} are zero or nan on both sides and {summary['empty']} empty.\n"
        f"Share that agrees, averaged over classes: {summary['macro']:.3f}; over the hand-written "
        f"ones: {summary['macro of the hand-written']:.3f}."
    )
    return "\n".join(parts)


def told(rows: Iterable[Row]) -> list[Row]:
    """Return the samples that do not agree."""
    silent = ("agree", *SILENT)
    return [row for row in rows if FOLDED.get(row.status, row.status) not in silent]
