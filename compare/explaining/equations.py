"""The equations of a class: which variant holds, its text read, printed as LaTeX and MathML."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from compare.explaining.evaluate import Definition, definition
from compare.explaining.language import names, parse
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

    @property
    def used(self) -> set[str]:
        """Every name that is read, indices among them, and every function that is called."""
        trees = [parse(right) for _, right in self.sides]
        calls = {n.func.id for t in trees for n in ast.walk(t)
                 if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}  # fmt: skip
        return calls | {name for tree in trees for name in names(tree)}


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
def symbols() -> Symbols:
    """Return how names print."""
    text = Path(__file__).with_name("symbols.toml").read_text("utf-8")
    return tomllib.loads(text)["symbols"]


def read(text: str) -> Equation:
    """Read an equation as it stands on a class: `left = right`, then `where …` and `matrix: …`.

    >>> read("y[i] = x[i] * g[i]\\nwhere g[i] = sigma(x[i])").where
    ('g[i] = sigma(x[i])',)
    """
    first, *rest = text.split("\n")
    left, _, right = first.partition(" = ")
    where = tuple(line.removeprefix("where ") for line in rest if line.startswith("where "))
    matrix = [line.removeprefix("matrix: ") for line in rest if line.startswith("matrix: ")]
    if not right or len(where) + len(matrix) != len(rest) or len(matrix) > 1:
        raise ValueError(f"An equation is `left = right`, then `where` and `matrix:` lines: {text}")
    return Equation(left, right, where, "".join(matrix))


def equation(owner: Any, role: str, holds: Callable[[str], bool]) -> Equation:
    """Return the formula of an object for a role, in the variant that holds.

    Raises:
        KeyError: there is none.
    """
    return read(owner.equations[chosen(owner.equations, role, holds)])


def chosen(equations: Mapping[str, str], role: str, holds: Callable[[str], bool]) -> str:
    """Return the key of a role whose variant has the most parts that hold; the later of equals."""
    fits = []
    for key in equations:
        name, _, variant = key.partition("/")
        parts = variant.split(", ") if variant else []
        if name == role and all(map(holds, parts)):
            fits.append((len(parts), key))
    if not fits:
        raise KeyError(role)
    most = max(count for count, _ in fits)
    return [key for count, key in fits if count == most][-1]
