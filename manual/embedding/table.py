"""A table of vectors, looked up by integers: what Embedding and EmbeddingBag share."""

from __future__ import annotations

from typing import Any

import numpy as np

from manual.arguments import check_size
from manual.layer import Array, Arrays, Layer

KEEPS_FINITE = 1e-7  # torch's: a rescaled row is that much shorter than max_norm


class Table(Layer):
    """A layer whose parameter is a table: its arguments, its rescaled rows, its gradient."""

    padding_idx: int | None

    def _set_table(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None,
        max_norm: float | None, norm_type: float, scale_grad_by_freq: bool, sparse: bool,
        weight: Array | None,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        for size in ("num_embeddings", "embedding_dim"):
            check_size(self, size, least=0)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(
                f"{name}: padding_idx must be one of the {num_embeddings} rows, from "
                f"{-num_embeddings} to {num_embeddings - 1}, received {padding_idx}."
            )
        if sparse and scale_grad_by_freq:
            raise ValueError(
                f"{name}: sparse=True has no scale_grad_by_freq in torch, whose backward refuses "
                "the two together. Leave one of them out."
            )
        shape = (num_embeddings, embedding_dim)
        if weight is not None and np.shape(weight) != shape:
            raise ValueError(f"{name}: _weight must be {shape}, received {np.shape(weight)}.")
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm, self.norm_type = max_norm, float(norm_type)
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        self.rewrites = () if max_norm is None else ("weight",)
        self.params = {"weight": np.zeros(shape) if weight is None else weight}

    # ── rows that are too long ───────────────────────────────────────────────────────────────────
    def _rescaled(self, index: Array) -> tuple[Array, Array | None]:
        """Return the table that this pass reads, and which rows were too long; None: not asked.

        Of the rows that are looked up, w becomes w c / (‖w‖ + 1e-7) where ‖w‖ > c = max_norm.
        """
        weight = self.params["weight"]
        if self.max_norm is None:
            return weight, None
        rows = np.unique(index)
        looked_up = weight[rows]
        norms = _norm(looked_up, self.norm_type)
        long = norms > self.max_norm
        scale = self.max_norm / (norms[long] + KEEPS_FINITE)
        weight = weight.copy()
        weight[rows[long]] = looked_up[long] * scale[:, None]
        return weight, long

    def rewritten(self, cache: Any) -> Arrays:
        """Return the table that the pass left: torch rescales its rows in place."""
        return {"weight": cache.weight} if self.rewrites else {}

    # ── the gradient ─────────────────────────────────────────────────────────────────────────────
    def _gradient(self, rows: Array, index: Array) -> Arrays:
        """Return dW for rows (n, D) of upstream gradients and the place of each, index (n,)."""
        grad = summed(rows, index, self.num_embeddings, by_count=self.scale_grad_by_freq)
        if self.padding_idx is not None:
            grad[self.padding_idx] = 0
        return {"weight": grad}

    def _check(self, x: Array) -> None:
        name = type(self).__name__
        if x.dtype.kind != "i":
            raise TypeError(
                f"{name}: the input must hold signed integers, the rows to look up, received "
                f"{x.dtype}. Cast it: x.astype(np.int64)."
            )
        if x.size and not 0 <= x.min() <= x.max() < self.num_embeddings:
            wrong = x.min() if x.min() < 0 else x.max()
            raise IndexError(
                f"{name}: every integer must be one of the rows 0 to {self.num_embeddings - 1}, "
                f"received {wrong}. Set num_embeddings to the size of the vocabulary."
            )

    def _options(self, usual: dict[str, Any]) -> str:
        """Return the arguments that are not as usual, as torch shows them."""
        rest = [f"{k}={getattr(self, k)}" for k, v in usual.items() if getattr(self, k) != v]
        return ", ".join([f"{self.num_embeddings}, {self.embedding_dim}", *rest])


def summed(rows: Array, places: Array, count: int, *, by_count: bool) -> Array:
    """Return (count, D), in each place the sum (or mean) of the rows (n, D) that belong there.

    Places that have equally many rows are summed together: at most √(2 n) sums, in which every row
    is read once, in its order.
    """
    total = np.zeros_like(rows, shape=(count, rows.shape[1]))
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    starts = np.flatnonzero(np.concatenate((ordered[:1] >= 0, ordered[1:] != ordered[:-1])))
    counts = np.diff(starts, append=len(ordered))
    for size in np.unique(counts):
        first = starts[counts == size]
        picked = rows[order[first[:, None] + np.arange(size)]]  # (places, size, D)
        added = picked.sum(axis=1) if size > 1 else picked[:, 0]
        total[ordered[first]] = added / int(size) if by_count else added
    return total


def _norm(rows: Array, p: float) -> Array:
    """Return the p-norm of each row (n, D); of p = 0 how many numbers are not 0."""
    if p == 0:
        return (rows != 0).sum(axis=1)
    if p == np.inf:
        return abs(rows).max(axis=1)
    if p == -np.inf:
        return abs(rows).min(axis=1)
    return (abs(rows) ** p).sum(axis=1) ** (1 / p)
