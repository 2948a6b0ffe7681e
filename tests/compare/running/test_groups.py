"""Parameter groups: settings of the optimiser for some parameters, on both sides."""

from __future__ import annotations

from typing import Any

import pytest

import compare
from compare.description.config import Config, load
from compare.errors import UserError
from compare.running.experiment import prepare
from compare.running.lockstep import Lockstep
from manual.optimizers.groups import Groups

GROUPS = [
    {"parameters": ["*bias"], "weight_decay": 0.0},
    {"parameters": ["0.*"], "weight_decay": 0.25, "betas": [0.8, 0.9]},
]


def described(groups: Any = GROUPS) -> Config:
    settings = {"type": "AdamW", "lr": 0.01, "weight_decay": 0.5, "groups": groups}
    return load("iris", {"optimizer": settings, "train.steps": 3})


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_groups_agree(dtype: str) -> None:
    report = compare.run(described(), dtype=dtype)

    assert report.verdict == "agree", report


def test_the_first_group_that_names_a_parameter_has_it() -> None:
    optimizer = prepare(described()).manual.optimizer

    found = {
        name: optimizer.rule_for(name).weight_decay for name in ("0.bias", "0.weight", "2.weight")
    }
    assert found == {"0.bias": 0.0, "0.weight": 0.25, "2.weight": 0.5}


def test_a_side_without_its_groups_is_found() -> None:
    experiment = prepare(described())
    optimizer = experiment.manual.optimizer
    assert isinstance(optimizer, Groups)
    object.__setattr__(
        experiment, "manual", experiment.manual._replace(optimizer=optimizer.rule_for(""))
    )

    step = Lockstep(experiment).step(0, next(experiment.batches()))

    bad = {step.rows.keys[i] for i in step.rows.bad}
    assert ("0", "param:bias") in bad
    assert ("2", "param:weight") not in bad  # of no group


def test_a_wrong_update_in_a_group_is_explained_by_its_own_settings() -> None:
    report = compare.run(described(), plant="0.bias*=1.001", drift=False)

    assert report.verdict == "disagree"
    assert report.cause is not None
    assert report.cause.kind == "constant factor"
    worked = str(compare.explain(described(), node="0", quantity="param:bias"))
    assert "0.01·0)" in worked  # η λ of its group


@pytest.mark.parametrize(
    ("group", "told"),
    [
        ({"parameters": ["nothing*"]}, "applies to nothing\\*, which names no parameter"),
        ({"parameters": ["*bias"], "lr": 0.1}, "table 1, key 'lr': it is the same for all groups"),
        ({"parameters": ["*bias"], "momentum": 0.1}, "table 1, key 'momentum'"),
        ({"weight_decay": 0.1}, r"\[\[optimizer.groups\]\] table 1, key 'parameters'"),
    ],
)
def test_a_mistake_in_a_group_is_told(group: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        prepare(described([group]))
