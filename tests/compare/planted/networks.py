"""A planted mistake, the small networks it is planted in, and the run that should name it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest

from compare.config import Config
from compare.config.models import target_kind
from compare.report import Report
from compare.runner import run

BATCH = 15
Network = tuple[list[dict], dict[str, Any], dict[str, Any]]  # layers, loss, optimiser


class Mistake(NamedTuple):
    """A wrong derivation: where it stands, what it is instead, and what it should be called."""

    name: str
    kinds: tuple[str, ...]  # the right names
    owner: Any
    method: str
    wrong: Callable[..., Any]
    network: str

    @property
    def steps(self) -> int:
        """How many steps it takes to show."""
        return 3 if "later" in self.name else 1


def network(
    name: str, dtype: str = "float64", steps: int = 1, networks: dict[str, Network] | None = None
) -> Config:
    """Return one of a few small networks on the iris data (4 features, 3 classes)."""
    layers, loss, optimizer = (networks or NETWORKS)[name]
    return Config.model_validate(
        {
            "name": name.replace(":", "-"),
            "data": {"dataset": "iris", "scale": "standard", **_values(loss)},
            "layers": layers,
            "loss": loss,
            "optimizer": optimizer,
            "train": {"batch_size": BATCH, "steps": steps, "dtype": dtype},
        }
    )


def _values(loss: dict) -> dict:
    return {"target_one_hot": True} if target_kind(loss) == "values" else {}


@cache
def planted(mistake: Mistake, dtype: str = "float64") -> Report:
    """Run the network with the mistake in it, once for all tests that look at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mistake.owner, mistake.method, mistake.wrong)
        return run(network(mistake.network, dtype, mistake.steps), drift=False)


def linear(i: int, o: int, **more: Any) -> dict:
    return {"type": "Linear", "in_features": i, "out_features": o, **more}


def classifier(activation: str, **args: Any) -> list[dict]:
    return [linear(4, 6), {"type": activation, **args}, linear(6, 3)]


CE: dict[str, Any] = {"type": "CrossEntropyLoss"}
PLAIN: dict[str, Any] = {"type": "SGD", "lr": 0.1}
ROWS = [linear(4, 6), {"type": "Softmax", "dim": -1}, linear(6, 5), {"type": "Tanh"}, linear(5, 3)]
PENALTY = {"type": "L2Penalty", "coefficient": 0.3, "parameters": ["*.weight"]}
RESIDUAL = [
    linear(4, 4, name="stem"),
    {"type": "Tanh", "name": "act"},
    linear(4, 4, name="fc"),
    {"type": "Add", "name": "add", "inputs": ["stem", "fc"]},
    linear(4, 3, name="head"),
]
NETWORKS: dict[str, Network] = {
    name: (classifier(name), CE, PLAIN)
    for name in ("Sigmoid", "Tanh", "ReLU", "SiLU", "GELU", "Softplus")
} | {
    "LeakyReLU": (classifier("LeakyReLU", negative_slope=0.2), CE, PLAIN),
    "square": (
        [linear(4, 4), {"type": "Tanh"}, linear(4, 4), {"type": "Tanh"}, linear(4, 3)], CE, PLAIN,
    ),
    "softmax": (ROWS, CE, PLAIN),
    "log-softmax": (
        [linear(4, 6), {"type": "LogSoftmax", "dim": -1}, linear(6, 3)], CE, PLAIN,
    ),
    "residual": (RESIDUAL, CE, PLAIN),
    "gate": (
        [
            linear(4, 5, name="a"),
            linear(4, 5, name="b", inputs=["input"]),
            {"type": "Multiply", "name": "gate", "inputs": ["a", "b"]},
            linear(5, 3, name="head"),
        ],
        CE, PLAIN,
    ),
    "mse": ([*classifier("Tanh"), {"type": "Sigmoid"}], {"type": "MSELoss"}, PLAIN),
    "bce": ([*classifier("Tanh"), {"type": "Sigmoid"}], {"type": "BCELoss"}, PLAIN),
    "huber": (classifier("Tanh"), {"type": "HuberLoss", "delta": 0.7}, PLAIN),
    "smoothed": (classifier("Tanh"), {**CE, "label_smoothing": 0.1}, PLAIN),
    "weighted": (classifier("Tanh"), {**CE, "weight": [1.0, 2.0, 0.5]}, PLAIN),
    "penalised": (
        classifier("Tanh"),
        {**CE, "penalties": [PENALTY]},
        PLAIN,
    ),
    "momentum": (classifier("Tanh"), CE, {**PLAIN, "momentum": 0.8}),
    "nesterov": (classifier("Tanh"), CE, {**PLAIN, "momentum": 0.8, "nesterov": True}),
    "decay": (classifier("Tanh"), CE, {**PLAIN, "weight_decay": 0.05}),
    "adam": (classifier("Tanh"), CE, {"type": "Adam", "lr": 0.01}),
    "adam-decay": (classifier("Tanh"), CE, {"type": "Adam", "lr": 0.01, "weight_decay": 0.1}),
    "adamw": (classifier("Tanh"), CE, {"type": "AdamW", "lr": 0.01, "weight_decay": 0.1}),
    "rmsprop": (classifier("Tanh"), CE, {"type": "RMSprop", "lr": 0.01}),
}  # fmt: skip
