"""Constructor arguments that a class does not have, or sizes that are none, refused in words."""

from __future__ import annotations

import difflib
import inspect
from numbers import Integral
from typing import Any, Self

__all__ = ["Checked", "check_size"]

TORCH_ONLY = {
    "device": "NumPy's arrays are on the CPU",
    "dtype": "parameters take the dtype of the arrays given to with_params",
    **dict.fromkeys(
        ("foreach", "fused", "capturable", "differentiable"),
        "it chooses how torch computes the same rule",
    ),
}

# annotations of one number: what it is called, and the method that tells it from what is none
NUMBERS = {"int": ("a whole number", "__index__"), "float": ("a number", "__float__")}


def whole_numbers(sizes: Any) -> bool:
    """Whether all of several sizes are whole numbers."""
    return all(_is_number(size, "int") for size in sizes)


class _Signature:
    """The signature of a class is that of its `__init__`, which `__new__` would hide."""

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        if owner.__init__ is object.__init__:  # type: ignore[misc]
            return inspect.Signature()
        _, *parameters = inspect.signature(owner.__init__).parameters.values()  # type: ignore[misc]
        return inspect.Signature(parameters)


class Checked:
    """A class whose constructor names the argument that it does not know, and the nearest ones."""

    __signature__ = _Signature()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Raise TypeError if an argument is not among those of `__init__`, or is no number."""
        if args or kwargs:
            _check(cls, args, kwargs)
        return super().__new__(cls)


def _check(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    parameters = inspect.signature(cls).parameters
    kinds = {p.kind for p in parameters.values()}
    if args and not parameters:  # object's own __init__ would pass over them
        raise TypeError(f"{cls.__name__} takes no arguments, received {len(args)}.")
    for name in kwargs:
        if name not in parameters and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise TypeError(_unknown(cls.__name__, name, list(parameters)))
    for name, value in (dict(zip(parameters, args, strict=False)) | kwargs).items():
        kind = str(parameters[name].annotation) if name in parameters else ""
        if not _is_number(value, kind):
            called, _ = NUMBERS[kind.split(" | ")[0]]
            raise TypeError(f"{cls.__name__}: {name} must be {called}, received {value!r}.")


def _is_number(value: Any, kind: str) -> bool:
    """Whether a value is what an annotation of one number asks for; others ask for nothing."""
    first, _, other = kind.partition(" | ")
    if first not in NUMBERS or other not in ("", "None") or (other and value is None):
        return True
    return hasattr(value, NUMBERS[first][1])


def _unknown(owner: str, name: str, names: list[str]) -> str:
    text = f"{owner} has no argument '{name}'"
    if name in TORCH_ONLY:
        return f"{text}, which is torch's alone: {TORCH_ONLY[name]}. Leave it out."
    if not names:
        return f"{text}; it takes none."
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
    return f"{text}. {'Nearest' if near != names else 'It takes'}: {', '.join(near)}."


def check_size(layer: Any, name: str, least: int) -> None:
    """Refuse a size that is no whole number, or too small."""
    size, who = getattr(layer, name), type(layer).__name__
    if not isinstance(size, Integral):
        raise TypeError(f"{who}: {name} must be a whole number, received {size!r}.")
    if size < least:
        raise ValueError(f"{who}: {name} must be at least {least}, received {size}.")
