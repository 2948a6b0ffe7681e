"""A formula with values: its graph, the value of every node, and the gradients."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import count
from typing import Any

import numpy as np

from manual.expression.labels import label
from manual.expression.parser import ExpressionError, nearest, parse
from manual.expression.terms import Term
from manual.graph import Array, Arrays, Graph, Layer, Node

NUMBERS = {"f", "c", "O"}  # dtypes that are left as they are; O holds numbers of other kinds


class Expression:
    """A formula at a point.

    Attributes:
        graph: the gates; the last one is named f, the others q1, q2, … in the order of evaluation.
        labels: what each node and input stands for, by name.
        inputs: the values given, by name.
        tape: what the forward pass left.

    Raises:
        ValueError: a value is missing or superfluous, or a gate cannot take its inputs.
    """

    def __init__(self, term: Term, inputs: Mapping[str, Any]) -> None:
        self.graph, self.labels = graph_of(term)
        self.inputs = _values(self.graph.inputs, inputs, self.labels["f"])
        self.tape = self._forward()

    @property
    def value(self) -> Array:
        """What the whole formula gives."""
        return self.tape.output

    @property
    def values(self) -> Arrays:
        """The value of every input and node, by name."""
        return self.tape.values

    @property
    def gradients(self) -> Arrays:
        """∂f/∂input for every input; f must be one number."""
        return self.backward()

    def backward(self, upstream: Any = None) -> Arrays:
        """Return the gradient of every input, under an upstream gradient ∂L/∂f; 1 if none is given.

        Raises:
            ValueError: f is an array and there is no upstream gradient, or one of another shape.
        """
        found = self.node_gradients(upstream)
        return {name: found[name] for name in self.graph.inputs}

    def node_gradients(self, upstream: Any = None) -> Arrays:
        """Return the gradient of every input and node; as `backward`."""
        shape = np.shape(self.value)
        if upstream is None and shape != ():
            raise ValueError(
                f"The expression's value has shape {shape}: there is no gradient of several "
                "numbers. Sum them, or give an upstream gradient: backward(upstream)."
            )
        seed = self.value * 0 + 1 if upstream is None else _array("upstream", upstream)
        if np.shape(seed) != shape:
            raise ValueError(
                f"The upstream gradient must have the value's shape {shape}, received "
                f"{np.shape(seed)}."
            )
        return self.graph.gradients(self.tape, seed, wrt=self.graph.inputs).values

    def at(self, inputs: Mapping[str, Any]) -> Expression:
        """Return the same formula at another point, or in another kind of numbers."""
        return self._changed(inputs=_values(self.graph.inputs, inputs, self.labels["f"]))

    def with_layers(self, layers: Mapping[str, Layer]) -> Expression:
        """Return the same point with other gates at the named nodes."""
        return self._changed(graph=self.graph.with_layers(layers))

    def _changed(self, **what: Any) -> Expression:
        twin = object.__new__(type(self))
        twin.__dict__ = {**self.__dict__, **what}
        twin.tape = twin._forward()
        return twin

    def _forward(self) -> Any:
        try:
            return self.graph.run(self.inputs)
        except (ValueError, TypeError) as error:
            name = getattr(error, "place", ("f",))[0]
            raise ValueError(f"In '{self.labels[name]}': {error}") from error

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.inputs.items())
        return f"expression({self.labels['f']!r}, {values}) = {self.value!r}"


def expression(formula: str | Term, /, **values: Any) -> Expression:
    """Return a formula at a point: `expression("(x + y) * z", x=-2, y=5, z=-4)`.

    Args:
        formula: text, or a term composed in Python.
        values: every input's value: a number, an array, or a nested list.

    Raises:
        ExpressionError: the text cannot be read.
        ValueError: a value is missing or superfluous, or a gate cannot take its inputs.
    """
    try:
        return Expression(parse(formula) if isinstance(formula, str) else formula, values)
    except RecursionError:
        raise ExpressionError("The expression is nested too deeply. Split it.") from None


def graph_of(term: Term) -> tuple[Graph, dict[str, str]]:
    """Return the graph of a term, and what its nodes and inputs stand for.

    Raises:
        ValueError: there is no gate, or no input.
    """
    ordered = _ordered(term)
    inputs = list(dict.fromkeys(t.name for t in ordered if t.layer is None))
    gates = [t for t in ordered if t.layer is not None]
    if not gates or not inputs:
        raise ValueError(
            f"'{label(term)}' has no {'input' if gates else 'gate'}: a graph needs both. Write a "
            "formula of named inputs, such as x * 2."
        )
    if "f" in inputs:
        raise ValueError("The name 'f' is kept for the whole formula. Rename the input.")
    free = (name for name in map("q{}".format, count(1)) if name not in inputs)
    names = {t: t.name for t in ordered if t.layer is None}
    names |= {t: "f" if t is term else next(free) for t in gates}
    nodes = [Node(names[t], t.layer, tuple(names[o] for o in t.operands)) for t in gates]  # type: ignore[arg-type]
    return Graph(nodes, tuple(inputs)), {names[t]: label(t) for t in ordered}


def _ordered(term: Term) -> list[Term]:
    """Return every term once, after what feeds it."""
    found: list[Term] = []

    @cache
    def visit(t: Term) -> None:
        for operand in t.operands:
            visit(operand)
        found.append(t)

    visit(term)
    return found


def _values(names: tuple[str, ...], given: Mapping[str, Any], formula: str) -> Arrays:
    for name in given:
        if name not in names:
            raise ValueError(f"'{formula}' has no input '{name}'. {nearest(name, names, 'Inputs')}")
    if missing := [name for name in names if name not in given]:
        raise ValueError(
            f"'{formula}' has no value for {', '.join(missing)}. Give one to every input: "
            f"{', '.join(f'{name}=…' for name in names)}."
        )
    return {name: _array(name, given[name]) for name in names}


def _array(name: str, value: Any) -> Array:
    """Return numbers and nested lists as float64; arrays of other kinds of numbers as they are."""
    if getattr(getattr(value, "dtype", None), "kind", "") in NUMBERS:
        return value
    try:
        found = np.asarray(value)
    except ValueError:  # rows of different lengths
        found = np.asarray(None)
    if found.dtype.kind not in "iufb":
        raise ValueError(
            f"{name}: expected a number or rows of numbers, all of one length, received {value!r}."
        )
    return found.astype(float)[()]
