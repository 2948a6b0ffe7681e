"""What lies beyond the border of an array, where it is copies of its elements: pad, and back.

A padded axis is a copy of the axis with copies of its own elements on either side, so the gradient
of an element is the sum over all its copies: `fold_back` adds the margins where they came from. A
negative margin cuts elements off, whose gradient is 0.
"""

from __future__ import annotations

import numpy as np

from manual.layer import Array

__all__ = ["MODES", "Margin", "core", "fold_back", "pad", "refuse_too_wide"]

Margin = tuple[int, int]  # how many elements are added before and after; negative: cut off
Margins = tuple[Margin, ...]  # of the last axes
MODES = ("zeros", "reflect", "replicate", "circular")
AXES = ("depth", "height", "width")


def pad(x: Array, margins: Margins, mode: str) -> Array:
    """Return x with its last axes continued beyond the border."""
    for axis, margin in enumerate(margins, -len(margins)):
        x = np.take(x, _sources(x.shape[axis], margin, mode), axis=axis)
    return x


def fold_back(dy: Array, margins: Margins, mode: str) -> Array:
    """Return the gradient of x from that of `pad(x, margins, mode)`."""
    for axis, margin in enumerate(margins, -len(margins)):
        dy = _fold_last(dy.swapaxes(axis, -1), margin, mode).swapaxes(axis, -1)
    return dy


def core(margin: Margin, width: int) -> tuple[slice, slice]:
    """Return where a padded axis of `width` has its own elements, and which elements those are."""
    before, after = margin
    start = min(width, max(0, before))
    stop = max(start, min(width, width - after))
    return slice(start, stop), slice(start - before, stop - before)


def _sources(size: int, margin: Margin, mode: str) -> np.ndarray:
    """Return which element stands at every place of the padded axis."""
    before, after = margin
    at = np.arange(-before, size + after)
    if mode == "replicate":
        return np.clip(at, 0, size - 1)
    if mode == "reflect":
        return np.minimum(np.abs(at), 2 * (size - 1) - at)
    first = max(0, -before)  # torch cuts off first, and repeats what is left
    return first + (at - first) % (size - first - max(0, -after))


def _fold_last(dy: Array, margin: Margin, mode: str) -> Array:
    """Add both margins of the last axis to what they are copies of."""
    width = dy.shape[-1]
    size = width - sum(margin)
    place, own = core(margin, width)
    dx = np.zeros_like(dy, shape=(*dy.shape[:-1], size))
    dx[..., own] = dy[..., place]
    sources = _sources(size, margin, mode)
    for j in (*range(place.start), *range(place.stop, width)):
        dx[..., sources[j]] += dy[..., j]
    return dx


def refuse_too_wide(owner: str, sizes: tuple[int, ...], margins: Margins, mode: str) -> None:
    """Raise ValueError where an axis has too few elements to continue or to cut it that far."""
    names = AXES[-len(margins) :]
    for axis, size, margin in zip(names, sizes, margins, strict=True):
        cut = sum(max(0, -m) for m in margin)
        most = {"reflect": size - 1, "circular": size - cut}.get(mode)
        if most is not None and max(margin) > most:
            raise ValueError(
                f"{owner}: mode '{mode}' can add at most {max(0, most)} to a {axis} of {size}, the "
                f"padding is {max(margin)}. Use a smaller padding, or 'replicate'."
            )
