"""Numbers and names as people read them."""

from __future__ import annotations

import math
import re
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def name(text: object) -> str:
    """Return `text` on one line, without control characters (XML and terminals reject them)."""
    return _CONTROL.sub(
        "\N{REPLACEMENT CHARACTER}", re.sub(r"[\t\r\n\u2028\u2029]+", " ", str(text))
    )


def block(text: object) -> str:
    """Return `text` with its lines kept and other control characters replaced."""
    return "\n".join(name(line.expandtabs(4)) for line in str(text).splitlines())


def count(n: Any) -> str:
    """Return a whole number with its thousands grouped."""
    return f"{int(n):,}"


def plural(n: Any, word: str) -> str:
    return f"{count(n)} {word}" if int(n) == 1 else f"{count(n)} {word}s"


def short(x: Any) -> str:
    """Return a number to three significant digits."""
    x = float(x)
    if not math.isfinite(x):
        return str(x)
    return "0" if x == 0 else f"{x:.3g}"


def exact(x: Any) -> str:
    """Return the shortest text that reads back as the same float."""
    return repr(float(x))


def budget(x: Any) -> str:
    """Return a share of the budget: in per cent up to the limit, as a multiple above it."""
    x = float(x)
    if math.isnan(x):
        return "–"
    if math.isinf(x):
        return "∞"
    if x > 1:
        return f"{x:,.2f} ×" if x < 1000 else f"{x:.1e} ×".replace("e+0", "e").replace("e+", "e")
    if 0 < x < 1e-5:
        return "< 0.001 %"
    return "0 %" if x == 0 else f"{_two_digits(100 * x)} %"


def _two_digits(x: float) -> str:
    places = max(0, 1 - math.floor(math.log10(x)))
    return f"{x:.{min(places, 3)}f}"


def split_common(a: str, b: str) -> tuple[str, str, str]:
    """Return the digits that two numbers share, and what is left of each."""
    if ("e" in a or "e" in b) and a.partition("e")[2] != b.partition("e")[2]:
        return "", a, b
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    same = min(len(a), len(b)) if same is None else same
    return a[:same], a[same:], b[same:]


def place(step: Any, layer: Any, quantity: Any) -> str:
    return f"step {step}, layer {name(layer)}, {name(quantity)}"
