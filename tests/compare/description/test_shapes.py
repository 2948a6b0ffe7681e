"""Layers, data, loss and targets that do not fit one another are told before a run."""

from __future__ import annotations

import pytest

from compare.description.config import load
from compare.description.data import load as load_data
from compare.description.shapes import check_shapes
from compare.errors import UserError
from tests.compare.description.config_files import NETWORK, Write, misfit


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
