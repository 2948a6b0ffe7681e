"""Equality that a lesson asserts: bit for bit, or within what rounding can do and no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from compare.gauge import Gauge, K, gauge, gauging
from compare.judge.judge import VERDICTS, judge
from compare.judge.quantities import Key
from teach.kit.show import table
from teach.kit.words import _


class Same(NamedTuple):
    """One comparison that passed."""

    shape: str
    share: float  # percent of the tolerance
    how: str


def gauged(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run the function on error-gauge arrays: what it returns tells how far rounding may take it.

    Every float64 array among the arguments (also inside dicts, lists and tuples) is lifted. The
    result is for the `error` of `same` and `same_all`, which turn it into a tolerance for every
    element: 256 (u E + 4 tiny), as everywhere in this project.
    """
    with gauging(np.dtype(np.float64)):
        return function(*(_lifted(a) for a in arguments))


def same(name: str, ours: Any, theirs: Any, error: Any = None, *, zero: bool = False) -> None:
    """Assert that two arrays, tensors or numbers are the same, and print how close they are.

    Args:
        name: what is compared.
        ours, theirs: the two values; torch tensors are welcome.
        error: None demands equality bit for bit; else a gauge array from `gauged`.
        zero: whether the value is known to be all zeros. Otherwise a comparison that zeros would
            have passed is refused: it shows nothing.

    Raises:
        AssertionError: they differ by more than rounding can explain, or nothing was compared.
    """
    found = _judged(name, _array(ours), _array(theirs), error, zero)
    print(_same(f"{_(name)}, {found.shape}", found.how))


def same_all(
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    errors: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
) -> None:
    """Assert that two dicts hold the same arrays under the same keys; show a table.

    Args:
        ours, theirs: arrays, tensors or numbers by name.
        errors: what `gauged` returned, by name; without it equality is bit for bit.
        name: print one line under this name instead of the table.
    """
    assert ours.keys() == theirs.keys(), f"compared {sorted(ours)} with {sorted(theirs)}"
    assert ours, "nothing was compared"
    found = {
        key: _judged(key, _array(ours[key]), _array(theirs[key]), (errors or {}).get(key))
        for key in ours
    }
    if name is not None:
        closest = max(found.values(), key=lambda one: one.share)
        tensors = _("{count} tensors").format(count=len(found))
        print(_same(f"{_(name)}, {tensors}", closest.how))
        return
    table(
        {
            "quantity": [f"`{key}`" for key in found],
            "shape": [one.shape for one in found.values()],
            "verdict": [_("same") + ": " + one.how for one in found.values()],
        }
    )


def _same(what: str, how: str) -> str:
    return f"{_('same')}: {what}: {how}"


def _judged(name: str, ours: Any, theirs: Any, error: Any, zero: bool = False) -> Same:
    tolerance = _tolerance(error, ours, theirs)
    key = Key("", name)
    rows = judge([key], {key: ours}, {key: theirs}, {key: tolerance})
    verdict, measures = VERDICTS[rows.verdicts[0]], rows.measures
    if zero and not theirs.any() and verdict == "vacuous":
        verdict = "agree"
    if verdict != "agree":
        raise AssertionError(_failure(name, verdict, ours, theirs, tolerance))
    gap = float(measures.max_abs[0])
    if gap == 0:
        return Same(_shape(theirs), 0.0, _("bit for bit"))
    share = 100 * float(measures.budget[0])
    how = _("at most {gap} apart, {share} of what rounding allows")
    return Same(_shape(theirs), share, how.format(gap=f"{gap:.1e}", share=f"{share:.2g} %"))


def _failure(name: str, verdict: str, ours: Any, theirs: Any, tolerance: Any) -> str:
    if verdict == "vacuous":
        return f"{name}: zeros would have passed this comparison, so it shows nothing"
    if ours.shape != theirs.shape:
        return f"{name}: shape {ours.shape} against {theirs.shape}"
    gap = np.abs(ours - theirs)
    at = np.unravel_index(np.argmax(np.where(np.isfinite(gap), gap, np.inf)), gap.shape)
    allowed = np.broadcast_to(tolerance, gap.shape)[at]
    place = f" at {tuple(int(i) for i in at)}" if gap.ndim else ""
    return (
        f"{name}: {ours[at]!r} against {theirs[at]!r}{place}, {gap[at]:.3g} apart; rounding allows "
        f"{allowed:.3g} ({verdict})"
    )


def _tolerance(error: Any, ours: np.ndarray, theirs: np.ndarray) -> Any:
    if error is None:
        return 0.0
    dtype = np.result_type(ours, theirs)
    if isinstance(error, Gauge):
        return error.tolerance(dtype, K)
    raise TypeError(
        f"error must come from gauged(...), received {type(error).__name__}: the function did not "
        "compute with its array arguments alone."
    )


def _lifted(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return gauge(value)
    if isinstance(value, Mapping):
        return {k: _lifted(v) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_lifted(v) for v in value)
    return value


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind in "iub" else array


def _shape(array: np.ndarray) -> str:
    return " × ".join(str(n) for n in array.shape) or _("one number")
