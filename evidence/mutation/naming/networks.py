"""The small networks in which a mistake is to be named: 4 features, 3 classes, all options once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compare.description.config import Config
from compare.description.config.models import target_kind
from evidence.mutation.battery.layer_table import grouped
from manual import registry

BATCH = 15
Network = tuple[list[dict], dict[str, Any], dict[str, Any]]  # layers, loss, optimiser


def network(
    name: str,
    dtype: str = "float64",
    steps: int = 1,
    networks: dict[str, Network] | None = None,
    seed: int = 0,
) -> Config:
    """Return one of the networks, on the iris data."""
    layers, loss, optimizer = (networks or ALL)[name]
    return Config.model_validate(
        {
            "name": name.replace(":", "-"),
            "data": {"dataset": "iris", "scale": "standard", **_values(loss)},
            "layers": layers,
            "loss": loss,
            "optimizer": optimizer,
            "train": {"batch_size": BATCH, "steps": steps, "dtype": dtype, "seed": seed},
        }
    )


def _values(loss: dict) -> dict:
    return {"target_one_hot": True} if target_kind(loss) == "values" else {}


def types(name: str) -> set[str]:
    """Return the classes that a network uses."""
    layers, loss, optimizer = ALL[name]
    penalties = [p["type"] for p in loss.get("penalties", ())]
    return {*(layer["type"] for layer in layers), loss["type"], optimizer["type"], *penalties}


def linear(i: int, o: int, **more: Any) -> dict:
    return {"type": "Linear", "in_features": i, "out_features": o, **more}


def classifier(activation: str, **args: Any) -> list[dict]:
    return [linear(4, 6), {"type": activation, **args}, linear(6, 3)]


CE: dict[str, Any] = {"type": "CrossEntropyLoss"}
PLAIN: dict[str, Any] = {"type": "SGD", "lr": 0.1}
TANH = classifier("Tanh")
SIGMOID = [*TANH, {"type": "Sigmoid"}]
LOG_P = [*TANH, {"type": "LogSoftmax", "dim": -1}]
ROWS = [linear(4, 6), {"type": "Softmax", "dim": -1}, linear(6, 5), {"type": "Tanh"}, linear(5, 3)]
L1 = {"type": "L1Penalty", "coefficient": 0.3, "parameters": ["*.weight"]}
L2 = {"type": "L2Penalty", "coefficient": 0.3, "parameters": ["*.weight"]}
WEIGHT, POS_WEIGHT = [1.0, 2.0, 0.5], [3.0, 0.7, 1.2]
SQUARE = [linear(4, 4), {"type": "Tanh"}, linear(4, 4), {"type": "Tanh"}, linear(4, 3)]
RESIDUAL = [
    linear(4, 4, name="stem"), {"type": "Tanh", "name": "act"}, linear(4, 4, name="fc"),
    {"type": "Add", "name": "add", "inputs": ["stem", "fc"]}, linear(4, 3, name="head"),
]  # fmt: skip
GATE = [
    linear(4, 5, name="a"), linear(4, 5, name="b", inputs=["input"]),
    {"type": "Multiply", "name": "gate", "inputs": ["a", "b"]}, linear(5, 3, name="head"),
]  # fmt: skip
GATE_OF_THREE = [
    linear(4, 5, name="a"), linear(4, 5, name="b", inputs=["input"]),
    linear(4, 5, name="c", inputs=["input"]),
    {"type": "Multiply", "name": "gate", "inputs": ["a", "b", "c"]}, linear(5, 3, name="head"),
]  # fmt: skip
JOINED = [
    linear(4, 5, name="a"), linear(4, 2, name="b", inputs=["input"]),
    {"type": "Concatenate", "name": "join", "inputs": ["a", "b"]}, linear(7, 3, name="head"),
]  # fmt: skip
MAXOUT = {"type": "Maxout", "in_features": 4, "out_features": 6, "num_pieces": 3}


def _activations() -> Iterator[tuple[str, Network]]:
    """Yield each activation with what its examples give it, where it keeps a row's width."""
    rows = np.ones((BATCH, 6))
    for name, cls in registry.ACTIVATIONS.items():
        for number, arguments in enumerate(map(dict, grouped(cls))):
            try:
                kept = cls(**arguments).forward(rows)[0].shape == rows.shape
            except (ValueError, IndexError):
                continue
            if kept:
                own = f"{name}-{number}" if number else name
                yield own, (classifier(name, **arguments), CE, PLAIN)


LAYERS: dict[str, Network] = dict(_activations()) | {
    "Identity": (classifier("Identity"), CE, PLAIN),
    "Flatten": (classifier("Flatten"), CE, PLAIN),
    "square": (SQUARE, CE, PLAIN),
    "without-bias": ([linear(4, 6, bias=False), {"type": "Tanh"}, linear(6, 3)], CE, PLAIN),
    "softmax": (ROWS, CE, PLAIN),
    "residual": (RESIDUAL, CE, PLAIN),
    "gate": (GATE, CE, PLAIN),
    "gate-3": (GATE_OF_THREE, CE, PLAIN),
    "join": (JOINED, CE, PLAIN),
    "dropout": ([linear(4, 6), {"type": "Dropout", "p": 0.4}, linear(6, 3)], CE, PLAIN),
    "dropout-default": ([linear(4, 6), {"type": "Dropout"}, linear(6, 3)], CE, PLAIN),
    "maxout": ([MAXOUT, linear(6, 3)], CE, PLAIN),
    "maxout-default": (
        [{"type": "Maxout", "in_features": 4, "out_features": 6}, linear(6, 3)], CE, PLAIN,
    ),
    "maxout-bare": ([{**MAXOUT, "bias": False}, linear(6, 3)], CE, PLAIN),
}  # fmt: skip
LOSSES: dict[str, Network] = {
    name: (layers, loss, PLAIN)
    for name, layers, loss in (
        ("smoothed", TANH, {**CE, "label_smoothing": 0.1}),
        ("weighted", TANH, {**CE, "weight": WEIGHT}),
        ("smoothed-weighted", TANH, {**CE, "label_smoothing": 0.1, "weight": WEIGHT}),
        ("cross-entropy-sum", TANH, {**CE, "reduction": "sum"}),
        ("ignored", TANH, {**CE, "ignore_index": 1}),
        ("penalised", TANH, {**CE, "penalties": [L2]}),
        ("l1", TANH, {**CE, "penalties": [L1]}),
        ("mse", SIGMOID, {"type": "MSELoss"}),
        ("mse-sum", SIGMOID, {"type": "MSELoss", "reduction": "sum"}),
        ("bce", SIGMOID, {"type": "BCELoss"}),
        ("bce-weighted", SIGMOID, {"type": "BCELoss", "weight": WEIGHT}),
        ("bce-sum", SIGMOID, {"type": "BCELoss", "reduction": "sum"}),
        ("logits", TANH, {"type": "BCEWithLogitsLoss"}),
        ("logits-weighted", TANH,
         {"type": "BCEWithLogitsLoss", "weight": WEIGHT, "pos_weight": POS_WEIGHT}),
        ("logits-sum", TANH, {"type": "BCEWithLogitsLoss", "reduction": "sum"}),
        ("huber", TANH, {"type": "HuberLoss", "delta": 0.7}),
        ("huber-default", TANH, {"type": "HuberLoss"}),
        ("absolute", TANH, {"type": "L1Loss"}),
        ("squares", TANH, {"type": "SquaredErrorLoss", "factor": 0.7, "reduction": "mean"}),
        ("sum-of-squares", TANH, {"type": "SquaredErrorLoss"}),
        ("nll", LOG_P, {"type": "NLLLoss"}),
        ("nll-weighted", LOG_P, {"type": "NLLLoss", "weight": WEIGHT}),
        ("nll-ignored", LOG_P, {"type": "NLLLoss", "ignore_index": 1}),
        ("margins", TANH, {"type": "MultiMarginLoss"}),
        ("margins-wide", TANH, {"type": "MultiMarginLoss", "margin": 0.6}),
        ("margins-squared", TANH, {"type": "MultiMarginLoss", "p": 2, "weight": WEIGHT}),
        ("margins-sum", TANH, {"type": "MultiMarginLoss", "reduction": "sum"}),
        ("hinge", TANH, {"type": "MulticlassHingeLoss"}),
        ("hinge-wide", TANH, {"type": "MulticlassHingeLoss", "margin": 0.6}),
    )
}  # fmt: skip
DECAY = {"weight_decay": 0.05}
OPTIMIZERS: dict[str, Network] = {
    name: (TANH, CE, optimizer)
    for name, optimizer in (
        ("momentum", {**PLAIN, "momentum": 0.8}),
        ("nesterov", {**PLAIN, "momentum": 0.8, "nesterov": True}),
        ("decay", {**PLAIN, **DECAY}),
        ("dampened", {**PLAIN, "momentum": 0.8, "dampening": 0.3, **DECAY}),
        ("adam", {"type": "Adam", "lr": 0.01}),
        ("adam-decay", {"type": "Adam", "lr": 0.01, "weight_decay": 0.1}),
        ("adam-betas", {"type": "Adam", "lr": 0.01, "betas": [0.8, 0.95], "eps": 1e-3}),
        ("amsgrad", {"type": "Adam", "lr": 0.01, "amsgrad": True}),
        ("adamw", {"type": "AdamW", "lr": 0.01, "weight_decay": 0.1}),
        ("adamw-default", {"type": "AdamW", "lr": 0.01}),
        ("rmsprop", {"type": "RMSprop", "lr": 0.01}),
        ("rmsprop-centered",
         {"type": "RMSprop", "lr": 0.01, "centered": True, "momentum": 0.8, **DECAY}),
        ("adagrad", {"type": "Adagrad", "lr": 0.01, "lr_decay": 0.1, **DECAY}),
        ("adagrad-filled", {"type": "Adagrad", "lr": 0.01, "initial_accumulator_value": 0.2}),
        ("clip-norm", {**PLAIN, "clip_norm": 0.05}),
        ("clip-value", {**PLAIN, "clip_value": 0.02}),
    )
}  # fmt: skip
ALL = LAYERS | LOSSES | OPTIMIZERS
