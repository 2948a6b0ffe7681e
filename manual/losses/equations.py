"""The equations of a loss in all its reductions, from one element's."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["TRIED", "reduced"]

TRIED: tuple[dict[str, str], ...] = (
    {},
    {"reduction": "sum"},
    {"reduction": "none"},
)  # by the examples: mean is left out


def reduced(
    index: str,
    element: str,
    slopes: Mapping[str, str],
    divisor: str,
    *,
    where: str = "",
    total: str = "",
    variant: str = "",
) -> dict[str, str]:
    """Return equations for `mean`, `sum` and `none`.

    Args:
        index: of the elements, or samples, that are averaged.
        element: the loss of one of them.
        slopes: of the sum of all, by role: `left = right`.
        divisor: what the mean divides by; `total` defines it.
        where: definitions, as lines.
        variant: of all these equations.
    """
    texts = {
        "output": (
            f"L = sum({index}, {element}) / {divisor}",
            f"L = sum({index}, {element})",
            f"l[{index}] = {element}",
        )
    }
    for role, slope in slopes.items():
        left, _, right = slope.partition(" = ")
        texts[role] = f"{slope} / {divisor}", slope, f"{left} = dy[{index}] * {right}"
    return {
        f"{role}/{', '.join(filter(None, (variant, reduction)))}".removesuffix("/"): (
            text + where + (total if not reduction else "")
        )
        for role, three in texts.items()
        for reduction, text in zip(("", "sum", "none"), three, strict=True)
    }
