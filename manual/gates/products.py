"""Gates that mix elements: the squared norm, the matrix product."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.activations.pointwise import InputCache
from manual.examples import Example
from manual.gates.broadcasting import summed_to
from manual.layer import Array, Arrays, Layer

__all__ = ["MatMulGate", "SquaredNormGate"]


class SquaredNormGate(Layer):
    """y = ‖x‖² = Σ of the squares of all elements of x."""

    equations = {"output": "y = sum(i, x[i]**2)", "grad_input": "dx[i] = 2 * dy * x[i]"}
    examples = (Example(),)

    def forward(self, x: Array) -> tuple[Array, InputCache]:  # type: ignore[override]
        return np.sum(x * x), InputCache(x)

    def backward(self, grad_output: Array, cache: InputCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = Σ_i x_i².

        Shapes: x (any), y and dy one number.
        ∂y/∂x_i = 2 x_i   ->   dx = 2 dy x
        Torch: x.square().sum().
        Source: CS231n lecture 4, vectorised example: f = ‖q‖², ∇_q f = 2q.
        """
        return (2 * grad_output * cache.x,), {}


class MatMulCache(NamedTuple):
    a: Array
    b: Array


class MatMulGate(Layer):
    """C = A B, the matrix product; a vector counts as a row on the left, as a column on the right.

    Raises:
        ValueError: an input is a number, or the inner sizes differ.
    """

    equations = {
        "output": "y[n,o] = sum(i, a[n,i] * b[i,o])",
        "output/row": "y[o] = sum(i, a[i] * b[i,o])",
        "output/column": "y[n] = sum(i, a[n,i] * b[i])",
        "output/row, column": "y = sum(i, a[i] * b[i])",
        "grad_a": "da[n,i] = sum(o, dy[n,o] * b[i,o])",
        "grad_a/row": "da[i] = sum(o, dy[o] * b[i,o])",
        "grad_a/column": "da[n,i] = dy[n] * b[i]",
        "grad_a/row, column": "da[i] = dy * b[i]",
        "grad_b": "db[i,o] = sum(n, a[n,i] * dy[n,o])",
        "grad_b/row": "db[i,o] = a[i] * dy[o]",
        "grad_b/column": "db[i] = sum(n, a[n,i] * dy[n])",
        "grad_b/row, column": "db[i] = dy * a[i]",
    }
    examples = (
        Example({}, ((3, 4), (4, 2))),
        Example({}, ((3, 4), (4,))),
        Example({}, ((4,), (4, 2))),
        Example({}, ((4,), (4,))),
        Example({}, ((2, 3, 4), (4, 2))),
    )

    def forward(self, a: Array, b: Array) -> tuple[Array, MatMulCache]:  # type: ignore[override]
        _check_inner(np.shape(a), np.shape(b))
        return a @ b, MatMulCache(a, b)

    def backward(
        self, grad_output: Array, cache: MatMulCache
    ) -> tuple[tuple[Array, Array], Arrays]:
        r"""Chain rule through C = A B.

        Shapes: A (M, K), B (K, N), dC (M, N); leading axes are a batch, and may broadcast.
        Index form:  c_mn = Σ_k a_mk b_kn
            da_mk = Σ_n dc_mn b_kn   ->  dA = dC Bᵀ     (n is summed: it must sit inside)
            db_kn = Σ_m a_mk dc_mn   ->  dB = Aᵀ dC     (m is summed)
        A gradient has its input's shape, which leaves no other way to multiply.
        Torch: torch.matmul.
        Source: CS231n lecture 4, vectorised example: ∇_x = Wᵀ ∇_q, ∇_W = ∇_q xᵀ.
        """
        (a, b), dc = cache, grad_output
        if np.ndim(a) == np.ndim(b) == 1:  # c = Σ_k a_k b_k, one number
            return (dc * b, dc * a), {}
        if np.ndim(a) == 1:
            a, dc = np.expand_dims(a, 0), np.expand_dims(dc, -2)  # (1, K), (1, N)
        if np.ndim(b) == 1:
            b, dc = np.expand_dims(b, 1), np.expand_dims(dc, -1)  # (K, 1), (M, 1)
        da = summed_to(dc @ b.swapaxes(-1, -2), a.shape)
        db = summed_to(a.swapaxes(-1, -2) @ dc, b.shape)
        return (da.reshape(cache.a.shape), db.reshape(cache.b.shape)), {}

    def variants(self, cache: MatMulCache) -> tuple[str, ...]:
        row, column = np.ndim(cache.a) == 1, np.ndim(cache.b) == 1
        return ("row",) * row + ("column",) * column


def _check_inner(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    """Raise ValueError unless the two shapes can be multiplied."""
    if not a or not b:
        raise ValueError(
            f"MatMulGate: the matrix product takes arrays, received shapes {a} and {b}. Use * to "
            "multiply by a number."
        )
    if a[-1] != b[max(len(b) - 2, 0)]:
        raise ValueError(
            f"MatMulGate: the inner sizes of A B must be equal, received shapes {a} and {b}. "
            "Exchange the factors, or give one of them transposed."
        )
