"""Layer objects: with a cache that is returned, or stored on the object itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compare.errors import UserError
from compare.pair.candidates import Candidate, Started, called, described
from compare.pair.inputs import Inputs, is_float
from compare.pair.known import Known, first_few
from compare.pair.nests import attributes
from compare.pair.of_values import NOTE, loss_of, may_take_values, takes_values, values_plan
from compare.pair.parameters import (
    STORES,
    Place,
    gradient,
    left_out,
    parameters,
    parts,
)
from compare.pair.returned import NOTHING, Found, attribute, by_name, inside, under, unfolded
from compare.pair.signatures import (
    Plan,
    listed,
    names_gradient,
    optional_too,
    plan,
    positional,
    upstreams_first,
)
from compare.pair.updates import RATE, subtracted, takes_rate, used_rates, with_rates


def passes(thing: Any) -> tuple[str, str] | None:
    """Return the names of the methods by which an object goes forward and back; None without."""
    if isinstance(thing, type) or hasattr(thing, "__code__"):
        return None
    return next((p for p in PAIRS if all(callable(getattr(thing, m, None)) for m in p)), None)


def methods_of(layer: Any) -> tuple[str, str]:
    """Return the names of the methods by which a layer goes forward and back."""
    return passes(layer) or PAIRS[0]


def is_layer(thing: Any) -> bool:
    return passes(thing) is not None


def is_model(thing: Any) -> bool:
    """Return whether an object has parameters by name and a `loss` that returns their gradients."""
    own = isinstance(getattr(thing, "params", None), Mapping) and callable(
        getattr(thing, "loss", None)
    )
    return own and not isinstance(thing, type) and not is_layer(thing)


PAIRS = (
    ("forward", "backward"), ("__call__", "backward"), ("forward_pass", "backward_pass"),
    ("forward_propagation", "backward_propagation"), ("forward_prop", "backward_prop"),
    ("forward_propagate", "backward_propagate"), ("forward", "backprop"),
    ("feedforward", "backprop"), ("feed_forward", "back_prop"), ("forward", "backpropagate"),
    ("forward", "back_propagation"), ("forward_propagation", "back_propagation"),
)  # fmt: skip
VALUES = ("forward", "loss", "fn", "function", "activation", "activate", "compute", "calculate",
          "value", "f", "__call__")  # fmt: skip
SLOPES = ("derivative", "deriv", "gradient", "grad", "prime", "backward", "df")


def methods(thing: Any) -> tuple[Any, Any] | None:
    """Return a function and its derivative if an object has both: forward and derivative, ….

    >>> class Square:
    ...     def loss(self, p, y): ...
    ...     def grad(self, p, y): ...
    >>> [m.__name__ for m in methods(Square())]
    ['loss', 'grad']
    """
    if isinstance(thing, type) or hasattr(thing, "__code__"):
        return None
    found = [
        next((m for n in names if callable(m := getattr(thing, n, None))), None)
        for names in (VALUES, SLOPES)
    ]
    return (found[0], found[1]) if all(found) else None


def made(layer_class: Any, *arguments: Any, **keywords: Any) -> Any:
    """Return an instance.

    Raises:
        UserError: the class does not take these arguments, or fails on them.
    """
    name = called(layer_class)
    given = [*map(repr, arguments), *(f"{k}={v!r}" for k, v in keywords.items())]
    try:
        return layer_class(*arguments, **keywords)
    except Exception as error:
        told = f"with {name}({', '.join(given)})" if given else "without arguments"
        raise UserError(
            f"{name} cannot be made {told}: {type(error).__name__}: {error}. Pass an object, "
            f"{name}(…); on the command line {name}(3, bias=False) after the colon, or "
            "--init NAME=VALUE."
        ) from error


@dataclass
class _Ran:
    """An object that went forward, how it wants to go back, and the object afterwards."""

    layer: Any
    planned: Plan
    values: Inputs
    after: Any = None


class LayerObject(Candidate):
    """An object that goes forward and back; inputs that name its parameters are set on it.

    `methods` are the names of the two, if not one of the usual pairs.

    Every run works on a copy. Parameter gradients are taken from what backward returns, else from
    the attributes where people keep them: `dW`, `grad_W`, `W_grad`, `grads["W"]`, `grads[0]`, ….
    If backward updates the parameters, at a learning rate that it takes or that the object keeps
    (`self.lr`), they are what it subtracted.

    Attributes:
        known: of parameters of its own.
    """

    sized = True

    def __init__(
        self, layer: Any, names: Sequence[str], floats: Sequence[str],
        methods: tuple[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.layer, self.names, self.differentiable = layer, tuple(names), tuple(floats)
        self.name = called(type(layer))
        self.methods = methods or methods_of(layer)
        self.forward_code, self.backward_code = (getattr(type(layer), m) for m in self.methods)
        forward, backward = (getattr(layer, m) for m in self.methods)
        wanted, self.optional = positional(backward), upstreams_first(backward)
        self.takes_rate = takes_rate(wanted, names)
        self.rates: tuple[Place, ...] | None = () if self.takes_rate else None  # by the first run
        self.wanted = wanted[:-1] if wanted and self.takes_rate else wanted
        if self.optional == ("*",):
            self.wanted = []
        self.stores_cache = self.wanted is not None and len(self.wanted) < 2
        taken = positional(forward) or ()
        own = parameters(layer, [n for n in names if n not in taken])
        self.places = {name: one.places for name, one in own.items()}
        self.parameters = list(self.places)
        self.arguments = [n for n in names if n not in self.parameters]
        self.known = Known()
        may = not self.takes_rate and may_take_values(self.wanted, self.arguments)
        self.of_values: bool | None = None if may else False  # decided by the first run
        self.told: list[str] = []

    def start(self, values: Inputs) -> Started:
        layer = self._with_parameters({name: values[name] for name in self.parameters})
        forward = getattr(layer, self.methods[0])
        returned = forward(*(values[name] for name in self.arguments))
        if returned is None:
            returned = getattr(layer, "output", None)
        self.stores_cache = self.stores_cache or self._upstreams_alone(returned)
        planned = self._of_values(layer, returned, values) or self._plan(returned)
        if self.takes_rate:
            planned = planned._replace(call=f"{planned.call}, 2.0**40")
        self.takes_upstream = planned.takes_upstream
        return Started(planned.outputs, planned.cache, _Ran(layer, planned, values))

    def _of_values(self, layer: Any, returned: Any, values: Inputs) -> Plan | None:
        """Return how to go back by the predictions, if that is what backward takes."""
        if self.of_values is None:
            asked = (layer, self.methods[1], returned, self.arguments, values)
            self.of_values = takes_values(*asked)
            if self.of_values:
                given = [values[name] for name in self.arguments]
                _, what = loss_of(layer, returned, given)
                self.told = [NOTE.format(self.backward_name, what)]
        return values_plan(layer, returned, self.arguments, values) if self.of_values else None

    def backward(self, upstreams: Sequence[Any], started: Started) -> Any:
        ran = started.state
        if self.rates is None:
            self.rates = used_rates(ran.layer, lambda layer: self._back(ran, layer, upstreams))
        ran.after = with_rates(ran.layer, self.rates) if self.updates else ran.layer
        return self._back(ran, ran.after, upstreams)

    def _back(self, ran: _Ran, layer: Any, upstreams: Sequence[Any]) -> Any:
        arguments = ran.planned.arguments(tuple(upstreams), ran.values)
        return getattr(layer, self.methods[1])(*arguments, *([RATE] if self.takes_rate else []))

    @property
    def updates(self) -> bool:
        """Whether backward updates the parameters: at a rate that it takes or keeps, or its own."""
        return self.takes_rate or bool(self.rates) or bool(self.known.otherwise)

    def used(self, values: Inputs, upstreams: Sequence[Any]) -> LayerObject | None:
        if not self.stores_cache:
            return None
        started = self.start(values)
        self.backward(upstreams, started)
        used = copy.copy(self)
        used.layer = started.state.after
        return used

    def gradients(self, returned: Any, started: Started) -> dict[str, Found]:
        """Take the gradients from what backward returned, and the rest from the object."""
        layer, own = started.state.after, self.parameters
        passed = [n for n in self.differentiable if n not in own]
        grads, named = "grads", ""
        if isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Mapping):
            returned, rest = returned
            grads, named = "grads[0]", "grads[1]"
        elif isinstance(returned, Mapping):
            rest, named = returned, "grads"
        if own and not named and _count(returned) == len(self.differentiable):
            return by_name(returned, self.differentiable, self.names, self.backward_name)
        if returned is None:
            found = {n: attribute(layer, n, STORES) for n in passed}
            if len(passed) == 1 and found[passed[0]].value is None:
                found = {passed[0]: Found(getattr(layer, "dinputs", None), "layer.dinputs")}
        elif passed:
            returned = returned if own and not named else self._of_given(returned)
            found = by_name(returned, passed, self.arguments, self.backward_name, grads)
        else:
            found = {}
        for name in (n for n in self.differentiable if n in own):
            found[name] = self.under(rest, name, named) if named else NOTHING
            if found[name].value is None:
                found[name] = gradient(layer, name)
            if found[name].value is None and name in self.known.places:
                found[name] = _held(layer, self.known.places[name])
            if found[name].value is None and self.updates:
                found[name] = subtracted(layer, name, started.state.values[name])
        return {name: found[name] for name in self.differentiable}

    def under(self, rest: Mapping[str, Any], name: str, where: str) -> Found:
        """Return a parameter's gradient among returned ones: by its name, or by its place."""
        found = under(rest, name, where)
        keys = self.places[name][0].keys[1:]
        return inside(rest, keys, where) if found.value is None and keys else found

    def silent(self, returned: Any, started: Started) -> list[str]:
        """Return the inputs without a gradient where parameters have theirs: by name, or alone."""
        passed = [n for n in self.differentiable if n in self.arguments]
        if isinstance(returned, tuple | list):
            return passed if self._are_of_parameters(returned, passed, started) else []
        if not isinstance(returned, Mapping) or not self.parameters:
            return []
        kept = [under(returned, n, "").value is None for n in passed]
        kept += [attribute(started.state.after, n, STORES).value is None for n in passed]
        found = [self.under(returned, n, "").value is not None for n in self.parameters]
        return passed if all(kept) and any(found) else []

    def _are_of_parameters(self, returned: Any, passed: Sequence[str], started: Started) -> bool:
        """Return whether gradients in a tuple have the shapes of the parameters alone."""
        found = [np.shape(grad) for grad in unfolded(returned).values()]

        def shapes(names: Sequence[str]) -> list[tuple[int, ...]]:
            return [np.shape(started.state.values[name]) for name in names]

        return found == shapes(self.parameters) and found[: len(passed)] != shapes(passed)

    def _of_given(self, returned: Any) -> Any:
        """Leave out the gradients of optional arguments that forward was called without.

        Raises:
            UserError: there are more, which may be of the object's own arrays.
        """
        every = optional_too(getattr(self.layer, self.methods[0]))
        count = _count(returned) if isinstance(returned, tuple) else 0
        if count == len(every):
            return returned[: len(self.arguments)]
        kept = left_out(self.layer, self.parameters) if count > len(self.arguments) else {}
        if kept:
            name, shape = next((n, ",".join(map(str, np.shape(v)))) for n, v in kept.items())
            raise UserError(
                f"{self.backward_name} returned {count} gradients for {', '.join(self.names)}. "
                f"Are the others of the object's own arrays ({first_few(kept)})? Name those that "
                "they are of as inputs too, in their order (on the command line --shape "
                f"{name}={shape})."
            )
        return returned

    def unfinished(self) -> str:
        """Ask about what may be meant as the gradient of an array that none was found of."""
        return self.known.asked(self.backward_name)

    def unasked(self) -> list[str]:
        left = left_out(self.layer, self.parameters)
        return [name for name in left if name not in self.known.unused]

    def notes(self) -> list[str]:
        kept = self.unasked()
        uncovered = [*self.told, *self.known.notes()]
        if not kept:
            return uncovered
        value, them = ("values", "them") if len(kept) > 1 else ("value", "it")
        return [
            *uncovered,
            f"The object's {first_few(kept)} kept the {value} that it has, and no gradient of "
            f"{them} was checked: give an input of that name.",
        ]

    def own_sizes(self) -> set[int]:
        """Return the whole numbers among its attributes, and the lengths of its arrays' axes."""
        learned = parameters(self.layer, self.parameters).values()
        held: list[Any] = []
        for part in (self.layer, *(part for _, part in parts(self.layer))):
            held += attributes(part).values()
        held += [v for group in held if isinstance(group, tuple | list) for v in group]
        held += [v for group in held if isinstance(group, dict) for v in group.values()]
        held = [v for v in held if not any(v is one.value for one in learned)]
        numbers = {int(v) for v in held if isinstance(v, int | np.integer) and v is not True}
        lengths = {n for v in held if isinstance(v, np.ndarray) for n in v.shape}
        return {n for n in numbers | lengths if n > 1}

    @property
    def backward_name(self) -> str:
        return f"{self.name}.{self.methods[1]}"

    def _plan(self, returned: Any) -> Plan:
        if not self.stores_cache:
            return plan(returned, self.wanted, self.arguments, self.backward_name)
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

    def _with_parameters(self, given: Inputs) -> Any:
        params = getattr(self.layer, "params", None)
        if callable(getattr(self.layer, "with_params", None)) and isinstance(params, Mapping):
            return self.layer.with_params({**params, **given})
        layer = copy.deepcopy(self.layer)
        for name, value in given.items():
            own = copy.copy(value) if self.updates or self.rates is None else value
            for place in self.places[name]:
                place.put(layer, own)
        return layer


class ModelObject(LayerObject):
    """An object with parameters and `loss, grads = model.loss(X, y)`: grads has their names."""

    takes_upstream = False
    at_once = True

    def __init__(self, layer: Any, names: Sequence[str], floats: Sequence[str]) -> None:
        super().__init__(layer, names, floats, ("loss", "loss"))

    def start(self, values: Inputs) -> Started:
        layer = self._with_parameters({name: values[name] for name in self.parameters})
        returned = layer.loss(*(values[name] for name in self.arguments))
        pair = isinstance(returned, tuple) and len(returned) == 2
        if not (pair and isinstance(returned[1], Mapping) and np.ndim(returned[0]) == 0):
            raise UserError(
                f"{self.name}.loss must return a loss and a dictionary of its gradients by the "
                f"parameters' names; it returned {described(returned)}."
            )
        loss, grads = returned
        plan = Plan((loss,), grads, False, lambda *_: (), "y0, grads", "")
        return Started((loss,), grads, _Ran(layer, plan, values, layer))

    def backward(self, upstreams: Sequence[Any], started: Started) -> Any:
        return started.cache

    def gradients(self, returned: Any, started: Started) -> dict[str, Found]:
        return {name: under(returned, name, "grads") for name in self.differentiable}


def _held(layer: Any, place: Place) -> Found:
    try:
        return Found(place.get(layer), place.text)
    except (AttributeError, KeyError, IndexError):
        return NOTHING


def _count(returned: Any) -> int:
    """Return how many gradients there are in a tuple or list; 0 if it is none."""
    return len(unfolded(returned)) if isinstance(returned, tuple | list) else 0


def _upstream(upstreams: tuple, wanted: list[str] | None) -> tuple:
    """Return the arguments of a backward that takes upstream gradients alone, or nothing."""
    if not wanted:
        return ()
    return (upstreams,) if len(wanted) == 1 and len(upstreams) > 1 else upstreams
