"""Would the check have noticed? The kill rows, counted and laid out for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from compare.judge.kills import CORRUPTIONS

if TYPE_CHECKING:
    from compare.report.report import Report

HEADINGS = {
    "zeros": "zeros",
    "negated": "sign flipped",
    "times_batch": "× batch",
    "over_batch": "÷ batch",
    "transposed": "transposed",
    "sample_dropped": "a sample dropped",
    "one_percent": "an element off by 1 %",
}
LISTED = 20  # unnoticed corruptions that verdict.json names


class KillRow(NamedTuple):
    """One tensor: what was tried on it (True: noticed, False: not, None: does not apply)."""

    layer: str
    quantity: str
    cells: tuple[bool | None, ...]

    @property
    def unnoticed(self) -> list[str]:
        return [HEADINGS[c] for c, v in zip(CORRUPTIONS, self.cells, strict=True) if v is False]


class Kills(NamedTuple):
    """All rows, and how many corruptions were tried and noticed."""

    rows: list[KillRow]
    tried: int
    noticed: int

    @property
    def weak(self) -> list[KillRow]:
        """The rows on which something would have gone unnoticed."""
        return [row for row in self.rows if row.unnoticed]


def kills_of(report: Report) -> Kills:
    """Return the report's kill rows in execution order."""
    records = report.kills.to_dict("records")
    rows = [
        KillRow(str(r["layer"]), str(r["quantity"]), tuple(_cell(r[c]) for c in CORRUPTIONS))
        for r in records
    ]
    cells = [cell for row in rows for cell in row.cells if cell is not None]
    return Kills(rows, len(cells), sum(cells))


def kills_line(report: Report) -> str:
    """Return the count in one line; "" if nothing was tried."""
    kills = kills_of(report)
    if not kills.tried:
        return ""
    return (
        f"Of {kills.tried:,} corrupted tensors (zeros, −g, g × batch, …) the check would have "
        f"noticed {kills.noticed:,}."
    )


def kills_dict(report: Report) -> dict[str, Any]:
    """Return the count, and by name the first that would have gone unnoticed."""
    kills = kills_of(report)
    named = [f"{r.layer}.{r.quantity}: {what}" for r in kills.weak for what in r.unnoticed]
    return {"tried": kills.tried, "noticed": kills.noticed, "unnoticed": named[:LISTED]}


def _cell(value: Any) -> bool | None:
    return None if value is None or value != value else bool(value)
