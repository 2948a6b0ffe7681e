"""A parameter's gradient is a sum over samples: which of them are in the candidate, how often."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compare.diagnose.causes.cause import Cause
from compare.diagnose.causes.fit import Case

ADVICE = (
    "A parameter is used once per sample, so its gradient is the sum over all of them: check the "
    "sum over the batch and its bounds."
)


def some_samples(case: Case) -> Iterator[Cause]:
    """Samples are missing, alone, or counted otherwise than once."""
    parts = _parts(case)
    if parts is None:
        return
    for kind, what, prediction in _simple(parts, case.reference):
        if case.explains(prediction, 2):
            yield Cause(kind, f"manual is exactly {what}.", ADVICE)
            return


def _simple(parts: np.ndarray, total: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    n = len(parts)
    for i, part in enumerate(parts):
        kind = "missing sum" if i in (0, n - 1) else "samples"
        yield kind, f"the contribution of sample {i} alone, of {n}", part
        yield "samples", f"torch without sample {i} of {n}", total - part
        yield "samples", f"torch with sample {i} of {n} counted twice", total + part
    for k in range(2, n):
        yield "samples", f"the sum over the first {k} of {n} samples", parts[:k].sum(axis=0)
        yield "samples", f"the sum over the last {k} of {n} samples", parts[-k:].sum(axis=0)


def weighted_samples(case: Case) -> Iterator[Cause]:
    """Each sample counts with a weight of its own; there must be enough elements to tell them."""
    parts = _parts(case)
    if parts is None:
        return
    n, matrix = len(parts), parts.reshape(len(parts), -1).T
    if np.count_nonzero(np.abs(matrix).max(axis=1)) < 2 * n:
        return
    weights, _, rank, _ = np.linalg.lstsq(matrix, case.candidate.ravel(), rcond=1e-9)
    if rank < n:
        return
    prediction = (matrix @ weights).reshape(case.reference.shape)
    if case.explains(prediction, float(np.abs(weights).max())):
        shown = ", ".join(f"{w:.4g}" for w in weights[:4])
        yield Cause(
            "factor per sample",
            f"manual adds up the samples with the weights {shown}{', …' if n > 4 else ''} "
            "instead of 1 each.",
            "A weight or mask per sample is missing, extra or another's.",
        )


def _parts(case: Case) -> np.ndarray | None:
    """Return each sample's contribution, if there are several."""
    found = case.context.samples() if case.context.samples else None
    return None if found is None or len(found) < 2 else np.asarray(found, dtype=np.float64)
