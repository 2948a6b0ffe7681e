"""NAME=VALUE arguments, with values as numbers or JSON lists."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from compare.errors import UserError


def parse_values(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the values by name.

    Raises:
        UserError: an argument is no NAME=VALUE, a name comes twice, or a value is no number.
    """
    found: dict[str, Any] = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            raise UserError(
                f"'{argument}' is no NAME=VALUE, such as x=2 or W=[[1,2],[3,4]]. Put quotes around "
                "an expression, and around lists with spaces."
            )
        if name in found:
            raise UserError(f"The value of '{name}' is given twice.")
        found[name] = parse_value(name, text)
    return found


def parse_value(name: str, text: str) -> Any:
    """Return a number, or nested lists of numbers.

    Raises:
        UserError: the text is neither.
    """
    try:
        value = float(text)
    except ValueError:
        try:
            value = json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            value = None
    if not _numbers(value):
        raise UserError(
            f"The value of {name} must be a finite number or a list of them, such as {name}=0.5 or "
            f"{name}=[0.2,0.4]; received '{text}'."
        )
    return value


def _numbers(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_numbers, value))
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
