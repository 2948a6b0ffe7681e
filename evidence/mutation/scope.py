"""What of a module is a formula: everything but docstrings, annotations, checks and their messages.

Mistakes are planted in what computes. A condition that only guards a `raise`, a value that only
such conditions read, functions that only check or print, and types are left as they are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from evidence.mutation.tree import Function, Place, called, children, names

CHECKS = re.compile(r"^_*(check|nonnegative|at_least|setattr)")
PRINTS = {"extra_repr", "__repr__", "__str__", "__post_init__", "axes_variant"}
TYPES = {"annotation", "returns", "decorator_list", "bases", "type_comment"}
Assignment = ast.Assign | ast.AugAssign | ast.AnnAssign
EXAMPLES = {"Draw", "Example"}  # what other modules' examples are made of
FLAGS = {"strict", "frozen", "dtype"}  # keyword arguments that are not part of a formula


@dataclass(frozen=True)
class Scope:
    """A function, a class body or a module, whose statements are mutated under one name."""

    name: str  # qualified, as in `Linear.backward`; "" for the module
    node: ast.AST
    owner: ast.ClassDef | None = None  # the class of a method
    module: ast.Module = field(default_factory=lambda: ast.Module([], []))

    @property
    def statements(self) -> list[ast.stmt]:
        if isinstance(self.node, Function):
            return self.node.body
        return [s for s in self.node.body if _is_constant(s)]  # type: ignore[attr-defined]

    @property
    def arguments(self) -> list[str]:
        """The function's parameters, without `self`."""
        if not isinstance(self.node, Function):
            return []
        a = self.node.args
        return [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs) if x.arg != "self"]

    @cached_property
    def locals(self) -> list[str]:
        """Parameters and variables in the order in which they are first set.

        Without the variables of comprehensions, and those that only conditions of a raise read.
        """
        if not isinstance(self.node, Function):
            return []
        inner = {name for c in ast.walk(self.node) if isinstance(c, ast.comprehension)
                 for name in names(c.target, ast.Store)}  # fmt: skip
        stored = [*self.arguments, *names(self.node, ast.Store)]
        return [name for name in dict.fromkeys(stored) if name not in inner | self.error_only]

    @cached_property
    def first_set(self) -> dict[str, int]:
        """The first line in which each variable is set."""
        stored = [n for n in ast.walk(self.node)
                  if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]  # fmt: skip
        return {n.id: n.lineno for n in sorted(stored, key=lambda n: -n.lineno)}

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """Every node's parent."""
        return {child: node for node in ast.walk(self.node) for _, child in children(node)}

    @cached_property
    def error_only(self) -> set[str]:
        """Variables that nothing but conditions of a `raise` and messages read."""
        if not isinstance(self.node, Function):
            return set()
        assigned = (n for n in ast.walk(self.node) if isinstance(n, Assignment))
        stored = {n for a in assigned for t in _targets(a) for n in names(t, ast.Store)}
        dead: set[str] = set()
        while True:
            read: set[str] = set()
            for s in self.statements:
                read |= _read_by_formulas(s, dead)
            found = stored - read - set(self.arguments)
            if found <= dead:
                return dead
            dead = found

    def places(self) -> Iterator[tuple[Place, ast.AST]]:
        """Yield every node that belongs to a formula, with its place, outer ones first."""
        if isinstance(self.node, Function):
            defaults = self.node.args
            for place, node in children(defaults):
                if place.field in ("defaults", "kw_defaults"):
                    yield from _walk(place, node, set())
        for place, node in children(self.node):
            if node in self.statements:
                yield from _walk(place, node, self.error_only)

    def blocks(self) -> Iterator[tuple[ast.AST, str, list[ast.stmt]]]:
        """Yield every list of statements with its owner and field."""
        if not isinstance(self.node, Function):
            return
        for node in ast.walk(self.node):
            for field_name in ("body", "orelse"):
                block = getattr(node, field_name, None)
                if isinstance(block, list) and len(block) > 1:
                    yield node, field_name, block


def scopes(tree: ast.Module) -> list[Scope]:
    """Return the module, its classes, functions and methods, each as a scope of its own.

    A function that nothing but checks and messages call is left out with them.
    """
    found = [Scope("", tree, module=tree), *_scopes(tree, "", None, tree)]
    while True:
        kept = [s for s in found if not _is_called(s, tree) or _called_by_formulas(s, found)]
        if len(kept) == len(found):
            return found
        found = kept


def _is_called(scope: Scope, tree: ast.Module) -> bool:
    """Whether a function is called in its module; one that is not is called from elsewhere."""
    name = scope.name.rpartition(".")[2]
    calls = (called(node) for node in ast.walk(tree) if isinstance(node, ast.Call))
    return isinstance(scope.node, Function) and not name.startswith("__") and name in calls


def _called_by_formulas(scope: Scope, all_scopes: list[Scope]) -> bool:
    name = scope.name.rpartition(".")[2]
    return any(
        name in (getattr(node, "id", ""), getattr(node, "attr", ""))
        for any_scope in all_scopes
        for _, node in any_scope.places()
    )


def _scopes(
    parent: ast.AST, prefix: str, owner: ast.ClassDef | None, module: ast.Module
) -> Iterator[Scope]:
    for node in getattr(parent, "body", []):
        if isinstance(node, ast.ClassDef):
            yield Scope(prefix + node.name, node, module=module)
            yield from _scopes(node, f"{prefix}{node.name}.", node, module)
        elif isinstance(node, Function) and not is_check(node):
            yield Scope(prefix + node.name, node, owner, module)


def is_check(function: Function) -> bool:
    """Return whether a function only checks or prints: it returns text, or nothing and raises."""
    if function.name in PRINTS or getattr(function.returns, "id", "") == "str":
        return True
    returns = any(isinstance(n, ast.Return) and n.value is not None for n in ast.walk(function))
    raises = any(isinstance(n, ast.Raise) for n in ast.walk(function))
    delegates = all(is_guard(s) for s in function.body)
    return not returns and function.name != "__init__" and (raises or delegates)


def is_guard(node: ast.AST) -> bool:
    """Return whether a statement only refuses: `raise`, `if …: raise`, a call of a check."""
    if isinstance(node, ast.Raise | ast.Pass):
        return True
    if isinstance(node, ast.If):
        return not node.orelse and is_guard(node.body[-1]) and all(map(_refuses, node.body))
    if isinstance(node, ast.For):
        return all(map(is_guard, node.body))
    return isinstance(node, ast.Expr) and bool(CHECKS.match(called(node.value)))


def _refuses(node: ast.stmt) -> bool:
    """Inside an `if` that ends in a raise: what leads up to it."""
    return is_guard(node) or isinstance(node, ast.Assign | ast.AugAssign)


def _is_constant(node: ast.stmt) -> bool:
    """Whether a class or module sets a number here: not a type alias, a list or a table."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return False
    tables = (ast.Subscript, ast.List, ast.Tuple, ast.Dict, ast.DictComp)
    if isinstance(node, ast.Assign) and isinstance(node.value, tables):
        return False
    if any(called(n) in EXAMPLES for n in ast.walk(node.value)):
        return False
    return any(isinstance(n, ast.Constant) for n in ast.walk(node.value))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr | ast.FormattedValue)


def _skipped(place: Place, node: ast.AST, dead: set[str]) -> bool:
    if place.field in TYPES or is_guard(node) or _is_text(node):
        return True
    if isinstance(node, ast.keyword):
        return node.arg in FLAGS
    if isinstance(node, ast.ExceptHandler | ast.arguments | ast.ClassDef):
        return True
    if isinstance(node, Assignment):
        targets = _targets(node)
        stored = {name for target in targets for name in names(target, ast.Store)}
        return bool(stored) and stored <= dead and not any(map(_is_part, targets))
    return False


def _is_part(target: ast.expr) -> bool:
    """Whether an item or attribute is set, which others may read."""
    return isinstance(target, ast.Attribute | ast.Subscript)


def _targets(node: Assignment) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _walk(place: Place, node: ast.AST, dead: set[str]) -> Iterator[tuple[Place, ast.AST]]:
    if _skipped(place, node, dead):
        return
    yield place, node
    for inner_place, inner in children(node):
        yield from _walk(inner_place, inner, dead)


def _read_by_formulas(node: ast.AST, dead: set[str]) -> set[str]:
    walked = _walk(Place(node, "", None), node, dead)
    return {n.id for _, n in walked if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
