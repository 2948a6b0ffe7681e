"""The numbers that break derivations: ties, borders, zeros, large and small magnitudes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evidence.mutation.battery.base import exact

Shape = tuple[int, ...]
Kind = Callable[[np.random.Generator, Shape], np.ndarray]


def _random(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.normal(size=shape) * 2 + 1e-3


def _ties(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Small whole numbers: sums stay exact, maxima tie, kinks are hit."""
    return rng.integers(-2, 3, shape).astype(np.float64)


def _large(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Beyond where exponentials overflow, in either dtype."""
    return rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(1, 4, shape)


def _small(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Where 1 + x loses what x says, and 0 itself."""
    return rng.normal(size=shape) * 10.0 ** rng.integers(-12, -2, shape) * (rng.random(shape) > 0.2)


def _positive(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return np.abs(rng.normal(size=shape)) + 0.1


def _zeros(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return np.zeros(shape)


def _grid(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Every half from -48 to 48: all borders and thresholds are hit; the shape is its own."""
    return np.arange(-96, 97)[:, None] / 2


KINDS: dict[str, Kind] = {
    "random": _random, "ties": _ties, "large": _large, "small": _small, "grid": _grid,
    "zeros": _zeros,
    "positive": _positive,
}  # fmt: skip


def make(kind: str, rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Draw numbers of a kind, exact in float32."""
    return exact(KINDS[kind](rng, shape))
