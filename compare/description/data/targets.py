"""Labels as the loss wants them: class indices, or rows of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compare.description.data.dataset import Table, Task
from compare.description.data.scaling import scale
from compare.description.reading import MOST
from compare.errors import UserError, nearest

if TYPE_CHECKING:
    from compare.description.config import DataConfig


class Targets(NamedTuple):
    values: np.ndarray  # (N,) or (N, T) int64, or (N, K) float64
    names: tuple[str, ...]
    classes: tuple[str, ...] | None
    task: Task


def encode(table: Table, config: DataConfig) -> Targets:
    """Return class indices for losses that take them, else float columns."""
    if config.target_kind == "classes":
        index, classes = class_indices(table, config.classes)
        return Targets(index, table.target_names, classes, "classification")
    if config.target_one_hot:
        index, classes = class_indices(table, config.classes)
        if len(classes) * (len(index) + len(classes)) > MOST:
            raise UserError(f"{table.name}: {len(classes):,} classes are too many for one_hot.")
        names = tuple(f"{table.target_names[0]}={label}" for label in classes)
        return Targets(np.eye(len(classes))[index], names, classes, "classification")
    if table.classes is not None or config.classes or _is_text(table.labels):
        return _zero_one(table, config)
    numbers = _finite(_numeric(table), table)
    values = scale(numbers.reshape(len(numbers), -1), config.target_scale)
    if config.target_scale == "none" and np.isin(values, (0.0, 1.0)).all():
        return Targets(values, table.target_names, None, "binary")
    return Targets(values, table.target_names, None, "regression")


def class_indices(table: Table, order: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number the labels in sorted order, or in the order that the user gave.

    Raises:
        UserError: several target columns, fractions, a missing value, a label outside `order`.
    """
    if table.classes is not None:
        return table.labels.astype(np.int64), table.classes
    if table.labels.ndim > 1:
        raise UserError(
            f"{table.name}: classes need one target column, received {table.labels.shape[1]}: "
            f"{', '.join(table.target_names)}. For several numbers use MSELoss."
        )
    labels = _text(table)
    found = _sorted(labels)
    classes = order or tuple(found)
    number = {label: i for i, label in enumerate(classes)}
    for label in found:
        if label not in number:
            row = int(np.argmax(labels == label)) + 1
            raise UserError(
                f"{table.name}: row {row} has the label '{label}', which is outside the classes. "
                f"{nearest(label, classes, what='Classes')}"
            )
    return np.array([number[label] for label in labels], dtype=np.int64), classes


def _zero_one(table: Table, config: DataConfig) -> Targets:
    index, classes = class_indices(table, config.classes)
    if len(classes) != 2:
        raise UserError(
            f"{table.name}: '{table.target_names[0]}' has {len(classes)} classes, and this loss "
            "wants numbers. Set target_one_hot = true in [data], or use a loss that takes classes."
        )
    return Targets(index[:, None].astype(np.float64), table.target_names, classes, "binary")


def _is_text(labels: np.ndarray) -> bool:
    return labels.dtype.kind in "OUS"


def _text(table: Table) -> np.ndarray:
    """Return labels as str objects; whole numbers are written without a fraction."""
    if _is_text(table.labels):
        return table.labels.astype(str).astype(object)
    numbers = _finite(_numeric(table), table)
    broken = numbers != np.floor(numbers)
    if broken.any():
        row = int(broken.argmax())
        raise UserError(
            f"{table.name}: target '{table.target_names[0]}' holds {numbers[row]:g} in row "
            f"{row + 1}, which is no class. Classes are text or whole numbers; for numbers to "
            "predict use a regression loss such as MSELoss."
        )
    return np.array([str(int(n)) for n in numbers], dtype=object)


def _sorted(labels: np.ndarray) -> list[str]:
    """Sort as numbers where all labels are numbers: 2 before 10."""
    found = sorted(set(labels))
    if all(label.lstrip("-").isdecimal() for label in found):
        return sorted(found, key=int)
    return found


def _numeric(table: Table) -> np.ndarray:
    if table.labels.dtype.kind not in "biuf":
        raise UserError(
            f"{table.name}: target {', '.join(table.target_names)} is not numeric (dtype "
            f"{table.labels.dtype})."
        )
    return table.labels.astype(np.float64)


def _finite(numbers: np.ndarray, table: Table) -> np.ndarray:
    bad = ~(np.abs(numbers) <= np.finfo(np.float32).max)  # NaN fails too
    if bad.any():
        row, *column = (int(i) for i in np.argwhere(bad)[0])
        name = table.target_names[column[0] if column and len(table.target_names) > 1 else 0]
        raise UserError(
            f"{table.name}: target '{name}' holds {numbers[bad][0]:g} in row {row + 1}; targets "
            "must be finite and within float32's range. Remove or fill that row."
        )
    return numbers
