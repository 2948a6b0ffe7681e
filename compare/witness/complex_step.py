"""Complex step: the slope of smooth code as the imaginary part of f(x + ih), exact to rounding.

f(x + ih) = f(x) + ih f′(x) - …: nothing is subtracted, so h may be 1e-30 and no digit cancels; with
h = 1e-100 small slopes would fall out of float64's range.
It holds for analytic code only. Code that takes absolute values or drops the imaginary part gives
another number; central differences tell, and this witness then keeps out of it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from compare.witness.directional import SMALL, Claim, Problem, claims, posed, relative
from compare.witness.pairs import Backward, Forward, Inputs
from compare.witness.slope import Slope, central, sample
from compare.witness.testimony import Testimony

STEP = 1e-30
TOLERANCE = 1e-8  # of the gradient's length; backward's own rounding must fit in
ROUGH = 1e-5  # central differences need not agree better than this


@dataclass(frozen=True)
class ComplexStep(Testimony):
    """Backward's word against complex steps; `relative_error` is relative to the gradient."""

    relative_error: float = 0.0


def complex_step(
    forward: Forward,
    backward: Backward,
    inputs: Inputs,
    *,
    seed: int = 0,
    directions: int = 2,
    tolerance: float = TOLERANCE,
) -> ComplexStep:
    """Compare backward's slopes along random directions with complex steps.

    Args: as for `directional`. Inconclusive where forward cannot carry complex numbers.
    """
    with np.errstate(all="ignore"):
        problem = posed(forward, backward, inputs, seed)
        if unfit := problem.unfit():
            return ComplexStep(not problem.grads, f"complex step: {unfit}", bool(problem.grads))
        judged = [_judged(problem, c, tolerance) for c in claims(problem, seed, directions)]
    return min(judged, key=lambda t: (t.agrees, t.conclusive, -t.relative_error))


def _judged(problem: Problem, claim: Claim, tolerance: float) -> ComplexStep:
    try:
        slope = _slope(problem, claim)
    except (TypeError, ValueError, ArithmeticError, Warning) as reason:
        return _out(f"forward cannot carry complex numbers ({type(reason).__name__}: {reason})")
    samples = sample(lambda h: float(problem.moved(claim.directions, h)))
    if not (samples.usable and np.isfinite(slope)):
        return _out("forward is not finite around here")
    rough = central(samples)
    size = max(abs(rough.value), claim.length)
    if problem.is_lost(STEP * size):
        return _out(SMALL)
    if 0 < size <= samples.noise:
        return _out("forward's rounding is larger than its slope")
    noise = samples.noise / tolerance  # backward rounds too: never ask for less than its noise
    scale = max(size, noise)
    if not abs(slope - rough.value) <= ROUGH * scale + 10 * rough.error:
        return _out(
            "forward is not analytic here (an absolute value, a kink, a lost imaginary part)"
        )
    error = relative(claim.slope, Slope(slope, 0.0), scale)
    evidence = (
        f"complex step: {claim.name}: claimed {claim.slope:.15g}, found {slope:.15g} "
        f"(relative error {error:.1e})"
    )
    return ComplexStep(error <= tolerance, evidence, True, error)


def _slope(problem: Problem, claim: Claim) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        value = problem.moved(claim.directions, complex(0, STEP))
    if not np.iscomplexobj(value):
        raise TypeError("its output is real")
    return float(np.imag(value)) / STEP


def _out(reason: str) -> ComplexStep:
    return ComplexStep(True, f"complex step: {reason}", conclusive=False)
