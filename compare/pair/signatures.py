"""How a backward function wants to be called, from its signature and what forward returned."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np

from compare.errors import UserError

FORMS = (
    "Known forms: out, cache = forward(*inputs) with dx, … = backward(dout, cache); "
    "out = forward(*inputs) with backward(dout, *inputs), backward(dout, out) or backward(dout); "
    "loss, cache = forward(…) with backward(cache); loss, dx = loss_and_gradient(…) or "
    "grads, loss = loss_and_gradient(…) by itself; an object with forward and backward methods. "
    "Anything else becomes one of them in a function of its arrays around it: "
    "def f(x, W): …; return loss, (dx, dW)."
)
OUTPUTS = {"out", "output", "y", "a", "activation", "activations", "fx"}  # of a derivative
DERIVATIVE = re.compile(r"deriv|prime|grad|dash|_d$|^d_|^df?$", re.IGNORECASE)  # its name
KEPT = {"cache", "ctx", "context", "memory", "saved", "state", "tape"}


class Plan(NamedTuple):
    """How forward's result is to be read, and what backward is to be given.

    `call` is the same in Python, for a script: what backward's parentheses hold, with the outputs
    called y0, y1, … and their upstream gradients dy0, dy1, ….
    """

    outputs: tuple[Any, ...]
    cache: Any
    takes_upstream: bool
    arguments: Callable[[tuple, dict], tuple]  # (upstream gradients, inputs) -> arguments
    unpack: str  # forward's result: "y0, cache"
    call: str
    elementwise: bool = False  # backward returns derivatives, to be multiplied by the upstream


BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def positional(function: Callable) -> list[str] | None:
    """Return the names of a function's required positional parameters; None if it does not say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return [p.name for p in parameters if p.kind in BY_POSITION and p.default is p.empty]


def optional_too(function: Callable) -> list[str]:
    """Return the names of all of a function's positional parameters; none if it does not say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in BY_POSITION]


def upstreams_first(function: Callable) -> tuple[str, ...]:
    """Return leading parameters that have a default and the name of an upstream gradient."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return ()
    if parameters and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return ("*",)
    first = takewhile(lambda p: p.default is None and names_gradient(p.name), parameters)
    return tuple(p.name for p in first)


def names_gradient(name: str) -> bool:
    """Return whether an argument's name says that it is a gradient: dout, dh, grad_output, …"""
    low = name.lower().strip("_")
    if any(word in low for word in ("grad", "delta", "upstream")):
        return True
    short = len(low) <= 5 and low not in ("data", "dim", "dims", "dict", "dtype")
    return (low[:1] == "d" and short) or (low[:1] == "g" and len(low) <= 2) or low == "gout"


def plan(returned: Any, wanted: list[str] | None, names: Sequence[str], backward: str) -> Plan:
    """Return how to call backward after this forward pass.

    Args:
        returned: what forward returned.
        wanted: backward's required positional parameters.
        names: the inputs' names.
        backward: backward's name, for messages.
    """
    if isinstance(returned, tuple) and len(returned) >= 2:
        found = _with_cache(returned, wanted, names)
    elif _of_upstream_alone(wanted, names, backward):
        found = Plan((returned,), None, True, lambda dys, _: dys, "y0", "dy0")
    else:
        asked = ["dout", *names] if wanted is None else wanted
        found = _without_cache(returned, asked, names)
    if found is None:
        raise UserError(
            f"{backward}({', '.join(wanted or ['…'])}) cannot be called after a forward pass that "
            f"returned {_shown(returned)}. {FORMS}"
        )
    if not found.takes_upstream and any(np.ndim(y) for y in found.outputs):
        if DERIVATIVE.search(backward.rpartition(".")[2]) and len(found.outputs) == 1:
            return found._replace(takes_upstream=True, elementwise=True)
        raise UserError(
            f"{backward}({', '.join(wanted or [])}) takes no upstream gradient, but forward's "
            f"output is no scalar: its shape is {np.shape(found.outputs[0])}. Give backward the "
            "gradient of the output as its first argument."
        )
    return found


def _of_upstream_alone(wanted: list[str] | None, names: Sequence[str], backward: str) -> bool:
    """Return whether backward asks for the upstream gradient only, as that of a linear map may."""
    if wanted is None or len(wanted) != 1 or wanted[0] in names:
        return False
    return names_gradient(wanted[0]) and not DERIVATIVE.search(backward.rpartition(".")[2])


def _with_cache(returned: tuple, wanted: list[str] | None, names: Sequence[str]) -> Plan | None:
    """Forward returned (out, cache), (out1, out2, cache) or ((out1, out2), cache).

    Behind the cache backward may take inputs again, by name.
    """
    *outputs, cache = returned
    if len(outputs) == 1 and isinstance(outputs[0], tuple):
        outputs = list(outputs[0])
    kept, again = (wanted or [])[: len(outputs) + 1], (wanted or [])[len(outputs) + 1 :]
    if again and set(again) <= set(names) and not names_gradient(kept[-1]):
        return _and_inputs(_with_cache(returned, kept, names), again)
    count = len(outputs) + 1 if wanted is None else len(wanted)
    ys = tuple(outputs)
    y, dy = listed("y", ys), listed("dy", ys)
    unpack = f"{y}, cache" if len(returned) == len(ys) + 1 else f"({y}), cache"
    packed = dy if len(ys) == 1 else f"({dy})"
    if count == 2 and wanted and wanted[0] in KEPT and wanted[1] not in KEPT:
        one = len(ys) == 1
        return Plan(
            ys, cache, True, lambda dys, _: (cache, dys[0] if one else dys), unpack,
            f"cache, {packed}",
        )  # fmt: skip
    if count == len(outputs) + 1:
        return Plan(ys, cache, True, lambda dys, _: (*dys, cache), unpack, f"{dy}, cache")
    if count == 2:
        return Plan(ys, cache, True, lambda dys, _: (dys, cache), unpack, f"{packed}, cache")
    if count == 1:
        return Plan(ys, cache, False, lambda dys, _: (cache,), unpack, "cache")
    arrays = all(hasattr(y, "shape") for y in returned)
    if arrays and count == len(returned) + len(names):
        dy = listed("dy", returned)
        return Plan(
            returned, None, True, lambda dys, xs: (*dys, *xs.values()), listed("y", returned),
            f"{dy}, {', '.join(names)}",
        )  # fmt: skip
    return None


def _and_inputs(found: Plan | None, again: list[str]) -> Plan | None:
    """Return a plan by which backward is given these inputs as well."""
    if found is None:
        return None
    return found._replace(
        arguments=lambda dys, xs: (*found.arguments(dys, xs), *(xs[name] for name in again)),
        call=f"{found.call}, {', '.join(again)}",
    )


def _without_cache(output: Any, wanted: list[str], names: Sequence[str]) -> Plan | None:
    """Forward returned the output alone; backward gets the inputs, or the output, again."""
    if not wanted:  # a loss whose object remembers
        return Plan((output,), None, False, lambda *_: (), "y0", "")
    others = wanted[1:]
    again: Sequence[str]
    if np.ndim(output) and len(wanted) == 1 and wanted[0] in OUTPUTS and wanted[0] not in names:
        return Plan((output,), output, False, lambda *_: (output,), "y0", "y0")
    if wanted and set(wanted) <= set(names):
        upstream, again = False, wanted
    elif others and set(others) <= set(names):
        upstream, again = True, others
    elif len(wanted) == 2 and (len(names) > 1 or others[0] in {"out", "output", "y", *KEPT}):
        return Plan((output,), output, True, lambda dys, _: (*dys, output), "y0", "dy0, y0")
    elif len(wanted) in (len(names), 1 + len(names)):
        upstream, again = len(wanted) > len(names), names
    else:
        return None
    call = ", ".join(["dy0"] * upstream + list(again))
    return Plan(
        (output,), None, upstream,
        lambda dys, xs: (*dys[:upstream], *(xs[name] for name in again)), "y0", call,
    )  # fmt: skip


def listed(stem: str, values: Sequence[Any]) -> str:
    """Return "y0, y1, …", one name for each value."""
    return ", ".join(f"{stem}{i}" for i in range(len(values)))


def _shown(returned: Any) -> str:
    return f"a tuple of {len(returned)}" if isinstance(returned, tuple) else "one value"
