"""What loading yields: one table of features and targets, ready for both networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

Task = Literal["classification", "regression", "binary"]
Inputs = Any  # of a network: an array, or arrays by name where it has several
INPUT = "input"  # the name of an only one


def named(inputs: Any) -> Mapping[str, Any]:
    """Return a network's inputs by name."""
    return inputs if isinstance(inputs, Mapping) else {INPUT: inputs}


def each(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Return what a function makes of each of a network's inputs, built as they are."""
    if isinstance(inputs, Mapping):
        return {name: function(array) for name, array in inputs.items()}
    return function(inputs)


@dataclass(frozen=True)
class Dataset:
    """Features and targets of N rows, exact in float32 so that both dtypes see the same numbers.

    Attributes:
        features: (N, …) float64, every value representable in float32; or int64 indices; by name
            for a network with several inputs.
        targets: (N,) int64 class indices, (N, T) for one at each of T places, or (N, K) float64
            representable in float32.
        classes: the labels behind class indices, one-hot columns or a 0/1 column; else None.
        alphabet: the characters that indices stand for, where the data are a text.
    """

    name: str
    features: Inputs
    targets: np.ndarray
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    classes: tuple[str, ...] | None
    task: Task
    summary: str
    alphabet: str = ""

    @property
    def rows(self) -> int:
        return len(self.targets)


class Table(NamedTuple):
    """Raw rows as a source gave them: features still unscaled, labels still as written."""

    name: str
    summary: str
    features: Inputs  # (N, …) float64, or int64 indices
    feature_names: tuple[str, ...]
    labels: np.ndarray  # (N,) or (N, K); numbers, or str objects; (N, T) indices into classes
    target_names: tuple[str, ...]
    classes: tuple[str, ...] | None = None  # set: labels are already indices into it
    alphabet: str = ""  # of a text

    def head(self, rows: int | None) -> Table:
        """Return the first rows alone."""
        first = each(lambda array: array[:rows], self.features)
        return self._replace(features=first, labels=self.labels[:rows])

    def place(self, column: int, row: Any) -> str:
        """Say where a feature stands, for error messages; rows count from 1."""
        named = column < len(self.feature_names)
        label = f"'{self.feature_names[column]}'" if named else str(column)
        return f"column {label}, row {int(row) + 1}"
