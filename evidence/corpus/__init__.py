"""Torch's own samples, each run on the hand-written class of the same name and judged."""
