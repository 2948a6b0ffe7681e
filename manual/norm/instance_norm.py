"""Instance normalisation: every channel of every sample gets mean 0 and variance 1 by itself."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays
from manual.norm.channels import SHAPES, ChannelNorm
from manual.norm.equations import instance_equations
from manual.norm.rows import Rows, pulled, standardized
from manual.norm.sums import dots, totals

__all__ = ["InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"]


class InstanceNormCache(NamedTuple):
    rows: Rows  # (N, C, L); inverse (C,) where the running statistics were used
    own: Sequence[Array] | None  # the instances' μ and σ², (N, C), if they were used


class _InstanceNorm(ChannelNorm):
    """Instance normalisation of (N, C, …) or (C, …): its class says with how many axes."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias)

    def forward(self, x: Array) -> tuple[Array, InstanceNormCache]:  # type: ignore[override]
        """Return γ (x - μ) / √(σ² + ε) + β, of x's shape."""
        shape = tuple(x.shape)
        self._check(shape)
        values = self._batched(x)  # (N, C, L)
        own = None
        if self.uses_batch:
            rows, *own = standardized(values, self.eps)
        else:
            mean, var = self.buffers["running_mean"], self.buffers["running_var"]
            rows = Rows(values - mean[:, None], 1 / np.sqrt(var + self.eps))
        y = rows.normed
        if "weight" in self.params:
            y *= self.params["weight"][:, None]
        if "bias" in self.params:
            y += self.params["bias"][:, None]
        return y.reshape(*shape), InstanceNormCache(rows, own)

    def backward(self, grad_output: Array, cache: InstanceNormCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = γ x̂ + β, x̂ = (x - μ) / s, s = √(σ² + ε).

        Shapes: x, x̂, y, dy, dx (N, C, L), all axes behind the channels being one; γ, β (C,);
        μ, s (N, C): batch normalisation (see BatchNorm2d) of a batch that is one sample. Below, n
        and c are left out where one instance is meant.
        Index form:  y_ncl = γ_c x̂_ncl + β_c
            dβ_c = Σ_nl dy_ncl,   dγ_c = Σ_nl dy_ncl x̂_ncl,   g_ncl = dx̂_ncl = γ_c dy_ncl
            dx_l = (g_l - mean(g) - x̂_l mean(g x̂)) / s       the instance's own statistics
            dx_l = g_l / s                                    running statistics: constants
        Matrix form, instance by instance: dx = (I - 1 1ᵀ / L - x̂ x̂ᵀ / L) g / s.
        Torch: nn.InstanceNorm1d to 3d: normalises with the biased variance; the running statistics
        move towards the mean over the batch of the instances' means and unbiased variances.
        `num_batches_tracked` stays 0, and momentum=None moves nothing.
        Source: Ulyanov, Vedaldi, Lempitsky, Instance Normalization (2016).
        """
        rows = cache.rows
        dy = grad_output.reshape(*rows.centred.shape)
        g = dy * self.params["weight"][:, None] if self.affine else dy
        dx = pulled(g, rows) if cache.own is not None else g * rows.inverse[:, None]
        return (dx.reshape(*grad_output.shape),), self.grad_params(grad_output, cache)

    def grad_params(self, grad_output: Array, cache: InstanceNormCache) -> Arrays:
        """Return dγ = Σ dy x̂ and dβ = Σ dy."""
        rows = cache.rows
        dy = grad_output.reshape(*rows.centred.shape)
        found = {}
        if "weight" in self.params:
            found["weight"] = (dots(dy, rows.centred) * rows.inverse).sum(axis=0)
        if "bias" in self.params:
            found["bias"] = totals(dy).sum(axis=0)
        return found

    def next_buffers(self, cache: InstanceNormCache) -> Arrays:
        """Return r + m (mean over the batch - r) for both running statistics r, m the momentum.

        The variances are unbiased, L / (L - 1) σ².
        """
        if cache.own is None or not self.buffers or self.momentum is None:
            return self.buffers
        mean, var = cache.own
        batch, _, size = cache.rows.centred.shape
        unbiased = var.sum(axis=0) * (size / (size - 1)) / batch
        return {
            **self.buffers,
            **self._moved(mean.sum(axis=0) / batch, unbiased, self.momentum),
        }

    def variants(self, cache: InstanceNormCache) -> tuple[str, ...]:
        """Return whether the running statistics were used."""
        return ("running statistics",) if cache.own is None else ()

    def _batched(self, x: Array) -> Array:
        """Return x as (N, C, L)."""
        *samples, c = x.shape[: 2 - self.axes[0]]
        return x.reshape(prod(samples), c, prod(x.shape[len(samples) + 1 :]))

    def _check(self, shape: tuple[int, ...]) -> None:
        name, axes = type(self).__name__, self.axes[0]
        if len(shape) not in (axes - 1, axes):
            raise ValueError(
                f"{name}: the input must be {SHAPES[axes]} or {_unbatched(axes)}, received shape "
                f"{shape}. Add the axes that are missing."
            )
        channels, kept = shape[len(shape) - axes + 1], self.affine or self.track_running_stats
        if kept and channels != self.num_features:
            raise ValueError(
                f"{name}: num_features is {self.num_features}, received an input of {channels} "
                f"channels, shape {shape}. Set num_features to its number of channels."
            )
        moved = self.track_running_stats and self.training  # torch's become nan
        if (self.affine or moved) and not prod(shape[: len(shape) - axes + 2]):
            raise ValueError(
                f"{name}: the input must hold at least one instance, received shape {shape}."
            )
        if self.uses_batch and prod(shape[len(shape) - axes + 2 :]) < 2:
            raise ValueError(
                f"{name}: an instance's variance needs more than one value per channel, received "
                f"shape {shape}. Use a larger input, or running statistics in evaluation: "
                "layer.train(False)."
            )


def _unbatched(axes: int) -> str:
    return SHAPES[axes].replace("(N, ", "(")


class InstanceNorm1d(_InstanceNorm):
    r"""Instance normalisation of (N, C, L) or (C, L): y = γ (x - μ) / √(σ² + ε) + β.

    Every channel of every sample has its own μ and σ²; in evaluation the running ones are used if
    they are tracked.

    Args:
        num_features: C; without affine and running statistics it is not read.
        eps: ε, added to the variance.
        momentum: how far the running statistics move towards the batch's; None: not at all.
        affine: whether there are γ and β.
        track_running_stats: whether there are running statistics, used in evaluation.
        bias: whether there is β, if there is γ; by name only, as in torch.

    Parameters: `weight` γ (C,), ones, and `bias` β (C,), zeros, until they are set.
    Buffers: `running_mean` and `running_var` (C,), `num_batches_tracked`; moved by `next_buffers`.

    Raises:
        ValueError: an input of other axes or channels, or instances of one element.
    """

    axes = (3,)
    equations = instance_equations(1)
    examples = (
        Example({"num_features": 2}, ((2, 2, 3),)),
        Example({"num_features": 2, "affine": True, "eps": 0.25}, ((2, 3),)),
        Example({"num_features": 3, "affine": True, "bias": False}, ((2, 3, 4),)),
        Example(
            {"num_features": 2, "affine": True, "track_running_stats": True, "momentum": 0.7},
            ((3, 2, 2),),
        ),
        Example({"num_features": 2, "track_running_stats": True, "momentum": None}, ((2, 2, 2),)),
        Example(
            {"num_features": 2, "affine": True, "track_running_stats": True}, ((2, 2, 1),),
            training=False,
        ),
        Example({"num_features": 2, "track_running_stats": True}, ((2, 3),), training=False),
        Example({"num_features": 3, "affine": True}, ((2, 3, 2),), training=False),
    )  # fmt: skip


class InstanceNorm2d(_InstanceNorm):
    r"""Instance normalisation of (N, C, H, W) or (C, H, W): y = γ (x - μ) / √(σ² + ε) + β.

    Arguments, parameters and buffers are InstanceNorm1d's.

    Raises:
        ValueError: as InstanceNorm1d.
    """

    axes = (4,)
    equations = instance_equations(2)
    examples = (
        Example({"num_features": 2}, ((2, 1, 3),)),
        Example({"num_features": 2, "affine": True, "track_running_stats": True}, ((2, 2, 2, 3),)),
        Example({"num_features": 2, "affine": True, "bias": False}, ((1, 2, 3, 1),)),
        Example(
            {"num_features": 2, "affine": True, "track_running_stats": True}, ((2, 2, 1),),
            training=False,
        ),
        Example({"num_features": 2, "track_running_stats": True}, ((1, 2, 2, 1),), training=False),
    )  # fmt: skip


class InstanceNorm3d(_InstanceNorm):
    r"""Instance normalisation of (N, C, D, H, W) or (C, D, H, W): y = γ (x - μ) / √(σ² + ε) + β.

    Arguments, parameters and buffers are InstanceNorm1d's.

    Raises:
        ValueError: as InstanceNorm1d.
    """

    axes = (5,)
    equations = instance_equations(3)
    examples = (
        Example({"num_features": 2}, ((2, 1, 2, 2),)),
        Example(
            {"num_features": 2, "affine": True, "track_running_stats": True}, ((2, 2, 1, 2, 1),)
        ),
        Example({"num_features": 2, "affine": True, "bias": False}, ((1, 2, 1, 2, 2),)),
        Example(
            {"num_features": 2, "affine": True, "track_running_stats": True}, ((2, 2, 1, 1, 2),),
            training=False,
        ),
        Example({"num_features": 2, "track_running_stats": True}, ((2, 1, 2, 1),), training=False),
    )  # fmt: skip
