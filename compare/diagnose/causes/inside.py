"""Right numbers inside the wrong argument: undo the outermost function and compare what is in it.

If 1/manual − 1/torch is the same number everywhere, a term of a denominator is wrong; the same
holds of what stands in a logarithm, an exponential, a root, a sigmoid or a tanh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from compare.diagnose.causes.cause import Cause
from compare.diagnose.causes.fit import Case
from compare.diagnose.causes.products import wrong_term
from compare.diagnose.causes.scale import any_factor, named_factor, offset


def _quantile(p: Any) -> Any:
    import torch

    return torch.special.ndtri(torch.tensor(p)).numpy()


UNDO: dict[str, tuple[str, Callable[[Any], Any]]] = {  # name: in words, and the inverse function
    "denominator": ("1/{0}", lambda a: 1 / a),
    "logarithm": ("e^{0}", np.exp),
    "exponential": ("log |{0}|", lambda a: np.log(np.abs(a))),
    "root": ("{0}²", np.square),
    "sigmoid": ("logit of {0}", lambda a: np.log(a) - np.log1p(-a)),
    "tanh": ("artanh of {0}", np.arctanh),
}
GATES: dict[str, tuple[str, Callable[[Any], Any]]] = {  # of y = x g(x): what is in g
    "sigmoid or tanh of the gate": ("logit of ({0}/x)", UNDO["sigmoid"][1]),
    "normal distribution of the gate": ("the normal quantile of ({0}/x)", _quantile),
}
FEWEST = 8  # elements that must confirm it
ADVICE = "Look at what stands inside the {0}: a term, a factor or a sign of it is wrong."


def inside_a_function(case: Case) -> Iterator[Cause]:
    """Behind a function that is undone, the two sides differ by a factor or by one term."""
    for outer, text, inner in _inner(case):
        families = (offset, wrong_term) if outer == "exponential" else (
            named_factor, any_factor, offset, wrong_term,
        )  # fmt: skip
        for family in families:
            for cause in family(inner):
                told = cause.evidence.replace("manual", text.format("manual"))
                told = told.replace("torch", text.format("torch"))
                yield Cause("inside a function", told, ADVICE.format(outer))
                return


def _inner(case: Case) -> Iterator[tuple[str, str, Case]]:
    """Yield what was undone, in words, and both sides behind it."""
    for outer, (text, undo) in UNDO.items():
        if (inner := undone(case, undo)) is not None:
            yield outer, text, inner
    x = case.context.places.get("x")
    if x is None or "y" not in case.context.places or not x.all() or case.context.terms:
        return
    for outer, (text, undo) in GATES.items():
        gates = Case(case.candidate / x, case.reference / x, case.tolerance / abs(x), case.context)
        if (inner := undone(gates, undo)) is not None:
            yield outer, text, inner


def undone(case: Case, undo: Callable[[Any], Any]) -> Case | None:
    """Return both sides behind a function that is undone; None where it is not defined."""
    low, high = case.reference - case.tolerance, case.reference + case.tolerance
    with np.errstate(all="ignore"):
        mine, theirs, room = undo(case.candidate), undo(case.reference), undo(high) - undo(low)
    sizes = np.abs(theirs)
    if mine.size < FEWEST or not all(np.isfinite(a).all() for a in (mine, theirs, room)):
        return None
    room = np.abs(room) + 64 * case.roundoff * (1 + sizes)
    inner = Case(mine, theirs, room, replace(case.context, terms={}, alternatives=None))
    return inner if inner.off.any() else None
