"""Convolutions: one small linear map, moved over the whole input; and their transposes."""

from manual.conv.convolution import Conv1d, Conv2d, Conv3d
from manual.conv.fold import Fold, Unfold
from manual.conv.transposed import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Fold",
    "Unfold",
]
