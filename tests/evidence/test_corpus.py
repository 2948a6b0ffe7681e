"""Torch's samples find what is wrong in a class; the written exceptions are those that occur."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import manual
from handgrad.cli import app

pytest.importorskip("expecttest", reason="torch's tables need it")

from evidence.corpus.count import Row, rows
from evidence.corpus.table import counts, score, told
from manual import registry

pytestmark = pytest.mark.filterwarnings("ignore")


def counted(name: str, cls: Any, monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    monkeypatch.setattr(registry, "find", lambda _: cls)
    return list(rows(name))


class Wrong(manual.GELU):
    """A gradient 0.1 % too large."""

    def backward(self, grad_output: Any, cache: Any) -> Any:
        (dx,), own = super().backward(grad_output, cache)
        return (1.001 * dx,), own


class Wider(manual.GELU):
    """Float64 for float32, or longdouble for float64."""

    def forward(self, x: Any) -> Any:
        y, cache = super().forward(x)
        return (y.astype(np.longdouble) if isinstance(y, np.ndarray) else y), cache


class Lacking(manual.BatchNorm2d):
    """Running statistics that do not move."""

    def next_buffers(self, cache: Any) -> Any:
        return self.buffers


class Raising(manual.GELU):
    def forward(self, x: Any) -> Any:
        raise ArithmeticError("never")


class Accepting(manual.Embedding):
    """Whatever torch refuses."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().__init__(*args, **kwargs)
        except ValueError:
            super().__init__(3, 2)


class Unweighted(manual.BCELoss):
    """Weights that are given, and count for nothing."""

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(None, reduction)


@pytest.mark.parametrize(
    ("name", "cls", "status"),
    [
        ("BCELoss", Unweighted, "disagree"),
        ("GELU", Wrong, "disagree"),
        ("GELU", Wider, "disagree"),
        ("BatchNorm2d", Lacking, "disagree"),
        ("GELU", Raising, "raised"),
        ("Embedding", Accepting, "accepted"),
    ],
)
def test_a_planted_mistake_is_found(
    name: str, cls: Any, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = {row.status for row in counted(name, getattr(manual, name), monkeypatch)}
    wrong = {row.status for row in counted(name, cls, monkeypatch)}

    assert status not in right
    assert status in wrong


def test_a_class_that_is_not_written_agrees_nowhere() -> None:
    found = [Row("ReLU", "module_db", str(i), "agree") for i in range(3)]

    assert list(rows("no such class")) == []
    assert score(counts(found), ["ReLU", "Other"])["macro"] == 0.5


def test_zeros_where_zeros_would_pass_are_no_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing(manual.ReLU):
        """Zeros, whatever comes."""

        def forward(self, x: Any) -> Any:
            y, cache = super().forward(x)
            return 0 * y, cache

        def backward(self, grad_output: Any, cache: Any) -> Any:
            (dx,), own = super().backward(grad_output, cache)
            return (0 * dx,), own

    right = {row.sample: row.status for row in rows("ReLU")}
    wrong = {row.sample: row.status for row in counted("ReLU", Nothing, monkeypatch)}

    assert set(right.values()) == {"agree", "vacuous"}
    assert {wrong[s] for s, status in right.items() if status == "agree"} == {"disagree"}
    assert {wrong[s] for s, status in right.items() if status == "vacuous"} == {"vacuous"}


def test_what_is_excepted_or_can_show_nothing_is_no_agreement() -> None:
    statuses = ("agree", "excepted", "empty", "vacuous")
    found = [Row("ReLU", "op_db", s, s) for s in statuses]

    summary = score(counts(found), ["ReLU"])

    assert summary["macro"] == 0.5
    assert [row.status for row in told(found)] == ["excepted"]


def test_the_command_prints_counts_and_says_what_is_not_written() -> None:
    done = CliRunner().invoke(app, ["corpus", "Tanh", "SiLU", "--json", "--jobs", "1"])

    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert {row["module"] for row in found["rows"]} == {"Tanh", "SiLU"}
    assert found["summary"]["macro"] == 1.0
    assert found["summary"]["agree"] > 10
