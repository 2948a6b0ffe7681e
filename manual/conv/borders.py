"""What lies beyond the border of an image, where it is not zeros: pad, and its transpose.

A padded axis is a copy of the axis with copies of its own elements on either side, so the gradient
of an element is the sum over all its copies: `fold_back` adds the margins where they came from.
"""

from __future__ import annotations

import numpy as np

from manual.layer import Array

__all__ = ["MODES", "Margin", "fold_back", "pad", "refuse_too_wide"]

Margin = tuple[int, int]  # how many elements are added before and after
MODES = ("zeros", "reflect", "replicate", "circular")


def pad(x: Array, margins: tuple[Margin, Margin], mode: str) -> Array:
    """Return x (N, C, H, W) with its rows and columns continued beyond the border."""
    x = _columns(x.swapaxes(2, 3), margins[0], mode).swapaxes(2, 3)
    return _columns(x, margins[1], mode)


def fold_back(dx: Array, margins: tuple[Margin, Margin], mode: str) -> Array:
    """Return the gradient of x from that of `pad(x, margins, mode)`."""
    dx = _fold_columns(dx, margins[1], mode)
    return _fold_columns(dx.swapaxes(2, 3), margins[0], mode).swapaxes(2, 3)


def _columns(x: Array, margin: Margin, mode: str) -> Array:
    """Continue the last axis: c b [a b c] b a (reflect), a a [a b c] c c, b c [a b c] a b."""
    before, after = margin
    w = x.shape[-1]
    if mode == "reflect":
        left, right = x[..., before:0:-1], x[..., w - 1 - after : w - 1][..., ::-1]
    elif mode == "circular":
        left, right = x[..., w - before :], x[..., :after]
    else:
        left, right = _repeated(x[..., :1], before), _repeated(x[..., w - 1 :], after)
    return np.concatenate([left, x, right], axis=-1)


def _repeated(column: Array, times: int) -> Array:
    return np.concatenate([column] * times, axis=-1) if times else column[..., :0]


def _fold_columns(dx: Array, margin: Margin, mode: str) -> Array:
    """Add the gradients of both margins to those of the elements that they are copies of."""
    before, after = margin
    w = dx.shape[-1] - before - after
    left, own, right = dx[..., :before], dx[..., before : before + w].copy(), dx[..., before + w :]
    if mode == "reflect":
        own[..., 1 : before + 1] += left[..., ::-1]
        own[..., w - 1 - after : w - 1] += right[..., ::-1]
    elif mode == "circular":
        own[..., w - before :] += left
        own[..., :after] += right
    else:
        own[..., :1] += left.sum(axis=-1, keepdims=True)
        own[..., w - 1 :] += right.sum(axis=-1, keepdims=True)
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
