"""What is checked, in one form: forward returns outputs and a state, backward returns gradients."""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from compare.errors import UserError
from compare.pair.inputs import Inputs
from compare.pair.returned import Found, by_name
from compare.pair.signatures import FORMS, plan, positional

Gradients = dict[str, Any]  # per differentiable input; None where backward returned none


class Started(NamedTuple):
    """What a forward pass leaves. `cache` is what backward is given; `state` is the adapter's."""

    outputs: tuple[Any, ...]
    cache: Any
    state: Any


class Result(NamedTuple):
    """A whole run of either side."""

    outputs: tuple[Any, ...]
    grads: Gradients

    def named(self) -> dict[str, Any]:
        """Return everything under the quantity that it is called in a report."""
        one = len(self.outputs) == 1
        found = {"output" if one else f"output:{i}": y for i, y in enumerate(self.outputs)}
        return found | {f"grad:{name}": g for name, g in self.grads.items() if g is not None}


class Candidate(ABC):
    """A hand-derived gradient under test.

    Attributes:
        name: what to call it.
        names: the inputs, in order; `differentiable` those that must get a gradient.
        takes_upstream: False if it has no upstream argument: the output is then a scalar, and its
            upstream gradient is 1.
        sized: True if its sizes are fixed when it is made, so that other shapes may be refused.
        forward_code, backward_code: whose sources are shown.
    """

    name: str
    names: tuple[str, ...]
    differentiable: tuple[str, ...]
    takes_upstream = True
    sized = False
    stores_cache = False  # True: on itself, so that there is no cache to look at
    at_once = False  # True: one call gives the output and the gradients
    keeps_dtype = False  # True: gradients have their inputs' dtype by construction
    forward_code: Any = None
    backward_code: Any = None

    @abstractmethod
    def start(self, values: Inputs) -> Started:
        """Run forward."""

    @abstractmethod
    def backward(self, upstreams: Sequence[Any], started: Started) -> Any:
        """Run backward; return what it returns."""

    @abstractmethod
    def gradients(self, returned: Any, started: Started) -> dict[str, Found]:
        """Sort what backward returned by input."""

    def finish(self, upstreams: Sequence[Any], started: Started) -> Gradients:
        """Run backward; return a gradient, or None, per differentiable input."""
        found = self.gradients(self.backward(upstreams, started), started)
        return {name: grad.value for name, grad in found.items()}

    def own_sizes(self) -> set[int]:
        """Return lengths that it was made for, so that axes of that length keep it."""
        return set()

    def notes(self) -> list[str]:
        """Return what a reader of the report should know of the adapter."""
        return []

    def unfinished(self) -> str:
        """Say why a right answer to all that is compared would leave something open."""
        return ""

    def unasked(self) -> list[str]:
        """Return what of its own forward uses and no gradient of which is looked at."""
        return []

    def used(self, values: Inputs, upstreams: Sequence[Any]) -> Candidate | None:
        """Return it as one that has gone forward and back on these inputs, if that may matter."""
        return None

    def run(self, values: Inputs, upstreams: Sequence[Any]) -> Result:
        """Run both; backward gets copies of the upstream gradients, and may spoil them."""
        started = self.start(values)
        return Result(started.outputs, self.finish(copy.deepcopy(list(upstreams)), started))


class FunctionPair(Candidate):
    """`out, cache = forward(*inputs)`, `dx, dw, … = backward(dout, cache)`, and variants."""

    def __init__(
        self, forward: Callable, backward: Callable, names: Sequence[str], floats: Sequence[str]
    ) -> None:
        self.names, self.differentiable = tuple(names), tuple(floats)
        self.name = called(forward)
        self.wanted = positional(backward)
        self.forward_code, self.backward_code = forward, backward
        self.elementwise = False

    def start(self, values: Inputs) -> Started:
        returned = self.forward_code(*values.values())
        planned = plan(returned, self.wanted, self.names, called(self.backward_code))
        self.takes_upstream = planned.takes_upstream
        return Started(planned.outputs, planned.cache, (planned, values))

    def backward(self, upstreams: Sequence[Any], started: Started) -> Any:
        planned, values = started.state
        returned = self.backward_code(*planned.arguments(tuple(upstreams), values))
        self.elementwise = planned.elementwise
        return self._multiplied(returned, upstreams[0]) if planned.elementwise else returned

    def _multiplied(self, derivative: Any, upstream: Any) -> Any:
        """Return the gradient that a function's derivative, element by element, stands for."""
        if isinstance(derivative, tuple | list):
            return type(derivative)(self._multiplied(d, upstream) for d in derivative)
        if derivative is None or np.shape(derivative) != np.shape(upstream):
            raise UserError(
                f"{called(self.backward_code)} takes no upstream gradient, so it must return a "
                f"derivative for each element, of shape {np.shape(upstream)}; it returned "
                f"{described(derivative)}."
            )
        return upstream * derivative

    def notes(self) -> list[str]:
        if not self.elementwise:
            return []
        return [
            f"{called(self.backward_code)} takes no upstream gradient: what it returns was "
            "multiplied by one, element by element."
        ]

    def gradients(self, returned: Any, started: Started) -> dict[str, Found]:
        who = called(self.backward_code)
        return by_name(returned, self.differentiable, self.names, who)


class ValueAndGradient(Candidate):
    """One function that returns a loss and its gradients: `loss, dx = softmax_loss(x, y)`.

    Or the gradients first: `grads, cost = propagate(w, b, X, Y)`.
    """

    takes_upstream = False
    at_once = True
    loss_last = False

    def __init__(self, function: Callable, names: Sequence[str], floats: Sequence[str]) -> None:
        self.names, self.differentiable = tuple(names), tuple(floats)
        self.name = called(function)
        self.forward_code = self.backward_code = function

    def start(self, values: Inputs) -> Started:
        returned = self.forward_code(*values.values())
        numbers = list(map(_is_number, returned)) if isinstance(returned, tuple) else []
        if numbers and callable(returned[-1]):
            raise UserError(
                f"{self.name} returns a function behind its output. Where that takes the upstream "
                "gradient and returns the gradients, give it as backward: "
                f"check({self.name}, lambda dout, pullback: pullback(dout), …)."
            )
        if len(numbers) < 2 or not (numbers[0] or numbers[-1]):
            raise UserError(
                f"{self.name} was given without a backward function, so it must return a scalar "
                f"loss followed by its gradients; it returned {described(returned)}. {FORMS}"
            )
        self.loss_last = not numbers[0]
        *first, last = returned
        return (
            Started((last,), None, tuple(first))
            if self.loss_last
            else Started((returned[0],), None, returned[1:])
        )

    def backward(self, upstreams: Sequence[Any], started: Started) -> Any:
        return started.state[0] if len(started.state) == 1 else started.state

    def gradients(self, returned: Any, started: Started) -> dict[str, Found]:
        return by_name(returned, self.differentiable, self.names, self.name)


def _is_number(value: Any) -> bool:
    return (
        not (value is None or isinstance(value, Mapping | str | tuple | list))
        and np.ndim(value) == 0
    )


def called(thing: Any) -> str:
    """Return the name of a function or of an object's class."""
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    if name is None:
        inner = getattr(thing, "func", None)  # functools.partial
        name = called(inner) if inner is not None else type(thing).__name__
    return str(name).split("<locals>.")[-1].removeprefix("_VariableFunctionsClass.")  # torch's


def described(value: Any) -> str:
    """Return a value in a few words: its type, and its shape or length."""
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with the keys {', '.join(map(str, value))}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"an array of shape {shape}"
    return (
        f"{called(value)} ({type(value).__name__})"
        if inspect.isroutine(value)
        else (f"a {type(value).__name__}")
    )
