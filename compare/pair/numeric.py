"""Derivatives of the candidate's own forward by central differences, with an error estimate.

Steps are h, h/4, h/16, …, extrapolated as `richardson` does; what has not settled by the last is
not known. At a kink the one-sided derivatives
differ however small the step: both are returned, for any number between them is a subgradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from compare.pair.inputs import Inputs
from compare.pair.richardson import extrapolated

LEVELS, RATIO = 9, 4.0
DEEPER, DEEPEST = 6, 18  # levels further down where the differences are not settled, and the last
U = 2.0**-53
SEPARATED, CLOSE, SEPARATIONS = 1e-3, 1e-6, 24  # distances, of the input's size; samples

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

    Forward is smooth if the gap of the one-sided derivatives shrinks as the step does.
    """

    def gaps(i: int) -> list[np.ndarray]:
        return [
            (a - 2 * y + b) / steps[i] for a, y, b in zip(ahead[i], here, behind[i], strict=True)
        ]

    near, far = LEVELS - 3, LEVELS - 5
    room = 16 * noise[near]
    low = high = 0.0
    for dy, y, a, b, small, large in zip(
        upstreams, here, ahead[near], behind[near], gaps(near), gaps(far), strict=True
    ):
        stays = (np.abs(small) > 0.5 * np.abs(large)) & (np.abs(dy * small) > room)
        if stays.any():
            sides = np.stack([dy * (a - y), dy * (y - b)]) / steps[near]
            low += float(np.where(stays, sides.min(axis=0), sides.mean(axis=0)).sum())
            high += float(np.where(stays, sides.max(axis=0), sides.mean(axis=0)).sum())
        else:
            mean = float((dy * (a - b)).sum() / (2 * steps[near]))
            low, high = low + mean, high + mean
    return low, high


def apart(
    forward: Forward,
    values: Inputs,
    name: str,
    at: tuple[int, ...],
    upstreams: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return the range of an element's slopes where all that ties with it is pulled apart.

    Between three equal numbers the middle one's slope is none of the two one-sided ones.
    """
    x, found = values[name], []
    scale = _size(x, np.ones(x.shape))
    direction = np.zeros(x.shape)
    direction[at] = 1.0
    for _ in range(SEPARATIONS):
        moved = {**values, name: x + SEPARATED * scale * rng.standard_normal(x.shape)}
        sides = (forward(_moved(moved, {name: direction}, s * CLOSE * scale)) for s in (1, -1))
        found.append(_project(upstreams, _minus(*sides)) / (2 * CLOSE * scale))
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
