"""Pooling: each window of the input becomes one number."""

from manual.pool.max_pool2d import MaxPool2d

__all__ = ["MaxPool2d"]
