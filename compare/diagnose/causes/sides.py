"""Each side of a border by itself: x > 0 and x <= 0, or the two classes of a target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from compare.diagnose.causes.cause import Cause, Context
from compare.diagnose.causes.fit import Case
from compare.diagnose.causes.products import FACTOR, wrong_factor, wrong_term
from compare.diagnose.causes.scale import any_factor, named_factor, offset, zero

FEWEST = 6  # elements of a side that must confirm what is said of it
ADVICE = (
    "The formula has a piece for each side, and what both are made of is wrong: the two pieces are "
    "exchanged, or a factor or term that stands in both."
)


def each_side(case: Case) -> Iterator[Cause]:
    """A simple relation on each side of zero of a known tensor, and not the same one."""
    for name, x, border in _borders(case):
        told = [_told(case, side) for side in (x > border, x <= border)]
        above, below = told
        if above is None or below is None or above == below:
            continue
        if border == 0 and below == "manual is 0" and set(np.unique(x)) <= {0, 1}:
            yield Cause("wrong factor", f"{above} × {name} in every element.", FACTOR)
            return
        text = f"where {name} > {border:g}, {above}; where {name} ≤ {border:g}, {below}."
        kind = "both sides of a border" if border else "both sides of zero"
        yield Cause(kind, f"{text[0].upper()}{text[1:]}", ADVICE)
        return


def _borders(case: Case) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield known tensors with a number that may divide them: 0, or a setting such as δ."""
    for name, x in case.context.places.items():
        if x.shape == case.off.shape:
            yield name, x, 0.0
            for c in case.context.constants.values():
                if c > 0:
                    yield f"|{name}|", np.abs(x), c


def _told(case: Case, side: np.ndarray) -> str | None:
    """Say what the candidate is on one side; None if nothing simple explains it."""
    part = Case(
        case.candidate[side], case.reference[side], case.tolerance[side], _cut(case.context, side)
    )
    if np.count_nonzero(side) < FEWEST:
        return None
    if not part.off.any():
        return "manual is torch"
    for family in (zero, named_factor, any_factor, offset, wrong_factor, wrong_term):
        for cause in family(part):
            return (
                cause.evidence.removesuffix(".")
                .removesuffix(" in every element")
                .removesuffix(" in every element, torch is not")
            )
    return None


def _cut(context: Context, side: np.ndarray) -> Context:
    """Keep of every known tensor what lies on this side."""

    def cut(found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {n: np.asarray(a)[side] for n, a in found.items() if np.shape(a) == side.shape}

    def one(a: np.ndarray | None) -> np.ndarray | None:
        return None if a is None or a.shape != side.shape else a[side]

    return replace(
        context, others=cut(context.others), places=cut(context.places), terms={}, masks={},
        factors=cut(context.factors), upstream=one(context.upstream), slope=one(context.slope),
        origin=one(context.origin), samples=None, alternatives=None, batch_axis=None,
    )  # fmt: skip
