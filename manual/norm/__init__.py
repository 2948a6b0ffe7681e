"""Normalisation: subtract a mean, divide by a standard deviation, then scale and shift."""

from manual.norm.batch_norm2d import BatchNorm2d
from manual.norm.layer_norm import LayerNorm

__all__ = ["BatchNorm2d", "LayerNorm"]
