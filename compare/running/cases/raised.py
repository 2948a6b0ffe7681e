"""Where a user's function failed, and on arrays of which shapes."""

from __future__ import annotations

import ast
import linecache
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

HERE, LIBRARY = str(Path(__file__).parents[2]), sysconfig.get_path("stdlib")
LONGEST = 200


def one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    told = f": {text[:LONGEST]}{'…' if len(text) > LONGEST else ''}" if text else ""
    return f"{type(error).__name__}{told}"


def located(error: Exception) -> str:
    """Return an error with the user's line that raised it, and the shapes of what it is about."""
    places = [place for place in _places(error) if _is_the_users(place)]
    if not places:
        return one_line(error)
    last = _summary(places[-1])
    about_arrays = isinstance(error, ValueError) or type(error) is RuntimeError  # torch's
    shapes = operand_shapes(places[-1]) if about_arrays else ""
    told = f"{one_line(error)} (line {last.lineno} of {last.filename}: {last.line})"
    return f"{told}; {shapes}" if shapes else told


def _places(error: Exception) -> Iterator[TracebackType]:
    place = error.__traceback__
    while place is not None:
        yield place
        place = place.tb_next


def _is_the_users(place: TracebackType) -> bool:
    file = place.tb_frame.f_code.co_filename
    return "site-packages" not in file and not file.startswith((HERE, LIBRARY))


def _summary(place: TracebackType) -> traceback.FrameSummary:
    return traceback.extract_tb(place, limit=1)[0]


def operand_shapes(place: TracebackType) -> str:
    """Return the shapes of the arrays in the operation that failed: "dout has shape (4, 5)"."""
    frame = place.tb_frame
    names = {**frame.f_globals, **frame.f_locals}
    found: dict[str, tuple[int, ...]] = {}
    for part in _operands(_failed(_summary(place))):
        for node in _readable(part):
            shape = getattr(_value(node, names), "shape", None)
            if isinstance(shape, tuple):
                found[ast.unparse(node)] = tuple(shape)
    texts = [f"{name} has shape {shape}" for name, shape in found.items()]
    return ", ".join([*texts[:1], *(text.replace(" has shape", "") for text in texts[1:])])


def _failed(summary: traceback.FrameSummary) -> ast.AST | None:
    """Return the expression or statement that was being run, out of the source."""
    first, last, start, end = summary.lineno, summary.end_lineno, summary.colno, summary.end_colno
    if first is None or last is None or start is None or end is None:
        return None
    lines = [line.encode() for line in linecache.getlines(summary.filename)[first - 1 : last]]
    if not lines:
        return None
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    text = b"".join(lines).decode(errors="replace")
    for source in (f"(\n{text}\n)", text):  # an expression may be broken into lines
        try:
            statement = ast.parse(source).body[0]
        except (SyntaxError, ValueError, IndexError):
            continue
        return statement.value if isinstance(statement, ast.Expr) else statement
    return None


def _operands(node: ast.AST | None) -> list[ast.expr]:
    match node:
        case ast.BinOp(left=left, right=right):
            return [left, right]
        case ast.AugAssign(target=target, value=value):
            return [target, value]
        case ast.Call(func=ast.Attribute(value=owner), args=args):
            return [owner, *args]
        case ast.Call(args=args):
            return args
    return []


def _readable(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the node, or the largest parts of it whose value can be looked up without a call."""
    if _is_path(node):
        yield node
        return
    for child in ast.iter_child_nodes(node):
        yield from _readable(child)


def _is_path(node: ast.AST) -> bool:
    match node:
        case ast.Name() | ast.Constant():
            return True
        case ast.Attribute(value=owner):
            return _is_path(owner)
        case ast.Subscript(value=owner, slice=key):
            return _is_path(owner) and _is_path(key)
    return False


def _value(node: ast.AST, names: Mapping[str, Any]) -> Any:
    """Return what `cache["w"].T` stands for in the frame that failed; None if there is no telling.

    Args:
        node: a path.
        names: the frame's variables.
    """
    try:
        match node:
            case ast.Name(id=name):
                return names.get(name)
            case ast.Constant(value=value):
                return value
            case ast.Attribute(value=owner, attr=attribute):
                return getattr(_value(owner, names), attribute)
            case ast.Subscript(value=owner, slice=key):
                return _value(owner, names)[_value(key, names)]
    except Exception:  # a stranger's class may do anything
        pass
    return None
