"""A penalty whose value or gradient is wrong is named itself, and not the loss that it joins."""

from __future__ import annotations

from typing import Any

import pytest

import compare
import manual

PENALTIES = {
    "loss__penalties": [
        {"type": "L1Penalty", "coefficient": 0.25},
        {"type": "L2Penalty", "coefficient": 0.5},
    ]
}


@pytest.mark.parametrize("name", ["L1Penalty", "L2Penalty"])
@pytest.mark.parametrize("method", ["forward", "backward"])
def test_the_wrong_penalty_is_named(name: str, method: str, monkeypatch: Any) -> None:
    cls = getattr(manual, name)
    original = getattr(cls, method)

    def doubled(self: Any, *arguments: Any) -> Any:
        first, rest = original(self, *arguments)
        return (2 * first, rest) if method == "forward" else ((2 * first[0],), rest)

    monkeypatch.setattr(cls, method, doubled)
    report = compare.run("iris", steps=1, **PENALTIES)

    first = report.first_divergence
    assert report.verdict == "disagree"
    assert first is not None
    assert first.layer_type == name
    assert name in first.explanation
    assert first.own_or_inherited == "own"


def test_right_penalties_agree() -> None:
    assert compare.run("iris", steps=1, **PENALTIES).verdict == "agree"
