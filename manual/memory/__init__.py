"""A memory that a network reads and writes: where its heads look, what they read, erase and add.

The equations are those of Graves, Wayne, Danihelka, Neural Turing Machines (2014), arXiv 1410.5401.
Shapes: a memory M (…, N, W) has N places of W numbers; a weighting w (…, N) says how much a head
looks at each, and sums to 1.
"""

from __future__ import annotations

from manual.memory.addressing import CircularConvolution, Interpolation, Sharpening
from manual.memory.places import MemoryAdd, MemoryErase, MemoryRead
from manual.memory.start import InitialState

__all__ = [
    "CircularConvolution",
    "InitialState",
    "Interpolation",
    "MemoryAdd",
    "MemoryErase",
    "MemoryRead",
    "Sharpening",
]
