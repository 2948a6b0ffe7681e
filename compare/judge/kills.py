"""The kill row: would the check have noticed if a tensor had been wrong?

Torch's tensor is corrupted in seven ways, and each result is judged with the tolerances that judged
the real one. It is done once, at the first step, where every element has a tolerance of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.judge.quantities import Key, Values

if TYPE_CHECKING:
    import pandas as pd

CORRUPTIONS = (
    "zeros", "negated", "times_batch", "over_batch", "transposed", "sample_dropped", "one_percent",
)  # fmt: skip
COLUMNS = ["layer", "quantity", *CORRUPTIONS]
PER_SAMPLE = ("output", "grad_output", "grad_input")  # quantities whose first axis is the batch


def kill_rows(step: Any) -> pd.DataFrame:
    """Return one row per tensor of a step that was compared, in execution order."""
    batch = _batch(step.torch)
    return kill_table(step.rows.keys, step.torch, step.tolerances, batch)


def kill_table(
    keys: Iterable[Key], tensors: Values, tolerances: Any, batch: int | None
) -> pd.DataFrame:
    """Return for each tensor which corruptions its tolerance would have noticed.

    Args:
        keys: what was compared, in order; keys without a tensor, or whose tolerances have
            another shape (the hand-written side's is wrong), are left out.
        tensors: torch's side.
        tolerances: what each element may differ by, by key.
        batch: the number of samples; None or 1 leaves out what needs several.
    """
    import pandas as pd

    rows = [
        (*key, *kills(np.asarray(tensors[key]), tolerances.get(key, 0.0), batch, _rows(key)))
        for key in keys
        if key in tensors and np.shape(tolerances.get(key, 0.0)) in ((), np.shape(tensors[key]))
    ]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def kills(
    tensor: np.ndarray, tolerance: Any, batch: int | None, per_sample: bool
) -> tuple[bool | None, ...]:
    """Return, in the order of CORRUPTIONS, whether each would have been noticed.

    A corruption that changes nothing (a symmetric matrix transposed) goes unnoticed as well. For
    `sample_dropped` each sample in turn is set to zero, for `one_percent` each element is off by
    1 %; both must be noticed for at least half of those that are not zero.
    """
    many = batch is not None and batch > 1
    t = tensor
    with np.errstate(all="ignore"):
        used = np.abs(t) / tolerance  # how many tolerances an element is large
        largest = float(np.max(used, initial=0.0))
        b = float(batch or 1)
        return (
            largest > 1,
            2 * largest > 1,
            largest * (b - 1) > 1 if many else None,
            largest * (1 - 1 / b) > 1 if many else None,
            _transposed(t, tolerance),
            _dropped(used) if many and per_sample and t.ndim and t.shape[0] == batch else None,
            _half(used, 100.0),
        )


def _transposed(t: np.ndarray, tolerance: Any) -> bool | None:
    if t.ndim != 2 or t.shape[0] != t.shape[1] or t.shape[0] < 2:
        return None
    return bool((np.abs(np.subtract(t, t.T, dtype=np.float64)) > tolerance).any())


def _dropped(used: np.ndarray) -> bool:
    return bool(used.size) and _half(used.reshape(len(used), -1).max(axis=1))


def _half(used: np.ndarray, tolerances: float = 1.0) -> bool:
    """Return whether at least half of what is not zero is above so many tolerances."""
    nonzero = np.count_nonzero(used > 0)
    return bool(nonzero and np.count_nonzero(used > tolerances) * 2 >= nonzero)


def _rows(key: Key) -> bool:
    return key.quantity in PER_SAMPLE


def _batch(tensors: Values) -> int | None:
    """Return the length of the outputs' first axis."""
    shapes = [np.shape(t) for key, t in tensors.items() if key.quantity == "output"]
    return shapes[0][0] if shapes and shapes[0] else None


def empty() -> pd.DataFrame:
    """Return a table without rows."""
    import pandas as pd

    return pd.DataFrame(columns=COLUMNS, dtype=object)


def counted(table: pd.DataFrame) -> dict[str, int]:
    """Return how many corruptions were tried and how many of them noticed."""
    values = [v for c in CORRUPTIONS for v in table[c] if v is not None]
    return {"tried": len(values), "noticed": sum(map(bool, values))}
