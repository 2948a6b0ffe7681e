"""Sweeps: the same job for many configurations, in parallel, with a report of its own.

engine: joblib's workers, and what becomes of an item whose worker dies.
file: the sweep file; files: what it names.
rows: what a point found, as rows.
jobs: what a point does: a run, a check, a mirror; work: how, in a worker.
points: the points of a sweep, each with a key.
store: the rows on disk, part by part.
report: what all points found, as data; page: for people.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OTHERS: dict[str, Callable[[Any], Any]] = {}  # jobs of packages above this one, by name
