"""What in the source is wrong: one change that mends it, or a path of forward that is left out."""

from __future__ import annotations

from compare.diagnose.repair.paths import missing_path
from compare.diagnose.repair.search import Repair, repaired

__all__ = ["Repair", "missing_path", "repaired"]
