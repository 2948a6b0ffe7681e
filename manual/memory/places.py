"""What a head does at the places it looks at: MemoryRead, MemoryErase, MemoryAdd."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer

__all__ = ["MemoryAdd", "MemoryErase", "MemoryRead"]


def outer(weights: Array, row: Array) -> Array:
    """Return w_i r_j, (…, N, W)."""
    return np.expand_dims(weights, -1) * np.expand_dims(row, -2)


def over_rows(matrix: Array, row: Array) -> Array:
    """Return Σ_j X_ij r_j, (…, N)."""
    return np.squeeze(matrix @ np.expand_dims(row, -1), axis=-1)


def over_places(matrix: Array, weights: Array) -> Array:
    """Return Σ_i w_i X_ij, (…, W)."""
    return np.squeeze(np.expand_dims(weights, -2) @ matrix, axis=-2)


def check_places(name: str, memory: Array, weights: Array, row: Array | None = None) -> None:
    """Raise ValueError unless the weighting has one number a place, the row one for each column."""
    shape = tuple(memory.shape)
    found = [tuple(x.shape) for x in (weights, row) if x is not None]
    if len(shape) < 2 or found != [shape[:-1], (*shape[:-2], shape[-1])][: len(found)]:
        wanted = "a memory (…, N, W) and weights (…, N)" + (
            ", a row (…, W)" if row is not None else ""
        )
        raise ValueError(
            f"{name}: takes {wanted}, received {', '.join(map(str, (shape, *found)))}. All leading "
            "axes must be the same."
        )


class ReadCache(NamedTuple):
    memory: Array
    weights: Array


class MemoryRead(Layer):
    """What a head reads: the rows of a memory, weighted and added up, r = Σ_i w_i M_i.

    Inputs: `memory` M (…, N, W) of N places, `weights` w (…, N). Output: r (…, W).

    Raises:
        ValueError: the shapes do not fit.
    """

    equations = {
        "output": "y[b,j] = sum(i, w[b,i] * m[b,i,j])\nmatrix: r = wᵀ M",
        "grad_memory": "dm[b,i,j] = w[b,i] * dy[b,j]\nmatrix: ∂L/∂M = w δᵀ",
        "grad_weights": "dw[b,i] = sum(j, m[b,i,j] * dy[b,j])\nmatrix: ∂L/∂w = M δ",
    }
    symbols = {"m": "memory", "w": "weights"}
    examples = (Example({}, ((2, 4, 3), (2, 4))), Example({}, ((3, 2), (3,))))

    def forward(self, memory: Array, weights: Array) -> tuple[Array, ReadCache]:  # type: ignore[override]
        check_places("MemoryRead", memory, weights)
        return over_places(memory, weights), ReadCache(memory, weights)

    def backward(self, grad_output: Array, cache: ReadCache) -> tuple[tuple[Array, Array], Arrays]:
        r"""Chain rule through r_j = Σ_i w_i M_ij, sample by sample.

        Shapes: M (…, N, W), w (…, N), r and dr (…, W).
            dM_ij = w_i dr_j          ->  dM = w drᵀ, an outer product
            dw_i  = Σ_j M_ij dr_j     ->  dw = M dr       (j is summed: it sits inside)
        Torch has no module for it: a batched matrix product.
        Source: Graves, Wayne, Danihelka, Neural Turing Machines (2014), equation 2.
        """
        memory, weights = cache
        return (outer(weights, grad_output), over_rows(memory, grad_output)), {}


class EraseCache(NamedTuple):
    memory: Array
    weights: Array
    erase: Array
    kept: Array  # 1 - w eᵀ (…, N, W)


class MemoryErase(Layer):
    """A memory after a head has erased from it: M'_ij = M_ij (1 - w_i e_j).

    Inputs: `memory` M (…, N, W), `weights` w (…, N), `erase` e (…, W) of numbers from 0 (keep) to
    1. Output: M' (…, N, W).

    Raises:
        ValueError: the shapes do not fit.
    """

    equations = {
        "output": "y[b,i,j] = m[b,i,j] * (1 - w[b,i] * e[b,j])\nmatrix: M′ = M ⊙ (1 − w eᵀ)",
        "grad_memory": "dm[b,i,j] = dy[b,i,j] * (1 - w[b,i] * e[b,j])",
        "grad_weights": "dw[b,i] = -sum(j, dy[b,i,j] * m[b,i,j] * e[b,j])",
        "grad_erase": "de[b,j] = -sum(i, dy[b,i,j] * m[b,i,j] * w[b,i])",
    }
    symbols = {"m": "memory", "w": "weights", "e": "erase"}
    examples = (Example({}, ((2, 4, 3), (2, 4), (2, 3))), Example({}, ((3, 2), (3,), (2,))))

    def forward(  # type: ignore[override]
        self, memory: Array, weights: Array, erase: Array
    ) -> tuple[Array, EraseCache]:
        check_places("MemoryErase", memory, weights, erase)
        kept = 1 - outer(weights, erase)
        return memory * kept, EraseCache(memory, weights, erase, kept)

    def backward(
        self, grad_output: Array, cache: EraseCache
    ) -> tuple[tuple[Array, Array, Array], Arrays]:
        r"""Chain rule through M'_ij = M_ij (1 - w_i e_j), sample by sample.

        Shapes: M, M', dM' (…, N, W), w (…, N), e (…, W).
            dM_ij = dM'_ij (1 - w_i e_j)
            dw_i  = Σ_j dM'_ij M_ij (-e_j)     ->  dw = -(dM' ⊙ M) e
            de_j  = Σ_i dM'_ij M_ij (-w_i)     ->  de = -(dM' ⊙ M)ᵀ w
        Torch has no module for it: products.
        Source: Graves, Wayne, Danihelka, Neural Turing Machines (2014), equation 3.
        """
        memory, weights, erase, kept = cache
        lost = -grad_output * memory  # of what w e takes away
        return (grad_output * kept, over_rows(lost, erase), over_places(lost, weights)), {}


class AddCache(NamedTuple):
    weights: Array
    add: Array


class MemoryAdd(Layer):
    """A memory after a head has added to it: M'_ij = M_ij + w_i a_j.

    Inputs: `memory` M (…, N, W), `weights` w (…, N), `add` a (…, W). Output: M' (…, N, W).

    Raises:
        ValueError: the shapes do not fit.
    """

    equations = {
        "output": "y[b,i,j] = m[b,i,j] + w[b,i] * a[b,j]\nmatrix: M′ = M + w aᵀ",
        "grad_memory": "dm[b,i,j] = dy[b,i,j]",
        "grad_weights": "dw[b,i] = sum(j, dy[b,i,j] * a[b,j])\nmatrix: ∂L/∂w = δ a",
        "grad_add": "da[b,j] = sum(i, dy[b,i,j] * w[b,i])\nmatrix: ∂L/∂a = δᵀ w",
    }
    symbols = {"m": "memory", "w": "weights", "a": "add"}
    examples = (Example({}, ((2, 4, 3), (2, 4), (2, 3))), Example({}, ((3, 2), (3,), (2,))))

    def forward(  # type: ignore[override]
        self, memory: Array, weights: Array, add: Array
    ) -> tuple[Array, AddCache]:
        check_places("MemoryAdd", memory, weights, add)
        return memory + outer(weights, add), AddCache(weights, add)

    def backward(
        self, grad_output: Array, cache: AddCache
    ) -> tuple[tuple[Array, Array, Array], Arrays]:
        r"""Chain rule through M'_ij = M_ij + w_i a_j, sample by sample.

        Shapes: M, M', dM' (…, N, W), w (…, N), a (…, W).
            dM_ij = dM'_ij
            dw_i  = Σ_j dM'_ij a_j     ->  dw = dM' a
            da_j  = Σ_i dM'_ij w_i     ->  da = dM'ᵀ w
        Torch has no module for it: torch.addr of each sample.
        Source: Graves, Wayne, Danihelka, Neural Turing Machines (2014), equation 4.
        """
        weights, add = cache
        return (grad_output, over_rows(grad_output, add), over_places(grad_output, weights)), {}
