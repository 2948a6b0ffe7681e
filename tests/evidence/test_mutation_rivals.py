"""Common tolerances on the same mutants: what each would have caught, and at what price."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from typer.testing import CliRunner

from evidence.false_alarms.rules import GAUGE, Rule
from evidence.mutation import rivals as asking
from evidence.mutation import survey as surveying
from evidence.mutation.battery import Check, battery
from evidence.mutation.rivals import NAMES, Rivals, caught, rivals, table
from evidence.mutation.run import DTYPES
from evidence.mutation.survey import survey
from handgrad.cli import app

JOINS = ["joins"]
FEW = ("Add", "Multiply", "Concatenate", "Sigmoid")


@cache
def few() -> list[Check]:
    return [c for c in battery() if any(name in c.name for name in FEW)]


@pytest.fixture(autouse=True)
def _few_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave those checks of the battery that these modules and tests are about."""
    monkeypatch.setattr(surveying, "battery", few)


@cache
def of_joins() -> Rivals:
    return rivals(JOINS, jobs=1)


def test_the_harness_catches_all_and_accepts_all_that_is_right() -> None:
    harness, *_ = of_joins().rows()

    assert harness["rule"] == "gauge"
    assert harness["caught"] == harness["mistakes"] > 20
    assert harness["right_code_rejected"] == 0 < harness["checks"]


def test_a_rule_that_is_never_content_shows_up_in_the_last_column(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tight = Rule("tight", lambda manual, torch, tolerance: -1.0)
    monkeypatch.setattr(asking, "RULES", (GAUGE, tight))
    monkeypatch.setattr(asking, "NAMES", ("gauge", "tight"))

    harness, never = rivals(JOINS, jobs=1).rows()

    assert harness["right_code_rejected"] == 0
    assert never["right_code_rejected"] == never["checks"]
    assert never["caught"] == never["mistakes"]


def test_a_rule_is_asked_about_the_numbers_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = next(u for u in survey(DTYPES, 0).units if "Sigmoid" in u.check.name)
    right = caught(unit, 0)
    values = type(unit.check).values

    def off(self, lift, dtype, seed):
        return {k: v * (1 + 1e-6) for k, v in values(self, lift, dtype, seed).items()}

    monkeypatch.setattr(type(unit.check), "values", off)
    wrong = dict(zip(NAMES, caught(unit, 0), strict=True))

    assert not right[0]
    assert unit.dtype == np.float64
    assert wrong["gauge"]
    assert wrong["CS231n"]
    assert not wrong["gradcheck"]


def test_the_command_prints_a_row_per_rule() -> None:
    asked = ["mutate", *JOINS, "--only", "factor", "--rules", "--jobs", "1", "--json"]
    result = CliRunner().invoke(app, asked)

    assert result.exit_code == 0
    assert [row["rule"] for row in json.loads(result.stdout)] == list(NAMES)
    assert table(of_joins()).count("\n") == len(NAMES)


def test_what_never_ends_is_caught_by_every_rule_and_asked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unit = next(u for u in survey(DTYPES, 0).units if "Sigmoid" in u.check.name)
    calls = []

    def endless(self, lift, dtype, seed):
        calls.append(1)
        raise TimeoutError

    monkeypatch.setattr(type(unit.check), "values", endless)

    assert caught(unit, 0).all()
    assert len(calls) == 1
