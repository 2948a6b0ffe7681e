"""Layer tables as a network: default names and inputs, and what must hold between layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compare.errors import nearest

RESERVED = ("input", "loss")  # a network's only input, and the loss in every report


def named_layers(layers: Sequence[Any], inputs: Sequence[str]) -> list[Any]:
    """Return layer tables with every name (its position) and input (the layer before) filled in.

    The first layer's is the first of the network's inputs.
    """
    filled = []
    previous = inputs[0]
    for position, layer in enumerate(layers):
        table = layer if isinstance(layer, Mapping) else getattr(layer, "__dict__", None)
        if table is None:
            filled.append(layer)  # not a table: validation will say so
            continue
        name = table.get("name") or str(position)
        filled.append({**table, "name": name, "inputs": table.get("inputs") or (previous,)})
        previous = name
    return filled


def check_network(layers: Sequence[Any], inputs: Sequence[str]) -> None:
    """Raise a ValueError if a name is used twice or reserved, or an input names no layer."""
    names = [layer.name for layer in layers]
    for i, name in enumerate(names):
        if name in (*RESERVED, *inputs):
            raise ValueError(f"{place(i, name)}: the name '{name}' is reserved. Choose another.")
        if name in names[:i]:
            raise ValueError(
                f"{place(i, name)}: the name '{name}' is already taken by "
                f"{place(names.index(name), name)}. Every layer needs its own."
            )
    for i, layer in enumerate(layers):
        for text in layer.inputs:  # mask=tokens, lstm:h_n
            source = (text.partition("=")[2] or text).partition(":")[0]
            if source not in inputs and source not in names:
                raise ValueError(
                    f"{place(i, layer.name)}, key 'inputs': there is no layer '{source}'. "
                    f"{nearest(source, [*inputs, *names], what='Layers')}"
                )


def place(position: int, name: str) -> str:
    """Name a layer's table as its author sees it: by position from 1, and by name."""
    return f"[[layers]] table {position + 1} ('{name}')"
