"""SyncBatchNorm on several workers: the statistics are those of all rows, wherever they lie."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from manual.layer import Array, Arrays
from manual.norm.batch_norm import Batch, SyncBatchNorm, _rows, _shaped
from manual.norm.sums import dots, totals
from manual.parallel.collectives import all_reduce

__all__: list[str] = []  # no class of torch's: a worker's part of one


class WorkerBatchNormCache(NamedTuple):
    centred: tuple[Array, ...]  # x_s - μ of every worker, (N, C, L)
    inverse: Array  # 1 / √(σ² + ε), (C,)
    batch: Batch


class WorkerBatchNorm(SyncBatchNorm):
    """One worker's SyncBatchNorm: takes every worker's input, returns its own output."""

    rank: int

    @classmethod
    def of(cls, layer: SyncBatchNorm, rank: int) -> Self:
        """Return what a worker does where the network has this layer."""
        worker = object.__new__(cls)
        worker.__dict__ = {**vars(layer), "rank": rank}
        return worker

    def forward(self, *inputs: Array) -> tuple[Array, WorkerBatchNormCache]:  # type: ignore[override]
        """Return γ (x_r - μ) / √(σ² + ε) + β, μ and σ² over the rows of all workers."""
        shards = [_rows(x) for x in inputs]  # (N_s, C, L)
        size = sum(s.shape[0] * s.shape[2] for s in shards)  # M = Σ_s M_s
        mean = _summed([totals(s).sum(axis=0) for s in shards]) / size
        centred = tuple(s - mean[:, None] for s in shards)
        var = _summed([dots(c, c).sum(axis=0) for c in centred]) / size
        inverse = 1 / np.sqrt(var + self.eps)  # (C,)
        y = centred[self.rank] * self._scale(inverse)[:, None]
        if "bias" in self.params:
            y = y + self.params["bias"][:, None]
        own = inputs[self.rank]
        cache = WorkerBatchNormCache(centred, inverse, Batch(mean, var, size))
        return _shaped(y, own.shape), cache

    def backward(  # type: ignore[override]
        self, grad_output: Array, cache: WorkerBatchNormCache
    ) -> tuple[tuple[Array, ...], Arrays]:
        r"""Chain rule through y_r = γ x̂_r + β, x̂ = (x - μ) / s, for worker r's output alone.

        Shapes: x_s, dx_s (N_s, C, …); γ, β, μ, s (C,). M = Σ_s M_s counts a channel's elements on
        all workers, M_s those on worker s; k is an element of worker r's, l one of any worker's.

        The statistics are sums of what every worker has of them, whatever the sizes of the shards:
            μ = Σ_s (Σ_l x_sl) / M,   σ² = Σ_s (Σ_l (x_sl - μ)²) / M      (two all-reduces)
        not the mean of the workers' means, which would count the rows of small shards for more.
        As for one process, for every l of all workers (BatchNorm2d.backward)
            ∂x̂_rk/∂x_sl = ([s = r, k = l] - 1 / M - x̂_rk x̂_sl / M) / s
            dx_sl = γ / s · ([s = r] dy_rl - Σ_k dy_rk / M - x̂_sl Σ_k dy_rk x̂_rk / M)
        These are worker r's shares in worker s's gradient; they add up over r, and both sums become
        sums over all workers' rows: Σ_r Σ_k dy_rk and Σ_r Σ_k dy_rk x̂_rk: an all-reduce.
            dβ_r = Σ_k dy_rk,   dγ_r = Σ_k dy_rk x̂_rk
        are of worker r's copies of β and γ, and stay its own until the gradients are reduced.
        Torch: nn.SyncBatchNorm on a GPU, which gathers the means instead of summing.
        """
        dy = _rows(grad_output)
        own = cache.centred[self.rank]
        dgamma, dbeta = dots(dy, own).sum(axis=0) * cache.inverse, totals(dy).sum(axis=0)
        scale = self._scale(cache.inverse)  # γ / s
        share = scale / cache.batch.size
        along = (share * cache.inverse * dgamma)[:, None]
        found = []
        for rank, centred in enumerate(cache.centred):
            lost = centred * along + (share * dbeta)[:, None]
            found.append(dy * scale[:, None] - lost if rank == self.rank else -lost)
        shapes = [self._shape_of(c, grad_output.shape) for c in cache.centred]
        grads = tuple(_shaped(dx, shape) for dx, shape in zip(found, shapes, strict=True))
        return grads, self._named(dgamma, dbeta)

    def grad_params(self, grad_output: Array, cache: WorkerBatchNormCache) -> Arrays:  # type: ignore[override]
        return self.backward(grad_output, cache)[1]

    def _shape_of(self, rows: Array, like: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a worker's input, given its rows and another worker's shape."""
        count = rows.shape[0] if len(like) > 2 else rows.shape[2]
        return (count, *like[1:])


def _summed(sums: list[Array]) -> Array:
    return all_reduce(sums)[0]
