"""Local contrast normalisation: each pixel less its neighbours' mean, by their spread."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np

from manual.activations.pointwise import blend
from manual.examples import Draw, Example
from manual.layer import Array, Arrays, Layer

__all__ = ["LocalContrastNorm"]


class ContrastCache(NamedTuple):
    v: Array  # x less the mean around it
    large: Array  # whether the spread around it is above c
    d: Array  # the larger of the two


AROUND = "sum(a, 0 <= a - i + r < K, sum(b, 0 <= b - j + r < K, {})) / K**2"
GIVEN = f"""
where d[n,i,j] = max(s[n,i,j], c)
where s[n,i,j] = sqrt({AROUND.format("v[n,a,b]**2")})
where v[n,i,j] = x[n,i,j] - {AROUND.format("x[n,a,b]")}
where r = K // 2"""


class LocalContrastNorm(Layer):
    """Each pixel of a channel less the mean around it, by the spread around it, if that is large.

    Args:
        size: K, the odd side of the square around a pixel; outside the image all is 0.
        c: what the spread is divided by at least.

    Raises:
        ValueError: size is even or below 1, c is not positive, or the input has less than 2 axes.
    """

    equations = {
        "output": f"y[n,i,j] = v[n,i,j] / d[n,i,j]{GIVEN}",
        "grad_input": f"dx[n,i,j] = g[n,i,j] - {AROUND.format('g[n,a,b]')}\n"
        f"where g[n,i,j] = dy[n,i,j] / d[n,i,j] - v[n,i,j] * {AROUND.format('h[n,a,b]')}\n"
        f"where h[n,i,j] = dy[n,i,j] * v[n,i,j] / d[n,i,j]**3 * (s[n,i,j] > c){GIVEN}",
    }
    symbols = {"K": "size"}
    examples = (
        Example({}, (Draw((1, 3, 4), high=4),)),
        Example({"size": 3, "c": 0.75}, ((2, 1, 4, 3),)),
    )

    def __init__(self, size: int = 5, c: float = 1.0) -> None:
        if size < 1 or size % 2 == 0:
            raise ValueError(f"LocalContrastNorm: size must be odd, received {size}.")
        if not c > 0:
            raise ValueError(f"LocalContrastNorm: c must be above 0, received {c}.")
        self.size, self.c = size, c

    def forward(self, x: Array) -> tuple[Array, ContrastCache]:  # type: ignore[override]
        """Return v / √max(B v², c²) with v = x - B x, B the mean over each square."""
        if x.ndim < 2:
            raise ValueError(
                f"LocalContrastNorm: the input must have rows and columns, received shape "
                f"{tuple(x.shape)}."
            )
        v = x - self._mean(x)
        squares = self._mean(v * v)
        large = squares > self.c**2
        d = np.sqrt(blend(large, squares, self.c**2))
        return v / d, ContrastCache(v, large, d)

    def backward(self, grad_output: Array, cache: ContrastCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through v = x - B x, s = √(B v²), d = max(s, c), y = v / d.

        Shapes: all (…, H, W). B is symmetric: i lies in the square of j where j lies in that of i,
        and both count 1/K². So the gradient of B x is B of the gradient.
            dd = -dy v / d²,   ds = dd [s > c],   d(B v²) = ds / (2 s)
            dv = dy / d + 2 v B(ds / (2 s)) = dy / d + v B(ds / s)
            dx = dv - B dv
        Torch has no module for it: avg_pool2d, twice; both take the slope 0 at s = c.
        Source: Jarrett et al., What is the Best Multi-Stage Architecture for Object Recognition?
            (2009), section 2.1, with even weights in a square, channel by channel.
        """
        v, d = cache.v, cache.d
        dy = grad_output / d
        ds = dy * v / (d * d) * self.decisions(cache)  # less its sign, and already divided by s = d
        dv = dy - v * self._mean(ds)
        return (dv - self._mean(dv),), {}

    def decisions(self, cache: ContrastCache) -> Array:
        return cache.large

    def _mean(self, x: Array) -> Array:
        """Return B x, the mean over the square around each pixel."""
        return self._along_rows(self._along_rows(x).swapaxes(-1, -2)).swapaxes(-1, -2)

    def _along_rows(self, x: Array) -> Array:
        reach, width = self.size // 2, x.shape[-1]
        wide = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(reach, reach)])
        return reduce(np.add, (wide[..., k : k + width] for k in range(self.size))) / self.size

    def extra_repr(self) -> str:
        return f"size={self.size}, c={self.c}"
