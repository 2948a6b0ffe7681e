"""Presets: every one loads, fits its data, and is the network that its name promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compare.description.build import build_graph, build_loss, build_optimizer, build_schedule
from compare.description.config import Config, load
from compare.description.data import Dataset
from compare.description.data import load as load_data
from compare.description.data.dataset import each
from compare.description.presets import preset_path, presets
from compare.description.shapes import check_shapes

STUDENTS = [f"students-{sizes}{end}" for sizes in ("2-4-1", "2-2-1", "2-3-4-1", "2-4-5-1")
            for end in ("", "-mse")]  # fmt: skip
PROMISED = [
    "digits", *STUDENTS, "three-rows", "twenty-lines", "softmax-two-layer", "svm", "maxout",
    "two-hidden-layers", "iris", "wine", "diabetes", "breast-cancer", "residual", "deep-sigmoid",
    "deep-relu",
]  # fmt: skip


def widths(config: Config) -> list[int]:
    """Return the layer sizes of a plain network, input first."""
    affine = [layer.args for layer in config.layers if layer.type in ("Linear", "Maxout")]
    return [affine[0]["in_features"], *(args["out_features"] for args in affine)]


def kinds(config: Config) -> list[str]:
    return [layer.type for layer in config.layers]


def first_batch(config: Config, data: Dataset) -> np.ndarray:
    return np.random.default_rng(0).permutation(data.rows)[: config.train.rows_per_step(data.rows)]


def test_every_promised_preset_is_there() -> None:
    assert set(PROMISED) <= set(presets())


@pytest.mark.parametrize("name", presets())
class TestEveryPreset:
    def test_it_fits_its_data(self, name: str) -> None:
        config = load(name)
        data = load_data(config.data)

        check_shapes(config, data)
        assert config.train.rows_per_step(data.rows) <= data.rows

    def test_its_name_is_its_file_and_its_summary_one_line(self, name: str) -> None:
        config = load(name)

        assert config.name == name
        assert 20 < len(config.summary) <= 110
        assert "\n" not in config.summary

    def test_it_survives_a_round_trip(self, name: str, tmp_path: Path) -> None:
        config = load(name)
        (tmp_path / "copy.toml").write_text(config.to_toml())

        assert load(tmp_path / "copy.toml") == config

    def test_its_file_says_how_long_it_runs(self, name: str) -> None:
        text = preset_path(name).read_text()

        assert ("steps = " in text.split("[train]")[1]) or ("epochs = " in text.split("[train]")[1])

    def test_its_hand_written_side_takes_a_step_and_every_gradient_is_finite(
        self, name: str
    ) -> None:
        config = load(name)
        data = load_data(config.data)
        batch = first_batch(config, data)
        graph, loss, optimizer = build_graph(config), build_loss(config), build_optimizer(config)
        rng = np.random.default_rng(0)
        params = {key: 0.1 * rng.standard_normal(p.shape) for key, p in graph.params.items()}

        graph = graph.with_params(params)
        tape = graph.run(each(lambda array: array[batch], data.features), noise=rng)
        value, cache = loss.forward(tape.output, data.targets[batch])
        grads = graph.gradients(tape, loss.backward(1.0, cache)[0][0]).params
        updated, _ = optimizer.step(params, grads, {}, optimizer.lr)

        assert np.isfinite(value)
        assert grads.keys() == params.keys()
        for key in params:
            assert np.isfinite(updated[key]).all()
            assert np.any(updated[key] != params[key])


class TestTheCoursesNetworks:
    @pytest.mark.parametrize("name", STUDENTS)
    def test_student_networks_have_the_sizes_in_their_name(self, name: str) -> None:
        config = load(name)

        sizes = name.removeprefix("students-").removesuffix("-mse")
        assert widths(config) == [int(size) for size in sizes.split("-")]
        assert set(kinds(config)[1::2]) == {"Sigmoid"}
        assert config.loss.type == ("MSELoss" if name.endswith("-mse") else "BCELoss")
        assert config.data.dataset == "students"

    def test_three_rows_updates_after_each_datapoint_on_half_the_squared_error(self) -> None:
        config = load("three-rows")

        assert widths(config) == [3, 4, 4, 2]
        assert kinds(config)[1::2] == ["Sigmoid"] * 3
        assert config.loss.args == {"factor": 0.5, "reduction": "sum"}
        assert config.train.batch_size == 1
        assert not config.train.shuffle

    def test_twenty_lines_is_the_courses_network(self) -> None:
        config = load("twenty-lines")

        assert widths(config) == [1000, 100, 10]
        assert not any(layer.args["bias"] for layer in config.layers if layer.type == "Linear")
        assert load_data(config.data).features.shape == (64, 1000)
        assert config.train.total_steps(64) == 2000
        assert config.optimizer.args == {"lr": 1e-4}
        assert (config.loss.type, config.loss.args["reduction"]) == ("SquaredErrorLoss", "sum")

    def test_the_softmax_network_has_no_bias(self) -> None:
        config = load("softmax-two-layer")

        assert kinds(config) == ["Linear", "ReLU", "Linear"]
        assert all(key.endswith("weight") for key in build_graph(config).params)

    def test_the_svm_adds_the_squared_weights_alone(self) -> None:
        config = load("svm")

        assert kinds(config) == ["Linear"]
        assert config.loss.penalties[0].type == "L2Penalty"
        assert config.loss.penalties[0].coefficient == 1
        assert config.loss.penalties[0].parameters == ("*.weight",)

    def test_two_hidden_layers_halve_the_mean_squared_error(self) -> None:
        config = load("two-hidden-layers")

        assert len(widths(config)) == 4
        assert config.loss.args == {"factor": 0.5, "reduction": "mean"}
        assert load_data(config.data).targets.shape == (1797, 10)

    def test_the_residual_branch_adds_two_values(self) -> None:
        config = load("residual")
        uses = [source for layer in config.layers for source in layer.inputs]

        assert max(uses.count(source) for source in uses) == 2
        assert "Add" in kinds(config)

    @pytest.mark.parametrize("name", ["deep-sigmoid", "deep-relu"])
    def test_deep_networks_are_deep(self, name: str) -> None:
        assert kinds(load(name)).count("Linear") >= 10

    def test_optimizers_and_schedules_vary(self) -> None:
        configs = [load(name) for name in presets()]

        used = {config.optimizer.type for config in configs}
        assert used == {"SGD", "Adagrad", "RMSprop", "Adam", "AdamW"}
        assert {type(build_schedule(c)).__name__ for c in configs} == {
            "Constant", "Step", "Cosine", "Warmup"
        }  # fmt: skip
