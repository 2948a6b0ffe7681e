"""Root mean square normalisation: every sample is divided by the size of its own features."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from manual.arguments import whole_numbers
from manual.examples import Example
from manual.layer import Array, Arrays, Layer
from manual.norm.sums import dots
from manual.rounding import machine_epsilon

__all__ = ["RMSNorm"]


def _equations(axes: int) -> dict[str, str]:
    """Return the equations for so many normalised axes."""
    i, j = (",".join(letters[:axes]) for letters in ("ijk", "abc"))

    def mean(of: str) -> str:
        for letter in reversed("abc"[:axes]):
            of = f"mean({letter}, {of})"
        return of

    size = f"\nwhere r[n] = sqrt({mean(f'x[n,{j}]**2')} + eps)"
    pulled = (
        f"dx[n,{i}] = (g[n,{i}] - x[n,{i}] / r[n] * {mean(f'g[n,{j}] * x[n,{j}] / r[n]')}) / r[n]"
    )
    equations = {
        "output": f"y[n,{i}] = gamma[{i}] * x[n,{i}] / r[n]{size}",
        "output/no weight": f"y[n,{i}] = x[n,{i}] / r[n]{size}",
        "grad_input": f"{pulled}\nwhere g[n,{i}] = gamma[{i}] * dy[n,{i}]{size}",
        "grad_input/no weight": f"{pulled}\nwhere g[n,{i}] = dy[n,{i}]{size}",
        "grad:weight": f"dgamma[{i}] = sum(n, dy[n,{i}] * x[n,{i}] / r[n]){size}",
    }
    if axes == 1:
        return equations
    return {f"{role}{', ' if '/' in role else '/'}{axes} axes": e for role, e in equations.items()}


class RMSNormCache(NamedTuple):
    rows: Array  # x, (M, D)
    inverse: Array  # 1 / √(mean x² + ε), (M,)
    eps: float  # ε as it was used


class RMSNorm(Layer):
    r"""Root mean square normalisation of the last axes: y = γ x / √(mean(x²) + ε), row by row.

    Args:
        normalized_shape: the sizes of the axes that make a row, or one size.
        eps: ε, added to the mean square; None: the spacing of x's numbers at 1 (`finfo.eps`).
        elementwise_affine: whether there is γ.

    Parameters: `weight` γ of normalized_shape, ones until it is set.

    Raises:
        ValueError: normalized_shape is empty or holds a 0; the input does not end in it.
    """

    equations = {**_equations(1), **_equations(2), **_equations(3)}
    symbols = {"gamma": "weight", "eps": "cache.eps"}
    examples = (
        Example({"normalized_shape": 3}, ((2, 3),)),
        Example({"normalized_shape": 4, "eps": 0.25}, ((4,),)),
        Example({"normalized_shape": 3, "elementwise_affine": False}, ((2, 2, 3),)),
        Example({"normalized_shape": (2, 3)}, ((2, 2, 3),)),
        Example({"normalized_shape": (2, 1, 2), "eps": 1e-3}, ((3, 2, 1, 2),)),
        Example({"normalized_shape": 2, "eps": 0.5}, (np.zeros((2, 2)),)),
    )

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
    ) -> None:
        one = not hasattr(normalized_shape, "__len__")
        sizes: Any = [normalized_shape] if one else list(normalized_shape)  # type: ignore[arg-type]
        if not sizes or not whole_numbers(sizes) or min(sizes) < 1:
            raise ValueError(
                "RMSNorm: normalized_shape must hold the sizes of one or more last axes, each at "
                f"least 1, received {normalized_shape!r}."
            )
        self.normalized_shape = tuple(map(int, sizes))
        self.size = prod(self.normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.params = {"weight": np.ones(self.normalized_shape)} if elementwise_affine else {}

    def forward(self, x: Array) -> tuple[Array, RMSNormCache]:  # type: ignore[override]
        """Return γ x / √(mean(x²) + ε), of x's shape."""
        shape, own = tuple(x.shape), self.normalized_shape
        if shape[-len(own) :] != own:
            raise ValueError(
                f"RMSNorm: the input must end in normalized_shape = {own}, received shape {shape}. "
                "Reshape the input, or set normalized_shape to its last axes."
            )
        rows = x.reshape(prod(shape[: -len(own)]), self.size)  # (M, D)
        eps = machine_epsilon(x) if self.eps is None else self.eps
        inverse = 1 / np.sqrt(dots(rows, rows) / self.size + eps)  # (M,)
        y = rows * inverse[:, None]
        if "weight" in self.params:
            y *= self.params["weight"].reshape(self.size)
        return y.reshape(*shape), RMSNormCache(rows, inverse, eps)

    def backward(self, grad_output: Array, cache: RMSNormCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = γ x̂, x̂ = x / r, r = √(mean(x²) + ε).

        Shapes: x, x̂, y, dy, dx (M, D), rows flattened; γ (D,); r (M,).
        Index form:  y_ni = γ_i x_ni / r_n
            dγ_i = Σ_n dy_ni x̂_ni,   g_ni = dx̂_ni = γ_i dy_ni
        A row's x_j reaches all its x̂_i, through r (the row's index n left out):
            ∂r/∂x_j = x_j / (D r) = x̂_j / D,   ∂x̂_i/∂x_j = ([i = j] - x̂_i x̂_j / D) / r
            dx_j = Σ_i g_i ∂x̂_i/∂x_j = (g_j - x̂_j Σ_i g_i x̂_i / D) / r
        Matrix form, row by row: dx = (I - x̂ x̂ᵀ / D) g / r: layer normalisation's without a mean,
        so without 1 1ᵀ.
        Torch: nn.RMSNorm, same layout; eps=None is the machine epsilon of x's own dtype, so that
        rows of size 1e-4 differ in float32 and float64.
        Source: Zhang and Sennrich, Root Mean Square Layer Normalization (2019), section 4.
        """
        rows, inverse = cache.rows, cache.inverse
        dy = grad_output.reshape(*rows.shape)  # (M, D)
        g = dy * self.params["weight"].reshape(self.size) if self.elementwise_affine else dy
        share = dots(g, rows) * inverse * inverse / self.size  # (M,)
        dx = g - rows * share[:, None]
        dx *= inverse[:, None]
        return (dx.reshape(*grad_output.shape),), self.grad_params(grad_output, cache)

    def grad_params(self, grad_output: Array, cache: RMSNormCache) -> Arrays:
        """Return dγ = Σ_n dy x̂."""
        if not self.params:
            return {}
        dgamma = cache.inverse @ (grad_output.reshape(*cache.rows.shape) * cache.rows)
        return {"weight": dgamma.reshape(*self.normalized_shape)}

    def variants(self, cache: RMSNormCache) -> tuple[str, ...]:
        """Return how many axes are normalised; one is the usual case, and has no name."""
        axes = len(self.normalized_shape)
        return (f"{axes} axes",) if axes > 1 else ()

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )
