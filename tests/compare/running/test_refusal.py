"""Torch raises in the middle of a run: what was compared is kept, and the reason told."""

from __future__ import annotations

from typing import Any

import pytest

import compare
from compare.errors import UserError

OVERFLOWING: dict[str, Any] = {
    "name": "overflow",
    "data": {"dataset": "students"},
    "layers": [
        {"type": "Linear", "in_features": 2, "out_features": 8},
        {"type": "Softplus"},
        {"type": "Linear", "in_features": 8, "out_features": 1},
        {"type": "Sigmoid"},
    ],
    "loss": {"type": "BCELoss"},
    "optimizer": {"type": "SGD", "lr": 1e308, "momentum": 0.9},
    "train": {"steps": 8, "batch_size": 4},
}


def test_nan_that_reaches_a_loss_which_refuses_it_ends_a_free_run_incomplete(tmp_path) -> None:
    config = compare.Config.model_validate(OVERFLOWING)
    report = compare.run(config, mode="free")

    assert report.verdict == "incomplete"
    assert "should be between 0 and 1" in report.reason
    assert "after 1 of 8 steps" in report.reason
    report.save(tmp_path / "r")


def test_what_follows_from_torchs_own_infinity_accuses_nobody() -> None:
    report = compare.run(compare.Config.model_validate(OVERFLOWING))

    assert report.verdict == "incomplete"
    assert "overflowed or diverged" in report.reason


def test_a_rate_beyond_the_dtypes_range_is_told() -> None:
    with pytest.raises(UserError, match=r"Torch cannot do the first step.*range of float32"):
        compare.run("three-rows", steps=2, dtype="float32", optimizer__lr=1e75)


@pytest.mark.parametrize("change", [{"optimizer__lr": 1e308}, {"tolerance": [0, 0]}])
def test_a_report_is_drawn_however_far_the_numbers_go(change: dict, tmp_path) -> None:
    report = compare.run("breast-cancer", steps=3, optimizer__type="SGD", **change)

    assert (report.save(tmp_path / "r") / "report.html").exists()
