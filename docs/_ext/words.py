"""What lessons print, for translators: `_("…")`, headings of tables, captions, axes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

CAPTIONS = {"figure": 0, "drawing_of": 1, "neurons": 1, "network": 1}  # which argument it is
AXES = ("xlabel", "ylabel", "title", "label")


def extract(file: Any, keywords: Any, tags: Any, options: Any) -> Iterator[tuple]:
    """Yield (line, function, message, comments), as Babel asks of an extractor."""
    for call in ast.walk(ast.parse(file.read())):
        if isinstance(call, ast.Call):
            for text in _words(call, getattr(call.func, "id", getattr(call.func, "attr", ""))):
                if isinstance(text, ast.Constant) and isinstance(text.value, str) and text.value:
                    yield text.lineno, None, text.value, []


def _words(call: ast.Call, name: str) -> Iterator[ast.expr | None]:
    if name == "_":
        yield from call.args
    if name == "table":
        yield from (key for arg in call.args if isinstance(arg, ast.Dict) for key in arg.keys)
    if name in CAPTIONS:
        yield from call.args[CAPTIONS[name] :][:1]
        yield from (word.value for word in call.keywords if word.arg in AXES)
