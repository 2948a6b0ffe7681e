"""Dropout of elements or whole channels, its mask given as noise, so that two programs share it."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import NamedTuple

import numpy as np

from manual.examples import Example
from manual.in_place import InPlace
from manual.layer import Array, Arrays

__all__ = [
    "AlphaDropout",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
]

Shape = tuple[int, ...]


class DropoutCache(NamedTuple):
    keep: Array | None  # of the input's shape; None: nothing was dropped


class Dropping(InPlace):
    """What drops with probability p: a mask, whose shape says what is dropped together.

    Args:
        p: the probability of dropping, from 0 to 1.
        inplace: False; see `InPlace`.

    Raises:
        ValueError: p is outside 0 … 1, the input has too many or too few axes, or the noise has not
            the shape of the mask.
    """

    symbols = {"m": "cache.keep"}

    stochastic = True
    ranks: tuple[int, ...] = ()  # how many the input may have; (): any number
    together: bool = False  # whether all of a channel is kept or dropped
    lone: bool = False  # whether the shorter input is one sample, without a batch axis

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__(inplace)
        if not 0 <= p <= 1:
            what = "a channel" if self.together else "an element"
            raise ValueError(
                f"{type(self).__name__}: p is the probability of dropping {what} and must lie "
                f"between 0 and 1, received {p}."
            )
        self.p = p

    @property
    def chances(self) -> tuple[float, ...]:  # type: ignore[override]
        """The probability p of its one mask; torch draws none for p = 0."""
        return (self.p,) if self.p else ()

    def mask_shape(self, shape: Shape) -> Shape:
        """Return the shape of the mask for an input's; a lone sample's has a batch axis of 1."""
        self._check(shape)
        if not self.together:
            return tuple(shape)
        if self.lone and len(shape) < self.ranks[-1]:
            shape = (1, *shape)
        return (*shape[:2], *[1] * (len(shape) - 2))

    def _check(self, shape: Shape) -> None:
        fits = len(shape) in self.ranks if self.ranks else len(shape) > 1
        if self.together and not fits:
            takes = " or ".join(map(str, self.ranks)) or "2 or more"
            raise ValueError(
                f"{type(self).__name__}: the input must have {takes} axes, of which the channels "
                f"are one, received shape {tuple(shape)}."
            )

    def draw(self, x: Array, *, rng: np.random.Generator) -> Array:  # type: ignore[override]
        """Return a fresh mask: True where something is kept, with probability 1 - p."""
        return rng.random(self.mask_shape(tuple(x.shape))) >= self.p

    def forward(  # type: ignore[override]
        self, x: Array, *, noise: Array | None = None
    ) -> tuple[Array, DropoutCache]:
        """Return the input, masked by 0/1 noise and scaled; without noise (evaluation) itself."""
        if noise is None:
            if self.ranks:  # torch asks nothing of FeatureAlphaDropout's input then
                self._check(tuple(x.shape))
            return x, DropoutCache(None)
        shape = self.mask_shape(tuple(x.shape))
        if tuple(noise.shape) not in (shape, tuple(x.shape)):
            name = type(self).__name__
            whose = "one number for each channel" if self.together else "the input's shape"
            raise ValueError(
                f"{name}: the noise is a mask and must have {whose} {shape}, received "
                f"{tuple(noise.shape)}. Draw it with {name}.draw(x, rng=rng)."
            )
        keep = noise != 0  # bool: a float64 mask would lift float32
        keep = np.broadcast_to(keep.reshape(keep.shape[-x.ndim :]), tuple(x.shape))
        return self.masked(x, keep), DropoutCache(keep)

    @abstractmethod
    def masked(self, x: Array, keep: Array) -> Array:
        """Return the output for a mask of the input's shape."""

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Scaled(Dropping):
    """What is kept is scaled by 1 / (1 - p)."""

    equations = {
        "output": "y[i] = m[i] * x[i] / (1 - p)",
        "output/evaluation": "y[i] = x[i]",
        "output/p = 1": "y[i] = 0 * x[i]",
        "grad_input": "dx[i] = dy[i] * m[i] / (1 - p)",
        "grad_input/evaluation": "dx[i] = dy[i]",
        "grad_input/p = 1": "dx[i] = 0 * dy[i]",
    }

    @property
    def scale(self) -> float:
        """1 / (1 - p), which keeps the expected value at x; 0 for p = 1, where nothing is kept."""
        return 0.0 if self.p == 1 else 1 / (1 - self.p)

    def backward(self, grad_output: Array, cache: DropoutCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = x · m / (1 - p), all shapes equal; the mask m is a constant.

        y_i = x_i m_i / (1 - p)   ->   dx = dy · m / (1 - p), the very mask of the forward pass
        Of channels, m has one number for all elements of a channel: the formula is the same.
        Torch: nn.Dropout, Dropout1d to 3d: the same scaling while training, y = x in evaluation.
        Source: Srivastava et al., Dropout (2014), section 10, for the scaling while training; of
            channels Tompson et al., Efficient Object Localization (2015), section 3.2.
        """
        return (grad_output if cache.keep is None else self.masked(grad_output, cache.keep),), {}

    def masked(self, x: Array, keep: Array) -> Array:
        y = x * keep
        y *= self.scale
        return y


def tried(*shapes: Shape) -> tuple[Example, ...]:
    """Return examples: all probabilities on the first shape, evaluation on the last."""
    first = (Example({"p": p}, (shapes[0],)) for p in (0.25, 0.5, 0.0, 1.0))
    rest = (Example({"p": 0.5}, (shape,)) for shape in shapes[1:])
    return (*first, *rest, Example({}, (shapes[-1],), training=False, noise=False))


class Dropout(Scaled):
    """Zero each element with probability p and scale the rest by 1 / (1 - p)."""

    examples = tried((3, 2, 2))


class Dropout1d(Scaled):
    """Zero whole channels of sequences with probability p: (N, C, L) or (C, L)."""

    examples = tried((2, 3, 2), (4, 2))[1:]
    ranks, together, lone = (2, 3), True, True


class Dropout2d(Scaled):
    """Zero whole channels of images with probability p: (N, C, H, W), or (N, C, L).

    An input of three axes is taken as (N, C, L), as torch does, and not as one image.
    """

    examples = tried((2, 3, 1, 2), (3, 4, 2))[1:]
    ranks, together = (3, 4), True


class Dropout3d(Scaled):
    """Zero whole channels of volumes with probability p: (N, C, D, H, W) or (C, D, H, W)."""

    examples = tried((2, 3, 1, 2, 1), (4, 2, 1, 2))[1:]
    ranks, together, lone = (4, 5), True, True


class Alpha(Dropping):
    """What is dropped becomes SELU's lowest value, and the whole is scaled and moved."""

    equations = {
        "output": "y[i] = a * (m[i] * x[i] - (1 - m[i]) * alpha + alpha * p)\n"
        "where a = 1 / sqrt((1 + p * alpha**2) * (1 - p))",
        "output/evaluation": "y[i] = x[i]",
        "output/p = 1": "y[i] = 0 * x[i]",
        "grad_input": "dx[i] = dy[i] * m[i] / sqrt((1 + p * alpha**2) * (1 - p))",
        "grad_input/evaluation": "dx[i] = dy[i]",
        "grad_input/p = 1": "dx[i] = 0 * dy[i]",
    }
    alpha = 1.7580993408473766  # SELU tends to -alpha on the far left

    @property
    def scale(self) -> float:
        """a, which keeps the variance at 1; 0 for p = 1, where nothing is kept."""
        if self.p == 1:
            return 0.0
        return 1 / math.sqrt((1 + self.p * self.alpha**2) * (1 - self.p))

    def backward(self, grad_output: Array, cache: DropoutCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = a (x m - α (1 - m)) + b; shapes equal, the mask m is a constant.

        For x of mean 0 and variance 1, x m - α (1 - m) has the mean -α p and the variance
        (1 - p) (1 + p α²): so a = 1 / √((1 - p) (1 + p α²)) and b = a α p.
        ∂y_i/∂x_i = a m_i   ->   dx = a dy · m
        Torch: nn.AlphaDropout, nn.FeatureAlphaDropout; y = x in evaluation, and 0 for p = 1.
        Source: Klambauer et al., Self-Normalizing Neural Networks (2017), section 2.
        """
        if cache.keep is None:
            return (grad_output,), {}
        dx = grad_output * cache.keep
        dx *= self.scale
        return (dx,), {}

    def masked(self, x: Array, keep: Array) -> Array:
        y = np.where(keep, x, -self.alpha)
        y *= self.scale
        y += self.alpha * self.p * self.scale  # after the product, as torch: it costs digits
        return y


class AlphaDropout(Alpha):
    """Dropout that keeps mean 0 and variance 1, for networks of SELU."""

    examples = tried((3, 4))


class FeatureAlphaDropout(Alpha):
    """AlphaDropout of whole channels: (N, C, …)."""

    examples = tried((2, 3, 2), (4, 2))[1:]
    together = True
