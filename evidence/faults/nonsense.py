"""Values that people do not mean, and ways to spoil a text, bytes or nested tables."""

from __future__ import annotations

from random import Random
from typing import Any

NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 7, 10**3, 10**9, 2**63, -(2**63), 10**30, 0.0, -0.0, 0.5, 1e-320, 1e-30, 1e75,
    1e308, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
TEXTS: tuple[Any, ...] = (
    "",
    " ",
    "=HYPERLINK(1)",
    "../up",
    "/",
    ".",
    "a/b",
    "x" * 300,
    "ä\u202eö",
    "\x00",
    "none",
    "Linear",
    "SGD",
    "{{7*7}}",
    "<script>",
    "%s",
    "0",
    "nan",
    "1e999",
    "lambda",
    "📈",
)
SHAPES: tuple[Any, ...] = ([], {}, [[]], [0], [1, 2, 3], {"type": "Linear"}, [{"a": [{}]}], True)
VALUES = (*NUMBERS, *TEXTS, *SHAPES)


def spoiled_tables(rng: Random, tables: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return tables with a few keys changed, taken out, put in or moved."""
    for _ in range(rng.randint(1, 4)):
        holder, key = rng.choice(list(_places(tables)))
        action = rng.choice(("value", "value", "value", "name", "name", "delete", "add", "repeat"))
        if action == "value":
            holder[key] = rng.choice(VALUES)
        elif action == "name":
            holder[key] = rng.choice(names)
        elif action == "delete":
            del holder[key]
        elif action == "add" and isinstance(holder, dict):
            holder[rng.choice([*names, "lr", "seed", "inputs", "steps"])] = rng.choice(VALUES)
        elif action == "repeat" and isinstance(holder, list):
            holder.insert(rng.randrange(len(holder) + 1), holder[key])
        if not tables:
            break
    return tables


def _places(tables: Any) -> Any:
    keys = list(tables) if isinstance(tables, dict) else range(len(tables))
    for key in keys:
        yield tables, key
        if isinstance(tables[key], dict | list):
            yield from _places(tables[key])


def spoiled_bytes(rng: Random, data: bytes) -> bytes:
    """Return bytes cut short, with some changed, repeated, or with nonsense among them."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(found) + 1)
        action = rng.choice(("cut", "change", "change", "insert", "repeat", "empty"))
        if action == "cut":
            del found[at:]
        elif action == "change" and found:
            for _ in range(rng.randint(1, 8)):
                found[rng.randrange(len(found))] = rng.randrange(256)
        elif action == "insert":
            found[at:at] = rng.choice(
                (b"\x00" * 9, b"\xff\xfe", b"[" * 5000, b"9" * 400, b"\n,;\t")
            )
        elif action == "repeat":
            found[at:at] = found[at : at + 200]
        elif action == "empty" and rng.random() < 0.2:
            found.clear()
    return bytes(found)
