"""Time the hand-written step beside torch eager, the bare products, and the comparison.

One process, one thread, rounds interleaved: the machine's speed drifts, the ratios do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from compare.description.config import Config
from compare.running.experiment import Experiment, prepare
from compare.running.lockstep import Lockstep

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
NETWORKS = (
    connected((3, 4, 4, 2), 1, "Sigmoid", SQUARED, last=True),
    connected((1000, 100, 10), 64, "Sigmoid", SUM_SQUARED, bias=False),
    connected(MNIST, 32, "ReLU", CROSS_ENTROPY),
    connected(MNIST, 128, "ReLU", CROSS_ENTROPY),
    connected(MNIST, 512, "ReLU", CROSS_ENTROPY),
    connected((1024, 1024, 1024, 10), 256, "ReLU", CROSS_ENTROPY),
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
    """Return one plain training step in torch: nn.Sequential, loss, backward, optim.SGD."""
    import torch

    side = experiment.torch
    model = torch.nn.Sequential(*side.network.modules_by_node.values())
    optimizer = torch.optim.SGD(model.parameters(), lr=experiment.lr(0))
    inputs, targets = side.tensor(x), side.tensor(target)

    def step() -> None:
        optimizer.zero_grad()
        side.loss_module(model(inputs), targets).backward()
        optimizer.step()

    return step


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
    import torch
    from rich.console import Console
    from rich.progress import track
    from threadpoolctl import threadpool_limits

    cases = [(n, d) for n in NETWORKS if not only or only in n.name for d in ("float32", "float64")]
    shown = track(cases, "timing", console=Console(stderr=True), transient=True, disable=not show)
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
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
