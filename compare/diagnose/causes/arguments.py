"""What torch's own layer, loss or optimiser gives when one of its arguments is another."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

CHOICES = {"reduction": ("mean", "sum"), "approximate": ("none", "tanh"), "p": (1, 2)}
SKIP = {"inplace", "device", "dtype", "foreach", "capturable", "fused", "differentiable", "lr",
        "size_average", "reduce", "maximize"}  # fmt: skip
AXES = {"dim": (0, 1, -1)}


def variants(owner: type, given: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (in words, arguments) for every argument changed to a likely other value."""
    for name, parameter in inspect.signature(owner).parameters.items():
        default = parameter.default
        if name in SKIP or name.endswith(("_features", "_size", "_pieces")):
            continue
        now = given.get(name, None if default is inspect.Parameter.empty else default)
        for value in _others(name, now, default):
            if value != now or type(value) is not type(now):
                yield f"{name}={value!r} instead of {now!r}", {**given, name: value}


def _others(name: str, now: Any, default: Any) -> Iterator[Any]:
    if name in CHOICES or name in AXES:
        yield from CHOICES.get(name, ()) + AXES.get(name, ())
    elif isinstance(now, bool):
        yield not now
    elif isinstance(now, tuple):
        yield now[::-1]
        yield from ([default] if isinstance(default, tuple) else [])
    elif isinstance(now, int | float):
        yield from ([default] if isinstance(default, int | float) else [])
        yield from (0.0, 1.0, now * 2, now / 2, now * 10, now / 10, 1 - now)
    elif isinstance(now, list):
        yield None
