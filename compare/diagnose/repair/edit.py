"""One change of a syntax tree, which can be made and taken back; and what code is made of."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

LONGEST = 110


class Place(NamedTuple):
    """Where a node hangs: `parent.field`, or `parent.field[at]`."""

    parent: Any
    field: str
    at: int | None

    @property
    def node(self) -> Any:
        held = getattr(self.parent, self.field)
        return held if self.at is None else held[self.at]

    def put(self, node: Any) -> None:
        if self.at is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.at] = node


class Edit(NamedTuple):
    """A change that may mend the code; less likely ones have a higher `rank`.

    Attributes:
        rank: how usual the mistake is that it mends.
        kind: what that mistake is called.
        changes: places and what is put there.
        statement: the statement it is part of.
    """

    rank: int
    kind: str
    changes: tuple[tuple[Place, Any], ...]
    statement: ast.stmt

    @contextmanager
    def made(self) -> Iterator[None]:
        """Change the tree for as long as this lasts."""
        before = [place.node for place, _ in self.changes]
        try:
            for (place, new), old in zip(self.changes, before, strict=True):
                place.put(_located(new, old))
            yield
        finally:
            for (place, _), old in zip(self.changes, before, strict=True):
                place.put(old)

    def told(self) -> str:
        """Say what is changed: "with `db = dout.sum(axis=0)` for `db = dout.mean(axis=0)`"."""
        old, new = self._texts()
        if new == "pass":
            return f"without `{old}`"
        lines = {getattr(place.node, "lineno", 0) for place, _ in self.changes}
        more = f", and alike on {len(lines)} lines" if len(lines) > 1 else ""
        return f"with `{new}` for `{old}`{more}"

    def _texts(self) -> tuple[str, str]:
        """Return the statement before and after; of a long one what is changed in it."""
        old = _head(self.statement)
        holder = next((p for p, _ in self.changes if p.node is self.statement), None)
        with self.made():
            new = _head(self.statement if holder is None else holder.node)
        if max(len(old), len(new)) <= LONGEST:
            return old, new
        place, put = self.changes[0]
        return _head(place.node), _head(put)


def _located(new: Any, old: Any) -> Any:
    """Give every node of what is put into a tree a line, which the compiler asks for."""
    if not isinstance(new, ast.AST):
        return new
    if not hasattr(new, "lineno"):
        ast.copy_location(new, old)
    return ast.fix_missing_locations(new)


def _head(statement: ast.AST) -> str:
    """Return a statement, or the head of one that holds others, on one line."""
    text = ast.unparse(ast.fix_missing_locations(statement))
    return text.split("\n", 1)[0] if hasattr(statement, "body") else " ".join(text.split())


Found = Iterator[tuple[int, str, Any]]  # rank, kind, what is put there


def places(node: ast.AST) -> Iterator[Place]:
    """Yield the place of every node below this one, outermost first."""
    for field, value in ast.iter_fields(node):
        below = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for at, child in below:
            if isinstance(child, ast.AST):
                yield Place(node, field, at)
                yield from places(child)


def base(node: ast.AST) -> str:
    """Return what is stored into: `dx` of `dx[i, j]`, `self.dW` of itself."""
    while isinstance(node, ast.Subscript | ast.Starred):
        node = node.value
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def each(target: ast.AST) -> list[ast.AST]:
    return list(target.elts) if isinstance(target, ast.Tuple | ast.List) else [target]


def parse(text: str) -> Any:
    return ast.parse(text, mode="eval").body
