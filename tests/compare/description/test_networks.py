"""`[network]`: a rule that builds the layers, its sizes, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compare.description.build import build_graph
from compare.description.config import Config, load
from compare.description.data import load as load_data
from compare.description.networks import NETWORKS
from compare.errors import UserError
from manual.nodes import path_of


def test_the_turing_machine_has_its_1667_parameters_in_six_steps_that_share_them() -> None:
    graph = build_graph(load("ntm"))
    heads = [n for n in graph.nodes if path_of(n.name) == "writer.weights"]

    assert sum(p.size for p in graph.params.values()) == 1667
    assert len(heads) == 6
    assert len(graph.nodes) == 260
    assert graph.params["writer.key.weight"].shape == (5, 12)
    assert not any("@" in name for name in graph.params)


def test_sizes_can_be_set_up_to_those_of_the_paper() -> None:
    sizes = {"bits": 8, "length": 1, "places": 128, "width": 20, "hidden_size": 100}
    config = load("ntm", {f"network.{k}": v for k, v in sizes.items()} | {"data.bits": 8})

    params = build_graph(config).params
    assert params["memory_0.state"].shape == (128, 20)
    assert params["controller.weight_hh"].shape == (400, 100)
    assert params["symbol.weight"].shape == (8, 120)


def test_a_configuration_keeps_the_rule_and_not_its_layers() -> None:
    config = load("ntm", {"network.places": 3})
    tables = config.as_dict()

    assert tables["network"]["places"] == 3
    assert "layers" not in tables
    assert Config.model_validate(tables) == config


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (
            {"network.place": 8},
            r"\[network\], key 'place': NeuralTuringMachine has no such .*places",
        ),
        ({"network.places": 0}, r"\[network\]: .*places must be at least 1"),
        ({"network.shifts": 2}, r"\[network\]: .*shifts must be odd"),
        ({"network.places": "many"}, r"\[network\], key 'places': .*wants int, received 'many'"),
        ({"network.type": "TuringMachine"}, r"\[network\], key 'type': unknown network"),
        ({"network.type": None}, r"\[network\], key 'type': is missing"),
        ({"layers": []}, r"\[network\] and \[\[layers\]\]: the first makes the second"),
        ({"data.length": 3}, "Unbind: axis 1 must have 6 elements"),
        ({"data.bits": 4}, "cannot take its input"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_in_a_sentence(overrides: dict[str, Any], text: str) -> None:
    from compare.running.experiment import prepare

    with pytest.raises(UserError, match=text) as error:
        prepare(load("ntm", overrides))

    assert "\n" not in str(error.value)
    assert "Identity" not in str(error.value)


def test_every_rule_builds_and_says_what_it_is() -> None:
    for name, rule in NETWORKS.items():
        assert {table["type"] for table in rule()}, name
        assert (rule.__doc__ or "").partition("\n")[0].endswith(".")


def test_the_copy_task_asks_for_what_it_showed_between_its_flags() -> None:
    data = load_data(load("ntm", {"data.n": 5, "train.batch_size": 5}).data)

    assert data.features.shape == (5, 6, 5)
    assert data.targets.shape == (5, 6)
    assert np.array_equal(data.features[:, 1:3, :3].reshape(5, 6), data.targets)
    flags = data.features[:, :, 3:]
    assert flags[:, [0, 3], [0, 1]].all()
    assert flags.sum() == 10
    assert not data.features[:, 4:].any()
    assert np.array_equal(load_data(load("ntm", {"data.n": 5}).data).features, data.features)
