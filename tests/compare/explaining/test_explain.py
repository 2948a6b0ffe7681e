"""One number explained: the right element, with arithmetic that holds, or an error that helps."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import compare
from compare.description.config import load
from compare.errors import UserError
from compare.explaining.rows import worked_rows
from compare.report.rendering.derivations import Derivation
from compare.report.rendering.html import report_html
from compare.running.experiment import prepare
from compare.running.lockstep import Lockstep
from handgrad.cli import app


def test_a_weight_gradient_is_a_sum_of_products_over_the_batch() -> None:
    found = compare.explain("digits", node="2", quantity="grad:weight", index=(6, 15))
    worked = found.worked

    assert worked.holds
    assert worked.agrees
    assert worked.total == pytest.approx(worked.manual, rel=1e-14)
    assert worked.formulas[0].plain == ("∂L/∂W[o,i] = Σ_n δ[n,o]·x[n,i]",)
    assert worked.arithmetic[0] == "∂L/∂W[6,15] = Σ_n δ[n,6]·x[n,15]"
    assert worked.arithmetic[1].endswith("(64 terms)")
    assert worked.grad_fn.startswith("AddmmBackward0 → ")
    assert worked.torch_module == "torch.nn.Linear(in_features=64, out_features=32, bias=True)"


def test_without_a_choice_the_worst_element_of_the_worst_row_is_explained() -> None:
    found = compare.explain("three-rows", plant="0.bias.grad=7")

    assert found.worked.layer == "0"
    assert found.worked.verdict == "disagree"
    assert found.chosen


def test_the_place_where_sum_and_value_part_is_the_planted_mistake() -> None:
    planted = {"config": "three-rows", "plant": "2.weight.grad*=1.01"}
    own = compare.explain(**planted, node="2", quantity="grad:weight")
    inherited = compare.explain(**planted, node="2", quantity="param:weight")

    assert own.worked.holds is False
    assert "The worked sum and the hand-written value differ" in str(own)
    assert inherited.worked.holds
    assert not inherited.worked.agrees
    assert "the numbers that went into it are wrong" in inherited.worked.finding


def test_later_steps_and_float32_are_explained_as_well() -> None:
    found = compare.explain("digits", step=2, node="2", quantity="param:weight", dtype="float32")

    assert found.worked.step == 2
    assert found.agrees
    assert "μ·bᵒˡᵈ[i]" in str(found)


def test_the_notebook_view_holds_equation_code_and_arithmetic() -> None:
    html = compare.explain("three-rows", node="0", quantity="grad:bias")._repr_html_()

    assert "<math" in html
    assert "Linear.grad_params" in html
    assert "<script" not in html


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"node": "9"}, "no node '9'"),
        ({"node": "0", "quantity": "grad:wieght"}, "Did you mean 'grad:weight'"),
        ({"node": "0", "quantity": "grad:weight", "index": (90, 0)}, "has shape"),
        ({"node": "0", "quantity": "grad:weight", "index": (1,)}, "one index per axis"),
        ({"node": "0", "quantity": "grad:weight", "index": (-1, 0)}, "one index per axis"),
        ({"node": "1", "quantity": "grad_input"}, "the grad_output of the node before it: '0'"),
        ({"step": 10**6}, "has the steps 0 to"),
        ({"step": -1}, "has the steps 0 to"),
    ],
)
def test_what_does_not_exist_is_told_with_what_does(arguments: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        compare.explain("three-rows", **arguments)


def test_the_command_prints_text_or_json_and_its_status_says_whether_all_is_well() -> None:
    run = CliRunner().invoke
    chosen = ["explain", "three-rows", "--node", "0", "--quantity", "grad:weight", "--index", "1,0"]
    text, data = run(app, chosen), run(app, [*chosen, "--json"])
    wrong = run(app, [*chosen, "--plant", "0.weight.grad*=2"])

    assert text.exit_code == data.exit_code == 0
    assert "Linear.grad_params" in text.output
    assert json.loads(data.output)["holds"] is True
    assert json.loads(data.output)["index"] == [1, 0]
    assert wrong.exit_code == 1


def test_an_index_that_is_no_numbers_is_refused() -> None:
    result = CliRunner().invoke(app, ["explain", "three-rows", "--index", "a,b"])

    assert isinstance(result.exception, UserError)


def test_a_layer_that_torch_computes_on_both_sides_has_arithmetic_and_no_lines() -> None:
    found = compare.explain("three-rows", node="2", quantity="output", torch_layers=("2",))

    assert found.worked.holds
    assert found.worked.by == "torch's Linear on both sides, node 2"
    assert found.worked.listings == ()


def test_an_element_at_a_kink_is_not_called_a_wrong_formula() -> None:
    worked = compare.explain("three-rows", node="0", quantity="output").worked
    parted = replace(worked, total=worked.manual + 1)

    assert "The formula and the hand-written value differ" in parted.finding
    assert "within rounding of the border" in replace(parted, kink=True).finding


# ── a tolerance larger than the number ───────────────────────────────────────────────────────────
@pytest.fixture
def noisy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hand-written sigmoid lose all its digits, which its error gauge knows."""
    from manual.activations import Sigmoid

    right = Sigmoid.forward

    def forward(self: Sigmoid, x: Any) -> Any:
        y, cache = right(self, x)
        return (y + 1e16) - 1e16, cache

    monkeypatch.setattr(Sigmoid, "forward", forward)


@pytest.mark.usefixtures("noisy")
def test_where_zeros_would_pass_too_another_value_than_the_formula_s_is_no_ok() -> None:
    found = compare.explain("three-rows", node="1", quantity="output")

    assert found.worked.verdict == "vacuous"
    assert found.worked.manual != pytest.approx(found.worked.total, rel=0.01)
    assert found.worked.holds is None
    assert not found.agrees
    assert "zeros would pass too" in found.worked.finding
    assert "Nothing is concluded" in str(found)
    assert found.as_dict()["holds"] is None


@pytest.mark.usefixtures("noisy")
def test_the_command_then_exits_as_for_a_disagreement_and_the_report_does_not_praise_it() -> None:
    chosen = ["explain", "three-rows", "--node", "1", "--quantity", "output"]
    found = compare.explain("three-rows", node="1", quantity="output")

    assert CliRunner().invoke(app, chosen).exit_code == 1
    assert Derivation("d", found.worked).tone == "muted"
    report = compare.run("three-rows", steps=1, drift=False)
    assert "not concluded</span>" in report_html(report, [])


@pytest.mark.usefixtures("noisy")
def test_torchs_agreement_within_such_a_tolerance_says_nothing_either() -> None:
    worked = compare.explain("three-rows", node="1", quantity="output").worked
    right = replace(worked, manual=worked.total, torch=worked.total + 0.1)

    assert right.holds is True
    assert not right.settled
    assert "says nothing" in right.finding
    assert Derivation("d", right).tone == "muted"
    assert replace(right, torch=worked.total).settled


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("preset", ["three-rows", "wine", "digits", "residual", "twenty-lines"])
def test_the_worst_element_of_every_row_of_correct_code_holds_at_the_first_steps(
    preset: str, dtype: str
) -> None:
    experiment = prepare(load(preset, {"train.dtype": dtype}))
    lockstep = Lockstep(experiment)
    with np.errstate(all="ignore"):
        for number, batch in zip(range(2), experiment.batches(), strict=False):
            step = lockstep.step(number, batch)
            found = worked_rows(experiment, lockstep, step)
            lockstep.resynchronise()

            assert [w.finding for w in found if w.holds is not True or not w.settled] == []


def test_rounding_within_a_formula_is_that_of_its_operations_and_numbers() -> None:
    worked = compare.explain("three-rows", node="0", quantity="grad:weight", dtype="float32").worked
    blind = compare.explain(
        "three-rows", node="0", quantity="grad:weight", dtype="float32", **{"compare.k": 1e9}
    ).worked

    assert np.isnan(worked.local)
    assert blind.local == pytest.approx(1e9 * 2.0**-24 * abs(blind.total) * 8, rel=0.9)
