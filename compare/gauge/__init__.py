"""The error gauge: how far rounding may take each element, derived by running the same code.

`state` holds what is counted in, `array` the arrays; rules register themselves in `registry`:
`smooth` functions, `arithmetic`, `products`, `sums`, `moving`, `padding`. `correlated` follows
errors that add up; `trust` asks whether a gauged run computed what the plain one did.
"""

from compare.gauge import arithmetic, moving, padding, products, sums
from compare.gauge.array import (
    EXACT,
    SMALLEST,
    Gauge,
    K,
    gauge,
    is_exact,
    least_tolerance,
    parts,
)
from compare.gauge.correlated import FAR, sketches, widened
from compare.gauge.state import (
    FORMATS,
    Doubts,
    Format,
    Setting,
    adding_in_half,
    as_far_as_allowed,
    doubting,
    format_of,
    gauging,
    rounding_as,
    setting,
    sketching,
)
from compare.gauge.trust import GaugeMistakeError, strayed

__all__ = [
    "EXACT", "FAR", "FORMATS", "SMALLEST", "Doubts", "Format", "Gauge", "GaugeMistakeError", "K",
    "Setting", "adding_in_half",
    "as_far_as_allowed", "doubting", "format_of", "gauge", "gauging", "is_exact",
    "least_tolerance", "parts", "rounding_as", "setting", "sketches", "sketching", "strayed",
    "widened",
]  # fmt: skip
RULES = (arithmetic, moving, padding, products, sums)  # importing them registers their rules
