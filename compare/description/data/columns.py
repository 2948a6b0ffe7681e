"""Columns of a data frame as numbers: what is not numeric is named, with the first bad row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compare.description.data.dataset import Table
from compare.description.reading import MOST
from compare.errors import UserError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from compare.description.config import DataConfig

MISSING = ("nan", "na", "n/a", "null", "none", "?")


def frame_table(frame: pd.DataFrame, path: Path, config: DataConfig) -> Table:
    """Split a data frame into features and targets, one-hot columns spread out."""
    frame = frame.rename(columns=str)
    if frame.empty:
        raise UserError(f"Data file {path} has a header but no rows.")
    for key, columns in (("target", config.target), ("features", config.features)):
        _require(columns, list(frame.columns), key, path, config)
    refuse_leakage(config, path)
    features = config.features or tuple(c for c in frame.columns if c not in config.target)
    if not features:
        raise UserError(f"Data file {path} has no columns beside the target.")
    _require(config.one_hot, list(features), "one_hot", path, config)
    blocks, names = [], []
    for name in features:
        block, labels = _block(frame[name], name, path, one_hot=name in config.one_hot)
        blocks.append(block)
        names.extend(labels)
    targets = [_labels(frame[name], name, path) for name in config.target]
    labels_ = targets[0] if len(targets) == 1 else np.stack(targets, axis=1)
    table = np.concatenate(blocks, axis=1)
    return Table(path.name, path.name, table, tuple(names), labels_, config.target)


def refuse_leakage(config: DataConfig, path: Path) -> None:
    """Raise a UserError if a target is also a feature: the network would be told the answer."""
    for name in config.target:
        if name in config.features:
            raise UserError(
                f"Data file {path}: '{name}' is the target and a feature too. Remove it from "
                "features; without the key features, every other column is one."
            )


def _require(
    wanted: tuple[str, ...], columns: list[str], key: str, path: Path, config: DataConfig
) -> None:
    for name in wanted:
        if name not in columns:
            hint = ""
            if len(columns) == 1 and config.delimiter is None:
                hint = " Only one column was found: set delimiter if it is not a comma."
            raise UserError(
                f"Data file {path}: {key} column '{name}' is not there. "
                f"{nearest(name, columns, what='Columns')}{hint}"
            )


def _block(column: pd.Series, name: str, path: Path, one_hot: bool) -> tuple[np.ndarray, list[str]]:
    """Return one feature as (N, 1) numbers, or as (N, C) zeros and ones."""
    if not one_hot:
        return _numbers(column, name, path)[:, None], [name]
    values = _labels(column, name, path)
    categories, index = np.unique(values, return_inverse=True)
    if len(categories) * (len(values) + len(categories)) > MOST:
        raise UserError(
            f"Data file {path}: column '{name}' has {len(categories):,} different values in "
            f"{len(values):,} rows, too many for one_hot."
        )
    return np.eye(len(categories))[index], [f"{name}={category}" for category in categories]


def _numbers(column: pd.Series, name: str, path: Path) -> np.ndarray:
    column = _read_numbers(column)
    if _is_numeric(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = (_coerced(column).isna() & column.notna()).to_numpy(dtype=bool)
    row = int(bad.argmax())
    raise UserError(
        f"Data file {path}: column '{name}' is not numeric: row {row + 1} holds "
        f"{str(column.iloc[row])!r}. List it under one_hot, leave it out with features = [...], "
        "or correct the value."
    )


def _labels(column: pd.Series, name: str, path: Path) -> np.ndarray:
    """Return numbers where the column is numeric, else str objects; nothing may be missing."""
    column = _read_numbers(column)
    missing = column.isna().to_numpy(dtype=bool)
    if missing.any():
        row = int(missing.argmax())
        raise UserError(f"Data file {path}: column '{name}' has no value (NaN) in row {row + 1}.")
    if _is_numeric(column) and column.dtype.kind != "b":
        return column.to_numpy()
    return np.array([str(value) for value in column], dtype=object)


def _read_numbers(column: pd.Series) -> pd.Series:
    """Return a column of number texts as numbers; nan, NA and the like between them are missing."""
    if _is_numeric(column) or column.dtype.kind in "mMc":
        return column
    numbers = _coerced(column)
    rest = column[numbers.isna() & column.notna()]
    missing = all(str(text).strip().casefold() in MISSING for text in rest)
    return numbers if missing and numbers.notna().any() else column


def _coerced(column: pd.Series) -> pd.Series:
    import pandas as pd

    if column.dtype.kind in "mMc":  # dates and complex numbers
        return pd.Series(np.nan, index=column.index)
    return pd.to_numeric(column.astype(object), errors="coerce")


def _is_numeric(column: pd.Series) -> bool:
    import pandas as pd

    return pd.api.types.is_numeric_dtype(column.dtype) and column.dtype.kind != "c"
