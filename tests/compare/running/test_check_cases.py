"""The inputs that break derivations: sizes, ties, zeros, magnitudes, strides; and conventions."""

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
    affine_backward,
    affine_forward,
    relu_forward,
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


def failing(report) -> set[str]:
    return set(report.differences.query("verdict not in ['agree', 'vacuous']")["layer"])


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


# ── each case catches what the others miss ───────────────────────────────────────────────────────
def test_a_squeeze_that_breaks_for_a_batch_of_one_is_found_there() -> None:
    def backward(dout, cache):
        x, w = cache
        return (dout @ w.T).squeeze(), x.T @ dout, dout.sum(axis=0)

    report = compare.check(affine_forward, backward, affine, AFFINE, shrink=False)

    assert failing(report) == {"batch of 1", "x axis 1 = 1"}
    assert "has shape (3,); it must be (1, 3)" in report.first_divergence.explanation


def test_a_candidate_that_fails_for_a_batch_of_one_is_found_there() -> None:
    def backward(dout, cache):
        if len(cache[0]) == 1:
            raise IndexError("no second row")
        return affine_backward(dout, cache)

    report = compare.check(affine_forward, backward, affine, AFFINE, shrink=False)

    assert failing(report) == {"batch of 1"}
    assert "missing" in set(report.differences["verdict"])
    assert "IndexError: no second row (line" in report.first_divergence.explanation


def test_a_batch_size_in_the_code_is_found_where_a_batch_of_one_is_refused() -> None:
    def forward(x):
        centred = x - x.mean(axis=0)
        return centred / np.sqrt((centred**2).mean(axis=0) + 1e-5), x

    def backward(dout, x, n=5):
        centred = x - x.sum(axis=0) / n
        s = 1 / np.sqrt((centred**2).sum(axis=0) / n + 1e-5)
        y = centred * s
        return s * (dout - dout.sum(axis=0) / n - y * (dout * y).sum(axis=0) / n)

    def reference(x):
        return torch.nn.functional.batch_norm(x, None, None, training=True)

    report = compare.check(forward, backward, reference, {"x": (5, 3)}, shrink=False)

    assert failing(report) == {"other sizes"}
    assert report.cause is None
    assert "Is a size written into the code" in report.first_divergence.explanation


def test_a_number_of_classes_in_the_code_is_found_though_the_labels_are_given() -> None:
    def forward(x, y):
        p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(len(y)), y]).mean(), (p, y)

    def backward(dout, cache):
        p, y = cache
        return dout * (p - np.eye(3)[y]) / len(y)

    inputs = {"x": (4, 3), "y": np.array([0, 2, 1, 1])}
    ours = compare.check(
        forward, backward, torch.nn.functional.cross_entropy, inputs,
        shrink=False, cases=["random", "ties", "other"],
    )  # fmt: skip

    assert failing(ours) == {"other sizes"}


def test_assuming_contiguous_memory_is_found() -> None:
    def backward(dout, cache):
        x, w = cache
        if not x.flags.c_contiguous:
            x = np.lib.stride_tricks.as_strided(x, x.shape, (x.shape[1] * x.itemsize, x.itemsize))
        return affine_backward(dout, (x, w))

    report = compare.check(affine_forward, backward, affine, AFFINE, shrink=False)

    assert failing(report) == {"non-contiguous", "Fortran order"}


@pytest.mark.parametrize(
    ("of_rows", "found"),
    [
        (lambda x: x.ravel(order="K").reshape(x.shape), "Fortran order"),
        (lambda x: np.frombuffer(x.tobytes(order="A")).reshape(x.shape), "Fortran order"),
        (lambda x: x[::-1] if x.strides[-1] < 0 else x, "non-contiguous"),
    ],
    ids=["ravel", "bytes", "sign of a stride"],
)
def test_assuming_how_arrays_lie_in_memory_is_found(of_rows, found) -> None:
    report = compare.check(
        lambda x: (x * x, x), lambda dout, x: 2 * of_rows(x) * dout, lambda x: x * x,
        {"x": (3, 4)}, shrink=False,
    )  # fmt: skip

    assert failing(report) == {found}


def test_an_epsilon_in_the_wrong_place_is_found_at_tiny_magnitudes() -> None:
    def forward(x):
        return x / np.sqrt((x * x).mean() + 1e-12), x

    def backward(dout, x):
        s = np.sqrt((x * x).mean()) + 1e-6  # outside the root: the same for ordinary numbers
        return dout / s - x * (dout * x).sum() / (s**3 * x.size)

    def reference(x):
        return x / torch.sqrt((x * x).mean() + 1e-12)

    report = compare.check(forward, backward, reference, {"x": (3, 2)}, shrink=False)

    assert "tiny (×1e-06)" in failing(report)


def test_an_exponential_that_overflows_is_found_at_large_magnitudes() -> None:
    def forward(x):
        return np.log(1 + np.exp(x)), x

    report = compare.check(
        forward,
        lambda dout, x: dout / (1 + np.exp(-x)),
        torch.nn.functional.softplus,
        {"x": (4, 3)},
        shrink=False,
    )

    assert failing(report) == {"large (×1000)"}


def test_numbers_whose_squares_overflow_are_no_false_alarm() -> None:
    x = np.array([[175.7, -182.1, 690.0], [5.0, -690.0, 400.0]])
    report = compare.check(
        lambda x: (np.log(1 + np.exp(x)), x),
        lambda dout, x: dout / (1 + np.exp(-x)),
        torch.nn.functional.softplus,
        {"x": x},
        cases=["given"],
    )

    assert report.agrees, str(report)


def test_what_the_reference_refuses_is_said_and_is_no_failure() -> None:
    def reference(x, w, b):
        if len(x) == 1:
            raise ValueError("more than one row, please")
        return affine(x, w, b)

    report = compare.check(affine_forward, affine_backward, reference, AFFINE)

    assert report.agrees
    assert "'batch of 1' (reference refuses it: ValueError: more than one row" in report.notes[0]
    assert "batch of 1" not in set(report.differences["layer"])


def test_only_the_chosen_cases_run() -> None:
    report = compare.check(affine_forward, affine_backward, affine, AFFINE, cases=["ties", "zer"])

    assert set(report.differences["layer"]) == {"ties", "zeros"}


# ── conventions where there is no derivative ─────────────────────────────────────────────────────
def test_another_subgradient_at_zero_is_a_note() -> None:
    report = compare.check(relu_forward, lambda dout, x: dout * (x >= 0), torch.relu, {"x": (4, 3)})

    assert report.agrees, str(report)
    assert any("Convention at ties differs from torch's" in note for note in report.notes)
    assert len(report.kinks) == 2  # zeros, one zero per row


@pytest.mark.parametrize("reference", [torch.relu, None], ids=["torch", "own forward"])
def test_a_number_that_is_no_subgradient_is_a_mistake(reference) -> None:
    def backward(dout, x):
        return dout * ((x > 0) + 5.0 * (x == 0))

    report = compare.check(relu_forward, backward, reference, {"x": (4, 3)}, shrink=False)

    assert failing(report) == {"zeros", "one zero per row"}


def max_forward(x):
    return x.max(axis=1), x


def shared(dout, x):
    mask = (x == x.max(axis=1, keepdims=True)) * 1.0
    return dout[:, None] * mask / mask.sum(axis=1, keepdims=True)


def whole_to_each(dout, x):
    return dout[:, None] * (x == x.max(axis=1, keepdims=True))


REFERENCES = {"torch": lambda x: x.max(dim=1).values, "own forward": None}


@pytest.mark.parametrize("reference", REFERENCES)
def test_sharing_a_tie_is_a_note(reference: str) -> None:
    report = compare.check(max_forward, shared, REFERENCES[reference], {"x": (6, 4)})

    assert report.agrees, str(report)
    assert report.notes


@pytest.mark.parametrize("reference", REFERENCES)
def test_giving_each_tied_winner_the_whole_gradient_is_a_mistake(reference: str) -> None:
    report = compare.check(
        max_forward, whole_to_each, REFERENCES[reference], {"x": (6, 4)}, shrink=False
    )

    assert report.verdict == "disagree"
    assert failing(report) <= {"ties", "zeros"}


def test_a_wrong_formula_is_not_excused_by_kinks_elsewhere() -> None:
    def backward(dout, x):
        return dout * (x > 0) * np.where(x == x[-1, -1], 1 + 1e-6, 1.0)

    report = compare.check(relu_forward, backward, torch.relu, {"x": (4, 3)}, shrink=False)

    assert report.verdict == "disagree"


@pytest.mark.parametrize(
    ("share", "agrees"),
    [(lambda x, y: (x >= y, y >= x), False), (lambda x, y: (x >= y, y > x), True)],
)
def test_two_inputs_that_tie_may_share_the_gradient_but_not_both_take_it_whole(
    share: Any, agrees: bool
) -> None:
    def forward(x, y):
        return np.maximum(x, y), (x, y)

    def backward(dout, cache):
        return tuple(dout * part for part in share(*cache))

    report = compare.check(forward, backward, torch.maximum, {"x": (4, 3), "y": (4, 3)})

    assert report.agrees is agrees
    assert report.cause is None  # right on ordinary numbers: no factor explains it


def test_torchs_convention_may_be_the_one_that_is_off() -> None:
    def forward(x):
        return x * 1.0, None

    report = compare.check(
        forward,
        lambda dout, cache: dout * 1.0,
        lambda x: torch.relu(x) - torch.relu(-x),  # x, but its derivative at 0 comes out as 0
        {"x": (4, 3)},
    )

    assert report.agrees, str(report)
    assert any("'zeros'" in note for note in report.notes)


def test_an_input_without_gradient_is_drawn_apart_from_the_others() -> None:
    def forward(p, y):
        return np.mean((p - y) ** 2), (p, y)

    def backward(dout, cache):
        p, y = cache
        return dout * 2 * (p - y) / p.size, None

    report = compare.check(
        forward, backward, torch.nn.functional.mse_loss, {"p": (6, 3), "y": (6, 3)}, no_grad=["y"]
    )
    rows = report.differences
    random = rows[rows["layer"].eq("random")]

    assert report.agrees
    assert len(random)
    assert random["verdict"].eq("agree").all()


def test_ties_between_two_inputs_are_tried_away_from_zero() -> None:
    def forward(x, y):
        return np.maximum(np.maximum(x, y), 0), (x, y)

    def backward(dout, cache):
        x, y = cache
        return dout * (x >= y) * (x > 0), dout * (y >= x) * (y > 0)

    def right(dout, cache):
        x, y = cache
        return dout * (x >= y) * (x > 0), dout * (y > x) * (y > 0)

    def reference(x, y):
        return torch.relu(torch.maximum(x, y))

    inputs = {"x": (4, 3), "y": (4, 3)}
    wrong = compare.check(forward, backward, reference, inputs)

    assert wrong.verdict == "disagree"
    assert wrong.first_divergence is not None
    assert wrong.first_divergence.layer == "ties between inputs"
    assert compare.check(forward, right, reference, inputs).agrees


def convolved(x: np.ndarray, w: np.ndarray) -> tuple:
    k = len(w)
    return np.array([x[i : i + k] @ w for i in range(len(x) - k + 1)]), (x, w)


@pytest.mark.parametrize(("turned", "verdict"), [(1, "agree"), (-1, "disagree")])
def test_sizes_in_which_forward_returns_nothing_are_left_out(turned: int, verdict: str) -> None:
    """One element under a kernel of three: no output, and so no gradient to get wrong."""

    def backward(dy: np.ndarray, cache: tuple) -> tuple:
        x, w = cache
        dw = np.array([dy @ x[i : i + len(dy)] for i in range(len(w))])
        return np.convolve(dy, w[::turned]), dw

    report = compare.check(convolved, backward, inputs={"x": (7,), "w": (3,)})

    assert report.verdict == verdict
    assert any("'batch of 1' (convolved returns nothing there)" in n for n in report.notes)


def test_a_factor_that_only_a_later_gradient_shows_is_told_of_that_one() -> None:
    """The scale is missing on the way to w; x gets a sum of that path and of a right one."""

    def forward(x: np.ndarray, w: np.ndarray) -> tuple:
        a = np.tanh(x @ w / 3)
        return a + x, (x, w, a)

    def backward(dy: np.ndarray, cache: tuple) -> tuple:
        x, w, a = cache
        da = dy * (1 - a * a)
        half = {"x": dy * np.cos(x) / np.cos(x)}  # nothing that a changed line would mend
        return half["x"] + 0.7 * np.sin(da @ w.T), x.T @ da

    report = compare.check(forward, backward, inputs={"x": (4, 5), "w": (5, 5)})

    assert report.cause is not None
    assert report.cause.evidence.startswith("grad:w shows it: ")
    assert "× 3 " in report.cause.evidence


def test_what_is_off_along_a_third_axis_is_told_by_its_number() -> None:
    """Not as columns; all steps but the last are off, as where a path through time is lost."""

    def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
        dx = dy * np.cos(cache)
        return np.concatenate([np.expm1(dx[:, :, :-1]), dx[:, :, -1:]], axis=2)

    report = compare.check(lambda x: (np.sin(x), x), backward, inputs={"x": (3, 4, 5)})

    assert report.cause is not None
    assert "at 0 to 3 of 5 along axis 2" in report.cause.evidence
    assert "through time" in report.cause.advice


def test_what_is_not_written_yet_is_told_so() -> None:
    def backward(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    report = compare.check(lambda x: (x * 2, x), backward, inputs={"x": (3,)})

    assert report.cause is not None
    assert "raised NotImplementedError (line" in report.cause.evidence
    assert report.cause.advice == "That line says that it is still to be written."


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
