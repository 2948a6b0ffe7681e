"""Convolutions: one small linear map, moved over the whole input."""

from manual.conv.conv2d import Conv2d

__all__ = ["Conv2d"]
