"""The example on gradients through time shows what it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[1] / "examples/through_time.py"


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("through_time", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def left(example: Any, cell: str, how: str) -> float:
    """Return the first step's share of the last step's gradient, in rows of 30."""
    run = example.experiment(cell, 30)
    norms = example.through_time(run, example.changed(run, how))
    return norms[0] / norms[-1]


def test_gradients_vanish_and_explode_through_time(example: Any) -> None:
    assert left(example, "rnn", "") < 1e-6
    assert left(example, "rnn", "exploding") > 1
    assert left(example, "rnn", "") < left(example, "lstm", "") < left(example, "lstm", "open") / 10


def test_training_clips_what_explodes(example: Any) -> None:
    run = example.experiment("rnn", 30, **{"train.steps": 20})
    norms, errors = example.trained(run, example.changed(run, "exploding"))

    assert max(norms) > 100
    assert errors[-1] < 10
