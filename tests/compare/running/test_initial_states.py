"""A recurrent layer that other nodes give its first states: in TOML as in torch."""

from __future__ import annotations

import pytest

import compare
from compare.description.config import Config

LAYERS = [
    {"name": "rows", "type": "Unflatten", "dim": 1, "unflattened_size": [2, 4]},
    {"name": "first", "type": "Linear", "in_features": 8, "out_features": 3, "inputs": ["input"]},
    {"name": "h", "type": "Unflatten", "dim": 0, "unflattened_size": [1, -1]},
    {"name": "other", "type": "Linear", "in_features": 8, "out_features": 3, "inputs": ["input"]},
    {"name": "c", "type": "Unflatten", "dim": 0, "unflattened_size": [1, -1]},
    {"name": "lstm", "type": "LSTM", "input_size": 4, "hidden_size": 3, "batch_first": True,
     "inputs": ["rows", "h", "c"]},
    {"name": "last", "type": "Select", "dim": 1, "index": -1, "inputs": ["lstm"]},
    {"name": "head", "type": "Linear", "in_features": 3, "out_features": 3},
]  # fmt: skip
DATA = {"dataset": "random_classification", "n": 12, "d_in": 8, "classes": 3}


def config(**compared: object) -> Config:
    train = {"steps": 2, "batch_size": 6}
    return Config.model_validate(
        {"data": DATA, "layers": LAYERS, "train": train, "compare": compared}
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_states_from_other_nodes_agree_with_torch(dtype: str) -> None:
    report = compare.run(config(), dtype=dtype)

    rows = report.differences
    assert report.agrees
    assert {"grad:weight"} <= set(rows["quantity"][rows["layer"] == "other"])


def test_a_gradient_lost_on_its_way_to_the_first_state_is_found() -> None:
    report = compare.run(config(), plant="other.weight.grad*=0.5")

    assert report.verdict == "disagree"
    assert report.first_divergence is not None
    assert report.first_divergence.layer == "other"
