r"""What workers exchange, as linear maps: one array per worker goes in, and one comes out.

Stack the workers' vectors x_0 … x_(W-1) into one. Every exchange then is a matrix of blocks, and
its backward is the transposed matrix, which is an exchange again:

    exchange            y_r                 matrix           transposed
    all_reduce, sum     Σ_s x_s             1 1ᵀ ⊗ I         itself
    all_reduce, mean    Σ_s x_s / W         1 1ᵀ / W ⊗ I     itself
    broadcast           x_0                 1 e_0ᵀ ⊗ I       the sum, kept by worker 0
    all_gather          (x_0; …; x_(W-1))   1 ⊗ I            reduce_scatter
    reduce_scatter      slice r of Σ_s x_s  1ᵀ ⊗ I           all_gather

(1 is the vector of W ones.) 1 1ᵀ is symmetric: what goes forward through an all-reduce comes back
through one. Torch: torch.distributed, with one process per worker.
Source: Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms (2009): all_reduce is
all_gather after reduce_scatter, (1 1ᵀ ⊗ I) = (1 ⊗ I)(1ᵀ ⊗ I).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from manual.layer import Array

__all__ = ["all_gather", "all_reduce", "broadcast", "reduce_scatter"]


def all_reduce(arrays: Sequence[Array], how: str = "sum") -> list[Array]:
    """Return the sum, or the mean, of all workers' arrays, once for each.

    Raises:
        ValueError: `how` is neither, or the shapes differ.
    """
    if how not in ("sum", "mean"):
        raise ValueError(f"all_reduce: how must be 'sum' or 'mean', received {how!r}.")
    _check("all_reduce", arrays, slice(None))
    total = reduce(np.add, arrays)
    found = total if how == "sum" else total / len(arrays)
    return [found for _ in arrays]


def broadcast(arrays: Sequence[Array], source: int = 0) -> list[Array]:
    """Return one worker's array for each."""
    return [arrays[source] for _ in arrays]


def all_gather(arrays: Sequence[Array]) -> list[Array]:
    """Return all workers' arrays (n_r, …) one below the other, (Σ n_r, …), once for each."""
    _check("all_gather", arrays, slice(1, None))
    return [np.concatenate(list(arrays)) for _ in arrays]


def reduce_scatter(arrays: Sequence[Array], sizes: Sequence[int]) -> list[Array]:
    """Return slice r of the sum of all workers' arrays (Σ n_r, …) to worker r: (n_r, …).

    Args:
        sizes: n_r, how many rows each worker gets.

    Raises:
        ValueError: the sizes do not add up to the rows there are.
    """
    if len(arrays[0]) != sum(sizes) or len(sizes) != len(arrays):
        raise ValueError(
            f"reduce_scatter: sizes must be one per worker and add up to {len(arrays[0])} rows, "
            f"received {list(sizes)} for {len(arrays)} workers."
        )
    total = all_reduce(arrays)[0]
    ends = np.cumsum(sizes)
    return [total[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _check(name: str, arrays: Sequence[Array], axes: slice) -> None:
    shapes = [tuple(a.shape) for a in arrays]
    if any(shape[axes] != shapes[0][axes] for shape in shapes):
        raise ValueError(
            f"{name}: the workers' arrays must have one shape, received "
            f"{', '.join(map(str, shapes))}."
        )
