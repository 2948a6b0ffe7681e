"""Convolutions: one small linear map, moved over the whole input; and their transposes."""

from manual.conv import convolution, fold, transposed
from manual.conv.convolution import *
from manual.conv.fold import *
from manual.conv.transposed import *

__all__ = [*convolution.__all__, *fold.__all__, *transposed.__all__]
