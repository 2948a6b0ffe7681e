"""How a mistake is written down: a function from a node to what stands there by mistake."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from evidence.mutation.scope import Scope
from evidence.mutation.tree import Edit, Edits

Found = tuple[int, Edits]  # the line, and what to exchange
Replacing = Callable[[Any, Scope], Iterator[ast.AST]]
Rewriting = Callable[[Scope], Iterator[Found]]


class Operator(NamedTuple):
    """A kind of mistake: its name, one line about it, and the rules that plant it."""

    name: str
    summary: str
    replacing: list[tuple[type[ast.AST], Replacing]]
    rewriting: list[Rewriting]


OPERATORS: dict[str, Operator] = {}


def operator(name: str, summary: str) -> None:
    """Announce an operator; its rules follow."""
    OPERATORS[name] = Operator(name, summary, [], [])


def replaces(name: str, *types: type[ast.AST]) -> Callable[[Replacing], Replacing]:
    """Add a rule that exchanges one node of these types."""

    def register(rule: Replacing) -> Replacing:
        OPERATORS[name].replacing.extend((t, rule) for t in types)
        return rule

    return register


def rewrites(name: str) -> Callable[[Rewriting], Rewriting]:
    """Add a rule that makes several edits in one function."""

    def register(rule: Rewriting) -> Rewriting:
        OPERATORS[name].rewriting.append(rule)
        return rule

    return register


def found_in(scope: Scope) -> Iterator[tuple[str, int, Edits]]:
    """Yield every mistake that fits into a scope: operator, line, edits."""
    for place, node in scope.places():
        for op in OPERATORS.values():
            for kind, rule in op.replacing:
                if isinstance(node, kind):
                    for new in rule(node, scope):
                        yield op.name, node.lineno, (Edit(place, new),)  # type: ignore[attr-defined]
    for op in OPERATORS.values():
        for rewrite in op.rewriting:
            for line, edits in rewrite(scope):
                yield op.name, line, edits
