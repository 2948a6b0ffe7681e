"""Name the cause of a gradient that disagrees, from what a check knows about it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.diagnose.causes import Cause, Context, Tensors, find_cause
from compare.diagnose.causes.context import gradient_context, output_sizes
from compare.pair.inputs import as_float, fresh
from compare.pair.reference import TorchReference
from compare.pair.tolerance import U64
from compare.pair.torch_candidate import TorchCandidate
from compare.running.cases.outcome import Outcome, quiet

if TYPE_CHECKING:
    from compare.commands.check.session import Session


def cause(session: Session, outcome: Outcome, quantity: str) -> Cause | None:
    """Return what explains the difference, or None; a failing search must not hide it."""
    mine, theirs = outcome.manual.get(quantity), outcome.expected.get(quantity)
    if mine is None or theirs is None or quantity in outcome.conventions:
        return None
    if session.precision.name == "bfloat16":
        return None  # eight bits fit too much
    tolerance = outcome.tolerances.get(outcome.key(quantity), 0.0)
    if np.shape(tolerance) not in ((), theirs.shape):
        tolerance = 0.0
    try:
        with quiet():
            context = _context(session, outcome, quantity, tolerance)
            return find_cause(as_float(mine), theirs, tolerance, context)
    except Exception as error:
        warnings.warn(f"The search for the cause failed: {error!r}", stacklevel=2)
        return None


def _context(session: Session, outcome: Outcome, quantity: str, tolerance: Any) -> Context:
    reference, dy = session.reference, outcome.upstreams[0]
    more: dict[str, Any] = {"dtype": session.precision.name}
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
    """Return lengths that a factor may come from; a scalar's come from the first input."""
    sizes = output_sizes(outcome.upstreams[0])
    return sizes or output_sizes(outcome.values[session.candidate.differentiable[0]])


def _double(session: Session, outcome: Outcome, quantity: str, tolerance: Any) -> Tensors:
    found = session.candidate.run(fresh(outcome.values), list(outcome.upstreams)).named()[quantity]
    factor = U64 / session.precision.unit
    return Tensors(np.asarray(found), outcome.expected[quantity], np.asarray(tolerance) * factor)
