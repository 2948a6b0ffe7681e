"""Configuration: what a file may say, what overrides do, and how each mistake is told."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from compare.description.build import (
    build_graph,
    build_loss,
    build_optimizer,
    build_penalties,
    build_schedule,
)
from compare.description.config import Config, DataConfig, LayerConfig, LossConfig, load, parse_set
from compare.description.data import load as load_data
from compare.description.shapes import check_shapes
from compare.errors import UserError, nearest
from manual import Adam

NETWORK = """
[data]
dataset = "iris"

[[layers]]
name = "hidden"
type = "Linear"
in_features = 4
out_features = 5

[[layers]]
type = "Tanh"

[[layers]]
name = "head"
type = "Linear"
in_features = 5
out_features = 3
"""

ODDITIES = st.one_of(
    st.sampled_from([0, -1, 1.5, True, "", "a b", "x", [], {}, [1], {"a": 1}, [[]], [{}]]),
    st.sampled_from([float("nan"), float("inf"), 2**63 - 1, date(2020, 1, 1), "input"]),
    st.sampled_from(["Linear", "SGD", "MSELoss", "Step", "normal", {"type": "Step"}, ["stem"]]),
)

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> str:
        path = tmp_path / "net.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def complaint(source: Any, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load(source, overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


def misfit(source: str, overrides: dict[str, Any] | None = None) -> str:
    config = load(source, overrides)
    with pytest.raises(UserError) as caught:
        check_shapes(config, load_data(config.data))
    return str(caught.value)


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


class TestMistakes:
    """Each says the file, the table and the key, what was received, and what is valid."""

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("[trian]\nsteps = 1", ["'trian'", "Did you mean 'train'?"]),
            ("[train]\nstep = 1", ["[train], key 'step'", "Did you mean 'steps'"]),
            ("[train]\nsteps = 0", ["[train], key 'steps'", "greater", "received 0"]),
            ("[train]\nsteps = -5", ["key 'steps'", "received -5"]),
            ("[train]\nepochs = 0", ["key 'epochs'", "received 0"]),
            ("[train]\nsteps = 1.5", ["key 'steps'", "valid integer", "received 1.5"]),
            ("[train]\nsteps = '9'", ["key 'steps'", "valid integer", "received '9'"]),
            ("[train]\nsteps = true", ["key 'steps'", "received True"]),
            ("[train]\nsteps = 1\nepochs = 1", ["[train]", "'steps' and 'epochs'"]),
            ("[train]\nbatch_size = 0", ["key 'batch_size'", "'all'", "received 0"]),
            ("[train]\nbatch_size = 'full'", ["valid integer or 'all'", "received 'full'"]),
            ("[train]\ndtype = 'float8'", ["key 'dtype'", "'float16' or 'bfloat16'"]),
            ("[train]\nmode = 'loose'", ["key 'mode'", "'lockstep' or 'free'"]),
            ("[train]\nshuffle = 1", ["key 'shuffle'", "boolean"]),
            ("[train]\nseed = -1", ["key 'seed'", "received -1"]),
            ("[train]\nthreads = 0", ["key 'threads'", "received 0"]),
            ("[train]\ndevice = 'gpu'", ["key 'device'", "received 'gpu'"]),
            ("[compare]\nk = 0", ["[compare], key 'k'", "greater than 0"]),
            ("[compare]\nk = nan", ["[compare], key 'k'"]),
            ("[compare]\ngauge_every = 0", ["key 'gauge_every'"]),
            ("[compare]\ntolerance = [1e-5]", ["[compare], key 'tolerance'"]),
            ("[compare]\ntolerance = [-1, 0]", ["[compare], key 'tolerance'", "received -1"]),
            ("[loss]\ntype = 'CrossEntropy'", ["[loss]", "Did you mean 'CrossEntropyLoss'"]),
            ("[loss]\nreduction = 'none'", ["[loss]", "'none'"]),
            ("[loss]\nreduktion = 'sum'", ["key 'reduktion'", "Did you mean 'reduction'?"]),
            ("[loss]\nlabel_smoothing = 'a'", ["'label_smoothing'", "float", "received 'a'"]),
            ("[loss]\nweight = 'a'", ["key 'weight'", "received 'a'"]),
            ("[[loss.penalties]]\ntype = 'L2'", ["[[loss.penalties]] table 1", "L2Penalty"]),
            ("[[loss.penalties]]\ncoefficient = 1", ["table 1, key 'type'", "missing"]),
            (
                "[[loss.penalties]]\ntype='L2Penalty'\nparameters=[]",
                ["[[loss.penalties]] table 1, key 'parameters'"],
            ),
            ("[optimizer]\ntype = 'sgd'", ["[optimizer]", "Did you mean 'SGD'?"]),
            ("[optimizer]\nlearning_rate = 1", ["key 'learning_rate'", "It takes: lr"]),
            ("[optimizer]\nlr = '1'", ["key 'lr'", "wants float", "received '1'"]),
            ("[optimizer]\nlr = -1", ["[optimizer]", "SGD", "-1"]),
            ("[optimizer]\nlr = 2020-01-01", ["[optimizer]", "key 'lr'"]),
            ("[optimizer]\ntype = 'Adam'\nbetas = [0.9]", ["key 'betas'", "[0.9]"]),
            ("[optimizer]\nclip_norm = 0", ["key 'clip_norm'", "greater than 0"]),
            ("[optimizer]\nschedule = 'Step'", ["[optimizer.schedule]", "table"]),
            ("[optimizer.schedule]\ntype = 'Stap'", ["[optimizer.schedule]", "'Step'"]),
            ("[optimizer.schedule]\ntype='Step'", ["key 'step_size' is missing"]),
            ("[init]\nscheme = 'xavier'", ["[init]", "'xavier_normal'"]),
            ("[init]\nstd = 1", ["[init], key 'std'", "default has no such argument"]),
            ("[init]\nbias = 'one'", ["[init], key 'bias'", "received 'one'"]),
            ("[init]\nfile = 'w.safetensors'", ["[init], key 'file'", "there is no"]),
        ],
    )
    def test_a_wrong_table_is_told(self, write: Write, text: str, parts: list[str]) -> None:
        path = write(NETWORK + text)
        said = complaint(path)

        assert said.startswith(path)
        for part in parts:
            assert part in said

    @pytest.mark.parametrize(
        ("old", "new", "parts"),
        [
            ('"Tanh"', '"Tahn"', ["[[layers]] table 2 ('1')", "unknown layer 'Tahn'", "'Tanh'"]),
            ('type = "Tanh"', 'kind = "Tanh"', ["table 2 ('1'), key 'type'", "missing"]),
            ('type = "Tanh"', 'type = "Tanh"\nx = 1', ["key 'x'", "Tanh", "takes none"]),
            ("in_features = 4", "in_feature = 4", ["table 1 ('hidden')", "'in_features' or"]),
            ("in_features = 4", "", ["key 'in_features' is missing", "Linear"]),
            ("in_features = 4", "in_features = 4.0", ["wants int", "received 4.0"]),
            ("in_features = 4", "in_features = -4", ["[[layers]] table 1 ('hidden')", "Linear"]),
            ('name = "head"', 'name = "hidden"', ["table 3", "'hidden' is already taken"]),
            ('name = "head"', 'name = "input"', ["'input' is reserved"]),
            ('name = "head"', 'name = "loss"', ["'loss' is reserved"]),
            ('name = "head"', 'name = "a b"', ["key 'name'", "received 'a b'"]),
            ('name = "head"', 'inputs = ["hiden"]', ["table 3", "no layer 'hiden'", "'hidden'?"]),
            ('name = "head"', "inputs = 3", ["key 'inputs'", "received 3"]),
            ('dataset = "iris"', 'dataset = "irs"', ["[data]", "Did you mean 'iris'"]),
            ('dataset = "iris"', 'dataset = "iris"\nn = 3', ["[data], key 'n'"]),
            ('dataset = "iris"', 'scale = "max"', ["[data], key 'scale'", "'minmax'"]),
            ('dataset = "iris"', 'dataset = "iris"\nfile = "t.csv"', ["'dataset' and 'file'"]),
            ('dataset = "iris"', 'file = "t.csv"', ["[data]", "key 'target' is missing"]),
            ('dataset = "iris"', 'file = "t.csv"\ntarget = "y"', ["key 'file': there is no"]),
            ('dataset = "iris"', 'target = "y"', ["[data]", "key 'target' is for a file"]),
            ('dataset = "iris"', "limit = 1", ["[data], key 'limit'"]),
            ('dataset = "iris"', "target_one_hot = true", ["'target_one_hot'", "CrossEntropyLoss"]),
            ('dataset = "iris"', 'dataset = "random_regression"\nn = 0', ["key 'n'", "at least 1"]),
        ],
    )
    def test_a_wrong_network_or_data_table_is_told(
        self, write: Write, old: str, new: str, parts: list[str]
    ) -> None:
        said = complaint(write(NETWORK.replace(old, new)))

        for part in parts:
            assert part in said

    def test_no_layers_at_all_is_told(self, write: Write) -> None:
        assert "[[layers]]" in complaint(write("[data]\ndataset = 'iris'\n"))
        assert "[[layers]]" in complaint(write("layers = []"))

    def test_a_table_where_an_array_belongs_is_told(self, write: Write) -> None:
        assert "write [[layers]]" in complaint(write("[layers]\ntype = 'Tanh'"))

    def test_broken_toml_is_told_with_its_line(self, write: Write) -> None:
        said = complaint(write("[data]\ndataset = \n"))

        assert "not valid TOML" in said
        assert "line 2" in said

    def test_other_encodings_are_told(self, tmp_path: Path) -> None:
        (tmp_path / "net.toml").write_bytes("summary = 'é'".encode("latin-1"))

        assert "cannot be read" in complaint(tmp_path / "net.toml")

    def test_an_unknown_preset_lists_the_nearest(self) -> None:
        said = complaint("dig")

        assert "no preset 'dig'" in said
        assert "'digits'" in said

    def test_a_missing_file_lists_the_nearest(self, write: Write) -> None:
        path = write(NETWORK)

        assert "'net.toml'" in complaint(path.replace("net", "ent"))
        assert "no folder" in complaint("/nowhere/at/all.toml")

    def test_a_directory_is_no_run(self, tmp_path: Path) -> None:
        assert "is a directory" in complaint(str(tmp_path))

    def test_a_name_never_leaves_the_reports_folder(self, write: Write) -> None:
        assert "key 'name'" in complaint(write("name = '../../etc'" + NETWORK))

    def test_several_mistakes_are_told_at_once(self, write: Write) -> None:
        said = complaint(write(NETWORK + "[train]\nsteps = 0\nseed = 'x'\n"))

        assert "'steps'" in said
        assert "'seed'" in said

    @settings(derandomize=True, deadline=None, max_examples=150)
    @given(path=st.lists(st.integers(0, 20), min_size=1, max_size=4), value=ODDITIES)
    def test_anything_anywhere_is_told_or_loaded_but_never_crashes(
        self, path: list[int], value: Any
    ) -> None:
        tables = load("residual").as_dict()
        here: Any = tables
        for step in path[:-1]:
            below = list(here.values()) if isinstance(here, dict) else here
            inner = [item for item in below if isinstance(item, dict | list) and item]
            here = inner[step % len(inner)] if inner else here
        keys = [*here, "odd"] if isinstance(here, dict) else list(range(len(here)))
        here[keys[path[-1] % len(keys)]] = value
        with TemporaryDirectory() as folder:
            file = Path(folder) / "odd.toml"
            file.write_text(tomli_w.dumps(tables))

            with suppress(UserError):
                config = load(file)
                assert Config.model_validate(config.as_dict()) == config


class TestShapes:
    def test_a_network_that_fits_passes(self, write: Write) -> None:
        config = load(write(NETWORK))

        check_shapes(config, load_data(config.data))

    def test_a_layer_that_does_not_fit_its_input_is_named(self, write: Write) -> None:
        said = misfit(write(NETWORK), {"layers.head.in_features": 6})

        assert "layer 'head' (Linear(6, 3" in said
        assert "'1' with shape (N, 5)" in said
        assert "set in_features to 5" in said

    def test_a_first_layer_that_does_not_fit_the_data_is_named(self, write: Write) -> None:
        said = misfit(write(NETWORK), {"layers.hidden.in_features": 5})

        assert "'input' with shape (N, 4) (iris has 4 features)" in said

    def test_too_few_outputs_for_the_classes_are_told(self, write: Write) -> None:
        said = misfit(write(NETWORK), {"layers.head.out_features": 2})

        assert "iris has 3 classes" in said
        assert "Set out_features of layer 'head' to 3" in said

    def test_numbers_taken_for_classes_are_suspected(self) -> None:
        settings = {"loss.type": "CrossEntropyLoss", "data.target_scale": None}

        assert "numbers to predict" in misfit("diabetes", settings)

    def test_outputs_that_do_not_match_the_targets_are_told(self, write: Write) -> None:
        text = NETWORK.replace('"iris"', '"three_rows"').replace("in_features = 4", "in_features=3")
        said = misfit(write(text), {"loss.type": "MSELoss"})

        assert "(o1, o2) have shape (N, 2)" in said
        assert "Set out_features of layer 'head' to 2" in said

    def test_several_inputs_into_one_layer_are_told(self, write: Write) -> None:
        text = NETWORK.replace('name = "head"', 'name = "head"\ninputs = ["hidden", "1"]')

        assert "takes the inputs x, of which it needs x; received hidden, 1" in misfit(write(text))

    def test_a_cycle_is_told(self, write: Write) -> None:
        text = NETWORK.replace('name = "hidden"', 'name = "hidden"\ninputs = ["1"]')

        assert "cycle" in misfit(write(text))

    def test_a_layer_that_leads_nowhere_is_told(self, write: Write) -> None:
        text = NETWORK.replace('name = "head"', 'name = "head"\ninputs = ["hidden"]')

        assert "leads nowhere" in misfit(write(text))

    def test_logits_are_no_probabilities(self, write: Write) -> None:
        text = NETWORK.replace('"iris"', '"students"').replace("in_features = 4", "in_features = 2")
        settings = {"loss.type": "BCELoss", "layers.head.out_features": 1}

        assert "End the network with a Sigmoid" in misfit(write(text), settings)

    def test_other_numbers_are_no_probabilities_either(self) -> None:
        config = load("students-2-4-1", {
            "data.dataset": "diabetes", "layers.0.in_features": 10,
        })  # fmt: skip
        with pytest.raises(UserError, match="targets between 0 and 1"):
            check_shapes(config, load_data(config.data))

    def test_nothing_to_train_is_told(self, write: Write) -> None:
        assert "nothing to train" in misfit(write('[[layers]]\ntype = "Tanh"\n'))

    def test_an_initialisation_that_overflows_is_told(self, write: Write) -> None:
        said = misfit(write(NETWORK), {"init.scheme": "normal", "init.std": 1e300})

        assert "[init]" in said


class TestUserError:
    def test_its_text_is_one_line_without_control_characters(self) -> None:
        assert str(UserError("a\n  b\x1b[31m")) == "a b?[31m"


class TestNearest:
    def test_names_differing_in_case_are_found(self) -> None:
        assert "Did you mean 'ReLU'?" in nearest("relu", ["ReLU", "Tanh"])

    def test_a_name_differing_in_case_alone_is_the_only_guess(self) -> None:
        assert nearest("adam", ["Adam", "AdamW"]).startswith("Did you mean 'Adam'?")

    def test_beginnings_are_found(self) -> None:
        assert "Did you mean 'CrossEntropyLoss'?" in nearest("Cross", ["CrossEntropyLoss", "L1"])

    def test_nothing_close_lists_all(self) -> None:
        assert nearest("zzz", ["a", "b"]) == "Valid names: a, b."


@pytest.mark.parametrize("kind", [[[]], {"type": "Linear"}, 1, True])
def test_a_type_that_is_no_text_is_told(kind: Any) -> None:
    with pytest.raises(UserError, match="'type': should be a valid string"):
        load("three-rows", {"loss": {"type": kind}})
