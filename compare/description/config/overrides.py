"""Overrides: dotted keys laid over a configuration's tables before it is validated."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from compare.errors import nearest

RIVALS = {  # setting one takes the other out
    "train.steps": "train.epochs",
    "train.epochs": "train.steps",
    "data.dataset": "data.file",
    "data.file": "data.dataset",
}
KEPT = {  # what a new type leaves; everything else were the old type's arguments
    "network.type": (),
    "loss.type": ("penalties",),
    "optimizer.type": ("schedule", "clip_norm", "clip_value"),
    "optimizer.schedule.type": (),
    "init.scheme": ("bias", "file"),
}


def override(tables: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables with values set by dotted key; None takes a key out.

    Raises:
        ValueError: a key leads into something that is no table, or to a layer that is not there.
    """
    changed = copy.deepcopy(dict(tables))
    for key in sorted(overrides, key=lambda k: k not in KEPT):  # types first: they clear arguments
        value = overrides[key]
        table, last = _reach(changed, key)
        rival = RIVALS.get(key)
        if rival is not None and rival not in overrides and value is not None:
            table.pop(rival.rpartition(".")[2], None)
        if key in KEPT and value != table.get(last):
            for other in [k for k in table if k not in KEPT[key]]:
                del table[other]
        if value is None:
            table.pop(last, None)
        else:
            table[last] = value
    return changed


def _reach(tables: dict[str, Any], dotted: str) -> tuple[dict[str, Any], str]:
    """Return the table that a dotted key stands in, made if it is not there, and the last part."""
    *path, last = dotted.split(".")
    here: Any = tables
    while path:
        part = path.pop(0)
        if isinstance(here, list):
            index, used = _element(here, [part, *path], dotted)
            here, path = here[index], path[used - 1 :]
        else:
            here = here.setdefault(part, {})
        if not isinstance(here, dict | list):
            raise ValueError(f"setting '{dotted}': '{part}' is no table, so it has no '{last}'.")
    if isinstance(here, list):
        raise ValueError(f"setting '{dotted}': name a key of one element, such as '{dotted}.type'.")
    return here, last


def _element(tables: list[Any], path: list[str], dotted: str) -> tuple[int, int]:
    """Return which layer the path begins with, by name (dots included) or position."""
    names = [str(t.get("name") or i) if isinstance(t, dict) else "" for i, t in enumerate(tables)]
    for used in range(len(path), 0, -1):
        if (name := ".".join(path[:used])) in names:
            return names.index(name), used
    if path[0].isdecimal() and int(path[0]) < len(tables):
        return int(path[0]), 1
    raise ValueError(f"setting '{dotted}': there is no '{path[0]}'. {nearest(path[0], names)}")


TRAIN = ("steps", "epochs", "dtype", "seed", "mode", "batch_size", "device", "threads", "shuffle")
COMPARE = ("gauge_every", "tolerance", "drift", "input_gradient", "torch_layers")
SHORT = {k: f"train.{k}" for k in TRAIN} | {k: f"compare.{k}" for k in COMPARE}


def dotted(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Turn keyword arguments into dotted keys."""
    return {SHORT.get(k, k.replace("__", ".")): v for k, v in overrides.items() if v is not None}
