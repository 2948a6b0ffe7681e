"""The grades as rows of text: one per submission."""

from __future__ import annotations

from compare.report.rendering.spreadsheet import one_line
from teach.exercises.grade import Grade

COLUMNS = ("file", "exercise", "score", "status", "tensors", "causes", "message", "error",
           "seconds", "seed")  # fmt: skip


def cells(grade: Grade) -> list[str]:
    """Return a grade's row, as text without line breaks."""
    tensors = " ".join(f"{t.symbol}{'✓' if t.right else '✗'}" for t in grade.tensors)
    causes = "; ".join(f"{t.symbol}: {t.cause}" for t in grade.tensors if not t.right)
    row = (grade.file, grade.exercise, f"{grade.score:.4g}", grade.status, tensors, causes,
           grade.message, grade.error, f"{grade.seconds:.2f}", str(grade.seed))  # fmt: skip
    return [one_line(cell) for cell in row]
