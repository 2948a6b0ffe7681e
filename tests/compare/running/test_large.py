"""Large parameters: the gauged update goes in blocks, and its arrays are let go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compare.description.config import load
from compare.judge.quantities import Key
from compare.running import large
from compare.running.experiment import prepare
from compare.running.lockstep import Lockstep, Step
from manual.optimizers import SGD
from tests.helpers import same

RULES: list[dict[str, Any]] = [
    {"type": "SGD", "lr": 0.1},
    {"type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
    {"type": "Adam", "amsgrad": True},
    {"type": "RMSprop", "centered": True, "momentum": 0.5},
]
WEIGHT = Key("0", "param:weight")


def steps(rule: dict[str, Any], count: int = 2) -> list[Step]:
    settings = {f"optimizer.{name}": value for name, value in rule.items()}
    run = Lockstep(prepare(load("digits", {"train.dtype": "float32", **settings})))
    found = []
    for number in range(count):
        step = run.step(number, np.arange(16))
        torch = {key: value.copy() for key, value in step.torch.items()}  # the next overwrites them
        found.append(step._replace(torch=torch))
        run.resynchronise()
    return found


def in_blocks(monkeypatch: pytest.MonkeyPatch, seen: list[bool] | None = None) -> None:
    """Let every array be a large one; note which parameters came out as in the plain run."""
    monkeypatch.setattr(large, "LARGE", 0)
    monkeypatch.setattr(large, "BLOCK", 7)
    judged = large.InBlocks._judged

    def noted(*args: Any) -> bool:
        found = judged(*args)
        if seen is not None:
            seen.append(found)
        return found

    monkeypatch.setattr(large.InBlocks, "_judged", noted)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "-".join(map(str, rule)))
def test_blocks_allow_what_the_whole_does(
    rule: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, seen = steps(rule), list[bool]()
    in_blocks(monkeypatch, seen)

    for one, other in zip(whole, steps(rule), strict=True):
        assert one.rows.keys == other.rows.keys
        assert (one.rows.verdicts == other.rows.verdicts).all()
        assert one.tolerances.keys() == other.tolerances.keys()
        for key, tolerance in one.tolerances.items():
            assert same(tolerance, other.tolerances[key]), key
    assert all(seen)
    assert len(seen) >= 2 * len([key for key in whole[0].rows.keys if "param" in key.quantity])


def test_a_wrong_update_in_blocks_disagrees(monkeypatch: pytest.MonkeyPatch) -> None:
    right = SGD.update

    def wrong(self: SGD, param: Any, grad: Any, state: Any, lr: float) -> Any:
        found, state = right(self, param, grad, state, lr)
        return found + param * 1e-4, state

    in_blocks(monkeypatch)
    monkeypatch.setattr(SGD, "update", wrong)

    rows = steps(RULES[0], 1)[0].rows
    assert WEIGHT in [rows.keys[i] for i in rows.bad]


def test_a_rule_that_looks_at_the_whole_parameter_is_gauged_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right, seen = SGD.update, list[bool]()

    def by_largest(self: SGD, param: Any, grad: Any, state: Any, lr: float) -> Any:
        return right(self, param, grad * np.max(np.abs(grad)), state, lr)

    monkeypatch.setattr(SGD, "update", by_largest)
    whole = steps(RULES[0], 1)[0]
    in_blocks(monkeypatch, seen)
    cut = steps(RULES[0], 1)[0]

    assert not all(seen)
    assert same(whole.tolerances[WEIGHT], cut.tolerances[WEIGHT])
    assert (whole.rows.verdicts == cut.rows.verdicts).all()
