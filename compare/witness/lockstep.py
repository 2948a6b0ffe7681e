"""When a layer's gradient and torch's differ in a run: whom do the witnesses side with?

Witnesses need no second implementation: they measure the slope of the forward pass itself, here on
the step's own inputs and weights. Both gradients are held against it. The forward pass must be the
same on both sides, so they are heard only where it agrees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from compare.witness.complex_step import complex_step
from compare.witness.directional import directional
from compare.witness.testimony import Testimony

WITNESSES: dict[str, Callable[..., Testimony]] = {
    "directional derivatives": directional,
    "complex step": complex_step,
}
TOLERANCES = {"float64": 1e-8, "float32": 1e-4}  # what torch's own rounding needs


class Pair(NamedTuple):
    """A forward pass, with both sides' backward of it.

    forward: inputs, parameters -> (output, cache).
    manual, torch: (grad_output, what `forward` was given and its cache) -> gradients by name.
    """

    forward: Callable[..., tuple[Any, Any]]
    manual: Callable[[Any, Any], Mapping[str, Any]]
    torch: Callable[[Any, Any], Mapping[str, Any]]
    inputs: Mapping[str, np.ndarray]


class Hearing(NamedTuple):
    """Whom the witnesses side with, and what they said: one sentence, with numbers."""

    side: str  # torch, manual, both or neither
    text: str


def hear(
    pair: Pair, dtype: str, names: list[str] | None = None, tolerance: float | None = None
) -> Hearing | None:
    """Ask every witness about both sides; None if none of them can decide.

    Args:
        pair: the forward pass and both gradients of it.
        dtype: what torch's gradient was computed in.
        names: the gradients in question; all by default.
        tolerance: of a gradient's length; by default what torch's own rounding needs.
    """
    tolerance = TOLERANCES[dtype] if tolerance is None else tolerance
    words: dict[str, tuple[Testimony, Testimony]] = {}
    for name, ask in WITNESSES.items():
        try:
            manual, torch = (
                ask(pair.forward, _only(backward, names), pair.inputs, tolerance=tolerance)
                for backward in (pair.manual, pair.torch)
            )
        except Exception:  # code with a mistake in it may fail on a witness's numbers
            continue
        if manual.conclusive and torch.conclusive:
            words[name] = manual, torch
    sides = {_side(manual, torch) for manual, torch in words.values()}
    return Hearing(sides.pop(), _told(words)) if len(sides) == 1 else None


def _only(backward: Callable, names: list[str] | None) -> Callable:
    def chosen(dout: Any, cache: Any) -> dict[str, Any]:
        found = backward(dout, cache)
        return {k: np.asarray(g) for k, g in found.items() if names is None or k in names}

    return chosen


def _side(manual: Testimony, torch: Testimony) -> str:
    return {(True, True): "both", (True, False): "manual", (False, True): "torch"}.get(
        (manual.agrees, torch.agrees), "neither"
    )


def _told(words: Mapping[str, tuple[Testimony, Testimony]]) -> str:
    manual, torch = next(iter(words.values()))
    names = " and ".join(words)
    verb = "side" if len(words) > 1 else "sides"
    who = {
        "torch": f"{names} {verb} with torch",
        "manual": f"{names} {verb} with the hand-written gradient",
        "both": f"{names} cannot tell the two apart",
        "neither": f"{names} {verb} with neither",
    }[_side(manual, torch)]
    count = {1: "A witness that needs no torch", 2: "Two independent witnesses"}[len(words)]
    wrong, right = (torch, manual) if _side(manual, torch) == "manual" else (manual, torch)
    of = {id(manual): "the manual gradient", id(torch): "torch's"}
    error = f"relative error {right.relative_error:.1e}"  # type: ignore[attr-defined]
    return f"{count}: {who}. Of {of[id(wrong)]}, {wrong.evidence}; of {of[id(right)]}, {error}."
