"""The grades as CSV: one row per submission, written whole or not at all, safe in a spreadsheet."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from compare.errors import UserError
from teach.exercises.grade import Grade

COLUMNS = ("file", "exercise", "score", "status", "tensors", "causes", "message", "error",
           "seconds", "seed")  # fmt: skip
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def cells(grade: Grade) -> list[str]:
    """Return a grade's row, as text without line breaks."""
    tensors = " ".join(f"{t.symbol}{'✓' if t.right else '✗'}" for t in grade.tensors)
    causes = "; ".join(f"{t.symbol}: {t.cause}" for t in grade.tensors if not t.right)
    row = (grade.file, grade.exercise, f"{grade.score:.4g}", grade.status, tensors, causes,
           grade.message, grade.error, f"{grade.seconds:.2f}", str(grade.seed))  # fmt: skip
    return [" ".join(_printable(cell).split()) for cell in row]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c.isspace() else "?" for c in text)


def harmless(cell: str) -> str:
    """Return a cell that a spreadsheet does not take for a formula.

    >>> harmless("=HYPERLINK(1)"), harmless("dx✓")
    ("'=HYPERLINK(1)", 'dx✓')
    """
    return f"'{cell}" if cell.startswith(FORMULAS) else cell


def check_writable(path: Path) -> None:
    """Refuse before hours of grading what cannot be written after them."""
    folder = path.parent
    if path.is_dir():
        raise UserError(f"--csv {path} is a folder; give the name of a file.")
    if not folder.is_dir():
        raise UserError(f"--csv {path}: there is no folder {folder}.")
    if not os.access(folder, os.W_OK):
        raise UserError(f"--csv {path}: the folder {folder} cannot be written to.")


def write_csv(path: Path, grades: Sequence[Grade]) -> None:
    """Write all rows, or leave what was there."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(COLUMNS)
                writer.writerows([harmless(cell) for cell in cells(grade)] for grade in grades)
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error
