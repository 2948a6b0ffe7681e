"""Broadcasting, undone: what was copied forward is added up backward."""

from __future__ import annotations

import numpy as np

from manual.graph import Array


def summed_to(grad: Array, shape: tuple[int, ...]) -> Array:
    """Return the gradient of an input of this shape that NumPy stretched to grad's shape.

    A stretched element feeds several results, and gradients add at branches: Σ over the axes that
    the input lacks, and over those along which it has one element.
    """
    if lacking := np.ndim(grad) - len(shape):
        grad = grad.sum(axis=tuple(range(lacking)))
    if stretched := tuple(axis for axis, n in enumerate(shape) if n != grad.shape[axis]):
        grad = grad.sum(axis=stretched, keepdims=True)
    return grad
