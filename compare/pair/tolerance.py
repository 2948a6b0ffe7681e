"""How far rounding may take an element: by the gauge, else by measuring it.

The candidate is run on error-gauge arrays. Where its code cannot run on them (it fills NumPy
buffers, or calls what the gauge has no rule for), the error is measured: the same code is run
several times on inputs that differ by about one unit roundoff, and the spread is taken for it. The
reference's own rounding is always measured so, because it may use a longer formula.

A measured error is never less than FLOOR roundings of the element, nor than 2⁻⁵³ roundings of the
largest number around (what underflows on one side only). And it is never more than CEILING
roundings of the largest number: an input that lies on a branch point makes the spread huge, and
must not make the judge blind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from compare.gauge import Gauge, K, gauge, gauging, strayed
from compare.judge.quantities import Key
from compare.pair.candidates import Candidate, Result
from compare.pair.inputs import Inputs, fresh

FLOOR, CEILING, RUNS = 4.0, 1e4, 8
U64 = 2.0**-53
HALF_K = 16.0  # float16 and bfloat16: one rounding is already a per cent

Errors = dict[str, np.ndarray]  # per quantity: E of every element, in units of the roundoff


class Precision(NamedTuple):
    """What a dtype's rounding is like."""

    name: str
    unit: float  # unit roundoff
    tiny: float  # smallest normal number
    k: float

    @property
    def of_numpy(self) -> bool:
        """True if NumPy computes in it as well; halves are torch's."""
        return self.name in ("float64", "float32")

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return 2 * ((1 - self.unit) * (2 / self.tiny))

    def tolerance(self, error: Any) -> np.ndarray:
        """Return K (u E + 4 tiny)."""
        return self.k * (self.unit * np.asarray(error) + 4 * self.tiny)


PRECISIONS = {
    "float64": Precision("float64", U64, 2.0**-1022, K),
    "float32": Precision("float32", 2.0**-24, 2.0**-126, K),
    "float16": Precision("float16", 2.0**-11, 2.0**-14, HALF_K),
    "bfloat16": Precision("bfloat16", 2.0**-8, 2.0**-126, HALF_K),
}


class Judged(NamedTuple):
    """The candidate's rounding error, and how it was found, in words."""

    errors: Errors
    how: str


GAUGED = "E by running your own code on error-gauge arrays, element by element"
MEASURED = (
    "E measured, because your code cannot run on error-gauge arrays ({why}): the spread of "
    f"{RUNS} runs on inputs perturbed by one unit roundoff, at least {FLOOR:g} roundings of each "
    "element"
)


def candidate_errors(
    dtype: str,
    candidate: Candidate,
    values: Inputs,
    upstreams: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> Judged:
    """Return the rounding error of a hand-written candidate, gauged if that can be done."""
    try:
        errors = _gauged(candidate, values, upstreams, dtype)
        if all(np.isfinite(error).all() for error in errors.values()):
            return Judged(errors, GAUGED)
        measured = spread(candidate.run, candidate.differentiable, values, upstreams, rng)
        return Judged(_instead(errors, measured), GAUGED)  # a square of 1e154 overflows
    except Exception as error:  # whatever a stranger's code raises on unknown arrays
        why = " ".join(f"{type(error).__name__}: {error}".split())
    measured = spread(candidate.run, candidate.differentiable, values, upstreams, rng)
    return Judged(measured, MEASURED.format(why=why if len(why) < 120 else why[:119] + "…"))


def _instead(errors: Errors, measured: Errors) -> Errors:
    """Return the gauged errors, and the measured ones where those are not finite."""
    return {q: np.where(np.isfinite(e), e, measured[q]) for q, e in errors.items()}


def _gauged(
    candidate: Candidate, values: Inputs, upstreams: Sequence[np.ndarray], dtype: str
) -> Errors:
    plain = candidate.run(fresh(values), upstreams).named()
    lifted = fresh(values)
    for name in candidate.differentiable:
        lifted[name] = gauge(lifted[name])
    with gauging(np.dtype(dtype)):
        found = candidate.run(lifted, [gauge(dy.copy()) for dy in upstreams]).named()
    if found.keys() != plain.keys():
        raise TypeError("the code returns other things when it runs on gauge arrays")
    for quantity, value in found.items():
        _check_gauged(quantity, value, np.asarray(plain[quantity]))
    return {quantity: value.error for quantity, value in found.items()}


def _check_gauged(quantity: str, value: Any, plain: np.ndarray) -> None:
    """Demand a gauge array of the same numbers: anything else says nothing of the error."""
    if not isinstance(value, Gauge):
        raise TypeError(f"its {quantity} loses the error gauge on the way")
    key = Key("", quantity)
    room = value.tolerance(np.dtype(np.float64))
    if strayed({key: value}, {key: plain}, {key: room}):
        raise TypeError(f"its {quantity} is another one when it runs on gauge arrays")


def spread(
    run: Callable[[Inputs, Sequence[np.ndarray]], Result],
    floats: Sequence[str],
    values: Inputs,
    upstreams: Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    smooth: bool = True,
    floor: float = FLOOR,
) -> Errors:
    """Measure the rounding error in float64 from runs on inputs perturbed by a unit roundoff.

    Args:
        run: a forward and backward pass.
        floats: the inputs to perturb; the upstream gradients are perturbed too.
        values, upstreams: what to run on.
        rng: where the perturbations come from.
        smooth: whether an element's error is at least the root mean square over its tensor, so
            that no element is judged by a spread that is small by chance.
        floor: roundings of an element that its error is at least.
    """
    base = _arrays(run(fresh(values), list(upstreams)))
    squares = {quantity: np.zeros(v.shape) for quantity, v in base.items()}
    for _ in range(RUNS):
        moved = fresh(values)
        for name in floats:
            moved[name] = _perturbed(moved[name], rng)
        result = _arrays(run(moved, [_perturbed(dy, rng) for dy in upstreams]))
        for quantity, square in squares.items():
            change = np.nan_to_num(result[quantity] - base[quantity], posinf=0.0, neginf=0.0)
            square += np.square(change / U64) / RUNS
    largest = max(_largest(a) for a in (*base.values(), *(values[n] for n in floats), *upstreams))
    return {
        quantity: _bounded(square, base[quantity], largest, smooth, floor)
        for quantity, square in squares.items()
    }


def _bounded(
    square: np.ndarray, value: np.ndarray, largest: float, smooth: bool, floor: float
) -> np.ndarray:
    error = np.sqrt(np.maximum(square, square.mean()) if smooth else square)
    least = np.maximum(floor * _size(value), U64 * largest)
    return np.maximum(np.minimum(error, CEILING * largest), least)


def _perturbed(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return array * (1 + 2 * U64 * rng.standard_normal(array.shape))


def _largest(array: np.ndarray) -> float:
    return float(np.max(_size(array), initial=0.0))


def _size(array: np.ndarray) -> np.ndarray:
    """Return magnitudes, 0 for what is not finite."""
    return np.abs(np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0))


def _arrays(result: Result) -> dict[str, np.ndarray]:
    return {q: np.asarray(v, dtype=np.float64) for q, v in result.named().items()}


def combined(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Errors:
    """Add two sides' errors as a root of a sum of squares, quantity by quantity."""
    total = dict(ours)
    for quantity, error in theirs.items():
        mine = total.get(quantity, error)
        total[quantity] = np.hypot(mine, error) if mine.shape == error.shape else error
    return total


def tolerance_text(judged: Judged | None, precision: Precision, reference: str) -> str:
    """Say in words how differences were judged.

    Args:
        judged: how the candidate's error was found.
        precision: what it ran in.
        reference: `torch`, or `numeric` for derivatives of the candidate's own forward.
    """
    rule = f"|manual − {reference}| ≤ K (u E + 4 tiny), K = {precision.k:g}, in {precision.name}"
    beside = {
        "torch": "the reference's own rounding is measured and added",
        "numeric": "8 times the error estimate of the central differences is added",
    }[reference]
    if judged is None:
        return f"{rule}; {beside}"
    return f"{rule}; {judged.how}; {beside}"
