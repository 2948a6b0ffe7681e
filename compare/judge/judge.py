"""Turn measured differences into verdicts, one per tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from compare.gauge import SMALLEST, Gauge, least_tolerance
from compare.judge.measure import Measures, measure
from compare.judge.quantities import Key, Values

VERDICTS = np.array(
    ["agree", "disagree", "missing", "non-finite", "vacuous", "inaccurate"], dtype=object
)
AGREE, DISAGREE, MISSING, NON_FINITE, VACUOUS, INACCURATE = range(6)


class Rows(NamedTuple):
    """One step's rows: a key, a shape, the measures and a verdict code for each tensor."""

    keys: list[Key]
    shapes: list[tuple[int, ...]]
    measures: Measures
    verdicts: np.ndarray

    @property
    def bad(self) -> np.ndarray:
        """Positions of rows that are wrong, as far as torch is right."""
        return np.flatnonzero(~np.isin(self.verdicts, (AGREE, VACUOUS, INACCURATE)))

    @property
    def disagree(self) -> bool:
        return bool((self.verdicts == DISAGREE).any())

    @property
    def differ(self) -> bool:
        """Whether a finer tolerance may say something else."""
        return self.disagree or bool((self.verdicts == NON_FINITE).any())

    def taking(self, others: Rows, places: Any) -> Rows:
        """Return a copy with others' rows in these places."""
        measures, verdicts = np.array(self.measures), self.verdicts.copy()
        measures[:, places] = np.array(others.measures)[:, places]
        verdicts[places] = others.verdicts[places]
        return self._replace(measures=Measures(*measures), verdicts=verdicts)


def judge(
    keys: Sequence[Key],
    manual: Values,
    torch: Values,
    tolerances: Mapping[Key, Any],
    start: Mapping[str, np.ndarray] | None = None,
) -> Rows:
    """Compare every expected tensor of a step, and every one that only a side knows of.

    Args:
        keys: what is expected, in execution order.
        manual, torch: what each side returned, as arrays.
        tolerances: per key an array or one number; a key without one is allowed no difference.
        start: parameters before the update, by dotted name. An updated parameter is vacuous if no
            update at all would have passed, which zeros in its place say nothing of.
    """
    keys = list(dict.fromkeys((*keys, *manual, *torch)))
    ours: list[Any] = [manual.get(k) for k in keys]
    theirs: list[Any] = [torch.get(k) for k in keys]
    sides = list(zip(ours, theirs, strict=True))
    if all(m is not None and t is not None and m.shape == t.shape for m, t in sides):
        measures = measure(ours, theirs, [tolerances.get(k, 0.0) for k in keys])
        shapes = [t.shape for t in theirs]
    else:
        measures, shapes = _measure_partly(keys, sides, tolerances)
    _no_update(keys, theirs, tolerances, start or {}, measures.zeros)
    codes = verdict_codes(measures, ours, theirs)
    off = [keys[i] for i in np.flatnonzero(codes == NON_FINITE)]
    left = {k: _without_noise(k, manual, torch, tolerances) for k in off}
    if any(left.values()):
        mine, other = ({k: pair[i] for k, pair in left.items() if pair} for i in (0, 1))
        return judge(keys, {**manual, **mine}, {**torch, **other}, tolerances, start)
    return Rows(keys, shapes, measures, codes)


def _without_noise(key: Key, manual: Values, torch: Values, tolerances: Any) -> Any:
    """Return both sides of a tensor, 0 where noise overflowed on the way from one of them.

    A finite gradient of which rounding leaves nothing (an infinite tolerance) may be any size: what
    an update makes of it, a square say, overflows on the side where it came out large.
    None if there is no such element.
    """
    kind, _, name = key.quantity.partition(":")
    grad = Key(key.layer, f"grad:{name.partition(':')[0]}")
    if kind not in ("param", "state") or grad not in manual or grad not in torch:
        return None
    ours, theirs = manual[key], torch[key]
    known = [np.isfinite(x) for x in (ours, theirs, manual[grad], torch[grad])]
    unknown = np.isinf(tolerances.get(grad, 0.0))
    if not all(np.shape(x) == unknown.shape for x in known):
        return None
    noise = (known[0] != known[1]) & known[2] & known[3] & unknown
    return (np.where(noise, 0, ours), np.where(noise, 0, theirs)) if noise.any() else None


def _no_update(
    keys: list[Key], theirs: list, tolerances: Any, start: Mapping, zeros: np.ndarray
) -> None:
    """Put into `zeros` what a parameter that was not updated would have used."""
    for i, (layer, quantity) in enumerate(keys):
        before = start.get(f"{layer}.{quantity[6:]}") if quantity[:6] == "param:" else None
        if before is None or theirs[i] is None or not zeros[i] > 1:
            continue
        tolerance = tolerances.get(keys[i], 0.0)
        few = tuple(slice(None, None, 1 + n // 8) for n in before.shape)
        for part in (few, ...):  # a few elements show most updates
            moved = np.abs(theirs[i][part] - before[part])
            if np.ndim(tolerance):
                zeros[i] = (moved / tolerance[part]).max()
            else:
                zeros[i] = np.float64(moved.max()) / tolerance
            if zeros[i] > 1:
                break


def _measure_partly(keys: list[Key], sides: list, tolerances: Any) -> tuple[Measures, list]:
    """Measure what both sides have in one shape; a wrong shape is infinitely far off."""
    shapes = [() if m is t else (m if t is None else t).shape for m, t in sides]  # both None: ()
    columns = np.full((len(Measures._fields), len(keys)), np.nan)
    both = [i for i, (m, t) in enumerate(sides) if m is not None and t is not None]
    same = [i for i in both if sides[i][0].shape == sides[i][1].shape]
    misshapen = [i for i in both if i not in same]
    columns[0, misshapen], columns[3, misshapen] = np.inf, np.inf
    if same:
        columns[:, same] = measure(
            [sides[i][0] for i in same],
            [sides[i][1] for i in same],
            [tolerances.get(keys[i], 0.0) for i in same],
        )
    return Measures(*columns), shapes


def verdict_codes(measures: Measures, ours: Sequence[Any], theirs: Sequence[Any]) -> np.ndarray:
    """Return the verdict of each tensor; written so that NaN never passes."""
    finite = np.isfinite(measures.max_abs) & np.isfinite(measures.scale)
    within = (measures.budget <= 1) | ((measures.max_abs == 0) & np.isnan(measures.budget))
    counts = [t is not None and t.dtype.kind in "iub" for t in theirs]  # 0 is one like any other
    caught = (measures.zeros > 1) | np.array(counts, dtype=bool)
    passed = np.where(caught, AGREE, VACUOUS)
    codes = np.where(finite, np.where(within, passed, DISAGREE), NON_FINITE)
    for i, (m, t) in enumerate(zip(ours, theirs, strict=True)):
        if m is None or t is None:
            codes[i] = MISSING
        elif m.shape != t.shape:
            codes[i] = DISAGREE
    return codes


def of_one_dtype(rows: Rows, manual: Values, torch: Values) -> Rows:
    """Return the rows with a disagreement where a side computes in another float dtype."""
    other = [i for i, key in enumerate(rows.keys) if promoted(key, manual, torch)]
    if not other:
        return rows
    verdicts = rows.verdicts.copy()
    verdicts[other] = np.where(
        np.isin(verdicts[other], (AGREE, VACUOUS)), DISAGREE, verdicts[other]
    )
    return rows._replace(verdicts=verdicts)


def promoted(key: Key, manual: Values, torch: Values) -> bool:
    """Return whether both sides hold floats of different dtypes; a state of one number has any."""
    ours, theirs = manual.get(key), torch.get(key)
    if ours is None or theirs is None or ours.dtype == theirs.dtype:
        return False
    single = key.quantity[:6] == "state:" and theirs.ndim == 0  # torch keeps those in float32
    return bool(ours.dtype.kind == theirs.dtype.kind == "f") and not single


def gauged(values: Values, dtype: np.dtype, k: float) -> dict[Key, Any]:
    """Return the tolerance of every element from what a gauge run left; exact data get E = 0."""
    exact = least_tolerance(dtype, k)
    return {
        key: value.tolerance(dtype, k) if isinstance(value, Gauge) else exact
        for key, value in values.items()
    }


def fixed(torch: Values, rtol: float, atol: float) -> dict[Key, Any]:
    """Return the tolerances a user asked for: atol + rtol |torch|."""
    least = np.nextafter(0, 1)  # so that equal zeros have used nothing of rtol alone
    return {key: np.maximum(atol + rtol * np.abs(value), least) for key, value in torch.items()}


def unbounded(tolerances: Mapping[Key, Any]) -> dict[Key, int]:
    """Count the elements without a bound: squared errors may have left float64's range."""
    arrays = {k: t for k, t in tolerances.items() if isinstance(t, np.ndarray) and t.ndim}
    return {k: int(np.isinf(t).sum()) for k, t in arrays.items() if np.isinf(t.max(initial=0.0))}


def typical(tolerance: Any) -> float:
    """Return the root mean square over elements; those without a bound stand for themselves."""
    flat = np.ravel(tolerance)
    if np.isinf(flat).any() and np.isfinite(flat).any():
        flat = flat[np.isfinite(flat)]
    return float(np.sqrt(np.dot(flat, flat) / flat.size))


def least_share(rows: Rows) -> float:
    """Return the smallest share of a tolerance among the tensors that disagree."""
    return float(rows.measures.budget[rows.verdicts == DISAGREE].min())


def out_of_range(rows: Rows, manual: Values) -> bool:
    """Return whether squared errors may have left float64's range on the way to a disagreement."""
    bad, found = rows.verdicts == DISAGREE, rows.measures
    with np.errstate(all="ignore"):
        tolerance = (np.abs(found.manual - found.torch) / found.budget)[bad]
    if (~np.isfinite(tolerance) | (tolerance < 1e10 * SMALLEST)).any():
        return True
    doubles = (v for v in map(np.asarray, manual.values()) if v.dtype == np.float64)
    sizes = (np.abs(v[v != 0]) for v in doubles)
    return any(((v < 1e10 * SMALLEST) | (v > 1 / SMALLEST)).any() for v in sizes)
