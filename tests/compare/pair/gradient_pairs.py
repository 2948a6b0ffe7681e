"""Hand-written forward and backward functions that the tests of `compare.check` look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import compare

X = {"x": (4, 3)}
AFFINE = {"x": (4, 3), "w": (3, 5), "b": (5,)}
LABELS = np.array([0, 2, 1, 1])


def affine_forward(x, w, b):
    return x @ w + b, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def affine(x, w, b):
    """The reference, in torch."""
    return x @ w + b


def rows_forward(x, w, b):
    """The same affine layer with a buffer and a loop: code that gauge arrays cannot pass."""
    out = np.zeros((x.shape[0], w.shape[1]), dtype=x.dtype)
    for n in range(x.shape[0]):
        out[n] = x[n] @ w + b
    return out, (x, w)


def rows_backward(dout, cache):
    x, w = cache
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(w.shape[1], dtype=w.dtype)
    for n in range(x.shape[0]):
        dx[n] = w @ dout[n]
        dw += np.outer(x[n], dout[n])
        db += dout[n]
    return dx, dw, db


def relu_forward(x):
    return np.maximum(x, 0), x


def relu_backward(dout, x):
    return dout * (x > 0)


def softmax_loss(x, y):
    rows = np.arange(len(y))
    shifted = x - x.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    dx = np.exp(log_p)
    dx[rows, y] -= 1
    return -log_p[rows, y].mean(), dx / len(y)


def spoiled(backward: Callable, which: int, change: Callable[[Any], Any]) -> Callable:
    """Return a backward function whose `which`-th gradient is changed."""

    def wrong_backward(dout, cache):
        grads = backward(dout, cache)
        grads = list(grads) if isinstance(grads, tuple) else [grads]
        grads[which] = change(grads[which])
        return tuple(grads)

    return wrong_backward


def one_element(factor: float) -> Callable[[Any], Any]:
    """Return a change that multiplies the last element alone."""

    def change(g):
        return np.concatenate([g.reshape(-1)[:-1], g.reshape(-1)[-1:] * factor]).reshape(g.shape)

    return change


def agrees_and_catches(right: tuple, wrong: tuple, reference, inputs, **options) -> None:
    good = compare.check(*right, reference=reference, inputs=inputs, **options)
    bad = compare.check(*wrong, reference=reference, inputs=inputs, shrink=False, **options)

    assert good.agrees, str(good)
    assert bad.verdict == "disagree", str(bad)


def failing(report) -> set[str]:
    return set(report.differences.query("verdict not in ['agree', 'vacuous']")["layer"])
