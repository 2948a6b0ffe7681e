"""What there is to choose from, one line each; imports nothing that is slow to load."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from compare.description.data.datasets import DATASETS
from compare.description.networks import NETWORKS
from compare.description.presets import preset_path, presets
from compare.errors import nearest
from manual import registry

Entry = dict[str, str]


def catalog() -> dict[str, list[Entry]]:
    """Return name and summary of everything that can be named, by kind."""
    others = {n: c for n, c in registry.LAYERS.items() if n not in registry.ACTIVATIONS}
    return {
        "layers": _described(others | registry.MASKS),
        "gates": _described(registry.GATES),
        "activations": _described(registry.ACTIVATIONS),
        "losses": _described(registry.LOSSES),
        "optimizers": _described(registry.OPTIMIZERS),
        "networks": _described(NETWORKS),
        "datasets": [_entry(name, source.summary) for name, source in DATASETS.items()],
        "presets": [_entry(name, _summary(name)) for name in presets()],
    }


def suggest(name: str) -> str:
    """Return a sentence with the presets closest to a name that is none."""
    return nearest(name, presets(), what="Presets")


def _described(classes: Mapping[str, Any]) -> list[Entry]:
    return [_entry(name, (cls.__doc__ or "").strip()) for name, cls in classes.items()]


def _entry(name: str, text: str) -> Entry:
    return {"name": name, "summary": text.partition("\n")[0].rstrip(".")}


def _summary(preset: str) -> str:
    tables = tomllib.loads(preset_path(preset).read_text(encoding="utf-8"))
    return str(tables.get("summary", ""))
