"""Layers that move or mix features: Linear, Bilinear, Bias, Identity, Flatten."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer

__all__ = ["Bias", "Bilinear", "Flatten", "Identity", "Linear"]


class LinearCache(NamedTuple):
    x: Array


class Linear(Layer):
    r"""Affine map of the last axis: y = x Wᵀ + b.

    Args:
        in_features: I, the size of each input row.
        out_features: O, the size of each output row.
        bias: whether a vector b is added.

    Parameters, in torch's layout: `weight` W (O, I), `bias` b (O,). Zero until they are set.

    Raises:
        ValueError: the last axis of x is not `in_features` long.
    """

    equations = {
        "output": "y[n,o] = sum(i, x[n,i] * W[o,i]) + b[o]\nmatrix: y = x Wᵀ + b",
        "output/no bias": "y[n,o] = sum(i, x[n,i] * W[o,i])\nmatrix: y = x Wᵀ",
        "grad_input": "dx[n,i] = sum(o, dy[n,o] * W[o,i])\nmatrix: ∂L/∂x = δ W",
        "grad:weight": "dW[o,i] = sum(n, dy[n,o] * x[n,i])\nmatrix: ∂L/∂W = δᵀ x",
        "grad:bias": "db[o] = sum(n, dy[n,o])\nmatrix: ∂L/∂b = Σ_n δ_n",
    }
    symbols = {"W": "weight", "b": "bias"}
    examples = (
        Example({"in_features": 4, "out_features": 3}, ((3, 4),), exact=True),
        Example({"in_features": 3, "out_features": 3}, ((3, 3),), exact=True),
        Example({"in_features": 3, "out_features": 5}, ((2, 4, 3),), exact=True),
        Example({"in_features": 3, "out_features": 5}, ((3,),), exact=True),
        Example({"in_features": 4, "out_features": 3, "bias": False}, ((3, 4),), exact=True),
        Example({"in_features": 3, "out_features": 5, "bias": False}, ((1, 3),), exact=True),
    )

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.in_features, self.out_features = in_features, out_features
        self.params = {"weight": np.zeros((out_features, in_features))}
        if bias:
            self.params["bias"] = np.zeros(out_features)

    def forward(self, x: Array) -> tuple[Array, LinearCache]:  # type: ignore[override]
        """Return x Wᵀ + b, shape (*, O) for x of shape (*, I)."""
        if x.shape[-1] != self.in_features:
            raise ValueError(
                f"Linear: the last axis of the input must be in_features = {self.in_features} "
                f"long, received shape {tuple(x.shape)}. Flatten the input, or set in_features "
                f"to {x.shape[-1]}."
            )
        y = x @ self.params["weight"].T
        if "bias" in self.params:
            y += self.params["bias"]  # y is ours: fresh from the product
        return y, LinearCache(x)

    def backward(self, grad_output: Array, cache: LinearCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = x Wᵀ + b.

        Shapes: x (N, I), W (O, I), b (O,), dy (N, O); any leading axes count as N.
        Index form:  y_no = Σ_i x_ni W_oi + b_o
            dx_ni = Σ_o dy_no W_oi   ->  dx = dy W      (o is summed: it is the shared index)
            dW_oi = Σ_n dy_no x_ni   ->  dW = dyᵀ x     (n is summed; o must come first: transpose)
            db_o  = Σ_n dy_no                           (b is used once per row)
        Torch: nn.Linear, same layout.
        Source: Nielsen, Neural Networks and Deep Learning, ch. 2, BP2 to BP4.
        """
        return (grad_output @ self.params["weight"],), self.grad_params(grad_output, cache)

    def grad_params(self, grad_output: Array, cache: LinearCache) -> Arrays:
        """Return dW = dyᵀ x and db = Σ_n dy."""
        dy = _rows(grad_output, self.out_features)  # (N, O)
        x = _rows(cache.x, self.in_features)  # (N, I)
        grads = {"weight": dy.T @ x}  # (O, I)
        if "bias" in self.params:
            grads["bias"] = dy.sum(axis=0)  # (O,)
        return grads

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={'bias' in self.params}"


def _rows(a: Array, width: int) -> Array:
    """Return (*, K) as (N, K)."""
    if a.ndim == 2:
        return a  # as it is: a small network's step would notice
    return a.reshape(math.prod(a.shape[:-1]), width)  # not -1, which knows no K = 0


class BilinearCache(NamedTuple):
    x1: Array  # (N, I)
    x2: Array  # (N, J)
    shape: tuple[int, ...]  # of the leading axes


class Bilinear(Layer):
    r"""Products of the features of two inputs: y_o = x₁ᵀ W_o x₂ + b_o.

    Args:
        in1_features, in2_features: I and J, the sizes of the rows of the inputs.
        out_features: O, the size of each output row.
        bias: whether a vector b is added.

    Parameters, in torch's layout: `weight` W (O, I, J), `bias` b (O,). Zero until they are set.

    Raises:
        ValueError: in1_features is below 1, or an input's last axis or the leading axes do not fit.
    """

    stacks = ("weight",)
    equations = {
        "output": "y[n,o] = sum(i, sum(j, u[n,i] * W[o,i,j] * v[n,j])) + b[o]",
        "output/no bias": "y[n,o] = sum(i, sum(j, u[n,i] * W[o,i,j] * v[n,j]))",
        "grad_x1": "dx[n,i] = sum(o, sum(j, dy[n,o] * W[o,i,j] * v[n,j]))",
        "grad_x2": "dx[n,j] = sum(o, sum(i, dy[n,o] * W[o,i,j] * u[n,i]))",
        "grad:weight": "dW[o,i,j] = sum(n, dy[n,o] * u[n,i] * v[n,j])",
        "grad:bias": "db[o] = sum(n, dy[n,o])",
    }
    symbols = {"u": "x1", "v": "x2", "W": "weight", "b": "bias"}
    examples = (
        Example(
            {"in1_features": 2, "in2_features": 3, "out_features": 4}, ((3, 2), (3, 3)), exact=True
        ),
        Example(
            {"in1_features": 3, "in2_features": 2, "out_features": 1, "bias": False},
            ((3,), (2,)),
            exact=True,
        ),
        Example(
            {"in1_features": 2, "in2_features": 2, "out_features": 3},
            ((2, 2, 2), (2, 2, 2)),
            exact=True,
        ),
    )

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True
    ) -> None:
        if in1_features < 1:
            raise ValueError(f"Bilinear: in1_features must be at least 1, received {in1_features}.")
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        self.params = {"weight": np.zeros((out_features, in1_features, in2_features))}
        if bias:
            self.params["bias"] = np.zeros(out_features)

    def forward(self, x1: Array, x2: Array) -> tuple[Array, BilinearCache]:  # type: ignore[override]
        """Return y, shape (*, O) for inputs of shapes (*, I) and (*, J)."""
        self._check(tuple(x1.shape), tuple(x2.shape))
        shape = tuple(x1.shape[:-1])
        x1, x2 = x1.reshape(-1, self.in1_features), x2.reshape(-1, self.in2_features)
        y = ((x1 @ self.params["weight"]) * x2).sum(axis=-1).T  # (O, N, J) -> (N, O)
        if "bias" in self.params:
            y = y + self.params["bias"]
        return y.reshape(*shape, self.out_features), BilinearCache(x1, x2, shape)

    def _check(self, one: tuple[int, ...], two: tuple[int, ...]) -> None:
        wanted = self.in1_features, self.in2_features
        if not one or not two or (one[-1], two[-1]) != wanted or one[:-1] != two[:-1]:
            raise ValueError(
                f"Bilinear: the last axes of the inputs must be in1_features = {wanted[0]} and "
                f"in2_features = {wanted[1]} long and the other axes the same, received shapes "
                f"{one} and {two}."
            )

    def backward(
        self, grad_output: Array, cache: BilinearCache
    ) -> tuple[tuple[Array, Array], Arrays]:
        r"""Chain rule through y_no = Σ_ij u_ni W_oij v_nj + b_o, with u = x₁, v = x₂.

        Shapes: u (N, I), v (N, J), W (O, I, J), b (O,), dy (N, O); leading axes count as N.
            du_ni  = Σ_oj dy_no W_oij v_nj   ->  du = Σ_o (dy_o v) W_oᵀ
            dv_nj  = Σ_oi dy_no u_ni W_oij   ->  dv = Σ_o (dy_o u) W_o
            dW_oij = Σ_n  dy_no u_ni v_nj    ->  dW_o = (dy_o u)ᵀ v
            db_o   = Σ_n  dy_no
        Torch: nn.Bilinear, same layout.
        Source: Tenenbaum, Freeman, Separating Style and Content with Bilinear Models (2000).
        """
        w = self.params["weight"]
        dy = self._columns(grad_output)  # (O, N, 1)
        du = ((dy * cache.x2) @ w.swapaxes(1, 2)).sum(axis=0)  # (N, I)
        dv = ((dy * cache.x1) @ w).sum(axis=0)  # (N, J)
        n, i, j = cache.shape, self.in1_features, self.in2_features
        shaped = du.reshape(*n, i), dv.reshape(*n, j)
        return shaped, self.grad_params(grad_output, cache)

    def grad_params(self, grad_output: Array, cache: BilinearCache) -> Arrays:
        """Return dW_o = (dy_o u)ᵀ v and db = Σ_n dy."""
        dy = self._columns(grad_output)  # (O, N, 1)
        grads = {"weight": (dy * cache.x1).swapaxes(1, 2) @ cache.x2}  # (O, I, J)
        if "bias" in self.params:
            grads["bias"] = grad_output.reshape(-1, self.out_features).sum(axis=0)  # (O,)
        return grads

    def _columns(self, grad_output: Array) -> Array:
        return np.expand_dims(grad_output.reshape(-1, self.out_features).T, -1)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={'bias' in self.params}"
        )


class NoCache(NamedTuple):
    """Nothing is needed for backward."""


class Bias(Layer):
    """A learned number added to each channel: y = x + b.

    Args:
        num_features: C, how many channels.
        dim: the axis of the channels.

    Parameters: `bias` b (C,). Zero until it is set.

    Raises:
        ValueError: the input has no such axis, or it is not `num_features` long.
    """

    equations = {
        "output": "y[n,c] = x[n,c] + b[c]",
        "grad_input": "dx[n,c] = dy[n,c]",
        "grad:bias": "db[c] = sum(n, dy[n,c])",
    }
    symbols = {"b": "bias", "c": "dim"}
    examples = (
        Example({"num_features": 4}, ((3, 4),), exact=True),
        Example({"num_features": 3}, ((2, 3, 2),), exact=True),
        Example({"num_features": 2, "dim": -1}, ((3, 1, 2),), exact=True),
    )

    def __init__(self, num_features: int, dim: int = 1) -> None:
        self.num_features, self.dim = num_features, dim
        self.params = {"bias": np.zeros(num_features)}

    def forward(self, x: Array) -> tuple[Array, NoCache]:  # type: ignore[override]
        axes = x.ndim
        if not -axes <= self.dim < axes or x.shape[self.dim] != self.num_features:
            raise ValueError(
                f"Bias: axis {self.dim} of the input must be num_features = {self.num_features} "
                f"long, received shape {tuple(x.shape)}."
            )
        behind = axes - 1 - self.dim % axes
        return x + self.params["bias"].reshape(-1, *[1] * behind), NoCache()

    def backward(self, grad_output: Array, cache: NoCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_nc = x_nc + b_c, where n stands for all axes but the channels'.

        ∂y_nc/∂x_nc = 1   ->   dx = dy
        ∂y_nc/∂b_c = 1    ->   db_c = Σ_n dy_nc   (b_c is used by all elements of its channel)
        Torch has no module for it: x + b, broadcast.
        Source: Caffe's layer Bias; Nielsen, Neural Networks and Deep Learning, ch. 2, BP3.
        """
        return (grad_output,), self.grad_params(grad_output, cache)

    def grad_params(self, grad_output: Array, cache: NoCache) -> Arrays:
        """Return db, the sum over all axes but the channels'."""
        channel = self.dim % grad_output.ndim
        axes = tuple(axis for axis in range(grad_output.ndim) if axis != channel)
        return {"bias": grad_output.sum(axis=axes)}

    def extra_repr(self) -> str:
        return f"{self.num_features}, dim={self.dim}"


class Identity(Layer):
    """y = x, so dx = dy. Torch: nn.Identity."""

    equations = {"output": "y[i] = x[i]", "grad_input": "dx[i] = dy[i]"}
    examples = (Example({}, ((3, 4),), exact=True),)

    def forward(self, x: Array) -> tuple[Array, NoCache]:  # type: ignore[override]
        return x, NoCache()

    def backward(self, grad_output: Array, cache: NoCache) -> tuple[tuple[Array], Arrays]:
        return (grad_output,), {}


class FlattenCache(NamedTuple):
    shape: tuple[int, ...]


class Flatten(Layer):
    """Merge the axes start_dim … end_dim into one; a renaming of indices.

    Every y element is one x element, so dx is dy folded back into x's shape.
    Torch: nn.Flatten, same defaults (the batch axis stays); of a scalar it makes a row of one.

    Raises:
        ValueError: the input has no such axis, or start_dim lies behind end_dim.
    """

    equations = {"output": "y[j] = x[fold(j)]", "grad_input": "dx[i] = dy[fold(i)]"}
    examples = (
        Example({}, ((2, 3, 2),), exact=True),
        Example({}, ((3, 4),), exact=True),
        *(
            Example({"start_dim": start, "end_dim": end}, ((2, 3, 4, 5),), exact=True)
            for start, end in ((1, -1), (0, -1), (1, 2), (-3, -2), (2, 2))
        ),
    )

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Array) -> tuple[Array, FlattenCache]:  # type: ignore[override]
        shape = tuple(x.shape)
        axes = max(len(shape), 1)  # a scalar counts as a row of one
        for name, dim in (("start_dim", self.start_dim), ("end_dim", self.end_dim)):
            if not -axes <= dim < axes:
                raise ValueError(
                    f"Flatten: {name} = {dim} is no axis of an input of shape {shape}."
                )
        start, end = self.start_dim % axes, self.end_dim % axes
        if start > end:
            raise ValueError(
                f"Flatten: start_dim = {self.start_dim} lies behind end_dim = {self.end_dim} in an "
                f"input of shape {shape}."
            )
        merged = math.prod(shape[start : end + 1])
        return x.reshape(*shape[:start], merged, *shape[end + 1 :]), FlattenCache(shape)

    def backward(self, grad_output: Array, cache: FlattenCache) -> tuple[tuple[Array], Arrays]:
        return (np.reshape(grad_output, cache.shape),), {}

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
