"""Rules that say whether two tensors agree: the gauge, and those in common use.

Each rule is the largest difference that it allows, element by element, so that all can be asked
about the very same numbers. A test holds the formulas against the functions they stand for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Allowed = Callable[[np.ndarray, np.ndarray, Any], Any]  # manual, torch, the gauge's tolerance


class Rule(NamedTuple):
    """A name, and the difference that is allowed given both sides and the gauge's tolerance."""

    name: str
    allowed: Allowed


def gauge(manual: np.ndarray, torch: np.ndarray, tolerance: Any) -> Any:
    """This project's rule: what the error gauge derived for the element."""
    return tolerance


def allclose(manual: np.ndarray, torch: np.ndarray, tolerance: Any) -> Any:
    """numpy.allclose: 1e-8 + 1e-5 |t|."""
    return 1e-8 + 1e-5 * np.abs(torch)


def assert_close(manual: np.ndarray, torch: np.ndarray, tolerance: Any) -> Any:
    """torch.testing.assert_close: 1e-5 + 1.3e-6 |t| in float32, 1e-7 + 1e-7 |t| in float64."""
    atol, rtol = (1e-5, 1.3e-6) if torch.dtype == np.float32 else (1e-7, 1e-7)
    return atol + rtol * np.abs(torch)


def gradcheck(manual: np.ndarray, torch: np.ndarray, tolerance: Any) -> Any:
    """torch.autograd.gradcheck: 1e-5 + 1e-3 |t|."""
    return 1e-5 + 1e-3 * np.abs(torch)


def cs231n(manual: np.ndarray, torch: np.ndarray, tolerance: Any) -> Any:
    """CS231n's relative error |m - t| / max(1e-8, |m| + |t|): 1e-4 in float32, 1e-7 in float64."""
    threshold = 1e-4 if torch.dtype == np.float32 else 1e-7
    return threshold * np.maximum(1e-8, np.abs(manual) + np.abs(torch))


GAUGE = Rule("gauge", gauge)
RULES = (
    GAUGE,
    Rule("numpy.allclose", allclose),
    Rule("assert_close", assert_close),
    Rule("gradcheck", gradcheck),
    Rule("CS231n", cs231n),
)


def agrees(rule: Rule, manual: np.ndarray, torch: np.ndarray, tolerance: Any) -> bool:
    """Return whether every element differs by no more than allowed; NaN never agrees."""
    with np.errstate(all="ignore"):
        return bool((np.abs(manual - torch) <= rule.allowed(manual, torch, tolerance)).all())
