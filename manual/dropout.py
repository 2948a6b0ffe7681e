"""Dropout, with its mask given from outside as noise, so that two programs can share it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer

__all__ = ["Dropout"]


class DropoutCache(NamedTuple):
    keep: Array | None  # None: nothing was dropped


class Dropout(Layer):
    """Zero each element with probability p and scale the rest by 1 / (1 - p).

    Args:
        p: the probability of dropping an element, from 0 to 1.

    Raises:
        ValueError: p is outside 0 … 1, or the noise has not the input's shape.
    """

    equations = {
        "output": "y[i] = m[i] * x[i] / (1 - p)",
        "output/evaluation": "y[i] = x[i]",
        "output/p = 1": "y[i] = 0 * x[i]",
        "grad_input": "dx[i] = dy[i] * m[i] / (1 - p)",
        "grad_input/evaluation": "dx[i] = dy[i]",
        "grad_input/p = 1": "dx[i] = 0 * dy[i]",
    }
    symbols = {"m": "cache.keep"}
    examples = (
        *(Example({"p": p}, ((3, 4),)) for p in (0.25, 0.5, 0.0, 1.0)),
        Example({}, ((3, 4),), training=False, noise=False),
    )

    stochastic = True

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(
                f"Dropout: p is the probability of dropping an element and must lie between 0 and "
                f"1, received {p}."
            )
        self.p = p

    @property
    def scale(self) -> float:
        """1 / (1 - p), which keeps the expected value at x; 0 for p = 1, where nothing is kept."""
        return 0.0 if self.p == 1 else 1 / (1 - self.p)

    def draw(self, x: Array, *, rng: np.random.Generator) -> Array:  # type: ignore[override]
        """Return a fresh mask: True where an element is kept, with probability 1 - p."""
        return rng.random(tuple(x.shape)) >= self.p

    def forward(  # type: ignore[override]
        self, x: Array, *, noise: Array | None = None
    ) -> tuple[Array, DropoutCache]:
        """Return x · m / (1 - p) for a 0/1 mask m of x's shape; without noise (evaluation) x."""
        if noise is None:
            return x, DropoutCache(None)
        if tuple(noise.shape) != tuple(x.shape):
            raise ValueError(
                f"Dropout: the noise is a mask and must have the input's shape {tuple(x.shape)}, "
                f"received {tuple(noise.shape)}. Draw it with Dropout.draw(x, rng=rng)."
            )
        keep = noise != 0  # bool: a float64 mask would lift float32
        return self._dropped(x, keep), DropoutCache(keep)

    def backward(self, grad_output: Array, cache: DropoutCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = x · m / (1 - p), all shapes equal; the mask m is a constant.

        y_i = x_i m_i / (1 - p)   ->   dx = dy · m / (1 - p), the very mask of the forward pass
        Torch: nn.Dropout: the same scaling while training, and y = x in evaluation.
        Source: Srivastava et al., Dropout (2014), section 10, for the scaling while training.
        """
        return (grad_output if cache.keep is None else self._dropped(grad_output, cache.keep),), {}

    def _dropped(self, x: Array, keep: Array) -> Array:
        y = x * keep
        y *= self.scale
        return y

    def extra_repr(self) -> str:
        return f"p={self.p}"
