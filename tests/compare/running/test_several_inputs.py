"""Networks with several inputs: each is compared, has its own gradient, and is told by its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import compare
from compare.description.config import load
from compare.errors import UserError

NETWORK = """
[data]
file = "rows.csv"
target = "y"
[data.inputs]
left = ["a", "b"]
right = "c"

[[layers]]
name = "of_left"
type = "Linear"
in_features = 2
out_features = 3

[[layers]]
name = "of_right"
type = "Linear"
inputs = "right"
in_features = 1
out_features = 3

[[layers]]
name = "joined"
type = "Multiply"
inputs = ["of_left", "of_right"]

[[layers]]
name = "head"
type = "Linear"
in_features = 3
out_features = 1

[loss]
type = "MSELoss"

[train]
steps = 3
batch_size = 4
"""


@pytest.fixture
def network(tmp_path: Path) -> Path:
    rows = np.random.default_rng(0).normal(size=(12, 4))
    np.savetxt(tmp_path / "rows.csv", rows, delimiter=",", header="a,b,c,y", comments="")
    (tmp_path / "two.toml").write_text(NETWORK)
    return tmp_path / "two.toml"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_input_is_compared(network: Path, dtype: str) -> None:
    report = compare.run(network, dtype=dtype)

    assert report.verdict == "agree", report
    ends = report.differences[report.differences["quantity"] == "grad_input"]
    assert set(ends["layer"]) == {"left", "right"}


@pytest.mark.parametrize(("layer", "end"), [("of_left", "left"), ("of_right", "right")])
def test_a_wrong_gradient_of_one_input_is_found_there_alone(
    network: Path, layer: str, end: str
) -> None:
    report = compare.run(network, plant=f"{layer}.grad_input*=1.001", drift=False)

    bad = report.differences[report.differences["verdict"] == "disagree"]
    assert set(zip(bad["layer"], bad["quantity"], strict=True)) == {(end, "grad_input")}
    assert report.first_divergence is not None
    assert report.first_divergence.layer == layer


def test_an_input_is_explained_by_its_name(network: Path) -> None:
    worked = compare.explain(network, node="right", quantity="grad_input")

    assert "of_right" in str(worked)


def test_a_data_set_may_have_inputs_of_its_own() -> None:
    network = {"dataset": "reversal", "n": 20, "length": 3, "symbols": 4}

    with pytest.raises(UserError, match="key 'inputs' is for a file"):
        load("digits", {"data.inputs": {"left": ["x"]}})
    with pytest.raises(UserError, match=r"there is no layer 'input'\. Layers: source, shifted"):
        load("digits", {"data": network, "layers.0.inputs": ["input"]})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data.features": ["a"]}, "keys 'features' and 'inputs': give one of them"),
        ({"data.inputs.left": ["a", "q"]}, "features column 'q' is not there"),
        ({"data.inputs.left": []}, "should"),
        ({"data.inputs.left": ["y"]}, "'y' is the target and a feature too"),
        ({"layers.joined.inputs": ["of_left", "righ"]}, "there is no layer 'righ'"),
        ({"layers.of_left.name": "right"}, "the name 'right' is reserved"),
    ],
)
def test_a_mistake_in_the_inputs_is_told(network: Path, change: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        compare.run(load(network, change))


@pytest.mark.parametrize("plant", ["h.0.attn.grad_input*=1.01", "mask.output*=0"])
def test_a_mistake_beside_a_mask_is_located(plant: str) -> None:
    report = compare.run("tiny-gpt", steps=1, drift=False, plant=plant, batch_size=2)

    assert report.first_divergence is not None
    assert plant.startswith(report.first_divergence.layer)


@pytest.mark.parametrize(
    ("preset", "layer"),
    [("tiny-gpt", "mask"), ("tiny-gpt", "h.0.attn"), ("temporal-order", "lstm")],
)
def test_what_torch_cannot_stand_in_for_is_told(preset: str, layer: str) -> None:
    with pytest.raises(UserError, match=f"torch cannot compute layer '{layer}'"):
        compare.run(preset, steps=1, torch_layers=[layer])
