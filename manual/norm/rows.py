"""Rows with mean 0 and variance 1, and the way back: what the norms of one sample share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.layer import Array
from manual.norm.sums import dots, totals

__all__ = ["Rows", "pulled", "standardized"]


class Rows(NamedTuple):
    centred: Array  # x - μ, (N, R, L): R rows of L elements in each sample
    inverse: Array  # 1 / √(σ² + ε), (N, R)

    @property
    def normed(self) -> Array:
        """x̂"""
        return self.centred * self.inverse[..., None]


def standardized(rows: Array, eps: float) -> tuple[Rows, Array, Array]:
    """Return every row's x - μ and 1 / √(σ² + ε), and μ and the biased σ², (N, R)."""
    size = rows.shape[-1]
    mean = totals(rows) / size
    centred = rows - mean[..., None]
    var = dots(centred, centred) / size  # Σ x² / L - μ² would cancel
    return Rows(centred, 1 / np.sqrt(var + eps)), mean, var


def pulled(g: Array, rows: Rows) -> Array:
    """Return (g - mean(g) - x̂ mean(g x̂)) / s, where g is the gradient of x̂."""
    size = g.shape[-1]
    inverse = rows.inverse
    along_x = dots(g, rows.centred) * inverse * inverse / size
    dx = g - rows.centred * along_x[..., None]
    dx -= (totals(g) / size)[..., None]
    dx *= inverse[..., None]
    return dx
