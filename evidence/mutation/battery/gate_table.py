"""Calls of gates that no example shows, and what their decisions are, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from manual.examples import Draw, Example

MORE: dict[str, tuple[Example, ...]] = {}
DECISIONS: dict[str, Callable[..., Any]] = {}
