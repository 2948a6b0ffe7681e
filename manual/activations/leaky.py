"""Rectifiers with a slope on the left that is fixed, learned or drawn: LeakyReLU, PReLU, RReLU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.activations.pointwise import WIDE, ZERO, InputCache, blend
from manual.examples import Example
from manual.in_place import InPlace
from manual.layer import Array, Arrays, Layer

__all__ = ["LeakyReLU", "PReLU", "RReLU"]


class LeakyReLU(InPlace):
    """Rectifier with a leak: x if x > 0, else negative_slope · x.

    Args:
        negative_slope: s, the slope on the left; any number, 0.01 by default.
        inplace: False; see `InPlace`.
    """

    equations = {
        "output": "y[i] = cases(x[i] > 0, x[i], s * x[i])",
        "grad_input": "dx[i] = cases(x[i] > 0, dy[i], s * dy[i])",
    }
    symbols = {"s": "negative_slope"}
    examples = (
        Example({}, WIDE, kinks=ZERO),
        Example({"negative_slope": 0.25}, WIDE, kinks=ZERO, exact=True),
        *(Example({"negative_slope": s}, WIDE, kinks=ZERO) for s in (0.3, 1.75, -0.5)),
    )

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        pick = np.maximum if self.negative_slope <= 1 else np.minimum
        return pick(x, self.negative_slope * x), InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = max(x, s x) for s <= 1, min(x, s x) for s > 1; shapes equal.

        y' = 1 where x > 0, else s   ->   dx = dy where x > 0, else s dy
        Torch: nn.LeakyReLU; the kink x = 0 takes the slope s.
        Source: Maas, Hannun, Ng, Rectifier Nonlinearities Improve Acoustic Models (2013).
        """
        return (blend(cache.x > 0, grad_output, self.negative_slope * grad_output),), {}

    def decisions(self, cache: InputCache) -> Array:
        return cache.x > 0

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class PReLU(Layer):
    """Rectifier whose slope on the left is learned, one for all or one a channel.

    Args:
        num_parameters: 1, or the number of channels C: axis 1 of the input, and 1 if it has no
            such axis.
        init: the slope at the start.

    Parameters: `weight` w (num_parameters,).

    Raises:
        ValueError: num_parameters is below 1, or neither 1 nor the number of channels.
    """

    dim = 1  # where the channels are
    equations = {
        "output": "y[n,c] = cases(x[n,c] > 0, x[n,c], W[c] * x[n,c])",
        "output/num_parameters = 1": "y[i] = cases(x[i] > 0, x[i], W[0] * x[i])",
        "grad_input": "dx[n,c] = cases(x[n,c] > 0, dy[n,c], W[c] * dy[n,c])",
        "grad_input/num_parameters = 1": "dx[i] = cases(x[i] > 0, dy[i], W[0] * dy[i])",
        "grad:weight": "dW[c] = sum(n, dy[n,c] * min(x[n,c], 0))",
        "grad:weight/num_parameters = 1": "dW[k] = sum(i, dy[i] * min(x[i], 0))",
    }
    symbols = {"W": "weight", "c": "dim"}
    examples = (
        Example({}, WIDE, kinks=ZERO, exact=True),
        Example({"num_parameters": 4}, WIDE, kinks=ZERO, exact=True),
        Example({"num_parameters": 3, "init": 0.5}, ((2, 3, 4),), exact=True),
    )

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        if num_parameters < 1:
            raise ValueError(
                f"PReLU: num_parameters must be 1 or the number of channels, received "
                f"{num_parameters}."
            )
        self.num_parameters, self.init = num_parameters, init
        self.params = {"weight": np.full(num_parameters, init)}

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        cache = InputCache(x)
        return blend(self.decisions(cache), x, self._slopes(x) * x), cache

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = max(x, 0) + w_c min(x, 0), where c is the channel.

        Shapes: x, y, dy (N, C, …), w (C,) or (1,).
        Index form:  ∂y_nc/∂x_nc = 1 where x_nc > 0, else w_c
            dx_nc = dy_nc, or w_c dy_nc     ->  as LeakyReLU
            dw_c  = Σ_n dy_nc min(x_nc, 0)  (w_c is used by all elements of its channel)
        Torch: nn.PReLU; the kink x = 0 takes the slope w.
        Source: He et al., Delving Deep into Rectifiers (2015), section 2.1.
        """
        dx = blend(self.decisions(cache), grad_output, self._slopes(cache.x) * grad_output)
        return (dx,), self.grad_params(grad_output, cache)

    def grad_params(self, grad_output: Array, cache: InputCache) -> Arrays:
        """Return dw = Σ dy · min(x, 0), over all axes or all but the channels'."""
        terms = grad_output * np.minimum(cache.x, 0)
        axes = [a for a in range(terms.ndim) if a != self.dim or self.num_parameters == 1]
        return {"weight": np.reshape(terms.sum(axis=tuple(axes)), -1)}

    def decisions(self, cache: InputCache) -> Array:
        return cache.x > 0

    def _slopes(self, x: Array) -> Array:
        """Return w in a shape that broadcasts against x."""
        channels = x.shape[1] if x.ndim > 1 else 1
        if self.num_parameters not in (1, channels):
            raise ValueError(
                f"PReLU: num_parameters must be 1 or the input's number of channels, {channels} "
                f"in shape {tuple(x.shape)}; it is {self.num_parameters}."
            )
        return self.params["weight"].reshape((self.num_parameters, *[1] * (x.ndim - 2))[: x.ndim])

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class SlopesCache(NamedTuple):
    x: Array
    slopes: Array | float


class RReLU(InPlace):
    """Rectifier whose slope on the left is drawn for every element while training.

    Args:
        lower, upper: the slopes are drawn evenly from lower to upper; in evaluation it is the
            number between them.
        inplace: False; see `InPlace`.

    Raises:
        ValueError: lower is above upper, or the noise has not the input's shape.
    """

    equations = {
        "output": "y[i] = cases(x[i] > 0, x[i], r[i] * x[i])",
        "output/evaluation": "y[i] = cases(x[i] > 0, x[i], (a + b) / 2 * x[i])",
        "grad_input": "dx[i] = cases(x[i] > 0, dy[i], r[i] * dy[i])",
        "grad_input/evaluation": "dx[i] = cases(x[i] > 0, dy[i], (a + b) / 2 * dy[i])",
    }
    symbols = {"r": "cache.slopes", "a": "lower", "b": "upper"}
    examples = (
        Example({}, WIDE, kinks=ZERO),
        Example({"lower": -0.5, "upper": 1.5}, WIDE, kinks=ZERO),
        Example({"lower": 0.25, "upper": 0.75}, WIDE, kinks=ZERO, training=False, noise=False),
    )

    stochastic = True

    def __init__(
        self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False
    ) -> None:
        super().__init__(inplace)
        if not lower <= upper:
            raise ValueError(
                f"RReLU: lower must not be above upper, received lower = {lower} and upper = "
                f"{upper}."
            )
        self.lower, self.upper = lower, upper

    def draw(self, x: Array, *, rng: np.random.Generator) -> Array:  # type: ignore[override]
        """Return a fresh slope for every element; those of positive elements are not used."""
        return rng.uniform(self.lower, self.upper, tuple(x.shape))

    def forward(  # type: ignore[override]
        self, x: Array, *, noise: Array | None = None
    ) -> tuple[Array, SlopesCache]:
        """Return x where it is positive, else r x; r is the noise, or (lower + upper) / 2."""
        self._check(noise, x)
        slopes = (self.lower + self.upper) / 2 if noise is None else noise
        cache = SlopesCache(x, slopes)
        return blend(self.decisions(cache), x, slopes * x), cache

    def _check(self, noise: Array | None, x: Array) -> None:
        if noise is not None and tuple(noise.shape) != tuple(x.shape):
            raise ValueError(
                f"RReLU: the noise is a slope for every element and must have the input's shape "
                f"{tuple(x.shape)}, received {tuple(noise.shape)}. Draw it with "
                "RReLU.draw(x, rng=rng)."
            )

    def backward(self, grad_output: Array, cache: SlopesCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = x where x > 0, else r x; shapes equal, r a constant.

        y' = 1 where x > 0, else r   ->   dx = dy where x > 0, else r dy, the r of the forward pass
        Torch: nn.RReLU; the kink x = 0 takes the slope r.
        Source: Xu et al., Empirical Evaluation of Rectified Activations (2015), section 2.4.
        """
        return (blend(self.decisions(cache), grad_output, cache.slopes * grad_output),), {}

    def decisions(self, cache: SlopesCache) -> Array:
        return cache.x > 0

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}"
