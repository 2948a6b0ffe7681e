"""Class labels and class weights: checked against the scores, and turned into sample weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from manual.graph import Array
from manual.losses.base import Loss


class Samples(NamedTuple):
    """The samples of a batch as a class loss needs them."""

    target: Array  # labels (N,), 0 in place of an ignored one
    weight: Any  # (N,), 0 for ignored samples; None: all 1
    kept: Any  # (N,) bool; None: all count
    divisor: float  # Σ weight, which the mean divides by


def usable(
    loss: Loss, input: Array, target: Array, weight: Array | None, ignore_index: int
) -> Samples:
    """Check labels and class weights; return the samples, each with its label's weight.

    Raises:
        ValueError: they do not fit the scores; the mean would divide by 0.
    """
    check_weight(loss, weight, input)
    kept = check_labels(loss, input, target, ignore_index)
    if kept is None:
        own = None if weight is None else weight[target]
    else:
        target = np.where(kept, target, 0)
        own = kept * (1.0 if weight is None else weight[target])
    divisor = len(target) if own is None else float(own.sum())
    if loss.reduction == "mean" and not divisor:
        raise ValueError(
            f"{type(loss).__name__}: the mean divides by the weights of the batch's labels, whose "
            "sum is 0: every sample is ignored or has weight 0 (torch would return nan). Skip the "
            "batch, or use reduction='sum'."
        )
    return Samples(target, own, kept, divisor)


def rows_of(x: Array) -> Array:
    """Return scores (N, C, d1, …) or (C,) as rows (R, C), R = N d1 …"""
    if x.ndim == 2:
        return x
    return x.reshape(1, -1) if x.ndim == 1 else np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def unrowed(rows: Array, shape: tuple[int, ...]) -> Array:
    """Return rows (R, C) in the scores' own shape: the inverse of `rows_of`."""
    if len(shape) == 2:
        return rows
    if len(shape) == 1:
        return rows.reshape(*shape)
    return np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def without_classes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of labels for scores of this shape: (N, d1, …), or () for one sample."""
    return shape[:1] + shape[2:] if len(shape) > 1 else ()


def per_row(loss: Loss, grad: Any) -> Any:
    """Return the upstream gradient of unreduced losses as a column (R, 1); else as it is."""
    return np.reshape(grad, (-1, 1)) if loss.reduction == "none" else grad


def weighted(values: Array, weight: Any) -> Array:
    """Multiply by constants in the values' number system and dtype.

    A plain product would promote: float64 weights times float32 values is float64.
    """
    return values if weight is None else values * np.full_like(values, weight)


def check_labels(loss: Loss, input: Array, target: Array, ignore_index: int | None = None) -> Any:
    """Raise unless input is (N, C) and target holds N class indices.

    Returns:
        None if every sample counts, else which do: those whose label is not `ignore_index`.
    """
    check_shapes(loss, input, target, only_rows=True)
    if target.dtype.kind not in "iu":
        raise TypeError(
            f"{type(loss).__name__}: the target must hold class indices of an integer dtype, "
            f"received {target.dtype}. Pass target.astype('int64')."
        )
    classes = input.shape[1]
    usable = target.min(initial=0) >= 0 and target.max(initial=0) < classes
    if usable and (ignore_index is None or not 0 <= ignore_index < classes):
        return None
    kept = target != ignore_index
    outside = kept & ((target < 0) | (target >= classes))
    if outside.any():
        row = int(outside.argmax())
        ignored = "" if ignore_index is None else f" (or ignore_index = {ignore_index})"
        raise ValueError(
            f"{type(loss).__name__}: labels must be class indices from 0 to {classes - 1}"
            f"{ignored}, received {int(target[row])} in row {row}. Number the classes "
            "from 0, or give the last layer one output per class."
        )
    return kept


def check_scores(loss: Loss, input: Array) -> None:
    """Raise where a mean would be taken of nothing, or there is no class."""
    loss.check_not_empty(input)
    if 0 in input.shape[:2][-1:]:
        raise ValueError(
            f"{type(loss).__name__}: the input must hold scores of at least one class, received "
            f"shape {tuple(input.shape)}."
        )


def check_shapes(
    loss: Loss, input: Array, target: Array, *, only_rows: bool = False
) -> tuple[int, ...]:
    """Return the labels' shape; raise unless they fit the scores (N, C), (N, C, d1, …) or (C,)."""
    check_scores(loss, input)
    shape = without_classes(tuple(input.shape))
    if not input.ndim or tuple(target.shape) != shape or (only_rows and input.ndim != 2):
        raise ValueError(_shapes(loss, input, target))
    return shape


def check_weight(loss: Loss, weight: Array | None, input: Array) -> None:
    """Raise unless the class weights are one number per class."""
    if weight is not None and weight.shape != tuple(input.shape[1:]):
        raise ValueError(
            f"{type(loss).__name__}: weight must hold one number per class, shape "
            f"{tuple(input.shape[1:])}, received shape {weight.shape}."
        )


def _shapes(loss: Loss, input: Array, target: Array) -> str:
    text = (
        f"{type(loss).__name__}: the input must be (N, C) class scores and the target (N,) class "
        f"indices, received input {tuple(input.shape)} and target {tuple(target.shape)}. "
    )
    if target.shape == (*input.shape[:1], 1):
        return f"{text}Drop the target's second axis: target[:, 0]."
    if target.shape == input.shape and input.ndim > 1:
        return f"{text}For one-hot rows pass target.argmax(axis=1)."
    return f"{text}Both must hold the same N samples."
