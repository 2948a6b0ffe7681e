"""Losses whose backward takes the predictions where others take an upstream gradient.

`loss.backward(predictions, y_true)` is the gradient of what `calculate` returns, or of the sum of
what forward returns for each sample. Both are called alike; an upstream gradient enters linearly,
so that from zeros follow zeros, and predictions do not.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compare.pair.inputs import Inputs
from compare.pair.signatures import Plan

NOTE = (
    "{} got the predictions in place of an upstream gradient: from an upstream gradient of zeros "
    "it does not make zeros. What it gives is taken for the gradient of {}."
)


def may_take_values(wanted: Sequence[str] | None, arguments: Sequence[str]) -> bool:
    """Return whether all but the first argument of backward are those of forward."""
    return (
        wanted is not None
        and len(wanted) == len(arguments) > 1
        and list(wanted[1:]) == list(arguments[1:])
    )


def takes_values(
    layer: Any, backward: str, returned: Any, arguments: Sequence[str], values: Inputs
) -> bool:
    """Return whether an object that went forward takes predictions, by running it both ways."""
    if isinstance(returned, tuple) or not isinstance(values[arguments[0]], np.ndarray):
        return False
    rest = [values[name] for name in arguments[1:]]
    with np.errstate(all="ignore"):
        try:
            by_zeros = _ran(layer, backward, np.zeros(np.shape(returned)), rest)
            if all(np.array_equal(grad, np.zeros(np.shape(grad))) for grad in by_zeros):
                return False
        except Exception:  # it has not the shape of predictions
            pass
        try:
            found = _ran(layer, backward, predictions(layer, returned, arguments, values)[0], rest)
        except Exception:
            return False
    return any(np.shape(grad) == np.shape(values[arguments[0]]) for grad in found)


def values_plan(layer: Any, returned: Any, arguments: Sequence[str], values: Inputs) -> Plan:
    """Return how to go back: the output is one number."""
    given, text = predictions(layer, returned, arguments, values)
    loss, _ = loss_of(layer, returned, [values[name] for name in arguments])
    call = ", ".join([text, *arguments[1:]])
    return Plan(
        (loss,), None, False,
        lambda _, xs: (given, *(xs[name] for name in arguments[1:])), "y0", call,
    )  # fmt: skip


def loss_of(layer: Any, returned: Any, arguments: Sequence[Any]) -> tuple[Any, str]:
    """Return the one number whose gradient backward gives, and what it is."""
    if np.ndim(returned) == 0:
        return returned, "what forward returns"
    calculate = getattr(copy.deepcopy(layer), "calculate", None)
    if not callable(calculate):
        return np.sum(returned), "the sum of what forward returns"
    try:
        loss = calculate(*arguments)
    except Exception:  # it adds to what training keeps
        return np.mean(returned), "the mean of what forward returns"
    if np.ndim(loss):
        return np.sum(returned), "the sum of what forward returns"
    return loss, "what calculate returns"


def predictions(
    layer: Any, returned: Any, arguments: Sequence[str], values: Inputs
) -> tuple[Any, str]:
    """Return the loss's input, or the output of an activation in it, and its name."""
    first, output = values[arguments[0]], getattr(layer, "output", None)
    if output is not None and output is not returned and np.shape(output) == np.shape(first):
        return output, "layer.output"
    return first, arguments[0]


def _ran(layer: Any, backward: str, first: Any, rest: Sequence[Any]) -> list[Any]:
    """Return the gradients that one run leaves: returned, or in `dinputs`."""
    own = copy.deepcopy(layer)
    returned = getattr(own, backward)(copy.deepcopy(first), *copy.deepcopy(rest))
    if returned is None:
        returned = getattr(own, "dinputs", None)
    found = returned.values() if isinstance(returned, Mapping) else returned
    return [g for g in (found if isinstance(found, tuple | list) else [found]) if g is not None]
