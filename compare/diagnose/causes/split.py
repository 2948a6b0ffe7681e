"""The terms of a gradient: of the product rule, and of formulas with a sum along an axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from compare.diagnose.causes.cause import Alternative
from compare.diagnose.causes.piece import Piece

RowFormula = tuple[str, str, str, Callable[..., Any], Callable[..., Any]]
AXIS = "Sum over the axes along which the tensor was repeated, and over no other."
POINT = (
    "The derivative is evaluated at the wrong point: say for each factor whether it is a function "
    "of the input x or of the output y, and cache that one."
)
OF_ROWS: tuple[RowFormula, ...] = (  # a gradient as first term − second term, which holds a sum
    (
        "{0} · (dy − Σ dy {0})", "the term {0} · dy", "the term −{0} Σ dy {0}",
        lambda dy, t: t * dy, lambda dy, t, total: t * total(dy * t),
    ),
    (
        "dy − e^{0} Σ dy", "the term dy", "the term −e^{0} Σ dy",
        lambda dy, t: dy, lambda dy, t, total: np.exp(t) * total(dy),
    ),
)  # fmt: skip


def terms(piece: Piece) -> dict[str, np.ndarray]:
    """Return the terms that torch's gradient is the sum of, by name; {} if none are known."""
    y, right = piece.output(), piece.vjp()
    if y.shape != piece.x.shape or piece.upstream.shape != y.shape:
        return {}
    for (_, one, two, *formula), axis in _row_formulas(piece, y, right):
        first, second = _evaluated(formula, piece.upstream, y, axis)
        return {one.format("y"): first, two.format("y"): -second}
    if piece.slope() is None or not piece.x.all() or not _is_gated(piece, y):
        return {}
    first = piece.upstream * (y / piece.x)
    product = "of the product rule (x g)′ = g + x g′"
    return {f"the term g {product}": first, f"the term x g′ {product}": right - first}


def _is_gated(piece: Piece, y: np.ndarray) -> bool:
    """Return whether f(x) = x g(x) with a gate g: f(0) = 0, and g grows from 0 to 1 or so."""
    mirrored = piece.at(-piece.x)
    gate = y / piece.x + mirrored / -piece.x
    return bool(np.allclose(gate, 1) and not piece.at(0 * piece.x).any())


def alternatives(piece: Piece, y: np.ndarray, right: np.ndarray) -> Iterator[Alternative]:
    """Yield a formula with a sum at the input instead of the output, or along another axis."""
    for (text, _, _, *formula), axis in _row_formulas(piece, y, right):
        first, second = _evaluated(formula, piece.upstream, piece.x, axis)
        what = f"{text.format('x')}, where torch's is {text.format('y')}"
        yield Alternative("derivative at the input", what, POINT, first - second)
        for other in set(range(y.ndim)) - {axis}:
            first, second = _evaluated(formula, piece.upstream, y, other)
            what = f"{text.format('y')} with the sum over axis {other}, not {axis}"
            yield Alternative("wrong axis", what, AXIS, first - second)


def _row_formulas(piece: Piece, y: Any, right: Any) -> Iterator[tuple[RowFormula, int]]:
    """Yield the formulas that give torch's gradient, with the axis of their sum."""
    for formula in OF_ROWS:
        for axis in range(y.ndim):
            first, second = _evaluated(formula[3:], piece.upstream, y, axis)
            if np.allclose(first - second, right, rtol=1e-6, atol=1e-12 * np.abs(right).max()):
                yield formula, axis


def _evaluated(formula: Any, dy: Any, t: Any, axis: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = formula
    with np.errstate(all="ignore"):
        return first(dy, t), second(dy, t, lambda a: a.sum(axis=axis, keepdims=True))
