"""What a report says of the first disagreement: where it is, and whose mistake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compare.diagnose.causes import Cause
    from compare.witness.lockstep import Hearing

Place = tuple[int, str, str]  # step, layer, quantity


@dataclass(frozen=True)
class Divergence:
    """The first disagreement in execution order, and whose mistake it is.

    `own_or_inherited` is `own` when the layer's own formula, given torch's inputs and upstream
    gradient, still disagrees; `inherited` when it only passed on what it received. `cause` says
    what the mistake looks like; None if nothing that is known explains all of it. `witnesses` says
    whom the slope of the forward pass itself sides with; None where that cannot be told. `sides`
    are what `manual` and `torch` are called where they are not the report's two sides.
    """

    step: int
    layer: str
    quantity: str
    max_abs_diff: float
    own_or_inherited: str
    layer_type: str
    worst_index: str
    manual: float
    torch: float
    row: Place  # the row of the table in which it was seen
    last_agreed: Place | None
    explanation: str
    witnesses: Hearing | None = None
    manual_source: str = ""
    derivation: str = ""
    torch_source: str = ""
    cause: Cause | None = None
    sides: tuple[str, str] | None = None


def index_text(flat: float, shape: tuple[int, ...]) -> str:
    """Return an index such as `(3, 5)` for a flat position; `()` for a number."""
    if not np.isfinite(flat):
        return ""
    return str(tuple(int(i) for i in np.unravel_index(int(flat), shape)))
