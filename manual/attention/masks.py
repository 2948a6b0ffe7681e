"""The two masks of attention: who may look where, and the gradient of a mask that is added."""

from __future__ import annotations

from typing import NamedTuple, TypeGuard

import numpy as np

from manual.attention.dot_product import Mask
from manual.layer import Array


class Masks(NamedTuple):
    """The masks of one call: True hides, or numbers are added, of which -inf hides."""

    padding: Array | None  # (N, S)
    attention: Array | None  # (L, S) or (N h, L, S)
    causal: bool  # instead of both: position s is hidden from l < s

    def gradients(self, dz: Array, batched: bool) -> tuple[Array | None, Array | None]:
        """Return the masks' gradients from dz (N, h, L, S), the scores' gradient."""
        padding = attention = None
        if is_added(self.padding):
            padding = dz.sum(axis=(1, 2))
            padding = padding if batched else padding[0]
        if is_added(self.attention) and not self.causal:
            for_all = self.attention.ndim == 2  # samples and heads
            attention = dz.sum(axis=(0, 1)) if for_all else dz.reshape(*self.attention.shape)
        return padding, attention


def merged(masks: Masks, queries: tuple[int, int, int], keys: int) -> Mask:
    """Return both masks as one that broadcasts to the scores.

    Args:
        masks: of one call.
        queries: N, h, L.
        keys: S', with what is appended, which no mask hides (but causality does).
    """
    n, h, length = queries
    if masks.causal:
        return Mask(np.arange(keys) > np.arange(length)[:, None])
    parts = []
    if masks.padding is not None:
        parts.append(masks.padding.reshape(n, 1, 1, masks.padding.shape[-1]))
    if masks.attention is not None:
        shape = (1, 1) if masks.attention.ndim == 2 else (n, h)
        parts.append(masks.attention.reshape(*shape, *masks.attention.shape[-2:]))
    hidden: Array | None = None
    added: Array | None = None
    for part in (_longer(p, keys) for p in parts):
        hides, adds = parted(part)
        if hides is not None:
            hidden = hides if hidden is None else hidden | hides
        if adds is not None:
            added = adds if added is None else added + adds
    return Mask(hidden, added)


def is_added(mask: Array | None) -> TypeGuard[Array]:
    return mask is not None and mask.dtype != bool


def _longer(mask: Array, keys: int) -> Array:
    """Return a mask with zeros for the appended keys."""
    short = keys - mask.shape[-1]
    if not short:
        return mask
    return np.concatenate((mask, np.zeros_like(mask, shape=(*mask.shape[:-1], short))), axis=-1)


def parted(mask: Array) -> tuple[Array | None, Array | None]:
    """Return what a mask hides and what it adds."""
    if not is_added(mask):
        return mask, None
    hidden = ~np.isfinite(mask)
    if not hidden.any():
        return None, mask
    hidden[hidden] = mask[hidden] < 0  # of what is infinite, not inf or nan
    return hidden, np.where(hidden, 0.0, mask)
