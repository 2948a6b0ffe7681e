"""Embedding: a table of vectors, looked up by integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from manual.embedding.table import Table
from manual.examples import Draw, Example
from manual.layer import Array, Arrays

__all__ = ["Embedding"]

OCCURRENCES = "\nwhere k[v] = sum(n, (x[n] == v))"


class EmbeddingCache(NamedTuple):
    index: Array
    weight: Array  # the table that was read
    long: Array | None  # which of the rows that were looked up, in order, were rescaled


class Embedding(Table):
    """Rows of a table, picked by integers: y = W[x].

    Args:
        num_embeddings: V, the number of rows.
        embedding_dim: D, the length of a row.
        padding_idx: the row whose gradient is 0, so that it is never trained; counted from the end
            if negative.
        max_norm: the length to which rows that are looked up are cut: forward computes with the
            shorter rows, and `rewritten` returns the table that torch then holds.
        norm_type: p of the norm that is meant.
        scale_grad_by_freq: whether a row's gradient is divided by how often it was looked up.
        sparse: torch's gradient is a sparse tensor; here an array of W's shape, as always.
        _weight: W; zeros without it.

    Parameter, in torch's layout: `weight` W (V, D).

    Raises:
        ValueError: padding_idx is no row, or sparse and scale_grad_by_freq are both asked for.
        TypeError: the input does not hold signed integers.
        IndexError: an integer is no row; negative ones are none, as in torch.
    """

    equations: ClassVar[Mapping[str, str]] = {
        "output": "y[n,d] = W[x[n],d]",
        "output/max_norm": "y[n,d] = R[x[n],d]",
        "grad:weight": (
            "dW[v,d] = sum(n, x[n] == v, dy[n,d])\nmatrix: ∂L/∂W = Eᵀ δ, E_nv = [x_n = v]"
        ),
        "grad:weight/padding": "dW[v,d] = (v != p) * sum(n, x[n] == v, dy[n,d])",
        "grad:weight/by frequency": (
            "dW[v,d] = sum(n, x[n] == v, dy[n,d] / k[x[n]])" + OCCURRENCES
        ),
        "grad:weight/padding, by frequency": (
            "dW[v,d] = (v != p) * sum(n, x[n] == v, dy[n,d] / k[x[n]])" + OCCURRENCES
        ),
    }
    symbols: ClassVar[Mapping[str, str]] = {"W": "weight", "R": "cache.weight", "p": "padding_idx"}
    examples = (
        Example({"num_embeddings": 5, "embedding_dim": 3}, (Draw((2, 4), "integers", 0, 5),)),
        Example(
            {"num_embeddings": 4, "embedding_dim": 2}, (np.array([3, 1, 3, 3, 0, 1]),), exact=True
        ),  # row 2 is not looked up, rows 1 and 3 more than once
        Example(
            {"num_embeddings": 4, "embedding_dim": 2, "padding_idx": 1},
            (np.array([[1, 3, 1], [0, 3, 3]]),),
            convention=True,
        ),
        Example(
            {"num_embeddings": 4, "embedding_dim": 2, "padding_idx": -1},
            (np.array([3, 0, 3, 2, 0]),),
            convention=True,
        ),
        Example(
            {"num_embeddings": 4, "embedding_dim": 2, "scale_grad_by_freq": True},
            (np.array([[0, 2, 2], [2, 3, 0]]),),
            convention=True,
        ),
        Example(
            {
                "num_embeddings": 4,
                "embedding_dim": 2,
                "padding_idx": 2,
                "scale_grad_by_freq": True,
            },
            (np.array([[0, 2, 2], [2, 3, 0]]),),
            training=False,
            convention=True,
        ),
        Example({"num_embeddings": 3, "embedding_dim": 2}, (np.array(2),)),  # one row alone
        Example({"num_embeddings": 6, "embedding_dim": 1}, (Draw((2, 1, 3), "integers", 0, 6),)),
        Example(
            {"num_embeddings": 4, "embedding_dim": 3, "max_norm": 1.25},
            (np.array([[0, 2, 2], [2, 3, 0]]),),
            convention=True,
        ),
    )

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Array | None = None,
    ) -> None:
        self._set_table(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq,
            sparse, _weight,
        )  # fmt: skip

    def forward(self, x: Array) -> tuple[Array, EmbeddingCache]:  # type: ignore[override]
        """Return W[x], shape (*, D) for integers x of shape (*)."""
        self._check(x)
        weight, long = self._rescaled(x)
        return np.take(weight, x, axis=0), EmbeddingCache(x, weight, long)

    def backward(self, grad_output: Array, cache: EmbeddingCache) -> tuple[tuple[None], Arrays]:
        r"""Chain rule through y = W[x]; an integer has no gradient.

        Shapes: x (N,), W (V, D), y and dy (N, D); any leading axes count as N.
        Index form:  y_nd = W_{x_n,d} = Σ_v E_nv W_vd with E_nv = [x_n = v], one 1 a row
            dW_vd = Σ_n E_nv dy_nd = Σ_{n: x_n = v} dy_nd   (a row adds up over all its look-ups)
        Matrix form:  y = E W   ->   dW = Eᵀ dy, as for a Linear layer without bias; E is never
        built, the rows of dy are grouped by their v instead.
        padding_idx p: dW_p = 0, by convention; W_p is a constant that forward still reads.
        scale_grad_by_freq: dW_v / #{n: x_n = v}: then it is no derivative of the loss any more.
        max_norm: W here is the table after its long rows were cut, in place and outside the graph:
        the gradient is that of the new W, and says nothing of how the old one was cut.

        Torch: nn.Embedding, the same conventions.
        Source: Bengio et al., A Neural Probabilistic Language Model (2003), section 3.1, C(i).
        """
        return (None,), self.grad_params(grad_output, cache)

    def grad_params(self, grad_output: Array, cache: EmbeddingCache) -> Arrays:
        """Return dW, the sum of dy over the look-ups of every row."""
        index = cache.index.reshape(-1)
        return self._gradient(grad_output.reshape(len(index), self.embedding_dim), index)

    def decisions(self, cache: EmbeddingCache) -> Array | None:
        """Return which of the rows that were looked up were too long."""
        return cache.long

    def variants(self, cache: EmbeddingCache) -> tuple[str, ...]:
        """Return which conventions change the gradient."""
        padding = () if self.padding_idx is None else ("padding",)
        return (*padding, "by frequency") if self.scale_grad_by_freq else padding

    def extra_repr(self) -> str:
        usual = {
            "padding_idx": None, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False,
            "sparse": False,
        }  # fmt: skip
        return self._options(usual)
