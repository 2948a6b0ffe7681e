"""Every hand-written class by name, as configurations and lists refer to them.

The package is searched: a class is found if it can be built and the module that defines it lists it
in `__all__`. Which list a layer is in follows from `GROUP` in its module or package: `activation`,
`gate`, `mask` or `penalty`; without one it is a plain layer.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import manual
from manual.initializers import INITIALIZERS
from manual.layer import Layer
from manual.lazy import Lazy
from manual.losses import Loss
from manual.optimizers import Optimizer
from manual.schedules import Schedule

__all__ = [
    "ACTIVATIONS",
    "GATES",
    "INITIALIZERS",
    "KINDS",
    "LAYERS",
    "LAZY",
    "LOSSES",
    "MASKS",
    "OPTIMIZERS",
    "PENALTIES",
    "SCHEDULES",
    "find",
]


def _exported() -> Iterator[tuple[str, type]]:
    """Yield each module's name with every class that it defines and exports."""
    for found in pkgutil.walk_packages(manual.__path__, f"{manual.__name__}."):
        if found.name != __name__:
            module = importlib.import_module(found.name)
            for name in getattr(module, "__all__", ()):
                value = getattr(module, name)
                if isinstance(value, type) and value.__module__ == found.name:
                    yield found.name, value


def _group(module: str) -> str:
    """Return what the module or its nearest package calls its layers."""
    while module:
        if group := vars(importlib.import_module(module)).get("GROUP"):
            return group
        module = module.rpartition(".")[0]
    return "layer"


def _classes(base: type, group: str | None = None) -> dict[str, Any]:
    """Return by name the classes of this base, and of this group, that can be built."""
    return {
        cls.__name__: cls
        for module, cls in sorted(_FOUND, key=lambda entry: entry[1].__name__)
        if issubclass(cls, base)
        and not inspect.isabstract(cls)
        and (group is None or (_group(module) == group and not issubclass(cls, Loss)))
    }


def find(name: str) -> Any:
    """Return the class of this name, or None."""
    tables: tuple[dict[str, Any], ...] = (
        LAYERS, GATES, MASKS, LOSSES, PENALTIES, OPTIMIZERS, SCHEDULES, LAZY,
    )  # fmt: skip
    return next((table[name] for table in tables if name in table), None)


_FOUND = list(_exported())
ACTIVATIONS: dict[str, type[Layer]] = _classes(Layer, "activation")
LAYERS: dict[str, type[Layer]] = _classes(Layer, "layer") | ACTIVATIONS
GATES: dict[str, type[Layer]] = _classes(Layer, "gate")
MASKS: dict[str, type[Layer]] = _classes(Layer, "mask")
LOSSES: dict[str, type[Layer]] = _classes(Loss)
PENALTIES: dict[str, type[Layer]] = _classes(Layer, "penalty")
OPTIMIZERS: dict[str, type[Optimizer]] = _classes(Optimizer)
SCHEDULES: dict[str, type[Schedule]] = _classes(Schedule)
LAZY: dict[str, type[Lazy]] = _classes(Lazy)
KINDS: dict[str, dict[str, type[Layer]]] = {  # every class with a forward and a backward
    "layer": {name: cls for name, cls in LAYERS.items() if name not in ACTIVATIONS},
    "activation": ACTIVATIONS,
    "gate": GATES,
    "loss": LOSSES,
    "penalty": PENALTIES,
}
