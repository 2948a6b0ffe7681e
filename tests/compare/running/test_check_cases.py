"""The inputs that break derivations: sizes, ties, zeros, magnitudes, strides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import compare
from compare.pair.inputs import Labels, specify
from compare.running.cases.cases import Cases, strided, tied, with_zeros
from tests.compare.pair.gradient_pairs import (
    AFFINE,
    LABELS,
    affine,
)


def cases_of(inputs, accepts=lambda values: True, *, seed: int = 0) -> dict:
    return {case.name: case for case in Cases(specify(inputs), accepts, seed).all()}


def shapes(case) -> dict:
    return {n: v.shape for n, v in case.values.items() if isinstance(v, np.ndarray)}


def fits(values) -> bool:
    try:
        affine(*values.values())
    except ValueError:
        return False
    return True


def test_every_axis_is_one_in_some_case_and_the_others_follow() -> None:
    cases = cases_of(AFFINE, fits)

    assert shapes(cases["batch of 1"]) == {"x": (1, 3), "w": (3, 5), "b": (5,)}
    assert shapes(cases["x axis 1 = 1"]) == {"x": (4, 1), "w": (1, 5), "b": (5,)}
    assert shapes(cases["w axis 1 = 1"]) == {"x": (4, 3), "w": (3, 1), "b": (1,)}


def test_every_axis_has_another_length_in_some_case_and_equal_ones_stay_equal() -> None:
    square = cases_of({"x": (4, 3), "w": (3, 3), "b": (3,)}, fits)["other sizes"]
    batch, width = square.values["x"].shape

    assert {batch, width} & {4, 3} == set()
    assert shapes(square) == {"x": (batch, width), "w": (width, width), "b": (width,)}
    assert not square.untied


def test_a_size_that_one_side_refuses_is_left_as_it_is() -> None:
    case = cases_of(AFFINE, lambda v: fits(v) and v["x"].shape[1] == 3)["other sizes"]

    assert case.values["x"].shape[1] == 3
    assert len(case.values["x"]) != 4


def test_labels_are_drawn_below_the_axis_that_they_name_and_follow_it() -> None:
    def accepts(values) -> bool:
        x, y = values["x"], values["y"]
        return len(x) == len(y) and y.max() < x.shape[1]

    inputs = {"x": (5, 3), "y": Labels((5,), 3)}
    cases = cases_of(inputs, accepts)
    other = cases["other sizes"].values
    alone = cases.pop("batch of 1").values["y"]

    assert alone.max() < 2
    assert cases["random"].values["y"].dtype.kind == "i"
    assert {case.values["y"].max() + 1 - case.values["x"].shape[1] for case in cases.values()} == {
        0
    }
    assert other["x"].shape[1] != 3
    assert len(other["y"]) == len(other["x"]) != 5
    assert specify(inputs).differentiable == ("x",)
    drawn = [cases_of(inputs, accepts, seed=s)["random"].values["y"].tolist() for s in range(4)]
    assert len({tuple(y) for y in drawn}) > 1


def test_axes_that_are_equal_by_chance_are_told_apart() -> None:
    case = cases_of({"x": (3, 3), "w": (3, 3), "b": (3,)}, fits)["non-square"]
    batch, middle = case.values["x"].shape
    assert case.values["w"].shape[0] == middle
    assert case.values["b"].shape == case.values["w"].shape[1:]

    assert len({batch, middle, case.values["w"].shape[1]}) == 3
    assert case.untied


def test_a_size_that_passes_only_by_broadcasting_is_not_tried() -> None:
    def accepts(values) -> bool:
        try:
            np.broadcast_shapes(values["h"].shape, (4, 5))
        except ValueError:
            return False
        return True

    cases = cases_of({"h": (4, 5)}, accepts)

    assert set(cases) == {
        "random", "ties", "zeros", "one zero per row", "large (×1000)", "tiny (×1e-06)",
        "wide (0.1 to 100)", "non-contiguous", "Fortran order",
    }  # fmt: skip


def test_index_arrays_are_cut_with_the_axis_that_they_belong_to() -> None:
    def accepts(values) -> bool:
        return len(values["x"]) == len(values["y"])

    case = cases_of({"x": (4, 3), "y": LABELS}, accepts)["batch of 1"]

    assert case.values["x"].shape == (1, 3)
    np.testing.assert_array_equal(case.values["y"], LABELS[:1])


def test_given_arrays_keep_their_sizes() -> None:
    cases = cases_of({"x": np.arange(1.0, 7.0).reshape(2, 3)})

    assert {case.values["x"].shape for case in cases.values()} == {(2, 3)}
    assert "given" in cases


def test_the_same_seed_draws_the_same_cases() -> None:
    one, two = cases_of(AFFINE, fits), cases_of(AFFINE, fits)

    for name, case in one.items():
        for key, value in case.values.items():
            np.testing.assert_array_equal(value, two[name].values[key])


def test_ties_stay_among_the_arrays_own_values() -> None:
    x = np.random.default_rng(0).random((5, 4))
    few = tied(x, np.random.default_rng(1))

    assert np.isin(few, x).all()
    assert len(np.unique(few)) <= 3


@pytest.mark.parametrize("shape", [(3,), (7,), (4, 5)])
def test_wide_numbers_lie_in_every_part_of_a_logarithmic_scale_on_both_sides(shape) -> None:
    x = cases_of({"x": shape})["wide (0.1 to 100)"].values["x"].ravel()
    beyond = np.log10(40 / 20)
    places = np.sort(np.log10(np.abs(x)))
    places -= np.where(places > np.log10(30), beyond, 0)  # none lies between 20 and 40
    parts = np.linspace(-1, 2 - beyond, x.size + 1)

    assert ((parts[:-1] <= places) & (places <= parts[1:])).all()
    assert abs(np.sign(x).sum()) <= 1


@pytest.mark.parametrize("seed", range(6))
def test_the_true_softplus_is_not_blamed_for_torchs_which_is_linear_from_20_on(seed: int) -> None:
    report = compare.check(
        lambda x: (np.logaddexp(0, x), x), lambda d, x: d / (1 + np.exp(-x)),
        torch.nn.functional.softplus, {"x": (4, 5)}, seed=seed, cases=["wide"],
    )  # fmt: skip

    assert report.verdict == "agree", str(report)


def test_zeros_cover_a_whole_row_and_not_everything() -> None:
    x = with_zeros(np.ones((5, 4)), np.random.default_rng(1))

    assert not x[0].any()
    assert x.any()


@pytest.mark.parametrize("shape", [(4,), (4, 3), (2, 1), (2, 3, 4)])
def test_strided_arrays_hold_the_same_numbers_and_are_not_contiguous(shape) -> None:
    x = np.random.default_rng(0).standard_normal(shape)
    view = strided(x)

    np.testing.assert_array_equal(view, x)
    assert shape[-1] == 1 or (not view.flags.c_contiguous and view.strides[-1] < 0)


@pytest.mark.parametrize("reference", [torch.logdet, None])
def test_matrices_of_a_domain_stay_square_and_positive(reference: Any) -> None:
    def forward(a: np.ndarray) -> tuple:
        np.linalg.cholesky(a)
        return np.linalg.slogdet(a)[1], np.linalg.inv(a)

    def check(shape: tuple[int, ...]) -> Any:
        return compare.check(
            forward, lambda dy, inverse: dy * inverse.T, reference, {"a": shape},
            domain={"a": "spd"}, cases=("random", "ties", "other sizes"),
        )  # fmt: skip

    assert check((4, 4)).verdict == "agree"
    with pytest.raises(compare.UserError, match="no matrix of shape"):
        check((4, 3))


def test_what_adds_up_to_one_gets_no_ties() -> None:
    inputs = specify({"p": (3, 4), "q": (3, 4)}).within({"p": "simplex", "q": "simplex"})

    assert not [c.name for c in Cases(inputs, lambda _: True, 0).all() if "ties" in c.name]
