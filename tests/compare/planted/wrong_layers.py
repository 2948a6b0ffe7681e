"""Makers of wrong backward methods, from one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from manual.graph import Graph


def backward(make: Callable[..., Any]) -> Callable[..., Any]:
    """Make a wrong backward of a layer with one input and no parameters."""
    return lambda self, dy, cache: ((make(dy, *cache),), {})


def weights(make: Callable[..., Any], bias: Callable[..., Any] = lambda dy: dy.sum(axis=0)) -> Any:
    """Make wrong parameter gradients of Linear."""
    return lambda self, dy, cache: {"weight": make(dy, cache.x), "bias": bias(dy)}


def affine(make: Callable[..., Any]) -> Callable[..., Any]:
    """Make a wrong input gradient of Linear."""
    return lambda self, dy, cache: (
        (make(dy, self.params["weight"], cache.x),), self.grad_params(dy, cache)
    )  # fmt: skip


def scaled(owner: Any, method: str, factor: Callable[..., Any]) -> Callable[..., Any]:
    """Multiply a loss's gradient by what `factor(cache)` returns."""
    original = getattr(owner, method)

    def wrong(self: Any, dy: Any, cache: Any) -> Any:
        (grad, *rest), params = original(self, dy, cache)
        return (factor(cache) * grad, *rest), params

    return wrong


def single(original: Callable[..., Any]) -> Callable[..., Any]:
    """Compute in float32 and go on in float64; other number systems stay as they are."""

    def wrong(self: Any, dy: Any, cache: Any) -> Any:
        if not isinstance(dy, np.ndarray):
            return original(self, dy, cache)
        (dx, *rest), params = original(
            self, dy.astype(np.float32), type(cache)(*(a.astype(np.float32) for a in cache))
        )
        return (dx.astype(dy.dtype), *rest), params

    return wrong


def forgetful(graph_backward: Callable[..., Any]) -> Callable[..., Any]:
    """Overwrite where gradients should add at a branch."""

    class Overwritten(dict):
        def __contains__(self, name: object) -> bool:
            return False

    def wrong(self: Graph, tape: Any, dy: Any, *, wrt: Any = ()) -> Any:
        grads: dict = {self.output: dy}
        params: dict = {}
        for node in reversed(self.nodes):
            grad_inputs, own = node.layer.backward(grads[node.name], tape.caches[node.name])
            grads |= zip(node.inputs, grad_inputs, strict=True)
            params |= {f"{node.name}.{key}": grad for key, grad in own.items()}
        if not wrt:
            grads.pop("input")
        done = graph_backward(self, tape, dy, wrt=wrt)
        return done._replace(values={k: grads[k] for k in done.values}, params=params)

    return wrong


def softmax_rows(make: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, dy, cache: ((make(dy, cache.y),), {})


def row_sum(a: Any, axis: int = -1) -> Any:
    return a.sum(axis=axis, keepdims=True)


def first_rows(dy: Any, x: Any) -> Any:
    return dy[:7].T @ x[:7]


def logit(y: Any) -> Any:
    """Return the input of a sigmoid from its output."""
    return np.log(y) - np.log(1 - y)
