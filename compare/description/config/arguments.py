"""Constructor arguments, checked against the hand-written class that will receive them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from compare.errors import nearest
from manual.registry import LAZY


def check_type(kind: str, name: str, classes: Mapping[str, Any], key: str = "type") -> None:
    """Raise a ValueError unless `name` is one of `classes`."""
    if name in classes:
        return
    if lazy := LAZY.get(name):
        raise ValueError(
            f"key '{key}': {name} takes {lazy.size} from its first input, and a description says "
            f"all sizes. Write {lazy.becomes.__name__} with {lazy.size}."
        )
    if _is_torchs(kind, name):
        known = ", ".join(classes)
        raise ValueError(
            f"key '{key}': {name}: no hand-written {kind} yet. Check one of your own with "
            f"`handgrad check FILE.py:FORWARD,BACKWARD` (docs/check.md), or use: {known}."
        )
    raise ValueError(f"key '{key}': unknown {kind} '{name}'. {nearest(name, classes)}")


def _is_torchs(kind: str, name: str) -> bool:
    """Return whether torch has such a class: then no other name was meant."""
    import torch

    home = torch.optim if kind == "optimizer" else torch.nn
    return isinstance(getattr(home, name, None), type)


def construct(name: str, cls: Any, args: Mapping[str, Any]) -> Any:
    """Return `cls(**args)` for arguments as TOML holds them: an array may stand for a tuple.

    Raises:
        ValueError: an argument is unknown, missing, of the wrong type or out of range; the text
            names it.
    """
    parameters, hints = _signature(cls)
    for key in args:
        if key not in parameters:
            raise ValueError(f"key '{key}': {name} has no such argument. {_takes(key, parameters)}")
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in args:
            raise ValueError(f"key '{key}' is missing: {name} cannot be built without it.")
    given = {key: _converted(name, key, value, hints.get(key, Any)) for key, value in args.items()}
    try:
        return cls(**given)
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise ValueError(f"{name} refuses these arguments: {error}") from None


@cache
def _signature(cls: Any) -> tuple[Mapping[str, inspect.Parameter], dict[str, Any]]:
    """Return a class's parameters, and what they are annotated with."""
    hints = get_type_hints(cls if inspect.isfunction(cls) else cls.__init__)
    return inspect.signature(cls).parameters, hints


@cache
def _adapter(hint: Any) -> TypeAdapter:
    return TypeAdapter(hint)


def _takes(key: str, parameters: Mapping[str, Any]) -> str:
    if not parameters:
        return "It takes none."
    return nearest(key, parameters, what="It takes")


def _converted(name: str, key: str, value: Any, hint: Any) -> Any:
    """Return the value as annotated: an array becomes a tuple where one is wanted."""
    try:
        return _adapter(hint).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError):  # TypeError: a date, which JSON cannot hold
        wanted = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
        raise ValueError(f"key '{key}': {name} wants {wanted}, received {value!r}.") from None
