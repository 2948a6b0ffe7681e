"""Certificates: backward against the derivative of forward, in balls, with proven digits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.witness.decisions import Decisions, deciding
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
from compare.witness.precision import BITS, DIGITS, working

if TYPE_CHECKING:
    from compare.witness.agreement import TensorDigits

ELEMENTS = 400  # above this many, random directions instead of every element


@dataclass(frozen=True)
class Certificate:
    """What was proven of one pair: the fewest digits of any element of any gradient."""

    digits: float
    radius: float
    certified: bool
    note: str = ""
    tensors: tuple[TensorDigits, ...] = ()
    comparisons: int = 0  # made by the code; each was certain
    nearest: float = math.inf  # the smallest distance that decided one
    elementwise: bool = True  # False: along random directions


def certify(
    forward: Forward,
    backward: Backward,
    inputs: Inputs,
    *,
    bits: int = BITS,
    digits: float = DIGITS,
    seed: int = 0,
) -> Certificate:
    """Prove how many digits of backward are those of the derivative of forward.

    Every element of every gradient is compared, under a random upstream gradient; above 400
    elements, one random direction through each input is.

    Raises:
        UserError: python-flint is missing.
        BranchPointError: the code compares two numbers that cannot be told apart.
        NotBallsError (a TypeError): the code turns balls into floats.
    """
    given = named(inputs)
    elementwise = sum(given[name].size for name in differentiable(given)) <= ELEMENTS
    with working(bits, digits):
        tensors, decisions = _compared(forward, backward, given, seed, elementwise)
        return replace(certificate(tensors, decisions, digits), elementwise=elementwise)


def certificate(
    tensors: Sequence[TensorDigits], decisions: Decisions, digits: float
) -> Certificate:
    """Sum up what tensors were proven to agree to."""
    if not tensors:
        return Certificate(0.0, math.inf, False, "nothing was compared")
    fewest = min(t.digits for t in tensors)
    radius = max((t.radius for t in tensors), key=lambda r: math.inf if math.isnan(r) else r)
    certified = fewest >= digits
    note = "" if certified else failure(tensors, digits)
    made, nearest = decisions.count, decisions.nearest
    return Certificate(fewest, radius, certified, note, tuple(tensors), made, nearest)


def failure(tensors: Sequence[TensorDigits], digits: float) -> str:
    """Return what is wrong with the worst tensor."""
    worst = min((t for t in tensors if t.digits < digits), key=lambda t: (not t.worst, t.digits))
    if worst.worst:
        return f"WRONG: {worst.text}"
    if not math.isfinite(worst.radius):
        return f"{worst.name} is not finite"
    return f"{worst.name}: enclosures too wide for {digits:g} digits; use more bits"


def _compared(
    forward: Forward, backward: Backward, inputs: dict[str, Any], seed: int, elementwise: bool
) -> tuple[list[TensorDigits], Decisions]:
    from compare.witness.agreement import tensor_digits
    from compare.witness.ball_array import balls
    from compare.witness.slopes import gradient, lifted

    rng = np.random.default_rng([seed, 3])  # not the stream that inputs were drawn from
    values = lifted(inputs, differentiable(inputs))
    with deciding() as decisions:
        out, cache = forward(*map(copied, values.values()))
        dout = upstream(out, lambda shape: balls(rng.standard_normal(shape)))
        claims = gradients(backward(copied(dout), cache), inputs)
    if not elementwise:
        return _along_directions(forward, values, dout, claims, rng), decisions
    return [
        tensor_digits(name, claim, gradient(forward, values, name, dout))
        for name, claim in claims.items()
    ], decisions


def _along_directions(
    forward: Forward, values: dict[str, Any], dout: Any, claims: dict[str, Any], rng: Any
) -> list[TensorDigits]:
    """Compare every gradient along one random direction of its own."""
    from compare.witness.agreement import tensor_digits
    from compare.witness.ball_array import balls
    from compare.witness.slopes import along

    found = []
    for name, claim in claims.items():
        direction = balls(rng.standard_normal(values[name].shape))
        if np.shape(claim) != direction.shape:
            found.append(tensor_digits(name, claim, direction))
            continue
        slope = along(forward, values, {name: direction}, dout)
        found.append(tensor_digits(name, contract(direction, claim), slope))
    return found
