"""Gates that bring rows to a norm, or say how they vary together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.distance import p_norm
from manual.examples import Example
from manual.gates.reductions import flattened, restored
from manual.layer import Array, Arrays, Layer

__all__ = ["CovGate", "RenormGate"]

EPS = 1e-7  # torch's, added to the norm


class NormsCache(NamedTuple):
    rows: Array  # (R, M)
    norm: Array  # (R, 1)
    slope: Array  # ∂norm/∂row
    shape: tuple[int, ...]


class RenormGate(Layer):
    """Slices along an axis, those of a p-norm above the largest allowed brought down to it.

    Args:
        p: of the norm.
        dim: the axis of the slices.
        maxnorm: the largest norm allowed.
    """

    equations = {}
    examples = (
        Example({"p": 2.0, "dim": 0, "maxnorm": 1.5}, ((3, 2),)),
        Example({"p": 1.0, "dim": -1, "maxnorm": 0.5}, ((2, 2, 3),)),
    )

    def __init__(self, p: float, dim: int, maxnorm: float) -> None:
        self.p, self.dim, self.maxnorm = p, dim, maxnorm

    def _others(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(axis for axis in range(len(shape)) if axis != self.dim % len(shape))

    def forward(self, x: Array) -> tuple[Array, NormsCache]:  # type: ignore[override]
        rows = flattened(x, self._others(x.shape))
        norm, slope = p_norm(rows, self.p)
        y = np.where(norm > self.maxnorm, rows * (self.maxnorm / (norm + EPS)), rows)
        return restored(y, x.shape, self._others(x.shape)), NormsCache(rows, norm, slope, x.shape)

    def backward(self, grad_output: Array, cache: NormsCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = s x with s = m / (‖x‖ + ε) where ‖x‖ > m, else y = x.

        Shapes: a slice as a row x (M,).
        ds = Σ_k dy_k x_k,  ∂s/∂x_j = -s / (‖x‖ + ε) ∂‖x‖/∂x_j
        dx_j = s (dy_j - ds / (‖x‖ + ε) ∂‖x‖/∂x_j), and dx = dy for slices left alone
        Torch: torch.renorm, with ε = 1e-7.
        Source: the product rule; NormGate for the norm's slope.
        """
        rows, norm, slope, shape = cache
        dy, over = flattened(grad_output, self._others(shape)), 1 / (norm + EPS)
        ds = (dy * rows).sum(axis=-1, keepdims=True)
        dx = self.maxnorm * over * (dy - ds * over * slope)
        dx = np.where(norm > self.maxnorm, dx, dy)
        return (restored(dx, shape, self._others(shape)),), {}

    def decisions(self, cache: NormsCache) -> Array:
        return cache.norm > self.maxnorm

    def extra_repr(self) -> str:
        return f"p={self.p}, dim={self.dim}, maxnorm={self.maxnorm}"


class CovCache(NamedTuple):
    centred: Array  # (V, N)
    shape: tuple[int, ...]
    freedom: float  # f, what the products are divided by


class CovGate(Layer):
    """C = the covariance of variables (rows) over observations (columns).

    Args:
        correction: c: products are divided by N - c.
    """

    equations = {
        "output": "c[i,j] = sum(n, (x[i,n] - mean(k, x[i,k])) * (x[j,n] - mean(k, x[j,k]))) / f",
        "grad_input": "dx[i,n] = sum(j, (dy[i,j] + dy[j,i]) * (x[j,n] - mean(k, x[j,k]))) / f",
    }
    symbols = {"f": "cache.freedom"}
    examples = (Example({}, ((2, 3),)), Example({"correction": 0}, ((3, 4),)))

    def __init__(self, correction: int = 1) -> None:
        self.correction = correction

    def forward(self, x: Array) -> tuple[Array, CovCache]:  # type: ignore[override]
        rows = x.reshape((1, x.size)) if np.ndim(x) < 2 else x
        d = rows - rows.sum(axis=1, keepdims=True) / rows.shape[1]
        freedom = max(d.shape[1] - self.correction, 0)
        c = (d @ d.T) / freedom
        return c if c.size > 1 else c.reshape(()), CovCache(d, tuple(np.shape(x)), freedom)

    def backward(self, grad_output: Array, cache: CovCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through C = D Dᵀ / f with D = X less its rows' means, f = N - c.

        Shapes: X, D (V, N), C and G = dC (V, V).
        c_ij = Σ_n d_in d_jn / f   ->   dD = (G + Gᵀ) D / f
        The rows of dD sum to 0, as those of D do, so that centring hands it on: dX = dD
        Torch: torch.cov without weights.
        Source: the matrix product of a matrix with itself.
        """
        d = cache.centred
        g = np.reshape(grad_output, (len(d), len(d)))
        return (((g + g.T) @ d / cache.freedom).reshape(cache.shape),), {}

    def extra_repr(self) -> str:
        return f"correction={self.correction}"
