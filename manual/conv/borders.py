"""What lies beyond the border of an image, where it is not zeros: pad, and its transpose.

A padded axis is a copy of the axis with copies of its own elements on either side, so the gradient
of an element is the sum over all its copies: `fold_back` adds the margins where they came from.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from manual.layer import Array

__all__ = ["MODES", "Margin", "fold_back", "pad", "refuse_too_wide"]

Margin = tuple[int, int]  # how many elements are added before and after
MODES = ("zeros", "reflect", "replicate", "circular")
NUMPY: dict[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(x: Array, margins: tuple[Margin, Margin], mode: str) -> Array:
    """Return x (N, C, H, W) with its rows and columns continued beyond the border."""
    return np.pad(x, ((0, 0), (0, 0), *margins), NUMPY[mode])


def fold_back(dx: Array, margins: tuple[Margin, Margin], mode: str) -> Array:
    """Return the gradient of x from that of `pad(x, margins, mode)`."""
    dx = _fold_columns(dx, margins[1], mode)
    return _fold_columns(dx.swapaxes(2, 3), margins[0], mode).swapaxes(2, 3)


def _fold_columns(dx: Array, margin: Margin, mode: str) -> Array:
    """Add the columns of both margins to those that they are copies of."""
    before, after = margin
    own = dx[..., before : dx.shape[-1] - after]  # dx is ours: fresh from the product
    sources = np.pad(np.arange(own.shape[-1]), margin, NUMPY[mode])
    for j, source in enumerate(sources):
        if not before <= j < before + own.shape[-1]:
            own[..., source] += dx[..., j]
    return own


def refuse_too_wide(
    owner: str, sizes: tuple[int, int], margins: tuple[Margin, Margin], mode: str
) -> None:
    """Raise ValueError where an image has too few elements to continue it that far."""
    for axis, size, margin in zip(("height", "width"), sizes, margins, strict=True):
        most = {"reflect": size - 1, "circular": size}.get(mode)
        if most is not None and max(margin) > most:
            raise ValueError(
                f"{owner}: padding_mode '{mode}' can add at most {most} to a {axis} of {size}, "
                f"the padding is {max(margin)}. Use a smaller padding, or 'replicate'."
            )
