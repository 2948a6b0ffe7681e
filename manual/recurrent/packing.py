"""Sequences of different lengths in one padded batch: where each one ends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.layer import Array


class Packing(NamedTuple):
    """Which places of a padded batch hold a sequence, and which place is read at which step."""

    active: Array  # (T, N): False beyond a sequence's end
    mirror: Array  # (T, N): the place that a walk from each sequence's own end reads at step t


def packing(lengths: Array, steps: int) -> Packing:
    """Return where N sequences of these lengths lie in T = steps places.

    The mirror of a place t is length - 1 - t, its own inverse; beyond the end that is negative and
    counts from the back, which turns around what is there.
    """
    t = np.arange(steps)[:, None]
    return Packing(t < lengths, lengths - 1 - t)


def kept(a: Array, packed: Packing | None) -> Array:
    """Return (T, N, ·) with zeros beyond the ends, whatever stood there."""
    return a if packed is None else np.where(packed.active[:, :, None], a, np.zeros_like(a))


def turned(a: Array, packed: Packing | None) -> Array:
    """Return (T, N, ·) in the order of a walk from each sequence's end."""
    return a[::-1] if packed is None else np.take_along_axis(a, packed.mirror[:, :, None], axis=0)


def spread(rows: Array, packed: Packing) -> Array:
    """Return what torch draws for packed sequences, (Σ lengths, F), at its places (T, N, F).

    Torch packs step by step, at each step the sequences that are not over, longest first. Of
    sequences equally long its LSTM draws (T, N, F) in float32, where oneDNN computes it.
    """
    rows = rows.reshape(-1, rows.shape[-1])
    order = np.argsort(-packed.active.sum(axis=0), kind="stable")
    longest_first = np.zeros((*packed.active.shape, rows.shape[1]), dtype=bool)
    longest_first[packed.active[:, order]] = rows
    return longest_first[:, np.argsort(order)]
