"""What the exercises' commands print: lists, one grade with its hints, tables."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from compare.words import _, said
from teach.exercises.grade import (
    CRASHED,
    EMPTY,
    FAILED,
    LATE,
    REFUSED,
    RIGHT,
    UNUSABLE,
    WRONG,
    Grade,
    Tensor,
)

if TYPE_CHECKING:
    from teach.exercises.definition import Exercise
    from teach.exercises.verify import Row


def _shapes() -> str:
    return _(
        "two shapes do not fit. Write the shape of every factor below it, and of the answer: a "
        "summed index stands last in the left factor of a matrix product and first in the right "
        "one, so a transpose may be missing."
    )


def listing(known: dict[str, Exercise]) -> str:
    """Return the exercises under the headings of their levels."""
    width = max(len(name) for name in known)
    columns = max(60, shutil.get_terminal_size().columns)
    indent = " " * (width + 4)
    lines, level = [], ""
    for name, found in known.items():
        if found.about.level != level:
            level = found.about.level
            lines += ["", _(level[:1].upper() + level[1:])]
        lines.append(f"  {name:<{width}}  {_(found.about.title)}")
        lines += textwrap.wrap(
            _(found.about.summary), columns, initial_indent=indent, subsequent_indent=indent
        )
    return "\n".join([*lines[1:], "", _("Begin with: handgrad exercise start NAME")])


def shown(grade: Grade, exercise: Exercise, hints: int) -> str:
    """Return one grade in words, with as many steps of hints as asked for."""
    lines = [f"{_(exercise.about.title)} ({grade.exercise}): {_headline(grade)}"]
    if grade.tensors:
        lines += ["", *table(grade.tensors)]
    if grade.printed:
        lines += ["", _("Your code printed:"), *(f"  {p}" for p in grade.printed.splitlines()[:10])]
    if grade.status == EMPTY:
        text = _("Fill in {backward}; its docstring says what is wanted.")
        lines += ["", text.format(backward=exercise.about.backward)]
    lines += hinted(grade, exercise, hints)
    return "\n".join(lines)


def _headline(grade: Grade) -> str:
    if grade.status == RIGHT:
        return _("all right.")
    if grade.status == WRONG:
        right = sum(t.right for t in grade.tensors)
        text = _("{right} of {all} right, {score}.")
        return text.format(right=right, all=len(grade.tensors), score=f"{grade.score:.0%}")
    return f"{_status(grade.status)}, 0%. {said(grade.message)}"


def _status(status: str) -> str:
    words = {RIGHT: _("right"), WRONG: _("wrong"), EMPTY: _("not filled in"),
             REFUSED: _("not allowed"), FAILED: _("error"), CRASHED: _("crashed"),
             LATE: _("timeout"), UNUSABLE: _("unusable")}  # fmt: skip
    return words[status]


def table(tensors: Sequence[Tensor]) -> list[str]:
    """Return one line per tensor: a mark, its name, and where it is wrong."""
    width = max(len(t.symbol) for t in tensors)
    return [f"  {'✓' if t.right else '✗'} {t.symbol:<{width}}  {_found(t)}" for t in tensors]


def _found(tensor: Tensor) -> str:
    if tensor.right or not tensor.where:
        return _("right") if tensor.right else _("wrong")
    return f"{_('wrong')} {said(tensor.where)}"


def hinted(grade: Grade, exercise: Exercise, hints: int) -> list[str]:
    """Return hints on the first tensor that is wrong, one step per `--hint`."""
    wrong = [t for t in grade.tensors if not t.right]
    if not hints:
        any_to_give = wrong or grade.status == FAILED
        return ["", _("For a hint: --hint (more: --hint --hint).")] if any_to_give else []
    if not wrong:
        return _without_grade(grade, exercise, hints)
    first = wrong[0]
    told = _("Hint 1, where: begin with {symbol}: {told}.")
    lines = ["", told.format(symbol=first.symbol, told=said(first.told.rstrip(".")))]
    if hints > 1:
        lines.append(_looks(said(first.cause) or _("no known mistake")))
    if hints > 2:
        lines.append(_index_form(_(first.hint) or _instead(first)))
    if hints > 3:
        lines.append(_("There are no more hints; the solution is printed by --solution."))
    return lines


def _looks(cause: str) -> str:
    return _("Hint 2, what it looks like: {cause}").format(cause=cause)


def _index_form(form: str) -> str:
    return _("Hint 3, the index form: {form}").format(form=form)


def _instead(tensor: Tensor) -> str:
    if tensor.quantity.startswith("output"):
        return _("it is not a gradient; forward is given, leave it as it was.")
    return _("it is not a gradient; whatever is handed over stays as it was, so work on copies.")


def _without_grade(grade: Grade, exercise: Exercise, hints: int) -> list[str]:
    """Return the index forms of a file that is not filled in yet, or fails."""
    if grade.status == FAILED:
        return _of_failure(grade, exercise, hints)
    if grade.status != EMPTY:
        return []
    first = exercise.gradients[0]
    lines = ["", _("Hint 1, where: begin with {symbol}.").format(symbol=f"d{first}")]
    if hints > 1:
        lines.append(_("Hint 2: there is no mistake yet to describe; write a first attempt."))
    if hints > 2:
        lines.append(_index_form(_(exercise.about.index_form[first])))
    return lines


def _of_failure(grade: Grade, exercise: Exercise, hints: int) -> list[str]:
    """Return hints for a file that raises: how to go on, and the index form of every gradient."""
    where = said(grade.error or grade.message)
    lines = ["", _("Hint 1, where: {where}").format(where=where)]
    if hints > 1:
        shapes = any(word in grade.error for word in ("matmul", "aligned", "broadcast", "shape"))
        runs = _("nothing can be graded until the file runs: mend that first.")
        lines.append(_looks(_shapes() if shapes else runs))
    if hints > 2:
        forms = exercise.about.index_form
        width = max(map(len, forms)) + 1
        lines.append(_("Hint 3, the index forms:"))
        lines += [f"  {f'd{name}':<{width}}  {_(forms[name])}" for name in exercise.gradients]
    return lines


def summary(grades: Sequence[Grade], seed: int) -> str:
    """Return a table of all submissions, and how many are how."""
    from teach.exercises.table import COLUMNS, cells

    heads = {"file": _("file"), "exercise": _("exercise"), "score": _("score"),
             "status": _("status"), "tensors": _("tensors"), "seconds": _("seconds")}  # fmt: skip
    rows = [[c[COLUMNS.index(w)] for w in heads] for c in map(cells, grades)]
    rows = [[*row[:3], _status(row[3]), *row[4:]] for row in rows]
    wanted = list(heads.values())
    widths = [max(len(r[i]) for r in [wanted, *rows]) for i in range(len(wanted))]
    widths[0] = min(widths[0], 48)
    lines = [
        "  ".join(
            f"{_short(cell, width):<{width}}" for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in [wanted, *rows]
    ]
    counts = Counter(g.status for g in grades)
    told = ", ".join(f"{n} {_status(status)}" for status, n in counts.most_common())
    mean = sum(g.score for g in grades) / len(grades)
    text = _("{n} submissions: {told}; mean score {mean}. Seed {seed}.")
    if len(grades) == 1:
        text = _("{n} submission: {told}; mean score {mean}. Seed {seed}.")
    last = text.format(n=len(grades), told=told, mean=f"{mean:.0%}", seed=seed)
    return "\n".join([*lines, "", last])


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"…{text[1 - width :]}"


def verified_table(rows: Sequence[Row]) -> str:
    """Return one line per version of an exercise that was tried."""
    width = max(len(r.exercise) for r in rows)
    lines = [
        f"{'✓' if r.passed else '✗'} {r.exercise:<{width}}  {r.version}: {said(r.found)}"
        + ("" if r.passed else "  " + _("(expected: {it})").format(it=said(r.expected)))
        for r in rows
    ]
    bad = sum(not r.passed for r in rows)
    last = _("{bad} of {all} not as expected.") if bad else _("All {all} as expected.")
    return "\n".join([*lines, "", last.format(bad=bad, all=len(rows))])
