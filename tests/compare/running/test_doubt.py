"""Kinks inside a layer: rounding may decide there, and nobody sees what torch decided."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compare.description.config import Config, load
from compare.gauge import Doubts, Gauge, doubting, gauging, parts
from compare.judge.quantities import Values
from compare.pair.manual_side import ManualSide
from compare.running.alone import Moment
from compare.running.doubt import deciding_inside, in_doubt, pieces
from compare.running.experiment import prepare
from compare.running.lockstep import Lockstep, Step
from compare.running.moment import gauge_values
from manual.recurrent.rnn_cell import ReluUnit

RNN = {"type": "RNN", "input_size": 32, "hidden_size": 8, "nonlinearity": "relu",
       "batch_first": True}  # fmt: skip


def lockstep(dtype: str) -> Lockstep:
    """Two steps of time through a rectified RNN, whose unit 0 cancels to 0; ReLUs around it."""
    tables: dict[str, Any] = load("digits", {"train.dtype": dtype}).as_dict()
    tables["layers"] = [
        {"type": "ReLU"}, {"type": "Unflatten", "dim": 1, "unflattened_size": [2, 32]}, RNN,
        {"type": "ReLU"}, {"type": "Flatten"},
        {"type": "Linear", "in_features": 16, "out_features": 10},
    ]  # fmt: skip
    experiment = prepare(Config.model_validate(tables))
    experiment.features[:, :2] = experiment.features[:, 32:34] = 0.7
    for weight in experiment.weights.values():
        if weight.shape[-1] in (8, 32):
            weight[0] = 0
    experiment.weights["2.weight_ih_l0"][0, :2] = [0.3, -0.3]
    for bias in ("2.bias_ih_l0", "2.bias_hh_l0"):
        experiment.weights[bias][0] = 0
    return Lockstep(experiment)


def nudged(dtype: str, nudge: float, slope: float = 1.0) -> tuple[Lockstep, Step]:
    """Run one step in which unit 0 is nudged on the manual side, the rectifiers having a slope."""
    run = lockstep(dtype)
    forward, backward = ReluUnit.forward, ReluUnit.backward

    def forwards(self: ReluUnit, from_x: Any, from_h: Any, states: Any) -> Any:
        from_x = from_x + 0  # a copy
        from_x[0] = from_x[0] + nudge
        return forward(self, from_x, from_h, states)

    def backwards(self: ReluUnit, dstates: Any, step: Any) -> Any:
        return backward(self, tuple(slope * d for d in dstates), step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReluUnit, "forward", forwards)
        patch.setattr(ReluUnit, "backward", backwards)
        return run, run.step(0, np.arange(16))


@pytest.mark.parametrize(("dtype", "nudge"), [("float64", 1e-17), ("float32", 1e-9)])
def test_either_answer_is_allowed_where_rounding_decides_inside_a_layer(
    dtype: str, nudge: float
) -> None:
    run, step = nudged(dtype, nudge)

    assert not step.rows.bad.size
    assert run.doubted == [2 * 16]
    assert "(32 at most)" in run.notes()[0]


@pytest.mark.parametrize("slope", [0.0, 0.99])
def test_what_answers_in_doubt_cannot_explain_is_a_disagreement(slope: float) -> None:
    _, step = nudged("float64", 1e-17, slope)

    assert step.rows.keys[step.rows.bad[0]].layer.startswith("2")


def test_where_nothing_is_in_doubt_no_tolerance_is_widened() -> None:
    run = lockstep("float64")
    step = run.step(0, np.arange(16))
    start = run.start
    assert start is not None

    def gauged(side: ManualSide) -> Values:
        return gauge_values(side, start, run.dtype)

    found = in_doubt(run.experiment.manual, ("0",), gauged, step.tolerances, run.dtype, 256.0)

    assert found[0] is step.tolerances
    assert found[1] == 0


def test_only_layers_that_decide_on_numbers_of_their_own_are_in_doubt() -> None:
    run = lockstep("float64")
    step = run.step(0, np.arange(16))
    assert run.start is not None
    moment = Moment.of(run.experiment, run.start, step)

    assert pieces(run.experiment.manual) == ("0", "2", "3")
    assert deciding_inside(moment, np.dtype("float64")) == ("2",)


def test_a_unit_far_from_its_kink_is_in_no_doubt() -> None:
    """What the rectifier leaves is 0, and exactly so: it is not compared with 0 within an error."""
    found, doubts = Gauge(np.array([-1e-9, -1e-20]), np.array([1.0, 1.0])), Doubts(1.0)

    with gauging(np.dtype("float64")), doubting(doubts):
        assert parts(np.maximum(found, 0) > 0)[0].tolist() == [0, 0]

    assert doubts.count == 1
