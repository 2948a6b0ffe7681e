"""Which one change of the source makes a wrong gradient right? That is what the mistake was."""

from __future__ import annotations

from compare.diagnose.repair.search import Repair, repaired

__all__ = ["Repair", "repaired"]
