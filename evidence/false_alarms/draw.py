"""Random correct networks, each from the seed and its own number alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from compare.description.config import Config
from compare.description.config.settings import TrainConfig
from compare.description.wanted import wants_fractions, wants_labels
from compare.errors import UserError, nearest
from compare.pair.inputs import rounded
from compare.running.experiment import Experiment, prepare
from evidence.false_alarms.layers import Layers, activation, width
from evidence.false_alarms.settings import init, log_uniform, loss, optimizer, penalties

DTYPES, HALVES = ("float64", "float32"), ("float16", "bfloat16")
DEPTH, BATCH, SCALE = 12, 64, 4  # at most; data scales are 10 to ± this


class Draw(NamedTuple):
    """One network, and what its generated data are multiplied with."""

    config: Config
    feature_scale: float
    target_scale: float

    def experiment(self) -> Experiment:
        """Build both sides; scaled data are rounded to what the dtype holds exactly."""
        made, train = prepare(self.config), self.config.train
        held = train.dtype if train.half and not train.autocast else "float32"
        features = rounded(made.features * self.feature_scale, held)
        targets = made.targets
        if np.issubdtype(targets.dtype, np.floating) and self.target_scale != 1:
            targets = rounded(targets * self.target_scale, held).astype(made.dtype)
        return replace(made, features=features.astype(made.dtype), targets=targets)


def draw(seed: int, index: int, attempt: int = 0, dtypes: tuple[str, ...] = DTYPES) -> Draw:
    """Return the network of this number; `attempt` counts the draws that had to be thrown away.

    Dtypes take turns, `autocast` before the name of one says so: by default even numbers are
    float64, odd ones float32. Of a half, whose range is short, the data are less far from 1.
    """
    rng = np.random.default_rng([seed, index, attempt])
    chosen, ending = loss(rng)
    data, inputs, outputs = _data(rng, chosen["type"])
    layers = _network(rng, inputs, outputs, ending)
    scales = [log_uniform(rng, -SCALE, SCALE) if rng.random() < 0.6 else 1.0 for _ in range(2)]
    if wants_fractions(chosen["type"]):
        scales[1] = 1.0  # the targets are probabilities
    autocast, _, dtype = dtypes[index % len(dtypes)].rpartition(" ")
    if dtype in HALVES:
        scales = [scale**0.25 for scale in scales]
    batch = int(data.pop("batch"))
    config = {
        "name": f"random {index}",
        "data": data,
        "layers": layers,
        "loss": {**_for_outputs(rng, chosen, outputs), "penalties": penalties(rng)},
        "optimizer": optimizer(rng),
        "train": {
            "steps": int(rng.integers(2, 4)),
            "batch_size": batch,
            "seed": int(rng.integers(2**31)),
            "dtype": dtype,
            "autocast": bool(autocast),
        },
        "init": init(rng),
        "compare": {"drift": False},
    }
    if dtype in HALVES and not autocast:  # torch holds constants in the run's dtype
        config |= {key: _held(config[key], dtype) for key in ("layers", "loss")}
    return Draw(Config.model_validate(config), *scales)


def _held(table: Any, dtype: str) -> Any:
    """Return a table with every fraction rounded to what the dtype can hold."""
    if isinstance(table, dict):
        return {key: _held(value, dtype) for key, value in table.items()}
    if isinstance(table, list):
        return [_held(value, dtype) for value in table]
    return float(rounded(np.array(table), dtype)) if isinstance(table, float) else table


def _data(rng: np.random.Generator, loss_name: str) -> tuple[dict[str, Any], int, int]:
    """Return a generated data set that the loss can take, with the numbers of columns."""
    batch = int(BATCH ** rng.random() + 0.5)
    inputs, outputs = width(rng), width(rng, most=16)
    seed = int(rng.integers(2**31))
    scale = str(rng.choice(["none", "standard", "minmax"], p=[0.7, 0.2, 0.1]))
    rows = batch * int(rng.integers(1, 4))
    data: dict[str, Any] = {"d_in": inputs, "seed": seed, "scale": scale, "batch": batch}
    if wants_labels(loss_name):
        outputs = max(outputs, 2)
        data |= {"dataset": "random_classification", "classes": outputs}
        data["n"] = max(rows, outputs)
    else:
        data |= {"dataset": "random_regression", "d_out": outputs, "n": max(rows, 2)}
        if wants_fractions(loss_name):
            data["target_scale"] = "minmax"
    return data, inputs, outputs


def _for_outputs(rng: np.random.Generator, chosen: dict, outputs: int) -> dict[str, Any]:
    """Fill in the loss's weights, one for each output or class."""
    per_output = {
        key: [float(np.float32(w)) for w in rng.uniform(0.25, 2.0, outputs)]
        for key in ("weight", "pos_weight")
        if key in chosen
    }
    return {**chosen, **per_output}


def _network(
    rng: np.random.Generator, inputs: int, outputs: int, ending: str
) -> list[dict[str, Any]]:
    """Return up to DEPTH blocks; the last is linear, and what the loss needs after it."""
    net = Layers(rng, inputs)
    for _ in range(int(rng.integers(0, DEPTH))):
        net.block()
    net.linear(outputs)
    if ending == "sigmoid":
        net.add({"type": "Sigmoid"})
    elif rng.random() < 0.3:
        net.add(activation(rng, net.width))
    return net.tables


def chosen(names: str | None) -> tuple[str, ...]:
    """Return the dtypes in a list of names.

    Raises:
        UserError: one is not known.
    """
    if names is None:
        return DTYPES
    found = tuple(name.strip() for name in names.split(","))
    known = (*DTYPES, *HALVES, *(f"autocast {name}" for name in HALVES))
    for name in found:
        if name not in known:
            raise UserError(f"--dtype '{name}' is not known. {nearest(name, known)}")
    return found


def label(train: TrainConfig) -> str:
    """Return the name of a run's dtype, as `chosen` takes it."""
    return f"autocast {train.dtype}" if train.autocast else train.dtype
