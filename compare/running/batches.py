"""Which rows are trained on, and which of them each step sees: from the seed alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compare.description.config import Config, TrainConfig
from compare.errors import UserError

WEIGHTS, SHUFFLE = 0, 1  # streams of the run's seed


def batches(rows: int, train: TrainConfig, steps: int | None = None) -> Iterator[np.ndarray]:
    """Yield each step's row numbers, of all steps or of so many; each epoch is shuffled by itself
    if asked.
    """
    size, per_epoch = train.rows_per_step(rows), train.steps_per_epoch(rows)
    for step in range(steps or train.total_steps(rows)):
        epoch, position = divmod(step, per_epoch)
        if position == 0:
            order = np.arange(rows)
            if train.shuffle:
                np.random.default_rng([train.seed, SHUFFLE, epoch]).shuffle(order)
        yield order[position * size : (position + 1) * size]


def split(targets: np.ndarray, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on and those held out; class by class where targets are classes.

    Raises:
        UserError: too few rows, or a class with a single one.
    """
    rows = np.arange(len(targets))
    if not (share := config.data.held_out):
        return rows, rows[:0]
    from sklearn.model_selection import train_test_split

    classes = targets if config.data.target_kind == "classes" and targets.ndim == 1 else None
    try:
        train, held_out = train_test_split(
            rows, test_size=share, random_state=config.train.seed % 2**32, stratify=classes
        )
    except ValueError as error:
        raise UserError(
            f"[data] held_out is {share:g} of {len(rows)} rows: {error} Hold out another share, or "
            "use more rows."
        ) from None
    return np.sort(train), np.sort(held_out)
