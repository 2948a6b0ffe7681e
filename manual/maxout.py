"""Maxout: a unit that learns its own activation, as the largest of several affine maps."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer

__all__ = ["Maxout"]


FIRST = np.array([[1.0, 2.0, 3.0, 5.0], [5.0, 3.0, 2.0, 1.0]])
MEET = np.stack([FIRST, np.roll(FIRST, 1, axis=1), FIRST - 1])  # two maps meet at 1, one is below
TIED = {"x": 1.0, "bias": 0.0}


class MaxoutCache(NamedTuple):
    x: Array
    winner: Array


class Maxout(Layer):
    r"""Largest of num_pieces affine maps, unit by unit: y_o = max_k (W_k x + b_k)_o.

    Args:
        in_features: I, the size of each input row.
        out_features: O, the number of units.
        num_pieces: K, the affine maps that compete in each unit.
        bias: whether each map adds a vector b_k.

    Parameters: `weight` W (K, O, I), `bias` b (K, O). Zero until they are set.

    Raises:
        ValueError: the last axis of x is not `in_features` long, or `num_pieces` is below 1.
    """

    stacks = ("weight",)
    equations = {
        "output": "y[n,o] = largest(k, sum(i, x[n,i] * W[k,o,i]) + b[k,o])",
        "output/no bias": "y[n,o] = largest(k, sum(i, x[n,i] * W[k,o,i]))",
        "grad_input": "dx[n,i] = sum(o, dy[n,o] * W[w[n,o],o,i])",
        "grad:weight": "dW[k,o,i] = sum(n, dy[n,o] * (w[n,o] == k) * x[n,i])",
        "grad:bias": "db[k,o] = sum(n, dy[n,o] * (w[n,o] == k))",
    }
    symbols = {"W": "weight", "b": "bias", "w": "cache.winner"}
    examples = (
        Example(
            {"in_features": 4, "out_features": 2},
            ((1, 4),),
            kinks={"pieces tied": TIED | {"weight": MEET[:2]}},
            exact=True,
        ),
        Example(
            {"in_features": 4, "out_features": 2, "num_pieces": 3},
            ((1, 4),),
            kinks={"pieces tied": TIED | {"weight": MEET}},
            exact=True,
        ),
        Example({"in_features": 3, "out_features": 3}, ((2, 4, 3),), exact=True),
        Example({"in_features": 5, "out_features": 4, "num_pieces": 3}, ((5,),), exact=True),
        Example(
            {"in_features": 5, "out_features": 4, "num_pieces": 3, "bias": False},
            ((6, 5),),
            exact=True,
        ),
    )

    winner: Array | None = None  # given winners; None lets the largest win

    def __init__(
        self, in_features: int, out_features: int, num_pieces: int = 2, bias: bool = True
    ) -> None:
        if num_pieces < 1:
            raise ValueError(f"Maxout: num_pieces must be at least 1, received {num_pieces}.")
        self.in_features, self.out_features = in_features, out_features
        self.num_pieces = num_pieces
        self.params = {"weight": np.zeros((num_pieces, out_features, in_features))}
        if bias:
            self.params["bias"] = np.zeros((num_pieces, out_features))

    def forward(self, x: Array) -> tuple[Array, MaxoutCache]:  # type: ignore[override]
        """Return max_k (x W_kᵀ + b_k), shape (*, O) for x of shape (*, I)."""
        z = self._pieces(x)  # (*, K, O)
        if self.winner is None:
            return np.max(z, axis=-2), MaxoutCache(x, np.argmax(z, axis=-2))  # each (*, O)
        index = np.expand_dims(self.winner, -2)
        y = np.squeeze(np.take_along_axis(z, index, axis=-2), axis=-2)
        return y, MaxoutCache(x, self.winner)

    def backward(self, grad_output: Array, cache: MaxoutCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through z_k = x W_kᵀ + b_k and y = max_k z_k.

        Shapes: x (N, I), W (K, O, I), b (K, O), z and dz (N, K, O), dy (N, O); leading axes are N.
        Index form:  z_nko = Σ_i x_ni W_koi + b_ko,   y_no = max_k z_nko
            dz_nko = dy_no where k is the winner of unit o in row n, else 0
            dx_ni  = Σ_ko dz_nko W_koi   ->  dx = dz W     (W as one (K·O, I) matrix, dz (N, K·O))
            dW_koi = Σ_n dz_nko x_ni     ->  dW = dzᵀ x
            db_ko  = Σ_n dz_nko
        Torch has no such module; `max(dim)` and this layer both let the first of equals win.
        Source: Goodfellow et al., Maxout Networks (2013), section 3.
        """
        dz = self._grad_pieces(grad_output, cache)  # (N, K·O)
        dx = dz @ self._matrix()  # (N, I)
        return (dx.reshape(*cache.x.shape),), self._grads(dz, cache)

    def grad_params(self, grad_output: Array, cache: MaxoutCache) -> Arrays:
        """Return dW = dzᵀ x and db = Σ_n dz."""
        return self._grads(self._grad_pieces(grad_output, cache), cache)

    def settled(self, decisions: Array | None) -> Self:
        """Return this layer with its winners given: near a tie, rounding inside it decides.

        None lets the largest win again.
        """
        return self._twin(winner=decisions)

    def decisions(self, cache: MaxoutCache) -> Array:
        """Return which piece won in each unit."""
        return cache.winner

    def _matrix(self) -> Array:
        return self.params["weight"].reshape(-1, self.in_features)  # (K·O, I)

    def _pieces(self, x: Array) -> Array:
        if x.shape[-1] != self.in_features:
            raise ValueError(
                f"Maxout: the last axis of the input must be in_features = {self.in_features} "
                f"long, received shape {tuple(x.shape)}. Flatten the input, or set in_features "
                f"to {x.shape[-1]}."
            )
        z = x @ self._matrix().T  # (*, K·O)
        if "bias" in self.params:
            z += self.params["bias"].reshape(-1)
        return z.reshape(*x.shape[:-1], self.num_pieces, self.out_features)

    def _grad_pieces(self, grad_output: Array, cache: MaxoutCache) -> Array:
        k = np.arange(self.num_pieces).reshape(-1, 1)  # (K, 1)
        won = np.expand_dims(cache.winner, -2) == k  # (*, K, O)
        dz = np.expand_dims(grad_output, -2) * won
        return dz.reshape(-1, self.num_pieces * self.out_features)

    def _grads(self, dz: Array, cache: MaxoutCache) -> Arrays:
        dw = dz.T @ cache.x.reshape(-1, self.in_features)  # (K·O, I)
        grads = {"weight": dw.reshape(self.num_pieces, self.out_features, self.in_features)}
        if "bias" in self.params:
            grads["bias"] = dz.sum(axis=0).reshape(self.num_pieces, self.out_features)
        return grads

    def extra_repr(self) -> str:
        return (
            f"{self.in_features}, {self.out_features}, num_pieces={self.num_pieces}, "
            f"bias={'bias' in self.params}"
        )
