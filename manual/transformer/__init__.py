"""Transformers: encoder and decoder layers, their stacks, and the two together."""

from __future__ import annotations

from manual.transformer.decoder import TransformerDecoder, TransformerDecoderLayer
from manual.transformer.encoder import TransformerEncoder, TransformerEncoderLayer
from manual.transformer.transformer import Transformer

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]
