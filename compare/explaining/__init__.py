"""Explain a number of a run: equation, lines of code, and the arithmetic with its own numbers."""

from __future__ import annotations
