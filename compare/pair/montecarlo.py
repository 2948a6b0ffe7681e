"""Rounding errors by Monte-Carlo arithmetic: the same code, every rounding perturbed at random.

E of an element is the root mean square deviation of SAMPLES noisy runs from one without noise.
Values themselves are moved, so errors that a computation contracts are contracted and chaos shows.
No element's error is taken from another's.

Source: D. S. Parker, Monte Carlo Arithmetic (UCLA CSD-970002, 1997).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from compare.pair.candidates import Result
from compare.pair.inputs import Inputs, fresh
from compare.pair.noise import noisy, sampling, size_of
from compare.pair.noisy_array import Noisy, kept, plain
from compare.pair.noisy_torch import noisy_torch

SAMPLES = 4
FLOOR = 4.0  # roundings of an element that its error is at least

Run = Callable[[Inputs, Sequence[np.ndarray]], Result]
Errors = dict[str, np.ndarray]  # per quantity: E of every element, in units of the roundoff


def errors(
    run: Run,
    floats: Collection[str],
    values: Inputs,
    upstreams: Sequence[np.ndarray],
    dtype: str,
    *,
    how: str = "numpy",
    floor: float = FLOOR,
    samples: int = SAMPLES,
) -> Errors:
    """Return E of every element of what a forward and backward pass returns.

    Inputs and upstream gradients move by one rounding, too, but for numbers of few digits.

    Args:
        run: the pass, in float64.
        floats: the inputs that move.
        values, upstreams: what to run on.
        dtype: whose roundings are simulated.
        how: `numpy` for hand-written code, `torch` for a reference, `inputs` to move the inputs
            alone: for code that refuses noisy arrays.
        floor: roundings of an element that its error is at least.
        samples: noisy runs.

    Raises:
        Exception: whatever the code raises on noisy numbers.
    """
    base = _arrays(run(fresh(values), [np.array(dy) for dy in upstreams]))
    found = {quantity: np.zeros(v.shape) for quantity, v in base.items()}
    for sample in range(1, samples + 1):
        with sampling(sample, dtype):
            moved = {n: _moved(v, how) if n in floats else v for n, v in fresh(values).items()}
            dys = [_moved(np.asarray(dy, dtype=np.float64), how) for dy in upstreams]
            with _noise(how):
                result = _arrays(run(moved, dys))
        for quantity, before in found.items():
            off = _deviation(result[quantity], base[quantity]) / size_of(dtype)
            found[quantity] = np.hypot(before, off / np.sqrt(samples))  # squares would underflow
    return {q: np.maximum(error, floor * _size(base[q])) for q, error in found.items()}


def _noise(how: str) -> AbstractContextManager:
    return {"numpy": kept, "torch": noisy_torch, "inputs": nullcontext}[how]()


def _moved(array: np.ndarray, how: str) -> Any:
    x = np.asarray(array, dtype=np.float64)
    moved = noisy(x, "input", exact=_few_bits(x), flush=False)
    moved = np.asarray(moved).reshape(np.shape(array))
    return moved.view(Noisy) if how == "numpy" else moved


def _few_bits(x: np.ndarray) -> np.ndarray:
    """Return where kinks lie: 0, 1, ½, 6. A branch taken otherwise is no rounding error."""
    mantissa = np.ldexp(np.frexp(x)[0], 12)
    return mantissa == np.round(mantissa)


def _deviation(there: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Return the difference; infinite where one alone is finite, 0 where neither is."""
    neither = ~np.isfinite(there) & ~np.isfinite(here)
    with np.errstate(all="ignore"):
        off = there - here
    return np.where(neither, 0.0, np.where(np.isfinite(off), off, np.inf))


def _size(array: np.ndarray) -> np.ndarray:
    """Return magnitudes, 0 for what is not finite."""
    return np.abs(np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0))


def _arrays(result: Result) -> dict[str, np.ndarray]:
    """Return a run's numbers without the noisy classes."""
    return {q: np.array(plain(v), dtype=np.float64) for q, v in result.named().items()}
