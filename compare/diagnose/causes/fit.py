"""When a fit counts: it explains every element, and much better than no fit does."""

from __future__ import annotations

from typing import Any

import numpy as np

from compare.diagnose.causes.cause import Context

SLACK = 256  # roundings of the largest element that a prediction may be off by
CLEAR = 1e-2  # a factor must be known at least this well
SHARPER = 16  # a fit must leave at most this part of the difference


class Case:
    """A finite disagreeing tensor in float64, with the tests that every fit must pass.

    An element is `off` where the sides differ by more than the tolerance, and `telling` where
    either side is larger than rounding alone could make it.
    """

    def __init__(
        self, candidate: np.ndarray, reference: np.ndarray, tolerance: Any, context: Context
    ) -> None:
        self.candidate = np.asarray(candidate, dtype=np.float64)
        self.reference = np.asarray(reference, dtype=np.float64)
        self.tolerance = np.broadcast_to(
            np.asarray(tolerance, dtype=np.float64), self.reference.shape
        )
        self.context = context
        self.roundoff = float(np.finfo(context.dtype).eps) / 2
        self.diff = self.candidate - self.reference
        self.off = ~(np.abs(self.diff) <= self.tolerance)
        largest = np.maximum(np.abs(self.candidate), np.abs(self.reference))
        self.telling = largest > self.room(self.reference)
        self.gap = float(np.abs(self.diff).max(initial=0.0))

    def room(self, prediction: np.ndarray, scale: Any = 1.0, tolerance: Any = None) -> np.ndarray:
        """Return how far the candidate may be from a prediction of this size."""
        tolerance = self.tolerance if tolerance is None else tolerance
        slack = SLACK * self.roundoff * float(np.abs(prediction).max(initial=0.0))
        return tolerance * np.maximum(1.0, np.abs(scale)) + slack

    def explains(
        self, prediction: Any, scale: Any = 1.0, tolerance: Any = None, within: Any = None
    ) -> bool:
        """Return whether the candidate is this prediction, up to rounding and better than torch's.

        Args:
            prediction: what the candidate should be; `scale` is what multiplies the reference's
                rounding in it, `tolerance` replaces the reference's.
            within: a mask of the elements that count.
        """
        prediction = np.asarray(prediction, dtype=np.float64)
        if prediction.shape != self.candidate.shape or not np.isfinite(prediction).all():
            return False
        error = np.abs(self.candidate - prediction)
        room = self.room(prediction, scale, tolerance)
        gap = np.abs(self.diff)
        if within is not None:
            error, gap = error[within], gap[within]
            room = np.broadcast_to(room, within.shape)[within]
        if not error.size or not (error <= room).all():
            return False
        return bool(error.max() * SHARPER <= gap.max())

    def factor(self, tensor: Any, within: Any = None) -> tuple[float, float] | None:
        """Return `(c, uncertainty)` if the candidate is c × tensor, else None."""
        return self._multiple(self.candidate, tensor, within)

    def is_another(self, tensor: Any) -> bool:
        """Return whether a tensor is no multiple of the reference: then fitting it tells more."""
        tensor = np.asarray(tensor, dtype=np.float64)
        if tensor.shape != self.reference.shape:
            return False
        square = float((self.reference**2).sum())
        c = float((tensor * self.reference).sum()) / square if square else 0.0
        if tensor.size == 1:
            c = 1.0
        return bool((np.abs(tensor - c * self.reference) > 2 * self.room(tensor, c)).any())

    def excess(self, tensor: Any) -> tuple[float, float] | None:
        """Return `(c, uncertainty)` if the candidate is the reference + c × tensor, else None."""
        return self._multiple(self.diff, tensor, None)

    def _multiple(self, left: np.ndarray, tensor: Any, within: Any) -> tuple[float, float] | None:
        tensor = np.asarray(tensor, dtype=np.float64)
        if tensor.shape != left.shape:
            return None
        t, m = (tensor, left) if within is None else (tensor[within], left[within])
        size = float(np.abs(t).max(initial=0.0))
        if not size or not np.isfinite(size):
            return None
        t = t / size
        c = float((m * t).sum() / (t * t).sum()) / size
        if not np.isfinite(c) or c == 0:
            return None
        prediction = c * tensor + (self.candidate - left)
        if not self.explains(prediction, abs(c), within=within):
            return None
        at = int(np.abs(t).argmax())
        room = self.room(prediction, abs(c))
        room = room if within is None else np.broadcast_to(room, within.shape)[within]
        uncertainty = float(np.ravel(room)[at]) / (abs(c) * size)
        return (c, uncertainty) if uncertainty < CLEAR else None

    def telling_count(self, tensor: Any, within: Any = None) -> int:
        """Return how many elements of a multiple of this tensor rounding could not make."""
        size = np.abs(np.asarray(tensor, dtype=np.float64))
        large = size > SLACK * self.roundoff * size.max(initial=0.0)
        return int(np.count_nonzero(large if within is None else large & within))
