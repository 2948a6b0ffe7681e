"""What no training step asks is compared once: other upstreams, evaluation, schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compare
import manual
from manual.schedules import Cosine, Step

DROPOUT = {
    "name": "dropout",
    "data": {"dataset": "digits"},
    "layers": [
        {"name": "0", "type": "Linear", "in_features": 64, "out_features": 8},
        {"name": "1", "type": "Dropout"},
        {"name": "2", "type": "Linear", "in_features": 8, "out_features": 10},
    ],
    "loss": {"type": "CrossEntropyLoss"},
    "optimizer": {"type": "SGD", "lr": 0.1},
    "train": {"steps": 2, "batch_size": 16},
}


def ran(**optimizer: Any) -> Any:
    described = {**DROPOUT, "optimizer": {**DROPOUT["optimizer"], **optimizer}}  # type: ignore[dict-item]
    return compare.run(compare.Config.model_validate(described))


def bad(report: Any) -> set[tuple[str, str]]:
    rows = report.differences.query("verdict not in ['agree', 'vacuous']")
    return set(zip(rows["layer"], rows["quantity"], strict=True))


def test_everything_that_is_asked_once_agrees_and_is_listed() -> None:
    report = ran(schedule={"type": "Cosine", "total_steps": 5})
    asked = report.differences.query("quantity.str.contains('evaluation|other|lr')")

    assert report.verdict == "agree"
    assert set(zip(asked["layer"], asked["quantity"], strict=True)) == {
        ("loss", "other upstream:grad_input#0"),
        ("1", "evaluation:output"), ("1", "evaluation:grad_input#0"),
        ("schedule", "lr"),
    }  # fmt: skip


def test_a_loss_that_ignores_its_upstream_gradient_is_found(monkeypatch: Any) -> None:
    right = manual.CrossEntropyLoss.backward
    monkeypatch.setattr(
        manual.CrossEntropyLoss, "backward",
        lambda self, upstream, cache: right(self, np.ones_like(upstream), cache),
    )  # fmt: skip

    report = ran()

    assert report.verdict == "disagree"
    assert bad(report) == {("loss", "other upstream:grad_input#0")}
    assert "upstream" in report.first_divergence.explanation
    assert report.first_divergence.layer_type == "CrossEntropyLoss"


def test_a_dropout_that_scales_in_evaluation_is_found(monkeypatch: Any) -> None:
    right = manual.Dropout.forward

    def scaled(self: Any, x: Any, *, noise: Any = None) -> Any:
        return right(self, x if self.training else 0.5 * x, noise=noise)

    monkeypatch.setattr(manual.Dropout, "forward", scaled)

    report = ran()

    assert bad(report) == {("1", "evaluation:output")}
    assert "in evaluation" in report.first_divergence.explanation


@pytest.mark.parametrize(
    ("schedule", "described"),
    [(Cosine, {"type": "Cosine", "total_steps": 5}), (Step, {"type": "Step", "step_size": 1})],
)
def test_a_schedule_that_stays_at_one_is_found(
    schedule: Any, described: dict, monkeypatch: Any
) -> None:
    monkeypatch.setattr(schedule, "factor", lambda self, step: 1.0)

    report = ran(schedule=described)

    assert bad(report) == {("schedule", "lr")}
    assert report.first_divergence.layer == "schedule"


def test_what_raises_only_in_evaluation_is_missing(monkeypatch: Any) -> None:
    right = manual.Dropout.forward

    def failing(self: Any, x: Any, *, noise: Any = None) -> Any:
        assert self.training
        return right(self, x, noise=noise)

    monkeypatch.setattr(manual.Dropout, "forward", failing)

    assert bad(ran()) == {("1", "evaluation:output"), ("1", "evaluation:grad_input#0")}
