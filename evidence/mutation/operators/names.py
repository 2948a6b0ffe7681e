"""Mistakes in which value is meant: the input for the output, a stale cache."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evidence.mutation.operators.base import Found, operator, replaces, rewrites
from evidence.mutation.scope import Scope
from evidence.mutation.tree import Edit, Place, called, expression, names, statement

operator("variable", "another variable, cache field or setting of the same formula is used")
operator("stale", "backward sees the cache of the first call, or of the latest; no state is kept")

NEIGHBOURS = 2  # how many other variables are tried in the place of each


@replaces("variable", ast.Name)
def other_variable(node: ast.Name, scope: Scope) -> Iterator[ast.AST]:
    """Try the variables that were set just before and after this one."""
    known = [name for name in scope.locals if name != "cache"]
    if not isinstance(node.ctx, ast.Load) or node.id not in known or _is_caller(node, scope):
        return
    others = [n for n in known if n != node.id and _set_before(n, node, scope)]
    here = known.index(node.id)
    others.sort(key=lambda n: abs(known.index(n) - here))
    yield from (ast.Name(n, ast.Load()) for n in others[:NEIGHBOURS])


def _is_caller(node: ast.Name, scope: Scope) -> bool:
    """Whether the name is called, or only tells a size: alike in all arrays of a formula."""
    parent = scope.parents.get(node)
    if isinstance(parent, ast.Call):
        return parent.func is node or called(parent) == "len"
    sizes = ("shape", "ndim", "dtype", "size", "items", "keys")
    return isinstance(parent, ast.Attribute) and parent.attr in sizes


def _set_before(name: str, node: ast.Name, scope: Scope) -> bool:
    return name in scope.arguments or scope.first_set.get(name, node.lineno) < node.lineno


@replaces("variable", ast.Attribute)
def other_field(node: ast.Attribute, scope: Scope) -> Iterator[ast.AST]:
    """cache.y -> another field of the cache, or the upstream gradient; self.alpha -> self.eps."""
    if not isinstance(node.ctx, ast.Load) or not isinstance(node.value, ast.Name):
        return
    if called(scope.parents.get(node, node)) == "len":
        return
    if node.value.id == "cache":
        fields = [f for f in _cache_fields(scope) if f != node.attr]
        yield from (ast.Attribute(node.value, f, ast.Load()) for f in fields)
        if "grad_output" in scope.arguments:
            yield ast.Name("grad_output", ast.Load())
    elif node.value.id == "self" and scope.owner is not None:
        settings = _settings(scope.owner)
        if node.attr in settings and len(settings) > 1:
            other = settings[(settings.index(node.attr) + 1) % len(settings)]
            yield ast.Attribute(node.value, other, ast.Load())


def _cache_fields(scope: Scope) -> list[str]:
    """Return the fields of the NamedTuple that the argument `cache` is annotated with."""
    arguments = scope.node.args.args if isinstance(scope.node, ast.FunctionDef) else []
    kinds = [ast.unparse(a.annotation) for a in arguments if a.arg == "cache" and a.annotation]
    for node in scope.module.body:
        if isinstance(node, ast.ClassDef) and node.name in kinds:
            return _fields(node)
    return []


def _fields(node: ast.ClassDef) -> list[str]:
    return [s.target.id for s in node.body
            if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]  # fmt: skip


def _settings(owner: ast.ClassDef) -> list[str]:
    """Return the settings of a class: dataclass fields, or what __init__ sets on self."""
    inits = [s for s in owner.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"]
    stored = [
        n.attr
        for init in inits
        for n in ast.walk(init)
        if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)
    ]
    return list(dict.fromkeys(stored or _fields(owner)))


@rewrites("stale")
def stale_cache(scope: Scope) -> Iterator[Found]:
    """forward's cache is kept on the layer: the first one for ever, or the latest for all."""
    if not scope.name.endswith(".forward") or scope.owner is None:
        return
    backward = next((s for s in scope.owner.body if getattr(s, "name", "") == "backward"), None)
    for place, node in scope.places():
        if not isinstance(node, ast.Return) or not isinstance(node.value, ast.Tuple):
            continue
        value, cache = node.value.elts
        if not called(cache).endswith(("Cache", "Residual")) or not names(cache)[1:]:
            continue  # not a cache, or one that holds nothing
        first = expression(f"self.__dict__.setdefault('first', {ast.unparse(cache)})")
        yield node.lineno, (Edit(place, ast.Return(ast.Tuple([value, first], ast.Load()))),)
        if isinstance(backward, ast.FunctionDef):
            keep = expression(f"self.__dict__.update(latest={ast.unparse(cache)}) or self.latest")
            new = ast.Return(ast.Tuple([value, keep], ast.Load()))
            begin = ast.If(
                ast.Constant(True), [statement("cache = self.latest"), backward.body[0]], []
            )
            yield node.lineno, (Edit(place, new), Edit(Place(backward, "body", 0), begin))


@rewrites("stale")
def forgotten_state(scope: Scope) -> Iterator[Found]:
    """An optimiser returns the state that it was given."""
    if not scope.name.endswith(".update") or "state" not in scope.arguments:
        return
    for place, node in scope.places():
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            new = ast.Tuple([node.value.elts[0], ast.Name("state", ast.Load())], ast.Load())
            if ast.dump(new) != ast.dump(node.value):
                yield node.lineno, (Edit(place, ast.Return(new)),)
