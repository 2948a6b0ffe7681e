"""A user's own table: CSV, TSV, Parquet or NPZ, read without ever unpickling anything."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.description.data.columns import frame_table, refuse_leakage
from compare.description.data.dataset import Table
from compare.description.reading import LARGEST, MOST, one_line, refuse_large
from compare.errors import UserError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from compare.description.config import DataConfig

TEXTS = (".csv", ".tsv")
SUFFIXES = (*TEXTS, ".parquet", ".npz")
LONGEST_LINE = 2**18  # bytes of a table's header
LARGEST_TABLE = LARGEST // 4  # bytes of text: two may be a number of eight


def read(config: DataConfig) -> Table:
    """Return the raw table of `config.file`; the target columns are split off."""
    if config.inputs:
        parts = [_read(_alone(config, columns)) for columns in config.inputs.values()]
        names = tuple(column for part in parts for column in part.feature_names)
        features: Any = dict(zip(config.inputs, (part.features for part in parts), strict=True))
        return parts[0]._replace(features=features, feature_names=names)
    return _read(config)


def _alone(config: DataConfig, columns: tuple[str, ...]) -> DataConfig:
    """Return what reads one of a network's inputs."""
    one_hot = tuple(name for name in config.one_hot if name in columns)
    return config.model_copy(update={"inputs": {}, "features": columns, "one_hot": one_hot})


def _read(config: DataConfig) -> Table:
    path = Path(str(config.file))
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        hint = " Pickled files are never loaded." if suffix in (".pkl", ".pickle", ".npy") else ""
        raise UserError(
            f"Data file {path}: the suffix must be one of {', '.join(SUFFIXES)}, received "
            f"'{suffix}'.{hint}"
        )
    if not path.is_file():
        raise UserError(_missing(path))
    refuse_large(path, f"Data file {path}", LARGEST_TABLE if suffix in TEXTS else LARGEST)
    if path.stat().st_size == 0:
        raise UserError(f"Data file {path} is empty. It needs a header and at least two rows.")
    if suffix == ".npz":
        return _npz(path, config)
    frame = _parquet(path) if suffix == ".parquet" else _csv(path, suffix, config.delimiter)
    return frame_table(frame, path, config)


def _missing(path: Path) -> str:
    if path.is_dir():
        return f"Data file {path} is a directory. Name a {', '.join(SUFFIXES)} file in it."
    folder = path.parent
    if not folder.is_dir():
        return f"Data file {path} does not exist: there is no folder {folder}."
    found = [f.name for f in sorted(folder.iterdir()) if f.suffix.lower() in SUFFIXES]
    return (
        f"Data file {path} does not exist. {nearest(path.name, found, what='Data files there')} "
        "Paths in a TOML file start from that file's own folder."
    )


def _csv(path: Path, suffix: str, delimiter: str | None) -> pd.DataFrame:
    import warnings

    import pandas as pd

    with path.open("rb") as file:
        if len(file.readline(LONGEST_LINE + 1)) > LONGEST_LINE:
            raise UserError(
                f"Data file {path}: its first line has more than {LONGEST_LINE:,} bytes. It must "
                "hold the columns' names."
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # fields would be dropped
            return pd.read_csv(
                path,
                sep=delimiter or ("\t" if suffix == ".tsv" else ","),
                encoding="utf-8-sig",
                index_col=False,  # a field more than the header has is no index
                keep_default_na=False,  # a class may be called NA or None
                na_values=[""],
                skipinitialspace=True,
                low_memory=False,  # one dtype per column, decided from all of it
            )
    except pd.errors.ParserWarning:
        raise UserError(
            f"Data file {path}: its rows have more fields than its header has names. Name every "
            "column in the first line, or set delimiter."
        ) from None
    except Exception as error:  # whatever a broken file makes its reader raise
        raise UserError(f"Data file {path} cannot be read as CSV: {one_line(error)}.") from None


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow.parquet as pq

    try:
        about = pq.read_metadata(path)
        _refuse_many(path, about.num_rows * about.num_columns)
        return pd.read_parquet(path, engine="pyarrow")
    except UserError:
        raise
    except Exception as error:  # whatever a broken file makes its reader raise
        raise UserError(f"Data file {path} cannot be read as Parquet: {one_line(error)}.") from None


def _npz(path: Path, config: DataConfig) -> Table:
    arrays = _arrays(path)
    for key in (*config.target, *config.features):
        if key not in arrays:
            raise UserError(
                f"Data file {path} has no array '{key}'. {nearest(key, arrays, what='Arrays')}"
            )
    refuse_leakage(config, path)
    target = np.concatenate([_columns(arrays[key]) for key in config.target], axis=1)
    keys = config.features or _feature_keys(arrays, config.target)
    if not keys:
        raise UserError(f"Data file {path} has no array beside the target '{config.target[0]}'.")
    lengths = {key: len(arrays[key]) for key in (*keys, *config.target)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{key}: {rows}" for key, rows in lengths.items())
        raise UserError(f"Data file {path}: arrays differ in their number of rows ({shown}).")
    for key in keys:
        if arrays[key].dtype.kind not in "biuf":
            raise UserError(
                f"Data file {path}: feature array '{key}' is not numeric (dtype "
                f"{arrays[key].dtype}). Name the numeric arrays with features = [...]."
            )
    if len(keys) == 1:
        features = arrays[keys[0]].astype(np.float64)
    else:
        columns = [_columns(arrays[key]).astype(np.float64) for key in keys]
        features = np.concatenate(columns, axis=1)
    features = features[:, None] if features.ndim == 1 else features
    names = keys if features.ndim == 2 and features.shape[1] == len(keys) else _names(features)
    labels = target[:, 0] if target.shape[1] == 1 else target
    return Table(path.name, path.name, features, tuple(names), labels, config.target)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Read every array of an NPZ file; object arrays would need unpickling and are refused."""
    key = ""
    arrays = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            _refuse_many(path, sum(map(partial(_numbers, archive.zip), archive.zip.infolist())))
            for key in archive.files:
                arrays[key] = np.atleast_1d(archive[key])
    except UserError:
        raise
    except Exception as error:  # whatever a broken file makes its readers raise
        where = f", array '{key}'" if key else ""
        raise UserError(
            f"Data file {path}{where} cannot be read: {one_line(error)}. NPZ files hold plain "
            "numeric or string arrays (np.savez); object arrays are pickles and never loaded."
        ) from None
    return arrays


def _numbers(archive: Any, member: Any) -> int:
    """Return how many numbers a member's header claims, or has room for: a few bytes may be many.

    Raises:
        ValueError: its header is none of an array.
    """
    claimed = -(-member.file_size // 8)
    with archive.open(member) as file:
        if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
            version = tuple(file.read(2))
            reader = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                reader = np.lib.format.read_array_header_2_0
            shape, _, dtype = reader(file)
            claimed = max(claimed, math.prod(shape) * max(1, dtype.itemsize // 8))
    return claimed


def _refuse_many(path: Path, numbers: int) -> None:
    if numbers > MOST:
        raise UserError(
            f"Data file {path} holds {numbers:,} numbers; at most {MOST:,} are read. A comparison "
            "needs few rows: save a part of them."
        )


def _feature_keys(arrays: dict[str, np.ndarray], target: tuple[str, ...]) -> tuple[str, ...]:
    others = tuple(key for key in arrays if key not in target)
    return next(((key,) for key in ("x", "X") if key in others), others)


def _columns(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1)


def _names(features: np.ndarray) -> tuple[str, ...]:
    return tuple(f"x{i}" for i in range(int(np.prod(features.shape[1:]))))
