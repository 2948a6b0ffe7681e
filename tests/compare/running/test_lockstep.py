"""The lockstep run: correct networks agree in both dtypes, by tolerances that mean something."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import compare
from compare.description.config import load
from compare.errors import UserError
from compare.judge.judge import VERDICTS, judge
from compare.judge.quantities import Key, expected
from compare.report.report import Report
from compare.running.experiment import prepare
from compare.running.lockstep import Lockstep
from manual.linear import Linear

Run = Callable[..., Report]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_digits_agree_with_a_small_part_of_the_budget(run: Run, dtype: str) -> None:
    report = run("digits", steps=12, dtype=dtype, drift=False)

    assert report.verdict == "agree"
    assert report.differences["budget_used"].max() < 0.25
    assert report.first_divergence is None
    report.assert_agrees()


def test_every_element_of_every_tensor_is_compared_exactly_once(run: Run) -> None:
    report = run("digits", steps=12, drift=False)
    rows, ledger = report.differences, report.ledger.set_index("quantity")
    parameters = 64 * 64 + 64 + 64 * 32 + 32 + 32 * 10 + 10

    assert not rows.duplicated(["step", "layer", "quantity"]).any()
    assert (ledger["elements"] == ledger["expected_elements"]).all()
    for quantity in ("grad", "param", "state"):
        assert ledger.loc[quantity, "elements"] == 12 * parameters
    assert ledger.loc["loss", "elements"] == 12
    assert ledger.loc["grad_input", "elements"] == 12 * 64 * 64


def test_the_table_is_in_execution_order(run: Run) -> None:
    first = run("digits", steps=12, drift=False).differences.query("step == 0")
    places = list(zip(first["layer"], first["quantity"], strict=True))

    assert places.index(("0", "output")) < places.index(("4", "output"))
    assert places.index(("4", "output")) < places.index(("loss", "loss"))
    assert places.index(("4", "grad_output")) < places.index(("0", "grad_output"))
    assert places.index(("0", "grad:weight")) < places.index(("0", "param:weight"))


def test_what_is_expected_follows_from_the_description_not_from_what_sides_return() -> None:
    keys = expected(
        prepare(load("residual")).manual.graph.nodes, ["stem.weight"], [], inputs=("input",)
    )
    rows = judge(keys, {}, {}, {})

    assert Key("stem", "grad:weight") in keys
    assert set(VERDICTS[rows.verdicts]) == {"missing"}


def test_screened_steps_agree_and_still_catch_a_mistake(run: Run) -> None:
    good = run("digits", steps=12, gauge_every=5, drift=False)
    bad = run("digits", steps=12, gauge_every=5, drift=False, plant="2.weight.grad*=1.00001")

    assert good.verdict == "agree"
    assert set(bad.differences.query("verdict == 'disagree'")["step"]) == set(range(12))


def test_the_same_seed_gives_the_same_table_byte_for_byte() -> None:
    one, two = (compare.run("digits", steps=3, drift=False).differences for _ in range(2))

    assert one.to_csv() == two.to_csv()
    assert one.to_csv() != compare.run("digits", steps=3, seed=1, drift=False).differences.to_csv()


def test_a_free_run_is_never_a_verdict_and_shows_drift(run: Run) -> None:
    report = run("digits", steps=12, mode="free")

    assert report.verdict == "incomplete"
    assert "diagnostic" in report.reason
    assert len(report.drift) == 12
    assert 0 < report.drift["max_param_diff"].iloc[-1] < 1e-12


def test_a_mistake_in_the_first_step_of_a_free_run_is_a_disagreement(run: Run) -> None:
    assert run("digits", steps=2, mode="free", plant="0.bias.grad=0").verdict == "disagree"


def test_a_tolerance_of_the_users_own_is_said_in_the_report(run: Run) -> None:
    loose = run("digits", steps=1, tolerance=(1e-1, 1e-1), plant="2.weight.grad*=1.01", drift=False)
    tight = run("digits", steps=1, tolerance=(0.0, 0.0), drift=False)

    assert loose.overridden
    assert "chosen by the user" in loose.tolerance
    assert tight.verdict == "disagree"


def test_a_tolerance_that_zeros_would_pass_is_vacuous_not_agreement(run: Run) -> None:
    report = run("digits", steps=1, tolerance=(0.0, 1e6), drift=False)

    assert set(report.differences["verdict"]) == {"vacuous"}
    assert report.verdict == "incomplete"
    assert "zeros would have passed" in report.reason


def test_two_dead_networks_do_not_agree() -> None:
    report = compare.run("digits", steps=1, drift=False, init__scheme="zeros")

    assert report.verdict == "incomplete"


def test_non_finite_values_on_both_sides_never_agree() -> None:
    report = compare.run("twenty-lines", steps=30, drift=False, optimizer__lr=1e3)
    found = report.first_divergence

    assert report.verdict == "incomplete"
    assert "non-finite" in set(report.differences["verdict"])
    assert found is not None


def test_dropout_shares_its_mask_with_torch() -> None:
    config = load("digits", {"train.steps": 3})
    tables = config.as_dict()
    tables["layers"].insert(2, {"type": "Dropout", "p": 0.4})
    for layer in tables["layers"]:
        layer.pop("name", None)
        layer.pop("inputs", None)
    report = compare.run(type(config).model_validate(tables))

    assert report.verdict == "agree"
    dropped = report.differences.query("layer == '2' and quantity == 'output'")
    assert (dropped["norm"] > 0).all()


def test_integer_data_and_power_of_two_rates_agree_bitwise(run: Run) -> None:
    """The exact tier: every number is an integer or a dyadic fraction, so nothing rounds."""
    config = load("three-rows", {"train.steps": 1, "optimizer.lr": 0.5})
    tables = config.as_dict()
    for layer in tables["layers"]:
        if layer["type"] == "Sigmoid":
            layer["type"] = "ReLU"
    tables["init"] = {"scheme": "constant", "value": 1.0, "bias": 1.0}
    report = compare.run(type(config).model_validate(tables), drift=False)

    assert report.differences["max_abs_diff"].max() == 0
    assert report.verdict in ("agree", "incomplete")


def test_an_element_that_rounding_may_take_anywhere_does_not_screen_the_others() -> None:
    lockstep = Lockstep(prepare(load("three-rows")))
    key = Key("0", "grad:weight")
    lockstep.tolerances = {key: np.array([3e-9, np.inf, 4e-9])}

    assert lockstep._screen()[key] == pytest.approx(12.5e-18**0.5)


def test_elements_of_which_nothing_is_said_are_counted_in_a_note(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An infinite error, as where a square root meets 0 in a gauge that knows no better."""
    plain = Linear.forward

    def steep(self, x):
        if isinstance(x, np.ndarray) or x.shape[-1] != 3:
            return plain(self, x)
        y, cache = plain(self, x)
        y._e2 = np.where(np.arange(y.size).reshape(y.shape) == 0, np.inf, y.e2)
        return y, cache

    assert not run("three-rows", steps=1).notes
    monkeypatch.setattr(Linear, "forward", steep)
    report = compare.run("three-rows", steps=1)

    assert "nothing is said: rounding may take them anywhere (" in report.notes[0]


def test_an_update_that_nothing_would_have_missed_is_vacuous() -> None:
    report = compare.run(
        "digits", steps=2, drift=False, dtype="float32", optimizer__lr=1e-12, init__scheme="normal"
    )

    assert report.verdict == "incomplete"
    assert "no update at all" in report.reason


def test_equal_zeros_use_nothing_of_a_relative_tolerance(run: Run) -> None:
    report = run("digits", steps=1, tolerance=(1e-5, 0.0), drift=False)

    assert not (report.differences["verdict"] == "disagree").any()


def test_another_k_is_an_override() -> None:
    report = compare.run("three-rows", steps=2, drift=False, compare__k=1e9)

    assert report.overridden


def test_noise_around_zero_squared_keeps_a_budget() -> None:
    """Softmax over one row: its input gradient is zero but for rounding, and Adagrad squares it."""
    config = load("digits")
    tables = config.as_dict()
    tables["layers"] = [
        {"type": "Linear", "in_features": 64, "out_features": 8},
        {"type": "Softmax", "dim": 0},
        {"type": "Linear", "in_features": 8, "out_features": 10},
    ]
    tables["optimizer"] = {"type": "Adagrad", "lr": 0.01}
    tables["train"] = {"steps": 4, "batch_size": 16}
    report = compare.run(type(config).model_validate(tables), drift=False)

    assert not (report.differences["verdict"] == "disagree").any(), report


@pytest.mark.parametrize("scale", [1e120, 1e-120])
def test_values_whose_squares_leave_float64_are_gauged_in_extended_precision(scale: float) -> None:
    tables = load("three-rows").as_dict()
    tables["layers"] = [{"type": "Linear", "in_features": 3, "out_features": 2}]
    tables["optimizer"] = {"type": "SGD", "lr": 1e-3}
    experiment = prepare(type(load("three-rows")).model_validate(tables))
    experiment.features[:] *= scale
    rows = Lockstep(experiment).step(0, np.arange(1)).rows

    assert not rows.bad.size


def test_a_run_leaves_torchs_threads_and_generator_alone() -> None:
    import torch

    torch.manual_seed(5)
    threads, expected_draw = torch.get_num_threads(), torch.rand(1)
    torch.manual_seed(5)
    compare.run("three-rows", steps=1, drift=False, threads=1)

    assert torch.get_num_threads() == threads
    assert torch.rand(1) == expected_draw


def test_a_run_that_overflows_on_both_sides_accuses_no_formula() -> None:
    report = compare.run("digits", steps=3, drift=False, optimizer__lr=1e200)
    found = report.first_divergence

    assert report.verdict == "incomplete"
    assert "Torch's side holds NaN or infinity" in report.reason
    assert found is not None
    assert "diverged" in found.explanation
    assert found.own_or_inherited == "inherited"


def test_a_mistake_before_an_overflow_is_still_a_disagreement() -> None:
    planted = compare.run(
        "digits", steps=3, drift=False, optimizer__lr=1e200, plant="2.weight.grad*=1.01"
    )

    assert planted.verdict == "disagree"


def test_a_structural_zero_that_names_nothing_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"'2\.grad:wieght' matches no tensor.*2\.grad:weight"):
        compare.run("digits", steps=1, compare__structural_zeros=["2.grad:wieght"])
