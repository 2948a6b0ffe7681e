"""`handgrad list`."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def list_names(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List layers, activations, losses, optimisers, data sets and presets, one line each."""
    from compare.description.catalog import catalog

    entries = catalog()
    if as_json:
        print(json.dumps(entries, indent=2))
        return
    width = max(len(item["name"]) for items in entries.values() for item in items)
    for kind, items in entries.items():
        print(kind.capitalize())
        for item in items:
            print(f"  {item['name']:<{width}}  {item['summary']}")
        print()
