"""The candidate is the reference times something: one number, or one number per row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import permutations

import numpy as np

from compare.diagnose.causes.cause import Cause
from compare.diagnose.causes.constants import Named, names_of, told
from compare.diagnose.causes.fit import Case


def zero(case: Case) -> Iterator[Cause]:
    """All elements are zero, up to rounding."""
    if (np.abs(case.candidate) <= case.tolerance).all():
        yield Cause(
            "zero",
            "manual is 0 in every element, torch is not.",
            "Something multiplies the gradient by 0, or it is never computed: look for a wrong "
            "mask, a fresh array that is never filled, or a gradient that is not handed on.",
        )


def named_factor(case: Case) -> Iterator[Cause]:
    """One factor everywhere, and it is a number with a meaning."""
    fitted = case.factor(case.reference)
    if fitted is None:
        return
    c, uncertainty = fitted
    names = names_of(c, uncertainty, case.context)
    if names:
        kinds = [n.kind for n in names]
        yield Cause(
            kinds[0],
            _everywhere(told(c, names)),
            _advice(c, names, case.context.sizes),
            tuple(dict.fromkeys(kinds[1:])),
        )


def scalar_upstream(case: Case) -> Iterator[Cause]:
    """The upstream gradient is one number, and forgotten or used twice."""
    upstream, fitted = case.context.upstream, case.factor(case.reference)
    if upstream is None or np.size(upstream) != 1 or fitted is None or case.reference.size < 2:
        return
    dy, (c, uncertainty) = float(np.ravel(upstream)[0]), fitted
    near = max(uncertainty, 1e-12)
    if dy == 0 or abs(abs(dy) - 1) < 1e-6 or names_of(c, uncertainty, case.context):
        return
    advice = "The chain rule multiplies by the upstream gradient dy, once, even if it is a number."
    if abs(c * dy - 1) <= near:
        text = f"{c:.6g} = 1 / dy, with the upstream gradient dy = {dy:.6g},"
        yield Cause("upstream missing", _everywhere(text), advice)
    elif abs(c / dy - 1) <= near:
        text = f"{c:.6g} = dy, the upstream gradient,"
        yield Cause("upstream twice", _everywhere(text), advice)
    elif names := [n for n in names_of(c * dy, near, case.context) if n.rank < 2]:
        text = f"{c:.6g} = {told(c * dy, names)} / dy, with the upstream gradient dy = {dy:.6g},"
        yield Cause("upstream missing", _everywhere(text), advice, (names[0].kind,))


def any_factor(case: Case) -> Iterator[Cause]:
    """One factor everywhere, whatever it is; a single element always has one, and says nothing."""
    fitted = case.factor(case.reference)
    if fitted is None or case.telling_count(case.reference) < 3:
        return
    c, uncertainty = fitted
    if not names_of(c, uncertainty, case.context) and not any(scalar_upstream(case)):
        yield Cause(
            "constant factor",
            _everywhere(f"{c:.8g}" if f"{c:.8g}" != "1" else f"{c:.16g}"),
            "The formula's shape is right: look for a constant that is missing, extra or mistyped.",
        )


def step_factor(case: Case) -> Iterator[Cause]:
    """A factor with a meaning between the steps that the two sides took from the same point."""
    steps = steps_of(case)
    if steps is None:
        return
    for cause in zero(steps):
        text = "manual is what it was before the step."
        yield replace(cause, kind="no update", evidence=text, advice="The step is never taken.")
    for cause in named_factor(steps):
        yield replace(cause, evidence=cause.evidence.replace(*OF_STEPS))


def any_step_factor(case: Case) -> Iterator[Cause]:
    """One factor between the steps, whatever it is."""
    steps = steps_of(case)
    for cause in any_factor(steps) if steps is not None else ():
        yield replace(cause, evidence=cause.evidence.replace(*OF_STEPS))


def steps_of(case: Case) -> Case | None:
    """Return the two sides' steps from where they started, if they differ by more than rounding."""
    origin = case.context.origin
    if origin is None:
        return None
    rounding = 4 * case.roundoff * np.abs(origin)
    ours, theirs = case.candidate - origin, case.reference - origin
    steps = Case(ours, theirs, case.tolerance + rounding, case.context)
    return steps if steps.off.any() else None


def constant(case: Case) -> Iterator[Cause]:
    """The same number everywhere: the candidate does not depend on what it is computed from."""
    values = case.candidate
    alike = values.size >= 4 and np.ptp(values) <= 2 * case.tolerance.max()
    if alike and np.ptp(case.reference) > 1e-6 * np.abs(values).max() > 0:
        yield Cause(
            "constant value",
            f"manual is {values.flat[0]:.8g} in every element, torch's elements differ.",
            "What the elements should depend on is overwritten, clipped away, or never used.",
        )


def offset(case: Case) -> Iterator[Cause]:
    """One number was added everywhere."""
    fitted = case.excess(np.ones_like(case.reference))
    if fitted is not None and case.reference.size >= 3:
        yield Cause(
            "offset",
            f"manual is torch + {fitted[0]:.8g} in every element.",
            "A constant is added that does not belong there, or one that belongs there is missing.",
        )


def factor_per_row(case: Case) -> Iterator[Cause]:
    """One factor for each index of one axis; every row has elements that confirm its factor."""
    for axis in range(case.reference.ndim) if case.reference.ndim > 1 else ():
        factors = _factors(case, axis)
        if factors is None or np.ptp(factors) <= 1e-6 * np.abs(factors).max():
            continue
        if not case.explains(case.reference * factors, np.abs(factors)):
            continue
        whose = "sample" if axis == case.context.batch_axis else f"index of axis {axis}"
        first = ", ".join(_apart(factors.ravel())[:4])
        yield Cause(
            "factor per sample" if axis == case.context.batch_axis else "factor per unit",
            f"manual is torch × one factor for each {whose}: {first}"
            f"{', …' if factors.size > 4 else ''}.",
            "A weight, mask or norm that belongs to each of them is missing, extra or another's.",
        )


def _factors(case: Case, axis: int) -> np.ndarray | None:
    """Return the factor of each index of the axis by least squares; 1 where nothing tells."""
    others = tuple(a for a in range(case.reference.ndim) if a != axis)
    square = (case.reference**2).sum(axis=others, keepdims=True)
    telling = np.count_nonzero(case.telling, axis=others)
    if np.count_nonzero(telling) < 2 or telling[telling > 0].min() < 2 or telling.sum() < 6:
        return None
    product = (case.candidate * case.reference).sum(axis=others, keepdims=True)
    return np.divide(product, square, out=np.ones_like(product), where=square > 0)


def _apart(factors: np.ndarray) -> list[str]:
    """Return factors with four digits, or with as many as it takes to show that they differ."""
    for digits in (4, 6, 8):
        shown = [f"{c:.{digits}g}" for c in factors]
        hidden = any(s == "1" and abs(c - 1) > 1e-9 for s, c in zip(shown, factors, strict=True))
        if len(set(shown)) == len(shown) and not hidden:
            break
    return shown


def _everywhere(factor: str) -> str:
    return f"manual is torch × {factor} in every element."


def _advice(c: float, names: list[Named], sizes: Mapping[str, int]) -> str:
    first = names[0]
    sign = " The sign is flipped as well." if c < 0 and first.kind != "sign" else ""
    if _tied(names, sizes):
        sign += " Several sizes are equal here: repeat with different ones to tell them apart."
    above, below = _ADVICE.get(first.kind, (_OTHER, _OTHER))
    return (above if abs(c) > 1 else below) + sign


def _tied(names: list[Named], sizes: Mapping[str, int]) -> bool:
    """Return whether two meanings are one number because two sizes are equal."""
    equal = [(a, b) for a, b in permutations(sizes, 2) if sizes[a] == sizes[b]]
    meanings = {n.label for n in names}
    return any(a in m and m.replace(a, b) in meanings for m in meanings for a, b in equal)


OF_STEPS = ("manual is torch", "manual's step is torch's")
_OTHER = "Look for that number in the derivation: it is missing, extra, or on the wrong side."
_SIGN = "Look for a lost minus, such as target − output for output − target."
_VARIANCE = (
    "One side divides by n, the other by n − 1; torch normalises with n, torch.var by n − 1."
)
_ADVICE = {  # kind: advice for a factor above 1, and for one below
    "sign": (_SIGN, _SIGN),
    "batch size": (
        "The 1/N of the mean over the batch is missing: divide once, in the loss's gradient.",
        "Divided by the batch size once too often, or averaged where gradients of samples add up: "
        "1/N belongs in the loss's gradient alone.",
    ),
    "number of classes": (
        "A mean over the classes is missing: torch divides by their number here.",
        "A mean was taken over the classes where torch adds them up.",
    ),
    "factor 2": (
        "A ½ is missing, or a 2 too many: check the derivative of a square.",
        "A factor 2 is missing, or a ½ too many: the derivative of x² is 2x.",
    ),
    "n − 1": (_VARIANCE, _VARIANCE),
}


def clipped(case: Case) -> Iterator[Cause]:
    """The reference, but no element larger than a bound."""
    bound = float(np.abs(case.candidate).max(initial=0.0))
    beyond = np.abs(case.reference) > bound
    inside = case.telling & (np.abs(case.candidate) < 0.999 * bound)
    if not bound or min(np.count_nonzero(beyond & case.off), np.count_nonzero(inside)) < 2:
        return
    if case.explains(np.clip(case.reference, -bound, bound)):
        text = f"manual is torch clipped at ±{bound:.6g} ({np.count_nonzero(beyond)} elements)."
        yield Cause("clipped", text, "A gradient that is checked must not be clipped.")
