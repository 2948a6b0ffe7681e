"""Directional derivatives: backward against forward along random directions, in float64.

A mistake in any element shows in every random direction, so the cost does not depend on the number
of parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from compare.witness.pairs import (
    Backward,
    Forward,
    Inputs,
    contract,
    copied,
    differentiable,
    gradients,
    named,
    upstream,
)
from compare.witness.slope import Slope, central, kink, remainder_rate, sample
from compare.witness.testimony import Testimony

DIRECTIONS = 2
SURE = 1e-5  # a measurement less certain than this decides nothing
TOLERANCE = 1e-9  # of the gradient's length along the direction
LEAST = 1e-290  # a slope below this lost its digits in float64, or some of its terms did
LOST = 1e-9  # of what forward returns: where float64 loses more than that, nothing is known
SMALL = "forward's numbers are too small for float64 here"


@dataclass(frozen=True)
class Directional(Testimony):
    """Backward's word against measured slopes.

    `rate`: how fast the Taylor remainder falls with the step, 2 if backward is right and 1 if not;
    None where forward is straight. `relative_error`: the largest difference between a claimed and a
    measured slope, relative to the gradient's length.
    """

    rate: float | None = None
    relative_error: float = 0.0


class Claim(NamedTuple):
    """One random direction, and the slope that backward claims along it."""

    name: str  # of the input that moves, or "all inputs"
    directions: dict[str, np.ndarray]
    slope: float
    length: float  # √Σ (g v)²: what the slope would be if its terms did not cancel


class Problem(NamedTuple):
    """A pair at one point, with its upstream gradient and what backward claims."""

    forward: Forward
    inputs: dict[str, Any]
    dout: Any
    grads: dict[str, np.ndarray]

    def moved(self, directions: Mapping[str, np.ndarray], step: Any) -> Any:
        """Return Σ dout · forward a step along the directions; fresh copies, always."""
        values = {name: copied(x) for name, x in self.inputs.items()}
        for name in differentiable(self.inputs):
            values[name] = values[name].astype(type(step))  # all complex, if one is
        for name, direction in directions.items():
            values[name] += step * direction
        return contract(self.dout, self.forward(*values.values())[0])

    def is_lost(self, size: float) -> bool:
        """Return whether forward has lost its digits here, so that its slope says nothing.

        Numbers below 1e-308 have few digits, or vanish; with a larger range of exponents forward
        then returns another number. Code that computes in float64 alone is believed.

        Args:
            size: of what is measured.
        """
        if 0 < size < LEAST:
            return True
        try:
            outs = [self.forward(*self._as(real).values())[0] for real in (float, np.longdouble)]
        except Exception:
            return False
        here, exact = (_weighted(self.dout, out) for out in outs)
        return bool(np.abs(here - exact).sum() > LOST * np.abs(exact).sum())

    def _as(self, real: type) -> dict[str, Any]:
        free = differentiable(self.inputs)
        return {n: x.astype(real) if n in free else copied(x) for n, x in self.inputs.items()}

    def unfit(self) -> str:
        """Return why there is nothing to measure; empty if there is."""
        for name, grad in self.grads.items():
            if grad.shape != self.inputs[name].shape:
                return f"{name} has shape {self.inputs[name].shape}, its gradient {grad.shape}"
        return "" if self.grads else "no gradient was claimed"


def directional(
    forward: Forward,
    backward: Backward,
    inputs: Inputs,
    *,
    seed: int = 0,
    directions: int = DIRECTIONS,
    together: bool = False,
    tolerance: float = TOLERANCE,
) -> Directional:
    """Compare backward's slopes with central differences and with the Taylor remainder's rate.

    Args:
        forward, backward, inputs: see `pairs`; computed in float64.
        seed: of the upstream gradient and the directions.
        directions: how many random directions for each input.
        together: move all inputs at once, which is cheaper for many; a large gradient then hides
            mistakes in small ones.
        tolerance: on the relative error, beside the measurement's own uncertainty.
    """
    with np.errstate(all="ignore"):
        problem = posed(forward, backward, inputs, seed)
        if unfit := problem.unfit():
            return Directional(not problem.grads, f"directional: {unfit}", bool(problem.grads))
        judged = [
            _judged(problem, c, tolerance) for c in claims(problem, seed, directions, together)
        ]
    return min(judged, key=lambda t: (t.agrees, t.conclusive, -t.relative_error))


def posed(forward: Forward, backward: Backward, inputs: Inputs, seed: int) -> Problem:
    """Run the pair once, in float64, under a random upstream gradient."""
    given = named(inputs)
    free = differentiable(given)
    values = {n: x.astype(np.float64) if n in free else copied(x) for n, x in given.items()}
    rng = np.random.default_rng([seed, 1])
    out, cache = forward(*(copied(x) for x in values.values()))
    dout = upstream(out, rng.standard_normal)
    grads = gradients(backward(copied(dout), cache), values)
    return Problem(forward, values, dout, {n: np.asarray(g) for n, g in grads.items()})


def claims(problem: Problem, seed: int, count: int, together: bool = False) -> Iterator[Claim]:
    """Yield random directions through one input after the other, or through all of them."""
    rng = np.random.default_rng([seed, 2])
    names = list(problem.grads)
    groups = {"all inputs": names} if together else {name: [name] for name in names}
    for group, members in groups.items():
        for _ in range(count):
            yield _claim(problem, group, members, rng)


def _claim(problem: Problem, group: str, names: list[str], rng: np.random.Generator) -> Claim:
    """Move each input in proportion to its size."""
    inputs = {name: problem.inputs[name] for name in names}
    along = {name: _size(x) * rng.standard_normal(x.shape) for name, x in inputs.items()}
    terms = np.concatenate([(along[name] * problem.grads[name]).ravel() for name in names])
    return Claim(group, along, float(terms.sum()), float(np.sqrt(np.sum(np.square(terms)))))


def _judged(problem: Problem, claim: Claim, tolerance: float) -> Directional:
    if not np.isfinite(claim.slope):
        text = f"directional: {claim.name}: backward is not finite"
        return Directional(False, text, True, None, np.inf)
    samples = sample(lambda h: float(problem.moved(claim.directions, h)))
    if not samples.usable:
        text = f"directional: {claim.name}: forward is not finite around this point"
        return Directional(True, text, False)
    measured = central(samples)
    scale = max(abs(measured.value), claim.length)
    rate = remainder_rate(samples, claim.slope)
    if sides := kink(samples):
        slopes = f"slopes {sides[0]:.4g} and {sides[1]:.4g}, claimed {claim.slope:.4g}"
        return Directional(True, f"directional: {claim.name}: a kink here, {slopes}", False, rate)
    error = relative(claim.slope, measured, scale)
    unsure = measured.error / scale if scale else 0.0
    agrees = error <= tolerance + 10 * unsure
    if problem.is_lost(scale):
        return Directional(True, f"directional: {claim.name}: {SMALL}", False, rate, error)
    fall = "straight" if rate is None else f"remainder falls as h^{rate:.2f}"
    evidence = (
        f"directional: {claim.name}: claimed {claim.slope:.9g}, measured {measured.value:.9g} "
        f"(relative error {error:.1e}), {fall}"
    )
    return Directional(agrees, evidence, not agrees or unsure <= SURE, rate, error)


def relative(claimed: float, measured: Slope, scale: float) -> float:
    """Return the difference relative to the scale; 0 / 0 is 0."""
    difference = abs(claimed - measured.value)
    return difference / scale if scale else float(difference > 0)


def _weighted(dout: Any, out: Any) -> np.ndarray:
    """Return the terms of Σ dout · out."""
    if isinstance(out, tuple | list):
        return np.concatenate([_weighted(d, y) for d, y in zip(dout, out, strict=True)])
    return np.zeros(0) if dout is None else np.ravel(dout * out)


def _size(x: np.ndarray) -> float:
    """Return the root mean square; 1 for zeros."""
    return float(np.sqrt(np.mean(np.square(x)))) or 1.0 if x.size else 1.0
