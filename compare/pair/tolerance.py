"""How far rounding may take an element: by the gauge, else by Monte-Carlo arithmetic.

The candidate is run on error-gauge arrays. Where its code cannot run on them (it fills NumPy
buffers, or calls what the gauge has no rule for), or where the gauge's error is so large that it
says little (errors that a computation itself contracts), every rounding of the same code is
perturbed at random instead, and the smaller of the two errors counts. If the two sides differ by
more than that, the reference's own rounding is found in the same way and added.

No element's error is taken from another's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from compare.gauge import FORMATS, Format, Gauge, gauge, gauging, strayed
from compare.judge.quantities import Key
from compare.pair.candidates import Candidate
from compare.pair.inputs import Inputs, fresh
from compare.pair.montecarlo import FLOOR, SAMPLES, Errors, errors
from compare.pair.preserved import preserved

U64 = 2.0**-53
HALF_K = 16.0  # float16 and bfloat16: E is measured here, by a few samples
LOOSE = 1e-6  # of an element: a tolerance above it is not taken from the gauge alone
WIDE = 1e-2  # of an element: a tolerance above it says nothing


PRECISIONS = {
    name: format._replace(k=HALF_K) if format.half else format for name, format in FORMATS.items()
}


class Judged(NamedTuple):
    """The candidate's rounding error, and how it was found, in words."""

    errors: Errors
    how: str


GAUGED = "E by running your own code on error-gauge arrays, element by element"
RANDOM = (
    "E by Monte-Carlo arithmetic, because {why}: the spread of "
    f"{SAMPLES} runs in which every rounding is perturbed, element by element, at least {FLOOR:g} "
    "roundings of it"
)
REFUSED = "your code cannot run on error-gauge arrays ({why})"
MOVED = "; your code refuses perturbed arrays, so only its inputs are"


HURRIED = "E by moving the inputs alone, for want of time"


def hurried(
    dtype: str, candidate: Candidate, values: Inputs, upstreams: Sequence[np.ndarray]
) -> Judged:
    """Return what moving the inputs by a rounding changes: no more than the whole error is."""
    arguments = candidate.run, candidate.differentiable, values, upstreams, dtype
    with preserved(candidate.forward_code, candidate.backward_code):
        return Judged(errors(*arguments, how="inputs"), HURRIED)


def candidate_errors(
    dtype: str, candidate: Candidate, values: Inputs, upstreams: Sequence[np.ndarray]
) -> Judged:
    """Return the rounding error of a hand-written candidate, gauged if that can be done."""
    precision = PRECISIONS[dtype]
    try:
        with preserved(candidate.forward_code, candidate.backward_code):
            plain = candidate.run(fresh(values), upstreams).named()
            found = _gauged(candidate, values, upstreams, dtype, plain)
    except Exception as error:  # whatever a stranger's code raises on unknown arrays
        why = " ".join(f"{type(error).__name__}: {error}".split())
        why = why if len(why) < 120 else why[:119] + "…"
        return perturbed(candidate, values, upstreams, dtype, REFUSED.format(why=why))
    if not any(_loose(e, plain[q], precision) for q, e in found.items()):
        return Judged(found, GAUGED)
    other = perturbed(candidate, values, upstreams, dtype, "the gauge's E is large").errors
    return Judged({q: np.fmin(e, other[q]) for q, e in found.items()}, GAUGED)


def perturbed(
    candidate: Candidate, values: Inputs, upstreams: Sequence[np.ndarray], dtype: str, why: str,
    samples: int = SAMPLES,
) -> Judged:  # fmt: skip
    """Return the rounding error by Monte-Carlo arithmetic."""
    arguments = candidate.run, candidate.differentiable, values, upstreams, dtype
    codes = candidate.forward_code, candidate.backward_code
    try:
        with preserved(*codes):
            return Judged(errors(*arguments, samples=samples), RANDOM.format(why=why))
    except Exception:  # code that looks at the class of its arrays
        with preserved(*codes):
            found = errors(*arguments, how="inputs", samples=samples)
        return Judged(found, RANDOM.format(why=why) + MOVED)


def _loose(error: np.ndarray, value: Any, precision: Format) -> bool:
    """Return whether the gauge lets a large part of an element pass that is not a bare zero."""
    size = np.abs(np.asarray(value, dtype=np.float64))
    allowed = precision.k * precision.unit * error
    few = LOOSE if precision.name == "float64" else WIDE
    return bool((~(allowed <= few * size) & (size > 0) & np.isfinite(size)).any())


def _gauged(
    candidate: Candidate,
    values: Inputs,
    upstreams: Sequence[np.ndarray],
    dtype: str,
    plain: Mapping[str, Any],
) -> Errors:
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


def combined(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Errors:
    """Add two sides' errors as a root of a sum of squares, quantity by quantity."""
    total = dict(ours)
    for quantity, error in theirs.items():
        mine = total.get(quantity, error)
        total[quantity] = np.hypot(mine, error) if mine.shape == error.shape else error
    return total


def tolerance_text(judged: Judged | None, precision: Format, reference: str) -> str:
    """Say in words how differences were judged.

    Args:
        judged: how the candidate's error was found.
        precision: what it ran in.
        reference: `torch`, or `numeric` for derivatives of the candidate's own forward.
    """
    rule = f"|manual − {reference}| ≤ K (u E + 4 tiny), K = {precision.k:g}, in {precision.name}"
    beside = {
        "torch": "where they differ by more, the reference's own rounding is added",
        "numeric": "8 times the error estimate of the central differences is added",
    }[reference]
    if judged is None:
        return f"{rule}; {beside}"
    return f"{rule}; {judged.how}; {beside}"
