"""What happens exactly at a branch point: the slopes on its two sides, and what backward takes.

A comparison that is tied at the point is decided by looking ahead along the direction, so each
one-sided derivative is as proven as any other. Where both sides agree, the code branches but the
function is smooth, and backward must have that slope; where they differ, backward must lie between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from compare.witness.agreement import tensor_digits
from compare.witness.ball_array import balls
from compare.witness.balls import as_ball
from compare.witness.decisions import BranchPointError, deciding
from compare.witness.pairs import Backward, Forward, copied, differentiable, gradients, upstream
from compare.witness.slopes import gradient, lifted


@dataclass(frozen=True)
class Branch:
    """The verdict on one branch point, and the words for it."""

    certified: bool
    note: str


def at_branch(
    forward: Forward, backward: Backward, inputs: Mapping[str, Any], label: str, digits: float
) -> Branch:
    """Judge backward at a point where a comparison is tied, element by element."""
    rng = np.random.default_rng(1)
    values = lifted(inputs, differentiable(inputs))
    out, cache = forward(*map(copied, values.values()))
    dout = upstream(out, lambda shape: balls(_upstream(rng, shape)))
    claims = gradients(backward(copied(dout), cache), inputs)
    sides: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    try:
        with deciding(one_sided=True) as decisions:
            for name in claims:
                right = gradient(forward, values, name, dout)
                sides[name] = gradient(forward, values, name, dout, sign=-1), right
            jump = _jump(forward, values)
    except BranchPointError as reason:
        return Branch(False, f"{label}: {reason}")
    if not decisions.ties:
        return Branch(False, f"{label}: no comparison is tied there")
    found = [_judged(name, claims[name], *sides[name], digits) for name in claims]
    if bad := [text for fits, _, text in found if not fits]:
        return Branch(False, f"WRONG at {label}: {bad[0]}")
    kinks = [text for _, smooth, text in found if not smooth]
    what = f"kink, {kinks[0]}" if kinks else "no kink"
    return Branch(True, f"{label}: {what}{jump}")


def _upstream(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return 1 for a single number, so that the slopes read as they are; else random numbers."""
    return np.ones(shape) if np.prod(shape) == 1 else rng.standard_normal(shape)


def _judged(
    name: str, claim: Any, left: np.ndarray, right: np.ndarray, digits: float
) -> tuple[bool, bool, str]:
    """Return whether a gradient fits both sides, whether they are one, and the first kink."""
    claim = np.asarray(claim, dtype=object)
    if claim.shape != left.shape:
        return False, False, f"{name} has shape {claim.shape}, not {left.shape}"
    first = ""
    for index in np.ndindex(left.shape):
        g, low, high = (as_ball(a[index]).value for a in (claim, left, right))
        if low.overlaps(high):
            one = tensor_digits(name, claim[index], right[index])
            if one.digits < digits:
                return False, True, one.text
            continue
        low, high = min(low, high), max(low, high)
        between = (g > low or g.overlaps(low)) and (g < high or g.overlaps(high))
        first = first or _slopes(left[index], right[index], g)
        if not between:
            return False, False, _slopes(left[index], right[index], g)
    return True, not first, first


def _slopes(left: Any, right: Any, claim: Any) -> str:
    slopes = [float(x.mid()) for x in (left.value, right.value, claim)]
    short = [f"{x:.4g}" for x in slopes]
    if short[0] == short[1]:
        short = [f"{x:.12g}" for x in slopes]
    return "slopes {} | {}, backward takes {}".format(*short)


def _jump(forward: Forward, values: dict[str, Any]) -> str:
    """Return the height of a step, if the function itself differs just beside the point."""
    here = _elements(forward, values)
    heights = []
    for sign in (1, -1):
        moving, speeds = dict(values), count(1)
        for name in moving:
            if isinstance(moving[name], np.ndarray) and moving[name].dtype == object:
                moving[name] = _moved(moving[name], sign, speeds)
        beside = _elements(forward, moving)
        heights += [abs(a - b) for a, b in zip(here, beside, strict=True)]
    height = max(heights, key=lambda h: h.mid())
    return "" if height.contains(0) else f", a step of {float(height.mid()):.2g}"


def _elements(forward: Forward, values: dict[str, Any]) -> list[Any]:
    """Return the values of all output elements."""
    out, _ = forward(*map(copied, values.values()))
    parts = out if isinstance(out, tuple | list) else (out,)
    return [as_ball(x).value for part in parts for x in np.asarray(part, dtype=object).ravel()]


def _moved(array: Any, sign: int, speeds: Iterator[int]) -> Any:
    """Let every element move, each at its own speed, so that no tie remains."""
    from flint import arb

    from compare.witness.balls import Ball

    moved = array.copy()
    for index in np.ndindex(array.shape):
        moved[index] = Ball(array[index].value, arb(sign * next(speeds)))
    return moved
