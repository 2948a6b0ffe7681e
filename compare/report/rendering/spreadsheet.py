"""A table as CSV: written whole or not at all, safe in a spreadsheet."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from compare.errors import UserError

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def harmless(cell: str) -> str:
    """Return a cell that a spreadsheet does not take for a formula.

    >>> harmless("=HYPERLINK(1)"), harmless("dx✓")
    ("'=HYPERLINK(1)", 'dx✓')
    """
    return f"'{cell}" if cell.startswith(FORMULAS) else cell


def check_writable(path: Path) -> None:
    """Refuse before hours of work what cannot be written after them."""
    folder = path.parent
    if path.is_dir():
        raise UserError(f"--csv {path} is a folder; give the name of a file.")
    if not folder.is_dir():
        raise UserError(f"--csv {path}: there is no folder {folder}.")
    if not os.access(folder, os.W_OK):
        raise UserError(f"--csv {path}: the folder {folder} cannot be written to.")


def one_line(text: str) -> str:
    """Return a cell's text without line breaks and control characters."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else "?" for c in text).split())


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Iterable[str]]) -> None:
    """Write all rows, or leave what was there.

    Raises:
        UserError: it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(columns)
                writer.writerows([harmless(one_line(cell)) for cell in row] for row in rows)
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error
