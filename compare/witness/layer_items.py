"""The layers, activations and penalties that are certified, and their branch points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from compare.witness.cases import GradientCase, Item, graph_case, layer_case
from manual.graph import Graph
from manual.registry import ACTIVATIONS, LAYERS, PENALTIES

Rng = np.random.Generator
Branches = dict[str, Any]
CLASSES: dict[str, Any] = {**LAYERS, **PENALTIES}
ZERO = {"x = 0": np.zeros(1)}


def _item(
    name: str,
    args: tuple = (),
    draw: Callable[[Rng], tuple] = lambda rng: (_rows(rng),),
    *,
    fixed: Callable[[Rng], tuple] = lambda rng: (),
    branches: Branches | None = None,
) -> Item:
    """Return an item: a class, its arguments, what draws its inputs, and its branch points."""
    layer = CLASSES[name](*args)
    kind = "penalty" if name in PENALTIES else "activation" if name in ACTIVATIONS else "layer"

    def case(rng: Rng) -> GradientCase:
        inputs = draw(rng)
        params = {key: rng.standard_normal(p.shape) for key, p in layer.params.items()}
        bound = layer.with_params(params)
        return layer_case(bound, *inputs, fixed=fixed(rng), branches=branches)

    return Item(repr(layer), kind, name, case)


def _rows(rng: Rng) -> np.ndarray:
    return 2 * rng.standard_normal((3, 4))


def _mask(p: float) -> Callable[[Rng], tuple]:
    return lambda rng: (rng.random((3, 4)) >= p,)


def layers() -> Iterator[Item]:
    """Yield the layers that mix, move or join."""
    yield _item("Linear", (4, 3))
    yield _item("Linear", (4, 3, False))
    yield _item("Maxout", (4, 2, 2), branches=_tied_pieces(2))
    yield _item("Maxout", (4, 2, 3), branches=_tied_pieces(3))
    yield _item("Flatten", (), lambda rng: (rng.standard_normal((2, 3, 2)),))
    yield _item("Identity")
    yield _item("Dropout", (0.25,), fixed=_mask(0.25))
    yield _item("Dropout", (0.5,), fixed=_mask(0.5))
    yield _item("Add", (), lambda rng: tuple(rng.standard_normal((3, 2, 3))))
    yield _item("Multiply", (), lambda rng: tuple(rng.standard_normal((3, 2, 3))))
    yield _item("Concatenate", (1,), lambda rng: (_rows(rng), _rows(rng)[:, :2]))


def _tied_pieces(count: int) -> Branches:
    """Return different affine maps that meet at x = (1, 1, 1, 1), and third ones below them."""
    first = np.array([[1.0, 2.0, 3.0, 5.0], [5.0, 3.0, 2.0, 1.0]])
    pieces = [first, np.roll(first, 1, axis=1), first - 1][:count]
    at = {"input": np.ones((1, 4)), "weight": np.stack(pieces), "bias": np.zeros((count, 2))}
    return {"pieces tied": at}


def networks() -> Iterator[Item]:
    """Yield a graph in which a value feeds two nodes, so that gradients add."""
    nodes = [
        ("first", CLASSES["Linear"](3, 3), ("input",)),
        ("bent", CLASSES["Tanh"](), ("first",)),
        ("joined", CLASSES["Add"](), ("bent", "input")),
        ("last", CLASSES["Linear"](3, 2), ("joined",)),
    ]
    graph = Graph(nodes)

    def case(rng: Rng) -> GradientCase:
        params = {key: rng.standard_normal(p.shape) for key, p in graph.params.items()}
        return graph_case(graph.with_params(params), rng.standard_normal((2, 3)))

    yield Item("Graph of a residual block", "network", "Graph", case)


def activations() -> Iterator[Item]:
    """Yield the pointwise activations; a branch that is no kink is there for stability."""
    for name in ("Sigmoid", "LogSigmoid", "ReLU", "SiLU"):
        yield _item(name, branches=ZERO)
    yield _item("Tanh")
    yield _item("LeakyReLU", branches=ZERO)
    yield _item("LeakyReLU", (1.5,), branches=ZERO)
    yield _item("ELU", branches=ZERO)
    yield _item("ELU", (1.5,), branches=ZERO)
    yield _item("GELU")
    yield _item("GELU", ("tanh",))
    yield _item("Softplus", branches=ZERO | _threshold(20.0))
    yield _item("Softplus", (2.0, 0.5), branches=ZERO | _threshold(0.25))


def _threshold(x: float) -> Branches:
    return {"βx = threshold": np.array([x])}


def normalised() -> Iterator[Item]:
    """Yield Softmax and LogSoftmax, which subtract the largest element."""
    tied = {"tied maxima": np.ones((3, 3))}
    for name in ("Softmax", "LogSoftmax"):
        yield _item(name, (-1,), branches=tied)
        yield _item(name, (0,), branches=tied)


def penalties() -> Iterator[Item]:
    """Yield the penalties on a parameter."""
    yield _item("L1Penalty", (0.25,), branches={"w = 0": np.zeros(1)})
    yield _item("L2Penalty", (0.25,))
