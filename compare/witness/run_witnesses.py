"""Puts the gradient in which a run first disagrees before the witnesses (`compare.witness`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compare.judge.quantities import real
from compare.running.alone import Call, Moment
from compare.witness.lockstep import Hearing, Pair, hear


def hearing(
    moment: Moment, layer: str, quantity: str, tolerance: float | None = None
) -> Hearing | None:
    """Return whom the witnesses side with; None if they cannot decide about this quantity.

    Args:
        moment: the step.
        layer, quantity: whose mistake is in question, and in what: of a layer or the loss.
        tolerance: of the gradient's length; by default what torch's own rounding needs.
    """
    if layer != "loss" and layer not in moment.nodes:
        return None
    pair = _pair(moment.at(layer))
    if quantity.startswith("grad:") and layer != "loss":
        names = [quantity]
    elif quantity == "grad_input":
        names = [name for name in pair.inputs if name.startswith("grad_input#")]
    else:
        return None
    try:
        return hear(pair, str(moment.experiment.dtype), names, tolerance)
    except Exception:  # a mistake may fail in any way; it must not hide the disagreement
        return None


def _pair(call: Call) -> Pair:
    """Return both sides of a piece as functions of its real inputs and parameters.

    Each goes by the name of its gradient.
    """
    count = len(call.inputs) if call.wanted is None else call.wanted
    moving = [i for i, x in enumerate(call.inputs[:count]) if x is not None and real(x)]
    inputs = {f"grad_input#{i}": call.inputs[i] for i in moving}
    params = {f"grad:{key}": p for key, p in call.params.items()}

    def at(arrays: tuple) -> Call:
        given = list(call.inputs)
        for i, array in zip(moving, arrays, strict=False):
            given[i] = array
        rest = dict(zip(call.params, arrays[len(moving) :], strict=True))
        return call._replace(inputs=tuple(given), params=rest)

    def forward(*arrays: Any) -> tuple[Any, tuple[Call, Any, Any]]:
        here = at(arrays)
        layer = here.bound()
        output, cache = layer.forward(*here.inputs, **here.extra)
        return output, (here, layer, cache)

    def manual(dout: Any, saved: tuple[Call, Any, Any]) -> Mapping[str, Any]:
        _, layer, cache = saved
        grads, own = layer.backward(dout, cache)
        found = {f"grad_input#{i}": grads[i] for i in moving if grads[i] is not None}
        return found | {f"grad:{key}": grad for key, grad in own.items()}

    def theirs(dout: Any, saved: tuple[Call, Any, Any]) -> Mapping[str, Any]:
        found = saved[0]._replace(upstream=dout).by_torch()
        return {name: found[name] for name in (*inputs, *params) if name in found}

    return Pair(forward, manual, theirs, inputs | params)
