"""A memory that a network reads and writes: where its heads look, what they read, erase and add.

The equations are those of Graves, Wayne, Danihelka, Neural Turing Machines (2014), arXiv 1410.5401.
Shapes: a memory M (…, N, W) has N places of W numbers; a weighting w (…, N) says how much a head
looks at each, and sums to 1.
"""

from __future__ import annotations

from manual.memory import addressing, places, start
from manual.memory.addressing import *
from manual.memory.places import *
from manual.memory.start import *

__all__ = [*addressing.__all__, *places.__all__, *start.__all__]
