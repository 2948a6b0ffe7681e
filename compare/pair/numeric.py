"""Derivatives of the candidate's own forward by central differences, with an error estimate.

Steps are h, h/4, h/16, …, extrapolated as `richardson` does; what has not settled by the last is
not known. At a kink the one-sided derivatives differ however small the step: both are returned,
for any number between them is a subgradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from compare.pair.inputs import Inputs
from compare.pair.richardson import extrapolated

LEVELS, RATIO = 9, 4.0
DEEPER, DEEPEST = 6, 18  # levels further down where the differences are not settled, and the last
U = 2.0**-53
SEPARATED, CLOSE, SEPARATIONS = 1e-3, 1e-6, 24  # distances, of the input's size; samples
PUSHED = 32  # numbers that tie, each moved by itself

Forward = Callable[[Inputs], tuple[np.ndarray, ...]]


class Slope(NamedTuple):
    """A derivative along one direction, its error, and the range of subgradients at a kink."""

    value: float
    error: float
    low: float
    high: float

    @property
    def kinked(self) -> bool:
        return self.low < self.high


class Slopes(NamedTuple):
    """The same for every element of an input, as arrays of its shape."""

    value: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray


def slopes(
    forward: Forward,
    values: Inputs,
    name: str,
    upstreams: Sequence[np.ndarray],
    rounding: Sequence[np.ndarray] | None = None,
) -> Slopes:
    """Return d Σ upstream · output / d element, for every element of an input.

    NaN where forward has no value, but one beside it: there is nothing to derive.
    """
    x, here = values[name], forward(values)
    found = np.zeros((4, *x.shape))
    for index in np.ndindex(x.shape):
        direction = np.zeros(x.shape)
        direction[index] = 1.0
        slope = along(forward, values, {name: direction}, upstreams, rounding)
        step = CLOSE * _size(x, direction)
        beside = forward(_moved(values, {name: direction}, step)) if _holes(here) else here
        found[(slice(None), *index)] = np.nan if _holes(here) > _holes(beside) else slope
    return Slopes(*found)


def _holes(outputs: Sequence[np.ndarray]) -> int:
    return sum(int(np.isnan(y).sum()) for y in outputs)


def along(
    forward: Forward,
    values: Inputs,
    directions: dict[str, np.ndarray],
    upstreams: Sequence[np.ndarray],
    rounding: Sequence[np.ndarray] | None = None,
    least: float = 0.0,
    times: float = 1.0,
) -> Slope:
    """Return the derivative of Σ upstream · output along a direction in the inputs.

    Args:
        forward: the function.
        values: where.
        directions: by input.
        upstreams: of the outputs.
        rounding: E of every output, where forward rounds larger numbers than it returns.
        least: of the size that steps are in proportion to; tiny inputs' own hide a slope beside
            1 in rounding.
        times: larger than in proportion to that size.
    """
    size = times * max(least, *(_size(values[name], d) for name, d in directions.items()))
    usual = None
    for first in range(0, DEEPEST + 1, DEEPER):
        steps = size / 8 * RATIO ** -np.arange(first, first + LEVELS)
        slope, grows = _at_steps(forward, values, directions, upstreams, rounding, steps)
        usual = usual or slope
        if not grows and (slope is usual or abs(slope.value) > abs(usual.value)):
            return slope  # no flatter one: that is where forward's rounding swallows the step
    assert usual is not None
    return usual if usual.error <= 0.1 * abs(usual.value) else usual._replace(error=np.inf)


def _at_steps(
    forward: Forward, values: Inputs, directions: dict[str, np.ndarray],
    upstreams: Sequence[np.ndarray], rounding: Sequence[np.ndarray] | None, steps: np.ndarray,
) -> tuple[Slope, bool]:  # fmt: skip
    """Return the derivative by these steps, and whether it still grows as they shrink.

    It does where the last difference is larger than the one before, or than what all of them lead
    to, by a tenth and by more than rounding explains: a slope within a millionth (a square root
    of x² + 1e-12) shows at smaller steps only.
    """
    here = forward(values)
    ahead = [forward(_moved(values, directions, h)) for h in steps]
    behind = [forward(_moved(values, directions, -h)) for h in steps]
    weight = [np.abs(dy) for dy in upstreams]
    sizes = [np.abs(y) for y in here]
    if rounding is not None:
        sizes = [np.fmax(y, e) for y, e in zip(sizes, rounding, strict=True)]
    noise = 16 * U * _project(weight, sizes) / steps
    central = np.array(
        [_project(upstreams, _minus(a, b)) for a, b in zip(ahead, behind, strict=True)]
    ) / (2 * steps)
    value, error = _extrapolated(central, noise)
    low, high = _one_sided(here, ahead, behind, steps, upstreams, noise)
    last, before = np.abs(central[-1]), min(abs(central[-2]), abs(value))
    grows = last - before > max(0.1 * last, 64 * noise[-1])
    return Slope(value, error, low, high), bool(grows)


def _extrapolated(central: np.ndarray, noise: np.ndarray) -> tuple[float, float]:
    """Return the best entry of Neville's table and its error."""
    value, error = extrapolated(central, noise, RATIO)
    last = LEVELS - 3  # a plain difference at a small step: extrapolation must not contradict it
    plain = 16 * noise[last] + 1e-2 * abs(central[last])
    if not abs(value - central[last]) <= plain:
        near = slice(LEVELS // 2 - 1, None)
        value, error = extrapolated(central[near], noise[near], RATIO)
    return value, error


def _one_sided(
    here: Sequence[np.ndarray],
    ahead: list,
    behind: list,
    steps: np.ndarray,
    upstreams: Sequence[np.ndarray],
    noise: np.ndarray,
) -> tuple[float, float]:
    """Return the range of subgradients; a single number where forward is smooth.

    Forward is smooth if the gap of the one-sided derivatives goes with the step.
    """

    last = LEVELS - 3
    levels = slice(last - 2, last + 1)
    low = high = 0.0
    for k, (dy, y) in enumerate(zip(upstreams, here, strict=True)):
        right = [(side[k] - y) / h for side, h in zip(ahead[levels], steps[levels], strict=True)]
        left = [(y - side[k]) / h for side, h in zip(behind[levels], steps[levels], strict=True)]
        kinked, settled = _stay(*(a - b for a, b in zip(right, left, strict=True)))
        kinked &= np.abs(dy * (right[-1] - left[-1])) > 16 * noise[last]
        ends = np.stack(
            [dy * np.where(settled, _limit(side[-2], side[-1]), side[-1]) for side in (right, left)]
        )
        mean = dy * (right[-1] + left[-1]) / 2
        low += float(np.where(kinked, ends.min(axis=0), mean).sum())
        high += float(np.where(kinked, ends.max(axis=0), mean).sum())
    return low, high


def _stay(large: np.ndarray, middle: np.ndarray, small: np.ndarray) -> tuple[Any, Any]:
    """Return where the gap of the one-sided derivatives stays, and where it is settled at that.

    Curvature adds to a kink what is in proportion to the step: what is left without it must be a
    good part of the gap, and nearly the same by two pairs of steps.
    """
    found, before = _limit(middle, small), _limit(large, middle)
    settled = (np.abs(found) > 0.25 * np.abs(small)) & (
        np.abs(found - before) < 0.1 * np.abs(found)
    )
    return settled | (np.abs(small) > 0.5 * np.abs(large)), settled


def _limit(one: np.ndarray, next_one: np.ndarray) -> np.ndarray:
    """Return what two numbers tend to, but for a part in proportion to the step."""
    return (RATIO * next_one - one) / (RATIO - 1)


def apart(
    forward: Forward,
    values: Inputs,
    directions: dict[str, np.ndarray],
    upstreams: Sequence[np.ndarray],
    floats: Sequence[str],
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return the range of slopes along a direction where all that ties with it is pulled apart.

    Between three equal numbers the middle one's slope is none of the two one-sided ones; and where
    several kinks meet (a unit whose weights are zero has one for every sample), a program takes a
    side of each that no step along the direction may reach. Points nearby have them: random ones,
    and those that a push of one of the equal numbers reaches.
    """
    arrays = {name: values[name] for name in floats if values[name].size}
    scales = {name: SEPARATED * _size(x, np.ones(x.shape)) for name, x in arrays.items()}
    step = CLOSE * max(_size(values[name], d) for name, d in directions.items())

    def shaken(size: float) -> Inputs:
        return {n: size * scales[n] * rng.standard_normal(x.shape) for n, x in arrays.items()}

    def slope(change: Inputs) -> float:
        moved = {**values, **{name: arrays[name] + d for name, d in change.items()}}
        sides = (forward(_moved(moved, directions, s * step)) for s in (1, -1))
        return _project(upstreams, _minus(*sides)) / (2 * step)

    found = [slope(shaken(1.0)) for _ in range(SEPARATIONS)]
    tying = np.unique(np.concatenate([values[n][d != 0] for n, d in directions.items()]))
    places = [(n, tuple(at)) for n, x in arrays.items() for at in np.argwhere(np.isin(x, tying))]
    for name, at in (places[i] for i in rng.permutation(len(places))[:PUSHED]):
        for side in (8, -8):
            change = shaken(1 / 64)
            change[name][at] += side * scales[name]
            found.append(slope(change))
    return min(found), max(found)


def _size(x: np.ndarray, direction: np.ndarray) -> float:
    """Return a step in proportion to what is moved."""
    moved = np.abs(x[direction != 0])
    typical = float(np.sqrt(np.mean(np.square(x))))
    return float(max(moved.max(initial=0.0), typical)) or 1.0


def _moved(values: Inputs, directions: dict[str, np.ndarray], step: float) -> Inputs:
    return {**values, **{n: values[n] + step * d for n, d in directions.items()}}


def _minus(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [x - y for x, y in zip(a, b, strict=True)]


def _project(upstreams: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> float:
    return float(sum(np.sum(dy * y) for dy, y in zip(upstreams, ys, strict=True)))
