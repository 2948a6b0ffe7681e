"""Embeddings: rows of a table, looked up by integers."""

from manual.embedding.embedding import Embedding
from manual.embedding.embedding_bag import EmbeddingBag

__all__ = ["Embedding", "EmbeddingBag"]
