"""Sequences of several lengths: rows of padded ones, and padded ones from rows."""

from __future__ import annotations

import numpy as np

from compare.pair.mirror.call import Builder, Call, Value
from compare.pair.mirror.functions.places import numbers, taken


def pack(input: Value, lengths: Value, batch_first: bool) -> Call:
    """Take, step by step, the sequences that are not over."""
    places = numbers(input) if not batch_first else numbers(input).swapaxes(0, 1)
    steps = np.arange(lengths.array.max())
    return taken(input, places[: len(steps)][steps[:, None] < lengths.array])


def pad(
    data: Value, batch_sizes: Value, batch_first: bool, padding_value: float, total_length: int
) -> Call:
    """Lay rows out over steps and sequences."""
    sizes = batch_sizes.array
    steps = max(total_length, len(sizes))
    active = np.arange(sizes[0]) < np.append(sizes, [0] * (steps - len(sizes)))[:, None]
    places = np.full((*active.shape, *data.shape[1:]), -1)
    places[active] = numbers(data)
    return taken(data, places.swapaxes(0, 1) if batch_first else places, padding_value)


TABLE: dict[str, Builder] = {"_pack_padded_sequence": pack, "_pad_packed_sequence": pad}
