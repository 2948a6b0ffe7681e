"""A product of matrices in groups of rows: each group has a matrix of its own (experts)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer

__all__ = ["GroupedMatMulGate"]


class GroupedCache(NamedTuple):
    a: Array
    b: Array


class GroupedMatMulGate(Layer):
    """C = A B_g, rows in groups: the rows of a group are multiplied by that group's matrix.

    Args:
        ends: where each group's rows end; the first begins at 0, an empty one ends where it begins.

    Inputs: `a` A (M, K), `b` B (G, K, N). Output: C (M, N); rows after the last group are 0.

    Raises:
        ValueError: there is no group; the shapes do not fit, or the groups end beyond the last row
            or before they begin.
    """

    examples = (
        Example({"ends": (2, 3, 5)}, ((5, 3), (3, 3, 2)), exact=True),
        Example({"ends": (0, 2, 2)}, ((3, 2), (3, 2, 2)), exact=True),
    )

    def __init__(self, ends: Sequence[int]) -> None:
        self.ends = tuple(int(end) for end in ends)
        falls = any(end < start for start, end in zip((0, *self.ends), self.ends, strict=False))
        if not self.ends or falls:
            raise ValueError(
                "GroupedMatMulGate: ends must be one or more whole numbers from 0 on that do not "
                f"fall, received {self.ends}."
            )

    def forward(self, a: Array, b: Array) -> tuple[Array, GroupedCache]:  # type: ignore[override]
        self._check(a.shape, b.shape)
        parts = [a[rows] @ b[g] for g, rows in self._groups()]
        rest = np.zeros_like(a, shape=(a.shape[0] - self.ends[-1], b.shape[2]))
        return np.concatenate([*parts, rest]), GroupedCache(a, b)

    def backward(
        self, grad_output: Array, cache: GroupedCache
    ) -> tuple[tuple[Array, Array], Arrays]:
        r"""Chain rule through each group's own product.

        Shapes: A (M, K), B (G, K, N), dC (M, N); g(m) is the group of row m.
        Index form:  c_mn = Σ_k a_mk b_g(m),kn
            da_mk  = Σ_n dc_mn b_g(m),kn               ->  dA = dC B_gᵀ, group by group
            db_gkn = Σ_m a_mk dc_mn [g(m) = g]         ->  dB_g = Aᵀ dC over the rows of group g
        A group without rows gets no gradient: zeros.
        Torch: nn.functional.grouped_mm with `offs`, for a matrix of rows and a stack of matrices.
        Source: the matrix product, as in MatMulGate; Gale, Narayanan, Young, Zaharia, MegaBlocks:
        Efficient Sparse Training with Mixture-of-Experts (2022).
        """
        (a, b), dc = cache, grad_output
        da = [dc[rows] @ b[g].T for g, rows in self._groups()]
        da.append(np.zeros_like(a, shape=(a.shape[0] - self.ends[-1], a.shape[1])))
        db = [a[rows].T @ dc[rows] for _, rows in self._groups()]
        return (np.concatenate(da), np.stack(db)), {}

    def _groups(self) -> Iterator[tuple[int, slice]]:
        starts = (0, *self.ends)
        return ((g, slice(starts[g], end)) for g, end in enumerate(self.ends))

    def _check(self, a: tuple[int, ...], b: tuple[int, ...]) -> None:
        """Raise ValueError unless the rows can be multiplied in these groups."""
        if len(a) != 2 or len(b) != 3 or a[1] != b[1] or b[0] != len(self.ends):
            raise ValueError(
                f"GroupedMatMulGate: expected a (M, K) and b (G, K, N) with G = {len(self.ends)}, "
                f"received {a} and {b}."
            )
        if a[0] < self.ends[-1]:
            raise ValueError(
                f"GroupedMatMulGate: the groups end at row {self.ends[-1]}, received {a[0]} rows."
            )

    def extra_repr(self) -> str:
        return f"{self.ends}"
