"""Mini-batches: which rows each step sees, from the seed alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

WEIGHTS, SHUFFLE = 0, 1  # streams of the run's seed


def per_epoch(rows: int, batch_size: int, drop_last: bool) -> int:
    """Return how many batches one pass over the data has."""
    return rows // batch_size if drop_last else -(-rows // batch_size)


def batches(
    rows: int, batch_size: int, steps: int, *, shuffle: bool, drop_last: bool, seed: int
) -> Iterator[np.ndarray]:
    """Yield `steps` arrays of row numbers; each epoch is shuffled by itself if asked."""
    epoch_length = per_epoch(rows, batch_size, drop_last)
    for step in range(steps):
        epoch, position = divmod(step, epoch_length)
        if position == 0:
            order = np.arange(rows)
            if shuffle:
                np.random.default_rng([seed, SHUFFLE, epoch]).shuffle(order)
        yield order[position * batch_size : (position + 1) * batch_size]
