"""Turn measured differences into verdicts, one per tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from compare.gauge import Gauge, least_tolerance
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
        manual, torch: what each side returned, as arrays.
        tolerances: per key an array or one number; a key without one is allowed no difference.
    """
    keys = list(dict.fromkeys((*keys, *manual, *torch)))
    ours: list[Any] = [manual.get(k) for k in keys]
    theirs: list[Any] = [torch.get(k) for k in keys]
    sides = list(zip(ours, theirs, strict=True))
    if all(m is not None and t is not None and m.shape == t.shape for m, t in sides):
        measures = measure(ours, theirs, [tolerances.get(k, 0.0) for k in keys])
        return Rows(keys, [t.shape for t in theirs], measures, verdict_codes(measures))
    return _judge_partly(keys, sides, tolerances)


def _judge_partly(keys: list[Key], sides: list, tolerances: Mapping[Key, Any]) -> Rows:
    """Judge what both sides have in one shape; the rest is missing, or disagrees by its shape."""
    shapes = [() if m is t else (m if t is None else t).shape for m, t in sides]  # both None: ()
    verdicts = np.full(len(keys), MISSING)
    columns = np.full((len(Measures._fields), len(keys)), np.nan)
    both = [i for i, (m, t) in enumerate(sides) if m is not None and t is not None]
    same = [i for i in both if sides[i][0].shape == sides[i][1].shape]
    misshapen = [i for i in both if i not in same]
    verdicts[misshapen], columns[0, misshapen], columns[3, misshapen] = DISAGREE, np.inf, np.inf
    if same:
        measures = measure(
            [sides[i][0] for i in same],
            [sides[i][1] for i in same],
            [tolerances.get(keys[i], 0.0) for i in same],
        )
        columns[:, same], verdicts[same] = measures, verdict_codes(measures)
    return Rows(keys, shapes, Measures(*columns), verdicts)


def verdict_codes(measures: Measures) -> np.ndarray:
    """Return the verdict of each tensor; written so that NaN never passes."""
    finite = np.isfinite(measures.max_abs) & np.isfinite(measures.scale)
    within = (measures.budget <= 1) | ((measures.max_abs == 0) & np.isnan(measures.budget))
    caught = measures.zeros > 1
    passed = np.where(caught, AGREE, VACUOUS)
    return np.where(finite, np.where(within, passed, DISAGREE), NON_FINITE)


def gauged(values: Values, dtype: np.dtype, k: float) -> dict[Key, Any]:
    """Return the tolerance of every element from what a gauge run left; exact data get E = 0."""
    exact = least_tolerance(dtype, k)
    return {
        key: value.tolerance(dtype, k) if isinstance(value, Gauge) else exact
        for key, value in values.items()
    }


def fixed(torch: Values, rtol: float, atol: float) -> dict[Key, Any]:
    """Return the tolerances a user asked for: atol + rtol |torch|."""
    return {key: atol + rtol * np.abs(value) for key, value in torch.items()}
