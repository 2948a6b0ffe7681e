"""Data: built-in sets, and how they are scaled."""

from __future__ import annotations

import numpy as np
import pytest

from compare.description.data import DATASETS
from compare.description.data.datasets import make
from compare.description.data.scaling import representable, scale
from compare.errors import UserError
from tests.compare.description.data_files import complaint, loaded

OF_INDICES = {"characters", "verses", "reversal", "temporal_order"}


SHAPES = {
    "digits": (1797, 64, 10),
    "iris": (150, 4, 3),
    "wine": (178, 13, 3),
    "breast_cancer": (569, 30, 2),
    "students": (40, 2, 2),
    "random_classification": (300, 2, 3),
}


class TestBuiltIn:
    @pytest.mark.parametrize("name", SHAPES)
    def test_classification_sets_have_rows_features_and_classes(self, name: str) -> None:
        data = loaded(dataset=name)
        rows, features, classes = SHAPES[name]

        assert data.features.shape == (rows, features)
        assert data.targets.shape == (rows,)
        assert data.targets.dtype == np.int64
        assert len(data.classes or ()) == classes
        assert sorted(set(data.targets.tolist())) == list(range(classes))
        assert data.task == "classification"
        assert len(data.feature_names) == features

    @pytest.mark.parametrize(
        ("name", "shape"),
        [
            ("diabetes", (442, 1)),
            ("three_rows", (3, 2)),
            ("random_regression", (64, 10)),
            ("digit_pixels", (1797, 64)),
        ],
    )
    def test_regression_sets_have_float_columns(self, name: str, shape: tuple) -> None:
        data = loaded(dataset=name, target_kind="values")

        assert data.targets.shape == shape
        assert data.targets.dtype == np.float64
        assert data.classes is None
        assert data.task == "regression"

    @pytest.mark.parametrize("name", sorted(DATASETS.keys() - OF_INDICES))
    @pytest.mark.parametrize("how", ["none", "standard", "minmax"])
    def test_every_number_is_exact_in_float32(self, name: str, how: str) -> None:
        numbers = (
            "adding", "copy_task", "diabetes", "digit_pixels", "random_regression", "three_rows",
        )  # fmt: skip
        kind = "values" if name in numbers else "classes"
        data = loaded(dataset=name, scale=how, target_kind=kind)

        for array in (data.features, data.targets):
            np.testing.assert_array_equal(array, array.astype(np.float32).astype(np.float64))
        assert data.features.dtype == np.float64
        assert np.isfinite(data.features).all()

    def test_characters_are_indices_each_window_followed_by_its_next(self) -> None:
        data = loaded(dataset="characters", context=3)

        assert data.features.dtype == data.targets.dtype == np.int64
        assert data.features.shape == (len(data.targets), 3)
        np.testing.assert_array_equal(data.features[1:, -1], data.targets[:-1])
        assert data.classes is not None
        assert data.features.max() < len(data.classes)

    def test_indices_have_no_scale(self) -> None:
        with pytest.raises(UserError, match="these features are indices"):
            loaded(dataset="characters", scale="minmax")

    def test_digits_are_those_of_scikit_learn(self) -> None:
        from sklearn.datasets import load_digits

        theirs, ours = load_digits(), make("digits", {})
        assert np.array_equal(ours.features, theirs.data)
        assert np.array_equal(ours.labels, theirs.target)
        assert list(ours.feature_names) == theirs.feature_names
        assert ours.classes == tuple(map(str, theirs.target_names))

    def test_three_rows_are_the_courses_own(self) -> None:
        data = loaded(dataset="three_rows", target_kind="values")

        np.testing.assert_array_equal(data.features, [[1, 2, 3], [3, 2, 1], [1, 5, 7]])
        np.testing.assert_array_equal(data.targets, [[4, 5], [5, 6], [8, 6]])

    def test_students_are_marked_as_synthetic(self) -> None:
        assert "synthetic" in loaded(dataset="students").summary
        assert loaded(dataset="students").feature_names == ("Learn", "Sleep")

    def test_two_classes_are_a_column_of_zeros_and_ones_for_a_loss_on_numbers(self) -> None:
        data = loaded(dataset="students", target_kind="values")

        assert data.targets.shape == (40, 1)
        assert set(data.targets.ravel()) == {0.0, 1.0}
        assert data.task == "binary"
        assert data.classes == ("fails", "passes")

    def test_one_hot_targets_have_one_one_per_row_at_the_class(self) -> None:
        index = loaded(dataset="iris").targets
        data = loaded(dataset="iris", target_kind="values", target_one_hot=True)

        np.testing.assert_array_equal(data.targets, np.eye(3)[index])

    def test_many_classes_are_never_taken_for_numbers(self) -> None:
        assert "target_one_hot" in complaint(dataset="iris", target_kind="values")

    def test_several_numbers_are_never_taken_for_classes(self) -> None:
        assert "o1, o2" in complaint(dataset="three_rows", target_kind="classes")

    def test_a_generated_set_follows_its_settings_and_seed(self) -> None:
        settings = {"dataset": "random_regression", "target_kind": "values", "n": 5, "d_in": 3}
        first = loaded(**settings, d_out=2, seed=1)

        assert first.features.shape == (5, 3)
        assert first.targets.shape == (5, 2)
        np.testing.assert_array_equal(first.features, loaded(**settings, seed=1).features)
        assert (first.features != loaded(**settings, seed=2).features).all()

    def test_limit_keeps_the_first_rows_and_all_classes(self) -> None:
        data = loaded(dataset="digits", limit=20)

        assert data.rows == 20
        assert len(data.classes or ()) == 10
        np.testing.assert_array_equal(data.targets, loaded(dataset="digits").targets[:20])

    def test_a_set_beyond_memory_is_refused(self) -> None:
        said = complaint(dataset="random_regression", target_kind="values", n=10**12, d_in=10**6)

        assert "cannot be made" in said

    def test_rows_of_one_class_alone_are_refused(self) -> None:
        assert "'setosa'" in complaint(dataset="iris", limit=50)


class TestScaling:
    X = np.array([[1.0, 5.0, 0.1], [3.0, 5.0, 0.1], [8.0, 5.0, 0.1]])

    def test_standard_gives_mean_zero_and_deviation_one(self) -> None:
        scaled = scale(self.X, "standard")

        np.testing.assert_allclose(scaled[:, 0].mean(), 0, atol=1e-15)
        np.testing.assert_allclose(scaled[:, 0].std(), 1)

    def test_minmax_gives_the_range_zero_to_one(self) -> None:
        np.testing.assert_allclose(scale(self.X, "minmax")[:, 0], [0, 2 / 7, 1])

    @pytest.mark.parametrize("how", ["standard", "minmax"])
    def test_a_constant_column_becomes_zeros(self, how: str) -> None:
        np.testing.assert_array_equal(scale(self.X, how)[:, 1:], np.zeros((3, 2)))

    def test_target_scale_leaves_features_alone(self) -> None:
        data = loaded(dataset="diabetes", target_kind="values", target_scale="standard")

        np.testing.assert_allclose(data.targets.mean(), 0, atol=1e-7)
        assert data.features.max() > 100

    def test_rounding_makes_numbers_exact_in_float32(self) -> None:
        assert representable(np.array([0.1]))[0] == float(np.float32(0.1)) != 0.1
