"""Layers that let every position look at every other: MultiheadAttention."""

from __future__ import annotations

from manual.attention.multihead import MultiheadAttention

__all__ = ["MultiheadAttention"]
