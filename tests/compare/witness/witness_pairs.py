"""Forward and backward passes that people write, right and wrong, and who judges them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compare.witness.ball_witness import ball_witness
from compare.witness.complex_step import complex_step
from compare.witness.directional import directional
from compare.witness.precision import available

RNG = np.random.default_rng


NUMERIC: list[Callable] = [directional, complex_step]
balls_needed = pytest.mark.skipif(not available(), reason="balls need python-flint")
WITNESSES = [*NUMERIC, pytest.param(ball_witness, marks=balls_needed)]


def point(*shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {f"x{i}": RNG(i).normal(size=shape) for i, shape in enumerate(shapes)}


def affine(x: Any, w: Any, b: Any) -> Any:
    return x @ w + b, (x, w)


def affine_backward(dout: Any, cache: Any) -> Any:
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def sigmoid(x: Any) -> Any:
    y = 1 / (1 + np.exp(-x))
    return y, y


def sigmoid_backward(dout: Any, y: Any) -> Any:
    return dout * y * (1 - y)


def mse(x: Any, y: Any) -> Any:
    return ((x - y) ** 2).mean(), x - y


def mse_backward(dout: Any, d: Any) -> Any:
    return dout * 2 * d / d.size, dout * -2 * d / d.size


def gelu(x: Any, w: Any) -> Any:
    from scipy import special

    h = x @ w
    gate = 0.5 * (1 + special.erf(h / np.sqrt(2)))
    return h * gate, (x, w, h, gate)


def gelu_backward(dout: Any, cache: Any) -> Any:
    x, w, h, gate = cache
    dh = dout * (gate + h * np.exp(-h * h / 2) / np.sqrt(2 * np.pi))
    return dh @ w.T, x.T @ dh


def batchnorm(x: Any, gamma: Any, beta: Any) -> Any:
    d = x - x.mean(axis=0)
    std = np.sqrt((d * d).mean(axis=0) + 1e-5)
    xhat = d / std
    return gamma * xhat + beta, (xhat, std, gamma)


def batchnorm_backward(dout: Any, cache: Any) -> Any:
    xhat, std, gamma = cache
    dxhat = dout * gamma
    dx = (dxhat - dxhat.mean(axis=0) - xhat * (dxhat * xhat).mean(axis=0)) / std
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)


AFFINE, SQUARE, COLUMNS = (
    point((4, 3), (3, 5), (5,)),
    point((4, 3), (4, 3)),
    point((5, 3), (3,), (3,)),
)
RIGHT: dict[str, tuple] = {
    "affine": (affine, affine_backward, AFFINE),
    "sigmoid": (sigmoid, sigmoid_backward, point((3, 4))),
    "mse": (mse, mse_backward, SQUARE),
    "gelu": (gelu, gelu_backward, point((3, 4), (4, 2))),
    "batchnorm": (batchnorm, batchnorm_backward, COLUMNS),
}


def changed(backward: Callable, which: int, change: Callable) -> Callable:
    """Return a backward one of whose gradients is changed."""

    def wrong(dout: Any, cache: Any) -> Any:
        grads = backward(dout, cache)
        grads = list(grads) if isinstance(grads, tuple) else [grads]
        grads[which] = change(grads[which])
        return tuple(grads)

    return wrong


def one_element(g: Any) -> Any:
    g = g.copy()
    g.flat[g.size // 2] = g.flat[g.size // 2] * 1.01
    return g


def forgotten(dout: Any, cache: Any) -> Any:
    _, std, gamma = cache
    dxhat = dout * gamma
    return (dxhat - dxhat.mean(axis=0)) / std, *batchnorm_backward(dout, cache)[1:]


WRONG: dict[str, tuple] = {
    "σ(1 + σ)": (sigmoid, lambda dout, y: dout * y * (1 + y), point((3, 4))),
    "σ(x)(1 - σ(x)) of the output": (
        sigmoid, lambda dout, y: sigmoid_backward(dout, 1 / (1 + np.exp(-y))), point((3, 4)),
    ),
    "without 1/N": (mse, changed(mse_backward, 0, lambda g: g * 12), SQUARE),
    "sign of the target's": (mse, changed(mse_backward, 1, lambda g: -g), SQUARE),
    "zeros for dw": (affine, changed(affine_backward, 1, lambda g: 0 * g), AFFINE),
    "mean for sum in db": (affine, changed(affine_backward, 2, lambda g: g / 4), AFFINE),
    "one element of dw": (affine, changed(affine_backward, 1, one_element), AFFINE),
    "transpose": (affine, changed(affine_backward, 1, lambda g: g.T), point((4, 3), (3, 3), (3,))),
    "off by 1e-6": (gelu, changed(gelu_backward, 0, lambda g: g * (1 + 1e-6)), RIGHT["gelu"][2]),
    "a term of batch norm": (batchnorm, forgotten, COLUMNS),
    "infinite": (sigmoid, lambda dout, y: dout * y * np.array(np.inf), point((3, 4))),
}  # fmt: skip


def into_floats(x: Any) -> Any:
    y = np.zeros(x.shape)
    y[...] = x * x
    return y, x
