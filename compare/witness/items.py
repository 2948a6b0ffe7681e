"""Everything that is certified: each example of each class, and two whole networks; small shapes.

A setting that enters in two ways (ε and 1 - ε) is a sum of powers of two, so that the code's own
float constants are exact. Optimisers get theirs as balls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from compare.errors import UserError, nearest
from compare.pair.example import distinct, shown
from compare.witness.cases import GradientCase, Item, example_case, graph_case
from compare.witness.optimizer_items import optimizers
from manual import registry
from manual.examples import Draw
from manual.expression import expression
from manual.graph import Graph

FORMULA = "1 / (1 + exp((W @ x + x) @ x))"


def items() -> list[Item]:
    """Return all items, in the order of the table."""
    found = [*layers(), *networks(), *optimizers()]
    names = distinct(item.name for item in found)
    return [replace(item, name=name) for item, name in zip(found, names, strict=True)]


def layers() -> Iterator[Item]:
    """Yield every example of every layer, gate, loss and penalty that has an input.

    An object array without axes is a bare number to NumPy, so those stand aside; and where backward
    is a convention there is nothing to prove.
    """
    for kind, table in registry.KINDS.items():
        for name, cls in table.items():
            for example in cls.examples:
                if example.inputs and not (_bare(example.inputs[0]) or example.convention):
                    case = partial(example_case, cls, example)
                    yield Item(shown(name, example.arguments), kind, name, case)


def _bare(spec: Any) -> bool:
    return isinstance(spec, tuple) and not isinstance(spec, Draw) and spec == ()


def networks() -> Iterator[Item]:
    """Yield a graph in which a value feeds two nodes, so that gradients add, and an expression."""
    yield Item("Graph of a residual block", "network", "Graph", _residual)
    yield Item(f"Expression {FORMULA}", "network", "Expression", _expression)


def _residual(rng: np.random.Generator) -> GradientCase:
    nodes = [
        ("first", registry.LAYERS["Linear"](3, 3), ("input",)),  # type: ignore[call-arg]
        ("bent", registry.LAYERS["Tanh"](), ("first",)),
        ("joined", registry.LAYERS["Add"](), ("bent", "input")),
        ("last", registry.LAYERS["Linear"](3, 2), ("joined",)),  # type: ignore[call-arg]
    ]
    graph = Graph(nodes)
    params = {key: rng.standard_normal(p.shape) for key, p in graph.params.items()}
    return graph_case(graph.with_params(params), rng.standard_normal((2, 3)))


def _expression(rng: np.random.Generator) -> GradientCase:
    """Return the pair of a graph that was parsed, x being used twice."""
    inputs = {"W": rng.standard_normal((3, 3)) / 4, "x": rng.standard_normal(3) / 2}
    formula = expression(FORMULA, **inputs)

    def forward(*values: object) -> tuple:
        found = formula.at(dict(zip(inputs, values, strict=True)))
        return found.value, found

    def backward(dout: object, found: object) -> tuple:
        grads = found.backward(dout)  # type: ignore[attr-defined]
        return tuple(grads[name] for name in inputs)

    return GradientCase(forward, backward, inputs)


def chosen(names: Sequence[str]) -> list[Item]:
    """Return the items of these classes; of all of them if none is named.

    Raises:
        UserError: a name that no item has.
    """
    found = items()
    groups = list(dict.fromkeys(item.group for item in found))
    for name in names:
        if name not in groups:
            raise UserError(f"Nothing to certify is called '{name}'. {nearest(name, groups)}")
    return [item for item in found if not names or item.group in names]
