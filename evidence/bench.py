"""Time the hand-written step beside torch eager, the bare products, and the comparison.

One process, one thread, rounds interleaved: the machine's speed drifts, the ratios do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from compare.description.config import Config
from compare.running.experiment import Experiment, prepare
from compare.running.lockstep import Lockstep
from compare.running.process import at_work

Row = dict[str, Any]
TARGET_SECONDS = 0.02  # per measurement: enough calls to be above the clock's noise


class Network(NamedTuple):
    """A network to time, on random data.

    Args:
        name: with the batch's size, as the table shows it.
        batch: rows of one step.
        width: features of a row.
        classes: outputs of a row; with cross-entropy its targets are classes.
        layers: as a configuration lists them.
        loss: likewise.
    """

    name: str
    batch: int
    width: int
    classes: int
    layers: tuple[dict[str, Any], ...]
    loss: dict[str, Any]


def linear(inputs: int, outputs: int, bias: bool = True) -> dict[str, Any]:
    return {"type": "Linear", "in_features": inputs, "out_features": outputs, "bias": bias}


def connected(
    sizes: tuple[int, ...], batch: int, activation: str, loss: dict[str, Any], *,
    bias: bool = True, last: bool = False,
) -> Network:  # fmt: skip
    """Return a fully connected network; `last` puts the activation after its last layer too."""
    layers: list[dict[str, Any]] = []
    for inputs, outputs in pairwise(sizes):
        layers += [linear(inputs, outputs, bias), {"type": activation}]
    name = f"{'-'.join(map(str, sizes))}, batch {batch}"
    shown = layers if last else layers[:-1]
    return Network(name, batch, sizes[0], sizes[-1], tuple(shown), loss)


SQUARED = {"type": "SquaredErrorLoss", "factor": 0.5, "reduction": "sum"}
SUM_SQUARED = {"type": "SquaredErrorLoss", "factor": 1.0, "reduction": "sum"}
CROSS_ENTROPY = {"type": "CrossEntropyLoss"}
MNIST = (784, 128, 64, 10)


def images(
    name: str, batch: int, shape: tuple[int, int, int], layers: list[dict[str, Any]]
) -> Network:
    """Return a convolutional classifier of ten classes on images of this shape."""
    unfolded = {"type": "Unflatten", "dim": 1, "unflattened_size": list(shape)}
    width = shape[0] * shape[1] * shape[2]
    return Network(f"{name}, batch {batch}", batch, width, 10, (unfolded, *layers), CROSS_ENTROPY)


def convolved(inputs: int, outputs: int, kernel_size: int, padding: int) -> list[dict[str, Any]]:
    """Return a convolution and a ReLU."""
    sizes = {"in_channels": inputs, "out_channels": outputs, "kernel_size": kernel_size}
    return [{"type": "Conv2d", **sizes, "padding": padding}, {"type": "ReLU"}]


def lenet() -> list[dict[str, Any]]:
    """LeNet-5 with rectifiers, on images of 28×28."""
    pool = {"type": "MaxPool2d", "kernel_size": 2}
    layers = [*convolved(1, 6, 5, 2), pool, *convolved(6, 16, 5, 0), pool, {"type": "Flatten"}]
    relu = {"type": "ReLU"}
    return [*layers, linear(400, 120), relu, linear(120, 84), relu, linear(84, 10)]


def six_convolutions() -> list[dict[str, Any]]:
    """Six convolutions with batch norm in three stages, on images of 32×32."""
    layers: list[dict[str, Any]] = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
        for first in (inputs, outputs):
            convolution, relu = convolved(first, outputs, 3, 1)
            layers += [convolution, {"type": "BatchNorm2d", "num_features": outputs}, relu]
        layers.append({"type": "MaxPool2d", "kernel_size": 2})
    return [*layers, {"type": "Flatten"}, linear(1024, 10)]


def recurrent() -> Network:
    """Return an LSTM of 64 units over 20 steps; its last hidden state is classified."""
    layers = (
        {"name": "steps", "type": "Unflatten", "dim": 1, "unflattened_size": [20, 32]},
        {"name": "lstm", "type": "LSTM", "input_size": 32, "hidden_size": 64, "batch_first": True},
        {"name": "last", "type": "Select", "dim": 0, "index": -1, "inputs": ["lstm:h_n"]},
        {"name": "head", **linear(64, 10)},
    )
    return Network("LSTM 20×32, 64 units, batch 32", 32, 640, 10, layers, CROSS_ENTROPY)


def attending() -> Network:
    """Return layer norm, self-attention of four heads and a residual, 64 tokens of 128 numbers."""
    attention = {"type": "MultiheadAttention", "embed_dim": 128, "num_heads": 4}
    layers: tuple[dict[str, Any], ...] = (
        {"name": "tokens", "type": "Unflatten", "dim": 1, "unflattened_size": [64, 128]},
        {"name": "norm", "type": "LayerNorm", "normalized_shape": 128},
        {"name": "attention", **attention, "batch_first": True, "inputs": ["norm"] * 3},
        {"name": "residual", "type": "Add", "inputs": ["tokens", "attention"]},
        {"name": "flat", "type": "Flatten"},
        {"name": "head", **linear(64 * 128, 10)},
    )
    return Network("attention 64×128, 4 heads, batch 8", 8, 64 * 128, 10, layers, CROSS_ENTROPY)


NETWORKS = (
    connected((3, 4, 4, 2), 1, "Sigmoid", SQUARED, last=True),
    connected((1000, 100, 10), 64, "Sigmoid", SUM_SQUARED, bias=False),
    connected(MNIST, 32, "ReLU", CROSS_ENTROPY),
    connected(MNIST, 128, "ReLU", CROSS_ENTROPY),
    connected(MNIST, 512, "ReLU", CROSS_ENTROPY),
    connected((1024, 1024, 1024, 10), 256, "ReLU", CROSS_ENTROPY),
    images("LeNet-5", 32, (1, 28, 28), lenet()),
    images("six convolutions with batch norm", 16, (3, 32, 32), six_convolutions()),
    recurrent(),
    attending(),
)


def describe(network: Network, dtype: str) -> Config:
    """Return the network as a run's configuration."""
    size = {"n": max(network.batch, 2 * network.classes), "d_in": network.width}
    data = (
        {"dataset": "random_classification", "classes": network.classes, **size}
        if network.loss is CROSS_ENTROPY
        else {"dataset": "random_regression", "d_out": network.classes, **size}
    )
    return Config.model_validate(
        {
            "name": "bench",
            "data": {**data, "scale": "standard"},
            "layers": list(network.layers),
            "loss": network.loss,
            "optimizer": {"type": "SGD", "lr": 1e-7},  # the numbers stay what they are
            "train": {"steps": 1, "batch_size": network.batch, "dtype": dtype},
        }
    )


def torch_eager(experiment: Experiment, x: np.ndarray, target: np.ndarray) -> Callable[[], Any]:
    """Return one plain training step in torch: the model, its loss, backward, optim.SGD.

    A chain is an nn.Sequential; of anything else the modules are called one by one.
    """
    import torch

    side = experiment.torch
    nodes = experiment.manual.graph.nodes
    chained = all(
        node.inputs == (before,)
        for node, before in zip(nodes, ["input", *(n.name for n in nodes)], strict=False)
    )
    sequence = torch.nn.Sequential(*side.network.modules_by_node.values())
    model = sequence if chained else _called(nodes, side.network.modules_by_node)
    optimizer = torch.optim.SGD(sequence.parameters(), lr=experiment.lr(0))
    inputs, targets = side.tensor(x), side.tensor(target)

    def step() -> None:
        optimizer.zero_grad()
        side.loss_module(model(inputs), targets).backward()
        optimizer.step()

    return step


def _called(nodes: Sequence[Any], modules: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Return a function that calls each node's module on what it takes, ports by their place."""
    ports = {
        f"{node.name}:{port}": (node.name, place)
        for node in nodes
        for place, port in enumerate(node.layer.outputs)
    }
    calls = []
    for node in nodes:
        single = len(node.layer.outputs) == 1
        calls.append((node.name, modules[node.name], [v for v in node.inputs if v], single))

    def value(values: dict[str, Any], name: str) -> Any:
        if name not in ports:
            return values[name]
        source, place = ports[name]
        return _flat(values[source + "()"])[place]

    def model(x: Any) -> Any:
        values = {"input": x}
        for name, module, inputs, single in calls:
            y = module(*(value(values, source) for source in inputs))
            values[name + "()"] = y
            values[name] = y if single else _flat(y)[0]
        return values[nodes[-1].name]

    return model


def _flat(nest: Any) -> list[Any]:
    """Return the tensors of a tuple of tuples in order."""
    return [t for part in nest for t in _flat(part)] if isinstance(nest, tuple) else [nest]


def manual(experiment: Experiment, x: np.ndarray, target: np.ndarray) -> Callable[[], Any]:
    """Return one plain training step of the hand-written side, compiled."""
    side, lr = experiment.manual, experiment.lr(0)
    training = side.training(experiment.weights)
    return lambda: training.step(x, target, lr=lr)


def floor(network: Network, dtype: np.dtype) -> Callable[[], Any] | None:
    """Return only the matrix products that a step needs; the first layer has no input gradient.

    None for a network of other layers than fully connected ones.
    """
    if any("Linear" not in layer["type"] and len(layer) > 1 for layer in network.layers):
        return None
    rng = np.random.default_rng(0)
    shapes = [(d["in_features"], d["out_features"]) for d in network.layers if len(d) > 1]
    x = [rng.standard_normal((network.batch, i)).astype(dtype) for i, _ in shapes]
    w = [rng.standard_normal((o, i)).astype(dtype) for i, o in shapes]
    dy = [rng.standard_normal((network.batch, o)).astype(dtype) for _, o in shapes]

    def step() -> None:
        for i in range(len(shapes)):
            x[i] @ w[i].T
            dy[i].T @ x[i]
            if i:
                dy[i] @ w[i]

    return step


def lockstep(experiment: Experiment, batch: np.ndarray, *, gauge: bool) -> Callable[[], Any]:
    """Return one lockstep step, compared and judged; gauged every time or only the first."""
    compare = experiment.config.compare.model_copy(
        update={"gauge_every": 1 if gauge else 10**9, "drift": False}
    )
    config = experiment.config.model_copy(update={"compare": compare})
    runner = Lockstep(prepare(config))
    runner.step(0, batch)
    runner.resynchronise()

    def step() -> None:
        runner.step(2, batch)  # neither the first nor the second: those are gauged
        runner.resynchronise()

    return step


def bench(*, rounds: int = 30, only: str | None = None, show: bool = True) -> list[Row]:
    """Measure every network in both dtypes; return a row of medians and ratios for each.

    Args:
        rounds: interleaved rounds; each ratio is the median of the rounds' ratios.
        only: measure only networks whose name contains this text.
        show: show progress on standard error.
    """
    from rich.console import Console
    from rich.progress import track

    cases = [(n, d) for n in NETWORKS if not only or only in n.name for d in ("float32", "float64")]
    shown = track(cases, "timing", console=Console(stderr=True), transient=True, disable=not show)
    with at_work():
        return [_row(network, dtype, rounds) for network, dtype in shown]


def _row(network: Network, dtype: str, rounds: int) -> Row:
    experiment = prepare(describe(network, dtype))
    experiment.torch.load(experiment.weights)
    batch = np.arange(network.batch)
    x, target = experiment.rows(batch)
    eager, by_hand = torch_eager(experiment, x, target), manual(experiment, x, target)
    products = floor(network, experiment.dtype)
    steps = {
        "torch": eager,
        "manual": by_hand,
        "bare": lambda: (eager(), by_hand()),
        **({"floor": products} if products else {}),
        "compare": lockstep(experiment, batch, gauge=False),
        "gauge": lockstep(experiment, batch, gauge=True),
    }
    times = interleaved(steps, rounds)
    return {
        "network": network.name,
        "dtype": dtype,
        "manual_us": round(float(np.median(times["manual"])) * 1e6, 1),
        "torch_us": round(float(np.median(times["torch"])) * 1e6, 1),
        "manual_over_torch": _ratio(times, "manual", "torch"),
        "manual_over_floor": _ratio(times, "manual", "floor") if products else None,
        "compare_overhead": _ratio(times, "compare", "bare"),
        "gauge_overhead": _ratio(times, "gauge", "bare"),
    }


def _ratio(times: dict[str, np.ndarray], above: str, below: str) -> float:
    """Return the median over rounds of a ratio within the round."""
    return round(float(np.median(times[above] / times[below])), 3)


def interleaved(steps: dict[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray]:
    """Return each step's seconds in every round; in a round all take turns."""
    calls = {}
    for name, step in steps.items():
        step()  # the first call pays for set-up
        start = time.perf_counter()
        step()
        calls[name] = max(1, min(200, int(TARGET_SECONDS / (time.perf_counter() - start))))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                step()
            times[name].append((time.perf_counter() - start) / calls[name])
    return {name: np.array(taken) for name, taken in times.items()}


def table(rows: list[Row]) -> str:
    """Return the rows as an aligned table."""
    import pandas as pd

    return pd.DataFrame(rows).to_string(index=False)
