"""Configuration: what a file may say, and what overrides do."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from compare.description.build import (
    build_graph,
    build_loss,
    build_optimizer,
    build_penalties,
    build_schedule,
)
from compare.description.config import Config, DataConfig, LayerConfig, LossConfig, load, parse_set
from compare.errors import UserError
from manual import Adam
from tests.compare.description.config_files import NETWORK, Write, complaint


class TestLoading:
    def test_defaults_fill_names_inputs_and_all_tables(self, write: Write) -> None:
        config = load(write(NETWORK))

        assert [layer.name for layer in config.layers] == ["hidden", "1", "head"]
        assert [layer.inputs for layer in config.layers] == [("input",), ("hidden",), ("1",)]
        assert config.layers[0].args == {"in_features": 4, "out_features": 5}
        assert config.name == "net"
        assert (config.loss.type, config.optimizer.type) == ("CrossEntropyLoss", "SGD")
        assert config.train.dtype == "float64"
        assert config.compare.k == 256.0

    def test_digits_are_the_default_data(self) -> None:
        layer = {"type": "Linear", "in_features": 64, "out_features": 10}

        assert Config.model_validate({"layers": [layer]}).data.dataset == "digits"

    def test_loss_penalties_schedule_and_clipping_are_read(self, write: Write) -> None:
        text = NETWORK + (
            '[loss]\ntype = "CrossEntropyLoss"\nlabel_smoothing = 0.1\n'
            '[[loss.penalties]]\ntype = "L2Penalty"\ncoefficient = 0.5\nparameters = ["*.weight"]\n'
            '[optimizer]\ntype = "Adam"\nbetas = [0.8, 0.9]\nclip_norm = 1\n'
            '[optimizer.schedule]\ntype = "Step"\nstep_size = 10\n'
        )
        config = load(write(text))

        assert config.loss.args == {"label_smoothing": 0.1}
        assert config.loss.penalties[0].parameters == ("*.weight",)
        assert config.optimizer.clip_norm == 1
        assert build_schedule(config).factor(10) == pytest.approx(0.1)
        patterns, penalty = build_penalties(config)[0]
        assert patterns == ("*.weight",)
        assert "0.5" in repr(penalty)
        assert build_optimizer(config) == Adam(betas=(0.8, 0.9))
        assert "0.1" in repr(build_loss(config))

    def test_without_a_schedule_the_rate_is_constant(self, write: Write) -> None:
        assert build_schedule(load(write(NETWORK))).factor(1000) == 1

    def test_the_graph_has_the_described_nodes(self, write: Write) -> None:
        graph = build_graph(load(write(NETWORK)))

        assert [node.name for node in graph.nodes] == ["hidden", "1", "head"]
        assert graph.params["head.weight"].shape == (3, 5)

    def test_class_weights_reach_the_loss_as_numbers(self, write: Write) -> None:
        loss: Any = build_loss(load(write(NETWORK + "[loss]\nweight = [1.0, 2.0, 3.0]\n")))

        np.testing.assert_array_equal(loss.weight, [1, 2, 3])

    @pytest.mark.parametrize(
        ("loss", "kind"),
        [("CrossEntropyLoss", "classes"), ("MultiMarginLoss", "classes"), ("MSELoss", "values")],
    )
    def test_the_loss_decides_the_kind_of_targets(self, write: Write, loss: str, kind: str) -> None:
        assert load(write(NETWORK + f'[loss]\ntype = "{loss}"\n')).data.target_kind == kind

    def test_the_loss_decides_in_python_too(self) -> None:
        layer = LayerConfig(type="Linear", args={"in_features": 10, "out_features": 1})
        data, loss = DataConfig(dataset="diabetes"), LossConfig(type="MSELoss")

        assert Config(layers=(layer,), data=data, loss=loss).data.target_kind == "values"

    def test_paths_start_from_the_files_own_folder(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "t.csv").write_text("a,y\n1,0\n2,1\n")
        network = NETWORK.replace('dataset = "iris"', 'file = "t.csv"\ntarget = "y"')
        (tmp_path / "sub" / "net.toml").write_text(network)

        assert load(tmp_path / "sub" / "net.toml").data.file == str(tmp_path / "sub" / "t.csv")

    def test_a_file_name_that_is_no_directory_name_is_made_one(self, tmp_path: Path) -> None:
        path = tmp_path / "..my%net.toml"
        path.write_text(NETWORK)

        assert load(path).name == "my-net"

    def test_configurations_are_frozen(self, write: Write) -> None:
        config = load(write(NETWORK))

        with pytest.raises(ValidationError):
            config.train.steps = 3  # type: ignore[misc]


class TestRoundTrip:
    @pytest.mark.parametrize(
        "extra",
        [
            "",
            "[train]\nsteps = 3\nbatch_size = 'all'\n[compare]\ntolerance = [1e-5, 1e-8]\n",
            "[optimizer]\ntype='Adam'\nbetas=[0.8,0.9]\n[optimizer.schedule]\ntype='Constant'\n",
            "[[loss.penalties]]\ntype = 'L1Penalty'\n[init]\nscheme='normal'\nstd=0.1\nbias=0.5\n",
        ],
    )
    def test_the_written_toml_loads_as_the_same_configuration(
        self, write: Write, extra: str
    ) -> None:
        config = load(write(NETWORK + extra))

        assert load(write(config.to_toml())) == config

    def test_a_generated_sets_settings_are_written(self, write: Write) -> None:
        config = load("twenty-lines", {"data.n": 8})

        assert tomllib.loads(config.to_toml())["data"]["n"] == 8
        assert load(write(config.to_toml())) == config

    def test_plain_tables_hold_only_what_json_can_hold(self) -> None:
        import json

        tables = load("digits").as_dict()

        assert json.loads(json.dumps(tables)) == tables


class TestOverrides:
    def test_values_are_set_by_dotted_key(self, write: Write) -> None:
        config = load(
            write(NETWORK),
            {"optimizer.lr": 0.5, "layers.0.bias": False, "layers.head.bias": False},
        )

        assert config.optimizer.args == {"lr": 0.5}
        assert config.layers[0].args["bias"] is False
        assert config.layers[2].args["bias"] is False

    def test_layers_are_found_by_dotted_name(self) -> None:
        config = load("residual", {"layers.block.linear1.bias": False})

        assert {layer.name: layer for layer in config.layers}["block.linear1"].args["bias"] is False

    def test_the_file_is_left_as_it_was(self, write: Write) -> None:
        path = write(NETWORK)
        load(path, {"layers.0.bias": False})

        assert "bias" not in load(path).layers[0].args

    def test_steps_and_epochs_replace_each_other(self) -> None:
        assert load("digits", {"train.steps": 5}).train.epochs is None
        assert load("twenty-lines", {"train.epochs": 5}).train.steps is None

    def test_none_takes_a_key_out(self) -> None:
        assert load("digits", {"optimizer.momentum": None}).optimizer.args == {"lr": 0.05}

    def test_a_new_optimizer_drops_the_old_ones_arguments(self) -> None:
        config = load("digits", {"optimizer.lr": 0.5, "optimizer.type": "Adam"})

        assert config.optimizer.args == {"lr": 0.5}

    def test_the_same_optimizer_keeps_its_arguments(self) -> None:
        assert load("digits", {"optimizer.type": "SGD"}).optimizer.args["momentum"] == 0.9

    def test_a_configuration_can_be_changed(self) -> None:
        config = load("digits")

        assert load(config, {"train.seed": 7}).train.seed == 7
        assert load(config) == config

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("a.b=1", 1),
            ("a.b = 0.5", 0.5),
            ("a.b=true", True),
            ("a.b=[1, 2]", [1, 2]),
            ("a.b=float32", "float32"),
            ("a.b='1'", "1"),
            ("a.b=x=y", "x=y"),
        ],
    )
    def test_settings_are_read_as_toml_or_else_as_text(self, text: str, value: Any) -> None:
        assert parse_set(text) == ("a.b", value)

    @pytest.mark.parametrize("text", ["", "lr", "=1", "a.b="])
    def test_a_setting_without_key_or_value_is_refused(self, text: str) -> None:
        with pytest.raises(UserError, match=r"section\.key=value"):
            parse_set(text)

    @pytest.mark.parametrize(
        ("key", "said"),
        [
            ("optimiser.lr", "Did you mean 'optimizer'?"),
            ("layers.9.bias", "there is no '9'"),
            ("layers.hiden.bias", "Did you mean 'hidden'?"),
            ("layers.0", "layers.0.type"),
            ("layers", "must be a table"),
            ("train", "must be a table"),
            ("name.x.y", "'name' is no table"),
            ("train.stepz", "Did you mean 'steps'?"),
        ],
    )
    def test_a_key_that_leads_nowhere_is_named(self, write: Write, key: str, said: str) -> None:
        told = complaint(write(NETWORK), {key: 1})

        assert said in told
        assert f"with {key}=1" in told


class TestTraining:
    def test_batches_and_steps_are_counted(self) -> None:
        train = load("digits").train

        assert train.steps_per_epoch(1797) == 29
        assert train.total_steps(1797) == 145
        assert load("digits", {"train.drop_last": True}).train.steps_per_epoch(1797) == 28

    def test_all_rows_can_be_one_batch(self) -> None:
        train = load("twenty-lines").train

        assert train.rows_per_step(64) == 64
        assert train.total_steps(64) == 2000

    def test_without_steps_or_epochs_there_is_one_epoch(self, write: Write) -> None:
        assert load(write(NETWORK)).train.total_steps(150) == 5
