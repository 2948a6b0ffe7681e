"""EmbeddingBag: bags of rows of a table, each summed, averaged, or maximised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from manual.embedding.table import Table, summed
from manual.examples import Example
from manual.layer import Array, Arrays

__all__ = ["EmbeddingBag"]

MODES = ("sum", "mean", "max")
SIZE = "\nwhere k[b] = sum(n, (g[n] == b))"
TIMES = "\nwhere t[v] = sum(n, (r[n] == v))"


class BagCache(NamedTuple):
    """`index`, `bag` and `share` are of the look-ups that count, n of them: no padding."""

    shape: tuple[int, ...]  # of the input
    kept: Array  # which of the input's places in a row count
    index: Array  # (n,) rows of the table
    bag: Array  # (n,) which bag each is in
    share: Array | None  # (n,) per_sample_weights
    winner: Array | None  # (B, D) max: which look-up is the largest
    weight: Array  # the table that was read
    long: Array | None  # which of the rows that were looked up, in order, were rescaled


class EmbeddingBag(Table):
    r"""Sums, means or maxima of rows of a table: y_b = Σ_n p_n W[x_n] over the n in bag b.

    Args:
        num_embeddings: V, the number of rows.
        embedding_dim: D, the length of a row.
        max_norm: the length to which rows that are looked up are cut: forward computes with the
            shorter rows, and `rewritten` returns the table that torch then holds.
        norm_type: p of the norm that is meant.
        scale_grad_by_freq: whether a row's gradient is divided by how often it was looked up.
        mode: "sum", "mean" or "max" (of each column alone).
        sparse: torch's gradient is a sparse tensor; here an array of W's shape, as always.
        _weight: W; zeros without it.
        include_last_offset: `offsets` has one number more, the input's length.
        padding_idx: the row that counts in no bag; from the end if negative.

    Inputs: `input` (B, N), a bag in each row, or (n,) with `offsets` (B,), where each bag begins;
    `per_sample_weights` p of the input's shape, for sums. Output: (B, D); an empty bag gives 0.

    Parameter, in torch's layout: `weight` W (V, D).

    Raises:
        ValueError: arguments, offsets or weights do not fit.
        TypeError: input or offsets do not hold signed integers.
        IndexError: an integer is no row.
    """

    equations: ClassVar[Mapping[str, str]] = {
        "output/sum": "y[b,d] = sum(n, g[n] == b, W[r[n],d])",
        "output/sum, weighted": "y[b,d] = sum(n, g[n] == b, p[n] * W[r[n],d])",
        "output/mean": "y[b,d] = sum(n, g[n] == b, W[r[n],d] / k[b])" + SIZE,
        "output/max, full": "y[b,d] = W[r[m[b,d]],d]",
        "grad:weight/sum": "dW[v,d] = sum(n, r[n] == v, dy[g[n],d])",
        "grad:weight/sum, weighted": "dW[v,d] = sum(n, r[n] == v, p[n] * dy[g[n],d])",
        "grad:weight/mean": "dW[v,d] = sum(n, r[n] == v, dy[g[n],d] / k[g[n]])" + SIZE,
        "grad:weight/mean, by frequency": (
            "dW[v,d] = sum(n, r[n] == v, dy[g[n],d] / k[g[n]] / t[r[n]])" + SIZE + TIMES
        ),
        "grad:weight/max, full": "dW[v,d] = sum(b, (r[m[b,d]] == v) * dy[b,d])",
        "grad_per_sample_weights/rows": "dp[b,n] = sum(d, dy[b,d] * W[x[b,n],d])",
    }
    symbols: ClassVar[Mapping[str, str]] = {
        "W": "cache.weight", "r": "cache.index", "g": "cache.bag", "p": "cache.share",
        "m": "cache.winner", "x": "input",
    }  # fmt: skip
    examples = (
        Example(
            {"num_embeddings": 4, "embedding_dim": 2, "mode": "sum"},
            (np.array([[1, 3, 1], [0, 3, 3]]), None, (2, 3)),
        ),
        Example(
            {"num_embeddings": 4, "embedding_dim": 2, "padding_idx": -3, "max_norm": 1.25},
            (np.array([3, 1, 0, 3, 2, 1]), np.array([0, 2, 2, 5])),
            convention=True,
        ),
        Example(
            {"num_embeddings": 4, "embedding_dim": 2, "scale_grad_by_freq": True},
            (np.array([[0, 2, 2], [2, 3, 0]]),),
            convention=True,
        ),
        Example(
            {"num_embeddings": 5, "embedding_dim": 2, "mode": "max", "padding_idx": 2},
            (np.array([[0, 2, 3], [1, 1, 4]]),),
            kinks={"equal rows": {"weight": 0.5}},
        ),
        Example(
            {
                "num_embeddings": 4,
                "embedding_dim": 2,
                "mode": "sum",
                "padding_idx": 1,
                "include_last_offset": True,
            },
            (np.array([3, 1, 0, 3]), np.array([0, 1, 4]), (4,)),
        ),
    )

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Array | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError(
                f"EmbeddingBag: mode must be one of {', '.join(MODES)}, received {mode!r}."
            )
        if mode == "max" and (scale_grad_by_freq or sparse):
            name = "scale_grad_by_freq" if scale_grad_by_freq else "sparse"
            raise ValueError(f"EmbeddingBag: mode='max' has no {name}, as in torch. Leave it out.")
        self.mode, self.include_last_offset = mode, include_last_offset
        self._set_table(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq,
            sparse, _weight,
        )  # fmt: skip

    def forward(  # type: ignore[override]
        self, input: Array, offsets: Array | None = None, per_sample_weights: Array | None = None
    ) -> tuple[Array, BagCache]:
        """Return one row for each bag, (B, D)."""
        self._check_call(input, offsets, per_sample_weights)
        starts, index = self._starts(input, offsets), input.reshape(-1)
        weight, long = self._rescaled(index)
        bag = np.searchsorted(starts, np.arange(len(index)), side="right") - 1
        kept = index != self.padding_idx
        index, bag = index[kept], bag[kept]
        rows, share, winner = weight[index], None, None  # (n, D)
        if self.mode == "max":
            y, winner = _largest(rows, bag, len(starts))
        else:
            if per_sample_weights is not None:
                share = per_sample_weights.reshape(-1)[kept]
                rows = rows * share[:, None]
            y = summed(rows, bag, len(starts), by_count=self.mode == "mean")
        return y, BagCache(tuple(input.shape), kept, index, bag, share, winner, weight, long)

    def backward(
        self, grad_output: Array, cache: BagCache
    ) -> tuple[tuple[None, None, Array | None], Arrays]:
        r"""Chain rule through y_b = Σ_n p_n W[x_n] over the look-ups n in bag b.

        Shapes: x (n,), W (V, D), p (n,), y and dy (B, D); g_n is the bag that look-up n is in.
        Index form:  y_bd = Σ_n [g_n = b] p_n W_{x_n,d}
            dW_vd = Σ_n [x_n = v] p_n dy_{g_n,d}       each look-up hands its bag's gradient back
            dp_n  = Σ_d dy_{g_n,d} W_{x_n,d}
        Matrix form:  y = G P E W with G_bn = [g_n = b], P = diag(p), E_nv = [x_n = v]
            dW = Eᵀ P Gᵀ dy                            as for an Embedding whose gradient is P Gᵀ dy
        mean:  p_n = 1 / #{m: g_m = g_n}.
        max:   p_nd = [n = argmax_m W_{x_m,d} over the bag], column by column, the first of equals.
        A look-up of padding_idx is in no bag: its dp is 0, and no mean counts it.
        scale_grad_by_freq: dW_v / #{n: x_n = v}: then it is no derivative of the loss any more.
        max_norm: W here is the table after its long rows were cut, as in Embedding.

        Torch: nn.EmbeddingBag, the same conventions.
        Source: Joulin et al., Bag of Tricks for Efficient Text Classification (2017), section 2.
        """
        weights = None
        if cache.share is not None:
            at = (grad_output[cache.bag] * cache.weight[cache.index]).sum(axis=1)
            weights = np.zeros_like(at, shape=cache.kept.shape)
            weights[cache.kept] = at
            weights = weights.reshape(cache.shape)
        return (None, None, weights), self.grad_params(grad_output, cache)

    def grad_params(self, grad_output: Array, cache: BagCache) -> Arrays:
        """Return dW, the sum of what the bags hand to every row."""
        rows = grad_output[cache.bag]  # (n, D), a copy
        if cache.winner is not None:
            won = cache.winner[cache.bag] == np.arange(len(cache.bag))[:, None]
            rows = np.where(won, rows, 0)
        elif self.mode == "mean":
            rows /= np.bincount(cache.bag)[cache.bag][:, None]
        elif cache.share is not None:
            rows *= cache.share[:, None]
        return self._gradient(rows, cache.index)

    def decisions(self, cache: BagCache) -> Array | None:
        """Return which look-up each maximum is, and which rows were too long."""
        found = [part.ravel() for part in (cache.winner, cache.long) if part is not None]
        return np.concatenate(found) if found else None

    def variants(self, cache: BagCache) -> tuple[str, ...]:
        """Return what an equation depends on besides the mode."""
        holds = {
            "weighted": cache.share is not None,
            "by frequency": self.scale_grad_by_freq,
            "rows": len(cache.shape) == 2 and cache.kept.all(),
            "full": cache.winner is not None and len(np.unique(cache.bag)) == len(cache.winner),
        }
        return tuple(name for name, true in holds.items() if true)

    def extra_repr(self) -> str:
        usual = {"max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False}
        shown = self._options(usual) + f", mode={self.mode!r}"
        return shown + ("" if self.padding_idx is None else f", padding_idx={self.padding_idx}")

    def _starts(self, x: Array, offsets: Array | None) -> Array:
        """Return where each bag begins among the look-ups in a row."""
        if offsets is None:
            return np.arange(len(x)) * x.shape[1]
        return offsets[:-1] if self.include_last_offset else offsets

    def _check_call(self, x: Array, offsets: Array | None, weights: Array | None) -> None:
        """Refuse what does not fit: TypeError, IndexError or ValueError."""
        self._check(x)
        if weights is not None and (self.mode != "sum" or weights.shape != x.shape):
            raise ValueError(
                "EmbeddingBag: per_sample_weights belong to mode='sum' and have the input's shape "
                f"{tuple(x.shape)}, received {tuple(weights.shape)} and mode={self.mode!r}."
            )
        rows = x.ndim == 2 and offsets is None and x.shape[1] > 0
        if not rows and (x.ndim != 1 or offsets is None or offsets.ndim != 1):
            shape = None if offsets is None else tuple(offsets.shape)
            raise ValueError(
                "EmbeddingBag: the input must be (B, N), N not 0, without offsets, or (n,) with "
                f"offsets (B,), received {tuple(x.shape)} and offsets {shape}."
            )
        if offsets is not None:
            self._check_offsets(offsets, len(x))

    def _check_offsets(self, offsets: Array, length: int) -> None:
        if offsets.dtype.kind != "i":
            raise TypeError(
                f"EmbeddingBag: offsets must hold signed integers, received {offsets.dtype}."
            )
        last = self.include_last_offset
        ends = offsets if last else np.append(offsets, length)
        if len(ends) < 2 or ends[0] or ends[-1] != length or (np.diff(ends) < 0).any():
            raise ValueError(
                f"EmbeddingBag: offsets must begin with 0, not fall, and "
                f"{'end with' if last else 'not pass'} the input's length {length}, received "
                f"{offsets.tolist()}. Torch reads others in one way in float32 and in another in "
                "float64."
            )


def _largest(rows: Array, bag: Array, count: int) -> tuple[Array, Array]:
    """Return the largest number of each bag (B, D), 0 of an empty one, and which look-up it is.

    Place by place in all bags, the first of equals; a NaN is passed over unless it comes first.
    """
    places = np.arange(len(bag)) - np.searchsorted(bag, bag)  # of each look-up in its bag
    best = np.zeros_like(rows, shape=(count, rows.shape[1]))
    winner = np.zeros(best.shape, int)
    for place in np.unique(places):
        at = np.flatnonzero(places == place)
        into = bag[at]
        larger = (rows[at] > best[into]) | (place == 0)
        best[into] = np.where(larger, rows[at], best[into])
        winner[into] = np.where(larger, at[:, None], winner[into])
    return best, winner
