"""Which causes are right for a mutant: the reviewed table of `expected.toml`, read by its edit."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from compare.diagnose.causes import Cause
from evidence.mutation.naming.edit import Edit

FILE = Path(__file__).with_name("expected.toml")
VALUE = re.compile(r"=(-?[\d.]+(?:e[+-]?\d+)?) instead of")
TIMES = re.compile(r"× (-?[\d.]+(?:e[+-]?\d+)?)")


class Row(NamedTuple):
    """Edits (see `Edit`; an empty condition always holds), the causes right for them, and why."""

    kinds: frozenset[str]
    because: str
    operators: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()
    touched: str = ""
    place: str = ""

    def fits(self, edit: Edit) -> bool:
        return (
            (not self.operators or edit.operator in self.operators)
            and (not self.parts or bool(self.parts & edit.parts))
            and bool(re.search(self.touched, f"{edit.touched} "))
            and bool(re.search(self.place, edit.place))
        )


@cache
def rows(path: Path = FILE) -> tuple[Row, ...]:
    """Read the table."""
    found = tomllib.loads(path.read_text("utf-8"))["row"]
    return tuple(
        Row(
            frozenset(row["kinds"]), row["because"], frozenset(row.get("operators", ())),
            frozenset(row.get("parts", ())), row.get("touched", ""), row.get("place", ""),
        )
        for row in found
    )  # fmt: skip


def expected(edit: Edit) -> frozenset[str]:
    """Return the kinds of cause that are right for an edit."""
    return frozenset().union(*(row.kinds for row in rows() if row.fits(edit)))


def is_right(cause: Cause, edit: Edit) -> bool:
    """Whether a cause is the planted one: of a right kind, and with the planted number if any."""
    return cause.kind in expected(edit) and _number_fits(cause, edit)


def _number_fits(cause: Cause, edit: Edit) -> bool:
    """Compare the number that a cause tells with the planted one, where both are of one kind."""
    if edit.number is None:
        return True
    if edit.operator == "factor" and cause.kind == "factor 2" and _is_method(edit):
        told = TIMES.search(cause.evidence)
        return told is None or abs(float(told[1]) - edit.number) <= 1e-5 * edit.number
    if edit.operator == "constant" and cause.kind == "argument" and _is_default(edit):
        told = VALUE.search(cause.evidence)
        return told is None or abs(float(told[1]) - edit.number) <= 1e-4 * abs(edit.number)
    return True


def _is_method(edit: Edit) -> bool:
    return not edit.place.rpartition(".")[2].startswith("_") and _has_class(edit)


def _is_default(edit: Edit) -> bool:
    """Whether the number is a setting's default: set in a class body or an `__init__`."""
    return _has_class(edit) and edit.place.rpartition(".")[2] in ("__init__", _class(edit))


def _has_class(edit: Edit) -> bool:
    return bool(_class(edit))


def _class(edit: Edit) -> str:
    return next((name for name in edit.place.split(".") if name[:1].isupper()), "")
