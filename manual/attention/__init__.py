"""Layers that let every position look at every other: MultiheadAttention."""

from __future__ import annotations

from manual.attention.multihead import MultiheadAttention
from manual.attention.scaled import ScaledDotProductAttention

__all__ = ["MultiheadAttention", "ScaledDotProductAttention"]
