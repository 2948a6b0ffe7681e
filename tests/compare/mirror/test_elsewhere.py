"""A custom Function that is right on what a model gives it: is it right elsewhere?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import compare
from compare.running.mirror.moved import is_bound, is_ordered, moved
from tests.compare.mirror.elsewhere_functions import (
    RIGHT,
    WRONG,
    CrossEntropy,
    OwnAverage,
    Use,
    function,
)

PAGES = ("summary.md", "report.html")
X = (torch.arange(15.0) * 1.7).sin().reshape(5, 3) * 0.4


class Between(nn.Module):
    """Linear, what is to be tried on numbers between -1 and 1 and a weight of ones, Linear."""

    def __init__(self, use: Use) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.weight = nn.Parameter(torch.ones(4))
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.use(self.first(x), self.weight))


@pytest.mark.parametrize("case", RIGHT)
def test_a_right_function_is_accused_of_nothing(case: str) -> None:
    report = compare.mirror(Between(RIGHT[case]), X)

    assert report.verdict == "agree", str(report)
    assert not report.elsewhere


BUFFERS = {
    "is written into": (OwnAverage.apply, torch.zeros(4)),
    "is uniform": (CrossEntropy.apply, torch.full((5, 4), 0.25)),
}


@pytest.mark.parametrize("case", BUFFERS)
def test_a_right_function_of_a_buffer_is_accused_of_nothing(case: str) -> None:
    use, buffer = BUFFERS[case]
    model = Between(use)
    del model.weight
    model.register_buffer("weight", buffer.clone())

    report = compare.mirror(model, X)

    assert report.verdict == "agree", str(report)


class MaskedMean(torch.autograd.Function):
    """Forward multiplies by a mask, backward selects by it: right for zeros and ones."""

    @staticmethod
    def forward(ctx, x, mask):
        ctx.save_for_backward(mask)
        return x * mask / mask.sum(-1, keepdim=True)

    @staticmethod
    def backward(ctx, grad):
        (mask,) = ctx.saved_tensors
        return torch.where(mask != 0, grad / mask.sum(-1, keepdim=True), 0.0), None


def masked(use: Use, mask: Tensor) -> nn.Module:
    model = Between(use)
    del model.weight
    model.register_buffer("weight", mask)
    return model


@pytest.mark.parametrize("mask", [torch.ones(4), torch.ones(5, 4), torch.ones(5, 4).tril()])
def test_a_mask_of_ones_is_given_no_number_between(mask: Tensor) -> None:
    report = compare.mirror(masked(MaskedMean.apply, mask), X)

    assert report.verdict == "agree", str(report)
    told = "holds numbers between, as a scale may" in " ".join(report.notes)
    assert told == bool(mask.all())  # what is no mask after all, is told


def test_ones_that_a_function_forgets_are_found_where_some_are_zeros() -> None:
    forgets = function(lambda x, w: x * w, lambda g, x, w: (g, None), "Forgets")

    report = compare.mirror(masked(forgets.apply, torch.ones(4)), X)

    assert report.verdict == "incomplete"
    assert [found.function for found in report.elsewhere] == ["Forgets"]


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return MaskedMean.apply(self.linear(x), mask)


def test_inputs_that_require_a_gradient_leave_none_to_the_others() -> None:
    """A mask is an input as any other, unless the user says which of them have a gradient."""
    model, mask = Masked(), torch.ones(5, 3).tril()

    assert compare.mirror(model, (X.clone().requires_grad_(), mask)).verdict == "agree"
    report = compare.mirror(model, (X, mask))

    assert report.verdict == "disagree"
    assert "Torch gives no gradient of mask" in " ".join(report.notes)


def test_a_weight_that_begins_symmetric_is_not_always_so() -> None:
    straight = function(lambda x, w: x @ w, lambda g, x, w: (g @ w, x.T @ g), "Straight")
    model = Between(straight.apply)
    model.weight = nn.Parameter(torch.eye(4))

    report = compare.mirror(model, X)

    assert report.verdict == "incomplete"
    assert [found.function for found in report.elsewhere] == ["Straight"]


@pytest.mark.parametrize("case", WRONG)
def test_a_function_that_is_wrong_elsewhere_is_no_agreement(case: str) -> None:
    use, name = WRONG[case]

    report = compare.mirror(Between(use), X)

    assert report.verdict == "incomplete", str(report)
    assert [found.function for found in report.elsewhere] == [name]
    assert f"{name}.backward" in report.reason
    assert "right on what it got here, and wrong elsewhere" in report.reason


def test_what_is_wrong_elsewhere_stands_in_every_form_of_the_report(tmp_path: Path) -> None:
    report = compare.mirror(Between(WRONG["a sign below -1"][0]), X)

    path = report.save(tmp_path / "report")
    (told,) = json.loads((path / "verdict.json").read_text("utf-8"))["elsewhere"]
    texts = [str(report), *((path / name).read_text("utf-8") for name in PAGES)]

    assert told["function"] == "Flipped"
    assert told["cause"]["kind"] == "range"
    assert told["first_divergence"]["quantity"] == "grad:x0"
    assert told["first_divergence"]["manual"] == -told["first_divergence"]["torch"]
    assert {"given"} <= {row["case"] for row in told["worst"]}
    for text in texts:
        assert "Flipped.backward wrong on other inputs" in text
        assert "Wrong on other inputs" in text
        assert told["first_divergence"]["worst_index"] in text
    assert all("where x0 &lt; -1" in text or "where x0 < -1" in text for text in texts[::2])


def test_what_does_not_run_by_itself_is_told() -> None:
    class Alone(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.own = ctx.name()
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    report = compare.mirror(Between(lambda x, w: Alone.apply(x)), X)

    assert report.verdict == "agree"
    assert any("Alone.forward does not run twice alike by itself" in note for note in report.notes)


def test_what_disagrees_here_is_not_called_right_here() -> None:
    """A sign that is flipped below -1, where the model goes."""
    report = compare.mirror(Between(WRONG["a sign below -1"][0]), 4 * X)

    assert report.verdict == "disagree"
    assert not report.elsewhere


def test_a_right_function_beside_a_wrong_one_is_not_named() -> None:
    def both(x: Tensor, w: Tensor) -> Tensor:
        return RIGHT["two pieces"](WRONG["a square of one"][0](x, w), w)

    report = compare.mirror(Between(both), X)

    assert [found.function for found in report.elsewhere] == ["Squared"]


def test_the_users_model_and_generator_are_left_alone() -> None:
    model = Between(WRONG["a square of one"][0])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()

    compare.mirror(model, X)

    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


# ── what is said beside the verdict ──────────────────────────────────────────────────────────────
def test_a_piece_that_no_element_took_is_told() -> None:
    """Far from where any input goes: nobody knows whether that piece's gradient is right."""
    far = function(
        lambda x: torch.where(x > 1e3, x**3, x), lambda g, x: torch.where(x > 1e3, 2 * g * x, g),
        "Far",
    )  # fmt: skip

    report = compare.mirror(Between(lambda x, w: far.apply(x)), X)

    assert report.verdict == "agree"
    assert "In Far, where took one and the same piece at every element" in " ".join(report.notes)


def test_both_pieces_taken_are_nothing_to_tell() -> None:
    report = compare.mirror(Between(RIGHT["two pieces"]), X)

    assert "one and the same piece" not in " ".join(report.notes)


def test_what_is_refused_elsewhere_is_told_and_no_evidence() -> None:
    report = compare.mirror(Between(RIGHT["needs contiguous memory"]), X)

    assert "FlatGrad.backward" in " ".join(report.notes)
    assert "no evidence" in " ".join(report.notes)


def test_the_shell_does_not_end_with_zero(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from handgrad.cli import app

    own = "from tests.compare.mirror.test_elsewhere import *"
    (tmp_path / "model.py").write_text(f"{own}\nmodel = Between(WRONG['a square of one'][0]), X")

    found = CliRunner().invoke(app, ["mirror", f"{tmp_path}/model.py:model", "--no-report"])

    assert found.exit_code == 1
    assert "Squared.backward wrong on other inputs" in found.stdout


# ── other numbers of the same kind ───────────────────────────────────────────────────────────────
def test_what_may_be_bound_together_is_not_moved() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4, 3))
    bound = {
        "probabilities": np.exp(a) / np.exp(a).sum(-1, keepdims=True),
        "directions": a / np.linalg.norm(a, axis=-1, keepdims=True),
        "centred": a - a.mean(-1, keepdims=True),
        "of one norm": 3 * a / np.linalg.norm(a, axis=-1, keepdims=True),
        "a rotation": np.linalg.qr(a)[0],
        "labels": np.array([0.0, 2.0, 1.0]),
    }

    for name, array in bound.items():
        assert is_bound(array), name
        assert moved(array) is array, name
    assert not is_bound(a)
    assert not is_ordered(a)
    square = rng.standard_normal((4, 4))
    for array in (np.sort(a, axis=0), square + square.T, np.tril(square), *bound.values()):
        assert is_ordered(array)
    assert np.array_equal(moved(a), 4 * a)
    assert np.ptp(moved(np.ones(5))) > 0
    assert moved(np.ones(5)).max() <= 1  # a probability of 1 stays one
