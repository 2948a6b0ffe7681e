"""Data for a run: built-in sets, the course's small tables, and a user's own files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from compare.description.data import datasets, files, scaling, targets
from compare.description.data.dataset import Dataset, Table, each, named
from compare.description.data.datasets import DATASETS
from compare.errors import UserError

if TYPE_CHECKING:
    from compare.description.config import DataConfig

__all__ = ["DATASETS", "Dataset", "load"]


def load(config: DataConfig) -> Dataset:
    """Read, check, scale and encode the data that a configuration names.

    Raises:
        UserError: the file or a column is missing, or a value cannot be used; the text says where.
    """
    name = str(config.dataset)
    table = files.read(config) if config.file else datasets.make(name, config.args)
    _require_finite(table)
    encoded = targets.encode(table, config)  # before the limit: it must not change the classes
    kept = table.head(config.limit)
    values = encoded.values[: config.limit]
    _require_variety(kept, values, encoded)
    features = each(partial(_scaled, table.name, config.scale), kept.features)
    if values.dtype != np.int64:
        values = scaling.representable(values)
    return Dataset(
        name=table.name,
        features=features,
        targets=values,
        feature_names=table.feature_names,
        target_names=encoded.names,
        classes=encoded.classes,
        task=encoded.task,
        summary=table.summary,
        alphabet=table.alphabet,
    )


def _scaled(name: str, how: str, features: np.ndarray) -> np.ndarray:
    """Return features scaled column by column; indices stay as they are."""
    if features.dtype != np.int64:
        return scaling.representable(scaling.scale(features, how))
    if how != "none":
        raise UserError(
            f"{name}: [data] scale is '{how}', but these features are indices, which have no "
            "scale. Remove the key."
        )
    return features


def _require_finite(table: Table) -> None:
    before = 0  # columns of the inputs before
    for features in named(table.features).values():
        flat = features.reshape(len(features), -1)
        _require_finite_columns(table, flat, before)
        before += flat.shape[1]


def _require_finite_columns(table: Table, flat: np.ndarray, before: int) -> None:
    bad = ~(np.abs(flat) <= np.finfo(np.float32).max)  # NaN fails too
    if bad.any():
        row, column = np.argwhere(bad)[0]
        value = flat[row, column]
        what = "has no value (NaN)" if np.isnan(value) else f"holds {value:g}"
        raise UserError(
            f"{table.name}: {table.place(before + int(column), row)} {what}; features must be "
            "finite and within float32's range. Remove or fill that row."
        )


def _require_variety(table: Table, values: np.ndarray, encoded: targets.Targets) -> None:
    rows = len(table.labels)
    if rows < 2:
        raise UserError(f"{table.name}: training needs at least two rows, received {rows}.")
    if encoded.classes is not None and (values == values[0]).all():
        label = table.labels[0] if table.classes is None else table.classes[int(table.labels[0])]
        raise UserError(
            f"{table.name}: all {rows} rows have the class '{label}'; classification needs two. "
            "Raise limit, or choose another target column."
        )
