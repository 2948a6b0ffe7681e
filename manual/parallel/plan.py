"""Who works on which rows, and what each row counts in the gradient that all agree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Plan", "split"]


@dataclass(frozen=True)
class Plan:
    r"""The rows of every worker and micro-batch, and how the workers' gradients become one.

    Args:
        shards: rows n_rm by worker r and micro-batch m.
        reduce: "mean" or "sum" of the workers' gradients.
        whole_batch: whether the losses are weighed so that the step is that of one process.
        loss_sums: whether the loss is a sum over rows, and not a mean.
        sharded_states: whether each worker keeps the optimiser's state of its own share alone.
        split: layers that the workers share, by "columns" or "rows" (`manual.parallel.tensor`);
            each then sees the whole batch.

    One process on all n rows has L = 1/n Σ_i ℓ_i, so that every row counts 1/n in ∇L. Worker r sees
    its n_r rows only, L_r = 1/n_r Σ_(i of r) ℓ_i, and the mean of the workers' gradients is
        1/W Σ_r ∇L_r = Σ_r Σ_(i of r) ∇ℓ_i / (W n_r)
    A row of worker r counts 1/(W n_r) in it: the same as 1/n if all shards are equal (n_r = n/W),
    and else more, the smaller its shard. It is the gradient of the mean of the workers' means, and
    a loss weighed by W n_r / n makes it that of the whole batch:
        1/W Σ_r ∇(W n_r/n L_r) = Σ_r n_r/n · 1/n_r Σ_(i of r) ∇ℓ_i = ∇L
    Gradients of M micro-batches add up on a worker: without a factor that is M times their mean,
    so each loss is divided by M. Its shares are W n_rm / n where the whole batch is meant.
    A loss that sums (L_r = Σ_(i of r) ℓ_i) needs no shares: the sum of gradients is the whole
    batch's, and their mean is W times too small, so that the loss is multiplied by W.
    Torch: DistributedDataParallel takes the mean, whatever the shards and the loss.
    """

    shards: tuple[tuple[int, ...], ...]
    reduce: str = "mean"
    whole_batch: bool = False
    loss_sums: bool = False
    sharded_states: bool = False
    split: Mapping[str, str] = field(default_factory=dict)

    @property
    def workers(self) -> int:
        return len(self.shards)

    @property
    def micro_batches(self) -> int:
        return len(self.shards[0])

    @property
    def rows(self) -> int:
        """n, the rows of one step."""
        return sum(self.shards[0]) if self.split else sum(map(sum, self.shards))

    def weights(self) -> list[list[float]]:
        """Return what the loss of each worker's micro-batches is multiplied by."""
        again = self.workers if self.reduce == "mean" else 1
        if not self.whole_batch:
            return [[1 / self.micro_batches] * self.micro_batches for _ in self.shards]
        if self.loss_sums:
            return [[float(again)] * self.micro_batches for _ in self.shards]
        return [[again * size / self.rows for size in sizes] for sizes in self.shards]

    def slices(self) -> list[list[slice]]:
        """Return the rows of a batch by worker and micro-batch: each takes those that follow."""
        if self.split:
            return [[slice(0, self.rows)] for _ in self.shards]
        found: list[list[slice]] = []
        start = 0
        for sizes in self.shards:
            found.append([])
            for size in sizes:
                found[-1].append(slice(start, start + size))
                start += size
        return found


def split(rows: int, parts: int) -> tuple[int, ...]:
    """Return how many rows each part gets: as equal as can be, the first ones one more."""
    return tuple(rows // parts + (part < rows % parts) for part in range(parts))


def shards(sizes: Sequence[int], micro_batches: int) -> tuple[tuple[int, ...], ...]:
    """Return the rows of every worker's micro-batches."""
    return tuple(split(size, micro_batches) for size in sizes)
