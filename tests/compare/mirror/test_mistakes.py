"""A custom Function with a wrong backward is a disagreement that names it; a right one agrees."""

from __future__ import annotations

import inspect

import pytest

import compare
from compare.diagnose.cases import named
from compare.report.report import Report
from tests.compare.mirror.mistakes import MISTAKES, RIGHT, Mistake


def mirrored(mistake: Mistake) -> Report:
    example = mistake.example()
    return compare.mirror(example.module, example.args)


@pytest.mark.parametrize("function", RIGHT, ids=lambda function: function.__name__)
def test_a_right_backward_agrees_with_the_derivative_of_its_forward(function) -> None:
    assert mirrored(Mistake("", function, function)).verdict == "agree"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the search for a change of the code that mends it: others test that."""
    for search in ("repaired", "missing_path"):
        monkeypatch.setattr(named, search, lambda *_: None)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_backward_is_found_and_named(name: str, quick: None) -> None:
    report = mirrored(MISTAKES[name])
    assert report.verdict == "disagree"
    assert report.first_divergence is not None
    _, line = inspect.getsourcelines(MISTAKES[name].wrong.backward)

    assert report.first_divergence.layer_type == name
    assert f"wrong_functions.py:{line})" in str(report)
