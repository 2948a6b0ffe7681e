"""What `handgrad bench` prints: rows of both sides' times, whatever they are on this machine."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from handgrad.cli import app


def _rows(*options: str) -> Any:
    done = CliRunner().invoke(app, ["bench", "--rounds", "1", "--json", *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["ReLU6", "Adamax"])
def test_a_class_is_timed_beside_torchs_in_both_dtypes(name: str) -> None:
    rows = _rows("--layers", "--only", name)
    assert [(row["class"], row["dtype"]) for row in rows] == [(name, "float64"), (name, "float32")]
    assert all(row["manual_ms"] > 0 and row["torch_ms"] > 0 and row["ratio"] > 0 for row in rows)


def test_a_network_is_timed_compared_and_gauged() -> None:
    rows = _rows("--only", "3-4-4-2")
    assert [row["dtype"] for row in rows] == ["float32", "float64"]
    assert all(row["compare_overhead"] > 0 and row["gauge_overhead"] > 0 for row in rows)


def test_a_name_that_nothing_has_is_refused() -> None:
    from compare.errors import UserError

    done = CliRunner().invoke(app, ["bench", "--layers", "--only", "LBFGS"])
    assert isinstance(done.exception, UserError)
    assert "'LBFGS'" in str(done.exception)
