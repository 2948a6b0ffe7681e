"""What the right pairs are checked with: labels, masks, and what leaves poles out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Checked = tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]
RNG = np.random.default_rng(7)
Y4 = np.array([2, 0, 1, 2])
MASK = (RNG.random((5, 4)) < 0.6) * 1.0
BITS = (RNG.random((4, 3)) < 0.5) * 1.0
ORDINARY = {"cases": ("random", "given", "non-square", "ties")}  # no pole, no 1e3
