"""Right gradients pass, wrong ones do not: with the gauge, without it, and without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compare
from tests.compare.pair.gradient_pairs import (
    AFFINE,
    LABELS,
    affine,
    affine_backward,
    affine_forward,
    one_element,
    relu_forward,
    rows_backward,
    rows_forward,
    softmax_loss,
    spoiled,
)

PAIRS = {"gauged": (affine_forward, affine_backward), "measured": (rows_forward, rows_backward)}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("reference", [affine, None], ids=["torch", "own forward"])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_right_gradient_agrees(pair: str, reference, dtype: str) -> None:
    report = compare.check(*PAIRS[pair], reference, AFFINE, dtype=dtype)

    assert report.agrees, str(report)
    assert report.mode == "check"
    assert report.first_divergence is None
    assert report.attachments == {}


def test_the_tolerance_says_how_it_was_found() -> None:
    gauged = compare.check(*PAIRS["gauged"], affine, AFFINE)
    measured = compare.check(*PAIRS["measured"], affine, AFFINE)

    assert "error-gauge arrays, element by element" in gauged.tolerance
    assert "Monte-Carlo arithmetic, because your code cannot run" in measured.tolerance


@pytest.mark.usefixtures("verdict_alone")
@pytest.mark.parametrize("size", [1e-3, 1e-4, 1e-5, 1e-6, 1e-9])
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_small_mistake_in_any_gradient_is_caught(pair: str, which: int, size: float) -> None:
    forward, backward = PAIRS[pair]
    wrong = spoiled(backward, which, lambda g: g * (1 + size))
    report = compare.check(forward, wrong, affine, AFFINE, shrink=False)

    name = list(AFFINE)[which]
    assert report.verdict == "disagree"
    assert report.first_divergence.quantity == f"grad:{name}"
    bad = report.differences.query("verdict != 'agree'")
    assert set(bad["quantity"]) == {f"grad:{name}"}


@pytest.mark.usefixtures("verdict_alone")
@pytest.mark.parametrize("size", [1e-3, 1e-6])
@pytest.mark.parametrize("pair", PAIRS)
def test_one_wrong_element_is_caught_and_named(pair: str, size: float) -> None:
    forward, backward = PAIRS[pair]
    wrong = spoiled(backward, 1, one_element(1 + size))
    report = compare.check(forward, wrong, affine, AFFINE, shrink=False)

    assert report.verdict == "disagree"
    assert report.first_divergence.worst_index == "(2, 4)"


@pytest.mark.usefixtures("verdict_alone")
@pytest.mark.parametrize("size", [1e-3, 1e-6])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_small_mistake_is_caught_without_torch(pair: str, size: float) -> None:
    forward, backward = PAIRS[pair]
    wrong = spoiled(backward, 0, one_element(1 + size))
    report = compare.check(forward, wrong, None, AFFINE, shrink=False)

    assert report.verdict == "disagree"
    assert report.first_divergence.quantity == "grad:x"


@pytest.mark.usefixtures("verdict_alone")
@pytest.mark.parametrize("size", [1e-3])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_mistake_is_caught_in_float32(pair: str, size: float) -> None:
    forward, backward = PAIRS[pair]
    wrong = spoiled(backward, 2, lambda g: g * np.float32(1 + size))

    report = compare.check(forward, wrong, affine, AFFINE, dtype="float32", shrink=False)

    assert report.verdict == "disagree"


def test_a_hidden_float32_is_caught() -> None:
    def backward(dout, cache):
        x, w = cache
        single = (x.T.astype(np.float32) @ dout.astype(np.float32)).astype(np.float64)
        return dout @ w.T, single, dout.sum(axis=0)

    report = compare.check(affine_forward, backward, affine, AFFINE, shrink=False)

    assert report.verdict == "disagree"
    assert "grad:w" in report.reason


def test_a_wrong_forward_is_told_from_a_wrong_backward() -> None:
    report = compare.check(
        lambda x, w, b: (2 * (x @ w) + b, (x, w)), affine_backward, affine, AFFINE, shrink=False
    )

    assert report.verdict == "disagree"
    assert report.first_divergence.quantity == "output"
    assert "forward itself" in report.first_divergence.explanation


def test_witnesses_decide_who_is_wrong() -> None:
    wrong = spoiled(affine_backward, 1, lambda g: -g)
    report = compare.check(affine_forward, wrong, affine, AFFINE, shrink=False)

    assert "they side with the reference, so backward is wrong" in (
        report.first_divergence.explanation
    )
    assert any("against backward, without torch: complex step" in note for note in report.notes)


def test_a_backward_that_fits_a_forward_unlike_the_reference_is_not_blamed() -> None:
    def forward(x, w, b):
        return 2 * (x @ w) + b, (x, w)

    def backward(dout, cache):
        x, w = cache
        return 2 * dout @ w.T, 2 * x.T @ dout, dout.sum(axis=0)

    report = compare.check(forward, backward, affine, AFFINE, shrink=False)

    assert report.verdict == "disagree"
    assert any("for backward, without torch" in note for note in report.notes)


def test_a_gradient_that_zeros_would_pass_for_is_no_pass() -> None:
    def forward(x, c):
        return x * 1.0 + (c - c), x

    def backward(dout, x):
        return dout, np.zeros_like(x)

    inputs = {"x": (4, 3), "c": (4, 3)}
    report = compare.check(forward, backward, lambda x, c: x + (c - c), inputs)
    allowed = compare.check(
        forward, backward, lambda x, c: x + (c - c), inputs, structural_zeros=["c"]
    )

    assert report.verdict == "incomplete"
    assert "c was never really checked" in report.reason
    assert allowed.agrees, str(allowed)


def test_the_cause_is_named() -> None:
    wrong = spoiled(affine_backward, 2, lambda g: g / 4)
    report = compare.check(affine_forward, wrong, affine, AFFINE, shrink=False)

    assert report.cause.kind == "constant factor"  # 4 at every size
    assert report.cause is report.first_divergence.cause
    assert report.cause.evidence in str(report)


def test_a_mean_forgotten_in_a_loss_is_named() -> None:
    import torch

    def wrong(x, y):
        loss, dx = softmax_loss(x, y)
        return loss, dx * len(y)

    report = compare.check(
        wrong, None, torch.nn.functional.cross_entropy, {"x": (4, 3), "y": LABELS}, shrink=False
    )

    assert report.cause.kind == "batch size"


def test_the_same_check_gives_the_same_report() -> None:
    wrong = spoiled(affine_backward, 1, lambda g: g.copy() * 1.5)
    one, two = (compare.check(affine_forward, wrong, affine, AFFINE, seed=3) for _ in range(2))

    assert one.differences.equals(two.differences)
    assert one.reason == two.reason
    assert one.attachments == two.attachments


def test_kill_rows_say_what_would_have_been_noticed() -> None:
    report = compare.check(affine_forward, affine_backward, affine, AFFINE)
    kills = report.kills.set_index("quantity")

    assert list(kills.index) == ["output", "grad:x", "grad:w", "grad:b"]
    assert kills["zeros"].all()
    assert kills["one_percent"].all()


def test_inputs_that_make_the_reference_infinite_are_incomplete_not_wrong() -> None:
    import torch

    x = np.array([[-1.0, 2.0], [3.0, 0.5]])
    report = compare.check(
        lambda x: (np.log(x), x), lambda dout, x: dout / x, torch.log, {"x": x}, cases=["given"]
    )

    assert report.verdict == "incomplete"
    assert "not finite on these inputs" in report.reason


def test_a_candidate_that_overflows_where_the_reference_does_not_fails_there_only() -> None:
    import torch

    def forward(x):
        return np.log(np.exp(x).sum(axis=1)), x

    def backward(dout, x):
        e = np.exp(x)
        return dout[:, None] * e / e.sum(axis=1, keepdims=True)

    report = compare.check(
        forward, backward, lambda x: torch.logsumexp(x, 1), {"x": (4, 3)}, shrink=False
    )

    assert report.verdict == "disagree"
    assert "only in the case 'large (×1000)'" in report.reason


def test_relu_without_any_gauge_problem_is_quick_to_agree() -> None:
    report = compare.check(relu_forward, lambda d, x: d * (x > 0), None, {"x": (3, 2)})

    assert report.agrees, str(report)


# ── what stays as it was given ───────────────────────────────────────────────────────────────────
def penalised(x, w, mask, reg):
    return np.sum(mask * (x @ w)) + reg * np.sum(w * w)


def of_w(dout, x, w, mask, reg):
    return dout * (x.T @ (mask * np.ones((len(x), w.shape[1]))) + 3 * reg * w)  # 2, not 3


def told(mask: Any, reg: float) -> compare.Report:
    inputs = {"x": (4, 3), "w": (3, 2), "mask": mask, "reg": reg}
    no_grad = ["x", "reg", "mask"]
    return compare.check(penalised, of_w, inputs=inputs, no_grad=no_grad, shrink=False)


@pytest.mark.usefixtures("verdict_alone")
def test_what_one_value_of_an_input_cannot_show_is_told() -> None:
    hidden = told(np.ones((4, 2), dtype=bool), 0.0)
    mixed = told(np.arange(8).reshape(4, 2) % 3 == 0, 0.1)

    assert hidden.agrees
    assert any(note.startswith("reg is 0.0 in every case") for note in hidden.notes)
    assert any(note.startswith("mask is True everywhere") for note in hidden.notes)
    assert mixed.verdict == "disagree"
    assert not any("in every case" in note for note in mixed.notes)


@pytest.mark.usefixtures("verdict_alone")
@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "agree"), (1.1, "disagree")])
def test_an_input_without_gradient_may_have_a_domain(factor: float, verdict: str) -> None:
    report = compare.check(
        lambda x, w: np.log(x) * w, lambda dout, x, w: factor * dout * np.log(x),
        inputs={"x": (4, 3), "w": (4, 3)}, no_grad=["x"], domain={"x": "positive"}, shrink=False,
    )  # fmt: skip

    assert report.verdict == verdict
