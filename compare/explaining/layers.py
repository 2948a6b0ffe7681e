"""Bind the formulas of layers to the numbers of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from compare.explaining.bound import Bound, index_last, last
from manual.activations.gated import CUBIC, ROOT_2_OVER_PI


class Given(NamedTuple):
    """What one layer worked with."""

    layer: Any
    inputs: tuple[np.ndarray, ...]
    upstream: np.ndarray | None  # None: it is not needed, or was never computed
    params: dict[str, np.ndarray]
    role: str
    position: int  # which input, for grad_input
    mask: np.ndarray | None
    winner: np.ndarray | None


def bind_layer(given: Given) -> Bound:
    """Return the bound names of a layer's formula.

    Raises:
        ValueError: the upstream gradient is needed and missing.
    """
    if given.role != "output" and given.upstream is None:
        raise ValueError("the gradient of this layer's output was not computed")
    return BINDERS.get(type(given.layer).__name__, _pointwise)(given)


def _pointwise(given: Given) -> Bound:
    arrays = {"x": given.inputs[given.position]}
    means = {"x": "the layer's input"}
    if given.upstream is not None and given.role != "output":
        arrays["dy"] = given.upstream
        means["dy"] = "the gradient of the loss by this layer's output, ∂L/∂y"
    return Bound("", arrays, {}, means)


def _with(**names: str) -> Callable[[Given], Bound]:
    """Bind constructor arguments besides: name in the formula = attribute."""

    def bind(given: Given) -> Bound:
        bound = _pointwise(given)
        for name, attribute in names.items():
            bound.scalars[name] = getattr(given.layer, attribute)
            bound.means[name] = attribute
        return bound

    return bind


def _affine(given: Given) -> Bound:
    bound = _pointwise(given)
    for name, key in {"W": "weight", "b": "bias"}.items():
        if key in given.params:
            bound.arrays[name] = given.params[key]
            bound.means[name] = key
    if given.role == "output" and "bias" not in given.params:
        bound.variant = "no bias"
    return bound


def _maxout(given: Given) -> Bound:
    bound = _affine(given)
    layer, winner = given.layer, given.winner
    winner = layer.decisions(layer.forward(*given.inputs)[1]) if winner is None else winner
    bound.arrays["w"] = np.asarray(winner)
    bound.means["w"] = "which piece won, by row and unit"
    return bound


def _dropout(given: Given) -> Bound:
    bound = _pointwise(given)
    if given.mask is None:
        raise ValueError("the mask of this step is not known")
    bound.arrays["m"], bound.scalars["p"] = np.asarray(given.mask) != 0, given.layer.p
    bound.means |= {"m": "the mask, 1 where an element is kept", "p": "how many are dropped"}
    bound.variant = "p = 1" if given.layer.p == 1 else ""
    return bound


def _flatten(given: Given) -> Bound:
    bound = _pointwise(given)
    x = given.inputs[0]
    y_shape = np.shape(given.layer.forward(x)[0])
    source, target = (x.shape, y_shape) if given.role == "output" else (y_shape, x.shape)

    def fold(at: Any) -> tuple[int, ...]:
        flat = np.ravel_multi_index(at if isinstance(at, tuple) else (at,), target)
        return tuple(int(i) for i in np.unravel_index(flat, source))

    bound.fold = fold
    bound.means["fold"] = "the same element's index in the other shape"
    return bound


def _stacked(given: Given) -> Bound:
    bound = _pointwise(given)
    bound.arrays["x"] = np.stack(given.inputs, axis=-1)
    bound.means["x"] = "the inputs, the last index says which"
    bound.scalars["k"] = given.position
    return bound


def _concatenate(given: Given) -> Bound:
    bound = _pointwise(given)
    dim = given.layer.dim
    inputs = [last(x, dim) for x in given.inputs]
    starts = np.r_[0, np.cumsum([x.shape[-1] for x in inputs])].astype(int)
    move = index_last(dim, inputs[0].ndim)
    bound.means["before"] = "how many elements of the axis come from the inputs before"
    if given.role == "output":
        return _Joined(bound, inputs, starts.tolist(), move).bound()
    bound.at = move
    bound.arrays["dy"] = last(bound.arrays["dy"], dim)
    bound.scalars["before"] = int(starts[given.position])
    return bound


class _Joined(NamedTuple):
    """An output element of Concatenate comes from one input, which its index chooses."""

    base: Bound
    inputs: list[np.ndarray]
    starts: list[int]
    move: Callable

    def bound(self) -> Bound:
        self.base.at = self.choose
        return self.base

    def choose(self, at: tuple[int, ...]) -> tuple[int, ...]:
        moved = self.move(at)
        which = int(np.searchsorted(self.starts, moved[-1], side="right")) - 1
        self.base.arrays["x"] = self.inputs[which]
        self.base.means["x"] = f"input number {which + 1} of {len(self.inputs)}"
        self.base.scalars["before"] = self.starts[which]
        return moved


def _along_axis(given: Given) -> Bound:
    bound = _pointwise(given)
    dim, ndim = given.layer.dim, given.inputs[0].ndim
    bound.arrays = {name: last(array, dim) for name, array in bound.arrays.items()}
    bound.at = index_last(dim, ndim)
    return bound


def _gelu(given: Given) -> Bound:
    bound = _pointwise(given)
    if given.layer.approximate == "tanh":
        bound.variant = "tanh"
        bound.scalars = {"c": ROOT_2_OVER_PI, "a": CUBIC}
        bound.means |= {"c": "√(2/π)", "a": "0.044715"}
    else:
        bound.means |= {"Phi": "the normal distribution function"}
        if given.role != "output":
            bound.means["phi"] = "its density, e^(−x²/2) / √(2π)"
    return bound


BINDERS: dict[str, Callable[[Given], Bound]] = {
    "Linear": _affine,
    "Maxout": _maxout,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Add": _stacked,
    "Multiply": _stacked,
    "Concatenate": _concatenate,
    "Softmax": _along_axis,
    "LogSoftmax": _along_axis,
    "LeakyReLU": _with(s="negative_slope"),
    "ELU": _with(alpha="alpha"),
    "Softplus": _with(beta="beta", threshold="threshold"),
    "GELU": _gelu,
}
