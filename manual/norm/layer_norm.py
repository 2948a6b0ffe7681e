"""Layer normalisation: every sample gets mean 0 and variance 1 over its own features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from manual.arguments import whole_numbers
from manual.examples import Example
from manual.layer import Array, Arrays, Layer
from manual.norm.sums import dots, totals

__all__ = ["LayerNorm"]


def _equations(axes: int) -> dict[str, str]:
    """Return the equations for so many normalised axes."""
    i, j = (",".join(letters[:axes]) for letters in ("ijk", "abc"))

    def mean(of: str) -> str:
        for letter in reversed("abc"[:axes]):
            of = f"mean({letter}, {of})"
        return of

    normed = (
        f"\nwhere xhat[n,{i}] = (x[n,{i}] - mu[n]) / sqrt(v[n] + eps)"
        f"\nwhere mu[n] = {mean(f'x[n,{j}]')}"
        f"\nwhere v[n] = {mean(f'(x[n,{j}] - mu[n])**2')}"
    )
    pulled = (
        f"dx[n,{i}] = (g[n,{i}] - {mean(f'g[n,{j}]')} - xhat[n,{i}] * "
        f"{mean(f'g[n,{j}] * xhat[n,{j}]')}) / sqrt(v[n] + eps){normed}"
    )
    scaled, plain = (f"\nwhere g[n,{i}] = dy[n,{i}]{factor}" for factor in (f" * gamma[{i}]", ""))
    equations = {
        "output": f"y[n,{i}] = gamma[{i}] * xhat[n,{i}] + beta[{i}]{normed}",
        "output/no bias": f"y[n,{i}] = gamma[{i}] * xhat[n,{i}]{normed}",
        "output/no weight": f"y[n,{i}] = xhat[n,{i}]{normed}",
        "grad_input": pulled + scaled,
        "grad_input/no weight": pulled + plain,
        "grad:weight": f"dgamma[{i}] = sum(n, dy[n,{i}] * xhat[n,{i}]){normed}",
        "grad:bias": f"dbeta[{i}] = sum(n, dy[n,{i}])",
    }
    if axes == 1:
        return equations
    return {f"{role}{', ' if '/' in role else '/'}{axes} axes": e for role, e in equations.items()}


FAR = 1000 + np.array([[0.25, -0.5, 0.75], [1.0, -0.25, -1.25]])


class LayerNormCache(NamedTuple):
    centred: Array  # x - μ, (M, D)
    inverse: Array  # 1 / √(σ² + ε), (M,)


class LayerNorm(Layer):
    r"""Layer normalisation of the last axes: y = γ (x - μ) / √(σ² + ε) + β, row by row.

    μ and σ² (divided by D, not D - 1) are those of the D elements of each row; a row is all that
    the normalised axes hold. It is the same in training and in evaluation.

    Args:
        normalized_shape: the sizes of the last axes, D their product; an int for one axis.
        eps: ε, added to the variance.
        elementwise_affine: whether there are γ and β.
        bias: whether there is β, if there is γ.

    Parameters, of shape `normalized_shape`: `weight` γ, ones, and `bias` β, zeros, until they are
    set.

    Raises:
        ValueError: normalized_shape is empty or holds a size below 1, or x does not end in it.
    """

    equations: ClassVar[Mapping[str, str]] = {**_equations(1), **_equations(2), **_equations(3)}
    symbols: ClassVar[Mapping[str, str]] = {"gamma": "weight", "beta": "bias", "eps": "eps"}
    examples = (
        Example({"normalized_shape": 4}, ((3, 4),)),
        Example({"normalized_shape": 3}, ((3,),)),
        Example({"normalized_shape": (3,), "eps": 0.25}, ((2, 2, 3),)),
        Example({"normalized_shape": (2, 3)}, ((2, 2, 3),)),
        Example({"normalized_shape": (2, 3), "bias": False}, ((2, 2, 2, 3),)),
        Example({"normalized_shape": (2, 1, 2)}, ((3, 2, 1, 2),)),
        Example({"normalized_shape": 4, "bias": False}, ((3, 4),)),
        Example({"normalized_shape": 4, "elementwise_affine": False}, ((3, 4),)),
        Example({"normalized_shape": (2, 2), "elementwise_affine": False}, ((2, 2, 2),)),
        Example({"normalized_shape": 4}, ((3, 4),), training=False),
        Example({"normalized_shape": 1}, ((3, 1),)),  # nothing is left of x: y = β
        Example({"normalized_shape": 3}, (np.full((2, 3), 1.5),)),  # the variance is 0
        Example({"normalized_shape": 3}, (FAR,)),  # Σ x² - D μ² would leave no digit in float32
    )

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        one = not hasattr(normalized_shape, "__len__")
        sizes: Any = [normalized_shape] if one else list(normalized_shape)  # type: ignore[arg-type]
        if not sizes or not whole_numbers(sizes) or min(sizes) < 1:
            raise ValueError(
                "LayerNorm: normalized_shape must hold the sizes of one or more last axes, each at "
                f"least 1, received {normalized_shape!r}."
            )
        self.normalized_shape = tuple(map(int, sizes))
        self.size = prod(self.normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.params = {}
        if elementwise_affine:
            self.params["weight"] = np.ones(self.normalized_shape)
        if elementwise_affine and bias:
            self.params["bias"] = np.zeros(self.normalized_shape)

    def forward(self, x: Array) -> tuple[Array, LayerNormCache]:  # type: ignore[override]
        """Return γ (x - μ) / √(σ² + ε) + β, of x's shape."""
        shape, own = tuple(x.shape), self.normalized_shape
        if shape[-len(own) :] != own:
            raise ValueError(
                f"LayerNorm: the input must end in normalized_shape = {own}, received shape "
                f"{shape}. Reshape the input, or set normalized_shape to its last axes."
            )
        rows = x.reshape(-1, self.size)  # (M, D)
        centred = rows - (totals(rows) / self.size)[:, None]
        var = dots(centred, centred) / self.size  # (M,); Σ x² - D μ² would cancel
        inverse = 1 / np.sqrt(var + self.eps)
        y = centred * inverse[:, None]
        if "weight" in self.params:
            y *= self.params["weight"].reshape(-1)
        if "bias" in self.params:
            y += self.params["bias"].reshape(-1)
        return y.reshape(*shape), LayerNormCache(centred, inverse)

    def backward(self, grad_output: Array, cache: LayerNormCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = γ x̂ + β, x̂ = (x - μ) / s, s = √(σ² + ε).

        Shapes: x, x̂, y, dy, dx (M, D), rows flattened; γ, β (D,); μ, s (M,).
        Index form:  y_ni = γ_i x̂_ni + β_i
            dβ_i = Σ_n dy_ni,   dγ_i = Σ_n dy_ni x̂_ni,   g_ni = dx̂_ni = γ_i dy_ni
        A row's x_j reaches all its x̂_i, through μ = Σ_j x_j / D and σ² = Σ_j (x_j - μ)² / D
        (the row's index n left out):
            ∂μ/∂x_j = 1 / D,   ∂σ²/∂x_j = 2 (x_j - μ) / D,   ∂s/∂x_j = x̂_j / D
            ∂x̂_i/∂x_j = ([i = j] - 1 / D - x̂_i x̂_j / D) / s
            dx_j = Σ_i g_i ∂x̂_i/∂x_j = (g_j - Σ_i g_i / D - x̂_j Σ_i g_i x̂_i / D) / s
        Matrix form, row by row: dx = (I - 1 1ᵀ / D - x̂ x̂ᵀ / D) g / s: symmetric, no transpose.
        γ stands inside the means, unlike in batch normalisation: it differs along the axis that
        they run over. So Σ_i g_ni = (dy γ)_n and Σ_i g_ni (x_ni - μ_n) = ((dy ∘ (x - μ)) γ)_n.

        Torch: nn.LayerNorm, same layout; the biased variance.
        Source: Ba, Kiros, Hinton, Layer Normalization (2016), equations 3 and 4 for the forward.
        """
        shape = grad_output.shape
        dy = grad_output.reshape(*cache.centred.shape)  # (M, D)
        grads, along_one, along_x = self._sums(dy, cache)
        inverse, size = cache.inverse, self.size
        lost = cache.centred * (inverse * inverse * along_x / size)[:, None]
        lost += (along_one / size)[:, None]
        if "weight" in self.params:
            dx = dy * self.params["weight"].reshape(-1)  # g
            dx -= lost
        else:
            dx = dy - lost
        dx *= inverse[:, None]
        return (dx.reshape(*shape),), grads

    def grad_params(self, grad_output: Array, cache: LayerNormCache) -> Arrays:
        """Return dγ = Σ_n dy x̂ and dβ = Σ_n dy."""
        return self._sums(grad_output.reshape(*cache.centred.shape), cache)[0]

    def variants(self, cache: LayerNormCache) -> tuple[str, ...]:
        """Return how many axes are normalised; one is the usual case, and has no name."""
        axes = len(self.normalized_shape)
        return (f"{axes} axes",) if axes > 1 else ()

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={'bias' in self.params}"
        )

    def _sums(self, dy: Array, cache: LayerNormCache) -> tuple[Arrays, Array, Array]:
        """Return dγ and dβ, and of every row Σ g and Σ g (x - μ), with g = γ dy."""
        against = dy * cache.centred  # (M, D)
        grads = {}
        if "weight" in self.params:
            grads["weight"] = (cache.inverse @ against).reshape(*self.normalized_shape)
        if "bias" in self.params:
            grads["bias"] = dy.sum(axis=0).reshape(*self.normalized_shape)
        return grads, self._scaled_totals(dy), self._scaled_totals(against)

    def _scaled_totals(self, rows: Array) -> Array:
        """Return Σ_i γ_i a_ni."""
        weight = self.params.get("weight")
        return totals(rows) if weight is None else rows @ weight.reshape(-1)
