"""Runs whose torch side computes in float16 or bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compare
from compare.description.config import Config
from compare.errors import UserError
from compare.running import half, meeting
from compare.running.experiment import prepare
from compare.running.half import FOUND, SCALE, lockstep_of
from manual.graph import Arrays
from manual.scaling import LossScaler

HALVES = ("float16", "bfloat16")
NETWORK: dict[str, Any] = {
    "data": {"dataset": "digits", "limit": 64},
    "layers": [
        {"type": "Linear", "in_features": 64, "out_features": 16},
        {"type": "Tanh"},
        {"type": "LayerNorm", "normalized_shape": [16]},
        {"type": "Linear", "in_features": 16, "out_features": 10},
    ],
    "train": {"steps": 2, "batch_size": 16},
    "optimizer": {"type": "SGD", "lr": 0.5, "momentum": 0.9},
    "compare": {"drift": False},
}
SCALED = {"train__autocast": True, "train__scaler": {"init_scale": 2.0**19, "growth_interval": 2}}


def run(dtype: str, plant: str | None = None, **overrides: Any) -> Any:
    return compare.run(Config.model_validate(NETWORK), plant=plant, dtype=dtype, **overrides)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", HALVES)
def test_a_correct_network_agrees_and_nearly_all_of_it_is_checked(
    dtype: str, autocast: bool
) -> None:
    report = run(dtype, train__autocast=autocast)

    assert report.verdict == "agree", report.reason
    assert report.ledger["vacuous"].sum() <= 2
    assert f"error gauge of {dtype} with K = 4" in report.tolerance
    assert "check the formulas in float64" in report.notes[0]


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    ("mistake", "where"),
    [
        ("0.weight.grad*=1.05", ("0", "grad:weight")),
        ("2.weight.grad=0", ("2", "grad:weight")),
        ("1.grad_input*=-1", ("1", "grad_input")),
        ("loss.grad_input*=1.05", ("loss", "grad_input")),
        ("3.output*=1.05", ("3", "output")),
        ("3.weight*=1.05", ("3", "param:weight")),
    ],
)
def test_a_planted_mistake_is_rejected_where_it_is(
    dtype: str, autocast: bool, mistake: str, where: tuple[str, str]
) -> None:
    report = run(dtype, mistake, train__autocast=autocast, steps=1)

    assert report.verdict == "disagree"
    found = report.first_divergence
    assert (found.layer, found.quantity, found.own_or_inherited) == (*where, "own")


ENCODER = [
    {"type": "Unflatten", "dim": 1, "unflattened_size": [4, 16]},
    {"type": "TransformerEncoderLayer", "d_model": 16, "nhead": 2, "dim_feedforward": 32,
     "dropout": 0.0, "batch_first": True},
    {"type": "Flatten"},
    {"type": "Linear", "in_features": 64, "out_features": 10},
]  # fmt: skip


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("plant", [None, "1.norm2.bias.grad*=1.05"])
def test_the_pieces_of_a_composed_layer_add_up_as_they_do_alone(
    autocast: bool, plant: str | None
) -> None:
    """Torch adds up the gradients of LayerNorm's parameters row by row, in the half."""
    report = compare.run(
        _config(layers=ENCODER, data={"dataset": "digits", "limit": 256}), plant=plant,
        dtype="float16", train__autocast=autocast, train__batch_size=128, steps=1,
    )  # fmt: skip

    assert report.verdict == ("disagree" if plant else "agree"), report.reason


def test_a_transposed_gradient_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    from manual.linear import Linear

    right = Linear.grad_params

    def transposed(self: Linear, dy: Any, cache: Any) -> Arrays:
        grads = right(self, dy, cache)
        weight = grads["weight"]
        same = weight.shape[0] == weight.shape[1]
        return {**grads, "weight": weight.T.copy() if same else weight}

    monkeypatch.setattr(Linear, "grad_params", transposed)
    square = [{"type": "Linear", "in_features": 64, "out_features": 64}, *NETWORK["layers"]]
    for dtype in HALVES:
        report = compare.run(_config(layers=square), dtype=dtype, steps=1)

        assert report.first_divergence.layer == "0"


def _config(**tables: Any) -> Any:
    return Config.model_validate({**NETWORK, **tables})


def test_tolerances_are_as_large_as_the_format_needs_and_not_much_larger() -> None:
    """Tolerances follow the format: torch's own roundings use a good part of them."""
    for dtype in HALVES:
        used = run(dtype).differences["budget_used"]

        assert 0.1 < used.max() <= 1


def test_an_update_that_the_format_cannot_hold_is_vacuous() -> None:
    report = run("bfloat16", optimizer__lr=1e-3)

    assert report.verdict == "incomplete"
    assert "never really checked" in report.reason
    assert run("bfloat16", optimizer__lr=1e-3, train__autocast=True).verdict == "agree"


def test_what_autocast_leaves_in_float32_is_no_evidence_of_the_half() -> None:
    report = compare.run(_config(layers=[{"type": "Bias", "num_features": 64, "dim": -1}]),
                       dtype="float16", train__autocast=True, steps=1)  # fmt: skip

    assert report.verdict == "incomplete"
    assert "Nothing ran in float16" in report.reason
    assert "ran 4 of 5 pieces in bfloat16 (0, 1, 2, 3)" in " ".join(
        run("bfloat16", train__autocast=True, steps=1).notes
    )


def test_overflow_of_the_format_is_told_as_such_and_what_helps() -> None:
    report = run("float16", optimizer={"type": "Adam", "lr": 0.01})  # its eps of 1e-8 is 0

    assert report.verdict == "incomplete"
    assert "65,504" in report.reason
    assert "autocast = true" in report.reason
    assert run("float16", optimizer={"type": "Adam", "lr": 0.01}, train__autocast=True).agrees


def test_a_scaled_loss_overflows_backs_off_and_grows_as_torchs() -> None:
    report = run("float16", steps=9, **SCALED)

    assert report.verdict == "agree", report.reason
    assert "Gradients overflowed in" in report.notes[-1]
    scales = report.differences.query("layer == 'scaler' and quantity == 'scale'")["torch"]
    assert scales.min() < scales.iloc[0] < 2.0**19
    assert (scales.diff() > 0).any()


class GrowsTooEarly(LossScaler):
    def after(self, found_inf: bool) -> LossScaler:
        early = self._replace(growth_interval=self.growth_interval - 1)
        return LossScaler.after(early, found_inf)


class SeesNoOverflow(LossScaler):
    def unscale(self, grads: Any) -> tuple[Arrays, bool]:
        return LossScaler.unscale(self, grads)[0], False


class ScalesTwice(LossScaler):
    def upstream(self) -> float:
        return 2 * self.scale


class LeavesTheScale(LossScaler):
    def unscale(self, grads: Any) -> tuple[Arrays, bool]:
        return dict(grads), LossScaler.unscale(self, grads)[1]


class ClipsFirst(LossScaler):
    """As if the gradients were clipped, and unscaled after that."""

    def unscale(self, grads: Any) -> tuple[Arrays, bool]:
        from manual.clipping import clip_grad_norm

        clipped, _ = clip_grad_norm(grads, 0.1)
        return LossScaler.unscale(self, clipped)


@pytest.mark.parametrize(
    ("mistake", "quantity", "told"),
    [
        (GrowsTooEarly, "scale", "steps in a row without inf or NaN"),
        (SeesNoOverflow, "param:", "left this step out"),
        (ScalesTwice, "grad_input", "backward must start from the scale, 1024"),
        (LeavesTheScale, "param:", "unscaling"),
        (ClipsFirst, "param:", "clipping before unscaling"),
    ],
)
def test_a_mistake_in_scaling_the_loss_is_rejected_and_named(
    mistake: type, quantity: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half, "LossScaler", mistake)
    scaled = dict(SCALED)
    if mistake in (ScalesTwice, LeavesTheScale, ClipsFirst):  # a step that is taken
        scaled["train__scaler"] = {"init_scale": 1024.0}
    if mistake is ClipsFirst:
        scaled["optimizer__clip_norm"] = 0.1

    report = run("float16", steps=9, **scaled)

    assert report.verdict == "disagree"
    found = report.first_divergence
    assert found.quantity.startswith(quantity)
    assert found.own_or_inherited == "own"
    assert told in found.explanation


def test_a_step_that_should_be_left_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(self: Any, params: Any, grads: Any, states: Any, lr: Any = None) -> Any:
        found = original(self, params, grads, states, lr)
        if self.scaler is None or not self.found[FOUND]:
            return found
        return {k: p * 0.5 for k, p in params.items()}, states

    original = meeting.MetOptimizer.step
    monkeypatch.setattr(meeting.MetOptimizer, "step", taken)
    report = run("float16", steps=1, **SCALED)

    assert report.verdict == "disagree"
    assert report.first_divergence.quantity.startswith("param:")
    assert "left this step out" in report.first_divergence.explanation


def test_what_is_wrong_in_the_half_alone_is_not_blamed_on_the_hand_written_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A smaller K stands for a rounding that nobody knew of."""
    known = half.FORMATS["bfloat16"]
    monkeypatch.setitem(half.FORMATS, "bfloat16", known._replace(k=0.01))
    report = run("bfloat16", steps=1)

    assert report.verdict == "incomplete"
    assert "both sides agree in float64" in report.reason


def test_torch_decides_what_autocast_leaves_in_float32() -> None:
    experiment = prepare(_config(train={**NETWORK["train"], "dtype": "bfloat16", "autocast": True}))
    lockstep = lockstep_of(experiment)
    step = lockstep.step(0, np.arange(16))
    modules, in_half = experiment.torch.network.modules_by_node, experiment.torch.autocast.in_half

    assert {name for name, m in modules.items() if m in in_half} == {"0", "1", "2", "3"}
    assert experiment.torch.loss_module not in in_half
    assert SCALE not in step.torch


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"dtype": "float64", "train__autocast": True}, "for half precision"),
        ({"dtype": "float16", "train__scaler": True}, "float32 parameters alone"),
        ({"dtype": "float16", "torch_layers": ["all"]}, "nothing to replace"),
        ({"dtype": "float16", "train__scaler": {"foo": 1}, "train__autocast": True}, "foo"),
    ],
)
def test_what_cannot_be_run_is_refused(overrides: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        compare.run(_config(), **overrides)


def test_weights_beyond_float16_are_refused() -> None:
    init = {"scheme": "constant", "value": 1e6}

    with pytest.raises(UserError, match=r"float16 ends at 65,504, and '0.weight' holds 1e\+06"):
        compare.run(_config(init=init), dtype="float16")


def test_explaining_a_number_is_refused_in_half_precision() -> None:
    with pytest.raises(UserError, match="float64 or float32"):
        compare.explain("three-rows", dtype="bfloat16")
