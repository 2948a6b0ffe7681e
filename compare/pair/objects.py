"""Layer objects: with a cache that is returned, or stored on the object itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compare.errors import UserError
from compare.pair.candidates import Candidate, Started, called
from compare.pair.inputs import Inputs, is_float
from compare.pair.returned import NOTHING, Found, attribute, by_name, under
from compare.pair.signatures import (
    Plan,
    listed,
    names_gradient,
    plan,
    positional,
    upstreams_first,
)

STORES = ("grads", "gradients", "grad")  # attributes that hold gradients by name


def is_layer(thing: Any) -> bool:
    methods = (getattr(thing, name, None) for name in ("forward", "backward"))
    return not isinstance(thing, type) and all(callable(m) for m in methods)


def made(layer_class: type) -> Any:
    """Return an instance; a class that needs arguments must be made by the user."""
    try:
        return layer_class()
    except TypeError as error:
        raise UserError(
            f"{layer_class.__name__} cannot be made without arguments ({error}). Pass an object: "
            f"{layer_class.__name__}(…). On the command line, name one that the file makes."
        ) from error


def parameter_shapes(layer: Any, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters in `layer.params` that the inputs do not name."""
    params = getattr(layer, "params", None)
    if not is_layer(layer) or not isinstance(params, Mapping):
        return {}
    return {k: np.shape(p) for k, p in params.items() if k not in names and np.size(p)}


class LayerObject(Candidate):
    """An object with `forward` and `backward`; inputs that name its parameters are set on it.

    Every run works on a copy. Parameter gradients are taken from what backward returns, else from
    the attributes where people keep them: `dW`, `grad_W`, `W_grad`, `grads["W"]`, ….
    """

    sized = True

    def __init__(self, layer: Any, names: Sequence[str], floats: Sequence[str]) -> None:
        self.layer, self.names, self.differentiable = layer, tuple(names), tuple(floats)
        self.name = called(type(layer))
        self.forward_code, self.backward_code = type(layer).forward, type(layer).backward
        self.wanted = positional(layer.backward)
        self.optional = upstreams_first(layer.backward)
        if self.optional == ("*",):
            self.wanted = []
        self.stores_cache = self.wanted is not None and len(self.wanted) < 2
        taken = positional(layer.forward) or ()
        self.parameters = [n for n in names if n not in taken and _has(layer, n)]
        self.arguments = [n for n in names if n not in self.parameters]

    def start(self, values: Inputs) -> Started:
        layer = self._with_parameters({name: values[name] for name in self.parameters})
        returned = layer.forward(*(values[name] for name in self.arguments))
        if returned is None:
            returned = getattr(layer, "output", None)
        self.stores_cache = self.stores_cache or self._upstreams_alone(returned)
        planned = self._plan(returned)
        self.takes_upstream = planned.takes_upstream
        return Started(planned.outputs, planned.cache, (layer, planned, values))

    def backward(self, upstreams: Sequence[Any], started: Started) -> Any:
        layer, planned, values = started.state
        return layer.backward(*planned.arguments(tuple(upstreams), values))

    def gradients(self, returned: Any, started: Started) -> dict[str, Found]:
        """Take the gradients from what backward returned, and the rest from the object."""
        layer, own = started.state[0], self.parameters
        passed = [n for n in self.differentiable if n not in own]
        grads, named = "grads", ""
        if isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping):
            returned, rest = returned
            grads, named = "grads[0]", "grads[1]"
        elif isinstance(returned, Mapping):
            rest, named = returned, "grads"
        all_of_them = isinstance(returned, tuple | list) and len(returned) == len(
            self.differentiable
        )
        if own and all_of_them:
            return by_name(returned, self.differentiable, self.names, f"{self.name}.backward")
        if returned is None:
            found = {n: attribute(layer, n, STORES) for n in passed}
            if len(passed) == 1 and found[passed[0]].value is None:
                found = {passed[0]: Found(getattr(layer, "dinputs", None), "layer.dinputs")}
        elif passed:
            found = by_name(returned, passed, self.arguments, f"{self.name}.backward", grads)
        else:
            found = {}
        for name in (n for n in self.differentiable if n in own):
            found[name] = under(rest, name, named) if named else NOTHING
            if found[name].value is None:
                found[name] = attribute(layer, name, STORES)
        return {name: found[name] for name in self.differentiable}

    def own_sizes(self) -> set[int]:
        """Return the whole numbers among its attributes, and the lengths of its arrays' axes."""
        params = getattr(self.layer, "params", None)
        own = dict(getattr(self.layer, "__dict__", {}).items())
        held = [v for k, v in own.items() if k not in self.parameters and v is not params]
        held += [v for group in held if isinstance(group, tuple | list) for v in group]
        held += [v for group in held if isinstance(group, dict) for v in group.values()]
        numbers = {int(v) for v in held if isinstance(v, int | np.integer) and v is not True}
        lengths = {n for v in held if isinstance(v, np.ndarray) for n in v.shape}
        return {n for n in numbers | lengths if n > 1}

    def _plan(self, returned: Any) -> Plan:
        if not self.stores_cache:
            return plan(returned, self.wanted, self.arguments, f"{self.name}.backward")
        outputs = returned if isinstance(returned, tuple) else (returned,)
        wanted = self.wanted or []
        if not wanted and any(np.ndim(y) for y in outputs):  # a loss is its own upstream
            wanted = ["*"] * len(outputs) if self.optional == ("*",) else list(self.optional)
        dy = listed("dy", outputs) if wanted else ""
        if len(wanted) == 1 and len(outputs) > 1:
            dy = f"({dy})"
        return Plan(
            outputs, None, bool(wanted), lambda dys, _: _upstream(dys, wanted),
            listed("y", outputs), dy,
        )  # fmt: skip

    def _upstreams_alone(self, returned: Any) -> bool:
        """Return whether backward takes one gradient for each of several outputs, and no cache."""
        return (
            isinstance(returned, tuple)
            and len(returned) == len(self.wanted or ()) > 1
            and all(map(names_gradient, self.wanted or ()))
            and all(is_float(y) for y in returned)
        )

    def _with_parameters(self, parameters: Inputs) -> Any:
        params = getattr(self.layer, "params", None)
        if callable(getattr(self.layer, "with_params", None)) and isinstance(params, Mapping):
            return self.layer.with_params({**params, **parameters})
        layer = copy.deepcopy(self.layer)
        for name, value in parameters.items():
            if isinstance(params, dict) and name in params:
                layer.params[name] = value
            else:
                setattr(layer, name, value)
        return layer


def _has(layer: Any, name: str) -> bool:
    params = getattr(layer, "params", None)
    return (isinstance(params, Mapping) and name in params) or (
        hasattr(layer, name) and not callable(getattr(layer, name))
    )


def _upstream(upstreams: tuple, wanted: list[str] | None) -> tuple:
    """Return the arguments of a backward that takes upstream gradients alone, or nothing."""
    if not wanted:
        return ()
    return (upstreams,) if len(wanted) == 1 and len(upstreams) > 1 else upstreams
