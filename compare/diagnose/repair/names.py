"""The variables of a function, and what may stand in their place."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from compare.pair.nests import attributes


class Names(list[str]):
    """The variables that hold numbers, in the order in which they come up; attributes, too.

    Args:
        tree: the function.
        variables: what they held when it ran; without it nothing is known of their shapes.
        literals: numbers that may be factors.
    """

    def __init__(
        self,
        tree: ast.FunctionDef,
        variables: Mapping[str, Any] | None = None,
        literals: Sequence[str] = (),
    ) -> None:
        self.literals, variables = literals, variables or {}
        found = [a.arg for a in tree.args.args if a.arg not in ("self", "ctx")]
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.append(node.id)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
                found.append(ast.unparse(node))
        found += [f"self.{name}" for name in attributes(variables.get("self"))]
        self.shapes = {name: _shape(name, variables) for name in found} if variables else {}
        loops = (n.target for n in ast.walk(tree) if isinstance(n, ast.For))
        self.loops = {n.id for t in loops for n in ast.walk(t) if isinstance(n, ast.Name)}
        super().__init__(n for n in dict.fromkeys(found) if self.shapes.get(n, ()) is not None)

    def factors(self) -> list[str]:
        """Return those that may be factors or terms."""
        return [n for n in self if n not in self.loops]

    def numbers(self) -> list[str]:
        """Return those that hold a single number."""
        return [n for n in self.factors() if not self.shapes.get(n)]

    def in_products(self) -> list[str]:
        """Return what may multiply or divide: variables, along every axis, lengths, 2, squares."""
        rows = [n for n in self.factors() if len(self.shapes.get(n) or ()) == 1]
        along = [f"{n}{axes}" for n in rows for axes in ("[:, None]", "[:, None, None]")]
        squares = [f"{n} ** 2" for n in self.numbers()]
        return [
            *self.factors(),
            *(f"len({n})" for n in self[:1]),
            "2",
            *self.literals,
            *squares,
            *along,
        ]

    def derivatives(self) -> list[str]:
        """Return factors that derivatives of usual functions have."""
        arrays = [n for n in self.factors() if self.shapes.get(n)]
        forms = ("(1 - {0} ** 2)", "({0} * (1 - {0}))", "({0} > 0)", "({0} > 0)[:, None]",
                 "np.sign({0})")  # fmt: skip
        return [form.format(name) for name in arrays for form in forms]

    def like(self, name: str) -> list[str]:
        """Return the others that may stand in a variable's place."""
        shape = self.shapes.get(name)
        return [n for n in self if n != name and (not self.shapes or self.shapes[n] == shape)]


def _shape(name: str, variables: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return a variable's shape; None if it holds no numbers."""
    owner, _, attribute = name.partition(".")
    value = variables.get(owner)
    value = getattr(value, attribute, None) if attribute else value
    if isinstance(value, int | float):
        return ()
    shape = getattr(value, "shape", None)
    return tuple(shape) if isinstance(shape, tuple) else None
