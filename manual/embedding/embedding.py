"""Embedding: a table of vectors, looked up by integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.layer import Array, Arrays, Layer

__all__ = ["Embedding"]

OCCURRENCES = "\nwhere k[v] = sum(n, (x[n] == v))"


class EmbeddingCache(NamedTuple):
    index: Array


class Embedding(Layer):
    """Rows of a table, picked by integers: y = W[x].

    Args:
        num_embeddings: V, the number of rows.
        embedding_dim: D, the length of a row.
        padding_idx: the row whose gradient is 0, so that it is never trained; counted from the end
            if negative.
        max_norm: not written yet: torch rescales the rows that are looked up, in place.
        norm_type: belongs to max_norm.
        scale_grad_by_freq: whether a row's gradient is divided by how often it was looked up.
        sparse: not written yet: the gradient is an array of W's shape.

    Parameter, in torch's layout: `weight` W (V, D). Zero until it is set.

    Raises:
        ValueError: padding_idx is no row, or max_norm or sparse is asked for.
        TypeError: the input does not hold signed integers.
        IndexError: an integer is no row; negative ones are none, as in torch.
    """

    equations: ClassVar[Mapping[str, str]] = {
        "output": "y[n,d] = W[x[n],d]",
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
    symbols: ClassVar[Mapping[str, str]] = {"W": "weight", "p": "padding_idx"}
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
    ) -> None:
        _check_default("max_norm", max_norm, max_norm is not None, "None")
        _check_default("norm_type", norm_type, norm_type != 2, "2.0: it belongs to max_norm")
        _check_default("sparse", sparse, sparse, "False: the gradient is an array of W's shape")
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(
                f"Embedding: padding_idx must be one of the {num_embeddings} rows, from "
                f"{-num_embeddings} to {num_embeddings - 1}, received {padding_idx}."
            )
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.scale_grad_by_freq = scale_grad_by_freq
        self.params = {"weight": np.zeros((num_embeddings, embedding_dim))}

    def forward(self, x: Array) -> tuple[Array, EmbeddingCache]:  # type: ignore[override]
        """Return W[x], shape (*, D) for integers x of shape (*)."""
        self._check(x)
        return np.take(self.params["weight"], x, axis=0), EmbeddingCache(x)

    def backward(self, grad_output: Array, cache: EmbeddingCache) -> tuple[tuple[None], Arrays]:
        r"""Chain rule through y = W[x]; an integer has no gradient.

        Shapes: x (N,), W (V, D), y and dy (N, D); any leading axes count as N.
        Index form:  y_nd = W_{x_n,d} = Σ_v E_nv W_vd with E_nv = [x_n = v], one 1 a row
            dW_vd = Σ_n E_nv dy_nd = Σ_{n: x_n = v} dy_nd   (a row adds up over all its look-ups)
        Matrix form:  y = E W   ->   dW = Eᵀ dy, as for a Linear layer without bias; E is never
        built, the rows of dy are grouped by their v instead.
        padding_idx p: dW_p = 0, by convention; W_p is a constant that forward still reads.
        scale_grad_by_freq: dW_v / #{n: x_n = v}: then it is no derivative of the loss any more.

        Torch: nn.Embedding, the same conventions.
        Source: Bengio et al., A Neural Probabilistic Language Model (2003), section 3.1, C(i).
        """
        return (None,), self.grad_params(grad_output, cache)

    def grad_params(self, grad_output: Array, cache: EmbeddingCache) -> Arrays:
        """Return dW, the sum of dy over the look-ups of every row.

        Rows that were looked up equally often are summed together: at most √(2 N) sums, in which
        every row of dy is read once, in its order.
        """
        dy = grad_output.reshape(-1, self.embedding_dim)  # (N, D)
        grad = np.zeros_like(dy, shape=(self.num_embeddings, self.embedding_dim))
        index = cache.index.reshape(-1)
        order = np.argsort(index, kind="stable")
        rows = index[order]
        starts = np.flatnonzero(np.concatenate((rows[:1] >= 0, rows[1:] != rows[:-1])))
        counts = np.diff(starts, append=len(rows))
        for count in np.unique(counts):
            first = starts[counts == count]
            picked = dy[order[first[:, None] + np.arange(count)]]  # (rows, count, D)
            summed = picked.sum(axis=1) if count > 1 else picked[:, 0]
            grad[rows[first]] = summed / int(count) if self.scale_grad_by_freq else summed
        if self.padding_idx is not None:
            grad[self.padding_idx] = 0
        return {"weight": grad}

    def variants(self, cache: EmbeddingCache) -> tuple[str, ...]:
        """Return which conventions change the gradient."""
        padding = () if self.padding_idx is None else ("padding",)
        return (*padding, "by frequency") if self.scale_grad_by_freq else padding

    def extra_repr(self) -> str:
        shown = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            shown += f", padding_idx={self.padding_idx}"
        return shown + (", scale_grad_by_freq=True" if self.scale_grad_by_freq else "")

    def _check(self, x: Array) -> None:
        if x.dtype.kind != "i":
            raise TypeError(
                f"Embedding: the input must hold signed integers, the rows to look up, received "
                f"{x.dtype}. Cast it: x.astype(np.int64)."
            )
        if x.size and not 0 <= x.min() <= x.max() < self.num_embeddings:
            wrong = x.min() if x.min() < 0 else x.max()
            raise IndexError(
                f"Embedding: every integer must be one of the rows 0 to {self.num_embeddings - 1}, "
                f"received {wrong}. Set num_embeddings to the size of the vocabulary."
            )


def _check_default(name: str, value: object, asked: bool, only: str) -> None:
    if asked:
        raise ValueError(
            f"Embedding: {name}={value!r} is not written yet; only {only} is. Leave it out."
        )
