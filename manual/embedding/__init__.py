"""Embeddings: rows of a table, looked up by integers."""

from manual.embedding.embedding import Embedding

__all__ = ["Embedding"]
