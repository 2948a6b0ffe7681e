"""Name the cause of a gradient that disagrees, from what a check knows about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compare.diagnose.causes import Cause, Context, Tensors, find_cause
from compare.diagnose.causes.cause import BATCH
from compare.diagnose.causes.context import gradient_context, output_sizes
from compare.pair.inputs import as_float, fresh
from compare.pair.nests import attributes
from compare.pair.own_forward import OwnForward
from compare.pair.reference import TorchReference
from compare.pair.tolerance import U64
from compare.pair.torch_candidate import TorchCandidate
from compare.running.cases.outcome import Outcome

PLAIN_NUMBERS = (0.0, 1.0, 2.0, 0.5, -1.0)

if TYPE_CHECKING:
    from compare.commands.check.session import Session


def cause(session: Session, outcome: Outcome, quantity: str) -> Cause | None:
    """Return the relation of the numbers that explains the difference, or None."""
    mine, theirs = outcome.manual.get(quantity), outcome.expected.get(quantity)
    if mine is None or theirs is None:
        return None
    tolerance = outcome.tolerances.get(outcome.key(quantity), 0.0)
    if np.shape(tolerance) not in ((), theirs.shape):
        tolerance = 0.0
    promoted = session.precision.name == "float32" and mine.dtype == np.float64
    if promoted and (told := _of_dtype(mine, theirs)) is not None:
        return told
    if (other := _swapped(outcome, quantity)) is not None:
        return other
    context = _context(session, outcome, quantity, tolerance)
    found = find_cause(as_float(mine), theirs, tolerance, context)
    if found is not None and found.kind != "hidden float32":
        return found
    return _smooth(session, outcome, quantity) or found


def _of_dtype(mine: np.ndarray, theirs: np.ndarray) -> Cause | None:
    """Return the cause of right numbers in another dtype than asked for: no digits are lost."""
    right = mine.shape == theirs.shape and np.allclose(mine, theirs, rtol=1e-3, atol=1e-6)
    told = "manual has dtype float64, its input float32; the numbers are right."
    advice = "Look for np.zeros, np.array or a Python list without a dtype on the way."
    return Cause("dtype", told, advice) if right else None


def _constants(session: Session, outcome: Outcome) -> dict[str, float]:
    """Return numbers of the user's that a factor may be: inputs, attributes, literals."""
    candidate = session.candidate
    found = {n: v for n, v in outcome.values.items() if isinstance(v, int | float)}
    held = attributes(candidate.layer) if hasattr(candidate, "layer") else {}
    found |= {n: v for n, v in held.items() if isinstance(v, float)}
    for code in (candidate.forward_code, candidate.backward_code):
        body = getattr(getattr(code, "__func__", code), "__code__", None)
        literals = (c for c in getattr(body, "co_consts", ()) if isinstance(c, float))
        found |= {f"the {c:g} in the code": c for c in literals if c not in PLAIN_NUMBERS}
        free = zip(getattr(body, "co_freevars", ()), getattr(code, "__closure__", None) or (),
                   strict=True)  # fmt: skip
        found |= {n: c.cell_contents for n, c in free if type(c.cell_contents) in (int, float)}
    return {n: float(v) for n, v in found.items() if not isinstance(v, bool)}


def _swapped(outcome: Outcome, quantity: str) -> Cause | None:
    """Return the cause if a gradient is exactly another input's, of whatever shape."""
    mine, theirs = outcome.manual[quantity], outcome.expected[quantity]
    for name, other in outcome.expected.items():
        if name == quantity or name[:5] != "grad:" or quantity[:5] != "grad:":
            continue
        alike = mine.shape == other.shape and mine.size > 1 and other.any()
        if (
            alike
            and np.allclose(mine, other, rtol=1e-9, atol=0)
            and not (other.shape == theirs.shape and np.allclose(mine, -theirs, rtol=1e-9, atol=0))
            and not (other.shape == theirs.shape and np.allclose(other, theirs, rtol=1e-6, atol=0))
        ):
            what = f"manual is exactly the gradient of {name[5:]}, not of {quantity[5:]}."
            return Cause(
                "another tensor", what, "Check the order in which backward returns its gradients."
            )
    return None


def _smooth(session: Session, outcome: Outcome, quantity: str) -> Cause | None:
    """Return the cause if a small difference follows the inputs smoothly: rounding does not."""
    mine, theirs = as_float(outcome.manual[quantity]), as_float(outcome.expected[quantity])
    if mine.shape != theirs.shape or isinstance(session.reference, OwnForward):
        return None
    tell = theirs != 0
    parts = np.abs((mine - theirs)[tell] / theirs[tell])
    if parts.size < 4 or not 1e-12 < np.median(parts) < 1e-3 or np.max(parts) > 1e-2:
        return None
    rng = np.random.default_rng(5)
    nudged = {
        n: v * (1 + 2.0**-20 * rng.standard_normal(np.shape(v)))
        if n in session.candidate.differentiable
        else v
        for n, v in outcome.values.items()
    }
    ours = session.candidate.run(fresh(nudged), list(outcome.upstreams)).named()[quantity]
    there = as_float(ours) - session.reference.run(nudged, outcome.upstreams).named()[quantity]
    here = mine - theirs
    if not np.median(np.abs(there - here)[tell]) < 0.1 * np.median(np.abs(here[tell])):
        return None
    return Cause(
        "small constant",
        f"manual is off by about {np.median(parts):.2g} of each element, and smoothly so: this is "
        "no rounding.",
        "Look for an epsilon that one side lacks or has elsewhere, or a constant of few digits.",
    )


def _context(session: Session, outcome: Outcome, quantity: str, tolerance: Any) -> Context:
    reference, dy = session.reference, outcome.upstreams[0]
    more: dict[str, Any] = {
        "dtype": session.precision.name, "constants": _constants(session, outcome),
    }  # fmt: skip
    if session.precision.name == "float32" and not isinstance(session.candidate, TorchCandidate):
        more["double"] = lambda: _double(session, outcome, quantity, tolerance)
    if quantity[:5] != "grad:":
        return Context(sizes=output_sizes(dy), **more)
    name = quantity.removeprefix("grad:")
    if not isinstance(reference, TorchReference) or len(outcome.upstreams) > 1:
        return Context(
            sizes=_sizes(session, outcome), upstream=dy, places={name: outcome.values[name]}, **more
        )
    names = [*reference.arguments, *reference.parameters]
    if name not in names:
        return Context(sizes=_sizes(session, outcome), upstream=dy, **more)
    return gradient_context(
        _function(reference, names), [outcome.values[n] for n in names], names.index(name), dy,
        names=names, sizes=_sizes(session, outcome), **more,
    )  # fmt: skip


def _function(reference: TorchReference, names: list[str]) -> Any:
    """Return the reference as a function of tensors, in the order of `names`, with one output."""
    import torch

    def function(*arguments: Any) -> Any:
        tensors = {
            name: value
            if isinstance(value, torch.Tensor)
            else reference.tensor(value, "float64", leaf=False)
            for name, value in zip(names, arguments, strict=True)
        }
        return reference.outputs(tensors, "float64")[0]

    return function


def _sizes(session: Session, outcome: Outcome) -> dict[str, int]:
    """Return lengths that a factor may come from; a scalar's are of the first array and labels."""
    if sizes := output_sizes(outcome.upstreams[0]):
        return sizes
    arrays = {n: np.asarray(v) for n, v in outcome.values.items() if np.ndim(v)}
    labels = [a.size for a in arrays.values() if a.dtype.kind in "iu" and a.ndim == 1]
    name, first = next(iter(arrays.items()), ("", np.zeros(())))
    if name in session.candidate.differentiable[:1]:
        sizes = output_sizes(first)
    else:  # data, not logits
        sizes = {f"the length of axis {a} of {name}": n for a, n in enumerate(first.shape)}
        sizes = {BATCH: sizes.pop(next(iter(sizes))), **sizes} if sizes else {}
    return {**sizes, BATCH: labels[0]} if labels else sizes


def _double(session: Session, outcome: Outcome, quantity: str, tolerance: Any) -> Tensors:
    found = session.candidate.run(fresh(outcome.values), list(outcome.upstreams)).named()[quantity]
    measured = isinstance(session.reference, OwnForward)  # which has not float64's digits
    factor = 1.0 if measured else U64 / session.precision.unit
    return Tensors(np.asarray(found), outcome.expected[quantity], np.asarray(tolerance) * factor)
