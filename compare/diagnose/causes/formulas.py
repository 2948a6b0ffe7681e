"""What wrong derivations of one layer would have computed, from torch's own function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from compare.diagnose.causes import replaced, split
from compare.diagnose.causes.cause import Alternative
from compare.diagnose.causes.piece import Piece

CHAIN = "The chain rule is: upstream gradient × local derivative, each of them once."
CROSS = (
    "Every output of this layer sees several inputs (a sum, mean or norm over them): the Jacobian "
    "has entries off its diagonal, which are missing."
)


def alternatives(piece: Piece) -> Iterator[Alternative]:
    """Yield what known mistakes give for this gradient."""
    y = piece.output()
    right = piece.vjp()
    yield from _other_arguments(piece)
    if y.shape == piece.x.shape:
        yield from _same_shape(piece, y, right)
    yield from _products(piece, y)
    yield from replaced.gradients(piece, y)
    yield from _reductions(piece)


def _other_arguments(piece: Piece) -> Iterator[Alternative]:
    for i in piece.differentiable():
        if piece.inputs[i].shape == piece.x.shape:
            advice = "Check the order in which backward returns its gradients."
            what = f"the gradient of {piece.names[i]}, not of {piece.names[piece.wrt]}"
            yield Alternative("another tensor", what, advice, piece.vjp(wrt=i))
    without = "the derivative without the upstream gradient"
    yield Alternative("upstream missing", without, CHAIN, piece.vjp(np.ones_like(piece.upstream)))


def _same_shape(piece: Piece, y: np.ndarray, right: np.ndarray) -> Iterator[Alternative]:
    x, dy = piece.x, piece.upstream
    for text, formula in OF_OUTPUT.items():
        with np.errstate(all="ignore"):
            if np.allclose(dy * formula(y), right, rtol=1e-6, atol=0):
                what = f"dy · {text.format('x')}, where torch's is dy · {text.format('y')}"
                yield Alternative("derivative at the input", what, split.POINT, dy * formula(x))
    yield from split.alternatives(piece, y, right)
    local = piece.slope()
    if local is not None:
        yield Alternative("derivative twice", "dy · f′(x)², with f′ twice", CHAIN, right * local)
        yield Alternative("upstream twice", "dy² · f′(x), with dy twice", CHAIN, right * dy)
        what = "dy · f(x): the function's value where its derivative belongs"
        yield Alternative("value for derivative", what, CHAIN, dy * y)
    else:
        yield from _jacobian(piece)


def _jacobian(piece: Piece) -> Iterator[Alternative]:
    for axis in range(piece.x.ndim):
        own = piece.own_part(axis)
        if own is not None:
            what = f"torch without the terms between different indices of axis {axis}"
            yield Alternative("cross terms missing", what, CROSS, own)
    what = "J dy, where the gradient is Jᵀ dy"
    advice = "Backward multiplies by the transposed Jacobian: the index of dy is the summed one."
    yield Alternative("transpose", what, advice, piece.jvp(piece.upstream))


def _products(piece: Piece, y: np.ndarray) -> Iterator[Alternative]:
    """Yield every matrix product of two matrices at hand that has the gradient's shape."""
    matrices = {"dy": piece.upstream, "y": y} | {
        name: a for name, a in zip(piece.names, piece.inputs, strict=True) if _matrix(a)
    }
    advice = (
        "Another product of the right shape: in index form, the summed index must stand in both "
        "factors, and the others in the gradient's order."
    )
    for left, a in matrices.items():
        for right, b in matrices.items():
            if not (_matrix(a) and _matrix(b)) or "dy" not in (left, right):
                continue
            for l_name, l_value in ((left, a), (f"{left}ᵀ", a.T)):
                for r_name, r_value in ((right, b), (f"{right}ᵀ", b.T)):
                    fits = l_value.shape[1] == r_value.shape[0]
                    if fits and (l_value.shape[0], r_value.shape[1]) == piece.x.shape:
                        what = f"the product {l_name} @ {r_name}"
                        yield Alternative("wrong product", what, advice, l_value @ r_value)


def _reductions(piece: Piece) -> Iterator[Alternative]:
    """Yield the upstream gradient summed over any one axis that leaves the gradient's shape."""
    dy, shape = piece.upstream, piece.x.shape
    totals = {a: dy.sum(axis=a) for a in range(dy.ndim if dy.ndim > len(shape) else 0)}
    totals = {a: total for a, total in totals.items() if total.shape == shape}
    right = piece.vjp()
    summed = any(np.allclose(total, right) for total in totals.values())
    for axis, total in totals.items():
        what = f"the upstream gradient summed over axis {axis}"
        if summed:
            yield Alternative("wrong axis", what, split.AXIS, total)
        else:
            yield Alternative("upstream unchanged", what, CHAIN, total)


def _matrix(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.ndim == 2 and a.dtype.kind == "f"


OF_OUTPUT: dict[str, Callable[[Any], Any]] = {  # f′(x) as a function of y = f(x)
    "{0} (1 − {0})": lambda t: t * (1 - t),
    "(1 − {0}²)": lambda t: 1 - t * t,
    "{0}": lambda t: t,
    "1 / (2 {0})": lambda t: 0.5 / t,
    "(−{0}²)": lambda t: -t * t,
    "(1 − e^−{0})": lambda t: 1 - np.exp(-t),
    "(1 − e^{0})": lambda t: 1 - np.exp(t),
    "e^−{0}": lambda t: np.exp(-t),
}
FUSED: dict[str, Callable[[Any], Any]] = {  # what multiplies a loss's gradient in a fused formula
    "torch × ŷ (1 − ŷ), the gradient through the sigmoid before the loss": lambda p: p * (1 - p),
    "torch × (1 − ŷ²), the gradient through the tanh before the loss": lambda p: 1 - p * p,
}
