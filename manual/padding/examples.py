"""Examples of padding: unequal margins, some of them negative, batches and single samples."""

from __future__ import annotations

from typing import Any

from manual.examples import Example

__all__ = ["examples"]

MARGINS: dict[int, tuple[Any, ...]] = {
    1: ((1, 2), (-1, 2), (2, -1)), 2: ((1, 2, 0, 1), (-1, 1, 1, -1)), 3: ((1, 0, 0, 1, 1, -1),),
}  # fmt: skip
SHAPES = {1: (2, 1, 4), 2: (2, 1, 3, 4), 3: (1, 2, 3, 2, 2)}


def examples(axes: int, **more: Any) -> tuple[Example, ...]:
    """Return a class's examples; `more` are its other arguments."""
    shape = SHAPES[axes]
    given = [(margins, shape) for margins in MARGINS[axes]]
    given += [(1, shape[1:])] if axes < 3 else []
    given += more.pop("further", [])
    return tuple(Example({"padding": p, **more}, (s,), exact=True) for p, s in given)
