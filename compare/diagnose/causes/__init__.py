"""What a mistake is: fit the disagreeing tensor to its reference, and name the cause."""

from __future__ import annotations

from compare.diagnose.causes.cause import BATCH, CLASSES, Alternative, Cause, Context, Tensors
from compare.diagnose.causes.find import find_cause

__all__ = ["BATCH", "CLASSES", "Alternative", "Cause", "Context", "Tensors", "find_cause"]
