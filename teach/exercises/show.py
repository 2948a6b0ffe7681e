"""What the exercises' commands print: lists, one grade with its hints, tables."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from teach.exercises.grade import EMPTY, FAILED, RIGHT, WRONG, Grade, Tensor

if TYPE_CHECKING:
    from teach.exercises.definition import Exercise
    from teach.exercises.verify import Row


SHAPES = (
    "two shapes do not fit. Write the shape of every factor below it, and of the answer: a summed "
    "index stands last in the left factor of a matrix product and first in the right one, so a "
    "transpose may be missing."
)
RUNS = "nothing can be graded until the file runs: mend that first."


def listing(known: dict[str, Exercise]) -> str:
    """Return the exercises under the headings of their levels."""
    width = max(len(name) for name in known)
    columns = max(60, shutil.get_terminal_size().columns)
    indent = " " * (width + 4)
    lines, level = [], ""
    for name, found in known.items():
        if found.about.level != level:
            level = found.about.level
            lines += ["", level[:1].upper() + level[1:]]
        lines.append(f"  {name:<{width}}  {found.about.title}")
        lines += textwrap.wrap(
            found.about.summary, columns, initial_indent=indent, subsequent_indent=indent
        )
    return "\n".join([*lines[1:], "", "Begin with: handgrad exercise start NAME"])


def shown(grade: Grade, exercise: Exercise, hints: int) -> str:
    """Return one grade in words, with as many steps of hints as asked for."""
    lines = [f"{exercise.about.title} ({grade.exercise}): {_headline(grade)}"]
    if grade.tensors:
        lines += ["", *table(grade.tensors)]
    if grade.printed:
        lines += ["", "Your code printed:", *(f"  {p}" for p in grade.printed.splitlines()[:10])]
    if grade.status == EMPTY:
        lines += ["", f"Fill in {exercise.about.backward}; its docstring says what is wanted."]
    lines += hinted(grade, exercise, hints)
    return "\n".join(lines)


def _headline(grade: Grade) -> str:
    if grade.status == RIGHT:
        return "all right."
    if grade.status == WRONG:
        right = sum(t.right for t in grade.tensors)
        return f"{right} of {len(grade.tensors)} right, {grade.score:.0%}."
    return f"{grade.status}, 0%. {grade.message}"


def table(tensors: Sequence[Tensor]) -> list[str]:
    """Return one line per tensor: a mark, its name, and where it is wrong."""
    width = max(len(t.symbol) for t in tensors)
    return [
        f"  {'✓' if t.right else '✗'} {t.symbol:<{width}}  "
        f"{'right' if t.right else f'wrong {t.where}' if t.where else 'wrong'}"
        for t in tensors
    ]


def hinted(grade: Grade, exercise: Exercise, hints: int) -> list[str]:
    """Return hints on the first tensor that is wrong, one step per `--hint`."""
    wrong = [t for t in grade.tensors if not t.right]
    if not hints:
        told = wrong or grade.status == FAILED
        return ["", "For a hint: --hint (more: --hint --hint)."] if told else []
    if not wrong:
        return _without_grade(grade, exercise, hints)
    first = wrong[0]
    lines = ["", f"Hint 1, where: begin with {first.symbol}: {first.told.rstrip('.')}."]
    if hints > 1:
        lines.append(f"Hint 2, what it looks like: {first.cause or 'no known mistake'}")
    if hints > 2:
        form = first.hint or f"it is not a gradient; {_instead(first)}."
        lines.append(f"Hint 3, the index form: {form}")
    if hints > 3:
        lines.append("There are no more hints; the solution is printed by --solution.")
    return lines


def _instead(tensor: Tensor) -> str:
    if tensor.quantity.startswith("output"):
        return "forward is given, leave it as it was"
    return "whatever is handed over stays as it was, so work on copies"


def _without_grade(grade: Grade, exercise: Exercise, hints: int) -> list[str]:
    """Return the index forms of a file that is not filled in yet, or fails."""
    if grade.status == FAILED:
        return _of_failure(grade, exercise, hints)
    if grade.status != EMPTY:
        return []
    first = exercise.gradients[0]
    lines = ["", f"Hint 1, where: begin with d{first}."]
    if hints > 1:
        lines.append("Hint 2: there is no mistake yet to describe; write a first attempt.")
    if hints > 2:
        lines.append(f"Hint 3, the index form: {exercise.about.index_form[first]}")
    return lines


def _of_failure(grade: Grade, exercise: Exercise, hints: int) -> list[str]:
    """Return hints for a file that raises: how to go on, and the index form of every gradient."""
    lines = ["", f"Hint 1, where: {grade.error or grade.message}"]
    if hints > 1:
        shapes = any(word in grade.error for word in ("matmul", "aligned", "broadcast", "shape"))
        lines.append(f"Hint 2, what it looks like: {SHAPES if shapes else RUNS}")
    if hints > 2:
        forms = exercise.about.index_form
        width = max(map(len, forms)) + 1
        lines.append("Hint 3, the index forms:")
        lines += [f"  {f'd{name}':<{width}}  {forms[name]}" for name in exercise.gradients]
    return lines


def summary(grades: Sequence[Grade], seed: int) -> str:
    """Return a table of all submissions, and how many are how."""
    from teach.exercises.table import COLUMNS, cells

    wanted = ("file", "exercise", "score", "status", "tensors", "seconds")
    rows = [[c[COLUMNS.index(w)] for w in wanted] for c in map(cells, grades)]
    widths = [max(len(r[i]) for r in [list(wanted), *rows]) for i in range(len(wanted))]
    widths[0] = min(widths[0], 48)
    lines = [
        "  ".join(
            f"{_short(cell, width):<{width}}" for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in [list(wanted), *rows]
    ]
    counts = Counter(g.status for g in grades)
    told = ", ".join(f"{n} {status}" for status, n in counts.most_common())
    mean = sum(g.score for g in grades) / len(grades)
    total = f"{len(grades)} submission{'s' if len(grades) != 1 else ''}: {told}"
    return "\n".join([*lines, "", f"{total}; mean score {mean:.0%}. Seed {seed}."])


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"…{text[1 - width :]}"


def verified_table(rows: Sequence[Row]) -> str:
    """Return one line per version of an exercise that was tried."""
    width = max(len(r.exercise) for r in rows)
    lines = [
        f"{'✓' if r.passed else '✗'} {r.exercise:<{width}}  {r.version}: {r.found}"
        + ("" if r.passed else f"  (expected: {r.expected})")
        for r in rows
    ]
    bad = sum(not r.passed for r in rows)
    last = f"{bad} of {len(rows)} not as expected." if bad else f"All {len(rows)} as expected."
    return "\n".join([*lines, "", last])
