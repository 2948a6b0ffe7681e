"""Networks that are hand-written in some nodes and torch in the rest, both ways round."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compare
from compare.gauge import Gauge, gauge, gauging
from compare.judge.quantities import Key
from compare.pair.hybrid import TorchNode
from compare.pair.hybrid_gauge import measured
from compare.running.experiment import prepare
from compare.running.kinks import Referee
from compare.running.moment import Start
from manual.activations import ReLU, Tanh
from manual.graph import Node
from manual.linear import Linear
from manual.maxout import Maxout
from tests.compare.pair.hybrid_networks import (
    LAYERS,
    SPLITS,
    disagreements,
    hand_written,
    network,
    one_step,
    with_hand_written,
)
from tests.helpers import Planted, draw, set_params
from torch_ref.classes import module_class


# ── all splits ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_split_of_the_hand_written_graph_gives_the_same_gradients(dtype: str) -> None:
    pure = one_step(prepare(network(dtype=dtype)))
    assert not pure.rows.bad.size

    for split in SPLITS:
        experiment = prepare(network(split, dtype=dtype))
        step = one_step(experiment)

        kinds = {n.name: isinstance(n.layer, TorchNode) for n in experiment.manual.graph.nodes}
        assert {name for name, torch in kinds.items() if torch} == set(split)
        assert disagreements(step.manual, pure.torch, pure) == [], split
        assert disagreements(step.manual, pure.manual, pure) == [], split
        assert not step.rows.bad.size, split


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_split_of_the_torch_network_gives_the_same_gradients(dtype: str) -> None:
    pure = one_step(prepare(network(dtype=dtype)))
    for split in SPLITS:
        experiment = prepare(network(dtype=dtype))
        layers = hand_written(experiment)
        step = one_step(with_hand_written(experiment, {name: layers[name] for name in split}))

        assert disagreements(step.torch, pure.torch, pure) == [], split
        assert disagreements(step.torch, pure.manual, pure) == [], split
        assert not step.rows.bad.size, split


@pytest.mark.parametrize(
    ("plant", "quantity"),
    [
        ("2.weight.grad*=1.000001", "grad:weight"),
        ("2.grad_input*=-1", "grad_input"),
        ("2.output+=0.01", "output"),
        ("2.grad_input=0", "grad_input"),
    ],
)
def test_a_mistake_is_found_in_exactly_the_splits_that_use_its_layer(
    plant: str, quantity: str
) -> None:
    for split in SPLITS:
        report = compare.run(network(split), steps=1, plant=plant)

        assert report.agrees == ("2" in split), f"{split}: {report}"
        assert report.planted_ran == ("2" not in split)
        if "2" not in split:
            found = report.first_divergence
            assert found is not None
            assert (found.layer, found.quantity, found.own_or_inherited) == ("2", quantity, "own")


@pytest.mark.parametrize(
    "wrong",
    [
        Planted(Linear(5, 5), param_grad=lambda g: g * 1.000001),
        Planted(Linear(5, 5), input_grad=lambda dx, dy: -dx),
    ],
)
def test_a_wrong_layer_in_torchs_network_disagrees_in_exactly_the_splits_that_use_it(
    wrong: Planted,
) -> None:
    for split in SPLITS:
        experiment = prepare(network())
        layers = hand_written(experiment) | {"2": wrong}
        step = one_step(with_hand_written(experiment, {name: layers[name] for name in split}))

        assert bool(step.rows.bad.size) == ("2" in split), split


# ── replacing a layer that is wrong, or not written yet ──────────────────────────────────────────
def raising(self: Any, *_: Any) -> Any:
    raise NotImplementedError("to be derived")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_layer_that_is_not_written_yet_can_be_torch(
    monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setattr(Tanh, "backward", raising)
    alone = compare.run(network(dtype=dtype))
    hybrid = compare.run(network(["1"], dtype=dtype))

    assert alone.first_divergence is not None
    assert alone.first_divergence.layer == "1"
    assert hybrid.agrees, hybrid


def test_decisions_that_are_not_written_yet_stop_no_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReLU, "decisions", raising)
    layers = [LAYERS[0], {"type": "ReLU"}, *LAYERS[2:]]
    found = compare.run(network(["1"], layers), plant="2.weight.grad*=1.01").first_divergence

    assert found is not None
    assert (found.layer, found.quantity) == ("2", "grad:weight")


@pytest.mark.parametrize("method", ["forward", "backward"])
def test_a_wrong_layer_that_torch_replaces_does_not_blind_the_judge(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    original = getattr(Tanh, method)
    wrong = {
        "forward": lambda self, x: original(self, 1e6 * x),
        "backward": lambda self, dy, cache: original(self, 1e9 * dy, cache),
    }
    monkeypatch.setattr(Tanh, method, wrong[method])

    assert compare.run(network(["1"])).agrees
    for name in ("0", "2", "4"):
        found = compare.run(network(["1"]), plant=f"{name}.weight.grad*=1.0000001").first_divergence
        assert found is not None
        assert (found.layer, found.quantity, found.own_or_inherited) == (name, "grad:weight", "own")


def lossy(original: Any, detour: Any) -> Any:
    """Compute the same by a detour that loses digits in the hand-written code alone."""

    def forward(self: Any, x: Any) -> Any:
        y, cache = original(self, x)
        return detour(y, x), cache

    return forward


LOSSY = {  # a number, and running statistics, added and taken away again
    "constant": lambda y, x: (y + 1e10) - 1e10,
    "statistics": lambda y, x: y + 1e6 * (x * x).mean(axis=0) - 1e6 * (x * x).mean(axis=0),
    "overflowing": lambda y, x: (y * 1e200) * 1e-200 + 0 * (1e160 * y),
}


@pytest.mark.parametrize("detour", LOSSY.values(), ids=LOSSY)
@pytest.mark.parametrize(("dtype", "mistake"), [("float64", 1e-8), ("float32", 0.05)])
def test_digits_that_only_the_replaced_layer_loses_widen_no_tolerance(
    monkeypatch: pytest.MonkeyPatch, detour: Any, dtype: str, mistake: float
) -> None:
    plain = one_step(prepare(network(["1"], dtype=dtype))).tolerances
    monkeypatch.setattr(Tanh, "forward", lossy(Tanh.forward, detour))
    wider = one_step(prepare(network(["1"], dtype=dtype))).tolerances

    for key, tolerance in wider.items():
        assert np.max(tolerance) < 64 * np.max(plain[key]), key
    assert compare.run(network(["1"], dtype=dtype), steps=1).agrees
    for name in ("0", "2", "4"):
        found = compare.run(
            network(["1"], dtype=dtype), steps=1, plant=f"{name}.weight.grad*={1 + mistake}"
        ).first_divergence
        assert found is not None
        assert (found.layer, found.quantity, found.own_or_inherited) == (name, "grad:weight", "own")


@pytest.mark.parametrize("layer", [Linear(6, 7), Tanh(), ReLU()], ids=repr)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_measured_error_is_about_the_gauges(layer: Any, dtype: Any) -> None:
    layer = set_params(layer, 1)
    # Rounding inside a layer is not measured: of tanh's 1 - y², y's own, which counts near y² = 1.
    x, keys = draw(0, (20, 6), scale=1.0), list(layer.params)

    def run(arrays: Any) -> list:
        twin = layer.with_params(dict(zip(keys, arrays[1:-1], strict=True)))
        y, cache = twin.forward(arrays[0])
        (dx,), own = twin.backward(arrays[-1], cache)
        return [y, dx, *own.values()]

    dy = draw(3, layer.forward(x)[0].shape)
    points = [gauge(a) for a in (x, *layer.params.values(), dy)]
    with gauging(np.dtype(dtype)):
        for g, m in zip(run(points), measured(run, points), strict=True):
            typical = np.sqrt(np.mean(m.e2)) / np.sqrt(np.mean(g.e2) + np.mean(np.square(g.v)))
            assert 0.5 < typical < 20


@pytest.mark.parametrize(
    "values", [[0.0], [0.0, 1.0, -1.0], [2.0**-52], [2.0**-33], [-(2.0**-36), 0.5]], ids=str
)
def test_a_jump_is_left_out_of_a_measured_error(values: list[float]) -> None:
    def derivative(arrays: Any) -> list:
        x, dy = arrays
        return [dy * (x > 0), np.sum(dy * (x > 0) * (3 + x), keepdims=True)]

    x, dy = np.array(values), np.linspace(1, 2, len(values))
    with gauging(np.dtype(np.float64)):
        for found in measured(derivative, [Gauge(x, np.full(x.shape, 16.0)), gauge(dy)]):
            assert found.error.max() < 300


def test_a_measured_error_is_bounded_by_the_numbers_around() -> None:
    def steps(arrays: Any) -> list:
        return [np.floor(arrays[0] * 2.0**36)]  # no fine nudge tells it from a slope

    with gauging(np.dtype(np.float64)):
        (found,) = measured(steps, [gauge(np.linspace(0.1, 1, 50) * 2.0**-36)])

    assert 0 < found.error.max() <= 1e4


@pytest.mark.parametrize(("dtype", "mistake"), [("float64", 1e-8), ("float32", 0.01)])
def test_a_kink_of_a_layer_that_is_not_written_yet_hides_no_mistake(
    monkeypatch: pytest.MonkeyPatch, dtype: str, mistake: float
) -> None:
    layers = [LAYERS[0], {"type": "ReLU"}, *LAYERS[2:]]
    planted = f"0.weight.grad*={1 + mistake}"
    monkeypatch.setattr(ReLU, "backward", raising)
    for plant in (None, planted):
        experiment = prepare(network(["1"], layers, dtype=dtype), mistake=plant)
        weights = {name: w.copy() for name, w in experiment.weights.items()}
        weights["0.weight"][:] = np.outer([1, 2, -1, 0.5, 3], [1, -1, 1, -1])
        weights["0.bias"][:] = 0
        features = experiment.features.copy()
        features[next(iter(experiment.batches()))[0]] = [2, 2, 1, 1]  # all its z are 0
        rows = one_step(replace(experiment, features=features, weights=weights)).rows

        bad = {rows.keys[i] for i in rows.bad}
        assert (Key("0", "grad:weight") in bad) == (plant is not None)
        assert plant or not bad


def test_ties_inside_a_torch_maxout_are_torchs() -> None:
    report = compare.run(
        "maxout", steps=5, drift=False, init__scheme="constant", init__value=0.1,
        torch_layers=["1"],
    )  # fmt: skip

    assert report.agrees, report


def test_a_torch_maxout_on_the_other_side_of_a_tie_is_given_torchs_input() -> None:
    weights = {"weight": np.array([[[1.0]], [[-1.0]]]), "bias": np.zeros((2, 1))}
    layer = TorchNode(Maxout(1, 1), module_class("Maxout")(1, 1)).with_params(weights)
    ours, theirs = np.array([[1e-17]]), np.array([[-1e-17]])
    start = Start({}, {}, ours, ours, 0.1, {}, {"m": np.array([[1]])}, True)
    flips: dict[str, int] = {}
    referee = Referee(start, {Key("z", "output"): theirs}, flips)
    (given,) = referee(Node("m", layer, ("z",)), (ours,))

    assert flips == {"m": 1}
    assert given is theirs


def test_a_torch_node_has_a_module_of_its_own() -> None:
    experiment = prepare(network(["all"]))
    theirs = experiment.torch.network.modules_by_node

    for node in experiment.manual.graph.nodes:
        assert isinstance(node.layer, TorchNode)
        assert node.layer.module is not theirs[node.name]


def test_kinks_beside_a_torch_node_are_settled() -> None:
    layers = [LAYERS[0], {"type": "ReLU"}, *LAYERS[2:]]
    for split in (["1"], ["0", "2"]):
        assert compare.run(network(split, layers, dtype="float32", steps=40)).agrees


def test_a_random_node_shares_the_mask_and_leaves_torchs_generator_alone() -> None:
    layers = [LAYERS[0], {"type": "Dropout", "p": 0.4}, *LAYERS[2:]]
    plain = compare.run(network((), layers, steps=3))
    hybrid = compare.run(network(["1", "4"], layers, steps=3))

    assert hybrid.agrees, hybrid
    assert hybrid.losses["torch"].tolist() == plain.losses["torch"].tolist()
    assert compare.run(network(["1"], layers), mode="free").verdict == "incomplete"


# ── the guide ────────────────────────────────────────────────────────────────────────────────────
GUIDE = Path(__file__).parents[3] / "docs" / "hybrid.md"


def test_the_guides_code_runs_and_prints_what_it_shows(capsys) -> None:
    found = re.findall(r"^```(\w*)\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    space: dict = {"__name__": "guide"}
    for kind, text in found:
        if kind == "python":
            exec(compile(text, str(GUIDE), "exec"), space)
        elif kind == "":
            assert capsys.readouterr().out.split() == text.split()
    assert [kind for kind, _ in found].count("python") >= 3
