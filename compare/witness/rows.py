"""The table of certificates: rows, text, Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compare.errors import UserError
from compare.witness.certify import Certificate
from compare.witness.precision import BITS, DIGITS, working

BEGIN, END = "<!-- certificates: begin -->", "<!-- certificates: end -->"


@dataclass(frozen=True)
class Row:
    """One item's certificate: digits of agreement, the radius they are known within, a note."""

    name: str
    kind: str
    digits: float
    radius: float
    certified: bool
    note: str


@dataclass(frozen=True)
class Certificates:
    """All rows, with the settings that they were proven under."""

    rows: tuple[Row, ...]
    bits: int
    digits: float
    seed: int

    @property
    def certified(self) -> bool:
        """Whether there are rows and every one of them is certified."""
        return bool(self.rows) and all(row.certified for row in self.rows)

    @property
    def summary(self) -> str:
        """One line: how many, to how many digits."""
        good = [row for row in self.rows if row.certified]
        fewest = math.floor(min((row.digits for row in good), default=self.digits))
        return (
            f"{len(good)} of {len(self.rows)} certified to {fewest} digits or more "
            f"({self.digits:g} wanted; {self.bits} bits, seed {self.seed})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        data = asdict(self) | {"certified": self.certified}
        for row in data["rows"]:
            row["radius"] = row["radius"] if math.isfinite(row["radius"]) else None
        return data


def certificates(
    names: Sequence[str] = (),
    *,
    bits: int = BITS,
    digits: float = DIGITS,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Certificates:
    """Certify everything, or the named classes.

    Raises:
        UserError: an unknown name, python-flint is missing, or the bits cannot hold the digits.
    """
    from compare.witness.items import chosen

    with working(bits, digits):
        items = chosen(names)
        rows = []
        for done, item in enumerate(items):
            progress(done, len(items))
            rows.append(row(item.name, item.kind, item.certify(bits, digits, seed)))
    return Certificates(tuple(rows), bits, digits, seed)


def row(name: str, kind: str, found: Certificate) -> Row:
    """Return a certificate as a row; digits are rounded down."""
    digits = math.floor(10 * found.digits) / 10
    return Row(name, kind, digits, found.radius, found.certified, found.note)


def markdown(found: Certificates) -> str:
    """Return the table, with the command that prints it."""
    command = f"handgrad certify --bits {found.bits} --digits {found.digits:g} --seed {found.seed}"
    lines = [f"{found.summary}. Printed by `{command} --markdown FILE`.", ""]
    lines += ["| item | digits | radius | note |", "| --- | --: | --: | --- |"]
    for r in found.rows:
        note = r.note if r.certified else f"**not certified**: {r.note}"
        lines.append(f"| `{r.name}` | {r.digits:.1f} | {size(r.radius)} | {_escaped(note)} |")
    return "\n".join(lines) + "\n"


def size(radius: float) -> str:
    """Return a radius in few characters; 0 is an exact result."""
    return "0" if radius == 0 else f"{radius:.0e}"


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")


def write_markdown(found: Certificates, path: Path) -> None:
    """Write the table to a new file, or between the marks of a page that has them.

    Raises:
        UserError: the file is there without the marks; nothing is overwritten that was not ours.
    """
    block = f"{BEGIN}\n{markdown(found)}{END}\n"
    if path.exists():
        before, begin, rest = path.read_text("utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (begin and end):
            raise UserError(
                f"{path} exists and has no place for the table. Put the lines {BEGIN} and {END} "
                "where it belongs, or name a new file."
            )
        block = before + block.rstrip("\n") + after
    try:
        path.write_text(block, "utf-8")
    except OSError as error:
        raise UserError(f"The table cannot be written to {path}: {error.strerror}.") from None
