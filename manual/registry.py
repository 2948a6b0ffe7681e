"""Every hand-written class by name, as configurations and lists refer to them."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

from manual import activations, dropout, gates, joins, linear, losses, maxout, penalties, softmax
from manual import optimizers as optimizer_modules
from manual import schedules as schedule_module
from manual.graph import Layer
from manual.initializers import INITIALIZERS
from manual.losses import Loss
from manual.optimizers import Optimizer
from manual.schedules import Schedule

__all__ = [
    "ACTIVATIONS",
    "GATES",
    "INITIALIZERS",
    "KINDS",
    "LAYERS",
    "LOSSES",
    "OPTIMIZERS",
    "PENALTIES",
    "SCHEDULES",
]


def _classes(base: type, *modules: ModuleType) -> dict[str, Any]:
    """Return what the modules export that can be built: subclasses of `base` with all methods."""
    exported = (getattr(module, name) for module in modules for name in module.__all__)
    return {
        cls.__name__: cls
        for cls in exported
        if isinstance(cls, type) and issubclass(cls, base) and not inspect.isabstract(cls)
    }


ACTIVATIONS: dict[str, type[Layer]] = _classes(Layer, activations, softmax)
LAYERS: dict[str, type[Layer]] = _classes(Layer, linear, dropout, maxout, joins) | ACTIVATIONS
GATES: dict[str, type[Layer]] = _classes(Layer, gates)
LOSSES: dict[str, type[Layer]] = _classes(Loss, losses)
PENALTIES: dict[str, type[Layer]] = _classes(Layer, penalties)
OPTIMIZERS: dict[str, type[Optimizer]] = _classes(Optimizer, optimizer_modules)
KINDS: dict[str, dict[str, type[Layer]]] = {
    "layer": {name: cls for name, cls in LAYERS.items() if name not in ACTIVATIONS},
    "activation": ACTIVATIONS,
    "gate": GATES,
    "loss": LOSSES,
    "penalty": PENALTIES,
}
SCHEDULES: dict[str, type[Schedule]] = _classes(Schedule, schedule_module)
