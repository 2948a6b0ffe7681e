"""Batch normalisation: every channel gets mean 0 and variance 1 over the batch."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays
from manual.norm.channels import ChannelNorm, axes_variant
from manual.norm.equations import batch_equations
from manual.norm.sums import dots, totals

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"]


class Batch(NamedTuple):
    """The statistics of one pass."""

    mean: Array  # (C,)
    var: Array  # (C,), biased: divided by the count
    size: int  # M, the elements of a channel; 1 of an empty batch


class BatchNormCache(NamedTuple):
    centred: Array  # x - μ, (N, C, L), or (1, C, N) of (N, C)
    inverse: Array  # 1 / √(σ² + ε), (C,)
    batch: Batch | None  # None: the running statistics were used, which do not depend on x
    axes: int  # behind the channels


class _BatchNorm(ChannelNorm):
    """Batch normalisation of (N, C, …): its class says which shapes it takes."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias)

    def forward(self, x: Array) -> tuple[Array, BatchNormCache]:  # type: ignore[override]
        """Return γ (x - μ) / √(σ² + ε) + β, of x's shape."""
        self._check(tuple(x.shape))
        rows = _rows(x)  # (N, C, L)
        batch = None
        if self.uses_batch:
            centred, batch = _centred(rows)
            var = batch.var
        else:
            centred = rows - self.buffers["running_mean"][:, None]
            var = self.buffers["running_var"]
        inverse = 1 / np.sqrt(var + self.eps)  # (C,)
        y = centred * self._scale(inverse)[:, None]
        if "bias" in self.params:
            y += self.params["bias"][:, None]
        return _shaped(y, x.shape), BatchNormCache(centred, inverse, batch, x.ndim - 2)

    def backward(self, grad_output: Array, cache: BatchNormCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = γ x̂ + β, x̂ = (x - μ) / s, s = √(σ² + ε).

        Shapes: x, x̂, y, dy, dx (N, C, …); γ, β, μ, s (C,). Channels do not mix: k below counts the
        M elements of one channel over the batch and all axes behind the channels (N, N L, N H W or
        N D H W), and that channel's index is left out.

        y_k = γ x̂_k + β
            dβ = Σ_k dy_k,   dγ = Σ_k dy_k x̂_k,   dx̂_k = γ dy_k
        evaluation: μ and s are constants, each x_k reaches its own x̂_k only
            dx_k = dx̂_k / s
        training: x_l reaches every x̂_k, through μ = Σ_l x_l / M and σ² = Σ_l (x_l - μ)² / M
            ∂μ/∂x_l  = 1 / M
            ∂σ²/∂x_l = 2 (x_l - μ) / M          (what goes through μ is 0: Σ_k (x_k - μ) = 0)
            ∂s/∂x_l  = ∂σ²/∂x_l / (2 s) = x̂_l / M
            ∂x̂_k/∂x_l = ([k = l] - 1 / M) / s - (x_k - μ) / s² · ∂s/∂x_l
                      = ([k = l] - 1 / M - x̂_k x̂_l / M) / s
            dx_l = Σ_k dx̂_k ∂x̂_k/∂x_l = (dx̂_l - mean(dx̂) - x̂_l mean(dx̂ x̂)) / s
                 = γ / s · (dy_l - dβ / M - x̂_l dγ / M)
        Matrix form: dx = (I - 1 1ᵀ / M - x̂ x̂ᵀ / M) dx̂ / s. For ε = 0 it projects: the part of dx̂
        along 1 and the part along x̂ are lost, as y does not feel a shift or a stretch of x.

        Torch: nn.BatchNorm1d to 3d: normalises with the biased variance, stores the unbiased one.
        Source: Ioffe and Szegedy, Batch Normalization (2015), section 3, where ∂σ² and ∂μ are kept
        apart; the sums here are theirs put together.
        """
        dy = _rows(grad_output)  # (N, C, L)
        dgamma, dbeta = self._sums(dy, cache)
        scale = self._scale(cache.inverse)  # γ / s
        dx = dy * scale[:, None]
        if cache.batch is not None:
            share = scale / cache.batch.size
            lost = cache.centred * (share * cache.inverse * dgamma)[:, None]
            lost += (share * dbeta)[:, None]
            dx -= lost
        return (_shaped(dx, grad_output.shape),), self._named(dgamma, dbeta)

    def grad_params(self, grad_output: Array, cache: BatchNormCache) -> Arrays:
        """Return dγ = Σ dy x̂ and dβ = Σ dy."""
        return self._named(*self._sums(_rows(grad_output), cache))

    def next_buffers(self, cache: BatchNormCache) -> Arrays:
        """Return r + m (batch - r) for both running statistics r, m the momentum.

        The variance is stored unbiased, M / (M - 1) σ². Without a momentum m = 1 / t at batch t,
        which makes r the mean over t batches.
        """
        if cache.batch is None or not self.buffers:
            return self.buffers
        mean, var, size = cache.batch
        seen = self.buffers["num_batches_tracked"] + 1
        if size == 1:  # a batch of nothing is counted, and moves nothing
            return {**self.buffers, "num_batches_tracked": seen}
        m = 1 / int(seen) if self.momentum is None else self.momentum
        return {**self._moved(mean, var * (size / (size - 1)), m), "num_batches_tracked": seen}

    def variants(self, cache: BatchNormCache) -> tuple[str, ...]:
        """Return whether the running statistics were used, and how many axes there are."""
        running = ("running statistics",) if cache.batch is None else ()
        usual = max(self.axes, default=4) - 2
        return (*running, *axes_variant(cache.axes, usual))

    def _scale(self, inverse: Array) -> Array:
        return self.params["weight"] * inverse if self.affine else inverse

    def _sums(self, dy: Array, cache: BatchNormCache) -> tuple[Array, Array]:
        """Return Σ dy x̂ and Σ dy of every channel."""
        dgamma = dots(dy, cache.centred).sum(axis=0) * cache.inverse
        return dgamma, totals(dy).sum(axis=0)

    def _check(self, shape: tuple[int, ...]) -> None:
        name = type(self).__name__
        fits = len(shape) in self.axes if self.axes else len(shape) >= 2
        kept = self.affine or self.track_running_stats
        if not fits or (kept and shape[1] != self.num_features):
            raise ValueError(
                f"{name}: the input must be {self._accepted} with C = num_features = "
                f"{self.num_features}, received shape {shape}. Reshape the input, or set "
                "num_features to its number of channels."
            )
        if self.uses_batch and shape[0] * prod(shape[2:]) == 1:
            raise ValueError(
                f"{name}: a batch's variance needs more than one value per channel, received "
                f"shape {shape}. Use a larger batch, or running statistics in evaluation: "
                "layer.train(False)."
            )
        if not (self.eps > 0 or (self.eps == 0 and not self.uses_batch)):
            raise ValueError(
                f"{name}: eps must be positive where the batch's variance may be 0 (and is never "
                f"negative), received {self.eps}. Torch's default is 1e-5."
            )


def _rows(x: Array) -> Array:
    """Return (N, C, …) as (N, C, L); of (N, C), whose rows would be short, (1, C, N)."""
    n, c, *space = x.shape
    return x.reshape(n, c, prod(space)) if space else x.T.reshape(1, c, n)


def _shaped(rows: Array, shape: tuple[int, ...]) -> Array:
    """Return rows in the shape that they are of."""
    return rows.reshape(*shape) if len(shape) > 2 else rows.reshape(*shape[::-1]).T


def _centred(rows: Array) -> tuple[Array, Batch]:
    """Return x - μ, and the statistics, of a batch (N, C, L)."""
    size = max(rows.shape[0] * rows.shape[2], 1)
    mean = totals(rows).sum(axis=0) / size
    centred = rows - mean[:, None]
    var = dots(centred, centred).sum(axis=0) / size  # Σ x² / M - μ² would cancel
    return centred, Batch(mean, var, size)


class BatchNorm1d(_BatchNorm):
    r"""Batch normalisation of (N, C) or (N, C, L): y = γ (x - μ) / √(σ² + ε) + β, by channel.

    Arguments, parameters and buffers are BatchNorm2d's.

    Raises:
        ValueError: as BatchNorm2d.
    """

    axes = (2, 3)
    equations = batch_equations(1) | batch_equations(0, "0 axes")
    examples = (
        Example({"num_features": 3}, ((4, 3),)),
        Example({"num_features": 2, "bias": False}, ((3, 2),)),
        Example({"num_features": 2, "affine": False}, ((3, 2, 2),)),
        Example({"num_features": 2, "momentum": None, "eps": 0.25}, ((2, 2, 3),)),
        Example({"num_features": 2}, ((1, 2),), training=False),
        Example({"num_features": 2, "affine": False}, ((2, 2, 3),), training=False),
    )


class BatchNorm2d(_BatchNorm):
    r"""Batch normalisation of (N, C, H, W): y = γ (x - μ) / √(σ² + ε) + β, channel by channel.

    In training μ and σ² are the batch's, in evaluation the running ones.

    Args:
        num_features: C, the number of channels; without affine and running statistics it is not
            read.
        eps: ε, added to the variance; positive.
        momentum: how far the running statistics move towards the batch's; None: they are the mean
            over all batches so far.
        affine: whether there are γ and β.
        bias: whether there is β, if there is γ; by name only, as in torch.
        track_running_stats: whether there are running statistics; without, the batch's are used in
            evaluation too.

    Parameters: `weight` γ (C,), ones, and `bias` β (C,), zeros, until they are set.
    Buffers: `running_mean` and `running_var` (C,), `num_batches_tracked`; moved by `next_buffers`.

    Raises:
        ValueError: x is not (N, num_features, H, W); eps is negative; or the batch's statistics are
            used, and eps is 0 or a channel has one value.
    """

    axes = (4,)
    equations = batch_equations(2)
    examples = (
        Example({"num_features": 3}, ((4, 3, 2, 2),)),
        Example({"num_features": 2, "eps": 0.25, "momentum": 0.7}, ((2, 2, 1, 3),)),
        Example({"num_features": 2, "momentum": None}, ((3, 2, 2, 1),)),
        Example({"num_features": 2, "affine": False}, ((3, 2, 1, 2),)),
        Example({"num_features": 2, "bias": False}, ((3, 2, 1, 2),)),
        Example({"num_features": 2, "bias": False}, ((2, 2, 1, 2),), training=False),
        Example({"num_features": 3}, ((4, 3, 2, 2),), training=False),
        Example({"num_features": 2, "affine": False}, ((1, 2, 1, 1),), training=False),
        Example({"num_features": 2, "track_running_stats": False}, ((3, 2, 2, 2),)),
        Example({"num_features": 2, "track_running_stats": False}, ((3, 2, 2, 2),), training=False),
        Example({"num_features": 2}, (np.full((2, 2, 2, 1), 1.5),)),  # the variance is 0
    )


class BatchNorm3d(_BatchNorm):
    r"""Batch normalisation of (N, C, D, H, W): y = γ (x - μ) / √(σ² + ε) + β, channel by channel.

    Arguments, parameters and buffers are BatchNorm2d's.

    Raises:
        ValueError: as BatchNorm2d.
    """

    axes = (5,)
    equations = batch_equations(3)
    examples = (
        Example({"num_features": 2, "momentum": 0.7}, ((2, 2, 1, 2, 3),)),
        Example({"num_features": 2, "affine": False}, ((2, 2, 2, 1, 2),)),
        Example({"num_features": 2, "bias": False}, ((2, 2, 1, 1, 2),), training=False),
        Example({"num_features": 2, "affine": False}, ((1, 2, 1, 2, 1),), training=False),
    )


class SyncBatchNorm(_BatchNorm):
    r"""Batch normalisation over the batches of all processes; here there is one, so of (N, C, …).

    Args:
        process_group: which processes share their statistics; there are no others, and torch reads
            it only where several run.

    The other arguments, parameters and buffers are BatchNorm2d's.

    Raises:
        ValueError: as BatchNorm2d; torch's too takes any number of axes behind the channels, and
            refuses inputs without channels.
    """

    equations = batch_equations(2) | {
        key: text
        for axes in (0, 1, 3)
        for key, text in batch_equations(axes, f"{axes} axes").items()
    }
    examples = (
        Example({"num_features": 2}, ((3, 2),)),
        Example({"num_features": 2}, ((2, 2, 3),)),
        Example({"num_features": 2, "bias": False}, ((2, 2, 1, 3),)),
        Example({"num_features": 2}, ((2, 2, 1, 2, 1),)),
        Example({"num_features": 2}, ((1, 2, 2, 2),)),
        Example({"num_features": 2, "affine": False}, ((2, 2, 2, 1),)),
        Example({"num_features": 2}, ((2, 2, 1, 2),), training=False),
    )

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias=bias)
