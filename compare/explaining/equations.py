"""The formulas of `equations.toml`: looked up by class and role, printed as LaTeX and MathML."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from compare.explaining.evaluate import Definition, definition
from compare.explaining.language import parse
from compare.explaining.render import Latex, Plain, Symbols


class Equation(NamedTuple):
    """One formula: `left = right`, the names that it uses, and the same with matrices."""

    left: str
    right: str
    where: tuple[str, ...] = ()
    matrix: str = ""

    @property
    def definitions(self) -> dict[str, Definition]:
        return dict(map(definition, self.where))

    def plain(self) -> list[str]:
        """Return the formula and its definitions as lines of Unicode."""
        return [_line(Plain(symbols()), side) for side in self.sides]

    def latex(self) -> list[str]:
        """Return the same as LaTeX."""
        return [_line(Latex(symbols()), side) for side in self.sides]

    def mathml(self) -> list[str]:
        return [mathml(line) for line in self.latex()]

    @property
    def sides(self) -> list[tuple[str, str]]:
        pairs = [text.partition(" = ") for text in self.where]
        return [(self.left, self.right), *((left, right) for left, _, right in pairs)]


def _line(printer: Plain, side: tuple[str, str]) -> str:
    left, right = (printer.text(parse(text)) for text in side)
    return f"{left} = {right}"


@cache
def mathml(latex: str) -> str:
    """Convert LaTeX to MathML, without a network."""
    from latex2mathml.converter import convert

    text = convert(latex, display="block")
    for sign in ("&#x02211;", "&#x0220F;"):  # Σ and Π: large, also without a mathematical font
        text = text.replace(f"<mo>{sign}</mo>", f'<mo class="big" largeop="false">{sign}</mo>')
    return text


@cache
def tables() -> dict[str, Any]:
    """Return the data file."""
    return tomllib.loads(Path(__file__).with_name("equations.toml").read_text("utf-8"))


def symbols() -> Symbols:
    return tables()["symbols"]


def equation(owner: str, role: str, variant: str = "") -> Equation:
    """Return the formula of a class for a role.

    Raises:
        KeyError: there is none.
    """
    entry = tables()[owner][f"{role}/{variant}" if variant else role]
    return Equation(entry["left"], entry["right"], tuple(entry.get("where", ())),
                    entry.get("matrix", ""))  # fmt: skip


def with_gradient(formula: Equation, variant: str) -> Equation:
    """Return an optimiser's formula with the definition of the gradient that it uses."""
    used = f"{formula.right} {formula.where}"
    if "g[i]" not in used:
        return formula
    return formula._replace(where=(*formula.where, *tables()["gradient"][variant]))


def variants(owner: str, role: str) -> list[str]:
    """Return the variants of a role that the data file has."""
    found = [key.partition("/") for key in tables()[owner]]
    return [variant for name, _, variant in found if name == role]
