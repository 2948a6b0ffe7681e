"""Work through a batch in blocks that stay in the processor's second cache."""

from __future__ import annotations

import numpy as np

from manual.layer import Array

__all__ = ["blocks", "joined"]

BLOCK = 1 << 18  # elements that one block may work on


def blocks(count: int, each: int) -> list[slice]:
    """Cut `count` samples of `each` elements into blocks; one block at least."""
    step = max(1, BLOCK // max(each, 1))
    return [slice(i, i + step) for i in range(0, max(count, 1), step)]


def joined(parts: list[Array]) -> Array:
    """Return the blocks' results as one batch."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
