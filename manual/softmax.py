"""Softmax and its relatives on their own, with the full vector-Jacobian product.

In a classifier, CrossEntropyLoss on the raw scores does both steps at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.layer import Array, Arrays, Layer

__all__ = ["LogSoftmax", "Softmax", "Softmax2d", "Softmin"]

GROUP = "activation"  # how the registry lists these layers


EXAMPLES = (
    Example({"dim": -1}, (Draw((3, 4), high=2),), kinks={"tied maxima": {"x": 1.0}}),
    Example({"dim": 0}, (Draw((3, 4), high=2),), kinks={"tied maxima": {"x": 1.0}}),
    *(Example({"dim": dim}, (Draw((2, 3, 4), high=2),)) for dim in (-1, 0, 1)),
    Example({"dim": -1}, ((5,),)),
)


class SoftmaxCache(NamedTuple):
    y: Array
    dim: int | tuple[()]  # (): of a scalar, which has no axis


class AlongAxis(Layer):
    """A function of all elements along one axis.

    Args:
        dim: the axis. None leaves the choice to torch's old rule: 0 for inputs of 0, 1 or 3 axes,
            else 1; torch warns, as it may go.

    Raises:
        ValueError: the input has no such axis.
    """

    symbols = {"j": "cache.dim"}  # the axis that this index runs along

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def axis(self, x: Array) -> int | tuple[()]:
        """Return the axis that is meant, counted from the front; () for a scalar."""
        dim = self.dim
        if dim is None:
            dim = 0 if x.ndim in (0, 1, 3) else 1
        axes = max(x.ndim, 1)  # a scalar counts as a row of one
        if not -axes <= dim < axes:
            raise ValueError(
                f"{type(self).__name__}: dim = {dim} is no axis of an input of shape "
                f"{tuple(x.shape)}."
            )
        return dim % axes if x.ndim else ()

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


def below_largest(x: Array, axis: int | tuple[()]) -> Array:
    """Return x - m with m the largest element along the axis: no exponent is above 0."""
    return x - x.max(axis=axis, keepdims=True) if x.size else x


def softmax(x: Array, axis: int | tuple[()]) -> Array:
    """Return e^(x - m) / Σ e^(x - m) along an axis; m cancels."""
    y = np.exp(below_largest(x, axis))
    y /= y.sum(axis=axis, keepdims=True)
    return y


def pulled_back(grad_output: Array, cache: SoftmaxCache) -> Array:
    """Return y (dy - Σ dy y), the sum along the axis."""
    dx = grad_output * cache.y
    return cache.y * (grad_output - dx.sum(axis=cache.dim, keepdims=True))


class Softmax(AlongAxis):
    """Normalised exponentials: y_i = e^(x_i) / Σ_j e^(x_j) along an axis.

    Args:
        dim: the axis whose elements share the sum; best given, see `AlongAxis`.
    """

    equations = {
        "output": "y[n,j] = exp(x[n,j]) / sum(k, exp(x[n,k]))",
        "grad_input": (
            "dx[n,j] = y[n,j] * (dy[n,j] - sum(k, dy[n,k] * y[n,k]))\n"
            "where y[n,j] = exp(x[n,j]) / sum(k, exp(x[n,k]))\n"
            "matrix: ∂L/∂x = y ⊙ (δ − Σ δ ⊙ y)"
        ),
    }
    examples = (*EXAMPLES, *(Example({}, (shape,)) for shape in ((4,), (2, 3), (3, 2, 2))))

    def forward(self, x: Array) -> tuple[Array, SoftmaxCache]:  # type: ignore[override]
        axis = self.axis(x)
        y = softmax(x, axis)
        return y, SoftmaxCache(y, axis)

    def backward(self, grad_output: Array, cache: SoftmaxCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_i = e^(x_i) / s with s = Σ_k e^(x_k), along one axis.

        Every y_i sees every x_j. Quotient rule, with ds/dx_j = e^(x_j):
            ∂y_i/∂x_j = [i = j] e^(x_i) / s - e^(x_i) e^(x_j) / s² = y_i ([i = j] - y_j)
            dx_j = Σ_i dy_i y_i ([i = j] - y_j) = y_j (dy_j - Σ_i dy_i y_i)
        ->  dx = y · (dy - Σ dy · y), the sum along the axis: no Jacobian is ever built.
        With dy all ones, dx = 0: a shift of x changes nothing.
        Torch: nn.Softmax, where `dim` is best given.
        Source: Bridle, Probabilistic Interpretation of Feedforward Classification Networks (1990).
        """
        return (pulled_back(grad_output, cache),), {}


class Softmin(AlongAxis):
    """Softmax of -x: the smallest element gets the largest share.

    Args:
        dim: the axis whose elements share the sum; best given, see `AlongAxis`.
    """

    equations = {
        "output": "y[n,j] = exp(-x[n,j]) / sum(k, exp(-x[n,k]))",
        "grad_input": (
            "dx[n,j] = -y[n,j] * (dy[n,j] - sum(k, dy[n,k] * y[n,k]))\n"
            "where y[n,j] = exp(-x[n,j]) / sum(k, exp(-x[n,k]))"
        ),
    }
    examples = (EXAMPLES[0], Example({"dim": 0}, ((3, 2, 2),)), Example({}, ((2, 3),)))

    def forward(self, x: Array) -> tuple[Array, SoftmaxCache]:  # type: ignore[override]
        axis = self.axis(x)
        y = softmax(-x, axis)
        return y, SoftmaxCache(y, axis)

    def backward(self, grad_output: Array, cache: SoftmaxCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through z = -x and y = softmax(z).

        dz = y · (dy - Σ dy · y), as of Softmax   ->   dx = -dz
        Torch: nn.Softmin.
        Source: Softmax, above.
        """
        return (-pulled_back(grad_output, cache),), {}


class Softmax2d(Layer):
    """Softmax over the channels of images, pixel by pixel.

    Raises:
        ValueError: the input is neither (N, C, H, W) nor (C, H, W).
    """

    equations = Softmax.equations
    symbols = AlongAxis.symbols
    examples = (Example({}, ((2, 3, 1, 2),)), Example({}, ((3, 2, 2),)))

    def forward(self, x: Array) -> tuple[Array, SoftmaxCache]:  # type: ignore[override]
        if x.ndim not in (3, 4):
            raise ValueError(
                f"Softmax2d: the input must have shape (N, C, H, W) or (C, H, W), received "
                f"{tuple(x.shape)}. Softmax(dim) takes any shape."
            )
        axis = -3
        y = softmax(x, axis)
        return y, SoftmaxCache(y, axis)

    def backward(self, grad_output: Array, cache: SoftmaxCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_c = e^(x_c) / Σ_k e^(x_k), c the channel; pixels do not mix.

        Shapes: x, y, dy (N, C, H, W)   ->   dx = y · (dy - Σ_c dy · y), as of Softmax
        Torch: nn.Softmax2d.
        Source: Softmax, above; Long, Shelhamer, Darrell, Fully Convolutional Networks (2015).
        """
        return (pulled_back(grad_output, cache),), {}


class LogSoftmax(AlongAxis):
    """Logarithm of softmax: y_i = x_i - log Σ_j e^(x_j) along an axis.

    Args:
        dim: the axis of the sum; best given, see `AlongAxis`.
    """

    equations = {
        "output": "y[n,j] = x[n,j] - log(sum(k, exp(x[n,k])))",
        "grad_input": (
            "dx[n,j] = dy[n,j] - p[n,j] * sum(k, dy[n,k])\n"
            "where p[n,j] = exp(x[n,j]) / sum(k, exp(x[n,k]))"
        ),
    }
    examples = (*EXAMPLES, Example({}, ((2, 3),)))

    def forward(self, x: Array) -> tuple[Array, SoftmaxCache]:  # type: ignore[override]
        """Return z - log Σ e^z with z = x - m, m the largest element: no exponent is above 0."""
        axis = self.axis(x)
        z = below_largest(x, axis)
        with np.errstate(divide="ignore"):  # the sum of no numbers is 0
            y = z - np.log(np.exp(z).sum(axis=axis, keepdims=True))
        return y, SoftmaxCache(y, axis)

    def backward(self, grad_output: Array, cache: SoftmaxCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_i = x_i - log Σ_k e^(x_k), along one axis.

        ∂y_i/∂x_j = [i = j] - e^(x_j) / Σ_k e^(x_k) = [i = j] - e^(y_j)
        dx_j = dy_j - e^(y_j) Σ_i dy_i   ->   dx = dy - e^y · Σ dy, the sum along the axis
        Torch: nn.LogSoftmax.
        Source: the derivative of softmax, above, divided by y_i.
        """
        total = grad_output.sum(axis=cache.dim, keepdims=True)
        return (grad_output - np.exp(cache.y) * total,), {}
