"""What answers in doubt excuse has to be right by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compare.commands.runner import Runner
from compare.diagnose.excuses import examined
from compare.judge.judge import AGREE
from compare.judge.quantities import Key
from compare.report.report import Report
from compare.running.alone import Moment
from manual.recurrent.rnn import RNN
from manual.recurrent.rnn_cell import ReluUnit
from manual.shaping import Unflatten
from tests.compare.running.test_doubt import lockstep


def turned(
    monkeypatch: pytest.MonkeyPatch, dtype: str, change: Callable[[Any], Any] = lambda grads: grads
) -> Report:
    """Run a step; rounding turns unit 0 everywhere, and `change` is made to the RNN's gradients."""
    forward, backward = ReluUnit.forward, RNN.backward

    def nudged(self: ReluUnit, from_x: Any, from_h: Any, states: Any) -> Any:
        if from_x.dtype == np.dtype(dtype):
            from_x = from_x + 0  # a copy
            from_x[0] = from_x[0] + {"float64": 1e-17, "float32": 1e-7}[dtype]
        return forward(self, from_x, from_h, states)

    monkeypatch.setattr(ReluUnit, "forward", nudged)
    monkeypatch.setattr(
        RNN, "backward", lambda *a: (lambda g, own: (g, change(own)))(*backward(*a))
    )
    experiment = lockstep(dtype).experiment
    experiment.features[::2, [1, 33]] = 0.2  # there unit 0 is surely positive
    if dtype == "float32":  # -2e-8 instead of 0, which float64 is sure of
        weight = experiment.weights["2.weight_ih_l0"]
        weight[0, 1] = np.nextafter(weight[0, 1], np.float32(-1))
    return Runner(experiment, lambda *_: None).run()


@pytest.fixture(autouse=True)
def _one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = Runner._lockstep
    monkeypatch.setattr(Runner, "_lockstep", lambda self, _: compared(self, 1))
    monkeypatch.setattr(Runner, "_free", lambda self, _: None)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_answers_that_rounding_turned_are_excused(
    monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    report = turned(monkeypatch, dtype)

    assert not report.differences["verdict"].eq("disagree").any()
    assert any("rounding may turn comparisons" in note for note in report.notes)


@pytest.mark.parametrize("factor", [1.0, 1.1])
def test_a_mistake_in_the_layer_itself_is_not(
    monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    """Unit 0's gradient is in doubt, being a sum of what is certain and what is not."""

    def change(own: Any) -> Any:
        wrong = own["bias_hh_l0"] * 1
        wrong[0] = factor * wrong[0]
        return {**own, "bias_hh_l0": wrong}

    report = turned(monkeypatch, "float32", change)

    found = report.differences.query("verdict == 'disagree'")
    assert list(found["layer"] + "." + found["quantity"])[:1] == (
        [] if factor == 1 else ["2.grad:bias_hh_l0"]
    )
    assert found["budget_used"].gt(1).all()
    if factor != 1:
        assert report.first_divergence is not None
        assert report.first_divergence.own_or_inherited == "own"


def test_nor_is_one_in_another_layer_that_depends_on_its_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of all that disagrees, the gradient that comes out of the wrong layer is its own."""
    backward = Unflatten.backward
    monkeypatch.setattr(Unflatten, "backward", lambda *a: ((1.1 * backward(*a)[0][0],), {}))
    run = lockstep("float64")
    step = run.step(0, np.arange(16))
    agreeing = step.rows._replace(verdicts=np.full_like(step.rows.verdicts, AGREE))
    excused = step._replace(rows=agreeing, certain=step.rows)
    assert run.start is not None

    found = examined(Moment.of(run.experiment, run.start, step), excused)

    assert [found.keys[i] for i in found.bad] == [Key("0", "grad_output")]
    assert found.measures.budget[found.bad] > 1
