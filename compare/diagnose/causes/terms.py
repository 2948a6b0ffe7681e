"""The candidate lacks, repeats or flips one term of a sum, or holds another tensor altogether."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from compare.diagnose.causes.cause import Cause
from compare.diagnose.causes.constants import Named, names_of, told
from compare.diagnose.causes.fit import Case
from compare.diagnose.causes.products import wrong_factor, wrong_term
from compare.diagnose.causes.scale import any_factor, named_factor, steps_of

NEGLIGIBLE = 1e6
MIXED = "Right numbers in the wrong place: check which name is which, and what is returned."
MISSING = "Every term of the sum counts, once: compare the derivation's terms with the code's."


def one_term(case: Case) -> Iterator[Cause]:
    """One of the terms that add up to the reference is missing, doubled, flipped, or alone."""
    terms = case.context.terms
    if len(terms) < 2:
        return
    for name, term in terms.items():
        for times, kind, what in (
            (-1, "missing term", f"without {name}"),
            (-2, "sign of a term", f"with {name} subtracted instead of added"),
            (1, "extra term", f"with {name} counted twice"),
        ):
            if case.explains(case.reference + times * term, abs(times) + 1):
                yield Cause(kind, f"manual is exactly torch {what}.", MISSING)
        if len(terms) > 2 and case.explains(term):
            yield Cause("missing term", f"manual is {name} alone, without the others.", MISSING)


def inside_a_term(case: Case) -> Iterator[Cause]:
    """The other terms are right, and this one is off by a factor: a number or a product."""
    for name, term in case.context.terms.items():
        inside = Case(
            term + case.diff, term, case.room(case.reference), replace(case.context, terms={})
        )
        if inside.off.any():
            for family in (named_factor, any_factor, wrong_factor):
                for cause in family(inside):
                    text = cause.evidence.replace("manual is torch", f"{name} is torch's")
                    yield Cause("factor on a term", text, cause.advice)


def upstream_unchanged(case: Case) -> Iterator[Cause]:
    """The candidate is the upstream gradient itself: the local derivative is missing."""
    upstream = case.context.upstream
    if upstream is not None and upstream.shape == case.reference.shape:
        fitted = case.factor(upstream)
        if fitted is None or not case.is_another(upstream):
            return
        c, uncertainty = fitted
        names = names_of(c, uncertainty, case.context)
        if abs(c - 1) <= uncertainty or names:
            yield Cause(
                "upstream unchanged",
                f"manual is exactly {_times(c, names)}the upstream gradient.",
                "The chain rule multiplies it by the layer's own derivative, which is missing.",
            )


def known_mistake(case: Case) -> Iterator[Cause]:
    """The candidate is what a known mistake computes, perhaps times a number with a meaning."""
    for kind, what, advice, value in (
        case.context.alternatives() if case.context.alternatives else ()
    ):
        fitted = case.factor(value)
        if fitted is None or not case.is_another(value):
            continue
        c, uncertainty = fitted
        names = names_of(c, uncertainty, case.context)
        exact = kind in ("argument", "mirrored") or (
            kind == "wrong input" and c < 0
        )  # all of it, or nothing
        if abs(c - 1) <= uncertainty or (names and case.reference.size > 1 and not exact):
            yield Cause(kind, f"manual is exactly {_times(c, names)}{what}.", advice)


def another_tensor(case: Case) -> Iterator[Cause]:
    """The candidate is another known tensor, perhaps times a number with a meaning."""
    for name, tensor in {**case.context.others, **case.context.factors}.items():
        fitted = case.factor(tensor)
        if fitted is None or not case.is_another(tensor):
            continue
        c, uncertainty = fitted
        names = names_of(c, uncertainty, case.context)
        if abs(c - 1) <= uncertainty or names:
            yield Cause("another tensor", f"manual is exactly {_times(c, names)}{name}.", MIXED)


def multiple_added(case: Case) -> Iterator[Cause]:
    """The difference is a known tensor times one number: a term too many or too few."""
    steps = steps_of(case)
    largest = (np.abs(a).max(initial=0.0) for a in (case.candidate, case.reference))
    if next(largest) > NEGLIGIBLE * next(largest):
        return  # nothing of the reference is left to which something was added
    for name, tensor in _known(case).items():
        fitted = case.excess(tensor)
        if fitted is None or not case.is_another(tensor):
            continue
        if steps is not None and not steps.is_another(tensor):
            continue
        c, uncertainty = fitted
        names = names_of(c, uncertainty, case.context)
        one = abs(abs(c) - 1) <= uncertainty
        if not (one or names) and case.telling_count(tensor) < 4:
            continue
        yield Cause(
            "missing term" if c < 0 else "extra term",
            f"manual − torch is {_times(c, [] if one else names)}{name} in every element.",
            "Compare the terms of the derivation with the terms of the code: that one is "
            f"{'missing or has the wrong sign' if c < 0 else 'extra or has the wrong sign'}.",
        )


def mean_not_subtracted(case: Case) -> Iterator[Cause]:
    """Centred along an axis, the candidate is the reference."""
    for axis in range(case.reference.ndim):
        if case.reference.shape[axis] < 3:
            continue
        mean = case.candidate.mean(axis=axis, keepdims=True)
        if case.explains(case.reference + mean, 2):
            yield Cause(
                "mean not subtracted",
                f"manual, less its mean over axis {axis}, is torch.",
                "A mean that the layer subtracts depends on every element: its own derivative, "
                "−1/n of the sum, is missing.",
            )


def multiple_per_row(case: Case) -> Iterator[Cause]:
    """The candidate, or the difference, is a known tensor times one factor per index of an axis."""
    known = _known(case) | {"1": np.ones_like(case.reference)}
    for name, x in case.context.places.items():
        for axis in range(x.ndim):
            centred = x - x.mean(axis=axis, keepdims=True)
            known[f"{name} less its mean over axis {axis}"] = centred
    for name, tensor in known.items():
        if tensor.shape != case.reference.shape or tensor.ndim < 2:
            continue
        for axis in range(tensor.ndim):
            for left, what in ((case.candidate, "manual"), (case.diff, "manual − torch")):
                fitted = _row_multiple(left, tensor, axis, case)
                if fitted is not None:
                    yield Cause(
                        "row term",
                        f"{what} is {name} times one factor for each index of axis {axis}.",
                        "Look at the terms that hold a sum, mean or norm: one of them is missing "
                        "or wrong.",
                    )


def _row_multiple(left: np.ndarray, t: np.ndarray, axis: int, case: Case) -> np.ndarray | None:
    others = tuple(a for a in range(t.ndim) if a != axis)
    if t.size < 3 * t.shape[axis] or t.shape[axis] < 2:
        return None
    square = (t * t).sum(axis=others, keepdims=True)
    product = (left * t).sum(axis=others, keepdims=True)
    c = np.divide(product, square, out=np.zeros_like(product), where=square > 0)
    fits = case.explains(c * t + (case.candidate - left), float(np.abs(c).max(initial=0.0)))
    return c if fits and np.ptp(c) > 1e-6 * np.abs(c).max(initial=0.0) else None


def _times(c: float, names: list[Named]) -> str:
    if not names and abs(abs(c) - 1) < 1e-6:
        return "" if c > 0 else "−1 × "
    return f"{told(c, names)} × " if len(names) != 1 or names[0].kind != "sign" else "−1 × "


def _known(case: Case) -> dict[str, np.ndarray]:
    upstream = case.context.upstream
    return dict(case.context.others) | (
        {} if upstream is None else {"the upstream gradient": upstream}
    )


def step_product(case: Case) -> Iterator[Cause]:
    """The steps that the two sides took differ by a product of known tensors."""
    steps = steps_of(case)
    if steps is None:
        return
    for family in (wrong_factor, wrong_term):
        for cause in family(steps):
            text = cause.evidence.replace("manual is torch", "manual's step is torch's")
            yield replace(cause, evidence=text)
