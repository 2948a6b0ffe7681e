"""Batch normalisation of images: every channel gets mean 0 and variance 1 over the batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer
from manual.norm.sums import dots, totals

__all__ = ["BatchNorm2d"]

NORMED = "xhat[n,c,h,w] = (x[n,c,h,w] - mu[c]) / sqrt(v[c] + eps)"
BATCH = f"""
where {NORMED}
where mu[c] = mean(m, mean(i, mean(j, x[m,c,i,j])))
where v[c] = mean(m, mean(i, mean(j, (x[m,c,i,j] - mu[c])**2)))"""
RUNNING = f"""
where {NORMED}
where mu[c] = running_mean[c]
where v[c] = running_var[c]"""
OUTPUT = "y[n,c,h,w] = gamma[c] * xhat[n,c,h,w] + beta[c]"
OUTPUT_SCALED = "y[n,c,h,w] = gamma[c] * xhat[n,c,h,w]"
OUTPUT_PLAIN = "y[n,c,h,w] = xhat[n,c,h,w]"
CENTRED = "(dy[n,c,h,w] - p[c] - xhat[n,c,h,w] * q[c]) / sqrt(v[c] + eps)"
MEANS = """
where p[c] = mean(m, mean(i, mean(j, dy[m,c,i,j])))
where q[c] = mean(m, mean(i, mean(j, dy[m,c,i,j] * xhat[m,c,i,j])))"""
GRAD_WEIGHT = "dgamma[c] = sum(n, sum(h, sum(w, dy[n,c,h,w] * xhat[n,c,h,w])))"


class Batch(NamedTuple):
    """The statistics of one pass."""

    mean: Array  # (C,)
    var: Array  # (C,), biased: divided by the count
    size: int  # M = N H W, the elements of a channel


class BatchNormCache(NamedTuple):
    centred: Array  # x - μ, (N, C, H W)
    inverse: Array  # 1 / √(σ² + ε), (C,)
    batch: Batch | None  # None: the running statistics were used, which do not depend on x


class BatchNorm2d(Layer):
    r"""Batch normalisation of (N, C, H, W): y = γ (x - μ) / √(σ² + ε) + β, channel by channel.

    In training μ and σ² are the batch's, in evaluation the running ones.

    Args:
        num_features: C, the number of channels.
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
        ValueError: x is not (N, num_features, H, W); or the batch's statistics are used, and eps is
            not positive or a channel has fewer than two values (torch lets an empty batch pass).
    """

    equations: ClassVar[Mapping[str, str]] = {
        "output": OUTPUT + BATCH,
        "output/no bias": OUTPUT_SCALED + BATCH,
        "output/no weight": OUTPUT_PLAIN + BATCH,
        "output/running statistics": OUTPUT + RUNNING,
        "output/running statistics, no bias": OUTPUT_SCALED + RUNNING,
        "output/running statistics, no weight": OUTPUT_PLAIN + RUNNING,
        "grad_input": f"dx[n,c,h,w] = gamma[c] * {CENTRED}" + MEANS + BATCH,
        "grad_input/no weight": f"dx[n,c,h,w] = {CENTRED}" + MEANS + BATCH,
        "grad_input/running statistics": (
            "dx[n,c,h,w] = dy[n,c,h,w] * gamma[c] / sqrt(v[c] + eps)\nwhere v[c] = running_var[c]"
        ),
        "grad_input/running statistics, no weight": (
            "dx[n,c,h,w] = dy[n,c,h,w] / sqrt(v[c] + eps)\nwhere v[c] = running_var[c]"
        ),
        "grad:weight": GRAD_WEIGHT + BATCH,
        "grad:weight/running statistics": GRAD_WEIGHT + RUNNING,
        "grad:bias": "dbeta[c] = sum(n, sum(h, sum(w, dy[n,c,h,w])))",
    }
    symbols: ClassVar[Mapping[str, str]] = {
        "gamma": "weight",
        "beta": "bias",
        "eps": "eps",
        "running_mean": "running_mean",
        "running_var": "running_var",
    }
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
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.params, self.buffers = {}, {}
        if affine:
            self.params["weight"] = np.ones(num_features)
        if affine and bias:
            self.params["bias"] = np.zeros(num_features)
        if track_running_stats:
            self.buffers = {
                "running_mean": np.zeros(num_features),
                "running_var": np.ones(num_features),
                "num_batches_tracked": np.array(0),
            }

    @property
    def uses_batch(self) -> bool:
        """Whether μ and σ² are the batch's."""
        return self.training or not self.track_running_stats

    def forward(self, x: Array) -> tuple[Array, BatchNormCache]:  # type: ignore[override]
        """Return γ (x - μ) / √(σ² + ε) + β, of x's shape."""
        self._check(tuple(x.shape))
        n, c, h, w = x.shape
        rows = x.reshape(n, c, h * w)
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
        return y.reshape(n, c, h, w), BatchNormCache(centred, inverse, batch)

    def backward(self, grad_output: Array, cache: BatchNormCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = γ x̂ + β, x̂ = (x - μ) / s, s = √(σ² + ε).

        Shapes: x, x̂, y, dy, dx (N, C, H, W); γ, β, μ, s (C,). Channels do not mix: k below counts
        the M = N H W elements of one channel, and that channel's index is left out.

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

        Torch: nn.BatchNorm2d: normalises with the biased variance, stores the unbiased one.
        Source: Ioffe and Szegedy, Batch Normalization (2015), section 3, where ∂σ² and ∂μ are kept
        apart; the sums here are theirs put together.
        """
        shape = grad_output.shape
        dy = grad_output.reshape(*cache.centred.shape)  # (N, C, H W)
        dgamma, dbeta = self._sums(dy, cache)
        scale = self._scale(cache.inverse)  # γ / s
        dx = dy * scale[:, None]
        if cache.batch is not None:
            share = scale / cache.batch.size
            lost = cache.centred * (share * cache.inverse * dgamma)[:, None]
            lost += (share * dbeta)[:, None]
            dx -= lost
        return (dx.reshape(*shape),), self._named(dgamma, dbeta)

    def grad_params(self, grad_output: Array, cache: BatchNormCache) -> Arrays:
        """Return dγ = Σ dy x̂ and dβ = Σ dy."""
        return self._named(*self._sums(grad_output.reshape(*cache.centred.shape), cache))

    def next_buffers(self, cache: BatchNormCache) -> Arrays:
        """Return r + m (batch - r) for both running statistics r, m the momentum.

        The variance is stored unbiased, M / (M - 1) σ². Without a momentum m = 1 / t at batch t,
        which makes r the mean over t batches.
        """
        if cache.batch is None or not self.buffers:
            return self.buffers
        mean, var, size = cache.batch
        seen = np.array(self.buffers["num_batches_tracked"] + 1)
        m = 1 / int(seen) if self.momentum is None else self.momentum
        unbiased = var * (size / (size - 1))
        return {
            "running_mean": (1 - m) * self.buffers["running_mean"] + m * mean,
            "running_var": (1 - m) * self.buffers["running_var"] + m * unbiased,
            "num_batches_tracked": seen,
        }

    def variants(self, cache: BatchNormCache) -> tuple[str, ...]:
        """Return whether the running statistics were used: without them, evaluation has none."""
        return ("running statistics",) if cache.batch is None else ()

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={'bias' in self.params}, track_running_stats={self.track_running_stats}"
        )

    def _scale(self, inverse: Array) -> Array:
        return self.params["weight"] * inverse if self.affine else inverse

    def _sums(self, dy: Array, cache: BatchNormCache) -> tuple[Array, Array]:
        """Return Σ dy x̂ and Σ dy of every channel."""
        dgamma = dots(dy, cache.centred).sum(axis=0) * cache.inverse
        return dgamma, totals(dy).sum(axis=0)

    def _named(self, dgamma: Array, dbeta: Array) -> Arrays:
        return {key: {"weight": dgamma, "bias": dbeta}[key] for key in self.params}

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 4 or shape[1] != self.num_features:
            raise ValueError(
                f"BatchNorm2d: the input must be (N, C, H, W) with C = num_features = "
                f"{self.num_features}, received shape {shape}. Reshape the input, or set "
                "num_features to its number of channels."
            )
        if not self.uses_batch:
            return
        if shape[0] * shape[2] * shape[3] < 2:
            raise ValueError(
                f"BatchNorm2d: a batch's variance needs more than one value per channel, received "
                f"shape {shape}. Use a larger batch, or running statistics in evaluation: "
                "layer.train(False)."
            )
        if not self.eps > 0:
            raise ValueError(
                f"BatchNorm2d: eps must be positive where the batch's variance may be 0, received "
                f"{self.eps}. Torch's default is 1e-5."
            )


def _centred(rows: Array) -> tuple[Array, Batch]:
    """Return x - μ, and the statistics, of a batch (N, C, L)."""
    size = rows.shape[0] * rows.shape[2]
    mean = totals(rows).sum(axis=0) / size
    centred = rows - mean[:, None]
    var = dots(centred, centred).sum(axis=0) / size  # Σ x² / M - μ² would cancel
    return centred, Batch(mean, var, size)
