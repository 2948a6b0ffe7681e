"""Turn measured differences into verdicts, one per tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from compare.gauge import Gauge
from compare.measure import Measures, measure
from compare.quantities import Key, Values

VERDICTS = np.array(["agree", "disagree", "missing", "non-finite", "vacuous"], dtype=object)
AGREE, DISAGREE, MISSING, NON_FINITE, VACUOUS = range(5)


class Rows(NamedTuple):
    """One step's rows: a key, a shape, the measures and a verdict code for each tensor."""

    keys: list[Key]
    shapes: list[tuple[int, ...]]
    measures: Measures
    verdicts: np.ndarray

    @property
    def bad(self) -> np.ndarray:
        """Positions of rows that neither agree nor are vacuous."""
        return np.flatnonzero((self.verdicts != AGREE) & (self.verdicts != VACUOUS))

    @property
    def disagree(self) -> bool:
        return bool((self.verdicts == DISAGREE).any())


def judge(
    keys: Sequence[Key], manual: Values, torch: Values, tolerances: Mapping[Key, Any]
) -> Rows:
    """Compare every expected tensor of a step, and every one that only a side knows of.

    Args:
        keys: what is expected, in execution order.
        manual, torch: what each side returned.
        tolerances: per key an array or one number; a key without one is allowed no difference.
    """
    known = set(keys)
    keys = [*keys, *(k for k in manual if k not in known)]
    keys += [k for k in torch if k not in set(keys)]
    shapes = [np.shape(torch.get(k, manual.get(k))) for k in keys]
    verdicts = np.full(len(keys), MISSING)
    pairs = [i for i, k in enumerate(keys) if k in manual and k in torch]
    columns = np.full((len(Measures._fields), len(keys)), np.nan)
    same = [i for i in pairs if np.shape(manual[keys[i]]) == shapes[i]]
    if len(same) < len(pairs):
        misshapen = sorted(set(pairs) - set(same))
        verdicts[misshapen], columns[0, misshapen], columns[3, misshapen] = DISAGREE, np.inf, np.inf
    if same:
        chosen = [keys[i] for i in same]
        measures = measure(
            [np.asarray(manual[k]) for k in chosen],
            [np.asarray(torch[k]) for k in chosen],
            [tolerances.get(k, 0.0) for k in chosen],
        )
        columns[:, same], verdicts[same] = measures, verdict_codes(measures)
    return Rows(list(keys), shapes, Measures(*columns), verdicts)


def verdict_codes(measures: Measures) -> np.ndarray:
    """Return the verdict of each tensor; written so that NaN never passes."""
    finite = np.isfinite(measures.max_abs) & np.isfinite(measures.scale)
    within = (measures.budget <= 1) | ((measures.max_abs == 0) & np.isnan(measures.budget))
    caught = measures.zeros > 1
    return np.select(
        [~finite, ~within, ~caught], [NON_FINITE, DISAGREE, VACUOUS], default=AGREE
    )


def gauged(values: Values, dtype: np.dtype, k: float) -> dict[Key, Any]:
    """Return the tolerance of every element from what a gauge run left; exact data get E = 0."""
    exact = 4 * k * float(np.finfo(dtype).tiny)
    return {
        key: value.tolerance(dtype, k) if isinstance(value, Gauge) else exact
        for key, value in values.items()
    }


def fixed(torch: Values, rtol: float, atol: float) -> dict[Key, Any]:
    """Return the tolerances a user asked for: atol + rtol |torch|."""
    return {key: atol + rtol * np.abs(value) for key, value in torch.items()}
