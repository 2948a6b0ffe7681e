"""Do the layers fit each other, the data and the loss? Two real rows through the network tell."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from compare.description.build import build_graph, build_loss
from compare.description.config import Config
from compare.description.data import Dataset
from compare.description.data.dataset import each, named
from compare.description.wanted import wants_fractions
from compare.errors import UserError
from manual.graph import Graph, Node
from manual.initializers import initialize

ROWS = 2


def check_shapes(config: Config, data: Dataset, graph: Graph | None = None) -> None:
    """Run two rows of the data through the network (built already perhaps) and the loss.

    Raises:
        UserError: a layer cannot take what it is fed, the output does not fit the targets, or
            there is nothing to train.
    """
    graph = graph or build_graph(config)
    if not graph.params:
        raise UserError(f"{config.name}: no layer has parameters, so there is nothing to train.")
    graph = graph.with_params(_initial(config, graph))
    with np.errstate(all="ignore"):
        output = _forward(config, graph, data)
        _check_targets(config, graph, data, output)
        if wants_fractions(config.loss.type, of=0):
            _check_probabilities(config, graph, data)
        _check_loss(config, data, output)


def _initial(config: Config, graph: Graph) -> dict[str, Any]:
    shapes = {name: tuple(param.shape) for name, param in graph.params.items()}
    try:
        return initialize(
            shapes, config.init.scheme, np.random.default_rng(config.train.seed),
            bias=config.init.bias, stacks=graph.stacks, **config.init.args,
        )  # fmt: skip
    except (ValueError, OverflowError) as error:
        raise UserError(f"{config.name}: [init]: {error}") from None


def _forward(config: Config, graph: Graph, data: Dataset) -> Any:
    """Run the network; a layer that fails is named, with what it was fed."""
    reached: list[tuple[Node, tuple[Any, ...]]] = []

    def note(node: Node, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        reached.append((node, inputs))
        return inputs

    try:
        return graph.run(_rows(data), intercept=note).output
    except (ValueError, TypeError, IndexError) as error:
        node, inputs = reached[-1]
        fed = ", ".join(
            f"'{name}' with shape {_shape(x)}"
            for name, x in zip(node.inputs, inputs, strict=True)
            if x is not None
        )
        raise UserError(
            f"{config.name}: layer '{node.name}' ({node.layer!r}) cannot take its input from "
            f"{fed}{_data_hint(node, data)}: {_reason(error, len(inputs))}"
        ) from None


def _check_targets(config: Config, graph: Graph, data: Dataset, output: Any) -> None:
    last = f"the network's output ('{graph.output}')"
    if data.targets.dtype == np.int64:
        wanted = len(data.classes or ())
        if output.shape[2:] == data.targets.shape[1:] and output.shape[1:2] >= (wanted,):
            return
        need = f"{data.name} has {wanted} classes, so {config.loss.type} needs {wanted} columns"
        if data.targets.ndim > 1:
            places = ", ".join(map(str, data.targets.shape[1:]))
            need += f" at each place, (N, {wanted}, {places}): Transpose the axes"
        if wanted > 20 and 4 * wanted > data.rows:
            need += " (if these are numbers to predict rather than classes, use MSELoss)"
    else:
        wanted = data.targets.shape[1]
        if output.shape[1:] == data.targets.shape[1:]:
            return
        need = f"the targets of {data.name} ({_names(data)}) have shape {_shape(data.targets)}"
    raise UserError(
        f"{config.name}: {last} has shape {_shape(output)}, but {need}. {_fix(graph, wanted)}"
    )


def _check_loss(config: Config, data: Dataset, output: Any) -> None:
    loss = build_loss(config)
    if len(names := list(inspect.signature(loss.forward).parameters)) > 2:
        raise UserError(
            f"{config.name}: {config.loss.type} takes {', '.join(names)}, and a run has only the "
            "network's output and its targets. Check it alone: handgrad.as_torch(loss)."
        )
    if loss.params:
        raise UserError(
            f"{config.name}: {config.loss.type} has parameters of its own, which a run does not "
            "train. Give the network a layer that holds them, and take the loss of its output."
        )
    try:
        _, cache = loss.forward(output, data.targets[:ROWS])
        loss.backward(1.0, cache)
    except (ValueError, TypeError, IndexError) as error:
        raise UserError(f"{config.name}: [loss]: {error}") from None


def _check_probabilities(config: Config, graph: Graph, data: Dataset) -> None:
    """The loss takes logarithms of y and 1 - y: try parameters of several signs and sizes."""
    if ((data.targets < 0) | (data.targets > 1)).any():
        raise UserError(
            f"{config.name}: {config.loss.type} wants targets between 0 and 1; those of "
            f"{data.name} ({_names(data)}) reach from {data.targets.min():g} to "
            f"{data.targets.max():g}."
        )
    rng = np.random.default_rng(0)
    for _ in range(8):
        params = {name: 2 * rng.standard_normal(p.shape) for name, p in graph.params.items()}
        y = graph.with_params(params).run(_rows(data)).output
        if ((y < 0) | (y > 1)).any():
            raise UserError(
                f"{config.name}: {config.loss.type} wants probabilities, but the network's output "
                f"('{graph.output}') can leave 0 … 1. End the network with a Sigmoid layer, or use "
                "BCEWithLogitsLoss."
            )


def _rows(data: Dataset) -> Any:
    return each(lambda array: array[:ROWS], data.features)


def _shape(array: Any) -> str:
    """Write a batch's shape with N for its rows."""
    return f"({', '.join(['N', *(str(n) for n in array.shape[1:])])})"


def _names(data: Dataset) -> str:
    return ", ".join(data.target_names[:4]) + (", …" if len(data.target_names) > 4 else "")


def _data_hint(node: Node, data: Dataset) -> str:
    fed = [array for name, array in named(data.features).items() if name in node.inputs]
    if not fed:
        return ""
    return f" ({data.name} has {int(np.prod(fed[0].shape[1:]))} features)"


def _reason(error: Exception, inputs: int) -> str:
    if isinstance(error, TypeError) and "positional argument" in str(error):
        return f"it does not take {inputs} inputs. Join them first (Add, Multiply, Concatenate)."
    return str(error)


def _fix(graph: Graph, wanted: int) -> str:
    for node in reversed(graph.nodes):
        if hasattr(node.layer, "out_features"):
            return f"Set out_features of layer '{node.name}' to {wanted}."
    return "Change the last layer."
