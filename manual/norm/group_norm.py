"""Group normalisation: in every sample, each group of channels gets mean 0 and variance 1."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer
from manual.norm.channels import axes_variant
from manual.norm.equations import group_equations
from manual.norm.rows import Rows, pulled, standardized
from manual.norm.sums import dots, totals

__all__ = ["GroupNorm"]


class GroupNormCache(NamedTuple):
    rows: Rows  # (N, G, D L)
    axes: int  # behind the channels


class GroupNorm(Layer):
    r"""Group normalisation of (N, C, …): y = γ (x - μ) / √(σ² + ε) + β, group by group.

    One group normalises all channels together, as many groups as channels each by itself.

    Args:
        num_groups: G; each holds C / G channels, next to each other.
        num_channels: C.
        eps: ε, added to the variance.
        affine: whether each channel has γ and β.
        bias: whether there is β, if there is γ; by name only, as in torch.

    Parameters: `weight` γ (C,), ones, and `bias` β (C,), zeros, until they are set.

    Raises:
        ValueError: G is below 1 or does not divide C; x is not (N, C, …), has no elements in a
            channel, or every group is one element of one sample.
    """

    equations = group_equations(2) | {
        key: text
        for axes in (0, 1, 3)
        for key, text in group_equations(axes, f"{axes} axes").items()
    }
    symbols = {"gamma": "weight", "beta": "bias", "eps": "eps", "D": "group_size"}
    examples = (
        Example({"num_groups": 2, "num_channels": 4}, ((2, 4, 1, 3),)),
        Example({"num_groups": 1, "num_channels": 3, "eps": 0.25}, ((2, 3),)),
        Example({"num_groups": 3, "num_channels": 3}, ((2, 3, 2),)),
        Example({"num_groups": 2, "num_channels": 6, "bias": False}, ((1, 6, 2, 1),)),
        Example({"num_groups": 2, "num_channels": 4, "affine": False}, ((2, 4, 2, 1),)),
        Example({"num_groups": 1, "num_channels": 2}, ((1, 2, 1, 2, 2),)),
        Example(  # groups of one element, whose variance is 0
            {"num_groups": 3, "num_channels": 3, "eps": 0.25, "affine": False},
            (np.array([[1.0, -2.0, 3.0], [0.0, 5.0, -1.0]]),),
        ),
    )

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
    ) -> None:
        if num_groups < 1 or num_channels < 1 or num_channels % num_groups:
            raise ValueError(
                "GroupNorm: num_groups must be at least 1 and divide num_channels, received "
                f"num_groups={num_groups}, num_channels={num_channels}."
            )
        self.num_groups, self.num_channels = num_groups, num_channels
        self.group_size = num_channels // num_groups
        self.eps, self.affine = eps, affine
        self.params = {}
        if affine:
            self.params["weight"] = np.ones(num_channels)
        if affine and bias:
            self.params["bias"] = np.zeros(num_channels)

    def forward(self, x: Array) -> tuple[Array, GroupNormCache]:  # type: ignore[override]
        """Return γ (x - μ) / √(σ² + ε) + β, of x's shape."""
        shape = tuple(x.shape)
        self._check(shape)
        size = prod(shape[2:])
        groups = x.reshape(shape[0], self.num_groups, self.group_size * size)
        rows, *_ = standardized(groups, self.eps)
        y = rows.normed.reshape(*shape[:2], size)
        if "weight" in self.params:
            y *= self.params["weight"][:, None]
        if "bias" in self.params:
            y += self.params["bias"][:, None]
        return y.reshape(*shape), GroupNormCache(rows, len(shape) - 2)

    def backward(self, grad_output: Array, cache: GroupNormCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = γ x̂ + β, x̂ = (x - μ) / s, s = √(σ² + ε).

        Shapes: x, x̂, y, dy, dx (N, C, L), all axes behind the channels being one; γ, β (C,);
        μ, s (N, G). Group g holds the D = C / G channels c with ⌊c / D⌋ = g.
        Index form:  y_ncl = γ_c x̂_ncl + β_c
            dβ_c = Σ_nl dy_ncl,   dγ_c = Σ_nl dy_ncl x̂_ncl,   g_ncl = dx̂_ncl = γ_c dy_ncl
        A group's elements k, D L of them, meet in their μ and s as a row does in layer
        normalisation (see there), and no other does; γ differs between its channels, so it stands
        inside the means:
            dx_k = (g_k - mean(g) - x̂_k mean(g x̂)) / s
        Matrix form, group by group: dx = (I - 1 1ᵀ / DL - x̂ x̂ᵀ / DL) g / s.
        Torch: nn.GroupNorm, same layout; the biased variance. It computes x γ/s + (β - μ γ/s),
        which loses digits where |μ| is much larger than s.
        Source: Wu and He, Group Normalization (2018), section 3.
        """
        rows, shape = cache.rows, grad_output.shape
        n, c = shape[:2]
        dy = grad_output.reshape(n, c, prod(shape[2:]))
        g = dy * self.params["weight"][:, None] if self.affine else dy
        dx = pulled(g.reshape(*rows.centred.shape), rows)
        return (dx.reshape(*shape),), self.grad_params(grad_output, cache)

    def grad_params(self, grad_output: Array, cache: GroupNormCache) -> Arrays:
        """Return dγ = Σ dy x̂ and dβ = Σ dy."""
        n, c = grad_output.shape[:2]
        dy = grad_output.reshape(n, c, prod(grad_output.shape[2:]))
        found = {}
        if "weight" in self.params:
            found["weight"] = dots(dy, cache.rows.normed.reshape(*dy.shape)).sum(axis=0)
        if "bias" in self.params:
            found["bias"] = totals(dy).sum(axis=0)
        return found

    def variants(self, cache: GroupNormCache) -> tuple[str, ...]:
        """Return how many axes stand behind the channels; two is the usual case."""
        return axes_variant(cache.axes, 2)

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) < 2 or shape[1] != self.num_channels:
            raise ValueError(
                "GroupNorm: the input must be (N, C, …) with C = num_channels = "
                f"{self.num_channels}, received shape {shape}. Reshape the input, or set "
                "num_channels to its number of channels."
            )
        if not prod(shape[2:]):
            raise ValueError(
                f"GroupNorm: only the batch may be empty, received shape {shape}: nothing to "
                "normalise."
            )
        if shape[0] * self.group_size * prod(shape[2:]) == 1:
            raise ValueError(
                "GroupNorm: every group is one element of one sample, whose variance is 0, "
                f"received shape {shape} for {self.num_groups} groups. Use fewer groups."
            )

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={'bias' in self.params}"
        )
