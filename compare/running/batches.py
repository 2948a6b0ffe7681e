"""Mini-batches: which rows each step sees, from the seed alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compare.description.config import TrainConfig

WEIGHTS, SHUFFLE = 0, 1  # streams of the run's seed


def batches(rows: int, train: TrainConfig) -> Iterator[np.ndarray]:
    """Yield each step's row numbers; each epoch is shuffled by itself if asked."""
    size, per_epoch = train.rows_per_step(rows), train.steps_per_epoch(rows)
    for step in range(train.total_steps(rows)):
        epoch, position = divmod(step, per_epoch)
        if position == 0:
            order = np.arange(rows)
            if train.shuffle:
                np.random.default_rng([train.seed, SHUFFLE, epoch]).shuffle(order)
        yield order[position * size : (position + 1) * size]
